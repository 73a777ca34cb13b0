"""What was claimed of the strategy, held against a run's result: reproduced, refuted, or not decidable, and why. Pure.

The claims are those under which the strategy became known: 5,017 trades in 8,876 markets, 61.4 % of them won, a book 55
seconds behind the oracle, seven tests passed, judged on the last 40 % of the time. They are older than the fees, delays
and the averages of 2026. :func:`first_sentences` says the whole in three sentences, for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CLAIMED_TRADES: Final = 5_017
CLAIMED_MARKETS: Final = 8_876
CLAIMED_WINS: Final = 0.614
CLAIMED_LAG_S: Final = 55.0

LEAST_WINDOWS: Final = 10
"""With fewer windows of fine prices nothing is said of the lag."""

UNDECIDED: Final = "not decidable"
REFUTED: Final = "refuted"
REPRODUCED: Final = "reproduced"


def claims_of(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Hold each claim against the result."""
    studies: Sequence[Mapping[str, Any]] = result.get("studies", [])
    return [
        _count(studies),
        _wins(studies),
        _lag(studies),
        _profit(studies),
        _out_of_sample(studies),
    ]


def first_sentences(result: Mapping[str, Any]) -> list[str]:
    """Say in three sentences what was found."""
    studies = result.get("studies", [])
    verdicts = [each["verdict"] for each in studies]
    return [
        (
            f"Buying the side on which the oracle's price stands (oracle lag) was tried on {_sets(len(verdicts))}: "
            f"{_say(verdicts.count('supported'))} that it earns money, {_say(verdicts.count(REFUTED))} that it does "
            f"not, or not as it seemed, and {verdicts.count(UNDECIDED)} cannot tell."
        ),
        _stale(studies),
        _pairs(result.get("pairs", [])),
    ]


def _say(count: int) -> str:
    return {0: "none says", 1: "1 says"}.get(count, f"{count} say")


def _stale(studies: Iterable[Mapping[str, Any]]) -> str:
    best = max(studies, key=lambda each: each["at_the_old_price"]["trades"], default=None)
    if best is None or not best["at_the_old_price"]["trades"]:
        return "No data has the oracle's price and the prices of shares together, so no profit can be reckoned."
    old, new = best["at_the_old_price"]["per_share"], best["summary"]["per_share"]
    at_next = "nothing was bought" if not new["count"] else f"a share {_cents(new)}"
    return (
        f"In the set where most was bought ({best['source']}) a share {_cents(old)} at the price that the bot saw, but "
        f"that price is old when an order arrives: at the next recorded price {at_next}."
    )


def _pairs(found: Iterable[Mapping[str, Any]]) -> str:
    best = max((each for each in found if "price" in each), key=lambda each: each["rounds"], default=None)
    if best is None:
        return "Pair cost: no data says which sides were to be had one after the other."
    return (
        "Buying one side and then the other, since both together pay 1 pUSD (pair cost), was tried in "
        f"{best['rounds']:,} rounds at {best['price']} a side, and a round {_cents(best['per_round'])} before fees: "
        f"the second side came in {best['completed']['mean']:.0%} of those begun, and {float(best['needed']):.0%} are "
        "needed to lose nothing."
    )


