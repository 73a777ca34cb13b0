"""What is made to happen at a venue while it runs: books, and faults that begin and end."""

from __future__ import annotations

import asyncio

import pytest

from polymirror import Mirror, MirrorConfig
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Plan, Simulator, make_faults
from polymirror.simulator.virtual import VirtualVenue, run_virtual
from tests.loopback import mirror_of, quiet_venue, until

BIDS, ASKS = ((4_700, 10**7),), ((4_800, 10**7),)


def venue_of(rate: float) -> VirtualVenue:
    return VirtualVenue(Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=rate), new_market_every_ms=None)))


def virtual_mirror(venue: VirtualVenue) -> Mirror:
    config = MirrorConfig(seed=1)
    return Mirror.for_slug(*venue.exchange.slugs, config=config, endpoints=venue.endpoints, network=venue.network)


def test_a_book_that_was_set_is_on_its_way_after_a_refresh() -> None:
    async def main() -> tuple[int, ...]:
        async with venue_of(rate=0.001) as venue, virtual_mirror(venue) as mirror:
            await mirror.wait_live()
            up = venue.exchange.tokens[0]
            venue.exchange.set_book(up, BIDS, ASKS, venue.wall_ms())
            venue.refresh()
            await asyncio.sleep(0.051)
            return mirror.live(up).levels.bid_keys

    assert run_virtual(main) == (4_700,)


def test_a_stall_that_begins_while_the_mirror_runs_is_felt() -> None:
    async def main() -> int:
        async with venue_of(rate=20.0) as venue, virtual_mirror(venue) as mirror:
            await mirror.wait_live()
            venue.line.faults = make_faults(["stalled_loop"], plan=Plan(share=1.0, length_ms=4_000))
            began_ms = venue.wall_ms()
            await asyncio.sleep(0.5)
            return venue.wall_ms() - began_ms

    assert run_virtual(main) >= 1_000


def test_what_a_fault_held_back_arrives_when_it_is_ended() -> None:
    async def main() -> tuple[tuple[int, ...], int]:
        async with venue_of(rate=0.001) as venue, virtual_mirror(venue) as mirror:
            await mirror.wait_live()
            (held,) = venue.line.faults = make_faults(["reordered_deltas"], plan=Plan(share=1.0, length_ms=3_600_000))
            up = venue.exchange.tokens[0]
            bids, asks = venue.exchange.truth(up)
            venue.exchange.set_book(up, bids[1:], asks, venue.wall_ms())
            venue.refresh()
            await asyncio.sleep(0.2)
            assert mirror.live(up).levels.bid_keys[-1] == bids[0][0]
            venue.line.end(held, venue.exchange.now_ms)
            venue.refresh()
            await asyncio.sleep(0.051)
            return mirror.live(up).levels.bid_keys[-1:], bids[1][0]

    (seen,), there = run_virtual(main)
    assert seen == there


@pytest.mark.anyio
async def test_over_sockets_a_book_that_was_set_arrives_too() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live()
        up = venue.tokens[0]
        venue.exchange.set_book(up, BIDS, ASKS, venue.wall_ms())
        venue.refresh()
        await until(mirror, lambda: mirror.peek(up).levels.bid_keys == (4_700,))


@pytest.mark.anyio
async def test_a_refresh_of_a_venue_that_is_not_open_does_nothing() -> None:
    venue = Simulator()
    venue.refresh()
    async with venue:
        pass
    venue.refresh()
