"""The venue's relayer: it sends the transactions of deposit wallets, so that their owners need no gas.

Every wallet counts as deployed. Batches of deposit wallets are taken on; those of the older kinds of wallets (proxies
and safes) are refused, because their calls are wrapped in ways that nothing here unwraps. Signatures are not looked at.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.chain.chain import ContractCall
from polymirror.simulator.orders.signing import checksummed, is_address
from polymirror.simulator.surface.answers import refused, told

if TYPE_CHECKING:
    from polymirror.simulator.chain.chain import Chain
    from polymirror.simulator.frames import Answer, Call

TRANSACTIONS: Final = "/v1/account/transactions"

MAX_BODY: Final = 2**20
MAX_CALLS: Final = 50

ONLY_DEPOSIT_WALLETS: Final = "the simulated relayer takes transactions of deposit wallets only (type WALLET)"


class Relayer:
    """The relayer. A service for :class:`~polymirror.simulator.server.Simulator`."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        # How many batches each signer has sent for his deposit wallet: what the next one must state.
        self._batches: dict[str, int] = {}

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call; ``None``: it is not for this service."""
        path = call.path.rstrip("/")
        if call.method == "POST":
            return self._submit(call, now_ms) if path == "/submit" else None
        if call.method != "GET":
            return None
        if path == "/deployed":
            return told({"deployed": True})
        if path in {"/relay-payload", f"{TRANSACTIONS}/params"}:
            address = call.query.get("address", "")
            count = self._batches.get(address.lower(), 0)
            counted = count if call.query.get("type") == "WALLET" else self._chain.nonce(address)
            return told({"address": address, "nonce": str(counted)})
        head, _, name = path.rpartition("/")
        return self._state(name) if head == TRANSACTIONS else None

    def _submit(self, call: Call, now_ms: int) -> Answer:
        try:
            asked: Any = json.loads(call.body) if len(call.body) <= MAX_BODY else None
            signer = str(asked["from"])
            if asked["type"] == "WALLET-CREATE":
                wallet, calls = signer, []
            elif asked["type"] != "WALLET":
                return refused(400, ONLY_DEPOSIT_WALLETS)
            else:
                batch = asked["depositWalletParams"]
                wallet, calls = str(batch["depositWallet"]), [_read(each) for each in batch["calls"]]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return refused(400, "invalid transaction")
        if not (is_address(wallet) and is_address(signer)) or len(calls) > MAX_CALLS:
            return refused(400, "invalid transaction")
        if not self._chain.belongs(checksummed(wallet), checksummed(signer)):
            return refused(400, "the wallet belongs to somebody else")
        due = self._batches.get(signer.lower(), 0)
        if asked["type"] == "WALLET":
            stated = str(asked.get("nonce", due))
            if stated != str(due):
                # Sent again, because its answer was lost, it must not happen again.
                return refused(400, f"batch nonce {stated[:80]} does not match on-chain nonce {due}")
            self._batches[signer.lower()] = due + 1
        sent = self._chain.send(checksummed(wallet), calls, now_ms)
        return told({"state": "STATE_NEW", "transactionID": sent.hash, "transactionHash": ""})

    def _state(self, name: str) -> Answer:
        sent = self._chain.find(name)
        if sent is None:
            return refused(404, "transaction not found")
        state = "STATE_EXECUTED" if not sent.mined else "STATE_FAILED" if sent.failure else "STATE_CONFIRMED"
        found = {"state": state, "transaction_id": name, "transaction_hash": name if sent.mined else ""}
        return told(found | ({"error_msg": sent.failure} if sent.failure else {}))


def _read(call: Any) -> ContractCall:
    return ContractCall(str(call["target"]), bytes.fromhex(str(call["data"]).removeprefix("0x")))
