"""The torture through a relay: nothing wrong is readable at its far end, and a relay that is careless is caught."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from polymirror.core.book import Levels
from polymirror.core.engine import Engine
from polymirror.core.states import BookState, Reason
from polymirror.relay import copy as copies
from polymirror.relay import hostclock, replica
from polymirror.relay import link as links
from polymirror.relay.broker.broadcast import Broadcast
from polymirror.relay.copy import Copy
from polymirror.relay.link import SILENCE, Link
from polymirror.relay.offset import Offset
from polymirror.relay.publisher import BEAT, Publisher
from polymirror.relay.wire import Book, Change
from polymirror.torture import verdict
from polymirror.torture.relayed import WAY_FAULTS, Relayed
from polymirror.torture.run import make_world, run_storm
from polymirror.torture.storm import draw_storm
from polymirror.torture.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from polymirror.core.top import Top
    from polymirror.core.view import BookView
    from polymirror.relay.wire import Beat

WAYS = ("socket", "broker", "both")
MAX_SEEDS = 12
"""A mutant must be caught within this many seeds."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (4, 7))])
def test_no_storm_breaks_a_promise_at_the_far_end(seed: int, way: str) -> None:
    result = run_storm(draw_storm(seed, 2.0, 10), relay=way)
    assert not result.violations, f"seed {seed}: {result.violations[0]}"
    assert result.reads > result.refused


class Far(World):
    """A world whose books are read as something that never was, by a reader who was told something before."""

    word: tuple[float, int] | None = None
    """How old the proof was that was told, in seconds, and when that was, in true exchange ms."""
    knew = 0
    """Until then, in true exchange ms, the mirror could not know better."""

    def live(self, token: str, max_proof_age: float | None) -> BookView:
        view = super().live(token, max_proof_age)
        return msgspec.structs.replace(view, levels=Levels((100,), (1,), (), ()), proven_at=view.read_at - 0.5)

    def as_told(self, view: BookView) -> tuple[BookView, int] | None:
        if self.word is None:
            return None
        age, left_ms = self.word
        return msgspec.structs.replace(view, proven_at=view.read_at - age), left_ms

    def _excuses(self, view: BookView, state: object, claim: verdict.Claim) -> Iterator[verdict.Excuse]:
        del view, state
        told_ms = claim.now_ms - 200 - claim.link_ms - verdict.ROUNDING_MS
        yield verdict.Excuse(verdict.REWRITTEN, lambda since_ms: claim.now_ms <= self.knew and since_ms == told_ms)


def test_far_away_what_explains_a_read_is_what_explained_it_at_the_mirror_when_it_was_told() -> None:
    world = Far(draw_storm(1, 1.0, 2).exchange, seed=1)
    world.run(3.0)
    (token, _), *_ = world.book_states()
    now = world.exchange_ms()

    def found(word: tuple[float, int] | None, knew: int) -> tuple[dict[str, int], list[str]]:
        world.word, world.knew, world.tally = word, knew, type(world.tally)()
        world.read(token)
        assert world.tally.refused == 0
        return dict(world.tally.unknowable), [each.promise for each in world.tally.violations]

    wrong = ({}, ["a granted read equals a real state"])
    assert found((0.1995, now - 300), now - 300) == ({verdict.REWRITTEN: 1}, [])
    assert found((0.1995, now - 300), now - 301) == wrong
    # The proof that was told counts, and not the age that is read.
    assert found((0.2995, now - 300), now - 300) == wrong
    assert found(None, now) == ({}, ["a granted read is what was told last"])


def test_the_world_knows_what_has_come_to_the_far_end() -> None:
    storm = draw_storm(3, 1.0, 4)
    world = make_world(storm, [], hedge=1, relay="both")
    assert isinstance(world, Relayed)
    tokens = [token for token, _ in world.book_states()]
    assert not any(way.told.newest(token) for way in world.far.ways for token in tokens)
    world.run(4.0)
    # No fault strikes yet: something is said of each book twice a second.
    for way in world.far.ways:
        for token in tokens:
            word = way.told.newest(token)
            assert word is not None
            assert 0 <= world.now - word.left <= 1_000_000 * (BEAT + 0.1)
            assert word.allows(world.live(token, None), world.now)
    way.cut("cut")
    assert not any(way.told.newest(token) for token in tokens)


def test_a_seed_gives_the_same_trace_and_the_same_reads() -> None:
    first, second = (run_storm(draw_storm(2, 1.0, 6), relay="broker") for _ in range(2))
    assert (first.trace, first.reads, first.refused) == (second.trace, second.reads, second.refused)


@pytest.mark.slow
def test_every_fault_of_the_way_strikes() -> None:
    struck: set[str] = set()
    for seed in range(MAX_SEEDS):
        for way in WAYS:
            struck |= {fault for fault, count in run_storm(draw_storm(seed, 2.0, 4), relay=way).faults.items() if count}
        if struck.issuperset(WAY_FAULTS):
            return
    pytest.fail(f"never struck: {set(WAY_FAULTS) - struck}")


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(owner, name, value)
    try:
        yield
    finally:
        patch.undo()


@contextmanager
def both(one: AbstractContextManager[None], other: AbstractContextManager[None]) -> Iterator[None]:
    with one, other:
        yield


TAKE = Copy.take
BREAKS = Copy.breaks
LOOK = Publisher.changed
TOP = replica.Replica.top
BREAK_ALL = Link._break_all
UNTIL = Engine.readable_until


def _follow_any(copy: Copy, item: Beat, sent: float) -> bool:
    """Become the state that a change leads to, whatever it leads from."""
    if isinstance(item, Change) and copy.told is not None and not isinstance(item, Book):
        copy._follow(item, sent)
        copy.broken = None
        return False
    return TAKE(copy, item, sent)


