"""A replay that does not begin at the beginning: with whole books, and with the frames that came from then on.

Its engine decides anew, and asks REST for other books at other times than the one that was recorded: it gets the
recorded answers to questions that were sent after its own. The books are those that the venue showed, but not the times
of their proofs. Used by :mod:`polymirror.journal.replay` for what was not recorded from its start or without a gap.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import evolve

from polymirror.core.messages import PriceChange, Snapshot, decode_frame
from polymirror.errors import UnknownToken
from polymirror.journal.format import (
    Answered,
    Asked,
    Book,
    Closed,
    Connected,
    Heard,
    Lost,
    Slept,
    Used,
    seconds_of,
    unpack,
)
from polymirror.journal.frames import REPLAY_CONFIG, FrameReplay
from polymirror.journal.player import books_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polymirror.core.effects import FetchBooks
    from polymirror.core.events import Event
    from polymirror.journal.format import Header, Line


MAX_QUESTIONS: Final = 16
"""Questions to REST that wait for an answer."""

MAX_TICKS: Final = 10_000
"""Deadlines that are kept in one silence."""

PRIMED_CONFIG: Final = evolve(REPLAY_CONFIG, request_timeout=10.0)
"""As for frames alone, but REST answers now and then."""


class Primed(FrameReplay):
    """Replays lines of one session from any of them on.

    ``markets`` are tracked from the beginning, as of ``now``: each by its condition id, with its tokens.
    """

    def __init__(self, header: Header, markets: Mapping[str, Sequence[str]] | None = None, now: float = 0.0) -> None:
        self._happened: list[Event] = []
        self._changed: dict[str, None] = {}
        # Questions to REST, with their time: ours that wait, and those that were recorded.
        self._open_questions: dict[int, tuple[tuple[str, ...], float]] = {}
        self._asked: dict[int, tuple[tuple[str, ...], float]] = {}
        super().__init__(PRIMED_CONFIG)
        self.pass_time(now)
        self._hedge = header.hedge
        # Recorded sockets: the markets that were heard on each, and the lanes that are closed.
        self._heard: dict[int, dict[str, None]] = {}
        self._closed: dict[int, set[int]] = {}
        for market, tokens in (markets or {}).items():
            self._track(market, tokens)

    @property
    def now(self) -> float:
        """The time of the newest input, in seconds on the mirror's clock."""
        return self._now

    def play(self, line: Line) -> tuple[list[Event], tuple[str, ...]]:
        """Replay a line; return what happened, and the tokens whose readable view changed."""
        at = seconds_of(line.t)
        match line:
            case Heard():
                data = unpack(line.data, line.form)
                self._note(line.socket, data)
                self.frame(data, at)
            case Book() if not self._has_book(line.token):
                self.frame(line.data, at)
            case Connected():
                self._closed.setdefault(line.socket, set()).discard(line.lane)
            case Closed(what="unreachable"):
                pass
            case Closed():
                self._lose(line, at)
            case Slept(seconds=seconds):
                self.pass_time(at)
                self.engine.gap(seconds, self._now)
                self._drain()
            case Lost():
                self._doubt_all(at)
            case Used(what="untrack"):
                self.forget(line.market, at)
            case Asked() | Answered():
                self._rest(line, at)
            case _:
                self.pass_time(at)
        happened, self._happened = self._happened, []
        changed, self._changed = tuple(self._changed), {}
        return happened, changed

    def _advance(self, until: float) -> None:
        """Let the engine do what is due until then (seconds), each thing at its time."""
        for _ in range(MAX_TICKS):
            due = self.engine.next_deadline()
            if due > until:
                break
            self._now = max(self._now, due)
            self.engine.tick(self._now)
            self._drain()
        self._now = max(self._now, until)

    def _fetch(self, asked: FetchBooks) -> None:
        self._open_questions[asked.request] = (asked.asset_ids, self._now)
        if len(self._open_questions) > MAX_QUESTIONS:
            # Its engine has given it up.
            del self._open_questions[next(iter(self._open_questions))]

    def _rest(self, line: Asked | Answered, at: float) -> None:
        self.pass_time(at)
        if line.what != "books":
            return
        if isinstance(line, Answered):
            self._answer(line)
        else:
            self._asked[line.request] = (line.tokens, at)

    def _answer(self, line: Answered) -> None:
        """Hand a recorded answer to whoever asked before the recorded question was sent."""
        tokens, sent = self._asked.pop(line.request, ((), float("-inf")))
        found = books_in(line, tokens)
        for request, (wanted, at) in tuple(self._open_questions.items()):
            if at <= sent and not found.keys().isdisjoint(wanted):
                del self._open_questions[request]
                given = {token: found[token] for token in wanted if token in found}
                self.engine.books(request, given, self._now, [token for token in wanted if token not in given])
        self._drain()

    def _has_book(self, token: str) -> bool:
        """Whether a token is followed already: what we wrote ourselves proves nothing."""
        return self.engine.standing(token) is not None and self.engine.proof_of(token) is not None

    def _note(self, socket: int, data: bytes | str) -> None:
        markets = self._heard.setdefault(socket, {})
        for message in decode_frame(data):
            if isinstance(message, (PriceChange, Snapshot)):
                markets[message.market] = None

    def _lose(self, line: Closed, at: float) -> None:
        """A connection ended: its books are lost until they come again, unless another one of its socket is open."""
        closed = self._closed.setdefault(line.socket, set())
        closed.add(line.lane)
        if line.what == "overflow" or len(closed) >= self._hedge:
            self._resync([t for market in self._heard.get(line.socket, ()) for t in self.engine.tokens_of(market)], at)

    def _doubt_all(self, at: float) -> None:
        self._resync(list(self.engine.asset_ids), at)

    def _resync(self, tokens: list[str], at: float) -> None:
        self.pass_time(at)
        for token in tokens:
            with suppress(UnknownToken):
                self.engine.resync(token, self._now)
        self._drain()

    def _tell(self, events: list[Event], changed: tuple[str, ...]) -> None:
        self._happened += events
        self._changed.update(dict.fromkeys(changed))
