"""The strategy, and nothing else: what a pair may cost, and what is done about shares of one token alone. Pure.

How many pairs two books have below a limit is :mod:`bots.common.money.pairs`, whose ints are used here, too.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from attrs import field, frozen

from bots.common.money.pairs import ONE_E4, ONE_E6, ONE_E8, PairLimits
from bots.common.ranges import decimal_range, whole
from polymirror.errors import ConfigError


@frozen(kw_only=True)
class PairSettings:
    """What a pair may cost, and what may become of one token alone. Raises ConfigError, which names the field."""

    max_pair_cost: Decimal = field(default=Decimal("0.99"), validator=decimal_range("0.5", "1", "pUSD"))
    """The most that a share of each token may cost together, both fees included."""
    edge_buffer: Decimal = field(default=Decimal("0.002"), validator=decimal_range("0", "0.2", "pUSD"))
    """It must be cheaper than that by so much when it is decided on."""
    max_shares: int = field(default=60, validator=whole(1, 100_000, "shares"))
    """Pairs of one batch."""
    max_depth: Decimal = field(default=Decimal("0.9"), validator=decimal_range("0.01", "1", "of the depth"))
    """The part of what is offered that may be taken: what is left makes both legs more likely to fill."""
    hedge_tolerance: Decimal = field(default=Decimal(1), validator=decimal_range("0.05", "10000", "shares"))
    """So much more of one token than of the other is left as it is."""
    hedge_limit: Decimal = field(default=Decimal("1.03"), validator=decimal_range("0.5", "1.5", "pUSD"))
    """The most that a pair may cost whose second token is bought late: what is above a dollar is lost."""
    hedge_step_s: Decimal = field(default=Decimal(3), validator=decimal_range("0", "3600", "seconds"))
    """So long after each other come the steps of the ladder from ``max_pair_cost`` up to ``hedge_limit``."""
    hedge_steps: int = field(default=4, validator=whole(1, 100, "steps"))
    max_one_legged: Decimal = field(default=Decimal(20), validator=decimal_range("0", "1000000", "pUSD"))
    """What tokens held alone, in all markets, may have cost at worst, whatever becomes of orders under way: no leg is
    bought that could raise it above. Once no step of the ladder has helped, they are kept while all that are alone have
    cost no more than half of it, and else sold for what they bring."""
    sequential: bool = False
    """Buy one token first, and the other one while the projected pair holds. What that costs is in docs/bots.md."""
    first_price: Decimal = field(default=Decimal("0.4"), validator=decimal_range("0.01", "0.99", "pUSD"))
    """One after the other: the first token must cost no more than this."""

    limit_e8: int = field(init=False)
    """What a share of each token may cost together at the limits of both orders, in 1/100,000,000: computed once."""

    @limit_e8.default
    def _limit(self) -> int:
        return int((self.max_pair_cost - self.edge_buffer) * ONE_E8)

    def limits(self, least: Decimal, most: Decimal) -> PairLimits:
        """Return the limits of one pair: at least so many shares, and at most so much money for each leg."""
        return PairLimits(
            cost_e8=self.limit_e8,
            shares_e6=self.max_shares * ONE_E6,
            least_e6=int(least * ONE_E6),
            money_e6=int(most * ONE_E6),
            depth_e4=int(self.max_depth * ONE_E4),
        )

    def __attrs_post_init__(self) -> None:
        """Refuse a ladder that leads downwards."""
        if self.hedge_limit < self.max_pair_cost:
            raise ConfigError("hedge_limit", self.hedge_limit, f"at least max_pair_cost, {self.max_pair_cost}")

    def ladder_e8(self, waited: float) -> int:
        """Return what a pair may cost whose second token is bought so many seconds after the first."""
        steps, each = self.hedge_steps, float(self.hedge_step_s)
        step = min(int(waited / each), steps) if each else steps
        low, high = int(self.max_pair_cost * ONE_E8), int(self.hedge_limit * ONE_E8)
        return low + (high - low) * step // steps

    def ladder_ends(self, waited: float) -> bool:
        """Whether no further step comes."""
        return waited >= float(self.hedge_step_s) * self.hedge_steps


class Way(Enum):
    """What is done about shares of one token alone. The value is what people are told."""

    HEDGE = "the other token is bought late"
    UNWIND = "it is sold again"
    WAIT = "the ladder goes on"
    HOLD = "it is kept as a position that can lose all it cost"


class Mend(NamedTuple):
    """What to do, and at which limit."""

    way: Way
    limit_e4: int = 0
    lost_e8: int = 0
    """What a share loses by it, at the limit; below 0: what it still earns."""


def mend(
    settings: PairSettings,
    costs: tuple[int, ...],
    paid_e8: int,
    bid_e4: int,
    other_ask_e4: int,
    waited: float,
    *,
    over_budget: bool,
) -> Mend:
    """Say what to do about shares that cost ``paid_e8`` each, fee included, and have no counterpart.

    ``bid_e4`` is the best bid for them, ``other_ask_e4`` the best ask of the other token (0: none), ``waited`` the
    seconds since they are alone. Of the two ways out the cheaper one is taken, once the ladder allows what it loses.
    At the end of the ladder they are kept, unless ``over_budget``: then whichever way out there is, is taken.
    """
    hedged = paid_e8 + costs[other_ask_e4] - ONE_E8 if 0 < other_ask_e4 < ONE_E4 else None
    # Selling at p brings p less the fee, and what a share costs at p is p and the fee.
    sold = paid_e8 - (2 * bid_e4 * ONE_E4 - costs[bid_e4]) if 0 < bid_e4 < ONE_E4 else None
    allowed = settings.ladder_e8(waited) - ONE_E8
    ways = [
        Mend(way, limit, lost)
        for way, limit, lost in ((Way.HEDGE, other_ask_e4, hedged), (Way.UNWIND, bid_e4, sold))
        if lost is not None
    ]
    best = min(ways, key=lambda each: each.lost_e8, default=None)
    if best is not None and best.lost_e8 <= allowed:
        return best
    if not settings.ladder_ends(waited):
        return Mend(Way.WAIT)
    return best if best is not None and over_budget else Mend(Way.HOLD)


def begin_alone(settings: PairSettings, costs: tuple[int, ...], first_ask_e4: int, second_ask_e4: int) -> int | None:
    """One after the other: say which token to buy first, 0 or 1, or nothing.

    The cheaper one, if it costs no more than ``first_price`` and the pair as the books are now would still be worth
    a late second token.
    """
    if not (0 < first_ask_e4 < ONE_E4 and 0 < second_ask_e4 < ONE_E4):
        return None
    which = 0 if first_ask_e4 <= second_ask_e4 else 1
    cheaper = (first_ask_e4, second_ask_e4)[which]
    fits = costs[first_ask_e4] + costs[second_ask_e4] <= int(settings.hedge_limit * ONE_E8)
    return which if fits and cheaper * ONE_E4 <= int(settings.first_price * ONE_E8) else None
