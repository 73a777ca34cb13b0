"""The venue's first relay of live prices as a simulated feed: the same frames, and the habits that were seen.

Pure; see :class:`~polymirror.simulator.surface.services.Feed`. Facts are from recordings and from the reports of users.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from polymirror.simulator.feeds.faults import PRICE, FeedLine
from polymirror.simulator.feeds.pulse import SECOND_MS, Pulse, PulseSession, check_assets, digits, reply
from polymirror.simulator.feeds.reports import e18
from polymirror.simulator.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from polymirror.simulator.faults.base import Fault
    from polymirror.simulator.feeds.pulse import PriceSource
    from polymirror.simulator.frames import Item
    from polymirror.simulator.surface.services import FeedSession

BINANCE: Final = "crypto_prices"
SPOT: Final = "crypto_prices_chainlink"
TWAPS: Final = {"crypto_prices_twap_thirty": 30, "crypto_prices_twap_sixty": 60}

DUMP_SECONDS: Final = 60
"""Prices in the first answer to a filtered subscription. Recorded: 58."""

PATIENCE_MS: Final = 360_000
"""Without a PING for this long, the data stops."""

MAX_SUBSCRIPTIONS: Final = 64
"""Subscriptions of one connection that are kept, and of one request; the relay's own bound is not known."""

INVALID: Final = '{"message":"Invalid request body","connectionId":"c1","requestId":"r1"}'

_FILTER: Final = re.compile(r'\{"symbol":"([a-z0-9/]{1,24})"\}')

UNAVAILABLE: Final = 503


@define
class _Topic:
    """What a client wants of one topic."""

    # None: all symbols.
    symbol: str | None = None
    # False: accepted, but nothing comes, or nothing after the first answer.
    speaks: bool = True


