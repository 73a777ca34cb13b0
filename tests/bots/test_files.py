"""Files that are durable when a call returns."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from bots.common.ledger import files
from bots.common.ledger.files import Disk, DiskThread, FolderInUse, Memory, inline, open_files
from tests.bots.power_rig import PowerCutOs

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["disk", "memory"])
def some_files(request, tmp_path):
    return Disk(tmp_path / "bot" / "state") if request.param == "disk" else Memory()


def test_every_kind_of_files_reads_what_was_written(some_files):
    assert some_files.read("a") is None
    some_files.append("a", b"one\n")
    some_files.append("a", b"two\n")
    assert some_files.read("a") == b"one\ntwo\n"
    some_files.cut("a", 4)
    assert some_files.read("a") == b"one\n"
    some_files.replace("a", b"new")
    some_files.replace("b", b"other")
    assert (some_files.read("a"), some_files.read("b")) == (b"new", b"other")
    some_files.remove("a")
    some_files.remove("a")
    assert (some_files.read("a"), some_files.read("b")) == (None, b"other")


def test_files_are_for_their_owner_alone(tmp_path):
    disk = Disk(tmp_path / "bot")
    disk.append("a", b"x")
    disk.replace("b", b"x")
    modes = [(tmp_path / "bot" / name).stat().st_mode & 0o777 for name in ("a", "b", ".")]
    assert modes == [0o600, 0o600, 0o700]


def test_a_replaced_file_leaves_nothing_beside_it(tmp_path):
    Disk(tmp_path).replace("a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_is_synced_before_it_gets_its_name_and_the_folder_after_it(monkeypatch, tmp_path):
    power = PowerCutOs()
    monkeypatch.setattr(files, "os", power)
    disk = Disk(tmp_path)
    power.calls.clear()
    disk.replace("a", b"x")
    beside, named, folder = str(tmp_path / "a.new"), str(tmp_path / "a"), str(tmp_path)
    assert power.calls == [
        ("open", beside),
        ("write", beside),
        ("fsync", beside),
        ("replace", named),
        ("open", folder),
        ("fsync", folder),
    ]


def test_the_folder_is_synced_when_an_append_makes_a_file_and_not_again(monkeypatch, tmp_path):
    power = PowerCutOs()
    monkeypatch.setattr(files, "os", power)
    disk = Disk(tmp_path)
    power.calls.clear()
    disk.append("a", b"x")
    assert power.calls[-1] == ("fsync", str(tmp_path))
    disk.append("a", b"y")
    assert power.calls[-1] == ("fsync", str(tmp_path / "a"))


def test_a_new_process_makes_the_names_durable_that_a_killed_one_left_unsynced(monkeypatch, tmp_path):
    power = PowerCutOs()
    monkeypatch.setattr(files, "os", power)
    power.open(tmp_path / "a", power.O_CREAT)
    assert power.synced_names == {}
    Disk(tmp_path)
    assert list(power.synced_names) == [str(tmp_path / "a")]


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "b/a", "/a"])
def test_a_name_never_leads_out_of_the_folder(name, tmp_path):
    with pytest.raises(ValueError, match="without a folder"):
        Disk(tmp_path / "x").replace(name, b"")


def test_an_absurdly_large_file_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3)
    disk = Disk(tmp_path)
    disk.append("a", b"four")
    with pytest.raises(OSError, match="a has 4 bytes"):
        disk.read("a")


def test_a_second_holder_of_the_folder_is_refused_until_the_first_lets_go(tmp_path):
    first, second = Disk(tmp_path), Disk(tmp_path)
    first.lock()
    first.lock()
    with pytest.raises(FolderInUse, match="in use by another process"):
        second.lock()
    first.unlock()
    first.unlock()
    second.lock()
    second.unlock()


def test_a_killed_process_lets_go_of_the_folder(tmp_path):
    program = (
        "import os, pathlib, sys; from bots.common.ledger.files import Disk;"
        "Disk(pathlib.Path(sys.argv[1])).lock(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9  # noqa: S603
    Disk(tmp_path).lock()


async def test_the_disk_thread_keeps_the_order_of_calls_and_off_the_event_loop():
    thread, seen = DiskThread(), []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(thread(lambda number=number: seen.append((number, threading.current_thread().name))))
        assert [number for number, _ in seen] == list(range(20))
        assert {name for _, name in seen} == {"disk_0"}
        assert await inline(threading.current_thread) is threading.main_thread()
        with pytest.raises(OSError, match="full"):
            await thread(_fail)
    finally:
        thread.close()


def _fail():
    raise OSError("full")


def test_open_files_takes_the_folder(tmp_path):
    disk, thread = open_files(tmp_path)
    with pytest.raises(FolderInUse):
        open_files(tmp_path)
    thread.close()
    disk.unlock()
