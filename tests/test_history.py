"""A history has a row for each change of a top and for each time a book could not be read, and no more than asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from polymirror import BookState, ConfigError, NotLive, Reason, UnknownToken, Update
from polymirror.core.top import Top
from polymirror.history import History
from polymirror.simulator import Simulator
from tests.loopback import PATIENCE, mirror_of, one_loop, quiet_venue, until

if TYPE_CHECKING:
    from collections.abc import Callable


class Books:
    """Stands for a mirror whose tops are what the test says."""

    tokens = ("1", "2")

    def __init__(self) -> None:
        self.seconds = 100.0
        self.tops: dict[str, tuple[int, int, int, int] | None] = {"1": (4800, 1_000_000, 4700, 2_000_000)}
        self.asked: list[float | None] = []
        self.callback: Callable[[Update], None] | None = None
        self.told: tuple[str, ...] = ()

    def now(self) -> float:
        return self.seconds

    def top(self, token: str, max_proof_age: float | None = None) -> Top:
        self.asked.append(max_proof_age)
        if token not in self.tops:
            raise UnknownToken(token)
        levels = self.tops[token]
        if levels is None:
            raise NotLive(token, BookState.SUSPECT, Reason.STALE, 1.0, 0)
        return Top(token, 0, 0, True, 5, self.seconds, self.seconds - 0.25, *levels)

    def on_update(self, callback: Callable[[Update], None], *tokens: str) -> Callable[[], None]:
        self.callback, self.told = callback, tokens

        def remove() -> None:
            self.callback = None

        return remove

    def change(self, token: str, levels: tuple[int, int, int, int] | None) -> None:
        self.seconds += 1
        self.tops[token] = levels
        if self.callback is not None:
            state = BookState.LIVE if levels is not None else BookState.SUSPECT
            self.callback(Update(token, state, Reason.PROVEN, 0, 0))


def test_each_change_of_a_top_is_a_row_and_nothing_else_is() -> None:
    books = Books()
    history = History(books, "1")
    books.change("1", books.tops["1"])
    books.change("1", (4900, 1_000_000, 4700, 2_000_000))
    first, second = history.rows
    assert (first.at, first.state, first.exchange_ms, first.verified_age) == (100.0, BookState.LIVE, 5, 0.25)
    assert (first.best_bid.price, first.best_ask.price) == (Decimal("0.48"), Decimal("0.53"))
    assert (second.at, second.best_bid.price) == (102.0, Decimal("0.49"))
    assert books.told == ("1",)


def test_a_time_without_a_readable_book_is_a_row_of_its_own() -> None:
    books = Books()
    with History(books, max_proof_age=0.5) as history:
        books.change("1", None)
        books.change("1", None)
        books.change("1", (0, 0, 4700, 2_000_000))
    books.change("1", None)
    assert [(row.state.name, row.exchange_ms, row.best_bid) for row in history.rows[1:]] == [
        ("SUSPECT", None, None), ("LIVE", 5, None),
    ]  # fmt: skip
    assert books.asked == [0.5] * 3, "both at first, then one: no read is made that is known to be refused"
    assert len(history) == 3


def test_the_oldest_rows_are_dropped_first() -> None:
    books = Books()
    history = History(books, "1", limit=2)
    for price in (1, 2, 3):
        books.change("1", (price, 1, 0, 0))
    assert [row.best_bid.price_e4 for row in history.rows] == [2, 3]


def test_tokens_that_come_and_go_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymirror.history.MAX_SHOWN", 3)
    books = Books()
    history = History(books)
    for number in range(10):
        books.change(f"{number}", (1, 1, 1, 1))
        assert len(history._shown) <= 3
    assert len(history) == 11


def test_a_history_as_a_frame() -> None:
    books = Books()
    history = History(books, "1")
    books.change("1", None)
    books.change("1", (0, 0, 4700, 2_000_000))
    names = ["at", "token", "state", "exchange_ms", "verified_age", "bid", "bid_size", "ask", "ask_size"]
    rows = [
        (100.0, "1", "LIVE", 5, 0.25, Decimal("0.48"), Decimal(1), Decimal("0.53"), Decimal(2)),
        (101.0, "1", "SUSPECT", None, None, None, None, None, None),
        (102.0, "1", "LIVE", 5, 0.25, None, None, Decimal("0.53"), Decimal(2)),
    ]
    frame = history.to_frame("polars")
    assert (frame.columns, frame.rows()) == (names, rows)
    assert frame.schema["ask"] == pl.Decimal(38, 4)
    other = history.to_frame()
    assert list(other.columns) == names
    assert other["ask"].dropna().tolist() == [Decimal("0.53"), Decimal("0.53")]
    assert history.to_frame(floats=True)["ask"].max() == 0.53


def test_a_frame_is_made_in_another_thread_while_rows_are_added() -> None:
    books = Books()
    history = History(books, "1", limit=50)
    over = threading.Event()

    def change() -> None:
        for number in range(1_000_000):
            if over.is_set():
                return
            books.change("1", (number % 97, 1, 9000, 1))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for library in ("polars", "pandas") * 10:
            frame = history.to_frame(library)
            times = list(frame["at"])
            assert len(times) <= 50
            assert times == sorted(times)
    finally:
        over.set()
        changing.join(60)


FRESH = """
import asyncio, sys, threading

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("pandas", "polars"):
            print(name, threading.current_thread() is threading.main_thread())

sys.meta_path.insert(0, Finder())
from tests.core.builders import Exchange, Rig

async def main():
    view = Rig(Exchange()).engine.peek("11", 1000.0)
    for library in ("pandas", "polars"):
        await asyncio.to_thread(view.to_frame, library)

asyncio.run(main())
"""


def test_nothing_imports_a_library_before_a_table_is_asked_for_and_then_where_it_is() -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, timeout=100,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.split() == ["pandas", "False", "polars", "False"]


@pytest.mark.parametrize("limit", [0, -1, 10_000_001, 1.0, True, "5", None])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(
        ConfigError, match=r"limit=.* is not allowed: it must be a whole number from 1 to 10000000 rows"
    ):
        History(Books(), limit=limit)


def test_an_age_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_proof_age=-1 is not allowed: it must be a number of seconds above 0"):
        History(Books(), max_proof_age=-1)


@pytest.mark.anyio
@one_loop
async def test_a_mirror_is_recorded_from_its_first_book_to_its_end() -> None:
    async with Simulator(seed=3, rate=100) as venue:
        mirror = mirror_of(venue)
        history = History(mirror)
        async with mirror:
            await mirror.wait_live(timeout=PATIENCE)
            await until(mirror, lambda: len(history) > 20)
            assert {row.token for row in history.rows} == set(mirror.tokens)
        assert all(row.best_bid is not None for row in history.rows if row.exchange_ms)


@pytest.mark.anyio
@one_loop
async def test_a_quiet_book_has_its_row_at_once() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        (row,) = History(mirror, up).rows
        assert (row.best_bid, row.best_ask) == (mirror.live(up).best_bid, mirror.live(up).best_ask)
