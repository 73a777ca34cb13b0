"""What a bot holds, owes and has earned: the sum of the rows of its ledger. Pure.

:meth:`Account.apply` is the only way anything changes, while the bot trades and when it reads its ledger after a
crash; so what is in memory and what the file adds up to cannot drift apart. Amounts are exact, in 1/1,000,000. A
trade is provisional until the chain confirms it: a later row for the same order takes the place of the earlier one,
and what the two differ by is booked, whatever became of the shares meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from bots.common.errors import BotError, StateInvalid
from bots.common.ledger.rows import ZERO, Begun, CashMoved, Corrected, Finished, Merged, Row, Settled
from bots.common.money.amounts import EXACT, MONEY_UNIT
from bots.common.orders.order import Outcome, Result, Side

if TYPE_CHECKING:
    from decimal import Decimal

MAX_OPEN: Final = 1_000
"""Orders whose fate is not known yet; no bot that works as it should has more than a handful."""

MAX_REMEMBERED: Final = 4_096
"""Client ids of finished orders that are remembered, the newest of them, to refuse one that comes again."""

NOTHING: Final = Result(outcome=Outcome.NO_MATCH)


class AlreadyBegun(BotError):  # noqa: N818 - a fact
    """An order with this client id was begun before: it is never sent again."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"order {client_id} was begun before and is not sent again")
        self.client_id = client_id


class UnknownOrder(BotError):  # noqa: N818 - a fact
    """A result came for an order that nothing can change any more, or that was never begun."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"order {client_id} is not open: its result cannot be booked")
        self.client_id = client_id


@frozen(kw_only=True)
class Position:
    """Shares of one token, and what they cost in pUSD, fees included."""

    market: str
    token: str
    shares: Decimal
    cost: Decimal


@frozen(kw_only=True)
class Claim:
    """An order that traded, which the chain has not confirmed yet."""

    begun: Begun
    result: Result
    gone: Decimal = ZERO
    """Selling: the part of the position's cost that left with the shares."""


@define
class Totals:
    """Sums since the beginning, in pUSD and in numbers of orders."""

    spent: Decimal = ZERO
    """Paid for shares, without fees."""
    received: Decimal = ZERO
    """Got for shares that were sold or merged, without fees."""
    fees: Decimal = ZERO
    payouts: Decimal = ZERO
    """Got for winning shares at settlement."""
    profit: Decimal = ZERO
    """Of all positions, or parts of positions, that are over. Negative: a loss."""
    moved: Decimal = ZERO
    """What the wallet held at the beginning, and what came or went without an order of ours."""
    orders: int = 0
    fills: int = 0
    """Orders that traded anything."""
    won: int = 0
    """Settled positions that paid more than they had cost."""
    lost: int = 0
    corrections: int = 0

    @property
    def cash(self) -> Decimal:
        """What all orders did to our pUSD: with ``moved`` it is what the venue must say we have."""
        gains, losses = EXACT.add(self.received, self.payouts), EXACT.add(self.spent, self.fees)
        return EXACT.subtract(gains, losses)


