"""Credentials go to the host they are for and nowhere else, and what answers them is bounded."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc

import pytest

from bots.common.execution.userchannel import UserChannel
from bots.common.operate import checks
from bots.common.operate.notifications import TelegramApi, TelegramError
from bots.common.operate.preflight import CheckFailed
from bots.common.secrets import Secret
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import lacking
from bots.updown.oracles.factory import OracleSettings, make_oracle
from bots.updown.oracles.polybolt import PolyboltDialect
from bots.updown.oracles.streamed import StreamedOracle
from bots.updown.oracles.ticks import TickKind
from polymirror.config import Endpoints, MirrorConfig
from polymirror.errors import ConfigError
from polymirror.venue.network import Network
from tests.bots.oracle_rig import CHAINLINK_KEYS, CLOB_KEYS
from tests.venue.hostile import Hostile, answer

pytestmark = pytest.mark.anyio

PATIENCE = 60.0
LOGIN = {"apiKey": "hush-key", "secret": "hush-secret", "passphrase": "hush-phrase"}
TOKEN = Secret("12345:hush-token")
MIB = 2**20


async def until(holds):
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)


def the_oracle(source, peer):
    settings = OracleSettings(source=source, url=peer.ws, assets=("btc",), kinds=("spot",))
    return make_oracle(settings, Network(), clob_keys=CLOB_KEYS, chainlink_keys=CHAINLINK_KEYS)


@pytest.mark.parametrize("source", ["rtds", "polybolt", "chainlink"])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_no_feed_follows_a_redirect_with_its_credentials(source, elsewhere):
    async with Hostile(answer(500)).running() as other, Hostile(b"").running() as peer:
        target = f"{other.ws if elsewhere else peer.ws}/stolen"
        peer.answers = [answer(307, f"Location: {target}".encode())]
        oracle = the_oracle(source, peer)
        running = asyncio.create_task(oracle.run())
        await until(lambda: oracle.health().trouble)
        running.cancel()
        assert "HTTP 307" in oracle.health().trouble
        assert target.partition("?")[0] in oracle.health().trouble
        assert other.requests == []
        assert [head for head in peer.requests if b"stolen" in head] == []


async def test_the_user_channel_follows_none_either():
    async with Hostile(b"").running() as peer:
        peer.answers = [answer(307, b"Location: /stolen")]
        channel = UserChannel(lambda: LOGIN, lambda _event: None, Network(), url=peer.ws)
        running = asyncio.create_task(channel.run())
        await until(lambda: channel._stream.counters.last_cause)
        running.cancel()
        assert f"{peer.ws.removesuffix('/ws')}/stolen" in str(channel._stream.counters.last_cause)
        assert [head for head in peer.requests if b"stolen" in head] == []


@pytest.mark.parametrize(
    "url", ["ws://relay.example", "ws://192.0.2.7:80/ws", "wss://user:hush@relay.example", "https://x"]
)
async def test_credentials_are_sent_with_tls_or_to_this_machine(url):
    with pytest.raises(ConfigError) as caught:
        OracleSettings(url=url)
    assert caught.value.field == "url"
    assert "hush" not in str(caught.value)
    dialect = PolyboltDialect(TickKind.SPOT, ("btc",), CLOB_KEYS, url)
    board = make_oracle(OracleSettings(source="polybolt"), Network(), clob_keys=CLOB_KEYS)._board
    with pytest.raises(ConfigError, match="url"):
        await StreamedOracle("polybolt", [dialect], board, Network()).run()
    with pytest.raises(ConfigError, match="url"):
        await UserChannel(lambda: LOGIN, lambda _event: None, Network(), url=url).run()


async def test_real_orders_never_rest_on_books_without_tls():
    settings = BotSettings(mirror=MirrorConfig(endpoints=Endpoints.at("http://192.0.2.7", allow_plain=True)))
    told = "mirror.endpoints.allow_plain is not for real orders"
    assert told in lacking(settings, for_real=True)
    assert told not in lacking(settings, for_real=False)


async def ask_telegram(peer):
    async with TelegramApi(TOKEN, Network(), api=peer.http, timeout=PATIENCE) as api:
        with pytest.raises(TelegramError) as caught:
            await api.get_me()
    return str(caught.value)


async def ask_region(peer):
    with pytest.raises(CheckFailed) as caught:
        await checks.region(Network(), peer.http, timeout=PATIENCE)
    return str(caught.value)


BOMB = gzip.compress(b" " * 64 * MIB)
LAYERS = gzip.compress(gzip.compress(b" " * 256 * MIB, 1))
BODIES = {
    "a bomb": answer(200, b"Content-Encoding: gzip", body=BOMB),
    "a bomb in a bomb": answer(200, b"Content-Encoding: gzip, gzip", body=LAYERS),
    "a bomb with an error": answer(502, b"Content-Encoding: gzip", body=BOMB),
    "no end": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 4 * MIB,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("ask", [ask_telegram, ask_region])
async def test_an_answer_costs_little_memory_whatever_it_claims_to_be(ask, body):
    async with Hostile(body).running() as peer:
        # What is imported at the first call is no part of it.
        await ask(peer)
        tracemalloc.start()
        try:
            told = await ask(peer)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert "longer than" in told or "one layer of gzip" in told
    assert peak < 16 * MIB


@pytest.mark.parametrize("ask", [ask_telegram, ask_region])
async def test_a_redirect_is_an_error_that_names_the_host(ask):
    async with Hostile(answer(302, b"Location: https://elsewhere.example/x")).running() as peer:
        told = await ask(peer)
        assert "https://elsewhere.example/x" in told
        assert "hush" not in told
        peer.answers = [answer(307, b"Location: /again")]
        assert f"{peer.http}/again" in await ask(peer)
        assert len(peer.requests) == 2
