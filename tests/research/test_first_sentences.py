"""The three sentences at the top of a report: whole ones, in words, also when nothing was found."""

from __future__ import annotations

from typing import Any

import pytest

from bots.research.claims import first_sentences


def study(verdict: str, old: tuple[float | None, ...] = (), new: tuple[float | None, ...] = ()) -> dict[str, Any]:
    """As much of a study as the sentences need."""

    def made(found: tuple[float | None, ...]) -> dict[str, Any]:
        mean, low, high = found or (None, None, None)
        return {
            "trades": 40 if found else 0,
            "per_share": {"mean": mean, "low": low, "high": high, "count": len(found)},
        }

    return {"source": "minutes", "verdict": verdict, "at_the_old_price": made(old), "summary": made(new)}


PAIRS = {
    "rounds": 2_990,
    "price": "0.29",
    "needed": "0.408",
    "completed": {"mean": 0.228},
    "per_round": {"mean": -0.094, "low": -0.128, "high": -0.06},
}


def test_they_say_what_was_made_and_lost_in_cents() -> None:
    studies = [study("refuted", (0.18, 0.14, 0.22), (-0.11, -0.28, 0.05)), study("not decidable")]
    first, stale, pairs = first_sentences({"studies": studies, "pairs": [PAIRS]})
    assert first == (
        "Buying the side on which the oracle's price stands (oracle lag) was tried on 2 sets of data: none says that "
        "it earns money, 1 says that it does not, or not as it seemed, and 1 cannot tell."
    )
    assert stale == (
        "In the set where most was bought (minutes) a share made 18 cents (most likely between a gain of 14 and a gain "
        "of 22) at the price that the bot saw, but that price is old when an order arrives: at the next recorded price "
        "a share lost 11 cents (most likely between a loss of 28 and a gain of 5)."
    )
    assert pairs == (
        "Buying one side and then the other, since both together pay 1 pUSD (pair cost), was tried in 2,990 rounds at "
        "0.29 a side, and a round lost 9 cents (most likely between a loss of 13 and a loss of 6) before fees: the "
        "second side came in 23% of those begun, and 41% are needed to lose nothing."
    )


@pytest.mark.parametrize(
    ("studies", "second"),
    [
        ([], "No data has the oracle's price and the prices of shares together, so no profit can be reckoned."),
        ([study("not decidable", (0.2, 0.1, 0.3))], "at the next recorded price nothing was bought."),
        ([study("refuted", (0.2, 0.1, 0.3), (0.01, None, None))], "at the next recorded price a share made 1 cent."),
    ],
)
def test_they_are_whole_when_little_was_found(studies: list[dict[str, Any]], second: str) -> None:
    first, stale, pairs = first_sentences({"studies": studies})
    assert f"tried on {'1 set' if studies else '0 sets'} of data" in first
    assert stale.endswith(second)
    assert pairs == "Pair cost: no data says which sides were to be had one after the other."
