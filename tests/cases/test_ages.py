"""`verified_age` is the age of what was proven: behind caches, in stalls, after sleep, and for the second token."""

from __future__ import annotations

import pytest

from polymirror.config import EngineConfig
from tests.plain.driver import Driver
from tests.plain.reading import Tally, every, look, shown, watch
from tests.plain.venue import SHARE, PlainMarket

A, B = "1001", "1002"
MS = 0.001


def busy(driver: Driver, market: PlainMarket, period: float, *, first: float = 1.0, until: float = 1e9) -> None:
    """An order far from the top again and again, always of another size."""
    every(
        driver, period,
        lambda n: driver.send(market.change("BUY", 4000 - 100 * (n % 30), (n + 1) * SHARE, driver.now)),
        first=first, until=until,
    )  # fmt: skip


# ---- REST that is behind -----------------------------------------------------------------------------


def probed(*, known_form: bool, stale: bool, hashes: bool, period: float = 5.0) -> Tally:
    market = PlainMarket(known_form=known_form)
    driver = Driver(market, delay=0.02)
    if stale:
        old = {token: market.rest(token) for token in market.tokens}
        driver.on_rest = lambda ids, _: [(0.05, [old[token] for token in ids])]
    if not hashes:

        def unhashed(message):
            for entry in message.get("price_changes", ()):
                entry["hash"] = ""
            return [(0.02, message)]

        driver.on_stream = unhashed
    driver.start().run_to(0.5)
    busy(driver, market, period)
    return watch(driver, 120.0, step=0.01)


@pytest.mark.parametrize(
    ("known_form", "stale", "hashes"),
    [(True, False, True), (True, True, True), (False, False, True), (False, True, True), (True, True, False)],
    ids=["right", "stale", "unknown form", "unknown form, stale", "no hashes, stale"],
)
def test_a_probe_never_makes_a_state_younger_than_it_is(known_form, stale, hashes):
    tally = probed(known_form=known_form, stale=stale, hashes=hashes)
    wrong = tally.understated_by(0.02 + MS)
    assert not wrong, shown(wrong)
    if known_form and hashes:
        assert tally.reads


@pytest.mark.parametrize("hashes", [True, False])
def test_a_probe_of_a_busy_market_never_makes_a_state_younger_than_it_is(hashes):
    tally = probed(known_form=False, stale=True, hashes=hashes, period=0.4)
    wrong = tally.understated_by(0.02 + MS)
    assert not wrong, shown(wrong)


def test_an_answer_to_a_question_older_than_the_proof_does_not_make_the_proof_younger():
    market = PlainMarket()
    driver = Driver(market).start().run_to(1.0)
    driver.on_rest = lambda _, books: [(2.0, books)]
    driver.engine.prove(A, driver.mono)
    driver.drain()
    driver.run_to(2.0)
    driver.send(market.change("BUY", 4000, SHARE, driver.now))
    driver.run_to(2.5)
    tally = watch(driver, 6.0, step=0.01, max_proof_age=None)
    wrong = tally.of(A).understated_by(0.02 + MS)
    assert not wrong, shown(wrong)


# ---- A program that stands still ---------------------------------------------------------------------


def stalled(seconds: float, *, clock: bool, knows_when_read: bool, rate: float = 200.0) -> Tally:
    """Frames pile up while the program does nothing; it reads the books between all of them."""
    market = PlainMarket()
    driver = Driver(market, delay=0.02, clock=clock).start().run_to(0.5)
    busy(driver, market, 1 / rate, first=1.0, until=5.9)
    tally = Tally()

    def between(message):
        def arrive(sent=driver.now, session=driver.sessions[1]):
            driver.deliver(1, session, message, sent - driver.slept + 0.02 if knows_when_read else None)
            driver.drain()
            look(driver, tally, market.tokens, 0.25)

        driver.later(0.02, arrive)
        return []

    driver.on_stream = between
    driver.run_to(3.0)
    driver.stall(seconds)
    driver.run_to(6.5)
    return tally


@pytest.mark.parametrize("seconds", [0.5, 1.8, 2.5])
@pytest.mark.parametrize("clock", [False, True])
@pytest.mark.parametrize("knows_when_read", [False, True])
def test_what_is_read_late_is_as_old_as_it_is(seconds, clock, knows_when_read):
    tally = stalled(seconds, clock=clock, knows_when_read=knows_when_read)
    assert tally.reads
    wrong = tally.understated_by(0.02 + MS) + tally.older_than(0.25 + 0.02 + MS)
    assert not wrong, shown(wrong)


