"""A market retires only on evidence that names it, and is mirrored again when it shows life."""

from __future__ import annotations

import pytest

from polymirror.core.states import BookState
from tests.plain.driver import Driver
from tests.plain.reading import every
from tests.plain.venue import SHARE, PlainMarket

A, B = "1001", "1002"


def opened(*markets: PlainMarket, **options) -> Driver:
    return Driver(*markets, **options).start().run_to(1.0)


def ever_retired(driver: Driver) -> list[str]:
    return [str(each) for each in driver.transitions if each.new is BookState.RETIRED]


def missing(driver: Driver, begin: float, end: float, instead=lambda books: []):
    """REST answers without the books for a while."""
    driver.on_rest = lambda _, books: [(0.05, instead(books) if begin < driver.now < end else books)]


def pull_all(driver: Driver, market: PlainMarket) -> None:
    """Every order of the market is cancelled."""
    for side, book in (("BUY", market.bids), ("SELL", market.asks)):
        for price in list(book):
            driver.run_to(driver.now + 0.01)
            driver.send(market.change(side, price, 0, driver.now))
    driver.run_to(driver.now + 0.03)


# ---- Alive ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hole", [9.0, 15.0, 40.0, 120.0, 900.0])
def test_a_restart_of_the_venue_without_books_for_a_while_retires_nothing(hole):
    market = PlainMarket()
    driver = opened(market)
    missing(driver, 5.0, 5.5 + hole)
    driver.on_opening = lambda books: [(0.02, books if driver.now > 5.5 + hole else [])]
    driver.run_to(5.0)
    driver.disconnect(1)
    driver.run_to(5.5 + hole + 60.0)
    assert not ever_retired(driver)
    assert driver.is_right(A)
    assert driver.is_right(B)


def test_answers_with_the_books_of_other_tokens_only_retire_nothing():
    market, other = PlainMarket(), PlainMarket("0xn", ("2001", "2002"))
    driver = opened(market, other)
    missing(driver, 1.0, 901.0, lambda _: [other.rest(token) for token in other.tokens])
    driver.on_opening = lambda books: [(0.02, [book for book in books if book["market"] == other.market])]
    driver.run_to(5.0)
    driver.disconnect(1)
    driver.run_to(900.0)
    assert not ever_retired(driver)
    driver.on_opening = lambda books: [(0.02, books)]
    driver.run_to(960.0)
    for token in (*market.tokens, *other.tokens):
        assert driver.is_right(token)


@pytest.mark.parametrize("hole", [1.0, 6.0, 40.0, 900.0])
def test_a_live_market_whose_quotes_were_all_pulled_is_not_retired(hole):
    market = PlainMarket()
    driver = opened(market)
    pull_all(driver, market)
    missing(driver, driver.now, driver.now + hole)
    driver.run_to(driver.now + hole)
    assert not ever_retired(driver)
    driver.send(market.change("BUY", 4000, 5 * SHARE, driver.now))
    driver.run_to(driver.now + 60.0)
    assert not ever_retired(driver)
    assert driver.is_right(A)
    assert driver.is_right(B)


def test_a_market_that_stays_empty_is_not_retired_and_its_empty_book_is_right():
    market = PlainMarket()
    driver = opened(market)
    pull_all(driver, market)
    driver.run_to(900.0)
    assert not ever_retired(driver)
    assert driver.is_right(A)
    assert driver.is_right(B)


def test_a_market_added_before_its_book_exists_is_not_retired_and_found_when_it_does():
    market = PlainMarket()
    driver = Driver(market)
    driver.on_opening = lambda books: [(0.02, books if driver.now > 900.0 else [])]
    missing(driver, -1.0, 900.0)
    driver.start().run_to(900.0)
    assert not ever_retired(driver)
    driver.run_to(960.0)
    assert driver.is_right(A)
    assert driver.is_right(B)


@pytest.mark.parametrize("why", ["1000 all subscribed assets resolved", "1000", "1013 slow consumer", "resolved"])
@pytest.mark.parametrize("resolved", [False, True])
def test_no_close_frame_retires_a_live_market(why, resolved):
    market = PlainMarket()
    driver = opened(market)
    driver.run_to(5.0)
    driver.disconnect(1, why, resolved=resolved)
    driver.run_to(60.0)
    assert not ever_retired(driver)
    assert driver.is_right(A)
    assert driver.is_right(B)


def test_one_markets_resolution_does_not_retire_the_others_of_its_socket():
    market, other = PlainMarket(), PlainMarket("0xn", ("2001", "2002"))
    driver = opened(market, other)
    driver.hear(market.resolved(driver.now))
    driver.run_to(3.0)
    assert {each.token for each in driver.transitions if each.new is BookState.RETIRED} == set(market.tokens)
    assert all(driver.is_right(token) for token in other.tokens)


