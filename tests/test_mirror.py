"""The mirror on a venue over loopback: what a user writes, and what it answers."""

from __future__ import annotations

import asyncio
import json

import pytest
from attrs import evolve

from polymirror import (
    BookState,
    ConfigError,
    Gate,
    MarketNotFound,
    Mirror,
    MirrorClosed,
    NotLive,
    ProofKind,
    Reason,
    UnknownToken,
)
from polymirror.core.fees import NO_FEE
from polymirror.simulator import FAULTS, Plan, Simulator
from polymirror.venue.connection import Connection
from tests.loopback import (
    LOOPS,
    PATIENCE,
    NoHashes,
    Recorder,
    Truth,
    mirror_of,
    one_loop,
    quiet_venue,
    settings,
    shown,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


# ---- What a user writes ----------------------------------------------------------------------------


async def test_the_first_lines_a_user_writes_work_as_written() -> None:
    async with (
        Simulator(seed=7, rate=100) as venue,
        Mirror.for_slug(venue.slugs[0], endpoints=venue.endpoints) as mirror,
    ):
        up, down = mirror.tokens
        assert (up, down) == venue.tokens
        await mirror.wait_live(timeout=10)
        seen = 0
        async for update in mirror.updates(up):
            assert update.token == up
            view = mirror.live(up, max_proof_age=0.5)
            assert view.best_bid is not None
            assert view.best_ask is not None
            assert view.best_bid.price < view.best_ask.price
            assert view.cost_to_buy(100).shares > 0
            assert 0 <= view.verified_age <= 0.5
            assert venue.confirms(view, 2.0)
            seen += 1
            if seen == 10:
                break
        async with Gate(mirror).lease(up, max_proof_age=0.25, timeout=2) as lease:
            assert lease.check().token == up


@one_loop
async def test_up_comes_first_whatever_the_venues_order_is() -> None:
    async with quiet_venue() as venue, Mirror(config=settings(), endpoints=venue.endpoints) as mirror:
        market = await mirror.gamma.market(venue.slugs[0])
        mirror.add_market(evolve(market, tokens=market.tokens[::-1]))
        assert mirror.tokens == (market.up.id, market.down.id)


@one_loop
async def test_a_mirror_may_be_made_of_markets_slugs_and_tokens_at_once() -> None:
    async with quiet_venue(markets=3) as venue:
        async with Mirror(config=settings(), endpoints=venue.endpoints) as other:
            market = await other.gamma.market(venue.slugs[0])
        async with Mirror(
            [market],
            slugs=[venue.slugs[1]],
            tokens=[venue.tokens[5]],
            config=settings(),
            endpoints=venue.endpoints,
        ) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
            assert mirror.tokens == venue.tokens
            assert [each.slug for each in mirror.markets] == list(venue.slugs)


async def test_markets_are_added_by_slug_token_and_object_while_it_runs() -> None:
    async with Simulator(seed=2, markets=3, rate=50) as venue, mirror_of(venue, venue.slugs[0]) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        await mirror.add_slug(venue.slugs[1])
        found = await mirror.add_token(venue.tokens[5])
        mirror.add_market(found)
        assert found.slug == venue.slugs[2]
        assert mirror.tokens == venue.tokens
        await mirror.wait_live(timeout=PATIENCE)
        truth = Truth(mirror, venue)
        for token in mirror.tokens:
            truth.read(token)
        assert (truth.granted, truth.wrong) == (6, [])


@one_loop
async def test_unknown_slugs_and_tokens_are_not_found_and_leave_the_mirror_as_it_was() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        with pytest.raises(MarketNotFound):
            await mirror.add_slug("no-such-market")
        with pytest.raises(MarketNotFound):
            await mirror.add_token("1" * 76)
        await mirror.wait_live(timeout=PATIENCE)
        assert mirror.tokens == venue.tokens


async def test_a_removed_market_is_unknown_and_its_frames_stop_while_its_neighbour_lives_on() -> None:
    recorder = Recorder()
    async with (
        Simulator(seed=2, markets=2, rate=100, faults=[recorder]) as venue,
        mirror_of(venue) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        gone, kept = mirror.markets
        mirror.remove_market(gone.condition_id)
        assert mirror.tokens == kept.token_ids
        assert mirror.markets == (kept,)
        for refused in (mirror.live, mirror.peek):
            with pytest.raises(UnknownToken):
                refused(gone.up.id)
        with pytest.raises(UnknownToken):
            mirror.remove_market(gone.condition_id)
        heard = len(recorder.frames)
        # However late the venue hears of it.
        await until(
            mirror,
            lambda: (
                len(recorder.frames) >= heard + 40
                and not any(gone.condition_id in text for _, _, text in recorder.frames[-20:])
            ),
        )
        mirror.live(kept.up.id)
        await mirror.add_slug(gone.slug)
        await mirror.wait_live(timeout=PATIENCE)


@one_loop
async def test_removing_the_last_market_of_a_socket_closes_it() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        [[(_, task)]] = mirror._carrier._streams.values()
        mirror.remove_market(mirror.markets[0].condition_id)
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.done()
        assert mirror._carrier.streams == ()
        await mirror.wait_live()


# ---- Sockets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens_per_socket", "sockets"), [(2, 5), (5, 3)])
async def test_more_tokens_than_a_socket_holds_give_more_sockets_and_a_market_stays_on_one(
    tokens_per_socket, sockets
) -> None:
    recorder = Recorder()
    async with (
        quiet_venue(markets=5, faults=(recorder,)) as venue,
        mirror_of(venue, tokens_per_socket=tokens_per_socket) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        opened: dict[int, list[str]] = {}
        for number, kind, text in recorder.frames:
            if kind == "opening":
                opened.setdefault(number, []).extend(book["asset_id"] for book in json.loads(text))
        assert len(opened) == len(mirror._carrier.streams) == sockets
        assert sorted(token for tokens in opened.values() for token in tokens) == sorted(venue.tokens)
        for tokens in opened.values():
            assert len(tokens) <= tokens_per_socket
            for market in mirror.markets:
                assert len(set(market.token_ids) & set(tokens)) in (0, 2)


@one_loop
async def test_more_tokens_than_allowed_are_refused_and_nothing_of_them_is_kept() -> None:
    async with quiet_venue(markets=2) as venue, mirror_of(venue, venue.slugs[0], max_tokens=3) as mirror:
        with pytest.raises(ConfigError, match="max_tokens=3"):
            await mirror.add_slug(venue.slugs[1])
        assert mirror.tokens == venue.tokens[:2]
        assert len(mirror.markets) == 1


async def test_a_market_added_while_the_first_frame_is_under_way_is_subscribed_too(monkeypatch) -> None:
    # REST is silent, so only the subscription can bring the book.
    down = FAULTS["rest_503"](Plan(share=1.0))
    async with quiet_venue(markets=2, faults=(down,)) as venue:
        mirror = mirror_of(venue, venue.slugs[0], first_snapshot_timeout=60)
        greet = Connection.greet

        async def greet_late(self, first) -> None:
            second = await mirror.gamma.market(venue.slugs[1])
            mirror.add_market(second)
            await greet(self, first)

        monkeypatch.setattr(Connection, "greet", greet_late)
        async with mirror:
            await until(mirror, lambda: len(mirror.tokens) == 4)
            await mirror.wait_live(timeout=PATIENCE)
            assert mirror.clob.counters.calls <= 4


async def test_a_market_added_while_its_socket_is_ending_waits_for_the_next_one() -> None:
    async with quiet_venue(markets=2) as venue, mirror_of(venue, venue.slugs[0]) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        second = await mirror.gamma.market(venue.slugs[1])
        [stream] = mirror._carrier.streams
        stream.reconnect("for the test")
        mirror.add_market(second)
        await mirror.wait_live(timeout=PATIENCE)
        assert stream.counters.connects == 2
        assert mirror.tokens == venue.tokens


# ---- Waiting and refusals --------------------------------------------------------------------------


@one_loop
async def test_wait_live_says_what_the_first_book_that_is_not_live_lacks() -> None:
    silent = [FAULTS["rest_503"](Plan(share=1.0)), FAULTS["lost_opening"](Plan(share=1.0))]
    async with quiet_venue(faults=tuple(silent)) as venue, mirror_of(venue, first_snapshot_timeout=60) as mirror:
        told = r"UNPRIMED .TRACKED., never proven, epoch 0: .* Up; waited 0\.05 s; .* Down is UNPRIMED"
        with pytest.raises(NotLive, match=told) as caught:
            await mirror.wait_live(timeout=0.05)
        refusal = caught.value
        assert refusal.token == mirror.tokens[0]
        assert (refusal.state, refusal.reason) == (BookState.UNPRIMED, Reason.TRACKED)
        assert (refusal.age, refusal.epoch) == (None, 0)
        with pytest.raises(UnknownToken):
            await mirror.wait_live("1")


async def test_prove_gives_a_proof_no_older_than_the_call_even_of_a_book_that_does_not_change() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        for token in mirror.tokens:
            asked = mirror.now()
            view = await mirror.prove(token, timeout=PATIENCE)
            assert view.proven_at >= asked
            assert view.last_proof.kind is ProofKind.PROBE
            assert mirror.now() - asked < PATIENCE / 2
        with pytest.raises(UnknownToken):
            await mirror.prove("1")


@one_loop
async def test_prove_refuses_when_no_proof_comes_in_time() -> None:
    down = FAULTS["rest_503"](Plan(share=1.0))
    async with quiet_venue(faults=(down,)) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        with pytest.raises(NotLive, match="no proof in time") as caught:
            await mirror.prove(mirror.tokens[0], timeout=0.05)
        assert caught.value.age > 0
        mirror.live(mirror.tokens[0])


@one_loop
async def test_a_market_removed_while_somebody_waits_for_it_is_unknown_to_them() -> None:
    down = FAULTS["rest_503"](Plan(share=1.0))
    async with quiet_venue(markets=2, faults=(down,)) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        market = mirror.markets[0]

        async def expect_unknown() -> None:
            with pytest.raises(UnknownToken):
                await mirror.prove(market.up.id, timeout=PATIENCE)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(expect_unknown())
            await asyncio.sleep(0)
            mirror.remove_market(market.condition_id)


async def test_wait_settled_waits_for_the_proof_of_the_newest_change() -> None:
    venue = Simulator(config=evolve(Simulator(seed=3, rate=100)._config, hash_one_change_late=1.0))
    async with venue, mirror_of(venue) as mirror:
        up = mirror.tokens[0]
        await mirror.wait_live(timeout=PATIENCE)
        await until(mirror, lambda: not mirror.live(up).settled)
        before = mirror.live(up)
        after = await mirror.wait_settled(up, timeout=PATIENCE)
        assert (before.settled, after.settled) == (False, True)
        assert after.exchange_ms >= before.exchange_ms
        assert venue.confirms(after, 2.0)


async def test_an_update_follows_when_waiting_levels_become_readable() -> None:
    venue = Simulator(seed=3, rate=10, faults=[NoHashes()])
    async with venue, mirror_of(venue, max_proof_age=0.5, probe_fraction=0.1) as mirror:
        up = mirror.tokens[0]
        await until(mirror, lambda: mirror.peek(up).proven_at is not None)
        read = [shown(mirror, up)]
        told: list[object] = []

        def note(update) -> None:
            told.append(shown(mirror, update.token))

        mirror.on_update(note, up)
        while len(read) < 4:
            await until(mirror, lambda: shown(mirror, up) != read[-1])
            read.append(shown(mirror, up))
            # Callbacks run in the next turn of the loop.
            await asyncio.sleep(0)
            assert read[-1] in told[-3:]


@one_loop
async def test_reads_are_counted_refused_for_ages_that_no_proof_has_and_never_for_a_peek() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        up = mirror.tokens[0]
        assert mirror.peek(up).state is BookState.UNPRIMED
        await mirror.wait_live(timeout=PATIENCE)
        for age in (1e-12, 1e-9, 1e-6):
            with pytest.raises(NotLive) as caught:
                mirror.live(up, max_proof_age=age)
            assert caught.value.reason is Reason.STALE
            assert caught.value.age > 0
        assert mirror.peek(up).bids == mirror.live(up, max_proof_age=1e9).bids
        status = mirror.status()
        assert (status.reads_granted, status.reads_refused) == (1, 3)


async def test_views_carry_the_fee_terms_of_their_market() -> None:
    async with quiet_venue(markets=2) as venue, mirror_of(venue, *venue.slugs[:1]) as mirror:
        (market,) = mirror.markets
        found = await mirror.gamma.market(venue.slugs[1])
        mirror.add_market(evolve(found, fees_enabled=False, fee=None))
        await mirror.wait_live(timeout=PATIENCE)
        fees = [mirror.live(token).fee for token in mirror.tokens]
        assert fees == [market.fee, market.fee, NO_FEE, NO_FEE]
        assert market.fee.rate > 0
        fill = mirror.live(mirror.tokens[0]).cost_to_buy(10, fees=True)
        assert fill.total == fill.money + fill.fee > fill.money


# ---- Before and after ------------------------------------------------------------------------------


@one_loop
async def test_what_needs_a_running_mirror_is_refused_before_the_start() -> None:
    mirror = Mirror.for_slug("any")
    with pytest.raises(MirrorClosed):
        await mirror.wait_live()
    with pytest.raises(MirrorClosed):
        await mirror.add_slug("any")
    with pytest.raises(MirrorClosed):
        mirror.remove_market("any")
    assert mirror.tokens == ()
    with pytest.raises(UnknownToken):
        mirror.live("1")


async def test_after_the_end_nothing_is_live_and_nothing_starts_again() -> None:
    async with Simulator(seed=1, rate=100) as venue:
        async with mirror_of(venue) as mirror:
            up, _ = mirror.tokens
            await mirror.wait_live(timeout=PATIENCE)
            [market] = mirror.markets
        with pytest.raises(NotLive) as caught:
            mirror.live(up)
        assert caught.value.state is not BookState.LIVE
        for refused in (
            mirror.updates,
            lambda: mirror.on_update(print),
            lambda: mirror.add_market(market),
            lambda: mirror.remove_market(market.condition_id),
        ):
            with pytest.raises(MirrorClosed):
                refused()
        for refused in (
            lambda: mirror.prove(up),
            mirror.wait_live,
            lambda: mirror.add_slug("any"),
            lambda: mirror.add_token(up),
        ):
            with pytest.raises(MirrorClosed):
                await refused()
        with pytest.raises(NotLive):
            await mirror.wait_settled(up)
        # Not even from the inside: no task, and no timer.
        mirror.engine.prove(up, mirror.now())
        mirror._drain()
        assert mirror._alarm._handle is None or mirror._alarm._handle.cancelled()


@one_loop
async def test_a_mirror_cannot_be_used_twice() -> None:
    async with quiet_venue() as venue:
        async with mirror_of(venue) as mirror:
            with pytest.raises(MirrorClosed, match="make another one"):
                await mirror.__aenter__()
            await mirror.wait_live(timeout=PATIENCE)
        with pytest.raises(MirrorClosed, match="make another one"):
            await mirror.__aenter__()
