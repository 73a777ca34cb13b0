"""The simulated venue's order handling: what is accepted, when it is matched, and what that costs.

A :class:`Broker` takes checked orders of accounts (FOK and FAK, nothing that rests), reserves what they may spend,
holds them back for the taker delay where the venue does, matches them against the exchange's makers, and books the
fills in the :class:`~polymirror.simulator.orders.ledger.Ledger`. Resolved markets are redeemed here. It knows nothing
of HTTP: :mod:`polymirror.simulator.orders.desk` calls it. Times are the exchange's, in Unix milliseconds; a delayed
match is an event of the exchange's agenda, so whoever steps the exchange lets it happen.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.exchange.market import Phase
from polymirror.simulator.orders.ledger import ONE_PUSD, Fill
from polymirror.simulator.orders.rules import FAK_KILLED, FOK_KILLED, FeeTerms, Refused, check_amounts, money_of

if TYPE_CHECKING:
    from attrs import Attribute

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.orders.judge import OrderJudge
    from polymirror.simulator.orders.ledger import Ledger, Redemption
    from polymirror.simulator.orders.rules import Ticket

MAX_ORDERS: Final = 200_000
"""More orders than this are not kept; the broker refuses further ones rather than forget one."""

DISABLED: Final = "Trading is currently disabled. Check polymarket.com for updates"
POST_ONLY: Final = "post-only mode: only post-only orders and cancels are allowed"


class OrderState(Enum):
    """Where an accepted order is; the value is the venue's word."""

    DELAYED = "DELAYED"
    """In flight: held back, not matched yet. It cannot be withdrawn."""
    MATCHED = "MATCHED"
    UNMATCHED = "UNMATCHED"
    """Over without a fill."""
    MARKET_RESOLVED = "CANCELED_MARKET_RESOLVED"
    """Over without a fill: the market stopped trading while it was held back."""


