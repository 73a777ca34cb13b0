"""A terminal of its own for a command under test."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 60.0
"""Seconds after which a test gives up; no verdict depends on them."""


class Screen:
    """The command on a terminal of its own."""

    def __init__(self, columns: int, lines: int, *arguments: str):
        self.ours, self.theirs = os.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.shown = ""
        environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-c", TAKES_THE_TERMINAL, *arguments], stdin=self.theirs, stdout=self.theirs,
            stderr=self.theirs, start_new_session=True, env=environment | {"TERM": "xterm-256color"},
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.ours)
        os.close(self.theirs)

    def read_until(self, said: str) -> str:
        """Read on until this is shown; return what was shown since the last time."""
        until, since = time.monotonic() + PATIENCE, ""
        while said not in since:
            assert time.monotonic() < until, f"{said!r} is never shown: {since[-2_000:]}"
            if select.select([self.ours], [], [], 0.2)[0]:
                since += os.read(self.ours, 65_536).decode(errors="replace")
        self.shown += since
        return since

    def press(self, keys: bytes):
        os.write(self.ours, keys)

    def wait(self) -> int:
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            if select.select([self.ours], [], [], 0.05)[0]:
                self.shown += os.read(self.ours, 65_536).decode(errors="replace")
        while select.select([self.ours], [], [], 0)[0]:
            self.shown += os.read(self.ours, 65_536).decode(errors="replace")
        return self.process.wait(1)


TAKES_THE_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from polymirror.cli import main
main()
"""
OTHER_SCREEN, BACK = "\x1b[?1049h", "\x1b[?1049l"
CURSOR = "\x1b[?25h"
