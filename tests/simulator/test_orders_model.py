"""Random orders of several accounts among a moving order flow, against a second exchange that shares no code."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymirror.simulator import FlowConfig
from polymirror.simulator.exchange.flow import Change, Group
from polymirror.simulator.exchange.flow import Trade as FlowTrade
from polymirror.simulator.orders.rules import Refused
from polymirror.simulator.orders.trades import Course, SettlementConfig, TradeStatus
from tests.simulator.naive import Book, plain_hash
from tests.simulator.naive_venue import NaiveVenue
from tests.simulator.resting_rig import ME, SHARE, THEM, YOU, Trader, traders

WHO = (ME, YOU, THEM)
PUSD = 300
KINDS = ("GTC", "GTC", "GTC", "GTD", "POST", "FOK", "FAK")

Step = tuple[str, int, bool, int, int, int, str]
WHAT = ("order",) * 12 + ("flow",) * 3 + ("trade", "cancel", "cancel", "split", "merge", "wait")


def random_steps(seed: int, count: int) -> list[Step]:
    """Steps that follow from a seed: lists drawn by hypothesis are short, and most of their orders meet nobody."""
    rng = random.Random(seed)
    return [
        (
            rng.choice(WHAT),
            rng.randrange(3),
            rng.random() < 0.5,
            rng.randrange(2),
            rng.randint(44, 56),
            rng.choice((500, 700, 1_000, 1_234, rng.randint(500, 4_000))),
            rng.choice(KINDS),
        )
        for _ in range(count)
    ]


class Both:
    """The simulator and the plain one, given the same steps."""

    def __init__(self, failing: list[bool]) -> None:
        self.real: Trader = traders(pusd=PUSD, settlement=SettlementConfig(mine_ms=500))
        self.real.empty()
        self.plain = NaiveVenue(dict.fromkeys(WHO, PUSD * SHARE))
        self.failing = failing
        self.fates: dict[str, bool] = {}
        self.pending: list[str] = []
        self.real.broker.trades.course_of = self.course
        self.did: Counter[str] = Counter()
        self.condition = self.real.market.condition_id
        for who in WHO:
            self.convert(who, PUSD // 2 * SHARE)
        for index in (0, 1):
            for price in (3_500, 4_400, 4_800):
                self.flow(index, price, 40 * SHARE)

    def course(self, trade: Any) -> Course:
        number = len(self.fates)
        self.fates[trade.id] = bool(self.failing) and self.failing[number % len(self.failing)]
        self.pending.append(trade.id)
        return Course(fails=self.fates[trade.id])

    # What happens.

    def step(self, step: Step) -> None:
        what, account, buys, token, cents, hundredths, kind = step
        who, price, size = WHO[account], cents * 100, hundredths * SHARE // 100
        if what == "order":
            self.order(who, buys, token, price, size, kind)
        elif what == "flow":
            # The flow never crosses itself: its bids for the two tokens stay below one together.
            self.flow(token, min(price - 1_000 if buys else price, 4_900), 0 if hundredths < 2_000 else size)
        elif what == "trade":
            self.flow_takes(token, buys, price, size)
        elif what == "cancel":
            mine = self.real.broker.open_orders(who)
            if mine:
                order = mine[hundredths % len(mine)]
                assert self.real.broker.cancel(who, order.id) is None
                self.plain.cancel(order.id)
        elif what in {"split", "merge"}:
            self.convert(who, size if what == "split" else -size)
        else:
            self.wait(hundredths % 400)
        self.did[what] += 1

    def order(self, who: str, buys: bool, token: int, price: int, size: int, kind: str) -> None:
        real, plain = self.real, self.plain
        more: dict[str, Any] = {"post_only": True} if kind == "POST" else {}
        if kind == "GTD":
            more = {"expiration_s": real.exchange.now_ms // 1_000 + 100_000}
        rests = kind in {"GTC", "GTD", "POST"}
        name = "GTC" if kind == "POST" else kind
        ticket = real.ticket(who, "BUY" if buys else "SELL", token, price / 100, size / SHARE, name, **more)
        needs, free = (ticket.offered, plain.free(who)) if buys else (ticket.offered, plain.free_shares(who, token))
        crosses = plain.crosses(token, buys, price)
        try:
            real.broker.place(ticket, real.exchange.now_ms)
        except Refused as refused:
            self.refused(refused.text, ticket, needs, free, crosses)
            return
        assert needs <= free
        if rests:
            assert not (crosses and kind == "POST")
            plain.limit(who, ticket.id, token, buys, price, size)
            return
        if kind == "FOK":
            assert plain.spendable(token, ticket.limit, needs) if buys else plain.sellable(token, ticket.limit, size)
        sizes = (None, ticket.offered) if buys else (size, None)
        assert plain.match(who, ticket.id, token, buys, ticket.limit, *sizes)
        self.did[kind] += 1

    def refused(self, text: str, ticket: Any, needs: int, free: int, crosses: bool) -> None:
        """Only for a good reason: the plain exchange finds one too."""
        token = self.real.tokens.index(ticket.token)
        if text.startswith("not enough balance"):
            # The highest fee is 0.07 of the money, and there is something for rounding.
            assert needs + (needs * 8 // 100 + 10_000 if ticket.buys else 0) > free
        elif "post-only" in text:
            assert ticket.post_only
            assert crosses
        elif "FOK" in text:
            possible = self.plain.spendable if ticket.buys else self.plain.sellable
            assert not possible(token, ticket.limit, ticket.offered)
        elif "FAK" in text:
            assert not self.plain.crosses(token, ticket.buys, ticket.limit)
        else:
            # Below the least money, or amounts of a market order that are not on its grid.
            assert "min size: $1" in text or "accuracy" in text or "breaks minimum tick" in text, text
        self.did["refused"] += 1

    def flow(self, side: int, price: int, size: int) -> None:
        self.real.market.planned = Group((Change(side, price, size),))
        self.happens()
        self.plain.flow_sets(side, price, size)

    def flow_takes(self, token: int, buys: bool, price: int, size: int) -> None:
        side, bid = (1 - token, 10_000 - price) if buys else (token, price)
        left = max(0, self.plain.flow_has(side, bid) - size)
        if not self.plain.open:
            # Alone, the flow never plans a trade with what is not there.
            return
        self.real.market.planned = Group((Change(side, bid, left),), FlowTrade(side, bid, size, buys, False))
        self.happens()
        self.plain.flow_takes(token, buys, price, size)

    def happens(self) -> None:
        """Let the flow do what is planned, now and without time to pass."""
        exchange, out = self.real.exchange, []
        self.real.market.trade(exchange.now_ms, out)
        exchange._unsent += out

    def convert(self, who: str, sets: int) -> None:
        claimed = [self.real.ledger.account(who).claimed_shares(token) for token in self.real.tokens]
        if sets > 0:
            possible = sets <= self.plain.free(who) - self.real.ledger.account(who).claimed_cash()
        else:
            possible = all(-sets <= self.plain.free_shares(who, token) - claimed[token] for token in (0, 1))
        act = self.real.broker.split if sets > 0 else self.real.broker.merge
        try:
            act(who, self.condition, abs(sets))
        except Refused:
            assert not possible
            return
        assert possible
        self.plain.split(who, sets)

    def wait(self, ms: int) -> None:
        self.real.wait(ms)
        # In the order of their matching, as they were settled.
        position = 0
        for trade_id in list(self.pending):
            trade = self.real.broker.trades.get(trade_id)
            assert trade is not None
            if trade.status is TradeStatus.MATCHED:
                position += 1
                continue
            self.pending.remove(trade_id)
            assert (trade.status is TradeStatus.FAILED) == self.fates[trade_id]
            if self.fates[trade_id]:
                self.plain.fail(position)
                self.did["failed"] += 1
            else:
                del self.plain.unsettled[position]

    # What must be the same.

    def compare(self) -> None:
        real, plain = self.real, self.plain
        real.wait()
        for token in (0, 1):
            bids, asks = real.exchange.truth(real.tokens[token])
            assert (dict(bids), dict(asks)) == plain.book(token)
            assert not (bids and asks and bids[0][0] >= asks[0][0])
            told = json.loads(real.exchange.rest_book(real.tokens[token]) or "")
            book = Book({x["price"]: x["size"] for x in told["bids"]}, {x["price"]: x["size"] for x in told["asks"]})
            assert book.levels() == (bids, asks)
            again = plain_hash(
                book, self.condition, real.tokens[token], told["timestamp"], told["tick_size"], told["last_trade_price"]
            )
            assert told["hash"] == again
        for who in WHO:
            holdings = real.ledger.account(who)
            assert holdings.cash == plain.cash[who]
            assert [holdings.shares(token) for token in real.tokens] == plain.shares[who]
            assert holdings.cash - holdings.reserved_cash <= plain.free(who)
        assert real.ledger.fees == plain.fees
        assert real.ledger.collateral.get(self.condition, 0) == plain.collateral
        assert {order.id for order in real.broker.open_orders()} == set(plain.open)
        for order_id, matched in plain.matched.items():
            order = real.broker.order(order_id)
            assert order is not None
            assert order.size_matched == matched
        plain.conserved(len(WHO) * PUSD * SHARE)
        real.ledger.audit()

    def end(self, payouts: tuple[int, int]) -> None:
        self.wait(1_000)
        self.compare()
        self.real.exchange.settle(payouts=payouts, resolve_delay_ms=10)
        self.real.wait(1_000)
        for who in WHO:
            self.real.broker.redeem(who, self.condition, 0)
            # Who owes shares of a failed trade owes them still.
            held = [max(0, have) for have in self.plain.shares[who]]
            paid = sum(have * part // sum(payouts) for have, part in zip(held, payouts, strict=True))
            assert self.real.cash(who) == self.plain.cash[who] + paid
            assert self.real.ledger.account(who).reserved == {}
        self.real.ledger.audit()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**9),
    st.integers(1, 120),
    st.lists(st.booleans(), max_size=4),
    st.sampled_from([(1, 0), (0, 1), (1, 1)]),
)
def test_books_hashes_fees_balances_and_positions_are_those_of_a_plain_exchange(
    seed: int, count: int, failing: list[bool], payouts: tuple[int, int]
) -> None:
    both = Both(failing)
    both.compare()
    for step in random_steps(seed, count):
        both.step(step)
        both.compare()
    both.end(payouts)
    both.real.client.finish()
    seen = both.real.client.seen
    assert (seen["hash_right"], seen["top_right"], seen["crossed"]) == (seen["hash"], seen["top"], 0)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 60), st.integers(0, 300))
def test_among_a_lively_flow_nothing_crosses_and_nothing_is_made_or_lost(seed: int, count: int, delay_ms: int) -> None:
    real = traders(seed=seed, pusd=PUSD, flow=FlowConfig(rate=80.0, volatility=0.02), taker_delay_ms=delay_ms)
    for who in WHO:
        real.broker.split(who, real.market.condition_id, PUSD * SHARE // 2)
    for what, account, buys, token, cents, hundredths, kind in random_steps(seed, count):
        who = WHO[account]
        if what == "cancel":
            real.broker.cancel_all(who)
        else:
            more = {"post_only": True} if kind == "POST" else {}
            name = "GTC" if kind in {"POST", "GTD"} else kind
            ticket = real.ticket(who, "BUY" if buys else "SELL", token, cents, hundredths / 100, name, **more)
            with suppress(Refused):
                real.broker.place(ticket, real.exchange.now_ms)
        real.wait(hundredths % 300)
        real.ledger.audit()
        for order in real.broker.open_orders():
            assert 0 <= order.size_matched < order.original_size
    real.checked()
    for who in WHO:
        real.wait(400)
        real.broker.cancel_all(who)
    assert all(real.ledger.account(who).reserved == {} for who in WHO)
    assert real.market.queues is None
    real.checked()