def _count(studies: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    windows, trades = sum(each["playable"] for each in studies), sum(each["summary"]["trades"] for each in studies)
    return _claim(
        f"{CLAIMED_TRADES:,} trades in {CLAIMED_MARKETS:,} markets",
        UNDECIDED,
        f"This data has {windows:,} windows with oracle and token prices together, in which {trades:,} purchases "
        "are made: the claimed number cannot be counted again on it.",
    )


def _wins(studies: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    claim = f"{CLAIMED_WINS:.1%} of the trades won"
    best = max(studies, key=lambda each: each["at_the_old_price"]["trades"], default=None)
    if best is None or not best["at_the_old_price"]["trades"]:
        return _claim(claim, UNDECIDED, "Nothing was bought.")
    old, new = best["at_the_old_price"], best["summary"]
    sentence = f"At the price last seen {_rate(old['win_rate'])} were won ({best['source']})"
    if new["trades"]:
        sentence += (
            f", at the next price {_rate(new['win_rate'])}; {new['needed_win_rate']:.1%} must be to lose nothing"
        )
    inside = new["trades"] and new["win_rate"]["low"] <= CLAIMED_WINS <= new["win_rate"]["high"]
    sentence += ". The claimed rate lies in that range, and so does a loss." if inside else "."
    return _claim(claim, UNDECIDED if inside or not new["trades"] else REFUTED, sentence)


def _lag(studies: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    told, seen, windows = [], [], 0
    for each in studies:
        if each["lag"] is None:
            continue
        held, coming = each["lag"]["correlation"]["peak_s"], each["lag"]["correlation_next"]["peak_s"]
        low, high = min(held["mean"], coming["mean"]), max(held["mean"], coming["mean"])
        step, count = each["lag"]["step_s"], each["lag"]["windows"]
        told.append(f"{low:g} to {high:g} s in {each['source']} ({count} windows, a price each {step:g} s)")
        if step < CLAIMED_LAG_S / 2:
            windows += count
            seen.append(high)
    claim = f"the book is {CLAIMED_LAG_S:g} s behind the oracle"
    if not seen:
        return _claim(claim, UNDECIDED, "; ".join(told) or "No data had both series.")
    sentence = (
        f"The best fit is {'; '.join(told)}. Below zero the book is ahead. Prices a minute apart look a minute late. "
        f"The {windows} windows with finer prices show no such lag; of other times they say nothing."
    )
    # A lag of 55 s would show in each of them.
    enough = windows >= LEAST_WINDOWS and max(seen) < CLAIMED_LAG_S / 2
    return _claim(claim, REFUTED if enough else UNDECIDED, sentence)


def _profit(studies: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    refuted = [each["source"] for each in studies if each["verdict"] == REFUTED]
    supported = [each["source"] for each in studies if each["verdict"] == "supported"]
    claim = "it earns money"
    if supported:
        return _claim(
            claim, REPRODUCED, f"Supported by {', '.join(supported)}; refuted by {', '.join(refuted) or 'none'}."
        )
    if refuted:
        sentence = (
            f"The profit on paper is refuted by {', '.join(refuted)}; whether a smaller one is left is not decidable."
        )
        return _claim(claim, REFUTED, sentence)
    return _claim(claim, UNDECIDED, "No data has enough purchases at prices that could have been paid.")


def _out_of_sample(studies: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    claim = "seven tests passed, judged on the last 40 % of the time"
    told = []
    for each in studies:
        verdicts = [finding["verdict"] for finding in each["findings"]]
        if any(verdict != UNDECIDED for verdict in verdicts):
            told.append(
                f"{each['source']}: {verdicts.count('survived')} of {len(verdicts)} survived, "
                f"{verdicts.count(REFUTED)} refuted, {verdicts.count(UNDECIDED)} undecided"
            )
    sentence = "; ".join(told) or "No data has enough purchases for the tests"
    return _claim(claim, UNDECIDED, sentence + ". The original tests and data are not public.")


def _sets(count: int) -> str:
    return "1 set of data" if count == 1 else f"{count} sets of data"


def _claim(claim: str, verdict: str, sentence: str) -> dict[str, str]:
    return {"claim": claim, "verdict": verdict, "sentence": sentence}


def _cents(found: Mapping[str, Any]) -> str:
    """Say what was made in words; without digits that the data does not bear."""
    mean = found["mean"]
    if mean is None:
        return "made nothing"
    cents = f"{abs(mean) * 100:.0f}"
    said = f"{'lost' if mean < 0 else 'made'} {cents} {'cent' if cents == '1' else 'cents'}"
    if found["low"] is None:
        return said
    ends = [f"{'a loss' if each < 0 else 'a gain'} of {abs(each) * 100:.0f}" for each in (found["low"], found["high"])]
    return f"{said} (most likely between {ends[0]} and {ends[1]})"


def _rate(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.1%} ({found['low']:.0%} to {found['high']:.0%})"
