"""The embedded exchange for other people's clients: one way to start it, its addresses, an account, and Node.

Only public names of the simulator are used, and all else goes over loopback sockets, as it would with
``polymirror serve``. The clients are the published packages at the versions of the extra ``clients`` and of
``node/package.json``; where one is not installed its tests are skipped, or fail when ``REQUIRE_CLIENTS`` is set.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from polymirror import Level
from polymirror.simulator import Simulator
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.outfit import Outfit, OutfitConfig, Trader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

NODE = Path(__file__).parent / "node"
ASSETS = ("btc", "eth")
CHAIN = 137

KEY = "0x" + "11" * 32
"""The private key of the account that trades here. It is in every textbook: never send anything to it."""
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
OTHER_KEY = "0x" + "22" * 32
"""A second account, which no test of the first one may touch."""
OTHER_ADDRESS = "0x1563915e194D8CfBA1943570603F7606A3115508"

QUIET = 0.001
"""Batches a second of a market in which nothing happens but what a test does."""

PIP = "the extra 'clients' is not installed: pip install -e '.[clients]'"
NPM = "the npm packages are not installed: npm install --prefix tests/clients/node"


@frozen
class Venue:
    """Where everything is. ``simulator`` is for comparing with the truth, never for doing what a client should do."""

    simulator: Simulator
    http: str
    market: str
    user: str
    rtds: str
    polybolt: str
    rpc: str

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.simulator.tokens

    @property
    def slugs(self) -> tuple[str, ...]:
        return self.simulator.slugs

    def condition(self, token: str) -> str:
        return self.simulator.exchange.market_of(token).condition_id

    def addresses(self) -> dict[str, Any]:
        """What a program in another process needs."""
        return {
            "http": self.http,
            "market": self.market,
            "user": self.user,
            "rtds": self.rtds,
            "tokens": self.tokens,
            "conditions": [self.condition(token) for token in self.tokens],
            "key": KEY,
        }

    def had_lately(self, token: str, bids: Iterable[Any], asks: Iterable[Any], seconds: float = 2.0) -> bool:
        """Whether the exchange had these levels a moment ago; levels are pairs of anything that reads as a decimal."""
        since_ms = self.simulator.wall_ms() - int(seconds * 1_000)
        return self.simulator.exchange.was_true(token, _units(bids), _units(asks), since_ms)


def _units(levels: Iterable[Any]) -> list[Level]:
    pairs = [(Decimal(str(price)), Decimal(str(size))) for price, size in levels]
    found = [Level(round(price * 10_000), round(size * 1_000_000)) for price, size in pairs]
    return [level for level in found if level.size_e6]


@asynccontextmanager
async def open_venue(
    *, markets: int = 2, rate: float = 20.0, seed: int = 5, settle_after: float | None = None
) -> AsyncIterator[Venue]:
    """Start the exchange with its feeds; after ``settle_after`` seconds all markets end.

    The accounts of KEY and OTHER_KEY have their money from the start: a client only logs in.
    """
    outfit = Outfit(
        OutfitConfig(
            seed=seed,
            assets=ASSETS,
            traders=tuple(Trader(address=address) for address in (ADDRESS, OTHER_ADDRESS)),
            taker_delay_ms=0,
            settlement=SettlementConfig(mine_ms=400, confirm_ms=600),
            mine_ms=400,
        )
    )
    simulator = Simulator(
        seed, markets=markets, rate=rate, settle_after=settle_after, feeds=outfit.feeds, services=outfit.services
    )
    async with simulator as started:
        yield Venue(
            simulator=started,
            http=started.base_url,
            market=started.stream_url("/ws/market"),
            user=started.stream_url("/ws/user"),
            rtds=started.stream_url("/ws/rtds"),
            polybolt=started.stream_url("/ws/polybolt"),
            rpc=started.base_url + "/rpc",
        )


def need(module: str) -> Any:
    """Import a client, or skip its tests and say what to install."""
    if os.environ.get("REQUIRE_CLIENTS"):
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=PIP)


def need_npm(package: str) -> None:
    """Look for a client from npm, or skip its tests and say what to install."""
    if shutil.which("node") and (NODE / "node_modules" / package).is_dir():
        return
    if os.environ.get("REQUIRE_CLIENTS"):
        pytest.fail(NPM, pytrace=False)
    pytest.skip(NPM, allow_module_level=True)


async def run_program(*command: str, stdin: Any = None, seconds: float = 60.0) -> Any:
    """Run a program that uses a client, with JSON as its input; return the JSON of its last line."""
    program = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            told, complained = await program.communicate(json.dumps(stdin).encode())
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    lines = told.decode().strip().splitlines()
    if program.returncode or not lines:
        pytest.fail(f"{command} ended with {program.returncode}: {complained.decode()[-2_000:]}", pytrace=False)
    return json.loads(lines[-1])


async def run_node(script: str, venue: Venue, seconds: float = 60.0) -> Any:
    """Run one of the scripts in ``node/``."""
    return await run_program("node", str(NODE / script), stdin=venue.addresses(), seconds=seconds)
