"""The page, the command line, and that a program that is not there is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fault_matrix
from benchmarks.arena import LIMITS, Cell
from benchmarks.page import render
from benchmarks.peers import COLUMNS, HEDGED
from benchmarks.results import METRICS, Matrix
from benchmarks.schedule import NO_FAULT
from polymirror.simulator.faults.catalogue import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"

ABSENT = {"nautilus_adapter": "ModuleNotFoundError: No module named 'nautilus_trader'", "official_models": "left out"}
ABSENT["ccxt_prediction"] = ABSENT[HEDGED] = "left out"


def cell(wrong=0.0, unavailable=0.0, strikes=1):
    figures = dict.fromkeys(LIMITS, wrong)
    return Cell(figures, dict(figures), unavailable, strikes, 30)


@pytest.fixture
def matrix() -> Matrix:
    made = Matrix(3_600.0, 7, (NO_FAULT, "lost_delta", "rest_404", "late_pong"), dict(ABSENT))
    for fault in made.faults:
        for column in made.columns:
            made.cells[fault, column.key] = cell()
    made.cells["lost_delta", "naive"] = cell(12.34)
    made.cells["lost_delta", "polymirror"] = cell(0.0, 0.01)
    made.cells[NO_FAULT, "polymirror_025"] = cell(0.0, 359.0)
    made.cells["rest_404", "naive"] = cell(strikes=0)
    for column in made.columns:
        made.cells["late_pong", column.key] = cell(strikes=0)
    return made


def section(page, title):
    return page.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_each_metric_has_a_table_with_the_columns_that_were_measured(matrix):
    page = render(matrix)
    for metric in METRICS:
        assert "| fault | polymirror | polymirror, 0.25 s | naive script |" in section(page, metric.title)


def test_a_row_shows_seconds_and_zero_only_for_zero(matrix):
    page = render(matrix)
    assert "| `lost_delta` | 0 | 0 | 12.3 |" in section(page, METRICS[0].title)
    assert "| `lost_delta` | <0.1 | 0 | 0 |" in section(page, "Unavailable")


def test_a_table_ends_with_its_sums(matrix):
    assert "| **sum** | **0** | **0** | **12.3** |" in section(render(matrix), METRICS[0].title)
    assert matrix.total(METRICS[0], COLUMNS[-1]) == pytest.approx(12.34)


def test_what_nobody_can_know_is_shown_and_in_no_sum(matrix):
    matrix.faults += ("replayed_connection",)
    for column in matrix.columns:
        matrix.cells["replayed_connection", column.key] = cell(20.0)
    text = section(render(matrix), METRICS[0].title)
    assert "| `replayed_connection` | 20.0 | 20.0 | 20.0 |" in text
    assert "| **sum** | **0** | **0** | **12.3** |" in text


def test_faults_that_are_zero_everywhere_are_named_in_one_line(matrix):
    text = section(render(matrix), METRICS[0].title)
    assert "0 in every column: no fault, `rest_404`, `late_pong`." in text
    assert "| `rest_404` |" not in text


def test_a_program_that_is_not_installed_is_named_with_the_reason(matrix):
    page = render(matrix)
    assert f"- **nautilus_trader**: not measured, {ABSENT['nautilus_adapter']}." in page
    assert f"not measured where this page was made ({ABSENT['nautilus_adapter']})" in page
    assert f"nautilus_adapter: not measured, {ABSENT['nautilus_adapter']}" in fault_matrix.summary(matrix)


def test_faults_that_never_struck_are_named(matrix):
    text = section(render(matrix), "Faults that found no chance")
    assert "- in any column: `late_pong`" in text
    assert "- naive script: `rest_404`" in text


def test_the_page_says_what_fail_closed_reading_costs(matrix):
    text = section(render(matrix), "Where polymirror loses")
    assert "refuses 10 % of the time even without a fault" in text
    assert "longer than the best" not in text


def test_the_page_names_the_faults_in_which_polymirror_is_the_one_that_is_wrong(matrix):
    matrix.cells["rest_404", "polymirror"] = cell(4.2)
    text = section(render(matrix), "Where polymirror loses")
    assert (
        f"- {METRICS[0].title}: polymirror was so for longer than the best of the others in `rest_404` (4.2 s)." in text
    )


def test_the_page_says_how_to_repeat_it(matrix):
    assert "\npython -m benchmarks.fault_matrix --minutes 60 --seed 7 --write" in render(matrix)


def test_all_figures_are_there_as_json(matrix):
    figures = json.loads(json.dumps(matrix.as_json()))
    assert figures["rows"]["lost_delta"]["naive"] == {
        "wrong_full_15": 12.34,
        "wrong_top_15": 12.34,
        "wrong_full_0.25": 12.34,
        "wrong_top_0.25": 12.34,
        "unavailable": 0.0,
        "strikes": 1,
    }
    assert figures["totals"]["unavailable"]["polymirror_025"] == 359.0


def test_the_page_can_be_made_from_the_figures_without_a_run(monkeypatch, tmp_path, matrix):
    (tmp_path / "figures.json").write_text(json.dumps(matrix.as_json()), encoding="utf-8")
    monkeypatch.setattr(fault_matrix, "PAGE", tmp_path / "page.md")
    assert fault_matrix.main(["--from", str(tmp_path / "figures.json"), "--write"]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == render(matrix)


def test_a_run_without_the_peers_fills_every_cell():
    told: list[str] = []
    matrix = fault_matrix.run_matrix(15.0, 7, ["lost_delta"], subjects=("", "naive_script"), tell=told.append)
    assert set(matrix.cells) == {
        (fault, key) for fault in (NO_FAULT, "lost_delta") for key in ("polymirror", "polymirror_025", "naive")
    }
    assert matrix.absent["ccxt_prediction"] == "left out"
    assert told[-1] == "4/4 lost_delta naive_script"


def test_the_command_writes_the_page_and_the_figures(monkeypatch, tmp_path, matrix, capsys):
    monkeypatch.setattr(fault_matrix, "run_matrix", lambda *_, **__: matrix)
    monkeypatch.setattr(fault_matrix, "PAGE", tmp_path / "page.md")
    assert fault_matrix.main(["--minutes", "60", "--write", "--json", str(tmp_path / "figures.json")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == render(matrix)
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["seed"] == 7
    assert "not measured" in capsys.readouterr().out


def test_an_unknown_fault_is_refused(capsys):
    with pytest.raises(SystemExit):
        fault_matrix.main(["--faults", "no_such_fault"])
    assert "no_such_fault" in capsys.readouterr().err


def test_the_page_of_the_documentation_has_every_fault_of_the_catalogue():
    page = PAGE.read_text(encoding="utf-8")
    assert [fault for fault in FAULTS if f"`{fault}`" not in page] == []


def test_the_page_of_the_documentation_shows_polymirror_within_its_promise():
    page = PAGE.read_text(encoding="utf-8")
    for metric in METRICS[:2]:
        assert "| **sum** | **0** | **0** |" in section(page, metric.title)
    for metric in METRICS[2:4]:
        assert section(page, metric.title).split("| **sum** | ", 1)[1].split(" | ")[1] == "**0**"
