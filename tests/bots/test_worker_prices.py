"""A worker trades a window no more once the prices of its asset cannot be true, and says why."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.common.orders.facts import FactLimits
from bots.oracle_lag.signal import SignalSettings
from bots.oracle_lag.strategy import OracleLag
from bots.testing.liars import measure
from bots.updown.oracles.buffer import OracleBuffer
from bots.updown.oracles.coherence import Coherence
from bots.updown.oracles.ticks import Tick, TickKind
from bots.updown.rounds import Round, RoundSettings
from bots.updown.stats import RunStats
from bots.updown.worker import AssetWorker
from tests.bots.execution_rig import in_virtual_time, network
from tests.bots.rounds_rig import START_MS, window


def test_prices_that_jump_end_the_open_windows_of_their_asset_alone():
    async def main():
        told, stats, settings = [], RunStats(), RoundSettings()
        worker = AssetWorker(
            "btc",
            OracleLag(SignalSettings()),
            rounds=settings,
            facts=FactLimits(),
            mirror=None,
            network=network(),
            oracle=None,
            manager=None,
            stats=stats,
            tell=told.append,
            page=None,
        )
        worker._coherence = Coherence(OracleBuffer(), settings.coherence)
        worker._open[window().slug] = Round(window())
        for asset, second, price in (("btc", 0, "100"), ("eth", 0, "7"), ("eth", 1, "8"), ("btc", 1, "100.01")):
            worker._hear_tick(Tick(asset, TickKind.TWAP60, Decimal(price), START_MS + second * 1000, 0.0))
        assert (told, list(worker._open)) == ([], [window().slug])
        worker._hear_tick(Tick("btc", TickKind.TWAP60, Decimal(101), START_MS + 2_000, 0.0))
        assert (len(told), worker._open, stats.counts["prices refused"]) == (1, {}, 1)
        assert told[0].startswith(f"{window().slug} is not traded any more: the average of btc went from 100.01 to 101")

    in_virtual_time(main)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["feed late", "feed up"])
def test_prices_that_jump_are_told_at_once_and_nothing_is_bought_on_them(name):
    found = measure([name], rounds=4, seed=7)
    assert "is not traded any more: the average of" in found.told
    assert found.after_s < 5
    assert found.loss == 0
