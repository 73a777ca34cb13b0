"""What the order desk says on the wire: the JSON of answers, orders and trades, and of the user channel's events.

Pure functions; the shapes are the venue's (protocol.md 7.2 and 11, the models of its SDK) unless a field is called the
simulator's own. :mod:`polymirror.simulator.orders.desk` decides which of them answers what.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from polymirror.simulator.exchange.ladder import PRICE_TEXTS, size_text
from polymirror.simulator.frames import Answer
from polymirror.simulator.orders.states import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.auth import Account
    from polymirror.simulator.orders.states import BookedOrder
    from polymirror.simulator.orders.trades import MakerFill, Trade

PAGE_SIZE: Final = 100
"""Entries in one page of a list."""

END_CURSOR: Final = "LTE="
"""The venue's mark of the last page: -1 in base64."""

FEE_BPS: Final = "0"
"""What orders and trades state as ``fee_rate_bps`` since fees are taken in collateral (protocol.md 11)."""

PREFIX: Final = "TRADE_STATUS_"
"""What look-ups put before the status of a trade; the user channel has the bare word."""

NOBODY: Final = "0x" + "0" * 40
"""The address that is stated of the traders of the simulated order flow."""


@frozen(kw_only=True)
class Geo:
    """What the venue thinks of the caller's place."""

    blocked: bool = False
    ip: str = "203.0.113.42"
    country: str = "IE"
    region: str = "L"


def compact(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def json_answer(value: object) -> Answer:
    """An answer with a value as compact JSON."""
    return Answer(200, compact(value))


def error_answer(status: int, text: str, code: str = "") -> Answer:
    """The venue's form of an error, with a code where it gives one."""
    return Answer(status, compact({"error": text, "code": code} if code else {"error": text}))


def _same(value: Any) -> Any:
    return value


def page_answer(entries: Sequence[Any], call: Call, form: Callable[[Any], Any] = _same) -> Answer:
    """Some entries of a list, and the mark by which the next ones are asked for."""
    cursor = call.query.get("next_cursor", "")
    try:
        start = int(base64.b64decode(cursor, validate=True)) if cursor else 0
    except ValueError:
        return error_answer(400, "invalid next cursor")
    shown = [form(entry) for entry in entries[start : start + PAGE_SIZE]] if start >= 0 else []
    end = start + PAGE_SIZE
    following = base64.b64encode(str(end).encode()).decode() if start >= 0 and end < len(entries) else END_CURSOR
    return json_answer({"data": shown, "next_cursor": following, "limit": PAGE_SIZE, "count": len(shown)})


def placed(order: BookedOrder) -> dict[str, Any]:
    """The answer to an order that was accepted.

    One that is held back has no amounts yet; one that rests has those of what was matched before, if anything was.
    """
    matched = order.shares > 0 and order.state is not OrderState.DELAYED
    making, taking = (order.money, order.shares) if order.buys else (order.shares, order.money)
    status = {OrderState.DELAYED: "delayed", OrderState.UNMATCHED: "unmatched"}.get(order.state, "live")
    return {
        "errorMsg": "",
        "orderID": order.id,
        "takingAmount": size_text(taking) if matched else "",
        "makingAmount": size_text(making) if matched else "",
        "status": "matched" if matched else status,
        "tradeIDs": list(order.trade_ids),
        "success": True,
    }


def refused(text: str) -> dict[str, Any]:
    """The answer to an order among many that was not accepted."""
    empty = dict.fromkeys(("orderID", "takingAmount", "makingAmount", "status"), "")
    return {"errorMsg": text, **empty, "tradeIDs": [], "success": False}


def order_object(account: Account, order: BookedOrder, wallet: str) -> dict[str, Any]:
    """An order as look-ups give it; ``wallet`` is the address that it was sent for."""
    return {
        "id": order.id,
        "status": order.state.value,
        "owner": account.api_key,
        "maker_address": wallet,
        "market": order.market,
        "asset_id": order.token,
        "side": _side(order.buys),
        "original_size": size_text(order.original_size),
        "size_matched": size_text(order.size_matched),
        "price": PRICE_TEXTS[order.price],
        "outcome": order.outcome,
        "order_type": order.kind,
        "created_at": order.accepted_ms // 1_000,
        "expiration": str(order.expiration_s),
        "associate_trades": list(order.trade_ids),
    }


def order_event(account: Account, order: BookedOrder, wallet: str, kind: str, at_ms: int) -> dict[str, Any]:
    """An order as the user channel tells it: numbers are strings, times are seconds."""
    shown = order_object(account, order, wallet)
    return {
        **shown,
        "event_type": "order",
        "type": kind,
        "created_at": str(shown["created_at"]),
        "timestamp": str(at_ms // 1_000),
        "order_owner": account.api_key,
    }


def trade_object(account: Account, trade: Trade, wallet: str, money: int) -> dict[str, Any]:
    """A trade as an account sees it in its list; the last three fields are the simulator's own.

    The fields at the top are the taker's, whoever looks. Others' API keys are not told. ``money`` is what the account's
    own part cost or brought without the fee, in 1/1,000,000 pUSD.
    """
    takes = trade.taker_address == account.address
    return {
        "id": trade.id,
        "taker_order_id": trade.taker_order_id,
        "market": trade.market,
        "asset_id": trade.token,
        "side": _side(trade.buys),
        "size": size_text(trade.shares),
        "price": PRICE_TEXTS[trade.price],
        "fee_rate_bps": FEE_BPS,
        "status": PREFIX + trade.status.value,
        "match_time": str(trade.matched_ms // 1_000),
        "last_update": str(trade.updated_ms // 1_000),
        "outcome": trade.outcome,
        "bucket_index": 0,
        "owner": account.api_key,
        "maker_address": wallet,
        "transaction_hash": trade.transaction_hash,
        "trader_side": "TAKER" if takes else "MAKER",
        "maker_orders": [_maker(account, maker, wallet) for maker in trade.makers],
        "fee": size_text(trade.fee if takes else 0),
        "money": size_text(money),
        "match_time_ms": trade.matched_ms,
    }


def trade_event(account: Account, trade: Trade, shown: dict[str, Any], at_ms: int) -> dict[str, Any]:
    """A trade as the user channel tells it; ``shown`` is what the list has."""
    return {
        **shown,
        "event_type": "trade",
        "type": "TRADE",
        "status": trade.status.value,
        "timestamp": str(at_ms // 1_000),
        "matchtime": str(trade.matched_ms // 1_000),
        "trade_owner": account.api_key,
    }


def _maker(account: Account, maker: MakerFill, wallet: str) -> dict[str, Any]:
    own = maker.address == account.address
    return {
        "order_id": maker.order_id,
        "owner": account.api_key if own else "",
        "maker_address": wallet if own else maker.address or NOBODY,
        "asset_id": maker.token,
        "side": _side(maker.buys),
        "price": PRICE_TEXTS[maker.price],
        "matched_amount": size_text(maker.shares),
        "outcome": maker.outcome,
        "outcome_index": 0 if maker.outcome == "Up" else 1,
        "fee_rate_bps": FEE_BPS,
    }


def _side(buys: bool) -> str:  # noqa: FBT001 - what it is about
    return "BUY" if buys else "SELL"
