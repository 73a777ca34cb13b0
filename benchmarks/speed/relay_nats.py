"""A relay at a real nats-server: what it costs the mirror's process, what one consumer more costs, and what it adds.

The mirror is a stand-in whose books change by themselves, so that what is counted is the relay alone; its own cost is
measured before and taken off. The broker and the consumers are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.method import percentile, unpin, waited_for_cpu
from benchmarks.speed.relay_peers import BARE
from benchmarks.speed.relay_source import LEVELS, RATE, TOKENS, SteadyBooks
from benchmarks.speed.rows import Row, missing
from polymirror.config import NatsConfig
from polymirror.relay.broker.connection import connected
from polymirror.relay.broker.server import BrokerRelay
from polymirror.venue.network import REAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options
    from polymirror.relay.broker.connection import Connection

BOUND = 0.7
"""Of a core, for the publisher's process."""

CROWDS = 5, 45
"""Consumers that only listen; what one costs is the difference."""

ROWS = (
    ("relay_nats_publisher", f"{TOKENS} tokens, {RATE} changes/s told to a NATS server: share of one core", 25.0, "%"),
    ("relay_nats_consumers", "consumers of all of it below 70 % of a core of the publisher", 100.0, ""),
    ("relay_nats_latency_p99", "change to update at a consumer, by way of a NATS server, p99", 2.0, "ms"),
)


def measure(options: Options) -> Iterator[Row]:
    """Measure with few consumers, and with more."""
    server = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    if server is None or not Path("/proc/self/stat").exists():
        for name, title, target, unit in ROWS:
            yield missing(name, title, target, "no nats-server, or no /proc", unit=unit)
        return
    unpin()
    few, more = CROWDS
    results = asyncio.run(_run(server, options.choose(20, 4)))
    publisher = (results[more]["publisher"] - results[few]["publisher"]) / (more - few)
    broker = (results[more]["broker"] - results[few]["broker"]) / (more - few)
    base = results[few]["publisher"] - few * publisher
    seen = results["reader"]
    ages = seen["ages"]
    (first, second, third), note = ROWS, "Other programs may have run on the machine; see the share of time waited."
    yield Row(
        first[0], first[1], 100 * base, first[2], unit="%",
        details={
            "messages a second": results["messages"], "levels a side": LEVELS,
            "publisher with each crowd (%)": {str(each): 100 * results[each]["publisher"] for each in CROWDS},
            "note": note,
        },
    )  # fmt: skip
    yield Row(
        second[0], second[1], (BOUND - base) / max(publisher, 1e-6), second[2], at_least=True, unit=second[3],
        details={
            "one more costs the publisher (% of a core)": 100 * publisher,
            "one more costs the broker (% of a core)": 100 * broker,
            "a consumer's own process (% of a core)": 100 * seen["cpu"],
            "a consumer's own memory (MB)": seen["mb"], "the broker's memory (MB)": results[more]["memory"],
            "note": f"By the difference of {few} and {more} consumers. " + note,
        },
    )  # fmt: skip
    yield Row(
        third[0], third[1], 1000 * percentile(ages, 0.99), third[2], unit="ms",
        details={
            "median (ms)": 1000 * percentile(ages, 0.5), "p90 (ms)": 1000 * percentile(ages, 0.9),
            "a bare message of the same two processes: median, p99 (ms)": [
                1000 * percentile(seen["bare"], share) for share in (0.5, 0.99)
            ],
            "updates": len(ages), "a newcomer is primed after (ms)": 1000 * seen["primed"],
            "share of time the publisher waited for a core (%)": 100 * results["waited"],
            "what went wrong": seen["counts"], "note": note,
        },
    )  # fmt: skip


async def _run(server: str, seconds: float) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    books = SteadyBooks()
    alone = await _cpu_of(books, seconds)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        broker = stack.enter_context(_process(server, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", folder))
        url = await _address(Path(folder))
        relay = BrokerRelay(
            books, REAL, books.now, _tell, server=url, name="bench", access=NatsConfig(), interval=0.0
        )  # fmt: skip
        running = asyncio.create_task(relay.run())
        while not relay.connected:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        with _peer("reader", relay.url, *books.tokens) as reader:
            await _ready(reader)
            waited = waited_for_cpu()
            async with (
                connected(url, NatsConfig(), "bare", sys.stderr.write) as connection,
                asyncio.TaskGroup() as tasks,
            ):
                bare = tasks.create_task(_say_the_time(connection))
                await books.trade(seconds)
                bare.cancel()
            results["waited"] = ((waited_for_cpu() or 0.0) - (waited or 0.0)) / seconds
            told, _ = await asyncio.get_running_loop().run_in_executor(None, reader.communicate, "")
            results["reader"] = json.loads(told)
        for count in CROWDS:
            with _peer("crowd", relay.url, str(count), *books.tokens) as crowd:
                await _ready(crowd)
                await books.trade(2.0)
                before, of_broker = relay.counts, _cpu_of_process(broker.pid)
                share = await _cpu_of(books, seconds) - alone
                results["messages"] = (relay.counts["told"] - before["told"]) / seconds
                results[count] = {
                    "publisher": share,
                    "broker": (_cpu_of_process(broker.pid) - of_broker) / seconds,
                    "memory": _memory_of(broker.pid),
                }
        await relay.stop()
        await running
    return results


async def _say_the_time(connection: Connection) -> None:
    while True:
        await connection.publish(BARE, repr(time.clock_gettime(time.CLOCK_BOOTTIME)).encode())
        await asyncio.sleep(0.02)


async def _cpu_of(books: SteadyBooks, seconds: float) -> float:
    """Return the share of a core that this process takes while books change."""
    cpu = time.process_time()
    await books.trade(seconds)
    return (time.process_time() - cpu) / seconds


async def _address(folder: Path) -> str:
    while not (text := "".join(path.read_text() for path in folder.glob("*.ports"))):  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)
    return f"nats://127.0.0.1:{json.loads(text)['nats'][0].rpartition(':')[2]}"


async def _ready(peer: subprocess.Popen[str]) -> None:
    assert peer.stdout is not None  # noqa: S101 - it is a pipe
    if await asyncio.get_running_loop().run_in_executor(None, peer.stdout.readline) != "ready\n":
        raise SystemExit("a consumer failed")


@contextmanager
def _process(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - our own words
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _peer(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with _process(sys.executable, "-m", "benchmarks.speed.relay_peers", *arguments) as process:
        yield process


def _cpu_of_process(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_of(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def _tell(kind: str, detail: str) -> None:
    sys.stderr.write(f"{kind}: {detail}\n")
