"""Keys that are pressed while a picture is shown, and what they do to it.

:func:`pressed_keys` reads a terminal as it is pressed on and gives it back as it was, whatever happens;
:class:`Navigation` is pure. Used by ``polymirror watch``.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

try:
    import termios
    import tty
except ImportError:  # Windows: a picture without keys
    HAS_TERMINALS = False
else:
    HAS_TERMINALS = True

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_READ: Final = 1_024
"""Bytes of keys that are taken at once."""

SEQUENCE: Final = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)

NAMES: Final = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"k": "up",
    b"\x1b[B": "down", b"\x1bOB": "down", b"j": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down", b" ": "page down",
    b"\x1b[H": "first", b"\x1b[1~": "first", b"\x1bOH": "first", b"g": "first",
    b"\x1b[F": "last", b"\x1b[4~": "last", b"\x1bOF": "last", b"G": "last",
    b"b": "book", b"\r": "book", b"\n": "book", b"\x1b": "back",
    b"n": "next", b"\t": "next", b"p": "previous", b"\x1b[Z": "previous",
    b"s": "sort", b"q": "quit",
}  # fmt: skip
"""What each key is called."""

SORTS: Final = ("trouble", "name", "age")
"""Orders of the books: those in trouble first if not all fit; by name; the oldest proof first."""


def named_keys(data: bytes) -> list[str]:
    """Return the names of the keys that sent these bytes; those that have none are left out."""
    return [NAMES[each] for each in SEQUENCE.findall(data) if each in NAMES]


@contextmanager
def pressed_keys(press: Callable[[str], None]) -> Iterator[bool]:
    """Call ``press`` with the name of each key, on the running event loop; yields whether there are keys at all."""
    fd = _terminal()
    if fd is None:
        yield False
        return
    before, loop = termios.tcgetattr(fd), asyncio.get_running_loop()

    def read() -> None:
        data = b""
        with suppress(OSError):
            data = os.read(fd, MAX_READ)
        if not data:
            # The terminal is gone: asking it again and again would only keep the loop busy.
            loop.remove_reader(fd)
        for name in named_keys(data):
            press(name)

    try:
        # Ctrl-C and its like stay signals.
        tty.setcbreak(fd, termios.TCSANOW)
        loop.add_reader(fd, read)
        yield True
    finally:
        loop.remove_reader(fd)
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, before)


def _terminal() -> int | None:
    """The terminal whose keys are for us; None without one, or while another program has it."""
    try:
        fd = sys.stdin.fileno()
        ours = HAS_TERMINALS and os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return None
    return fd if ours else None


@define
class Navigation:
    """What of a picture is shown: the first row, the order, and the book whose depth takes the place of the rows."""

    first: int = 0
    sort: str = SORTS[0]
    book: str | None = None
    over: bool = False
    page: int = 10
    """Rows that fit; whoever draws keeps it up to date."""

    @property
    def hint(self) -> str:
        """What the keys do, in few words."""
        if self.book is not None:
            return "n p other books  b back  q quit"
        return f"↑↓ scroll  s by {self.sort}  b book  q quit"

    def press(self, key: str, tokens: Sequence[str]) -> None:
        """Do what a key says. ``tokens`` are those of all books, in their usual order."""
        steps = {"up": -1, "down": 1, "page up": -self.page, "page down": self.page}
        if key == "quit":
            self.over = True
        elif key == "sort":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            self.first = 0
        elif key in {"book", "back"}:
            opens = key == "book" and self.book is None and bool(tokens)
            self.book = tokens[0] if opens else None
        elif key in {"next", "previous"} and self.book is not None and tokens:
            here = tokens.index(self.book) if self.book in tokens else -1
            self.book = tokens[(here + (1 if key == "next" else -1)) % len(tokens)]
        elif self.book is None:
            last = max(0, len(tokens) - self.page)
            self.first = {"first": 0, "last": last}.get(key, max(0, min(last, self.first + steps.get(key, 0))))
