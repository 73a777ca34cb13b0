"""Texts that must not be shown: :class:`Secret` holds one, and :func:`hide` takes all of them out of any other text.

Whatever shortens, logs, prints, stores or sends a text hides first: half a key that a cut has left would not be known
any more. A secret is hidden as long as it exists anywhere in the process, in the forms that libraries, services and
the lines of a log give it: percent- or backslash-encoded, in either base64 with any bytes before it, in hex, in either
case, split by anything but letters and digits, and in part, from eight characters in a row on.
"""

from __future__ import annotations

import base64
import ctypes
import hmac
import importlib
import os
import re
import sys
import weakref
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN: Final = 8
"""So many letters and digits of a secret in a row are taken for it."""

LEAST: Final = 6
"""A secret of fewer characters is not looked for: it would be found in every other word."""

MAX_TEXT: Final = 65_536
"""What is looked through; of a longer text the rest is left out."""

_CHARACTER: Final = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+x([0-9a-f]{2})|\\+u([0-9a-f]{4})|\\+[abfnrtv]|([^\W_])", re.IGNORECASE
)

_OTHERS: Final = re.compile(r"[\W_]+")


class Secret:
    """A text that must not be shown: printing, formatting, logging or pickling it does not tell it."""

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        _known[id(self)] = self

    def reveal(self) -> str:
        """Return the text itself, for the one place that needs it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied out of the process")


_known: Final[weakref.WeakValueDictionary[int, Secret]] = weakref.WeakValueDictionary()

NOTHING: Final = Secret("")
"""A secret that was not given."""


def secret_of(value: object) -> Secret:
    """Return the secret, or make one of a text; of anything else, none."""
    return value if isinstance(value, Secret) else Secret(value) if isinstance(value, str) else NOTHING


class _Signs:
    """What gives the secrets away that exist now: runs of their letters, and the few that are too short for that."""

    def __init__(self) -> None:
        self._of: frozenset[Secret] = frozenset()
        self.runs: frozenset[str] = frozenset()
        self.short: tuple[str, ...] = ()

    def look(self) -> bool:
        """Find out what there is; say whether there is anything."""
        if (secrets := frozenset(each for each in list(_known.values()) if each)) != self._of:
            forms = [form for each in secrets for form in _forms(each.reveal())]
            self.runs = frozenset(form[at : at + RUN] for form in forms for at in range(len(form) - RUN + 1))
            values = [each.reveal() for each in secrets]
            self.short = tuple(each for each in values if len(each) >= LEAST and sum(map(str.isalnum, each)) < RUN)
        self._of = secrets
        return bool(secrets)

    def found(self, letters: str) -> list[int]:
        """Return which of the letters are in such a run."""
        starts = [at for at in range(len(letters) - RUN + 1) if letters[at : at + RUN] in self.runs]
        return sorted({each for at in starts for each in range(at, at + RUN)})


_signs: Final = _Signs()


def hide(text: str) -> str:
    """Return ``text``, or its first :data:`MAX_TEXT` characters, with ``***`` for each part that tells a secret."""
    if not _signs.look():
        return text
    text = text[:MAX_TEXT]
    for each in _signs.short:
        text = text.replace(each, "***")
    if not ("%" in text or "\\" in text or _signs.found(_OTHERS.sub("", text).lower())):
        return text
    places = list(_letters(text))
    parts, end, before = [], 0, -2
    for at in _signs.found("".join(letter for letter, _, _ in places)):
        if at != before + 1:
            parts.append(text[end : places[at][1]])
        end, before = places[at][2], at
    return "***".join([*parts, text[end:]])


def no_dumps() -> None:
    """Keep what is in memory out of core dumps, and of the reach of this user's other programs, where that can be."""
    if os.name == "posix":
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # PR_SET_DUMPABLE: a dump that is piped to a program heeds no limit, and /proc shows the first environment.
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def _letters(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each letter and digit, as small as it gets, with its place, whatever it is written as."""
    for each in _CHARACTER.finditer(text):
        code = each[1] or each[2] or each[3]
        letter = chr(int(code, 16)) if code else each[4]
        if letter and letter.isalnum():
            yield letter.lower()[0], each.start(), each.end()


def _forms(value: str) -> Iterator[str]:
    """Yield the letters and digits of each form of a secret."""
    data = value.encode("utf-8", "surrogatepass")
    raw = [data]
    if re.fullmatch(r"(?:0x)?(?:[0-9a-fA-F]{2}){16,}", value):
        raw.append(bytes.fromhex(value.removeprefix("0x")))
    # One that looks encoded itself is found both ways.
    yield _OTHERS.sub("", value).lower()
    texts = [value, data.decode("latin-1"), *(str(int.from_bytes(each)) for each in raw[1:])]
    for each in raw:
        texts.append(each.hex())
        # What goes before shifts the letters; those at the ends are of bytes around it, too.
        texts += [base64.b64encode(bytes(before) + each).decode()[before + (before > 0) :] for before in range(3)]
    for text in texts:
        yield "".join(letter for letter, _, _ in _letters(text))
