"""The ledger: what is begun is on the disk, what is on the disk is read back equal, and nothing is ever taken back."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal

import attrs
import pytest

from bots.common.errors import StateInvalid
from bots.common.execution.base import ChainStatus, Trade
from bots.common.ledger import account as account_module
from bots.common.ledger import ledger as ledger_module
from bots.common.ledger.account import Account, AlreadyBegun, Position, UnknownOrder
from bots.common.ledger.database import Database, LedgerCorrupt
from bots.common.ledger.ledger import Grounds, Ledger, LedgerFull
from bots.common.ledger.reader import LedgerReader, request
from bots.common.ledger.rows import BOOKED, TABLES, Begun, Finished, columns, from_e6, from_row, to_e6, to_row
from bots.common.orders.order import Outcome, Result, Side
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk
from tests.bots.crash_rig import FEE, LIMITS, UP, Clock, a_sale, an_order, drive

pytestmark = pytest.mark.anyio

FILLED = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(6), fee=FEE, order_id="0xa")
NO_MATCH = Result(outcome=Outcome.NO_MATCH)


def opened(store, clock=None, **rest):
    ledger = Ledger(store, (clock or Clock()).network(), **rest)
    drive(ledger.open())
    return ledger


def state_of(ledger):
    """Everything that the account knows, as plain values."""
    return {each.name: getattr(ledger.account, each.name) for each in attrs.fields(type(ledger.account))}


class Broken(Database):
    """A file whose disk takes nothing while it is broken."""

    broken = False

    def write(self, statements):
        if self.broken:
            raise OSError(28, "No space left on device")
        super().write(statements)


def a_life(ledger):
    """Every kind of row that changes the account."""
    drive(ledger.move_cash(Decimal(1000), "opening"))
    drive(ledger.begin(an_order(), asset="btc", reserves=[Decimal("6.02")]))
    drive(ledger.finish("buy:0xm1", FILLED))
    drive(ledger.begin(a_sale(shares="4.00"), asset="btc"))
    drive(ledger.finish("sell:0xm1", Result(outcome=Outcome.FILLED, shares=Decimal(4), money=Decimal(2))))
    drive(ledger.begin(an_order("0xm2", "102"), an_order("0xm2", "103", client_id="leg"), worst=Decimal("0.3")))
    drive(ledger.finish("leg", Result(outcome=Outcome.UNKNOWN, order_id="0xleg")))
    drive(ledger.finish("buy:0xm1", attrs.evolve(FILLED, fee=Decimal("0.02")), final=True))
    drive(ledger.settle(ledger.account.positions["101"], Decimal(6), "redeemed"))
    drive(ledger.correct(attrs.evolve(A_POSITION, shares=Decimal(3)), "the venue says so"))
    drive(ledger.note_risk("stop", "a test"))


A_POSITION = Position(market="0xm9", token="109", shares=Decimal(5), cost=Decimal(2))


def test_each_table_has_the_columns_of_its_class_in_their_order():
    database = Database()
    for kind, table in TABLES.items():
        found = [row[1] for row in database.read(f"PRAGMA table_info({table})")]
        more = ["profit_e6"] if kind in BOOKED else []
        assert found[: len(columns(kind)) + len(more)] == [*columns(kind), *more]


@pytest.mark.parametrize("text", ["0", "1", "-0.000001", "25.86", "1000000", "0.35", "12345.678901"])
def test_amounts_are_whole_millionths_and_come_back_without_a_digit_more(text):
    value = from_e6(to_e6(Decimal(text)))
    assert value == Decimal(text)
    assert str(value) == format(Decimal(text).normalize(), "f")


def test_a_row_is_read_back_equal():
    for record in (
        Begun(seq=1, at_ms=2, group_id="g", asset="btc", reserve=Decimal(6), worst=Decimal(5), order=an_order()),
        Begun(seq=1, at_ms=2, group_id="g", asset="", reserve=Decimal(0), worst=Decimal(0), order=a_sale()),
        Finished(seq=3, at_ms=4, client_id="c", final=True, result=FILLED),
        Finished(seq=3, at_ms=4, client_id="c", final=False, result=Result(outcome=Outcome.UNKNOWN)),
    ):
        assert from_row(type(record), to_row(record)) == record


def test_reading_many_rows_looks_at_their_classes_once(monkeypatch):
    database = Database()
    a_life(opened(database))

    def again(_kind):
        raise AssertionError

    opened(database)
    monkeypatch.setattr(attrs, "has", again)
    assert opened(database).account.totals.orders == 4


def test_what_was_read_back_is_what_was_there_and_the_risk_with_it():
    database, risks = Database(), [Risk(LIMITS), Risk(LIMITS)]
    account = Account()
    ledger = opened(database, account=account, followers=(RiskFollower(risks[0], account),))
    a_life(ledger)
    account = Account()
    again = opened(database, account=account, followers=(RiskFollower(risks[1], account),))
    assert state_of(again) == state_of(ledger)
    for name in ("entries", "stopped", "open_money"):
        assert getattr(risks[0], name) == getattr(risks[1], name)
    assert risks[1].stopped == "a test"


def test_an_intent_is_on_the_disk_when_begin_returns():
    database = Database()
    drive(opened(database).begin(an_order()))
    assert [begun.order for begun in opened(database).account.open.values()] == [an_order()]


def test_a_client_id_is_never_begun_twice_not_even_after_a_restart():
    database = Database()
    ledger = opened(database)
    drive(ledger.begin(an_order()))
    for each in (ledger, opened(database)):
        with pytest.raises(AlreadyBegun):
            drive(each.begin(an_order()))
    with pytest.raises(UnknownOrder):
        drive(ledger.finish("another", NO_MATCH))


def test_legs_are_begun_all_or_none():
    database = Broken()
    ledger = opened(database)
    database.broken = True
    with pytest.raises(OSError, match="No space left"):
        drive(ledger.begin(an_order(), an_order("0xm1", "102", client_id="leg")))
    assert ledger.account.open == {}
    database.broken = False
    drive(ledger.begin(an_order("0xm3"), an_order("0xm3", "102", client_id="leg3"), worst=Decimal("0.5")))
    rows = database.read("SELECT group_id, worst_e6 FROM orders WHERE market = '0xm3'")
    assert rows == [("buy:0xm3", 500_000)] * 2


def test_legs_of_which_one_cannot_be_begun_leave_none_of_the_others_open(monkeypatch):
    monkeypatch.setattr(account_module, "MAX_OPEN", 2)
    ledger = opened(Database())
    drive(ledger.begin(an_order()))
    with pytest.raises(StateInvalid, match="less than 2 orders"):
        drive(ledger.begin(an_order("0xm2", client_id="a"), an_order("0xm2", "202", client_id="b")))
    assert list(ledger.account.open) == ["buy:0xm1"]


def test_an_order_whose_intent_cannot_be_written_is_refused_and_reserves_nothing():
    database, risk = Broken(), Risk(LIMITS)
    account = Account()
    ledger = opened(database, account=account, followers=(RiskFollower(risk, account),))
    database.broken = True
    with pytest.raises(OSError, match="No space left"):
        drive(ledger.begin(an_order()))
    assert (account.open, risk.open_money) == ({}, 0)
    # The disk has room again: nothing was lost, and nothing is there twice.
    database.broken = False
    drive(ledger.begin(an_order("0xm2")))
    again = opened(database)
    assert again.account.totals.orders == 2
    assert list(again.account.open) == ["buy:0xm2"]


async def test_a_cancelled_begin_is_booked_as_refused():
    async def never(call):
        await asyncio.sleep(60)

    ledger = Ledger(Database(), Clock().network())
    await ledger.open()
    ledger._offload = never
    task = asyncio.create_task(ledger.begin(an_order()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.account.open == {}
    assert ledger.account.knows("buy:0xm1")


def test_no_order_is_begun_while_too_much_waits_for_the_disk(monkeypatch):
    monkeypatch.setattr(ledger_module, "MAX_PENDING", 2)
    database = Broken()
    ledger = opened(database)
    database.broken = True
    for _ in range(3):
        ledger.notify("notice", "x")
    with pytest.raises(LedgerFull):
        drive(ledger.begin(an_order()))
    assert ledger.account.totals.orders == 0


@pytest.mark.parametrize("table", [*TABLES.values(), "requests"])
def test_nothing_is_ever_changed_or_deleted(table):
    database = Database()
    ledger = opened(database)
    a_life(ledger)
    ledger.note_fill("leg", A_TRADE, 0)
    ledger.note_difference("shares", "m", "t", Decimal(1), Decimal(2), "x")
    ledger.notify("notice", "x")
    ledger.decide("m", "slug", "risk PAUSED")
    drive(ledger.flush())
    database.write([("INSERT INTO requests (at_ms, kind, detail) VALUES (1, 'stop', 'x')", ())])
    if database.read(f"SELECT count(*) FROM {table}") == [(0,)]:  # noqa: S608 - our own names
        assert table.startswith("merges"), "only pairs are merged"
        return
    changes = [f"DELETE FROM {table}", f"UPDATE {table} SET at_ms = 1"]  # noqa: S608 - our own names
    for change in changes[: 1 if table == "notices" else 2]:
        with pytest.raises(sqlite3.IntegrityError, match="nothing is taken back"):
            database.write([(change, ())])


def test_a_ledger_that_does_not_add_up_is_not_believed():
    database = Database()
    a_life(opened(database))
    database.write([("DROP TRIGGER results_no_UPDATE", ()), ("UPDATE results SET money_e6 = money_e6 + 1", ())])
    with pytest.raises(LedgerCorrupt, match="now makes"):
        opened(database)


A_TRADE = Trade(
    id="t1", order_id="0xa", market="0xm1", token=UP, side=Side.BUY, price=Decimal("0.6"), shares=Decimal(10),
    money=Decimal(6), at_ms=5, status=ChainStatus.MINED,
)  # fmt: skip


def test_equal_decisions_are_counted_and_kept_once_a_minute():
    database, clock = Database(), Clock()
    ledger = opened(database, clock)
    for _ in range(5):
        ledger.decide("m", "slug", "size TOO_DEAR", grounds=lambda: Grounds(fair=Decimal("0.66")))
    ledger.decide("m2", "other", "size TOO_DEAR")
    clock.seconds += 61
    ledger.decide("m", "slug", "size TOO_DEAR")
    ledger.decide("m", "slug", "order")
    drive(ledger.flush())
    rows = database.read("SELECT market, verdict, fair_e6, repeats FROM decisions ORDER BY seq")
    assert rows == [
        ("m", "size TOO_DEAR", 660_000, 0), ("m2", "size TOO_DEAR", None, 0),
        ("m", "size TOO_DEAR", None, 4), ("m", "order", None, 0),
    ]  # fmt: skip


def test_verdicts_that_alternate_at_every_tick_are_kept_once_a_minute_each_and_every_order_is():
    database, clock = Database(), Clock()
    ledger = opened(database, clock)
    for _ in range(600):
        ledger.decide("m", "slug", "SMALL_MOVE")
        ledger.decide("m", "slug", "size NO_EDGE")
        clock.seconds += 1
    for _ in range(2):
        ledger.decide("m", "slug", "order")
    drive(ledger.flush())
    rows = database.read("SELECT verdict, count(*), sum(repeats) FROM decisions GROUP BY verdict ORDER BY verdict")
    assert rows == [("SMALL_MOVE", 10, 540 - 59 + 50), ("order", 2, 0), ("size NO_EDGE", 10, 531)]


def test_a_clock_that_was_ahead_keeps_no_decision_from_being_written():
    database, clock = Database(), Clock()
    ledger = opened(database, clock)
    ledger.decide("m", "slug", "SMALL_MOVE")
    clock.seconds -= 86_400
    ledger.decide("m", "slug", "SMALL_MOVE")
    drive(ledger.flush())
    assert database.read("SELECT count(*) FROM decisions") == [(2,)]


def test_notices_wait_in_the_outbox_until_they_are_sent():
    ledger = opened(Database())
    ledger.notify("fill", "bought")
    ledger.notify("stop", "stopped")
    (first, _, kind, text, tries), second = drive(ledger.unsent())
    assert (kind, text, tries) == ("fill", "bought", 0)
    ledger.mark_sent(first)
    ledger.mark_sent(second[0], sent=False)
    assert [(text, tries) for _, _, _, text, tries in drive(ledger.unsent())] == [("stopped", 1)]


async def test_what_nobody_waits_for_is_written_soon_and_a_broken_disk_is_tried_again(monkeypatch, caplog):
    naps = []
    sleep = asyncio.sleep

    async def nap(seconds):
        naps.append(seconds)
        await sleep(0)
        database.broken = len(naps) < 3
        if len(naps) == 4:
            raise asyncio.CancelledError

    database = Broken()
    ledger = Ledger(database, Clock().network())
    await ledger.open()
    monkeypatch.setattr(asyncio, "sleep", nap)
    ledger.notify("notice", "x")
    task = asyncio.create_task(ledger.run())
    while ledger.waiting:
        await sleep(0)
    assert naps[:3] == [1.0, 2.0, 4.0]
    assert "2 times in a row" in caplog.text
    assert database.read("SELECT text FROM notices") == [("x",)]
    task.cancel()


async def test_a_disk_that_took_nothing_for_days_is_written_when_it_does(monkeypatch):
    naps, sleep = [], asyncio.sleep

    async def nap(seconds):
        naps.append(seconds)
        await sleep(0)

    ledger = Ledger(Database(), Clock().network())
    await ledger.open()
    monkeypatch.setattr(asyncio, "sleep", nap)
    ledger.failures = 2_000
    ledger.notify("notice", "x")
    task = asyncio.create_task(ledger.run())
    while ledger.waiting and not task.done():
        await sleep(0)
    assert (naps, ledger.waiting) == ([60.0], 0)
    task.cancel()


def test_another_process_asks_by_a_request_which_is_taken_up_once(tmp_path):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    ledger = opened(database)
    assert drive(ledger.requests()) == []
    request(path, "stop", "by hand", 1)
    assert drive(ledger.requests()) == [("stop", "by hand")]
    assert drive(ledger.requests()) == []
    request(path, "resume", "again", 2)
    assert drive(opened(database).requests()) == [("resume", "again")]
    database.close()


def test_a_stop_is_not_called_taken_up_by_a_write_that_comes_before_it_is_booked(tmp_path, monkeypatch):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    ledger = opened(database)
    request(path, "stop", "by hand", 1)
    book, seen = ledger._book, []

    def interrupted(*row, **fields):
        # The thread of the disk writes what it finds, at any instant.
        ledger._write_pending()
        seen.extend(database.read("SELECT value FROM meta WHERE name = 'request'"))
        return book(*row, **fields)

    monkeypatch.setattr(ledger, "_book", interrupted)
    assert drive(ledger.requests()) == [("stop", "by hand")]
    assert seen == [], "a crash now would lose the stop"
    assert drive(opened(database).requests()) == []
    database.close()


def test_a_stop_that_was_taken_up_outlives_a_crash_whatever_else_was_asked_with_it(tmp_path):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    ledger = opened(database)
    for number, kind in enumerate(("reconcile", "resume", "stop")):
        request(path, kind, "by hand", number)
    # Whoever asked does one thing after the other; the process ends in the first of them.
    asked = drive(ledger.requests())
    drive(ledger.flush())
    assert [kind for kind, _ in asked] == ["reconcile", "resume", "stop"]
    after, risk = Account(), Risk(LIMITS)
    follower = RiskFollower(risk, after)
    again = Ledger(database, Clock().network(), account=after, followers=(follower,))
    drive(again.open())
    assert risk.stopped == "by hand"
    assert drive(again.requests()) == []
    database.close()


def test_the_reader_reads_while_a_bot_writes(tmp_path):
    path = tmp_path / "bot.sqlite"
    database, clock = Database(path), Clock()
    ledger = opened(database, clock)
    a_life(ledger)
    clock.seconds += 86_400
    drive(ledger.begin(an_order("0xm7", "107"), asset="eth"))
    drive(ledger.finish("buy:0xm7", FILLED, final=True))
    drive(ledger.settle(ledger.account.positions["107"], Decimal(0), "worthless"))
    with LedgerReader(path) as reader:
        assert reader.account().totals == ledger.account.totals
        assert [line.outcome for line in reader.trades()] == ["filled", "unknown", "unknown", "filled", "filled"]
        daily = reader.daily()
        assert sum(daily.values()) == ledger.account.totals.profit
        assert daily["2026-09-22"] == Decimal("-6.0175")
        curve = reader.curve()
        assert (curve.profit, curve.streak) == (ledger.account.totals.profit, 1)
        assert curve.drawdown >= Decimal("6.0175")
        names, rows = reader.table("orders")
        assert len(rows) == 5
        assert "client_id" in names
    database.close()


def test_the_reader_sees_nothing_in_part_of_what_a_bot_writes_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr("bots.common.ledger.ledger.AT_ONCE", 1)
    database = Database(tmp_path / "bot.sqlite")
    ledger = opened(database)
    a_life(ledger)
    before = attrs.evolve(ledger.account.totals)

    def meanwhile(row):
        """Write more, once, while the first rows are read back."""
        if ledger.account.totals == before:
            drive(ledger.begin(an_order("0xm7", "107"), asset="eth"))
            drive(ledger.finish("buy:0xm7", FILLED, final=True))

    with LedgerReader(database.path) as reader:
        assert reader.account(meanwhile).totals == before
        assert reader.account().totals == ledger.account.totals != before
    database.close()


def test_the_first_trade_can_be_read_after_any_number_of_trades():
    database = Database()
    ledger = opened(database)
    for number in range(600):
        order = an_order(f"0xm{number}", str(number + 1000))
        drive(ledger.begin(order, asset="btc"))
        drive(ledger.finish(order.client_id, FILLED, final=True))
        drive(ledger.settle(ledger.account.positions[order.token], Decimal(10), "redeemed"))
    assert database.read("SELECT client_id, traded_e6 FROM fates ORDER BY seq LIMIT 1") == [("buy:0xm0", 10_000_000)]
    assert opened(database).account.totals == ledger.account.totals


@pytest.mark.parametrize("word", ["half an emoji: \ud83d", "nothing\x00after", "\udcff"])
def test_whatever_the_venue_wrote_the_disk_takes_it_and_what_comes_after(word):
    database = Database()
    ledger = opened(database)
    drive(ledger.begin(an_order()))
    drive(ledger.finish("buy:0xm1", attrs.evolve(FILLED, detail=word)))
    ledger.notify("order", word)
    ledger.note_fill("buy:0xm1", attrs.evolve(A_TRADE, id=word), 0)
    drive(ledger.settle(ledger.account.positions[UP], Decimal(10), "redeemed"))
    assert (ledger.waiting, len(database.read("SELECT 1 FROM redemptions"))) == (0, 1)
    assert opened(database).account.totals == ledger.account.totals


@pytest.mark.parametrize("changes", [{"at_ms": 2**63}, {"shares": Decimal(10**13)}, {"price": Decimal("1e18")}])
def test_a_number_that_no_file_takes_is_refused_and_keeps_nothing_else_from_the_disk(changes):
    database = Database()
    ledger = opened(database)
    drive(ledger.begin(an_order()))
    with pytest.raises(StateInvalid, match="fills"):
        ledger.note_fill("buy:0xm1", attrs.evolve(A_TRADE, **changes), 0)
    drive(ledger.finish("buy:0xm1", FILLED))
    assert (ledger.waiting, len(database.read("SELECT 1 FROM results"))) == (0, 1)
