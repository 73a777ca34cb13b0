"""What became of a book lately: its strip, its moves, and since when nothing is LIVE."""

from __future__ import annotations

import pytest

from polymirror.core.events import Transition
from polymirror.core.states import BookState, Reason
from polymirror.status.trail import CELL_SECONDS, CELLS, MAX_MOVES, Trail

LIVE, SUSPECT, RESYNCING, RETIRED, UNPRIMED = (
    BookState.LIVE, BookState.SUSPECT, BookState.RESYNCING, BookState.RETIRED, BookState.UNPRIMED,
)  # fmt: skip


def move(at, old, new, book="11"):
    return Transition(book, at, old, new, Reason.STALE, 0)


def strip(*moves, until, state):
    trail = Trail()
    for each in moves:
        trail.note(each)
    trail.see("11", state, until)
    return trail.letters("11").lstrip()


def test_a_state_lasts_until_it_ends_and_the_worst_of_a_cell_is_shown():
    first = move(0.0, UNPRIMED, LIVE)
    assert strip(first, until=1.0, state=LIVE) == "u"
    assert strip(first, until=3 * CELL_SECONDS, state=LIVE) == "ulll"
    # Out and back within one cell is seen as long as that cell is.
    out, back = move(16.0, LIVE, SUSPECT), move(17.0, SUSPECT, LIVE)
    assert strip(first, out, back, until=50.0, state=LIVE) == "usll"
    assert strip(first, out, move(31.0, SUSPECT, RESYNCING), until=46.0, state=RESYNCING) == "ussy"
    assert strip(first, out, move(46.0, SUSPECT, RETIRED), until=61.0, state=RETIRED) == "usssr"


def test_fifteen_minutes_are_kept():
    lost = [move(0.0, LIVE, SUSPECT), move(1.0, SUSPECT, LIVE)]
    shown = strip(*lost, until=(CELLS - 1) * CELL_SECONDS, state=LIVE)
    assert (len(shown), shown[0]) == (CELLS, "s")
    assert strip(*lost, until=CELLS * CELL_SECONDS, state=LIVE) == "l" * CELLS
    assert strip(*lost, until=10_000 * CELL_SECONDS, state=LIVE) == "l" * CELLS


def test_a_book_that_was_there_before_is_known_from_when_it_is_seen():
    assert strip(until=70.0, state=LIVE) == "l"
    assert Trail().letters("11") == " " * CELLS


def test_a_time_before_the_newest_changes_nothing_older():
    trail = Trail()
    trail.see("11", LIVE, 40.0)
    trail.note(move(10.0, LIVE, SUSPECT))
    assert trail.letters("11").lstrip() == "s"


def test_the_newest_moves_are_kept_newest_first():
    trail = Trail()
    for at in range(MAX_MOVES + 5):
        trail.note(move(float(at), LIVE, SUSPECT))
    assert [each.at for each in trail.moves("11")] == [float(at) for at in range(MAX_MOVES + 4, 4, -1)]
    assert trail.moves("22") == []


def test_what_is_gone_is_forgotten():
    trail = Trail()
    for token in ("11", "22"):
        trail.note(move(0.0, UNPRIMED, LIVE, token))
    trail.keep(["22"], 5.0)
    assert trail.letters("11").strip() == ""
    assert trail.moves("11") == []
    assert trail.letters("22").strip() == "u"


@pytest.mark.parametrize(
    ("moves", "dark"),
    [
        ([], 3.0),
        ([move(5.0, UNPRIMED, LIVE)], None),
        ([move(5.0, UNPRIMED, LIVE), move(8.0, LIVE, SUSPECT), move(9.0, SUSPECT, RESYNCING)], 8.0),
        ([move(5.0, UNPRIMED, LIVE), move(8.0, LIVE, SUSPECT), move(9.0, SUSPECT, LIVE)], None),
        ([move(5.0, UNPRIMED, LIVE), move(6.0, UNPRIMED, LIVE, "22"), move(8.0, LIVE, SUSPECT)], None),
    ],
)
def test_it_is_dark_since_the_last_book_left(moves, dark):
    trail = Trail()
    for each in moves:
        trail.note(each)
    assert trail.dark_since(3.0) == dark


def test_it_is_dark_since_the_last_live_book_was_removed():
    trail = Trail()
    trail.note(move(5.0, UNPRIMED, LIVE))
    trail.keep([], 20.0)
    assert trail.dark_since(3.0) == 20.0
