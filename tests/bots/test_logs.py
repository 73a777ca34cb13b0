"""The log of a bot: what a line has, what it hides, and who is not heard."""

from __future__ import annotations

import io
import json
import logging
from decimal import Decimal

import pytest

from bots.common.operate import logs
from bots.common.operate.logs import event, set_up
from bots.common.secrets import Secret

log = logging.getLogger("bots.test")


@pytest.fixture
def stream():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)
    for name in logs.OWN:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_line_for_people_has_its_time_its_level_its_words_and_its_figures(stream) -> None:
    set_up(stream=stream)
    event(log, "filled", shares=Decimal("1E+2"), why="the book\nmoved", gone=None, empty="")
    [line] = stream.getvalue().splitlines()
    at, rest = line.split(" ", 1)
    assert at[-1] == "Z"
    assert len(at) == len("2026-11-30T12:00:00.000Z")
    assert rest == 'INFO filled shares=100 why="the book\\nmoved" empty=""'


def test_a_line_for_machines_is_one_object_with_exact_money(stream) -> None:
    set_up(stream=stream, as_json=True)
    event(log, "filled", shares=Decimal("0.1"), number=3, live=True)
    found = json.loads(stream.getvalue())
    assert found.pop("at").endswith("Z")
    assert found == {
        "level": "INFO", "logger": "bots.test", "words": "filled", "shares": "0.1", "number": 3, "live": True
    }  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True])
def test_a_secret_is_in_no_line_and_in_no_traceback(stream, as_json) -> None:
    secret = Secret("hunter2")
    set_up(stream=stream, as_json=as_json)
    event(log, "log in", logging.WARNING, url="https://x/hunter2")
    try:
        {}["hunter2"]
    except LookupError:
        log.exception("failed with hunter2")
    told = stream.getvalue()
    assert "hunter2" not in told
    assert told.count("***") >= 3
    assert "KeyError: '***'" in told
    assert secret


def test_other_packages_are_heard_only_when_something_is_wrong(stream) -> None:
    set_up(stream=stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://x")
    logging.getLogger("websockets.client").info("connection open")
    logging.getLogger("polymirror").info("ours")
    logging.getLogger("httpx").warning("theirs")
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["INFO ours", "WARNING theirs"]


def test_no_text_from_outside_writes_a_line_of_its_own_or_moves_the_cursor(stream) -> None:
    set_up(stream=stream)
    event(log, "refused\n2026 INFO all is well", why="\x1b[2J\nINFO fine")
    [line] = stream.getvalue().splitlines()
    assert "\x1b" not in line


def test_a_line_has_a_bound(stream) -> None:
    set_up(stream=stream)
    log.info("x" * 10_000)
    assert len(stream.getvalue()) < logs.MAX_LINE + 50
