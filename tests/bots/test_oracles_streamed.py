"""The clients of price feeds against the simulated feeds, in virtual time: what flows, what is stale, what heals."""

from __future__ import annotations

import asyncio
import logging
import math

import pytest

from bots.common.operate.preflight import CheckFailed
from bots.updown.oracles.factory import OracleSettings, make_oracle
from bots.updown.oracles.keys import ChainlinkKeys, ClobKeys
from bots.updown.oracles.ticks import TickKind
from bots.updown.watch import check_prices
from polymirror.errors import ConfigError
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.feeds import PolyboltFeed, RelayKeys
from polymirror.simulator.feeds.faults import FEED_FAULTS, DroppedTicks, FrozenAsset, LostTick, StuckAsset, ZombieFeed
from polymirror.simulator.frames import Close
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import REAL
from tests.bots.oracle_rig import ASSETS, PRICES, START_MS, with_oracle

SOURCES = ("rtds", "polybolt", "chainlink")
KINDS = (TickKind.SPOT, TickKind.TWAP60)

STORM_MS = START_MS + 20_000
"""When a fault strikes that a test plans."""


def during(length_ms, *assets, share=1.0):
    return Plan(share=share, start_ms=STORM_MS, end_ms=STORM_MS + length_ms, length_ms=length_ms, tokens=set(assets))


@pytest.mark.parametrize("source", SOURCES)
def test_every_feed_brings_every_price_exactly_as_it_is(source):
    async def script(stand):
        await asyncio.sleep(90)
        return stand

    stand = with_oracle(source, script)
    health = stand.oracle.health()
    assert health.counts.get("malformed", 0) == 0
    for kind in KINDS:
        for asset in ASSETS:
            ticks = [tick for tick in stand.ticks if (tick.asset, tick.kind) == (asset, kind)]
            assert len(ticks) > 80
            assert all(tick.price == PRICES.of(kind, asset, tick.at_ms) for tick in ticks)
            assert [tick.at_ms for tick in ticks] == sorted({tick.at_ms for tick in ticks})
            assert stand.oracle.buffer.latest(asset, kind) == ticks[-1]


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_fresh_before_the_first_price(source):
    async def script(stand):
        before = [stand.stale(asset, kind) for asset in ASSETS for kind in KINDS]
        await stand.flowing()
        health = stand.oracle.health()
        return before, health.connected, health.fresh, stand.stale("doge")

    assert with_oracle(source, script) == ([True] * 4, True, True, True)


@pytest.mark.parametrize("source", SOURCES)
def test_a_zombie_that_pongs_is_stale_within_the_limit_and_its_connection_is_replaced(source):
    async def script(stand):
        await asyncio.sleep(20)
        last = {key: tick.received_at for key, tick in stand.oracle.buffer._latest.items()}
        took = await stand.until(lambda: all(stand.stale(asset, kind) for asset in ASSETS for kind in KINDS))
        stale_after = stand.now - max(last.values())
        connects = stand.oracle.health().counts["connects"]
        assert connects == 2
        quiet = len(stand.ticks)
        await stand.until(lambda: stand.oracle.health().counts["silences"] == 2)
        silent_after = stand.now - min(last.values())
        # The zombie of the fault is one connection: the next one is well.
        await stand.flowing()
        await asyncio.sleep(3)
        return took, stale_after, silent_after, len(stand.ticks) - quiet

    zombie = ZombieFeed(Plan(share=1, start_ms=STORM_MS, end_ms=STORM_MS + 5_000, length_ms=10**8))
    took, stale_after, silent_after, news = with_oracle(source, script, faults=[zombie], missing=0)
    assert took < 7
    assert 5 < stale_after < 7
    assert 8 <= silent_after < 10.5
    assert news > 0


