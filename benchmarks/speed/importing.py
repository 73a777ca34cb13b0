"""What ``import polymirror`` costs: fresh interpreters in turns, with the import and without."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.speed.method import Costs
from benchmarks.speed.rows import Row, rounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.speed.rows import Options

TARGET_MS = 150.0
SHOWN = 8
"""The costliest packages that are named."""


def measure(options: Options) -> Iterator[Row]:
    """Measure the import in warm files: CPU time of a process with it, less that of one without."""
    cpu, wall = [], []
    with TemporaryDirectory() as folder:
        # Byte code is there, as it is after an installation, also where the environment forbids to write it.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _spend("import polymirror", environment)
        for _ in range(options.choose(15, 5)):
            with_import, without = _spend("import polymirror", environment), _spend("pass", environment)
            cpu.append(with_import[0] - without[0])
            wall.append(with_import[1] - without[1])
        by_package = _by_package(environment)
    costs = Costs(tuple(cpu))
    yield Row(
        "import_time",
        "import polymirror in a fresh interpreter, CPU time",
        costs.median,
        TARGET_MS,
        unit="ms",
        details={
            "quartiles": [rounded(each) for each in costs.spread],
            "ms_wall": Costs(tuple(wall)).median,
            "ms_by_package": by_package,
        },
    )


def _spend(code: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """Return CPU and wall milliseconds of one interpreter."""
    before, start = _children(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)  # noqa: S603 - ourselves
    return 1000 * (_children() - before), 1000 * (time.perf_counter() - start)


def _children() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        times = os.times()
        return times.children_user + times.children_system
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _by_package(environment: Mapping[str, str]) -> dict[str, float]:
    """Return the milliseconds that each top-level package's own modules took, the costliest first."""
    command = [sys.executable, "-X", "importtime", "-c", "import polymirror"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603 - ourselves
    spent: dict[str, float] = {}
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdigit():
            package = name.strip().partition(".")[0]
            spent[package] = spent.get(package, 0.0) + int(own) / 1000
    return dict(sorted(spent.items(), key=lambda each: -each[1])[:SHOWN])
