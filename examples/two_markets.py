"""Scan two markets for a Yes and a No that cost less together than they pay, within a market or across the two.

Across, they pay 1 only where one outcome implies the other: yours to know. python examples/two_markets.py SLUG SLUG
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from itertools import product

from polymirror import BookView, Gate, Mirror, NotLive

SHARES = 10


async def bargains(mirror: Mirror, max_proof_age: float = 1.0) -> AsyncIterator[tuple[BookView, BookView]]:
    """Yield pairs of books, both proven at one instant, of which so many shares cost less than they pay."""
    gate = Gate(mirror, max_proof_age=max_proof_age)
    async for _ in mirror.updates():
        for one, other in product(mirror.markets, repeat=2):
            try:
                async with gate.lease(one.up.id, other.down.id) as lease:
                    yes, no = lease.check()  # whoever sends orders checks again, last thing before the wire
            except NotLive:
                continue
            fills = [view.cost_to_buy(SHARES, fees=True) for view in (yes, no)]
            if all(fill.complete for fill in fills) and sum(fill.total for fill in fills) < SHARES:
                yield yes, no


async def main(*slugs: str) -> None:
    """Print them until somebody ends it."""
    async with Mirror.for_slug(*slugs) as mirror:
        async for yes, no in bargains(mirror):
            print(f"{SHARES} of each:\n  yes {yes}\n  no  {no}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
