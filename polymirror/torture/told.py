"""What may be read at the far end of a relay: what the mirror itself had when the newest word that has come there left.

Nothing here is told by the relay or by the copy that are judged: whenever a frame leaves, the simulation looks at the
mirror's own books, and keeps how they stood until a newer word has come. Times are true microseconds unless said.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from attrs import evolve, frozen

from polymirror.core.states import BookState
from polymirror.errors import NotLive, UnknownToken
from polymirror.torture.timeline import MICRO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.engine import Engine
    from polymirror.core.view import BookView
    from polymirror.relay.wire import Format

SILENCE: Final = 1_750_000
"""Nothing is read so long after the newest word about it left: as docs/relay.md has it."""

STATES: Final = ("book", "change")
"""Items that say what a book is."""

SLACK: Final = 1_000
"""The hosts' clocks go at rates of their own."""


class Near(Protocol):
    """The world in which the mirror lives."""

    engine: Engine

    @property
    def seconds(self) -> float:
        """The mirror's own clock."""
        ...


@frozen
class Word:
    """How the mirror had a token when something about it left."""

    number: int
    """Words leave in this order."""
    left: int
    token: str
    view: BookView | None
    """None: it did not have it."""
    until: int | None
    """After this moment the mirror itself would not read it, for all that it had heard."""
    is_state: bool = False
    """Whether it said what the book is, and not only that it is as before."""
    lapses: int = 0
    """How often nothing might be read for a while before it came."""

    def allows(self, view: BookView, now: int) -> bool:
        """Whether a granted read is of this word, as long as it is the newest that has come."""
        told = self.view
        if told is None or told.state is not BookState.LIVE or self.until is None:
            return False
        if now > min(self.until, self.left + SILENCE) + SLACK:
            return False
        proven, read = self.left - told.verified_age * MICRO, now - view.verified_age * MICRO
        return (
            read <= proven + SLACK
            and view.levels == told.levels
            and (view.market, view.exchange_ms, view.tick_size_e4) == (told.market, told.exchange_ms, told.tick_size_e4)
            and (told.settled or not view.settled)
        )

    def follows(self, view: BookView, earlier: Word, before: BookView) -> bool:
        """Whether a read of this word counts what befell the mirror's book since a read of an earlier one."""
        told, then = self.view, earlier.view
        if told is None or then is None:
            return False
        doubted = self.lapses > earlier.lapses or told.doubts > then.doubts
        return (not doubted or view.doubts > before.doubts) and (told.epoch <= then.epoch or view.epoch > before.epoch)


class Told:
    """The words on one way from a relay to a consumer."""

    def __init__(self, world: Near) -> None:
        self._world = world
        self._numbers = 0
        # By token: the newest of those that have left on this connection, and of those that have come.
        self._left: dict[str, Word] = {}
        self._newest: dict[str, Word] = {}
        # By token: the newest that has come and says what the book is.
        self._states: dict[str, Word] = {}
        # How often all was forgotten, and by token how often it was silent for too long.
        self._forgotten = 0
        self._silences: Counter[str] = Counter()

    def leave(self, frame: bytes, format_: Format, now: int) -> list[Word]:
        """A frame leaves the mirror's host: return how the books that it is about stand there."""
        items = (msgspec.json if format_ == "json" else msgspec.msgpack).decode(frame)["items"]
        states: dict[str, bool] = {}
        for item in items:
            if "token" in item:
                states[item["token"]] = states.get(item["token"], False) or item["is"] in STATES
        words = [self._word(token, now, is_state=is_state) for token, is_state in states.items()]
        self._left.update({word.token: word for word in words})
        return words

    def _word(self, token: str, now: int, *, is_state: bool) -> Word:
        self._numbers += 1
        engine, seconds = self._world.engine, self._world.seconds
        try:
            view = engine.peek(token, seconds)
        except UnknownToken:
            return Word(self._numbers, now, token, None, None)
        until = engine.readable_until(token)
        until = None if until is None else now + round((until - seconds) * MICRO)
        if until is not None and until - now > SLACK:
            try:
                engine.live(token, seconds + (until - now - SLACK) / MICRO)
            except NotLive:
                # It says what it does not do.
                until = now
        return Word(self._numbers, now, token, view, until, is_state)

    def opened(self) -> None:
        """Another connection: nothing has left on it yet."""
        self._left.clear()

    def owes(self, token: str) -> bool:
        """Whether the mirror is in doubt about a book that it was sure of when something about it left last."""
        left = self._left.get(token)
        if left is None or left.view is None or left.view.state is not BookState.LIVE:
            return False
        return self._world.engine.peek_state(token) is not BookState.LIVE

    def come(self, words: Iterable[Word], now: int) -> None:
        """A frame has come as it left."""
        for word in words:
            if word.is_state and _is_newer(word, self._states.get(word.token)):
                self._states[word.token] = word
            newest = self._newest.get(word.token)
            if _is_newer(word, newest):
                self._silences[word.token] += newest is not None and now - newest.left > SILENCE + SLACK
                lapses = self._forgotten + self._silences[word.token]
                self._newest[word.token] = evolve(word, lapses=lapses)

    def forget(self) -> None:
        """What has come may not be read any more, until something newer comes."""
        self._newest.clear()
        self._forgotten += 1

    def newest(self, token: str) -> Word | None:
        """Return the newest word about a token that has come; None: none has."""
        return self._newest.get(token)

    def known_ms(self, token: str) -> int:
        """Return the time of the venue that has come last of a book, in ms since 1970; 0: none."""
        word = self._states.get(token)
        return 0 if word is None or word.view is None else word.view.exchange_ms


def _is_newer(word: Word, other: Word | None) -> bool:
    return other is None or word.number > other.number
