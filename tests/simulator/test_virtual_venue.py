"""The real mirror, streams and HTTP clients in virtual time: as true, and as watchful, as over sockets."""

from __future__ import annotations

import asyncio
import random
import re
import time

import httpx
import pytest
from attrs import evolve
from websockets.exceptions import ConnectionClosedError

from polymirror import BookState, Gate, Mirror, MirrorConfig, NotLive, RestConfig, StreamConfig
from polymirror.errors import VenueUnavailable
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Plan, make_faults
from polymirror.simulator.virtual import NetworkConfig, VirtualTimeError, VirtualVenue, run_virtual
from polymirror.simulator.virtual import venue as venue_module
from polymirror.simulator.virtual import wire as wire_module
from polymirror.venue.closing import CloseKind
from polymirror.venue.gamma import Gamma
from polymirror.venue.rest import Clob
from polymirror.venue.stream import Stream

START_MS = ExchangeConfig().start_ms

STORM = ("disconnect", "lost_delta", "duplicated_delta", "frozen_token", "rest_503", "rest_hanging", "silent_socket")
"""Faults that delay nothing, so that a read may be held against the truth to the millisecond."""

NETWORK = NetworkConfig(latency_ms=20, jitter_ms=30)


def exchange(rate: float = 1.0, **settings) -> Exchange:
    return Exchange(ExchangeConfig(seed=3, flow=FlowConfig(rate=rate), new_market_every_ms=None, **settings))


def mirror_of(venue: VirtualVenue, **settings) -> Mirror:
    config = MirrorConfig(seed=1, **settings)
    return Mirror.for_slug(*venue.exchange.slugs, config=config, endpoints=venue.endpoints, network=venue.network)


def never(fault: str):
    """Make a fault that strikes only when its plan is replaced."""
    return make_faults([fault], plan=Plan(share=0.0))[0]


class Truth:
    """Holds granted reads against what the exchange really had."""

    def __init__(self, mirror: Mirror, venue: VirtualVenue, *, stall_ms: int = 0) -> None:
        self.mirror, self.venue = mirror, venue
        # What a proof says is as old as its way here, and a program that does nothing reads it even later.
        self.late_ms = NETWORK.latency_ms + NETWORK.jitter_ms + 1 + stall_ms
        self.granted = self.refused = 0
        self.wrong: list[str] = []

    def read(self) -> None:
        for token in self.mirror.tokens:
            try:
                view = self.mirror.live(token)
            except NotLive:
                self.refused += 1
                continue
            self.granted += 1
            if not self.venue.exchange.confirms(view, self.late_ms / 1000, now_ms=self.venue.wall_ms()):
                self.wrong.append(f"{self.mirror.now()}: {view}")


async def live_through(seconds: float, faults: tuple[str, ...], seed: int) -> tuple[list[str], Truth, VirtualVenue]:
    transitions: list[str] = []
    async with (
        VirtualVenue(exchange(), faults=faults, seed=seed, network=NETWORK) as venue,
        mirror_of(venue) as mirror,
    ):
        mirror.on_transition(lambda transition: transitions.append(str(transition)))
        truth = Truth(mirror, venue)
        end = mirror.now() + seconds
        while mirror.now() < end:
            await asyncio.sleep(0.5)
            truth.read()
        return transitions, truth, venue


# ---- The real mirror -------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_hour_of_faults_takes_seconds_and_every_granted_read_was_true() -> None:
    began = time.monotonic()
    transitions, truth, venue = run_virtual(lambda: live_through(3_600, STORM, seed=1))
    assert time.monotonic() - began < 100
    assert truth.wrong == []
    assert truth.granted > 10_000
    assert truth.refused > 0
    assert len(transitions) > 50
    assert all(venue.line.injected[fault] for fault in ("disconnect", "lost_delta", "rest_503", "rest_hanging"))


