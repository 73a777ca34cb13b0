"""The suite of liars itself: that they lie, that a bot among them loses no more than is stated, and that it says so."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.testing.liars import Found, measure, table
from bots.testing.lies import LIARS, PAIRS


def test_every_pair_is_of_liars_that_there_are():
    assert {name for pair in PAIRS for name in pair} <= LIARS.keys()


def test_a_loss_above_the_bound_is_named_in_the_table():
    lost = Found("killed", "books differ", 12.0, 12.0, Decimal(126), Decimal(125), Decimal(3))
    assert not lost.held
    assert "TOO MUCH" in table([lost])
    assert "TOO MUCH" not in table([Found("killed", "", None, None, Decimal(125), Decimal(125), Decimal(3))])


@pytest.mark.slow
def test_without_a_lie_nothing_is_told_and_the_books_are_the_exchanges():
    found = measure(["honest"], rounds=8, seed=7)
    assert (found.told, found.loss) == ("", -found.believed)
    assert found.believed


@pytest.mark.slow
def test_what_the_venue_denies_in_all_its_lists_the_chain_tells():
    found = measure(["killed", "as before", "no shares"], rounds=4, seed=7)
    assert "pUSD are missing from the wallet" in found.told
    assert found.after_s < 60
    assert found.held
