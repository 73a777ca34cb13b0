"""Every bug that the properties have found, as the shortest story that shows it."""

from __future__ import annotations

import json

import pytest

from polymirror.core.effects import FetchBooks
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState, Reason
from tests.properties.model import stamp
from tests.properties.weather import quick_config
from tests.properties.world import World


@pytest.fixture
def world() -> World:
    world = World(quick_config(max_proof_age=15.0))
    world.advance(1.0)
    return world


def forged(world: World, *, ms: int) -> str:
    """A change that never happened, at a time of its own."""
    market = world.markets[0]
    rows = [(market.up, "BUY", 300, 9_000_000), (market.down, "SELL", 9700, 9_000_000)]
    content = market.price_change(rows, ms)
    for entry in content["price_changes"]:
        entry["hash"] = "f" * 40
    return json.dumps(content)


def hurl(world: World, text: str) -> None:
    world.send(world.links[1], text)
    world.advance(0.05)


def test_a_hash_that_fits_proves_nothing_newer_than_the_delta_that_stated_it():
    # The deltas waited in the buffer for a baseline; when it came, the proof was dated at its arrival.
    world = World(quick_config(max_proof_age=15.0, first_snapshot_timeout=0.1))
    world.weather.opening_lost = True
    world.weather.rest_delay, world.weather.rest_behind = 2.5, 2.9
    world.advance(0.2)
    world.orders(world.markets[0], [("BUY", 4600, 5_000_000)])
    world.advance(0.02)
    heard_at = world.now
    world.advance(3.0)
    view = world.read("1001")
    assert view is not None
    assert view.last_proof.kind is ProofKind.HASH
    assert view.proven_at <= heard_at


def test_a_book_sent_again_proves_the_time_at_which_it_came_and_not_at_which_its_batch_was_closed(world):
    market = world.markets[0]
    world.emit(market, market.whole(market.up))
    world.weather.stream_delay = 0.0
    world.advance(0.02)
    came_at = world.now
    world.stall(4.0)
    assert world.read("1001").proven_at <= came_at


def test_a_token_whose_opening_book_never_comes_asks_rest_again_after_subscribing_anew():
    # An attempt by subscription was never counted, so nothing else was tried after it.
    world = World(quick_config())
    world.weather.opening_lost = True
    world.weather.rest = "fails"
    world.advance(60.0)
    world.weather.rest = "right"
    world.advance(10.0)
    assert all(state is BookState.LIVE for _, state in world.engine.states())


@pytest.mark.parametrize("ahead_ms", [-6_000, 5_000, 3_600_000])
@pytest.mark.parametrize("busy", [False, True])
def test_a_change_that_never_happened_is_thrown_out_whatever_its_timestamp(world, ahead_ms, busy):
    # In the baseline's own ms: REST agreed with the state before it for ever, and SUSPECT and LIVE took turns.
    # From the future: it was replayed over each new baseline, and its lag made every other frame look late.
    hurl(world, forged(world, ms=stamp(1000.0) + ahead_ms if ahead_ms > 0 else world.markets[0].changed_ms))
    world.heal(busy=busy)


def test_a_timestamp_from_the_future_is_forgotten_once_rest_has_confirmed_the_book(world):
    # The forged level was overwritten, but its hash remained the newest one stated: SUSPECT every few seconds.
    market = world.markets[0]
    hurl(world, forged(world, ms=stamp(world.now) + 3_600_000))
    for i in range(40):
        world.advance(0.001)
        world.orders(market, [("BUY", 100 * (1 + i % 30), 1_000_000 * (1 + i))])
    world.heal(busy=True)


def test_a_timestamp_from_the_future_does_not_make_the_other_frames_late(world):
    hurl(world, forged(world, ms=stamp(world.now) + 60_000))
    world.orders(world.markets[1], [("BUY", 4600, 5_000_000)])
    world.advance(0.1)
    assert world.read("2001") is not None
    assert Reason.APPLY_LAG not in {each.reason for each in world.transitions}


