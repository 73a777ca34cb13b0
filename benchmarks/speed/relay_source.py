"""Books that change at a steady pace, as a relay looks at them: no venue, no engine, so that only the relay costs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from polymirror.core.book import Levels
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.view import BookView
from polymirror.shell.subscribers import Update

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TOKENS = 50
RATE = 500
"""Changes a second, of all tokens together."""

LEVELS = 24
"""Levels a side."""

STEP = 0.01


class SteadyBooks:
    """What a relay needs of a mirror."""

    def __init__(self) -> None:
        self.tokens = tuple(f"{number:077d}" for number in range(1, TOKENS + 1))
        self.markets = ()
        self.engine = self
        self.views = {token: self._view(token) for token in self.tokens}
        self._callbacks: list[Callable[[Update], object]] = []
        self._count = 0

    def _view(self, token: str) -> BookView:
        bids = tuple(range(5000 - LEVELS * 10, 5000, 10))
        asks = tuple(range(10_000 - 5010 - LEVELS * 10, 10_000 - 5010, 10))
        sizes = (1_000_000,) * LEVELS
        now = self.now()
        return BookView(
            token, "0x" + "0" * 64, BookState.LIVE, Reason.PROVEN, 1, 0, True, int(time.time() * 1000), 0.01, 0.05,  # noqa: FBT003
            now, now, Proof(ProofKind.HASH, now, 1), 100, Levels(bids, sizes, asks, sizes),
        )  # fmt: skip

    def now(self) -> float:
        """Return the clock, which is that of all processes of this machine."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def peek(self, token: str) -> BookView:
        """Return a book."""
        return self.views[token]

    def readable_until(self, _token: str) -> float:
        """Return when a book stops being readable: not soon."""
        return self.now() + 15.0

    def venue_ms(self, at: float) -> int:
        """Return what the venue's clock showed."""
        return int(at * 1000)

    def on_update(self, callback: Callable[[Update], object]) -> Callable[[], None]:
        """Call back after each change."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    async def events(self, *_kinds: object) -> AsyncIterator[Any]:
        """Nothing happens."""
        await asyncio.Event().wait()
        yield None

    async def trade(self, seconds: float) -> None:
        """Change books at the pace of :data:`RATE` for so long."""
        start = time.monotonic()
        done = 0
        while (spent := time.monotonic() - start) < seconds:
            for _ in range(int(spent * RATE) - done):
                done += 1
                self._change()
            await asyncio.sleep(STEP)

    def _change(self) -> None:
        self._count += 1
        token = self.tokens[self._count * 7 % TOKENS]
        old, now = self.views[token], self.now()
        sizes = (*old.levels.bid_sizes[:-1], 1_000_000 + self._count)
        levels = Levels(old.levels.bid_keys, sizes, old.levels.ask_keys, old.levels.ask_sizes)
        view = self.views[token] = msgspec.structs.replace(
            old, levels=levels, proven_at=now, read_at=now, exchange_ms=self.venue_ms(now),
            last_proof=Proof(ProofKind.HASH, now, 1),
        )  # fmt: skip
        for callback in self._callbacks:
            callback(Update(token, view.state, Reason.PROVEN, 1, 0))
