"""The mirror while things go wrong at the venue or on the way: refused, healed, retired, and never wrong."""

from __future__ import annotations

import asyncio
import json

import pytest
from attrs import evolve

from polymirror import BookState, NotLive, Reason
from polymirror.core.afterlife import AGAIN_AFTER
from polymirror.core.states import LEGAL_TRANSITIONS
from polymirror.simulator import FAULTS, Plan, Simulator
from tests.loopback import (
    LOOPS,
    PATIENCE,
    Hang,
    Truth,
    doubts,
    mirror_of,
    nothing_left,
    one_loop,
    quiet_venue,
    turns_until,
    until,
    until_state,
)

pytestmark = pytest.mark.anyio

EVERYTHING = {
    "lost_delta": 0.01,
    "duplicated_delta": 0.05,
    "reordered_deltas": 0.02,
    "frozen_token": 0.003,
    "silent_socket": 0.001,
    "disconnect": 0.003,
    "lost_opening": 0.2,
    "garbage_frame": 0.02,
    "wrong_hash": 0.02,
    "crossed_messages": 0.02,
    "rest_503": 0.2,
    "rest_429": 0.05,
}
"""Many times the shares at which these faults were seen."""


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


async def test_every_granted_read_is_true_while_everything_goes_wrong_and_all_is_live_afterwards() -> None:
    faults = [FAULTS[name](Plan(share=share, length_ms=300), seed=4) for name, share in EVERYTHING.items()]
    async with (
        Simulator(seed=4, markets=3, rate=120, faults=faults) as venue,
        mirror_of(venue, max_proof_age=1.0, tokens_per_socket=4) as mirror,
    ):
        truth = Truth(mirror, venue)
        mirror.on_update(lambda update: truth.read(update.token))
        transitions = []
        mirror.on_transition(transitions.append)
        await until(mirror, lambda: truth.granted >= 400 and len(transitions) >= 40, timeout=60.0)
        struck = {name for name, count in venue.line.injected.items() if count}
        assert len(struck) >= len(EVERYTHING) // 2
        assert truth.refused > 0
        for fault in faults:
            fault.plan = Plan(share=0.0)
        await mirror.wait_live(timeout=PATIENCE)
        for token in mirror.tokens:
            await proven(mirror, token)
            truth.read(token)
        assert truth.wrong == []


async def proven(mirror, token: str) -> None:
    """Prove a book, again where this machine stood still right after the proof: a read that comes then is refused."""
    while True:
        try:
            await mirror.prove(token, timeout=PATIENCE)
        except NotLive as error:
            if error.state is not BookState.LIVE:
                raise
        else:
            return


