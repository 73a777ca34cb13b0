from __future__ import annotations

import pytest

from polymirror.core import afterlife as afterlife_module
from polymirror.core import attempts as attempts_module
from polymirror.core.effects import FetchBooks, Reconnect, Subscribe, Unsubscribe
from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, START, Exchange, Rig, ask, shown, truth


def test_a_requested_resync_clears_the_book_asks_rest_and_rolls_the_journal_forward(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    behind = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.47", "5"))
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert rig.path("11") == ["SUSPECT REQUESTED", "RESYNCING REQUESTED"]
    assert rig.engine.peek("11", rig.now).bids == ()
    rig.send(exchange.change("BUY", "0.44", "5"))
    rig.answer(t11=behind)
    assert rig.path("11")[-1] == "LIVE PROVEN"
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    assert rig.live_view("11").epoch == 1


def test_a_journal_rolled_forward_ends_with_the_best_prices_that_the_venue_stated(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    behind = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.47", "5"))
    rig.settle()
    stated = rig.token("11").proven.stated
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.answer(t11=behind)
    assert rig.token("11").proven.stated == stated
    assert stated.best_bid == "0.48"
    # Both the hash and what REST shows are from before the doubt (D4).
    assert rig.state("11") is BookState.RESYNCING
    rig.send(exchange.change("BUY", "0.44", "5"))
    assert shown(rig.live_view("11")) == truth(exchange, "11")


@pytest.mark.parametrize("changes", [0, 2])
def test_a_journal_without_what_the_venue_stated_last_is_not_rolled_forward(rig, exchange, changes):
    for n in range(changes):
        rig.send(exchange.change("BUY", "0.46", str(n + 5)))
    token = rig.token("11")
    if changes:
        token.proven.journal.pop()
    old = exchange.rest("11")
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert len(token.buffer) == 0
    # Then only a baseline that is not older than what is missing will do.
    assert token.proven.mark.at_ms == START + changes
    rig.answer(t11=old)
    assert rig.state("11") is BookState.LIVE


def test_what_the_venue_stated_last_is_found_behind_a_late_delta(rig, exchange):
    for price, size in (("0.46", "5"), ("0.47", "5"), ("0.45", "9")):
        rig.send(exchange.change("BUY", price, size))
    token = rig.token("11")
    newest, stated = token.proven.journal.pop(), token.proven.stated
    token.proven.journal.appendleft(newest)
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert [held.change for held in token.buffer._held].index(stated) == 0


def test_a_baseline_older_than_the_missing_deltas_is_refused(rig, exchange):
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.engine.overflow(1, rig.now)
    rig.drain()
    rig.answer(t11=old, t22=exchange.rest("22"))
    rig.advance(2.0)
    assert rig.state("11") is BookState.RESYNCING
    rig.answer(t11=old)
    assert rig.state("11") is BookState.RESYNCING
    assert rig.verdicts("probe")["behind"] == 2
    rig.advance(1.0)
    rig.answer()
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_failing_baselines_are_retried_with_growing_jitter_and_by_a_new_subscription_in_turn(rig):
    rig.engine.resync("11", rig.now)
    rig.drain()
    gaps, asked = [], rig.now
    for _ in range(12):
        rig.fail()
        while not rig.pending:
            rig.advance(0.05)
            if rig.now - asked > 120:
                break
        gaps.append(rig.now - asked)
        asked = rig.now
    assert max(gaps) < 60
    assert rig.count(Subscribe) >= 2
    assert rig.count(Unsubscribe) == rig.count(Subscribe)
    assert rig.count(FetchBooks) >= 6
    backoff = rig.token("11").resync
    config = rig.engine.config
    for attempt in range(1, 60):
        backoff.attempt = attempt - 1
        backoff.failed(rig.now)
        bound = min(config.resync_backoff_cap, config.resync_backoff_base * 2**attempt)
        assert 0 <= backoff.due - rig.now <= bound


def test_a_new_subscriptions_book_ends_the_retries(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    for _ in range(8):
        rig.fail()
        rig.advance(3.0)
        if rig.count(Subscribe):
            break
    rig.send(exchange.opening())
    assert rig.state("11") is BookState.LIVE
    assert rig.token("11").resync.attempt == 0


def test_a_socket_whose_new_subscriptions_never_help_is_replaced(rig):
    rig.engine.resync("11", rig.now)
    for _ in range(300):
        rig.drain()
        rig.fail()
        rig.advance(1.0)
    replaced = [each for each in rig.effects if isinstance(each, Reconnect)]
    assert replaced
    assert replaced[0].socket == 1
    assert len(replaced) <= 300 / 10 + 1


def test_nothing_is_asked_while_the_socket_is_down(rig, exchange):
    rig.disconnect()
    rig.forget()
    rig.advance(100)
    assert rig.count(FetchBooks) == 0
    assert rig.state("11") is BookState.RESYNCING


def test_an_answer_while_the_socket_is_down_is_no_baseline(rig, exchange):
    rig.disconnect()
    token = rig.token("11")
    token.resync.answer(exchange.rest("11"), rig.now, rig.token("11").doubts, rig.now)
    assert not token.proven.loaded


def test_a_second_answer_does_not_replace_a_baseline_that_waits_for_its_proof(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    base = exchange.rest("11")
    exchange.alter("BUY", "0.20", "3")
    rig.send(exchange.change("BUY", "0.47", "7"))
    rig.answer(t11=base)
    token = rig.token("11")
    loaded = token.proven.book
    token.resync.answer(exchange.rest("11"), rig.now, rig.token("11").doubts, rig.now)
    assert token.proven.book is loaded


# ---- 404 -----------------------------------------------------------------------------------------------


def absent(rig, times):
    """Answer so often without the tokens."""
    for _ in range(times):
        while not rig.pending:
            rig.advance(0.05)
        rig.answer("11", "22")


@pytest.mark.parametrize("ended", [True, False, None])
def test_a_token_that_rest_does_not_know_again_and_again_is_asked_about_and_only_gamma_retires_it(rig, ended):
    rig.engine.resync("11", rig.now)
    rig.drain()
    absent(rig, attempts_module.MAX_ABSENCES - 1)
    assert rig.asked_gamma == []
    absent(rig, 1)
    assert rig.asked_gamma == ["0xm"]
    absent(rig, 20)
    assert rig.state("11") is BookState.RESYNCING
    rig.gamma(closed=ended)
    assert rig.state("11") is (BookState.RETIRED if ended else BookState.RESYNCING)
    assert not [each for each in rig.effects if isinstance(each, Reconnect)], "the socket is not to blame"


def test_a_token_that_never_had_a_book_is_asked_about_too(exchange):
    rig = Rig(exchange, constants=CONSTANTS, resync_backoff_cap=0.5)
    rig.connect()
    absent(rig, 2 * attempts_module.MAX_ABSENCES)
    assert rig.asked_gamma == ["0xm"]
    rig.gamma(closed=True)
    assert rig.path("11")[-1] == "RETIRED CLOSED"


def test_a_404_for_a_retired_token_says_nothing(rig):
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.drain()
    rig.forget()
    rig.advance(afterlife_module.AGAIN_AFTER + 1)
    assert rig.answer("11", "22") == 2
    rig.advance(10)
    assert rig.asked_gamma == []
    assert rig.transitions == []


def test_a_live_book_with_levels_is_not_retired_by_an_odd_404(rig):
    for _ in range(3):
        ask(rig)
        rig.answer("11", "22")
    assert rig.state("11") is BookState.LIVE


def test_a_live_book_that_was_emptied_is_asked_about_with_the_first_404_and_retired_by_gamma(rig, exchange):
    for price in list(exchange.bids):
        rig.send(exchange.change("BUY", price, "0"))
    for price in list(exchange.asks):
        rig.send(exchange.change("SELL", price, "0"))
    assert rig.live_view("11").best_bid is None
    ask(rig)
    rig.answer("11", "22")
    assert rig.state("11") is BookState.LIVE
    assert rig.gamma(closed=True) == ["0xm"]
    assert rig.path("11") == rig.path("22") == ["RETIRED CLOSED"]


def test_an_answer_in_between_starts_the_count_of_404s_anew():
    empty = Exchange(bids=(), asks=())
    rig = Rig.live(empty)
    for _ in range(3):
        ask(rig)
        rig.answer("11", "22")
        ask(rig)
        rig.answer()
    assert rig.state("11") is BookState.LIVE