def test_the_same_seed_lives_through_the_same_transitions_and_another_one_through_others() -> None:
    runs = [run_virtual(lambda seed=seed: live_through(900, STORM, seed))[0] for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(runs[0]) > 10


def test_a_mirror_that_stalls_reads_nothing_wrong_and_recovers() -> None:
    async def main():
        (stall,) = make_faults(["stalled_loop"], plan=Plan(share=0.02, length_ms=4_000), seed=5)
        async with (
            VirtualVenue(exchange(rate=5.0), faults=[stall], network=NETWORK) as venue,
            mirror_of(venue) as mirror,
        ):
            truth = Truth(mirror, venue, stall_ms=stall.max_delay_ms)
            for _ in range(240):
                await asyncio.sleep(0.5)
                truth.read()
            return stall.injected, truth

    stalls, truth = run_virtual(main)
    assert stalls > 5
    assert truth.wrong == []
    assert truth.granted > 200


def test_leases_proofs_and_updates_work_as_over_sockets() -> None:
    async def main():
        async with VirtualVenue(exchange(rate=20.0)) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live()
            up, down = mirror.tokens
            asked = mirror.now()
            await mirror.prove(up)
            assert mirror.now() - asked < 1.0
            async with Gate(mirror).lease(down, max_proof_age=1.0, timeout=2) as lease:
                assert lease.check().token == down
            assert (await anext(aiter(mirror.updates(up)))).token == up

    run_virtual(main)


def test_a_market_that_settles_is_retired() -> None:
    async def main():
        async with VirtualVenue(exchange(settle_after_ms=60_000)) as venue, mirror_of(venue) as mirror:
            await asyncio.sleep(180)
            return {mirror.peek(token).state for token in mirror.tokens}

    assert run_virtual(main) == {BookState.RETIRED}


# ---- What goes wrong -------------------------------------------------------------------------------


def test_refused_connections_are_tried_again_until_one_is_taken() -> None:
    async def main():
        until_ms = START_MS + 20_000
        (refusing,) = make_faults(["refused_connection"], plan=Plan(share=1.0, end_ms=until_ms))
        async with VirtualVenue(exchange(), faults=[refusing]) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=120)
            (stream,) = mirror._carrier.streams
            assert stream.counters.failures == refusing.injected > 2
            assert venue.wall_ms() > until_ms

    run_virtual(main)


def test_a_refusal_tells_its_status_and_an_unreachable_venue_has_none() -> None:
    async def main():
        async with VirtualVenue(exchange(), faults=make_faults(["refused_connection"], plan=Plan())) as venue:
            url, config = venue.endpoints.stream, StreamConfig()
            open_wire, wall = venue.network.open_wire, venue.network.wall
            with pytest.raises(VenueUnavailable, match="handshake refused") as refused:
                await open_wire(url, config, {}, wall)
            assert refused.value.status == 403
            with pytest.raises(VenueUnavailable) as unknown:
                await open_wire(venue.stream_url("/ws/nothing"), config, {}, wall)
            assert unknown.value.status == 403
            with pytest.raises(VenueUnavailable, match="no such host"):
                await open_wire("wss://example.org/ws/market", config, {}, wall)
            venue.reachable = False
            with pytest.raises(VenueUnavailable, match="connection refused") as away:
                await open_wire(url, config, {}, wall)
            assert away.value.status is None

    run_virtual(main)


SHUT = {
    "refused": "HTTP 403: region refused? (handshake refused)",
    "away": "connection refused",
    "slow": "time-out after 5 s",
}


