"""The comparison of fills: when two count as the same, what it says of others, and when it is not made."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import fills
from benchmarks.fills import MONEY, Bought, Theirs, told

TWO_LEVELS = Bought(0, "100", ((Decimal("0.88"), Decimal("98.5")), (Decimal("0.89"), Decimal("14.84"))))
NOTHING = Bought(0, "100", (), "the book is SUSPECT")


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (TWO_LEVELS, Theirs(is_filled=True, price=0.89, shares=14.84, booked=14.84), True),
        (TWO_LEVELS, Theirs(is_filled=True, price=0.89, shares=14.85, booked=14.85), False),
        (TWO_LEVELS, Theirs(is_filled=True, price=0.88, shares=14.84, booked=14.84), False),
        (TWO_LEVELS, Theirs(is_filled=False, price=0.89, shares=14.84, booked=14.84), False),
        (NOTHING, Theirs(is_filled=True, price=0.88, shares=100.0, booked=100.0), False),
        (NOTHING, Theirs(is_filled=False, price=0.0, shares=0.0, booked=0.0), True),
    ],
)
def test_fills_are_the_same_if_all_was_bought_and_as_much_of_the_last_level(
    ours: Bought, theirs: Theirs, same: bool
) -> None:
    assert theirs.agrees(ours) is same


def test_what_differs_is_named_and_what_its_account_lacks() -> None:
    ours = [Bought(0, each, TWO_LEVELS.levels) for each in MONEY]
    theirs = [Theirs(is_filled=True, price=0.89, shares=size, booked=size) for size in (14.84, 15.0, 14.84, 14.84)]
    lines = list(told(ours, theirs, every=False))
    assert lines[0] == "  5 pUSD, 2 to 2 levels: 1 of 1 the same; of 113 shares bought its account has 15"
    assert lines[1].startswith("  100 pUSD, 2 to 2 levels: 0 of 1 the same")
    assert lines[2] == "    1: another size at the last level"


def test_without_the_package_or_the_recording_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fills"])
    monkeypatch.setattr(fills, "BUSIEST", Path(__file__))
    monkeypatch.setattr(fills, "find_spec", lambda _: None)
    assert fills.main() == 1
    assert capsys.readouterr().err == "not compared: hftbacktest is not installed: pip install hftbacktest\n"
    monkeypatch.setattr(fills, "BUSIEST", Path("none.jsonl"))
    assert fills.main() == 1
    assert capsys.readouterr().err == "not compared: there is no none.jsonl beside the repository\n"
