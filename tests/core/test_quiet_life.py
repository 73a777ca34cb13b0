"""Where nothing happens, nothing is lost: quiet markets, REST that is behind, first connections and reconnects.

Each is the usual life of a market at the venue, without any fault: whoever makes the engine more careful finds out
here what that costs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from polymirror.core.effects import FetchBooks
from polymirror.core.states import BookState
from tests.core.builders import CONSTANTS, START, Exchange, Rig, assert_right
from tests.plain.driver import Driver
from tests.plain.reading import every, watch
from tests.plain.venue import SHARE, PlainMarket

if TYPE_CHECKING:
    from polymirror.core.messages import Snapshot

FULL_AGE = 15.0
"""Seconds: the age at which a proof ends unless told otherwise."""

MS = 0.001


# ---- A market without any change -----------------------------------------------------------------------


@pytest.mark.parametrize("clock", [True, False], ids=["clock told", "clock never told"])
def test_a_market_without_any_change_stays_live_for_an_hour_by_probes_alone(clock):
    """Each token is asked for every 6.2 s at most, and refreshed every 225 s at most: 1,200 calls an hour."""
    driver = Driver(PlainMarket(), clock=clock, delay=0.02, rest_delay=0.05)
    calls = []

    def answer(asset_ids, books):
        calls.append(len(asset_ids))
        return [(0.05, books)]

    driver.on_rest = answer
    driver.start().run_to(1.0)
    primed = len(driver.transitions)
    tally = watch(driver, 3_601.0, step=0.5, max_proof_age=FULL_AGE)
    assert driver.transitions[primed:] == []
    assert len(tally.reads) == tally.looks == 2 * 7_200
    assert not tally.understated_by(MS)
    assert 2 * 3_600 / FULL_AGE < sum(calls) <= 1_200


# ---- REST that is behind the stream --------------------------------------------------------------------


class Behind:
    """A market with a change every 0.3 s, whose REST books are as they were 1.1 s ago."""

    LAG = 1.1
    PERIOD = 0.3

    def __init__(self, *, clock: bool) -> None:
        self.market = market = PlainMarket()
        self.driver = Driver(market, clock=clock)
        self.asked = 0
        self._past = [(0.0, self._books())]
        self.driver.on_rest = self._answer
        self.driver.start().run_to(1.0)

    def _books(self):
        return {token: self.market.rest(token) for token in self.market.tokens}

    def _answer(self, asset_ids, _):
        self.asked += 1
        at = self.driver.now - self.LAG
        books = next(books for since, books in reversed(self._past) if since <= max(at, 0.0))
        return [(self.driver.rest_delay, [books[token] for token in asset_ids])]

    def busy(self, *, until: float) -> None:
        def change(number):
            size = (number + 1) * SHARE
            message = self.market.change("BUY", 4000 - 100 * (number % 30), size, self.driver.now)
            self._past.append((self.driver.now, self._books()))
            self.driver.send(message)

        every(self.driver, self.PERIOD, change, first=self.driver.now, until=until)

    def prove(self) -> None:
        for token in self.market.tokens:
            self.driver.engine.prove(token, self.driver.mono)
        self.driver.drain()

    def verdicts(self) -> dict[str, int]:
        return self.driver.engine.outbox.proofs.as_dict().get("probe", {})


@pytest.mark.parametrize("clock", [True, False], ids=["clock told", "clock never told"])
def test_rest_that_is_behind_a_busy_market_takes_nothing_away_from_it_in_ten_minutes(clock):
    """What REST says was true before: it is older than what is proven, and no reason for a doubt."""
    way = Behind(clock=clock)
    way.busy(until=605.0)
    driver = way.driver.run_to(3.0)
    primed, asked = len(driver.transitions), way.asked
    every(driver, 5.0, lambda _: way.prove(), first=4.0)
    tally = watch(driver, 603.0, step=0.05, max_proof_age=0.5)
    assert driver.transitions[primed:] == []
    assert len(tally.reads) == tally.looks == 2 * 12_000
    assert not tally.understated_by(driver.delay + MS)
    assert way.asked - asked >= 120
    assert way.verdicts().keys() == {"behind"}


@pytest.mark.parametrize("clock", [True, False], ids=["clock told", "clock never told"])
def test_rest_that_is_behind_matches_as_soon_as_a_market_has_paused_for_as_long(clock):
    way = Behind(clock=clock)
    way.busy(until=30.0)
    driver = way.driver
    every(driver, 5.0, lambda _: way.prove(), first=4.0, until=30.0)
    driver.run_to(30.0)
    before, primed = way.verdicts(), len(driver.transitions)
    driver.run_to(30.0 + way.LAG)
    way.prove()
    asked_at = driver.now
    driver.run_to(asked_at + 0.2)
    assert way.verdicts() == before | {"match": before.get("match", 0) + 2}
    assert driver.transitions[primed:] == []
    assert all(driver.is_right(token) for token in way.market.tokens)


# ---- First connections ---------------------------------------------------------------------------------


def quiet_exchanges(count: int) -> list[Exchange]:
    """Markets that nothing happened in for minutes."""
    exchanges = [Exchange(f"0xm{number}", f"1{number}", f"2{number}") for number in range(count)]
    for number, exchange in enumerate(exchanges):
        exchange.at = START - 180_000 - number
    return exchanges


def openings(exchanges: list[Exchange]) -> str:
    """The first frame after a subscription: one array with all books of the socket."""
    return json.dumps([exchange.opening_book(token) for exchange in exchanges for token in exchange.tokens])


def tokens_of(exchanges: list[Exchange]) -> list[str]:
    return [token for exchange in exchanges for token in exchange.tokens]


@pytest.mark.parametrize("markets", [1, 12])
@pytest.mark.parametrize("timed", [True, False], ids=["clock told", "clock never told"])
def test_opening_books_that_are_minutes_old_are_live_at_once_on_a_first_connection(markets, timed):
    """They answer a question, so they speak for the moment of the subscription: no REST answer is waited for."""
    exchanges = quiet_exchanges(markets)
    opening = openings(exchanges)
    rig = Rig(*exchanges, constants=CONSTANTS)
    if timed:
        rig.time()
    rig.connect()
    rig.advance(0.1)
    rig.send(opening)
    assert rig.count(FetchBooks) == 0
    for exchange in exchanges:
        assert_right(rig, exchange)
    for token in tokens_of(exchanges):
        assert rig.path(token) == ["LIVE PROVEN"]
        assert rig.live_view(token, 1.0).verified_age == pytest.approx(0.1)


# ---- Reconnects ----------------------------------------------------------------------------------------


def reconnected(exchanges: list[Exchange]) -> Rig:
    """Books that were LIVE and lost their socket for five seconds, in which nothing happened to them."""
    opening = openings(exchanges)
    rig = Rig(*exchanges, constants=CONSTANTS)
    rig.time()
    rig.connect()
    rig.send(opening)
    assert {rig.state(token) for token in tokens_of(exchanges)} == {BookState.LIVE}
    rig.disconnect()
    rig.advance(5.0)
    rig.forget()
    rig.connect()
    rig.advance(0.1)
    rig.send(opening)
    return rig


def unchanged(exchanges: list[Exchange]) -> dict[str, Snapshot]:
    """What REST says of them, for as long as nothing happens."""
    return {f"t{token}": exchange.rest(token) for exchange in exchanges for token in exchange.tokens}


@pytest.mark.parametrize("markets", [1, 12, 100])
def test_after_a_reconnect_quiet_markets_are_read_at_once_and_held_against_rest_by_one_request_in_all(markets):
    """Their opening books are no newer than what was heard: nothing changed, or they are kept ones."""
    exchanges = quiet_exchanges(markets)
    books = unchanged(exchanges)
    rig = reconnected(exchanges)
    for exchange in exchanges:
        assert_right(rig, exchange)
    for token in tokens_of(exchanges):
        assert rig.live_view(token).verified_age == pytest.approx(0.1)
    rig.advance(0.1)
    assert rig.answer(**books) == 2 * markets
    for token in tokens_of(exchanges):
        assert rig.path(token) == ["LIVE PROVEN"]
        assert rig.live_view(token).verified_age == pytest.approx(0.1)
    rig.advance(2.0)
    assert rig.count(FetchBooks) == 1


def test_after_a_reconnect_an_opening_book_that_is_newer_than_what_was_heard_is_read_at_once():
    exchange = Exchange()
    rig = Rig.live(exchange)
    rig.disconnect()
    rig.advance(5.0)
    exchange.change("BUY", "0.46", "5")
    rig.connect()
    rig.send(exchange.opening())
    assert_right(rig, exchange)
    assert rig.count(FetchBooks) == 0


def test_quiet_markets_are_back_with_their_opening_books_which_one_call_for_all_confirms():
    """End to end, with the plain venue: 20 markets on one socket, which is lost once a minute."""
    markets = [PlainMarket(f"0xm{number}", (f"1{number}", f"2{number}")) for number in range(20)]
    driver = Driver(*markets, clock=True, delay=0.02, rest_delay=0.05)
    calls = []

    def answer(asset_ids, books):
        calls.append(driver.now)
        return [(0.05, books)]

    driver.on_rest = answer
    driver.start().run_to(60.0)
    for minute in range(1, 6):
        driver.disconnect(back_after=0.3)
        opened_at = 60.0 * minute + 0.3 + driver.opening_delay + driver.delay
        before = len(calls)
        driver.run_to(opened_at + MS)
        assert all(driver.is_right(token) for token in driver.market_of)
        driver.run_to(opened_at + 0.1 + MS)
        # One that was under way when the socket was lost may be answered then, too.
        assert before < len(calls) <= before + 2
        driver.run_to(60.0 * (minute + 1))
