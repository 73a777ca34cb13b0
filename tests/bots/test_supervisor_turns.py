"""A wallet that many markets share: intervals, who goes first, and what may be tied up."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.ledger.account import Account, Position
from bots.supervisor.turns import WAITS_FOR, Turns, TurnSettings

QUICK = TurnSettings(interval_ms=1_000, at_once=2)


def test_a_market_waits_its_interval():
    turns = Turns(QUICK)
    assert turns.refuse("a", 10.0, 0) == ""
    turns.take("a", 10.0)
    assert turns.refuse("a", 10.9, 0) == "interval"
    assert turns.refuse("a", 11.0, 0) == ""
    assert turns.refuse("b", 10.9, 0) == ""


def test_no_more_intents_are_under_way_than_may_be():
    turns = Turns(QUICK)
    assert turns.refuse("a", 10.0, 2) == "turn"
    assert turns.refuse("a", 10.1, 1) == ""


def test_the_last_free_place_is_for_whoever_waits_longest():
    turns = Turns(QUICK)
    for at, market in enumerate("abc"):
        turns.take(market, float(at))
    assert turns.refuse("a", 10.0, 2) == "turn"  # all places are taken
    assert turns.refuse("b", 10.1, 1) == "turn"  # a was served longer ago
    assert turns.refuse("a", 10.1, 1) == ""
    turns.take("a", 10.1)
    assert turns.refuse("b", 10.2, 1) == ""


def test_a_market_that_asks_no_more_is_not_waited_for():
    turns = Turns(QUICK)
    turns.take("b", 0.0)
    turns.refuse("a", 10.0, 2)
    assert turns.refuse("b", 10.1, 1) == "turn"
    assert turns.refuse("b", 10.0 + WAITS_FOR + 0.1, 1) == ""


@pytest.mark.parametrize("at_once", [1, 2, 4])
@pytest.mark.parametrize("count", [2, 5, 12])
def test_nobody_starves_however_eager_the_others_are(at_once, count):
    rng = random.Random(f"{at_once} of {count}")
    turns = Turns(evolve(QUICK, at_once=at_once, interval_ms=0))
    names = [f"m{number}" for number in range(count)]
    # The first asks ten times as often, and always first.
    eager = [names[0]] * 10 + names
    now, ends = 0.0, []
    for _ in range(4_000):
        now += 0.01
        ends = [end for end in ends if end > now]
        market = rng.choice(eager)
        if not turns.refuse(market, now, len(ends)):
            turns.take(market, now)
            ends.append(now + 0.2)
    told = turns.fairness()
    assert told["starved"] == 0
    assert told["min_orders"] * 12 >= told["max_orders"]


def test_what_is_tied_up_counts_against_both_limits():
    account = Account()
    account.positions = {
        name: Position(market=market, token=name, shares=Decimal(10), cost=Decimal(cost))
        for name, market, cost in (("1", "a", 20), ("2", "a", 25), ("3", "b", 30))
    }
    turns = Turns(TurnSettings(per_market=Decimal(60), in_all=Decimal(100)))
    assert turns.left(account, "a") == 15
    assert turns.left(account, "b") == 25
    assert turns.left(account, "c") == 25
    assert Turns(TurnSettings(per_market=Decimal(60), in_all=Decimal(50))).left(account, "c") == 0