@one_loop
async def test_transitions_are_told_in_order_and_each_starts_where_the_last_one_ended() -> None:
    faults = [FAULTS["disconnect"](Plan(share=0.02)), FAULTS["lost_delta"](Plan(share=0.02))]
    async with Simulator(seed=4, rate=200, faults=faults) as venue, mirror_of(venue) as mirror:
        seen = []

        def meddle(transition) -> None:
            # Causes inputs of its own: what follows from them must be told later.
            seen.append(transition)
            if transition.new is BookState.LIVE and len(seen) % 5 == 0:
                mirror.engine.resync(transition.token, mirror.now())
                mirror._drain()

        second, removed = [], []
        mirror.on_transition(meddle)
        mirror.on_transition(lambda _: 1 // 0)
        mirror.on_transition(lambda _: never())
        never = mirror.on_transition(removed.append)
        forget = mirror.on_transition(second.append)
        await until(mirror, lambda: len(seen) >= 30)
        forget()
        count = len(second)
        assert second == seen
        assert removed == []
        await until(mirror, lambda: len(seen) >= count + 4)
        assert len(second) == count
        state = dict.fromkeys(mirror.tokens, BookState.UNPRIMED)
        for transition in seen:
            assert transition.old is state[transition.token]
            assert transition.new in LEGAL_TRANSITIONS[transition.old]
            state[transition.token] = transition.new
        assert [each.at for each in seen] == sorted(each.at for each in seen)


async def test_a_callback_that_asks_a_cancelled_future_does_not_end_the_connection() -> None:
    async with Simulator(seed=3, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        asked = []
        mirror.on_transition(lambda transition: asked.append(transition) or cancelled.result())
        stream = mirror._carrier.streams[0]
        stream.reconnect("a test")
        await until(mirror, lambda: asked and not stream.connected)
        await mirror.wait_live(timeout=PATIENCE)


async def test_a_venue_that_restarts_has_its_books_refused_at_once_and_live_again_later() -> None:
    async with Simulator(seed=3, rate=50) as venue:
        endpoints, port = venue.endpoints, venue.port
        mirror = mirror_of(venue)
        async with mirror:
            await mirror.wait_live(timeout=PATIENCE)
            up, down = mirror.tokens
            seen = []
            mirror.on_transition(seen.append)
            await venue.__aexit__(None, None, None)
            await until_state(mirror, BookState.RESYNCING)
            for token in (up, down):
                with pytest.raises(NotLive) as caught:
                    mirror.live(token)
                assert caught.value.state is BookState.RESYNCING
                assert caught.value.reason is Reason.DISCONNECT
                assert caught.value.epoch == mirror.peek(token).epoch >= 1
            [stream] = mirror._carrier.streams
            failures = stream.counters.failures
            await turns_until(lambda: stream.counters.failures >= failures + 2)
            async with Simulator(seed=3, rate=50, port=port) as again:
                assert again.endpoints == endpoints
                assert again.tokens == (up, down)
                await mirror.wait_live(timeout=PATIENCE)
                truth = Truth(mirror, again)
                for token in (up, down):
                    truth.read(token)
                assert (truth.granted, truth.wrong) == (2, [])
                assert mirror.live(up).epoch >= 1
                assert seen[0].new is BookState.SUSPECT
                assert seen[0].reason is Reason.DISCONNECT


@pytest.mark.parametrize("how", ["announced", "closed", "gone"])
async def test_a_settled_market_is_retired_its_socket_closed_and_it_is_looked_at_again_ten_minutes_later(how) -> None:
    config = Simulator(seed=3, rate=50)._config
    config = evolve(config, announce_resolution=how == "announced", close_when_resolved=how != "gone")
    async with (
        Simulator(config=config) as venue,
        nothing_left(),
        mirror_of(venue, max_proof_age=2, probe_fraction=0.1) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        resyncs = dict(mirror.engine.outbox.resyncs)
        [[(_, task)]] = mirror._carrier._streams.values()
        venue.exchange.settle(resolve_delay_ms=20)
        await until_state(mirror, BookState.RETIRED)
        reason = Reason.RESOLVED if how == "announced" else Reason.CLOSED
        for token in mirror.tokens:
            with pytest.raises(NotLive) as caught:
                mirror.live(token)
            assert (caught.value.state, caught.value.reason) == (BookState.RETIRED, reason)
            with pytest.raises(NotLive, match="RETIRED"):
                await mirror.prove(token, timeout=60)
        # Retired is nothing to wait for, and that is told at once.
        with pytest.raises(NotLive, match="its market is over"):
            await mirror.wait_live(timeout=60)
        await mirror.wait_live(timeout=0.01, retired_ok=True)
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.done()
        assert mirror._carrier.streams == ()
        # Calls that were under way are over.
        await until(mirror, lambda: mirror.status().rest.under_way == 0)
        # The alarm for what was still to be done has rung, or will.
        await until(mirror, lambda: mirror.engine.next_deadline() - mirror.now() > AGAIN_AFTER - PATIENCE)
        assert mirror.engine.next_deadline() - mirror.now() <= AGAIN_AFTER
        # Without its socket a book is built anew, until Gamma has answered.
        disconnects = {Reason.DISCONNECT.name: 2} if how == "closed" else {}
        assert mirror.engine.outbox.resyncs == resyncs | disconnects
        assert mirror.engine.sockets.all() == ()


@one_loop
async def test_the_neighbour_of_a_settled_market_trades_on() -> None:
    async with Simulator(seed=3, markets=2, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        settled, other = mirror.markets
        venue.exchange.settle(settled.slug, resolve_delay_ms=20)
        await until_state(mirror, BookState.RETIRED, *settled.token_ids)
        [stream] = mirror._carrier.streams
        truth = Truth(mirror, venue)
        mirror.on_update(lambda update: truth.read(update.token), *other.token_ids)
        await until(mirror, lambda: truth.granted >= 20)
        assert (truth.doubted, truth.wrong) == ([], [])
        assert stream.counters.connects == 1
        mirror.remove_market(settled.condition_id)
        assert mirror.tokens == other.token_ids


@one_loop
@pytest.mark.parametrize("how", ["rest_503", "hang"])
async def test_while_rest_is_down_a_trading_market_stays_live_and_a_quiet_one_goes_stale_and_recovers(how) -> None:
    down = Hang() if how == "hang" else FAULTS[how](Plan(share=1.0))
    async with (
        Simulator(seed=6, rate=150, faults=[down]) as busy,
        # Long enough for a machine that stands still for a second.
        mirror_of(busy, max_proof_age=5, probe_fraction=0.1) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        transitions, truth = [], Truth(mirror, busy)
        mirror.on_transition(transitions.append)
        mirror.on_update(lambda update: truth.read(update.token))
        await until(mirror, lambda: truth.granted >= 100)
        assert (doubts(transitions), truth.doubted, truth.wrong) == ([], [], [])
    async with (
        quiet_venue(faults=(down,)) as quiet,
        mirror_of(quiet, max_proof_age=0.5, probe_fraction=0.1) as mirror,
    ):
        up = mirror.tokens[0]
        await mirror.wait_live(timeout=PATIENCE)
        proven_at = mirror.live(up).proven_at
        seen = []
        mirror.on_transition(seen.append)
        await until(mirror, lambda: mirror.peek(up).state is BookState.SUSPECT)
        [stale] = [each for each in seen if each.token == up]
        assert stale.reason is Reason.STALE
        assert stale.at - proven_at >= 0.5
        with pytest.raises(NotLive):
            mirror.live(up)
        down.on, down.plan = False, Plan(share=0.0)
        await mirror.wait_live(timeout=PATIENCE)
        # The proofs of REST are back, so it stays so.
        for token in mirror.tokens:
            await mirror.prove(token, timeout=PATIENCE)
        truth = Truth(mirror, quiet)
        await until(mirror, lambda: truth.read(up) or truth.granted == 1)
        assert truth.wrong == []


@one_loop
async def test_a_book_whose_proof_is_too_old_is_refused_even_before_anybody_noticed() -> None:
    down = FAULTS["rest_503"](Plan(share=1.0))
    async with quiet_venue(faults=(down,)) as venue, mirror_of(venue, max_proof_age=0.5) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        late = mirror.live(up).proven_at + 0.6
        with pytest.raises(NotLive) as caught:
            mirror.engine.live(up, late)
        refusal = caught.value
        assert (refusal.state, refusal.reason) == (BookState.LIVE, Reason.STALE)
        assert refusal.age == pytest.approx(0.6)
        assert refusal.max_proof_age == 0.5


@one_loop
async def test_a_frozen_token_is_never_read_wrong_and_comes_back() -> None:
    async with Simulator(seed=8, rate=100) as venue:
        frozen = FAULTS["frozen_token"](Plan(share=1.0, length_ms=60_000, tokens=frozenset({venue.tokens[0]})))
    async with Simulator(seed=8, rate=100, faults=[frozen]) as venue, mirror_of(venue) as mirror:
        ghost = mirror.tokens[0]
        truth = Truth(mirror, venue)
        mirror.on_update(lambda update: truth.read(update.token))
        await until(mirror, lambda: mirror.engine.outbox.resyncs.get(Reason.COMPLEMENT_MISMATCH.name, 0) > 0)
        assert truth.wrong == []
        frozen.plan = Plan(share=0.0)
        mirror._carrier.streams[0].reconnect("for the test: the fault is one of its connection")
        await mirror.wait_live(timeout=PATIENCE)
        truth.read(ghost)
        assert truth.wrong == []


@one_loop
async def test_bad_input_is_counted_and_logged_and_never_an_exception(caplog) -> None:
    hostile = [
        "",
        "PONG",
        "{",
        "[[[[",
        "null",
        '{"event_type":"price_change","market":"MARKET","timestamp":"NaN","price_changes":[{"asset_id":"UP"}]}',
        '{"event_type":"book","market":"MARKET","asset_id":"UP","timestamp":"1","bids":[{"price":"-1","size":"1"}]}',
        '{"event_type":"unheard_of","market":"MARKET"}',
        json.dumps({"event_type": "book", "market": "MARKET", "asset_id": "UP", "timestamp": "1", "hash": "",
                    "bids": [{"price": "0.5", "size": "1"}] * 100_000, "asks": []}),
        '{"event_type":"price_change","price_changes":[{"price":"\x00"}]}',
    ]  # fmt: skip
    async with Simulator(seed=8, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        truth = Truth(mirror, venue)
        [market] = mirror.markets
        for text in hostile * 3:
            frame = text.replace("MARKET", market.condition_id).replace("UP", market.up.id).encode()
            mirror.engine.receive(1, frame, mirror.now())
            mirror._drain()
            truth.read(market.up.id)
        assert mirror.engine.counts["malformed"] >= 12
        await mirror.wait_live(timeout=PATIENCE)
        truth.read(market.up.id)
        assert truth.wrong == []
        messages = [record.getMessage() for record in caplog.records if record.name == "polymirror"]
        kinds = [message.split(":")[0] for message in messages if message.startswith("malformed")]
        assert sorted(kinds) == sorted(set(kinds)) != []
