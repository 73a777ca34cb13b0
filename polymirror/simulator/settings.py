"""The settings of the simulated exchange: unit, range and default of each.

Frozen, checked on construction; a value out of range raises
:class:`~polymirror.errors.ConfigError`. Users of the simulator and its own parts read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from attrs import Attribute

DEFAULT_START_MS = 1_790_000_100_000
"""The default start of the exchange clock: a quarter of an hour, in Unix milliseconds."""

QUARTER_MS = 900_000
"""The length of one market window in milliseconds."""

MAX_MARKETS = 10_000


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
    """How far back :meth:`~polymirror.simulator.exchange.Exchange.was_true` remembers."""
