"""Who gets credentials, and when they stop working."""

from __future__ import annotations

from typing import Any

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator.frames import Call
from polymirror.simulator.orders import auth, signing
from polymirror.simulator.orders.auth import INVALID_LOGIN, NOT_CREATED, NOT_DERIVED, Account, KeyRing

EOA = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
SIGNED = "0xab"


@pytest.fixture(autouse=True)
def everybody_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "login_is_signed", lambda *login: login[-1] == SIGNED)


def login(method: str, address: str = EOA, **changed: str) -> Call:
    headers = {"poly_address": address, "poly_timestamp": "1790000100", "poly_nonce": "0", "poly_signature": SIGNED}
    path = "/auth/api-key" if method == "POST" else "/auth/derive-api-key"
    return Call(method, path, {}, b"", {**headers, **changed})


def read(account: Account) -> Call:
    headers = account.headers(1_790_000_100, "GET", "/data/orders")
    return Call("GET", "/data/orders", {}, b"", {name.lower(): text for name, text in headers.items()})


def test_credentials_are_created_once_and_derived_as_often_as_one_likes() -> None:
    welcomed: list[Account] = []
    ring = KeyRing(welcome=welcomed.append)
    assert ring.login(login("GET"), 0) == NOT_DERIVED
    made = ring.login(login("POST"), 0)
    assert isinstance(made, Account)
    assert (made.address, made.signs, welcomed) == (EOA, True, [made])
    assert ring.login(login("POST"), 0) == NOT_CREATED
    assert ring.login(login("GET", EOA.lower()), 0) is made
    assert ring.of_call(read(made), 0) is made
    assert ring.accept(made.credentials) is made
    assert ring.of_address(EOA.lower()) is ring.of_key(made.api_key) is made


@pytest.mark.parametrize(
    "wrong",
    [{"poly_address": "0x1"}, {"poly_timestamp": "now"}, {"poly_nonce": "-1"}, {"poly_signature": "0x"}],
)
def test_a_login_that_is_not_signed_is_refused(wrong: dict[str, str]) -> None:
    assert KeyRing().login(login("POST", **wrong), 0) == INVALID_LOGIN


def test_a_closed_ring_lets_in_only_whom_it_knows() -> None:
    known = Account.of_wallet(EOA, "0")
    ring = KeyRing([known], open_to_all=False)
    assert ring.login(login("GET"), 0) is known
    assert ring.login(login("POST", "0x" + "12" * 20), 0) == NOT_CREATED


def test_other_rings_give_other_credentials() -> None:
    keys = {KeyRing(seed=seed).login(login("POST"), 0) for seed in (1, 2)}
    assert len(keys) == 2


def test_deleted_credentials_are_refused_and_the_next_ones_are_others() -> None:
    ring = KeyRing()
    first = ring.login(login("POST"), 0)
    assert isinstance(first, Account)
    ring.delete(first)
    ring.delete(first)
    assert ring.of_call(read(first), 0) is None
    assert ring.login(login("GET"), 0) == NOT_DERIVED
    second = ring.login(login("POST"), 0)
    assert isinstance(second, Account)
    assert second.api_key != first.api_key


@pytest.mark.parametrize("lifetime_ms", [0, 1_000])
def test_credentials_are_refused_until_they_are_derived_anew(lifetime_ms: int) -> None:
    ring = KeyRing(lifetime_ms=lifetime_ms)
    account = ring.login(login("POST"), 0)
    assert isinstance(account, Account)
    assert ring.of_call(read(account), 999) is account
    if not lifetime_ms:
        ring.expire(account)
    assert ring.of_call(read(account), 1_000) is None
    assert ring.accept(account.credentials, 1_000) is None
    assert ring.stale_refused == 2
    assert ring.login(login("GET"), 1_000) is account
    assert ring.of_call(read(account), 1_999) is account


def test_made_up_accounts_live_as_long() -> None:
    account = Account.made_up("bot")
    ring = KeyRing([account], lifetime_ms=1_000)
    assert [ring.of_call(read(account), at_ms) is account for at_ms in (500, 1_499, 1_500)] == [True, True, False]


def test_an_impossible_lifetime_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="lifetime_ms"):
        KeyRing(lifetime_ms=-1)


def test_a_wallet_really_signs_its_login() -> None:
    if not signing.VERIFIES:
        assert signing.login_is_signed(EOA, "1", "0", "0xab")
        assert not signing.login_is_signed(EOA, "1", "0", "nonsense")
        return
    accounts, messages = pytest.importorskip("eth_account"), pytest.importorskip("eth_account.messages")
    kinds: dict[str, Any] = {
        "ClobAuth": [
            {"name": "address", "type": "address"},
            {"name": "timestamp", "type": "string"},
            {"name": "nonce", "type": "uint256"},
            {"name": "message", "type": "string"},
        ]
    }
    content = {"address": EOA, "timestamp": "1", "nonce": 0, "message": signing.ATTEST}
    domain = {"name": "ClobAuthDomain", "version": "1", "chainId": 137}
    signed = accounts.Account.sign_message(messages.encode_typed_data(domain, kinds, content), "0x" + "11" * 32)
    text = "0x" + bytes(signed.signature).hex()
    assert signing.login_is_signed(EOA, "1", "0", text)
    assert not signing.login_is_signed(EOA, "2", "0", text)
