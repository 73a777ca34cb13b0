"""The stand-in for the chain: transactions by the relayer and by JSON-RPC, and the data service that indexes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.chain.abi import Arguments, rlp_list, selector
from polymirror.simulator.chain.chain import Chain, ContractCall
from polymirror.simulator.chain.contracts import ADAPTER, APPROVALS, MONEY, SHARES
from polymirror.simulator.chain.index import Index
from polymirror.simulator.chain.relayer import Relayer
from polymirror.simulator.chain.rpc import JsonRpc
from polymirror.simulator.frames import Call
from polymirror.simulator.orders.broker import Broker
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger

SIGNER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
WALLET = "0x" + "ab" * 20
BYTES32 = bytes(32)


class World:
    """An exchange, a signer with 100 pUSD, and everything that belongs to the chain."""

    def __init__(self) -> None:
        self.exchange = Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=0.001)))
        self.ledger = Ledger()
        self.ledger.deposit(SIGNER, 100 * ONE_PUSD)
        self.broker = Broker(self.exchange, self.ledger)
        self.chain = Chain(self.exchange, self.broker, lambda address: address, mine_ms=500)
        self.rpc = JsonRpc(self.chain, self.ledger)
        self.relayer = Relayer(self.chain)
        self.index = Index(self.broker, self.chain.purse_of)
        self.market = self.exchange.markets[0]

    def call(self, what: str, amount: int = 0, condition: str | None = None) -> ContractCall:
        """A call as the venue's SDK makes it: split, merge or redeem."""
        named = bytes.fromhex((condition or self.market.condition_id)[2:])
        words = [bytes(12) + bytes.fromhex(MONEY[2:]), BYTES32, named, BYTES32]
        if what == "redeemPositions":
            kinds = "address,bytes32,bytes32,uint256[]"
        else:
            kinds = "address,bytes32,bytes32,uint256[],uint256"
            words.append(amount.to_bytes(32, "big"))
        return ContractCall(ADAPTER, selector(f"{what}({kinds})") + b"".join(words))

    def ask(self, *calls: dict[str, Any], body: bytes | None = None) -> Any:
        sent = calls[0] if len(calls) == 1 else list(calls)
        raw = json.dumps(sent).encode() if body is None else body
        answer = self.rpc.answer(Call("POST", "/rpc", {}, raw), self.exchange.now_ms)
        assert answer is not None
        return json.loads(answer.body)

    def submit(self, **content: Any) -> Any:
        return self.relayer.answer(Call("POST", "/submit", {}, json.dumps(content).encode()), self.exchange.now_ms)

    def get(self, service: Any, path: str, **query: str) -> Any:
        answer = service.answer(Call("GET", path, query), self.exchange.now_ms)
        return answer if answer is None or answer.status != 200 else json.loads(answer.body)

    def wait(self, ms: int = 600) -> None:
        self.exchange.step(self.exchange.now_ms + ms)
        self.ledger.audit()


def rpc(method: str, *params: Any, name: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": name, "method": method, "params": list(params)}


def test_a_split_is_mined_a_moment_later_and_merged_again() -> None:
    world = World()
    sent = world.chain.send(SIGNER, [world.call("splitPosition", 10 * ONE_PUSD)], world.exchange.now_ms)
    assert world.ask(rpc("eth_getTransactionReceipt", sent.hash))["result"] is None
    world.wait()
    assert world.ask(rpc("eth_getTransactionReceipt", sent.hash))["result"]["status"] == "0x1"
    account = world.ledger.account(SIGNER)
    assert (account.cash, [account.shares(token) for token in world.market.tokens]) == (
        90 * ONE_PUSD,
        [10 * ONE_PUSD] * 2,
    )
    world.chain.send(SIGNER, [world.call("mergePositions", 4 * ONE_PUSD)], world.exchange.now_ms)
    world.wait()
    assert (account.cash, account.shares(world.market.tokens[1])) == (94 * ONE_PUSD, 6 * ONE_PUSD)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda world: world.call("mergePositions", 1), "balance"),
        (lambda world: world.call("splitPosition", 101 * ONE_PUSD), "balance"),
        (lambda world: world.call("splitPosition", 1, "0x" + "0" * 64), "not found"),
        (lambda world: world.call("redeemPositions"), "not resolved"),
        (lambda _: ContractCall(ADAPTER, b"\x01\x02\x03\x04"), "does not know the call 0x01020304"),
        (lambda world: ContractCall(ADAPTER, world.call("splitPosition", 1).data[:70]), "too short"),
    ],
)
def test_a_transaction_that_cannot_be_is_mined_and_fails(call: Any, says: str) -> None:
    world = World()
    sent = world.chain.send(SIGNER, [call(world)], world.exchange.now_ms)
    world.wait()
    assert says in sent.failure
    assert world.ask(rpc("eth_getTransactionReceipt", sent.hash))["result"]["status"] == "0x0"
    assert world.ledger.account(SIGNER).cash == 100 * ONE_PUSD


