from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from polymirror.config import EngineConfig
from polymirror.core.effects import AskGamma, CloseSocket, FetchBooks, OpenSocket, Subscribe, Unsubscribe
from polymirror.core.engine import Engine
from polymirror.core.states import BookState, Reason
from polymirror.errors import ConfigError, NotLive, UnknownToken
from tests.core.builders import BEGIN, CONSTANTS, START, Exchange, Rig, assert_right, shown

REPOSITORY = Path(__file__).parents[2]


# ---- The golden rule -----------------------------------------------------------------------------------


def refusal(rig, max_proof_age=None):
    with pytest.raises(NotLive) as caught:
        rig.live_view("11", max_proof_age)
    error = caught.value
    assert (error.token, error.state) == ("11", rig.state("11"))
    return error.state, error.reason, error.age, error.epoch


def test_a_book_that_never_had_a_baseline_is_refused(exchange):
    rig = Rig(exchange)
    assert refusal(rig) == (BookState.UNPRIMED, Reason.TRACKED, None, 0)
    rig.connect()
    assert refusal(rig) == (BookState.UNPRIMED, Reason.TRACKED, None, 0)


def test_a_suspect_book_is_refused_with_the_age_of_its_last_proof(rig):
    rig.advance(3.0)
    rig.engine.overflow(1, rig.now)
    rig.drain()
    rig.advance(0.5)
    assert refusal(rig) == (BookState.SUSPECT, Reason.OVERFLOW, pytest.approx(3.5), 0)


def test_a_resyncing_book_is_refused_as_never_proven_in_its_new_epoch(rig):
    rig.engine.resync("11", rig.now)
    assert refusal(rig) == (BookState.RESYNCING, Reason.REQUESTED, None, 1)


def resolve(rig, market="0xm"):
    rig.send({"event_type": "market_resolved", "market": market, "timestamp": str(START)})


def test_a_retired_book_is_refused(rig):
    resolve(rig)
    assert refusal(rig) == (BookState.RETIRED, Reason.RESOLVED, None, 1)


def test_a_live_book_is_refused_to_who_asks_for_a_younger_proof(rig):
    rig.advance(1.0)
    assert rig.live_view("11", 1.0).verified_age == 1.0
    assert refusal(rig, max_proof_age=0.5) == (BookState.LIVE, Reason.STALE, 1.0, 0)


def test_no_one_can_ask_for_an_older_proof_than_configured(exchange):
    rig = Rig.live(exchange, max_proof_age=2.0)
    rig.now += 3.0
    refusal(rig, max_proof_age=100.0)


def test_a_refusal_can_be_had_without_a_read(rig):
    error = rig.engine.refusal("11", rig.now, detail="the lease ended")
    assert (error.state, error.reason) == (BookState.LIVE, Reason.PROVEN)
    assert "the lease ended" in str(error)


def test_a_token_that_is_not_tracked_is_unknown(rig):
    for call in (rig.engine.live, rig.engine.peek, rig.engine.prove, rig.engine.resync, rig.engine.refusal):
        with pytest.raises(UnknownToken):
            call("99", rig.now)
        with pytest.raises(UnknownToken):
            call(["11"], rig.now)
    with pytest.raises(UnknownToken):
        rig.engine.peek_state("99")
    with pytest.raises(UnknownToken):
        rig.engine.untrack("0xother", rig.now)


def test_a_view_never_changes_after_it_was_made(rig, exchange):
    view = rig.live_view("11")
    before = shown(view)
    for n in range(1, 5):
        rig.send(exchange.change("BUY", "0.49", str(n)))
        rig.live_view("11")
    rig.disconnect()
    assert shown(view) == before
    assert view.state is BookState.LIVE


