"""The same callback from asyncio and from a thread: ``python examples/callbacks.py SLUG``."""

import asyncio
import sys
import time
from collections.abc import Callable

from polymirror import BackgroundMirror, Endpoints, Mirror, Update

Told = Callable[[str, Update], None]


def tell(where: str, update: Update) -> None:
    """Say what changed, and how many changes this one call stands for."""
    print(f"{where}: {update.token[:12]}.. is {update.state.name}, {update.conflated + 1} changes")


async def with_asyncio(slug: str, told: Told, endpoints: Endpoints | None = None, seconds: float = 5) -> None:
    """Call back on the event loop that runs the mirror: be quick there."""
    async with Mirror.for_slug(slug, endpoints=endpoints) as mirror:
        remove = mirror.on_update(lambda update: told("asyncio", update))
        await asyncio.sleep(seconds)
        remove()


def with_a_thread(slug: str, told: Told, endpoints: Endpoints | None = None, seconds: float = 5) -> None:
    """Call back in a thread of its own, which may take its time; no event loop is needed."""
    with BackgroundMirror.for_slug(slug, endpoints=endpoints) as mirror:
        remove = mirror.on_update(lambda update: told("thread", update))
        time.sleep(seconds)
        remove()


if __name__ == "__main__":
    asyncio.run(with_asyncio(sys.argv[1], tell))
    with_a_thread(sys.argv[1], tell)
