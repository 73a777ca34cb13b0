"""What wide searches may cost together, and who looks when for what is left."""

from __future__ import annotations

from collections import Counter

from polymirror.core.dialects import BURST_SECONDS, DIGESTS_PER_SECOND, LAST_TURN, TURN_SECONDS, SearchBudget
from tests.core.builders import BEGIN


def test_a_budget_grants_a_burst_and_then_its_rate():
    budget = SearchBudget()
    search = 6 * 1002
    begun = [n / 100 for n in range(1_000) if begins(budget, search, BEGIN + n / 100)]
    assert begun[:5] == [0.0, 0.01, 0.02, 0.03, 0.04]
    assert len(begun) * search <= (10.0 + BURST_SECONDS) * DIGESTS_PER_SECOND + search
    assert len(begun) * search >= (9.9 + BURST_SECONDS) * DIGESTS_PER_SECOND - search


def test_those_for_whom_nothing_is_left_look_again_one_after_another():
    budget = SearchBudget()
    budget.spend(3 * DIGESTS_PER_SECOND, BEGIN)
    turns = Counter(budget.turn(BEGIN + n / 1_000) for n in range(100))
    assert min(turns) == budget.free_at == BEGIN + 2.0
    assert max(turns) <= BEGIN + 2.0 + LAST_TURN + TURN_SECONDS
    assert max(turns.values()) <= 100 / (LAST_TURN / TURN_SECONDS) + 1
    # Nobody waits for those who asked and need it no more.
    assert budget.turn(BEGIN + 60.0) == BEGIN + 60.0


def begins(budget, digests, now):
    if now < budget.free_at:
        return False
    budget.spend(digests, now)
    return True
