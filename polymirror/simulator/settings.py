"""The settings of the simulated exchange: unit, range and default of each.

Frozen, checked on construction; a value out of range raises
:class:`~polymirror.errors.ConfigError`. Users of the simulator and its own parts read them.
"""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

DEFAULT_START_MS = 1_790_000_100_000
"""The default start of the exchange clock: a quarter of an hour, in Unix milliseconds."""

QUARTER_MS = 900_000
"""The length of one market window in milliseconds."""

MAX_MARKETS = 10_000

WINDOW_SECONDS = (300, 900, 3_600)
"""The lengths of up/down windows whose slugs the simulator knows how to make."""

MAX_ROUND_ASSETS = 50

START_PRICES: Mapping[str, Decimal] = MappingProxyType(
    {
        "btc": Decimal(65_000),
        "eth": Decimal(2_000),
        "sol": Decimal(90),
        "xrp": Decimal("1.40"),
        "doge": Decimal("0.15"),
        "bnb": Decimal(700),
        "hype": Decimal(30),
    }
)
"""Where the oracle's prices start by default, in dollars."""


def _range(low: float, high: float, unit: str, *, optional: bool = False) -> Any:
    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        if optional and value is None:
            return
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(attribute.name, value, f"between {low:g} and {high:g} {unit}")

    return check


def _whole(low: int, high: int, unit: str, *, optional: bool = False) -> Any:
    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        if optional and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(attribute.name, value, f"a whole number between {low} and {high} {unit}")

    return check


@frozen(kw_only=True)
class FlowConfig:
    """How orders arrive in one market. The defaults follow recordings of busy up/down markets."""

    rate: float = field(default=20.0, validator=_range(0.001, 1_000, "batches a second"))
    """Mean number of batches a second for each market. Recorded: 0.1 when quiet, 700 at peaks."""
    density: float = field(default=0.97, validator=_range(0.01, 1, "of the grid"))
    """The share of grid prices below the touch that hold an order when trading starts."""
    trade_share: float = field(default=0.014, validator=_range(0, 1, "of the batches"))
    """The share of batches that are trades."""
    burst_share: float = field(default=0.13, validator=_range(0, 1, "of the batches"))
    """The share of batches with more than one message (most often two, at most five)."""
    delete_share: float = field(default=0.01, validator=_range(0, 1, "of the changes"))
    """The share of changes that remove a level away from the touch."""
    volatility: float = field(default=0.005, validator=_range(0, 0.5, "dollars per square root of a second"))
    """How far the fair price wanders in a second (one standard deviation)."""
    fair: float | None = field(default=None, validator=_range(0.01, 0.99, "dollars", optional=True))
    """Where the fair price of the first token starts; ``None`` draws it between 0.35 and 0.65."""
    fair_low: float = field(default=0.02, validator=_range(0.01, 0.5, "dollars"))
    """The fair price is reflected here and at one minus this value."""

    @classmethod
    def busy(cls) -> FlowConfig:
        """Hundreds of messages a second, as in the last minute of a five-minute market."""
        return cls(rate=450.0)

    @classmethod
    def thin(cls) -> FlowConfig:
        """A market few people trade: some ten levels, a batch every few seconds, sides that empty."""
        return cls(rate=0.5, density=0.15, delete_share=0.2, trade_share=0.03)


def _prices(_self: object, attribute: Attribute[Any], value: Mapping[str, Any]) -> None:
    for asset, price in value.items():
        if not asset.isalnum() or not isinstance(price, Decimal) or not Decimal("0.0001") <= price <= Decimal(10**7):
            raise ConfigError(f"{attribute.name}[{asset!r}]", price, "a Decimal between 0.0001 and 10000000 dollars")


def _asset_names(_self: object, attribute: Attribute[Any], value: Any) -> None:
    good = isinstance(value, tuple) and 0 < len(value) <= MAX_ROUND_ASSETS and len(set(value)) == len(value)
    if not good or not all(isinstance(name, str) and name.isalnum() and name == name.lower() for name in value):
        raise ConfigError(attribute.name, value, f"1 to {MAX_ROUND_ASSETS} different lower-case names such as btc")


def _window(_self: object, attribute: Attribute[Any], value: int | tuple[int, ...]) -> None:
    for seconds in value if isinstance(value, tuple) else (value,):
        if seconds not in WINDOW_SECONDS:
            raise ConfigError(attribute.name, value, f"made of {', '.join(map(str, WINDOW_SECONDS))} seconds")