def test_what_waited_in_the_network_is_as_old_as_it_is():
    market = PlainMarket()
    driver = Driver(market, delay=0.02).start().run_to(0.5)
    busy(driver, market, 0.02, until=20.0)
    driver.run_to(5.0)
    # The way here gets longer and longer, and shorter again: nothing overtakes.
    driver.on_stream = lambda m: [(0.02 + max(0.0, 1.5 - abs(driver.now - 10.0) * 0.3), m)]
    tally = watch(driver, 20.0, step=0.01, max_proof_age=0.25)
    assert tally.reads
    wrong = tally.understated_by(0.02 + MS)
    assert not wrong, shown(wrong)


# ---- A computer that sleeps --------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 5.0, 20.0])
@pytest.mark.parametrize("period", [0.05, 1.0])
@pytest.mark.parametrize("clock", [False, True])
def test_sleep_counts_into_the_age_of_every_proof(seconds, period, clock):
    market = PlainMarket()
    driver = Driver(market, delay=0.02, clock=clock).start().run_to(0.5)
    busy(driver, market, period)
    driver.run_to(2.99)
    driver.suspend(seconds)
    tally = Tally()

    def look_twice(_=None):
        if driver.now >= 2.99 + seconds:
            look(driver, tally, market.tokens, None)
            look(driver, tally, market.tokens, 0.5)

    # At once when the computer wakes, before any frame, and after each of them.
    driver.at(2.99 + seconds, look_twice)
    driver.on_delivered = look_twice
    driver.run_to(3.0 + seconds)
    tally.reads += watch(driver, driver.now + 5.0, step=0.007, max_proof_age=None).reads
    assert tally.reads
    wrong = tally.understated_by(0.02 + MS)
    assert not wrong, shown(wrong)


def test_a_frame_that_was_under_way_during_the_sleep_is_as_old_as_it_is():
    market = PlainMarket()
    driver = Driver(market, delay=0.02).start().run_to(0.5)
    busy(driver, market, 0.1, until=3.0)
    driver.run_to(3.0)
    driver.suspend(5.0)
    driver.run_to(3.5)
    driver.send(market.change("BUY", 4100, SHARE, driver.now))
    driver.run_to(4.0)
    # Lost: nothing says so until the next change or probe.
    market.change("SELL", 5200, 0, driver.now)
    driver.run_to(7.99)
    tally = watch(driver, 20.0, step=0.01, max_proof_age=1.0)
    wrong = [read for read in tally.understated_by(0.02 + MS) if read.at > 8.0]
    assert not wrong, shown(wrong)


def test_after_a_sleep_all_books_are_asked_for():
    market = PlainMarket()
    driver = Driver(market).start().run_to(2.0)
    asked = []
    driver.on_rest = lambda ids, books: (asked.append((driver.now, ids)), [(0.05, books)])[1]
    driver.suspend(5.0)
    driver.run_to(8.0)
    assert {token for when, ids in asked if 7.0 <= when < 8.0 for token in ids} == {A, B}
    assert driver.is_right(A)
    assert driver.is_right(B)


# ---- The second token --------------------------------------------------------------------------------


def one_sided(period: float, token: str, side: str, price: int, size: int, **config) -> Tally:
    """At 20 s one token's book stops being the mirror image of the other's, and no message ever says so."""
    market = PlainMarket()
    driver = Driver(market, config=EngineConfig(**config), delay=0.001).start().run_to(0.5)
    busy(driver, market, period)
    driver.at(20.0005, lambda: market.alter(token, side, price, size, driver.now))
    return watch(driver, 80.0, step=0.01).of(token)


def false_proofs(tally: Tally) -> list:
    """Reads that are really older than was allowed; each rests on a proof of what was gone."""
    return tally.older_than(1.0 + MS + MS)


@pytest.mark.parametrize("period", [0.1, 1.0, 5.0, 7.0])
def test_a_level_that_one_token_lost_silently_is_noticed_a_tenth_of_a_second_after_the_next_message(period):
    wrong = false_proofs(one_sided(period, B, "BUY", 4500, 0))
    assert all(read.at <= 20.0 + period + 0.1 + 0.02 for read in wrong), shown(wrong)
    assert len(wrong) <= 12, "reads are 0.01 s apart"


@pytest.mark.parametrize("period", [0.1, 5.0])
@pytest.mark.parametrize(("token", "side", "price", "size"), [(A, "SELL", 5500, 0), (B, "SELL", 5900, 7 * SHARE)])
def test_any_level_that_only_one_token_has_is_noticed_as_soon(period, token, side, price, size):
    wrong = false_proofs(one_sided(period, token, side, price, size))
    assert all(read.at <= 20.0 + period + 0.1 + 0.02 for read in wrong), shown(wrong)
    assert len(wrong) <= 12, "reads are 0.01 s apart"


@pytest.mark.parametrize("period", [0.1, 5.0])
def test_with_both_hashes_a_level_that_one_token_lost_is_noticed_at_once(period):
    wrong = false_proofs(one_sided(period, B, "BUY", 4500, 0, prove_both_hashes=True))
    assert not wrong, shown(wrong)
