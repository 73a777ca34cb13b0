"""A real nats-server of a test's own: on loopback, at a port that the system gives, ended with the test."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.loopback import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATH = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")

with_nats = pytest.mark.skipif(PATH is None, reason="there is no nats-server: apt-get install nats-server")


class Nats:
    """A server that can be killed and started again at the same address."""

    def __init__(self, folder: Path, settings: str = "", host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._settings = settings
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"nats://{self._host}:{self.port}"

    async def start(self, *before: str) -> None:
        """Start, and wait until it listens. ``before`` goes before the command."""
        for old in self._folder.glob("*.ports"):
            old.unlink()
        path = self._folder / "nats.conf"
        settings = f'{self._settings}\nlisten: "{self._host}:{self.port or -1}"\nports_file_dir: "{self._folder}"\n'
        settings += f'log_file: "{self._folder / "log"}"\n'
        path.write_text(settings, encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - fixed words, and it is started at once
            [*before, str(PATH), "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
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
async def nats(folder: Path, settings: str = "") -> AsyncIterator[Nats]:
    server = Nats(folder, settings)
    try:
        await server.start()
        yield server
    finally:
        server.kill()
