"""What a mirror tells of trades, markets, frames and trust: on a venue in this process."""

from __future__ import annotations

import gc
import json
import logging

import pytest

from polymirror import BookState, MarketAdded, MarketRemoved, RawFrame, Resolved, Traded, Transition
from polymirror.simulator import Simulator
from tests.loopback import LOOPS, PATIENCE, mirror_of, quiet_venue, turns_until, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=LOOPS[:1])
def anyio_backend(request):
    return request.param


async def test_trades_come_as_the_venue_printed_them_and_only_of_the_tokens_asked_for() -> None:
    async with Simulator(seed=3, rate=200) as venue, mirror_of(venue) as mirror:
        _, down = mirror.tokens
        trades: list[Traded] = []
        of_one: list[Traded] = []
        frames: list[RawFrame] = []
        remove = mirror.on_trade(trades.append)
        mirror.on_trade(of_one.append, down)
        stop = mirror.on_frame(frames.append)
        await until(mirror, lambda: len(trades) >= 5 and len(of_one) >= 2)
        remove()
        stop()
        contents = [json.loads(frame.data) for frame in frames]
        printed = [content for content in contents if isinstance(content, dict)]
        said = [
            (each["asset_id"], each["price"], each["size"], each["side"], each["timestamp"], each["transaction_hash"])
            for each in printed
            if each["event_type"] == "last_trade_price"
        ]
        told = [(t.token, f"{t.price:f}", f"{t.size:f}", t.side, str(t.at_ms), t.transaction_hash) for t in trades]
        assert told == said[: len(told)]
        assert [trade for trade in trades if trade.token == down] == of_one[
            : len([t for t in trades if t.token == down])
        ]


async def test_nothing_is_made_of_trades_that_nobody_wants_also_when_the_last_left_without_a_word() -> None:
    async with Simulator(seed=3, rate=200) as venue, mirror_of(venue) as mirror:
        wanted = mirror.engine.outbox.announcements
        assert not wanted.wanted
        events = mirror.events(Traded)
        assert isinstance(await anext(events), Traded)
        assert wanted.wanted
        del events
        gc.collect()
        await until(mirror, lambda: not wanted.wanted)
        mirror.events(Transition)
        assert not wanted.wanted


async def test_markets_that_come_and_go_and_resolve_are_events() -> None:
    async with quiet_venue(markets=2) as venue, mirror_of(venue, venue.slugs[0]) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        events = mirror.events(MarketAdded, MarketRemoved, Resolved, Transition)
        other = await mirror.add_slug(venue.slugs[1])
        mirror.remove_market(other.condition_id)
        venue.exchange.settle(resolve_delay_ms=20)
        first = mirror.markets[0]
        told = []
        async for event in events:
            told.append(event)
            if isinstance(event, Transition) and event.new is BookState.RETIRED:
                break
        markets = [(type(each), each.market) for each in told if isinstance(each, (MarketAdded, MarketRemoved))]
        assert markets == [(MarketAdded, other), (MarketRemoved, other)]
        assert [each.market for each in told if isinstance(each, Resolved)] in ([], [first.condition_id])


async def test_every_frame_of_every_socket_is_handed_over_before_it_is_used() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        frames: list[RawFrame] = []
        seen: list[int] = []
        mirror.on_frame(frames.append)
        remove = mirror.on_frame(lambda _: seen.append(mirror.engine.frames))
        mirror.on_frame(lambda _: 1 // 0)
        before = mirror.engine.frames
        [socket] = mirror.status().sockets
        await mirror.add_slug(venue.slugs[0])
        mirror.resync(mirror.tokens[0])
        await mirror.wait_live(timeout=PATIENCE)
        venue.exchange.settle(resolve_delay_ms=20)
        await turns_until(lambda: len(frames) >= 2)
        count = len(frames)
        assert mirror.engine.frames - before == count
        assert seen == list(range(before, before + count))
        assert {(frame.socket, frame.lane) for frame in frames} == {(socket.number, 0)}
        assert all(frame.received_at <= mirror.now() for frame in frames)
        assert mirror.status().failed_callbacks == count
        remove()
        await turns_until(lambda: len(frames) > count)
        assert len(seen) == count


async def test_a_day_is_told_in_the_log_from_start_to_stop(caplog) -> None:
    caplog.set_level(logging.INFO, "polymirror")
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        for _ in range(10):
            mirror.resync(mirror.tokens[0])
            await mirror.wait_live(timeout=PATIENCE)
        slug, losses = venue.slugs[0], mirror._teller._trust.losses
    lines = [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "polymirror"]
    assert "mirror started: 2 tokens, 0 not found yet, seed 1" in [text for _, text in lines]
    assert lines[-1] == (
        logging.INFO,
        f"mirror stopped: trust was lost {losses} times and regained {losses} times, 0 callbacks failed",
    )
    lost = [text for level, text in lines if level == logging.WARNING and text.startswith("lost trust in")]
    # Four in a line each, and the others summed up when the mirror stopped, at the latest.
    assert len(lost) == 5
    assert all(slug in text and "REQUESTED" in text for text in lost)
    assert any(text.startswith(f"trust again in {slug} Up (") for _, text in lines)