def _delay(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 60_000:
        raise ConfigError(attribute.name, value, "a whole number between 0 and 60000 milliseconds")


def _least(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100 * ONE_PUSD:
        raise ConfigError(attribute.name, value, f"a whole number between 0 and {100 * ONE_PUSD} units of money")


@frozen(kw_only=True)
class BrokerConfig:
    """The venue's terms."""

    taker_delay_ms: int = field(default=250, validator=_delay)
    """How long a taker's order is held back; 0: it is matched at once. 250 where ``itode`` is set (protocol.md 7.3)."""
    fee: FeeTerms = field(factory=FeeTerms)
    """The same as what the simulated services state of their markets."""
    least_money: int = field(default=ONE_PUSD, validator=_least)
    """The smallest order to buy, in 1/1,000,000 pUSD."""


@define(eq=False)
class BookedOrder:
    """An order that was accepted, and what has become of it."""

    ticket: Ticket
    address: str
    market: str
    outcome: str
    accepted_ms: int
    state: OrderState = OrderState.DELAYED
    # Decided when it was accepted: it will find no match, whatever the book says.
    doomed: bool = False
    fills: tuple[Fill, ...] = ()

    @property
    def id(self) -> str:
        """The venue's name for the order."""
        return self.ticket.id

    @property
    def salt(self) -> int:
        """The order's own random number."""
        return self.ticket.salt

    @property
    def token(self) -> str:
        """The asset id."""
        return self.ticket.token

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        return self.ticket.buys

    @property
    def shares(self) -> int:
        """What was matched, in 1/1,000,000 shares."""
        return sum(fill.shares for fill in self.fills)

    @property
    def money(self) -> int:
        """What that cost or brought without the fee, in 1/1,000,000 pUSD."""
        return sum(fill.money for fill in self.fills)


class Broker:
    """Takes orders for one exchange and books them in one ledger."""

    def __init__(
        self, exchange: Exchange, ledger: Ledger, config: BrokerConfig | None = None, *, judge: OrderJudge | None = None
    ) -> None:
        self.exchange = exchange
        self.ledger = ledger
        self.config = config or BrokerConfig()
        self._judge = judge
        self._orders: dict[str, BookedOrder] = {}
        # In flight, in the order of their matching: the delay is the same for all.
        self._in_flight: dict[str, BookedOrder] = {}
        # Orders that were sent again although they had been accepted, and refused.
        self.duplicates_refused = 0

    # Orders.

    def place(self, ticket: Ticket, now_ms: int, *, doomed: bool = False) -> BookedOrder:
        """Accept an order: matched at once, or held back. Raises Refused when the venue would not take it.

        A FOK or FAK order that is matched at once and finds nothing is kept as unmatched, and Refused is raised, as
        the venue does. ``doomed``: it will find no match (a fault).
        """
        at_ms = max(now_ms, self.exchange.now_ms)
        if ticket.id in self._orders:
            self.duplicates_refused += 1
            raise Refused(400, f"order {ticket.id} is invalid. Duplicated.")
        market = self._open_market(ticket, at_ms)
        check_amounts(ticket, market.tick, least_money=self.config.least_money)
        self._reserve(ticket)
        outcome = OUTCOMES[market.tokens.index(ticket.token)]
        order = BookedOrder(ticket, ticket.maker, market.condition_id, outcome, at_ms, doomed=doomed)
        self._orders[order.id] = self._in_flight[order.id] = order
        if self._judge is not None:
            self._judge.accepted(order)
        if self.config.taker_delay_ms:
            self.exchange.agenda.add(at_ms + self.config.taker_delay_ms, partial(self._match_later, order))
            return order
        self._match(order, at_ms)
        if order.state is not OrderState.MATCHED:
            raise Refused(400, FOK_KILLED if ticket.all_or_nothing else FAK_KILLED)
        return order

    def order(self, order_id: str) -> BookedOrder | None:
        """An accepted order as it is now; ``None`` if no such order was ever accepted."""
        return self._orders.get(order_id)

    def open_orders(self, address: str | None = None) -> list[BookedOrder]:
        """Orders in flight, oldest first, of one account or of all."""
        return [order for order in self._in_flight.values() if address in {None, order.address}]

    # Settlement.

    def redeem(self, address: str, market: str, now_ms: int) -> list[Redemption]:
        """Give back an account's shares of a resolved market. Raises Refused when it is not resolved, or unknown.

        Doing it again does nothing. At the venue this is a transaction of the account's own.
        """
        winner = self.exchange.outcome(market)
        if winner is None:
            known = self.exchange.market_by_condition(market) is not None
            raise Refused(400, "market is not resolved") if known else Refused(404, "market not found")
        return self.ledger.redeem(address, market, winner, max(now_ms, self.exchange.now_ms))

    # Steps.

    def _open_market(self, ticket: Ticket, at_ms: int) -> Market:
        exchange = self.exchange
        if len(self._orders) >= MAX_ORDERS or self.ledger.full:
            raise Refused(503, f"{DISABLED} (the simulator keeps no more orders)")
        if at_ms < exchange.paused_until_ms:
            raise Refused(425, "Too Early")
        if at_ms < exchange.post_only_until_ms:
            raise Refused(503, POST_ONLY, "post_only_mode")
        if not exchange.knows(ticket.token):
            raise Refused(400, f"the orderbook {ticket.token} does not exist")
        market = exchange.market_of(ticket.token)
        if market.phase is Phase.RESOLVED:
            raise Refused(400, f"the orderbook {ticket.token} does not exist")
        if market.phase is not Phase.TRADING:
            raise Refused(400, "the market is not yet ready to process new orders")
        return market

    def _reserve(self, ticket: Ticket) -> None:
        """Set aside what the order may spend, the highest fee included. Raises Refused when it is not there."""
        account = self.ledger.account(ticket.maker)
        if ticket.buys:
            balance, active = account.cash, account.reserved_cash
            needed = ticket.offered + self.config.fee.most(ticket.limit, ticket.shares)
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

    def _match(self, order: BookedOrder, at_ms: int) -> None:
        ticket = order.ticket
        fills: list[tuple[int, int]] = []
        known = self.exchange.knows(ticket.token)
        if known and not order.doomed:
            side: Literal["BUY", "SELL"] = "BUY" if ticket.buys else "SELL"
            whole = ticket.all_or_nothing
            fills = self.exchange.take(ticket.token, side, ticket.limit, ticket.shares, at_ms, all_or_nothing=whole)
        order.fills = tuple(self._fill(order, number, *fill, at_ms) for number, fill in enumerate(fills))
        trading = known and self.exchange.market_of(ticket.token).phase is Phase.TRADING
        if order.fills:
            order.state = OrderState.MATCHED
        else:
            order.state = OrderState.UNMATCHED if trading else OrderState.MARKET_RESOLVED
        del self._in_flight[order.id]
        self.ledger.settle(order.address, order.id, order.fills)
        if self._judge is not None:
            self._judge.finished(order, order.shares)

    def _fill(self, order: BookedOrder, number: int, price: int, shares: int, at_ms: int) -> Fill:
        return Fill(
            id="0x" + sha256(f"{order.id}/{number}".encode()).hexdigest(),
            order_id=order.id,
            address=order.address,
            market=order.market,
            token=order.token,
            outcome=order.outcome,
            buys=order.buys,
            price=price,
            shares=shares,
            money=money_of(price, shares),
            fee=self.config.fee.fee(price, shares),
            at_ms=at_ms,
        )
