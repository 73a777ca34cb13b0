"""What a market's facts may be: the venue's two services must say the same of it, and no fact lie outside its bounds.

Bounds are the settings' own, and need nobody's word: services that lie alike agree on anything. Pure. Called by
:meth:`~bots.common.orders.intents.Terms.of`, before anything of a market is bought.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.errors import FactsDiffer, FactsOutside
from bots.common.money.amounts import TICKS
from bots.common.ranges import decimal_range
from polymirror.core.fees import exact_fee
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from polymirror.core.fees import FeeSchedule
    from polymirror.venue.market import ClobMarket, Market

DEAREST: Final = Decimal("0.5")
"""The price at which a share's fee is highest, whatever the exponent is."""


@frozen(kw_only=True)
class FactLimits:
    """What is traded at all. Raises ConfigError, which names the field."""

    max_fee: Decimal = field(default=Decimal("0.02"), validator=decimal_range("0", "0.25", "pUSD"))
    """The most that the fee of a share may be, at the price of 0.5 where it is highest: 0.0175 in November 2026
    (protocol.md 7.5)."""
    min_tick: Decimal = field(default=Decimal("0.0001"), validator=decimal_range("0.0001", "0.1", "pUSD"))
    max_tick: Decimal = field(default=Decimal("0.01"), validator=decimal_range("0.0001", "0.1", "pUSD"))
    """The finest and the coarsest step of prices: 0.01, and finer near 0 and 1 (protocol.md 7.4)."""
    max_min_shares: Decimal = field(default=Decimal(10), validator=decimal_range("0.01", "1000000", "shares"))
    """The most that the smallest order of a market may be: 5 (protocol.md 5)."""

    def __attrs_post_init__(self) -> None:
        if self.min_tick > self.max_tick:
            raise ConfigError("min_tick", self.min_tick, f"no more than max_tick, {self.max_tick}")

    def check(self, slug: str, *, fee: FeeSchedule, tick: Decimal, min_shares: Decimal) -> None:
        """Raise FactsOutside, which names the fact, what is stated and what is allowed."""
        highest = exact_fee(fee, DEAREST, Decimal(1))
        for name, stated, good, allowed in (
            ("fee of a share", highest, highest <= self.max_fee, f"at most facts.max_fee, {self.max_fee} pUSD"),
            (
                "tick",
                tick,
                self.min_tick <= tick <= self.max_tick,
                f"facts.min_tick, {self.min_tick}, to {self.max_tick}",
            ),
            ("tick", tick, tick in TICKS, f"one of {', '.join(map(str, TICKS))}"),
            (
                "smallest order",
                min_shares,
                min_shares <= self.max_min_shares,
                f"at most facts.max_min_shares, {self.max_min_shares}",
            ),
        ):
            if not good:
                raise FactsOutside(slug, name, stated, allowed)


def must_agree(market: Market, clob: ClobMarket) -> None:
    """Raise FactsDiffer, which names what discovery and the order book service say differently, with both."""
    mine, theirs = (
        {
            "tokens": {token.id: token.outcome.lower() for token in each.tokens},
            "neg-risk": each.neg_risk,
            "tick": Decimal(each.tick_size),
        }
        for each in (market, clob)
    )
    mine["fees"], theirs["fees"] = market.fees_enabled, clob.fee is not None and clob.fee.rate > 0
    apart = ", ".join(f"{name} ({mine[name]} and {theirs[name]})" for name in mine if mine[name] != theirs[name])
    if apart:
        raise FactsDiffer(f"{market.slug}: the venue's services do not say the same of its {apart}")
