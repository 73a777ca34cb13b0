"""A replay that does not begin at the beginning: with whole books, and with the frames that came from then on.

There is no REST in it, and its engine decides anew: the books are those that the venue showed, but the times of their
proofs are not those of the mirror that was recorded. Used by :mod:`polymirror.journal.replay` for what was not recorded
from its start, or not without a gap.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from polymirror.core.messages import PriceChange, Snapshot, decode_frame
from polymirror.errors import UnknownToken
from polymirror.journal.format import Book, Closed, Connected, Heard, Lost, Slept, Used, seconds_of, unpack
from polymirror.journal.frames import FrameReplay

if TYPE_CHECKING:
    from polymirror.core.events import Event
    from polymirror.journal.format import Header, Line


class Primed(FrameReplay):
    """Replays lines of one session from any of them on."""

    def __init__(self, header: Header) -> None:
        super().__init__()
        self._hedge = header.hedge
        # Recorded sockets: the markets that were heard on each, and the lanes that are closed.
        self._heard: dict[int, dict[str, None]] = {}
        self._closed: dict[int, set[int]] = {}
        self._happened: list[Event] = []
        self._changed: dict[str, None] = {}

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
            case _:
                self.pass_time(at)
        happened, self._happened = self._happened, []
        changed, self._changed = tuple(self._changed), {}
        return happened, changed

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
