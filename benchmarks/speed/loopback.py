"""The near side of loopback measurements: starting the venue's process, and the markets it knows."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from polymirror import Endpoints
from polymirror.venue.market import Market, Oracle, Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"


@frozen
class Far:
    """A running venue."""

    endpoints: Endpoints
    log: Path
    """When each frame was sent."""
    count: int

    def sent_at(self) -> tuple[float, ...]:
        """Return when each frame was handed to the socket, in seconds of the monotonic clock; 0: not yet."""
        return tuple(at / 1e9 for at in struct.unpack(f"<{self.count}q", self.log.read_bytes()))


@contextmanager
def venue(
    count: int,
    *,
    flow: str = "synthetic",
    rate: float = 0.0,
    speed: float = 1.0,
    crowd: int = 0,
    levels: int = 5,
    clients: int = 1,
) -> Iterator[Far]:
    """Run a venue in a process of its own, away from our CPU if there is another; see :mod:`.venue_process`."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "sent"
        log.write_bytes(bytes(8 * count))
        plan = {"count": count, "flow": flow, "rate": rate, "speed": speed, "crowd": crowd, "levels": levels,
                "clients": clients, "log": str(log)}  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.speed.venue_process", json.dumps(plan)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - ourselves
            _move_away(process.pid)
            try:
                assert process.stdout is not None  # noqa: S101 - asked for above
                stream, rest = json.loads(process.stdout.readline())
                base = f"http://{HOST}:{rest}"
                yield Far(Endpoints(stream=f"ws://{HOST}:{stream}/ws/market", clob=base, gamma=base), log, count)
            finally:
                process.communicate(timeout=10)


def _move_away(pid: int) -> None:
    """Let the venue run on the other CPUs: two pinned processes on one would measure each other."""
    if hasattr(os, "sched_setaffinity"):
        others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
        if others:
            os.sched_setaffinity(pid, others)


def market(condition_id: str, tokens: Sequence[str], tick_size: str) -> Market:
    """Return a market as a catalogue would describe it."""
    return Market(
        slug="made-up", question="Up or down?", condition_id=condition_id,
        tokens=(Token(tokens[0], "Up"), Token(tokens[1], "Down")), window_start=None, window_end=None,
        tick_size=tick_size, min_order_size="5", neg_risk=False, fees_enabled=False, fee=None,
        oracle=Oracle(source=None), active=True, closed=False, accepting_orders=True, winner=None,
        price_to_beat=None, final_price=None,
    )  # fmt: skip