def test_what_won_is_redeemed_by_its_payout() -> None:
    world = World()
    world.chain.send(SIGNER, [world.call("splitPosition", 10 * ONE_PUSD)], world.exchange.now_ms)
    world.wait()
    world.exchange.settle(world.market.slug, resolve_delay_ms=0, payouts=(1, 1))
    world.wait(100)
    rows = world.get(world.index, "/v2/positions", user=SIGNER)["data"]
    assert {(row["status"], row["current_price"], row["redeemable"]) for row in rows} == {("REDEEMABLE", "0.5", True)}
    world.chain.send(SIGNER, [world.call("redeemPositions")], world.exchange.now_ms)
    world.wait()
    assert world.ledger.account(SIGNER).cash == 100 * ONE_PUSD
    assert world.get(world.index, "/v2/positions", user=SIGNER)["data"] == []


def test_a_redemption_may_be_refused_for_a_while() -> None:
    world = World()
    world.chain.redeem_after_ms = 10_000
    world.chain.send(SIGNER, [world.call("splitPosition", 10 * ONE_PUSD)], world.exchange.now_ms)
    world.wait()
    world.exchange.settle(world.market.slug, resolve_delay_ms=0)
    world.wait(100)
    failures = []
    for _ in range(2):
        sent = world.chain.send(SIGNER, [world.call("redeemPositions")], world.exchange.now_ms)
        world.wait(11_000)
        failures.append(sent.failure)
    assert failures == ["execution reverted: result for condition not received yet", ""]
    assert world.ledger.account(SIGNER).cash == 100 * ONE_PUSD


def test_the_relayer_acts_for_the_wallet_of_whoever_sends() -> None:
    world = World()
    assert world.get(world.relayer, "/deployed", address=WALLET) == {"deployed": True}
    assert world.get(world.relayer, "/v1/account/transactions/params", address=WALLET)["nonce"] == "0"
    call = world.call("splitPosition", 10 * ONE_PUSD)
    batch = {"depositWallet": WALLET, "calls": [{"target": call.to, "value": "0", "data": "0x" + call.data.hex()}]}
    answer = world.submit(type="WALLET", **{"from": SIGNER}, depositWalletParams=batch)
    told = json.loads(answer.body)
    assert (told["state"], told["transactionHash"]) == ("STATE_NEW", "")
    path = f"/v1/account/transactions/{told['transactionID']}"
    assert world.get(world.relayer, path)["state"] == "STATE_EXECUTED"
    world.wait()
    found = world.get(world.relayer, path)
    assert (found["state"], found["transaction_hash"]) == ("STATE_CONFIRMED", told["transactionID"])
    assert world.ledger.account(SIGNER).cash == 90 * ONE_PUSD
    assert len(world.get(world.index, "/v2/positions", user=WALLET)["data"]) == 2
    assert world.get(world.relayer, "/v1/account/transactions/0x12").status == 404