def test_gamma_that_does_not_answer_retires_nothing():
    market = PlainMarket()
    driver = opened(market)
    driver.on_gamma = lambda _: [(0.2, None)]
    missing(driver, 1.0, 901.0)
    driver.on_opening = lambda _: []
    driver.disconnect(1, "1000 all subscribed assets resolved", resolved=True)
    driver.run_to(900.0)
    assert not ever_retired(driver)


# ---- Over ----------------------------------------------------------------------------------------------


def gone(driver: Driver, market: PlainMarket) -> None:
    """The venue knows nothing of the market any more."""
    mine = set(market.tokens)
    driver.on_rest = lambda _, books: [(0.05, [book for book in books if book["asset_id"] not in mine])]
    driver.on_opening = lambda books: [(0.02, [book for book in books if book["asset_id"] not in mine])]


def test_market_resolved_retires_its_market():
    market = PlainMarket()
    driver = opened(market)
    gone(driver, market)
    driver.hear(market.resolved(driver.now))
    driver.run_to(2.0)
    assert [driver.state(token) for token in market.tokens] == [BookState.RETIRED] * 2


@pytest.mark.parametrize("how", ["close frame", "no books", "emptied"])
def test_a_sign_of_the_end_makes_the_mirror_ask_and_a_closed_market_is_retired(how):
    market, other = PlainMarket(), PlainMarket("0xn", ("2001", "2002"))
    driver = opened(market, other)
    driver.on_gamma = lambda condition_id: [(0.2, condition_id == market.market)]
    if how == "emptied":
        pull_all(driver, market)
    gone(driver, market)
    if how == "close frame":
        driver.disconnect(1, "1000 all subscribed assets resolved", resolved=True)
    elif how == "no books":
        driver.disconnect(1)
    driver.run_to(120.0)
    assert [driver.state(token) for token in market.tokens] == [BookState.RETIRED] * 2
    assert market.market in {condition_id for _, condition_id in driver.gamma_asked}
    assert all(driver.is_right(token) for token in other.tokens)


def test_gamma_is_not_asked_without_end():
    market = PlainMarket()
    driver = opened(market)
    gone(driver, market)
    driver.disconnect(1)
    driver.run_to(901.0)
    # Gamma lists at most 300 markets in 10 s for everybody; one market that is not there yet needs far less.
    assert 1 <= len(driver.gamma_asked) <= 100


# ---- Back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [0.5, 6.0, 23.0])
def test_a_retired_market_with_a_newer_book_that_is_not_empty_comes_back(hours):
    market = PlainMarket()
    driver = opened(market)
    driver.on_gamma = lambda _: [(0.2, False)]
    driver.hear(market.resolved(driver.now))
    back = hours * 3600

    def alive() -> None:
        market.change("BUY", 4000, SHARE, driver.now)
        driver.on_rest = lambda _, books: [(0.05, books)]
        driver.on_opening = lambda books: [(0.02, books)]

    gone(driver, market)
    driver.at(back, alive)
    driver.run_to(back - 1.0)
    assert driver.state(A) is BookState.RETIRED
    driver.run_to(back + 700.0)
    every(driver, 1.0, lambda n: driver.send(market.change("BUY", 4100, (n + 1) * SHARE, driver.now)),
          first=back + 700.5, until=back + 705.0)  # fmt: skip
    driver.run_to(back + 706.0)
    assert driver.is_right(A)
    assert driver.is_right(B)


@pytest.mark.parametrize("shown", ["old", "empty"])
def test_a_retired_market_does_not_come_back_for_an_old_or_an_empty_book(shown):
    market = PlainMarket()
    driver = opened(market)
    driver.run_to(5.0)
    driver.hear(market.resolved(driver.now))
    if shown == "empty":
        driver.run_to(8.0)
        for side, book in (("BUY", market.bids), ("SELL", market.asks)):
            for price in list(book):
                market.change(side, price, 0, driver.now)
    driver.run_to(4 * 3600.0)
    assert [driver.state(token) for token in market.tokens] == [BookState.RETIRED] * 2


def test_a_retired_market_is_asked_for_every_10_minutes_for_24_hours_and_then_left_alone():
    market = PlainMarket()
    driver = opened(market)
    driver.hear(market.resolved(driver.now))
    asked = []
    driver.on_rest = lambda ids, _: (asked.append(driver.now), [(0.05, [])])[1]
    driver.run_to(30 * 3600.0)
    # Both tokens may be asked for at once, or one after the other.
    rounds = {round(when / 30) for when in asked}
    assert 120 <= len(rounds) <= 170
    assert max(asked) <= 24 * 3600.0 + 700
