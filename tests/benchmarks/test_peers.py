"""The adapters: what the network sees of all of them, the naive one, and one claim about ccxt's receive loop."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from benchmarks.peers import COLUMNS, OWN, SUBJECTS, Absent, absences, installed, load
from benchmarks.peers.base import LINE, SendText
from benchmarks.peers.naive_script import NaiveScript
from polymirror.config import EngineConfig
from polymirror.core.effects import OpenSocket, Reconnect

UP, DOWN = "1" * 76, "2" * 76
MARKET = "0x" + "ab" * 32


@pytest.fixture
def script() -> NaiveScript:
    peer = NaiveScript(EngineConfig(), random.Random(1))
    peer.track(MARKET, (UP, DOWN), 0.0)
    peer.effects()
    peer.connected(LINE, 0.0)
    return peer


def book(token, bids, asks):
    sides = {
        name: [{"price": price, "size": size} for price, size in levels]
        for name, levels in (("bids", bids), ("asks", asks))
    }
    return {"event_type": "book", "market": MARKET, "asset_id": token, "timestamp": "1", **sides}


def change(token, side, price, size):
    entry = {"asset_id": token, "side": side, "price": price, "size": size}
    return json.dumps({"event_type": "price_change", "market": MARKET, "price_changes": [entry], "timestamp": "2"})


def test_all_markets_of_a_peer_share_one_socket():
    peer = NaiveScript(EngineConfig(), random.Random(1))
    peer.track(MARKET, (UP, DOWN), 0.0)
    peer.track("0x02", ("3", "4"), 0.0)
    assert peer.effects() == [OpenSocket(LINE, (UP, DOWN))]
    assert peer.sockets[LINE].asset_ids == (UP, DOWN, "3", "4")


def test_the_naive_script_takes_books_and_changes(script):
    script.receive(LINE, json.dumps([book(UP, [("0.48", "5")], [("0.5", "7.25")])]), 1.0)
    assert script.sides(UP) == ([(4_800, 5_000_000)], [(5_000, 7_250_000)])
    script.receive(LINE, change(UP, "BUY", "0.47", "1"), 1.0)
    script.receive(LINE, change(UP, "SELL", "0.5", "0"), 1.0)
    assert script.sides(UP) == ([(4_800, 5_000_000), (4_700, 1_000_000)], [])
    script.receive(LINE, json.dumps(book(UP, [("0.1", "2")], [])), 1.0)
    assert script.sides(UP) == ([(1_000, 2_000_000)], [])


def test_the_naive_script_applies_a_change_that_comes_before_any_book(script):
    script.receive(LINE, change(DOWN, "BUY", "0.3", "4"), 1.0)
    assert script.sides(DOWN) == ([(3_000, 4_000_000)], [])


def test_the_naive_script_keeps_its_book_when_the_connection_is_lost(script):
    script.receive(LINE, json.dumps(book(UP, [("0.48", "5")], [])), 1.0)
    script.disconnected(LINE, 2.0)
    assert script.sides(UP) == ([(4_800, 5_000_000)], [])


def test_a_version_grows_only_with_its_own_book(script):
    before = script.versions.get(DOWN, 0)
    script.receive(LINE, change(UP, "BUY", "0.3", "4"), 1.0)
    assert script.versions[UP] == 1
    assert script.versions.get(DOWN, 0) == before


def test_what_a_program_cannot_read_is_counted_and_does_not_stop_it(script):
    script.receive(LINE, '{"event_type":', 1.0)
    script.receive(LINE, change(UP, "BUY", "0.3", "4"), 1.0)
    assert script.errors == 1
    assert script.sides(UP) == ([(3_000, 4_000_000)], [])


def test_a_frame_over_the_limit_ends_the_connection(script):
    script.receive(LINE, "[" + " " * script.transport.max_message + "]", 1.0)
    assert [type(effect) for effect in script.effects()] == [Reconnect]


def test_a_ping_goes_out_when_it_is_due(script):
    assert script.next_deadline() == 20.0
    script.tick(20.0)
    assert script.effects() == [SendText(LINE, "PING")]
    assert script.next_deadline() == 40.0


def test_a_connection_without_a_pong_is_given_up_and_one_with_it_is_kept(script):
    script.tick(20.0)
    script.receive(LINE, "PONG", 20.1)
    script.tick(40.0)
    assert script.effects() == [SendText(LINE, "PING")] * 2
    script.tick(60.0)
    assert [type(effect) for effect in script.effects()] == [Reconnect]


def test_a_lost_connection_has_no_deadline(script):
    script.disconnected(LINE, 2.0)
    assert script.next_deadline() == float("inf")


def test_an_adapter_whose_program_is_missing_says_so():
    with pytest.raises(Absent, match="ModuleNotFoundError"):
        load("no_such_adapter")


def test_every_column_but_polymirror_has_an_adapter_and_absent_ones_have_a_reason():
    assert {column.module for column in COLUMNS} == set(SUBJECTS)
    missing = absences()
    assert all(missing.values())
    assert "naive_script" not in missing
    assert "" not in missing


@pytest.mark.parametrize("module", [module for module in SUBJECTS if module not in OWN])
def test_an_adapter_that_is_present_says_what_it_is(module):
    try:
        adapter = load(module)
    except Absent as error:
        pytest.skip(str(error))
    assert adapter.name
    assert adapter.promise.endswith(".")
    assert adapter.driven.endswith(".")


def test_a_distribution_that_is_missing_has_no_version():
    assert installed("no-such-distribution-anywhere") == "not installed"


def test_the_receive_loop_of_ccxt_ends_with_a_frame_that_is_cut():
    """The adapter stops reading then; this shows it on ccxt's own loop."""
    client_module = pytest.importorskip("ccxt.async_support.base.ws.client")
    aiohttp = pytest.importorskip("aiohttp")
    frames = ['{"event_type":"first"}', '{"event_type":', '{"event_type":"last"}']
    taken: list[str] = []

    class Connection:
        closed = False
        _conn = None

        async def receive(self):
            if not frames:
                await asyncio.Event().wait()
            return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, frames.pop(0), None)

    async def run():
        loop = asyncio.get_running_loop()
        failures = []
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))

        def on_message(_, message):
            taken.append(message["event_type"])

        client = client_module.Client("wss://nowhere", on_message, None, None, None, {"asyncio_loop": loop})
        client.connection = Connection()
        client.receive_loop()
        for _ in range(50):
            await asyncio.sleep(0)
        return failures

    failures = asyncio.run(run())
    assert taken == ["first"]
    assert len(failures) == 1
    assert frames == ['{"event_type":"last"}']
