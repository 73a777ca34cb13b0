"""The venue that a test holds in its hands: books, faults, truth, accounts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal

import httpx
import pytest

from polymirror import ConfigError, Mirror, NotLive, UnitError, UnknownToken
from polymirror.core.level import Level
from polymirror.core.states import Reason
from polymirror.simulator import FAULTS
from polymirror.simulator.orders.rules import Refused
from polymirror.simulator.orders.states import OrderState
from polymirror.testing import Stage, StageConfig, play

BOOK = {"bids": [("0.47", 10), ("0.4", "2.5")], "asks": [(Decimal("0.48"), 5)]}


def exactly(*rows: tuple[str, str]) -> tuple[Level, ...]:
    return tuple(Level(int(Decimal(price) * 10_000), int(Decimal(size) * 1_000_000)) for price, size in rows)


# ---- Books -----------------------------------------------------------------------------------------


def test_a_written_book_is_the_truth_of_both_tokens_and_what_the_mirror_shows() -> None:
    async def scene(venue, mirror):
        up, down = venue.tokens
        venue.set_book(up, **BOOK)
        assert venue.truth(up).bids == exactly(("0.47", "10"), ("0.4", "2.5"))
        assert venue.truth(down).bids == exactly(("0.52", "5"))
        assert venue.truth(down).asks == exactly(("0.53", "10"), ("0.6", "2.5"))
        assert [*venue.truth(up).best_bid, *venue.truth(up).best_ask] == [Decimal("0.47"), 10, Decimal("0.48"), 5]
        before = mirror.live(up)
        await venue.until_shown(mirror)
        view = mirror.live(up)
        assert (view.bids, view.asks) == (venue.truth(up).bids, venue.truth(up).asks)
        assert venue.confirms(view)
        await asyncio.sleep(30)
        assert not venue.confirms(before), "it ended half a minute ago"
        assert venue.confirms(mirror.live(up), slack=0.06)
        venue.set_book(down, view.asks[:0], view.bids)
        assert venue.truth(down).asks == exactly(("0.4", "2.5"), ("0.47", "10"))
        venue.set_book(down)
        assert venue.truth(up).best_bid is venue.truth(up).best_ask is None

    play(scene)


def test_a_book_stays_until_it_is_set_again_and_the_other_markets_live_on() -> None:
    async def scene(venue, mirror):
        venue.set_book(venue.tokens[0], **BOOK)
        still, lively = venue.truth(venue.tokens[0]), venue.truth(venue.tokens[2])
        await asyncio.sleep(600)
        assert venue.truth(venue.tokens[0]) == still
        assert venue.truth(venue.tokens[2]) != lively

    play(scene, markets=2)


def test_a_finer_grid_comes_with_the_book() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        with pytest.raises(ConfigError, match=r"grid of 0\.01"):
            venue.set_book(up, bids=[("0.475", 10)])
        venue.set_book(up, bids=[("0.475", 10)], tick="0.001")
        await venue.until_shown(mirror, up)
        assert mirror.live(up).levels.bid_keys == (4_750,)

    play(scene)


def test_numbers_that_are_not_exact_and_strangers_are_refused() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        for bids in ([(0.47, 10)], [("0.47", 1.5)], [("0.47001", 1)], [("x", 1)], [("0.47", -1)], [("0.47", True)]):
            with pytest.raises(UnitError):
                venue.set_book(up, bids=bids)
        with pytest.raises(ConfigError, match="size above 0"):
            venue.set_book(up, bids=[("0.47", 0)])
        for call in (venue.set_book, venue.truth):
            with pytest.raises(UnknownToken):
                call("7")

    play(scene)


def test_waiting_for_a_book_that_never_comes_ends_with_what_each_of_them_has() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        venue.fault("frozen_market", length=1_000)
        venue.set_book(up, **BOOK)
        # Long enough to be sure, and too short for the mirror's own questions.
        with pytest.raises(
            TimeoutError, match=r"not shown after 0\.2 s: the venue has 0\.47 x 10 \| 0\.48 x 5, the mir"
        ):
            await venue.until_shown(mirror, up, timeout=0.2)

    play(scene)


# ---- Faults ----------------------------------------------------------------------------------------


def test_a_fault_begins_now_and_ends_when_it_is_told_to() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        with venue.fault("lost_delta", tokens=[up]) as lost:
            venue.set_book(up, **BOOK)
            await asyncio.sleep(0.1)
            assert mirror.peek(up).levels.bid_keys != (4_000, 4_700)
        struck = lost.injected
        assert struck > 0
        lost.end()
        venue.set_book(up, bids=[("0.3", 1)])
        await venue.until_shown(mirror)
        assert lost.injected == struck

    play(scene)


def test_a_frozen_token_thaws_when_the_fault_ends_however_long_it_was_to_last() -> None:
    async def scene(venue, mirror):
        up, _ = venue.tokens
        with venue.fault("frozen_token", tokens=up, length=3_600):
            venue.set_book(up, **BOOK)
            await asyncio.sleep(3)
            with pytest.raises(NotLive):
                mirror.live(up)
        venue.set_book(up, bids=[("0.3", 1)])
        await venue.until_shown(mirror)

    play(scene)


def test_a_fault_of_the_venue_strikes_at_once() -> None:
    async def scene(venue, mirror):
        with venue.fault("settlement"):
            await asyncio.sleep(4)
        return venue.exchange.is_resolved(venue.tokens[0])

    assert play(scene)


@pytest.mark.slow
def test_every_fault_of_the_catalogue_may_begin_and_end_and_the_mirror_lives_through_it() -> None:
    async def scene(venue, mirror, fault):
        with venue.fault(fault, length=2) as running:
            await asyncio.sleep(10)
        wrong = 0
        for _ in range(120):
            await asyncio.sleep(1)
            for token in mirror.tokens:
                with suppress(NotLive):
                    wrong += not venue.confirms(mirror.live(token), slack=6.0)
        assert wrong == 0
        if not venue.exchange.is_resolved(venue.tokens[0]):
            await mirror.wait_live(timeout=120)
        return running.injected

    struck = {
        fault: play(lambda venue, mirror, fault=fault: scene(venue, mirror, fault))
        for fault in FAULTS
        if fault != "suspend"
    }
    # The others wait for what a quiet venue with one connection does not do, such as an opening or a call.
    assert sum(map(bool, struck.values())) > len(struck) * 0.6


def test_a_fault_that_does_not_exist_or_not_here_is_refused() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        with pytest.raises(ConfigError, match="must be lost_delta, if that was meant"):
            venue.fault("lost_detla")
        with pytest.raises(ConfigError, match="a machine that sleeps is for the torture"):
            venue.fault("suspend")
        with pytest.raises(ConfigError, match=r"share=2 .*between 0 and 1"):
            venue.fault("lost_delta", share=2)
        for length in (0, -1, float("nan"), float("inf")):
            with pytest.raises(ConfigError, match=r"length=.*more than 0 and at most 86400 seconds"):
                venue.fault("lost_delta", length=length)
        with pytest.raises(UnknownToken):
            venue.fault("lost_delta", tokens=[up, "7"])

    play(scene)
    with Stage(StageConfig(loopback=True)) as stage, pytest.raises(ConfigError, match="faults='stalled_loop'"):
        stage.venue.fault("stalled_loop")


def test_faults_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymirror.testing.venue.MAX_FAULTS", 2)
    with Stage() as stage:
        stage.venue.fault("lost_delta")
        stage.venue.fault("lost_delta").end()
        with pytest.raises(ConfigError, match=r"faults=3 .*at most 2"):
            stage.venue.fault("lost_delta")


def test_a_market_is_settled_when_the_test_says_so() -> None:
    async def scene(venue, mirror):
        with pytest.raises(ConfigError, match="slug='btc'"):
            venue.settle("btc")
        venue.settle(venue.slugs[0])
        await asyncio.sleep(10)
        return [mirror.peek(token).reason for token in venue.tokens]

    assert play(scene, markets=2)[:2] == [Reason.RESOLVED] * 2


# ---- Accounts --------------------------------------------------------------------------------------


def test_an_account_trades_with_the_written_book_and_its_orders_are_in_it() -> None:
    async def scene(venue, mirror):
        up, down = venue.tokens
        venue.set_book(up, **BOOK)
        ann = venue.account("ann", cash="100")
        taken = ann.buy(up, 5, "0.48", kind="FAK")
        assert taken.state is OrderState.DELAYED
        await asyncio.sleep(0.3)
        assert taken.state is OrderState.MATCHED
        assert ann.shares(up) == 5
        assert Decimal(100) - ann.cash == Decimal("2.4") + Decimal("0.08736"), "with the taker's fee"
        resting = ann.buy(down, 10, "0.5")
        assert ann.open_orders == [resting]
        await venue.until_shown(mirror)
        assert venue.truth(up).asks == exactly(("0.5", "10"))
        assert ann.cancel(resting) is None
        assert ann.cancel(resting) is not None
        offered = ann.sell(up, 5, "0.6")
        await venue.until_shown(mirror)
        assert venue.truth(up).asks == exactly(("0.6", "5"))
        venue.set_book(up, bids=[("0.6", 3)], asks=[])
        assert (offered.shares, ann.shares(up)) == (3_000_000, 2)

    play(scene)


def test_an_order_that_the_venue_would_not_take_is_refused_in_its_words() -> None:
    async def scene(venue, mirror):
        up = venue.tokens[0]
        ann = venue.account("ann", cash=1)
        with pytest.raises(Refused, match="not enough balance"):
            ann.buy(up, 10, "0.5")
        with pytest.raises(ConfigError, match=r"kind='FOX' .*FOK, if that was meant"):
            ann.buy(up, 10, "0.5", kind="FOX")
        with pytest.raises(UnitError):
            ann.buy(up, 10.0, "0.5")
        with pytest.raises(ConfigError, match="name='ann'"):
            venue.account("ann")
        with pytest.raises(UnitError):
            venue.account("bob", cash=-1)

    play(scene)


def test_a_bot_that_speaks_http_trades_with_the_accounts_credentials() -> None:
    async def scene(venue, mirror):
        ann = venue.account("ann")
        network = venue.network
        async with httpx.AsyncClient(transport=network.transport(), base_url=venue.base_url) as client:
            path = "/data/orders"
            headers = ann.account.headers(int(network.wall()), "GET", path)
            mine = await client.get(path, headers=headers)
            order = ann.buy(venue.tokens[0], 5, "0.01")
            listed = await client.get(path, headers=headers)
        return mine.json()["data"], listed.json()["data"][0]["id"] == order.id

    assert play(scene) == ([], True)


# ---- Time and what is one's own --------------------------------------------------------------------


def test_a_test_that_is_not_async_lets_time_pass_by_running_something() -> None:
    with Stage() as stage:
        mirror, began_ms = stage.mirror(), stage.venue.wall_ms()
        assert stage.venue.run(asyncio.sleep(60, "slept")) == "slept"
        assert stage.venue.wall_ms() - began_ms == 60_000
        assert mirror.live(mirror.tokens[0])


def test_a_mirror_of_ones_own_needs_the_endpoints_and_the_network() -> None:
    async def scene(venue, mirror):
        one = Mirror.for_slug(venue.slugs[1], endpoints=venue.endpoints, network=venue.network)
        async with one, venue.mirror(venue.slugs[0]) as other:
            await one.wait_live()
            await other.wait_live()
            return one.tokens + other.tokens == venue.tokens[2:] + venue.tokens[:2]

    assert play(scene, markets=2)
