"""What happens to a venue in the course of a test, as data: strategies make it up, and a test lets it happen."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from polymirror.testing.book import Book
    from polymirror.testing.venue import StagedVenue


@frozen(kw_only=True)
class Step:
    """One thing that happens, ``after`` so many seconds: a book is set, or a fault strikes for some time."""

    after: float = 0.0
    """Seconds since the step before."""
    market: int = 0
    """Which market of the venue it is about; counted on from the first again where there are fewer."""
    book: Book | None = None
    """The book that the market's first token gets."""
    fault: str | None = None
    """The id of a fault of this market that begins."""
    lasts: float = 1.0
    """Seconds until the fault ends."""


async def perform(venue: StagedVenue, script: Iterable[Step]) -> AsyncIterator[Step]:
    """Let a script happen, and hand over each step right after it: ``async for step in`` this, to look at a bot.

    Faults that still last when the loop is over are ended.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as faults:
        for step in script:
            await asyncio.sleep(step.after)
            up, down = venue.tokens[step.market * 2 % len(venue.tokens) :][:2]
            if step.book is not None:
                venue.set_book(up, step.book.bids, step.book.asks)
            if step.fault is not None:
                fault = faults.enter_context(venue.fault(step.fault, length=step.lasts, tokens=[up, down]))
                timer = loop.call_later(step.lasts, fault.end)
                faults.callback(timer.cancel)
            yield step
