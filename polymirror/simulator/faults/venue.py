"""Faults of the venue itself: restarts, its clock, and what it hashes.

One small class each, with an id, what happens, and where it was seen. They change the exchange, for
all of its clients, at moments of its own agenda; :meth:`~polymirror.simulator.faults.line.FaultLine.attach`
makes them begin. Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.faults.base import Fault, Plan
from polymirror.simulator.faults.rest import BOOK_PATHS
from polymirror.simulator.frames import Answer, Call

if TYPE_CHECKING:
    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.exchange import Exchange

CHANCE_EVERY_MS = 5_000
"""How often the venue itself, and each market, gives these faults a chance."""


class VenueFault(Fault):
    """The base of faults of the whole venue: one chance every five seconds."""

    default_share: ClassVar[float] = 0.02

    def attach(self, exchange: Exchange) -> None:
        """Come back regularly as an event of this exchange."""
        if exchange is not self.exchange:
            super().attach(exchange)
            exchange.agenda.add(exchange.now_ms + CHANCE_EVERY_MS, partial(self._chance, exchange))

    def _chance(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        self.happen(exchange, at_ms, out)
        exchange.agenda.add(at_ms + CHANCE_EVERY_MS, partial(self._chance, exchange))

    def happen(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        """Perhaps strike at this moment."""
        raise NotImplementedError


class EngineRestart(VenueFault):
    """The matching engine restarts: calls answer 425, then 503, and nothing trades for some 90 seconds.

    Seen on the venue's pages, which disagree on the day; afterwards orders rest for a while before they
    trade again (post-only). Sockets stay open and PING is answered.
    """

    id: ClassVar[str] = "engine_restart"
    default_share: ClassVar[float] = 0.005
    default_length_ms: ClassVar[int] = 90_000

    def happen(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        """Stop everything for the planned length."""
        del out
        if at_ms >= exchange.post_only_until_ms and self.strikes(at_ms):
            exchange.paused_until_ms = at_ms + self.plan.length_ms
            exchange.post_only_until_ms = exchange.paused_until_ms + self.plan.length_ms // 6

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """No books while the engine is away."""
        left_ms = self.exchange.paused_until_ms - now_ms if self.exchange is not None else 0
        if left_ms <= 0 or call.path not in BOOK_PATHS:
            return answer
        if left_ms > self.plan.length_ms // 2:
            return Answer(425, '{"error":"Too Early"}')
        return Answer(503, '{"error":"Trading is currently disabled. Check polymarket.com for updates"}')


class RestEmptyList(EngineRestart):
    """While the matching engine restarts, calls for books answer ``[]`` or with the books of other tokens, with 200.

    Not reported by name; ``[]`` is also the answer about tokens that do not exist, so it is no news of a settlement.
    """

    id: ClassVar[str] = "rest_empty_list"

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Nothing, or what nobody asked for, while the engine is away."""
        exchange = self.exchange
        if exchange is None or exchange.paused_until_ms <= now_ms or call.path not in BOOK_PATHS:
            return answer
        asked = call.body.decode(errors="replace") + call.query.get("token_id", "")
        others = [token for token in exchange.tokens if token not in asked]
        books = [book for book in map(exchange.rest_book, self.rng.sample(others, min(2, len(others)))) if book]
        if self.rng.random() < 0.5 or not books:
            return Answer(200, "[]\n")
        return Answer(200, f"[{','.join(books)}]\n" if call.path == "/books" else f"{books[0]}\n")


class HashDialect(VenueFault):
    """From some moment on the venue hashes fewer keys: stream, books and calls alike.

    Seen in recordings: in October 2025 nine keys were hashed, without the last trade price. Six, without
    the market's constants, is a precaution. It ends after the planned length.
    """

    id: ClassVar[str] = "hash_dialect"
    default_share: ClassVar[float] = 0.005
    default_length_ms: ClassVar[int] = 60_000

    def happen(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        """Hash nine or six keys for the planned length."""
        del out
        if exchange.markets[0].hashed_keys == 10 and self.strikes(at_ms):
            set_hashed_keys(self.rng.choice((9, 6)), exchange, at_ms, [])
            exchange.agenda.add(at_ms + self.plan.length_ms, partial(set_hashed_keys, 10, exchange))


def set_hashed_keys(keys: int, exchange: Exchange, at_ms: int, out: Output) -> None:
    """Let the venue hash this many keys from now on."""
    del at_ms, out
    for market in exchange.markets:
        market.hashed_keys = keys


class ClockStep(VenueFault):
    """The venue's clock steps: timestamps of messages, books and ``/time`` jump forward or back.

    Not reported for the venue; a step of the client's own clock looks the same from its side. The clock
    is at most half the planned length off, so a step back is made up for within the length.
    """

    id: ClassVar[str] = "clock_step"
    default_length_ms: ClassVar[int] = 1_000
    # A clock that was set back looks like a stream that is late.
    heal_seconds: ClassVar[float | None] = 25.0

    def happen(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        """Set the venue's clock to another offset from true time."""
        del out
        if self.strikes(at_ms):
            half = self.plan.length_ms // 2
            exchange.clock_offset_ms = self.rng.randint(-half, half)


class ClockSkew(Fault):
    """``/time`` is off from the timestamps of the messages for some time, by up to five seconds.

    Not reported for the venue; but calls and messages come from different machines, the time is stated
    in whole seconds, and nothing says that the clocks agree.
    """

    id: ClassVar[str] = "clock_skew"
    default_share: ClassVar[float] = 0.2
    default_length_ms: ClassVar[int] = 20_000
    max_skew_seconds: ClassVar[int] = 5

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        # When the skew ends, and how large it is.
        self._until_ms = 0
        self._seconds = 0

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Shift the time that is stated; all calls during an occurrence by the same amount."""
        if call.path != "/time" or answer.status != 200 or not answer.body.isdigit():
            return answer
        if now_ms >= self._until_ms and self.strikes(now_ms):
            self._until_ms = now_ms + self.plan.length_ms
            self._seconds = self.rng.choice((-1, 1)) * self.rng.randint(1, self.max_skew_seconds)
        if now_ms >= self._until_ms:
            return answer
        return answer._replace(body=str(int(answer.body) + self._seconds))


class NoTime(Fault):
    """``/time`` does not answer, from the start: the two clocks can only be told by what the stream brings.

    Not reported for the venue; it is the one call that a client does not need for its books.
    """

    id: ClassVar[str] = "no_time"
    default_share: ClassVar[float] = 1.0
    heal_seconds: ClassVar[float | None] = 25.0
    from_the_start: ClassVar[bool] = True

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Silence."""
        return answer._replace(hangs=True) if call.path == "/time" and self.strikes(now_ms) else answer
