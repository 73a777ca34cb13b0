from __future__ import annotations

import gzip
import io
import json
import sys

import pytest

from polymirror.commands.app import run
from polymirror.journal import foreign as command

KEYS = {
    "frames": int, "deltas": int, "snapshots": int, "tokens": int, "transitions": int,
    "hash": {"match", "healed", "mismatch", "unverifiable"}, "bbo": {"match", "mismatch"},
    "complement": {"match", "mismatch"}, "ignored": int, "malformed": int,
}  # fmt: skip


@pytest.fixture
def golden(corpus):
    return corpus / "ws" / "golden_frames.jsonl"


def replayed(capsys) -> dict:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out.splitlines()[-1])


def test_the_golden_frames_are_proven_one_by_one(golden, capsys):
    assert run(["replay", str(golden), "--json"]) == 0
    summary = replayed(capsys)
    assert summary["hash"] == {"match": 14, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert (summary["snapshots"], summary["deltas"]) == (6, 8)
    for key, kind in KEYS.items():
        if isinstance(kind, set):
            assert kind <= set(summary[key])
        else:
            assert isinstance(summary[key], kind)


def test_a_compressed_file_and_standard_input_give_the_same(golden, tmp_path, capsys, monkeypatch):
    assert run(["replay", str(golden), "--json"]) == 0
    plain = replayed(capsys)
    packed = tmp_path / "golden.jsonl.gz"
    packed.write_bytes(gzip.compress(golden.read_bytes()))
    assert run(["replay", str(packed), "--json"]) == 0
    assert replayed(capsys) == plain
    for content in (golden.read_bytes(), packed.read_bytes()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        assert run(["replay", "-", "--json"]) == 0
        assert replayed(capsys) == plain


def test_the_summary_can_be_read_in_80_columns(golden, capsys):
    assert run(["replay", str(golden)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert any(line.split() == ["hash", "14", "0", "0", "0"] for line in lines)


GARBAGE = b'\n\xff\xfe\x00{"event_type":\nNaN\n{"event_type":"new_thing","market":"0x0"}\nPONG\n'


def test_garbage_is_counted_and_the_replay_completes(golden, tmp_path, capsys):
    file = tmp_path / "garbage.jsonl"
    file.write_bytes(GARBAGE + golden.read_bytes() + GARBAGE)
    assert run(["replay", str(file), "--json"]) == 0
    summary = replayed(capsys)
    assert summary["malformed"] >= 2
    assert summary["ignored_kinds"]["new_thing"] == 2
    assert summary["hash"]["match"] == 14


def without_books(golden) -> bytes:
    lines = golden.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if b"price_changes" in line)


@pytest.mark.parametrize(
    ("content", "said"),
    [(lambda _: GARBAGE, "its first line is no JSON"), (without_books, "keys recv_ms, frame")],
    ids=["garbage", "deltas"],
)
def test_a_recording_without_a_book_is_no_success_because_nothing_was_checked(content, said, golden, tmp_path, capsys):
    file = tmp_path / "no_book.jsonl"
    file.write_bytes(content(golden))
    for options in ([], ["--json"]):
        assert run(["replay", str(file), *options]) == 2
        out, err = capsys.readouterr()
        assert f"no whole book was found in {file}, so nothing was checked: " in err
        assert said in err
        assert err.count("\n") == 1
    # What was counted is told all the same.
    summary = json.loads(out)
    assert summary["snapshots"] == 0
    assert all(not any(summary[kind].values()) for kind in ("hash", "bbo", "complement", "resent_books", "invariants"))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path, capsys, monkeypatch):
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(b"PONG\n" * 10_000)[:-20])
    long = tmp_path / "long.jsonl"
    long.write_bytes(b"x" * 2_000)
    monkeypatch.setattr(command, "MAX_LINE_BYTES", 1_000)
    for name, said in (
        (tmp_path / "none", "no file"),
        (tmp_path, "no journal in"),
        (damaged, "damaged"),
        (long, "longer"),
    ):
        assert run(["replay", str(name)]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