def test_a_zombie_of_one_topic_leaves_the_other_topic_alone():
    class OneTopic(ZombieFeed):
        def outgoing(self, link, items, now_ms):
            twaps = [item for item in items if item.kind != "price" or "twap" in item.market]
            if twaps and twaps != items:
                raise AssertionError("each topic has a connection of its own")
            return super().outgoing(link, items, now_ms) if twaps else items

    async def script(stand):
        await stand.until(lambda: stand.stale("btc", TickKind.TWAP60))
        await stand.flowing()
        seen = [(stand.stale("btc", TickKind.SPOT), stand.stale("btc", TickKind.TWAP60))]
        before = stand.oracle.health().counts["connects"]
        await stand.until(lambda: stand.stale("btc", TickKind.TWAP60))
        seen.append((stand.stale("btc", TickKind.SPOT), stand.stale("btc", TickKind.TWAP60)))
        await stand.until(lambda: stand.oracle.health().counts["silences"] > 0)
        await stand.flowing()
        return seen, stand.oracle.health().counts["connects"] - before

    zombie = OneTopic(Plan(share=1, start_ms=STORM_MS, end_ms=STORM_MS + 3_000, length_ms=10**8))
    assert with_oracle("rtds", script, faults=[zombie]) == ([(False, False), (False, True)], 1)


@pytest.mark.parametrize("source", SOURCES)
def test_one_frozen_asset_makes_only_itself_stale(source):
    async def script(stand):
        await stand.flowing()
        await stand.until(lambda: stand.stale("btc"))
        seen = []
        for _ in range(20):
            await asyncio.sleep(1)
            seen.append((stand.stale("btc"), stand.stale("eth")))
        await stand.until(lambda: not stand.stale("btc"))
        return seen, stand.oracle.health().counts["silences"]

    seen, silences = with_oracle(source, script, faults=[FrozenAsset(during(40_000, "btc"))], missing=0)
    assert seen == [(True, False)] * 20
    assert silences == 0


def test_an_asset_that_repeats_its_old_price_is_as_stale_as_a_silent_one():
    async def script(stand):
        await stand.flowing()
        await stand.until(lambda: stand.stale("btc"))
        await asyncio.sleep(10)
        return stand.stale("btc"), stand.stale("eth"), stand.oracle.health().counts["duplicate"]

    stuck = [StuckAsset(during(40_000, "btc"))]
    btc, eth, duplicates = with_oracle("rtds", script, faults=stuck, missing=0, settings={"kinds": ("spot",)})
    assert (btc, eth) == (True, False)
    assert duplicates > 10


def test_a_connection_that_only_repeats_itself_is_replaced():
    async def script(stand):
        await stand.flowing()
        await stand.until(lambda: stand.oracle.health().counts["silences"] > 0)
        return stand.oracle.health().counts["duplicate"]

    stuck = [StuckAsset(during(60_000, asset)) for asset in ASSETS]
    assert with_oracle("rtds", script, faults=stuck, missing=0, settings={"kinds": ("twap60",)}) > 10


@pytest.mark.parametrize("source", SOURCES)
def test_in_a_storm_of_all_faults_prices_are_right_and_in_order_and_it_ends_well(source):
    async def script(stand):
        seen: dict[object, list[bool]] = {"fresh": []}
        for _ in range(400):
            await asyncio.sleep(0.5)
            for asset in ASSETS:
                for kind in KINDS:
                    latest = stand.oracle.buffer.latest(asset, kind)
                    if not stand.stale(asset, kind):
                        assert stand.now_ms - latest.at_ms <= 10_000
                        assert stand.now - latest.received_at <= 5
                        seen["fresh"].append(True)
        for fault in stand.feed.line.faults:
            fault.plan = Plan(share=0)
        # A fault that has begun may last for a minute.
        await stand.until(lambda: not any(stand.stale(asset) for asset in ASSETS), 90)
        return stand, len(seen["fresh"])

    stand, fresh = with_oracle(source, script, faults=tuple(FEED_FAULTS), seed=3)
    assert fresh > 400
    assert all(tick.price == PRICES.of(tick.kind, tick.asset, tick.at_ms) for tick in stand.ticks)
    for asset in ASSETS:
        for kind in KINDS:
            times = [tick.at_ms for tick in stand.ticks if (tick.asset, tick.kind) == (asset, kind)]
            assert times == sorted(set(times))
    injected = stand.feed.line.injected
    assert injected["feed_duplicate"] > 5
    assert injected["feed_old_tick"] > 5
    assert stand.oracle.health().counts["old"] > 0
    assert stand.oracle.health().counts["malformed"] == injected["feed_garbage"] > 0


