"""What a bot holds, owes and has earned: the sum of the records of its intent log. Pure.

:meth:`Account.apply` is the only way anything changes, while the bot trades and when it reads its log after a
crash; so what is in memory and what the disk adds up to cannot drift apart. Amounts are exact. The state file
stores :meth:`Account.snapshot`, so that only what came later has to be read from the log.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from bots.common.errors import BotError, StateInvalid
from bots.common.ledger.records import (
    BadLine,
    Begun,
    Corrected,
    Finished,
    Record,
    Settled,
    from_value,
    take,
    take_decimal,
    unseal,
)
from bots.common.ledger.records import encode as encode_record
from bots.common.money.amounts import EXACT, MONEY_UNIT
from bots.common.orders.order import Side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bots.common.orders.order import Order, Result

MAX_OPEN: Final = 1_000
"""Orders whose fate is not known yet; no bot that works as it should has more than a handful."""

MAX_POSITIONS: Final = 10_000

MAX_REMEMBERED: Final = 4_096
"""Client ids of finished orders that are remembered, the newest of them, to refuse one that comes again."""

ZERO: Final = Decimal(0)


class AlreadyBegun(BotError):  # noqa: N818 - a fact
    """An order with this client id was begun before: it is never sent again."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"order {client_id} was begun before and is not sent again")
        self.client_id = client_id


class UnknownOrder(BotError):  # noqa: N818 - a fact
    """A result came for an order that is not open: it would be booked twice, or without its order."""

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


@define
class Totals:
    """Sums since the beginning, in pUSD and in numbers of orders."""

    spent: Decimal = ZERO
    """Paid for shares, without fees."""
    received: Decimal = ZERO
    """Got for shares that were sold, without fees."""
    fees: Decimal = ZERO
    payouts: Decimal = ZERO
    """Got for winning shares at settlement."""
    profit: Decimal = ZERO
    """Of all positions, or parts of positions, that are over. Negative: a loss."""
    orders: int = 0
    fills: int = 0
    """Orders that traded anything."""
    won: int = 0
    """Settled positions that paid more than they had cost."""
    lost: int = 0
    corrections: int = 0

    @property
    def cash(self) -> Decimal:
        """What all of it did to our pUSD: the venue's balance has changed by this much."""
        gains, losses = EXACT.add(self.received, self.payouts), EXACT.add(self.spent, self.fees)
        return EXACT.subtract(gains, losses)


_MONEY: Final = ("spent", "received", "fees", "payouts", "profit")
_COUNTS: Final = ("orders", "fills", "won", "lost", "corrections")


