"""Whatever happens to the disk: the mirror goes on, somebody is told, and what was written can be read."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polymirror import ConfigError, JournalConfig, Mirror, MirrorConfig
from polymirror.commands.app import run
from polymirror.errors import MissingExtra
from polymirror.journal import disk
from polymirror.journal.disk import index_of, journal_files
from polymirror.journal.format import End, Header, Heard, Lost, Ticked
from polymirror.journal.reader import open_journal, sessions
from polymirror.journal.replay import Replay
from polymirror.journal.writer import Writer
from tests.journal.rig import header_of, record

CONFIG = MirrorConfig().engine
SESSION = "20260101T000000Z-abcdef"
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Look into the queue more often than once a second."""
    monkeypatch.setattr("polymirror.journal.writer.POLL", 0.05)


def line(n: int, text: str = "x" * 1000) -> Heard:
    return Heard(n, n * 1000, n, 1, text, n * 1000)


def writer_in(folder: Path, **settings) -> Writer:
    def header(number, first):
        made = header_of(CONFIG)
        made.n, made.t, made.w, made.file, made.session = first.n, first.t, first.w, number, SESSION
        return made

    return Writer(folder, SESSION, header, JournalConfig(**{"min_free_bytes": 0} | settings))


def all_lines(folder: Path) -> list:
    return [each for session in sessions(folder) for each in session.lines()]


def numbers(lines) -> list[int]:
    return [each.n for each in lines if isinstance(each, Heard)]


def wait_until(holds) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.01)


def put_about_a_file(writer, first: int) -> None:
    """Put in more than 20,000 bytes, and wait until it is taken out: at once, or in two parts with a file for each."""
    for n in range(100):
        writer.put(line(first + n, os.urandom(250).hex()))
    wait_until(lambda: not writer._queue)


def test_what_is_put_in_comes_out_and_the_files_are_for_their_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "FRAME_BYTES", 2**20)
    folder = tmp_path / "new" / "one"
    writer = writer_in(folder)
    writer.start()
    for n in range(5000):
        writer.put(line(n))
    assert writer.close(PATIENCE)
    (path,) = journal_files(folder)
    found = all_lines(folder)
    assert isinstance(found[0], Header)
    assert numbers(found) == list(range(5000))
    assert found[1:] == [line(n) for n in range(5000)]
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, index_of(path), folder)] == [0o600, 0o600, 0o700]
    assert writer.lost == 0
    assert not writer.troubles
    frames = open_journal(path).frames
    assert len(frames) > 3
    assert sum(each.size for each in frames) == path.stat().st_size


def test_a_full_queue_never_waits_and_says_what_is_missing(tmp_path):
    writer = writer_in(tmp_path, queue_bytes=20_000)
    # Nobody writes yet.
    for n in range(100):
        writer.put(line(n))
    writer.start()
    wait_until(lambda: writer.files == 1)
    wait_until(lambda: not writer._queue)
    for n in range(100, 105):
        writer.put(line(n))
    assert writer.close(PATIENCE)
    found = all_lines(tmp_path)
    (lost,) = [each for each in found if isinstance(each, Lost)]
    kept = numbers(found)
    assert lost.count == 105 - len(kept) > 50
    assert (lost.n, lost.since, lost.until) == (kept[-6] + 1, (kept[-6] + 1) * 1000, 99_000)
    assert kept[-5:] == list(range(100, 105))
    assert writer.lost == lost.count


def test_files_rotate_by_size_and_the_oldest_are_deleted_only_if_that_was_asked_for(tmp_path):
    for keep, folder in ((None, tmp_path / "all"), (60_000, tmp_path / "some")):
        writer = writer_in(folder, rotate_bytes=20_000, keep_bytes=keep)
        writer.start()
        for part in range(6):
            put_about_a_file(writer, 100 * part)
        assert writer.close(PATIENCE)
        files = journal_files(folder)
        if keep is None:
            assert len(files) >= 5
            assert all(20_000 <= each.stat().st_size < 60_000 for each in files[:-1])
            assert numbers(all_lines(folder)) == list(range(600))
        else:
            assert 1 < len(files) < writer.files
            assert sum(each.stat().st_size for each in files) <= keep + 20_000
            assert any(kind == "journal deleted" for kind, _ in writer.troubles)
            assert len(list(folder.iterdir())) == 2 * len(files)


