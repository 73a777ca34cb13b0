"""The figures of one era's purchases, as the report shows them: rates, profits, parts, the curve. Plain objects."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bots.research.falsify.resampling import gross, net
from bots.research.stats import wilson
from bots.research.trades import drawdown, equity, longest_losing_streak, total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.research.trades import Trade

MAX_CURVE: Final = 400
"""Points of the running profit that are kept, evenly chosen."""


def describe(trades: Sequence[Trade]) -> dict[str, Any]:
    """Sum purchases up. Money is text, exact; what is averaged is a number."""
    wins = sum(each.won for each in trades)
    curve = equity(trades)
    fees = sum((each.fee for each in trades), Decimal(0))
    paid = sum((each.money + each.fee for each in trades), Decimal(0))
    shares = sum((each.shares for each in trades), Decimal(0))
    return {
        "trades": len(trades),
        "wins": wins,
        "win_rate": wilson(wins, len(trades)).to_dict(),
        "needed_win_rate": _ratio(paid, shares),
        "profit_before_fees": str(total(trades) + fees),
        "fees": str(fees),
        "profit": str(total(trades)),
        "per_share": net(trades).to_dict(),
        "per_share_before_fees": gross(trades).to_dict(),
        "drawdown": str(drawdown(curve)),
        "losing_streak": longest_losing_streak(trades),
        "curve": [float(each) for each in _thinned(curve)],
        "by_asset": _parts(trades, lambda each: each.asset),
        "by_day": _parts(trades, lambda each: _time(each).strftime("%Y-%m-%d")),
        "by_hour": _parts(trades, lambda each: f"{_time(each).hour:02d} UTC"),
    }


def _ratio(paid: Decimal, shares: Decimal) -> float | None:
    """Return which share of purchases must be won to lose nothing: what a share cost on average."""
    return round(float(paid / shares), 4) if shares else None


def _time(trade: Trade) -> datetime:
    return datetime.fromtimestamp(trade.start_ms / 1000, UTC)


def _parts(trades: Sequence[Trade], key: Callable[[Trade], str]) -> dict[str, Any]:
    groups: dict[str, list[Trade]] = defaultdict(list)
    for each in trades:
        groups[key(each)].append(each)
    return {
        name: {
            "trades": len(found),
            "win_rate": wilson(sum(each.won for each in found), len(found)).to_dict(),
            "profit": str(total(found)),
            "per_share": net(found).to_dict(),
        }
        for name, found in sorted(groups.items())
    }


def _thinned(curve: Sequence[Decimal]) -> Sequence[Decimal]:
    if len(curve) <= MAX_CURVE:
        return curve
    return [curve[round(at * (len(curve) - 1) / (MAX_CURVE - 1))] for at in range(MAX_CURVE)]
