"""The chain's JSON-RPC at ``/rpc``: what the venue's SDK asks a node, and transactions that wallets sign themselves.

Who signed a transaction is found out with ``eth-account`` (the extras ``bots`` and ``clients``); without it such
transactions are refused. Balances are those of the books of account, everything is approved, gas costs nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.chain.abi import Arguments, number, numbers, rlp_list, selector
from polymirror.simulator.chain.chain import ContractCall
from polymirror.simulator.chain.contracts import CHAIN_ID, MONEY
from polymirror.simulator.frames import Answer
from polymirror.simulator.orders.signing import checksummed
from polymirror.simulator.surface.answers import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.simulator.chain.chain import Chain
    from polymirror.simulator.frames import Call
    from polymirror.simulator.orders.entries import Holdings
    from polymirror.simulator.orders.ledger import Ledger

try:
    from eth_account import Account as _EthAccount
except ImportError:
    _EthAccount = None

PATH: Final = "/rpc"

MAX_BATCH: Final = 1_000
MAX_BODY: Final = 2**20
UNLIMITED: Final = 2**256 - 1
GAS: Final = 200_000

ALLOWANCE: Final = selector("allowance(address,address)")
APPROVED: Final = selector("isApprovedForAll(address,address)")
BALANCE: Final = selector("balanceOf(address)")
SHARE_BALANCE: Final = selector("balanceOf(address,uint256)")
SHARE_BALANCES: Final = selector("balanceOfBatch(address[],uint256[])")

INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, REJECTED, REVERTED = -32600, -32601, -32602, -32000, 3


class RpcError(Exception):
    """An answer that is an error: its code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class JsonRpc:
    """The node. A service for :class:`~polymirror.simulator.server.Simulator`."""

    def __init__(self, chain: Chain, ledger: Ledger) -> None:
        self._chain = chain
        self._ledger = ledger
        self._methods: dict[str, Callable[[list[Any], int], Any]] = {
            "eth_chainId": lambda _params, _now: hex(CHAIN_ID),
            "eth_gasPrice": lambda _params, _now: hex(30_000_000_000),
            "eth_estimateGas": lambda _params, _now: hex(GAS),
            "eth_blockNumber": lambda _params, now: hex(now // 2_000),
            "eth_getBlockByNumber": lambda _params, now: {"number": hex(now // 2_000), "timestamp": hex(now // 1_000)},
            "eth_getTransactionCount": lambda params, _now: hex(self._chain.nonce(str(params[0]))),
            "eth_getTransactionReceipt": self._receipt,
            "eth_sendRawTransaction": self._send,
            "eth_call": self._call,
        }

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call; ``None``: it is not for this service."""
        if call.path.rstrip("/") != PATH or call.method != "POST":
            return None
        try:
            asked = json.loads(call.body) if len(call.body) <= MAX_BODY else None
        except (ValueError, RecursionError):
            asked = None
        if isinstance(asked, list) and 0 < len(asked) <= MAX_BATCH:
            return Answer(200, json.dumps([self._one(each, now_ms) for each in asked]))
        return Answer(200, json.dumps(self._one(asked, now_ms))) if asked is not None else refused(400, "not JSON-RPC")

    def _one(self, asked: Any, now_ms: int) -> dict[str, Any]:
        name = asked.get("id") if isinstance(asked, dict) else None
        try:
            result = self._result(asked, now_ms)
        except RpcError as error:
            return {"jsonrpc": "2.0", "id": name, "error": {"code": error.code, "message": str(error)}}
        except (ValueError, LookupError, TypeError, AttributeError):
            return {"jsonrpc": "2.0", "id": name, "error": {"code": INVALID_PARAMS, "message": "invalid params"}}
        return {"jsonrpc": "2.0", "id": name, "result": result}

    def _result(self, asked: Any, now_ms: int) -> Any:
        if not isinstance(asked, dict) or not isinstance(asked.get("params", []), list):
            raise RpcError(INVALID_REQUEST, "invalid request")
        method = self._methods.get(str(asked.get("method")))
        if method is None:
            raise RpcError(NO_METHOD, "the method does not exist here")
        return method(asked.get("params", []), now_ms)

    def _receipt(self, params: list[Any], now_ms: int) -> dict[str, str] | None:
        sent = self._chain.find(str(params[0]))
        if sent is None or not sent.mined:
            return None
        return {
            "transactionHash": sent.hash,
            "status": "0x0" if sent.failure else "0x1",
            "from": sent.address,
            "blockNumber": hex(now_ms // 2_000),
        }

    def _send(self, params: list[Any], now_ms: int) -> str:
        raw = bytes.fromhex(str(params[0]).removeprefix("0x"))
        if _EthAccount is None:
            raise RpcError(NO_METHOD, "signed transactions need eth-account: pip install 'polymirror[clients]'")
        try:
            sender = str(_EthAccount.recover_transaction(raw))
        except Exception:  # noqa: BLE001 - whatever it raises, nobody signed this
            raise RpcError(INVALID_PARAMS, "the transaction is not signed") from None
        # A typed transaction has its type in front, and three more fields before its receiver.
        typed = raw[0] < 0x80
        fields = rlp_list(raw[1:] if typed else raw)
        nonce, to, data = (fields[1], fields[5], fields[7]) if typed else (fields[0], fields[3], fields[5])
        # Sent again, because its answer was lost, it must not happen again.
        given, wanted = int.from_bytes(nonce, "big"), self._chain.nonce(sender)
        if given != wanted:
            raise RpcError(REJECTED, "nonce too low" if given < wanted else "nonce too high")
        return self._chain.send(sender, [ContractCall(f"0x{to.hex()}", data)], now_ms).hash

    def _call(self, params: list[Any], _now_ms: int) -> str:
        to, data = str(params[0]["to"]).lower(), bytes.fromhex(str(params[0]["data"]).removeprefix("0x"))
        kind, given = data[:4], Arguments(data[4:])
        if kind == ALLOWANCE:
            return number(UNLIMITED)
        if kind == APPROVED:
            return number(1)
        if kind == BALANCE and to == MONEY.lower():
            return number(self._account(given.address(0)).cash)
        if kind == SHARE_BALANCE:
            return number(self._shares(given.address(0), given.number(1)))
        if kind == SHARE_BALANCES:
            owners, tokens = given.array(0), given.array(1)
            if owners.count() != tokens.count():
                raise RpcError(REVERTED, "execution reverted")
            pairs = range(owners.count())
            return numbers([self._shares(owners.address(index), tokens.number(index)) for index in pairs])
        raise RpcError(REVERTED, "execution reverted")

    def _shares(self, address: str, token: int) -> int:
        return self._account(address).shares(str(token))

    def _account(self, address: str) -> Holdings:
        return self._ledger.look_up(self._chain.purse_of(checksummed(address)))
