"""From matches to trades: who gave what to whom, booked in the ledger, and booked back when the chain refuses it.

A :class:`Clearing` turns the deals of a taker (an account, or the order flow) into a trade for each price, books the
fills of everybody in it at once, and lets :class:`~polymirror.simulator.orders.trades.Trades` settle it. Balances move
with the match, because that is what the venue's order book goes by: who has bought may sell at once. Until a block has
it the fill is a claim, and a trade that FAILED is booked back (protocol.md 11: a matched order is a claim, not a
position).
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.orders.entries import Fill
from polymirror.simulator.orders.ledger import OUTSIDE
from polymirror.simulator.orders.trades import MakerFill, Trade, Trades, TradeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.exchange.agenda import Agenda
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.exchange.matching import Part, Taking
    from polymirror.simulator.orders.ledger import Ledger
    from polymirror.simulator.orders.rules import FeeTerms
    from polymirror.simulator.orders.states import BookedOrder
    from polymirror.simulator.orders.trades import SettlementConfig


class Clearing:
    """Books matches and their undoing. ``told`` hears of each new status, ``undone`` of fills that are booked back."""

    def __init__(
        self,
        ledger: Ledger,
        agenda: Agenda,
        config: SettlementConfig,
        *,
        told: Callable[[Trade, int], None],
        undone: Callable[[Sequence[Fill], int], None],
    ) -> None:
        self.trades: Trades = Trades(agenda, config, self._changed)
        self._ledger = ledger
        self._told, self._undone = told, undone
        # By trade: the fills of everybody in it, until the chain has it or has refused it.
        self._unsettled: dict[str, list[Fill]] = {}
        self._taken_by_flow = 0

    def clear(
        self,
        market: Market,
        taking: Taking,
        at_ms: int,
        *,
        taker: BookedOrder | None,
        fee: FeeTerms,
    ) -> tuple[list[Trade], list[BookedOrder]]:
        """Book what a taker got; ``taker`` is ``None`` when the order flow took.

        Returns the trades, which :meth:`settle` has to be called with, and the orders that were makers in them.
        """
        index, buys = taking.index, taking.buys
        trades, touched = [], {}
        for number, deal in enumerate(taking.deals):
            if taker is None:
                if not any(part.resting for part in deal.parts):
                    continue
                name, self._taken_by_flow = f"flow/{self._taken_by_flow}", self._taken_by_flow + 1
                order_id, address = _made_up(f"taker/{market.condition_id}/{name}"), OUTSIDE
                trade_id = _made_up(f"{market.condition_id}/{name}")
            else:
                order_id, address = taker.id, taker.address
                trade_id = _made_up(f"{taker.id}/{number}")
            charged = fee.fee(deal.price, deal.size)
            own = Fill(
                id=trade_id,
                order_id=order_id,
                address=address,
                market=market.condition_id,
                token=market.tokens[index],
                outcome=OUTCOMES[index],
                buys=buys,
                price=deal.price,
                shares=deal.size,
                money=deal.money,
                fee=charged if buys else min(charged, deal.money),
                at_ms=at_ms,
            )
            fills, makers = [own], []
            for place, part in enumerate(deal.parts, start=1):
                fill = _maker_fill(own, part, market, place)
                fills.append(fill)
                makers.append(_maker(fill))
                if part.resting is not None:
                    maker: BookedOrder = part.resting.order
                    maker.fills.append(fill)
                    maker.size_matched += fill.shares
                    maker.changed_ms = at_ms
                    touched[maker.id] = maker
            self._ledger.book(fills, claimed=True)
            if taker is not None:
                taker.fills.append(own)
                taker.size_matched += own.shares
            self._unsettled[trade_id] = fills
            trades.append(_trade(own, tuple(makers)))
        return trades, list(touched.values())

    def settle(self, trades: Sequence[Trade], at_ms: int) -> None:
        """Begin to settle trades that are booked; from now on they can be looked up."""
        for trade in trades:
            self.trades.add(trade, at_ms)

    def _changed(self, trade: Trade, at_ms: int) -> None:
        if trade.status is TradeStatus.MINED:
            self._ledger.confirm(self._unsettled.pop(trade.id))
        undone: list[Fill] = []
        if trade.status is TradeStatus.FAILED:
            undone = self._unsettled.pop(trade.id)
            self._ledger.reverse(undone)
        self._told(trade, at_ms)
        if undone:
            self._undone(undone, at_ms)


def _maker_fill(own: Fill, part: Part, market: Market, place: int) -> Fill:
    """What a taker's fill is for the maker of this part of it, in the maker's own terms."""
    resting = part.resting
    trade_id = own.id
    if resting is None:
        order_id, address, index, buys = _made_up(f"maker/{trade_id}/{place}"), OUTSIDE, -1, not own.buys
        token, outcome, price, money = own.token, own.outcome, own.price, part.money
    else:
        order: BookedOrder = resting.order
        order_id, address, index, buys = order.id, order.address, resting.index, order.buys
        token, outcome = market.tokens[index], OUTCOMES[index]
        price = resting.price if buys else ONE_PRICE - resting.price
        # Both buy: together they pay for what a pair is worth. Both sell: together they get it.
        money = part.money if token == own.token else part.size - part.money
    return Fill(
        id=f"{trade_id}/{place}",
        order_id=order_id,
        address=address,
        market=own.market,
        token=token,
        outcome=outcome,
        buys=buys,
        price=price,
        shares=part.size,
        money=money,
        fee=0,
        at_ms=own.at_ms,
    )


def _maker(fill: Fill) -> MakerFill:
    return MakerFill(
        order_id=fill.order_id,
        address=fill.address,
        token=fill.token,
        outcome=fill.outcome,
        buys=fill.buys,
        price=fill.price,
        shares=fill.shares,
    )


def _trade(own: Fill, makers: tuple[MakerFill, ...]) -> Trade:
    return Trade(
        id=own.id,
        taker_order_id=own.order_id,
        taker_address=own.address,
        market=own.market,
        token=own.token,
        outcome=own.outcome,
        buys=own.buys,
        price=own.price,
        shares=own.shares,
        money=own.money,
        fee=own.fee,
        status=TradeStatus.MATCHED,
        matched_ms=own.at_ms,
        updated_ms=own.at_ms,
        transaction_hash="",
        makers=makers,
    )


def _made_up(name: str) -> str:
    return "0x" + sha256(name.encode()).hexdigest()
