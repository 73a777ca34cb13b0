"""Each fault of the stream does what it says to what passes by, and nothing else."""

from __future__ import annotations

import json

import pytest

from polymirror.simulator import Exchange, ExchangeConfig, Plan
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.faults.pace import SlicedFrames
from polymirror.simulator.frames import Close, Frame, Item, Reset
from tests.simulator.fault_rig import FLOW, changes, client_of, frames, rig

TOKENS = Exchange(ExchangeConfig(seed=1, markets=2, flow=FLOW)).tokens


def missing(sent: list[Item], arrived: list[Item]) -> list[Item]:
    kept = set(arrived)
    return [item for item in sent if item not in kept]


def test_a_lost_delta_is_missing_and_the_hash_shows_it() -> None:
    venue = rig("lost_delta", Plan(share=0.05)).run(6)
    lost = missing(venue.sent, venue.arrived)
    assert {item.kind for item in lost} == {"price_change"}
    assert len(lost) == venue.line.injected["lost_delta"] > 10
    seen = client_of(venue.arrived).seen
    assert seen["hash_right"] < 0.9 * seen["hash"]


def test_duplicated_deltas_come_twice_within_120_ms() -> None:
    venue = rig("duplicated_delta", Plan(share=0.1)).run(20)
    extra = len(venue.arrived) - len(venue.sent)
    assert extra == pytest.approx(venue.line.injected["duplicated_delta"], abs=3)
    assert extra > 20
    assert set(venue.arrived) == set(venue.sent)
    again: dict[Item, int] = {}
    for item, at in zip(venue.arrived, venue.times, strict=True):
        assert at - again.setdefault(item, at) <= 120


def test_reordered_deltas_all_arrive_in_another_order() -> None:
    venue = rig("reordered_deltas", Plan(share=0.1)).run(20)
    assert venue.line.injected["reordered_deltas"] > 20
    assert venue.arrived != venue.sent
    assert len(missing(venue.sent, venue.arrived)) <= 1


def test_a_delta_older_than_the_opening_by_a_millisecond_would_make_the_book_wrong() -> None:
    venue = rig("older_delta", Plan(share=1.0))
    opening, older = venue.arrived
    assert venue.line.injected == {"older_delta": 1}
    [change] = json.loads(older.text)["price_changes"]  # type: ignore[union-attr]
    [book] = [b for b in json.loads(opening.text) if b["asset_id"] == change["asset_id"]]  # type: ignore[union-attr]
    assert int(json.loads(older.text)["timestamp"]) == int(book["timestamp"]) - 1  # type: ignore[union-attr]
    [level] = [level for level in book["bids"] if level["price"] == change["price"]]
    assert level["size"] != change["size"]
    assert (book["bids"][-1]["price"], book["asks"][-1]["price"]) == (change["best_bid"], change["best_ask"])
    assert venue.run(2).arrived[2:] == venue.sent[1:]


def test_crossed_messages_heal_without_a_trace() -> None:
    venue = rig("crossed_messages", Plan(share=0.5)).run(10)
    venue.line.faults[0].plan = Plan(share=0.0)
    venue.run(1)
    assert venue.line.injected["crossed_messages"] > 20
    client = client_of(venue.arrived)
    assert len(venue.arrived) == pytest.approx(len(venue.sent), abs=1)
    assert client.seen["top_right"] < client.seen["top"]
    # Nothing was lost: once the last removal is let go, the naive book is the true one.
    assert all(venue.exchange.was_digest_true(t, digest(*client.books[t].levels()), venue.now) for t in TOKENS)


def test_wrong_hashes_last_for_their_time_and_nothing_else_is_wrong() -> None:
    venue = rig("wrong_hash", Plan(share=0.02, length_ms=500)).run(8)
    client = client_of(venue.arrived)
    assert venue.line.injected["wrong_hash"] > 2
    assert client.seen["top_right"] == client.seen["top"]
    assert client.seen["hash_right"] < 0.95 * client.seen["hash"]
    assert all(venue.exchange.was_digest_true(t, digest(*client.books[t].levels()), venue.now - 1_000) for t in TOKENS)


