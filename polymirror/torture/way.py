"""One relay of a simulated world, and the way from it to a consumer: what goes wrong there, as events on a timeline.

A way is ordered, as one connection is, or not, as through a broker that may lose, repeat and reorder. Times are true
microseconds unless said.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from attrs import define

from polymirror.relay import hostclock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.wire import Ask, decode, encode
from polymirror.torture.timeline import MICRO
from polymirror.torture.told import Told
from polymirror.venue.network import Network

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.core.engine import Engine
    from polymirror.core.view import BookView
    from polymirror.relay.publisher import Consumer
    from polymirror.relay.wire import Format
    from polymirror.torture.told import Word
    from polymirror.venue.market import Market

WAY_FAULTS: Final = (
    "relay_drop", "relay_duplicate", "relay_reorder", "relay_delay", "relay_cut", "relay_partition", "relay_deaf",
    "relay_mute", "relay_restart", "relay_garbage", "relay_bent", "relay_slow", "relay_clock_step", "broker_restart",
)  # fmt: skip
"""What happens on the way, by name."""

EVERY: Final = (1.0, 8.0)
"""Seconds between two faults of the way while a storm lasts, drawn between these."""

LASTS: Final = (0.2, 5.0)
"""Seconds that one lasts."""

SHARE: Final = 0.2
"""The share of frames that are lost, repeated or held up while that fault lasts."""

STEPS: Final = (0.5, 30.0)
"""Seconds by which a clock is set ahead or back."""

LATENCY: Final = (200, 3_000)
"""Microseconds of the way, either way."""

RETRY: Final = MICRO // 4
"""After how long a lost connection is made anew."""

PUMP: Final = MICRO // 50
"""How often each end looks whether there is something to be sent, in microseconds."""


class Near(Protocol):
    """The world in which the mirror lives."""

    engine: Engine
    now: int

    @property
    def seconds(self) -> float:
        """The mirror's own clock."""
        ...

    def at(self, when: int, action: Callable[[], None]) -> None:
        """Let something happen at this moment."""
        ...

    def at_client(self, when: int, action: Callable[[], None]) -> None:
        """Let something happen in the mirror's process."""
        ...


class Far(Protocol):
    """The consumer at the other end."""

    stalled_until: int

    def there(self) -> float:
        """Its clock, in seconds."""
        ...

    def received(self, link: Link, data: bytes) -> None:
        """A frame has arrived."""
        ...

    def looks(self) -> None:
        """Something happened to a link."""
        ...


class Books:
    """The mirror's engine as a publisher looks at it."""

    markets: tuple[Market, ...] = ()

    def __init__(self, world: Near) -> None:
        self._world = world

    def peek(self, token: str) -> BookView:
        """Return a book whatever its state."""
        return self._world.engine.peek(token, self._world.seconds)

    def readable_until(self, token: str) -> float | None:
        """Return when a LIVE book stops being readable unless something new is proven."""
        return self._world.engine.readable_until(token)

    def venue_ms(self, at: float) -> int:
        """Return what the venue's clock showed at least."""
        return self._world.engine.venue_ms(at)

    def now(self) -> float:
        """Return the mirror's clock in seconds."""
        return self._world.seconds


@define
class HostClock:
    """What a host's clock shows that goes on in sleep: how far ahead of true time, and how much faster it goes."""

    ahead: float
    rate: float

    @classmethod
    def drawn(cls, rng: random.Random) -> HostClock:
        """Return any host's."""
        return cls(rng.uniform(-1e6, 1e6), 1 + rng.uniform(-2e-4, 2e-4))

    def at(self, true: int) -> float:
        """What it shows, in seconds."""
        return self.ahead + true / MICRO * self.rate

    def step(self, rng: random.Random) -> None:
        """It is set."""
        self.ahead += rng.choice((-1, 1)) * rng.uniform(*STEPS)

    def as_seen(self, true: Callable[[], int], awake: Callable[[], float]) -> hostclock.HostClock:
        """Return it as a program of that host sees it, which has a clock beside it that nobody sets.

        ``true`` is the time; ``awake`` has the seconds of it in which the host did not sleep.
        """
        network = Network(
            monotonic=lambda: awake() * self.rate, boot=lambda: self.at(true()), wall=lambda: true() / MICRO
        )
        return hostclock.HostClock(network)


