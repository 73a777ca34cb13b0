"""Print the best prices of a market whenever they change: ``python examples/best_prices.py SLUG``."""

import asyncio
import sys

from polymirror import Endpoints, Mirror, NotLive


async def main(slug: str, endpoints: Endpoints | None = None, updates: int | None = None) -> None:
    """Print the best bid and ask of the first outcome, ``updates`` times (default: until Ctrl-C)."""
    async with Mirror.for_slug(slug, endpoints=endpoints) as mirror:
        await mirror.wait_live()
        count = 0
        async for update in mirror.updates(mirror.tokens[0]):
            try:
                view = mirror.live(update.token, max_proof_age=1.0)
            except NotLive as refusal:
                print(refusal)
                continue
            print(f"{view.best_bid} | {view.best_ask}   proven {view.verified_age * 1000:.0f} ms ago")
            count += 1
            if count == updates:
                break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
