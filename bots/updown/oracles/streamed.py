"""An oracle over WebSockets: one self-healing stream for each kind of price, and one dialect that reads it.

The dialects (:mod:`~bots.updown.oracles.rtds`, :mod:`~bots.updown.oracles.polybolt`,
:mod:`~bots.updown.oracles.chainlink`) are pure and know the venue's JSON; this shell joins them to
:class:`polymirror.venue.stream.Stream` and the board of prices. Each kind has a stream of its own, because a topic
that froze on a socket whose other topic flows would never be missed by the watchdog of that socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from bots.common.errors import shorten
from bots.updown.oracles.base import OracleHealth
from polymirror.config import StreamConfig, check_address
from polymirror.errors import VenueUnavailable
from polymirror.venue.stream import CloseKind, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bots.updown.oracles.board import Price, PriceBoard
    from bots.updown.oracles.buffer import OracleBuffer
    from bots.updown.oracles.ticks import Tick, TickKind
    from polymirror.venue.network import Network

FEED_STREAM: Final = StreamConfig(
    ping_interval=5.0,
    data_timeout=8.0,
    transport_timeout=20.0,
    backoff_cap=15.0,
    max_message=2**20,
    max_queue=2_000,
    max_queue_bytes=16 * 2**20,
    redirects=False,
)
"""How feeds are kept alive: a connection without a new price for 8 s is replaced. Longer than a price may stay silent
before it is stale, so that nobody acts on the old price while the new connection is on its way."""

MALFORMED: Final = "malformed"
IGNORED: Final = "ignored"

REFUSED: Final = frozenset({401, 403})
"""The HTTP statuses of a handshake whose credentials are not accepted."""


@frozen
class Said:
    """One frame of a feed, understood."""

    prices: Sequence[Price] = ()
    history: bool = False
    """Whether the prices are a replay of the past."""
    what: str = ""
    """What else it was, from a small set of words, for the counts; empty for prices alone."""
    trouble: str = ""
    """What the other side says against us: short, and never a secret."""
    reply: str | None = None
    """A text to send at once. Without secrets: those go into the first frame."""
    give_up: str = ""
    """Why this connection is to be replaced; empty: it is not."""
    refused: bool = False
    """Whether the trouble is that our credentials are not accepted."""


class Dialect(Protocol):
    """How one feed talks about one kind of price. Pure; it must never raise on what the other side sends."""

    @property
    def name(self) -> str:
        """The feed and the kind, for logs."""
        ...

    @property
    def url(self) -> str:
        """Where to connect. Without secrets: it is logged."""
        ...

    @property
    def kind(self) -> TickKind:
        """The kind of price."""
        ...

    @property
    def ping(self) -> str | None:
        """The heartbeat's text."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Return the headers of one attempt to connect, signed anew each time where they are signed."""
        ...

    def first_frame(self) -> str | None:
        """Return the first text of a new connection. What was known of the last connection is forgotten."""
        ...

    def prices(self, data: bytes) -> Sequence[Price]:
        """Return the prices in a frame and change nothing: the data watchdog asks before the frame's turn."""
        ...

    def read(self, data: bytes) -> Said:
        """Take the next frame of the connection."""
        ...


