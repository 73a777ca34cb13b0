"""How a bot ends when it is told to, as a service ends: it buys nothing more, settles what is under way, and goes.

The first SIGTERM, SIGINT or SIGHUP asks the bot to end (``drain``) and gives it :data:`GRACE` seconds; a second one, or
the end of that time, ends it at once. Positions are kept either way: the next start goes on with them. A signal that
was ignored when the process began, as ``nohup`` does with SIGHUP, stays ignored.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

log = logging.getLogger(__name__)

T = TypeVar("T")

SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")

GRACE: Final = 20.0
"""Seconds for orders under way: longer than the venue takes to decide one, shorter than a service manager waits."""

CUT_SHORT: Final = 128
"""Exit codes from here on, with the signal's number added, say that the bot was ended before it was done."""


async def run_until_told(
    work: Coroutine[object, object, T], drain: Callable[[str], None], grace: float = GRACE
) -> tuple[T | None, int]:
    """Do ``work`` until it returns or a signal ends it; return what it returned, and the exit code.

    ``drain`` is called once, with the reason, and is to have ``work`` return soon. Raises what ``work`` raises.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    told: list[int] = []

    def hear(number: int) -> None:
        told.append(number)
        name = signal.Signals(number).name
        if len(told) == 1:
            log.warning("%s: no new order; ends within %g s, at once with a second signal", name, grace)
            loop.call_later(grace, task.cancel)
            drain(f"signal {name}")
        else:
            log.warning("%s: ends at once", name)
            task.cancel()

    with _heard(loop, hear):
        try:
            return await task, 0
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not told or (current is not None and current.cancelling()):
                task.cancel()
                raise
            return None, CUT_SHORT + told[0]


@contextmanager
def _heard(loop: asyncio.AbstractEventLoop, hear: Callable[[int], None]) -> Iterator[None]:
    """Have signals heard while in the block, where the platform and the loop can: elsewhere Ctrl-C ends it at once."""
    heard: dict[int, Any] = {}
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is signal.SIG_IGN:
            continue
        before = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, hear, number)
        except (NotImplementedError, RuntimeError, ValueError):
            continue
        heard[number] = before
    try:
        yield
    finally:
        for number, before in heard.items():
            loop.remove_signal_handler(number)
            # The loop puts back Python's default: that of a caller, asyncio's for Ctrl-C among them, would be lost.
            signal.signal(number, before)