def test_a_batch_that_is_sent_again_does_not_happen_again() -> None:
    world = World()
    call = world.call("splitPosition", 10 * ONE_PUSD)
    batch = {"depositWallet": WALLET, "calls": [{"target": call.to, "value": "0", "data": "0x" + call.data.hex()}]}

    def send(nonce: str) -> Any:
        return world.submit(type="WALLET", nonce=nonce, **{"from": SIGNER}, depositWalletParams=batch)

    def wanted() -> str:
        return str(world.get(world.relayer, "/v1/account/transactions/params", address=SIGNER, type="WALLET")["nonce"])

    assert (wanted(), send("0").status) == ("0", 200)
    again = send("0")
    assert (again.status, "batch nonce 0 does not match on-chain nonce 1" in again.body) == (400, True)
    assert (wanted(), send("1").status) == ("1", 200)
    world.wait()
    assert world.ledger.account(SIGNER).cash == 80 * ONE_PUSD


def test_a_wallet_stays_with_its_first_signer_and_a_signer_with_himself() -> None:
    world = World()
    world.chain.send(SIGNER, [world.call("splitPosition", 10 * ONE_PUSD)], world.exchange.now_ms)
    world.wait()

    def claim(signer: str, wallet: str) -> int:
        batch = {"depositWallet": wallet, "calls": []}
        return world.submit(type="WALLET", **{"from": signer}, depositWalletParams=batch).status

    stranger = "0x" + "cd" * 20
    assert (claim(SIGNER, WALLET), claim(stranger, WALLET)) == (200, 400)
    assert world.chain.purse_of(WALLET) == SIGNER
    # Whoever has money of his own is nobody's wallet.
    assert claim(stranger, SIGNER) == 400
    assert world.chain.purse_of(SIGNER) == SIGNER
    assert claim(SIGNER, SIGNER) == 200


def test_asking_for_an_address_leaves_nothing_behind() -> None:
    world = World()
    before = dict(world.ledger.accounts)
    owner = bytes(12) + bytes.fromhex(WALLET[2:])
    for signature, words in (("balanceOf(address)", owner), ("balanceOf(address,uint256)", owner + BYTES32)):
        data = "0x" + (selector(signature) + words).hex()
        assert int(world.ask(rpc("eth_call", {"to": MONEY, "data": data}, "latest"))["result"], 16) == 0
    for path in ("/v2/positions", "/v2/value", "/v2/trades"):
        world.get(world.index, path, user=WALLET)
    assert world.ledger.accounts == before


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"type": "SAFE", "from": SIGNER, "data": "0x"},
        {"type": "WALLET", "from": SIGNER},
        {"type": "WALLET", "from": "me", "depositWalletParams": {"depositWallet": WALLET, "calls": []}},
        {"type": "WALLET", "from": SIGNER, "depositWalletParams": {"depositWallet": WALLET, "calls": [{"target": 1}]}},
    ],
)
def test_what_the_relayer_cannot_read_is_refused(content: dict[str, Any]) -> None:
    assert World().submit(**content).status == 400


def test_a_node_answers_one_question_or_many() -> None:
    world = World()
    assert world.ask(rpc("eth_chainId")) == {"jsonrpc": "2.0", "id": 1, "result": "0x89"}
    many = world.ask(rpc("eth_chainId"), rpc("eth_blockNumber", name=2), rpc("eth_mine", name=3))
    assert [each["id"] for each in many] == [1, 2, 3]
    assert many[2]["error"]["code"] == -32601
    assert int(world.ask(rpc("eth_getBlockByNumber", "latest", False))["result"]["timestamp"], 16) > 1_700_000_000
    assert world.ask(rpc("eth_getTransactionCount", SIGNER, "latest"))["result"] == "0x0"
    for method, params in (("eth_call", []), ("eth_call", [{"to": MONEY}]), ("eth_sendRawTransaction", ["0x00"])):
        assert "error" in world.ask(rpc(method, *params)), method
    assert world.ask({"id": 9, "method": "eth_chainId", "params": {}})["error"]["code"] == -32600
    assert world.ask(body=b"7")["error"]["code"] == -32600
    assert "error" in world.ask(body=b"nothing")
    assert world.rpc.answer(Call("GET", "/rpc", {}), 0) is None


