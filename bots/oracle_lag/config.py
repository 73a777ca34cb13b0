"""Every setting of the bot: one TOML file, each section a class, each value with its unit, range and default.

Secrets are not here: they come from the environment, and :mod:`bots.common.operate.settings` reads both. The
defaults are those of a careful trial: paper money, small stakes, four assets, quarter hours.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from bots.common.money.amounts import FINEST_TICK
from bots.common.money.sizing import SizeLimits
from bots.common.operate.account import TraderSettings, TradingKeys
from bots.common.operate.page import StatusSettings
from bots.common.operate.settings import from_environment
from bots.common.orders.facts import FactLimits
from bots.common.ranges import decimal_range, one_of, some_of
from bots.common.risk.limits import RiskLimits
from bots.common.secrets import NOTHING, Secret
from bots.oracle_lag.signal import SignalSettings
from bots.updown.oracles.factory import OracleSettings
from bots.updown.rounds import LENGTHS, RoundSettings
from polymirror.config import MirrorConfig
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK: Final = Decimal("0.01")
"""The tick of every up/down market while its price is not near 0 or 1."""

ORACLE_EVERY_MS: Final = 1_000
"""So often an oracle tells a price, at best."""

ASSETS = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype")
"""The assets that have up/down markets."""


@frozen(kw_only=True)
class OrderSettings:
    """How orders are sized and sent."""

    max_proof_age: Decimal = field(default=Decimal(2), validator=decimal_range("0.05", "15", "seconds"))
    """No order rests on a book that was proven longer ago."""
    kind: str = field(default="FOK", validator=one_of("FOK", "FAK"))
    """Everything or nothing, or as much as is there."""
    size: SizeLimits = field(factory=SizeLimits)


@frozen(kw_only=True)
class Keys(TradingKeys):
    """Credentials, from the environment alone. A simulation and paper on the public relay need none."""

    chainlink_id: Secret = field(default=NOTHING, metadata=from_environment("CHAINLINK_CLIENT_ID"))
    chainlink_secret: Secret = field(default=NOTHING, metadata=from_environment("CHAINLINK_USER_SECRET"))
    telegram_token: Secret = field(default=NOTHING, metadata=from_environment("TELEGRAM_TOKEN"))


@frozen(kw_only=True)
class BotSettings(TraderSettings):
    """The whole file."""

    assets: tuple[str, ...] = field(default=("btc", "eth", "sol", "xrp"), validator=some_of(*ASSETS))
    folder: Path = Path("oracle_lag_files")
    telegram_chat: str = ""
    """The chat that is told of trades; empty: nobody is. The bot's token is TELEGRAM_TOKEN in the environment."""
    oracle: OracleSettings = field(factory=OracleSettings)
    """Where the prices come from; its assets are those above."""
    signal: SignalSettings = field(factory=SignalSettings)
    rounds: RoundSettings = field(factory=RoundSettings)
    orders: OrderSettings = field(factory=OrderSettings)
    risk: RiskLimits = field(factory=RiskLimits)
    facts: FactLimits = field(factory=FactLimits)
    """What a market's own facts may be, whoever states them."""
    mirror: MirrorConfig = field(factory=MirrorConfig)
    """Of the mirrors; each asset has one of its own, and they share the budget for calls."""
    status: StatusSettings = field(factory=StatusSettings)
    """Where the mirrors serve their status; its ports are in the order of the assets."""

    keys: Keys = field(factory=Keys)

    def __attrs_post_init__(self) -> None:
        """Refuse what can never trade: the bot would wait without a word."""
        for field_name, value, wrong, allowed in self._hopeless():
            if wrong:
                raise ConfigError(field_name, value, allowed)

    def _hopeless(self) -> Iterator[tuple[str, object, bool, str]]:
        """Yield a key, its value, whether nothing could ever be bought with it, and what it must be instead."""
        needed, kinds = {"twap60", self.signal.price}, self.oracle.kinds
        words = " and ".join(sorted(needed))
        yield "oracle.kinds", kinds, not needed <= set(kinds), f"with {words}: the strike and signal.price need them"
        for name in ("max_silence_ms", "max_age_ms"):
            value = getattr(self.oracle, name)
            often = "more than 1000: every oracle tells one price a second, and all would count as stale"
            yield f"oracle.{name}", value, value <= ORACLE_EVERY_MS, often
        left = self.signal.min_left
        for each in self.rounds.intervals:
            longer = f"longer than signal.min_left, {left} s: a window of {each} never has more time left than that"
            yield "rounds.intervals", each, LENGTHS[each] <= left, longer
        cheapest = f"above {TICK}, the tick of these markets: no share costs less"
        yield "signal.max_price", self.signal.max_price, self.signal.max_price <= TICK, cheapest
        yield "orders.size.max_price", self.orders.size.max_price, self.orders.size.max_price < TICK, f"at least {TICK}"
        size, risk = self.orders.size, self.risk
        most, name = min(
            (size.max_money, "orders.size.max_money"),
            (risk.max_trade, "risk.max_trade"),
            (risk.max_market, "risk.max_market"),
            (risk.max_daily_loss, "risk.max_daily_loss"),
            (risk.max_hourly, "risk.max_hourly"),
            (self.paper.cash, "paper.cash"),
        )
        less = f"less than {name}, {most}: the fee of the smallest order comes on top"
        yield "orders.size.min_money", size.min_money, size.min_money >= most, less
        few = f"less than {most / TICK:f}: so many cost more than {name}, {most}, even at {TICK} each"
        yield "orders.size.min_shares", size.min_shares, size.min_shares * TICK >= most, few
        dear = f"below {1 - TICK}: no share is worth more than its price by so much"
        yield "orders.size.min_edge", size.min_edge, size.min_edge >= 1 - TICK, dear

    @property
    def size_limits(self) -> SizeLimits:
        """The limits of one purchase: a share must cost less than the signal's price, not as much."""
        dearest = self.signal.max_price - FINEST_TICK
        return evolve(
            self.orders.size,
            max_price=min(self.orders.size.max_price, dearest),
            max_money=min(self.orders.size.max_money, self.risk.max_trade),
        )
