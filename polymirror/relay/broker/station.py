"""A relay's side of a broker: what it says there, on which subject, and what it answers. Pure.

One station is one run of a relay, in all formats. It outlives connections: what was told into one that was lost is a
gap to consumers, and they ask for whole books.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from polymirror.errors import DecodeError
from polymirror.relay.broker.broadcast import Broadcast
from polymirror.relay.broker.subjects import FORMATS, Subjects
from polymirror.relay.wire import Ask, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymirror.relay.publisher import Publisher


class Station:
    """The books of ``publisher`` at a broker, by the relay's ``name``; the rest is as in :class:`Broadcast`."""

    def __init__(
        self,
        publisher: Publisher,
        name: str,
        now: Callable[[], float],
        warn: Callable[[str, str], None],
        interval: float = 0.0,
    ) -> None:
        self._publisher = publisher
        self._now = now
        self._warn = warn
        self._casts = [(Subjects(name, each), Broadcast(publisher, each, now, warn, interval)) for each in FORMATS]
        self._by_ask = {there.ask: (there, cast) for there, cast in self._casts}

    @property
    def asks(self) -> tuple[str, ...]:
        """The subjects on which consumers ask."""
        return tuple(self._by_ask)

    @property
    def counts(self) -> Counter[str]:
        """What happened since the start, by what it was."""
        return sum((cast.counts for _, cast in self._casts), start=Counter())

    def asked(self, subject: str, data: bytes, reply: str, most: int) -> Iterator[tuple[str, bytes]]:
        """Take what a consumer says on one of :attr:`asks`; return what answers it, and where. ``most`` as below."""
        there, cast = self._by_ask[subject]
        try:
            ask = decode(Ask, data, cast.format)
        except DecodeError as error:
            cast.counts["malformed"] += 1
            self._warn("relay consumer", f"what a consumer asks is not understood: {error}")
            return
        if not there.is_reply(reply):
            cast.counts["no subject for an answer"] += 1
            return
        for frame in cast.asked(ask, most):
            yield reply, frame

    def dropped(self, subject: str) -> None:
        """Something that was said on one of :attr:`asks` was dropped before it was read."""
        # Whoever asked does so again. Were the connection given up, all would ask at once, and again too many.
        self._by_ask[subject][1].counts["dropped"] += 1
        self._warn("relay consumers", "they ask more than can be answered: some of it is dropped")

    def take(self, most: int) -> Iterator[tuple[str, bytes]]:
        """Return what is to be told now, and where, a few books at a time; ``most``: bytes of one message."""
        if self._publisher.next_look() <= self._now():
            self._publisher.beat()
        for there, cast in self._casts:
            for token, frame in cast.take(most):
                subject = there.book(token) if token else there.markets
                if subject is not None:
                    yield subject, frame

    def next_take(self) -> float:
        """Return when :meth:`take` has something to say, if nothing changes until then."""
        return min(self._publisher.next_look(), *(cast.next_take() for _, cast in self._casts))
