"""When a mirror tells what waits to be summed up: when it is due, also if that is earlier than was planned."""

from __future__ import annotations

import logging

import pytest

from polymirror.core.events import Transition
from polymirror.core.states import BookState, Reason
from polymirror.shell.teller import Teller
from polymirror.shell.trustlog import INTERVAL, SOON
from polymirror.status.health import Records

pytestmark = pytest.mark.anyio


class Engine:
    """Tells what the test puts in."""

    asset_ids = ()

    def __init__(self) -> None:
        self.waiting: list[Transition] = []

    def events(self) -> list[Transition]:
        told, self.waiting = self.waiting, []
        return told

    def listen(self, *, wanted: bool) -> None:
        pass


async def test_the_timer_is_set_to_what_is_due_first(caplog) -> None:
    caplog.set_level(logging.WARNING)
    engine, now = Engine(), 100.0
    teller = Teller(engine, Records(), lambda: now, 10, lambda token: f"m{token}")

    def lose(token: str) -> None:
        engine.waiting = [Transition(token, now, BookState.LIVE, BookState.SUSPECT, Reason.STALE, 0)]
        teller.events()

    for _ in range(5):
        lose("1")
    assert len(caplog.messages) == 4
    assert teller._due == 100.0 + INTERVAL
    first = teller._timer
    lose("2")
    # A book that nobody was told of yet: that is due within a second.
    assert first.cancelled()
    assert teller._due == 100.0 + SOON
    now = 101.0
    teller._sum_up()
    assert caplog.messages[4] == "lost trust in 2 books: STALE: m1 (1), m2 (2)"
    assert teller._timer is None
    lose("1")
    assert teller._due == 100.0 + INTERVAL
    teller.close()
    assert len(caplog.messages) == 6
    assert teller._timer is None
