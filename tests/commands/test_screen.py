"""Where the commands draw: bars move and leave no trace, warnings stay out of pictures, pipes get neither."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from polymirror.commands.screen import clock_bar, is_live, kept_warnings, progress_bar


def terminal(width=80, height=24, **options) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, **options)


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else():
    for console, quiet, drawn in (
        (terminal(), False, True),
        (terminal(), True, False),
        (Console(file=io.StringIO()), False, False),
        (terminal(_environ={"TERM": "dumb"}), False, False),
    ):
        with progress_bar(console, quiet=quiet) as bar:
            bar.update(bar.add_task("reading", total=10), completed=5)
        assert ("reading" in console.file.getvalue()) == drawn
        if not drawn:
            assert console.file.getvalue().strip() == ""


def test_a_bar_of_the_clock_moves_by_itself_to_its_end_and_no_further():
    bar = clock_bar(terminal(), "soaking", 10.0)
    bar.get_time = bar.tasks[0]._get_time = lambda: now
    now = 100.0
    bar.tasks[0].start_time = now
    done = []
    for now in (100.0, 104.0, 110.0, 113.0):  # noqa: B007 - the clock
        list(bar.get_renderables())
        done.append(bar.tasks[0].percentage)
    assert done == [0, 40, 100, 100]


@pytest.mark.parametrize(
    ("columns", "lines", "live"), [(36, 10, True), (40, 14, True), (35, 24, False), (80, 9, False), (200, 50, True)]
)
def test_a_picture_is_for_any_screen_on_which_it_can_be_read(columns, lines, live):
    assert is_live(terminal(columns, lines)) == live
    assert not is_live(Console(file=io.StringIO(), width=columns, height=lines))


def test_warnings_are_kept_out_of_a_picture_and_heard_again_after_it(caplog):
    with kept_warnings() as kept:
        logging.getLogger("polymirror").warning("the %s", "first")
        logging.getLogger("asyncio").warning("socket.send() raised exception.")
        logging.getLogger("polymirror").info("no warning")
    assert list(kept) == ["the first", "socket.send() raised exception."]
    assert caplog.messages == []
    logging.getLogger("polymirror").warning("after")
    assert caplog.messages == ["after"]
