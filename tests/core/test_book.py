from __future__ import annotations

import random

import pytest

from polymirror.core.book import Levels, OrderBook, Side
from polymirror.core.messages import Snapshot, WireLevel
from polymirror.errors import UnitError
from tests.core.builders import changed, order_book


def replaced(*args):
    undo = changed(*args)
    return undo.at_ms, undo.is_bid, undo.key, undo.old, undo.new


def test_levels_in_any_order_are_sorted_with_the_best_last():
    book = order_book([("0.45", "2"), ("0.4", "1"), ("0.48", "3")], [("0.52", "4"), ("0.6", "6"), ("0.55", "5")])
    assert book.bids.keys == [4000, 4500, 4800]
    assert book.bids.sizes == [1_000_000, 2_000_000, 3_000_000]
    assert book.asks.keys == [4000, 4500, 4800]
    assert book.asks.sizes == [6_000_000, 5_000_000, 4_000_000]
    assert book.asks.wires[-1] == '{"price":"0.52","size":"4"}'


def test_wires_keep_the_venues_spelling():
    book = order_book([(".48", "5.00")])
    assert book.bids.wires == ['{"price":".48","size":"5.00"}']
    assert order_book([(".48", "5.00"), ("0.4", "1")]).bids.text() == (
        '{"price":"0.4","size":"1"},{"price":".48","size":"5.00"}'
    )


@pytest.mark.parametrize(
    "level",
    [("0", "5"), ("1", "5"), ("0.5", "0"), ("NaN", "5"), ("0.5", "-5"), ("-0.5", "5"), ("0.5", "x"), ("1.5", "1")],
)
def test_a_level_that_cannot_be_is_refused(level):
    with pytest.raises(UnitError):
        order_book([level])
    with pytest.raises(UnitError):
        order_book([], [level])


def test_a_price_that_comes_twice_is_refused():
    with pytest.raises(UnitError, match="one level for each price"):
        order_book([("0.48", "1"), (".48", "2")])


def test_more_levels_than_allowed_are_refused_before_they_are_read():
    levels = [WireLevel("bad", "bad")] * 11
    for bids, asks in ((levels, []), ([], levels)):
        with pytest.raises(UnitError, match="at most 10 a side"):
            OrderBook.of(Snapshot("m", "1", 1, "", bids, asks), 10)


def test_a_change_inserts_replaces_and_removes_and_tells_what_was_there():
    book = order_book([("0.4", "1")])
    assert replaced(book, "BUY", "0.45", "2", 7) == (7, True, 4500, 0, 2_000_000)
    assert replaced(book, "BUY", "0.45", "3.5", 8) == (8, True, 4500, 2_000_000, 3_500_000)
    assert book.bids.wires[-1] == '{"price":"0.45","size":"3.5"}'
    assert replaced(book, "BUY", "0.45", "0", 9) == (9, True, 4500, 3_500_000, 0)
    assert book.bids.keys == [4000]
    assert replaced(book, "SELL", "0.45", "1", 9) == (9, False, 5500, 0, 1_000_000)
    assert book.asks.keys == [5500]


def test_removing_a_level_that_is_not_there_changes_nothing():
    book = order_book([("0.4", "1")])
    assert changed(book, "BUY", "0.3", "0", 1).old == 0
    assert changed(book, "SELL", "0.9", "0", 1).old == 0
    assert book.levels() == Levels((4000,), (1_000_000,), (), ())


@pytest.mark.parametrize(
    ("side", "price", "size"),
    [("BUY", "0", "1"), ("SELL", "1", "1"), ("HOLD", "0.5", "1"), ("buy", "0.5", "1"), ("BUY", "0.5", "-1"),
     ("BUY", "NaN", "1"), ("", "0.5", "1")],
)  # fmt: skip
def test_a_bad_change_is_refused_and_changes_nothing(side, price, size):
    book = order_book([("0.4", "1")], [("0.6", "1")])
    before = book.levels()
    with pytest.raises(UnitError):
        changed(book, side, price, size, 1)
    assert book.levels() == before


