"""The mirror's status on a venue over loopback: what it adds to the engine's, before, while and after it runs."""

from __future__ import annotations

import json

import msgspec
import pytest

from polymirror import BookState, Mirror, NotLive, ProofKind, Reason
from polymirror.simulator import ExchangeConfig, FlowConfig, Simulator
from polymirror.status.health import MirrorStatus
from tests.loopback import LOOPS, PATIENCE, mirror_of, one_loop, quiet_venue, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    return request.param


async def test_a_running_mirror_names_its_books_and_tells_how_they_are() -> None:
    config = ExchangeConfig(seed=7, markets=2, flow=FlowConfig(rate=100))
    async with Simulator(config=config) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        await until(mirror, lambda: all(s.lag is not None for s in mirror.status().sockets))
        status = mirror.status()
        assert [each.token for each in status.tokens] == list(mirror.tokens)
        for book in status.tokens:
            market = next(each for each in mirror.markets if each.condition_id == book.market)
            outcomes = {each.id: each.outcome for each in market.tokens}
            assert (book.slug, book.outcome) == (market.slug, outcomes[book.token])
            view = mirror.peek(book.token)
            assert (book.state, book.reason, book.epoch) == (view.state, view.reason, view.epoch)
            assert (book.settled, book.exchange_ms) == (view.settled, view.exchange_ms)
            assert book.proof in ProofKind
            assert 0 <= (book.proof_age or 0.0) <= view.verified_age < PATIENCE
            assert status.at - PATIENCE <= book.since <= status.at
            assert (book.refused_reads, book.resyncs) == (0, {})
        assert [each.slug for each in status.markets] == [each.slug for each in mirror.markets]
        assert all(each.verifiable and each.hash_form and each.tick_size for each in status.markets)
        (socket,) = status.sockets
        assert (socket.number, socket.is_open, socket.tokens) == (1, True, 4)
        assert [each.lagging for each in status.markets] == [False, False]
        assert socket.lag is not None
        assert 0 <= socket.lag < PATIENCE
        assert 0 < (status.rest.budget_left or 0) < mirror.config.rest.calls_per_10s
        assert status.totals.states == {"LIVE": 4}
        assert (status.running, status.seed, status.transitions) == (True, mirror.seed, 4)


@one_loop
async def test_refused_reads_and_resyncs_are_counted_for_each_token_until_it_goes() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        up, down = mirror.tokens
        mirror.live(up)
        for _ in range(3):
            with pytest.raises(NotLive):
                mirror.live(down, max_proof_age=1e-9)
        mirror.resync(down)
        with pytest.raises(NotLive):
            mirror.live(down)
        first, second = mirror.status().tokens
        assert (first.refused_reads, first.resyncs) == (0, {})
        assert (second.refused_reads, second.resyncs) == (4, {"REQUESTED": 1})
        assert (second.state, second.reason) == (BookState.RESYNCING, Reason.REQUESTED)
        status = mirror.status()
        assert (status.reads_granted, status.reads_refused) == (1, 4)
        assert status.totals.resyncs == {"REQUESTED": 1}
        await mirror.wait_live(timeout=PATIENCE)
        (market,) = mirror.markets
        mirror.remove_market(market.condition_id)
        gone = mirror.status()
        assert (gone.tokens, gone.markets, gone.reads_refused) == ((), (), 4)
        mirror.add_market(market)
        assert [each.refused_reads for each in mirror.status().tokens] == [0, 0], "added anew"
        await mirror.wait_live(timeout=PATIENCE)


@one_loop
async def test_the_clock_is_told_once_the_venue_was_asked() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        while (clock := mirror.status().clock).uncertainty is None:
            await mirror.prove(mirror.tokens[0])
        assert clock.low_ms is not None
        assert clock.high_ms is not None
        assert clock.uncertainty == pytest.approx(max(0.0, clock.high_ms - clock.low_ms) / 1000)


@one_loop
async def test_a_status_can_be_had_before_the_start_and_after_the_end() -> None:
    before = Mirror.for_slug("any").status()
    assert (before.running, before.tokens, before.rest.budget_left) == (False, (), None)
    async with quiet_venue() as venue:
        async with mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
        after = mirror.status()
    assert (after.running, after.rest.budget_left) == (False, None)
    assert [each.slug for each in after.tokens] == [venue.slugs[0]] * 2


@one_loop
async def test_a_status_of_a_mirror_survives_json() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        status = mirror.status()
        plain = status.as_dict()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert msgspec.convert(plain, MirrorStatus) == status
        assert plain["tokens"][0]["outcome"] == "Up"


@one_loop
async def test_what_is_not_found_has_no_books_and_is_told_all_the_same() -> None:
    async with quiet_venue() as venue, mirror_of(venue, "btc-typo") as mirror:
        status = mirror.status()
        assert (status.tokens, status.missing) == ((), mirror.missing)
        assert status.as_dict()["missing"] == {"btc-typo": "no market with slug btc-typo (yet)"}
