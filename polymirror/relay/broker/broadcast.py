"""What a relay tells a broker, and when: each token's book on a subject of its own, for whoever listens. Pure.

One place in every line stands for all consumers: a change is told once, however many there are. Whoever comes anew asks
for whole books; those who ask at the same time share one. Nobody says goodbye at a broker, so what is wanted ends by
itself unless it is asked for again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from polymirror.relay.broker.subjects import TOKEN
from polymirror.relay.wire import MAX_TOKENS, Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymirror.relay.publisher import Consumer, Publisher
    from polymirror.relay.wire import Format

WHOLE_EVERY: Final = 0.1
"""Seconds between two whole books of one token."""

WANTED_FOR: Final = 60.0
"""Seconds for which a token is told of that nobody asks about again."""

MAX_BATCH: Final = 64
"""Whole books that are begun, and books that are told, in one go: some 0.1 ms each."""


class Broadcast:
    """The books of a publisher for all consumers of a broker that read one format.

    ``now`` is the clock of everything here, in seconds. ``interval`` is the least between two messages about one
    token, in seconds; 0: each change is told when its turn comes. ``warn`` is told what is refused.
    """

    def __init__(
        self,
        publisher: Publisher,
        format_: Format,
        now: Callable[[], float],
        warn: Callable[[str, str], None],
        interval: float = 0.0,
    ) -> None:
        self.format: Format = format_
        self.counts: Counter[str] = Counter()
        self._publisher = publisher
        self._now = now
        self._warn = warn
        self._interval = interval
        self._all: Consumer = publisher.join(format_)
        self._lists: Consumer = publisher.join(format_)
        # When each token stops being wanted, the soonest first.
        self._until: dict[str, float] = {}
        # When whole books were begun last, and when they are to be begun; both of wanted tokens alone.
        self._whole_at: dict[str, float] = {}
        self._whole_due: dict[str, float] = {}
        # When something was said of each wanted token last.
        self._said_at: dict[str, float] = {}

    @property
    def tokens(self) -> int:
        """Of how many tokens is told."""
        return len(self._until)

    def asked(self, ask: Ask, most: int) -> list[bytes]:
        """Take what a consumer says; return the frames that answer it, for that consumer alone. ``most`` as below."""
        now = self._now()
        self._expire(now)
        asker = self._publisher.join(self.format)
        frames: list[bytes] = []
        try:
            if ask.ping is not None:
                self._publisher.asked(asker, Ask(ping=ask.ping))
                frames.append(self._publisher.frame(asker))
            if ask.list:
                if not self._lists.lists:
                    self._publisher.asked(self._lists, Ask(list=True))
                self._publisher.asked(asker, Ask(list=True))
                frames.append(self._publisher.frame(asker))
            for token in ask.want:
                self._want(asker, token, now, whole=True)
            for token in ask.keep:
                self._want(asker, token, now, whole=False)
            while asker.waits:
                frames.append(self._publisher.frame(asker))
        finally:
            self._publisher.leave(asker)
        return self._small(frames, most)

    def _want(self, asker: Consumer, token: str, now: float, *, whole: bool) -> None:
        known = self._until.pop(token, None) is not None
        if not known and (len(self._until) >= MAX_TOKENS or TOKEN.fullmatch(token) is None):
            self.counts["refused"] += 1
            self._publisher.refuse(asker, token)
            return
        self._until[token] = now + WANTED_FOR
        if whole or not known:
            last = self._whole_at.get(token, float("-inf"))
            self._whole_due.setdefault(token, max(now, last + WHOLE_EVERY))

    def _expire(self, now: float) -> None:
        """Tell no more of what nobody has asked about for long."""
        over = []
        for token, until in self._until.items():
            if until > now:
                break
            over.append(token)
        for token in over:
            for table in (self._until, self._whole_at, self._whole_due, self._said_at):
                table.pop(token, None)
        if over:
            self.counts["expired"] += len(over)
            self._publisher.asked(self._all, Ask(drop=over))

    def take(self, most: int) -> Iterator[tuple[str, bytes]]:
        """Return what is to be told now, a few books at a time: tokens and frames, "" for the list of markets.

        ``most`` is how many bytes the broker takes in one message. A book that has more is refused to its consumers.
        """
        now = self._now()
        self._expire(now)
        for token in [token for token, due in self._whole_due.items() if due <= now][:MAX_BATCH]:
            del self._whole_due[token]
            self._whole_at[token] = now
            self.counts["whole books"] += 1
            self._publisher.asked(self._all, Ask(want=[token]))
        if self._lists.waits:
            yield from (("", frame) for frame in self._small([self._publisher.frame(self._lists)], most))
        for token in self._next(now):
            if self._interval and token in self._until:
                self._said_at[token] = now
            frame = self._publisher.frame_about(self._all, token)
            if len(frame) > most:
                self._warn("relay message", f"the book of {token} has {len(frame)} bytes, and the broker takes {most}")
                self._publisher.refuse(self._all, token)
                frame = self._publisher.frame_about(self._all, token)
            self.counts["told"] += 1
            yield token, frame

    def _small(self, frames: list[bytes], most: int) -> list[bytes]:
        """Return the frames that the broker takes, and tell of others: lists of very many markets."""
        for frame in frames:
            if len(frame) > most:
                self._warn("relay message", f"a list of markets has {len(frame)} bytes, and the broker takes {most}")
        return [frame for frame in frames if len(frame) <= most]

    def _next(self, now: float) -> list[str]:
        waiting = [*self._all.gone, *self._all.due]
        if self._interval:
            waiting = [token for token in waiting if self._may_be_said_at(token) <= now]
        return waiting[:MAX_BATCH]

    def next_take(self) -> float:
        """Return when :meth:`take` has something to say, if nothing changes until then; infinity: never."""
        due = min(self._whole_due.values(), default=float("inf"))
        if self._lists.waits or ((self._all.gone or self._all.due) and not self._interval):
            return self._now()
        if self._all.waits:
            waiting = [*self._all.gone, *self._all.due]
            due = min(due, *map(self._may_be_said_at, waiting))
        return due

    def _may_be_said_at(self, token: str) -> float:
        return self._said_at.get(token, float("-inf")) + self._interval
