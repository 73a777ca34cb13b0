"""Hashes and signatures of logins and orders, against known values; verified where eth-account is installed."""

from __future__ import annotations

from typing import Any

import pytest

from polymirror.simulator.orders import signing
from polymirror.simulator.orders.keccak import keccak256

EOA = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
"""The address of the private key 0x1111..11."""

needs_curve = pytest.mark.skipif(not signing.VERIFIES, reason="eth-account is not installed")


def order(**changed: Any) -> dict[str, Any]:
    fields = {
        "salt": 5,
        "maker": EOA,
        "signer": EOA,
        "tokenId": "123",
        "makerAmount": "5000000",
        "takerAmount": "10000000",
        "side": "BUY",
        "signatureType": 0,
        "timestamp": "1790000100000",
        "metadata": "0x" + "0" * 64,
        "builder": "0x" + "0" * 64,
    }
    return {**fields, **changed}


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"transfer(address,uint256)", "a9059cbb2ab09eb219583f4a59a5d0623ade346d962bcd4e46b11da047c9049b"),
    ],
)
def test_keccak_has_its_known_values(data: bytes, digest: str) -> None:
    assert keccak256(data).hex() == digest


def test_an_address_is_written_in_the_case_of_its_checksum() -> None:
    assert signing.checksummed(EOA.lower()) == EOA
    assert signing.is_address(EOA)
    assert not any(signing.is_address(other) for other in (None, "0x12", EOA[2:], EOA[:-1] + "g"))


def test_an_order_has_an_id_for_each_of_its_signed_fields() -> None:
    first = signing.order_id_of(order())
    assert first == signing.order_id_of(order(expiration="5", signature="0x12", taker="0x0"))
    changes: list[dict[str, Any]] = [
        {"salt": 6},
        {"maker": EOA.replace("19", "20")},
        {"tokenId": "124"},
        {"makerAmount": "1"},
        {"side": "SELL"},
        {"signatureType": 3},
        {"timestamp": "1"},
        {"builder": "0x" + "1" * 64},
    ]
    others = {signing.order_id_of(order(**change)) for change in changes} | {
        signing.order_id_of(order(), neg_risk=True)
    }
    assert len(others | {first}) == len(changes) + 2


@pytest.mark.parametrize("wrong", [{"maker": "0x1"}, {"salt": None}, {"salt": -1}, {"side": "UP"}, {"tokenId": "x"}])
def test_what_is_no_order_has_no_id(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        signing.order_id_of(order(**wrong))


@needs_curve
@pytest.mark.parametrize("neg_risk", [False, True])
def test_hash_and_signature_are_those_of_a_wallet(neg_risk: bool) -> None:
    accounts = pytest.importorskip("eth_account")
    messages = pytest.importorskip("eth_account.messages")
    contract = signing.NEG_RISK_EXCHANGE if neg_risk else signing.EXCHANGE
    domain = {"name": "Polymarket CTF Exchange", "version": "2", "chainId": 137, "verifyingContract": contract}
    kinds = {"Order": [{"name": name, "type": kind} for name, kind in signing.ORDER_FIELDS]}
    given = order()
    numbers = {name: int(given[name]) for name in ("tokenId", "makerAmount", "takerAmount", "timestamp")}
    signable = messages.encode_typed_data(domain, kinds, {**given, **numbers, "side": 0})
    signed = accounts.Account.sign_message(signable, "0x" + "11" * 32)
    given["signature"] = "0x" + bytes(signed.signature).hex()
    assert signing.order_id_of(given, neg_risk=neg_risk) == "0x" + bytes(signed.message_hash).hex()
    assert signing.order_is_signed(EOA, given, neg_risk=neg_risk)
    assert not signing.order_is_signed(EOA, {**given, "salt": 6}, neg_risk=neg_risk)
    assert not signing.order_is_signed(EOA, {**given, "signature": "0x12"}, neg_risk=neg_risk)
