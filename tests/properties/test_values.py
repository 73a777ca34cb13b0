"""Properties of what has no state: numbers, books, decoding, views and deadlines, each against a naive twin."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from decimal import Decimal
from itertools import starmap

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sortedcontainers import SortedDict

from polymirror.core.book import OrderBook, Side
from polymirror.core.checksum import Constants, Dialect, HashTemplate
from polymirror.core.level import Level
from polymirror.core.messages import (
    Ignored,
    Malformed,
    MarketResolved,
    PriceChange,
    Snapshot,
    TickSizeChange,
    Trade,
    WireLevel,
    decode_books,
    decode_frame,
)
from polymirror.core.proofs import complement_differences
from polymirror.core.timers import Deadlines
from polymirror.core.units import (
    MAX_SIZE,
    PRICE_SCALE,
    PRICES,
    SIZES,
    parse_price,
    parse_size,
    price_to_decimal,
    price_to_wire,
    size_to_decimal,
    size_to_wire,
)
from polymirror.errors import DecodeError, UnitError
from polymirror.testing import Book, strategies
from tests.core.builders import changed
from tests.properties.model import make_market

prices = st.integers(0, PRICE_SCALE)
inner_prices = st.integers(1, PRICE_SCALE - 1)
sizes = st.integers(0, MAX_SIZE)
some_sizes = st.integers(1, 10**12)
KINDS = (PriceChange, Snapshot, Trade, TickSizeChange, MarketResolved, Ignored, Malformed)


# ---- Numbers ---------------------------------------------------------------------------------------------


@given(prices)
def test_every_price_survives_the_way_to_the_wire_and_back(price):
    wire = price_to_wire(price)
    assert parse_price(wire) == PRICES[wire] == price
    assert Decimal(wire) == price_to_decimal(price)


@given(sizes)
def test_every_size_survives_the_way_to_the_wire_and_back(size):
    wire = size_to_wire(size)
    assert parse_size(wire) == SIZES[wire] == size
    assert Decimal(wire) == size_to_decimal(size)


@given(prices, st.integers(0, 5), st.booleans())
def test_the_spelling_of_a_price_does_not_change_it(price, zeros, bare):
    wire = price_to_wire(price)
    wire = (wire if "." in wire else wire + ".") + "0" * zeros
    if bare and wire.startswith("0."):
        wire = wire[1:]
    assume(wire != ".")
    assert parse_price(wire) == price


@given(st.text(max_size=12) | st.from_regex(r"-?[0-9]{0,5}\.?[0-9]{0,7}(e[0-9])?", fullmatch=True))
def test_a_price_is_a_plain_decimal_from_0_to_1_or_an_error(text):
    try:
        price = parse_price(text)
    except UnitError:
        return
    assert text.isascii()
    assert Decimal(text) * PRICE_SCALE == price
    assert 0 <= price <= PRICE_SCALE


@given(st.floats() | st.integers() | st.none() | st.binary(max_size=3))
def test_numbers_that_are_no_text_are_refused(number):
    for parse in (parse_price, parse_size):
        with pytest.raises((UnitError, TypeError)):
            parse(number)


# ---- Books -----------------------------------------------------------------------------------------------

changes = strategies.level_changes()


def apply(book: OrderBook, rows: list[tuple[str, int, int]], at: int = 1) -> list:
    return [changed(book, side, price_to_wire(p), size_to_wire(s), at + i) for i, (side, p, s) in enumerate(rows)]


def built(rows: list[tuple[str, int, int]]) -> OrderBook:
    book = OrderBook()
    apply(book, rows)
    return book


@given(changes)
def test_a_side_is_a_sorted_dict(rows):
    side, reference = Side(), SortedDict()
    for _, key, size in rows:
        assert side.size_at(key) == reference.get(key, 0)
        assert side.set(key, size, f"{key} x {size}") == reference.get(key, 0)
        if size:
            reference[key] = size
        else:
            reference.pop(key, None)
        assert side.keys == list(reference)
        assert side.sizes == list(reference.values())
        assert side.wires == [f"{key} x {size}" for key, size in reference.items()]


@given(changes, changes, st.integers(0, 40))
def test_undoing_changes_gives_the_levels_that_were(before, after, keep):
    book = built(before)
    states = [book.levels()]
    undos = []
    for i, row in enumerate(after):
        undos += apply(book, [row], 100 + i)
        states.append(book.levels())
    kept = min(keep, len(undos))
    assert book.levels_before(undos[kept:]) == states[kept]
    assert book.levels() == states[-1]


@given(changes, changes)
def test_the_levels_in_which_two_tokens_differ_are_found_by_comparing_each(one_rows, other_rows):
    one, other = built(one_rows), built(other_rows)
    naive = set()
    for key in range(1, PRICE_SCALE):
        if key in one.bids.keys or key in other.asks.keys:  # noqa: SIM102 - the sides are told apart
            if one.bids.size_at(key) != other.asks.size_at(key):
                naive.add((key, True))
        if key in one.asks.keys or key in other.bids.keys:  # noqa: SIM102
            if one.asks.size_at(key) != other.bids.size_at(key):
                naive.add((key, False))
    assert complement_differences(one, other) == naive
    mirror = built([("SELL" if side == "BUY" else "BUY", PRICE_SCALE - p, s) for side, p, s in one_rows])
    assert complement_differences(one, mirror) == set()


@given(changes)
def test_a_book_is_crossed_when_its_best_bid_reaches_its_best_ask(rows):
    book = built(rows)
    bids, asks = book.bids.keys, [PRICE_SCALE - key for key in book.asks.keys]
    assert book.crossed() is bool(bids and asks and max(bids) >= min(asks))


@given(changes, st.sampled_from(["", "0.480", "0.5"]), st.booleans(), st.sampled_from(["0.01", "0.001"]))
def test_the_hash_is_the_sha1_of_the_plain_json(rows, trade, neg_risk, tick):
    market = make_market(1, 0.0)
    for side, price, size in rows:
        market.put(side, price, size)
    market.last_trade, market.tick = trade, parse_price(tick)
    rest = market.rest(market.up)
    (message,) = decode_books(json.dumps(rest | {"neg_risk": neg_risk}).encode())
    template = HashTemplate(
        Dialect.TEN, market.condition_id, market.up.asset_id, Constants("5", tick, neg_risk=neg_risk)
    )
    found = template.digest(message.timestamp_ms, OrderBook.of(message, 10_000), trade)
    assert (found == rest["hash"]) is (neg_risk is False)


# ---- Decoding --------------------------------------------------------------------------------------------


def check(found) -> None:
    for message in found:
        assert isinstance(message, KINDS)
        if isinstance(message, Snapshot):
            assert isinstance(message.timestamp_ms, int)
            assert all(isinstance(level, WireLevel) for level in [*message.bids, *message.asks])
        if isinstance(message, PriceChange):
            assert message.at_ms > 0
            assert message.price_changes is not None


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example("\ud800")
def test_no_bytes_make_the_decoder_raise(data):
    check(decode_frame(data))


@given(strategies.json_values())
def test_no_json_makes_the_decoder_raise(value):
    check(decode_frame(json.dumps(value)))


@given(strategies.frames())
def test_what_the_venue_says_is_read_without_a_word_of_blame(frame):
    found = decode_frame(frame)
    check(found)
    assert not any(isinstance(message, Malformed) for message in found)


@given(strategies.damaged_frames())
def test_no_cut_or_flipped_frame_makes_the_decoder_raise(frame):
    check(decode_frame(frame))


@given(strategies.altered_frames())
def test_no_frame_with_a_part_of_another_type_makes_the_decoder_raise(frame):
    check(decode_frame(frame))
    with suppress(DecodeError):
        check(decode_books(frame.encode()))


# ---- Views -----------------------------------------------------------------------------------------------


def view_of(bids: dict[int, int], asks: dict[int, int]):
    bid_levels = tuple(starmap(Level, sorted(bids.items(), reverse=True)))
    return strategies.view_of(Book(bid_levels, tuple(starmap(Level, sorted(asks.items())))))


sides = st.dictionaries(inner_prices, some_sizes, max_size=6)


def naive_shares(levels: list[tuple[int, int]], wanted: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    left, money = wanted, Decimal(0)
    for price, size in levels:
        take = min(left, Decimal(size) / 10**6)
        left -= take
        money += take * Decimal(price) / PRICE_SCALE
    return wanted - left, money, left


@given(sides, sides, st.integers(0, 10**13))
def test_a_walk_for_shares_costs_what_a_naive_walk_costs(bids, asks, wanted):
    view, shares = view_of(bids, asks), size_to_decimal(wanted)
    for fill, levels in (
        (view.cost_to_buy(shares), sorted(asks.items())),
        (view.proceeds_of_selling(shares), sorted(bids.items(), reverse=True)),
    ):
        assert (fill.shares, fill.money, fill.unfilled) == naive_shares(levels, shares)
        assert fill.complete is (fill.unfilled == 0)
        if fill.shares:
            assert fill.worst in {price_to_decimal(price) for price, _ in levels}
            assert abs(fill.average * fill.shares - fill.money) <= fill.money * Decimal("1e-20")
        else:
            assert fill.average is None


@given(sides, sides, st.integers(0, 10**14))
def test_a_walk_for_money_never_spends_more_and_leaves_less_than_one_unit_unless_the_side_is_empty(bids, asks, wanted):
    view, money = view_of(bids, asks), Decimal(wanted).scaleb(-10)
    for fill, levels in ((view.buy_with(money), asks), (view.sell_for(money), bids)):
        assert fill.money + fill.unfilled == money
        assert fill.money <= money
        everything = fill.shares == size_to_decimal(sum(levels.values()))
        assert everything or fill.unfilled < max(map(price_to_decimal, levels)) / 10**6
        same = view.cost_to_buy(fill.shares) if levels is asks else view.proceeds_of_selling(fill.shares)
        assert same.money == fill.money


@given(sides, sides, prices)
def test_depth_and_top_are_those_of_the_sorted_levels(bids, asks, limit):
    view = view_of(bids, asks)
    assert [(level.price_e4, level.size_e6) for level in view.bids] == sorted(bids.items(), reverse=True)
    assert [(level.price_e4, level.size_e6) for level in view.asks] == sorted(asks.items())
    assert view.bid_depth_e6(limit) == sum(size for price, size in bids.items() if price >= limit)
    assert view.ask_depth_e6(limit) == sum(size for price, size in asks.items() if price <= limit)
    if bids and asks:
        assert view.mid == (price_to_decimal(max(bids)) + price_to_decimal(min(asks))) / 2
        assert view.spread_e4 == view.spread * PRICE_SCALE == min(asks) - max(bids)
        low, high = sorted((max(bids), min(asks)))
        assert price_to_decimal(low) <= view.microprice <= price_to_decimal(high)


@given(st.floats())
def test_a_view_refuses_floats(number):
    view = view_of({4000: 1}, {6000: 1})
    for walk in (view.cost_to_buy, view.proceeds_of_selling, view.buy_with, view.sell_for):
        with pytest.raises(UnitError):
            walk(number)


# ---- Deadlines -------------------------------------------------------------------------------------------

times = st.integers(0, 5).map(float) | st.just(math.inf)
steps = st.lists(
    st.tuples(st.just("set"), st.integers(0, 4), times)
    | st.tuples(st.just("cancel"), st.integers(0, 4), st.none())
    | st.tuples(st.just("pop"), st.none(), times),
    max_size=30,
)


@given(steps)
def test_deadlines_are_a_sorted_list_with_one_entry_per_owner(each_step):
    deadlines, reference = Deadlines(), []
    for what, owner, at in each_step:
        if what == "set":
            deadlines.set(owner, at)
            if (at, owner) not in reference:
                reference = [row for row in reference if row[1] != owner]
                if at != math.inf:
                    reference.append((at, owner))
        elif what == "cancel":
            deadlines.cancel(owner)
            reference = [row for row in reference if row[1] != owner]
        else:
            due = [row for row in sorted(reference, key=lambda row: row[0]) if row[0] <= at]
            assert list(deadlines.pop_due(at)) == [each for _, each in due]
            reference = [row for row in reference if row not in due]
        assert deadlines.next() == min((at for at, _ in reference), default=math.inf)
        assert len(deadlines) == len(reference)
