"""Every setting of the bot: one TOML file, each section a class, each value with its unit, range and default.

Secrets are not here: they come from the environment, and :mod:`bots.common.operate.settings` reads both. The
defaults are those of a careful trial: paper money, small stakes, four assets, quarter hours.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from attrs import evolve, field, frozen

from bots.common.execution.live import LiveConfig
from bots.common.money.amounts import FINEST_TICK
from bots.common.money.sizing import SizeLimits
from bots.common.operate.settings import NOTHING, Secret, from_environment
from bots.common.ranges import decimal_range, one_of, some_of
from bots.common.risk.limits import RiskLimits
from bots.oracle_lag.signal import SignalSettings
from bots.updown.oracles.factory import OracleSettings
from bots.updown.rounds import RoundSettings
from polymirror.config import MirrorConfig
from polymirror.errors import ConfigError

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
class Keys:
    """Credentials, from the environment alone. A simulation and paper on the public relay need none."""

    private_key: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_PRIVATE_KEY"))
    api_key: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_API_KEY"))
    api_secret: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_API_SECRET"))
    api_passphrase: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_API_PASSPHRASE"))
    relayer_key: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_RELAYER_KEY"))
    chainlink_id: Secret = field(default=NOTHING, metadata=from_environment("CHAINLINK_CLIENT_ID"))
    chainlink_secret: Secret = field(default=NOTHING, metadata=from_environment("CHAINLINK_USER_SECRET"))
    telegram_token: Secret = field(default=NOTHING, metadata=from_environment("TELEGRAM_TOKEN"))


@frozen(kw_only=True)
class BotSettings:
    """The whole file."""

    assets: tuple[str, ...] = field(default=("btc", "eth", "sol", "xrp"), validator=some_of(*ASSETS))
    folder: Path = Path("oracle_lag_files")
    """Where the ledgers are, one for each mode and wallet. A file named STOP in it keeps the bot from buying."""
    confirm_live: str = ""
    """Live trading wants these words here, besides ``--live``: I may lose this money."""
    wallet: str = ""
    """The address of the wallet to trade for; empty: the deposit wallet of the private key."""
    relayer_address: str = ""
    """The address that POLYMARKET_RELAYER_KEY belongs to; wallets other than a plain key's own redeem with them."""
    paper_cash: Decimal = field(default=Decimal(1_000), validator=decimal_range("1", "1000000", "pUSD"))
    telegram_chat: str = ""
    """The chat that is told of trades; empty: nobody is. The bot's token is TELEGRAM_TOKEN in the environment."""
    oracle: OracleSettings = field(factory=OracleSettings)
    """Where the prices come from; its assets are those above."""
    signal: SignalSettings = field(factory=SignalSettings)
    rounds: RoundSettings = field(factory=RoundSettings)
    orders: OrderSettings = field(factory=OrderSettings)
    risk: RiskLimits = field(factory=RiskLimits)
    live: LiveConfig = field(factory=LiveConfig)
    mirror: MirrorConfig = field(factory=MirrorConfig)
    """Of the mirrors; each asset has one of its own, and they share the budget for calls."""

    keys: Keys = field(factory=Keys)

    def __attrs_post_init__(self) -> None:
        """Refuse a signal on a price that is not asked for: the bot would wait for it without a word."""
        needed = {"twap60", self.signal.price}
        if not needed <= set(self.oracle.kinds):
            words = " and ".join(sorted(needed))
            raise ConfigError("oracle.kinds", self.oracle.kinds, f"with {words}: the strike and signal.price need them")

    @property
    def size_limits(self) -> SizeLimits:
        """The limits of one purchase: a share must cost less than the signal's price, not as much."""
        dearest = self.signal.max_price - FINEST_TICK
        return evolve(
            self.orders.size,
            max_price=min(self.orders.size.max_price, dearest),
            max_money=min(self.orders.size.max_money, self.risk.max_trade),
        )