def test_a_wrong_best_moves_the_stated_top_outwards_and_nothing_else() -> None:
    venue = rig("wrong_best", Plan(share=0.1)).run(10)
    pairs = list(zip(changes(venue.sent), changes(venue.arrived), strict=True))
    moved = [(was, now) for was, now in pairs if was != now]
    assert len(moved) == 2 * venue.line.injected["wrong_best"] > 20
    for was, now in moved:
        assert {key for key in was if was[key] != now[key]} <= {"best_bid", "best_ask"}
        assert float(was["best_bid"]) - 0.0101 < float(now["best_bid"]) < float(was["best_bid"])
        assert float(was["best_ask"]) < float(now["best_ask"]) < float(was["best_ask"]) + 0.0101


def test_a_late_trade_price_is_announced_after_its_delay() -> None:
    venue = rig("late_trade_price", Plan(share=1.0, length_ms=500)).run(20)
    prints = frames(venue.sent, "last_trade_price")
    assert venue.line.injected["late_trade_price"] == len(prints) > 3
    late = [(item, at) for item, at in zip(venue.arrived, venue.times, strict=True) if item.kind == "last_trade_price"]
    assert all(at - item.at_ms == 500 for item, at in late if isinstance(item, Frame))
    assert [i for i in venue.arrived if i not in prints] == [i for i in venue.sent if i not in prints]


def test_a_hash_one_change_late_is_made_by_the_exchange() -> None:
    usual = client_of(rig([], hash_one_change_late=0.0, late_trade_price=False).run(6).arrived).seen
    venue = rig("hash_one_change_late", Plan(share=0.2), hash_one_change_late=0.0, late_trade_price=False).run(6)
    seen = client_of(venue.arrived).seen
    assert usual["hash_right"] == usual["hash"]
    # Both tokens of a batch have a late hash, unless nothing changes at the next batch.
    late = seen["hash"] - seen["hash_right"]
    assert venue.line.injected["hash_one_change_late"] * 2 == pytest.approx(late, abs=4)
    assert late > 50
    assert seen["top_right"] == seen["top"]


def test_a_frozen_token_hears_nothing_while_its_complement_lives_on() -> None:
    venue = rig("frozen_token", Plan(share=1.0, length_ms=10**9)).run(10)
    assert venue.line.injected == {"frozen_token": 1}
    heard = {t: sum(t in f.text for f in frames(venue.arrived, "price_change", "book")) for t in TOKENS}
    assert sorted(count > 100 for count in heard.values()) == [False, True, True, True]
    assert min(heard.values()) == 0


def test_only_the_planned_token_freezes() -> None:
    venue = rig("frozen_token", Plan(share=1.0, length_ms=10**9, tokens=frozenset({TOKENS[1]}))).run(5)
    assert not any(TOKENS[1] in frame.text for frame in frames(venue.arrived, "price_change", "book"))


def test_a_frozen_market_hears_nothing_for_its_time_while_the_other_lives_on() -> None:
    venue = rig("frozen_market", Plan(share=1.0, length_ms=10**9)).run(5)
    assert venue.line.injected == {"frozen_market": 1}
    heard = [sum(f.market == m.condition_id for f in frames(venue.arrived)) for m in venue.exchange.markets]
    assert min(heard) == 0
    assert max(heard) > 100


def test_a_silent_socket_still_answers_pings_and_a_half_open_one_does_not() -> None:
    for fault_id, answers in (("silent_socket", ["PONG"]), ("half_open_socket", [])):
        venue = rig(fault_id, Plan(length_ms=1_000))
        opened = len(venue.arrived)
        venue.run(0.9)
        assert [f.text for f in frames(venue.say("PING"))] == answers
        assert len(venue.arrived) == opened + len(answers)
        assert venue.line.injected == {fault_id: 1}
        venue.line.faults[0].plan = Plan(share=0.0)
        venue.run(2)
        assert len(venue.arrived) > 100


def test_a_pong_comes_late_while_data_flows() -> None:
    venue = rig("late_pong", Plan(share=1.0, length_ms=700))
    assert venue.say("PING") == []
    start = venue.now
    venue.run(2)
    [at] = [at for item, at in zip(venue.arrived, venue.times, strict=True) if item.kind == "reply"]
    assert at - start == 700
    assert len(venue.arrived) == len(venue.sent) > 100


