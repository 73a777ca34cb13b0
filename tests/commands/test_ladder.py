from __future__ import annotations

import io

import pytest
from rich.console import Console

from polymirror.commands.ladder import Ladder, ladder_picture, spell_price, spell_size
from polymirror.core.states import BookState, Reason


def ladder(**changes) -> Ladder:
    values = {
        "name": "BTC up", "state": BookState.LIVE, "reason": Reason.PROVEN, "age": 0.012,
        "bids": [(4_800, 10_000_000), (4_700, 20_500_000)], "asks": [(4_900, 5_000_000), (5_000, 1_234_567_890)],
    }  # fmt: skip
    return Ladder(**values | changes)


def drawn(one: Ladder, room: int = 20, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(ladder_picture(one, room, width))
    return console.file.getvalue().splitlines()


def test_the_best_prices_stand_in_the_middle_and_sizes_are_summed_outwards():
    lines = drawn(ladder())
    rows = [line.split()[:4] for line in lines[2:]]
    assert rows == [
        ["ask", "0.50", "1,234.56", "1,239.56"],
        ["ask", "0.49", "5.00", "5.00"],
        ["0.01", "spread"],
        ["bid", "0.48", "10.00", "10.00"],
        ["bid", "0.47", "20.50", "30.50"],
    ]
    assert "BTC up  ● LIVE  proven 12 ms ago  2 bids, 2 asks" in lines[0]


def test_the_longest_bar_is_the_largest_size():
    bars = {line.split()[1]: line.count("█") for line in drawn(ladder()) if line.startswith(("ask", "bid"))}
    assert max(bars, key=bars.get) == "0.50"
    assert bars["0.50"] == 44


def test_a_book_that_may_not_be_read_is_shown_as_such():
    lines = drawn(ladder(state=BookState.SUSPECT, reason=Reason.HASH_MISMATCH, age=4.1))
    assert "◐ SUSPECT  hash mismatch  proven 4.1 s ago" in lines[0]
    assert any("not for trading" in line for line in lines)


@pytest.mark.parametrize("sides", [{"bids": []}, {"asks": []}, {"bids": [], "asks": [], "age": None}])
def test_an_empty_side_has_no_spread(sides):
    lines = drawn(ladder(**sides))
    assert any(line.split()[:2] == ["-", "spread"] for line in lines)


@pytest.mark.parametrize("room", [5, 11, 12, 40])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_and_shows_the_best_levels_of_many(room, width):
    many = ladder(bids=[(4_800 - n, 10**12 + n) for n in range(500)], asks=[(4_900 + n, 1_000_000) for n in range(500)])
    lines = drawn(many, room, width)
    assert len(lines) <= room
    assert max(map(len, lines)) <= width
    assert "0.48" in "\n".join(lines)
    assert "0.49" in "\n".join(lines)


def test_prices_and_sizes_are_spelt_exactly_and_one_below_the_other():
    assert [spell_price(price) for price in (None, 4_800, 4_810, 4_812)] == ["-", "0.48", "0.481", "0.4812"]
    sizes = [None, 0, 1, 9_999, 10_000, 1_999_999, 1_234_567_000_000]
    assert [spell_size(size) for size in sizes] == ["-", "0.00", "<0.01", "<0.01", "0.01", "1.99", "1,234,567.00"]
