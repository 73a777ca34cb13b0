"""A node of the chain: what it is asked, what is an answer, and what a bot does with a word against the venue's."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace

import httpx
import pytest

from bots.common.errors import Unanswered
from bots.common.execution.base import Holdings
from bots.common.execution.live import LiveExecutor
from bots.common.execution.node import MAX_ANSWER_BYTES, MONEY, Node
from bots.common.operate import account
from bots.testing.stage import Stage
from polymirror.errors import ConfigError
from polymirror.simulator.settings import DEFAULT_START_MS, RoundsConfig
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import Network
from tests.bots.books_rig import World

WALLET = "0x00000000000000000000000000000000000000Ab"


def ask(answer, *, timeout=5.0):
    """Ask a node that answers so; return what it was asked, and the pUSD."""
    asked = []

    async def respond(request):
        asked.append(json.loads(request.content))
        return await answer(request) if callable(answer) else answer

    async def main():
        node = Node(
            "https://node.test/v2/a-key-in-the-path",
            WALLET,
            Network(transport=lambda: httpx.MockTransport(respond)),
            timeout=timeout,
        )
        try:
            return await node.cash()
        finally:
            await node.aclose()

    return asked, asyncio.run(main())


def said(result):
    return httpx.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": result})


def test_the_balance_of_the_wallet_at_the_contract_of_the_money_is_asked_for_in_the_newest_block():
    asked, cash = ask(said(f"0x{1_234_567:064x}"))
    assert cash == Decimal("1.234567")
    (question,) = asked
    assert question["method"] == "eth_call"
    call, block = question["params"]
    assert call["to"] == MONEY
    assert call["data"] == "0x70a08231" + "00" * 31 + "ab"
    assert block == "latest"


@pytest.mark.parametrize(
    "answer",
    [
        said("0x"), said(None), said(5), said("0xzz"), said("-0x1"), said("0x" + "f" * 64), said("0x" + "0" * 65),
        httpx.Response(200, json={"error": {"code": 3, "message": "execution reverted"}}),
        httpx.Response(200, json=["0x1"]),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text="[" * 20_000),
        httpx.Response(429, json={"error": "slow down"}),
        httpx.Response(503),
        httpx.Response(302, headers={"Location": "https://elsewhere.test"}),
        httpx.Response(200, content=b'{"result":"0x1"' + b" " * MAX_ANSWER_BYTES + b"}"),
    ],
)  # fmt: skip
def test_what_is_no_balance_is_no_answer(answer):
    with pytest.raises(Unanswered, match="chain") as caught:
        ask(answer)
    assert "a-key-in-the-path" not in str(caught.value)


def test_a_node_that_does_not_answer_is_given_up():
    async def never(_request):
        await asyncio.sleep(60)

    with pytest.raises(Unanswered, match="TimeoutError"):
        ask(never, timeout=0.05)


def test_a_connection_that_fails_is_no_answer():
    async def fail(_request):
        raise httpx.ConnectError("refused")

    with pytest.raises(Unanswered, match="ConnectError"):
        ask(fail)


@pytest.mark.parametrize(
    ("url", "wallet", "named"),
    [
        ("http://node.test", WALLET, "node"),
        ("ftp://node.test", WALLET, "node"),
        ("https://me:secret@node.test", WALLET, "node"),
        ("https://node.test", "0x1", "wallet"),
        ("https://node.test", WALLET + "0", "wallet"),
    ],
)
def test_what_is_no_address_is_refused_by_name(url, wallet, named):
    with pytest.raises(ConfigError, match=named) as caught:
        Node(url, wallet, Network())
    assert "secret" not in str(caught.value)


class Says:
    """A client, and a node, that say this."""

    def __init__(self, venue, chain):
        self.venue, self.chain = venue, chain

    async def holdings(self):
        return Holdings(cash=Decimal(self.venue), positions={"101": Decimal(1)})

    async def cash(self):
        return Decimal(self.chain)


@pytest.mark.parametrize(
    ("venue", "chain", "apart"), [("10", "10", "0"), ("12.5", "10", "2.5"), ("10", "12.5", "-2.5")]
)
def test_of_two_words_the_smaller_counts(venue, chain, apart):
    both = Says(venue, chain)
    held = asyncio.run(LiveExecutor(both, Network(), node=both).holdings())
    assert held == Holdings(cash=Decimal(10), apart=Decimal(apart), positions={"101": Decimal(1)})


def test_the_embedded_exchange_has_a_node_that_says_what_the_wallet_has():
    async def main():
        stage = Stage.build(7, RoundsConfig(assets=("btc",)))
        async with stage.venue, stage.executor(stage.venue.network, None) as executor:
            before = await executor.holdings()
            stage.ledger.account(stage.account.address).cash -= 5_000_000
            return before, await executor.holdings()

    before, after = run_virtual(main, start_ms=DEFAULT_START_MS)
    assert (before.cash, after.cash) == (1000, 995)


async def _orders_for_real_believe_both(monkeypatch):
    @asynccontextmanager
    async def log_in(_settings, _environment):
        yield SimpleNamespace(address=WALLET, login=dict, holdings=Says("12", "").holdings)

    async def respond(_request):
        return said(hex(10_000_000))

    async def alone(*_):
        """Nobody else is there."""

    async def listen(_channel):
        """Nothing is told."""

    for name, value in (("log_in", log_in), ("alone", alone), ("_listen", listen)):
        monkeypatch.setattr(account, name, value)
    settings = account.TraderSettings(wallet=WALLET, node="https://node.test")
    world = SimpleNamespace(network=Network(transport=lambda: httpx.MockTransport(respond)))
    bot = SimpleNamespace(world=world, account=SimpleNamespace(order_ids=()))
    async with account.for_real(settings, None, bot) as executor:
        return await executor.holdings()


def test_with_real_orders_the_node_of_the_settings_is_asked_beside_the_venue(monkeypatch):
    assert asyncio.run(_orders_for_real_believe_both(monkeypatch)).cash == 10


# What a bot does with it.


class Apart(World):
    """Books on a venue whose word for the pUSD is so much more than the chain's, which counts."""

    def __init__(self, *apart):
        super().__init__()
        self.start()
        told, self.aparts = self.venue.holdings, [Decimal(each) for each in apart]

        async def holdings():
            held = await told()
            apart = self.aparts.pop(0) if self.aparts else Decimal(0)
            return Holdings(cash=held.cash, positions=held.positions, apart=apart)

        self.venue.holdings = holdings


@pytest.mark.parametrize(
    ("apart", "words"), [("500", "has 1500 pUSD, and the chain that it has 1000"), ("-2", "1000 pUSD, and .* 1002")]
)
def test_a_venue_whose_word_stays_another_than_the_chain_s_stops_buying(apart, words):
    world = Apart(*[apart] * 9)
    world.check(2)
    assert world.stopped == []
    world.check(3)
    assert len(world.stopped) == 1
    assert re.search(words, world.stopped[0])
    assert world.reconciler.differing == ("pUSD by the chain",)


def test_words_that_differ_by_turns_are_a_delay():
    world = Apart("5", "5", "0", "5", "-5", "5", "-5")
    world.check(9)
    assert world.stopped == []
    assert world.reconciler.differing == ()
