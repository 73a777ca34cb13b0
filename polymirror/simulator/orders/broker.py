"""The simulated venue's order handling: what is accepted, when it is matched, what that costs, and what rests.

A :class:`Broker` takes checked orders of accounts, reserves what they may spend, holds those that take back for the
taker delay, matches them, and leaves in the book what rests, where the order flow and other accounts meet it. It
cancels orders: when their owner asks, when their time is up, when their market ends, when what they are paid with turns
out never to have moved. Splits, merges and redemptions go through it as well. Whoever listens hears of every change.

It knows nothing of HTTP: :mod:`polymirror.simulator.orders.desk` calls it. Times are the exchange's, in Unix
milliseconds; what happens later is an event of the exchange's agenda, so whoever steps the exchange lets it happen. An
account's order is matched with its own resting orders like with any other: nothing known of the venue says otherwise.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.exchange.market import Phase
from polymirror.simulator.exchange.matching import TakerOrder
from polymirror.simulator.exchange.queue import Resting
from polymirror.simulator.orders.clearing import Clearing
from polymirror.simulator.orders.config import BrokerConfig, MarketTerms
from polymirror.simulator.orders.ledger import LedgerError
from polymirror.simulator.orders.rules import (
    CROSSES,
    CRUMBS,
    FAK_KILLED,
    FOK_KILLED,
    FeeTerms,
    Refused,
    check_amounts,
    check_least,
    check_terms,
)
from polymirror.simulator.orders.states import BookedOrder, OrderEvent, OrderState, TradeEvent
from polymirror.simulator.orders.trades import TradeStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.exchange.matching import Taking
    from polymirror.simulator.orders.entries import Conversion, Fill, Redemption
    from polymirror.simulator.orders.judge import OrderJudge
    from polymirror.simulator.orders.ledger import Ledger
    from polymirror.simulator.orders.rules import Ticket
    from polymirror.simulator.orders.states import Event, OrderChange
    from polymirror.simulator.orders.trades import Trade, Trades

__all__ = ["BookedOrder", "Broker", "BrokerConfig", "MarketTerms", "OrderState"]

MAX_ORDERS: Final = 200_000
"""More orders than this are not kept; the broker refuses further ones rather than forget one."""

FINEST_TICK: Final = 10
"""No market's grid is finer, in 1/10,000."""

DISABLED: Final = "Trading is currently disabled. Check polymarket.com for updates"
POST_ONLY: Final = "post-only mode: only post-only orders and cancels are allowed"
GONE: Final = "order can't be found - already canceled or matched"
IN_FLIGHT: Final = "order is delayed and can't be canceled"


