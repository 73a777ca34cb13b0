"""The log of a bot: one line for each thing that happens, with its figures as fields; secrets in none of them.

:func:`event` writes one; :func:`set_up` decides how lines look: for people (time in UTC, level, words, ``name=value``)
or as one JSON object a line, for machines. Other packages' loggers tell only what is wrong, whatever level they are set
to: a line for each HTTP request would bury the rest, and below WARNING they print headers and frames as they are sent,
signatures and logins included, which nobody can tell from other text. Secrets are taken out of a record as it is made:
no handler ever has one.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from decimal import Decimal
from typing import Any, Final, TextIO

from bots.common.secrets import hide
from polymirror.harmless import escaped, harmless, harmless_trace

OWN: Final = ("bots", "polymirror")
"""Loggers that are heard from INFO on; all others from WARNING on."""

MAX_LINE: Final = 2_000
"""Characters of one line; what is longer is cut."""

NOT_SHOWN: Final = "(not shown: what other packages say below WARNING may hold credentials)"

_FIELDS: Final = "fields"


def event(log: logging.Logger, words: str, level: int = logging.INFO, **fields: object) -> None:
    """Log what happened: ``event(log, "filled", shares=shares, money=money)``. Fields that are None are left out."""
    if log.isEnabledFor(level):
        log.log(level, "%s", words, extra={_FIELDS: {name: each for name, each in fields.items() if each is not None}})


def set_up(level: int = logging.INFO, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Have the process log to ``stream`` (standard error), in place of whatever was set up before, crashes included."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(Lines(as_json=as_json))
    handler.addFilter(lambda record: record.msg is not NOT_SHOWN)
    logging.setLogRecordFactory(_record)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    sys.excepthook = lambda *error: root.critical("the program fails", exc_info=error)
    threading.excepthook = lambda args: root.critical("a thread fails", exc_info=args[:3])  # type: ignore[arg-type]


def _record(*args: Any, **given: Any) -> logging.LogRecord:
    """Make a record without secrets."""
    record = logging.LogRecord(*args, **given)
    if record.levelno < logging.WARNING and record.name.partition(".")[0] not in OWN:
        record.msg, record.args, record.exc_info, record.stack_info = NOT_SHOWN, (), None, None
        return record
    try:
        words = record.getMessage()
    except Exception:  # noqa: BLE001 - a line that cannot be made is told as it is
        words = f"{record.msg!r} {record.args!r}"
    record.msg, record.args = hide(words), ()
    if record.exc_info:
        record.exc_text, record.exc_info = hide(logging.Formatter().formatException(record.exc_info)), None
    record.stack_info = record.stack_info and hide(record.stack_info)
    return record


class Lines(logging.Formatter):
    """Makes one line of a record. Of an exception it shows the traceback on further lines, or as a field of JSON."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without secrets in its fields; those in the record are out of it already."""
        fields: dict[str, Any] = getattr(record, _FIELDS, {})
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        trace = record.exc_text or ""
        if self._as_json:
            head = {"at": at, "level": record.levelname, "logger": record.name, "words": record.getMessage()}
            body = head | {name: _plain(value) for name, value in fields.items()} | ({"trace": trace} if trace else {})
            return escaped(json.dumps(body, ensure_ascii=False))
        words = [record.getMessage(), *(f"{name}={_shown(value)}" for name, value in fields.items())]
        line = f"{at} {record.levelname} {harmless(' '.join(words), MAX_LINE)}"
        # No line of a trace may begin as one of the log does.
        return line + (f"\n{harmless_trace(trace)}" if trace else "")


def _plain(value: object) -> object:
    """Return a JSON value; a Decimal as text, so that it stays exact."""
    return value if isinstance(value, (int, bool)) else hide(str(value))


def _shown(value: object) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else hide(str(value))
    plain = text.isprintable() and not any(each in ' "=' for each in text)
    return text if text and plain else json.dumps(text, ensure_ascii=False)
