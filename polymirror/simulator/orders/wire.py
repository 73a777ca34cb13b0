"""What the order desk says on the wire: the JSON of answers, orders and trades.

Pure values and functions; the shapes are the venue's (protocol.md 7.2, the models of its SDK) unless a field is
called the simulator's own. :mod:`polymirror.simulator.orders.desk` decides which of them answers what.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from polymirror.simulator.exchange.ladder import PRICE_TEXTS, size_text
from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.auth import Account
    from polymirror.simulator.orders.broker import BookedOrder
    from polymirror.simulator.orders.ledger import Fill

PAGE_SIZE: Final = 100
"""Entries in one page of a list."""

END_CURSOR: Final = "LTE="
"""The venue's mark of the last page: -1 in base64."""

BUILDER_FEE_BPS: Final = "1000"
"""What trades state as ``fee_rate_bps``; it is not the fee that is charged (protocol.md 7.5)."""


@frozen(kw_only=True)
class Geo:
    """What the venue thinks of the caller's place."""

    blocked: bool = False
    ip: str = "203.0.113.42"
    country: str = "IE"
    region: str = "L"


def json_answer(value: object) -> Answer:
    """An answer with a value as compact JSON."""
    return Answer(200, json.dumps(value, separators=(",", ":")))


def error_answer(status: int, text: str, code: str = "") -> Answer:
    """The venue's form of an error, with a code where it gives one."""
    body = {"error": text, "code": code} if code else {"error": text}
    return Answer(status, json.dumps(body, separators=(",", ":")))


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


def order_object(account: Account, order: BookedOrder) -> Mapping[str, Any]:
    """An order as look-ups give it."""
    ticket = order.ticket
    return {
        "id": order.id,
        "status": order.state.value,
        "owner": account.api_key,
        "maker_address": account.address,
        "market": order.market,
        "asset_id": order.token,
        "side": "BUY" if order.buys else "SELL",
        "original_size": size_text(ticket.shares),
        "size_matched": size_text(order.shares),
        "price": PRICE_TEXTS[ticket.limit],
        "outcome": order.outcome,
        "order_type": order.kind,
        "created_at": order.accepted_ms // 1_000,
        "expiration": str(order.expiration_s),
        "associate_trades": list(order.trade_ids),
    }


def trade_object(account: Account, fill: Fill) -> Mapping[str, Any]:
    """A fill as the list of trades gives it; the last three fields are the simulator's own."""
    side, other = ("BUY", "SELL") if fill.buys else ("SELL", "BUY")
    size, price, moment = size_text(fill.shares), PRICE_TEXTS[fill.price], str(fill.at_ms // 1_000)
    maker = {
        "order_id": "0x" + sha256(f"maker/{fill.id}".encode()).hexdigest(),
        "owner": "",
        "maker_address": "0x" + "0" * 40,
        "asset_id": fill.token,
        "side": other,
        "price": price,
        "matched_amount": size,
        "outcome": fill.outcome,
        "fee_rate_bps": "0",
    }
    return {
        "id": fill.id,
        "taker_order_id": fill.order_id,
        "market": fill.market,
        "asset_id": fill.token,
        "side": side,
        "size": size,
        "price": price,
        "fee_rate_bps": BUILDER_FEE_BPS,
        "status": "TRADE_STATUS_CONFIRMED",
        "match_time": moment,
        "last_update": moment,
        "outcome": fill.outcome,
        "bucket_index": 0,
        "owner": account.api_key,
        "maker_address": account.address,
        "transaction_hash": "",
        "trader_side": "TAKER",
        "maker_orders": [maker],
        "fee": size_text(fill.fee),
        "money": size_text(fill.money),
        "match_time_ms": fill.at_ms,
    }
