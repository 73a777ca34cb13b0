"""Both sides for less than a dollar: one after the other against both at once.

*Sequential*: buy whichever side comes down to the limit first, then wait for the other; if it never comes, the lone
side is held to the end. *Simultaneous*: buy only when both asks together cost less than a dollar after fees. Profits
are per pair of one share, in pUSD, exact; intervals are statistics.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bots.common.money.pairs import prices_with_fee
from bots.research.stats import blocks_of, mean_interval, wilson
from bots.research.windows import QuoteKind
from polymirror.core.fees import FeeSchedule, charged_fee

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.research.eras import Eras
    from bots.research.loaders.pair_rounds import PairRound
    from bots.research.windows import Window

LEAST_ROUNDS: Final = 100
"""With fewer rounds nothing is said."""

ONE: Final = Decimal(1)
LENGTHS_MS: Final = {"5m": 300_000, "15m": 900_000}


def judge(source: str, rounds: Sequence[PairRound], price: Decimal, eras: Eras) -> list[dict[str, Any]]:
    """Judge rounds era by era: refuted if the best case loses, supported if a profit is left after fees."""
    groups: dict[str, list[PairRound]] = {}
    for each in rounds:
        groups.setdefault(eras.rules(each.interval, each.start_ms).era, []).append(each)
    return [{"source": source, "era": era, **_judged(found, price, eras)} for era, found in groups.items()]


def _judged(rounds: Sequence[PairRound], price: Decimal, eras: Eras) -> dict[str, Any]:
    if any(each.told_profit is not None for each in rounds):
        why = "Which legs were filled is what the recorder's own fill model says."
        return {"verdict": "not decidable", "why": why, **told(rounds)}
    found = sequential(rounds, price, eras)
    best, after = found["per_round"], found["per_round_after_fees"]
    if len(rounds) < LEAST_ROUNDS or best["low"] is None:
        verdict, why = "not decidable", f"{len(rounds)} rounds, and at least {LEAST_ROUNDS} are needed."
    elif best["high"] < 0:
        verdict, why = "refuted", "It loses even if each leg was filled when its price was touched, without a fee."
    elif after["low"] > 0:
        verdict, why = "supported", "A profit is left after fees, if each leg was filled when its price was touched."
    else:
        verdict, why = "not decidable", "The range holds a profit and a loss."
    return {"verdict": verdict, "why": why, **found}


def sequential(rounds: Sequence[PairRound], price: Decimal, eras: Eras) -> dict[str, Any]:
    """Reckon what legs at ``price`` come to. A side that is touched alone is the loser: its price went to 0.

    That a resting order at the price was filled whenever the ask touched it is the best case; a taker pays the fee too.
    """
    counts = Counter(_kind(each) for each in rounds)
    starts = [each.start_ms for each in rounds]
    before = [_profit(each, price, None) for each in rounds]
    after = [_profit(each, price, eras.rules(each.interval, each.start_ms).fee) for each in rounds]
    late = [each for each in rounds if _kind(each) == "one" and _is_late(each)]
    blocks = blocks_of(starts)
    return {
        "rounds": len(rounds),
        "both": counts["both"],
        "one": counts["one"],
        "neither": counts["neither"],
        "price": str(price),
        "completed": wilson(counts["both"], counts["both"] + counts["one"]).to_dict(),
        "needed": str(needed(price).quantize(Decimal("0.001"))),
        "per_round": mean_interval([float(each) for each in before], blocks).to_dict(),
        "per_round_after_fees": mean_interval([float(each) for each in after], blocks).to_dict(),
        "total": str(sum(before, Decimal(0))),
        "total_after_fees": str(sum(after, Decimal(0))),
        "touched_after_the_end": len(late),
        "wait_s": _waits(rounds),
    }


def needed(price: Decimal) -> Decimal:
    """Return the share of begun pairs that must be completed to lose nothing before fees.

    One that is completed makes 1 minus twice the price, and one that is not loses the price.
    """
    return price / (ONE - price)


def told(rounds: Sequence[PairRound]) -> dict[str, Any]:
    """Sum up what a recorder's own fill model says, and the share of lone legs in it."""
    own = [each for each in rounds if each.told_profit is not None and each.told_cost]
    counts = Counter(_kind(each) for each in own)
    profit = sum((each.told_profit or Decimal(0) for each in own), Decimal(0))
    cost = sum((each.told_cost or Decimal(0) for each in own), Decimal(0))
    profits = [float(each.told_profit or 0) for each in own]
    return {
        "rounds": len(own),
        "both": counts["both"],
        "one": counts["one"],
        "profit": str(profit),
        "cost": str(cost),
        "per_round": mean_interval(profits, blocks_of([each.start_ms for each in own])).to_dict(),
        "completed": wilson(counts["both"], counts["both"] + counts["one"]).to_dict(),
    }


