"""Answers of REST that are altered or old: what they may not do to a book, its tick size, or the checking of hashes."""

from __future__ import annotations

import pytest

from tests.plain.driver import Driver
from tests.plain.reading import Tally, every, shown, watch
from tests.plain.venue import SHARE, PlainMarket

A, B = "1001", "1002"
MS = 0.001
DELAY = 0.02


def opened(*markets: PlainMarket, **options) -> Driver:
    return Driver(*markets, delay=DELAY, **options).start().run_to(0.9)


# ---- Altered -------------------------------------------------------------------------------------------


def cut(book: dict) -> None:
    book["bids"], book["asks"] = book["bids"][1:], book["asks"][1:]


def doubled(book: dict) -> None:
    book["bids"] = [level | {"size": level["size"] + "1"} for level in book["bids"]]


def emptied(book: dict) -> None:
    book["bids"] = []


def altered(spoil, period: float, *, garbage: bool = True) -> tuple[Tally, Driver, PlainMarket, list[float]]:
    """From 5 s to 60 s every REST answer is altered, with the venue's hash kept; a frame at 6 s is garbage."""
    market = PlainMarket()
    driver = opened(market)
    unchecked = []

    def spoiled(_, books):
        if 5.0 < driver.now < 60.0:
            for book in books:
                spoil(book)
        return [(0.05, books)]

    driver.on_rest = spoiled
    if garbage:
        driver.at(6.0, lambda: driver.hear(b'{"event_type":"price_ch'))
    if period:
        every(
            driver, period,
            lambda n: driver.send(market.change("BUY", 4000 - 100 * (n % 30), (n + 1) * SHARE, driver.now)),
            first=6.0 + period, until=89.5,
        )  # fmt: skip

    def look(_):
        known = getattr(driver.engine, "dialects", None)
        if not getattr(known, "verifiable", True):
            unchecked.append(driver.now)

    every(driver, 0.5, look, first=1.0)
    return watch(driver, 90.0, step=0.02), driver, market, unchecked


@pytest.mark.parametrize("period", [0, 10.0, 1.0])
@pytest.mark.parametrize("spoil", [cut, doubled, emptied])
def test_altered_answers_never_make_a_book_that_never_was(period, spoil):
    tally, driver, market, unchecked = altered(spoil, period)
    assert not tally.never_true, shown(tally.never_true)
    assert not unchecked, f"hashes were not checked from {unchecked[0]} s to {unchecked[-1]} s"
    for token in market.tokens:
        assert driver.is_right(token), "the answers are right again since 60 s"


@pytest.mark.parametrize("period", [0, 3.0])
def test_altered_answers_of_a_book_that_nobody_doubts_change_nothing_that_is_read(period):
    tally, driver, market, unchecked = altered(cut, period, garbage=False)
    assert not tally.never_true, shown(tally.never_true)
    assert not unchecked
    for token in market.tokens:
        assert driver.is_right(token)


def test_altered_opening_books_and_answers_alike_never_make_a_book_that_never_was():
    market, other = PlainMarket(), PlainMarket("0xn", ("2001", "2002"))
    driver = Driver(market, other, delay=DELAY)

    def spoiled(books):
        for book in books:
            if book["market"] == market.market:
                cut(book)
        return books

    driver.on_rest = lambda _, books: [(0.05, spoiled(books))]
    driver.on_opening = lambda books: [(DELAY, spoiled(books))]
    tally = watch(driver.start(), 120.0, step=0.05, max_proof_age=None)
    assert not tally.never_true, shown(tally.never_true)
    for token in other.tokens:
        assert driver.is_right(token)


# ---- Old -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [20.0, 70.0, 400.0])
@pytest.mark.parametrize("placed", [4300, 4900])
def test_an_old_answer_never_explains_away_a_change_that_was_lost(quiet, placed):
    market = PlainMarket()
    driver = opened(market)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    cached = {each: market.rest(each) for each in market.tokens}
    driver.on_rest = lambda ids, _: [(0.05, [cached[each] for each in ids])]
    driver.run_to(quiet)
    market.change("SELL", 5200, 0, driver.now)  # lost: the best ask is taken
    driver.run_to(quiet + 0.2)
    driver.send(market.change("BUY", placed, 9 * SHARE, driver.now))  # an order is placed ...
    driver.run_to(quiet + 0.4)
    driver.send(market.change("BUY", placed, 0, driver.now))  # ... and cancelled
    tally = watch(driver, quiet + 110.0)
    wrong = tally.older_than(1.0 + DELAY + MS)
    assert not wrong, shown(wrong)


# ---- The tick size -------------------------------------------------------------------------------------


def test_an_altered_tick_size_in_a_book_of_the_stream_is_not_believed():
    market = PlainMarket()
    driver = opened(market)
    assert driver.read(A).tick_size_e4 == 100
    driver.hear(market.book(A, opening=True) | {"tick_size": "0.001"})
    driver.run_to(1.5)
    for _ in range(10):
        view = driver.read(A)
        assert view is None or view.tick_size_e4 == 100
        driver.send(market.change("BUY", 4000, int(driver.now * SHARE), driver.now))
        driver.run_to(driver.now + 1.0)
    for token in market.tokens:
        assert driver.read(token).tick_size_e4 == 100


@pytest.mark.parametrize("tick", ["0.001", "0.0001"])
@pytest.mark.parametrize("cut_too", [True, False])
def test_a_refused_answer_does_not_change_the_tick_size(tick, cut_too):
    market = PlainMarket()
    driver = opened(market)

    def spoiled(_, books):
        for book in books:
            book["tick_size"] = tick
            if cut_too:
                book["bids"] = []
        return [(0.05, books)]

    driver.on_rest = spoiled
    driver.run_to(5.0)
    driver.hear(b'{"x')
    driver.run_to(5.15)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    tally = watch(driver, 20.0, step=0.1, max_proof_age=None)
    assert tally.reads
    assert {read.view.tick_size_e4 for read in tally.reads} == {100}


@pytest.mark.parametrize("period", [0.33, 5.0])
@pytest.mark.parametrize("opening_too", [False, True])
def test_an_answer_from_before_a_change_of_the_tick_size_does_not_bring_the_coarse_one_back(period, opening_too):
    market = PlainMarket()
    driver = opened(market)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    cached = {each: market.rest(each) for each in market.tokens}
    old = [market.book(each, opening=True) for each in market.tokens]
    driver.run_to(3.0)
    for message in market.finer("0.001", driver.now):
        driver.send(message)
    driver.run_to(3.1)
    driver.on_rest = lambda ids, _: [(0.05, [cached[each] for each in ids])]
    if opening_too:
        driver.on_opening = lambda _: [(DELAY, old)]
        driver.at(10.0, lambda: driver.disconnect(1))
    every(
        driver, period,
        lambda n: driver.send(market.change("BUY", 4000 - 100 * (n % 30), (n + 1) * SHARE, driver.now)), first=4.0,
    )  # fmt: skip

    def ask(_):
        driver.engine.prove(A, driver.mono)
        driver.drain()

    every(driver, 2.0, ask, first=5.0)
    tally = watch(driver, 40.0, step=0.02, max_proof_age=None)
    assert tally.reads
    coarse = [read for read in tally.reads if read.view.tick_size_e4 != 10]
    assert not coarse, shown(coarse)