def test_balances_and_approvals_are_read_from_contracts() -> None:
    world = World()
    owner, token = bytes(12) + bytes.fromhex(SIGNER[2:]), int(world.market.tokens[0]).to_bytes(32, "big")
    world.chain.send(SIGNER, [world.call("splitPosition", 3 * ONE_PUSD)], world.exchange.now_ms)
    world.wait()

    def read(to: str, signature: str, *words: bytes) -> int:
        data = "0x" + (selector(signature) + b"".join(words)).hex()
        return int(world.ask(rpc("eth_call", {"to": to, "data": data}, "latest"))["result"], 16)

    assert read(MONEY, "balanceOf(address)", owner) == 97 * ONE_PUSD
    assert read(SHARES, "balanceOf(address,uint256)", owner, token) == 3 * ONE_PUSD
    assert read(MONEY, "allowance(address,address)", owner, owner) == 2**256 - 1
    assert read(SHARES, "isApprovedForAll(address,address)", owner, owner) == 1
    words = [number.to_bytes(32, "big") for number in (64, 128, 1)] + [owner, (1).to_bytes(32, "big"), token]
    data = "0x" + (selector("balanceOfBatch(address[],uint256[])") + b"".join(words)).hex()
    result = Arguments(bytes.fromhex(world.ask(rpc("eth_call", {"to": SHARES, "data": data}))["result"][2:]))
    assert [result.number(index) for index in range(3)] == [32, 1, 3 * ONE_PUSD]


def test_a_transaction_that_a_wallet_signed_is_its_own() -> None:
    account = pytest.importorskip("eth_account").Account.from_key("0x" + "11" * 32)
    world = World()
    call = world.call("splitPosition", 2 * ONE_PUSD)
    plain = {"to": call.to, "value": 0, "data": "0x" + call.data.hex(), "gas": 200_000, "chainId": 137}
    dear = {"maxFeePerGas": 10, "maxPriorityFeePerGas": 1}
    for nonce, prices in enumerate(({"gasPrice": 10}, dear)):
        signed = account.sign_transaction({**plain, "nonce": nonce, **prices})
        answer = world.ask(rpc("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex()))
        world.wait()
        assert world.ask(rpc("eth_getTransactionReceipt", answer["result"]))["result"]["status"] == "0x1"
        again = world.ask(rpc("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex()))
        assert again["error"]["message"] == "nonce too low"
        world.wait()
    assert world.ledger.account(SIGNER).cash == 96 * ONE_PUSD
    assert world.chain.nonce(SIGNER) == 2


def test_the_data_service_tells_positions_values_and_approvals() -> None:
    world = World()
    world.chain.send(SIGNER, [world.call("splitPosition", 10 * ONE_PUSD)], world.exchange.now_ms)
    world.wait()
    found = world.get(world.index, "/v2/positions", user=SIGNER)
    assert [row["token_id"] for row in found["data"]] == list(world.market.tokens)
    assert {(row["current_size"], row["avg_price"], row["mergeable"]) for row in found["data"]} == {("10", "0.5", True)}
    assert sum(float(row["current_value"]) for row in found["data"]) == pytest.approx(10)
    assert float(world.get(world.index, "/v2/value", user=SIGNER)["data"]["value"]) == pytest.approx(10)
    assert world.get(world.index, "/v2/positions", user=SIGNER, status="CLOSED")["data"] == []
    assert len(world.get(world.index, "/v2/positions", user=SIGNER, status="MERGEABLE")["data"]) == 2
    contracts = world.get(world.index, "/v2/approvals", user=SIGNER)["data"]["contracts"]
    assert len({(each["token"], each["spender"]) for each in contracts}) == len(contracts) == len(APPROVALS)
    assert world.get(world.index, "/v2/positions", user="me").status == 400
    assert world.get(world.index, "/v2/positions", user=SIGNER, limit="x").status == 400
    assert world.get(world.index, "/v2/positions") is None


def test_rlp_that_is_cut_off_or_something_else_is_refused() -> None:
    assert rlp_list(bytes.fromhex("c483646f6780"[:10])) == [b"dog"]
    assert rlp_list(b"\xf8\x38\xb8\x36" + bytes(54)) == [bytes(54)]
    for wrong in (b"", b"\x83dog", b"\xc4\x83dog\x80", b"\xc2\x83d", b"\xf8", b"\xc1\xb8"):
        with pytest.raises(ValueError, match=r"cut off|not an RLP"):
            rlp_list(wrong)
