"""What became of groups of two orders, and of the pairs in them, by all rows of a ledger, those of earlier runs too."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bots.common.ledger.rows import ZERO, from_e6
from bots.common.money.amounts import EXACT
from bots.common.money.pairs import PAIR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Read = Callable[[str], Sequence[tuple[Any, ...]]]

_LEGS: Final = """SELECT group_id, side, tif, outcome, traded_e6, paid_e6, fee_e6, market FROM fates
    WHERE outcome IS NOT NULL ORDER BY seq"""


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
