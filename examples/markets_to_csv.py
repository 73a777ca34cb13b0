"""Write the best prices of many markets to a CSV file each second: ``python examples/markets_to_csv.py FILE SLUG...``.

A book that may not be read leaves its prices empty and says why: a missing price is better than an old one.
"""

import asyncio
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from polymirror import Endpoints, Mirror, NotLive

COLUMNS = ("time", "slug", "outcome", "bid", "ask", "age_ms", "refused")


def rows(mirror: Mirror) -> Iterator[tuple[object, ...]]:
    """Yield a row for each token of each market."""
    now = round(time.time(), 3)
    for market in mirror.markets:
        for token in market.tokens:
            try:
                top = mirror.top(token.id)
            except NotLive as refusal:
                yield now, market.slug, token.outcome, "", "", "", f"{refusal.state.name} {refusal.reason}"
                continue
            prices = [level.price if level else "" for level in (top.best_bid, top.best_ask)]
            yield now, market.slug, token.outcome, *prices, round(top.verified_age * 1000), ""


async def main(path: Path, slugs: Sequence[str], endpoints: Endpoints | None = None, seconds: int = 3600) -> None:
    """Write rows each second, for so many seconds."""
    async with Mirror(slugs=slugs, endpoints=endpoints) as mirror:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for _ in range(seconds):
                await asyncio.sleep(1)
                writer.writerows(rows(mirror))
                file.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