def test_what_somebody_else_is_writing_in_the_same_folder_is_not_deleted(tmp_path):
    others = "20250101T000000Z-abcdef"
    other = Writer(tmp_path, others, lambda _n, _l: header_of(CONFIG), JournalConfig(min_free_bytes=0))
    other.start()
    other.put(line(0))
    wait_until(lambda: other.bytes > 0)
    writer = writer_in(tmp_path, rotate_bytes=20_000, keep_bytes=30_000)
    writer.start()
    for part in range(4):
        put_about_a_file(writer, 100 * part)
    wait_until(lambda: any(kind == "journal deleted" for kind, _ in writer.troubles))
    # What another process holds is held from here, too, until that one is gone.
    assert journal_files(tmp_path)[0].name == f"{others}-00001.jsonl.zst"
    assert len(journal_files(tmp_path)) < 5
    other.put(line(1))
    assert other.close(PATIENCE)
    assert numbers(open_journal(journal_files(tmp_path)[0]).lines()) == [0, 1]
    for n in range(400, 500):
        writer.put(line(n, os.urandom(250).hex()))
    assert writer.close(PATIENCE)
    assert not any(path.name.startswith(others) for path in tmp_path.iterdir())


class Disk:
    """What writes to the disk, which fails after so many bytes until it is mended."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.real = os.write

    def write(self, file: int, data) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.real(file, bytes(data[: self.room]))
        self.room -= written
        return written


def test_a_full_disk_loses_what_it_must_and_recording_goes_on_when_there_is_room(tmp_path, monkeypatch):
    full = Disk(30_000)
    monkeypatch.setattr(disk.os, "write", full.write)
    writer = writer_in(tmp_path)
    n = 20
    for first in range(n):
        writer.put(line(first, os.urandom(500).hex()))
    writer.start()
    wait_until(lambda: writer.bytes > 10_000)
    while not writer.troubles:
        writer.put(line(n, os.urandom(500).hex()))
        n += 1
        time.sleep(0.001)
        assert n < 100_000
    assert "No space left on device; it is tried again" in writer.troubles[0][1]
    full.room = 10**9
    wait_until(lambda: writer._file is None or writer.files == 2)
    writer._retry_at = 0.0
    for more in range(n, n + 50):
        writer.put(line(more))
    assert writer.close(PATIENCE)
    found = all_lines(tmp_path)
    assert len(journal_files(tmp_path)) == 2
    kept = numbers(found)
    lost = [each for each in found if isinstance(each, Lost)]
    assert sum(each.count for each in lost) == n + 50 - len(kept) > 0
    assert kept[:20] == list(range(20))
    assert kept[-50:] == list(range(n, n + 50))
    assert any("recording again" in each for _, each in writer.troubles)


@pytest.mark.parametrize("how", ["a file", "no right"])
def test_a_folder_that_cannot_be_written_to_is_told_and_the_mirror_goes_on(how, tmp_path, caplog):
    folder = tmp_path / "journal"
    if how == "a file":
        folder.write_text("")
    elif os.geteuid() == 0:
        # Nothing keeps this user out, but this does.
        folder = Path("/proc/nothing")
    else:
        folder.mkdir(mode=0o500)
    seen = record(folder, seconds=10, faults=())
    assert seen.moves >= 6
    assert any("nothing can be recorded in" in each.message for each in caplog.records)


def test_a_folder_that_goes_away_is_noticed_and_made_again(tmp_path):
    folder = tmp_path / "journal"
    writer = writer_in(folder)
    writer.start()
    writer.put(line(0))
    wait_until(lambda: writer.bytes > 0)
    shutil.move(folder, tmp_path / "moved")
    writer.put(line(1))
    wait_until(lambda: bool(writer.troubles))
    writer._retry_at = 0.0
    wait_until(lambda: writer._retry_at == 0.0)
    writer.put(line(2))
    assert writer.close(PATIENCE)
    assert numbers(all_lines(tmp_path / "moved"))[:1] == [0]
    assert numbers(all_lines(folder)) == [2]


def test_room_is_left_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 2**20))
    writer = writer_in(tmp_path, min_free_bytes=2**21)
    writer.start()
    writer.put(line(0))
    wait_until(lambda: bool(writer.troubles))
    assert "less than 2 MiB are free, which are left to others" in writer.troubles[0][1]
    writer.close(PATIENCE)
    assert journal_files(tmp_path) == []


@pytest.mark.parametrize("room", [0, 30_000])
def test_what_a_disk_that_stays_full_did_not_take_is_lost_and_said_so(room, tmp_path, monkeypatch):
    full = Disk(10**9)
    monkeypatch.setattr(disk.os, "write", full.write)
    writer = writer_in(tmp_path)
    n = 0
    if room:
        # Something of it is readable.
        writer.put(line(n))
        writer.start()
        n = 1
        wait_until(lambda: writer.bytes > 0)
    full.room = room
    if not room:
        writer.start()
    while not writer.troubles:
        writer.put(line(n, os.urandom(500).hex()))
        n += 1
        time.sleep(0.001)
        assert n < 100_000
    while_full = writer.lost
    writer.put(line(n))
    assert not writer.close(PATIENCE)
    kept = len(numbers(all_lines(tmp_path))) if room else 0
    assert writer.lost >= n + 1 - kept > 0
    assert while_full > 0 or not room


def test_a_second_trouble_is_told_although_the_first_one_lost_nothing(tmp_path, monkeypatch):
    free = [0]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free[0]))
    writer = writer_in(tmp_path, min_free_bytes=1)
    writer.start()
    for trouble in (1, 2):
        writer.put(line(trouble))
        wait_until(lambda: [kind for kind, _ in writer.troubles].count("journal") == trouble)  # noqa: B023 - at once
        free[0] = 10**9
        writer._retry_at = 0.0
        writer.put(line(trouble + 10))
        wait_until(lambda: [kind for kind, _ in writer.troubles].count("journal again") == trouble)  # noqa: B023
        free[0] = 0
    writer.close(PATIENCE)


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path):
    aim = tmp_path / "aim"
    aim.write_text("untouched")
    folder = tmp_path / "journal"
    folder.mkdir()
    (folder / f"{SESSION}-00001.jsonl.zst").symlink_to(aim)
    writer = writer_in(folder)
    writer.start()
    writer.put(line(0))
    wait_until(lambda: bool(writer.troubles))
    writer.close(PATIENCE)
    assert aim.read_text() == "untouched"


def test_whatever_was_handed_to_the_system_is_readable_at_once(tmp_path):
    rng = random.Random(1)
    file = disk.JournalFile(tmp_path, disk.file_name(SESSION, 1), disk.compressor("a journal"), 0.0)
    file.write([header_of(CONFIG)], 0.0)
    n = 0
    for _ in range(40):
        more = rng.randrange(1, 200)
        file.write([line(n + each, rng.randbytes(rng.randrange(1000)).hex()) for each in range(more)], 0.0)
        file.flush(0.0)
        n += more
        assert numbers(open_journal(file.path).lines()) == list(range(n))
    file.abandon()
    assert numbers(open_journal(file.path).lines()) == list(range(n))


KILLED = """
import sys, time
from pathlib import Path
from tests.journal.test_disk import line, writer_in
writer = writer_in(Path(sys.argv[1]))
writer.start()
for n in range(10**9):
    writer.put(line(n))
    if n % 100 == 0:
        print(n, flush=True)
        time.sleep(0.01)
