"""The self-check: what is wrong is said once, and what is well again, too."""

from __future__ import annotations

import asyncio

import pytest

from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.operate import health
from bots.common.operate.health import Health, Vital
from bots.common.operate.supervise import RestartPolicy, Supervisor
from bots.updown.watch import prices
from polymirror.simulator.virtual.loop import run_virtual
from polymirror.venue.network import Network
from tests.bots.crash_rig import Clock, an_order, drive


class Heard:
    def __init__(self):
        self.texts = []

    def notify(self, text):
        self.texts.append(text)


class Part:
    def __init__(self):
        self.ok = True

    def __call__(self):
        return Vital("part", self.ok, "good" if self.ok else "bad")


def network():
    loop = asyncio.get_running_loop()
    return Network(monotonic=loop.time, wall=loop.wall)


def test_all_parts_are_asked_again_and_again(caplog):
    caplog.set_level("INFO")

    async def main():
        asked = []

        def probe():
            asked.append(asyncio.get_running_loop().time())
            return Vital("x", ok=True, words="fine")

        checker = Health([probe], network(), every=60)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(checker.run())
            await asyncio.sleep(301)
            task.cancel()
        return asked, checker.last

    asked, last = run_virtual(main)
    assert len(asked) == 5
    assert last.ok
    assert str(last) == "x: fine; event loop: 0 ms late"
    assert last.describe()["parts"]["x"] == {"ok": True, "is": "fine"}
    assert "health: x: fine" in caplog.text


def test_a_person_is_told_once_when_something_is_bad_and_once_when_it_is_back():
    part, heard = Part(), Heard()
    checker = Health([part], Clock().network(), heard.notify, confirm=2)
    for ok in (True, False, True, False, False, False, True, True):
        part.ok = ok
        checker.check()
    assert heard.texts == ["not well: part: bad", "well again: part: good"]


def test_a_probe_that_fails_is_a_part_that_is_not_well():
    def sick():
        raise RuntimeError("no idea")

    checker = Health([sick, Part()], Clock().network())
    report = checker.check()
    assert [str(vital) for vital in report.vitals[:2]] == ["sick: RuntimeError: no idea", "part: good"]
    assert not report.ok
    assert "NOT OK sick" in str(report)


def test_a_busy_event_loop_is_noticed():
    async def main():
        loop = asyncio.get_running_loop()
        late = [0.0]
        slow = Network(monotonic=lambda: loop.time() + late[0], wall=loop.wall)
        checker = Health([], slow, every=10)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(checker.run())
            await asyncio.sleep(5)
            late[0] = 2.0
            await asyncio.sleep(6)
            first = checker.last
            await asyncio.sleep(10)
            task.cancel()
        return first, checker.last

    first, last = run_virtual(main)
    assert str(first.vitals[-1]) == "event loop: 2000 ms late"
    assert not first.ok
    assert last.ok


def test_domains_that_are_not_running_are_named():
    async def main():
        async def fails():
            raise RuntimeError("broken")

        policy = RestartPolicy(base=1000, cap=1000)
        async with Supervisor(network(), policy) as supervisor:
            probe = health.tasks(supervisor)
            supervisor.keep("good", asyncio.Event().wait)
            await asyncio.sleep(0)
            before = probe()
            supervisor.keep("btc", fails)
            await asyncio.sleep(0.01)
            return before, probe()

    before, after = run_virtual(main)
    assert (before.ok, before.words) == (True, "1 running")
    assert (after.ok, after.words) == (False, "btc waiting to be restarted (RuntimeError: broken)")


def test_prices_are_fresh_or_their_assets_are_named():
    class Feed:
        buffer = property(lambda self: self)

        def stale(self, asset, _now):
            return asset == "eth"

        def age(self, _asset, _now):
            return 1.25

    clock = Clock().network()
    assert prices(Feed(), ["btc"], clock)() == Vital("prices", ok=True, words="at most 1.2 s old")
    assert prices(Feed(), ["btc", "eth"], clock)() == Vital("prices", ok=False, words="no fresh price of eth")


@pytest.mark.parametrize(("live", "ok"), [(8, True), (4, True), (3, False), (0, False)])
def test_books_are_well_while_enough_of_them_are_live(live, ok):
    assert health.books(lambda: (live, 8))() == Vital("books", ok=ok, words=f"{live} of 8 LIVE")


def test_no_books_at_all_are_no_worry():
    assert health.books(lambda: (0, 0))().ok


def test_a_ledger_that_does_not_reach_the_disk_is_a_worry():
    ledger = Ledger(Database(), Clock().network())
    probe = health.written(ledger)
    ledger.notify("notice", "something")
    assert probe() == Vital("ledger", ok=True, words="1 rows wait for the disk")
    ledger.failures = 1
    assert not probe().ok


def test_an_order_of_unknown_fate_is_a_worry_after_a_while():
    clock = Clock()
    log = Ledger(Database(), clock.network())
    drive(log.open())
    probe = health.orders(log, clock.network(), most=60)
    assert probe() == Vital("orders", ok=True, words="none under way")
    drive(log.begin(an_order()))
    assert probe().ok
    clock.seconds += 60
    assert probe() == Vital("orders", ok=True, words="1 under way, the oldest for 60 s")
    clock.seconds += 1
    assert not probe().ok