def test_the_same_storm_twice_is_the_same_to_the_tick():
    async def script(stand):
        await asyncio.sleep(60)
        return list(stand.ticks)

    first, second = (with_oracle("polybolt", script, faults=tuple(FEED_FAULTS), seed=5) for _ in range(2))
    assert first == second
    assert first


def test_pings_keep_the_relay_talking():
    async def script(stand):
        await asyncio.sleep(500)
        return stand.stale("btc"), stand.oracle.health().counts["connects"]

    # Without them, it falls silent after six minutes.
    assert with_oracle("rtds", script) == (False, 2)


# ---- PolyBolt ----------------------------------------------------------------------------------------


def test_a_gap_in_the_sequence_replaces_the_connection_and_the_snapshot_fills_the_hole():
    async def script(stand):
        await stand.flowing()
        await stand.until(lambda: stand.oracle.health().counts.get("gaps", 0) > 0)
        await stand.until(lambda: stand.oracle.health().counts["connects"] == 2)
        await asyncio.sleep(5)
        held = {tick.at_ms for tick in stand.oracle.buffer.between("btc", TickKind.TWAP60, 0, 2**62)}
        wanted = set(range(START_MS, max(held) + 1, 1000))
        return wanted - held, stand.oracle.health().counts["connects"]

    class LostOnce(LostTick):
        def takes(self, item, now_ms):
            return self.injected < 1 and super().takes(item, now_ms)

    lost = LostOnce(Plan(share=1, start_ms=STORM_MS, tokens={"btc"}))
    options = {"faults": [lost], "missing": 0, "settings": {"kinds": ("twap60",)}}
    assert with_oracle("polybolt", script, **options) == (set(), 2)


def test_a_later_snapshot_fills_the_hole_that_dropped_frames_left():
    async def script(stand):
        await asyncio.sleep(40)
        before = stand.oracle.buffer.count("btc", TickKind.TWAP60)
        stand.venue.hang_up()
        await asyncio.sleep(5)
        held = [tick.at_ms for tick in stand.oracle.buffer.between("btc", TickKind.TWAP60, 0, 2**62)]
        assert held == list(range(held[0], held[-1] + 1, 1000))
        return stand.oracle.health().counts["filled"], len(held) - before

    dropped = DroppedTicks(Plan(share=1, start_ms=STORM_MS, end_ms=STORM_MS + 2_000, length_ms=4_000))
    filled, grown = with_oracle("polybolt", script, faults=[dropped], missing=0, settings={"kinds": ("twap60",)})
    assert filled >= 6
    assert grown >= 6


def test_frames_that_the_relay_says_it_dropped_are_counted_and_are_no_gap():
    async def script(stand):
        await asyncio.sleep(40)
        counts = stand.oracle.health().counts
        return counts["frames dropped by the relay"], counts.get("gaps", 0), counts["connects"], stand.stale("btc")

    dropped = DroppedTicks(Plan(share=1, start_ms=STORM_MS, end_ms=STORM_MS + 2_000, length_ms=2_000))
    told, gaps, connects, stale = with_oracle("polybolt", script, faults=[dropped], missing=0)
    assert told >= 2
    assert (gaps, connects, stale) == (0, 2, False)


def test_history_of_a_snapshot_is_looked_up_but_not_announced():
    async def script(stand):
        await stand.until(lambda: stand.ticks)
        return stand, stand.oracle.buffer.nearest("btc", START_MS - 60_000, TickKind.TWAP60, 0)

    stand, past = with_oracle("polybolt", script, missing=0)
    assert past.price == PRICES.twap("btc", START_MS - 60_000)
    assert min(tick.at_ms for tick in stand.ticks) >= START_MS - 2_000