@pytest.mark.parametrize("how", SHUT)
def test_what_keeps_the_stream_away_is_told_in_virtual_time_too(how) -> None:
    async def main():
        refusing = never("refused_connection")
        venue = VirtualVenue(exchange(), faults=[refusing], network=NETWORK)
        async with venue, mirror_of(venue, stream=StreamConfig(open_timeout=5)) as mirror:

            def shut(*, on: bool) -> None:
                if how == "refused":
                    refusing.plan = Plan(share=float(on))
                elif how == "away":
                    venue.reachable = not on
                else:
                    venue._config = NetworkConfig(latency_ms=60_000) if on else NETWORK

            await mirror.wait_live(timeout=30)
            assert mirror.status().trouble == ""
            shut(on=True)
            venue.hang_up()
            await asyncio.sleep(20)
            trouble = mirror.status().sockets[0].trouble
            with pytest.raises(NotLive, match=re.escape(trouble)):
                mirror.live(mirror.tokens[0])
            shut(on=False)
            await mirror.wait_live(timeout=120)
            assert mirror.status().trouble == ""
            return trouble

    assert run_virtual(main) == SHUT[how]


CALLS_FAIL = {"rest_503": "HTTP 503", "rest_425": "HTTP 425", "rest_hanging": "no answer", "rest_html": ""}


@pytest.mark.parametrize("fault", CALLS_FAIL)
def test_what_keeps_calls_from_their_answer_is_told_in_virtual_time_too(fault) -> None:
    async def main():
        failing = never(fault)
        venue = VirtualVenue(exchange(), faults=[failing], network=NETWORK)
        async with venue, mirror_of(venue, rest=RestConfig(attempts=1)) as mirror:
            await mirror.wait_live(timeout=30)
            failing.plan = Plan(share=1.0)
            mirror.engine.prove(mirror.tokens[0], mirror.now())
            mirror._drain()
            await asyncio.sleep(8)
            trouble = mirror.status().rest.trouble
            failing.plan = Plan(share=0.0)
            await mirror.prove(mirror.tokens[0], timeout=60)
            assert mirror.status().rest.trouble == ""
            return trouble

    trouble = run_virtual(main)
    assert trouble
    assert CALLS_FAIL[fault] in trouble


def test_a_handshake_that_takes_too_long_is_given_up_after_open_timeout() -> None:
    async def main():
        async with VirtualVenue(exchange(), network=NetworkConfig(latency_ms=60_000)) as venue:
            began = venue.network.monotonic()
            with pytest.raises(VenueUnavailable, match="time-out after 7 s"):
                await venue.network.open_wire(venue.endpoints.stream, StreamConfig(open_timeout=7), {}, lambda: 0.0)
            return venue.network.monotonic() - began

    assert run_virtual(main) == 7


def test_a_reset_doubts_the_book_at_once_and_it_heals() -> None:
    async def main():
        async with VirtualVenue(exchange(rate=10.0)) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live()
            transitions: list = []
            mirror.on_transition(transitions.append)
            venue.hang_up()
            await asyncio.sleep(0.1)
            assert {transition.reason.name for transition in transitions} == {"DISCONNECT"}
            with pytest.raises(NotLive):
                mirror.live(mirror.tokens[0])
            await mirror.wait_live(timeout=30)
            (stream,) = mirror._carrier.streams
            assert stream.counters.closes[CloseKind.RESET] == 1

    run_virtual(main)


def test_a_mirror_outlives_an_outage_of_the_whole_venue() -> None:
    async def main():
        async with VirtualVenue(exchange()) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live()
            venue.reachable = False
            venue.hang_up()
            await asyncio.sleep(600)
            with pytest.raises(NotLive):
                mirror.live(mirror.tokens[0])
            with pytest.raises(VenueUnavailable, match="connection refused"):
                await mirror.clob.time()
            venue.reachable = True
            await mirror.wait_live(timeout=120)
            assert venue.exchange.now_ms >= START_MS + 600_000

    run_virtual(main)


