"""The venue's user channel: what it tells of our orders and trades as they happen (protocol.md 11).

It tells earlier what look-ups and lists tell anyway, and nothing rests on it alone: events may be missing, late, twice
and out of order, and a connection may fall silent. Whoever listens takes an event as a reason to look, and a
:class:`Gap` as one to look at everything. A trade is told once for each status that it has.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from bots.common.errors import TradingError, shorten
from bots.common.execution.reading import decimal, state_of, taker_fills, text, word
from polymirror.config import StreamConfig, check_address
from polymirror.venue.stream import CloseKind, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bots.common.execution.base import OrderState, Trade
    from polymirror.venue.closing import CloseCause
    from polymirror.venue.network import Network

URL: Final = "wss://ws-subscriptions-clob.polymarket.com/ws/user"

USER_STREAM: Final = StreamConfig(
    ping_interval=10.0,
    data_timeout=35.0,
    transport_timeout=35.0,
    max_message=2**20,
    max_queue=2_000,
    max_queue_bytes=16 * 2**20,
    redirects=False,
)
"""An account may have nothing to tell for hours: a PONG is sign of life enough, three that are missing are not."""

REFUSED: Final = frozenset({1008, 401, 403})
"""How the venue closes, or does not open, a connection whose credentials it does not accept."""


@frozen(kw_only=True)
class OrderTold:
    """An order of ours was placed, changed, or ended."""

    order_id: str
    market: str
    token: str
    kind: str
    """``PLACEMENT``, ``UPDATE``, ``CANCELLATION``, or a word that is new."""
    state: OrderState


@frozen(kw_only=True)
class TradeTold:
    """Fills of an order with which we took, as far as the chain is with them."""

    fills: tuple[Trade, ...]


@frozen(kw_only=True)
class Gap:
    """A connection begins (again), or an event could not be read: something may have happened that was not told."""

    why: str


UserEvent = OrderTold | TradeTold | Gap


class UserChannel:
    """One account's channel. ``told`` is called for each event, on the event loop; it must be quick and not raise.

    ``login`` gives the credentials as the venue wants them, anew for each connection: keys may have been derived again.
    They go into the first frame and nowhere else. ``markets`` are the condition ids whose events are wanted; by default
    those of every market, the rounds to come included. ``rng`` draws the jitter of the waits between connections.
    """

    def __init__(
        self,
        login: Callable[[], Mapping[str, str]],
        told: Callable[[UserEvent], None],
        network: Network,
        *,
        url: str = URL,
        markets: Iterable[str] = (),
        config: StreamConfig = USER_STREAM,
        rng: random.Random | None = None,
    ) -> None:
        # Events by kind, and what else came, by a word for it.
        self.counts: Counter[str] = Counter()
        self._login = login
        self._told = told
        self._network = network
        self._url = url
        self._markets = list(markets)
        # Whether this connection has brought anything, be it a PONG.
        self._spoken = False
        self._stream = Stream(
            url,
            first_frame=self._first_frame,
            on_open=lambda _now: self._opened(),
            on_frame=lambda data, _at: self._heard(data),
            on_close=self._closed,
            config=config,
            rng=rng or random.Random(),  # noqa: S311 - jitter keeps no secret
            is_data=lambda _data: True,
            name="user channel",
            network=network,
        )

    async def run(self) -> None:
        """Keep a connection open until cancelled. Raises ConfigError, before anything, for an address of no use."""
        check_address("url", self._url, "wss", "ws")
        self._network.check(self._url)
        await self._stream.run()

    @property
    def connected(self) -> bool:
        """Whether a connection is open. Says nothing about whether the venue tells anything on it."""
        return self._stream.connected

    @property
    def refused(self) -> bool:
        """Whether the credentials were not accepted the last time, and nothing was heard since."""
        cause = self._stream.counters.last_cause
        return cause is not None and cause.code in REFUSED and not self._spoken

    def _first_frame(self) -> str:
        frame: dict[str, Any] = {"auth": dict(self._login()), "type": "user"}
        if self._markets:
            frame["markets"] = self._markets
        return json.dumps(frame, separators=(",", ":"))

    def _opened(self) -> None:
        self._spoken = False
        self._tell(Gap(why="connected"))

    def _closed(self, _now: float, cause: CloseCause) -> None:
        if cause.kind is not CloseKind.STOPPED:
            self.counts["lost connections"] += 1

    def _tell(self, event: UserEvent) -> None:
        self.counts[type(event).__name__] += 1
        self._told(event)

    def _heard(self, data: bytes) -> None:
        """Take a frame: an event, or a list of them. What is no event is counted."""
        self._spoken = True
        if not data.strip() or data[:1] not in b"[{":
            self.counts["words"] += 1
            return
        try:
            frame = json.loads(data)
        except (ValueError, RecursionError):
            self.counts["malformed"] += 1
            self._tell(Gap(why="a frame that is no JSON"))
            return
        for raw in frame if isinstance(frame, list) else [frame]:
            try:
                event = _event(raw) if isinstance(raw, dict) else None
            except TradingError as error:
                self.counts["malformed"] += 1
                event = Gap(why=shorten(str(error)))
            if event is None:
                self.counts["other"] += 1
            else:
                self._tell(event)


def _event(raw: dict[str, Any]) -> UserEvent | None:
    """Read one event; ``None``: of a kind that is not known, or a trade in which we did not take."""
    kind = str(raw.get("event_type")).lower()
    if kind == "order":
        return OrderTold(
            order_id=text(raw, kind, "id"),
            market=text(raw, kind, "market"),
            token=text(raw, kind, "asset_id"),
            kind=word(raw.get("type")).upper(),
            state=state_of(raw.get("status"), decimal(raw, kind, "size_matched", empty="0")),
        )
    fills = taker_fills([raw], kind) if kind == "trade" else []
    return TradeTold(fills=tuple(fills)) if fills else None