"""


def test_a_process_that_is_killed_loses_about_a_second(tmp_path):
    child = subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    said = 0
    while said < 15_000:
        said = int(child.stdout.readline())
    # The system has it a flush later.
    wait_until(lambda: numbers(all_lines(tmp_path))[-1:] >= [10_000] if journal_files(tmp_path) else False)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    found = all_lines(tmp_path)
    kept = numbers(found)
    assert kept == list(range(len(kept)))
    assert len(kept) > 10_000
    assert not any(isinstance(each, (End, Ticked)) for each in found)


def test_a_torn_or_damaged_file_is_read_around_its_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "FRAME_BYTES", 50_000)
    seen = record(tmp_path, seconds=10)
    (path,) = journal_files(tmp_path)
    whole, frames = path.read_bytes(), open_journal(path).frames
    assert len(frames) > 2
    before = all_lines(tmp_path)
    index = index_of(path).read_bytes()
    # Without the index, and with one that is torn.
    for text in (b"", index[:-20], b"garbage\n"):
        index_of(path).write_bytes(text)
        assert all_lines(tmp_path) == before
    index_of(path).unlink()
    assert all_lines(tmp_path) == before
    index_of(path).write_bytes(index)
    # A bit is wrong in the second frame: the third is read all the same.
    middle = frames[1].at + frames[1].size // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    found = all_lines(tmp_path)
    (lost,) = [each for each in found if isinstance(each, Lost)]
    assert lost.count + len(found) - 1 == len(before)
    assert (lost.n, lost.count) == (frames[1].n, frames[1].lines)
    assert found[-1] == before[-1]
    assert "damaged" in lost.why
    replay = Replay(tmp_path)
    for _ in replay.steps():
        pass
    assert (replay.exact, replay.lost) == (False, lost.count)
    assert seen.moves > 0


@pytest.mark.parametrize(
    "where", ["in a frame", "between frames", "in the first frame", "in the header", "nothing is left"]
)
def test_what_was_cut_off_from_the_last_file_is_missed(where, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk, "FRAME_BYTES", 50_000)
    record(tmp_path, seconds=10)
    (path,) = journal_files(tmp_path)
    before, frames = all_lines(tmp_path), open_journal(path).frames
    left = {
        "in a frame": frames[-1].at + frames[-1].size // 2, "between frames": frames[-1].at,
        "in the first frame": frames[0].size - 100, "in the header": 30, "nothing is left": 0,
    }  # fmt: skip
    os.truncate(path, left[where])
    *kept, lost = all_lines(tmp_path)
    assert isinstance(lost, Lost)
    assert kept == before[: len(kept)]
    assert (lost.n, lost.count) == (before[len(kept)].n, len(before) - len(kept))
    assert "the end of the file is not there" in lost.why
    assert run(["journal", "check", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["exact"], told["lost"]) == (False, lost.count)
    assert run(["replay", str(tmp_path)]) == 0


@pytest.mark.parametrize("byte", [0, 20])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_file_whose_beginning_is_damaged_is_missed_and_the_rest_of_it_is_read(indexed, byte, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "FRAME_BYTES", 50_000)
    record(tmp_path, seconds=10)
    (path,) = journal_files(tmp_path)
    before, frames = all_lines(tmp_path), open_journal(path).frames
    whole = path.read_bytes()
    path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 255]) + whole[byte + 1 :])
    if not indexed:
        index_of(path).unlink()
    lost, *rest = all_lines(tmp_path)
    assert isinstance(lost, Lost)
    assert "damaged" in lost.why
    assert rest == (before[frames[0].lines :] if indexed else [])
    replay = Replay(tmp_path)
    for _ in replay.steps():
        pass
    assert (replay.exact, replay.lost) == (False, frames[0].lines if indexed else 1)


@pytest.mark.parametrize("folder", ["", 5, b"x"])
def test_what_is_no_path_is_refused(folder):
    with pytest.raises(ConfigError, match="the path of a folder"):
        Mirror(journal=folder)


def test_without_the_library_for_zstd_it_is_named_by_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match=r"polymirror\[recordings\]"):
        Mirror(journal=tmp_path)
