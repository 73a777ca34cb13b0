"""The strategy, and nothing else: when has the oracle moved so far that the book must follow? Pure.

The oracle that settles an up/down window moves before the makers do. When it stands far enough from the
window's strike, with enough time left, the token on its side is worth more than it costs. The bot calls
:func:`decide` on every tick of the oracle, for every open window of the asset.
"""

from __future__ import annotations

import math
from decimal import Decimal
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from bots.common.ranges import decimal_range, one_of, whole
from bots.updown.oracles.ticks import TickKind
from bots.updown.strike import LOOKBACK_S
from bots.updown.volatility import YEAR_S
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from bots.updown.strike import Strike
    from bots.updown.volatility import Measured

_CENT_OF_A_PERCENT: Final = Decimal("0.0001")


@unique
class Direction(Enum):
    """Which token a signal is for."""

    UP = "UP"
    DOWN = "DOWN"


@unique
class Quiet(Enum):
    """Why there is no signal. Counted by the bot."""

    NOT_OPEN = "NOT_OPEN"
    """The window has not opened, or is over."""
    TOO_LATE = "TOO_LATE"
    """Too little time is left."""
    NO_STRIKE = "NO_STRIKE"
    """The price at the opening is not known for sure yet."""
    SMALL_MOVE = "SMALL_MOVE"
    """The oracle is too close to the strike."""


@frozen(kw_only=True)
class SignalSettings:
    """The thresholds. Comparisons are strict: a move of exactly ``min_move`` is no signal."""

    price: str = field(default="twap60", validator=one_of("twap60", "spot"))
    """Which of the oracle's prices is compared with the strike: the average that settles the market, which every
    oracle has, or the last price, which leads it and which only some have."""
    min_move: Decimal = field(default=Decimal("0.0007"), validator=decimal_range("0", "0.2", "of the strike"))
    """The oracle must stand further from the strike than this share of it."""
    min_left: int = field(default=300, validator=whole(0, 86_400, "seconds"))
    """More time than this must be left until the window ends."""
    max_price: Decimal = field(default=Decimal("0.62"), validator=decimal_range("0.01", "0.99", "pUSD"))
    """A share must cost less than this."""
    volatility: Decimal = field(default=Decimal("0.5"), validator=decimal_range("0.01", "5", "a year"))
    """How far an asset wanders (one standard deviation of its logarithm in a year), for the fair price: taken for each
    asset until half an hour of its own ticks is measured."""
    min_volatility: Decimal = field(default=Decimal("0.2"), validator=decimal_range("0.01", "5", "a year"))
    """What is measured counts as no less than this: prices that hardly move make any lead look certain."""
    max_volatility: Decimal = field(default=Decimal(3), validator=decimal_range("0.01", "5", "a year"))
    """What is measured counts as no more than this."""

    def __attrs_post_init__(self) -> None:
        """Refuse a floor above the cap."""
        if self.min_volatility > self.max_volatility:
            raise ConfigError("min_volatility", self.min_volatility, f"at most max_volatility, {self.max_volatility}")

    @property
    def kind(self) -> TickKind:
        """The kind of tick that is compared."""
        return TickKind.SPOT if self.price == "spot" else TickKind.TWAP60

    def believe(self, measured: Measured | None) -> Decimal:
        """Return the volatility to reckon with: what was measured, between floor and cap, or the configured one."""
        if measured is None:
            return self.volatility
        return min(max(measured.volatility, self.min_volatility), self.max_volatility)


@frozen
class Signal:
    """Buy this side: ``fair`` is the probability that it wins, ``move`` the oracle's distance as a share."""

    direction: Direction
    move: Decimal
    fair: Decimal
    volatility: Decimal
    """What ``fair`` was reckoned with."""


def decide(
    settings: SignalSettings,
    price: Decimal,
    strike: Strike | None,
    now_ms: int,
    start_ms: int,
    end_ms: int,
    measured: Measured | None = None,
) -> Signal | Quiet:
    """Compare the oracle's price with the strike, both in dollars; times in Unix milliseconds.

    ``measured`` is how far the asset was seen to wander, if that is known.
    """
    if not start_ms <= now_ms < end_ms:
        return Quiet.NOT_OPEN
    left_ms = end_ms - now_ms
    if left_ms <= settings.min_left * 1000:
        return Quiet.TOO_LATE
    if strike is None:
        return Quiet.NO_STRIKE
    move = price / strike.price - 1
    if abs(move) <= settings.min_move:
        return Quiet.SMALL_MOVE
    direction = Direction.UP if move > 0 else Direction.DOWN
    volatility = settings.believe(measured)
    return Signal(direction, move, fair_price(settings, abs(move), left_ms, volatility), volatility)


def fair_price(settings: SignalSettings, lead: Decimal, left_ms: int, volatility: Decimal) -> Decimal:
    """Return the probability, cut to four decimals, that a lead of this share of the strike lasts to the end.

    The logarithm of the price is taken for a random walk. The average at the end varies less than the last
    price would: by a third of its look-back less when it is compared with another average, and by two thirds less
    when it is compared with a single price. An estimate, hence computed in floating point; what the bot may
    pay for it is computed exactly.
    """
    shorter = LOOKBACK_S / 3 if settings.kind is TickKind.TWAP60 else 2 * LOOKBACK_S / 3
    left = max(left_ms / 1000 - shorter, 1.0)
    deviations = math.log1p(float(lead)) / (float(volatility) * math.sqrt(left / YEAR_S))
    chance = 0.5 * (1 + math.erf(deviations / math.sqrt(2)))
    return (Decimal(chance) // _CENT_OF_A_PERCENT) * _CENT_OF_A_PERCENT