def silence(fault: str, **config: float) -> tuple[float, CloseKind]:
    """Let a fault silence a stream; return how long the stream took to notice, and what it found."""

    async def main():
        silent = never(fault)
        ended: asyncio.Future = asyncio.get_running_loop().create_future()
        spoken = []
        async with VirtualVenue(exchange(rate=50.0), faults=[silent]) as venue:
            network = venue.network
            tokens = ",".join(f'"{token}"' for token in venue.exchange.tokens)
            stream = Stream(
                venue.endpoints.stream,
                first_frame=lambda: f'{{"assets_ids":[{tokens}],"type":"market"}}',
                on_open=lambda _: None,
                on_frame=lambda data, at: spoken.append(at) if data != b"PONG" else None,
                on_close=lambda now, cause: ended.done() or ended.set_result((now, cause.kind)),
                config=StreamConfig(**config),
                rng=random.Random(7),
                network=network,
            )
            async with asyncio.TaskGroup() as group:
                task = group.create_task(stream.run())
                await asyncio.sleep(30)
                assert not ended.done()
                silent.plan = Plan(share=1.0, length_ms=10_000_000)
                now, kind = await ended
                task.cancel()
            return now - spoken[-1], kind

    return run_virtual(main)


def test_a_socket_that_only_pongs_is_dropped_after_data_timeout() -> None:
    took, kind = silence("silent_socket", data_timeout=20.0, transport_timeout=45.0, ping_interval=10.0)
    assert (round(took, 6), kind) == (20.0, CloseKind.DATA_SILENCE)


def test_a_half_open_socket_is_dropped_after_transport_timeout() -> None:
    took, kind = silence("half_open_socket", data_timeout=200.0, transport_timeout=45.0, ping_interval=10.0)
    assert kind is CloseKind.TRANSPORT_SILENCE
    # The PONG that was already on its way counts.
    assert 45.0 <= took < 56.0


def test_a_hanging_call_ends_after_the_clients_own_time_limits() -> None:
    async def main():
        faults = make_faults(["rest_hanging"], plan=Plan())
        async with VirtualVenue(exchange(), faults=faults) as venue:
            config = RestConfig(attempts=2, read_timeout=5.0, total_timeout=60.0)
            async with Clob(config, venue.endpoints, rng=random.Random(7), network=venue.network) as clob:
                began = venue.network.monotonic()
                with pytest.raises(VenueUnavailable, match="ReadTimeout"):
                    await clob.books([venue.exchange.tokens[0]])
                assert clob.counters.calls == 2
                return venue.network.monotonic() - began

    assert 10.0 <= run_virtual(main) < 15.0


def test_a_call_without_a_time_limit_breaks_after_a_minute_of_hanging() -> None:
    async def main():
        faults = make_faults(["rest_hanging"], plan=Plan())
        async with VirtualVenue(exchange(), faults=faults) as venue:
            began = venue.network.monotonic()
            async with httpx.AsyncClient(transport=venue.network.transport(), timeout=None) as client:  # noqa: S113
                with pytest.raises(httpx.ReadError, match="reset"):
                    await client.get(f"{venue.base_url}/book", params={"token_id": venue.exchange.tokens[0]})
            return venue.network.monotonic() - began

    assert 60.0 <= run_virtual(main) < 61.0


def test_a_call_under_way_fails_when_the_venue_goes_away() -> None:
    async def main():
        faults = make_faults(["rest_hanging"], plan=Plan())
        async with VirtualVenue(exchange(), faults=faults) as venue:
            asyncio.get_running_loop().call_later(3, venue.hang_up)
            async with httpx.AsyncClient(transport=venue.network.transport(), timeout=100) as client:
                with pytest.raises(httpx.ReadError):
                    await client.get(f"{venue.base_url}/book", params={"token_id": venue.exchange.tokens[0]})
            return venue.wall_ms() - START_MS

    assert run_virtual(main) == 3_000


def test_the_clock_and_the_discovery_service_answer_in_virtual_time() -> None:
    async def main():
        async with VirtualVenue(exchange(rate=0.001)) as venue:
            options = {"rng": random.Random(7), "network": venue.network}
            async with (
                Clob(RestConfig(), venue.endpoints, **options) as clob,
                Gamma(RestConfig(), venue.endpoints, **options) as gamma,
            ):
                await asyncio.sleep(1_000)
                answer = await clob.time()
                assert answer.seconds == START_MS // 1000 + 1_000
                assert answer.received - answer.sent >= 0.04
                market = await gamma.market(venue.exchange.slugs[0])
                assert market.token_ids == venue.exchange.tokens

    run_virtual(main)


