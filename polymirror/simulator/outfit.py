"""A whole venue around an exchange: price feeds, orders of accounts, a chain, the geoblock, and a list of everything.

:class:`Outfit` makes the feeds and services of one exchange; hand its two methods to a
:class:`~polymirror.simulator.server.Simulator`. ``polymirror serve`` is that and nothing more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, fields, frozen

from polymirror.config import one_of
from polymirror.errors import ConfigError
from polymirror.simulator.chain.chain import Chain
from polymirror.simulator.chain.index import Index
from polymirror.simulator.chain.relayer import Relayer
from polymirror.simulator.chain.rpc import PATH as RPC_PATH
from polymirror.simulator.chain.rpc import JsonRpc
from polymirror.simulator.exchange.ladder import size_text
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.feeds import FEED_FAULTS, price_feeds
from polymirror.simulator.orders.auth import Account, KeyRing
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Geo, OrderDesk
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults, UserFaultRates
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.orders.users import UserChannel
from polymirror.simulator.surface.answers import told
from polymirror.simulator.surface.services import MARKET_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from attrs import Attribute

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.frames import Answer, Call
    from polymirror.simulator.surface.services import Feed, Service

LISTING_PATH: Final = "/simulator"
"""Where everything that is served is listed, as JSON. The simulator's own; the venue has no such page."""

USUAL_ASSETS: Final = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype")

MAX_CASH: Final = Decimal(1_000_000_000)

USUAL_RATE: Final = 0.05
"""How often something goes wrong that no storm has."""

USER_PREFIX: Final = "user_"


def _rates(kind: Any) -> dict[str, float]:
    """The names of all rates of a class, each with how often that happens in a storm."""
    storm = kind.storm()
    names = [each.name for each in fields(kind) if isinstance(each.default, float)]
    return {name: getattr(storm, name) or USUAL_RATE for name in names}


ORDER_FAULTS: Final = _rates(OrderFaultRates)
"""What may go wrong with orders, by the names of the rates, and how often it then does."""

USER_FAULTS: Final = {USER_PREFIX + name: rate for name, rate in _rates(UserFaultRates).items()}
"""The same for the events of the user channel."""


def _cash(_: object, attribute: Attribute[Decimal], value: Decimal) -> None:
    if not value.is_finite() or not 0 <= value <= MAX_CASH or value != value.quantize(Decimal("0.000001")):
        raise ConfigError(attribute.name, value, f"0 to {MAX_CASH} pUSD, with six decimals at most")


@frozen(kw_only=True)
class Trader:
    """Somebody with money from the start, in pUSD: an account with credentials, or a wallet that logs in itself."""

    address: str
    account: Account | None = None
    cash: Decimal = field(default=Decimal(1_000), validator=_cash)


@frozen(kw_only=True)
class OutfitConfig:
    """What the venue has besides its books. Times in milliseconds."""

    seed: int = 0
    assets: tuple[str, ...] = USUAL_ASSETS
    """Of which assets the feeds tell prices."""
    traders: tuple[Trader, ...] = ()
    newcomer_cash: Decimal = field(default=Decimal(1_000), validator=_cash)
    """What a wallet begins with that logs in and is none of the traders, in pUSD."""
    taker_delay_ms: int = 250
    """How long an order that takes is held back."""
    settlement: SettlementConfig = field(factory=lambda: SettlementConfig(mine_ms=800, confirm_ms=1_200))
    """How long trades take on the chain."""
    mine_ms: int = 800
    """How long other transactions take there."""
    key_life_ms: int = 0
    """How long credentials work before they are refused until derived anew; 0: for ever."""
    lag_ms: int = 0
    """How far look-ups and lists are behind."""
    redeem_after_ms: int = 0
    """For how long a redemption is refused after the first attempt."""
    instance: str = ""
    """A name for this run, by which whoever comes back can tell whether it is the same venue with the same accounts."""
    blocked: bool = False
    """Whether the geoblock says that one may not trade from here."""
    feed_faults: tuple[str, ...] = ()
    """What goes wrong with prices: ids of :data:`~polymirror.simulator.feeds.FEED_FAULTS`."""
    order_faults: tuple[str, ...] = ()
    """What goes wrong with orders and with the user channel: names of :data:`ORDER_FAULTS` and :data:`USER_FAULTS`."""

    def __attrs_post_init__(self) -> None:
        """Refuse faults that do not exist."""
        _check("feed_faults", self.feed_faults, FEED_FAULTS)
        _check("order_faults", self.order_faults, {**ORDER_FAULTS, **USER_FAULTS})


