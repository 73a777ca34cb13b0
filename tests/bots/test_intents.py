"""The intent log: durable before an order leaves, readable after any crash, never guessed about."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bots.common.ledger import intents
from bots.common.ledger.account import Account, AlreadyBegun, UnknownOrder
from bots.common.ledger.files import Disk, Memory
from bots.common.ledger.intents import ARCHIVE, NAME, CorruptLog, IntentLog, LogFull, read_log
from bots.common.ledger.records import BadLine, Begun, Corrected, Finished, Settled, decode, encode, seal, unseal
from bots.common.orders.order import Outcome, Result
from tests.bots.crash_rig import FEE, UP, Clock, a_sale, an_order, drive
from tests.bots.power_rig import PowerCutOs

pytestmark = pytest.mark.anyio

FILLED = Result(outcome=Outcome.FILLED, shares=Decimal(10), money=Decimal(6), fee=FEE, order_id="0xa")
DEAD = Result(outcome=Outcome.NO_MATCH)


def a_log(files, account=None, **rest):
    return IntentLog(files, Account() if account is None else account, Clock().network(), **rest)


def reopened(files, account=None):
    log = a_log(files, account)
    drive(log.open())
    return log


def begun_log(files=None, count=1):
    log = reopened(files := Memory() if files is None else files)
    for number in range(count):
        drive(log.begin(an_order(f"0xm{number}", f"10{number}"), asset="btc"))
    return log, files


RECORDS = [
    Begun(number=1, at_ms=2, order=an_order(), asset="btc", reserve=Decimal("6.0175")),
    Finished(number=2, at_ms=3, client_id="x", result=FILLED),
    Settled(number=3, at_ms=4, market="0xm", token=UP, shares=Decimal(10), cost=Decimal("6.1"), payout=Decimal(10)),
    Corrected(number=4, at_ms=5, market="0xm", token=UP, shares=Decimal(0), cost=Decimal(0), why="because"),
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_read_back_equal(record):
    assert decode(encode(record)) == record


@pytest.mark.parametrize("record", RECORDS)
def test_a_line_with_any_byte_changed_is_not_believed(record):
    line = encode(record)
    for index in range(len(line)):
        changed = line[:index] + bytes([line[index] ^ 1]) + line[index + 1 :]
        with pytest.raises(BadLine):
            decode(changed)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"kind": "dance", "n": 1, "at": 1},
        {"kind": "finish", "n": "1", "at": 1},
        {"kind": "finish", "n": True, "at": 1, "client_id": "x", "result": FILLED.to_record()},
        {"kind": "begin", "n": 1, "at": 1, "asset": "btc", "reserve": "6", "order": {}},
        {"kind": "settle", "n": 1, "at": 1, "market": "m", "token": "t", "shares": "NaN", "cost": "1", "payout": "1"},
    ],
)
def test_a_sealed_line_that_is_no_record_is_named(value):
    with pytest.raises(BadLine):
        decode(seal(value))


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_whatever_is_sealed_is_unsealed_equal(value):
    value = {"first": 1, **value}
    value.pop("crc", None)
    assert unseal(seal(value)) == value
    assert b"\n" not in seal(value)
    assert b"\0" not in seal(value)


def test_the_intent_is_on_the_disk_when_begin_returns():
    log, files = begun_log()
    assert [begun.order for begun in reopened(files).open_intents()] == [an_order("0xm0", "100")]
    assert log.open_intents()[0].asset == "btc"


def test_a_finished_order_is_no_longer_open_and_is_a_position():
    log, files = begun_log()
    drive(log.finish("buy:0xm0", FILLED))
    again = reopened(files)
    assert again.open_intents() == ()
    assert again.account.positions["100"].cost == Decimal("6.0175")
    assert again.account.snapshot() == log.account.snapshot()


def test_an_order_whose_look_up_failed_stays_open():
    log, files = begun_log()
    before = files.contents[NAME]
    for _ in range(3):
        drive(log.finish("buy:0xm0", Result(outcome=Outcome.UNKNOWN)))
    assert files.contents[NAME] == before
    for _ in range(3):
        drive(log.finish("buy:0xm0", Result(outcome=Outcome.UNKNOWN, order_id="0xa")))
    assert files.contents[NAME].count(b"\n") == before.count(b"\n") + 1
    assert reopened(files).account.name_of("buy:0xm0") == "0xa"
    assert len(log.open_intents()) == len(reopened(files).open_intents()) == 1
    drive(log.finish("buy:0xm0", DEAD))
    assert reopened(files).open_intents() == ()


def test_a_client_id_is_never_begun_twice_not_even_after_a_restart():
    log, files = begun_log()
    with pytest.raises(AlreadyBegun, match="buy:0xm0 was begun before"):
        drive(log.begin(an_order("0xm0", "100")))
    drive(log.finish("buy:0xm0", DEAD))
    for each in (log, reopened(files)):
        with pytest.raises(AlreadyBegun):
            drive(each.begin(an_order("0xm0", "100")))


def test_a_result_is_booked_once():
    log, _ = begun_log()
    drive(log.finish("buy:0xm0", FILLED))
    for result in (FILLED, Result(outcome=Outcome.UNKNOWN)):
        with pytest.raises(UnknownOrder, match="buy:0xm0 is not open"):
            drive(log.finish("buy:0xm0", result))
    assert log.account.totals.spent == 6


def test_a_torn_last_line_is_dropped_and_the_log_goes_on_after_it():
    _, files = begun_log(count=2)
    whole = files.contents[NAME]
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        files.contents[NAME] = whole[:cut]
        again = reopened(files)
        assert [begun.order.market for begun in again.open_intents()] == ["0xm0"]
        drive(again.finish("buy:0xm0", DEAD))
        assert reopened(files).open_intents() == ()


def test_an_end_that_the_file_system_filled_with_nothing_is_dropped():
    _, files = begun_log()
    whole = files.contents[NAME]
    for end in (b"\0" * 50, whole[:20] + b"\0" * 50, whole[:20] + b"\0" * 50 + b"\n"):
        files.contents[NAME] = whole + end
        assert len(reopened(files).open_intents()) == 1
        assert files.contents[NAME] == whole


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_line_is_refused_with_its_number(line):
    _, files = begun_log(count=3)
    lines = files.contents[NAME].split(b"\n")
    lines[line - 1] = lines[line - 1].replace(b'"BUY"', b'"SELL"')
    files.contents[NAME] = b"\n".join(lines)
    with pytest.raises(CorruptLog, match=rf"intents.jsonl, line {line}: the checksum"):
        reopened(files)


def test_a_missing_line_feed_in_the_middle_is_refused():
    _, files = begun_log(count=3)
    files.contents[NAME] = files.contents[NAME].replace(b"\n", b"", 1)
    with pytest.raises(CorruptLog, match="line 1"):
        reopened(files)


def test_a_line_that_comes_twice_is_refused():
    _, files = begun_log()
    files.contents[NAME] *= 2
    with pytest.raises(CorruptLog, match="line 2: its number 1 does not follow 1"):
        reopened(files)


def test_what_a_killed_process_left_unsynced_is_durable_once_it_has_been_read(monkeypatch, tmp_path):
    power = PowerCutOs()
    monkeypatch.setattr("bots.common.ledger.files.os", power)
    begun_log(Disk(tmp_path))
    path = str(tmp_path / NAME)
    power.names[path].synced = b""
    assert len(reopened(Disk(tmp_path)).open_intents()) == 1
    power.end("cut", None)
    assert len(reopened(Disk(tmp_path)).open_intents()) == 1


class Full(Memory):
    """A disk that takes ``room`` more bytes."""

    room = 0

    def append(self, name, data):
        super().append(name, data[: self.room])
        self.room -= len(data)
        if self.room < 0:
            self.room = 0
            raise OSError(28, "No space left on device")


def test_an_order_whose_intent_cannot_be_written_is_refused_and_reserves_nothing():
    files = Full()
    log = reopened(files)
    with pytest.raises(OSError, match="No space"):
        drive(log.begin(an_order()))
    assert log.open_intents() == ()


def test_the_log_goes_on_when_the_disk_has_room_again_and_no_line_is_missing():
    files = Full()
    log = reopened(files)
    files.room = 10_000
    drive(log.begin(an_order()))
    files.room = 30
    for act in (log.finish("buy:0xm1", FILLED), log.begin(an_order("0xm2", "102"))):
        with pytest.raises(OSError, match="No space"):
            drive(act)
    assert log.account.positions["101"].shares == 10
    files.room = 10_000
    drive(log.settle(log.account.positions["101"], Decimal(10)))
    again = reopened(files)
    assert again.account.snapshot() == log.account.snapshot()
    assert again.account.totals.cash == Decimal("3.9825")


async def test_a_cancelled_begin_is_booked_as_refused_and_leaves_no_hole():
    asked, files = [], Memory()

    async def slow(call):
        asked.append(call)
        if len(asked) == 2:
            await asyncio.sleep(3600)
        return call()

    log = a_log(files, offload=slow)
    await log.open()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(log.begin(an_order()))
        await asyncio.sleep(0)
        assert len(log.open_intents()) == 1
        task.cancel()
    assert log.open_intents() == ()
    await log.begin(an_order("0xm2", "102"))
    assert reopened(files).account.snapshot() == log.account.snapshot()


def test_followers_hear_what_is_new_and_after_a_restart_what_the_state_does_not_have():
    heard = []
    log = a_log(files := Memory(), followers=(heard.append,))
    drive(log.open())
    drive(log.begin(an_order()))
    snapshot = log.account.snapshot()
    drive(log.finish("buy:0xm1", FILLED))
    assert [type(record) for record in heard] == [Begun, Finished]
    again = a_log(files, Account.restore(snapshot), followers=(heard.append,))
    news = drive(again.open())
    assert heard[2:] == list(news) == heard[1:2]
    assert again.account.snapshot() == log.account.snapshot()


def test_a_log_is_shortened_by_what_the_state_has(monkeypatch):
    log, files = begun_log(count=3)
    drive(log.finish("buy:0xm0", FILLED))
    before = files.contents[NAME]
    state, through = log.account.snapshot(), log.account.through
    drive(log.compact(through))
    assert files.contents[NAME] == before
    monkeypatch.setattr(intents, "COMPACT_BYTES", 100)
    drive(log.finish("buy:0xm1", DEAD))
    drive(log.compact(through))
    contents = read_log(files.contents[NAME])
    assert (contents.base, [record.number for record in contents.records]) == (through, [through + 1])
    assert files.contents[ARCHIVE].startswith(before)
    assert log.size == len(files.contents[NAME])
    again = reopened(files, Account.restore(state))
    assert again.account.snapshot() == log.account.snapshot()
    drive(again.finish("buy:0xm2", DEAD))
    assert reopened(files, Account.restore(state)).open_intents() == ()


def test_a_shortened_log_without_its_state_is_refused(monkeypatch):
    monkeypatch.setattr(intents, "COMPACT_BYTES", 0)
    log, files = begun_log()
    drive(log.compact(log.account.through))
    with pytest.raises(CorruptLog, match="a state file that is missing or older"):
        reopened(files)


def test_lines_that_wait_for_the_disk_are_written_before_the_log_is_shortened(monkeypatch):
    monkeypatch.setattr(intents, "COMPACT_BYTES", 0)
    files = Full()
    log = reopened(files)
    files.room = 1_000
    drive(log.begin(an_order()))
    files.room = 0
    with pytest.raises(OSError, match="No space"):
        drive(log.finish("buy:0xm1", DEAD))
    files.room = 10_000
    state = log.account.snapshot()
    drive(log.compact(log.account.through))
    drive(log.begin(an_order("0xm2", "102")))
    assert reopened(files, Account.restore(state)).account.snapshot() == log.account.snapshot()


def test_flush_writes_what_waited():
    files = Full()
    log = reopened(files)
    with pytest.raises(OSError, match="No space"):
        drive(log.begin(an_order()))
    files.room = 10_000
    drive(log.flush())
    assert reopened(files).account.snapshot() == log.account.snapshot()


def test_no_order_is_begun_while_the_log_cannot_be_shortened(monkeypatch):
    log, _ = begun_log()
    monkeypatch.setattr(intents, "MAX_LOG_BYTES", 10)
    with pytest.raises(LogFull, match="can the disk be written"):
        drive(log.begin(an_order("0xm9", "109")))
    drive(log.finish("buy:0xm0", FILLED))


def test_what_an_order_reserves_is_what_it_offers_unless_told():
    log = reopened(Memory())
    drive(log.begin(an_order()))
    drive(log.begin(evolve(an_order("0xm2", "102")), reserve=Decimal("6.5")))
    drive(log.begin(a_sale()))
    assert [begun.reserve for begun in log.open_intents()] == [Decimal("6.00"), Decimal("6.5"), Decimal(0)]


def test_memory_knows_of_the_order_before_the_disk_does():
    """So that a state saved at that moment is whole, and reserves the order's money."""
    seen = []

    class Watching(Memory):
        def append(self, name, data):
            seen.append(len(log.open_intents()))
            super().append(name, data)

    log = reopened(Watching())
    drive(log.begin(an_order()))
    assert seen == [1]


def test_a_torn_line_of_a_running_process_is_cut_before_the_next_is_written():
    files = Full()
    log = reopened(files)
    files.room = 25
    with pytest.raises(OSError, match="No space"):
        drive(log.begin(an_order()))
    assert len(files.contents[NAME]) == 25
    files.room = 10_000
    drive(log.begin(an_order("0xm2", "102")))
    assert [begun.order.market for begun in reopened(files).open_intents()] == ["0xm2"]
