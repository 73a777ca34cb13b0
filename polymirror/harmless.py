"""Text from outside, made fit for a person's eyes: the one function that it passes before a terminal, a log or a chat.

The venue, a relay, a proxy or a file may write anything: sequences that drive a terminal, line breaks that forge a line
of a log, characters that turn the direction of writing or are not seen at all. Here each of them becomes an escape, as
JSON spells them, so that JSON stays what it is. Pure; whoever shows text calls it, exceptions included.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TEXT: Final = 200
"""Characters of a text of somebody else that are shown, if whoever shows it has no limit of their own."""

MAX_TRACE_LINES, MAX_TRACE_LINE = 200, 500

SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that Python calls printable, and of which nothing is seen."""


def escaped(text: str) -> str:
    """Return ``text`` with an escape for each character that cannot be seen; only the plain space is kept as it is."""
    if text.isprintable() and UNSEEN.search(text) is None:
        return text
    return "".join(each if each.isprintable() and UNSEEN.match(each) is None else _escape(each) for each in text)


def harmless(text: object, limit: int = MAX_TEXT) -> str:
    """Return a text (or whatever ``str`` makes of it) as one line of at most ``limit`` characters, all to be seen."""
    whole = text if isinstance(text, str) else str(text)
    shown = escaped(whole[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 2]}.."


def escaped_lines(text: str) -> str:
    """Do what :func:`escaped` does to each line of a text that we made of several, such as a table."""
    return "\n".join(map(escaped, text.split("\n")))


def harmless_trace(text: str) -> str:
    """Return a traceback, of which no line can be taken for the beginning of something else."""
    return "\n".join(f"  {harmless(line, MAX_TRACE_LINE)}" for line in text.split("\n", MAX_TRACE_LINES))


def _escape(char: str) -> str:
    # As JSON spells them: what is beyond 16 bits in two halves.
    units = char.encode("utf-16-be", "surrogatepass")
    return SHORT.get(char) or "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
