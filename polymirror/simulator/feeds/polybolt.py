"""The venue's second relay of live prices, PolyBolt, as a simulated feed: credentials, sequences and snapshots.

Pure; see :class:`~polymirror.simulator.surface.services.Feed`. Facts are from the venue's documentation.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import field, frozen

from polymirror.simulator.feeds.faults import PRICE, FeedLine
from polymirror.simulator.feeds.pulse import SECOND_MS, Pulse, PulseSession, check_assets, digits, reply
from polymirror.simulator.frames import Close, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from polymirror.simulator.faults.base import Fault
    from polymirror.simulator.feeds.pulse import PriceSource
    from polymirror.simulator.frames import Item
    from polymirror.simulator.surface.services import FeedSession

SPOT: Final = "price.crypto"
TWAP: Final = "price.crypto.twap"
WINDOW_S: Final = 60

PROVIDERS: Final = ("chainlink", "pyth")
"""Where spot prices come from: the first one unless a subscription names the other (since October 2026)."""

SNAPSHOT_SECONDS: Final = 120
MAX_SUBSCRIPTIONS: Final = 64
MAX_REQUESTS: Final = 20
"""Subscription requests in one second."""
MAX_AUTHS: Final = 8
MAX_REQUEST_BYTES: Final = 64 * 1024

UNAVAILABLE: Final = 503

UNNUMBERED: Final = '"seq":0'
"""Where the number of a frame goes, which it gets when it is sent."""


class Credentials(Protocol):
    """Who may read prices."""

    def accept(self, given: object) -> object:
        """Return something true for right ones: an object with ``apiKey``, ``secret`` and ``passphrase``."""
        ...


@frozen(kw_only=True)
class RelayKeys:
    """The credentials that the relay accepts. They are made up, and still not shown."""

    api_key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)

    def accept(self, given: object) -> bool:
        """Whether a client's credentials are these."""
        if not isinstance(given, dict):
            return False
        ours = {"apiKey": self.api_key, "secret": self.secret, "passphrase": self.passphrase}
        return all(hmac.compare_digest(str(given.get(name, "")).encode(), own.encode()) for name, own in ours.items())


DEMO_KEYS: Final = RelayKeys(api_key="simulated-key", secret="simulated-secret", passphrase="simulated-phrase")  # noqa: S106
"""What the relay accepts unless told otherwise."""


