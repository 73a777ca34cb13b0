"""A fuzz of the edge: HTTP answers, handshakes and frames that no honest venue sends, through the real libraries.

Bytes are fed to httpx (by way of httpcore and h11) and to websockets in memory, so that no socket slows it down. Each
case has a random generator of its own, made of the seed and its number. Nothing but a
:class:`~polymirror.errors.VenueError` may come out of a call or an attempt to connect, nothing at all out of a
connection, and memory must not grow. Turns of the event loop that take long are counted and told, in seconds of CPU,
the garbage collector's apart: that one looks at everything that the program has, also at what is not the edge's::

    python -m tests.venue.fuzz_edge --cases 1000000 [--seed 7] [--first 0]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib.util
import logging
import random
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
from websockets.utils import accept_key

from polymirror.config import Endpoints, RestConfig, StreamConfig
from polymirror.core.messages import decode_frame
from polymirror.errors import VenueError
from polymirror.venue.connection import Connection
from polymirror.venue.gamma import Gamma
from polymirror.venue.network import Network
from polymirror.venue.pieces import cut_array
from polymirror.venue.rest import Clob
from polymirror.venue.stream import StreamCounters
from polymirror.venue.watchdog import is_json_data
from polymirror.venue.wire import hang_up, open_wire
from tests.venue.fuzz_bytes import MIB, agreement, cut, frame, http_answer

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_GROWTH = 64 * MIB
"""Bytes by which the resident memory may grow from the end of the warm-up on."""

WARM_UP = 2_000
"""Cases before memory is measured: caches and pools fill."""

LONG_TURN = 0.05
"""Seconds of CPU, without the garbage collector, for which a turn of the event loop is told."""

MAX_TOLD = 20
"""Cases with long turns that are told."""

REST = RestConfig(attempts=1, max_body=MIB, calls_per_10s=9_000, concurrency=1)
STREAM = StreamConfig(open_timeout=5.0, close_timeout=0.05, max_message=MIB, max_queue=2_000, max_queue_bytes=4 * MIB)
STREAM_URL = "ws://venue.test/ws/market"
ENDS = Endpoints(stream=STREAM_URL, clob="http://venue.test", gamma="http://venue.test", allow_plain=True)


# ---- What carries it -----------------------------------------------------------------------------


class Wired(httpcore.AsyncNetworkStream):
    """A connection of httpcore that brings prepared reads, and then its end."""

    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._reads:
            return b""
        data = self._reads.pop(0)
        if len(data) > max_bytes:
            self._reads.insert(0, data[max_bytes:])
        await asyncio.sleep(0)
        return data[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    async def aclose(self) -> None:
        self._reads.clear()

    def get_extra_info(self, info: str) -> Any:
        return None


class Backend(httpcore.AsyncNetworkBackend):
    """Where httpcore connects to: each connection brings a new answer."""

    rng: random.Random

    async def connect_tcp(self, *_arguments: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
        return Wired(cut(self.rng, http_answer(self.rng)))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Transport(asyncio.Transport):
    """What websockets writes to: answers the handshake, then brings prepared reads, and then its end."""

    def __init__(self, protocol: Any, script: Callable[[bytes], list[bytes]], *, reads: bool) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol, self._script, self._drains = protocol, script, reads
        self._request = bytearray()
        self._coming: list[bytes] | None = None
        self._unsent, self._closing, self._paused, self._lost = 0, False, False, False

    def write(self, data: Any) -> None:
        if self._coming is None:
            self._request += data
            if self._request.endswith(b"\r\n\r\n"):
                key = self._request.lower().partition(b"sec-websocket-key:")[0]
                line = bytes(self._request[len(key) :]).split(b"\r\n")[0]
                accept = accept_key(line.partition(b":")[2].strip().decode()).encode()
                self._coming = self._script(accept)
                self._loop.call_soon(self._bring)
        elif not self._drains:
            self._unsent += len(data)

    def _bring(self) -> None:
        if self._lost or self._paused:
            return
        if self._closing:
            self._lose()
        elif self._coming:
            self._protocol.data_received(self._coming.pop(0))
            self._loop.call_soon(self._bring)
        else:
            self._protocol.eof_received()
            self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._protocol.connection_lost(None)

    def abort(self) -> None:
        self._closing = True
        self._loop.call_soon(self._lose)

    close = abort

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._bring)

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass


# ---- The run -------------------------------------------------------------------------------------


class Fuzz:
    """Runs cases and remembers what came of them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self.longest = 0.0
        self.long_turns = 0
        # The first cases with long turns, and the seconds that those took.
        self.long_cases: list[tuple[int, float]] = []
        # The longest pause for the garbage collector, all of them, and when the present one began.
        self.longest_pause = 0.0
        self._paused = 0.0
        self._pause_began = 0.0
        self.growth = 0
        self._now = 0.0
        self._case = 0
        self._turn_began: float | None = None

    def clock(self) -> float:
        """A clock that goes a second each time that it is looked at: no budget is ever spent."""
        self._now += 1.0
        return self._now

    async def run(self, cases: int, first: int = 0) -> None:
        """Run cases ``first`` and following."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self._fail(f"event loop: {context}"))
        backend = Backend()
        network = Network(
            monotonic=self.clock, sleep=lambda _seconds: asyncio.sleep(0), transport=lambda: self._transport(backend)
        )
        ticker = asyncio.ensure_future(self._watch_turns())
        gc.callbacks.append(self._pause)
        async with (
            Clob(REST, ENDS, rng=random.Random(1), network=network) as clob,
            Gamma(REST, ENDS, rng=random.Random(1), network=network) as gamma,
        ):
            begun = None
            for number in range(first, first + cases):
                self._case = number
                rng = backend.rng = random.Random(f"{self.seed}:{number}")
                if rng.random() < 0.5:
                    call = rng.choice((clob.time, lambda: clob.books(["1", "2"]), lambda: gamma.market("s")))
                    await self._try("http", call())
                else:
                    await self._try("stream", self._stream(rng, loop))
                if number - first == min(WARM_UP, cases // 2):
                    begun = resident()
                elif begun is not None and number % 500 == 0:
                    self.growth = max(self.growth, resident() - begun)
        ticker.cancel()
        gc.callbacks.remove(self._pause)
        if self.growth > MAX_GROWTH:
            self._fail(f"memory grew by {self.growth / MIB:.0f} MiB")

    def _transport(self, backend: Backend) -> httpx.AsyncBaseTransport:
        transport = httpx.AsyncHTTPTransport()
        transport._pool = httpcore.AsyncConnectionPool(network_backend=backend, max_keepalive_connections=0)
        return transport

    async def _try(self, kind: str, work: Any) -> None:
        try:
            outcome = await asyncio.wait_for(work, 20.0)
        except VenueError as error:
            text = str(error)
            outcome = type(error).__name__
            if not text.isprintable() or len(text) > 1_000:
                self._fail(f"{kind}: a text that cannot be shown: {text!r}")
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            self._fail(f"{kind}: {type(error).__name__}: {error}")
            return
        self.outcomes[f"{kind} {outcome if isinstance(outcome, str) else 'ok'}"] += 1

    async def _stream(self, rng: random.Random, loop: asyncio.AbstractEventLoop) -> str:
        """Open a socket, and serve it to its end if it opens."""
        honest = rng.random() < 0.6
        floods = honest and rng.random() < 0.004

        def script(key: bytes) -> list[bytes]:
            frames = b"\x89\x7d" + b"p" * 125
            sent = frames * 10_000 if floods else b"".join(frame(rng) for _ in range(rng.randrange(12)))
            return [agreement(rng, key, honest=honest), *cut(rng, sent)]

        async def connect(factory: Callable[[], Any], *_arguments: Any, **_options: Any) -> tuple[Any, Any]:
            protocol = factory()
            transport = Transport(protocol, script, reads=not floods)
            protocol.connection_made(transport)
            return transport, protocol

        loop.create_connection = connect  # type: ignore[method-assign, assignment]
        wire = await open_wire(STREAM_URL, STREAM, {}, time.time)
        try:
            connection = Connection(
                wire, config=STREAM, network=Network(), is_data=is_json_data, on_frame=_decode,
                cut=cut_array, ping="PING", counters=StreamCounters(),
            )  # fmt: skip
            cause = await connection.serve()
        finally:
            await hang_up(wire, STREAM.close_timeout, politely=False)
        if floods and cause.kind.name != "OVERFLOW":
            self._fail(f"a flood of pings ended with {cause}")
        if not str(cause).isprintable():
            self._fail(f"a cause that cannot be shown: {cause!r}")
        return cause.kind.name

    async def _watch_turns(self) -> None:
        while True:
            began, paused = time.thread_time(), self._paused
            await asyncio.sleep(0)
            took = time.thread_time() - began - (self._paused - paused)
            self.longest = max(self.longest, took)
            if took > LONG_TURN:
                self.long_turns += 1
                if len(self.long_cases) < MAX_TOLD:
                    self.long_cases.append((self._case, took))

    def _pause(self, phase: str, _info: object) -> None:
        """Time the garbage collector (it calls this)."""
        now = time.thread_time()
        if phase == "start":
            self._pause_began = now
            return
        self._paused += now - self._pause_began
        self.longest_pause = max(self.longest_pause, now - self._pause_began)

    def _fail(self, what: str) -> None:
        if len(self.failures) < 100:
            self.failures.append(f"case {self._case} of seed {self.seed}: {what}")


def _decode(data: bytes, _received_at: float) -> None:
    decode_frame(data)


def resident() -> int:
    """Return the bytes of memory that this process has now; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4_096 if statm.exists() else 0


def main() -> int:
    """Run as a program; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    # httpcore looks for these in each call, which takes a third of the time where they are not installed.
    for name in ("trio", "sniffio"):
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = None  # type: ignore[assignment]
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    fuzz, began = Fuzz(options.seed), time.monotonic()
    asyncio.run(fuzz.run(options.cases, options.first))
    lines = [
        f"{options.cases} cases of seed {options.seed} in {time.monotonic() - began:.0f} s",
        f"memory grew by {fuzz.growth / MIB:.1f} MiB",
        f"longest turn {1000 * fuzz.longest:.0f} ms of CPU, {fuzz.long_turns} above {1000 * LONG_TURN:.0f} ms",
        f"longest pause for the garbage collector {1000 * fuzz.longest_pause:.0f} ms",
        *(f"case {case} took a turn of {1000 * took:.0f} ms" for case, took in fuzz.long_cases),
        *(f"{count:9} {outcome}" for outcome, count in sorted(fuzz.outcomes.items())),
        *fuzz.failures,
    ]
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write("\n".join(lines) + "\n")
    return 1 if fuzz.failures else 0


if __name__ == "__main__":
    sys.exit(main())
