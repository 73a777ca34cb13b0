"""What a run was made on: the page says it, since no absolute figure means anything without."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import frozen

PACKAGES = (
    "msgspec",
    "websockets",
    "uvloop",
    "orjson",
    "nautilus_trader",
    "ccxt",
    "polymarket-client",
    "cryptofeed",
    "unicorn-binance-local-depth-cache",
)


@frozen
class Machine:
    """The machine and the versions."""

    processor: str
    cpus: int
    pinned: int | None
    """The CPU that the process was kept on; None: it was not."""
    python: str
    system: str
    day: str
    versions: dict[str, str]


def describe(pinned: int | None) -> Machine:
    """Look at this machine."""
    return Machine(
        processor=_processor(),
        cpus=os.cpu_count() or 1,
        pinned=pinned,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        day=datetime.now(UTC).date().isoformat(),
        versions={name: found for name in ("polymirror", *PACKAGES) if (found := _version(name))},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
