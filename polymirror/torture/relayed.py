"""A world whose books are read at the far end of relays: on another host, with a clock and a network of its own.

The mirror's world goes on as ever, with all its faults. Publishers tell its books over ways that lose, repeat, reorder,
delay and part, to a replica whose process stalls and is started anew; the clocks of the hosts have nothing in common.
The judge is the same and excuses nothing more: whatever the way adds must be in the age, and what is read must be what
the mirror had when the newest word that has come left it.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from polymirror.relay.replica import TICK, Replica
from polymirror.torture.brokered import Brokered
from polymirror.torture.timeline import MICRO
from polymirror.torture.watched import Watched
from polymirror.torture.way import EVERY, LASTS, HostClock, Way
from polymirror.torture.way import WAY_FAULTS as _WAY_FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.core.view import BookView
    from polymirror.relay.link import Link
    from polymirror.torture.storm import Episode, Storm
    from polymirror.torture.told import Word

RELAYS: Final = {"socket": (True,), "broker": (False,), "both": (True, False)}
"""Through what the books are read, and for each relay whether its way is ordered."""

WAY_FAULTS: Final = (*_WAY_FAULTS, "consumer_restart", "consumer_stall", "consumer_clock_step")
"""What happens between the mirror and whoever reads, by name."""

BOTH: Final = ("epoch", "doubts", "settled", "exchange_ms", "proven_at", "best_bid", "best_ask")
"""What both reads of a book have."""

REST: Final = 3.0
"""How many times as long as a way the consumer is left alone between two faults."""


class Relayed(Watched):
    """A world that is read through ``relay``, one of :data:`RELAYS`."""

    def __init__(
        self,
        storm: Storm,
        episodes: Iterable[Episode],
        engine_class: Callable[..., Engine] = Engine,
        *,
        hedge: int = 1,
        relay: str,
    ) -> None:
        self._far: FarHost | None = None
        super().__init__(storm, episodes, engine_class, hedge=hedge)
        self._far = FarHost(self, storm, relay)

    @property
    def far(self) -> FarHost:
        """Where the books are read."""
        assert self._far is not None  # noqa: S101 - set at the end of the constructor
        return self._far

    def live(self, token: str, max_proof_age: float | None) -> BookView:
        """Read at the consumer."""
        if self._far is None:
            return super().live(token, max_proof_age)
        return self._far.live(token, max_proof_age)

    def as_told(self, view: BookView) -> tuple[BookView, int] | None:
        """Return what the mirror had when the newest word of a book left that has come to the consumer, and when."""
        if self._far is None:
            return super().as_told(view)
        word = self._far.word_of(view)
        if word is None or word.view is None:
            return None
        return word.view, self._start_ms + word.left // 1000

    def book_states(self) -> Iterable[tuple[str, BookState]]:
        """Return the states at the consumer."""
        replica = self.far.replica
        return [(token, found[0]) for token in replica.asset_ids if (found := replica.standing(token)) is not None]

    def describe(self, token: str) -> str:
        """Return how a book stands at the consumer, and why."""
        try:
            self.live(token, None)
        except NotLive as refusal:
            return str(refusal)
        return "LIVE"

    def fault_counts(self) -> dict[str, int]:
        """How often each fault struck, those of the ways included."""
        return {**super().fault_counts(), **self.far.struck()}

    def changed(self, tokens: Sequence[str]) -> None:
        """Have the publishers look."""
        if self._far is not None:
            for way in self._far.ways:
                way.changed(tokens)
                for token in way.owes(tokens):
                    self._violate("a doubt is told at once", token, "the relay says nothing of it")

    def tokens(self) -> list[str]:
        """All tokens that are read."""
        return list(self._market_of)

    def read_again(self, tokens: Iterable[str]) -> None:
        """Read what has changed at the consumer."""
        self._read_all(tokens)

    def disagreed(self, token: str, detail: str) -> None:
        """Two relays of one mirror contradict each other, which they cannot."""
        self._violate("relays of one mirror agree", token, detail)

    def differs(self, token: str, detail: str) -> None:
        """Two ways to read a book say different things."""
        self._violate("all reads of a book say the same", token, detail)


class FarHost:
    """The consumer's host: its clock, its process, and the ways to it."""

    def __init__(self, world: Relayed, storm: Storm, relay: str) -> None:
        self._world = world
        self._rng = rng = random.Random(f"far:{storm.seed}:{relay}")  # noqa: S311 - a simulation
        self._shown = HostClock.drawn(rng)
        self._clock = self._shown.as_seen(lambda: world.now, lambda: world.elapsed)
        self._epoch = self._clock.epoch
        self._busy = list(_busy(storm))
        self._struck: Counter[str] = Counter()
        # Until when nothing happens in the consumer, in true microseconds.
        self.stalled_until: int = 0
        self.ways: tuple[Way, ...] = tuple(
            (Way if ordered else Brokered)(
                world,
                self,
                self._busy,
                random.Random(f"relay:{storm.seed}:{relay}:{number}"),  # noqa: S311
                ordered=ordered,
            )
            for number, ordered in enumerate(RELAYS[relay])
        )
        # By token: what was read last, and of what word that was.
        self._read: dict[str, tuple[Word, BookView]] = {}
        self.replica: Replica = self._new_replica()
        world.at(world.now + int(TICK * MICRO), self._tick)
        world.at(world.now + MICRO, self._strike)

    def there(self) -> float:
        """Its clock, in seconds; where it was set, whatever was dated by it is dated anew."""
        now = self._clock.now()
        if self._clock.epoch != self._epoch:
            self._epoch = self._clock.epoch
            self.replica.stepped(now)
        return now

    def live(self, token: str, max_proof_age: float | None) -> BookView:
        """Read a book for execution, in both ways that there are."""
        now = self.there()
        view = self.replica.live(token, now, max_proof_age)
        top, settled = self.replica.top(token, now, max_proof_age), self.replica.is_settled(token, now)
        for what in BOTH:
            if getattr(top, what) != getattr(view, what):
                self._world.differs(token, f"{what}: {view}, and {top}")
        standing = self.replica.standing(token)
        if standing is None or standing[0] is not BookState.LIVE:
            self._world.differs(token, f"{view}, and {standing}")
        if settled != view.settled:
            self._world.differs(token, f"{view}: settled {view.settled}, and {settled}")
        return view

    def word_of(self, view: BookView) -> Word | None:
        """Return the newest word that has come from a relay and that a view is of; None: it is of none.

        What is settled is so for all that any relay has told. A doubt that came and went at the mirror since the last
        read is counted in it, and levels that do not connect.
        """
        token = view.token
        newest = (way.told.newest(token) for way in self.ways)
        word = next((each for each in newest if each is not None and each.allows(view, self._world.now)), None)
        if word is None or (view.settled and any(way.told.known_ms(token) > view.exchange_ms for way in self.ways)):
            return None
        # One of two relays is enough not to doubt.
        before = self._read.get(token) if len(self.ways) == 1 else None
        if before is not None and not word.follows(view, *before):
            return None
        self._read[token] = (word, view)
        return word

    def struck(self) -> Counter[str]:
        """How often each fault struck."""
        return sum((way.struck for way in self.ways), Counter(self._struck))

    def received(self, link: Link, data: bytes) -> None:
        """Take a frame, and read what it changed."""
        self.replica.received(link, data, self.there())
        self._after()

    def looks(self) -> None:
        """Look at what happened to a link."""
        self.replica.look(self.there())
        self._after()

    def _new_replica(self) -> Replica:
        self._read.clear()
        replica = Replica([way.link for way in self.ways], self._world.engine_config.max_proof_age)
        replica.want(self._world.tokens(), self.there())
        return replica

    def _tick(self) -> None:
        if self._world.now >= self.stalled_until:
            self.replica.tick(self.there())
            self._after()
        self._world.at(self._world.now + int(TICK * MICRO), self._tick)

    def _after(self) -> None:
        self.replica.events()
        for found in self.replica.disagreements():
            self._world.disagreed(found.token, f"{found}")
        self._world.read_again(self.replica.dirty())

    def _strike(self) -> None:
        rng, now = self._rng, self._world.now
        over = next((end for start, end in self._busy if start <= now / MICRO < end), None)
        if over is not None:
            fault = rng.choice(("consumer_restart", "consumer_stall", "consumer_clock_step"))
            self._struck[fault] += 1
            match fault:
                case "consumer_restart":
                    for way in self.ways:
                        way.cut("the consumer was restarted")
                        way.new_link()
                    self.replica = self._new_replica()
                case "consumer_stall":
                    self.stalled_until = min(now + int(rng.uniform(*LASTS) * MICRO), int(over * MICRO))
                case _:
                    self._shown.step(rng)
        self._world.at(now + int(rng.uniform(*EVERY) * REST * MICRO), self._strike)


def _busy(storm: Storm) -> Iterable[tuple[float, float]]:
    """The times in which faults strike, in seconds."""
    begin = 5.0
    for start, end in storm.calms():
        yield begin, start
        begin = end + 5.0
