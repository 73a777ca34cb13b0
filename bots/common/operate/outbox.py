"""Notices on their way to a person: kept in the ledger until they are sent, sent by a task, never in anybody's way.

:meth:`Outbox.notify` logs a notice, tells whoever looks on, and puts it into the ledger; it never waits and never
raises. :meth:`Outbox.run` hands what is there to the chat, marks what arrived, and tries the rest again after waits
that grow; what a process could not send any more, the next one sends. A disk that fails delays no notice. One may
come twice after a crash, none is lost. That nothing gets through is a part of the health, and of the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, Self

from attrs import frozen

from bots.common.errors import BotError, shorten
from bots.common.operate.health import Vital
from bots.common.operate.logs import event
from bots.common.secrets import hide
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from bots.common.ledger.ledger import Ledger
    from bots.common.operate.notifications import Delivery
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

MAX_TEXT: Final = 4_000
"""Characters of one notice."""

AT_ONCE: Final = 50
"""Notices that are handed over together; the chat makes as few messages of them as it can."""

MAX_KEPT: Final = 1_000
"""Notices kept in memory; those beyond it are read from the ledger when it is their turn."""

FIRST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 300.0
"""Seconds between two attempts; they double."""

ENOUGH: Final = 6
"""After so many failures another notice is tried first."""

OLD: Final = 90.0
"""Seconds after which a notice says when it was written."""

LATE: Final = 180.0
"""Seconds that a notice may wait before the health calls it late."""


class Chat(Protocol):
    """Where a person reads."""

    async def __aenter__(self) -> Self:
        """Open the way there."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    async def hand_over(self, texts: Sequence[str]) -> Delivery:
        """Send one message with the first ones of these texts."""
        ...


@frozen
class _Letter:
    """One notice."""

    seq: int
    at_ms: int
    text: str


class Outbox:
    """The notices of one bot. ``chat`` None: the log and whoever looks on are told, and that is all."""

    def __init__(
        self,
        ledger: Ledger,
        network: Network,
        chat: Chat | None = None,
        look_on: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.trouble = ""
        """Why the last attempt failed; empty when it did not."""
        self._ledger = ledger
        self._network = network
        self._chat = chat
        self._look_on = look_on
        self._waiting: deque[_Letter] = deque()
        # Whether the ledger has some that are not in memory.
        self._more = True
        self._woken = asyncio.Event()
        # Set while nothing waits or is on its way.
        self._idle = asyncio.Event()
        self._failures = 0
        # Whether the next one goes alone: the last message was refused, and one of several may be why.
        self._alone = False
        # Set to try again at once.
        self._hurry = asyncio.Event()

    def notify(self, text: str, kind: str = "notice", *, level: int = logging.INFO, **fields: object) -> None:
        """Tell this. ``kind`` is a word for machines, such as ``fill``; ``level`` and ``fields`` are for the log."""
        text = harmless(hide(text), MAX_TEXT)
        event(log, text, level, kind=kind, **fields)
        # Whoever looked on may be gone: a terminal that was closed.
        with suppress(OSError, ValueError):
            self._look_on(text)
        seq = self._ledger.notify(kind, text)
        if self._chat is None:
            self._ledger.mark_sent(seq)
            return
        if len(self._waiting) < MAX_KEPT:
            self._waiting.append(_Letter(seq, self._ledger.now_ms(), text))
        else:
            self._more = True
        self._idle.clear()
        self._woken.set()

    async def run(self) -> None:
        """Send what waits until cancelled: first what an earlier process left."""
        if self._chat is None:
            return
        async with self._chat as chat:
            await self._read_on()
            while True:
                self._woken.clear()
                if not self._waiting and self._more:
                    await self._read_on()
                if self._waiting:
                    await self._send(chat)
                elif self._more:
                    await asyncio.sleep(FIRST_WAIT)
                else:
                    self._idle.set()
                    await self._woken.wait()

    async def drain(self, limit: float) -> None:
        """Send everything now, within ``limit`` seconds. What is not is sent by the next process."""
        if self._chat is None:
            return
        self._hurry.set()
        try:
            async with asyncio.timeout(limit):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d notices were not sent within %g s: the next start sends them", len(self._waiting), limit)

    def vital(self) -> Vital:
        """Say whether notices arrive."""
        waits = self._ledger.now_ms() - self._waiting[0].at_ms if self._waiting else 0
        words = f"{len(self._waiting)} wait, the first for {waits // 1000} s" + (
            f": {self.trouble}" if self.trouble else ""
        )
        return Vital("notices", waits <= LATE * 1000, words if self._waiting else "all sent")

    async def _read_on(self) -> None:
        """Take from the ledger what an earlier process left, or what memory had no room for."""
        try:
            rows = await self._ledger.unsent(MAX_KEPT)
        except (OSError, BotError) as error:
            log.warning("the notices that wait cannot be read: %s", error)
            return
        self._more = len(rows) >= MAX_KEPT
        known = {letter.seq for letter in self._waiting}
        found = [_Letter(seq, at_ms, text) for seq, at_ms, _, text, _ in rows if seq not in known]
        self._waiting.extendleft(reversed(found))

    async def _send(self, chat: Chat) -> None:
        most = 1 if self._alone else AT_ONCE
        letters = [self._waiting[number] for number in range(min(most, len(self._waiting)))]
        now = self._ledger.now_ms()
        delivery = await chat.hand_over([_worded(letter, now) for letter in letters])
        for _ in range(delivery.count):
            self._ledger.mark_sent(self._waiting.popleft().seq)
        self._alone = delivery.refused
        if not delivery.trouble:
            if self.trouble:
                log.warning("notices arrive again, after %d attempts that failed", self._failures)
            self.trouble, self._failures = "", 0
            if not self._waiting and not self._more:
                self._idle.set()
            await asyncio.sleep(delivery.wait or 0.0)
            return
        self.trouble = shorten(delivery.trouble)
        self._failures += 1
        self._ledger.mark_sent(letters[0].seq, sent=False)
        if delivery.refused and self._failures % ENOUGH == 0:
            # One that is never taken must not keep the others from arriving.
            self._waiting.rotate(-1)
        wait = delivery.wait or min(FIRST_WAIT * 2 ** min(self._failures - 1, 16), LONGEST_WAIT)
        log.warning("%d notices wait (%s): again in %g s", len(self._waiting), self.trouble, wait)
        try:
            async with asyncio.timeout(wait):
                await self._hurry.wait()
                self._hurry.clear()
        except TimeoutError:
            pass


def _worded(letter: _Letter, now_ms: int) -> str:
    if now_ms - letter.at_ms < OLD * 1000:
        return letter.text
    return f"({time.strftime('%m-%d %H:%M', time.gmtime(letter.at_ms / 1000))} UTC) {letter.text}"