def test_a_peek_shows_whatever_there_is_and_says_its_state(rig):
    rig.engine.overflow(1, rig.now)
    view = rig.engine.peek("11", rig.now)
    assert (view.state, view.reason) == (BookState.SUSPECT, Reason.OVERFLOW)
    assert view.best_bid is not None
    assert rig.engine.peek_state("11") is BookState.SUSPECT
    resolve(rig)
    gone = rig.engine.peek("11", rig.now)
    assert (gone.state, gone.bids, gone.apply_lag) == (BookState.RETIRED, (), None)


def test_a_view_carries_what_it_is_worth(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5"))
    view = rig.live_view("11")
    assert (view.token, view.market, view.epoch, view.tick_size_e4) == ("11", "0xm", 0, 100)
    assert (view.exchange_ms, view.read_at, view.apply_lag) == (exchange.at, rig.now, 0.0)
    assert view.last_proof.kind.value == "hash"


# ---- Tracking ------------------------------------------------------------------------------------------


def test_tracking_opens_one_socket_for_both_tokens_and_more_as_needed():
    rig = Rig(*(Exchange(f"0x{n}", f"{n}1", f"{n}2") for n in range(3)), tokens_per_socket=4)
    assert rig.effects == [
        OpenSocket(1, ("01", "02")), Subscribe(1, ("11", "12")), OpenSocket(2, ("21", "22")),
    ]  # fmt: skip
    assert dict(rig.engine.states()) == dict.fromkeys(("01", "02", "11", "12", "21", "22"), BookState.UNPRIMED)


def test_tracking_what_is_tracked_changes_nothing(rig):
    rig.engine.track("0xm", ["11", "22"], rig.now)
    assert rig.engine.effects() == []
    assert rig.state("11") is BookState.LIVE


def test_the_second_token_of_a_market_can_come_later(exchange):
    rig = Rig()
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.engine.track("0xm", ["11", "22"], rig.now)
    rig.drain()
    assert rig.effects == [OpenSocket(1, ("11",)), Subscribe(1, ("22",))]
    rig.send(exchange.opening())
    assert_right(rig, exchange)


def test_a_market_has_two_tokens(rig):
    with pytest.raises(ConfigError, match="the two tokens of one market"):
        rig.engine.track("0xm", ["33"], rig.now)
    with pytest.raises(ConfigError, match="the two tokens of one market"):
        rig.engine.track("0xn", ["31", "32", "33"], rig.now)


def test_a_token_belongs_to_one_market(rig):
    with pytest.raises(ConfigError, match="no token of another market: 0xm has it"):
        rig.engine.track("0xn", ["11"], rig.now)


def test_no_more_tokens_are_tracked_than_allowed():
    with pytest.raises(ConfigError, match="max_tokens=3"):
        Rig(Exchange(), Exchange("0xn", "33", "44"), max_tokens=3)


def test_a_market_that_is_no_longer_wanted_is_forgotten_entirely(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5"))
    rig.engine.prove("11", rig.now)
    rig.engine.resync("22", rig.now)
    rig.engine.untrack("0xm", rig.now)
    rig.drain()
    assert rig.effects[-1] == CloseSocket(1)
    assert (rig.engine.tokens, rig.engine.markets) == ({}, {})
    rig.answer()
    rig.send(exchange.change("BUY", "0.49", "6"))
    rig.advance(100)
    rig.dirty.clear()
    rig.drain()
    assert rig.dirty == []
    assert rig.engine.next_deadline() == float("inf")


def test_a_socket_with_other_markets_is_kept(exchange):
    rig = Rig.live(exchange, Exchange("0xn", "33", "44"))
    rig.engine.untrack("0xm", rig.now)
    rig.drain()
    assert rig.effects == [Unsubscribe(1, ("11", "22"))]
    assert rig.state("33") is BookState.LIVE


def test_a_wish_of_a_market_that_is_no_longer_wanted_leaves_no_deadline_behind(rig):
    while not rig.engine.outbox.books:
        rig.advance(0.01)
    rig.engine.untrack("0xm", rig.now)
    rig.advance(10)
    assert rig.engine.next_deadline() == float("inf")


def test_a_wish_of_a_token_that_was_retired_meanwhile_is_dropped(rig):
    while not rig.engine.outbox.books:
        rig.advance(0.01)
    rig.token("11").retire(Reason.CLOSED, rig.now)
    rig.advance(1.0)
    assert [each.asset_ids for each in rig.pending] == [("22",)]


def test_an_answer_to_a_token_that_was_tracked_anew_meanwhile_is_not_believed(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    asked_about = rig.token("11").proven.generation
    rig.engine.untrack("0xm", rig.now)
    rig.engine.track("0xm", exchange.tokens, rig.now, constants=CONSTANTS)
    rig.connect(2)
    rig.token("11").proven.generation = asked_about
    old = exchange.rest("11")
    (request,) = rig.pending
    rig.forget()
    rig.engine.books(request.request, {"11": old}, rig.now)
    rig.drain()
    assert rig.state("11") is BookState.UNPRIMED
    assert rig.transitions == []
    rig.engine.books_failed(request.request, rig.now)


def test_a_failed_request_of_a_token_that_is_gone_is_counted_and_no_more(rig):
    rig.engine.prove("11", rig.now)
    rig.drain()
    rig.engine.untrack("0xm", rig.now)
    rig.fail()
    assert rig.engine.counts["failed_requests"] == 1


# ---- Sockets -------------------------------------------------------------------------------------------


def test_a_disconnect_invalidates_every_book_of_its_socket_at_once_and_no_other(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, tokens_per_socket=2)
    rig.engine.track("0xn", other.tokens, rig.now, constants=CONSTANTS)
    rig.connect(2)
    rig.send(other.opening(), line=2)
    rig.disconnect(1)
    for token in exchange.tokens:
        assert rig.path(token) == ["SUSPECT DISCONNECT", "RESYNCING DISCONNECT"]
        assert rig.engine.peek(token, rig.now).bids == ()
        assert rig.token(token).proven.epoch == 1
    assert rig.path("33") == ["LIVE PROVEN"]


def test_a_reconnect_starts_from_a_new_opening_book(rig, exchange):
    rig.disconnect()
    exchange.change("BUY", "0.45", "0")
    rig.connect()
    rig.send(exchange.opening())
    assert_right(rig, exchange)
    assert rig.live_view("11").epoch == 1


def test_deltas_of_the_old_connection_are_not_replayed_on_the_new_one(exchange):
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.disconnect()
    assert rig.path("11") == []
    exchange.alter("BUY", "0.46", "0")
    rig.connect()
    rig.send(exchange.opening())
    rig.answer()
    assert_right(rig, exchange)


def test_frames_of_a_socket_that_is_not_open_are_not_believed(rig, exchange):
    rig.disconnect()
    rig.send(exchange.opening())
    assert rig.state("11") is BookState.RESYNCING
    assert rig.engine.counts["orphaned"] == 1


def test_frames_of_an_unknown_socket_are_counted(rig, exchange):
    for call in (rig.connect, rig.disconnect):
        call(9)
    rig.engine.overflow(9, rig.now)
    rig.send(exchange.change("BUY", "0.49", "5"), line=9)
    assert rig.engine.counts["orphaned"] == 1
    assert rig.transitions == []


def test_a_market_is_only_believed_on_its_own_socket(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig(exchange, other, constants=CONSTANTS, tokens_per_socket=2)
    rig.connect(1)
    rig.connect(2)
    rig.send(exchange.opening(), line=2)
    rig.send(exchange.change("BUY", "0.49", "5"), line=2)
    assert rig.engine.counts["untracked"] == 4
    assert rig.state("11") is BookState.UNPRIMED


def test_a_lost_opening_book_is_noticed_within_the_deadline_and_asked_from_rest(exchange):
    rig = Rig(exchange)
    rig.connect()
    rig.advance(4.9)
    assert rig.transitions == []
    rig.advance(0.2)
    assert rig.path("11") == ["RESYNCING NO_SNAPSHOT"]
    assert rig.answer() == 2
    assert_right(rig, exchange)


def test_a_socket_closed_because_its_markets_are_resolved_is_a_reason_to_ask_gamma_and_no_evidence(exchange):
    rig = Rig.live(exchange, Exchange("0xn", "33", "44"))
    rig.disconnect(resolved=True)
    assert rig.effects == [AskGamma("0xm"), AskGamma("0xn")]
    assert rig.path("11") == rig.path("33") == ["SUSPECT DISCONNECT", "RESYNCING DISCONNECT"]
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.drain()
    assert rig.path("11")[-1] == rig.path("22")[-1] == "RETIRED CLOSED"
    assert rig.state("33") is BookState.RESYNCING


def test_a_reconnect_leaves_retired_tokens_alone(exchange):
    rig = Rig()
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    resolve(rig)
    rig.engine.track("0xm", ["22"], rig.now)
    rig.drain()
    number = rig.engine.markets["0xm"].socket
    rig.connect(number)
    rig.send(exchange.opening(), line=number)
    rig.disconnect(number)
    rig.connect(number)
    rig.send(exchange.opening(), line=number)
    rig.engine.books(rig.pending[-1].request, {"22": exchange.rest("22")}, rig.now)
    rig.drain()
    assert rig.path("11") == ["LIVE PROVEN", "RETIRED RESOLVED"]
    assert rig.state("22") is BookState.LIVE


def test_a_resolved_market_is_retired_and_leaves_its_socket(exchange):
    rig = Rig.live(exchange, Exchange("0xn", "33", "44"))
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.send({"event_type": "market_resolved", "market": "0xm", "assets_ids": ["11", "22"]})
    assert rig.path("11") == ["RETIRED RESOLVED"]
    assert rig.effects[-1] == Unsubscribe(1, ("11", "22"))
    assert rig.state("33") is BookState.LIVE
    rig.advance(1)
    rig.engine.untrack("0xm", rig.now)
    assert "11" not in rig.engine.tokens


def test_an_overflow_of_the_shells_queue_puts_every_book_of_the_socket_in_doubt(rig):
    rig.engine.overflow(1, rig.now)
    rig.drain()
    assert rig.path("11") == rig.path("22") == ["SUSPECT OVERFLOW"]


# ---- REST ----------------------------------------------------------------------------------------------


def test_an_answer_to_a_book_that_was_replaced_meanwhile_says_nothing(rig, exchange):
    rig.engine.prove("11", rig.now)
    rig.drain()
    stale = exchange.rest("11")
    exchange.change("BUY", "0.46", "5")
    rig.disconnect()
    rig.connect()
    rig.answer(t11=stale)
    assert rig.engine.counts["outdated_answers"] == 1
    assert rig.state("11") is BookState.RESYNCING


def test_an_unanswered_request_counts_as_failed_after_the_timeout(rig):
    rig.engine.prove("11", rig.now)
    rig.drain()
    (request,) = rig.pending
    rig.advance(10.0)
    assert rig.engine.counts["failed_requests"] >= 1
    rig.engine.books(request.request, {}, rig.now)
    rig.engine.books_failed(request.request, rig.now)
    assert rig.engine.counts["late_answers"] == 1
    assert rig.state("11") is BookState.LIVE


def test_tokens_that_failed_within_an_answer_are_not_taken_for_absent(rig):
    for _ in range(10):
        rig.engine.resync("11", rig.now)
        rig.drain()
        for request in rig.pending:
            rig.engine.books(request.request, {}, rig.now, failed={"11", "22"})
        rig.pending.clear()
    assert rig.state("11") is BookState.RESYNCING


def test_routine_probes_are_gathered_into_one_request(exchange):
    rig = Rig.live(exchange, Exchange("0xn", "33", "44"))
    for token in rig.engine.tokens.values():
        token.jitter = 1.0
    while not rig.pending:
        rig.advance(0.01)
    assert [sorted(each.asset_ids) for each in rig.pending] == [["11", "22", "33", "44"]]
    assert rig.now - BEGIN == pytest.approx(0.55 * 15 + 0.25, abs=0.05)


def test_requests_are_bounded_in_size_and_number():
    rig = Rig(*(Exchange(f"0x{n}", f"{n}a", f"{n}b") for n in range(1500)), tokens_per_socket=500)
    for line in range(1, 7):
        rig.connect(line)
    rig.advance(5.0)
    assert [len(each.asset_ids) for each in rig.pending] == [500] * 4
    asked = {token for each in rig.pending for token in each.asset_ids}
    assert len(asked) == 2000
    rig.engine.books(rig.pending[0].request, {}, rig.now)
    rig.drain()
    assert len(rig.pending) == 5
    assert asked.isdisjoint(rig.pending[-1].asset_ids)


def test_a_token_is_not_asked_for_twice_at_once(rig):
    for _ in range(3):
        rig.engine.prove("11", rig.now)
    rig.drain()
    assert [each.asset_ids for each in rig.pending] == [("11",)]
    rig.answer()
    assert [each.asset_ids for each in rig.pending] == [("11",)]


# ---- Output --------------------------------------------------------------------------------------------


def test_what_was_drained_does_not_come_again(rig, exchange):
    rig.engine.receive(1, json.dumps(exchange.change("BUY", "0.46", "5")), rig.now)
    rig.engine.prove("11", rig.now)
    rig.engine.overflow(1, rig.now)
    assert set(rig.engine.dirty()) == {"11", "22"}
    assert len(rig.engine.events()) == 2
    assert next(type(each) for each in rig.engine.effects()) is FetchBooks
    assert (rig.engine.dirty(), rig.engine.events(), rig.engine.effects()) == ((), [], [])


def test_an_engine_without_tokens_has_no_deadline():
    engine = Engine(EngineConfig(), random.Random(1))
    assert engine.next_deadline() == float("inf")
    engine.tick(5.0)
    assert (engine.effects(), engine.events()) == ([], [])


def test_a_frame_that_waited_proves_the_book_as_of_when_it_was_read():
    exchange = Exchange()
    rig = Rig(exchange, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    rig.advance(1)
    rig.engine.receive(1, json.dumps(exchange.change("BUY", "0.4", "7")), rig.now, rig.now - 0.4)
    assert rig.engine.live("11", rig.now).verified_age == pytest.approx(0.4)
    rig.advance(1)
    rig.engine.receive(1, json.dumps(exchange.opening_book("11")), rig.now, rig.now - 0.3)
    assert rig.engine.live("11", rig.now).verified_age == pytest.approx(0.3)


def test_wishes_wait_while_the_most_allowed_requests_are_under_way():
    exchange = Exchange()
    rig = Rig.live(exchange)
    others = [Exchange(f"0x{n}", f"{n}1", f"{n}2") for n in range(3, 6)]
    rig.exchanges = (exchange, *others)
    for other in others:
        rig.engine.track(other.market, other.tokens, rig.now, constants=CONSTANTS)
        rig.send(other.opening())
    tokens = list(rig.engine.tokens)
    for token in tokens[:5]:
        rig.engine.prove(token, rig.now)
    rig.drain()
    assert [len(each.asset_ids) for each in rig.pending] == [1, 1, 1, 1]
    assert rig.engine.next_deadline() < rig.now + rig.engine.config.request_timeout + 1e-9


def test_a_token_that_is_named_twice_is_refused():
    rig = Rig()
    with pytest.raises(ConfigError, match="11"):
        rig.engine.track("0xm", ["11", "11"], rig.now)