def simultaneous(windows: Sequence[Window]) -> dict[str, Any] | None:
    """Look in every window for a moment at which both asks cost less than a dollar, before and after fees.

    At the venue they never do: who sells one side at p is shown as a buyer of the other at 1 - p, and the two would
    trade. A sum below a dollar says that the two sides were looked at at different moments.
    ``None``: no window has both sides' own asks; one that is derived from the other can never be cheaper together.
    """
    usable = [
        each
        for each in windows
        if each.up is not None
        and each.down is not None
        and QuoteKind.BOOK is each.up.kind is each.down.kind
        and not each.up.derived
        and not each.down.derived
    ]
    if not usable:
        return None
    cheapest: list[Decimal] = []
    best: list[Decimal] = []
    for window in usable:
        sums = _sums(window)
        if sums:
            cheapest.append(min(cost for cost, _ in sums))
            best.append(max(ONE - with_fee for _, with_fee in sums))
    under = sum(each < ONE for each in cheapest)
    after = sum(each > 0 for each in best)
    return {
        "windows": len(cheapest),
        "under_a_dollar": wilson(under, len(cheapest)).to_dict(),
        "after_fees": wilson(after, len(cheapest)).to_dict(),
        "cheapest": str(min(cheapest, default=None)),
        "best_after_fees": str(max(best, default=None)),
    }


def _sums(window: Window) -> list[tuple[Decimal, Decimal]]:
    """Return the cost of both sides, without and with fees, whenever either price changed, at the newest of each."""
    up, down = window.up, window.down
    if up is None or down is None:
        return []
    found = []
    costs = prices_with_fee(window.rules.fee)
    seen: set[tuple[int, int]] = set()
    for at_ms in sorted({*up.received_ms, *down.received_ms}):
        first, second = up.newest(at_ms), down.newest(at_ms)
        if first is None or second is None:
            continue
        asks = up.ask_e4[first], down.ask_e4[second]
        if not all(asks) or asks in seen:
            continue
        seen.add(asks)
        prices = [Decimal(each).scaleb(-4) for each in asks]
        with_fee = sum(costs[each] for each in asks)
        found.append((sum(prices, Decimal(0)), Decimal(with_fee).scaleb(-8)))
    return found


def _kind(each: PairRound) -> str:
    return {2: "both", 1: "one", 0: "neither"}[(each.yes_ms is not None) + (each.no_ms is not None)]


def _is_late(each: PairRound) -> bool:
    at_ms = each.yes_ms if each.no_ms is None else each.no_ms
    return at_ms is not None and at_ms >= each.start_ms + LENGTHS_MS.get(each.interval, 0)


def _profit(each: PairRound, price: Decimal, fee: FeeSchedule | None) -> Decimal:
    legs = (each.yes_ms is not None) + (each.no_ms is not None)
    paid = price * legs + (charged_fee(fee, price, ONE) * legs if fee is not None else 0)
    return (ONE if legs == len(("yes", "no")) else Decimal(0)) - paid


def _waits(rounds: Sequence[PairRound]) -> dict[str, float] | None:
    waits = sorted(
        abs(each.yes_ms - each.no_ms) / 1000 for each in rounds if each.yes_ms is not None and each.no_ms is not None
    )
    pick: Callable[[float], float] = lambda share: waits[min(int(share * len(waits)), len(waits) - 1)]  # noqa: E731
    return {"p50": pick(0.5), "p90": pick(0.9)} if waits else None
