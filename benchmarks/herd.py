"""A relay, many hosts, and what everybody asks for at once after it was restarted, or cut off: on a virtual clock.

Publisher, Link and Replica are the real ones. Simulated are the way (an uplink that all share, a connection that takes
so many bytes and then makes the relay wait, a delay each way) and the clocks. The consumers of one host share the
host's link, as the subscribers of one :class:`~polymirror.relay.remote.RemoteMirror` do: they are LIVE when its copies
are. Times in true seconds.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from attrs import frozen
from msgspec.structs import replace

from polymirror.core.book import Levels
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.view import BookView
from polymirror.relay.dial import HEALTHY, QUIET, SETTINGS
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.replica import TICK, Replica
from polymirror.relay.wire import Ask, Book, Frame, decode, encode
from polymirror.venue.backoff import FullJitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymirror.relay.publisher import Consumer
    from polymirror.venue.market import Market

VENUE_MS: Final = 1_790_000_000_000
LEVELS: Final = 48
"""Levels of a side: what the dense books of docs/performance.md have."""

ASK_PAUSE: Final = 0.02
PUMP: Final = 0.02
DELAY: Final = (0.0002, 0.003)
"""Seconds of the way, each way."""

SHARE: Final = 0.99


@frozen
class Setting:
    """What is simulated."""

    hosts: int = 100
    tokens: int = 20
    changes: float = 20.0
    """Changes of books a second, of all together."""
    uplink: float = 125e6
    """Bytes a second that the relay can send: 1 Gbit/s."""
    buffer: int = 2**20
    """Bytes that a connection takes before the relay has to wait for the consumer."""
    fault: str = "restart"
    """``restart`` or ``partition``."""
    begins: float = 4.0
    lasts: float = 2.0
    seconds: float = 14.0
    seed: int = 7


@frozen
class Herd:
    """What came of it."""

    books: int
    """Whole books that were sent from the end of the fault on, until all were LIVE,"""
    needed: int
    """and how many had to be: each host, each token, once."""
    messages: int
    megabytes: float
    steady_megabytes: float
    """Sent a second before the fault."""
    seconds_to_99: float | None
    """From the end of the fault until 99 % of all books at all hosts are LIVE. None: they never were."""
    seconds_to_all: float | None
    most_waiting: int
    """Tokens and words that waited to be sent, of the consumer with the most."""
    most_on_the_way: int
    """Bytes on the way to all, at most."""
    live_before: int
    """Books LIVE at hosts right before the fault, of ``needed``."""


class Books:
    """A mirror whose books change by chance. Its clock is the simulation's."""

    markets: tuple[Market, ...] = ()

    def __init__(self, setting: Setting, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self.tokens: list[str] = [f"{number:077d}" for number in range(setting.tokens)]
        self._views = {token: self._first(token) for token in self.tokens}

    def _first(self, token: str) -> BookView:
        keys = tuple(range(5_000 - 50 * LEVELS, 5_000, 50))
        sizes = tuple(self._rng.randrange(1, 10**9) for _ in keys)
        return BookView(
            token, "0x" + "a" * 64, BookState.LIVE, Reason.PROVEN, 1, 0, True, VENUE_MS,  # noqa: FBT003 - settled
            0.01, 0.05, 0.0, 0.0,
            Proof(ProofKind.HASH, 0.0, 1), 100, Levels(keys, sizes, keys, sizes),
        )  # fmt: skip

    def change(self) -> str:
        """Change one level of one book; return its token."""
        token = self._rng.choice(self.tokens)
        view, at = self._views[token], self._rng.randrange(LEVELS)
        sizes = list(view.levels.bid_sizes)
        sizes[at] = self._rng.randrange(1, 10**9)
        self._views[token] = replace(
            view, levels=view.levels._replace(bid_sizes=tuple(sizes)), exchange_ms=self.venue_ms(self._clock())
        )
        return token

    def peek(self, token: str) -> BookView:
        """Return a book: proven at this moment."""
        return replace(self._views[token], proven_at=self._clock())

    def readable_until(self, _: str) -> float | None:
        """Return when it stops being readable: not soon."""
        return self._clock() + 10.0

    def venue_ms(self, at: float) -> int:
        """Return what the venue's clock showed."""
        return VENUE_MS + int(at * 1000)

    def now(self) -> float:
        """Return the clock."""
        return self._clock()


class Host:
    """One host: its link, its copies, its connection."""

    def __init__(self, world: World, number: int, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.ahead = rng.uniform(-1e6, 1e6)
        self.link = Link(f"relay {number}")
        self.replica = Replica([self.link], 15.0)
        self.replica.want(world.books.tokens, self.there())
        self.backoff = FullJitter(SETTINGS.backoff_base, SETTINGS.backoff_cap, rng)
        self.failures = 0
        self.opened_at = 0.0
        # The number of the connection: what belongs to another one is lost.
        self.connection = 0
        self.consumer: Consumer | None = None
        self.on_the_way = 0
        self.heard = 0.0
        self.asked_at = 0.0

    def there(self) -> float:
        """Its clock."""
        return self.world.now + self.ahead

    def connect(self) -> None:
        """Try to connect."""
        world = self.world
        if world.away or world.parted:
            self.failures += 1
            world.after(self.backoff.seconds(self.failures), self.connect)
            return
        self.connection += 1
        self.consumer = world.publisher.join("msgpack")
        self.opened_at = self.heard = world.now
        self.link.opened(self.there())
        self.ask()

    def lost(self, why: str) -> None:
        """The connection is lost."""
        if self.consumer is None:
            return
        world = self.world
        world.publisher.leave(self.consumer)
        self.consumer = None
        self.connection += 1
        self.on_the_way = 0
        self.link.closed(why)
        self.replica.look(self.there())
        self.failures = 1 if world.now - self.opened_at > HEALTHY else self.failures + 1
        world.after(self.backoff.seconds(self.failures), self.connect)

    def ask(self) -> None:
        """Say what there is to say; the relay reads no more often than it does."""
        if self.consumer is None or self.link.next_ask() > self.there():
            return
        ask, connection = self.link.asks(self.there()), self.connection
        if ask is not None:
            at = max(self.world.now + self.rng.uniform(*DELAY), self.asked_at + ASK_PAUSE)
            self.asked_at = at
            self.world.at(at, lambda: self.relay_reads(ask, connection))

    def relay_reads(self, ask: Ask, connection: int) -> None:
        """The relay takes what was said."""
        if connection != self.connection or self.consumer is None:
            return
        if self.world.parted:
            self.world.held.append(lambda: self.relay_reads(ask, connection))
            return
        self.world.publisher.asked(self.consumer, decode(Ask, encode(ask, "msgpack"), "msgpack"))
        self.world.send()

    def arrives(self, data: bytes, connection: int) -> None:
        """A frame is here."""
        if connection != self.connection:
            return
        if self.world.parted:
            self.world.held.append(lambda: self.arrives(data, connection))
            return
        self.on_the_way -= len(data)
        self.world.on_the_way -= len(data)
        self.heard = self.world.now
        self.replica.received(self.link, data, self.there())
        self.replica.events()
        self.replica.dirty()
        self.ask()
        self.world.send()

    def ticks(self) -> None:
        """Look at everything."""
        self.replica.tick(self.there())
        self.replica.events()
        self.replica.dirty()
        if self.consumer is not None and self.world.now - self.heard > QUIET:
            self.lost("not a word")
        self.ask()
        self.world.after(TICK, self.ticks)

    def live(self) -> int:
        """How many of its books are LIVE."""
        found = (self.replica.standing(token) for token in self.world.books.tokens)
        return sum(standing is not None and standing[0] is BookState.LIVE for standing in found)


class World:
    """The relay, its hosts and the time."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.now = 0.0
        self.rng = random.Random(setting.seed)  # noqa: S311 - a simulation
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        # Whether the relay does not run, and whether nothing passes.
        self.away = self.parted = False
        # What connections hold back until something passes, in order.
        self.held: list[Callable[[], None]] = []
        self.books = Books(setting, lambda: self.now, self.rng)
        self._runs = 0
        self.publisher = self._start()
        self._free_at = 0.0
        self.on_the_way = 0
        self.most: Counter[str] = Counter()
        self.sent: list[tuple[float, int, int]] = []
        self.hosts = [Host(self, number, random.Random(f"{setting.seed}:{number}")) for number in range(setting.hosts)]  # noqa: S311
        for host in self.hosts:
            self.after(self.rng.uniform(0, 0.5), host.connect)
            self.after(self.rng.uniform(0, TICK), host.ticks)
        self.after(0.0, self._change)
        self.after(0.0, self._pump)

    def _start(self) -> Publisher:
        self._runs += 1
        return Publisher(self.books, f"run {self._runs}", SteadyClock(lambda: self.now))

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Let something happen."""
        heapq.heappush(self._queue, (when, next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen later."""
        self.at(self.now + seconds, action)

    def run(self, until: float) -> None:
        """Go on until then."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = until

    def _change(self) -> None:
        token = self.books.change()
        if not self.away:
            self.publisher.changed([token])
            self.send()
        self.after(self.rng.expovariate(self.setting.changes), self._change)

    def _pump(self) -> None:
        if not self.away:
            self.publisher.beat()
            self.send()
        self.after(PUMP, self._pump)

    def send(self) -> None:
        """Send each consumer what its connection takes."""
        for host in self.hosts:
            consumer = host.consumer
            if consumer is None:
                continue
            waiting = len(consumer.due) + len(consumer.pongs) + len(consumer.gone)
            self.most["waiting"] = max(self.most["waiting"], waiting)
            while consumer.waits and host.on_the_way < self.setting.buffer:
                self._carry(host, self.publisher.frame(consumer))

    def _carry(self, host: Host, data: bytes) -> None:
        self._free_at = max(self._free_at, self.now) + len(data) / self.setting.uplink
        host.on_the_way += len(data)
        self.on_the_way += len(data)
        self.most["on the way"] = max(self.most["on the way"], self.on_the_way)
        books = (
            sum(isinstance(item, Book) for item in decode(Frame, data, "msgpack").items) if len(data) > MIN_BOOK else 0
        )
        self.sent.append((self.now, len(data), books))
        connection = host.connection
        self.at(self._free_at + self.rng.uniform(*DELAY), lambda: host.arrives(data, connection))

    def live(self) -> int:
        """How many books are LIVE, of all hosts."""
        return sum(host.live() for host in self.hosts)

    def begin(self) -> None:
        """The fault begins."""
        if self.setting.fault == "partition":
            self.parted = True
            return
        self.away = True
        for host in self.hosts:
            host.lost("the relay was restarted")
        self._free_at, self.on_the_way = self.now, 0

    def end(self) -> None:
        """It is over."""
        if self.setting.fault == "restart":
            self.publisher = self._start()
        self.away = self.parted = False
        held, self.held = self.held, []
        for action in held:
            action()


MIN_BOOK: Final = 400
"""No whole book of so many levels is smaller."""


def simulate(setting: Setting) -> Herd:
    """Run one."""
    world = World(setting)
    world.run(setting.begins)
    before, needed = world.live(), setting.hosts * setting.tokens
    steady = sum(size for at, size, _ in world.sent if at >= setting.begins - 2) / 2
    world.begin()
    over = setting.begins + setting.lasts
    world.run(over)
    world.end()
    world.sent.clear()
    most, all_live = None, None
    for at in _steps(over, setting.seconds):
        world.run(at)
        live = world.live()
        if most is None and live >= SHARE * needed:
            most = at - over
        if live == needed:
            all_live = at - over
            break
    return Herd(
        sum(books for _, _, books in world.sent), needed, len(world.sent),
        sum(size for _, size, _ in world.sent) / 1e6, steady / 1e6, most, all_live,
        world.most["waiting"], world.most["on the way"], before,
    )  # fmt: skip


def _steps(begin: float, end: float) -> Iterator[float]:
    at = begin
    while at < end:
        at += 0.05
        yield at