class StreamedOracle:
    """An oracle over one stream for each dialect. ``board`` takes the prices; ``rng`` draws the jitter of backoff."""

    def __init__(
        self,
        name: str,
        dialects: Sequence[Dialect],
        board: PriceBoard,
        network: Network,
        *,
        config: StreamConfig = FEED_STREAM,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._board = board
        self._network = network
        rng = rng or random.Random()  # noqa: S311 - jitter keeps no secret
        self._lines = [_Line(dialect, board, network, config, rng) for dialect in dialects]

    @property
    def buffer(self) -> OracleBuffer:
        """The recent prices."""
        return self._board.buffer

    @property
    def kinds(self) -> frozenset[TickKind]:
        """The kinds of price that this oracle delivers."""
        return self._board.kinds

    async def run(self) -> None:
        """Keep the connections open until cancelled.

        Raises :class:`~polymirror.errors.ConfigError` for an address or a proxy that cannot ever work, before anything.
        """
        for line in self._lines:
            check_address("url", line.url, "wss", "ws")
            self._network.check(line.url)
        async with asyncio.TaskGroup() as group:
            for line in self._lines:
                group.create_task(line.stream.run(), name=f"oracle {line.stream.name}")

    def on_tick(self, callback: Callable[[Tick], None]) -> Callable[[], None]:
        """Call back for each new price; see :class:`~bots.updown.oracles.base.Oracle`."""
        return self._board.listen(callback)

    def stale(self, asset: str, now: float, kind: TickKind | None = None) -> bool:
        """Whether no signal on this asset may be given; see :class:`~bots.updown.oracles.base.Oracle`."""
        return self._board.stale(asset, now, kind)

    def health(self) -> OracleHealth:
        """Describe how it is doing now."""
        now, board = self._network.monotonic(), self._board
        counters = [line.stream.counters for line in self._lines]
        counts = dict(board.counts)
        counts["connects"] = sum(each.connects for each in counters)
        counts["failed connects"] = sum(each.failures for each in counters)
        counts["silences"] = sum(each.closes[CloseKind.DATA_SILENCE] for each in counters)
        return OracleHealth(
            name=self.name,
            connected=all(line.stream.connected for line in self._lines),
            series=board.all_health(now),
            counts=counts,
            refused=any(line.refused for line in self._lines),
            trouble="; ".join(f"{line.stream.name}: {why}" for line in self._lines if (why := line.describe_trouble())),
        )


class _Line:
    """One stream and its dialect."""

    def __init__(
        self, dialect: Dialect, board: PriceBoard, network: Network, config: StreamConfig, rng: random.Random
    ) -> None:
        # What the other side last said against us; forgotten when a later connection brings a price.
        self.trouble = ""
        # Whether that was about our credentials.
        self._refused = False
        # Which connection it was said on.
        self._trouble_at = 0
        self._dialect = dialect
        self.url = dialect.url
        self._board = board
        self._network = network
        self.stream = Stream(
            dialect.url,
            first_frame=dialect.first_frame,
            on_open=lambda _now: None,
            on_frame=self._heard,
            on_close=lambda _now, _cause: None,
            config=config,
            rng=rng,
            is_data=self._is_news,
            name=dialect.name,
            ping=dialect.ping,
            headers=dialect.headers,
            network=network,
        )

    def _wall_ms(self) -> int:
        return int(self._network.wall() * 1000)

    def _is_news(self, data: bytes) -> bool:
        """Tell a frame with a new price from heartbeats, replays and repetitions: only the first keeps us here."""
        wall_ms = self._wall_ms()
        return any(self._board.is_news(price, wall_ms) for price in self._dialect.prices(data))

    @property
    def refused(self) -> bool:
        """Whether our credentials are not accepted."""
        cause = self.stream.counters.last_cause
        handshake = cause is not None and cause.kind is CloseKind.OPEN_FAILED and cause.code in REFUSED
        return self._refused or (handshake and not self.stream.connected)

    def describe_trouble(self) -> str:
        """Say what is wrong with this line, in a few words; empty when nothing is known."""
        cause = self.stream.counters.last_cause
        if cause is None or self.stream.connected or self.trouble:
            return self.trouble
        if cause.kind is CloseKind.OPEN_FAILED and cause.code in REFUSED:
            return f"the handshake is refused with HTTP {cause.code}: the credentials are not accepted"
        return shorten(str(cause))

    def _heard(self, data: bytes, received_at: float) -> None:
        said = self._dialect.read(data)
        wall_ms = self._wall_ms()
        news = [self._board.take(price, received_at, wall_ms, history=said.history) for price in said.prices]
        if said.what:
            self._board.counts[said.what] += 1
        connects = self.stream.counters.connects
        if said.trouble:
            self.trouble, self._trouble_at = shorten(said.trouble), connects
            self._refused = said.refused
        elif any(news) and connects > self._trouble_at:
            self.trouble, self._refused = "", False
        if said.reply is not None:
            # The connection may be ending already; the next one begins from the beginning.
            with contextlib.suppress(VenueUnavailable):
                self.stream.send(said.reply)
        if said.give_up:
            self.stream.reconnect(said.give_up)
