"""Show a book as a pandas DataFrame: ``python examples/book_frame.py SLUG`` (``pip install 'polymirror[frames]'``)."""

import asyncio
import sys
from typing import Any

from polymirror import Endpoints, Mirror


async def main(slug: str, endpoints: Endpoints | None = None) -> Any:
    """Return the levels of the first outcome, with what each side holds up to there."""
    async with Mirror.for_slug(slug, endpoints=endpoints) as mirror:
        await mirror.wait_live()
        view = mirror.live(mirror.tokens[0])
    frame = view.to_frame(floats=True)
    frame["depth"] = frame.groupby("side")["size"].cumsum()
    frame.attrs |= {"token": view.token, "exchange_ms": view.exchange_ms}
    return frame


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])).to_string())
