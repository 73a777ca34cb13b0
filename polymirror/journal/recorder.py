"""An engine that writes down its inputs: each before it is done, so that a replay does the same at the same times.

Reads are not written down: they change nothing but how often reads were refused. What the engine asks for is, for
whoever reads a journal; a replay asks for the same by itself. Here lines are made; where they go is the caller's
business (:mod:`polymirror.journal.journal`: to files; an incident's: to memory), and none of it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from polymirror.core.effects import (
    AskGamma,
    CloseSocket,
    FetchBooks,
    OpenSocket,
    Reconnect,
    Subscribe,
    Unsubscribe,
    Vouch,
)
from polymirror.core.engine import Engine
from polymirror.core.messages import book_text
from polymirror.core.states import BookState
from polymirror.journal.format import (
    MADE,
    Answered,
    Asked,
    Body,
    Book,
    Closed,
    Connected,
    Heard,
    Sent,
    Slept,
    Ticked,
    Used,
    pack,
    stamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.checksum import Constants
    from polymirror.core.effects import Effect
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.messages import Snapshot
    from polymirror.journal.format import Line, Stamp
    from polymirror.venue.rest import Bodies

MAX_REQUESTS: Final = 64
"""Requests whose answer may still come, and of which it is kept what was asked for."""

# These are called with every frame, and cost less than super() and round().
_receive: Final = Engine.receive
_effects: Final = Engine.effects
_whole: Final = float.__round__


@define(eq=False)
class _Questions:
    """What was asked of REST, by request."""

    asked: dict[int, tuple[str, ...]] = field(factory=dict)
    # The texts of answers that are about to be taken.
    bodies: dict[int, Bodies] = field(factory=dict)


@define(eq=False)
class _WholeBooks:
    """Which books are to be recorded whole, and when all of them are again: ``seconds`` later, and with a new file."""

    seconds: float
    count_files: Callable[[], int]
    files: int
    at: float = float("-inf")
    due: dict[str, None] = field(factory=dict)

    def begin(self, now: float) -> bool:
        """Return whether all books are due from now on."""
        begun = self.count_files()
        if now < self.at and begun == self.files:
            return False
        if now >= self.at:
            self.at = now + self.seconds
        self.files = begun
        return True


class RecordingEngine(Engine):
    """An engine whose inputs go to ``put`` as lines. ``wall`` is the time of day in seconds.

    Every ``book_seconds`` all LIVE books are written whole, one with each input that comes then: whoever begins in the
    middle has no more to read than that. So they are when ``files()`` changes, for whoever opens a file alone.
    """

    def __init__(
        self,
        config: EngineConfig,
        rng: Random,
        put: Callable[[Line], None],
        wall: Callable[[], float],
        book_seconds: float = 60.0,
        files: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(config, rng)
        # No more than these: with over 30, the engine's among them, Python finds each more slowly.
        self._put = put
        self._wall = wall
        # The number and the time of the next line.
        self._n = 0
        self._last: Stamp = 0
        # Whether trades and such are among its events.
        self._listens = False
        self._questions = _Questions()
        self._whole_books = _WholeBooks(book_seconds, files, files())

    @property
    def lines(self) -> int:
        """How many lines were made so far: the number of the next one."""
        return self._n

    def note_bodies(self, request: int, bodies: Bodies) -> None:
        """Keep the texts of an answer that is handed in next."""
        self._questions.bodies[request] = bodies

    def record_books(self, asset_ids: Iterable[str] | None = None) -> None:
        """Have books (default: all) recorded whole soon: what came before may be missing where the lines go."""
        self._whole_books.due.update(dict.fromkeys(self.asset_ids if asset_ids is None else asset_ids))

    def _next(self, now: float) -> tuple[int, Stamp, int]:
        """Number the next line."""
        n = self._n
        self._n = n + 1
        self._last = at = stamp(now)
        return n, at, round(self._wall() * 1e9)

    # ---- Inputs ------------------------------------------------------------------------------------

    def receive(self, number: int, data: bytes | str, now: float, read_at: float | None = None, lane: int = 0) -> None:
        """As :meth:`Engine.receive`."""
        n = self._n
        self._n = n + 1
        # As stamp() and pack() do it: this is the hot path.
        whole = _whole(now * 1e9)
        self._last = at = whole if whole / 1e9 == now else now
        if read_at is None:
            read: Stamp | None = None
        else:
            whole = _whole(read_at * 1e9)
            read = whole if whole / 1e9 == read_at else read_at
        try:
            text, form = data.decode(), ""  # type: ignore[union-attr] # what is no bytes is rare
        except (AttributeError, UnicodeDecodeError):
            text, form = pack(data)
        self._put(Heard(n, at, _whole(self._wall() * 1e9), number, text, read, lane, form))
        _receive(self, number, data, now, read_at, lane)
        if self._whole_books.due:
            self._record_one(now)

    def track(
        self,
        condition_id: str,
        asset_ids: Sequence[str],
        now: float,
        *,
        constants: Constants | None = None,
        fee: FeeSchedule | None = None,
    ) -> None:
        """As :meth:`Engine.track`."""
        known = None if constants is None else (constants.min_order_size, constants.tick_size, constants.neg_risk)
        terms = None if fee is None else (str(fee.rate), fee.exponent, fee.taker_only, str(fee.rebate_rate))
        self._put(Used(*self._next(now), "track", condition_id, tuple(asset_ids), known, terms))
        super().track(condition_id, asset_ids, now, constants=constants, fee=fee)

    def untrack(self, condition_id: str, now: float) -> None:
        """As :meth:`Engine.untrack`."""
        for asset_id in self.tokens_of(condition_id):
            self._whole_books.due.pop(asset_id, None)
        self._put(Used(*self._next(now), "untrack", condition_id))
        super().untrack(condition_id, now)

    def connected(self, number: int, now: float, *, asked_at: float | None = None, lane: int = 0) -> None:
        """As :meth:`Engine.connected`."""
        asked = None if asked_at is None else stamp(asked_at)
        self._put(Connected(*self._next(now), number, lane, asked))
        super().connected(number, now, asked_at=asked_at, lane=lane)

    def disconnected(self, number: int, now: float, why: str = "", *, resolved: bool = False, lane: int = 0) -> None:
        """As :meth:`Engine.disconnected`."""
        self._put(Closed(*self._next(now), "disconnected", number, lane, why, resolved))
        super().disconnected(number, now, why, resolved=resolved, lane=lane)

    def unreachable(self, number: int, why: str, now: float, *, lane: int = 0) -> None:
        """As :meth:`Engine.unreachable`."""
        self._put(Closed(*self._next(now), "unreachable", number, lane, why))
        super().unreachable(number, why, now, lane=lane)

    def overflow(self, number: int, now: float) -> None:
        """As :meth:`Engine.overflow`."""
        self._put(Closed(*self._next(now), "overflow", number))
        super().overflow(number, now)

    def gap(self, seconds: float, now: float) -> None:
        """As :meth:`Engine.gap`."""
        self._put(Slept(*self._next(now), seconds))
        super().gap(seconds, now)

    def market_status(self, condition_id: str, closed: bool | None, now: float) -> None:  # noqa: FBT001
        """As :meth:`Engine.market_status`."""
        self._put(Answered(*self._next(now), "market", market=condition_id, closed=closed))
        super().market_status(condition_id, closed, now)

    def books(
        self, request: int, books: Mapping[str, Snapshot], now: float, failed: Container[str] = (), why: str = ""
    ) -> None:
        """As :meth:`Engine.books`."""
        asked, kept = self._questions.asked.pop(request, ()), self._questions.bodies.pop(request, None)
        if kept is None:
            text = f"[{','.join(map(book_text, books.values()))}]"
            bodies: tuple[Body, ...] = (Body(text, form=MADE),) if books else ()
        else:
            bodies = tuple([_body(tokens, body, asked) for tokens, body in kept])
        lost = tuple([asset_id for asset_id in asked if asset_id in failed])
        self._put(Answered(*self._next(now), "books", request, bodies, lost, why))
        super().books(request, books, now, failed, why)

    def books_failed(self, request: int, now: float, why: str = "no answer") -> None:
        """As :meth:`Engine.books_failed`."""
        self._questions.asked.pop(request, None)
        self._put(Answered(*self._next(now), "books_failed", request, why=why))
        super().books_failed(request, now, why)

    def prove(self, asset_id: str, now: float) -> None:
        """As :meth:`Engine.prove`."""
        self._put(Used(*self._next(now), "prove", tokens=(asset_id,)))
        super().prove(asset_id, now)

    def resync(self, asset_id: str, now: float) -> None:
        """As :meth:`Engine.resync`."""
        self._put(Used(*self._next(now), "resync", tokens=(asset_id,)))
        super().resync(asset_id, now)

    def server_time(self, seconds: int, sent: float, received: float) -> None:
        """As :meth:`Engine.server_time`."""
        n, at, wall = self._next(received)
        self._put(Answered(n, at, wall, "time", seconds=seconds, sent=stamp(sent), received=at))
        super().server_time(seconds, sent, received)

    def time_asked(self, now: float) -> None:
        """As :meth:`Engine.time_asked`."""
        self._put(Asked(*self._next(now), "time"))
        super().time_asked(now)

    def tick(self, now: float) -> None:
        """As :meth:`Engine.tick`."""
        self._put(Ticked(*self._next(now)))
        super().tick(now)
        if self._whole_books.begin(now):
            self.record_books()
        if self._whole_books.due:
            self._record_one(now)

    def listen(self, *, wanted: bool) -> None:
        """As :meth:`Engine.listen`."""
        # It is called again and again with what it was told before.
        if wanted is not self._listens:
            self._listens = wanted
            n, wall = self._n, round(self._wall() * 1e9)
            self._n += 1
            self._put(Used(n, self._last, wall, "listen", wanted=wanted))
        super().listen(wanted=wanted)

    # ---- Output ------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """As :meth:`Engine.effects`."""
        drained = _effects(self)
        if drained:
            for effect in drained:
                n, wall = self._n, round(self._wall() * 1e9)
                self._n += 1
                self._put(self._asked_for(effect, n, wall))
        return drained

    def _asked_for(self, effect: Effect, n: int, wall: int) -> Line:
        at = self._last
        if isinstance(effect, AskGamma):
            return Asked(n, at, wall, "market", market=effect.condition_id)
        if isinstance(effect, FetchBooks):
            asked = self._questions.asked
            asked[effect.request] = effect.asset_ids
            if len(asked) > MAX_REQUESTS:
                del asked[next(iter(asked))]
            return Asked(n, at, wall, "books", effect.request, effect.asset_ids)
        if isinstance(effect, Reconnect):
            return Sent(n, at, wall, effect.socket, "reconnect", why=effect.why, lane=effect.lane)
        if isinstance(effect, (Vouch, CloseSocket)):
            return Sent(n, at, wall, effect.socket, "vouch" if isinstance(effect, Vouch) else "close")
        what = {OpenSocket: "open", Subscribe: "subscribe", Unsubscribe: "unsubscribe"}[type(effect)]
        return Sent(n, at, wall, effect.socket, what, effect.asset_ids)

    # ---- Whole books -------------------------------------------------------------------------------

    def _record_one(self, now: float) -> None:
        """Record the next book that is due. One that is not proven to its newest change waits."""
        due = self._whole_books.due
        asset_id = next(iter(due))
        del due[asset_id]
        book = self.restated(asset_id)
        if book is not None:
            self._put(Book(*self._next(now), asset_id, book_text(book)))
        elif self.peek_state(asset_id) is BookState.LIVE:
            # With an input that comes after those that wait already.
            due[asset_id] = None


def _body(tokens: tuple[str, ...], body: bytes, asked: tuple[str, ...]) -> Body:
    text, form = pack(body)
    return Body(text, None if tokens == asked else tokens, form)