# ---- Credentials -------------------------------------------------------------------------------------

MADE_UP = ("hush-hush", "very-hidden")
WRONG = {
    "polybolt": {"clob_keys": ClobKeys(api_key="simulated-key", secret=MADE_UP[0], passphrase=MADE_UP[1])},
    "chainlink": {"chainlink_keys": ChainlinkKeys(client_id="simulated-client", user_secret=MADE_UP[0])},
}


@pytest.mark.parametrize(
    ("source", "words"), [("polybolt", "auth_invalid"), ("chainlink", "HTTP 401: the credentials are not accepted")]
)
def test_wrong_credentials_are_named_within_seconds_and_never_shown(source, words, caplog):
    async def script(stand):
        took = await stand.until(lambda: stand.oracle.health().trouble != "")
        await asyncio.sleep(30)
        health = stand.oracle.health()
        attempts = health.counts["connects"] + health.counts["failed connects"]
        return took, health, attempts, stand.stale("btc"), repr(stand.oracle) + repr(vars(stand.oracle))

    with caplog.at_level(logging.DEBUG):
        took, health, attempts, stale, shown = with_oracle(source, script, keys=WRONG[source])
    assert took < 3
    assert words in health.trouble
    assert stale
    # Rarely enough to be polite, though it never gives up.
    assert 4 <= attempts < 60
    for secret in MADE_UP:
        assert secret not in caplog.text + health.trouble + shown + repr(WRONG)


@pytest.mark.parametrize("source", ["polybolt", "chainlink"])
def test_a_preflight_does_not_wait_for_prices_from_whoever_refuses_our_credentials(source):
    async def script(stand):
        began = stand.now
        with pytest.raises(CheckFailed, match="credentials of this oracle"):
            await check_prices(stand.oracle, ASSETS, stand.network, 12)
        return stand.now - began

    assert with_oracle(source, script, keys=WRONG[source]) < 2


def test_trouble_is_forgotten_once_prices_flow():
    async def script(stand):
        right, stand.feed.keys = stand.feed.keys, RelayKeys(**dict.fromkeys(("api_key", "secret", "passphrase"), "x"))
        await stand.until(lambda: stand.oracle.health().trouble != "")
        stand.feed.keys = right
        await stand.until(lambda: stand.oracle.health().fresh)
        return stand.oracle.health().trouble

    assert with_oracle("polybolt", script) == ""


def test_a_symbol_that_the_relay_does_not_know_costs_the_others_nothing():
    async def script(stand):
        await asyncio.sleep(60)
        health = stand.oracle.health()
        return stand.stale("btc"), stand.stale("eth"), health.counts["connects"], health.trouble

    btc, eth, connects, trouble = with_oracle("polybolt", script, assets=("btc",), settings={"kinds": ("twap60",)})
    assert (btc, eth, connects) == (False, True, 1)
    assert "bad_filter" in trouble


def test_a_relay_that_says_yes_and_hangs_up_is_asked_again():
    class Fickle(PolyboltFeed):
        def open(self, headers, query, now_ms):
            session = super().open(headers, query, now_ms)
            answer = session.answer
            if now_ms < START_MS + 5_000:
                session.answer = lambda text, now: [*answer(text, now), Close(4003, "draining")]
            return session

    async def script(stand):
        await stand.flowing()
        return stand.oracle.health().counts["connects"]

    assert with_oracle("polybolt", script, make=Fickle) > 2


def test_signatures_are_made_anew_for_each_attempt():
    async def script(stand):
        await stand.flowing()
        await asyncio.sleep(60)
        stand.venue.hang_up()
        await asyncio.sleep(1)
        await stand.flowing()
        return stand.oracle.health().counts["failed connects"]

    assert with_oracle("chainlink", script) == 0


# ---- Callbacks and settings --------------------------------------------------------------------------


