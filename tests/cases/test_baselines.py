"""What may become a book, what clears a doubt, and when a book is settled."""

from __future__ import annotations

import json

import pytest

from polymirror.core.states import BookState
from tests.plain.driver import Driver
from tests.plain.reading import shown, watch
from tests.plain.venue import SHARE, PlainMarket, levels_of

A, B = "1001", "1002"
MS = 0.001
DELAY = 0.02


def opened(*markets: PlainMarket, **options) -> Driver:
    return Driver(*markets, delay=DELAY, **options).start().run_to(0.9)


# ---- No way back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [A, B])
@pytest.mark.parametrize("gap", [0.3, 3.0])
def test_a_cached_answer_never_becomes_a_book_again_after_a_reconnect(token, gap):
    market = PlainMarket()
    driver = opened(market)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    driver.run_to(1.5)
    cached = {each: market.rest(each) for each in market.tokens}
    driver.run_to(5.0)
    driver.send(market.change("SELL", 5200, 0, driver.now))
    driver.run_to(5.1)
    assert driver.is_right(token)
    driver.on_rest = lambda ids, _: [(0.05, [cached[each] for each in ids])]
    driver.on_opening = lambda _: []
    driver.run_to(10.0)
    driver.disconnect(1, back_after=gap)
    tally = watch(driver, 60.0, tokens=[token])
    wrong = tally.older_than(1.0 + DELAY + MS)
    assert not wrong, shown(wrong)


def test_a_cached_opening_book_never_becomes_a_book_again_after_a_reconnect():
    market = PlainMarket()
    driver = opened(market)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    driver.run_to(1.5)
    old = [market.book(each, opening=True) for each in market.tokens]
    driver.run_to(5.0)
    driver.send(market.change("SELL", 5200, 0, driver.now))
    driver.run_to(10.0)
    driver.on_opening = lambda _: [(DELAY, old)]
    driver.disconnect(1)
    tally = watch(driver, 60.0)
    wrong = tally.older_than(1.0 + DELAY + MS) + tally.understated_by(DELAY + MS)
    assert not wrong, shown(wrong)


def test_a_state_known_superseded_in_the_same_millisecond_never_becomes_a_book_again():
    market = PlainMarket()
    driver = opened(market)
    driver.run_to(5.0)
    first = market.change("BUY", 4000, SHARE, 5.0)
    cached = {each: market.rest(each) for each in market.tokens}
    second = market.change("SELL", 5200, 0, 5.0)
    driver.send(first)
    driver.send(second)
    driver.run_to(8.0)
    driver.on_rest = lambda ids, _: [(0.05, [cached[each] for each in ids])]
    driver.on_opening = lambda _: []
    driver.disconnect(1)
    tally = watch(driver, 40.0)
    wrong = tally.older_than(1.0 + DELAY + MS)
    assert not wrong, shown(wrong)


# ---- Whole books before their changes ------------------------------------------------------------------


@pytest.mark.parametrize("wait", [0.0, 0.012, 0.03])
@pytest.mark.parametrize("order", [(A, B), (B, A)])
@pytest.mark.parametrize("size", [4 * SHARE, 0])
def test_whole_books_that_come_before_their_change_cost_neither_epoch_nor_state(wait, order, size):
    market = PlainMarket()
    driver = opened(market)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    driver.run_to(2.0)
    epochs = {token: driver.read(token).epoch for token in market.tokens}
    before = len(driver.transitions)
    market.last_trade = "0.520"
    change = market.change("SELL", 5200, size, driver.now)
    for token in order:
        driver.run_to(driver.now + MS)
        driver.hear(market.book(token))
    driver.run_to(driver.now + wait)
    driver.hear(change)
    driver.run_to(driver.now + 0.1)
    assert [str(each) for each in driver.transitions[before:]] == []
    for token in market.tokens:
        assert driver.is_right(token)
        assert driver.read(token).epoch == epochs[token]