class RtdsFeed:
    """The relay. ``prices`` are told for ``assets``; ``faults`` are ids of :data:`FEED_FAULTS` or fault objects.

    ``lag_ms`` and ``missing`` are as of :class:`~polymirror.simulator.feeds.pulse.Pulse`, by default as recorded.
    """

    def __init__(
        self,
        prices: PriceSource,
        assets: Sequence[str],
        *,
        path: str = "/ws/rtds",
        seed: int = 0,
        faults: Iterable[str | Fault] = (),
        lag_ms: tuple[int, int] = (900, 1_800),
        missing: float = 0.03,
    ) -> None:
        self.path = path
        self.prices = prices
        self.assets: tuple[str, ...] = check_assets(assets)
        self.pulse: Pulse = Pulse(seed, lag_ms=lag_ms, missing=missing)
        self.line: FeedLine = FeedLine(faults, seed=seed)

    def open(self, headers: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> FeedSession | int:
        """Accept everybody, unless a fault refuses."""
        del headers, query
        return UNAVAILABLE if self.line.refuses(now_ms) else RtdsSession(self, now_ms)

    def value(self, topic: str, asset: str, second: int) -> Decimal:
        """Return the price of a topic."""
        window = TWAPS.get(topic)
        return self.prices.price(asset, second) if window is None else self.prices.twap(asset, second, window)


@define(eq=False)
class _Client:
    """What a connection knows of its client."""

    heard_ms: int
    topics: dict[str, _Topic] = field(factory=dict)


class RtdsSession(PulseSession):
    """One client's connection."""

    def __init__(self, feed: RtdsFeed, now_ms: int) -> None:
        super().__init__(feed.pulse, feed.line)
        self._feed = feed
        self._client = _Client(now_ms)

    def listening(self) -> bool:
        """Whether any topic speaks."""
        return any(topic.speaks for topic in self._client.topics.values())

    def answer(self, text: str, now_ms: int) -> list[Item]:
        """Answer PING, subscriptions, and what is neither."""
        self._client.heard_ms = now_ms
        if text.strip().upper() == "PING":
            return [reply("")]
        try:
            request = json.loads(text)
            wanted = [_wanted(each) for each in request["subscriptions"]]
            act = {"subscribe": self._subscribe, "unsubscribe": self._unsubscribe}[request["action"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return [reply(INVALID)]
        if len(wanted) > MAX_SUBSCRIPTIONS:
            return [reply(INVALID)]
        if any(topic not in {BINANCE, SPOT, *TWAPS} for topic, _ in wanted):
            # One unknown topic silences all that were asked for with it.
            return [reply("topic not found")]
        return act(wanted, now_ms)

    def publish(self, second: int, sent_ms: int) -> Iterator[Frame]:
        """Tell each topic's prices."""
        if sent_ms - self._client.heard_ms > PATIENCE_MS:
            return
        for name, topic in self._client.topics.items():
            for asset in self._feed.assets if topic.speaks else ():
                symbol = _symbol(name, asset)
                if topic.symbol in {None, symbol} and not self._pulse.is_missing(f"{name} {asset}", second):
                    yield self._update(name, asset, symbol, second, sent_ms)

    def _update(self, name: str, asset: str, symbol: str, second: int, sent_ms: int) -> Frame:
        price = self._feed.value(name, asset, second)
        full = digits(price) if name == BINANCE else e18(price)
        window = f',"window_s":{TWAPS[name]}' if name in TWAPS else ""
        text = (
            f'{{"connection_id":"simulated=","payload":{{"full_accuracy_value":"{full}","symbol":"{symbol}",'
            f'"timestamp":{second},"value":{digits(price)}{window}}},'
            f'"timestamp":{sent_ms},"topic":"{name}","type":"update"}}'
        )
        return Frame(text, PRICE, market=name, token=asset, at_ms=second)

    def _subscribe(self, wanted: list[tuple[str, object]], now_ms: int) -> list[Item]:
        items: list[Item] = []
        topics = self._client.topics
        for name, given in wanted:
            if len(topics) >= MAX_SUBSCRIPTIONS and name not in topics:
                continue
            if given is None or given == "":
                topics[name] = _Topic()
            elif isinstance(given, list):
                # Seen: an array is accepted, and nothing ever comes.
                topics[name] = _Topic(speaks=False)
            elif isinstance(given, str) and (found := _FILTER.fullmatch(given.replace(" ", ""))):
                # Seen: with a space in it, the first answer comes and nothing more.
                topics[name] = _Topic(found[1], speaks=" " not in given)
                items += self._dump(name, found[1], now_ms)
            else:
                items.append(reply("invalid Subscription.Filters: value does not match regex"))
        # Each subscription is acknowledged by an empty frame.
        return [reply(""), *items]

    def _unsubscribe(self, wanted: list[tuple[str, object]], now_ms: int) -> list[Item]:
        del now_ms
        for name, _ in wanted:
            self._client.topics.pop(name, None)
        return [reply("")]

    def _dump(self, name: str, symbol: str, now_ms: int) -> Iterator[Frame]:
        asset = next((each for each in self._feed.assets if _symbol(name, each) == symbol), None)
        if asset is None:
            return
        last = self._pulse.next_second(now_ms) - SECOND_MS
        seconds = range(last - (DUMP_SECONDS - 1) * SECOND_MS, last + 1, SECOND_MS)
        points = ",".join(
            f'{{"timestamp":{second},"value":{digits(self._feed.value(name, asset, second))}}}' for second in seconds
        )
        # Recorded: it names the topic of Binance, whatever was asked for.
        text = (
            f'{{"payload":{{"data":[{points}],"symbol":"{symbol}"}},"timestamp":{now_ms},'
            f'"topic":"{BINANCE}","type":"subscribe"}}'
        )
        yield reply(text)


def _wanted(subscription: dict[str, Any]) -> tuple[str, object]:
    """Read one entry of a request. Raises KeyError or TypeError when it is none."""
    topic, kind = subscription["topic"], subscription.get("type", "update")
    if not isinstance(topic, str) or kind not in {"update", "*"}:
        raise TypeError("a topic and a type are wanted")
    return topic, subscription.get("filters")


def _symbol(topic: str, asset: str) -> str:
    return f"{asset}usdt" if topic == BINANCE else f"{asset}/usd"