def test_a_callback_that_fails_harms_neither_the_oracle_nor_the_others(caplog):
    async def script(stand):
        heard = []

        def fail(tick):
            raise LookupError(f"no desk for {tick.asset}")

        stand.oracle.on_tick(fail)
        stop = stand.oracle.on_tick(heard.append)
        await asyncio.sleep(10)
        stop()
        stop()
        count = len(heard)
        await asyncio.sleep(10)
        assert len(heard) == count
        return count, stand.oracle.health().counts["callback failures"], len(stand.ticks)

    heard, failures, all_ticks = with_oracle("rtds", script)
    assert heard > 20
    assert failures == all_ticks > heard
    # Named, but not once for each tick.
    assert 1 <= caplog.text.count("no desk for") <= 4


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"source": "pyth"}, "source"),
        ({"assets": ()}, "assets"),
        ({"assets": ("BTC",)}, "assets"),
        ({"assets": ("btc", "btc")}, "assets"),
        ({"kinds": ("twap30",)}, "kinds"),
        ({"url": "https://example.com"}, "url"),
        ({"url": "wss://user:hush@example.com"}, "url"),
        ({"max_silence_ms": 0}, "max_silence_ms"),
        ({"reconnect_after_ms": 10**9}, "reconnect_after_ms"),
    ],
)
def test_settings_out_of_range_are_named(changes, what):
    with pytest.raises(ConfigError, match=f"^{what}=") as caught:
        OracleSettings(**changes)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"source": "polybolt"}, "clob_keys"),
        ({"source": "chainlink"}, "chainlink_keys"),
        ({"source": "simulated"}, "prices"),
    ],
)
def test_an_oracle_whose_credentials_are_missing_is_refused_by_name(changes, what):
    with pytest.raises(ConfigError, match=f"^{what}="):
        make_oracle(OracleSettings(**changes), REAL)


def test_a_feed_id_that_is_missing_or_malformed_is_named():
    keys = ChainlinkKeys(**dict.fromkeys(("client_id", "user_secret"), "x"))
    with pytest.raises(ConfigError, match="also of btc, eth, sol, xrp"):
        make_oracle(OracleSettings(source="chainlink"), REAL, chainlink_keys=keys)
    for odd in ({"btc": "0x00"}, {"btc": 7}, ["btc"]):
        with pytest.raises(ConfigError, match="chainlink_spot"):
            OracleSettings(chainlink_spot=odd)
    twice = {"btc": "0x0003" + "0" * 60, "eth": "0x0003" + "0" * 60}
    settings = OracleSettings(source="chainlink", assets=("btc", "eth"), kinds=("spot",), chainlink_spot=twice)
    with pytest.raises(ConfigError, match="none for two assets"):
        make_oracle(settings, REAL, chainlink_keys=keys)


@pytest.mark.parametrize("value", ["", " ", "two\nlines", "straße", 7])
def test_a_credential_of_the_wrong_form_is_refused_without_being_shown(value):
    with pytest.raises(ConfigError) as caught:
        ClobKeys(api_key="key", secret=value, passphrase=MADE_UP[1])
    assert str(caught.value).startswith("secret='(not shown)'")


def test_the_simulated_oracle_needs_no_network():
    async def main():
        loop = asyncio.get_running_loop()
        network = type(REAL)(monotonic=loop.time, wall=loop.wall)
        oracle = make_oracle(OracleSettings(source="simulated", assets=ASSETS), network, prices=PRICES)
        ticks = []
        oracle.on_tick(ticks.append)
        assert oracle.health().series["btc", TickKind.SPOT].age == math.inf
        running = asyncio.create_task(oracle.run())
        await asyncio.sleep(30)
        fresh, past = oracle.health().fresh, oracle.buffer.at("eth", START_MS - 60_000, TickKind.TWAP60)
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(6)
        return ticks, fresh, past, oracle.stale("btc", loop.time())

    ticks, fresh, past, stale = run_virtual(main, start_ms=START_MS)
    assert fresh
    assert stale
    assert past.price == PRICES.twap("eth", START_MS - 60_000)
    assert len(ticks) == 30 * 4
    assert all(tick.price == PRICES.of(tick.kind, tick.asset, tick.at_ms) for tick in ticks)
