from __future__ import annotations

import io
from itertools import product

import pytest
from rich.console import Console
from rich.text import Text

from polymirror.commands.tables import (
    BookRow,
    Dashboard,
    Moment,
    books_table,
    counts_block,
    counts_line,
    dashboard,
    format_age,
    proofs_table,
    states_line,
)
from polymirror.core.states import BookState, Reason


def drawn(renderable, width=80, **options) -> list[str]:
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(renderable)
    return console.file.getvalue().splitlines()


def row(state=BookState.LIVE, reason=Reason.PROVEN, name="BTC up", **changes) -> BookRow:
    values = {"age": 0.0123, "proof": "hash", "bid": "0.48", "ask": "0.49", "epoch": 1, "resyncs": 0, **changes}
    return BookRow(name=name, state=state, reason=reason, **values)


def picture(count: int, total: float | None = 30.0, moments: int = 300) -> Dashboard:
    moment = Moment(
        at=1.5, name="BTC up", old=BookState.LIVE, new=BookState.SUSPECT, reason=Reason.HASH_MISMATCH, detail="x" * 200
    )
    return Dashboard(
        title="polymirror demo", status="quiet", elapsed=3.21, total=total,
        rows=[row(name=f"BTC {index} up") for index in range(count)],
        moments=[moment] * moments, footer=[Text("reads 1"), Text("proofs 2")],
    )  # fmt: skip


@pytest.mark.parametrize("state", BookState)
def test_a_state_is_told_by_its_word_without_any_colour(state):
    assert state.name in "\n".join(drawn(books_table([row(state, Reason.TRACKED)], 10, 80), no_color=True))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_read_in_full_in_80_columns(reason):
    line = drawn(books_table([row(BookState.RESYNCING, reason, name="DOGE down")], 10, 80))[-1]
    assert reason.name.lower().replace("_", " ") in line


def test_a_row_shows_age_proof_prices_epoch_and_resyncs():
    line = drawn(books_table([row(epoch=3, resyncs=2)], 10, 80))[-1]
    assert line.split() == ["BTC", "up", "●", "LIVE", "proven", "12", "ms", "hash", "0.48", "0.49", "3", "2"]


def test_a_table_without_room_counts_what_it_hides_and_shows_trouble_first():
    rows = [row(name=f"B{index} up") for index in range(30)]
    rows[20] = row(BookState.SUSPECT, Reason.STALE, name="B20 up")
    lines = drawn(books_table(rows, 8, 80))
    assert len(lines) == 8
    assert "B20 up" in "\n".join(lines)
    assert "+ 25 more" in lines[-1]


@pytest.mark.parametrize(("height", "width", "count"), [*product((14, 16, 24, 40), (60, 80, 120), (2, 6, 40, 200))])
def test_a_dashboard_fits_the_terminal_exactly_or_with_lines_to_spare(height, width, count):
    lines = drawn(dashboard(picture(count), width, height), width)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "reads 1" in "\n".join(lines)


def test_a_dashboard_without_an_end_has_no_progress_bar():
    assert " of " not in drawn(dashboard(picture(2, total=None), 80, 24))[0]
    assert " of 30 s" in drawn(dashboard(picture(2), 80, 24))[0]


@pytest.mark.parametrize(
    ("age", "text"),
    [(None, "never"), (float("inf"), "never"), (0.0, "0 ms"), (0.0123, "12 ms"), (1.25, "1.2 s"), (14.6, "15 s")],
)
def test_ages_are_short(age, text):
    assert format_age(age) == text


def test_counts_are_spelt_with_the_largest_first_and_never_parted():
    counts = {"LOST_DELTA": 2, "FROZEN_TOKEN": 1000, "DISCONNECT": 2}
    assert counts_line(counts) == "frozen token 1,000 · disconnect 2 · lost delta 2"
    assert counts_block(counts, 30).splitlines() == ["frozen token 1,000", "disconnect 2 · lost delta 2"]
    assert counts_line({}) == counts_block({}) == states_line({}) == "-"
    assert states_line({"RETIRED": 2, "LIVE": 4}) == "4 LIVE, 2 RETIRED"


def test_the_table_of_proofs_has_a_column_for_each_verdict_that_occurred():
    lines = drawn(proofs_table({"hash": {"match": 1200, "healed": 3}, "probe": {"match": 1, "behind": 2}}))
    assert lines[0].split() == ["proofs", "match", "healed", "behind"]
    assert lines[1].split() == ["hash", "1,200", "3", "-"]
    assert lines[2].split() == ["probe", "1", "-", "2"]