@frozen(kw_only=True)
class OracleConfig:
    """How the prices move that decide the markets.

    The defaults follow recordings of the relayed Bitcoin stream: on a quiet day one standard deviation of
    0.5 basis points in a second (times the root of the time for longer), on a lively one 0.95, with fat tails.
    """

    start_prices: Mapping[str, Decimal] = field(default=START_PRICES, validator=_prices)
    """Where each price starts, in dollars. An asset that is not named starts at 100."""
    tick_ms: int = field(default=1_000, validator=_whole(100, 60_000, "milliseconds"))
    """One price each so many milliseconds, on the grid of Unix time. The venue's relay: one a second."""
    volatility: float = field(default=0.00006, validator=_range(0, 0.01, "of the price per square root of a second"))
    """How far a price wanders in a second between jumps, one standard deviation."""
    jumps_per_hour: float = field(default=12.0, validator=_range(0, 3_600, "jumps an hour"))
    """How often a price jumps, on average."""
    jump_size: float = field(default=0.0006, validator=_range(0, 0.2, "of the price"))
    """The mean size of a jump, up or down; sizes are exponential."""

    @property
    def deviation(self) -> float:
        """The standard deviation over one second, jumps included, as a share of the price."""
        return float((self.volatility**2 + self.jumps_per_hour / 3_600 * 2 * self.jump_size**2) ** 0.5)


@frozen(kw_only=True)
class RoundsConfig:
    """Rolling up/down markets: one after the other for each asset, decided by the oracle's prices.

    They replace the markets that :class:`ExchangeConfig` describes. Delays marked "about" are drawn for each
    market, up to 15 % shorter or longer.
    """

    assets: tuple[str, ...] = field(default=("btc", "eth", "sol", "xrp"), validator=_asset_names)
    """The assets that have markets, in lower case."""
    window_s: int = field(default=900, validator=_window)
    """The length of a window: 300, 900 or 3600 seconds."""
    more_windows_s: tuple[int, ...] = field(default=(), validator=_window)
    """Further lengths that run at the same time."""
    ahead: int = field(default=1, validator=_whole(0, 96, "windows"))
    """How many windows besides the current one are listed and trade already. At the venue a day's worth."""
    flow: FlowConfig = field(factory=lambda: FlowConfig(rate=1.0, volatility=0.001))
    """How orders arrive in a running window; ``volatility`` is the makers' disagreement with the fair price."""
    quiet_share: float = field(default=0.2, validator=_range(0.001, 1, "of the rate"))
    """How much of the rate a market sees before its window opens."""
    lag_s: float = field(default=55.0, validator=_range(0, 3_600, "seconds"))
    """How old the oracle's price is by which makers quote: their reaction lag."""
    twap_s: int = field(default=60, validator=_whole(0, 300, "seconds"))
    """The look-back of the average that decides 5 and 15 minute windows; 0: the price itself, as until August 2026."""
    strike_delay_s: float = field(default=10.0, validator=_range(0, 600, "seconds"))
    """About how long after the opening the discovery service tells the official strike."""
    settle_delay_s: float = field(default=130.0, validator=_range(0, 3_600, "seconds"))
    """About how long a market trades on after its window. Seen: resolved 115 to 155 seconds after the end."""
    publish_delay_s: float = field(default=20.0, validator=_range(0, 3_600, "seconds"))
    """About how long after the resolution the discovery service tells it. Seen: closed 51 seconds to 8 minutes
    after the end."""
    keep_s: float = field(default=3_600.0, validator=_range(1, 10**7, "seconds"))
    """How long a resolved market can still be looked up. Its outcome is known for longer."""

    @property
    def windows_s(self) -> tuple[int, ...]:
        """All lengths of windows, each once."""
        return tuple(dict.fromkeys((self.window_s, *self.more_windows_s)))


