"""The books of account balance to the unit, and the audit notices whatever does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from polymirror.errors import ConfigError
from polymirror.simulator.orders import ledger as ledger_module
from polymirror.simulator.orders.entries import Position
from polymirror.simulator.orders.ledger import ONE_PUSD, OUTSIDE, Fill, Ledger, LedgerError

WHO = "0xabc"
UP, DOWN = "up", "down"


def fill(number: int = 0, **changed: Any) -> Fill:
    values = {
        "id": f"t{number}",
        "order_id": f"o{number}",
        "address": WHO,
        "market": "m",
        "token": UP,
        "outcome": "Up",
        "buys": True,
        "price": 5_000,
        "shares": 2_000_000,
        "money": 1_000_000,
        "fee": 35_000,
        "at_ms": 1,
    }
    return Fill(**{**values, **changed})


def bought() -> Ledger:
    ledger = Ledger()
    ledger.deposit(WHO, 10 * ONE_PUSD)
    ledger.reserve(WHO, "o0", money=2 * ONE_PUSD)
    ledger.settle(WHO, "o0", [fill()])
    return ledger


def test_a_fill_moves_the_money_the_fee_and_the_shares_and_releases_the_reserve() -> None:
    ledger = bought()
    holdings = ledger.account(WHO)
    assert (holdings.cash, holdings.fees, holdings.reserved_cash) == (8_965_000, 35_000, 0)
    assert holdings.pusd == Decimal("8.965")
    assert holdings.shares("up") == 2_000_000
    ledger.audit()


def test_a_sale_brings_the_money_less_the_fee_and_an_empty_position_is_gone() -> None:
    ledger = bought()
    ledger.reserve(WHO, "o1", token=UP, shares=2_000_000)
    ledger.settle(WHO, "o1", [fill(1, buys=False, money=1_200_000)])
    assert ledger.account(WHO).cash == 10 * ONE_PUSD - 1_035_000 + 1_165_000
    assert ledger.account(WHO).positions == {}
    ledger.audit()


def test_winning_shares_are_worth_a_dollar_once_and_losing_ones_nothing() -> None:
    ledger = bought()
    ledger.reserve(WHO, "o1", money=2 * ONE_PUSD)
    ledger.settle(WHO, "o1", [fill(1, token=DOWN)])
    assert [each.payout for each in ledger.redeem(WHO, "m", "up", 5)] == [2_000_000, 0]
    assert ledger.redeem(WHO, "m", "up", 6) == []
    assert ledger.account(WHO).positions == {}
    assert ledger.account(WHO).cash == 10 * ONE_PUSD - 2 * 1_035_000 + 2 * ONE_PUSD
    ledger.audit()


def test_what_orders_in_flight_may_spend_cannot_be_reserved_again() -> None:
    ledger = bought()
    ledger.reserve(WHO, "a", money=8 * ONE_PUSD)
    ledger.reserve(WHO, "b", token=UP, shares=1_500_000)
    for wanted in ({"money": ONE_PUSD}, {"token": "up", "shares": 500_001}, {"token": "down", "shares": 1}):
        with pytest.raises(LedgerError, match="needs"):
            ledger.reserve(WHO, "c", **wanted)  # type: ignore[arg-type]
    assert set(ledger.account(WHO).reserved) == {"a", "b"}
    ledger.audit()


def test_an_order_reserves_once() -> None:
    ledger = bought()
    ledger.reserve(WHO, "a", money=1)
    for again in ({"money": 1}, {"money": -1}):
        with pytest.raises(LedgerError, match="again"):
            ledger.reserve(WHO, "a" if again["money"] > 0 else "b", **again)


@pytest.mark.parametrize(
    "strange",
    [
        {"money": 1_965_001},
        {"address": "0xother"},
        {"order_id": "o9"},
        {"buys": False},
    ],
)
def test_fills_beyond_what_was_reserved_are_not_booked(strange: dict[str, Any]) -> None:
    ledger = Ledger()
    ledger.deposit(WHO, 10 * ONE_PUSD)
    ledger.reserve(WHO, "o0", money=2 * ONE_PUSD)
    with pytest.raises(LedgerError, match="o0"):
        ledger.settle(WHO, "o0", [fill(**strange)])
    assert ledger.account(WHO).cash == 10 * ONE_PUSD
    assert ledger.account(WHO).fills == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda h: setattr(h, "cash", h.cash + 1), "cash"),
        (lambda h: setattr(h, "fees", h.fees - 1), "fees"),
        (lambda h: setattr(h.positions["up"], "shares", 1), "shares of up"),
        (lambda h: h.positions.clear(), "shares of up"),
        (lambda h: h.fills.clear(), "cash"),
        (lambda h: h.fills.__setitem__(0, evolve(h.fills[0], shares=1)), "shares of up"),
        (lambda h: h.reserved.update(x=(h.cash + 1, "", 0)), "reserved"),
    ],
)
def test_the_audit_notices_any_difference_of_one_unit(damage: Any, words: str) -> None:
    ledger = bought()
    damage(ledger.account(WHO))
    with pytest.raises(LedgerError, match=words):
        ledger.audit()


def test_the_audit_notices_shares_that_were_redeemed_for_something_between_nothing_and_a_dollar() -> None:
    ledger = bought()
    [done] = ledger.redeem(WHO, "m", UP, 5)
    holdings = ledger.account(WHO)
    holdings.redemptions = [evolve(done, payout=done.payout - 1)]
    holdings.cash -= 1
    with pytest.raises(LedgerError, match="redeemed for 1999999"):
        ledger.audit()


@pytest.mark.parametrize("whose", [WHO, OUTSIDE])
def test_the_audit_notices_shares_that_come_from_nowhere_whoever_has_them(whose: str) -> None:
    ledger = bought()
    ledger.convert(WHO, "m", {UP: "Up", DOWN: "Down"}, ONE_PUSD, 1)
    ledger.redeem(WHO, "m", UP, 1)
    ledger.audit()
    position = Position("m", "Up", ONE_PUSD)
    ledger.account(whose).positions[UP] = position
    if whose == WHO:
        ledger.account(WHO).fills.append(fill(9, shares=ONE_PUSD, money=0, fee=0))
    with pytest.raises(LedgerError, match="up"):
        ledger.audit()


def test_the_audit_notices_a_fill_that_is_booked_twice() -> None:
    ledger = bought()
    ledger.reserve(WHO, "o0", money=2 * ONE_PUSD)
    ledger.settle(WHO, "o0", [fill()])
    with pytest.raises(LedgerError, match="twice"):
        ledger.audit()


@pytest.mark.parametrize(
    "amount", [1.5, "0.0000001", -1, 0, True, "ten", "NaN", Decimal("Infinity"), Decimal(10) ** 50]
)
def test_a_deposit_is_a_whole_number_of_units(amount: Any) -> None:
    with pytest.raises(ConfigError, match="deposit"):
        Ledger().deposit(WHO, amount)


def test_a_full_ledger_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ENTRIES", 1)
    assert not Ledger().full
    assert bought().full


Step = tuple[str, str, int, int, int]
STEPS = st.tuples(
    st.sampled_from(["buy", "sell", "redeem", "deposit"]),
    st.sampled_from(["up", "down"]),
    st.integers(1, 9_999),
    st.integers(1, 50 * ONE_PUSD),
    st.integers(0, 20_000),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_nothing_is_made_or_lost(steps: list[Step]) -> None:
    ledger = Ledger()
    ledger.deposit(WHO, 20 * ONE_PUSD)
    # What the other side of every trade, the treasury of fees and the one that pays winners have got.
    others = fees = payers = 0
    brought = 20 * ONE_PUSD
    for number, (what, token, price, shares, asked) in enumerate(steps):
        money = price * shares // 10_000
        order = f"o{number}"
        if what == "deposit":
            ledger.deposit(WHO, shares)
            brought += shares
        elif what == "redeem":
            payers += sum(each.payout for each in ledger.redeem(WHO, "m", "up", number))
        else:
            buys = what == "buy"
            try:
                if buys:
                    ledger.reserve(WHO, order, money=money + asked)
                else:
                    ledger.reserve(WHO, order, token=token, shares=shares)
            except LedgerError:
                continue
            fee = min(asked, money)
            ledger.settle(
                WHO, order, [fill(number, token=token, buys=buys, price=price, shares=shares, money=money, fee=fee)]
            )
            others += money if buys else -money
            fees += fee
        ledger.audit()
        holdings = ledger.account(WHO)
        assert holdings.cash + others + fees - payers == brought
        assert holdings.cash >= 0
        assert all(position.shares > 0 for position in holdings.positions.values())
