"""A whole venue around an exchange: price feeds, orders of accounts, the geoblock, and a page that lists everything.

:class:`Outfit` makes the feeds and services of one exchange; hand its two methods to a
:class:`~polymirror.simulator.server.Simulator`. ``polymirror serve`` is that and nothing more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.ladder import size_text
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.feeds import FEED_FAULTS, price_feeds
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Account, Geo, OrderDesk
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.surface.answers import told
from polymirror.simulator.surface.services import MARKET_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attrs import Attribute

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.frames import Answer, Call
    from polymirror.simulator.surface.services import Feed, Service

LISTING_PATH: Final = "/simulator"
"""Where everything that is served is listed, as JSON. The simulator's own; the venue has no such page."""

USUAL_ASSETS: Final = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype")

MAX_CASH: Final = Decimal(1_000_000_000)

ORDER_FAULTS: Final = (
    *("answer_lost", "request_lost", "request_late", "too_early", "too_many", "unavailable", "reads"),
    "unmatched",
)
"""What may go wrong with orders, by the names of the rates."""


def _cash(_: object, attribute: Attribute[Decimal], value: Decimal) -> None:
    if not value.is_finite() or not 0 <= value <= MAX_CASH or value != value.quantize(Decimal("0.000001")):
        raise ConfigError(attribute.name, value, f"0 to {MAX_CASH} pUSD, with six decimals at most")


@frozen(kw_only=True)
class Trader:
    """An account that exists from the start, and the money it begins with, in pUSD."""

    account: Account
    cash: Decimal = field(default=Decimal(1_000), validator=_cash)


@frozen(kw_only=True)
class OutfitConfig:
    """What the venue has besides its books."""

    seed: int = 0
    assets: tuple[str, ...] = USUAL_ASSETS
    """Of which assets the feeds tell prices."""
    traders: tuple[Trader, ...] = ()
    taker_delay_ms: int = 250
    """How long an order that takes is held back."""
    blocked: bool = False
    """Whether the geoblock says that one may not trade from here."""
    feed_faults: tuple[str, ...] = ()
    """What goes wrong with prices: ids of :data:`~polymirror.simulator.feeds.FEED_FAULTS`."""
    order_faults: tuple[str, ...] = ()
    """What goes wrong with orders: names of :data:`ORDER_FAULTS`, each as often as in a storm."""

    def __attrs_post_init__(self) -> None:
        """Refuse faults that do not exist."""
        for name, given, known in (
            ("feed_faults", self.feed_faults, tuple(FEED_FAULTS)),
            ("order_faults", self.order_faults, ORDER_FAULTS),
        ):
            for each in given:
                if each not in known:
                    raise ConfigError(name, each, f"one of {', '.join(known)}")


class _Keys:
    """The credentials of all accounts, for the feed that wants some."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = accounts

    def accept(self, given: object) -> object:
        if not isinstance(given, dict):
            return None
        stated = tuple(given.get(name) for name in ("apiKey", "secret", "passphrase"))
        return next((each for each in self._accounts if (each.api_key, each.secret, each.passphrase) == stated), None)


class _Parts:
    """What belongs to one exchange."""

    def __init__(self, exchange: Exchange, config: OutfitConfig) -> None:
        self.exchange = exchange
        self.ledger = Ledger()
        accounts = [trader.account for trader in config.traders]
        for trader in config.traders:
            self.ledger.deposit(trader.account.address, int(trader.cash * ONE_PUSD))
        usual = OrderFaultRates.storm()
        rates = OrderFaultRates(**{name: getattr(usual, name) for name in config.order_faults})
        self.broker = Broker(exchange, self.ledger, BrokerConfig(taker_delay_ms=config.taker_delay_ms))
        faults = OrderFaults(rates, seed=config.seed)
        self.desk = OrderDesk(self.broker, accounts, faults=faults, geo=Geo(blocked=config.blocked))
        self.feeds: tuple[Feed, ...] = price_feeds(
            exchange.oracle, config.assets, seed=config.seed, faults=config.feed_faults, keys=_Keys(accounts)
        )
        self.services: tuple[Service, ...] = (Listing(self, config), self.desk)


class Outfit:
    """Makes the feeds and the services of an exchange; both of one exchange belong together."""

    def __init__(self, config: OutfitConfig | None = None) -> None:
        self.config = config or OutfitConfig()
        self._parts: _Parts | None = None

    def feeds(self, exchange: Exchange) -> tuple[Feed, ...]:
        """The feeds of this exchange."""
        return self._of(exchange).feeds

    def services(self, exchange: Exchange) -> tuple[Service, ...]:
        """The services of this exchange."""
        return self._of(exchange).services

    @property
    def broker(self) -> Broker | None:
        """The broker of the newest exchange; ``None`` before there is any."""
        return None if self._parts is None else self._parts.broker

    def injected(self) -> dict[str, int]:
        """How often each fault of orders struck."""
        return {} if self._parts is None else dict(self._parts.desk.faults.struck)

    def _of(self, exchange: Exchange) -> _Parts:
        if self._parts is None or self._parts.exchange is not exchange:
            self._parts = _Parts(exchange, self.config)
        return self._parts


class Listing:
    """The page that lists everything that is served."""

    def __init__(self, parts: _Parts, config: OutfitConfig) -> None:
        self._parts = parts
        self._config = config

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer the one call that is for it."""
        if call.method != "GET" or call.path.rstrip("/") != LISTING_PATH:
            return None
        host = call.headers.get("host", "127.0.0.1")
        return told({"time_ms": now_ms, **addresses(f"http://{host}", self._parts.feeds), **self._content()})

    def _content(self) -> dict[str, Any]:
        ledger = self._parts.ledger
        return {
            "markets": [market_row(market) for market in self._parts.exchange.markets],
            "accounts": [
                {"address": trader.account.address, "pusd": size_text(ledger.account(trader.account.address).cash)}
                for trader in self._config.traders
            ],
            "blocked": self._parts.desk.geo.blocked,
            "taker_delay_ms": self._config.taker_delay_ms,
        }


def market_row(market: Market) -> dict[str, Any]:
    """A market in a list of everything."""
    return {
        "slug": market.slug,
        "condition_id": market.condition_id,
        "tokens": dict(zip(OUTCOMES, market.tokens, strict=True)),
        "phase": market.phase.value,
        "starts_ms": market.window_start_ms,
        "ends_ms": market.window_end_ms,
    }


def addresses(base: str, feeds: Sequence[Feed]) -> dict[str, str]:
    """Where each service is, by the name that clients give it; ``base`` is the address of HTTP."""
    sockets = "ws" + base.removeprefix("http")
    found = {"stream": sockets + MARKET_PATH, "clob": base, "gamma": base, "data": base}
    for feed in feeds:
        found[FEED_NAMES.get(feed.path, feed.path)] = sockets + feed.path
    return found | {"geoblock": f"{base}/api/geoblock", "listing": base + LISTING_PATH}


FEED_NAMES: Final = {"/ws/user": "user", "/ws/rtds": "rtds", "/ws/polybolt": "polybolt", "/api/v1/ws": "streams"}
