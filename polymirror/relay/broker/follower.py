"""A consumer's side of a broker: what it listens to, what it says, and when it says it again. Pure.

The books are the link's. Nobody says goodbye at a broker, so what is wanted is said again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.relay.broker.subjects import Subjects
from polymirror.relay.wire import Ask, encode

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from polymirror.relay.link import Link

KEEP_EVERY: Final = 20.0
"""Seconds after which what is wanted is asked for again: the relay forgets it after three times as many."""

NOBODY: Final = (0.2, 1.0)
"""Seconds, drawn between these, after which a relay that was not there is tried again."""


class Follower:
    """What the consumer of ``link`` says to the relay ``name``, and hears. ``mark`` is nobody else's: for answers.

    Times are those of the link, in seconds.
    """

    def __init__(self, link: Link, name: str, mark: str, rng: random.Random) -> None:
        self.link: Link = link
        self._rng = rng
        self._there = Subjects(name, link.format)
        # An answer to another one's ping must not be taken for one to ours.
        self.replies: str = self._there.replies + mark
        # When a relay that was not there is tried again; infinity: one is there.
        self._again = float("inf")
        self._keep_at = 0.0

    @property
    def ask(self) -> str:
        """The subject on which to say what :meth:`says` returns, with :attr:`replies` for the answers."""
        return self._there.ask

    @property
    def subjects(self) -> frozenset[str]:
        """What to listen to now, before anything is said: the tokens that are followed, and no others."""
        books = (subject for token in self.link.tokens if (subject := self._there.book(token)) is not None)
        return frozenset((self.replies, *([self._there.markets] if self.link.lists else ()), *books))

    def opened(self, now: float) -> None:
        """The broker is there, and perhaps the relay."""
        self._again, self._keep_at = float("inf"), now + KEEP_EVERY
        self.link.opened(now)

    def nobody(self, now: float) -> bool:
        """The broker says that nobody hears what was said; return whether that is news."""
        if self._again != float("inf"):
            return False
        self._again = now + self._rng.uniform(*NOBODY)
        return True

    def tries_again(self, now: float) -> bool:
        """Whether it is time to try a relay again that was not there: then it is done."""
        self._look(now)
        if now < self._again:
            return False
        self.opened(now)
        return True

    def says(self, now: float) -> Iterator[bytes]:
        """Return what to say now."""
        self._look(now)
        ask = self.link.asks(now)
        if ask is not None:
            # Others may want what we want no more.
            heard = Ask(ping=ask.ping, want=ask.want, list=ask.list)
            if heard != Ask():
                yield encode(heard, self.link.format)
        if now >= self._keep_at and self.link.is_open:
            self._keep_at = now + KEEP_EVERY
            if self.link.tokens:
                yield encode(Ask(keep=list(self.link.tokens)), self.link.format)

    def next_say(self, now: float) -> float:
        """Return when there is something to say, or to try, if nothing changes until then."""
        self._look(now)
        return min(self.link.next_ask(), self._again, self._keep_at)

    def _look(self, now: float) -> None:
        """Do now what is to be done later than it ever is: that was so by a clock that was set since."""
        if now + NOBODY[1] < self._again < float("inf"):
            self._again = now
        if now + KEEP_EVERY < self._keep_at:
            self._keep_at = now
