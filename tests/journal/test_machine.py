"""What a real machine does to a recording: a folder of somebody else, a disk that is full. The mirror does not mind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import json, os, sys
from contextlib import suppress
from pathlib import Path
from polymirror.errors import PolymirrorError
from polymirror.journal import writer
from polymirror.journal.format import Heard, Lost
from polymirror.journal.reader import sessions
from tests.journal.rig import record

plain, folder, user = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
writer.POLL = 0.05
made = []
init = writer.Writer.__init__
writer.Writer.__init__ = lambda self, *rest: (made.append(self), init(self, *rest))[1]
settings = {"seconds": 30, "rate": 20.0, "seed": 5}
want = record(plain, **settings)
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
seen = record(folder, **settings, min_free_bytes=0)
lines = []
with suppress(PolymirrorError, OSError):
    lines = [line for session in sessions(folder) for line in session.lines()]
print(json.dumps({
    "same": seen[1:] == want[1:], "moves": seen.moves, "put": seen.lines, "lost": made[1].lost, "bytes": made[1].bytes,
    "frames": sum(isinstance(each, Heard) for each in lines), "lines": len(lines),
    "told": sum(each.count for each in lines if isinstance(each, Lost)),
    "damaged": [each.why for each in lines if isinstance(each, Lost) and "damaged" in each.why],
}))
"""

ROOT = Path(__file__).parents[2]
NOBODY = 65_534
PATIENCE = 120


def recorded(plain: Path, folder: Path, *, user: int = 0, before: tuple[str, ...] = ()) -> tuple[dict, str]:
    """Record in a process of its own; return what it tells, and its log."""
    done = subprocess.run(  # noqa: S603 - this Python
        [*before, sys.executable, "-c", CHILD, str(plain), str(folder), str(user)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_folder_of_somebody_else_costs_the_journal_and_nothing_else(tmp_path):
    folder = tmp_path / "others"
    folder.mkdir(mode=0o700 if os.geteuid() == 0 else 0o500)
    told, log = recorded(tmp_path / "plain", folder, user=NOBODY if os.geteuid() == 0 else 0)
    assert told["same"]
    assert told["moves"] > 20
    # Some more lines come of the end.
    assert told["lost"] >= told["put"]
    assert "nothing can be recorded in" in log
    assert "Permission denied; it is tried again" in log
    assert list(folder.iterdir()) == []


def test_a_real_disk_that_is_full_costs_the_rest_of_the_journal_and_nothing_else(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=128k none "{folder}" && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False).returncode != 0:  # noqa: S603
        pytest.skip("this machine lets nobody mount a tmpfs of their own (unshare -rm)")
    told, log = recorded(tmp_path / "plain", folder, before=mounted)
    assert told["same"]
    assert "No space left on device; it is tried again" in log
    # What was written is readable to its end, and what was not is counted.
    assert 0 < told["bytes"] <= 128 * 1024
    assert told["frames"] > 50
    assert told["damaged"] == []
    assert told["lost"] > 0
    assert told["lines"] + told["lost"] >= told["put"]