def test_a_level_set_together_with_its_mirror_image_is_set_as_if_alone():
    rng = random.Random(4)
    alone, side, mirror = Side(), Side(), Side()
    side.rest()
    for n in range(3_000):
        # Grows to more levels than are joined anew at once, and shrinks again.
        key, size = rng.randrange(1, 120), rng.randrange(3) and rng.randrange(1 + (n // 1_000) % 2, 3)
        mine, image = f'{{"mine":"{n}"}}', f'{{"image":"{n}"}}'
        assert side.set_mirrored(mirror, key, size, mine, image) == alone.set(key, size, mine)
        assert (side.keys, side.sizes, side.wires) == (alone.keys, alone.sizes, alone.wires)
        assert (mirror.keys, mirror.sizes) == (alone.keys, alone.sizes)
        assert mirror.wires == [wire.replace("mine", "image") for wire in alone.wires]
        if n % 50 == 0:
            side.rest()
        assert side.text() == ",".join(side.wires)
        assert mirror.text() == ",".join(mirror.wires)


def test_a_new_size_is_cut_into_the_text_and_no_text_is_joined_anew():
    side, mirror = Side(), Side()
    for key in range(100, 4_000, 100):
        side.set_mirrored(mirror, key, 5, f'{{"price":"{key}","size":"5"}}', f'{{"price":"-{key}","size":"5"}}')
    text, image = side.text(), mirror.text()
    for key, size in ((3_900, 7), (2_000, 55), (100, 5), (2_000, 8)):
        side.set_mirrored(mirror, key, size, f'{{"price":"{key}","size":"{size}"}}', f"-{key} x {size}")
        assert side.joined == ",".join(side.wires), "nobody had to ask for it"
        assert mirror.joined == ""
    assert mirror.text() == ",".join(mirror.wires)
    assert len(side.text()) == len(text)
    assert len(mirror.text()) < len(image)


def test_the_size_at_a_price_is_zero_where_there_is_no_level():
    side = Side()
    side.set(4000, 5, "w")
    assert [side.size_at(key) for key in (3999, 4000, 4001)] == [0, 5, 0]


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [([], [], False), ([("0.5", "1")], [], False), ([("0.48", "1")], [("0.49", "1")], False),
     ([("0.49", "1")], [("0.49", "1")], True), ([("0.5", "1")], [("0.49", "1")], True)],
)  # fmt: skip
def test_a_book_is_crossed_when_its_best_bid_reaches_its_best_ask(bids, asks, crossed):
    assert order_book(bids, asks).crossed() is crossed


def test_books_are_the_same_only_when_all_prices_and_sizes_are():
    book = order_book([("0.4", "1")], [("0.6", "1")])
    assert book.same_levels(order_book([(".40", "1.0")], [("0.60", "1")]))
    for bids, asks in (
        ([("0.41", "1")], [("0.6", "1")]),
        ([("0.4", "2")], [("0.6", "1")]),
        ([("0.4", "1")], [("0.61", "1")]),
        ([("0.4", "1")], [("0.6", "2")]),
    ):
        assert not book.same_levels(order_book(bids, asks))


def test_every_past_state_can_be_rebuilt_from_the_changes():
    rng = random.Random(3)
    book = order_book([("0.4", "1")], [("0.6", "1")])
    states, undos = [book.levels()], []
    for at in range(300):
        price = f"0.{rng.randrange(1, 30):02d}" if rng.random() < 0.5 else f"0.{rng.randrange(60, 99)}"
        undos.append(changed(book, "BUY" if price < "0.5" else "SELL", price, str(rng.randrange(3)), at))
        states.append(book.levels())
    for n, state in enumerate(states):
        assert book.levels_before(undos[n:]) == state
    assert book.levels() == states[-1]


def test_a_side_keeps_one_text_also_after_a_size_was_cut_into_it():
    book, mirror = order_book([("0.40", "10"), ("0.45", "20")]), order_book([], [("0.60", "10"), ("0.55", "20")])
    side, image = book.bids, mirror.asks
    side.text()
    side.set_mirrored(image, 4500, 7_000_000, '{"price":"0.45","size":"7"}', '{"price":"0.55","size":"7"}')
    assert side._last is side.joined
    side.rest()
    assert side._last is side.joined
    assert side.wires[-1] == '{"price":"0.45","size":"7"}'
