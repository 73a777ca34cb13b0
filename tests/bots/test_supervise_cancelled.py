"""A domain that fails while its supervisor ends it must end."""

from __future__ import annotations

import asyncio

from bots.common.operate.supervise import Supervisor
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import Network


def test_a_domain_whose_group_fails_while_it_is_cancelled_is_not_started_again():
    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise OSError("the disk is gone")

    async def domain() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(3600)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        network = Network(monotonic=loop.time, wall=loop.wall)
        async with Supervisor(network) as supervisor:
            supervisor.keep("domain", domain)
            await asyncio.sleep(1)

    # A deadlock, or a domain that lives for ever, raises.
    run_virtual(main, limit=60)
