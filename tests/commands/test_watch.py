"""``polymirror watch``: what it tells on a pipe, as objects, and on a terminal, which it gives back as it was."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import termios
import time

import pytest

from polymirror.commands import watch as command
from polymirror.commands.app import run
from polymirror.commands.books import Watched
from polymirror.core.events import Transition
from polymirror.core.states import BookState, Reason
from polymirror.mirror import Mirror
from tests.commands.conftest import Served
from tests.commands.terminal import BACK, CURSOR, OTHER_SCREEN, PATIENCE, Screen

BOTH = {"BTC up", "BTC down"}

PICTURES = 20


def at(venue) -> list[str]:
    return ["--venue", venue.endpoints.clob]


@pytest.fixture
def watch_until(venue, capsys, monkeypatch):
    """Runs the command until something holds of what it has said and of what it watches, however long that takes.

    Returns the exit code, and what was said on both outputs.
    """
    tell_all = command._tell_all

    def watch(holds, *arguments):
        said = ["", ""]

        def hear() -> None:
            for number, text in enumerate(capsys.readouterr()):
                said[number] += text

        async def tell(session, watched, mirror, heard) -> None:
            task = asyncio.current_task()

            async def look() -> None:
                while not holds(said[0], watched):
                    await asyncio.sleep(0.01)
                    hear()
                task.cancel()  # as the end of its time does

            looking = asyncio.create_task(look())
            try:
                await tell_all(session, watched, mirror, heard)
            except asyncio.CancelledError:
                if not looking.done():
                    raise
                task.uncancel()

        with monkeypatch.context() as patch:
            patch.setattr(command, "_tell_all", tell)
            code = run(["watch", *arguments, "--seconds", str(PATIENCE), *at(venue)])
        hear()
        return code, *said

    return watch


def live(_, watched) -> bool:
    return watched.states() == {"LIVE": 2}


def test_json_is_an_object_a_line_as_things_happen_and_a_summary_last(venue, watch_until):
    def both_told(said, _) -> bool:
        told = [json.loads(line) for line in said.splitlines()]
        return {each["name"] for each in told if each["type"] == "book" and each["state"] == "LIVE"} == BOTH

    code, out, err = watch_until(both_told, venue.slugs[0], "--json")
    assert (code, err) == (0, "")
    objects = [json.loads(line) for line in out.splitlines()]
    kinds = [each["type"] for each in objects]
    assert kinds[-1] == "summary"
    assert kinds.count("summary") == 1
    moves = [each for each in objects if each["type"] == "transition"]
    # Those of the start, too: they are counted from before it.
    assert [(each["old"], each["new"]) for each in moves[:2]] == [("UNPRIMED", "LIVE")] * 2
    books = [each for each in objects if each["type"] == "book"]
    assert {each["name"] for each in books} == BOTH
    first = next(each for each in books if each["state"] == "LIVE")
    assert first["best_bid"] < first["best_ask"]
    assert float(first["bid_size"]) > 0
    times = [each["at"] for each in objects[:-1]]
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each) for each in times)
    assert objects[-1]["transitions"] == len(moves)
    assert {each["name"] for each in objects[-1]["books"]} == BOTH
    assert sum(objects[-1]["states"].values()) == 2


def test_it_ends_when_its_time_is_over(venue, capsys):
    assert run(["watch", venue.slugs[0], "--seconds", "0.3", "--json", *at(venue)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["seconds"] >= 0.3


def test_a_pipe_gets_a_line_with_the_time_for_each_transition(venue, watch_until):
    code, out, _ = watch_until(live, venue.slugs[0])
    assert code == 0
    told = [line for line in out.splitlines() if re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d  ", line)]
    assert [line.split("  ")[1] for line in told[:2]] == [
        "BTC up: UNPRIMED -> LIVE, proven",
        "BTC down: UNPRIMED -> LIVE, proven",
    ]


def test_once_prints_the_depth_of_the_book_that_is_named(venue, capsys):
    for name in ("down", "BTC down", venue.tokens[1]):
        assert run(["watch", venue.slugs[0], "--once", "--book", name, *at(venue)]) == 0
        out = capsys.readouterr().out
        assert out.startswith("BTC down  ● LIVE")
        assert "spread" in out


@pytest.mark.parametrize("name", ["up", "sideways"])
def test_a_book_that_is_not_one_is_refused_with_those_there_are(name, venue, capsys):
    # Of two markets, "up" is two books.
    assert run(["watch", venue.slugs[0], venue.slugs[1], "--once", "--book", name, *at(venue)]) == 2
    err = capsys.readouterr().err
    assert "BTC up, BTC down, ETH up, ETH down" in err
    assert err.count("\n") == 1


def test_a_book_is_waited_for_as_long_as_not_all_markets_are_found(venue, watch_until):
    assert Watched(Mirror()).find("up") is None
    # It may be a book of the market that is not found yet.
    assert watch_until(live, venue.slugs[0], "no-such-market", "--book", "ETH up")[0] == 0
    code, _, err = watch_until(live, venue.slugs[0], "--book", "ETH up")
    assert code == 2
    assert "BTC up, BTC down" in err


def test_a_market_that_is_not_found_is_told_and_keeps_nothing_else_waiting(venue, watch_until):
    # That the other one's books are live is waited for.
    code, out, _ = watch_until(live, "no-such-market", venue.slugs[0], "--json")
    summary = json.loads(out.splitlines()[-1])
    assert (code, summary["tokens"]) == (0, 2)
    assert summary["missing"] == {"no-such-market": "no market with slug no-such-market (yet)"}


def test_without_any_book_a_pipe_is_told_what_is_missing(watch_until, monkeypatch):
    monkeypatch.setattr(command, "PROGRESS_INTERVAL", 0.0)
    code, out, _ = watch_until(lambda said, _: "no books yet" in said, "no-such-market")
    assert code == 0
    assert "no books yet; not found yet: no-such-market; 0 transitions" in out


def test_more_transitions_than_can_be_told_are_counted(venue, watch_until, monkeypatch):
    monkeypatch.setattr(command, "MAX_HEARD", 1)
    code, out, _ = watch_until(live, venue.slugs[0], "--json")
    assert code == 0
    objects = [json.loads(line) for line in out.splitlines()]
    missed = sum(each["transitions"] for each in objects if each["type"] == "missed")
    assert missed > 0
    assert missed + sum(each["type"] == "transition" for each in objects) == objects[-1]["transitions"]


def test_transitions_are_counted_as_they_happen_and_no_more_after_the_close():
    begun = time.time()

    class Stub(Mirror):
        def __init__(self):
            super().__init__()
            self.told = []

        def on_transition(self, callback):
            self.told.append(callback)
            return lambda: self.told.remove(callback)

    heard, mirror = [], Stub()
    watched = Watched(mirror, lambda *told: heard.append(told))
    # Out and back between two pictures: a look at the states would see nothing.
    for old, new in ((BookState.LIVE, BookState.SUSPECT), (BookState.SUSPECT, BookState.LIVE)):
        mirror.told[0](Transition("11", mirror.now() - 2.0, old, new, Reason.STALE, 0))
    assert watched.transitions == len(watched.moments) == len(heard) == 2
    # Each was told two seconds after it happened.
    assert begun - 2.1 <= heard[0][1] <= time.time() - 1.9
    watched.close()
    assert mirror.told == []


# ---- On a terminal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back_and_tells_the_last_state(number, venue):
    with Screen(80, 24, "watch", venue.slugs[0], *at(venue)) as screen:
        screen.read_until(OTHER_SCREEN)
        screen.read_until("LIVE")
        screen.process.send_signal(number)
        assert screen.wait() == 128 + number
        assert BACK in screen.shown
        assert screen.shown.rindex(CURSOR) > screen.shown.rindex(OTHER_SCREEN)
        # Behind it, on the screen that stays: the books as they were.
        assert "BTC up" in screen.shown[screen.shown.rindex(BACK) :]
        assert termios.tcgetattr(screen.theirs) == screen.before


def test_keys_scroll_sort_show_a_book_and_end_it(venue):
    with Screen(40, 10, "watch", *venue.slugs, *at(venue)) as screen:
        screen.read_until("more")
        screen.press(b"G")
        screen.read_until("above")
        screen.press(b"s")
        screen.read_until("by name")
        screen.press(b"b")
        screen.read_until("spread")
        screen.press(b"q")
        assert screen.wait() == 0
        assert termios.tcgetattr(screen.theirs) == screen.before


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_names_of_two_windows_leave_room_for_both_prices(columns):
    with Served(seed=7, markets=8) as venue:
        # The eighth market is the next window of the first asset, so names have the time of day.
        slugs = venue.slugs[0], venue.slugs[7]
        with Screen(columns, 14, "watch", *slugs, *at(venue)) as screen:
            screen.read_until("4 LIVE")
            # What comes first may be the rest of a picture.
            for _ in range(PICTURES):
                shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.read_until("transitions"))
                rows = [line.strip() for line in shown.splitlines() if "●" in line and "→" not in line]
                if len(rows) >= 4:
                    break
            screen.press(b"q")
            assert screen.wait() == 0
    assert len(rows) >= 4
    for line in rows[:4]:
        assert re.match(r"BTC \d\d:\d\d (up|down) +● LIVE ", line), line
        assert len(re.findall(r"(?<![\d.…])0\.\d\d(?![\d…])", line)) == 2, line


def test_a_market_that_is_not_found_stands_in_the_picture(venue):
    with Screen(40, 14, "watch", "no-such-market", venue.slugs[0], *at(venue)) as screen:
        screen.read_until("no market with slug no-such-market")
        screen.read_until("LIVE")
        screen.press(b"q")
        assert screen.wait() == 0


def test_a_name_that_is_no_book_is_one_line_after_the_picture(venue):
    with Screen(80, 24, "watch", venue.slugs[0], "--book", "sideways", *at(venue)) as screen:
        assert screen.wait() == 2
        assert "--book='sideways' is not allowed" in screen.shown[screen.shown.rindex(BACK) :]
        assert "Traceback" not in screen.shown


# ---- Its page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_it_serves_its_status_where_it_is_told_to_and_says_where(venue, watch_until, json_too):
    def served(said, _) -> bool:
        return re.search(r"http://127\.0\.0\.1:\d+/", said) is not None

    code, out, _ = watch_until(served, venue.slugs[0], "--http", "0", *json_too)
    assert code == 0
    if json_too:
        assert json.loads(out.splitlines()[0])["type"] == "page"
    else:
        assert out.startswith("the page is at http://127.0.0.1:")


@pytest.mark.parametrize("address", ["x", "", "1.2.3.4", "host:", ":8080", "::1:8080", "127.0.0.1:70000", "-1"])
def test_an_address_that_is_none_is_refused_with_what_it_may_be(venue, capsys, address):
    assert run(["watch", venue.slugs[0], f"--http={address}", *at(venue)]) == 2
    err = capsys.readouterr().err
    assert "--http=" in err
    assert "a port, or HOST:PORT, such as 127.0.0.1:8080" in err


def test_an_address_that_cannot_be_had_is_one_line(venue, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["watch", venue.slugs[0], "--json", "--http", str(port), *at(venue)]) == 2
    err = capsys.readouterr().err
    assert "in use" in err
    assert err.count("\n") == 1


def test_what_is_over_at_once_serves_nothing(venue, capsys):
    assert run(["watch", venue.slugs[0], "--once", "--http", "0", *at(venue)]) == 2
    assert "given only without --once" in capsys.readouterr().err


def test_what_is_looked_for_is_shown_alone_and_the_page_is_named(venue):
    with Screen(80, 24, "watch", *venue.slugs, "--http", "0", *at(venue)) as screen:
        screen.read_until("http://127.0.0.1:")
        screen.press(b"/eth up\r")
        screen.read_until("/eth up  Esc all")
        screen.press(b"b")
        assert "ETH up" in screen.read_until("spread")
        screen.press(b"q")
        assert screen.wait() == 0