def _keep_doubted(copy: Copy, item: Beat, sent: float) -> bool:
    """Stay with what was LIVE until the relay says LIVE again."""
    if copy.state is BookState.LIVE and isinstance(item, Change) and item.state != "LIVE":
        return False
    return TAKE(copy, item, sent)


def _keep_over_a_gap(copy: Copy, reason: Reason, why: str) -> None:
    """Stay with what was right before something was lost."""
    if reason is not Reason.GAP:
        BREAKS(copy, reason, why)


def _take_a_late_book(copy: Copy, item: Beat, sent: float) -> bool:
    """Let a whole book mend a copy, however late it comes."""
    if isinstance(item, Book) and copy.broken is not None and sent < copy.heard:
        copy._replace(item, sent)
        return False
    return TAKE(copy, item, sent)


def _beat_over_a_gap(copy: Copy, item: Beat, sent: float) -> bool:
    """Take the proof of a state that has not come for one of the state that has."""
    if not isinstance(item, Change) and copy.broken is None and item.seq > copy.seq > 0:
        copy.proof, copy.sent = item, sent
        return False
    return TAKE(copy, item, sent)


def _keep_what_was_lost(link: Link, why: str) -> None:
    link.is_open, link.trouble = False, why


def _date_by_the_word(link: Link, token: str, now: float) -> float | None:
    """Take the moment at which something was said for the one for which it was proven."""
    copy, low = link.copy(token), link.offset.low(now)
    return None if copy is None or low is None else copy.sent + low


def _trust_for_ever(claim: replica.Claim) -> tuple[object, ...]:
    """Connect whatever is told, whatever befell the book meanwhile."""
    return (claim.number,)


def _best_of_before(told: replica.Replica, token: str, now: float, max_proof_age: float | None = None) -> Top:
    """Say that nothing newer is known in one of the two reads."""
    return msgspec.structs.replace(TOP(told, token, now, max_proof_age), settled=True)


class _Equal(str):
    """Equals any other text."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def _ignore_what_cannot_be_read(link: Link, reason: Reason, why: str) -> None:
    if reason is not Reason.DECODE_ERROR:
        BREAK_ALL(link, reason, why)


def _doubt_with_the_next_beat(publisher: Publisher, tokens: Sequence[str]) -> None:
    """Tell what is LIVE when it changes, and the rest in its turn."""
    LOOK(publisher, [token for token in tokens if publisher._mirror.peek(token).state is BookState.LIVE])


def _settle_by_one_relay(_: replica.Replica, copy: Copy, now: float) -> bool:
    del now
    return copy.told is not None and copy.told.settled


def _forget_to_look(publisher: Publisher, tokens: Sequence[str]) -> None:
    """Look at every second book that has changed."""
    LOOK(publisher, tokens[::2])


MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "follow_over_a_gap": lambda: replaced(Copy, "take", _follow_any),
    "keep_what_is_in_doubt": lambda: replaced(Copy, "take", _keep_doubted),
    "keep_over_a_gap": lambda: replaced(Copy, "breaks", _keep_over_a_gap),
    "take_a_late_book": lambda: replaced(Copy, "take", _take_a_late_book),
    "beat_over_a_gap": lambda: replaced(Copy, "take", _beat_over_a_gap),
    "keep_what_was_lost": lambda: replaced(Link, "closed", _keep_what_was_lost),
    "read_after_the_relay_would": lambda: replaced(Link, "is_readable", lambda *_: True),
    "wait_in_silence": lambda: replaced(links, "SILENCE", 2 * SILENCE),
    "date_by_the_word": lambda: replaced(Link, "as_of", _date_by_the_word),
    "date_by_the_last_message": lambda: replaced(
        Offset, "heard", lambda self, sent, now: setattr(self, "_low", now - sent) or True
    ),
    "keep_a_clock_that_was_set": lambda: both(
        replaced(hostclock, "APART", float("inf")), replaced(Offset, "_agrees", lambda *_: True)
    ),
    "leave_a_clock_that_was_set_to_be_noticed_far_away": lambda: replaced(hostclock, "APART", float("inf")),
    "tell_a_broker_nothing_anew": lambda: replaced(Broadcast, "_want", lambda *_, **__: None),
    "forget_doubts": lambda: replaced(replica.Claim, "trust", property(_trust_for_ever)),
    "connect_what_does_not": lambda: replaced(replica.Claim, "lineage", property(_trust_for_ever)),
    "settle_one_read": lambda: replaced(replica.Replica, "top", _best_of_before),
    "never_compare_digests": lambda: replaced(copies, "digest_of", lambda *_: _Equal()),
    "ignore_what_cannot_be_read": lambda: replaced(Link, "_break_all", _ignore_what_cannot_be_read),
    "doubt_with_the_next_beat": lambda: replaced(Publisher, "changed", _doubt_with_the_next_beat),
    "settle_by_one_relay": lambda: replaced(replica.Replica, "_settled", _settle_by_one_relay),
    "say_longer_than_it_would_read": lambda: replaced(
        Engine, "readable_until", lambda *args: None if (until := UNTIL(*args)) is None else until + 0.3
    ),
    "forget_to_look": lambda: replaced(Publisher, "changed", _forget_to_look),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_careless_relay_is_caught_where_the_right_one_is_not(name: str) -> None:
    for seed in range(MAX_SEEDS):
        for way in WAYS:
            storm = draw_storm(seed, 2.0, 6)
            with MUTANTS[name]():
                caught = run_storm(storm, relay=way).violations
            if caught and not run_storm(storm, relay=way).violations:
                return
    pytest.fail(f"{name} breaks no promise in {MAX_SEEDS} seeds")


def test_there_is_a_tick_between_two_beats() -> None:
    assert replica.TICK < SILENCE
