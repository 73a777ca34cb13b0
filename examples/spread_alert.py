"""Say when the spread of a market becomes wide or narrow: ``python examples/spread_alert.py SLUG 0.03``."""

import asyncio
import sys
from decimal import Decimal

from polymirror import Endpoints, Mirror, NotLive, Update


async def main(slug: str, limit: Decimal, endpoints: Endpoints | None = None, seconds: float = 86_400) -> None:
    """Tell each crossing of ``limit`` (pUSD), by a callback, for so many seconds."""
    wide: dict[str, bool | None] = {}

    async with Mirror.for_slug(slug, endpoints=endpoints) as mirror:

        def look(update: Update) -> None:
            try:
                spread = mirror.live(update.token, max_proof_age=1.0).spread
            except NotLive:
                # What was true of a book in doubt is not known to be true: the next proven view tells anew.
                wide[update.token] = None
                return
            is_wide = spread is None or spread > limit
            if is_wide is not wide.get(update.token):
                wide[update.token] = is_wide
                print(f"{update.token[:12]}.. spread {spread} is {'above' if is_wide else 'within'} {limit}")

        mirror.on_update(look)
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Decimal(sys.argv[2])))
