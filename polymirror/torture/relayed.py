"""A world whose books are read at the far end of a relay: another host, with a clock and a network of its own.

The mirror's world goes on as ever, with all its faults. A publisher tells its books through a way that loses, repeats,
reorders, delays and parts, to a replica whose process stalls and is started anew; relays and brokers are started anew,
too, and the clocks of the two hosts have nothing in common. The judge is the same and excuses nothing more: whatever
the way adds must be in the age.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.core.engine import Engine
from polymirror.errors import NotLive
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.replica import TICK, Replica
from polymirror.relay.wire import Ask, decode, encode
from polymirror.torture.timeline import MICRO
from polymirror.torture.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.core.states import BookState
    from polymirror.core.view import BookView
    from polymirror.relay.publisher import Consumer
    from polymirror.relay.wire import Format
    from polymirror.torture.storm import Episode, Storm
    from polymirror.venue.market import Market

WAY_FAULTS: Final = (
    "relay_drop", "relay_duplicate", "relay_reorder", "relay_delay", "relay_cut", "relay_partition", "relay_deaf",
    "relay_mute", "relay_restart", "relay_garbage", "relay_slow", "relay_clock_step", "broker_restart",
    "consumer_restart", "consumer_stall",
)  # fmt: skip
"""What happens on the way, by name."""

EVERY: Final = (1.0, 8.0)
"""Seconds between two faults of the way while a storm lasts, drawn between these."""

LASTS: Final = (0.2, 5.0)
"""Seconds that one lasts."""

SHARE: Final = 0.2
"""The share of frames that are lost, repeated or held up while that fault lasts."""

LATENCY: Final = (200, 3_000)
"""Microseconds of the way, either way."""

RETRY: Final = MICRO // 4
"""After how long a lost connection is made anew."""

PUMP: Final = MICRO // 50
"""How often each end looks whether there is something to be sent."""
"""Everything below is in true microseconds unless said."""


class _Books:
    """The mirror's engine as a publisher looks at it."""

    markets: tuple[Market, ...] = ()

    def __init__(self, world: Relayed) -> None:
        self._world = world

    def peek(self, token: str) -> BookView:
        return self._world.engine.peek(token, self._world.seconds)

    def readable_until(self, token: str) -> float | None:
        return self._world.engine.readable_until(token)

    def venue_ms(self, at: float) -> int:
        return self._world.engine.venue_ms(at)

    def now(self) -> float:
        return self._world.seconds


@define
class _Host:
    """A host's clock: how far it is ahead of true time, and how much faster it goes. It goes on in sleep."""

    ahead: float
    rate: float

    def at(self, true: int) -> float:
        """What it shows, in seconds."""
        return self.ahead + true / MICRO * self.rate


class Relayed(Watched):
    """A world that is read through a relay. ``ordered``: over one connection; else through a broker that may lose."""

    def __init__(
        self,
        storm: Storm,
        episodes: Iterable[Episode],
        engine_class: Callable[..., Engine] = Engine,
        *,
        hedge: int = 1,
        ordered: bool,
    ) -> None:
        self.way: Way | None = None
        super().__init__(storm, episodes, engine_class, hedge=hedge)
        self.way = Way(self, storm, ordered=ordered)

    def live(self, token: str, max_proof_age: float | None) -> BookView:
        """Read at the consumer."""
        if self.way is None:
            return super().live(token, max_proof_age)
        return self.way.replica.live(token, self.way.there(), max_proof_age)

    def book_states(self) -> Iterable[tuple[str, BookState]]:
        """Return the states at the consumer."""
        replica = self.relayed.replica
        return [(token, found[0]) for token in replica.asset_ids if (found := replica.standing(token)) is not None]

    def describe(self, token: str) -> str:
        """Return how a book stands at the consumer, and why."""
        try:
            self.live(token, None)
        except NotLive as refusal:
            return str(refusal)
        return "LIVE"

    def fault_counts(self) -> dict[str, int]:
        """How often each fault struck, those of the way included."""
        return {**super().fault_counts(), **self.relayed.struck}

    def changed(self, tokens: Sequence[str]) -> None:
        """Have the publisher look."""
        if self.way is not None:
            self.way.changed(tokens)

    def tokens(self) -> list[str]:
        """All tokens that are read."""
        return list(self._market_of)

    def read_again(self, tokens: Iterable[str]) -> None:
        """Read what has changed at the consumer."""
        self._read_all(tokens)

    @property
    def relayed(self) -> Way:
        """The way, once there is one."""
        assert self.way is not None  # noqa: S101 - set at the end of the constructor
        return self.way


