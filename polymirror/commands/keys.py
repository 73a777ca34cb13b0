"""Keys that are pressed while a picture is shown, and what they do to it.

:func:`pressed_keys` reads a terminal as it is pressed on and gives it back as it was, whatever happens;
:class:`Navigation` is pure. Used by ``polymirror watch`` and ``polymirror top``.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

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
    b"s": "sort", b"/": "find", b"q": "quit", b"\x7f": "erase", b"\x08": "erase",
}  # fmt: skip
"""What each key is called."""

SORTS: Final = ("trouble", "name", "age", "refused", "resyncs")
"""Orders of the books: those in trouble first if not all fit; by name; the oldest proof, the most refused reads or the
most resyncs first."""

MAX_FIND: Final = 40
"""Characters of what is looked for."""


class Key(NamedTuple):
    """A key that was pressed."""

    name: str
    """What it is called; empty: nothing."""
    text: str
    """The character that it writes; empty: none, or none that names are made of."""


def read_keys(data: bytes) -> list[Key]:
    """Return the keys that sent these bytes; those that neither have a name nor write anything are left out."""
    found = []
    for each in SEQUENCE.findall(data):
        text = each.decode("ascii") if each.isascii() and len(each) == 1 else ""
        key = Key(NAMES.get(each, ""), text if text.isprintable() else "")
        if any(key):
            found.append(key)
    return found


@contextmanager
def pressed_keys(press: Callable[[Key], None]) -> Iterator[bool]:
    """Call ``press`` with each key, on the running event loop; yields whether there are keys at all."""
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
        for key in read_keys(data):
            press(key)

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
    """What of a picture is shown: which books, the first row, the order, and the book whose depth takes their place."""

    first: int = 0
    sort: str = SORTS[0]
    book: str | None = None
    over: bool = False
    find: str = ""
    """Only books that have each of these words in their name, state or reason."""
    typing: bool = False
    """Keys write what is looked for."""
    page: int = 10
    """Rows that fit; whoever draws keeps it up to date."""

    @property
    def hint(self) -> str:
        """What the keys do, in few words."""
        if self.typing:
            return f"/{self.find[-16:]}_  Enter keeps  Esc all"
        if self.book is not None:
            return "n p other books  b back  q quit"
        if self.find:
            return f"/{self.find[-12:]}  Esc all  b book  q quit"
        return f"↑↓  / find  s by {self.sort}  b book  q quit"

    def press(self, key: Key, tokens: Sequence[str]) -> None:
        """Do what a key says. ``tokens`` are those of all books that are shown, in their order."""
        name = key.name
        if self.typing:
            self._type(key)
        elif name == "quit":
            self.over = True
        elif name == "sort":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            self.first = 0
        elif name == "find":
            self.typing, self.book = True, None
        elif name == "back" and self.book is None:
            self.find, self.first = "", 0
        elif name in {"book", "back"}:
            opens = name == "book" and self.book is None and bool(tokens)
            self.book = tokens[min(self.first, len(tokens) - 1)] if opens else None
        elif name in {"next", "previous"} and self.book is not None and tokens:
            here = tokens.index(self.book) if self.book in tokens else -1
            self.book = tokens[(here + (1 if name == "next" else -1)) % len(tokens)]
        elif self.book is None:
            self._scroll(name, len(tokens))

    def _scroll(self, name: str, count: int) -> None:
        steps = {"up": -1, "down": 1, "page up": -self.page, "page down": self.page}
        last = max(0, count - self.page)
        self.first = {"first": 0, "last": last}.get(name, max(0, min(last, self.first + steps.get(name, 0))))

    def _type(self, key: Key) -> None:
        self.first = 0
        if key.text:
            self.find = (self.find + key.text)[:MAX_FIND]
        elif key.name == "erase":
            self.find = self.find[:-1]
        elif key.name == "book":
            self.typing = False
        elif key.name == "back":
            self.typing, self.find = False, ""
