"""The page and the command line of the measurements of speed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from attrs import evolve

from benchmarks.speed import command
from benchmarks.speed.field import CONTESTANTS, NEEDS, absent
from benchmarks.speed.machine import Machine, describe
from benchmarks.speed.report import render
from benchmarks.speed.rows import Options, Row, missing

MACHINE = Machine("a processor", 2, 1, "CPython 3.11.7", "Linux x86_64", "2026-11-21", {"msgspec": "0.22.0"})

DECODE = Row(
    "hot_path_vs_decode_48_levels", "hot path / decode", 2.5, 3.0,
    details={"quartiles": [2.4, 2.6], "ns_per_change": {"polymirror": 1_234.0, "msgspec decode (floor)": 500.0},
             "wrong": {"somebody": "after frame 3"}, "note": "A note."},
)  # fmt: skip
PROVEN = Row("proven_path_vs_decode_and_sha1_48_levels", "with proof", 2.5, 2.0,
             details={"ns_per_change": {"polymirror, with full-depth proof": 2_000.0}})  # fmt: skip
COUNTED = (
    evolve(DECODE, ratio=6.0, details=DECODE.details | {
        "instructions": {"take": 300.0, "check": 3.0},
        "ns_per_change": {"msgspec decode (floor)": 500.0, "msgspec + SortedDict, no checks": 1_500.0},
    }),
    evolve(PROVEN, details=PROVEN.details | {"instructions": {"take": 300.0, "check": 97.0}}),
)  # fmt: skip
ABSENT = missing("hot_path_vs_ccxt_48_levels", "ccxt / hot path", 7.0, "not installed", at_least=True)
ROWS = (DECODE, PROVEN, ABSENT)


def test_the_page_tells_every_row_its_target_and_whether_it_was_met():
    page = render(ROWS, MACHINE, quick=False)
    assert "| hot path / decode (`hot_path_vs_decode_48_levels`) | 2.5 x (2.4 to 2.6) | ≤ 3 x | met |" in page
    assert "| 2.5 x | ≤ 2 x | **missed** |" in page
    assert "| not measured | ≥ 7 x | **missed** |" in page
    assert "- `hot_path_vs_ccxt_48_levels`: not installed." in page
    assert "| **polymirror** | 1,234 |" in page
    assert "somebody was wrong: after frame 3" in page
    assert "a processor" in page
    assert "quick run" not in page
    assert "{" not in page


def test_the_page_opens_with_what_a_user_gains_and_tells_what_was_missed_before_what_was_met():
    read = Row("live_read", "Mirror.live() of a book, CPU time", 1.354, 1.0, unit="us")
    page = render((*ROWS, read), MACHINE, quick=False)
    gains, targets = page.index("## What you gain"), page.index("## Targets")
    assert gains < page.index("## Races") < targets < page.index("## How it is measured")
    assert "- A read for execution waits for nobody: 1.35 us of CPU, and the book was proven." in page
    assert "- 3 of 4 [targets](#targets) are missed" in page
    missed, met = page[targets:].split("### Met")
    assert (missed.count("**missed** |"), met.count("**missed** |"), met.count("| met |")) == (3, 0, 1)


def test_the_page_tells_where_the_instructions_go_and_what_the_target_would_leave():
    page = " ".join(render(COUNTED, MACHINE, quick=False).split())
    assert "| `take` | 300 | 300 | | `check` | 3 | 97 | | all | 303 | 397 |" in page
    assert "decoding and 303 instructions for both books make 6 times the decoder's time" in page
    assert "three times would leave about 121" in page
    assert "checks nothing, takes 3 times the decoder's time." in page


def test_a_page_of_a_quick_run_says_so():
    assert "quick run" in render(ROWS, MACHINE, quick=True)


def test_a_page_of_one_group_is_a_page():
    assert render((ABSENT,), MACHINE, quick=False).startswith("# Performance\n")


def test_every_group_is_a_module_that_measures():
    for name in command.GROUPS:
        assert callable(importlib.import_module(f"benchmarks.speed.{name}").measure)


def test_every_contestant_is_either_there_or_named_with_what_it_lacks():
    assert set(NEEDS) == set(CONTESTANTS)
    for name, why in absent().items():
        assert name in CONTESTANTS
        assert why.startswith("not installed (")


@pytest.mark.parametrize(("rows", "status"), [((DECODE,), 0), (ROWS, 1)])
def test_the_command_prints_json_and_fails_when_a_target_is_missed(monkeypatch, capsys, rows, status):
    asked = []

    def run(groups, options):
        asked.append((groups, options))
        return rows

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "pin", lambda: None)
    with pytest.raises(SystemExit) as ended:
        command.main(["--json", "--quick", "--only", "memory", "hot_path"])
    assert ended.value.code == status
    assert asked == [(("hot_path", "memory"), Options(quick=True))]
    told = json.loads(capsys.readouterr().out)
    assert told["hot_path_vs_decode_48_levels"]["ratio"] == 2.5
    assert told["hot_path_vs_decode_48_levels"]["ok"] is True


def test_the_command_writes_the_page_and_a_table_to_read(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "run", lambda _groups, _options: ROWS)
    monkeypatch.setattr(command, "pin", lambda: None)
    monkeypatch.setattr(command, "PAGE", tmp_path / "performance.md")
    with pytest.raises(SystemExit):
        command.main(["--write"])
    assert (tmp_path / "performance.md").read_text() == render(ROWS, describe(None), quick=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["hot_path_vs_decode_48_levels", "2.5", "x", "<=", "3", "ok"]
    assert lines[2].endswith("MISSED not installed")


def test_several_groups_run_in_a_process_each_and_their_rows_come_back_whole(monkeypatch):
    started = []

    class Done:
        stderr = "what went wrong"

        def __init__(self, command):
            started.append(command[command.index("--only") + 1 :])
            rows = {"hot_path": ROWS, "memory": ()}.get(started[-1][0])
            self.stdout = "" if rows is None else json.dumps({row.name: row.as_json() for row in rows})

    monkeypatch.setattr(command.subprocess, "run", lambda command, **_: Done(command))
    monkeypatch.setattr(command, "pin", lambda: None)
    rows = list(command.run(("hot_path", "memory"), Options(quick=True)))
    assert [row.as_json() for row in rows] == [row.as_json() for row in ROWS]
    assert [row.ok for row in rows] == [row.ok for row in ROWS]
    assert started == [["hot_path", "--quick"], ["memory", "--quick"]]
    with pytest.raises(SystemExit, match="burst failed:\nwhat went wrong"):
        list(command.run(("memory", "burst"), Options()))


def test_an_unknown_group_is_named():
    with pytest.raises(SystemExit, match="--only warp: there are recorded, hot_path,"):
        command.main(["--only", "warp"])


def test_the_published_page_is_of_a_whole_run():
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert "quick run" not in page
    for part in ("## What you gain", "## Targets", "## How it is measured", "## Races", "## Caveats", "## Details"):
        assert part in page
