"""The log of a bot: one line for each thing that happens, with its figures as fields; secrets in none of them.

:func:`event` writes one; :func:`set_up` decides how lines look: for people (time in UTC, level, words, ``name=value``)
or as one JSON object a line, for machines. Other packages' loggers tell only what is wrong: a line for each HTTP
request would bury the rest.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TextIO

from polymirror.harmless import escaped, harmless, harmless_trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bots.common.operate.settings import Secret

OWN: Final = ("bots", "polymirror")
"""Loggers that are heard from INFO on; all others from WARNING on."""

MAX_LINE: Final = 2_000
"""Characters of one line; what is longer is cut."""

_FIELDS: Final = "fields"


def event(log: logging.Logger, words: str, level: int = logging.INFO, **fields: object) -> None:
    """Log what happened: ``event(log, "filled", shares=shares, money=money)``. Fields that are None are left out."""
    if log.isEnabledFor(level):
        log.log(level, "%s", words, extra={_FIELDS: {name: each for name, each in fields.items() if each is not None}})


def set_up(
    level: int = logging.INFO, *, as_json: bool = False, hide: Iterable[Secret] = (), stream: TextIO | None = None
) -> None:
    """Have the process log to ``stream`` (standard error), in place of whatever was set up before."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(Lines(tuple(hide), as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in OWN:
        logging.getLogger(name).setLevel(level)


class Lines(logging.Formatter):
    """Makes one line of a record. Of an exception it shows the traceback on further lines, or as a field of JSON."""

    def __init__(self, hide: tuple[Secret, ...] = (), *, as_json: bool = False) -> None:
        super().__init__()
        self._hide = hide
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without secrets."""
        fields: dict[str, Any] = getattr(record, _FIELDS, {})
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            head = {"at": at, "level": record.levelname, "logger": record.name, "words": record.getMessage()}
            body = head | {name: _plain(value) for name, value in fields.items()} | ({"trace": trace} if trace else {})
            return self._hidden(escaped(json.dumps(body, ensure_ascii=False)))
        words = [record.getMessage(), *(f"{name}={_shown(value)}" for name, value in fields.items())]
        line = f"{at} {record.levelname} {harmless(' '.join(words), MAX_LINE)}"
        # No line of a trace may begin as one of the log does.
        return self._hidden(line + (f"\n{harmless_trace(trace)}" if trace else ""))

    def _hidden(self, text: str) -> str:
        for secret in self._hide:
            text = secret.hide(text)
        return text


def _plain(value: object) -> object:
    """Return a JSON value; a Decimal as text, so that it stays exact."""
    return value if isinstance(value, (str, int, bool)) else str(value)


def _shown(value: object) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    plain = text.isprintable() and not any(each in ' "=' for each in text)
    return text if text and plain else json.dumps(text, ensure_ascii=False)
