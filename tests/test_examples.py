"""The programs in ``examples/`` run as they are written, against the venue in this process."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from polymirror import Endpoints
from polymirror.commands.app import run
from polymirror.simulator import Simulator
from tests.loopback import quiet_venue

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "examples"
LONGER = {"market_maker.py"}
"""It places orders, and heals: too much for 40 lines."""


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_read_in_a_minute_and_says_how_it_is_started(path):
    text = path.read_text(encoding="utf-8")
    assert f"python examples/{path.name}" in text or f"pytest examples/{path.name}" in text
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) < 40 or path.name in LONGER


async def test_callbacks(tmp_path):
    told = set()

    async with Simulator(seed=7, rate=100) as venue:
        module = example("callbacks")
        await module.with_asyncio(venue.slugs[0], lambda where, _: told.add(where), venue.endpoints, seconds=1)
        work = partial(module.with_a_thread, seconds=1)
        await asyncio.to_thread(work, venue.slugs[0], lambda where, _: told.add(where), venue.endpoints)
    assert told == {"asyncio", "thread"}


def test_the_tests_of_a_bot_pass(tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "test_bot.py"]
    (tmp_path / "test_bot.py").write_bytes((EXAMPLES / "test_bot.py").read_bytes())
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert "2 passed" in done.stdout, done.stdout + done.stderr


async def test_best_prices(capsys):
    async with Simulator(seed=7, rate=100) as venue:
        await example("best_prices").main(venue.slugs[0], venue.endpoints, updates=5)
    lines = [line for line in capsys.readouterr().out.splitlines() if "UNPRIMED" not in line]
    assert len(lines) >= 5
    assert re.fullmatch(r"0\.\d+ x [\d.]+ \| 0\.\d+ x [\d.]+   proven \d+ ms ago", lines[-1])


async def test_markets_to_csv(tmp_path):
    async with Simulator(seed=7, rate=100, markets=3) as venue:
        file = tmp_path / "prices.csv"
        await example("markets_to_csv").main(file, [*venue.slugs, "no-such-market"], venue.endpoints, seconds=2)
    with file.open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 2 * 6
    assert {row["slug"] for row in rows} == set(venue.slugs)
    told = [row for row in rows if not row["refused"]]
    assert told
    assert all(Decimal(0) < Decimal(row["bid"]) < Decimal(row["ask"]) < 1 for row in told)
    assert all(row["bid"] == row["age_ms"] == "" for row in rows if row["refused"])


async def test_markets_to_csv_without_a_venue(tmp_path):
    nowhere = "http://127.0.0.1:9"
    endpoints = Endpoints(stream="ws://127.0.0.1:9/ws", clob=nowhere, gamma=nowhere)
    await example("markets_to_csv").main(tmp_path / "x.csv", ["a"], endpoints, seconds=1)
    assert len((tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()) == 1


async def test_record_frames(tmp_path, capsys):
    file = tmp_path / "frames.jsonl"
    async with Simulator(seed=7, rate=100) as venue:
        count = await example("record_frames").main(file, venue.slugs[0], venue.endpoints, seconds=2)
    assert count == len(file.read_text(encoding="utf-8").splitlines()) > 10
    assert await asyncio.to_thread(run, ["replay", str(file), "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["frames"] == count
    assert not replayed["malformed"]


async def test_book_frame():
    pytest.importorskip("pandas")
    async with quiet_venue() as venue:
        frame = await example("book_frame").main(venue.slugs[0], venue.endpoints)
        bids, asks = venue.exchange.truth(venue.tokens[0])
    assert list(frame.columns) == ["side", "price", "size", "depth"]
    assert len(frame) == len(bids) + len(asks)
    assert frame[frame.side == "ask"].depth.iloc[-1] == pytest.approx(sum(size for _, size in asks) / 1e6)
    assert frame.attrs["token"] == venue.tokens[0]


async def test_spread_alert(capsys):
    async with Simulator(seed=7, rate=200) as venue:
        look = asyncio.create_task(example("spread_alert").main(venue.slugs[0], Decimal("0.015"), venue.endpoints))
        said = ""
        async with asyncio.timeout(20):
            while said.count("spread") < 3:
                await asyncio.sleep(0.01)
                said += capsys.readouterr().out
        look.cancel()
        with suppress(asyncio.CancelledError):
            await look
    told = re.findall(r"^(\d+)\.\. spread (0\.\d+) is (above|within) 0\.015$", said, flags=re.MULTILINE)
    assert told
    assert all((Decimal(spread) > Decimal("0.015")) is (how == "above") for _, spread, how in told)
