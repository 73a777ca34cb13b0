"""A fleet on the real feed with orders on paper: on an exchange that it takes for the venue."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace

import pytest
from attrs import evolve

from bots.common.ledger.database import inline
from bots.pair_cost.bot import PairBot
from bots.supervisor.fleet import LAST_MS, PATIENCE_MS, Fleet
from bots.supervisor.live import run_live
from bots.testing.fleets import exchange_of
from bots.testing.stage import Stage
from polymirror.simulator.orders.wire import Geo
from polymirror.simulator.settings import DEFAULT_START_MS
from polymirror.simulator.virtual import run_virtual
from tests.bots.test_pair_cost import settings_of


def fly_on_paper(folder, seconds, *, blocked=False):
    """Run it for so long; return the exit code, what was told, and the bot."""
    folder.chmod(0o700)
    settings = settings_of()
    settings = evolve(settings, universe=evolve(settings.universe, max_markets=4, refresh_s=10))
    told, bots = [], []

    async def main():
        stage = Stage.of(exchange_of(4, 3), one_entry=False)
        stage.desk.geo = Geo(blocked=blocked)
        async with stage.venue:
            mirror = evolve(settings.mirror, endpoints=stage.venue.endpoints)
            mirrored = evolve(settings, mirror=mirror, folder=folder)
            plan = mirrored.plan()

            def make(world):
                bots.append(PairBot(plan, world))
                asyncio.get_running_loop().call_later(seconds, bots[0].drain, "the test is over")
                return bots[0]

            return await run_live(
                make, mirrored, for_real=False, least=Decimal(1), tell=told.append,
                network=stage.venue.network, offload=inline, geoblock=f"{stage.venue.base_url}/api/geoblock",
            )  # fmt: skip

    return run_virtual(main, start_ms=DEFAULT_START_MS, limit=2_000.0), "\n".join(told), bots


def test_it_trades_pairs_on_paper_until_it_is_told_to_end(tmp_path):
    code, told, (bot,) = fly_on_paper(tmp_path, 240)
    assert code == 0
    assert "region" in told
    assert "On paper only" in told
    assert '"attempts": 0' not in told
    assert bot.account.totals.orders >= 2
    assert (tmp_path / "paper-account.sqlite").exists()


def test_where_the_venue_serves_nobody_nothing_begins(tmp_path):
    code, told, bots = fly_on_paper(tmp_path, 10, blocked=True)
    assert code == 3
    assert bots == []
    assert "region" in told


@pytest.mark.slow
def test_a_second_start_goes_on_with_the_books_of_the_first(tmp_path):
    _, _, (first,) = fly_on_paper(tmp_path, 240)
    code, _, (again,) = fly_on_paper(tmp_path, 5)
    assert code == 0
    assert again.account.totals.profit == first.account.totals.profit


def test_what_a_limited_run_begins_last_is_looked_up_and_nothing_new_is_begun_meanwhile():
    def order(at_ms):
        return SimpleNamespace(at_ms=at_ms)

    account = SimpleNamespace(open={"old": order(0), "last": order(1_500_000)}, claims={})
    manager = SimpleNamespace(under_way=0, merger=SimpleNamespace(is_busy=False))
    plan = SimpleNamespace(until_ms=1_000_000)
    fleet = SimpleNamespace(plan=plan, manager=manager, account=account, engines={})

    def done(now_ms):
        return Fleet.is_done(fleet, now_ms)

    assert not done(1_000_000 + PATIENCE_MS)
    assert Fleet.closed(fleet, 1_000_000 + PATIENCE_MS) == ""
    account.open["last"] = order(1_590_000)
    assert not done(1_000_001 + PATIENCE_MS)
    assert Fleet.closed(fleet, 1_000_001 + PATIENCE_MS) == "its run is over"
    assert not done(1_590_000 + LAST_MS)
    assert done(1_590_001 + LAST_MS)
    del account.open["last"]
    assert done(1_000_001 + PATIENCE_MS)
    manager.merger.is_busy = True
    assert not done(1_000_000 + PATIENCE_MS + LAST_MS)
    assert done(1_000_001 + PATIENCE_MS + LAST_MS)
