"""From the socket to a readable view: the mirror's CPU per frame beside the barest client that decodes.

Both are processes of their own, on the same CPU, and get the same frames at the same time, so that whatever slows one
down slows the other. Each counts its own CPU.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from attrs import asdict
from websockets.asyncio.client import connect

from benchmarks.speed.frames import MARKET, TOKENS
from benchmarks.speed.loopback import market, venue
from benchmarks.speed.method import Costs
from benchmarks.speed.own import CHANGES
from benchmarks.speed.rows import Row, missing, spread_of
from polymirror import BookState, Endpoints, EngineConfig, Mirror, MirrorConfig
from polymirror.core.messages import subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options

TARGET = 1.5
RATE = 500.0
"""Frames a second of the paced runs: the rate of the dense recording."""

SETTLING = 1.8
"""Seconds in which a client does what it does once, before the first frame comes."""

PATIENCE = 30.0


def measure(options: Options) -> Iterator[Row]:
    """Measure both event loops: frames at the rate of the dense recording, and frames back to back."""
    for name in ("asyncio", "uvloop"):
        row = f"socket_to_view_{name}"
        title = f"socket to readable view, {name}: CPU per frame / bare websockets + msgspec"
        if find_spec(name) is None:
            yield missing(row, title, TARGET, f"{name} is not installed")
            continue
        paced = _compare(name, options.choose(1_500, 500), RATE, options.choose(7, 2))
        packed = _compare(name, options.choose(20_000, 5_000), 0.0, options.choose(5, 2))
        ratio, burst = paced[0].over(paced[1]), packed[0].over(packed[1])
        yield Row(
            row,
            title,
            ratio.median,
            TARGET,
            details={
                **spread_of(ratio),
                "us_mirror": paced[0].median,
                "us_bare": paced[1].median,
                "frames_per_second": RATE,
                "ratio_back_to_back": burst.median,
                "us_mirror_back_to_back": packed[0].median,
                "us_bare_back_to_back": packed[1].median,
            },
        )


def _compare(loop: str, frames: int, rate: float, rounds: int) -> tuple[Costs, Costs]:
    """Return the CPU microseconds per frame of the mirror and of the bare client."""
    spent: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(rounds):
        with venue(frames, rate=rate, clients=len(CLIENTS)) as far:
            where = json.dumps(asdict(far.endpoints))
            started = {name: _start(name, loop, str(frames), where) for name in CLIENTS}
            for name, process in started.items():
                out, _ = process.communicate(timeout=2 * PATIENCE)
                spent[name].append(1e6 * float(out) / frames)
    return Costs(tuple(spent["mirror"])), Costs(tuple(spent["bare"]))


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.speed.socket_view", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - ourselves


async def _bare(endpoints: Endpoints, count: int) -> float:
    """Receive and decode, nothing else."""
    decode = CHANGES.decode
    async with connect(
        endpoints.stream, compression=None, max_size=2**24, ping_interval=None, max_queue=None
    ) as socket:
        await socket.send(subscription(TOKENS, custom_features=False))
        await socket.recv(decode=False)
        await asyncio.sleep(SETTLING)
        start = time.process_time()
        for _ in range(count):
            decode(await socket.recv(decode=False))
        return time.process_time() - start


async def _mirror(endpoints: Endpoints, count: int) -> float:
    """The mirror as users run it; finished when the last frame is in a proven view."""
    # Frames back to back state times up to 20 s ago: that is the load, and not to be doubted here.
    config = MirrorConfig(seed=1, engine=EngineConfig(max_apply_lag=60.0, max_proof_age=120.0))
    async with Mirror([market(MARKET, TOKENS, "0.01")], config=config, endpoints=endpoints) as mirror:
        await mirror.wait_live()
        engine = mirror.engine
        await asyncio.sleep(SETTLING)
        opened = engine.frames
        start = time.process_time()
        async with asyncio.timeout(PATIENCE):
            # Looking seldom: it is part of what is measured.
            while engine.frames < opened + count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        spent = time.process_time() - start
        if any(mirror.peek(token).state is not BookState.LIVE for token in TOKENS):
            message = "a book is not LIVE at the end"
            raise RuntimeError(message)
        return spent


CLIENTS = {"mirror": _mirror, "bare": _bare}


def main(client: str, loop: str, count: int, endpoints: Endpoints) -> None:
    """Run one client and print its CPU seconds."""
    work = CLIENTS[client](endpoints, count)
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - not on every system

        spent = uvloop.run(work)
    else:
        spent = asyncio.run(work)
    sys.stdout.write(str(spent))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Endpoints(**json.loads(sys.argv[4])))
