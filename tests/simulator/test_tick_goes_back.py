"""The case ``tick_goes_back``: old REST books after the grid got finer, and what the mirror's views say of it."""

from __future__ import annotations

import asyncio

import pytest

from polymirror import Mirror, MirrorConfig, NotLive
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Plan, make_faults
from polymirror.simulator.virtual import VirtualVenue, run_virtual


@pytest.mark.parametrize("rate", [3.0, 0.2])
def test_a_view_never_has_a_coarser_grid_than_the_newest_that_was_announced(rate: float) -> None:
    assert run_virtual(lambda: _grids_after_the_change(rate)) == {10}


async def _grids_after_the_change(rate: float) -> set[int]:
    """The grids of live views while REST answers with books from before the change."""
    exchange = Exchange(ExchangeConfig(seed=2, flow=FlowConfig(rate=rate)))
    [tick] = make_faults(["tick_change"], plan=Plan(share=0.0))
    [stale] = make_faults(["rest_stale"], plan=Plan(share=0.0))
    seen: set[int] = set()
    async with (
        VirtualVenue(exchange, faults=[tick, stale], seed=2) as venue,
        Mirror.for_slug(
            exchange.slugs[0], config=MirrorConfig(seed=2), endpoints=venue.endpoints, network=venue.network
        ) as mirror,
    ):
        await mirror.wait_live(timeout=20)
        token = mirror.tokens[0]
        stale.plan = Plan(share=1.0, length_ms=60_000)
        await mirror.prove(token, timeout=5)
        tick.plan = Plan(share=1.0)
        while exchange.markets[0].tick != 10:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.02)
        tick.plan = Plan(share=0.0)
        await asyncio.sleep(2)
        for _ in range(5):
            asked = asyncio.create_task(mirror.prove(token, timeout=1))
            for _ in range(100):
                await asyncio.sleep(0.02)
                try:
                    seen.add(mirror.live(token).tick_size_e4)
                except NotLive:
                    continue
            await asyncio.gather(asked, return_exceptions=True)
    return seen
