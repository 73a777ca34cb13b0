"""nautilus_trader's adapter in a trading node: instruments, a minute of data, and books that equal those of REST."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.venue import ADDRESS, KEY, need, open_venue, run_program

need("nautilus_trader.adapters.polymarket")

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
NAME = "nautilus_trader"
PROGRAM = Path(__file__).parent / "nautilus_node.py"
SECONDS = 60


async def watch(venue, instruments, seconds):
    settings = {
        "http": venue.http,
        "stream": venue.market.removesuffix("market"),
        "instruments": instruments,
        "seconds": seconds,
        "key": KEY,
        "address": ADDRESS,
    }
    return await run_program(sys.executable, str(PROGRAM), stdin=settings, seconds=seconds + 60)


def names(venue):
    return [f"{venue.condition(token)}-{token}.POLYMARKET" for token in venue.tokens]


@pytest.mark.client(NAME, "load_ids, subscribe_order_book_deltas, subscribe_trade_ticks: books after 60 s equal REST")
async def test_after_a_minute_the_books_equal_those_of_rest():
    async with open_venue(rate=5) as venue:
        wanted = names(venue)
        found = await watch(venue, wanted, SECONDS)
    assert set(found["instruments"]) == set(wanted)
    assert found["equal"] == dict.fromkeys(wanted, True)
    assert all(each["deltas"] > SECONDS for each in found["heard"].values())
    assert sum(each["trades"] for each in found["heard"].values()) > 0


@pytest.mark.client(NAME, "load_all")
async def test_all_instruments_are_loaded():
    async with open_venue(markets=3) as venue:
        found = await watch(venue, [], 5)
    assert set(found["instruments"]) == set(names(venue))