@define(eq=False)
class Account:
    """Positions, open orders, claims and sums, as of row number :attr:`through`."""

    through: int = 0
    """The number of the last row in it."""
    positions: dict[str, Position] = field(factory=dict)
    """By token; only those with shares."""
    open: dict[str, Begun] = field(factory=dict)
    """Orders that have left, or may have left, and whose fate is not known, by client id."""
    claims: dict[str, Claim] = field(factory=dict)
    """Orders that traded and are not confirmed yet, by client id."""
    totals: Totals = field(factory=Totals)
    # The venue's names of orders, by client id, as far as it has told them; "" where there is none. Those of orders
    # that are over are forgotten, the oldest first.
    _names: dict[str, str] = field(factory=dict, init=False)
    _over: OrderedDict[str, str] = field(factory=OrderedDict, init=False)
    untraded: dict[str, str] = field(factory=dict)
    """Client ids, by the venue's names, of orders that are over and traded nothing: what they trade is in no sum."""
    # Shares, by token, that a purchase never brought and that were sold before that was known: should the sale fail
    # as well, as it then must, it gives back none of them.
    _never: dict[str, Decimal] = field(factory=dict, init=False)

    def knows(self, client_id: str) -> bool:
        """Whether an order with this client id was begun, as far back as is remembered."""
        return client_id in self.open or client_id in self._over

    def name_of(self, client_id: str) -> str | None:
        """Return the venue's name of an order, if it has told one."""
        return self._names.get(client_id) or self._over.get(client_id) or None

    @property
    def order_ids(self) -> tuple[str, ...]:
        """The venue's names of orders that are decided: their fills are in the sums, and are nobody else's."""
        return tuple(name for name in self._over.values() if name)

    def undecided(self, token: str) -> tuple[Begun, ...]:
        """Return the open orders on a token: what is held of it is not certain while there are any."""
        return tuple(begun for begun in self.open.values() if begun.order.token == token)

    def claimed(self, token: str) -> tuple[Claim, ...]:
        """Return the trades in a token that the chain has not confirmed."""
        return tuple(claim for claim in self.claims.values() if claim.begun.order.token == token)

    def apply(self, row: Row) -> Decimal:
        """Book a row; return what it did to the profit.

        Raises AlreadyBegun, UnknownOrder or StateInvalid, and then nothing has changed.
        """
        if row.seq <= self.through:
            raise StateInvalid("seq", row.seq, f"above {self.through}: the numbers of rows grow")
        before = self.totals.profit
        match row:
            case Begun():
                self._begin(row)
            case Finished():
                self._finish(row)
            case Settled():
                self._settle(row)
            case Merged():
                self._merge(row)
            case Corrected():
                self._correct(row)
            case CashMoved():
                self._move(row)
        self.through = row.seq
        return EXACT.subtract(self.totals.profit, before)

    def _begin(self, row: Begun) -> None:
        client_id = row.order.client_id
        if self.knows(client_id):
            raise AlreadyBegun(client_id)
        if len(self.open) >= MAX_OPEN:
            raise StateInvalid("open", len(self.open), f"less than {MAX_OPEN} orders whose fate is not known")
        self.open[client_id] = row
        self.totals.orders += 1

    def _finish(self, row: Finished) -> None:
        name, result = row.client_id, row.result
        claim = self.claims.get(name)
        begun = self.open.get(name) if claim is None else claim.begun
        if begun is None or (claim is not None and not result.decided):
            raise UnknownOrder(name)
        venue_name = result.order_id or self.name_of(name) or ""
        if not result.decided:
            if venue_name:
                self._names[name] = venue_name
            return
        claim = self._trade(claim or Claim(begun=begun, result=NOTHING), result)
        self.open.pop(name, None)
        self._names.pop(name, None)
        self.claims.pop(name, None)
        if not row.final:
            self.claims[name] = claim
        self._over[name] = venue_name
        if not result.traded and venue_name:
            self.untraded[venue_name] = name
        while len(self._over) > MAX_REMEMBERED:
            self.untraded.pop(self._over.popitem(last=False)[1], None)

    def _trade(self, claim: Claim, result: Result) -> Claim:
        """Book what a result adds to, or takes back from, what was booked of the order before."""
        order, before, totals = claim.begun.order, claim.result, self.totals
        shares, money, fee = (
            EXACT.subtract(now, then)
            for now, then in (
                (result.shares, before.shares),
                (result.money, before.money),
                (result.fee, before.fee),
            )
        )
        held = self._held(order.market, order.token)
        gone = ZERO
        if order.side is Side.BUY:
            paid = EXACT.add(money, fee)
            left = EXACT.add(held.shares, shares)
            if left < 0:
                self._never[order.token] = EXACT.subtract(self._never.get(order.token, ZERO), left)
                left = ZERO
            cost = max(EXACT.add(held.cost, paid), ZERO) if left else ZERO
            earned = EXACT.subtract(EXACT.subtract(cost, held.cost), paid)
            totals.spent = EXACT.add(totals.spent, money)
        else:
            gone = self._cost_of_sale(claim, result, held)
            # More than we knew of can only have been sold if our books were wrong; the money came all the same.
            totals.corrections += shares > held.shares
            if shares < 0 and (never := min(self._never.get(order.token, ZERO), -shares)):
                self._never[order.token] = EXACT.subtract(self._never[order.token], never)
                shares = EXACT.add(shares, never)
            left = max(EXACT.subtract(held.shares, shares), ZERO)
            cost = max(EXACT.subtract(held.cost, EXACT.subtract(gone, claim.gone)), ZERO) if left else ZERO
            earned = EXACT.subtract(EXACT.subtract(money, fee), EXACT.subtract(held.cost, cost))
            totals.received = EXACT.add(totals.received, money)
        totals.fees = EXACT.add(totals.fees, fee)
        totals.profit = EXACT.add(totals.profit, earned)
        totals.fills += result.traded - before.traded
        self._hold(order.market, order.token, left, cost)
        return Claim(begun=claim.begun, result=result, gone=gone)

    @staticmethod
    def _cost_of_sale(claim: Claim, result: Result, held: Position) -> Decimal:
        """Return what of the position's cost leaves with the shares that were sold in all."""
        before = claim.result.shares
        if result.shares <= before:
            return _part(claim.gone, result.shares, before) if before else ZERO
        more = EXACT.subtract(result.shares, before)
        rest = held.cost if more >= held.shares else _part(held.cost, more, held.shares)
        return EXACT.add(claim.gone, rest)

    def _settle(self, row: Settled) -> None:
        held = self._held(row.market, row.token)
        if (held.shares, held.cost) != (row.shares, row.cost):
            raise StateInvalid("shares", row.shares, f"what is held of {row.token}: {held}")
        profit = EXACT.subtract(row.payout, row.cost)
        self.totals.payouts = EXACT.add(self.totals.payouts, row.payout)
        self.totals.profit = EXACT.add(self.totals.profit, profit)
        self.totals.won += profit > 0
        self.totals.lost += profit < 0
        self._hold(row.market, row.token, ZERO, ZERO)

    def _merge(self, row: Merged) -> None:
        earned = row.received
        for token in (row.token, row.other):
            held = self._held(row.market, token)
            if held.shares < row.shares:
                raise StateInvalid("shares", row.shares, f"at most what is held of {token}: {held.shares}")
        for token in (row.token, row.other):
            held = self._held(row.market, token)
            gone = held.cost if held.shares == row.shares else _part(held.cost, row.shares, held.shares)
            earned = EXACT.subtract(earned, gone)
            left = EXACT.subtract(held.shares, row.shares)
            self._hold(row.market, token, left, EXACT.subtract(held.cost, gone))
        self.totals.received = EXACT.add(self.totals.received, row.received)
        self.totals.profit = EXACT.add(self.totals.profit, earned)

    def _correct(self, row: Corrected) -> None:
        """Hold what the venue says. What is gone is lost, and what is more was paid for: nobody knows better."""
        held = self._held(row.market, row.token)
        more = EXACT.subtract(row.cost, held.cost)
        self.totals.corrections += 1
        if more > 0:
            self.totals.spent = EXACT.add(self.totals.spent, more)
        else:
            self.totals.profit = EXACT.add(self.totals.profit, more)
        self._hold(row.market, row.token, row.shares, row.cost)

    def _move(self, row: CashMoved) -> None:
        self.totals.moved = EXACT.add(self.totals.moved, row.amount)

    def _held(self, market: str, token: str) -> Position:
        return self.positions.get(token) or Position(market=market, token=token, shares=ZERO, cost=ZERO)

    def _hold(self, market: str, token: str, shares: Decimal, cost: Decimal) -> None:
        if shares > 0:
            self.positions[token] = Position(market=market, token=token, shares=shares, cost=cost)
        else:
            self.positions.pop(token, None)


def _part(cost: Decimal, sold: Decimal, held: Decimal) -> Decimal:
    """Return the share of the cost that leaves with ``sold`` of ``held`` shares, to a millionth of a pUSD."""
    return EXACT.divide(EXACT.multiply(cost, sold), held).quantize(MONEY_UNIT, context=EXACT)