class PolyboltFeed:
    """The relay. ``prices`` are told for ``assets``, to those whom ``keys`` accept: one pair, or all accounts.

    ``faults`` are ids of :data:`FEED_FAULTS` or fault objects; ``lag_ms`` and ``missing`` as of
    :class:`~polymirror.simulator.feeds.pulse.Pulse`.
    """

    def __init__(
        self,
        prices: PriceSource,
        assets: Sequence[str],
        *,
        keys: Credentials = DEMO_KEYS,
        path: str = "/ws/polybolt",
        seed: int = 0,
        faults: Iterable[str | Fault] = (),
        lag_ms: tuple[int, int] = (600, 1_300),
        missing: float = 0.01,
    ) -> None:
        self.path = path
        self.prices = prices
        self.assets: tuple[str, ...] = check_assets(assets)
        self.keys = keys
        self.pulse: Pulse = Pulse(seed, lag_ms=lag_ms, missing=missing)
        self.line: FeedLine = FeedLine(faults, seed=seed)

    def open(self, headers: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> FeedSession | int:
        """Accept everybody; who they are is asked later."""
        del headers, query
        return UNAVAILABLE if self.line.refuses(now_ms) else PolyboltSession(self)

    def value(self, channel: str, asset: str, second: int) -> Decimal:
        """Return the price of a channel."""
        return self.prices.twap(asset, second, WINDOW_S) if channel == TWAP else self.prices.price(asset, second)


class PolyboltSession(PulseSession):
    """One client's connection."""

    def __init__(self, feed: PolyboltFeed) -> None:
        super().__init__(feed.pulse, feed.line)
        self._feed = feed
        self._known = False
        self._auths = 0
        # Who provides the price, by channel and asset, in order of subscription.
        self._wanted: dict[tuple[str, str], str] = {}
        # The number of the last frame of each channel.
        self._seqs: Counter[str] = Counter()
        # When the last requests came, in Unix milliseconds.
        self._requests: deque[int] = deque(maxlen=MAX_REQUESTS)
        self._ops: dict[str, Callable[[dict[str, Any], int], list[Item]]] = {
            "auth": self._auth,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": lambda request, _now: [_ack("pong", request)],
        }

    def listening(self) -> bool:
        """Whether there is any subscription."""
        return bool(self._wanted)

    def answer(self, text: str, now_ms: int) -> list[Item]:
        """Answer a request."""
        if len(text.encode()) > MAX_REQUEST_BYTES:
            return [Close(4008, "frame too large")]
        try:
            request = json.loads(text)
            act = self._ops[request["op"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return [reply('{"op":"error","code":"bad_op"}')]
        return act(request, now_ms)

    def publish(self, second: int, sent_ms: int) -> Iterator[Frame]:
        """Tell the price of each subscription."""
        for (channel, asset), source in self._wanted.items():
            if not self._pulse.is_missing(f"{channel} {asset}", second):
                price = self._feed.value(channel, asset, second)
                yield self._frame(channel, asset, second, sent_ms, source, _point(price, second))

    def number(self, item: Item) -> Item:
        """Number the frames of each channel from 1 on."""
        if not isinstance(item, Frame) or item.kind != PRICE:
            return item
        self._seqs[item.market] += 1
        return item._replace(text=item.text.replace(UNNUMBERED, f'"seq":{self._seqs[item.market]}', 1))

    def _auth(self, request: dict[str, Any], _now_ms: int) -> list[Item]:
        self._auths += 1
        if self._feed.keys.accept(request.get("auth")):
            self._known = True
            return [_ack("authed", request)]
        if self._auths >= MAX_AUTHS:
            return [_error("auth_attempts", request), Close(4001, "authentication failed")]
        return [_error("auth_invalid", request)]

    def _subscribe(self, request: dict[str, Any], now_ms: int) -> list[Item]:
        if len(self._requests) == MAX_REQUESTS and now_ms - self._requests[0] < SECOND_MS:
            return [_error("rate_limited", request)]
        self._requests.append(now_ms)
        items: list[Item] = []
        for channel, given in _subscriptions(request):
            problem = self._problem(channel, given)
            if problem:
                items.append(_error(problem, request, channel))
                continue
            key = (channel, str(given["symbol"]).removesuffix("usd"))
            source = str(given.get("provider", PROVIDERS[0]))
            items.append(_ack("subscribed", request, channel, **({"provider": source} if channel == SPOT else {})))
            new, self._wanted[key] = key not in self._wanted, source
            if new:
                items.append(self._snapshot(*key, now_ms, source))
        return items

    def _unsubscribe(self, request: dict[str, Any], _now_ms: int) -> list[Item]:
        items: list[Item] = []
        for channel, given in _subscriptions(request):
            self._wanted.pop((channel, str(given.get("symbol", "")).removesuffix("usd")), None)
            items.append(_ack("unsubscribed", request, channel))
        return items

    def _problem(self, channel: str, given: dict[str, Any]) -> str:
        if channel not in {SPOT, TWAP}:
            return "bad_channel"
        if not self._known:
            return "auth_required"
        known = {f"{asset}usd" for asset in self._feed.assets}
        named = given.get("provider", PROVIDERS[0])
        wrong = given.get("window_seconds") != WINDOW_S if channel == TWAP else named not in PROVIDERS
        if wrong or str(given.get("symbol")) not in known:
            return "bad_filter"
        return "sub_limit" if len(self._wanted) >= MAX_SUBSCRIPTIONS else ""

    def _snapshot(self, channel: str, asset: str, now_ms: int, source: str) -> Frame:
        last = self._pulse.next_second(now_ms) - SECOND_MS
        seconds = range(last - (SNAPSHOT_SECONDS - 1) * SECOND_MS, last + 1, SECOND_MS)
        points = ",".join(
            f"{{{_point(self._feed.value(channel, asset, second), second)}}}"
            for second in seconds
            if not self._pulse.is_missing(f"{channel} {asset}", second)
        )
        return self._frame(channel, asset, last, now_ms, source, f'"data":[{points}]', snapshot=True)

    def _frame(
        self, channel: str, asset: str, second: int, sent_ms: int, source: str, content: str, *, snapshot: bool = False
    ) -> Frame:
        # An average has one provider, whoever is named.
        source = PROVIDERS[0] if channel == TWAP else source
        window = f',"window_seconds":{WINDOW_S}' if channel == TWAP else ""
        mark = '"snapshot":true,' if snapshot else ""
        text = (
            f'{{"v":1,"channel":"{channel}",{UNNUMBERED},"ts":{sent_ms},{mark}'
            f'"payload":{{"symbol":"{asset}usd","source":"{source}",{content}{window}}}}}'
        )
        return Frame(text, PRICE, market=channel, token=asset, at_ms=second)


def _point(price: Decimal, second: int) -> str:
    """Write the fields of one price; both of its forms are exact here."""
    return f'"value":{digits(price)},"full_accuracy_value":"{digits(price)}","timestamp":{second}'


def _subscriptions(request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a request: one channel with a filter, or an array of them. What is neither is an unknown channel."""
    entries = request.get("subscriptions", [request])
    for entry in entries if isinstance(entries, list) else [None]:
        channel, given = (entry.get("channel"), entry.get("filter")) if isinstance(entry, dict) else (None, None)
        yield str(channel), given if isinstance(given, dict) else {}


def _ack(op: str, request: dict[str, Any], channel: str = "", **more: str) -> Frame:
    about = ({"channel": channel} if channel else {}) | more
    return reply(json.dumps({"op": op, **about, **_rid(request)}, separators=(",", ":")))


def _error(code: str, request: dict[str, Any], channel: str = "") -> Frame:
    about = {"channel": channel} if channel else {}
    return reply(json.dumps({"op": "error", "code": code, **about, **_rid(request)}, separators=(",", ":")))


def _rid(request: dict[str, Any]) -> dict[str, str]:
    return {"rid": str(request["rid"])[:64]} if "rid" in request else {}
