"""A message stamped in the future is one message: it does not stay in the way of everything that is right."""

from __future__ import annotations

import pytest

from tests.plain.driver import Driver
from tests.plain.reading import every, shown, watch
from tests.plain.venue import SHARE, PlainMarket

BEST = 5200


def live_share(jump: float, *, known_form: bool, what: str = "delta", clock: bool = False) -> tuple[float, list]:
    """Ten changes a second; the 100th is stamped ``jump`` seconds ahead. The LIVE share after 60 s, and wrong reads."""
    market = PlainMarket(known_form=known_form)
    driver = Driver(market, clock=clock).start().run_to(0.9)

    def step(number: int) -> None:
        now = driver.now
        ahead = market.stamp(now + jump) if jump else None
        if number == 100:
            # A new best ask...
            message = market.change("SELL", 5100, 3 * SHARE, now, stamp_ms=ahead)
            if what == "book":
                driver.send(market.book("1001"))
            driver.send(message)
        elif number == 110:
            # ...and gone again, rightly stamped.
            driver.send(market.change("SELL", 5100, 0, now))
        else:
            driver.send(market.change("BUY", 4000 - 100 * (number % 30), (number + 1) * SHARE, now))

    every(driver, 0.1, step, first=1.0)
    driver.run_to(60.0)
    tally = watch(driver, 200.0, max_proof_age=None)
    return tally.share, tally.older_than(15.0 + 0.02 + 0.001)


@pytest.mark.parametrize("known_form", [True, False])
@pytest.mark.parametrize("what", ["delta", "book"])
@pytest.mark.parametrize("jump", [70.0, 3600.0])
def test_one_stamp_in_the_future_does_not_cost_the_books_that_follow(jump, known_form, what):
    usual, _ = live_share(0.0, known_form=known_form, what=what)
    share, wrong = live_share(jump, known_form=known_form, what=what)
    assert not wrong, shown(wrong)
    assert share >= usual - 0.05, f"LIVE {share:.1%} of the time, {usual:.1%} without the one stamp"
    if known_form:
        assert share >= 0.95


@pytest.mark.parametrize("jump", [70.0, 3600.0])
def test_one_stamp_in_the_future_costs_nothing_either_where_the_time_is_asked_for(jump):
    usual, _ = live_share(0.0, known_form=False, clock=True)
    share, wrong = live_share(jump, known_form=False, clock=True)
    assert not wrong, shown(wrong)
    assert share >= usual - 0.05, f"LIVE {share:.1%} of the time, {usual:.1%} without the one stamp"
