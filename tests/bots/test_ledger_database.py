"""The file itself: killed before and after a commit, torn, full, held by another, damaged, older and newer."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bots.common.errors import BotError
from bots.common.ledger import database as database_module
from bots.common.ledger.database import Database, DiskThread, LedgerCorrupt, LedgerInUse, copies_of, sound
from bots.common.ledger.ledger import Ledger
from bots.common.ledger.reader import LedgerReader
from bots.common.ledger.schema import STEPS, VERSION
from tests.bots.crash_rig import Clock, an_order, drive

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]

DIES = """
import os, sqlite3, sys
from pathlib import Path
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from tests.bots.crash_rig import Clock, an_order, drive

where, number = sys.argv[2], int(sys.argv[3])

class Dying(Database):
    writes = 0

    def write(self, statements):
        self.writes += 1
        rows = list(statements)
        if self.writes == number and where == "before":
            os.kill(os.getpid(), 9)
        if self.writes == number and where == "inside":
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, values in rows:
                self._connection.execute(sql, values)
            os.kill(os.getpid(), 9)
        super().write(rows)
        if self.writes == number:
            os.kill(os.getpid(), 9)

ledger = Ledger(Dying(Path(sys.argv[1])), Clock().network())
drive(ledger.open())
for each in range(3):
    drive(ledger.begin(an_order(f"0xm{each}"), an_order(f"0xm{each}", "102", client_id=f"leg{each}")))
    print(each, flush=True)
