"""A trading client for the embedded exchange: the venue's own HTTP calls, over any network.

It speaks the order and account calls of the venue as :mod:`polymirror.simulator.orders.desk` answers them, with the
venue's authentication headers. The signature of the order alone is made up, because the embedded exchange has no
chain; live trading is :mod:`bots.common.execution.sdk`'s. Made by the wiring of a bot, used by the live executor.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
from attrs import field, frozen

from bots.common.errors import NotSent, Unanswered, shorten
from bots.common.execution.base import Ack, Holdings, Prepared, Redeemed
from bots.common.execution.reading import decimal, objects, state_of, taker_fills, text, word
from bots.common.execution.wire import MAX_PAGES, Departure, refusal, said_no
from bots.common.money.amounts import BASE_UNITS
from bots.common.orders.order import Side
from polymirror.errors import ConfigError
from polymirror.venue.backoff import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from bots.common.execution.base import OrderState, Trade
    from bots.common.orders.order import Order
    from polymirror.venue.network import Network

LAST_PAGE: Final = "LTE="

_ZERO_32: Final = "0x" + "0" * 64
_NO_SIGNATURE: Final = "0x" + "0" * 130


@frozen
class ApiKey:
    """Who trades: the wallet's address and the venue's credentials for it. Prints without its secrets."""

    address: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            base64.urlsafe_b64decode(self.secret)
        except (binascii.Error, ValueError):
            raise ConfigError("api secret", "(hidden)", "urlsafe base64") from None

    def headers(self, now: float, method: str, path: str, body: str) -> dict[str, str]:
        """Sign a call (protocol.md 7.2). ``now`` in unix seconds; ``path`` without host and query."""
        stamp = str(int(now))
        key = base64.urlsafe_b64decode(self.secret)
        digest = hmac.new(key, f"{stamp}{method}{path}{body}".encode(), hashlib.sha256).digest()
        return {
            "POLY_ADDRESS": self.address,
            "POLY_API_KEY": self.key,
            "POLY_PASSPHRASE": self.passphrase,
            "POLY_TIMESTAMP": stamp,
            "POLY_SIGNATURE": base64.urlsafe_b64encode(digest).decode(),
        }


class ExchangeClient:
    """One wallet's calls. Use ``async with``. ``timeout`` in seconds holds for each call as a whole step."""

    def __init__(self, base_url: str, account: ApiKey, network: Network, *, timeout: float = 5.0) -> None:
        if not 0 < timeout <= 60:  # noqa: PLR2004 - the range that the message states
            raise ConfigError("timeout", timeout, "above 0 and up to 60 seconds")
        self._base_url = base_url.rstrip("/")
        self._account = account
        self._network = network
        self._timeout = timeout
        # Open between __aenter__ and __aexit__.
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        make = self._network.transport
        self._client = httpx.AsyncClient(transport=make() if make is not None else None, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # The calls of a TradingClient.

    async def prepare(self, order: Order) -> Prepared:
        """Write the order as the venue wants it. See :class:`~bots.common.execution.base.TradingClient`."""
        body = json.dumps(
            {
                "order": self._fields(order),
                "owner": self._account.key,
                "orderType": order.tif.value,
                "deferExec": False,
                "postOnly": False,
            },
            separators=(",", ":"),
        )
        return Prepared(order=order, order_id=self.order_id(order), payload=body)

    def order_id(self, order: Order) -> str | None:
        """Return the name the exchange gives this order: a hash of what would be signed."""
        from polymirror.simulator.orders.desk import order_id_of  # noqa: PLC0415 - this client alone needs the simulator

        return order_id_of(self._fields(order))

    async def send(self, prepared: Prepared, check: Callable[[], object]) -> Ack:
        """Send the order, once. See :class:`~bots.common.execution.base.TradingClient`."""
        departure = Departure(check, traced=self._network.transport is None)
        raw = await self._call("POST", "/order", body=str(prepared.payload), departure=departure)
        if raw.get("success") is not True or raw.get("errorMsg"):
            raise said_no("order", str(raw.get("errorMsg", "")))
        shares = "takingAmount" if prepared.order.side is Side.BUY else "makingAmount"
        return Ack(
            order_id=text(raw, "order", "orderID"),
            status=word(raw.get("status")),
            shares=decimal(raw, "order", shares, empty="0"),
        )

    async def look_up(self, order_id: str) -> OrderState | None:
        """Return what the exchange says of an order, or ``None`` for a 404 or ``null``."""
        raw = await self._call("GET", f"/data/order/{order_id}", missing=True)
        return state_of(raw.get("status"), decimal(raw, "order look-up", "size_matched")) if raw else None

    async def trades(self, since_ms: int, *, market: str | None = None) -> Sequence[Trade]:
        """Return our taker fills since then, the oldest first."""
        query = {"after": str(since_ms // 1000)} | ({"market": market} if market is not None else {})
        found: list[Trade] = []
        for _ in range(MAX_PAGES):
            page = await self._call("GET", "/data/trades", query=query)
            found += taker_fills(objects(page, "trades"))
            cursor = page.get("next_cursor")
            if not isinstance(cursor, str) or cursor in {"", LAST_PAGE}:
                return sorted(found, key=lambda trade: trade.at_ms)
            query["next_cursor"] = cursor
        raise Unanswered("trades", f"more than {MAX_PAGES} pages")

    async def holdings(self) -> Holdings:
        """Return the account's pUSD, reserved ones included, and its positions."""
        query = {"asset_type": "COLLATERAL", "signature_type": "0"}
        cash, held = await asyncio.gather(
            self._call("GET", "/balance-allowance", query=query), self._call("GET", "/data/positions")
        )
        positions = {
            text(raw, "positions", "asset_id"): decimal(raw, "positions", "size") for raw in objects(held, "positions")
        }
        balance = decimal(cash, "balance", "balance") / BASE_UNITS
        return Holdings(cash=balance, positions={token: size for token, size in positions.items() if size})

    async def redeem(self, market: str, token: str) -> Redeemed:
        """Redeem the market; return what became of this token's shares."""
        raw = await self._call("POST", "/redeem", body=json.dumps({"market": market}, separators=(",", ":")))
        ours = [each for each in objects(raw, "redeem", "redeemed") if each.get("asset_id") == token]
        shares, money = (
            sum((decimal(each, "redeem", name) for each in ours), Decimal(0)) for name in ("size", "payout")
        )
        return Redeemed(shares=shares, money=money)

    async def merge(self, market: str, shares: Decimal) -> None:
        """Merge shares of both tokens of a market."""
        body = json.dumps({"market": market, "amount": _base_units(shares)}, separators=(",", ":"))
        await self._call("POST", "/merge", body=body)

    def login(self) -> dict[str, str]:
        """Return the credentials as the user channel wants them."""
        made = self._account
        return {"apiKey": made.key, "secret": made.secret, "passphrase": made.passphrase}

    async def authorised(self) -> None:
        """Make the cheapest call that needs credentials. Raises BadCredentials or another TradingError."""
        await self._call("GET", "/auth/api-keys")

    # One call.

    def _fields(self, order: Order) -> dict[str, Any]:
        address = self._account.address
        return {
            "salt": order.salt,
            "maker": address,
            "signer": address,
            "tokenId": order.token,
            "makerAmount": _base_units(order.offered),
            "takerAmount": _base_units(order.asked),
            "side": order.side.value,
            "signatureType": 0,
            "timestamp": str(order.created_ms),
            "expiration": "0",
            "metadata": _ZERO_32,
            "builder": _ZERO_32,
            "signature": _NO_SIGNATURE,
        }

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: str = "",
        departure: Departure | None = None,
        missing: bool = False,
    ) -> dict[str, Any]:
        """Make one signed call and return its JSON object; ``{}`` for a 404 or ``null`` where that is an answer."""
        name = f"{method} {path.split('/0x', maxsplit=1)[0]}"
        if self._client is None:
            raise NotSent(name, "the client is not open")
        headers = self._account.headers(self._network.wall(), method, path, body)
        if body:
            headers["Content-Type"] = "application/json"
        leaving = departure or Departure(lambda: None, traced=self._network.transport is None)
        request = self._client.build_request(
            method,
            self._base_url + path,
            params=query,
            content=body or None,
            headers=headers,
            extensions={"trace": leaving.trace},
        )
        leaving()
        try:
            # The whole call has one limit: a body that trickles must not hold up the wallet's lane.
            async with asyncio.timeout(self._timeout):
                response = await self._client.send(request)
        except (httpx.HTTPError, TimeoutError) as error:
            raise leaving.failed(name, error) from None
        raw = _json(response)
        if missing and ((response.status_code == httpx.codes.NOT_FOUND and raw is not None) or response.text == "null"):
            return {}
        if not response.is_success:
            text = str(raw.get("error", "")) if raw is not None else f"not JSON: {shorten(response.text, 60)}"
            wish = parse_retry_after(response.headers.get("Retry-After"), self._network.wall())
            raise refusal(name, response.status_code, text, retry_after=wish, own=raw is not None)
        if raw is None:
            raise Unanswered(name, f"HTTP {response.status_code} with no JSON object in it")
        return raw


def _base_units(amount: Decimal) -> str:
    return str(int((amount * BASE_UNITS).to_integral_value(ROUND_FLOOR)))


def _json(response: httpx.Response) -> dict[str, Any] | None:
    try:
        raw = response.json()
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None