class Way:
    """Relay, way and consumer: what happens to them while the mirror's world goes on."""

    def __init__(self, world: Relayed, storm: Storm, *, ordered: bool, format_: Format = "msgpack") -> None:
        self._world = world
        self._rng = rng = random.Random(f"relay:{storm.seed}:{ordered}")  # noqa: S311 - a simulation
        self.struck: Counter[str] = Counter()
        self._ordered = ordered
        self._format: Format = format_
        self._relay_clock = _Host(rng.uniform(-1e6, 1e6), 1 + rng.uniform(-2e-4, 2e-4))
        self._consumer_clock = _Host(rng.uniform(-1e6, 1e6), 1 + rng.uniform(-2e-4, 2e-4))
        self._storms = list(_busy(storm))
        # What lasts, and until when.
        self._lasting: dict[str, int] = {}
        self._delay = 0
        # The number of the connection; what belongs to another one is lost.
        self._connection = 0
        self._connected = False
        self._arrivals = {"down": 0, "up": 0}
        self._stalled_until = 0
        self._runs = 0
        self._consumer: Consumer | None = None
        self._publisher: Publisher = self._new_publisher()
        self._link: Link
        self.replica: Replica
        self._start_consumer()
        world.at(world.now + MICRO // 10, self._connect)
        world.at_client(world.now + PUMP, self._pump_down)
        world.at(world.now + PUMP, self._pump_up)
        world.at(world.now + int(TICK * MICRO), self._tick)
        world.at(world.now + MICRO, self._strike)

    def there(self) -> float:
        """The consumer's clock, in seconds."""
        return self._consumer_clock.at(self._world.now)

    # ---- The relay ---------------------------------------------------------------------------------

    def _new_publisher(self) -> Publisher:
        self._runs += 1
        return Publisher(_Books(self._world), f"run {self._runs}", lambda: self._relay_clock.at(self._world.now))

    def changed(self, tokens: Sequence[str]) -> None:
        """The mirror has these books anew."""
        self._publisher.changed(tokens)
        self._send_down()

    def _pump_down(self) -> None:
        """Beat, and send what waits."""
        self._publisher.beat()
        self._send_down()
        self._world.at_client(self._world.now + PUMP, self._pump_down)

    def _send_down(self) -> None:
        consumer = self._consumer
        while consumer is not None and consumer.waits and "relay_slow" not in self._lasting:
            self._carry("down", self._publisher.frame(consumer), self._received)

    def _asked(self, data: bytes) -> None:
        if self._consumer is not None:
            self._publisher.asked(self._consumer, decode(Ask, data, self._format))
            self._send_down()

    # ---- The consumer ------------------------------------------------------------------------------

    def _start_consumer(self) -> None:
        self._link = Link("relay", self._format)
        self.replica = Replica([self._link], self._world.engine_config.max_proof_age)
        self.replica.want(self._world.tokens(), self.there())

    def _received(self, data: bytes) -> None:
        self.replica.received(self._link, data, self.there())
        self._after_look()
        self._pump_once()

    def _tick(self) -> None:
        if self._world.now >= self._stalled_until:
            self.replica.tick(self.there())
            self._after_look()
        self._world.at(self._world.now + int(TICK * MICRO), self._tick)

    def _after_look(self) -> None:
        self.replica.events()
        self._world.read_again(self.replica.dirty())

    def _pump_up(self) -> None:
        self._pump_once()
        self._world.at(max(self._world.now + PUMP, self._stalled_until), self._pump_up)

    def _pump_once(self) -> None:
        ask = self._link.asks(self.there()) if self._world.now >= self._stalled_until else None
        if ask is not None:
            self._carry("up", encode(ask, self._format), self._asked)

    # ---- The way -----------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._connected:
            return
        if "relay_partition" in self._lasting:
            self._world.at(self._world.now + RETRY, self._connect)
            return
        self._connection += 1
        self._connected = True
        self._arrivals = {"down": self._world.now, "up": self._world.now}
        self._consumer = self._publisher.join(self._format)
        self._link.opened(self.there())
        self._pump_once()

    def _cut(self, why: str) -> None:
        """The connection is lost, with all that is on it."""
        if not self._connected:
            return
        self._connected = False
        self._connection += 1
        if self._consumer is not None:
            self._publisher.leave(self._consumer)
        self._consumer = None
        self._link.closed(why)
        self.replica.look(self.there())
        self._after_look()
        self._world.at(self._world.now + RETRY, self._connect)

    def _carry(self, way: str, data: bytes, arrive: Callable[[bytes], None]) -> None:
        """Have bytes arrive at the other end, or not."""
        if "relay_garbage" in self._lasting and way == "down" and self._rng.random() < SHARE / 4:
            data = data[: self._rng.randrange(len(data))]
        blocked = bool({"relay_partition", "relay_mute" if way == "down" else "relay_deaf"} & self._lasting.keys())
        for arrives in self._arrivals_of(blocked=blocked):
            if self._ordered:
                arrives = self._arrivals[way] = max(arrives, self._arrivals[way])  # noqa: PLW2901 - none overtakes
            self._deliver(way, arrives, data, arrive, self._connection)

    def _arrivals_of(self, *, blocked: bool) -> list[int]:
        """When a message arrives: once, never or twice."""
        rng, arrives = self._rng, self._world.now + self._rng.randint(*LATENCY)
        if "relay_delay" in self._lasting:
            arrives += self._delay
        if self._ordered:
            # What a connection holds back comes when the way is free again, all at once.
            return [max(arrives, max(self._lasting.values()) + rng.randint(*LATENCY)) if blocked else arrives]
        if blocked or ("relay_drop" in self._lasting and rng.random() < SHARE):
            return []
        if "relay_reorder" in self._lasting and rng.random() < SHARE:
            arrives += rng.randint(0, MICRO // 2)
        again = "relay_duplicate" in self._lasting and rng.random() < SHARE
        return [arrives, arrives + rng.randint(0, MICRO // 2)] if again else [arrives]

    def _deliver(self, way: str, when: int, data: bytes, arrive: Callable[[bytes], None], connection: int) -> None:
        def happen() -> None:
            if connection != self._connection:
                return
            if way == "down" and self._world.now < self._stalled_until:
                self._world.at(self._stalled_until, happen)
            else:
                arrive(data)

        (self._world.at if way == "down" else self._world.at_client)(when, happen)

    # ---- Faults ------------------------------------------------------------------------------------

    def _strike(self) -> None:
        for name in [name for name, until in self._lasting.items() if until <= self._world.now]:
            del self._lasting[name]
        busy = next((end for start, end in self._storms if start <= self._world.elapsed < end), None)
        if busy is not None:
            end = min(self._world.now + int(self._rng.uniform(*LASTS) * MICRO), int(busy * MICRO))
            self._begin(self._rng.choice(WAY_FAULTS), end)
        pause = self._rng.uniform(*EVERY)
        self._world.at(self._world.now + int(pause * MICRO), self._strike)
        for until in self._lasting.values():
            self._world.at(until, self._end)

    def _end(self) -> None:
        for name in [name for name, until in self._lasting.items() if until <= self._world.now]:
            del self._lasting[name]

    def _begin(self, fault: str, until: int) -> None:
        self.struck[fault] += 1
        rng = self._rng
        match fault:
            case "relay_cut":
                self._cut("cut")
            case "broker_restart":
                self._cut("the broker was restarted")
            case "relay_restart":
                self._cut("the relay was restarted")
                self._publisher = self._new_publisher()
            case "relay_clock_step":
                self._relay_clock.ahead += rng.choice((-1, 1)) * rng.uniform(0.5, 30.0)
            case "consumer_restart":
                self._cut("the consumer was restarted")
                self._start_consumer()
            case "consumer_stall":
                self._stalled_until = until
            case _:
                if fault == "relay_delay":
                    self._delay = rng.randint(MICRO // 20, 4 * MICRO)
                self._lasting[fault] = until


def _busy(storm: Storm) -> Iterable[tuple[float, float]]:
    """The times in which faults strike, in seconds."""
    begin = 5.0
    for start, end in storm.calms():
        yield begin, start
        begin = end + 5.0
