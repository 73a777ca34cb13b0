"""A login that never ends is over in time, whichever of the SDK's two clients hangs, and keeps no process alive."""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace

import pytest

from bots.common.errors import Unanswered
from bots.common.execution import sdk
from bots.common.execution.sdk import SdkClient, Wallet

pytestmark = pytest.mark.anyio

CREDENTIALS = SimpleNamespace(
    **dict(zip(("key", "secret", "passphrase"), ("k7-k7-k7", "s7-s7-s7", "p7-p7-p7"), strict=True))
)


class Sender:
    """As much of the SDK's asynchronous client as a login uses."""

    wallet, credentials = "0x1", CREDENTIALS
    closed = False

    async def close(self):
        self.closed = True


def venue(monkeypatch, *, sender, signer):
    """Stand in for the SDK; return the event that lets the synchronous client go on."""
    fake = SimpleNamespace(
        AsyncSecureClient=SimpleNamespace(create=sender), SecureClient=SimpleNamespace(create=signer)
    )
    monkeypatch.setitem(sys.modules, "polymarket", fake)
    monkeypatch.setattr(sdk, "LOGIN_WITHIN", 0.05)


async def test_a_first_login_that_trickles_is_given_up(monkeypatch):
    async def never(**_):
        await asyncio.Event().wait()

    venue(monkeypatch, sender=never, signer=None)
    with pytest.raises(Unanswered, match=r"log in: not done within 0\.05 s"):
        await SdkClient.open(Wallet(private_key="0x" + "11" * 32))


async def test_a_second_login_that_trickles_is_given_up_and_waited_for_by_nobody(monkeypatch):
    made, go_on, ended = Sender(), threading.Event(), threading.Event()

    async def sender(**_):
        return made

    def signer(**_):
        go_on.wait()
        ended.set()

    venue(monkeypatch, sender=sender, signer=signer)
    with pytest.raises(Unanswered, match=r"log in: not done within 0\.05 s"):
        await SdkClient.open(Wallet(private_key="0x" + "11" * 32))
    assert made.closed
    (left,) = [each for each in threading.enumerate() if each.name == "log in"]
    assert left.daemon  # it keeps no process from ending
    go_on.set()
    assert ended.wait(10)


@pytest.mark.parametrize("error", [ValueError("cannot be"), TimeoutError("read timed out")])
async def test_what_the_second_login_raises_is_told_as_before(monkeypatch, error):
    async def sender(**_):
        return Sender()

    def signer(**_):
        raise error

    venue(monkeypatch, sender=sender, signer=signer)
    monkeypatch.setattr(sdk, "LOGIN_WITHIN", 60.0)
    with pytest.raises(Unanswered, match=str(error)):
        await SdkClient.open(Wallet(private_key="0x" + "11" * 32))


def test_a_result_that_comes_when_the_loop_is_gone_hurts_nobody(recwarn):
    go_on = threading.Event()

    async def give_up():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await sdk._apart(go_on.wait)

    asyncio.run(give_up())
    go_on.set()
    for each in threading.enumerate():
        if each.name == "log in":
            each.join(10)
    assert not recwarn.list
