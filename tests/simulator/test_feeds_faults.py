"""The faults of price feeds: each does what it says, on its plan, the same from the same seed, and beside others."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.oracle import PriceProcess
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.feeds import FEED_FAULTS, FeedLine, PolyboltFeed, RtdsFeed, make_feed_faults
from polymirror.simulator.feeds.polybolt import DEMO_KEYS
from polymirror.simulator.frames import Close, Frame, Reset
from polymirror.simulator.settings import DEFAULT_START_MS as START

PRICES = PriceProcess(1)
ASSETS = ("btc", "eth")
FROM, UNTIL = START + 10_000, START + 20_000

SUBSCRIBE = '{"action":"subscribe","subscriptions":[{"topic":"crypto_prices_chainlink"}]}'


def fault(name, *, share=1.0, length_ms=2_000, assets=(), end_ms=UNTIL, seed=0):
    plan = Plan(share=share, start_ms=FROM, end_ms=end_ms, length_ms=length_ms, tokens=frozenset(assets))
    return make_feed_faults([name], seed=seed, plan=plan)[0]


def rtds(*faults, seconds=40, seed=0):
    """Return what arrives on one connection: when, of which asset, and of which second."""
    session = RtdsFeed(PRICES, ASSETS, faults=faults, seed=seed, missing=0).open({}, {}, START)
    session.receive(SUBSCRIBE, START)
    return list(arriving(session, START + seconds * 1_000))


def arriving(session, until_ms):
    ping_ms = START
    while not session.closed and (due := session.next_ms()) is not None and due <= until_ms:
        for item in session.outgoing(due):
            yield due, item
        if due - ping_ms > 5_000 and not session.closed:
            ping_ms = due
            yield from ((due, item) for item in session.receive("PING", due))


def seconds_of(arrived, asset=None):
    return [item.at_ms for _, item in arrived if item.kind == "price" and asset in {None, item.token}]


def within(arrived, first_ms, last_ms):
    return [(due, item) for due, item in arrived if first_ms <= due < last_ms]


def test_without_faults_everything_arrives_once_and_in_order():
    times = seconds_of(rtds(), "btc")
    assert times == list(range(times[0], times[-1] + 1, 1_000))


def test_a_zombie_answers_but_brings_no_price():
    zombie = fault("feed_zombie", length_ms=15_000)
    arrived = rtds(zombie)
    silent = within(arrived, FROM + 1_000, FROM + 14_000)
    assert silent
    assert all(item.text == "" for _, item in silent)
    assert seconds_of(within(arrived, FROM + 26_000, FROM + 40_000))
    assert zombie.injected == 1


def test_a_frozen_asset_is_alone():
    arrived = rtds(fault("feed_frozen_asset", length_ms=15_000, assets=["eth"]))
    silent = within(arrived, FROM + 1_000, FROM + 14_000)
    assert seconds_of(silent, "eth") == []
    assert len(seconds_of(silent, "btc")) == 13
    assert seconds_of(within(arrived, FROM + 26_000, FROM + 40_000), "eth")


def test_a_stuck_asset_says_the_same_again_and_again():
    arrived = within(rtds(fault("feed_stuck_asset", length_ms=15_000, assets=["btc"])), FROM + 2_000, FROM + 14_000)
    assert len(seconds_of(arrived, "btc")) == 12
    assert len(set(seconds_of(arrived, "btc"))) == 1
    assert len(set(seconds_of(arrived, "eth"))) == 12


def test_duplicates_follow_at_once():
    times = seconds_of(within(rtds(fault("feed_duplicate")), FROM, UNTIL), "btc")
    assert times == sorted(times)
    assert len(times) == 2 * len(set(times))


def test_an_old_tick_comes_after_newer_ones():
    arrived = within(rtds(fault("feed_old_tick")), FROM, UNTIL)
    times = seconds_of(arrived, "btc")
    newest, old = 0, 0
    for time in times:
        old += time < newest
        newest = max(newest, time)
    assert old == len(times) // 2


def test_a_late_tick_is_overtaken():
    arrived = rtds(fault("feed_late_tick", share=0.3, length_ms=3_000))
    times = seconds_of(arrived)
    assert times != sorted(times)
    # Late, but not lost.
    assert sorted(times)[:-8] == sorted(seconds_of(rtds()))[:-8]


def test_lost_and_cut_frames():
    lost = fault("feed_lost_tick", share=0.3)
    assert len(seconds_of(rtds())) - len(seconds_of(rtds(lost))) == lost.injected > 2
    cut = fault("feed_garbage", share=0.3)
    broken = 0
    for _, item in rtds(cut):
        if item.text:
            try:
                json.loads(item.text)
            except ValueError:
                broken += 1
    assert broken == cut.injected > 2


@pytest.mark.parametrize(("name", "end"), [("feed_reset", Reset()), ("feed_drain", Close(4003, "draining"))])
def test_an_ending_is_the_last_thing_that_arrives(name, end):
    arrived = rtds(fault(name))
    due, last = arrived[-1]
    assert last == end
    assert FROM <= due < UNTIL
    assert all(isinstance(item, Frame) for _, item in arrived[:-1])


def test_a_refused_connection_is_a_503_and_only_on_plan():
    feed = RtdsFeed(PRICES, ASSETS, faults=[fault("feed_refused")])
    assert feed.open({}, {}, FROM) == 503
    assert not isinstance(feed.open({}, {}, UNTIL), int)


# ---- Sequences ---------------------------------------------------------------------------------------


def polybolt(*faults, seconds=40):
    session = PolyboltFeed(PRICES, ASSETS, faults=faults, missing=0).open({}, {}, START)
    auth = {"apiKey": DEMO_KEYS.api_key, "secret": DEMO_KEYS.secret, "passphrase": DEMO_KEYS.passphrase}
    session.receive(json.dumps({"op": "auth", "auth": auth}), START)
    wanted = [{"channel": "price.crypto", "filter": {"symbol": f"{asset}usd"}} for asset in ASSETS]
    session.receive(json.dumps({"op": "subscribe", "subscriptions": wanted}), START)
    return [json.loads(item.text) for _, item in arriving(session, START + seconds * 1_000) if item.kind == "price"]


def gaps(frames):
    numbers = [frame["seq"] for frame in frames]
    return [later - earlier - 1 for earlier, later in pairwise(numbers) if later != earlier + 1]


@pytest.mark.parametrize("name", ["feed_zombie", "feed_frozen_asset", "feed_stuck_asset", "feed_old_tick"])
def test_what_goes_wrong_before_frames_are_numbered_leaves_no_gap(name):
    struck = fault(name, length_ms=5_000)
    assert gaps(polybolt(struck)) == []
    assert struck.injected


def test_a_lost_frame_is_a_gap_in_the_sequence():
    lost = fault("feed_lost_tick", share=0.2)
    assert sum(gaps(polybolt(lost))) == lost.injected > 0


def test_the_relay_tells_how_many_frames_it_dropped():
    frames = polybolt(fault("feed_dropped", end_ms=FROM + 1_500, length_ms=4_000))
    told = [frame["dropped"] for frame in frames if "dropped" in frame]
    assert told == gaps(frames)
    assert sum(told) >= 6


# ---- All of them -------------------------------------------------------------------------------------


def test_all_faults_together_are_the_same_from_the_same_seed():
    def run(seed):
        return rtds(*make_feed_faults(seed=seed), seconds=300, seed=seed)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_leaving_one_fault_out_does_not_change_what_the_others_draw():
    first, second = (fault("feed_duplicate", share=0.2, seed=3) for _ in range(2))
    rtds(first, seconds=60)
    rtds(second, fault("feed_garbage", share=0.2, seed=3), seconds=60)
    assert first.injected == second.injected > 0


@pytest.mark.parametrize("name", sorted(FEED_FAULTS))
def test_every_fault_has_an_id_a_text_and_a_plan_that_ends(name):
    kind = FEED_FAULTS[name]
    assert (kind.id, bool(kind.__doc__)) == (name, True)
    never = fault(name, end_ms=FROM)
    assert rtds(never) == rtds()
    assert never.injected == 0


def test_an_unknown_fault_is_named():
    with pytest.raises(ConfigError, match="feed_zombie"):
        FeedLine(["zombie"])


def test_a_line_counts_what_it_did():
    feed = RtdsFeed(PRICES, ASSETS, faults=["feed_duplicate", "feed_reset"], seed=3)
    session = feed.open({}, {}, START)
    session.receive(SUBSCRIBE, START)
    list(arriving(session, START + 600_000))
    assert feed.line.injected["feed_reset"] == 1
    assert feed.line.injected["feed_duplicate"] > 0
