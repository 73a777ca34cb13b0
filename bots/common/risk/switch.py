"""The kill switch's two handles: a file that exists, and a signal. :mod:`bots.common.risk.limits` decides.

The file can be made by anybody who can reach the machine (``touch STOP``), also while the bot is down; the signal
reaches a running bot at once. Either stops new orders; neither touches open positions.
"""

from __future__ import annotations

import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

STOP_FILE: Final = "STOP"
"""A file of this name beside a ledger keeps its bot from buying."""


class KillFile:
    """Says why trading must stop while ``path`` exists. Calling it costs one look at the file system."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> str | None:
        """Return the reason, or ``None``. A file that cannot be looked for counts as there, and so does any link."""
        try:
            # Not exists(), which in newer versions of Python takes every error for an absence.
            self._path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"cannot look for the file {self._path.name}: {error.strerror}"
        return f"the file {self._path.name} exists"


@contextmanager
def stop_on_signal(
    loop: asyncio.AbstractEventLoop, stop: Callable[[str], None], name: str = "SIGUSR1"
) -> Iterator[bool]:
    """While in the block, call ``stop`` with a reason when the process gets the signal ``name``.

    Yields whether that works here: some platforms and event loops have no such signals, which is logged, and the
    file remains.
    """
    number: int | None = getattr(signal, name, None)
    works = False
    if number is not None:
        try:
            loop.add_signal_handler(number, stop, f"signal {name}")
            works = True
        except (NotImplementedError, RuntimeError, ValueError):
            pass  # said below
    if not works:
        log.warning("this platform delivers no %s: use the file of the kill switch", name)
    try:
        yield works
    finally:
        if works and number is not None:
            loop.remove_signal_handler(number)
