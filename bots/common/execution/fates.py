"""What the venue's words and lists prove about one order, and what they do not. Pure.

An order that may have left ends by positive evidence alone: a final word of a look-up by its name, or fills that
account for all of it. A look-up that finds nothing and a list that shows nothing prove nothing: both have been seen to
be behind by tens of seconds (protocol.md 11). Called by the live executor, and by whoever books fills.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bots.common.money.amounts import DUST, EXACT, MONEY_STEP
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from polymirror.core.fees import charged_fee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.common.execution.base import Trade
    from bots.common.orders.order import Order

MATCHED: Final = "MATCHED"

DEAD: Final = ("UNMATCHED", "INVALID", "CANCELED", "CANCELLED")
"""How the venue's words begin for an order that will not trade any more; the rest may be a reason, in prose too."""

REASONS: Final = ("MARKET_", "NOT_ENOUGH_BALANCE", "EXPIRED_ORDER", "ORDER_TIMED_OUT", "ORDER COULDN'T BE")
"""How the reasons begin that are known."""

LATE_MS: Final = 60_000
"""After this a look-up shows what became of an order: it has been seen to be behind by tens of seconds."""

CLOCKS_APART_MS: Final = 120_000
"""How far the venue's clock and ours may differ when an order without a name is searched by its time."""

UNSEEN: Final = "the venue shows neither the order nor a trade of it, which proves nothing"
"""The detail of a look-up that was answered in full and found nothing. With what the wallet shows it may be proof."""

ZERO: Final = Decimal(0)


def is_dead(status: str, age_ms: int) -> bool:
    """Whether the venue's word for an order, in capitals, ends it without a match. Words not known are in flight.

    A reason that nobody knows may be told of one that trades after all, while it is no older than look-ups are late.
    """
    known = status in DEAD or status.partition("_")[2].startswith(REASONS)
    return status.startswith(DEAD) and (known or age_ms > LATE_MS)


def beyond(order: Order, fills: Sequence[Trade]) -> str:
    """Say in words why these cannot be the order's fills; empty: they can. Such fills are told and never booked.

    What bounds a purchase is its money: a better price may bring more shares.
    """
    buying = order.side is Side.BUY
    for fill in fills:
        if fill.shares <= 0 or fill.money < 0 or not 0 < fill.price < 1:
            return f"trade {fill.id} is of {fill.shares} shares at {fill.price} for {fill.money} pUSD"
        if abs(EXACT.subtract(EXACT.multiply(fill.shares, fill.price), fill.money)) > MONEY_STEP:
            return f"trade {fill.id} of {fill.shares} shares at {fill.price} is said to be for {fill.money} pUSD"
        if fill.fee is not None and not 0 <= fill.fee <= fill.shares:
            return f"trade {fill.id} of {fill.shares} shares has a fee of {fill.fee} pUSD"
        if fill.price > order.price if buying else fill.price < order.price:
            return f"trade {fill.id} is at {fill.price}, beyond the limit {order.price}"
    used = _used(order, [fill for fill in fills if not fill.failed])
    if used > EXACT.add(order.offered, MONEY_STEP if buying else DUST):
        return f"its trades use {used} {'pUSD' if buying else 'shares'} of {order.offered} offered"
    return ""


def could_be(order: Order, fill: Trade) -> bool:
    """Whether the order, of which no name is known, could have made this fill."""
    return fill.at_ms >= order.created_ms - CLOCKS_APART_MS and not beyond(order, [fill])


def account(order: Order, order_id: str, fills: Sequence[Trade], told: Decimal = ZERO) -> Result:
    """Say what an order did by the list of its fills, those that failed on the chain included.

    ``told`` is how many shares the venue says have matched, 0 if it does not say. The order is ``UNKNOWN`` until
    fills account for that, or for all that it offered: a match is listed trade by trade.
    """
    if wrong := beyond(order, fills):
        return Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=f"not booked, because {wrong}")
    listed = sum((fill.shares for fill in fills), ZERO)
    done = _is_whole(order, fills) or bool(told and listed >= told - DUST)
    if not listed or not done:
        of_what = f" of {told}" if told else ""
        detail = f"matched, and {listed}{of_what} shares are listed so far" if listed else "matched, and not listed yet"
        return Result(outcome=Outcome.UNKNOWN, order_id=order_id, detail=detail)
    moved = [fill for fill in fills if not fill.failed]
    if not moved:
        detail = "matched, and its trades failed on the chain: nothing moved"
        return Result(outcome=Outcome.NO_MATCH, order_id=order_id, detail=detail)
    shares = money = fee = ZERO
    for fill in moved:
        shares, money = EXACT.add(shares, fill.shares), EXACT.add(money, fill.money)
        fee = EXACT.add(fee, charged_fee(order.fee, fill.price, fill.shares) if fill.fee is None else fill.fee)
    lost = len(fills) - len(moved)
    fok = order.tif is TimeInForce.FOK and not lost
    return Result(
        outcome=Outcome.FILLED if _is_whole(order, moved) or fok else Outcome.PARTIAL,
        shares=shares,
        money=money,
        fee=fee,
        order_id=order_id,
        detail=f"{len(moved)} fill{'s' if len(moved) > 1 else ''}" + (f", {lost} failed on the chain" if lost else ""),
        exact=all(fill.fee is not None for fill in moved),
    )


def told_shares(order: Order, told: Decimal) -> Decimal:
    """Take what a look-up says was matched in shares, or in millionths of a share: the venue's sources differ.

    No order buys more than all its money does at the lowest price there is, so the two cannot be mixed up.
    """
    most = EXACT.divide(order.money, order.tick) if order.side is Side.BUY else order.shares
    return told if told <= most else told.scaleb(-6, EXACT)


def _used(order: Order, fills: Sequence[Trade]) -> Decimal:
    return sum((fill.money if order.side is Side.BUY else fill.shares for fill in fills), ZERO)


def _is_whole(order: Order, fills: Sequence[Trade]) -> bool:
    """Whether the fills use all that the order offered, but for what rounding leaves."""
    return _used(order, fills) >= order.offered - (MONEY_STEP if order.side is Side.BUY else DUST)
