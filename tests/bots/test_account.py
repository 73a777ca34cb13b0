"""What the rows add up to, to the last digit, whatever the chain takes back and whenever it does."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.common.errors import StateInvalid
from bots.common.ledger import account as account_module
from bots.common.ledger.account import Account, Position, UnknownOrder
from bots.common.ledger.rows import Begun, Corrected, Finished, Merged, Settled
from bots.common.orders.order import Outcome, Result
from tests.bots.crash_rig import FEE, OTHER, UP, a_sale, an_order


class Books(Account):
    """An account that numbers its rows itself."""

    def book(self, kind, **fields):
        return self.apply(kind(seq=self.through + 1, at_ms=1, **fields))

    def begin(self, order):
        self.book(Begun, group_id="g", asset="btc", reserve=order.money, worst=order.money, order=order)

    def finish(self, client_id, outcome, shares="0", money="0", fee="0", *, final=False):
        result = Result(outcome=outcome, shares=Decimal(shares), money=Decimal(money), fee=Decimal(fee))
        ends = final or outcome in {Outcome.NO_MATCH, Outcome.REJECTED}
        return self.book(Finished, client_id=client_id, final=ends, result=result)

    def buy(self, client_id="b", *, final=False, **rest):
        self.begin(an_order(client_id=client_id, **rest))
        self.finish(client_id, Outcome.FILLED, "10", "6", FEE, final=final)

    def sell(self, shares, money, client_id="s"):
        self.begin(a_sale(client_id=client_id))
        self.finish(client_id, Outcome.FILLED, shares, money, "0.01")

    def settle(self, payout):
        held = self.positions["101"]
        self.book(
            Settled, market="0xm1", token=UP, shares=held.shares, cost=held.cost, payout=Decimal(payout), how="redeemed"
        )

    def check(self):
        """What was paid is in positions, or it is a profit or a loss: there is no third place."""
        bound = sum((held.cost for held in self.positions.values()), Decimal(0))
        assert self.totals.cash + bound == self.totals.profit


def test_a_fill_is_a_position_that_costs_its_fee_too():
    books = Books()
    books.buy("b1")
    books.buy("b2")
    assert books.positions == {
        "101": Position(market="0xm1", token=UP, shares=Decimal(20), cost=Decimal("12.0350")),
    }
    assert books.totals.cash == Decimal("-12.0350")
    assert (books.totals.orders, books.totals.fills) == (2, 2)


def test_a_winner_pays_and_a_loser_pays_nothing():
    books = Books()
    books.buy("b1")
    books.settle(10)
    assert (books.totals.profit, books.totals.won, books.totals.lost) == (Decimal("3.9825"), 1, 0)
    books.buy("b2")
    books.settle(0)
    assert (books.totals.profit, books.totals.won, books.totals.lost) == (Decimal("-2.0350"), 1, 1)
    assert books.totals.cash == books.totals.profit
    assert books.positions == {}


@given(
    st.lists(st.decimals("0.01", "3", places=2), min_size=1, max_size=6),
    st.decimals("0.000001", "5", places=6),
)
def test_however_a_position_is_sold_its_profit_is_what_came_minus_what_went(parts, money):
    books = Books()
    books.buy()
    for number, shares in enumerate(parts):
        if books.positions and shares <= books.positions["101"].shares:
            books.sell(shares, money, f"s{number}")
    if books.positions:
        books.sell(books.positions["101"].shares, money, "last")
    assert books.positions == {}
    assert books.totals.profit == books.totals.cash


def test_more_sold_than_was_known_of_is_booked_as_the_money_it_brought():
    books = Books()
    books.buy()
    books.sell("11", "7")
    assert books.positions == {}
    assert books.totals.profit == books.totals.cash
    assert books.totals.corrections == 1


def test_an_order_that_traded_nothing_leaves_no_trace_but_its_count():
    books = Books()
    books.begin(an_order(client_id="b"))
    books.finish("b", Outcome.NO_MATCH)
    assert (books.totals.orders, books.totals.fills, books.totals.cash) == (1, 0, 0)
    assert books.positions == {}
    assert books.knows("b")


def test_orders_on_a_token_are_undecided_until_they_are_not():
    books = Books()
    books.begin(an_order(client_id="b"))
    books.finish("b", Outcome.UNKNOWN)
    assert [begun.order.client_id for begun in books.undecided("101")] == ["b"]
    assert books.undecided("102") == ()
    books.finish("b", Outcome.REJECTED)
    assert books.undecided("101") == ()


def test_a_correction_replaces_what_we_thought_and_what_is_gone_is_a_loss():
    books = Books()
    books.buy()
    for shares, cost in (("7", "4.2"), ("0", "0")):
        books.book(Corrected, market="0xm1", token=UP, shares=Decimal(shares), cost=Decimal(cost), why="it is so")
        books.check()
    assert books.positions == {}
    assert books.totals.corrections == 2
    assert books.totals.profit == Decimal("-6.0175")


def test_rows_are_booked_in_order_and_once():
    books = Books()
    books.buy()
    order = an_order(client_id="z")
    with pytest.raises(StateInvalid, match="numbers of rows grow"):
        books.apply(Begun(seq=2, at_ms=1, group_id="", order=order, asset="", reserve=Decimal(1), worst=Decimal(1)))


def test_a_settlement_of_something_else_than_is_held_is_refused_and_changes_nothing():
    books = Books()
    books.buy()
    for shares, cost in (("9", "6.0175"), ("10", "6")):
        with pytest.raises(StateInvalid, match="what is held of 101"):
            books.book(
                Settled, market="0xm1", token=UP, shares=Decimal(shares), cost=Decimal(cost), payout=Decimal(10), how=""
            )
    assert books.positions["101"].shares == 10
    books.check()


def test_a_pair_is_merged_into_its_dollars():
    books = Books()
    books.buy("b1")
    books.buy("b2", token=OTHER)
    books.book(Merged, market="0xm1", token=UP, other="102", shares=Decimal(4), received=Decimal(4))
    assert [held.shares for held in books.positions.values()] == [6, 6]
    books.check()
    with pytest.raises(StateInvalid, match="at most what is held"):
        books.book(Merged, market="0xm1", token=UP, other="102", shares=Decimal(7), received=Decimal(7))
    assert [held.shares for held in books.positions.values()] == [6, 6]
    books.book(Merged, market="0xm1", token=UP, other="102", shares=Decimal(6), received=Decimal(6))
    books.check()
    assert books.positions == {}


# The chain takes a trade back, or says other numbers, at every stage of its position.


def nothing(books):
    """Leave the position as it is."""


def sold_in_part(books):
    books.sell("4", "3")


def sold(books):
    books.sell("10", "7")


def lost(books):
    books.settle(0)


def won(books):
    books.settle(10)


def more_bought(books):
    books.buy("more")


@pytest.mark.parametrize("meanwhile", [nothing, sold_in_part, sold, lost, won, more_bought])
@pytest.mark.parametrize(("shares", "money"), [("0", "0"), ("4", "2.4"), ("10", "5.5"), ("11", "6"), ("10", "6")])
def test_a_revised_trade_changes_the_profit_by_what_it_changes_and_the_books_balance(meanwhile, shares, money):
    books = Books()
    books.buy()
    meanwhile(books)
    cash = books.totals.cash
    books.finish("b", Outcome.FILLED if Decimal(shares) else Outcome.NO_MATCH, shares, money, final=True)
    books.check()
    assert books.totals.cash == cash + Decimal("6.0175") - Decimal(money)
    assert "b" not in books.claims
    with pytest.raises(UnknownOrder):
        books.finish("b", Outcome.NO_MATCH)


def test_a_purchase_that_never_moved_leaves_nothing_behind():
    books = Books()
    books.buy()
    assert books.finish("b", Outcome.NO_MATCH) == 0
    assert (books.positions, books.totals.cash, books.totals.profit, books.totals.fills) == ({}, 0, 0, 0)


def test_a_loss_that_was_booked_of_a_purchase_that_never_moved_is_taken_back():
    books = Books()
    books.buy()
    books.settle(0)
    assert books.finish("b", Outcome.NO_MATCH) == Decimal("6.0175")
    assert books.totals.profit == books.totals.cash == 0


def test_a_sale_that_never_moved_gives_shares_and_cost_back():
    books = Books()
    books.buy(final=True)
    before = books.positions["101"]
    books.sell("4", "3")
    books.finish("s", Outcome.NO_MATCH)
    assert books.positions["101"] == before
    books.check()


@pytest.mark.parametrize("order", ["bs", "sb"])
@pytest.mark.parametrize("between", [nothing, lost])
def test_a_purchase_and_its_sale_that_both_never_moved_leave_no_shares_whichever_is_told_first(order, between):
    books = Books()
    books.buy()
    books.sell("10", "5")
    for name in order:
        books.finish(name, Outcome.NO_MATCH)
        books.check()
        if books.positions:
            between(books)
    assert (books.positions, books.totals.profit, books.totals.cash) == ({}, 0, 0)


def test_shares_that_are_bought_after_one_that_never_moved_are_held():
    books = Books()
    books.buy()
    books.sell("10", "5")
    books.finish("b", Outcome.NO_MATCH)
    books.buy("again")
    assert books.positions["101"].shares == 10


def test_a_claim_is_confirmed_once_and_then_is_final():
    books = Books()
    books.buy()
    assert [claim.begun.order.client_id for claim in books.claimed("101")] == ["b"]
    books.finish("b", Outcome.FILLED, "10", "6", FEE, final=True)
    assert books.claims == {}
    assert books.positions["101"].shares == 10
    with pytest.raises(UnknownOrder):
        books.finish("b", Outcome.FILLED, "10", "6", FEE, final=True)


def test_open_orders_are_bounded(monkeypatch):
    monkeypatch.setattr(account_module, "MAX_OPEN", 2)
    books = Books()
    for name in "ab":
        books.begin(an_order(client_id=name))
    with pytest.raises(StateInvalid, match="less than 2 orders"):
        books.begin(an_order(client_id="c"))


def test_remembered_client_ids_are_bounded(monkeypatch):
    monkeypatch.setattr(account_module, "MAX_REMEMBERED", 2)
    books = Books()
    for name in "abc":
        books.begin(an_order(client_id=name))
        books.finish(name, Outcome.NO_MATCH)
    assert [books.knows(name) for name in "abc"] == [False, True, True]


def test_the_venues_name_of_an_order_is_kept_when_the_order_is_over():
    books = Books()
    books.begin(an_order("0xm2", "102"))
    unknown = Result(outcome=Outcome.UNKNOWN, order_id="0xabc")
    books.book(Finished, client_id="buy:0xm2", final=False, result=unknown)
    assert (books.name_of("buy:0xm2"), books.order_ids) == ("0xabc", ())
    books.finish("buy:0xm2", Outcome.NO_MATCH)
    assert (books.name_of("buy:0xm2"), books.order_ids) == ("0xabc", ("0xabc",))
