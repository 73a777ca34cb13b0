"""Hedged sockets: two lanes with the same subscriptions. The first to bring a change counts, and one may die."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from polymirror.core.carriage import REPLACE_INTERVAL
from polymirror.core.effects import FetchBooks, Reconnect, Subscribe, Unsubscribe
from polymirror.core.lanes import DEAF_CHANGES, DEAF_SECONDS, MAX_BEHIND, MAX_ECHO_SIZE, MAX_ECHOES
from polymirror.core.questions import Questions
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from tests.core.builders import START, Exchange, Rig, assert_right, shown, truth

if TYPE_CHECKING:
    from polymirror.core.sockets import Socket


@pytest.fixture
def hedged(exchange) -> Rig:
    """Both books LIVE, and both lanes open, each with its opening books."""
    rig = Rig.live(exchange)
    rig.connect(lane=1)
    rig.send(exchange.opening(), lane=1)
    rig.forget()
    return rig


def both(rig: Rig, message: object, *, late: float = 0.0) -> None:
    """The same frame on both lanes, on the second one so many seconds later."""
    rig.send(message)
    rig.advance(late)
    rig.send(message, lane=1)


def socket_of(rig: Rig) -> Socket:
    return rig.engine.sockets[1]


def echoes(rig: Rig) -> int:
    return rig.engine.counts["echoes"]


# ---- Echoes --------------------------------------------------------------------------------------------


def test_the_second_lane_to_bring_a_change_changes_nothing(hedged, exchange):
    before = hedged.engine.status(hedged.now).totals.proofs
    message = exchange.change("BUY", "0.30", "5")
    hedged.send(message)
    after = hedged.engine.status(hedged.now).totals.proofs
    assert after != before
    hedged.dirty.clear()
    hedged.send(message, lane=1)
    assert hedged.engine.status(hedged.now).totals.proofs == after
    assert (echoes(hedged), hedged.dirty) == (1, [])
    assert_right(hedged, exchange)


def test_whichever_lane_is_first_counts(hedged, exchange):
    for size in range(1, 20):
        message = exchange.change("BUY", "0.30", str(size))
        lanes = (0, 1) if size % 3 else (1, 0)
        for lane in lanes:
            hedged.send(message, lane=lane)
            assert shown(hedged.live_view("11")) == truth(exchange, "11")
        hedged.advance(0.001)
    assert echoes(hedged) == 19
    assert hedged.transitions == []


def test_a_change_that_one_lane_lost_is_taken_from_the_other(hedged, exchange):
    for size in range(1, 30):
        message = exchange.change("BUY", "0.30", str(size))
        hedged.send(message, lane=size % 2)
        hedged.advance(0.05)
        assert_right(hedged, exchange)
    assert echoes(hedged) == 0


def test_a_change_that_comes_late_on_one_lane_only_heals_what_its_loss_broke(hedged, exchange):
    lost = exchange.change("BUY", "0.30", "5")
    for size in (7, 8):
        later = exchange.change("BUY", "0.31", str(size))
        hedged.send(later)
        hedged.advance(0.02)
    assert shown(hedged.live_view("11")) != truth(exchange, "11")
    hedged.send(lost, lane=1)
    assert_right(hedged, exchange)
    assert hedged.transitions == []
    assert not any(isinstance(effect, FetchBooks) for effect in hedged.effects)


def test_an_echo_is_taken_if_the_book_was_built_anew_since(hedged, exchange):
    message = exchange.change("BUY", "0.30", "5")
    hedged.send(message)
    hedged.engine.resync("11", hedged.now)
    hedged.drain()
    hedged.send(message, lane=1)
    assert echoes(hedged) == 0
    assert hedged.engine.status(hedged.now).tokens[0].buffered_deltas > 0


def test_a_change_is_no_echo_of_one_that_was_only_similar(hedged, exchange):
    message = exchange.change("BUY", "0.30", "5")
    hedged.send(message)
    message["price_changes"][0]["size"] = "6"
    hedged.send(message, lane=1)
    assert echoes(hedged) == 0
    hedged.advance(2)
    assert hedged.state("11") is not BookState.LIVE, "the two lanes disagree: both are in doubt"


def test_whole_books_and_arrays_are_never_echoes(hedged, exchange):
    book = exchange.book("11")
    both(hedged, book)
    array = [exchange.change("BUY", "0.30", "5")]
    both(hedged, array)
    assert echoes(hedged) == 0
    assert_right(hedged, exchange)


def test_what_is_kept_of_frames_is_bounded(hedged, exchange):
    first = exchange.change("BUY", "0.30", "5")
    hedged.send(first)
    for size in range(MAX_ECHOES):
        hedged.send(exchange.change("BUY", "0.31", str(size + 1)))
    hedged.send(first, lane=1)
    assert echoes(hedged) == 0
    long = json.dumps(exchange.change("BUY", "0.31", "5")) + " " * MAX_ECHO_SIZE
    both(hedged, long)
    assert echoes(hedged) == 0
    short = json.dumps(exchange.change("BUY", "0.31", "6"))
    both(hedged, short)
    assert echoes(hedged) == 1


def test_what_one_lane_delivers_twice_is_no_echo(hedged, exchange):
    message = exchange.change("BUY", "0.30", "5")
    hedged.send(message)
    hedged.advance(2 * MAX_BEHIND)
    hedged.send(message)
    assert echoes(hedged) == 0
    assert replaced(hedged) == []
    hedged.send(message, lane=1)
    assert echoes(hedged) == 1


def test_a_market_of_which_one_token_is_mirrored_is_hedged_too():
    exchange = Exchange()
    rig = Rig()
    rig.engine.track(exchange.market, exchange.tokens[:1], rig.now)
    rig.connect()
    rig.connect(lane=1)
    rig.send([exchange.opening_book("11")])
    message = exchange.change("BUY", "0.30", "5")
    both(rig, message)
    assert echoes(rig) == 1


def test_a_lane_alone_has_no_echoes(hedged, exchange):
    hedged.disconnect(lane=1)
    message = json.dumps(exchange.change("BUY", "0.30", "5"))
    lanes = socket_of(hedged).lanes
    lanes.note(message, hedged.engine.markets["0xm"], lanes[0], hedged.now, exchange.at)
    hedged.connect(lane=1)
    hedged.send(message, lane=1)
    assert echoes(hedged) == 0


def test_without_a_second_lane_nothing_is_kept(rig, exchange):
    message = exchange.change("BUY", "0.30", "5")
    rig.send(message)
    rig.send(message)
    assert echoes(rig) == 0


# ---- Lanes that come and go ----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lane_that_dies_costs_nothing(hedged, exchange, lost):
    both(hedged, exchange.change("BUY", "0.30", "5"))
    epochs = hedged.token("11").proven.epoch
    hedged.disconnect(lane=lost)
    told = [(each.kind, each.detail) for each in hedged.warnings]
    assert told == [("connection lost", f"socket 1.{lost}: gone; its twin goes on alone")]
    assert_right(hedged, exchange)
    hedged.send(exchange.change("BUY", "0.30", "6"), lane=1 - lost)
    assert_right(hedged, exchange)
    hedged.connect(lane=lost)
    hedged.send(exchange.opening(), lane=lost)
    both(hedged, exchange.change("BUY", "0.30", "7"))
    assert_right(hedged, exchange)
    assert (hedged.transitions, hedged.token("11").proven.epoch) == ([], epochs)


def test_the_last_lane_takes_the_books_with_it(hedged):
    hedged.disconnect(lane=0)
    hedged.disconnect(lane=1)
    for token in ("11", "22"):
        assert hedged.path(token) == ["SUSPECT DISCONNECT", "RESYNCING DISCONNECT"]


def test_frames_of_a_lane_that_is_gone_are_of_nobody(hedged, exchange):
    hedged.disconnect(lane=1)
    hedged.send(exchange.change("BUY", "0.30", "5"), lane=1)
    assert hedged.engine.counts["orphaned"] == 1
    assert shown(hedged.live_view("11")) != truth(exchange, "11")


def old_opening(exchange, token):
    """The opening book of a market in which nothing happened since the start."""
    return exchange.opening_book(token) | exchange.book(token, START)


def test_an_opening_book_of_a_lane_answers_the_question_that_was_asked_there(hedged, exchange):
    hedged.disconnect(lane=1)
    hedged.advance(3)
    hedged.connect(lane=1)
    asked = hedged.now
    hedged.advance(0.5)
    # Nobody asked on the first lane: it speaks only for its own time.
    hedged.send(old_opening(exchange, "11"))
    assert hedged.live_view("11").verified_age == pytest.approx(3.5)
    hedged.send(old_opening(exchange, "11"), lane=1)
    assert hedged.live_view("11").verified_age == pytest.approx(hedged.now - asked)


def test_an_opening_book_of_a_lane_that_lags_is_as_old_as_the_lag(hedged, exchange):
    hedged.advance(3)
    both(hedged, exchange.change("BUY", "0.30", "5"), late=1.5)
    opening = exchange.opening_book("11")
    hedged.advance(3)
    hedged.engine.outbox.resubscribe["0xm"] = None
    hedged.engine.prove("11", hedged.now)
    hedged.drain()
    asked = hedged.now
    assert [effect.socket for effect in hedged.effects if isinstance(effect, Subscribe)] == [1]
    hedged.advance(0.1)
    hedged.send(opening, lane=1)
    assert hedged.live_view("11").verified_age == pytest.approx(hedged.now - (asked - 1.5))


def test_questions_of_a_lane_die_with_it():
    questions = Questions()
    questions.begin(1.0)
    questions.ask(2.0, 1)
    questions.lost(0)
    assert (questions.answered(), questions.answered(1), len(questions)) == (None, 2.0, 0)


def test_a_market_is_subscribed_anew_on_both_lanes(hedged, exchange):
    hedged.engine.outbox.resubscribe["0xm"] = None
    hedged.engine.resync("11", hedged.now)
    hedged.drain()
    assert [type(effect) for effect in hedged.effects[:2]] == [Unsubscribe, Subscribe]
    assert len(hedged.token("11").questions) == 2


def test_a_market_that_is_added_waits_for_an_opening_book_on_each_lane(hedged):
    other = Exchange("0xother", "33", "44")
    hedged.engine.track(other.market, other.tokens, hedged.now)
    hedged.drain()
    assert len(hedged.token("33").questions) == 2
    hedged.send(other.opening(), lane=1)
    assert hedged.state("33") is BookState.LIVE


def test_what_keeps_one_lane_away_is_told_and_refuses_nothing(hedged, exchange):
    hedged.disconnect(lane=1)
    hedged.engine.unreachable(1, "TLS: certificate has expired", hedged.now, lane=1)
    [socket] = hedged.engine.status(hedged.now).sockets
    assert (socket.is_open, socket.lanes, socket.trouble) == (True, 1, "TLS: certificate has expired")
    assert hedged.engine.status(hedged.now).trouble == "socket 1: TLS: certificate has expired"
    hedged.disconnect(lane=0)
    with pytest.raises(NotLive, match="TLS: certificate has expired; gone"):
        hedged.live_view("11")
    hedged.connect(lane=1)
    hedged.connect(lane=0)
    [socket] = hedged.engine.status(hedged.now).sockets
    assert (socket.lanes, socket.trouble) == (2, "")
    hedged.engine.disconnected(1, hedged.now, lane=1)
    assert hedged.engine.status(hedged.now).trouble == "", "no cause is no trouble to tell"
    hedged.connect(lane=1)
    hedged.engine.unreachable(1, "late news", hedged.now, lane=1)
    assert hedged.engine.status(hedged.now).trouble == ""


# ---- Lanes that do worse than their twin ---------------------------------------------------------------


def replaced(rig: Rig) -> list[tuple[int, str]]:
    return [(effect.lane, effect.why) for effect in rig.effects if isinstance(effect, Reconnect)]


def test_a_lane_that_is_deaf_is_replaced_and_no_book_is_doubted(hedged, exchange):
    for size in range(1, DEAF_CHANGES):
        hedged.send(exchange.change("BUY", "0.30", str(size)))
        assert replaced(hedged) == []
        hedged.advance(DEAF_SECONDS / (DEAF_CHANGES - 1) + 1e-6)
    hedged.send(exchange.change("BUY", "0.30", "98"))
    hedged.send(exchange.change("BUY", "0.30", "99"))
    assert replaced(hedged) == [(1, f"its twin brought {DEAF_CHANGES} changes since its last one")]
    assert hedged.transitions == []


def test_a_lane_is_not_deaf_while_changes_come_on_it(hedged, exchange):
    for size in range(1, 5 * DEAF_CHANGES):
        hedged.send(exchange.change("BUY", "0.30", str(size)), lane=int(size % DEAF_CHANGES == 0))
        hedged.advance(1)
    assert replaced(hedged) == []


def test_a_lane_so_late_that_its_echoes_are_forgotten_never_makes_its_twin_look_deaf(hedged, exchange, monkeypatch):
    """What it brings is old news, not changes that its twin lacks: a healthy lane was replaced for it."""
    monkeypatch.setattr("polymirror.core.lanes.MAX_ECHOES", 1)
    messages = [exchange.change("BUY", "0.30", str(size)) for size in range(1, 4 * DEAF_CHANGES)]
    for message in messages:
        hedged.send(message)
    for message in messages[:-2]:
        hedged.advance(DEAF_SECONDS / DEAF_CHANGES)
        hedged.send(message, lane=1)
    assert {lane for lane, _ in replaced(hedged)} <= {1}
    assert socket_of(hedged).lanes[1].behind > 0


def test_old_news_does_not_make_a_deaf_lane_hear(hedged, exchange):
    late = exchange.change("BUY", "0.29", "5")
    for size in range(1, 5 * DEAF_CHANGES):
        hedged.send(exchange.change("BUY", "0.30", str(size)))
        hedged.send(late, lane=1)
        hedged.advance(1)
    assert {lane for lane, _ in replaced(hedged)} == {1}


def test_heartbeats_do_not_make_a_deaf_lane_hear(hedged, exchange):
    for size in range(1, 5 * DEAF_CHANGES):
        hedged.send(exchange.change("BUY", "0.30", str(size)))
        hedged.send("PONG", lane=1)
        hedged.advance(1)
    assert replaced(hedged)


def test_a_lane_that_lags_behind_its_twin_is_replaced_once_in_a_while(hedged, exchange):
    both(hedged, exchange.change("BUY", "0.30", "5"), late=MAX_BEHIND)
    assert replaced(hedged) == []
    for size in range(1, 8):
        both(hedged, exchange.change("BUY", "0.30", str(size)), late=MAX_BEHIND + 0.1)
    seconds = 7 * (MAX_BEHIND + 0.1)
    assert len(replaced(hedged)) == 1 + int(seconds // REPLACE_INTERVAL)
    assert replaced(hedged)[0] == (1, "2.1 s behind its twin")
    told = [each.detail for each in hedged.warnings if each.kind == "connection replaced"]
    assert told == ["socket 1.1: 2.1 s behind its twin"] * len(replaced(hedged))
    assert hedged.transitions == []


def test_of_two_lanes_whose_subscription_does_not_help_the_other_one_is_replaced_next(hedged, monkeypatch):
    monkeypatch.setattr("polymirror.core.resync.Resync.needs_new_socket", True)
    for _ in range(3):
        hedged.engine.outbox.resubscribe["0xm"] = None
        hedged.engine.resync("11", hedged.now)
        hedged.drain()
        hedged.advance(REPLACE_INTERVAL)
    lanes = [lane for lane, why in replaced(hedged) if why == "resubscribing did not help"]
    assert lanes[:3] == [0, 1, 0]