@pytest.mark.parametrize("latency_ms", [20, 30_000], ids=["read by nobody", "all under way"])
def test_a_client_that_never_reads_is_cut_off_as_too_slow(latency_ms, monkeypatch) -> None:
    monkeypatch.setattr(wire_module, "MAX_UNDER_WAY", 500)

    async def drain(wire):
        while True:
            await wire.recv(decode=False)

    async def main():
        network = NetworkConfig(latency_ms=latency_ms)
        async with VirtualVenue(exchange(rate=100.0), network=network) as venue:
            config = StreamConfig(open_timeout=120.0)
            wire = await venue.network.open_wire(venue.endpoints.stream, config, {}, venue.network.wall)
            tokens = ",".join(f'"{token}"' for token in venue.exchange.tokens)
            await wire.send(f'{{"assets_ids":[{tokens}],"type":"market"}}')
            await wire.wait_closed()
            with pytest.raises(ConnectionClosedError, match="slow consumer"):
                await drain(wire)

    run_virtual(main, limit=600)


def test_what_arrives_during_a_stall_is_there_at_once_after_it() -> None:
    async def main():
        network = NetworkConfig(latency_ms=1_000, jitter_ms=0)
        async with VirtualVenue(exchange(rate=20.0), network=network) as venue:
            wire = await venue.network.open_wire(venue.endpoints.stream, StreamConfig(), {}, venue.network.wall)
            tokens = ",".join(f'"{token}"' for token in venue.exchange.tokens)
            await wire.send(f'{{"assets_ids":[{tokens}],"type":"market"}}')
            await wire.recv(decode=False)
            asyncio.get_running_loop().stall(30)
            stalled_until = venue.wall_ms()
            for _ in range(5):
                await asyncio.sleep(0)
            assert venue.wall_ms() == stalled_until
            stated = [int(re.search(rb'"timestamp":"(\d+)"', data)[1]) for data in wire._inbox]
            assert len(stated) > 300
            assert venue.wall_ms() - 1_500 < max(stated) <= venue.wall_ms() - 1_000

    run_virtual(main)


def test_a_message_over_the_limit_ends_the_connection_as_over_sockets() -> None:
    async def main():
        async with VirtualVenue(exchange()) as venue:
            config = evolve(MirrorConfig().stream, max_message=1_024)
            async with mirror_of(venue, stream=config) as mirror:
                await asyncio.sleep(60)
                (stream,) = mirror._carrier.streams
                assert stream.counters.closes[CloseKind.OVERFLOW] > 1

    run_virtual(main)


# ---- The venue's own life --------------------------------------------------------------------------


def test_a_virtual_venue_outside_virtual_time_says_what_to_do() -> None:
    async def main():
        async with VirtualVenue(exchange()):
            pass

    with pytest.raises(VirtualTimeError, match="run_virtual"):
        asyncio.run(main())


@pytest.mark.parametrize("start_ms", [START_MS - 1, START_MS + venue_module.MAX_CATCH_UP_MS + 1])
def test_an_exchange_of_another_time_of_day_is_refused(start_ms) -> None:
    async def main():
        async with VirtualVenue(exchange()):
            pass

    with pytest.raises(VirtualTimeError, match="start_ms of the exchange"):
        run_virtual(main, start_ms=start_ms)


def test_a_closed_venue_has_no_network_and_leaves_no_task() -> None:
    async def main():
        async with VirtualVenue(exchange()) as venue, mirror_of(venue) as mirror:
            await mirror.wait_live()
            network = venue.network
        with pytest.raises(RuntimeError, match="closed"):
            _ = venue.network
        with pytest.raises(VenueUnavailable, match="refused"):
            await network.open_wire(venue.endpoints.stream, StreamConfig(), {}, network.wall)
        async with httpx.AsyncClient(transport=network.transport()) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{venue.base_url}/time")
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)
