"""The catalogue of faults as a whole, its page, and the faults that are neither of the stream nor of calls."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator import FAULTS, ClientFault, Plan, make_faults
from polymirror.simulator.faults.docs import describe, page
from polymirror.simulator.frames import Answer, Item
from tests.simulator.fault_rig import BOOK_CALL, QUIET, rig

DOCS = Path(__file__).parents[2] / "docs"

ASKED_FOR = {
    "delta before snapshot": "delayed_opening",
    "lost delta": "lost_delta",
    "duplicated delta": "duplicated_delta",
    "reordered deltas": "reordered_deltas",
    "1-ms-older deltas": "older_delta",
    "lost snapshot": "lost_opening",
    "one token frozen": "frozen_token",
    "one market frozen": "frozen_market",
    "socket silent with PONG alive": "silent_socket",
    "PONG late": "late_pong",
    "half-open socket": "half_open_socket",
    "reset": "disconnect",
    "close 1000": "close_1000",
    "close 1008": "close_1008",
    "close 1013": "close_1013",
    "slow reader": "slow_reader",
    "bandwidth limit": "bandwidth_limit",
    "latency and jitter": "latency",
    "frames sliced": "sliced_frames",
    "crossed for a few messages": "crossed_messages",
    "wrong best_bid/best_ask": "wrong_best",
    "hash with the next trade price": "late_trade_price",
    "hash one change late": "hash_one_change_late",
    "hash dialect changed": "hash_dialect",
    "hash wrong": "wrong_hash",
    "REST stale": "rest_stale",
    "REST ghost book": "rest_ghost_book",
    "REST ahead": "stream_behind_rest",
    "REST behind": "rest_behind",
    "REST 404 on a live token": "rest_404",
    "REST 425": "rest_425",
    "REST 429 with Retry-After": "rest_429_retry_after",
    "REST 429 without": "rest_429",
    "REST 503": "rest_503",
    "REST HTML body": "rest_html",
    "REST hanging": "rest_hanging",
    "REST truncated JSON": "rest_truncated",
    "clock skew": "clock_skew",
    "clock step": "clock_step",
    "event loop stalled by user code": "stalled_loop",
    "tick change with event": "tick_change",
    "tick change without event": "tick_change_unannounced",
    "duplicate tick events": "tick_change_repeated",
    "no-op tick events": "tick_change_without_change",
    "settlement": "settlement",
    "settlement without market_resolved": "settlement_unannounced",
    "settlement with a late market_resolved": "settlement_late",
    "settlement without a closing": "settlement_unclosed",
    "settlement without a burst": "settlement_silent",
    "engine restart": "engine_restart",
    "unknown event kinds": "unknown_event",
    "garbage frames": "garbage_frame",
    "600-token snapshot over 1 MiB": "large_opening",
    "subscribe acknowledged but nothing sent": "silent_subscription",
    "refused connection attempts": "refused_connection",
    "process suspended": "suspend",
    "REST stale for minutes": "rest_stale_long",
    "a connection that shows the past": "replayed_connection",
    "a book delivered again": "late_duplicate_book",
    "REST [] or other tokens' books in a restart": "rest_empty_list",
    "levels altered under the same hash": "altered_levels",
    "tick altered under the same hash": "altered_tick",
    "tokens that are no mirror images": "asymmetric_market",
    "one market lags": "lagging_market",
    "no /time": "no_time",
    "no discovery": "gamma_unavailable",
    "close with the reason of a settlement": "lying_close",
    "one opening book lost": "lost_opening_one_token",
    "opening books of some seconds ago": "stale_opening",
    "one message from the future": "future_stamp",
}


@functools.cache
def undisturbed() -> list[Item]:
    return rig([], flow=QUIET).run(6).sent


def test_the_catalogue_has_every_fault_that_was_asked_for_and_no_other() -> None:
    assert set(ASKED_FOR.values()) == set(FAULTS)
    assert len(FAULTS) == len(ASKED_FOR) == 70


@pytest.mark.parametrize("fault_id", sorted(FAULTS))
def test_every_fault_says_what_happens_and_where_it_was_seen_and_is_silent_outside_its_time(fault_id: str) -> None:
    kind = FAULTS[fault_id]
    what, seen = describe(kind)
    assert len(what) > 20
    assert len(seen) > 10
    assert kind.id == fault_id
    assert 0 < kind.default_share <= 1
    assert isinstance(kind.hash_visible, bool)
    quiet = rig(fault_id, Plan(end_ms=0), flow=QUIET).run(6)
    assert quiet.arrived == quiet.sent == undisturbed()
    assert quiet.line.injected == {fault_id: 0}
    assert quiet.line.answer(BOOK_CALL, Answer(200, "{}"), quiet.now) == Answer(200, "{}")
    assert not quiet.line.refuses(quiet.now)
    assert not quiet.line.stall_ms(quiet.now)
    assert not quiet.line.sleep_ms(quiet.now)


@pytest.mark.parametrize("fault_id", sorted(FAULTS))
def test_the_same_seed_gives_the_same_faults_and_another_seed_others(fault_id: str) -> None:
    plan = Plan(share=0.2, length_ms=500)
    first, second = (rig(fault_id, plan, flow=QUIET).run(6) for _ in range(2))
    assert first.arrived == second.arrived
    assert first.line.injected == second.line.injected
    gaps = [FAULTS[fault_id](seed=seed).gap for seed in range(5)]
    assert gaps == [FAULTS[fault_id](seed=seed).gap for seed in range(5)]
    assert len(set(gaps)) > 1 or FAULTS[fault_id].default_share == 1


@pytest.mark.parametrize("fault_id", sorted(FAULTS))
def test_the_longest_delay_follows_the_plan(fault_id: str) -> None:
    [short], [long] = (make_faults([fault_id], plan=Plan(length_ms=length)) for length in (10, 60_000))
    assert 0 <= short.max_delay_ms <= long.max_delay_ms <= 60_000


def test_the_page_of_faults_is_the_catalogue() -> None:
    assert (DOCS / "faults.md").read_text(encoding="utf-8") == page(), "python -m polymirror.simulator.faults.docs"
    assert "\nfaults\n" in (DOCS / "index.md").read_text(encoding="utf-8")


def test_an_unknown_fault_is_refused_with_the_nearest_and_with_what_lists_them() -> None:
    with pytest.raises(ConfigError, match="must be one that 'polymirror faults' lists"):
        make_faults(["meteor"])
    with pytest.raises(ConfigError, match="must be lost_delta, if that was meant, or another one that 'poly"):
        make_faults(["lost_detla"])
    with pytest.raises(ConfigError):
        Plan(share=2)


def test_a_stalled_loop_is_the_clients_own_and_changes_nothing_on_the_wire() -> None:
    venue = rig("stalled_loop", Plan(share=0.5, length_ms=400))
    assert isinstance(venue.line.faults[0], ClientFault)
    stalls = [venue.line.stall_ms(venue.now) for _ in range(200)]
    assert sum(stall > 0 for stall in stalls) == venue.line.injected["stalled_loop"]
    assert 60 < venue.line.injected["stalled_loop"] < 140
    assert {stall for stall in stalls if stall} <= set(range(100, 401))
    assert venue.line.faults[0].max_delay_ms == 400
    assert venue.run(2).arrived == venue.sent
    assert json.loads(venue.call("/books").body)


def test_a_suspended_process_is_the_clients_own_and_changes_nothing_on_the_wire() -> None:
    venue = rig("suspend", Plan(share=0.5, length_ms=8_000))
    sleeps = [venue.line.sleep_ms(venue.now) for _ in range(200)]
    assert sum(sleep > 0 for sleep in sleeps) == venue.line.injected["suspend"]
    assert {sleep for sleep in sleeps if sleep} <= set(range(2_000, 8_001))
    assert venue.line.stall_ms(venue.now) == 0
    assert venue.run(2).arrived == venue.sent


def test_refused_attempts_are_counted() -> None:
    venue = rig("refused_connection", Plan(share=0.5))
    refused = sum(venue.line.refuses(venue.now) for _ in range(200))
    assert 60 < refused == venue.line.injected["refused_connection"] < 140
