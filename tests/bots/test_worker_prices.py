"""A worker trades a window no more once the prices of its asset cannot be true, and says why."""

from __future__ import annotations

import pytest

from bots.testing.liars import measure


@pytest.mark.slow
@pytest.mark.parametrize("name", ["feed late", "feed up"])
def test_prices_that_jump_are_told_at_once_and_nothing_is_bought_on_them(name):
    found = measure([name], rounds=4, seed=7)
    assert "is not traded any more: the average of" in found.told
    assert found.after_s < 5
    assert found.loss == 0