@frozen(kw_only=True)
class PairsConfig:
    """Markets of many kinds, in which both tokens together cost less than a dollar for a moment now and then.

    They replace the quarter hours of :class:`ExchangeConfig`; ``markets`` says how many there are at the start.
    """

    every_s: float = field(default=900.0, validator=_range(0, 10**7, "seconds"))
    """Mean time between two such moments in one market; 0: there are none."""
    length_ms: int = field(default=1_200, validator=_whole(20, 600_000, "milliseconds"))
    """How long one lasts, up to half of it shorter or longer, if nobody takes it."""
    least_gap: int = field(default=100, validator=_whole(0, 2_000, "of 1/10,000 of a dollar"))
    most_gap: int = field(default=350, validator=_whole(0, 2_000, "of 1/10,000 of a dollar"))
    """What a pair costs less than a dollar, both fees included: from the one to the other."""
    least_shares: int = field(default=20, validator=_whole(1, 100_000, "shares"))
    most_shares: int = field(default=150, validator=_whole(1, 100_000, "shares"))
    """How much of each token is offered then, about."""
    rivals: float = field(default=0.5, validator=_range(0, 1, "of the moments"))
    """The share of them that a competing taker sees, too."""
    rival_ms: int = field(default=600, validator=_whole(1, 600_000, "milliseconds"))
    """How late he comes, on average; exponential."""
    rivals_one_sided: float = field(default=0.3, validator=_range(0, 1, "of the rivals"))
    """The share of them who take of one token only."""
    shortest_s: int = field(default=1_200, validator=_whole(60, 10**8, "seconds"))
    longest_s: int = field(default=30 * 86_400, validator=_whole(60, 10**8, "seconds"))
    """From the start to the end of a market: between the two, each length as likely as its double."""
    listed_every_s: float = field(default=0.0, validator=_range(0, 10**7, "seconds"))
    """Mean time between two new markets; 0: none comes later."""
    flow: FlowConfig = field(factory=lambda: FlowConfig(rate=0.5, volatility=0.0005, density=0.6))
    """How orders arrive in each market."""

    def __attrs_post_init__(self) -> None:
        """Refuse ranges that are none."""
        for low, high in (("least_gap", "most_gap"), ("least_shares", "most_shares"), ("shortest_s", "longest_s")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(low, getattr(self, low), f"at most {high}, {getattr(self, high)}")


@frozen(kw_only=True)
class ExchangeConfig:
    """The whole exchange: its markets, its habits and its ends."""

    seed: int = field(default=0, validator=_whole(0, 2**63, ""))
    """Decides everything random, together with the times of the steps."""
    markets: int = field(default=1, validator=_whole(1, MAX_MARKETS, "markets"))
    """How many markets trade; each has two tokens."""
    start_ms: int = field(default=DEFAULT_START_MS, validator=_whole(0, 2**53, "Unix milliseconds"))
    """When the exchange clock starts."""
    flow: FlowConfig = field(factory=FlowConfig)
    """How orders arrive in each market."""
    late_trade_price: bool = True
    """A trade's price enters the book hash up to 30 ms before it is announced, as at the venue."""
    late_tick_size: bool = True
    """A new tick size enters the book hash up to 20 ms before it is announced, as at the venue."""
    hash_one_change_late: float = field(default=0.003, validator=_range(0, 1, "of the batches"))
    """The share of batches whose hash already contains the change that follows 1 or 2 ms later."""
    settle_after_ms: int | None = field(default=None, validator=_whole(0, 2**53, "milliseconds", optional=True))
    """When the books are emptied, counted from the start; ``None``: never."""
    resolve_delay_ms: int = field(default=2_000, validator=_whole(0, 3_600_000, "milliseconds"))
    """From the emptied book to the resolution. The venue takes 115 to 155 seconds."""
    announce_resolution: bool = True
    """Whether ``market_resolved`` is sent. The venue sometimes forgets."""
    close_when_resolved: bool = True
    """Whether a connection whose markets are all resolved is closed with 1000."""
    new_market_every_ms: int | None = field(default=1_000, validator=_whole(10, 2**53, "milliseconds", optional=True))
    """Mean time between platform-wide ``new_market`` announcements; ``None``: none."""
    history_ms: int = field(default=60_000, validator=_whole(100, 3_600_000, "milliseconds"))
    """How far back :meth:`~polymirror.simulator.exchange.exchange.Exchange.was_true` remembers."""
    rounds: RoundsConfig | None = None
    """Rolling up/down markets instead of ``markets`` that never end by themselves; ``flow`` and
    ``settle_after_ms`` do not apply to them."""
    pairs: PairsConfig | None = None
    """Markets of many kinds, with moments in which a pair costs less than a dollar, instead of quarter hours; not
    together with ``rounds``."""
    oracle: OracleConfig = field(factory=OracleConfig)
    """The prices that decide rounds; they are there without rounds, too."""
