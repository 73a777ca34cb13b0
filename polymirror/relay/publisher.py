"""A relay's side of the wire: who wants which books, and what each of them is sent next. Pure.

A publisher looks at the books of one mirror whenever they change, and at each at least once a beat, so that silence of
a token means that something is wrong. It works for tokens that somebody wants, and for nobody else. Each consumer has
its own place in every line: one that is slow misses states, never the newest, and nothing waits for it.
"""

from __future__ import annotations

from collections import deque
from math import inf, nextafter
from typing import TYPE_CHECKING, Final, Protocol

from polymirror.errors import DecodeError, NotLive, UnknownToken
from polymirror.relay.lines import Line, Source
from polymirror.relay.wire import (
    MAX_FRAME,
    MAX_TEXT,
    MAX_TOKENS,
    Gone,
    Listed,
    Markets,
    Outcome,
    Pong,
    encode,
    frame_of,
    read_listed,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from polymirror.relay.hostclock import Clock
    from polymirror.relay.wire import Ask, Format
    from polymirror.venue.market import Market

BEAT: Final = 0.5
"""Seconds within which something is said of each book that somebody wants."""

AHEAD: Final = 0.018
"""A book that stops being readable before its next beat is looked at so many seconds before it does: the hash that it
waits for is tried 0.02 s before that."""

MAX_LOOKS: Final = 64
"""Books that are looked at in one go for a beat: some 10 us each."""

FULL: Final = MAX_FRAME // 8
"""Bytes after which a frame is sent and the next begun."""


MAX_LIST: Final = MAX_FRAME // 2
"""Bytes of JSON of the markets that are listed."""

COARSE: Final = 0.001
"""Seconds by which a clock may seem to run back that is coarse and was not set."""

MAX_PONGS: Final = 8
"""Pings of one consumer that are still to be answered; older ones are not."""


class Mirrored(Source, Protocol):
    """What a publisher needs of a mirror."""

    @property
    def markets(self) -> Iterable[Market]:
        """All markets that are mirrored."""
        ...

    def now(self) -> float:
        """Return the clock of all times here, in seconds."""
        ...


class Consumer:
    """One consumer's place: what it wants, what it has, and what it is to be sent. Made by :meth:`Publisher.join`."""

    def __init__(self, format_: Format) -> None:
        self.format: Format = format_
        # By token, the state that it was sent last; 0: none.
        self.places: dict[str, int] = {}
        # Tokens of which it is to be sent the newest state, in the order in which they changed.
        self.due: dict[str, None] = {}
        # What is said once: answers to pings, tokens that are gone, the markets.
        self.pongs: deque[int] = deque(maxlen=MAX_PONGS)
        self.gone: dict[str, None] = {}
        self.list_due: bool = False
        self.lists: bool = False

    @property
    def waits(self) -> bool:
        """Whether there is anything to be sent."""
        return bool(self.due or self.pongs or self.gone or self.list_due)


class Publisher:
    """The books of one mirror as they are sent by one run of a relay.

    ``relay`` names this run. ``clock`` is the relay's own: seconds, which go on while the machine sleeps. When it is
    another clock, a new run begins.
    """

    def __init__(self, mirror: Mirrored, relay: str, clock: Clock) -> None:
        self._mirror = mirror
        self._clock = clock
        self._epoch = clock.epoch
        self._name = relay
        self.relay: str = relay
        self._lines: dict[str, Line] = {}
        # Of each line, who wants it, in the order in which they came.
        self._wanted: dict[str, dict[Consumer, None]] = {}
        # When something was said of each line last, the longest ago first.
        self._told: dict[str, float] = {}
        # When books are to be looked at that are not readable for long.
        self._soon: dict[str, float] = {}
        self._consumers: dict[Consumer, None] = {}
        self._listed: dict[Format, bytes] = {}
        # No line that begins has a number that an earlier one of its token had in this run.
        self._numbers = 0
        # When the newest frame of this run left.
        self._sent = -inf

    # ---- Who is there ------------------------------------------------------------------------------

    @property
    def consumers(self) -> int:
        """How many there are."""
        return len(self._consumers)

    @property
    def tokens(self) -> int:
        """Of how many books somebody wants to hear."""
        return len(self._lines)

    def join(self, format_: Format) -> Consumer:
        """Take a new consumer, who wants nothing yet."""
        consumer = Consumer(format_)
        self._consumers[consumer] = None
        return consumer

    def leave(self, consumer: Consumer) -> None:
        """Forget a consumer."""
        self._consumers.pop(consumer, None)
        for token in tuple(consumer.places):
            self._drop(consumer, token)

    def asked(self, consumer: Consumer, ask: Ask) -> None:
        """Take what a consumer says. What is wanted beyond :data:`~polymirror.relay.wire.MAX_TOKENS` is gone."""
        for token in ask.drop:
            self._drop(consumer, token)
        for token in ask.want:
            self._want(consumer, token)
        if ask.list:
            consumer.lists = consumer.list_due = True
        if ask.ping is not None:
            consumer.pongs.append(ask.ping)

    def _want(self, consumer: Consumer, token: str) -> None:
        if len(consumer.places) >= MAX_TOKENS and token not in consumer.places:
            self.refuse(consumer, token)
            return
        consumer.gone.pop(token, None)
        if token not in self._lines:
            self._lines[token] = Line(token, self._numbers)
        self._wanted.setdefault(token, {})[consumer] = None
        consumer.places[token] = 0
        consumer.due[token] = None
        self._look(token, self._clocks())

    def refuse(self, consumer: Consumer, token: str) -> None:
        """Tell a consumer that a token is not carried, and nothing more of it until it is wanted again."""
        self._drop(consumer, token)
        consumer.gone[token] = None
        if len(consumer.gone) > MAX_TOKENS:
            # It asks for what there is not, and does not listen.
            del consumer.gone[next(iter(consumer.gone))]

    def _drop(self, consumer: Consumer, token: str) -> None:
        consumer.places.pop(token, None)
        consumer.due.pop(token, None)
        wanted = self._wanted.get(token)
        if wanted is not None:
            wanted.pop(consumer, None)
            if not wanted:
                self._forget(token)

    def _forget(self, token: str) -> None:
        self._numbers = max(self._numbers, self._lines[token].seq)
        for table in (self._lines, self._wanted, self._told, self._soon):
            table.pop(token, None)

    # ---- What is new -------------------------------------------------------------------------------

    def changed(self, tokens: Collection[str]) -> None:
        """Look at books that have changed."""
        if self._lines.keys().isdisjoint(tokens):
            return
        clocks = self._clocks()
        for token in tokens:
            if token in self._lines:
                self._look(token, clocks)

    def beat(self) -> float:
        """Look at the books whose turn it is, a few at a time; return in how many seconds the next one's is."""
        clocks = now, _ = self._clocks()
        for token in [token for token, due in self._soon.items() if due <= now]:
            del self._soon[token]
            self._look(token, clocks, everyone=True)
        for _ in range(MAX_LOOKS):
            oldest = next(iter(self._told), None)
            if oldest is None or self._told[oldest] + BEAT > now:
                break
            self._look(oldest, clocks, everyone=True)
        return max(0.0, self.next_look() - now)

    def next_look(self) -> float:
        """Return when :meth:`beat` has something to do, in seconds of the mirror's clock; infinity: never."""
        told = next(iter(self._told.values()), float("inf"))
        return min(told + BEAT, min(self._soon.values(), default=float("inf")))

    def listed(self, gone: Collection[str] = ()) -> None:
        """The markets are others, and these tokens are gone: tell those who want to know."""
        self.changed(gone)
        self._listed.clear()
        for consumer in self._consumers:
            consumer.list_due = consumer.list_due or consumer.lists

    def _list(self, format_: Format) -> bytes:
        if format_ not in self._listed:
            self._listed[format_] = encode(_listing(self._mirror.markets), format_)
        return self._listed[format_]

    def _clocks(self) -> tuple[float, float]:
        """Return the mirror's clock, and by how much the relay's is ahead of it at least.

        What passes between the two looks makes proofs older, and never younger.
        """
        relay = self._read()
        now = self._mirror.now()
        return now, relay - now

    def _read(self) -> float:
        """Return the relay's clock. If it is another one than before, nothing that was told holds any more."""
        relay = self._clock.now()
        if self._clock.epoch != self._epoch:
            self._epoch = self._clock.epoch
            self.relay = f"{self._name}.{self._epoch}"
            self._sent = -inf
            now = self._mirror.now()
            for token in tuple(self._lines):
                self._look(token, (now, relay - now))
        return relay

    def _look(self, token: str, clocks: tuple[float, float], *, everyone: bool = False) -> None:
        """Look at a book; tell those who want it, ``everyone`` even if nothing is new."""
        line, (now, ahead) = self._lines[token], clocks
        seq = line.seq
        if everyone or token not in self._told:
            self._say(token, now)
        try:
            line.look(self._mirror, ahead)
        except (NotLive, UnknownToken) as error:
            if isinstance(error, NotLive) and not line.is_told:
                # Its market is looked for: nothing is known of it yet.
                return
            for consumer in tuple(self._wanted[token]):
                self.refuse(consumer, token)
            return
        if line.seq != seq:
            self._say(token, now)
        if line.until is not None:
            due = line.until - AHEAD - ahead
            if now < due < self._told[token] + BEAT:
                self._soon[token] = due
        if line.seq != seq or everyone:
            for consumer in self._wanted[token]:
                consumer.due[token] = None

    def _say(self, token: str, now: float) -> None:
        self._told.pop(token, None)
        self._told[token] = now

    # ---- What is sent ------------------------------------------------------------------------------

    def frame(self, consumer: Consumer) -> bytes:
        """Return the next frame for a consumer: call it when one can be sent, while ``consumer.waits``."""
        sent = self._leaves()
        return frame_of(self.relay, sent, list(self._items(consumer)), consumer.format)

    def frame_about(self, consumer: Consumer, token: str) -> bytes:
        """Return a frame with what waits about one token alone: for consumers behind a broker, who hear of it apart."""
        sent = self._leaves()
        items = []
        if token in consumer.gone:
            del consumer.gone[token]
            items.append(encode(Gone(token=token), consumer.format))
        elif token in consumer.due:
            items += self._newest(consumer, token)
        return frame_of(self.relay, sent, items, consumer.format)

    def _leaves(self) -> float:
        """Return when a frame leaves: later than the one before, however coarse the clock is.

        Of two that come in the other order a consumer knows by it which one is the older.
        """
        sent = self._read()
        self._sent = nextafter(self._sent, inf) if self._sent - COARSE < sent <= self._sent else sent
        return self._sent

    def _items(self, consumer: Consumer) -> Iterator[bytes]:
        size = 0
        while consumer.pongs:
            yield encode(Pong(id=consumer.pongs.popleft()), consumer.format)
        if consumer.list_due and size < FULL:
            consumer.list_due = False
            item = self._list(consumer.format)
            size += len(item)
            yield item
        while consumer.gone and size < FULL:
            token = next(iter(consumer.gone))
            del consumer.gone[token]
            item = encode(Gone(token=token), consumer.format)
            size += len(item)
            yield item
        while consumer.due and size < FULL:
            for item in self._newest(consumer, next(iter(consumer.due))):
                size += len(item)
                yield item

    def _newest(self, consumer: Consumer, token: str) -> Iterator[bytes]:
        """Return the newest state of a book that is due; nothing if there is none yet."""
        del consumer.due[token]
        line = self._lines[token]
        if line.is_told:
            item = line.since(consumer.places[token], consumer.format)
            consumer.places[token] = line.seq
            yield item


def _listing(markets: Iterable[Market]) -> Markets:
    """List as many markets as a frame can carry: one that nobody can read would be in the way of all books."""
    listed: list[Listed] = []
    size = left_out = 0
    for market in markets:
        tokens = [Outcome(token=each.id, outcome=each.outcome[:MAX_TEXT]) for each in market.tokens[:2]]
        found = encode(Listed(slug=market.slug[:MAX_TEXT], market=market.condition_id, tokens=tokens), "json")
        try:
            one = read_listed(found)
        except DecodeError:
            left_out += 1
            continue
        if size + len(found) > MAX_LIST or len(listed) >= MAX_TOKENS:
            left_out += 1
            continue
        size += len(found)
        listed.append(one)
    return Markets(markets=listed, left_out=left_out)
