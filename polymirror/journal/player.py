"""The engine of a session, once more: recorded inputs go into a new one, at the recorded times and to the last bit.

What comes out is what came out then, transition by transition. Used by :mod:`polymirror.journal.replay`.
"""

from __future__ import annotations

import random
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from polymirror.config import EngineConfig
from polymirror.core.checksum import Constants
from polymirror.core.effects import FetchBooks
from polymirror.core.engine import Engine
from polymirror.core.fees import FeeSchedule
from polymirror.core.messages import decode_books
from polymirror.errors import ConfigError, DecodeError, UnknownToken
from polymirror.journal.format import (
    MADE,
    Answered,
    Asked,
    Closed,
    Connected,
    Heard,
    Slept,
    Ticked,
    Used,
    seconds_of,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.core.events import Event
    from polymirror.core.messages import Snapshot
    from polymirror.journal.format import Header, Line


class Player:
    """Replays the lines of one session, from its first one. Raises DecodeError for settings that are not known here."""

    def __init__(self, header: Header) -> None:
        try:
            config = EngineConfig(**header.engine)
        except (TypeError, ConfigError) as error:
            raise DecodeError("the settings in a journal", str(error)) from error
        self.engine: Engine = Engine(config, random.Random(f"engine:{header.seed}"))  # noqa: S311 - jitter
        # The time of the newest input, in seconds on the mirror's clock.
        self.now: float = 0.0
        self._asked: dict[int, tuple[str, ...]] = {}

    def play(self, line: Line) -> tuple[list[Event], tuple[str, ...]]:
        """Replay a line; return what happened, and the tokens whose readable view changed.

        Raises DecodeError for a line that no recorder wrote.
        """
        engine, self.now = self.engine, max(self.now, seconds_of(line.t))
        # What is refused now was refused then, too.
        with suppress(ConfigError, UnknownToken):
            self._input(line, seconds_of(line.t))
        events = engine.events()
        for effect in engine.effects():
            if isinstance(effect, FetchBooks):
                self._asked[effect.request] = effect.asset_ids
        return events, engine.dirty()

    def _input(self, line: Line, now: float) -> None:
        engine = self.engine
        match line:
            case Heard(socket=socket, read=read, lane=lane):
                data = line.data.encode() if not line.form else unpack(line.data, line.form)
                engine.receive(socket, data, now, None if read is None else seconds_of(read), lane)
            case Ticked():
                engine.tick(now)
            case Connected(socket=socket, lane=lane, asked=asked):
                engine.connected(socket, now, asked_at=None if asked is None else seconds_of(asked), lane=lane)
            case Closed():
                self._closed(line, now)
            case Answered():
                self._answered(line, now)
            case Slept(seconds=seconds):
                engine.gap(seconds, now)
            case Asked(what="time"):
                engine.time_asked(now)
            case Used():
                self._used(line, now)
            case _:
                pass

    def _closed(self, line: Closed, now: float) -> None:
        engine = self.engine
        if line.what == "disconnected":
            engine.disconnected(line.socket, now, line.why, resolved=line.resolved, lane=line.lane)
        elif line.what == "unreachable":
            engine.unreachable(line.socket, line.why, now, lane=line.lane)
        else:
            engine.overflow(line.socket, now)

    def _answered(self, line: Answered, now: float) -> None:
        engine = self.engine
        if line.what == "books":
            engine.books(line.request, books_in(line, self._asked.pop(line.request, ())), now, line.failed, line.why)
        elif line.what == "books_failed":
            engine.books_failed(line.request, now, line.why)
        elif line.what == "market":
            engine.market_status(line.market, line.closed, now)
        else:
            engine.server_time(line.seconds, seconds_of(line.sent), seconds_of(line.received))

    def _used(self, line: Used, now: float) -> None:
        engine = self.engine
        match line.what:
            case "track":
                constants = None if line.constants is None else Constants(*line.constants)
                fee = line.fee
                terms = None if fee is None else FeeSchedule(decimal_in(fee[0]), fee[1], fee[2], decimal_in(fee[3]))
                engine.track(line.market, line.tokens, now, constants=constants, fee=terms)
            case "untrack":
                engine.untrack(line.market, now)
            case "prove":
                engine.prove(line.tokens[0], now)
            case "resync":
                engine.resync(line.tokens[0], now)
            case _:
                engine.listen(wanted=line.wanted)


def books_in(line: Answered, asked: Sequence[str]) -> dict[str, Snapshot]:
    """Read the texts of an answer, of what was ``asked`` for, as the client does. Raises DecodeError."""
    found: dict[str, Snapshot] = {}
    for body in line.bodies:
        text = unpack(body.text, "" if body.form == MADE else body.form)
        wanted = frozenset(asked if body.tokens is None else body.tokens)
        books = decode_books(text if isinstance(text, bytes) else text.encode())
        # One that was written from the books has those that were taken, whatever was asked for.
        found.update({book.asset_id: book for book in books if body.form == MADE or book.asset_id in wanted})
    return found


def decimal_in(text: str) -> Decimal:
    """Read an exact number. Raises DecodeError for what is none."""
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise DecodeError("the fee terms in a journal", f"{text[:40]!r} is no number") from error