def test_trades_whose_books_always_come_first_cost_no_epoch():
    market = PlainMarket()
    driver = opened(market)
    epoch = driver.read(A).epoch
    for _ in range(20):
        driver.run_to(driver.now + 0.2)
        driver.send(market.change("SELL", 5100, 5 * SHARE, driver.now))
        driver.run_to(driver.now + 0.2)
        change, *books, trade = market.trade("SELL", SHARE, driver.now)
        for message, wait in [(books[0], 0.02), (books[1], 0.021), (change, 0.034), (trade, 0.04)]:
            driver.on_stream = lambda m, w=wait: [(w, m)]
            driver.send(message)
        driver.on_stream = lambda m: [(DELAY, m)]
    driver.run_to(driver.now + 0.1)
    assert driver.is_right(A)
    assert driver.is_right(B)
    assert driver.read(A).epoch == epoch


# ---- Settled -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heard", [(A,), (B,), (A, B)])
@pytest.mark.parametrize("announced", [True, False], ids=["price known", "price not known"])
def test_settled_is_true_only_with_the_levels_of_the_newest_whole_book(heard, announced):
    market = PlainMarket()
    driver = opened(market)
    driver.run_to(2.0)
    for price in (4000, 4100, 4800):
        market.change("BUY", price, 3 * SHARE, 2.0 + price / 1e5)  # lost, all of them
    if not announced:
        market.last_trade = "0.480"
    driver.run_to(2.1)
    for token in heard:
        driver.hear(market.book(token))
    newest = {token: market.truth[token].now for token in heard}
    settled = dict.fromkeys(heard, False)
    for _ in range(400):
        for token in heard:
            view = driver.read(token)
            if view is not None and view.settled:
                assert levels_of(view) == newest[token], f"settled at {driver.now} with older levels"
                settled[token] = True
        driver.run_to(driver.now + MS)
    driver.run_to(12.0)
    for token in heard:
        assert driver.is_right(token)


def test_a_late_copy_of_an_older_whole_book_does_not_unsettle_a_book_for_long():
    market = PlainMarket()
    driver = opened(market)
    driver.run_to(2.0)
    old = [market.book(token) for token in market.tokens]
    driver.send(market.change("SELL", 5200, 0, driver.now))
    driver.run_to(2.05)
    before = len(driver.transitions)
    for book in old:
        driver.hear(book)
    driver.run_to(2.2)
    assert not driver.transitions[before:]
    for token in market.tokens:
        assert driver.is_right(token)
        assert driver.read(token).settled


# ---- Doubt ---------------------------------------------------------------------------------------------


def doubted(how: str) -> tuple[Driver, PlainMarket, float]:
    """A batch is open whose hash needs the search, and then something cannot be read."""
    market, other = PlainMarket(), PlainMarket("0xn", ("2001", "2002"))
    driver = opened(market, other)
    driver.run_to(1.0)
    market.last_trade = "0.480"  # not announced yet
    change = market.change("BUY", 4000, SHARE, 1.0)
    driver.run_to(1.020)
    driver.hear(change)
    lost = market.change("BUY", 4100, 2 * SHARE, 1.021)
    driver.run_to(1.022)
    text = json.dumps(lost)
    if how == "cut":
        driver.hear(text[:60].encode())
    elif how == "unreadable":
        driver.hear(text.replace('"0.41"', '"0.4x"'))
    else:
        driver.engine.overflow(1, driver.mono)
        driver.drain()
    return driver, market, 1.022


@pytest.mark.parametrize("how", ["cut", "unreadable", "overflow"])
def test_evidence_from_before_a_doubt_does_not_clear_it(how):
    driver, market, since = doubted(how)
    for token in market.tokens:
        assert driver.state(token) is not BookState.LIVE
    for _ in range(500):
        driver.run_to(driver.now + MS)
        for token in market.tokens:
            view = driver.read(token)
            if view is not None:
                assert driver.mono - view.verified_age >= since, f"{token} LIVE at {driver.now} by older evidence"
    driver.run_to(10.0)
    for token in market.tokens:
        assert driver.is_right(token)


def test_an_answer_to_a_question_from_before_a_doubt_does_not_clear_it():
    market = PlainMarket()
    driver = opened(market)
    driver.on_rest = lambda _, books: [(0.4, books)]
    driver.engine.prove(A, driver.mono)
    driver.drain()
    driver.run_to(1.1)
    lost = market.change("BUY", 4100, 2 * SHARE, driver.now)
    driver.hear(json.dumps(lost)[:60].encode())
    driver.on_rest = lambda _, books: []
    for _ in range(900):
        driver.run_to(driver.now + MS)
        for token in market.tokens:
            assert driver.read(token) is None
