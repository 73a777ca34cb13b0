"""What a run came to: counters while a bot runs, the summary at its end, and that for people in 80 columns."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from bots.common.ledger.account import Account
    from bots.updown.rounds import Round

MAX_SAMPLES = 4_096
"""Delays and rounds that are remembered, the newest."""

GIVE_UP_MS = 1_800_000
"""A limited run waits no longer than this for the settlement of a round that it has nothing in."""


@define
class RunStats:
    """Counts of one run. ``limit``: trade in so many rounds and no more, those that open after ``since_ms``."""

    limit: int = 0
    """0: without end."""
    since_ms: int = 0
    quiet: Counter[str] = field(factory=Counter)
    """Why ticks led to no order, before the order manager was asked."""
    orders: Counter[str] = field(factory=Counter)
    """What became of wishes: refusals, and outcomes of orders."""
    counts: Counter[str] = field(factory=Counter)
    detect_ms: deque[int] = field(factory=lambda: deque(maxlen=MAX_SAMPLES))
    """From each boundary to the event that tells of it."""
    last_end_ms: int = 0
    """When the last of the rounds is over, in Unix milliseconds."""
    # Rounds by slug, True once they are settled; the oldest are forgotten.
    _rounds: dict[str, bool] = field(factory=dict)

    def started(self, each: Round, late_ms: int) -> bool:
        """Count a round that opened; return whether it is traded."""
        if each.slug in self._rounds:
            return not self._rounds[each.slug]
        if each.start_ms < self.since_ms or (self.limit and self.counts["rounds"] >= self.limit):
            return False
        self.counts["rounds"] += 1
        self._rounds[each.slug] = False
        self.last_end_ms = max(self.last_end_ms, each.end_ms)
        if len(self._rounds) > MAX_SAMPLES:
            del self._rounds[next(iter(self._rounds))]
        if not each.joined:
            self.detect_ms.append(late_ms)
        return True

    def ended(self, each: Round, late_ms: int) -> None:
        """Count a round that is over."""
        if self._rounds.get(each.slug) is False and not each.joined:
            self.detect_ms.append(late_ms)

    def settled(self, each: Round) -> None:
        """Count a round whose winner is known."""
        if self._rounds.get(each.slug) is False:
            self._rounds[each.slug] = True
            self.counts["settled"] += 1

    def done(self, now_ms: int) -> bool:
        """Whether all rounds of a limited run are settled, or were over so long ago that none comes any more."""
        if not self.limit or self.counts["rounds"] < self.limit:
            return False
        return self.counts["settled"] >= self.counts["rounds"] or now_ms > self.last_end_ms + GIVE_UP_MS


def summarise(stats: RunStats, account: Account, unresolved: int) -> dict[str, Any]:
    """Sum a run up. Money is Decimal."""
    totals, counts = account.totals, stats.orders
    decided = totals.won + totals.lost
    late = sorted(stats.detect_ms)
    return {
        "rounds": stats.counts["rounds"],
        "settled": stats.counts["settled"],
        "trades": totals.fills,
        "won": totals.won,
        "lost": totals.lost,
        "pnl": totals.profit,
        "fees": totals.fees,
        "win_rate": round(totals.won / decided, 4) if decided else None,
        "orders": totals.orders,
        "refused_non_live": counts["refused_non_live"],
        "unresolved": unresolved,
        "round_detect_ms": {"p50": late[len(late) // 2], "max": late[-1]} if late else None,
        "signals": stats.counts["signals"],
        "no_signal": dict(sorted(stats.quiet.items())),
        "no_order": dict(sorted(counts.items())),
    }


def table(found: dict[str, Any], title: str) -> str:
    """Lay a summary out for people: plain text, at most 80 columns. On the embedded exchange its verdict is added."""
    rate = found["win_rate"]
    late = found["round_detect_ms"] or {"p50": "-", "max": "-"}
    rows = [
        ("rounds", f"{found['rounds']}, {found['settled']} of them settled"),
        ("orders", f"{found['orders']}, {found['trades']} of them traded"),
        ("won / lost", f"{found['won']} / {found['lost']}" + ("" if rate is None else f" ({rate:.0%} won)")),
        ("profit", f"{found['pnl']} pUSD, after {found['fees']} pUSD of fees"),
        ("refused: book not LIVE", str(found["refused_non_live"])),
        ("unresolved", str(found["unresolved"])),
        ("boundaries noticed after", f"{late['p50']} ms at the median, {late['max']} ms at most"),
    ]
    if "ledger" in found:
        equal = not found["ledger_difference"]
        rows += [
            ("the exchange's ledger", "equal" if equal else f"DIFFERS by {found['ledger_difference']} pUSD"),
            ("  orders, book not LIVE", str(found["orders_on_non_live"])),
            ("  orders, book not true", str(found["orders_on_wrong_book"])),
            ("  sent twice / lost", f"{found['duplicate_orders']} / {found['lost_positions']}"),
        ]
    return "\n".join([title, "-" * len(title), *(f"{name:<26}{value}"[:80] for name, value in rows)])