def _check(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    for each in given:
        if each not in known:
            raise ConfigError(name, each, one_of(each, known))


class _Parts:
    """What belongs to one exchange."""

    def __init__(self, exchange: Exchange, config: OutfitConfig) -> None:
        self.exchange = exchange
        self.ledger = Ledger()
        self._newcomer_cash = int(config.newcomer_cash * ONE_PUSD)
        terms = BrokerConfig(taker_delay_ms=config.taker_delay_ms, settlement=config.settlement)
        self.broker = Broker(exchange, self.ledger, terms)
        self.keys = keys = KeyRing(seed=config.seed, lifetime_ms=config.key_life_ms, welcome=self._welcome)
        for trader in config.traders:
            self.join(trader)
        wrong = config.order_faults
        usual = OrderFaultRates(lag_ms=config.lag_ms, redeem_after_ms=config.redeem_after_ms)
        order_rates: dict[str, Any] = {name: ORDER_FAULTS[name] for name in wrong if name in ORDER_FAULTS}
        rates = evolve(usual, **order_rates)
        user_rates: dict[str, Any] = {
            name.removeprefix(USER_PREFIX): USER_FAULTS[name] for name in wrong if name in USER_FAULTS
        }
        self.users = UserChannel(keys, evolve(UserFaultRates(), **user_rates), seed=config.seed)
        faults, geo = OrderFaults(rates, seed=config.seed), Geo(blocked=config.blocked)
        self.desk = OrderDesk(self.broker, faults=faults, geo=geo, keys=keys, users=self.users)
        prices = price_feeds(exchange.oracle, config.assets, seed=config.seed, faults=config.feed_faults, keys=keys)
        chain = Chain(
            exchange, self.broker, self.desk.purse_of, mine_ms=config.mine_ms, redeem_after_ms=config.redeem_after_ms
        )
        self.feeds: tuple[Feed, ...] = (self.users, *prices)
        self.services: tuple[Service, ...] = (
            Listing(self, config),
            Index(self.broker, chain.purse_of),
            JsonRpc(chain, self.ledger),
            Relayer(chain),
            self.desk,
        )

    def join(self, trader: Trader) -> None:
        """Let somebody trade from now on."""
        self.ledger.deposit(trader.address, int(trader.cash * ONE_PUSD))
        if trader.account is not None:
            self.keys.add(trader.account)

    def _welcome(self, account: Account) -> None:
        """Give money to a wallet that nobody has named."""
        if not self.ledger.account(account.address).deposited:
            self.ledger.deposit(account.address, self._newcomer_cash)


class Outfit:
    """Makes the feeds and the services of an exchange; both of one exchange belong together."""

    def __init__(self, config: OutfitConfig | None = None) -> None:
        self.config: OutfitConfig = config or OutfitConfig()
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

    def join(self, trader: Trader) -> None:
        """Let somebody trade at the newest exchange who came later. Raises RuntimeError before there is any."""
        if self._parts is None:
            raise RuntimeError("there is no exchange yet: start the venue first")
        self._parts.join(trader)

    def injected(self) -> dict[str, int]:
        """How often each fault of orders and of the user channel struck."""
        if self._parts is None:
            return {}
        told_wrong = {USER_PREFIX + name: count for name, count in self._parts.users.struck.items()}
        return {**self._parts.desk.faults.struck, **told_wrong}

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
        where = addresses(f"http://{host}", self._parts.feeds)
        return told({"time_ms": now_ms, "instance": self._config.instance, **where, **self._content()})

    def _content(self) -> dict[str, Any]:
        ledger = self._parts.ledger
        known = [trader.address for trader in self._config.traders]
        came = [account.address for account in self._parts.keys.accounts]
        return {
            "markets": [market_row(market) for market in self._parts.exchange.markets],
            "accounts": [
                {"address": address, "pusd": size_text(ledger.account(address).cash)}
                for address in dict.fromkeys((*known, *came))
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
    found = {"stream": sockets + MARKET_PATH, **dict.fromkeys(("clob", "gamma", "data", "relayer"), base)}
    for feed in feeds:
        found[FEED_NAMES.get(feed.path, feed.path)] = sockets + feed.path
    found["rpc"] = base + RPC_PATH
    return found | {"geoblock": f"{base}/api/geoblock", "listing": base + LISTING_PATH}


FEED_NAMES: Final = {"/ws/user": "user", "/ws/rtds": "rtds", "/ws/polybolt": "polybolt", "/api/v1/ws": "streams"}
