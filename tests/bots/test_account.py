"""What the records add up to, to the last digit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.common.errors import StateInvalid
from bots.common.ledger import account as account_module
from bots.common.ledger.account import Account, Position
from bots.common.ledger.records import Begun, Corrected, Finished, Settled, encode
from bots.common.orders.order import Outcome, Result
from tests.bots.crash_rig import FEE, UP, a_sale, an_order


class Books(Account):
    """An account that numbers its records itself."""

    def begin(self, order):
        self.apply(Begun(number=self.through + 1, at_ms=1, order=order, asset="btc", reserve=order.money))

    def finish(self, client_id, outcome, shares="0", money="0", fee="0"):
        result = Result(outcome=outcome, shares=Decimal(shares), money=Decimal(money), fee=Decimal(fee))
        self.apply(Finished(number=self.through + 1, at_ms=1, client_id=client_id, result=result))

    def buy(self, client_id="b", **rest):
        self.begin(an_order(client_id=client_id, **rest))
        self.finish(client_id, Outcome.FILLED, "10", "6", FEE)

    def sell(self, shares, money, client_id="s"):
        self.begin(a_sale(client_id=client_id))
        self.finish(client_id, Outcome.FILLED, shares, money, "0.01")

    def settle(self, payout):
        held = self.positions["101"]
        self.apply(
            Settled(
                number=self.through + 1, at_ms=1, market="0xm1", token=UP, shares=held.shares, cost=held.cost,
                payout=Decimal(payout),
            )
        )  # fmt: skip


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


def test_a_correction_replaces_what_we_thought():
    books = Books()
    books.buy()
    for shares, cost in (("7", "4.2"), ("0", "0")):
        books.apply(
            Corrected(
                number=books.through + 1, at_ms=1, market="0xm1", token=UP, shares=Decimal(shares),
                cost=Decimal(cost), why="the venue says so",
            )
        )  # fmt: skip
    assert books.positions == {}
    assert books.totals.corrections == 2


def test_records_are_booked_in_order_and_once():
    books = Books()
    books.buy()
    with pytest.raises(StateInvalid, match="numbers of records grow"):
        books.apply(Begun(number=2, at_ms=1, order=an_order(client_id="z"), asset="", reserve=Decimal(1)))


def test_a_settlement_of_something_else_than_is_held_is_refused_and_changes_nothing():
    books = Books()
    books.buy()
    before = books.snapshot()
    for shares, cost in (("9", "6.0175"), ("10", "6")):
        with pytest.raises(StateInvalid, match="what is held of 101"):
            books.apply(
                Settled(
                    number=9, at_ms=1, market="0xm1", token=UP, shares=Decimal(shares), cost=Decimal(cost),
                    payout=Decimal(10),
                )
            )  # fmt: skip
    assert books.snapshot() == before


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


def test_a_snapshot_is_read_back_equal_and_goes_on_alike():
    books = Books()
    books.buy("b1")
    books.begin(an_order("0xm2", "102"))
    again = Account.restore(books.snapshot())
    assert again.snapshot() == books.snapshot()
    finished = Finished(
        number=9, at_ms=1, client_id="buy:0xm2",
        result=Result(outcome=Outcome.FILLED, shares=Decimal(1), money=Decimal(1)),
    )  # fmt: skip
    for each in (books, again):
        each.apply(finished)
    assert again.snapshot() == books.snapshot()


def test_the_venues_name_of_an_order_outlives_a_restart_and_is_kept_when_the_order_is_over():
    books = Books()
    books.begin(an_order("0xm2", "102"))
    unknown = Result(outcome=Outcome.UNKNOWN, order_id="0xabc")
    books.apply(Finished(number=2, at_ms=1, client_id="buy:0xm2", result=unknown))
    again = Account.restore(books.snapshot())
    assert (again.name_of("buy:0xm2"), again.order_ids) == ("0xabc", ())
    again.apply(Finished(number=3, at_ms=1, client_id="buy:0xm2", result=Result(outcome=Outcome.NO_MATCH)))
    assert (again.name_of("buy:0xm2"), again.order_ids) == (None, ("0xabc",))


def _broken():
    books = Books()
    books.buy("b1")
    books.begin(an_order("0xm2", "102"))
    whole = books.snapshot()
    yield "through", {**whole, "through": "3"}
    yield "positions", {**whole, "positions": None}
    yield "shares", {**whole, "positions": [{**whole["positions"][0], "shares": 10}]}
    yield "open", {**whole, "open": ["x"]}
    yield "open", {**whole, "open": [1]}
    yield "over", {**whole, "over": dict.fromkeys(map(str, range(5_000)), "0xa")}
    yield "over", {**whole, "over": {"x": None}}
    yield "names", {**whole, "names": ["0xa"]}
    yield "profit", {**whole, "totals": {**whole["totals"], "profit": "NaN"}}
    yield "fills", {**whole, "totals": {**whole["totals"], "fills": True}}


@pytest.mark.parametrize(("name", "snapshot"), list(_broken()))
def test_a_snapshot_that_is_not_what_was_written_is_refused_by_name(name, snapshot):
    with pytest.raises(ValueError, match=name):
        Account.restore(snapshot)


def test_only_orders_that_were_begun_can_be_open_in_a_snapshot():
    books = Books()
    record = Finished(number=1, at_ms=1, client_id="x", result=Result(outcome=Outcome.NO_MATCH))
    with pytest.raises(StateInvalid, match="an order that was begun"):
        Account.restore({**books.snapshot(), "open": [encode(record).decode()]})