@pytest.mark.parametrize(
    ("fault_id", "ending"),
    [
        ("disconnect", Reset()),
        ("close_1000", Close(1000, "")),
        ("close_1008", Close(1008, "policy violation")),
        ("close_1013", Close(1013, "try again later")),
    ],
)
def test_an_ending_comes_instead_of_a_delta_and_nothing_follows(fault_id: str, ending: Item) -> None:
    venue = rig(fault_id, Plan(share=0.01)).run(20)
    assert venue.arrived[-1] == ending
    assert venue.line.injected == {fault_id: 1}
    assert venue.arrived[:-1] == venue.sent[: len(venue.arrived) - 1]


def test_garbage_and_unknown_events_come_on_top_of_the_frames() -> None:
    for fault_id in ("garbage_frame", "unknown_event"):
        venue = rig(fault_id, Plan(share=0.2)).run(10)
        assert len(venue.arrived) - len(venue.sent) == venue.line.injected[fault_id] > 50
        extra = [f.text for f in frames(venue.arrived, "reply")]
        assert [item for item in venue.arrived if item.kind != "reply"] == venue.sent
        assert len(extra) == venue.line.injected[fault_id]
        if fault_id == "unknown_event":
            events = [json.loads(text) for text in extra]
            assert {isinstance(event, list) for event in events} == {True, False}
        else:
            assert len(set(extra)) > 5


def test_a_lost_opening_takes_the_snapshot_alone() -> None:
    venue = rig("lost_opening", Plan(share=1.0)).run(2)
    assert missing(venue.sent, venue.arrived) == frames(venue.sent, "opening")
    assert venue.line.injected == {"lost_opening": 1}


def test_a_delayed_opening_comes_unchanged_behind_deltas() -> None:
    venue = rig("delayed_opening", Plan(share=1.0, length_ms=800)).run(2)
    assert sorted(venue.arrived) == sorted(venue.sent)
    position = venue.arrived.index(frames(venue.sent, "opening")[0])
    assert position > 20
    assert venue.times[position] - venue.times[0] <= 800


def test_a_large_opening_is_over_one_mebibyte_and_says_the_same() -> None:
    venue = rig("large_opening", Plan(share=1.0)).run(1)
    [sent], [arrived] = frames(venue.sent, "opening"), frames(venue.arrived, "opening")
    assert len(arrived.text.encode()) > 2**20 > len(sent.text)
    assert json.loads(arrived.text) == json.loads(sent.text)
    assert venue.arrived[1:] == venue.sent[1:]


def test_a_silent_subscription_hears_nothing_but_replies_until_it_is_over() -> None:
    venue = rig("silent_subscription", Plan(share=1.0, length_ms=1_000)).run(0.9)
    venue.say("PING")
    assert {item.kind for item in venue.arrived} == {"reply", "new_market"} - (
        set() if any(item.kind == "new_market" for item in venue.arrived) else {"new_market"}
    )
    venue.run(1)
    assert frames(venue.arrived, "price_change")
    assert venue.line.injected == {"silent_subscription": 1}


@pytest.mark.parametrize("fault_id", ["latency", "bandwidth_limit", "sliced_frames", "stream_behind_rest"])
def test_late_frames_all_arrive_unchanged_and_no_later_than_stated(fault_id: str) -> None:
    venue = rig(fault_id, Plan(share=0.01, length_ms=1_000)).run(20)
    late = [item.delay_ms for item in venue.arrived]
    assert [item._replace(delay_ms=0) for item in venue.arrived] == venue.sent
    assert venue.line.injected[fault_id] > 2
    assert 20 < max(late) <= venue.line.faults[0].max_delay_ms
    assert late.count(0) > 50


def test_a_slow_reader_is_later_and_later_until_its_buffer_is_full() -> None:
    venue = rig("slow_reader", Plan(share=0.05, length_ms=1_000)).run(10)
    assert venue.line.injected == {"slow_reader": 1}
    late = [item.delay_ms for item in venue.arrived if item.delay_ms]
    assert late == sorted(late)
    assert venue.arrived[-1] == Close(1013, "slow consumer: send buffer full", 1_000)
    assert 900 < late[-2] <= 1_000


def test_the_bytes_of_a_sliced_connection_are_cut_in_order() -> None:
    fault = SlicedFrames()
    for size in (0, 1, 2, 300, 5_000):
        cuts = fault.cuts(size)
        assert cuts == sorted(set(cuts))
        assert all(0 < cut < size for cut in cuts)
    assert len(fault.cuts(5_000)) == 8
