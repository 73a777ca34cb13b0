"""Anybody's own file: its columns, by whatever name, become windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bots.research.datasets import KNOWN, listing, look_at
from bots.research.eras import Eras
from bots.research.loaders import table
from bots.research.loaders.tables import DataError
from tests.research.builders import START_MS

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "slug,received_ms,oracle_ms,oracle_price,up_bid,up_ask,down_bid,down_ask,outcome"
SLUG = f"btc-updown-15m-{START_MS // 1000}"


def written(folder: Path, *lines: str, head: str = HEAD) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_rows_become_a_window_with_receive_times_and_a_strike(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"{SLUG},{START_MS + 1_500},{START_MS},50000.5,0.49,0.51,0.49,0.51,",
        f"{SLUG},{START_MS + 2_600},{START_MS + 1_000},,0.52,0.54,0.46,1,UP",
    )
    (found,) = table.load(path, Eras(), "mine")
    assert (found.asset, found.seconds, found.up_won, found.receives) == ("btc", 900, True, True)
    assert (found.strike_e8, found.strike_known_ms) == (5_000_050_000_000, START_MS + 1_500)
    assert len(found.oracle.at_ms) == 1
    assert found.down is not None
    assert list(found.down.ask_e4) == [5_100, 0]


def test_other_names_are_given(tmp_path: Path) -> None:
    head = HEAD.replace("oracle_price", "px").replace("received_ms", "t")
    path = written(tmp_path, f"{SLUG},{START_MS},{START_MS},1,0.4,0.5,0.4,0.5,down", head=head)
    with pytest.raises(DataError, match="lacks received_ms, oracle_price"):
        table.load(path, Eras(), "mine")
    (found,) = table.load(path, Eras(), "mine", {"oracle_price": "px", "received_ms": "t"})
    assert found.up_won is False
    with pytest.raises(DataError, match="columns names price"):
        table.load(path, Eras(), "mine", {"price": "px"})


def test_a_row_that_cannot_be_read_is_an_error_and_no_silent_gap(tmp_path: Path) -> None:
    path = written(tmp_path, f"{SLUG},soon,{START_MS},1,0.4,0.5,0.4,0.5,down")
    with pytest.raises(DataError, match=r"mine\.csv: a row cannot be read"):
        table.load(path, Eras(), "mine")


def test_a_file_is_looked_at_before_it_is_used(tmp_path: Path) -> None:
    path = written(tmp_path, head=HEAD.replace("up_ask,", ""))
    assert "It lacks up_ask" in look_at(path, {})
    said = look_at(written(tmp_path), {})
    assert "It can be read" in said
    assert "without strike" in said
    assert "without outcome" not in said


def test_the_list_says_of_each_set_where_it_is_under_which_licence_and_what_it_decides() -> None:
    said = listing()
    for each in KNOWN:
        assert all(words in said for words in (each.name, each.where, each.licence, each.size, each.decides))
