"""The records of the intent log: what a bot meant to do and what came of it, each as one line of JSON. Pure.

There are four kinds: an order is about to leave (:class:`Begun`), its fate is known (:class:`Finished`), a
position was settled (:class:`Settled`), and the venue was believed against our own books (:class:`Corrected`). A
line carries a checksum and a number that grows. :class:`~bots.common.ledger.account.Account` is what they add up to,
:mod:`bots.common.ledger.intents` puts them on the disk.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from attrs import frozen

from bots.common.errors import OrderInvalid, StateInvalid
from bots.common.money.amounts import decimal_of
from bots.common.orders.order import Order, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

_SEAL: Final = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
_SEAL_BYTES: Final = len(b',"crc":"00000000"}')


@frozen(kw_only=True)
class Begun:
    """An order is about to leave. From here on it counts as sent until its fate is known."""

    number: int
    at_ms: int
    """Our wall clock, in ms since 1970."""
    order: Order
    asset: str
    """What the market is about, such as ``btc``: what the risk counts by."""
    reserve: Decimal
    """pUSD that the order costs at most, fee included."""


@frozen(kw_only=True)
class Finished:
    """The fate of an order is known."""

    number: int
    at_ms: int
    client_id: str
    result: Result


@frozen(kw_only=True)
class Settled:
    """A position is over because its market was decided: it paid ``payout`` pUSD, or nothing."""

    number: int
    at_ms: int
    market: str
    token: str
    shares: Decimal
    cost: Decimal
    """pUSD the shares had cost, fees included."""
    payout: Decimal


@frozen(kw_only=True)
class Corrected:
    """The venue holds something else than our books say, persistently: from here on we hold what it holds."""

    number: int
    at_ms: int
    market: str
    token: str
    shares: Decimal
    """What is held now."""
    cost: Decimal
    """pUSD it is taken to have cost, fees included."""
    why: str


Record = Begun | Finished | Settled | Corrected
"""One entry of the log."""


class BadLine(ValueError):  # noqa: N818 - translated, with the line's number, before anybody sees it
    """A line that is not what was written."""


def seal(value: Mapping[str, Any]) -> bytes:
    """Write a value as one line of JSON, without the line feed, whose last field is the checksum of the rest."""
    body = json.dumps(value, separators=(",", ":")).encode()[:-1]
    return b'%s,"crc":"%08x"}' % (body, crc32(body))


def unseal(line: bytes) -> dict[str, Any]:
    """Read what :func:`seal` wrote. Raises BadLine when a byte of it was changed."""
    body, tail = line[:-_SEAL_BYTES], line[-_SEAL_BYTES:]
    found = _SEAL.fullmatch(tail)
    if found is None or int(found[1], 16) != crc32(body):
        raise BadLine("the checksum is missing or wrong")
    try:
        value: dict[str, Any] = json.loads(body + b"}")
    except ValueError as error:  # pragma: no cover - sealed by somebody else
        raise BadLine("it is no JSON") from error
    return value


def encode(record: Record) -> bytes:
    """Write a record as a line, without the line feed."""
    value: dict[str, Any] = {"n": record.number, "at": record.at_ms}
    if isinstance(record, Begun):
        value |= {"kind": "begin", "asset": record.asset, "reserve": str(record.reserve)}
        value["order"] = record.order.to_record()
    elif isinstance(record, Finished):
        value |= {"kind": "finish", "client_id": record.client_id, "result": record.result.to_record()}
    elif isinstance(record, Settled):
        value |= {"kind": "settle", "market": record.market, "token": record.token, "shares": str(record.shares)}
        value |= {"cost": str(record.cost), "payout": str(record.payout)}
    else:
        value |= {"kind": "correct", "market": record.market, "token": record.token, "shares": str(record.shares)}
        value |= {"cost": str(record.cost), "why": record.why}
    return seal(value)


def decode(line: bytes) -> Record:
    """Read a line. Raises BadLine, which says why."""
    return from_value(unseal(line))


def from_value(value: Mapping[str, Any]) -> Record:
    """Read the JSON object of a record. Raises BadLine."""
    try:
        return _READERS[take(value, "kind", str)](value)
    except KeyError as error:
        raise BadLine(f"the kind {error} is not known to this version") from error
    except (OrderInvalid, StateInvalid) as error:
        raise BadLine(str(error)) from error


def take(value: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """Return a field of a stored object. Raises StateInvalid unless it is of exactly this type."""
    found = value.get(name)
    if type(found) is not kind:
        raise StateInvalid(name, found, f"of type {kind.__name__}")
    return found


def take_decimal(value: Mapping[str, Any], name: str) -> Decimal:
    """Return a Decimal that was stored as text. Raises StateInvalid or OrderInvalid."""
    return decimal_of(name, take(value, name, str))


def _begun(value: Mapping[str, Any]) -> Begun:
    return Begun(
        number=take(value, "n", int),
        at_ms=take(value, "at", int),
        order=Order.from_record(take(value, "order", dict)),
        asset=take(value, "asset", str),
        reserve=take_decimal(value, "reserve"),
    )


def _finished(value: Mapping[str, Any]) -> Finished:
    return Finished(
        number=take(value, "n", int),
        at_ms=take(value, "at", int),
        client_id=take(value, "client_id", str),
        result=Result.from_record(take(value, "result", dict)),
    )


def _settled(value: Mapping[str, Any]) -> Settled:
    return Settled(
        number=take(value, "n", int),
        at_ms=take(value, "at", int),
        market=take(value, "market", str),
        token=take(value, "token", str),
        shares=take_decimal(value, "shares"),
        cost=take_decimal(value, "cost"),
        payout=take_decimal(value, "payout"),
    )


def _corrected(value: Mapping[str, Any]) -> Corrected:
    return Corrected(
        number=take(value, "n", int),
        at_ms=take(value, "at", int),
        market=take(value, "market", str),
        token=take(value, "token", str),
        shares=take_decimal(value, "shares"),
        cost=take_decimal(value, "cost"),
        why=take(value, "why", str),
    )


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Record]]] = {
    "begin": _begun,
    "finish": _finished,
    "settle": _settled,
    "correct": _corrected,
}
