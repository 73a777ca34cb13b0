"""The folder of bundles, and the thread that writes them: each as one file for its owner alone, and never too many."""

from __future__ import annotations

import os
import queue
import re
import secrets
import threading
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from polymirror.files import create_private
from polymirror.harmless import harmless
from polymirror.journal.disk import check_room, sizes_of
from polymirror.journal.format import write_lines
from polymirror.journal.incident.bundle import lines_of

if TYPE_CHECKING:
    from pathlib import Path

    from polymirror.config import IncidentConfig
    from polymirror.journal.format import Header, Incident, Line

NAME: Final = re.compile(r"incident-[0-9]{8}T[0-9]{6}Z-[0-9A-Za-z]{1,8}-[0-9a-f]{6}\.jsonl(\.zst)?", re.ASCII)
"""The name of a bundle."""

MAX_WAITING: Final = 16
"""Bundles that wait to be written; no more are taken meanwhile."""

MAX_TOLD: Final = 64

LEVEL: Final = 3
"""How hard zstd tries."""


@frozen
class Bundle:
    """What is to be written."""

    path: Path
    header: Header
    incident: Incident
    lines: tuple[Line, ...]
    cut: bool
    """Whether something from before the incident is missing that should be there."""
    size: int
    """Bytes, about."""


def packer() -> Any:
    """Return what packs a bundle with zstd; None without the library: bundles are plain text then."""
    try:
        library = import_module("zstandard")
    except ImportError:
        return None
    return library.ZstdCompressor(level=LEVEL, write_checksum=True)


def file_name(wall: float, market: str, suffix: str) -> str:
    """Return the name of a bundle that begins at a time of day, in Unix seconds."""
    began = datetime.fromtimestamp(wall, UTC)
    name = "".join(each for each in market.removeprefix("0x")[:8] if each.isascii() and each.isalnum())
    return f"incident-{began:%Y%m%dT%H%M%SZ}-{name or 'market'}-{secrets.token_hex(3)}{suffix}"


class Store:
    """Writes bundles to ``folder``. :meth:`put` never waits."""

    def __init__(self, folder: Path, config: IncidentConfig, min_free_bytes: int) -> None:
        self._folder = folder
        self._config = config
        self._min_free = min_free_bytes
        self._packer = packer()
        self.suffix: str = ".jsonl" if self._packer is None else ".jsonl.zst"
        self._waiting: queue.Queue[Bundle | None] = queue.Queue()
        self._told: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="polymirror incidents", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, bundle: Bundle) -> None:
        """Have a bundle written; one too many is lost, and told."""
        if self._waiting.qsize() >= MAX_WAITING:
            self._tell(f"{bundle.path.name} is lost: {MAX_WAITING} others wait to be written")
        else:
            self._waiting.put(bundle)

    def close(self, timeout: float) -> bool:
        """Write what waits, for ``timeout`` seconds at most; return whether all is written."""
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def told(self) -> list[tuple[str, str]]:
        """Return what became of bundles since the last call: its kind, and what is said of it."""
        found: list[tuple[str, str]] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._told.get_nowait())
        return found

    def _tell(self, text: str, kind: str = "incident lost") -> None:
        if self._told.qsize() < MAX_TOLD:
            self._told.put((kind, text))

    # ---- The writing thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while (bundle := self._waiting.get()) is not None:
            try:
                self._write(bundle)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
                said = harmless(getattr(error, "strerror", None) or error)
                self._tell(f"{bundle.path.name} is lost: it cannot be written in {self._folder}: {said}")

    def _write(self, bundle: Bundle) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_room(self._folder, self._min_free)
        data = write_lines(lines_of(bundle.header, bundle.incident, bundle.lines, cut=bundle.cut))
        if self._packer is not None:
            data = self._packer.compress(data)
        file = create_private(bundle.path)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            with suppress(OSError):
                bundle.path.unlink()
            raise
        finally:
            os.close(file)
        incident = bundle.incident
        gone = self._make_room(bundle.path)
        left = f"; deleted to make room: {gone}" if gone else ""
        said = f"{harmless(incident.names[0])} lost trust ({incident.reason}): polymirror explain {bundle.path}{left}"
        self._tell(said, "incident")

    def _make_room(self, newest: Path) -> int:
        """Delete the oldest bundles while there are too many; return how many were.

        The newest stays, also where its name comes before those of others of its second.
        """
        sizes = sizes_of(bundles(self._folder))
        total, gone = sum(sizes.values()), 0
        for path, size in sizes.items():
            if total <= self._config.keep_bytes and len(sizes) - gone <= self._config.keep_files:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size
                gone += 1
        return gone


def bundles(folder: Path) -> list[Path]:
    """Return the bundles in a folder, the oldest first: names begin with the time. Raises OSError."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