class Way:
    """A relay, and the way from it to ``far``. ``busy`` are the times in which faults strike, in seconds."""

    def __init__(
        self,
        world: Near,
        far: Far,
        busy: Sequence[tuple[float, float]],
        rng: random.Random,
        *,
        ordered: bool,
        format_: Format = "msgpack",
    ) -> None:
        self._world = world
        self._far = far
        self._rng = rng
        self.struck: Counter[str] = Counter()
        # What has come to the consumer, as the mirror had it.
        self.told: Told
        self._ordered = ordered
        self._format: Format = format_
        self._relay_clock = HostClock.drawn(rng)
        self._busy = busy
        # What lasts, and until when.
        self._lasting: dict[str, int] = {}
        self._delay = 0
        # The number of the connection; what belongs to another one is lost.
        self._connection = 0
        self._connected = False
        # Whether the consumer takes what comes: not while it believes that no relay is there.
        self._hears = False
        self._arrivals = {"down": 0, "up": 0}
        self._runs = 0
        self._consumer: Consumer | None = None
        self._publisher: Publisher = self._new_publisher()
        self.link: Link = self.new_link()
        world.at(world.now + MICRO // 10, self._connect)
        world.at_client(world.now + PUMP, self._pump_down)
        world.at(world.now + PUMP, self._pump_up)
        world.at(world.now + MICRO, self._strike)

    # ---- The relay ---------------------------------------------------------------------------------

    def _new_publisher(self) -> Publisher:
        self._runs += 1
        clock = self._relay_clock.as_seen(lambda: self._world.now, lambda: self._world.seconds)
        return Publisher(Books(self._world), f"run {self._runs}", clock)

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
            self._down(self._publisher.frame(consumer))

    def _down(self, frame: bytes) -> None:
        """A frame leaves the relay."""
        words = self.told.leave(frame, self._format, self._world.now)
        if "relay_bent" in self._lasting and self._rng.random() < SHARE:
            frame, bent = _bend(frame, self._format)
            # Of that book nothing was said that may be believed, and nothing that may not.
            words = [word for word in words if word.token != bent]
        self._carry("down", frame, partial(self._received, words, frame))

    def _asked(self, data: bytes) -> None:
        if self._consumer is not None:
            self._publisher.asked(self._consumer, decode(Ask, data, self._format))
            self._send_down()

    # ---- The consumer's end ------------------------------------------------------------------------

    def new_link(self) -> Link:
        """Begin anew at the consumer's end."""
        self.told = Told(self._world)
        self.link = Link("over a socket" if self._ordered else "through a broker", self._format)
        return self.link

    def _received(self, words: list[Word], sent: bytes, data: bytes) -> None:
        if data == sent:
            self.told.come(words if self._hears else (), self._world.now)
        else:
            # What was cut on the way may have been about any book.
            self.told.forget()
        self._far.received(self.link, data)
        self._pump_once()

    def _pump_up(self) -> None:
        self._pump_once()
        self._world.at(max(self._world.now + PUMP, self._far.stalled_until), self._pump_up)

    def _pump_once(self) -> None:
        ask = self.link.asks(self._far.there()) if self._world.now >= self._far.stalled_until else None
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
        self._open()
        self._pump_once()

    def _open(self) -> None:
        self.told.opened()
        self._hears = True
        self._consumer = self._publisher.join(self._format)
        self.link.opened(self._far.there())

    def cut(self, why: str) -> None:
        """The connection is lost, with all that is on it."""
        if not self._connected:
            return
        self._connected = False
        self._connection += 1
        if self._consumer is not None:
            self._publisher.leave(self._consumer)
        self._consumer = None
        self._closed(why)
        self._world.at(self._world.now + RETRY, self._connect)

    def _closed(self, why: str) -> None:
        """The consumer learns that the relay is not there."""
        self.told.forget()
        self._hears = False
        self.link.closed(why)
        self._far.looks()

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
            if way == "down" and self._world.now < self._far.stalled_until:
                self._world.at(self._far.stalled_until, happen)
            else:
                arrive(data)

        (self._world.at if way == "down" else self._world.at_client)(when, happen)

    def owes(self, tokens: Iterable[str]) -> list[str]:
        """Of which of these books the consumer should have been told by now that the mirror is in doubt."""
        if self._consumer is None or "relay_slow" in self._lasting:
            return []
        return [token for token in tokens if token in self._consumer.places and self.told.owes(token)]

    # ---- Faults ------------------------------------------------------------------------------------

    def _strike(self) -> None:
        for name in [name for name, until in self._lasting.items() if until <= self._world.now]:
            del self._lasting[name]
        seconds = self._world.now / MICRO
        over = next((end for start, end in self._busy if start <= seconds < end), None)
        if over is not None:
            end = min(self._world.now + int(self._rng.uniform(*LASTS) * MICRO), int(over * MICRO))
            self._begin(self._rng.choice(WAY_FAULTS), end)
        pause = self._rng.uniform(*EVERY)
        self._world.at(self._world.now + int(pause * MICRO), self._strike)
        for until in self._lasting.values():
            self._world.at(until, self._end)

    def _end(self) -> None:
        for name in [name for name, until in self._lasting.items() if until <= self._world.now]:
            del self._lasting[name]

    def _move(self) -> None:
        """A relay that is started anew may be so on another host."""
        if self._rng.random() < 1 / 2:
            self._relay_clock = HostClock.drawn(self._rng)

    def _begin(self, fault: str, until: int) -> None:
        self.struck[fault] += 1
        rng = self._rng
        match fault:
            case "relay_cut":
                self.cut("cut")
            case "broker_restart":
                self.cut("the broker was restarted")
            case "relay_restart":
                self.cut("the relay was restarted")
                self._move()
                self._publisher = self._new_publisher()
            case "relay_clock_step":
                self._relay_clock.step(rng)
            case _:
                if fault == "relay_delay":
                    self._delay = rng.randint(MICRO // 20, 4 * MICRO)
                self._lasting[fault] = until


def _bend(frame: bytes, format_: Format) -> tuple[bytes, str]:
    """Return a frame with one size of one change altered, and whose; "": none could be."""
    codec = msgspec.json if format_ == "json" else msgspec.msgpack
    content = codec.decode(frame)
    for item in content["items"]:
        sides = [side for side in (item.get("bids"), item.get("asks")) if side]
        if item["is"] == "change" and sides:
            sides[0][0][1] += 1
            return codec.encode(content), item["token"]
    return frame, ""
