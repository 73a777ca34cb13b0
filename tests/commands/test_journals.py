"""Recording, checking and replaying a journal from the command line."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from polymirror.commands.app import run
from polymirror.journal.disk import index_of, journal_files
from polymirror.journal.reader import sessions
from tests.journal.rig import record


def object_of(capsys) -> dict:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("journal")
    record(folder)
    return folder


def test_markets_are_recorded_checked_and_replayed(venue, tmp_path, capsys):
    folder = tmp_path / "out"
    options = ["--venue", venue.base_url, "--out", str(folder), "--seconds", "2", "--json"]
    assert run(["record", venue.slugs[0], venue.tokens[0], *options]) == 0
    recorded = object_of(capsys)
    assert recorded["markets"] == [venue.slugs[0]]
    assert recorded["states"] == {"LIVE": 2}
    assert recorded["frames"] > 0
    assert (recorded["lost"], recorded["files"], recorded["warnings"]) == (0, 1, [])
    (path,) = journal_files(folder)
    assert (recorded["bytes"], stat.S_IMODE(path.stat().st_mode)) == (path.stat().st_size, 0o600)

    assert run(["journal", "check", str(folder), "--json"]) == 0
    checked = object_of(capsys)
    assert (checked["exact"], checked["sessions"], checked["ended"], checked["lost"]) == (True, 1, 1, 0)
    assert checked["lines"] == recorded["lines"] + 1
    assert checked["hash_share"] == 1.0
    assert checked["files"][0]["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert {token["token"] for token in checked["tokens"]} == set(venue.tokens[:2])
    assert all(0 < token["live"] <= token["seconds"] for token in checked["tokens"])
    assert checked["gaps"] == []

    traces = set()
    for name in (folder, path):
        assert run(["replay", str(name), "--json"]) == 0
        replayed = object_of(capsys)
        assert (replayed["exact"], replayed["lines"], replayed["interrupted"]) == (True, checked["lines"], False)
        traces.add(replayed["trace"])
    assert len(traces) == 1


def test_what_is_recorded_is_told_in_a_line(venue, tmp_path, capsys):
    options = ["--venue", venue.base_url, "--out", str(tmp_path), "--seconds", "0.5"]
    assert run(["record", venue.slugs[0], *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1].startswith("recorded ")


def test_a_folder_that_cannot_be_written_to_is_a_mistake_at_once(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    places = [file] if os.geteuid() == 0 else [file, tmp_path / "closed"]
    (tmp_path / "closed").mkdir(mode=0o500)
    for place in places:
        assert run(["record", "btc", "--out", str(place), "--seconds", "1"]) == 2
        err = capsys.readouterr().err
        assert str(place) in err
        assert err.count("\n") == 1


def test_gaps_are_told_and_the_report_fits_80_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["journal", "check", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert "exact: replayed to the last bit" in out
    assert any("socket 1: RESET" in line for line in lines)
    (path,) = journal_files(folder)
    assert lines[-1] == f"{sha256(path.read_bytes()).hexdigest()}  {path.name}"
    # A sum and its name are one line, to be copied.
    assert max(map(len, lines[:-1])) <= 80


def test_something_missing_is_exit_code_1(folder, tmp_path, capsys):
    (path,) = journal_files(folder)
    whole = path.read_bytes()
    damaged = tmp_path / path.name
    damaged.write_bytes(whole[:-200] + b"x" + whole[-199:])
    index_of(damaged).write_bytes(index_of(path).read_bytes())
    assert run(["journal", "check", str(tmp_path), "--json"]) == 1
    checked = object_of(capsys)
    assert (checked["exact"], checked["ended"]) == (False, 0)
    assert checked["lost"] >= 1
    assert checked["gaps"][-1]["lines"] >= 1
    assert "damaged" in checked["gaps"][-1]["why"]


def test_a_journal_that_was_cut_off_is_whole_as_far_as_it_goes(folder, tmp_path, capsys):
    (path,) = journal_files(folder)
    whole = path.read_bytes()
    (tmp_path / path.name).write_bytes(whole[: len(whole) // 2])
    assert run(["journal", "check", str(tmp_path), "--json"]) == 0
    checked = object_of(capsys)
    assert (checked["exact"], checked["ended"], checked["sessions"]) == (True, 0, 1)


def test_a_replay_has_bounds_tokens_and_a_pace(folder, capsys):
    begin = sessions(folder)[0].header.w / 1e9
    assert run(["replay", str(folder), "--from", str(begin + 5), "--until", str(begin + 8), "--json"]) == 0
    part = object_of(capsys)
    assert run(["replay", str(folder), "--json"]) == 0
    whole = object_of(capsys)
    assert 0 < part["lines"] < whole["lines"]
    stamp = "2026-09-21T14:15:05"
    assert run(["replay", str(folder), "--from", stamp, "--until", str(begin + 8), "--speed", "1000"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "polymirror replay: " in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token", "123"], "--token='123' is not allowed: it must be one of those in"),
        (["--from", "nan"], "--from='nan' is not allowed: it must be a time such as"),
        (["--until", "inf"], "--until='inf' is not allowed: it must be a time such as"),
        (["--from", "2030-01-01T00:00:00"], "is from that time"),
        (["--until", "2020-01-01T00:00:00"], "is from that time"),
    ],
)
def test_a_part_in_which_there_is_nothing_is_a_mistake(options, said, folder, capsys):
    assert run(["replay", str(folder), *options]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_what_keeps_it_from_writing_is_told_while_it_records(venue, tmp_path, capsys, monkeypatch):
    told: list[str] = []

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("polymirror.journal.writer.check_room", full)
    monkeypatch.setattr("polymirror.commands.journals.LINE_SECONDS", 0.2)
    monkeypatch.setattr(
        "polymirror.commands.journals._line", lambda _mirror: told.append(capsys.readouterr().out) or "so far"
    )
    assert run(["record", venue.slugs[0], "--venue", venue.base_url, "--out", str(tmp_path), "--seconds", "4"]) == 1
    assert "No space left on device; it is tried again" in "".join(told)
    assert " lost" in capsys.readouterr().out


def test_transitions_are_told_as_they_come_at_a_pace(folder, capsys):
    assert run(["replay", str(folder), "--speed", "10000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    moves = [line for line in lines if " -> " in line]
    assert any("UNPRIMED -> LIVE PROVEN" in line for line in moves)
    assert f"transitions  {len(moves)}" in "\n".join(lines)
    assert Path(folder).is_dir()


def test_a_port_that_is_taken_is_a_mistake(folder, venue, capsys):
    port = venue.base_url.rpartition(":")[2]
    assert run(["replay", str(folder), "--serve", "--port", port]) == 2
    err = capsys.readouterr().err
    assert "cannot listen: Address already in use" in err
    assert err.count("\n") == 1


def test_a_journal_is_served_until_it_is_ended(folder):
    command = [sys.executable, "-m", "polymirror", "replay", str(folder), "--serve", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603 - ours
    ready = json.loads(child.stdout.readline())
    (slug, *_), url = ready["markets"], ready["url"]
    assert run(["watch", slug, "--venue", url, "--once", "--json"]) == 0
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, b"")
