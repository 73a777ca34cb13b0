"""What is held of one token alone, and what could be: no way that things under way may end leaves more."""

from __future__ import annotations

import copy
import itertools
import random
from decimal import Decimal

import pytest

from bots.common.ledger.account import Account
from bots.common.ledger.lone import LoneBudget, lone_at_worst, lone_cost, paired
from bots.common.ledger.rows import Begun, Finished
from bots.common.money.sizing import SizeRefusal
from bots.common.orders.intents import Group, Leg
from bots.common.orders.order import Outcome, Result, Side
from polymirror.core.fees import NO_FEE
from tests.bots.execution_rig import buy, d, sell

NOTHING = Result(outcome=Outcome.NO_MATCH)
TOKENS = {"0xm": ("11", "12"), "0xn": ("21", "22")}


def put(account, order, result=None, *, final=False):
    """Begin an order and, if a result is told, finish it."""
    seq = account.through + 1
    account.apply(
        Begun(seq=seq, at_ms=1, group_id="g", asset="btc", reserve=order.money, worst=order.money, order=order)
    )
    if result is not None:
        end(account, order, result, final=final)


def end(account, order, result, *, final=False):
    account.apply(Finished(seq=account.through + 1, at_ms=2, client_id=order.client_id, result=result, final=final))


def filled(order):
    return Result(outcome=Outcome.FILLED, shares=order.shares, money=order.money)


def an_order(number, market, token, side, shares, price):
    name = {"client_id": f"c{number}", "market": market, "token": token, "price": price, "fee": NO_FEE}
    if side is Side.SELL:
        return sell(shares=str(shares), **(name | {"price": d(str(price))}))
    money = str((shares * price).quantize(Decimal("0.01")))
    return buy(money=money, **(name | {"price": d(str(price))}))


def a_mess(seed):
    """An account of two markets with shares that are certain, trades that may fail, and orders without a fate."""
    rng, account = random.Random(seed), Account()
    for number in range(rng.randint(2, 6)):
        market = rng.choice(tuple(TOKENS))
        token = rng.choice(TOKENS[market])
        held = account.positions.get(token)
        certain = held is not None and not account.claimed(token) and not account.undecided(token)
        side = Side.SELL if certain and rng.random() < 0.3 else Side.BUY
        shares = min(Decimal(rng.randint(5, 40)), held.shares) if side is Side.SELL else Decimal(rng.randint(5, 40))
        order = an_order(number, market, token, side, shares, Decimal(rng.randint(20, 80)) / 100)
        fate = rng.choice(("certain", "claimed", "open"))
        put(account, order, None if fate == "open" else filled(order), final=fate == "certain")
    return account


@pytest.mark.parametrize("seed", range(60))
def test_no_way_in_which_what_is_under_way_ends_leaves_more_alone_than_at_worst(seed):
    account = a_mess(seed)
    worst = lone_at_worst(account)
    opened = [begun.order for begun in account.open.values()]
    claimed = [(claim.begun.order, claim.result) for claim in account.claims.values()]
    ends = itertools.product(
        *([(order, filled(order)), (order, NOTHING)] for order in opened),
        *([(order, result), (order, NOTHING)] for order, result in claimed),
    )
    for each in ends:
        later = copy.deepcopy(account)
        for order, result in each:
            end(later, order, result, final=True)
        assert lone_cost(later.positions.values()) <= worst + Decimal("0.00001")
    assert lone_cost(account.positions.values()) <= worst


def test_a_pair_under_way_counts_as_its_dearer_leg_and_a_certain_one_as_nothing():
    account = Account()
    prices = (("11", d("0.4")), ("12", d("0.55")))
    legs = [an_order(token, "0xm", token, Side.BUY, Decimal(20), price) for token, price in prices]
    for leg in legs:
        put(account, leg)
    assert lone_at_worst(account) == 11
    assert lone_cost(account.positions.values()) == 0
    for leg in legs:
        end(account, leg, filled(leg))
    assert lone_at_worst(account) == 11
    for leg in legs:
        end(account, leg, filled(leg), final=True)
    assert lone_at_worst(account) == 0
    assert paired(account.positions.values()) == 20


def test_a_sale_that_has_no_fate_may_leave_the_other_token_alone():
    account = Account()
    for number, token in enumerate(TOKENS["0xm"]):
        order = an_order(number, "0xm", token, Side.BUY, Decimal(20), d("0.48"))
        put(account, order, filled(order), final=True)
    put(account, an_order(9, "0xm", "11", Side.SELL, Decimal(15), d("0.4")))
    assert lone_at_worst(account) == d("7.2")


def test_a_budget_refuses_what_could_pass_it_and_lets_pass_what_makes_it_no_worse():
    account = Account()
    order = an_order(1, "0xm", "11", Side.BUY, Decimal(20), d("0.5"))
    put(account, order, filled(order), final=True)

    def size_of(token, money):
        leg = Leg.buy(token, d("0.5"), d(money), d("0.01"), NO_FEE)
        return lambda _views, _limits: Group((leg,), leg.reserve)

    for limit, market, token, money, fits in (
        (15, "0xn", "21", "4.98", True),
        (15, "0xn", "21", "5", False),
        (15, "0xm", "12", "9.98", True),  # its counterpart
        (5, "0xm", "12", "9.98", True),  # the budget is passed already, and this makes it no worse
        (5, "0xn", "21", "1", False),
    ):
        budget = LoneBudget(account, d(limit))
        found = budget.guard(market, size_of(token, money))((), None)
        assert isinstance(found, SizeRefusal) is not fits, (limit, market, money)
