"""The fill model: at which recorded price an order of the backtest trades, if at all. Pure.

An order leaves when it is decided and matches after our latency, the venue's taker delay of its day and whatever a
test adds. It trades at the first price that was received *after* that moment, never at one from before: what was
quoted when it was decided is gone, as far as anybody knows. With ``price = "stale"`` it trades at the old one instead;
that is wrong and only there to show how much of a profit stands on it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.money.amounts import EXACT, MONEY_UNIT, floor_to
from bots.common.ranges import decimal_range, one_of, whole
from bots.research.windows import ONE_E4, SHARE_E6, QuoteKind
from polymirror.core.fees import charged_fee

if TYPE_CHECKING:
    from bots.research.windows import Quotes
    from polymirror.core.fees import FeeSchedule

_PRICE_PLACES: Final = 4
_SIZE_PLACES: Final = 6


@frozen(kw_only=True)
class FillModel:
    """What is assumed of fills. Raises ConfigError."""

    price: str = field(default="next", validator=one_of("next", "stale"))
    limit: str = field(default="ordered", validator=one_of("ordered", "highest"))
    """The order's own limit, as it is sent; or the most that the settings allow, as if the bot ran after the price."""
    latency_ms: int = field(default=50, validator=whole(0, 60_000, "ms"))
    """The way to the venue."""
    extra_delay_ms: int = field(default=0, validator=whole(0, 600_000, "ms"))
    """On top of latency and taker delay: for the delay sweep."""
    max_wait_ms: int = field(default=90_000, validator=whole(0, 3_600_000, "ms"))
    """When the next price came later than this after the match, nothing traded: nobody knows what was there."""
    slippage: Decimal = field(default=Decimal("0.005"), validator=decimal_range("0", "0.2", "pUSD"))
    """Paid on top of what is no ask: a mid price or a trade; half the usual spread."""
    assumed_shares: Decimal = field(default=Decimal(500), validator=decimal_range("1", "1000000", "shares"))
    """What is there at a price whose depth was not recorded."""

    def ask_e4(self, quotes: Quotes, index: int) -> int:
        """Return what a share costs at a recorded moment, in 1/10,000 of a pUSD; 0: nobody sells."""
        price = quotes.ask_e4[index]
        if not price or quotes.kind is QuoteKind.BOOK:
            return price
        return min(price + int(self.slippage * ONE_E4), ONE_E4 - 1)

    def shares_e6(self, quotes: Quotes, index: int) -> int:
        """Return how many shares are there at that price, in 1/1,000,000."""
        if quotes.ask_size_e6 is None:
            return int(self.assumed_shares * SHARE_E6)
        return quotes.ask_size_e6[index]

    def match_ms(self, decided_ms: int, taker_delay_ms: int) -> int:
        """Return when an order that was decided then matches."""
        return decided_ms + self.latency_ms + taker_delay_ms + self.extra_delay_ms


@frozen
class Bought:
    """A fill, exact, in pUSD and shares."""

    at_ms: int
    price: Decimal
    shares: Decimal
    money: Decimal
    fee: Decimal


def buy(
    model: FillModel,
    quotes: Quotes,
    decided_ms: int,
    taker_delay_ms: int,
    limit: Decimal,
    money: Decimal,
    fee: FeeSchedule,
) -> Bought | str:
    """Spend ``money`` at ``limit`` or better, all of it or nothing (FOK), or say in one word why nothing trades."""
    match_ms = model.match_ms(decided_ms, taker_delay_ms)
    stale = model.price == "stale"
    index = quotes.newest(decided_ms) if stale else quotes.first_after(match_ms)
    if index is None:
        return "no price after it"
    at_ms = quotes.received_ms[index]
    if not stale and at_ms > match_ms + model.max_wait_ms:
        return "next price too late"
    cost = model.ask_e4(quotes, index)
    if not cost:
        return "nobody sells"
    price = Decimal(cost).scaleb(-_PRICE_PLACES)
    if price > limit:
        return "above the limit"
    shares = floor_to(EXACT.divide(money, price), MONEY_UNIT)
    if shares > Decimal(model.shares_e6(quotes, index)).scaleb(-_SIZE_PLACES):
        return "too few shares"
    return Bought(at_ms, price, shares, money, charged_fee(fee, price, shares))
