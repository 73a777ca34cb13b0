"""A node of the chain, asked what a wallet has: a word on money that is not the venue's.

One call of one contract over JSON-RPC, ``balanceOf`` of pUSD (protocol.md 7.2), in millionths. It costs nothing and
needs no key. What an order spends is missing there whatever the venue says of the order.
"""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import httpx

from bots.common.errors import Unanswered
from bots.common.money.amounts import BASE_UNITS
from polymirror.config import check_address
from polymirror.errors import BadResponse, ConfigError
from polymirror.venue.body import ENCODING, read_answer

if TYPE_CHECKING:
    from attrs import Attribute

    from polymirror.venue.network import Network

NODE: Final = "https://polygon.drpc.org"
"""A public node, the one that the venue's SDK asks."""

MONEY: Final = "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"
"""The contract of pUSD (protocol.md 7.2)."""

BALANCE_OF: Final = "70a08231"
"""What calls ``balanceOf(address)``, of any ERC-20 contract."""

MAX_ANSWER_BYTES: Final = 65_536
MAX_CASH: Final = 2**63
"""More parts of a pUSD than this are no balance: there is less than that of any money."""

_WALLET: Final = re.compile(r"0x([0-9a-fA-F]{40})")
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")

CALL: Final = "chain"


def node_address(_self: object, attribute: Attribute[str], value: object) -> None:
    """Allow the address of a node, or nothing, in the settings."""
    if value != "":
        check_address(attribute.name, value, "https", "http")


class Node:
    """Asks one node for one wallet. Close it with :meth:`aclose`. Raises ConfigError for what is no wallet or URL."""

    def __init__(self, url: str, wallet: str, network: Network, *, timeout: float = 5.0) -> None:
        check_address("node", url, "https", "http")
        named = _WALLET.fullmatch(wallet)
        if named is None:
            raise ConfigError("wallet", wallet, "an address: 0x and 40 hexadecimal digits")
        self._timeout = timeout
        call = {"to": MONEY, "data": f"0x{BALANCE_OF}{named[1].lower():0>64}"}
        self._question = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
        transport = None if network.transport is None else network.transport()
        self._url = url
        self._client = httpx.AsyncClient(transport=transport, timeout=timeout, headers=ENCODING)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def cash(self) -> Decimal:
        """Return the wallet's pUSD in the newest block. Raises TradingError."""
        # Nothing that is told has the address in it: those of many nodes hold a key. A redirect is not followed.
        try:
            # One limit for the whole call: a body that trickles must not hold up what is held against it.
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, json=self._question) as response,
            ):
                body = await read_answer(CALL, response, MAX_ANSWER_BYTES)
        except (httpx.HTTPError, BadResponse, TimeoutError) as error:
            raise Unanswered(CALL, f"{type(error).__name__}: {error}") from None
        return _cash(response.status_code, body)


def _cash(status: int, body: bytes) -> Decimal:
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Unanswered(CALL, f"HTTP {status} with no JSON object in it")
    said = answer.get("result")
    if not isinstance(said, str) or not _NUMBER.fullmatch(said) or int(said, 16) > MAX_CASH:
        raise Unanswered(CALL, f"HTTP {status}: no balance in the answer, but {answer.get('error', said)!r}")
    return Decimal(int(said, 16)) / BASE_UNITS