@define(eq=False)
class Account:
    """Positions, open orders and sums, as of record number :attr:`through`."""

    through: int = 0
    """The number of the last record in it."""
    positions: dict[str, Position] = field(factory=dict)
    """By token; only those with shares."""
    open: dict[str, Begun] = field(factory=dict)
    """Orders that have left, or may have left, and whose fate is not known, by client id."""
    totals: Totals = field(factory=Totals)
    # The venue's names of open orders, by client id, as far as it has told them.
    _names: dict[str, str] = field(factory=dict, init=False)
    # The same of orders that are over, the oldest first; "" where there is none.
    _over: OrderedDict[str, str] = field(factory=OrderedDict, init=False)

    def knows(self, client_id: str) -> bool:
        """Whether an order with this client id was begun, as far back as is remembered."""
        return client_id in self.open or client_id in self._over

    def name_of(self, client_id: str) -> str | None:
        """Return the venue's name of an open order, if it has told one."""
        return self._names.get(client_id)

    @property
    def order_ids(self) -> tuple[str, ...]:
        """The venue's names of orders that are over: their fills are in the sums, and are nobody else's."""
        return tuple(name for name in self._over.values() if name)

    def undecided(self, token: str) -> tuple[Begun, ...]:
        """Return the open orders on a token: what is held of it is not certain while there are any."""
        return tuple(begun for begun in self.open.values() if begun.order.token == token)

    def apply(self, record: Record) -> None:
        """Book a record. Raises AlreadyBegun, UnknownOrder or StateInvalid, and then nothing has changed."""
        if record.number <= self.through:
            raise StateInvalid("n", record.number, f"above {self.through}: the numbers of records grow")
        if isinstance(record, Begun):
            self._begin(record)
        elif isinstance(record, Finished):
            self._finish(record)
        elif isinstance(record, Settled):
            self._settle(record)
        else:
            self._correct(record)
        self.through = record.number

    def _begin(self, record: Begun) -> None:
        client_id = record.order.client_id
        if self.knows(client_id):
            raise AlreadyBegun(client_id)
        if len(self.open) >= MAX_OPEN:
            raise StateInvalid("open", len(self.open), f"less than {MAX_OPEN} orders whose fate is not known")
        self.open[client_id] = record
        self.totals.orders += 1

    def _finish(self, record: Finished) -> None:
        begun = self.open.get(record.client_id)
        if begun is None:
            raise UnknownOrder(record.client_id)
        name = record.result.order_id or self._names.get(record.client_id, "")
        if not record.result.decided:
            if name:
                self._names[record.client_id] = name
            return
        if record.result.traded:
            self._trade(begun.order, record.result)
        del self.open[record.client_id]
        self._names.pop(record.client_id, None)
        self._over[record.client_id] = name
        while len(self._over) > MAX_REMEMBERED:
            self._over.popitem(last=False)

    def _trade(self, order: Order, result: Result) -> None:
        totals, held = self.totals, self.positions.get(order.token)
        shares, cost = (ZERO, ZERO) if held is None else (held.shares, held.cost)
        if order.side is Side.BUY:
            shares, cost = EXACT.add(shares, result.shares), EXACT.subtract(cost, result.cash(Side.BUY))
            totals.spent = EXACT.add(totals.spent, result.money)
        else:
            # More than we knew of can only have been sold if our books were wrong; the money came all the same.
            gone = cost if result.shares >= shares else _part(cost, result.shares, shares)
            totals.corrections += result.shares > shares
            shares, cost = EXACT.subtract(shares, result.shares), EXACT.subtract(cost, gone)
            totals.received = EXACT.add(totals.received, result.money)
            totals.profit = EXACT.add(totals.profit, EXACT.subtract(result.cash(Side.SELL), gone))
        totals.fees = EXACT.add(totals.fees, result.fee)
        totals.fills += 1
        self._hold(order.market, order.token, shares, cost)

    def _settle(self, record: Settled) -> None:
        held = self.positions.get(record.token)
        if held is None or (held.shares, held.cost) != (record.shares, record.cost):
            raise StateInvalid("shares", record.shares, f"what is held of {record.token}: {held}")
        totals, profit = self.totals, EXACT.subtract(record.payout, record.cost)
        totals.payouts = EXACT.add(totals.payouts, record.payout)
        totals.profit = EXACT.add(totals.profit, profit)
        totals.won += profit > 0
        totals.lost += profit < 0
        del self.positions[record.token]

    def _correct(self, record: Corrected) -> None:
        self.totals.corrections += 1
        self._hold(record.market, record.token, record.shares, record.cost)

    def _hold(self, market: str, token: str, shares: Decimal, cost: Decimal) -> None:
        if shares > 0:
            self.positions[token] = Position(market=market, token=token, shares=shares, cost=cost)
        else:
            self.positions.pop(token, None)

    def snapshot(self) -> dict[str, Any]:
        """Return everything, as dicts and lists of str and int; :meth:`restore` reads it back equal."""
        totals: dict[str, Any] = {name: str(getattr(self.totals, name)) for name in _MONEY}
        totals |= {name: getattr(self.totals, name) for name in _COUNTS}
        return {
            "through": self.through,
            "positions": [
                {"market": held.market, "token": held.token, "shares": str(held.shares), "cost": str(held.cost)}
                for held in self.positions.values()
            ],
            "open": [encode_record(begun).decode() for begun in self.open.values()],
            "names": dict(self._names),
            "over": dict(self._over),
            "totals": totals,
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> Account:
        """Go on from a :meth:`snapshot`. Raises StateInvalid, which names the field: nothing is assumed."""
        account = cls(through=take(snapshot, "through", int))
        for raw in _several(snapshot, "positions", dict, MAX_POSITIONS):
            held = Position(
                market=take(raw, "market", str),
                token=take(raw, "token", str),
                shares=take_decimal(raw, "shares"),
                cost=take_decimal(raw, "cost"),
            )
            account.positions[held.token] = held
        for line in _several(snapshot, "open", str, MAX_OPEN):
            try:
                begun = from_value(unseal(line.encode()))
            except BadLine as error:
                raise StateInvalid("open", line, f"an order that was begun ({error})") from error
            if not isinstance(begun, Begun):
                raise StateInvalid("open", line, "an order that was begun")
            account.open[begun.order.client_id] = begun
        account._names.update(_names(snapshot, "names", MAX_OPEN))
        account._over.update(_names(snapshot, "over", MAX_REMEMBERED))
        totals = take(snapshot, "totals", dict)
        for name in _MONEY:
            setattr(account.totals, name, take_decimal(totals, name))
        for name in _COUNTS:
            setattr(account.totals, name, take(totals, name, int))
        return account


def _part(cost: Decimal, sold: Decimal, held: Decimal) -> Decimal:
    """Return the share of the cost that leaves with ``sold`` of ``held`` shares, to a millionth of a pUSD."""
    return EXACT.divide(EXACT.multiply(cost, sold), held).quantize(MONEY_UNIT, context=EXACT)


def _names(snapshot: Mapping[str, Any], name: str, most: int) -> dict[str, str]:
    values: dict[Any, Any] = take(snapshot, name, dict)
    if len(values) > most or any(type(each) is not str for pair in values.items() for each in pair):
        raise StateInvalid(name, f"{len(values)} entries", f"at most {most} names by client id")
    return values


def _several(snapshot: Mapping[str, Any], name: str, kind: type[Any], most: int) -> list[Any]:
    values: list[Any] = take(snapshot, name, list)
    if len(values) > most or any(type(value) is not kind for value in values):
        raise StateInvalid(name, f"{len(values)} entries", f"at most {most} of type {kind.__name__}")
    return values