@pytest.mark.parametrize("loaded", [True, False])
def test_a_stream_book_without_a_hash_is_not_believed_once_hashes_are_understood(world, loaded):
    market = world.markets[0]
    content = market.whole(market.up) | {"hash": "", "bids": [{"price": "0.3", "size": "7"}]}
    if not loaded:
        world.weather.rest = "silent"
        world.call("resync", "1001")
    # The world itself checks that nothing untrue was readable.
    hurl(world, json.dumps(content))
    assert (world.read("1001") is None) is not loaded


def test_a_book_sent_again_is_compared_with_what_it_follows_too(world):
    # More changes in the same millisecond came after it: at the end of the batch it looked wrong.
    market = world.markets[0]
    world.trade(market, buys=True, part=True, printed_after=0.0)
    world.orders(market, [("BUY", 4600, 5_000_000)])
    world.advance(1.0)
    assert [each for each in world.transitions if each.old is BookState.LIVE] == []


def test_one_late_hash_after_a_probe_that_matched_does_not_cost_a_book_that_the_stream_has_proven(world):
    world.call("prove", "1001")
    world.advance(1.0)
    assert world.read("1001").last_proof.kind is ProofKind.PROBE
    world.orders(world.markets[0], [("BUY", 4600, 5_000_000), ("BUY", 4500, 0)], kind="late")
    world.advance(1.0)
    assert [each for each in world.transitions if each.old is BookState.LIVE] == []


def test_a_batch_is_closed_in_time_however_busy_another_market_is(world):
    # The list of open batches kept its order when one was closed and opened anew.
    window = world.config.batch_window
    busy, other = world.markets
    world.weather.stream_delay = 0.0
    world.orders(busy, [("BUY", 1000, 1_000_000)])
    world.advance(window / 2)
    world.orders(other, [("BUY", 1000, 1_000_000)])
    closed_by = world.now + window
    while world.now <= closed_by:
        world.advance(window / 4)
        world.orders(busy, [("BUY", 1000, round(world.now * 1000))])
    world.advance(0.0)
    assert world.engine.markets[other.condition_id].batch_ms == 0


def test_a_request_that_nobody_answers_is_given_up_at_its_time_without_any_other_reason_to_wake_up():
    world = World(quick_config(first_snapshot_timeout=0.5))
    world.weather.opening_lost = True
    world.weather.rest = "silent"
    world.advance(1.0)
    asked = [at for (_, args, _), out in zip(world.inputs, world.outputs, strict=True)
             for each in out[0] if isinstance(each, FetchBooks) for at in args[-1:]]  # fmt: skip
    assert asked
    assert world.engine.next_deadline() <= asked[0] + world.config.request_timeout


def test_a_change_that_is_heard_ends_what_a_probe_had_proven_before_it_at_its_own_time(world):
    # REST was behind while the change was on its way, so the probe matched; then the proof outlived the change (D2).
    world.weather.stream_delay, world.weather.rest_delay, world.weather.rest_behind = 0.3, 0.0, 0.2
    world.advance(5.0)
    made_at = world.now
    world.trade(world.markets[0], buys=True, part=False, printed_after=0.02)
    world.advance(0.1)
    world.call("prove", "1001")
    world.advance(0.0)
    assert world.read("1001").proven_at == pytest.approx(made_at + 0.1)
    # The world itself checks each read from here on.
    world.advance(1.0)
    assert world.judge.excused == 0


@pytest.mark.parametrize("ahead_ms", [-500, 5_000, 3_600_000])
def test_a_market_with_a_time_that_was_never_true_costs_its_neighbours_nothing(world, ahead_ms):
    # Its opening books were refused, as older than what was heard, and its socket was replaced every ten seconds.
    hurl(world, forged(world, ms=stamp(world.now) + ahead_ms))
    world.advance(60.0)
    assert [each for each in world.transitions if each.token in ("2001", "2002") and each.old is BookState.LIVE] == []
