"""Our requests in the log of httpx: left out, unless somebody wants them.

httpx logs a line at level INFO for each request, and a mirror makes some each second: a program that sets its root
logger to INFO would see little else. The lines of our own requests are left out, as long as nobody has set a level on
the logger ``httpx`` itself; ``logging.getLogger("httpx").setLevel(logging.INFO)`` brings them back. Those of the
program's other clients are untouched. Used by :mod:`polymirror.venue.http` only.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ours: ContextVar[bool] = ContextVar("polymirror_request", default=False)
"""Whether what is logged now is about a request of ours."""


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        chosen = logging.getLogger(record.name).level != logging.NOTSET
        return chosen or record.levelno > logging.INFO or not _ours.get()


_FILTER: Final = _Filter()


@contextmanager
def quietly() -> Iterator[None]:
    """Make a request in here."""
    # Does nothing the second time.
    logging.getLogger("httpx").addFilter(_FILTER)
    before = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(before)
