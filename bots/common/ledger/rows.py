"""The rows of the ledger as values, and values as rows: one class for each table. Pure.

A class has the columns of its table in their order, nested values laid flat; :func:`to_row` and :func:`from_row` turn
one into the other. Money, shares and prices are Decimal here and INTEGER in 1/1,000,000 in the file, in columns whose
names end in ``_e6``; what is finer is rounded to the nearest. ``seq`` grows with every row of any table, so that all
of them together have one order; ``at_ms`` is our wall clock in ms since 1970. What the rows of orders, results,
redemptions, merges, corrections and cash add up to is :class:`~bots.common.ledger.account.Account`.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import attrs
from attrs import frozen

from bots.common.execution.base import ChainStatus  # noqa: TC001 - the columns are made from the types
from bots.common.money.amounts import BASE_UNITS, EXACT
from bots.common.orders.order import Order, Result  # noqa: TC001 - as above
from polymirror.core.fees import FeeSchedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


R = TypeVar("R")

ZERO: Final = Decimal(0)


@frozen(kw_only=True)
class Row:
    """What every row has."""

    seq: int
    at_ms: int


@frozen(kw_only=True)
class Begun(Row):
    """An order is about to leave. From here on it counts as sent until its fate is known."""

    group_id: str
    """Orders that are one intent share it."""
    asset: str
    """What the market is about, such as ``btc``: what the risk counts by."""
    reserve: Decimal
    """pUSD that this order costs at most, fee included."""
    worst: Decimal
    """pUSD that the whole group loses at most; the same in each of its orders."""
    order: Order


@frozen(kw_only=True)
class Finished(Row):
    """What is known of an order now. The newest row that is decided holds; those before it are history."""

    client_id: str
    final: bool
    """Whether nothing can change it any more: it traded nothing, or its fills are confirmed on the chain."""
    result: Result


@frozen(kw_only=True)
class Filled(Row):
    """What the venue lists of one fill of an order, each time that it lists it differently."""

    client_id: str
    trade_id: str
    number: int
    """Counts the fills of one trade, from 0."""
    price: Decimal
    shares: Decimal
    money: Decimal
    fee: Decimal | None
    """``None``: the venue does not tell."""
    matched_ms: int
    """On the venue's clock."""
    status: ChainStatus
    tx: str | None


@frozen(kw_only=True)
class Settled(Row):
    """A position is over because its market was decided: it paid ``payout`` pUSD, or nothing."""

    market: str
    token: str
    shares: Decimal
    cost: Decimal
    """pUSD the shares had cost, fees included."""
    payout: Decimal
    how: str
    """``redeemed``, ``worthless``, or ``found redeemed``: by hand, or by a call whose answer was lost."""


@frozen(kw_only=True)
class MergeBegun(Row):
    """A merge is about to leave. Whether it happened is what the wallet shows."""

    market: str
    token: str
    other: str
    shares: Decimal
    held: Decimal
    """What the wallet holds of the one token before it, and of the other."""
    other_held: Decimal


@frozen(kw_only=True)
class Merged(Row):
    """Equal shares of both tokens of a market became one pUSD each."""

    market: str
    token: str
    other: str
    shares: Decimal
    received: Decimal


@frozen(kw_only=True)
class Corrected(Row):
    """The venue holds something else than our books say, persistently: from here on we hold what it holds."""

    market: str
    token: str
    shares: Decimal
    """What is held now."""
    cost: Decimal
    """pUSD it is taken to have cost, fees included."""
    why: str


@frozen(kw_only=True)
class CashMoved(Row):
    """pUSD that came or went otherwise: what the wallet held at the beginning, and what nothing else explains."""

    amount: Decimal
    kind: str
    detail: str


@frozen(kw_only=True)
class Decision(Row):
    """What was decided about a market, and on what grounds. Equal decisions in a row are counted, not repeated."""

    market: str
    slug: str
    token: str
    verdict: str
    """``order``, or why there is none, in a word or two."""
    detail: str
    fair: Decimal | None
    strike: Decimal | None
    price: Decimal | None
    """The oracle's."""
    oracle_age_ms: int | None
    book_age_ms: int | None
    """The age of the book's proof."""
    proof: str
    """The kind of that proof; empty: the book was not read."""
    basis: str
    """All that the strategy stated, as JSON."""
    repeats: int
    """Decisions of this verdict in this market that were not written since the one that was written last."""


