"""What the order desk says and hears on the wire: credentials, and the JSON of answers, orders and trades.

Pure values and functions; the shapes are the venue's (protocol.md 7.2, the models of its SDK) unless a field is
called the simulator's own. :mod:`polymirror.simulator.orders.desk` decides which of them answers what.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.ladder import PRICE_TEXTS, size_text
from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from attrs import Attribute

    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.broker import BookedOrder
    from polymirror.simulator.orders.ledger import Fill

PAGE_SIZE: Final = 100
"""Entries in one page of a list."""

END_CURSOR: Final = "LTE="
"""The venue's mark of the last page: -1 in base64."""

BUILDER_FEE_BPS: Final = "1000"
"""What trades state as ``fee_rate_bps``; it is not the fee that is charged (protocol.md 7.5)."""


def _secret(_: object, attribute: Attribute[str], value: str) -> None:
    try:
        base64.b64decode(_padded(value), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(attribute.name, "(hidden)", "URL-safe base64") from None


def _padded(secret: str) -> str:
    return secret + "=" * (-len(secret) % 4)


@frozen(kw_only=True)
class Account:
    """Who may trade: the address, and the credentials that calls are signed with. ``secret`` is URL-safe base64."""

    address: str
    api_key: str
    secret: str = field(repr=False, validator=_secret)
    passphrase: str = field(repr=False)

    @classmethod
    def made_up(cls, name: str) -> Account:
        """An account that follows from a name: for simulations, where nothing is secret."""
        parts = [sha256(f"{name}/{part}".encode()).hexdigest() for part in ("address", "key", "secret", "pass")]
        secret = base64.urlsafe_b64encode(bytes.fromhex(parts[2])).decode()
        return cls(address="0x" + parts[0][:40], api_key=parts[1][:32], secret=secret, passphrase=parts[3])

    def signature(self, timestamp: str, method: str, path: str, body: bytes) -> str:
        """The venue's L2 signature of a call (protocol.md 7.2)."""
        message = f"{timestamp}{method}{path}".encode() + body
        key = base64.urlsafe_b64decode(_padded(self.secret))
        return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode()

    def signed(self, call: Call) -> bool:
        """Whether a call carries this account's headers and a right signature."""
        headers = call.headers
        timestamp = headers.get("poly_timestamp", "")
        wanted = {
            "poly_address": self.address,
            "poly_api_key": self.api_key,
            "poly_passphrase": self.passphrase,
            "poly_signature": self.signature(timestamp, call.method, call.path, call.body),
        }
        # Compared to the end whatever differs, as one compares secrets.
        same = [hmac.compare_digest(headers.get(name, "").encode(), text.encode()) for name, text in wanted.items()]
        return all(same) and timestamp.isdigit()

    def headers(self, timestamp_s: int, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The five headers of a call, for clients and tests. ``path`` is without host and query."""
        return {
            "POLY_ADDRESS": self.address,
            "POLY_API_KEY": self.api_key,
            "POLY_PASSPHRASE": self.passphrase,
            "POLY_TIMESTAMP": str(timestamp_s),
            "POLY_SIGNATURE": self.signature(str(timestamp_s), method, path, body),
        }


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
