"""The average and the spot price watch each other: what no market can do is said, and what it can is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.updown.oracles.buffer import OracleBuffer
from bots.updown.oracles.coherence import Coherence, CoherenceLimits
from bots.updown.oracles.ticks import Tick, TickKind
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, RoundsConfig

D = Decimal


def heard(*averages, spots=(), limits=None):
    """What is said of averages, each with its second, after spot prices that are in the buffer by then."""
    buffer = OracleBuffer()
    watch = Coherence(buffer, limits or CoherenceLimits())
    for second, price in spots:
        spot = Tick("btc", TickKind.SPOT, D(price), second * 1000, 0.0)
        buffer.put(spot)
        assert watch.hear(spot) == ""
    return [watch.hear(Tick("btc", TickKind.TWAP60, D(price), second * 1000, 0.0)) for second, price in averages]


@pytest.mark.parametrize(
    ("second", "price", "good"),
    [
        (1, "100.05", True),  # exactly 0.05 % in a second
        (1, "99.95", True),
        (1, "100.06", False),
        (1, "99.94", False),
        (4, "100.2", True),
        (4, "100.21", False),
        (10, "100.5", True),
        (300, "100.51", False),  # a silence is no licence to jump
    ],
)
def test_an_average_may_move_by_so_much_within_each_second(second, price, good):
    first, then = heard((0, "100"), (second, price))
    assert first == ""
    assert (then == "") is good


def test_what_jumps_is_said_with_its_numbers():
    assert heard((0, "100"), (1, "101"))[1] == "the average of btc went from 100 to 101 at once, by 1.0000%"


def test_an_average_is_the_mean_of_the_prices_of_its_minute():
    spots = [(second, "100") for second in range(60)]
    assert heard((59, "100.1"), spots=spots) == [""]
    (why,) = heard((59, "100.11"), spots=spots)
    assert why == "the average of btc, 100.11, is 0.1100% from the mean of its prices, 100"


def test_prices_that_are_older_than_the_minute_are_in_no_mean():
    spots = [(second, "50") for second in range(60)] + [(second, "100") for second in range(60, 120)]
    assert heard((119, "100"), spots=spots) == [""]


def test_few_prices_are_no_mean():
    assert heard((59, "200"), spots=[(second, "100") for second in range(44)]) == [""]
    assert heard((59, "200"), spots=[(second, "100") for second in range(45)]) != [""]


def test_how_far_it_may_be_is_a_setting():
    loose = CoherenceLimits(max_step=D("0.01"), max_apart=D("0.01"))
    assert heard((0, "100"), (1, "101"), limits=loose) == ["", ""]
    assert heard((59, "101"), spots=[(second, "100") for second in range(60)], limits=loose) == [""]


def test_the_prices_of_an_honest_exchange_are_coherent():
    assets = ("btc", "sol")
    oracle = Exchange(ExchangeConfig(seed=7, rounds=RoundsConfig(assets=assets))).oracle
    buffer = OracleBuffer()
    watches = {asset: Coherence(buffer) for asset in assets}
    for second in range(600):
        at_ms = DEFAULT_START_MS + second * 1000
        for asset, watch in watches.items():
            for kind, price in ((TickKind.SPOT, oracle.price), (TickKind.TWAP60, oracle.twap)):
                tick = Tick(asset, kind, price(asset, at_ms), at_ms, 0.0)
                buffer.put(tick)
                assert watch.hear(tick) == ""
