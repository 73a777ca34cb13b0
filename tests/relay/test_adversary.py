"""What an unlucky or odd far end could do to a read: numbers that begin anew, late books, times of the future."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymirror.core.states import BookState
from polymirror.errors import NotLive, PolymirrorError
from polymirror.relay.digest import digest_of
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import ASK_MOST, ASK_SELDOM, PING_EVERY, SILENCE, Link
from polymirror.relay.publisher import MAX_PONGS, Publisher
from polymirror.relay.replica import Replica
from polymirror.relay.wire import Ask, Book, Change, Frame, Gone, Item, Pong, decode, encode, frame_of
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub, connected


def whole(seq: int = 1, **others: object) -> Book:
    """A whole book that fits its digest."""
    book = Book(
        token=UP, seq=seq, prev_seq=0, epoch=1, doubts=0, state="LIVE", settled=True, as_of=0.0, as_of_ms=5,
        until=1e9, proof="hash", bids=[], asks=[], digest=digest_of(UP, "", ""), market="0xm",
    )  # fmt: skip
    return msgspec.structs.replace(book, **others)


def frame(*items: Item, sent: float, relay: str = "run 1") -> bytes:
    return frame_of(relay, sent, [encode(each, "json") for each in items], "json")


def opened(now: float = 0.0) -> tuple[Replica, Link]:
    """A replica whose relay has the same clock, and has answered a ping."""
    link = Link("relay", "json")
    replica = Replica([link], 30.0)
    replica.want([UP], now)
    link.opened(now)
    ask = link.asks(now)
    assert ask is not None
    assert ask.ping is not None
    replica.received(link, frame(Pong(id=ask.ping), sent=now), now)
    return replica, link


# ---- Numbers ---------------------------------------------------------------------------------------------


def test_a_book_that_is_dropped_and_wanted_again_goes_on_with_its_numbers() -> None:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    seqs = []
    for size in range(1, 4):
        relay.asked(consumer, Ask(want=[UP]))
        stub.set(UP, {4800: size}, ASKS)
        relay.changed([UP])
        (item,) = decode(Frame, relay.frame(consumer), "json").items
        assert isinstance(item, Book)
        seqs.append(item.seq)
        relay.asked(consumer, Ask(drop=[UP]))
    assert seqs == sorted(set(seqs))


def test_a_book_that_was_on_its_way_while_it_was_dropped_and_wanted_is_not_taken_for_the_new_one() -> None:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    wire = connected(stub, UP)
    for step in range(1, 6):
        stub.set(UP, {4800: step}, ASKS)
        wire.publisher.changed([UP])
        wire.turn(step / 100)
    # It is asked for again; the answer is on its way while the book is dropped and wanted at once.
    wire.link.drop([UP])
    wire.link.want([UP], 0.06)
    assert wire.consumer is not None
    wire.publisher.asked(wire.consumer, Ask(want=[UP]))
    late = wire.fetch()
    wire.ask(0.06)
    for data in late:
        wire.replica.received(wire.link, data, 0.06)
    for data in wire.fetch():
        wire.replica.received(wire.link, data, 0.06)
    for step in range(7, 14):
        stub.set(UP, {4800: 100 + step}, ASKS)
        wire.publisher.changed([UP])
        wire.turn(step / 100)
        view = wire.replica.live(UP, step / 100)
        assert view.levels == stub.views[UP].levels


# ---- Order -----------------------------------------------------------------------------------------------


def test_a_whole_book_that_left_before_a_newer_state_was_heard_of_heals_nothing() -> None:
    replica, link = opened()
    replica.received(link, frame(whole(1), sent=0.1), 0.1)
    # State 3 says that it is in doubt, and state 2 was lost; then a whole book of state 2 comes late.
    doubt = Change(
        token=UP, seq=3, prev_seq=2, epoch=1, doubts=1, state="SUSPECT", bids=[], asks=[], digest=whole().digest
    )
    replica.received(link, frame(doubt, sent=0.3), 0.3)
    replica.received(link, frame(whole(2), sent=0.2), 0.35)
    with pytest.raises(NotLive):
        replica.live(UP, 0.35)
    replica.received(link, frame(whole(4), sent=0.4), 0.4)
    replica.live(UP, 0.4)


def test_a_book_that_comes_late_after_its_token_was_gone_heals_nothing() -> None:
    replica, link = opened()
    replica.received(link, frame(whole(1), sent=0.1), 0.1)
    replica.received(link, frame(Gone(token=UP), sent=0.3), 0.3)
    replica.received(link, frame(whole(2), sent=0.2), 0.35)
    with pytest.raises(NotLive):
        replica.live(UP, 0.35)


def test_numbers_that_run_back_in_what_left_later_are_a_doubt_and_the_next_book_heals() -> None:
    replica, link = opened()
    replica.received(link, frame(whole(50), sent=0.1), 0.1)
    beat = Change(token=UP, seq=2, prev_seq=1, epoch=1, doubts=0, state="LIVE", bids=[], asks=[], digest=whole().digest)
    replica.received(link, frame(beat, sent=0.2), 0.2)
    with pytest.raises(NotLive):
        replica.live(UP, 0.2)
    replica.received(link, frame(whole(3), sent=0.3), 0.3)
    replica.live(UP, 0.3)


def test_what_comes_after_the_end_of_a_connection_is_not_taken() -> None:
    replica, link = opened()
    replica.received(link, frame(whole(1), sent=0.1), 0.1)
    link.closed("lost")
    replica.received(link, frame(whole(2), sent=0.2), 0.2)
    with pytest.raises(NotLive):
        replica.live(UP, 0.2)
    assert link.counts["after the end"] == 1


def test_a_book_of_which_a_relay_says_nothing_any_more_is_asked_for_again() -> None:
    replica, link = opened()
    replica.received(link, frame(whole(1), sent=0.1), 0.1)
    asked = []
    for step in range(60):
        now = 0.1 + step / 10
        ask = link.asks(now)
        if ask is not None:
            if ask.ping is not None:
                replica.received(link, frame(Pong(id=ask.ping), sent=now), now)
            asked += [now] * (UP in ask.want)
    assert asked
    assert SILENCE < asked[0] < SILENCE + 0.1 + 2 * PING_EVERY


# ---- Times -----------------------------------------------------------------------------------------------


def test_a_proof_of_the_future_is_as_old_as_its_message() -> None:
    replica, link = opened()
    replica.received(link, frame(whole(1, as_of=1e6), sent=0.1), 0.1)
    assert replica.live(UP, 1.1).verified_age >= 1.0
    with pytest.raises(NotLive):
        replica.live(UP, 1.1, 0.9)


def test_a_relay_that_stands_still_between_two_looks_at_its_clocks_dates_no_proof_later() -> None:
    class Slow(Stub):
        """Its host stands still for a second whenever a clock is read."""

        def now(self) -> float:
            self.at += 1.0
            return self.at - 1.0

    stub = Slow()
    stub.set(UP, BIDS, ASKS)
    proven = stub.at
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    relay.asked(consumer, Ask(want=[UP]))
    (item,) = decode(Frame, relay.frame(consumer), "json").items
    assert isinstance(item, Book)
    assert item.as_of is not None
    assert item.as_of <= proven
    assert item.until is not None
    assert item.until <= stub.until


@pytest.mark.parametrize("field", ["sent", "as_of", "until"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_grants_nothing(field: str, value: float) -> None:
    link = Link("relay", "msgpack")
    replica = Replica([link], 30.0)
    replica.want([UP], 0.0)
    link.opened(0.0)
    ask = link.asks(0.0)
    assert ask is not None
    assert ask.ping is not None
    for _ in range(3):
        book = whole(1) if field == "sent" else whole(1, **{field: value})
        items = [encode(Pong(id=ask.ping), "msgpack"), encode(book, "msgpack")]
        replica.received(link, frame_of("run 1", value if field == "sent" else 0.0, items, "msgpack"), 0.0)
        with pytest.raises(NotLive):
            replica.live(UP, 0.0)
        with pytest.raises(NotLive):
            replica.live(UP, 100.0)


# ---- Bounds ----------------------------------------------------------------------------------------------


def test_a_consumer_that_asks_and_never_reads_makes_its_relay_keep_no_more_and_more() -> None:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    for number in range(500):
        relay.asked(consumer, Ask(ping=number, list=True, want=[f"{number}"]))
    items: list[Item] = []
    while consumer.waits:
        items += decode(Frame, relay.frame(consumer), "json").items
    pongs = [item.id for item in items if isinstance(item, Pong)]
    assert pongs == list(range(500 - MAX_PONGS, 500))
    assert len([item for item in items if not isinstance(item, (Pong, Gone))]) == 1


def test_many_books_are_asked_for_in_portions() -> None:
    link, stub = Link("relay", "json"), Stub()
    tokens = [str(number) for number in range(3 * ASK_MOST + 1)]
    for token in tokens:
        stub.set(token, BIDS, ASKS)
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    link.want(tokens, 0.0)
    link.opened(0.0)
    asked: list[str] = []
    most = 0
    while link.next_ask() <= 0.0:
        ask = link.asks(0.0)
        assert ask is not None
        asked += ask.want
        most = max(most, len(ask.want))
        assert link.asks(0.0) is None
        assert link.next_ask() > 0.0
        relay.asked(consumer, ask)
        while consumer.waits:
            link.received(relay.frame(consumer), 0.0)
    assert sorted(asked) == sorted(tokens)
    assert most == ASK_MOST


def test_books_that_do_not_come_are_asked_for_more_and_more_seldom_and_hold_up_no_others() -> None:
    link = Link("relay", "json")
    link.want([f"never {number}" for number in range(2 * ASK_MOST)], 0.0)
    link.want([UP], 0.0)
    link.opened(0.0)
    asked: dict[str, list[float]] = {}
    for step in range(600):
        ask = link.asks(step / 10)
        for token in () if ask is None else ask.want:
            asked.setdefault(token, []).append(step / 10)
    assert asked[UP][0] <= 3.0
    pauses = [round(after - before, 1) for before, after in pairwise(asked["never 0"])]
    assert pauses[0] <= 2.0
    assert pauses == sorted(pauses)
    assert pauses[-1] >= ASK_SELDOM
    assert sum(map(len, asked.values())) < 9 * len(asked)


# ---- Odd frames ------------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.sampled_from([0, 1, 2, 2**53, -1, 5.5, 1e12, None]), st.integers(0, 60))
PAIRS = st.lists(st.tuples(st.integers(-1, 10_001), st.integers(-1, 2**54)), max_size=3)
TEXTS = st.sampled_from(
    ["", "LIVE", "SUSPECT", "RETIRED", "NO STATE", "hash", UP, DOWN, "NaN", "sNaN", "1e999999", "-1"]
)
ITEMS = st.fixed_dictionaries(
    {"is": st.sampled_from(["book", "change", "beat", "gone", "markets", "pong", "news"]), "token": st.just(UP)},
    optional={
        **dict.fromkeys(("seq", "prev_seq", "epoch", "doubts", "as_of", "as_of_ms", "until", "id", "tick"), NUMBERS),
        **dict.fromkeys(("exchange_ms", "apply_lag", "clock_uncertainty"), NUMBERS),
        **dict.fromkeys(("state", "reason", "proof", "market"), TEXTS),
        "settled": st.booleans(),
        **dict.fromkeys(("bids", "asks"), PAIRS),
        "digest": st.sampled_from([whole().digest, "0" * 40, "x"]),
        "fee": st.fixed_dictionaries(
            {"rate": TEXTS, "exponent": NUMBERS, "taker_only": st.booleans(), "rebate_rate": TEXTS}
        ),
        "markets": st.lists(st.fixed_dictionaries({"slug": TEXTS, "market": TEXTS, "tokens": st.just([])}), max_size=2),
    },
)


def sound(item: dict[str, object]) -> dict[str, object]:
    """An item that has all that it needs, so that most frames can be read."""
    base = msgspec.to_builtins(whole())
    return {**{key: value for key, value in base.items() if key != "is"}, "id": 1, "markets": [], **item}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.lists(ITEMS, max_size=3), NUMBERS, st.sampled_from(["run 1", "run 2", ""])), max_size=8))
def test_no_frame_makes_anything_raise(frames: list[tuple[list[dict[str, object]], object, str]]) -> None:
    (replica, link), refusals = opened(), list[str]()
    for number, (items, sent, relay) in enumerate(frames):
        now = number / 10
        data = {"version": 1, "relay": relay, "sent": sent, "items": [sound(item) for item in items]}
        replica.received(link, msgspec.json.encode(data), now)
        replica.tick(now)
        link.asks(now)
        for name in ("live", "top", "peek"):
            try:
                view = getattr(replica, name)(UP, now)
            except NotLive as refusal:
                refusals.append(str(refusal))
                continue
            if name != "peek":
                assert view.proven_at is not None
                assert view.proven_at <= now
        try:
            replica.live(UP, now).cost_to_buy(1, fees=True)
        except PolymirrorError:
            continue
        assert replica.standing(UP)[0] is BookState.LIVE  # type: ignore[index]
    assert all(refusals)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_anything_raise(data: bytes) -> None:
    for format_ in ("json", "msgpack"):
        link = Link("relay", format_)  # type: ignore[arg-type]
        replica = Replica([link], 30.0)
        replica.want([UP], 0.0)
        link.opened(0.0)
        replica.received(link, data, 0.0)
        link.asks(0.0)