class Broker:
    """Takes orders for one exchange and books them in one ledger."""

    def __init__(
        self, exchange: Exchange, ledger: Ledger, config: BrokerConfig | None = None, *, judge: OrderJudge | None = None
    ) -> None:
        self.exchange = exchange
        self.ledger = ledger
        self.config: BrokerConfig = config or BrokerConfig()
        # What differs for single markets, by condition id; may be changed while it runs.
        self.terms: dict[str, MarketTerms] = {}
        self._judge = judge
        self._orders: dict[str, BookedOrder] = {}
        # Held back or in the book, oldest first.
        self._open: dict[str, BookedOrder] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._clearing = Clearing(
            ledger, exchange.agenda, self.config.settlement, told=self._tell_trade, undone=self._undone
        )
        self.trades: Trades = self._clearing.trades
        # Orders that were sent again although they had been accepted, and refused.
        self.duplicates_refused: int = 0
        exchange.flow_took = self._flow_took
        exchange.trading_ended = self._trading_ended

    def listen(self, callback: Callable[[Event], None]) -> None:
        """Call this with everything that happens to orders and trades from now on, in its order."""
        self._listeners.append(callback)

    # Orders.

    def place(self, ticket: Ticket, now_ms: int, *, doomed: bool = False) -> BookedOrder:
        """Accept an order: matched, held back, or put into the book. Raises Refused when the venue would not take it.

        A FOK or FAK order that is matched at once and finds nothing is kept as unmatched, and Refused is raised, as
        the venue does. ``doomed``: an order that takes will find no match (a fault).
        """
        at_ms = self.exchange.advance(now_ms)
        if ticket.id in self._orders:
            self.duplicates_refused += 1
            raise Refused(400, f"order {ticket.id} is invalid. Duplicated.")
        market = self._open_market(ticket, at_ms)
        check_terms(ticket, at_ms)
        check_amounts(ticket, market.tick, least_money=self.config.least_money)
        takes = self._takes(ticket)
        delay_ms = self.taker_delay_ms(market.condition_id) if takes else 0
        self._reserve(ticket, market, takes=takes)
        outcome = OUTCOMES[market.tokens.index(ticket.token)]
        order = BookedOrder(ticket, ticket.maker, market.condition_id, outcome, at_ms, doomed=doomed and takes)
        order.state = OrderState.DELAYED if delay_ms else OrderState.LIVE
        order.changed_ms = at_ms
        self._orders[order.id] = self._open[order.id] = order
        if self._judge is not None:
            self._judge.accepted(order)
        if ticket.ends_ms:
            self.exchange.agenda.add(ticket.ends_ms, partial(self._expire, order))
        if not takes:
            order.resting = _resting(order, market)
            self.exchange.rest(ticket.token, order.resting, at_ms)
        self._tell(order, "PLACEMENT", at_ms)
        if delay_ms:
            self.exchange.agenda.add(at_ms + delay_ms, partial(self._match_later, order))
        elif takes:
            self._match(order, at_ms)
            if order.state is OrderState.UNMATCHED and not ticket.rests:
                raise Refused(400, FOK_KILLED if ticket.all_or_nothing else FAK_KILLED)
        return order

    def order(self, order_id: str) -> BookedOrder | None:
        """An accepted order as it is now; ``None`` if no such order was ever accepted."""
        return self._orders.get(order_id)

    def open_orders(self, address: str | None = None) -> list[BookedOrder]:
        """Orders that are held back or in the book, oldest first, of one account or of all."""
        return [order for order in self._open.values() if address in {None, order.address}]

    def taker_delay_ms(self, market: str) -> int:
        """How long an order that takes is held back in this market (a condition id)."""
        terms = self.terms.get(market)
        delay_ms = None if terms is None else terms.taker_delay_ms
        if delay_ms is None and (known := self.exchange.market_by_condition(market)) is not None:
            delay_ms = None if known.kind.taker_delay else 0
        return self.config.taker_delay_ms if delay_ms is None else delay_ms

    def fee_terms(self, market: str) -> FeeTerms:
        """The taker fee of this market (a condition id)."""
        terms = self.terms.get(market)
        if terms is not None and terms.fee is not None:
            return terms.fee
        known = self.exchange.market_by_condition(market) if self.exchange.config.pairs is not None else None
        return self.config.fee if known is None else FeeTerms(rate=Decimal(known.kind.fee).scaleb(-4))

    # Cancels.

    def cancel(self, address: str, order_id: str, now_ms: int = 0) -> str | None:
        """Withdraw an account's order; return why not, if it cannot be. Raises Refused while the engine is away."""
        return self.cancel_orders(address, [order_id], now_ms)[1].get(order_id)

    def cancel_all(self, address: str, now_ms: int = 0) -> tuple[list[str], dict[str, str]]:
        """Withdraw all open orders of an account: the ids of those withdrawn, and why others were not."""
        return self.cancel_market(address, now_ms=now_ms)

    def cancel_market(
        self, address: str, market: str | None = None, token: str | None = None, now_ms: int = 0
    ) -> tuple[list[str], dict[str, str]]:
        """Withdraw an account's orders of a market (a condition id), or for a token; both ``None``: all of them."""
        self._ready(now_ms)
        wanted = [o for o in self.open_orders(address) if market in {None, o.market} and token in {None, o.token}]
        return self.cancel_orders(address, [order.id for order in wanted], now_ms)

    def cancel_orders(
        self, address: str, order_ids: Iterable[str], now_ms: int = 0
    ) -> tuple[list[str], dict[str, str]]:
        """Withdraw orders of an account: the ids of those withdrawn, and why others were not."""
        at_ms = self._ready(now_ms)
        found: list[BookedOrder] = []
        kept: dict[str, str] = {}
        for order_id in dict.fromkeys(order_ids):
            order = self._open.get(order_id)
            if order is None or order.address != address:
                kept[order_id] = GONE
            elif order.state is OrderState.DELAYED:
                kept[order_id] = IN_FLIGHT
            else:
                found.append(order)
        self._withdraw(found, OrderState.CANCELED, at_ms)
        return [order.id for order in found], kept

    # What accounts do on the chain.

    def split(self, address: str, market: str, amount: int, now_ms: int = 0) -> Conversion:
        """Turn money into so many shares (1/1,000,000) of both tokens. Raises Refused, by what is free and settled."""
        return self._convert(address, market, amount, 1, now_ms)

    def merge(self, address: str, market: str, amount: int, now_ms: int = 0) -> Conversion:
        """Turn so many shares (1/1,000,000) of both tokens into money. Raises Refused, by what is free and settled."""
        return self._convert(address, market, amount, -1, now_ms)

    def has_account(self, address: str) -> bool:
        """Whether an address has ever had anything."""
        return address in self.ledger.accounts

    def redeem(self, address: str, market: str, now_ms: int) -> list[Redemption]:
        """Give back an account's shares of a resolved market. Raises Refused when it is not resolved, or unknown.

        Doing it again does nothing. At the venue this is a transaction of the account's own.
        """
        at_ms = max(now_ms, self.exchange.now_ms)
        payouts = self.exchange.payouts(market)
        tokens = self._tokens_of(market)
        if payouts is None or tokens is None:
            raise Refused(404, "market not found") if tokens is None else Refused(400, "market is not resolved")
        whole = sum(payouts)
        worth = {token: (part, whole) for token, part in zip(tokens, payouts, strict=True)}
        return self.ledger.redeem(address, market, "", at_ms, payouts=worth)

    def _convert(self, address: str, market: str, amount: int, sign: int, now_ms: int) -> Conversion:
        tokens = self._tokens_of(market)
        if tokens is None:
            raise Refused(404, "market not found")
        if self.exchange.payouts(market) is not None:
            raise Refused(400, "market is resolved")
        if type(amount) is not int or amount <= 0 or self.ledger.full:
            raise Refused(400, "invalid amount")
        at_ms = max(now_ms, self.exchange.now_ms)
        names = dict(zip(tokens, OUTCOMES, strict=True))
        try:
            return self.ledger.convert(address, market, names, sign * amount, at_ms)
        except LedgerError as error:
            raise Refused(400, f"not enough balance: {error}") from error

    def _tokens_of(self, market: str) -> tuple[str, str] | None:
        known = self.exchange.market_by_condition(market) or self.exchange.round_of(market)
        return None if known is None else known.tokens

    # Steps.

    def _ready(self, now_ms: int) -> int:
        at_ms = self.exchange.advance(now_ms)
        if at_ms < self.exchange.paused_until_ms:
            raise Refused(425, "Too Early")
        return at_ms

    def _open_market(self, ticket: Ticket, at_ms: int) -> Market:
        exchange = self.exchange
        if len(self._orders) >= MAX_ORDERS or self.ledger.full:
            raise Refused(503, f"{DISABLED} (the simulator keeps no more orders)")
        if at_ms < exchange.paused_until_ms:
            raise Refused(425, "Too Early")
        if at_ms < exchange.post_only_until_ms and not ticket.post_only:
            raise Refused(503, POST_ONLY, "post_only_mode")
        if not exchange.knows(ticket.token):
            raise Refused(400, f"the orderbook {ticket.token} does not exist")
        market = exchange.market_of(ticket.token)
        if market.phase is Phase.RESOLVED:
            raise Refused(400, f"the orderbook {ticket.token} does not exist")
        if market.phase is not Phase.TRADING:
            raise Refused(400, "the market is not yet ready to process new orders")
        return market

    def _takes(self, ticket: Ticket) -> bool:
        """Whether an order is matched rather than put into the book. Raises Refused when it may not be."""
        if not ticket.rests:
            return True
        takes = self.exchange.crosses(ticket.token, buys=ticket.buys, price=ticket.limit)
        if takes:
            if ticket.post_only:
                raise Refused(400, CROSSES)
            check_least(ticket, self.config.least_money)
        return takes

    def _reserve(self, ticket: Ticket, market: Market, *, takes: bool) -> None:
        """Set aside what the order may spend, the highest fee included. Raises Refused when it is not there."""
        account = self.ledger.account(ticket.maker)
        if ticket.buys:
            balance, active = account.cash, account.reserved_cash
            fee, needed = self.fee_terms(market.condition_id), ticket.offered
            if ticket.rests and takes:
                needed += CRUMBS + fee.most(ticket.limit, ticket.shares)
            elif takes:
                needed += fee.most_for(ticket.offered, ticket.limit, FINEST_TICK)
        else:
            balance, active = account.shares(ticket.token), account.reserved_shares(ticket.token)
            needed = ticket.offered
        if needed > balance - active:
            numbers = f"balance: {balance}, sum of active orders: {active}, order amount (inc. fees): {needed}"
            raise Refused(400, f"not enough balance / allowance: the balance is not enough -> {numbers}")
        if ticket.buys:
            self.ledger.reserve(ticket.maker, ticket.id, money=needed)
        else:
            self.ledger.reserve(ticket.maker, ticket.id, token=ticket.token, shares=needed)

    def _match_later(self, order: BookedOrder, at_ms: int, out: Output) -> None:
        del out  # the exchange sends what the trade changes
        self._match(order, at_ms)

    def _is_ready(self, order: BookedOrder, at_ms: int) -> bool:
        """Whether an order meets the book now; if not, it has ended, or its time comes later."""
        ticket, exchange = order.ticket, self.exchange
        market = exchange.market_of(ticket.token) if exchange.knows(ticket.token) else None
        if order.state.final:
            # Its market ended while it was held back.
            return False
        if market is None or market.phase is not Phase.TRADING:
            ended = OrderState.MARKET_RESOLVED
        elif ticket.ends_ms and at_ms >= ticket.ends_ms:
            ended = OrderState.EXPIRED
        elif ticket.rests and not exchange.takes_orders(market, at_ms):
            # The engine is away; what rests is matched when it is back.
            back_ms = max(exchange.paused_until_ms, exchange.post_only_until_ms)
            exchange.agenda.add(back_ms, partial(self._match_later, order))
            return False
        elif self._is_short(order):
            # A trade that failed meanwhile took away what was set aside.
            ended = OrderState.NOT_ENOUGH_BALANCE
        elif order.doomed:
            ended = OrderState.UNMATCHED
        else:
            return True
        self._end(order, ended, at_ms)
        return False

    def _match(self, order: BookedOrder, at_ms: int) -> None:
        if not self._is_ready(order, at_ms):
            return
        ticket, exchange = order.ticket, self.exchange
        market = exchange.market_of(ticket.token)
        rest = _resting(order, market) if ticket.rests else None
        taking = exchange.match(ticket.token, _taker_order(ticket), at_ms, rest=rest)
        fee = self.fee_terms(order.market)
        trades, makers = self._clearing.clear(market, taking, at_ms, taker=order, fee=fee)
        self._close_matched(makers)
        order.changed_ms = at_ms
        state = OrderState.MATCHED if taking.deals else OrderState.UNMATCHED
        if rest is not None and rest.left:
            state = OrderState.LIVE if rest.waits and self._keep(order, rest) else OrderState.NOT_ENOUGH_BALANCE
        if state is OrderState.LIVE:
            order.state, order.resting = state, rest
        elif rest is not None and rest.waits:
            exchange.withdraw(ticket.token, [rest], at_ms)
        if state is not OrderState.LIVE:
            self._close(order, state)
        self._clearing.settle(trades, at_ms)
        for each in makers:
            self._tell(each, "UPDATE", at_ms)
        self._tell(order, "UPDATE" if order.size_matched or not order.state.final else "CANCELLATION", at_ms)

    def _keep(self, order: BookedOrder, rest: Resting) -> bool:
        """Keep reserved what the rest of an order needs; whether it is there."""
        if not order.buys:
            self.ledger.keep(order.address, order.id, shares=rest.left)
            return True
        needed = -(-order.price * rest.left // ONE_PRICE)
        enough = needed <= self.ledger.account(order.address).reserved.get(order.id, (0, "", 0))[0]
        if enough:
            self.ledger.keep(order.address, order.id, money=needed)
        return enough

    def _flow_took(self, market: Market, takings: Iterable[Taking], at_ms: int) -> None:
        """The order flow met orders of accounts, one of them perhaps several times in one batch.

        Everything is booked before anything is closed or settled: the book is further than the books of account.
        """
        fee = self.fee_terms(market.condition_id)
        trades: list[Trade] = []
        met: dict[str, BookedOrder] = {}
        for taking in takings:
            made, makers = self._clearing.clear(market, taking, at_ms, taker=None, fee=fee)
            trades += made
            met |= {order.id: order for order in makers}
        self._close_matched(met.values())
        self._clearing.settle(trades, at_ms)
        for order in met.values():
            self._tell(order, "UPDATE", at_ms)

    def _close_matched(self, makers: Iterable[BookedOrder]) -> None:
        for order in makers:
            if order.resting is not None and not order.resting.left:
                self._close(order, OrderState.MATCHED)

    # Ends.

    def _close(self, order: BookedOrder, state: OrderState) -> None:
        """Nothing will become of an order any more; what it had reserved is free."""
        order.state, order.resting = state, None
        del self._open[order.id]
        self.ledger.keep(order.address, order.id)
        self._judge_end(order)

    def _judge_end(self, order: BookedOrder) -> None:
        """Tell the judge what an order that is over moved; a trade that failed on the chain has moved nothing."""
        if self._judge is not None and order.id not in self._open:
            trades = [(fill.shares, self.trades.get(fill.trade_id)) for fill in order.fills]
            failed = sum(shares for shares, trade in trades if trade is not None and trade.status is TradeStatus.FAILED)
            self._judge.finished(order, order.shares - failed)

    def _end(self, order: BookedOrder, state: OrderState, at_ms: int) -> None:
        order.changed_ms = at_ms
        self._close(order, state)
        self._tell(order, "CANCELLATION", at_ms)

    def _withdraw(self, orders: Sequence[BookedOrder], state: OrderState, at_ms: int) -> None:
        """Take orders out of the book, those of a market in one batch."""
        by_market: dict[str, list[BookedOrder]] = {}
        for order in orders:
            by_market.setdefault(order.market, []).append(order)
        for some in by_market.values():
            places = [order.resting for order in some if order.resting is not None]
            self.exchange.withdraw(some[0].token, places, at_ms)
        for order in orders:
            self._end(order, state, at_ms)

    def _expire(self, order: BookedOrder, at_ms: int, out: Output) -> None:
        del out  # the exchange sends what it changes
        if order.state is OrderState.LIVE:
            self._withdraw([order], OrderState.EXPIRED, at_ms)

    def _trading_ended(self, market: Market, at_ms: int) -> None:
        for order in [o for o in self._open.values() if o.market == market.condition_id]:
            self._end(order, OrderState.MARKET_RESOLVED, at_ms)

    def _undone(self, fills: Sequence[Fill], at_ms: int) -> None:
        """Cancel, youngest first, what an account can no longer pay, because a trade of it failed."""
        for name in {fill.order_id for fill in fills} & self._orders.keys():
            self._judge_end(self._orders[name])
        for address in {fill.address for fill in fills if fill.address in self.ledger.accounts}:
            for order in reversed(self.open_orders(address)):
                # What is held back is looked at when its time comes.
                if order.resting is not None and self._is_short(order):
                    self._withdraw([order], OrderState.NOT_ENOUGH_BALANCE, at_ms)

    def _is_short(self, order: BookedOrder) -> bool:
        """Whether the account of an order has less of what pays for it than its open orders may spend."""
        account = self.ledger.account(order.address)
        if order.buys:
            return account.reserved_cash > account.cash
        return account.reserved_shares(order.token) > account.shares(order.token)

    # News.

    def _tell(self, order: BookedOrder, kind: OrderChange, at_ms: int) -> None:
        if self._listeners:
            event = OrderEvent(order, kind, at_ms)
            for listener in self._listeners:
                listener(event)

    def _tell_trade(self, trade: Trade, at_ms: int) -> None:
        if self._listeners:
            for address in trade.addresses:
                event = TradeEvent(trade, at_ms, address)
                for listener in self._listeners:
                    listener(event)


def _resting(order: BookedOrder, market: Market) -> Resting:
    """The place of an order in the book: an order to sell one token is a bid for the other."""
    index = market.tokens.index(order.token)
    side, price = (index, order.price) if order.buys else (1 - index, ONE_PRICE - order.price)
    return Resting(order, side, price, order.ticket.shares, index)


def _taker_order(ticket: Ticket) -> TakerOrder:
    if not ticket.buys:
        return TakerOrder(buys=False, limit=ticket.limit, size=ticket.offered, all_or_nothing=ticket.all_or_nothing)
    if ticket.rests:
        return TakerOrder(buys=True, limit=ticket.limit, size=ticket.asked, money=ticket.offered + CRUMBS)
    # The venue spends the money: cheaper than the limit it gets more shares (protocol.md 11).
    return TakerOrder(buys=True, limit=ticket.limit, money=ticket.offered, all_or_nothing=ticket.all_or_nothing)