"""


def orders_in(path):
    database = Database(path)
    try:
        ledger = Ledger(database, Clock().network())
        drive(ledger.open())
        return list(ledger.account.open)
    finally:
        database.close()


@pytest.mark.parametrize(("where", "kept"), [("before", 0), ("inside", 0), ("after", 1)])
@pytest.mark.parametrize("number", [1, 3])
def test_a_process_killed_at_a_write_leaves_all_of_it_or_nothing(tmp_path, where, kept, number):
    path = tmp_path / "bot.sqlite"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", DIES, str(path), where, str(number)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = orders_in(path)
    assert len(found) == 2 * (number - 1 + kept), "both legs or none"
    # What had left, because begin had returned, is there.
    assert all(f"buy:0xm{each}" in found for each in done.stdout.split())


def test_a_torn_end_of_the_write_ahead_log_loses_whole_transactions_from_the_end_and_no_part_of_one(tmp_path):
    path, torn = tmp_path / "bot.sqlite", tmp_path / "torn" / "bot.sqlite"
    database = Database(path)
    ledger = Ledger(database, Clock().network())
    drive(ledger.open())
    for each in range(3):
        drive(ledger.begin(an_order(f"0xm{each}"), an_order(f"0xm{each}", "102", client_id=f"leg{each}")))
    wal = path.with_name("bot.sqlite-wal").read_bytes()
    main = path.read_bytes()
    database.close()
    seen = set()
    for size in range(0, len(wal) + 1, 3_001):
        for filler in (b"", b"\0" * 64):
            shutil.rmtree(torn.parent, ignore_errors=True)
            torn.parent.mkdir()
            torn.write_bytes(main)
            torn.with_name("bot.sqlite-wal").write_bytes(wal[:size] + filler)
            try:
                found = orders_in(torn)
            except LedgerCorrupt:
                assert size < 4096 + 56, "only a file whose very schema was never written"
                continue
            assert found == [name for each in range(3) for name in (f"buy:0xm{each}", f"leg{each}")][: len(found)]
            assert len(found) % 2 == 0
            seen.add(len(found))
    assert {0, 2, 4} <= seen


def test_a_full_disk_is_an_error_of_the_disk_and_nothing_is_half_there(tmp_path):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    ledger = Ledger(database, Clock().network())
    drive(ledger.open())
    pages = database.read("PRAGMA page_count")[0][0]
    database.read(f"PRAGMA max_page_count = {pages}")

    async def until_full():
        for each in range(1_000):
            await ledger.begin(an_order(f"0xm{each}"))

    with pytest.raises(OSError, match="full"):
        drive(until_full())
    begun = ledger.account.totals.orders - 1
    assert len(ledger.account.open) == begun, "the order that could not be written is refused"
    assert ledger.waiting
    database.read("PRAGMA max_page_count = 100000")
    drive(ledger.flush())
    assert not ledger.waiting
    drive(ledger.begin(an_order("0xlast")))
    database.close()
    assert len(orders_in(path)) == begun + 1


def test_a_second_process_is_kept_out_and_may_read(tmp_path):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    with pytest.raises(LedgerInUse, match="in use by another process: stop it, two bots"):
        Database(path)
    with LedgerReader(path) as reader:
        assert reader.trades() == []
    database.close()
    Database(path).close()


def test_a_killed_process_lets_go(tmp_path):
    path = tmp_path / "bot.sqlite"
    holder = (
        "import sys, time\nfrom pathlib import Path\nfrom bots.common.ledger.database import Database\n"
        "held = Database(Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", holder, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LedgerInUse):
            Database(path)
        process.kill()
        process.wait(timeout=20)
    Database(path).close()


def damage(path):
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 3000] = os.urandom(3000)
    path.write_bytes(data)


def test_a_damaged_file_stops_with_what_to_do_and_the_copy_that_exists(tmp_path):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    database.copy_of_day("20260901")
    database.copy_of_day("20260902")
    database.close()
    damage(path)
    damage(tmp_path / "bot.copy-20260902.sqlite")
    with pytest.raises(LedgerCorrupt) as found:
        Database(path)
    assert "bot.copy-20260901.sqlite" in str(found.value), "the newest that is sound"
    assert "\n" not in str(found.value)
    # And so it is.
    path.unlink()
    shutil.copy(tmp_path / "bot.copy-20260901.sqlite", path)
    Database(path).close()


def test_a_file_that_is_none_of_ours_is_not_touched(tmp_path):
    path = tmp_path / "bot.sqlite"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(LedgerCorrupt, match="there is no copy"):
        Database(path)
    assert path.read_bytes().startswith(b"something else")
    assert not sound(path)


def test_there_is_one_copy_a_day_and_a_week_of_them(tmp_path):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    ledger = Ledger(database, Clock().network())
    drive(ledger.open())
    drive(ledger.begin(an_order()))
    for day in range(10, 20):
        database.copy_of_day(f"202609{day}")
        database.copy_of_day(f"202609{day}")
    database.close()
    names = [copy.name for copy in copies_of(path)]
    assert names == [f"bot.copy-202609{day}.sqlite" for day in range(13, 20)]
    assert orders_in(copies_of(path)[0]) == ["buy:0xm1"]
    assert Database().copy_of_day("20260901") is None


def test_a_copy_that_fails_leaves_the_disk_as_it_was(tmp_path, monkeypatch):
    database = Database(tmp_path / "bot.sqlite")
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database_module, "sync", full)
    with pytest.raises(OSError, match="No space"):
        database.copy_of_day("20260910")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    database.close()


def test_it_is_written_ahead_synced_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "er" / "bot.sqlite"
    database = Database(path)
    assert database.read("PRAGMA journal_mode") == [("wal",)]
    assert database.read("PRAGMA synchronous") == [(2,)]
    assert database.read("PRAGMA foreign_keys") == [(1,)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    database.close()


def test_an_older_file_is_taken_forward_and_a_newer_one_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bot.sqlite"
    database = Database(path)
    ledger = Ledger(database, Clock().network())
    drive(ledger.open())
    drive(ledger.begin(an_order()))
    database.close()
    monkeypatch.setattr(database_module, "STEPS", (*STEPS, "CREATE TABLE more (seq INTEGER PRIMARY KEY);"))
    monkeypatch.setattr(database_module, "VERSION", VERSION + 1)
    database = Database(path)
    assert database.read("PRAGMA user_version") == [(VERSION + 1,)]
    assert database.read("SELECT count(*) FROM more") == [(0,)]
    database.close()
    monkeypatch.undo()
    with pytest.raises(LedgerCorrupt, match="newer version"):
        Database(path)


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "bot.sqlite"
    Database(path).close()
    broken = "CREATE TABLE more (seq INTEGER PRIMARY KEY); INSERT INTO no_such_table VALUES (1);"
    monkeypatch.setattr(database_module, "STEPS", (*STEPS, broken))
    monkeypatch.setattr(database_module, "VERSION", VERSION + 1)
    with pytest.raises(Exception, match="no_such_table"):
        Database(path)
    monkeypatch.undo()
    database = Database(path)
    assert database.read("SELECT count(*) FROM sqlite_master WHERE name = 'more'") == [(0,)]
    database.close()


def test_mode_and_wallet_choose_the_file_and_it_is_never_another_s(tmp_path):
    for mode, wallet, name in (
        ("live", "0xABC", "live-0xabc"),
        ("live", "0xdef", "live-0xdef"),
        ("paper", "", "paper-account"),
    ):
        Database.of(tmp_path, mode, wallet).close()
        assert (tmp_path / f"{name}.sqlite").exists()
    (tmp_path / "live-0xabc.sqlite").rename(tmp_path / "paper-account.sqlite")
    with pytest.raises(LedgerCorrupt, match="is the ledger of mode live, not of paper"):
        Database.of(tmp_path, "paper", "")


@pytest.mark.parametrize("name", ["state.json", "intents.jsonl"])
def test_a_folder_of_a_version_without_a_ledger_is_not_started_in(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(BotError, match="end its positions"):
        Database.of(tmp_path, "live", "0xabc")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BotError, match="set another folder"):
        Database.of(tmp_path / "file" / "folder", "paper", "")


async def test_the_disk_thread_keeps_the_order_of_calls_and_off_the_event_loop():
    thread, made, release = DiskThread(), [], threading.Event()

    def slow():
        release.wait(10)
        made.append(("slow", threading.current_thread().name))

    first = asyncio.create_task(thread(slow))
    second = asyncio.create_task(thread(lambda: made.append(("quick", threading.current_thread().name))))
    await asyncio.sleep(0)
    assert made == []
    release.set()
    await asyncio.gather(first, second)
    thread.close()
    assert [name for name, _ in made] == ["slow", "quick"]
    assert all(where.startswith("disk") for _, where in made)
