"""The bot: a :class:`~bots.supervisor.fleet.Fleet` whose engines trade pairs, and what a run of it came to."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bots.common.ledger.rows import ZERO, from_e6
from bots.common.money.amounts import EXACT
from bots.common.operate.app import World
from bots.pair_cost.engine import Desk, PairEngine
from bots.supervisor.fleet import Fleet, FleetPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.common.orders.intents import Terms
    from bots.common.orders.manager import OrderManager
    from bots.pair_cost.strategy import PairSettings
    from polymirror.mirror import Mirror
    from polymirror.venue.market import Market

    Read = Callable[[str], Sequence[tuple[Any, ...]]]

PAIR = 2

_LEGS = """SELECT group_id, side, tif, outcome, traded_e6, paid_e6, fee_e6, market FROM fates
    WHERE outcome IS NOT NULL ORDER BY seq"""


@frozen(kw_only=True)
class PairPlan(FleetPlan):
    """What the bot does."""

    pair: PairSettings


class PairBot(Fleet[PairPlan, World]):
    """One bot. :meth:`run` may be called once."""

    def engine(self, market: Market, terms: Terms, mirror: Mirror, dealer: OrderManager) -> PairEngine:
        """Make the engine of a market."""
        desk = Desk(
            settings=self.plan.pair,
            mirror=mirror,
            dealer=dealer,
            turns=self.turns,
            counts=self.counts,
            clock=self.world.network.monotonic,
            tell=self.warn,
            alone=self.alone,
            is_over=lambda: bool(self.plan.until_ms) and self.ledger.now_ms() >= self.plan.until_ms,
        )
        return PairEngine(market, terms, desk)

    def alone(self) -> Decimal:
        """Return what the shares have cost, in all markets, that have no counterpart."""
        markets: dict[str, list[tuple[Decimal, Decimal]]] = {}
        for held in self.account.positions.values():
            markets.setdefault(held.market, []).append((held.shares, held.cost))
        total = ZERO
        for held_there in markets.values():
            (most, cost), (least, _) = max(held_there), min(held_there) if len(held_there) == PAIR else (ZERO, ZERO)
            total = EXACT.add(total, EXACT.divide(EXACT.multiply(cost, EXACT.subtract(most, least)), most))
        return total

    def summary(self) -> dict[str, Any]:
        """Sum up what was done until now, by the ledger's rows: what earlier runs did is in it."""
        totals, unresolved = self.account.totals, len(self.account.open)
        found = summarise(self.world.store.read, self.plan.pair.max_pair_cost)
        held = {each.market for each in self.account.positions.values()}
        return found | {
            "pnl": totals.profit,
            "fees": totals.fees,
            "orders": totals.orders,
            "unresolved": unresolved,
            "held": len(self.account.positions),
            "held_cost": sum((each.cost for each in self.account.positions.values()), ZERO),
            "held_markets": len(held),
            "alone_cost": self.alone(),
            "fairness": self.turns.fairness(),
            "restarts": self.counts["restarts"],
            "counts": dict(sorted(self.counts.items())),
            "no_order": dict(sorted(self.orders.items())),
        }


def summarise(read: Read, limit: Decimal) -> dict[str, Any]:
    """Say what became of the groups of orders in a ledger, and of the pairs in it."""
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for group, *leg in read(_LEGS):
        groups.setdefault(group, []).append(tuple(leg))
    counts: Counter[str] = Counter()
    dearest = ZERO
    for legs in groups.values():
        pair = [leg for leg in legs if leg[:2] == ("BUY", "FOK")]
        filled = [leg for leg in pair if leg[3]]
        counts["unwound"] += any(leg[0] == "SELL" and leg[3] for leg in legs)
        counts["hedged"] += any(leg[:2] == ("BUY", "FAK") and leg[3] for leg in legs)
        if len(pair) == PAIR:
            counts["attempts"] += 1
            counts["pairs"] += len(filled) == PAIR
            counts["one_legged"] += len(filled) == 1
        if len(filled) == PAIR:
            cost = sum((EXACT.divide(Decimal(paid + fee), Decimal(got)) for *_, got, paid, fee, _ in filled), ZERO)
            dearest = max(dearest, cost)
            counts["above_limit"] += cost > limit
    merges = read("SELECT shares_e6, profit_e6 FROM merges")
    names = ("attempts", "pairs", "one_legged", "hedged", "unwound", "above_limit")
    return {
        **{name: counts[name] for name in names},
        "dearest_pair": round(dearest, 6),
        "merges": len(merges),
        "merged": from_e6(sum(shares for shares, _ in merges)),
        "locked_profit": from_e6(sum(profit for _, profit in merges)),
    }
