"""What a recording may be packed in, and what is said of one that cannot be read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from polymirror.commands.app import run
from polymirror.errors import DecodeError
from polymirror.journal import foreign as recordings
from polymirror.journal.foreign import REFUSED, Recording
from tests.core.builders import START, Exchange


def frames(changes: int = 5) -> list[str]:
    exchange = Exchange()
    entries = (exchange.change("BUY", f"0.3{n}", str(n)) for n in range(1, changes + 1))
    return [exchange.opening(), *map(json.dumps, entries)]


PLAIN = ("\n".join(frames()) + "\n").encode()


def replayed(capsys, file) -> dict:
    assert run(["replay", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


@pytest.fixture
def plain(tmp_path, capsys) -> dict:
    file = tmp_path / "plain.jsonl"
    file.write_bytes(PLAIN)
    summary = replayed(capsys, file)
    assert (summary["frames"], summary["hash"]["match"], summary["malformed"]) == (6, 12, 0)
    return summary


PACKED = {
    "gzip": gzip.compress,
    "gzip in two members": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    "zstd": zstandard.compress,
    "zstd in two frames": lambda data: zstandard.compress(data[:100]) + zstandard.compress(data[100:]),
    "bzip2": bz2.compress,
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "both, packed": lambda data: gzip.compress(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")),
    "empty lines and no end of line": lambda data: b"\n\r\n" + data.rstrip(),
}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_however_it_is_packed_the_recording_is_the_same(pack, plain, tmp_path, capsys, monkeypatch):
    file = tmp_path / "recording"
    file.write_bytes(pack(PLAIN))
    assert replayed(capsys, file) == plain
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(file.read_bytes()))))
    assert replayed(capsys, "-") == plain


TABLES = {
    "texts": lambda frame, _n: {"frame": frame},
    "bytes": lambda frame, _n: {"payload": frame.encode()},
    "of another column": lambda frame, n: {"slug": "btc", "timestamp": n / 7, "raw_data": frame},
    "with receive times": lambda frame, n: {"raw": frame, "recv_ms": START + 40 + n},
}


@pytest.mark.parametrize("row", TABLES.values(), ids=TABLES)
def test_a_table_in_parquet_is_read_like_lines(row, plain, tmp_path, capsys):
    file = tmp_path / "recording.parquet"
    pq.write_table(pa.Table.from_pylist([row(frame, n) for n, frame in enumerate(frames())]), file)
    assert replayed(capsys, file) == plain


def test_a_table_of_objects_is_read_like_lines(plain, tmp_path, capsys):
    exchange = Exchange()
    opening = json.loads(exchange.opening())
    file = tmp_path / "recording.parquet"
    pq.write_table(pa.Table.from_pylist([{"data": book} for book in opening]), file)
    summary = replayed(capsys, file)
    assert (summary["snapshots"], summary["hash"]["match"]) == (2, 2)


def test_a_long_table_is_read_in_pieces_and_its_progress_told(tmp_path):
    file = tmp_path / "recording.parquet"
    pq.write_table(pa.Table.from_pylist([{"frame": "PONG"}] * 5_000), file)
    with recordings.open_recording(str(file)) as recording:
        positions = [recording.position for _ in recording.lines()]
    assert positions == list(range(1, 5_001))
    assert recording.total == 5_000


def refused(capsys, name) -> str:
    assert run(["replay", str(name)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("start", REFUSED, ids=lambda start: start.hex())
def test_what_cannot_be_read_is_named_with_what_to_do(start, tmp_path, capsys):
    file = tmp_path / "recording"
    file.write_bytes(start + bytes(100))
    said = refused(capsys, file)
    assert f"{file} is {REFUSED[start]}" in said
    assert ":" in REFUSED[start]


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n", b"\xef\xbb\xbf"], ids=["nothing", "empty lines", "a mark"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_an_empty_recording_is_called_empty(content, pack, tmp_path, capsys):
    file = tmp_path / "recording"
    file.write_bytes(pack(content))
    assert "is empty" in refused(capsys, file)


def test_no_name_and_a_folder_are_told_apart(tmp_path, capsys):
    assert "the name of the recording is empty" in refused(capsys, "")
    assert "of another recording give one of the files" in refused(capsys, tmp_path)


@pytest.mark.parametrize("pack", [PACKED[name] for name in ("gzip", "zstd", "bzip2")])
def test_damage_is_told_whatever_it_is_packed_in(pack, tmp_path, capsys):
    whole = pack(b"".join(b"%d PONG\n" % n for n in range(50_000)))
    file = tmp_path / "recording"
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    assert "the compressed data are damaged after line" in refused(capsys, file)


@pytest.mark.parametrize("pack", [PACKED[name] for name in ("gzip", "zstd", "zstd in two frames", "bzip2")])
def test_a_missing_end_is_told_after_all_that_is_there(pack, tmp_path):
    rng = random.Random(1)
    lines = [b"%d PONG\n" % rng.getrandbits(200) for _ in range(20_000)]
    file = tmp_path / "recording"
    packed = pack(b"".join(lines))
    file.write_bytes(packed[: len(packed) * 3 // 4])
    with recordings.open_recording(str(file)) as recording:
        found = []
        with pytest.raises(DecodeError, match="the compressed data are damaged after line"):
            found.extend(recording.lines())
    assert 0 < len(found) < len(lines)
    assert found == lines[: len(found)]


def test_damaged_parquet_and_one_without_frames_are_told(tmp_path, capsys):
    file = tmp_path / "recording.parquet"
    pq.write_table(pa.Table.from_pylist([{"price": 1, "size": 2}]), file)
    assert "has the columns price, size, and none with frames: one of frame, raw" in refused(capsys, file)
    file.write_bytes(file.read_bytes()[:-9])
    assert "the table is damaged" in refused(capsys, file)


def test_a_cell_is_no_longer_than_a_line_may_be(tmp_path, capsys, monkeypatch):
    file = tmp_path / "recording.parquet"
    pq.write_table(pa.Table.from_pylist([{"frame": "PONG"}, {"frame": "x" * 2_000}]), file)
    monkeypatch.setattr(recordings, "MAX_LINE_BYTES", 1_000)
    assert "line 2: longer than" in refused(capsys, file)


def test_parquet_needs_a_file(tmp_path, capsys, monkeypatch):
    file = tmp_path / "recording.parquet"
    pq.write_table(pa.Table.from_pylist([{"frame": "PONG"}]), file)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(file.read_bytes()))))
    assert "standard input is Parquet, which is read from a file only" in refused(capsys, "-")


@pytest.mark.parametrize(
    ("missing", "content"),
    [("zstandard", zstandard.compress(b"PONG")), ("pyarrow.parquet", b"PAR1")],
    ids=["zstd", "Parquet"],
)
def test_a_library_that_is_missing_is_named_by_its_extra(missing, content, tmp_path, capsys, monkeypatch):
    for name in (missing, "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    file = tmp_path / "recording"
    file.write_bytes(content + bytes(20))
    assert "pip install 'polymirror[recordings]'" in refused(capsys, file)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b"[\n", "a lone bracket"),
        (b"timestamp,bid,ask\n", "no JSON: timestamp,bid,ask"),
        (b'{"message": 1, "when": 2}\n', "an object with the keys message, when"),
        (b'{"event_type": "new_market"}\n', "an event of the type 'new_market'"),
        (b"\x1b[2J\xff" + b"x" * 500, "no JSON: \\u001b[2J"),
    ],
)
def test_a_first_line_is_told_in_words_that_are_safe_to_print(first, said, tmp_path):
    recording = Recording("r", io.BufferedReader(io.BytesIO(first)), None)
    assert list(recording.lines())
    assert said in recording.describe()
    assert len(recording.describe()) < 200
    assert recording.describe().isprintable()
