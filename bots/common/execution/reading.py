"""The venue's JSON about orders and trades, as values: whoever lists them or is told of them reads them here. Pure.

What is not as it must be raises :class:`~bots.common.errors.Unanswered`, which names the call and the field. Unknown
fields and words are let through; numbers are strings, and exact.
"""

from __future__ import annotations

import contextlib
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from bots.common.errors import Unanswered, shorten
from bots.common.execution.base import ChainStatus, OrderState, Trade
from bots.common.money.amounts import EXACT, MONEY_UNIT
from bots.common.orders.order import Side
from bots.common.secrets import hide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STATUS_PREFIX: Final = "ORDER_STATUS_"
"""Orders come with the plain word or, as the venue's API reference has it, with this before it."""

NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""Hashes, numbers and UUIDs are such."""

CHANCE: Final = 12
"""So many letters of a secret in a name are no chance."""

MAX_WORD: Final = 60
"""Characters of a state: the longest that are known are a sentence."""

MAX_DIGITS: Final = 12
"""Digits of a number before its point: no amount has more, and no column of the ledger takes a longer one."""


def named(value: object, call: str, name: str) -> str:
    """Return the venue's name of an order, a trade, a market, a token or a transaction.

    Such names are kept and shown as they are, so anything else in one, or a secret, makes it none. Raises Unanswered.
    """
    if isinstance(value, str) and NAME.fullmatch(value):
        # A few letters of a hash may be those of a secret by chance.
        hidden = len(value) - len(hide(value).replace("***", ""))
        if hidden < CHANCE:
            return value
    raise Unanswered(call, f"{name} is {shorten(repr(value), 60)}, not a name of letters and digits")


def text(raw: Mapping[str, Any], call: str, name: str) -> str:
    """Return a field that :func:`named` allows."""
    return named(raw.get(name), call, name)


def decimal(raw: Mapping[str, Any], call: str, name: str, *, empty: str | None = None) -> Decimal:
    """Return a number of at least 0 that is written as a string; ``empty`` is what an empty one stands for."""
    value = raw.get(name)
    if value == "" and empty is not None:
        value = empty
    if isinstance(value, str):
        with contextlib.suppress(InvalidOperation):
            number = Decimal(value)
            if number.is_finite() and number >= 0 and number.adjusted() < MAX_DIGITS:
                return number
    raise Unanswered(call, f"{name} is {shorten(repr(value), 60)}, not a decimal string of at least 0")


def objects(raw: Mapping[str, Any], call: str, name: str = "data") -> list[dict[str, Any]]:
    """Return a list of objects."""
    value = raw.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Unanswered(call, f"{name} is not a list of objects")
    return value


def state_of(status: object, shares: Decimal) -> OrderState:
    """Return the state of an order by the venue's word, which may be any."""
    return OrderState(status=word(status).upper().removeprefix(STATUS_PREFIX), shares=shares)


def word(value: object) -> str:
    """Return the venue's word for a state, whatever it is, as it may be kept and shown."""
    return shorten(value, MAX_WORD)


def fills(trade: Trade, makers: Sequence[tuple[str, Decimal, Decimal]]) -> list[Trade]:
    """Take a trade apart into fills at one price each: the fee goes by each fill's own price.

    Raises Unanswered for more shares, or a higher price, than there can be.

    ``makers`` are the tokens, prices and shares of the orders that were met. One on the other token of the market sells
    us ours at the complement. If the parts do not add up to the trade, its own price and size are what is certain.
    """
    for number in (trade.shares, trade.price, *(price for _, price, _ in makers)):
        if number.adjusted() >= MAX_DIGITS:
            raise Unanswered("trades", f"a size or a price is {shorten(number, 60)}")
    parts = [(price if token == trade.token else 1 - price, shares) for token, price, shares in makers]
    if sum((shares for _, shares in parts), Decimal(0)) != trade.shares:
        parts = [(trade.price, trade.shares)]
    return [_priced(trade, price, shares) for price, shares in parts]


def taker_fills(raws: Iterable[Mapping[str, Any]], call: str = "trades") -> list[Trade]:
    """Return the fills of those trades in which we took, a trade's status being as it was when it was told."""
    return [fill for raw in raws if raw.get("trader_side", "TAKER") == "TAKER" for fill in _fills_of(raw, call)]


def _fills_of(raw: Mapping[str, Any], call: str) -> list[Trade]:
    at = raw.get("match_time_ms")
    side, tx = text(raw, call, "side"), raw.get("transaction_hash")
    if side not in {"BUY", "SELL"}:
        raise Unanswered(call, f"side is {shorten(side, 20)}")
    told = "money" in raw
    trade = Trade(
        id=text(raw, call, "id"),
        order_id=text(raw, call, "taker_order_id"),
        market=text(raw, call, "market"),
        token=text(raw, call, "asset_id"),
        side=Side(side),
        price=decimal(raw, call, "price"),
        shares=decimal(raw, call, "size"),
        money=decimal(raw, call, "money") if told else Decimal(0),
        fee=decimal(raw, call, "fee") if told else None,
        at_ms=at if isinstance(at, int) else int(decimal(raw, call, "match_time")) * 1000,
        status=ChainStatus.of(str(raw.get("status"))),
        tx=named(tx, call, "transaction_hash") if tx else None,
    )
    if told:
        # The embedded exchange tells what the trade cost in all: nothing has to be taken apart.
        return [trade]
    makers = [
        (text(each, call, "asset_id"), decimal(each, call, "price"), decimal(each, call, "matched_amount"))
        for each in (objects(raw, call, "maker_orders") if raw.get("maker_orders") else ())
    ]
    return fills(trade, makers)


def _priced(trade: Trade, price: Decimal, shares: Decimal) -> Trade:
    # Money that was spent whole bought shares that were cut: what they cost is cut upwards.
    rounding = ROUND_CEILING if trade.side is Side.BUY else ROUND_FLOOR
    money = EXACT.multiply(price, shares).quantize(MONEY_UNIT, rounding, EXACT)
    return evolve(trade, price=price, shares=shares, money=money)
