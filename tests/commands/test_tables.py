from __future__ import annotations

import io
from datetime import datetime
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
    moments_panel,
    proofs_table,
    shortened,
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


def test_a_row_shows_age_proof_prices_refused_reads_and_resyncs():
    line = drawn(books_table([row(refused=3, resyncs=2)], 10, 80))[-1]
    assert line.split() == ["BTC", "up", "●", "LIVE", "proven", "12", "ms", "hash", "0.48", "0.49", "3", "2"]


def test_a_table_without_room_counts_what_it_hides_and_shows_trouble_first():
    rows = [row(name=f"B{index} up") for index in range(30)]
    rows[20] = row(BookState.SUSPECT, Reason.STALE, name="B20 up")
    lines = drawn(books_table(rows, 8, 80))
    assert len(lines) == 8
    assert "B20 up" in lines[2]
    assert "+ 25 more" in lines[-1]
    lines = drawn(books_table(rows, 8, 80, first=10))
    assert [line.split()[0] for line in lines[2:7]] == ["B9", "B10", "B11", "B12", "B13"]
    assert "10 above, 15 below" in lines[-1]
    # Beyond the end is the end.
    assert "B29 up" in drawn(books_table(rows, 8, 80, first=1_000))[-2]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_at_any_width_a_row_has_its_name_its_state_its_age_and_its_prices(width):
    rows = [row(name="DOGE down", bid="0.435", ask="0.445"), row(BookState.RESYNCING, Reason.HASH_MISMATCH)]
    lines = drawn(books_table(rows, 10, width), width)
    assert max(map(len, lines)) <= width
    for said in ("DOGE down", "LIVE", "12 ms", "0.435", "0.445"):
        assert said in lines[2]
    assert "RESYNC" in lines[3]
    # Where there is little room a doubted book has its reason in place of the prices it has not got.
    assert "hash misma" in lines[3]


@pytest.mark.parametrize("width", [36, 40, 60, 80, 100, 120, 132, 142, 200])
@pytest.mark.parametrize("name", ["BTC 14:15 up", "BTC 14:15 down", "will-the-fe..-2026 yes"])
@pytest.mark.parametrize("other", BookState)
def test_a_long_name_costs_no_price_at_any_width(width, name, other):
    rows = [row(name=name, bid="0.9985", ask="0.9995"), row(other, Reason.COMPLEMENT_MISMATCH, name=name)]
    lines = drawn(books_table(rows, 10, width), width)
    assert max(map(len, lines)) <= width
    # Both ends of the name: the asset, and the side.
    assert lines[2].startswith(name[:3])
    start, state, rest = lines[2].partition(" ● LIVE ")
    assert state
    assert start.rstrip().endswith(name[-3:])
    for said in (*(["12 ms"] if width >= 40 else []), "0.9985", "0.9995"):
        assert said in rest
    word = "RESYNC" if other is BookState.RESYNCING else other.name
    assert word in lines[3]


def test_a_name_is_shortened_in_the_middle():
    assert shortened("BTC 14:15 up", 12) == "BTC 14:15 up"
    assert shortened("BTC 14:15 up", 9) == "BTC…15 up"
    assert shortened("BTC 14:15 down", 8) == "BTC…down"
    assert all(len(shortened("BTC 14:15 down", room)) <= room for room in range(7, 20))


def test_a_wide_table_has_what_a_narrow_one_leaves_out():
    one = row(bid_size="185.00", ask_size="50.00", levels="38 53", since=125.0)
    wide, narrow = drawn(books_table([one], 10, 200), 200)[-1], drawn(books_table([one], 10, 80))[-1]
    for said in ("185.00", "50.00", "38 53", "2 min"):
        assert said in wide
        assert said not in narrow


def test_a_short_screen_is_for_the_books_and_a_long_one_for_transitions_as_well():
    short = "\n".join(drawn(dashboard(picture(12), 40, 14), 40))
    assert "transitions" not in short
    assert "BTC 7 up" in short
    assert "+ 4 more" in short
    tall = "\n".join(drawn(dashboard(picture(12), 80, 24)))
    assert "transitions" in tall
    assert "BTC 11 up" in tall
    # Even if not all books fit, a tall one shows what happened last.
    assert "transitions" in "\n".join(drawn(dashboard(picture(200), 80, 24)))


def test_transitions_have_the_time_of_the_clock():
    at = datetime(2026, 5, 4, 3, 2, 1, 230_000).timestamp()  # noqa: DTZ001 - this machine's time
    moment = Moment(at=at, name="BTC up", old=BookState.LIVE, new=BookState.SUSPECT, reason=Reason.STALE)
    wide = drawn(moments_panel([moment], 4, 80))[1]
    assert wide.split()[1:8] == ["03:02:01.23", "BTC", "up", "LIVE", "→", "SUSPECT", "stale"]
    narrow = drawn(moments_panel([moment], 4, 40), 40)[1]
    assert narrow.split()[1:7] == ["03:02:01", "BTC", "up", "→", "SUSPECT", "stale"]
    long = Moment(at=at, name="BTC 14:15 up", old=BookState.LIVE, new=BookState.SUSPECT, reason=Reason.STALE)
    assert "BTC…:15 up → SUSPECT stale" in drawn(moments_panel([long], 4, 40), 40)[1]


@pytest.mark.parametrize(
    ("height", "width", "count"), [*product((10, 14, 16, 24, 50), (40, 60, 80, 200), (0, 2, 6, 40, 200))]
)
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
    [
        (None, "never"),
        (float("inf"), "never"),
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (1.25, "1.2 s"),
        (14.6, "15 s"),
        (119.0, "119 s"),
        (125.0, "2 min"),
        (86_400.0, "24 h"),
    ],
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
