"""A real nats-server of a test's own: on loopback, at a port that the system gives, ended with the test."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.loopback import PATIENCE, turns_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from polymirror import Mirror
    from polymirror.relay.broker.server import BrokerRelay

PAGE = Path(__file__).parents[3] / "docs" / "relay-nats.md"

PATH = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")

with_nats = pytest.mark.skipif(PATH is None, reason="there is no nats-server: apt-get install nats-server")


class Nats:
    """A server that can be killed and started again at the same address."""

    def __init__(self, folder: Path, settings: str = "", host: str = "127.0.0.1", before: Sequence[str] = ()) -> None:
        self._before = before
        self._folder = folder
        self._settings = settings
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"nats://{self._host}:{self.port}"

    async def start(self) -> None:
        """Start, and wait until it listens."""
        for old in self._folder.glob("*.ports"):
            old.unlink()
        path = self._folder / "nats.conf"
        settings = f'{self._settings}\nlisten: "{self._host}:{self.port or -1}"\nports_file_dir: "{self._folder}"\n'
        settings += f'log_file: "{self._folder / "log"}"\n'
        path.write_text(settings, encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - fixed words, and it is started at once
            [*self._before, str(PATH), "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE):
            text = ""
            while not text:
                assert self._process.poll() is None, self._process.stderr.read().decode()
                await asyncio.sleep(0.01)
                text = "".join(path.read_text(encoding="utf-8") for path in self._folder.glob("*.ports"))
        self.port = int(json.loads(text)["nats"][0].rpartition(":")[2])

    def pause(self, signal: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(signal)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stderr.close()
            self._process = None


@asynccontextmanager
async def nats(
    folder: Path, settings: str = "", host: str = "127.0.0.1", before: Sequence[str] = ()
) -> AsyncIterator[Nats]:
    """Run a server; ``before`` are the words before its command."""
    server = Nats(folder, settings, host, before)
    try:
        await server.start()
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def relaying(mirror: Mirror, url: str, **settings: object) -> AsyncIterator[BrokerRelay]:
    """A relay of a mirror's books that has found its broker."""
    relay = await mirror.serve_relay_nats(url, name="desk", **settings)
    try:
        await turns_until(lambda: relay.connected)
        yield relay
    finally:
        await relay.stop()


class Listening:
    """Something at a port that says hello as a NATS server does, and notes what is said to it."""

    def __init__(self, hello: bytes, answer: bytes = b"") -> None:
        self._hello = hello
        self._answer = answer
        self.heard = b""
        self.deaf = False
        self._writer: asyncio.StreamWriter | None = None
        self._over = asyncio.Event()

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def say(self, text: bytes) -> None:
        """Say something to whoever has called."""
        self._writer.write(text)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()
        await self._server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(self._hello)
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.heard += data
                if self.deaf:
                    await self._over.wait()
                elif b"PING" in data:
                    writer.write(self._answer)
        writer.transport.abort()
