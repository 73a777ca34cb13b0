"""Leases and a mirror in the background as users write them: the types that a user expects, right when they run.

mypy is told to check this folder; the tests run what it checked.
"""

from __future__ import annotations

from typing import assert_type

import pytest
from anyio.from_thread import start_blocking_portal

from polymirror import BackgroundMirror, BookView, Gate, JointLease, Lease, Market, Mirror, Top, Update
from polymirror.simulator import Simulator

PATIENCE = 10.0


@pytest.mark.anyio
async def test_a_lease_gives_one_view_or_all_of_them() -> None:
    async with (
        Simulator(seed=1, rate=1) as venue,
        Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        up, down = mirror.tokens
        gate = Gate(mirror)
        async with gate.lease(up, timeout=PATIENCE) as lease:
            assert_type(lease, Lease)
            assert assert_type(lease.check(), BookView).token == assert_type(lease.token, str)
        async with gate.lease(up, down, timeout=PATIENCE) as both:
            assert_type(both, JointLease)
            assert len(assert_type(both.check(), tuple[BookView, ...])) == 2


def test_a_mirror_in_the_background_has_the_types_of_a_mirror() -> None:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(seed=1, rate=1)) as venue,
        BackgroundMirror.for_slug(*venue.slugs, endpoints=venue.endpoints) as mirror,
    ):
        assert_type(mirror, BackgroundMirror)
        mirror.wait_live(timeout=PATIENCE)
        up, down = mirror.tokens
        assert_type(mirror.live(up), BookView)
        assert_type(mirror.top(up, max_proof_age=5), Top)
        assert_type(mirror.market_of(up), Market)
        with mirror.lease(up, timeout=PATIENCE) as lease:
            assert assert_type(lease.check(), BookView).token == up
        with mirror.lease(up, down, timeout=PATIENCE) as both:
            assert len(assert_type(both.check(), tuple[BookView, ...])) == 2
        assert_type(mirror.call(Mirror.peek, up), BookView)
        assert_type(mirror.call(lambda it: [it.peek(token) for token in it.tokens]), list[BookView])
        assert_type(mirror.run(lambda it: it.prove(up)), BookView)
        mirror.resync(up)
        update = next(mirror.updates(up, timeout=PATIENCE))
        assert assert_type(update, Update).token == up
