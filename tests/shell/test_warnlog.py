"""The log that hostile input cannot flood."""

from __future__ import annotations

import logging

import pytest

from polymirror.shell.warnlog import INTERVAL, MAX_KINDS, WarnLog


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.WARNING, "polymirror")

    def messages() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return messages


def test_a_kind_is_named_once_and_then_only_counted_for_a_while(logged) -> None:
    warnings = WarnLog()
    told = [warnings.warn("malformed book", f"number {number}", 100 + number / 1000) for number in range(1000)]
    assert told == [True] + [False] * 999
    assert logged() == ["malformed book: number 0"]
    assert warnings.warn("malformed book", "the next", 100 + INTERVAL)
    assert logged() == ["malformed book: the next (999 more of this kind since)"]
    assert warnings.warn("malformed book", "long after", 100 + 5 * INTERVAL)
    assert logged() == ["malformed book: long after"]


def test_kinds_do_not_hide_each_other(logged) -> None:
    warnings = WarnLog()
    assert warnings.warn("one", "a", 0.0)
    assert warnings.warn("other", "b", 0.0)
    assert not warnings.warn("one", "c", 1.0)
    assert logged() == ["one: a", "other: b"]


def test_the_number_of_kinds_is_bounded_and_known_ones_keep_their_name(logged) -> None:
    warnings = WarnLog()
    for number in range(10_000):
        warnings.warn(f"kind {number}", "x", 0.0)
    assert len(warnings._seen) == MAX_KINDS + 1
    messages = logged()
    assert len(messages) == MAX_KINDS + 1
    assert messages[-1].startswith("others: ")
    assert "kind " in messages[-1]
    assert warnings.warn("kind 3", "again", INTERVAL)
    assert warnings.warn("kind 9999", "again", INTERVAL)
    assert logged() == ["kind 3: again", f"others: kind 9999: again ({10_000 - MAX_KINDS - 1} more of this kind since)"]


def test_what_the_other_side_wrote_cannot_break_a_line_or_fill_the_log(logged) -> None:
    warnings = WarnLog()
    warnings.warn("malformed book", "field\nCRITICAL all is lost\r\x1b[31m", 0.0)
    warnings.warn("k" * 100_000, "d" * 100_000, 0.0)
    hostile, long = logged()
    assert hostile.isprintable()
    assert "CRITICAL" in hostile
    assert len(long) < 1_000