@frozen(kw_only=True)
class RiskEvent(Row):
    """Trading was stopped, resumed or paused."""

    kind: str
    detail: str


@frozen(kw_only=True)
class Difference(Row):
    """The venue's books and ours differed, or somebody else's shares were found; nothing was changed by it."""

    what: str
    market: str
    token: str
    ours: Decimal
    theirs: Decimal
    detail: str


@frozen(kw_only=True)
class Notice(Row):
    """Something a person is to be told."""

    kind: str
    text: str


TABLES: Final[dict[type[Row], str]] = {
    Begun: "orders",
    Finished: "results",
    Filled: "fills",
    Settled: "redemptions",
    MergeBegun: "merges_begun",
    Merged: "merges",
    Corrected: "corrections",
    CashMoved: "cash",
    Decision: "decisions",
    RiskEvent: "risk_events",
    Difference: "differences",
    Notice: "notices",
}

BOOKED: Final = (Begun, Finished, Settled, Merged, Corrected, CashMoved)
"""What the account is the sum of. Their tables end in ``profit_e6``: what the row changed of the profit."""


def to_e6(value: Decimal) -> int:
    """Return an amount in 1/1,000,000, rounded to the nearest."""
    return int(EXACT.multiply(value, BASE_UNITS).to_integral_value(ROUND_HALF_EVEN))


@lru_cache(maxsize=4_096)
def from_e6(units: int) -> Decimal:
    """Return an amount of so many 1/1,000,000, without trailing zeros."""
    exponent = -6
    while exponent < 0 and units % 10 == 0:
        units, exponent = units // 10, exponent + 1
    return Decimal(units).scaleb(exponent, EXACT)


def columns(kind: type[Any]) -> tuple[str, ...]:
    """Name the columns of a class's table."""
    names: list[str] = []
    for name, inner, _, nested in _fields(kind):
        if nested:
            prefix = f"{name}_" if inner is FeeSchedule else ""
            names += [f"{prefix}{each}" for each in columns(inner)]
        else:
            names.append(f"{name}_e6" if inner is Decimal else name)
    return tuple(names)


def to_row(record: object) -> tuple[Any, ...]:
    """Lay a value out as its row."""
    row: list[Any] = []
    for name, _, _, nested in _fields(type(record)):
        value = getattr(record, name)
        if nested:
            row += to_row(value)
        elif value is None:
            row.append(None)
        elif isinstance(value, Decimal):
            row.append(to_e6(value))
        else:
            value = value.value if isinstance(value, Enum) else value
            # Half a character, which JSON may hold, would keep this row and all after it from the disk.
            row.append(value.encode(errors="replace").decode() if isinstance(value, str) else value)
    return tuple(row)


def from_row(kind: type[R], row: Sequence[Any]) -> R:
    """Read a row back. Raises ValueError, TypeError or OrderInvalid for what :func:`to_row` did not write."""
    return _read(kind, iter(row))


def _read(kind: type[R], values: Iterator[Any]) -> R:
    given: dict[str, Any] = {}
    for name, inner, optional, nested in _fields(kind):
        if nested:
            given[name] = _read(inner, values)
            continue
        value = next(values)
        if value is None and optional:
            given[name] = None
        elif inner is Decimal:
            given[name] = from_e6(int(value))
        else:
            given[name] = value if value.__class__ is inner else inner(value)
    return kind(**given)


def _fields(kind: type[Any]) -> tuple[tuple[str, Any, bool, bool], ...]:
    """Return name, type, whether it may be None, and whether it is laid flat, of each field."""
    if (known := _KNOWN.get(kind)) is not None:
        return known
    found = []
    for each in attrs.fields(attrs.resolve_types(kind)):
        inner, optional = each.type, False
        if isinstance(inner, UnionType):
            optional = NoneType in get_args(inner)
            inner = next(one for one in get_args(inner) if one is not NoneType)
        found.append((each.name, inner, optional, attrs.has(inner)))
    _KNOWN[kind] = tuple(found)
    return _KNOWN[kind]


_KNOWN: Final[dict[type[Any], tuple[tuple[str, Any, bool, bool], ...]]] = {}
