"""Lines about lost connections: the first at once, then rarer and rarer, and none of them lost from the count."""

from __future__ import annotations

import logging
import re

import pytest

from polymirror.venue.closing import CloseCause, CloseKind
from polymirror.venue.losslog import LossLog

REFUSED = CloseCause(CloseKind.OPEN_FAILED, "refused")


@pytest.fixture(autouse=True)
def everything(caplog):
    caplog.set_level(logging.INFO)


def left_out(line: str) -> int:
    found = re.search(r"\((\d+) more of this kind since\)$", line)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("apart", [0.25, 5.0, 30.0])
def test_hours_without_the_venue_are_a_few_lines_each_with_a_count(caplog, apart):
    losses, count = LossLog(), int(10 * 3600 / apart)
    for number in range(count):
        losses.lost("socket 0", REFUSED, 1_000 + number * apart)
    assert 60 <= len(caplog.messages) <= 75
    assert count - 600 / apart <= sum(map(left_out, caplog.messages)) + len(caplog.messages) <= count


def test_many_connections_that_are_lost_at_once_are_a_few_lines(caplog):
    losses = LossLog()
    for number in range(50):
        losses.lost(f"socket {number}", REFUSED, 5.0)
    assert len(caplog.messages) == 4
    losses.lost("socket 7", REFUSED, 16.0)
    assert caplog.messages[0] == "socket 0: OPEN_FAILED: refused"
    assert caplog.messages[-1] == "socket 7: OPEN_FAILED: refused (46 more of this kind since)"


def test_another_kind_is_told_at_once_and_one_that_had_gone_is_news(caplog):
    losses = LossLog()
    for second in range(100):
        losses.lost("socket 0", REFUSED, second)
    count = len(caplog.messages)
    losses.lost("socket 0", CloseCause(CloseKind.CLOSED, "going away", 1001), 100.0)
    assert caplog.messages[count:] == ["socket 0: CLOSED 1001: going away"]
    losses.lost("socket 0", REFUSED, 100.0)
    assert len(caplog.messages) == count + 1
    for number in range(5):
        losses.lost("socket 0", REFUSED, 1_000.0 + number)
    assert len(caplog.messages) == count + 5


def test_that_a_connection_opened_is_told_after_an_outage_and_rarely_while_it_comes_and_goes(caplog):
    losses = LossLog()
    losses.opened("socket 0", "wss://x", 0, 0.0)
    for second in range(10, 4_000):
        losses.lost("socket 0", REFUSED, second)
    losses.opened("socket 0", "wss://x", 3_990, 4_000.0)
    assert caplog.messages[0] == "socket 0: connected to wss://x"
    assert caplog.messages[-1] == "socket 0: connected to wss://x, after 3990 attempts that failed"
    count = len(caplog.messages)
    for second in range(4_001, 8_000, 2):
        losses.opened("socket 0", "wss://x", 0, second)
    assert len(caplog.messages) - count < 20


def test_what_we_do_ourselves_is_no_warning(caplog):
    LossLog().lost("socket 0", CloseCause(CloseKind.REQUESTED, "moved"), 0.0)
    LossLog().lost("socket 0", REFUSED, 0.0)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert {record.name for record in caplog.records} == {"polymirror.venue.stream"}
