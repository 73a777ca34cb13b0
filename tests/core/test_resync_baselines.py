from __future__ import annotations

import pytest

from polymirror.core import resync as resync_module
from polymirror.core.effects import FetchBooks, Reconnect, Subscribe, Unsubscribe
from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, Exchange, Rig, ask, shown, truth


@pytest.fixture
def exchange():
    return Exchange()


@pytest.fixture
def rig(exchange):
    """Both books LIVE."""
    return Rig.live(exchange)


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
    stated = rig.token("11").stated
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.answer(t11=behind)
    assert rig.state("11") is BookState.LIVE
    assert rig.token("11").stated == stated
    assert stated.best_bid == "0.48"


@pytest.mark.parametrize("changes", [0, 2])
def test_a_journal_without_what_the_venue_stated_last_is_not_rolled_forward(rig, exchange, changes):
    for n in range(changes):
        rig.send(exchange.change("BUY", "0.46", str(n + 5)))
    token = rig.token("11")
    if changes:
        token.journal.pop()
    old = exchange.rest("11")
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert token.buffer == []
    # Then only a baseline that is not older than what is missing will do.
    assert token.buffer_from == token.last_at
    rig.answer(t11=old)
    assert rig.state("11") is BookState.LIVE


def test_what_the_venue_stated_last_is_found_behind_a_late_delta(rig, exchange):
    for price, size in (("0.46", "5"), ("0.47", "5"), ("0.45", "9")):
        rig.send(exchange.change("BUY", price, size))
    token = rig.token("11")
    newest, stated = token.journal.pop(), token.stated
    token.journal.appendleft(newest)
    rig.engine.resync("11", rig.now)
    rig.drain()
    assert [change for _, change in token.buffer].index(stated) == 0


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
    token.resync.answer(exchange.rest("11"), rig.now, rig.now)
    assert not token.loaded


def test_a_second_answer_does_not_replace_a_baseline_that_waits_for_its_proof(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    base = exchange.rest("11")
    exchange.alter("BUY", "0.20", "3")
    rig.send(exchange.change("BUY", "0.47", "7"))
    rig.answer(t11=base)
    token = rig.token("11")
    loaded = token.book
    token.resync.answer(exchange.rest("11"), rig.now, rig.now)
    assert token.book is loaded


# ---- 404 -----------------------------------------------------------------------------------------------


def retire_by_absence(rig, limit):
    """Answer without the token until it is retired; return how many answers that took."""
    for n in range(1, limit + 1):
        while not rig.pending:
            rig.advance(0.5)
        rig.answer("11", "22")
        if rig.state("11") is BookState.RETIRED:
            return n
    return None


def test_a_token_that_had_a_book_is_retired_after_a_few_404s_over_a_while(rig):
    rig.engine.resync("11", rig.now)
    rig.drain()
    began = rig.now
    assert retire_by_absence(rig, 30) >= resync_module.MAX_ABSENCES
    assert resync_module.ABSENT_FOR <= rig.now - began < 3 * resync_module.ABSENT_FOR
    assert rig.path("11")[-1] == "RETIRED GONE"


def test_a_token_that_rest_loses_for_a_moment_is_not_retired(rig):
    rig.engine.resync("11", rig.now)
    rig.drain()
    for _ in range(resync_module.MAX_ABSENCES + 1):
        while not rig.pending:
            rig.advance(0.05)
        rig.answer("11", "22")
    assert rig.state("11") is BookState.RESYNCING


def test_a_token_that_never_had_a_book_is_given_much_longer(exchange):
    rig = Rig(exchange, constants=CONSTANTS, resync_backoff_cap=0.5)
    rig.connect()
    assert retire_by_absence(rig, 100) == resync_module.MAX_ABSENCES_UNPRIMED
    assert rig.path("11")[-1] == "RETIRED GONE"


def test_a_live_book_with_levels_is_not_retired_by_an_odd_404(rig):
    for _ in range(3):
        ask(rig)
        rig.answer("11", "22")
    assert rig.state("11") is BookState.LIVE


def test_a_live_book_that_was_emptied_is_retired_by_404s_over_a_while(rig, exchange):
    for price in list(exchange.bids):
        rig.send(exchange.change("BUY", price, "0"))
    for price in list(exchange.asks):
        rig.send(exchange.change("SELL", price, "0"))
    assert rig.live_view("11").best_bid is None
    ask(rig)
    rig.answer("11", "22")
    assert rig.state("11") is BookState.LIVE
    rig.advance(resync_module.ABSENT_FOR)
    rig.answer("11", "22")
    assert rig.path("11") == ["RETIRED GONE"]


def test_an_answer_in_between_starts_the_count_of_404s_anew():
    empty = Exchange(bids=(), asks=())
    rig = Rig.live(empty)
    for _ in range(3):
        ask(rig)
        rig.answer("11", "22")
        ask(rig)
        rig.answer()
    assert rig.state("11") is BookState.LIVE
