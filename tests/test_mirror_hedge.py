"""A mirror with two connections for each socket, on a venue over loopback."""

from __future__ import annotations

import pytest
from attrs import evolve

from polymirror import BookState, ConfigError, Mirror, MirrorConfig
from polymirror.simulator import FAULTS, Plan, Simulator
from tests.loopback import LOOPS, PATIENCE, Truth, doubts, one_loop, settings, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


def hedged(venue: Simulator, **engine: float) -> Mirror:
    return Mirror.for_slug(*venue.slugs, config=evolve(settings(**engine), hedge=2), endpoints=venue.endpoints)


def both_lanes(mirror: Mirror) -> bool:
    return [socket.lanes for socket in mirror.status().sockets] == [2]


@one_loop
async def test_both_connections_bring_everything_and_one_of_them_may_be_cut_at_any_time() -> None:
    async with Simulator(seed=4, rate=200) as venue, hedged(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        await until(mirror, lambda: both_lanes(mirror))
        truth, transitions = Truth(mirror, venue), []
        mirror.on_transition(transitions.append)
        mirror.on_update(lambda update: truth.read(update.token))
        for lane in (0, 1, 0, 1):
            echoes = mirror.status().totals.counters.get("echoes", 0)
            await until(mirror, lambda n=echoes: mirror.status().totals.counters.get("echoes", 0) > n + 20)
            mirror._carrier._streams[1][lane][0].reconnect("for a test")
            await until(mirror, lambda: not both_lanes(mirror))
            await until(mirror, lambda: both_lanes(mirror))
        assert (doubts(transitions), truth.doubted, truth.wrong) == ([], [], [])
        assert truth.granted > 50


async def test_every_granted_read_is_true_while_one_connection_after_the_other_goes_wrong() -> None:
    shares = {"lost_delta": 0.05, "disconnect": 0.01, "silent_socket": 0.003, "frozen_token": 0.01, "wrong_hash": 0.03}
    faults = [FAULTS[name](Plan(share=share, length_ms=300), seed=4) for name, share in shares.items()]
    async with (
        Simulator(seed=4, markets=2, rate=120, faults=faults) as venue,
        hedged(venue, max_proof_age=1.0) as mirror,
    ):
        truth = Truth(mirror, venue)
        mirror.on_update(lambda update: truth.read(update.token))
        await until(mirror, lambda: truth.granted >= 400, timeout=60.0)
        for fault in faults:
            fault.plan = Plan(share=0.0)
        await mirror.wait_live(timeout=PATIENCE)
        assert truth.wrong == []


@one_loop
async def test_the_end_of_the_mirror_and_of_a_market_close_both_connections() -> None:
    async with Simulator(seed=4, markets=2, rate=20) as venue, hedged(venue, tokens_per_socket=2) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        await until(mirror, lambda: [socket.lanes for socket in mirror.status().sockets] == [2, 2])
        gone = mirror.markets[0]
        mirror.remove_market(gone.condition_id)
        assert len(mirror._carrier.streams) == 2
        assert [socket.lanes for socket in mirror.status().sockets] == [2]
        assert {state for _, state in mirror.engine.states()} == {BookState.LIVE}
    assert mirror.status().running is False


@pytest.mark.parametrize("hedge", [0, 3, True, "2", 1.0])
def test_a_number_of_connections_that_is_not_one_or_two_is_refused(hedge) -> None:
    with pytest.raises(ConfigError, match="between 1 and 2"):
        MirrorConfig(hedge=hedge)
