"""The log of trust: each loss and each recovery is a line, and many of them are few lines that leave none out."""

from __future__ import annotations

import logging
from math import inf

import pytest

from polymirror.core.events import Transition
from polymirror.core.states import BookState, Reason
from polymirror.shell.trustlog import INTERVAL, MAX_TOLD, SOON, TrustLog

LIVE, SUSPECT, RESYNCING = BookState.LIVE, BookState.SUSPECT, BookState.RESYNCING
UP = "48388091485466084032"


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, "polymirror")

    def lines() -> list[str]:
        found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return found

    return lines


def moved(token: str, at: float, old: BookState, new: BookState, reason: Reason, age: float | None = 1.25, detail=""):
    return Transition(token, at, old, new, reason, 2, detail, age)


def lost(number: int, at: float, reason: Reason = Reason.STALE) -> Transition:
    return moved(f"{number:020}", at, LIVE, SUSPECT, reason, 1.0 + number)


def back(number: int, at: float) -> Transition:
    return moved(f"{number:020}", at, SUSPECT, LIVE, Reason.PROVEN)


def test_a_loss_says_which_book_why_how_old_its_proof_was_and_its_epoch(logged) -> None:
    trust = TrustLog(lambda token: {UP: "btc-updown-15m-1790000100 Up"}[token])
    trust.tell([moved(UP, 5.0, LIVE, SUSPECT, Reason.DISCONNECT, detail="1006 closed")])
    trust.tell([moved(UP, 5.1, SUSPECT, RESYNCING, Reason.DISCONNECT)])
    trust.tell([moved(UP, 5.35, RESYNCING, LIVE, Reason.PROVEN)])
    name = "btc-updown-15m-1790000100 Up (483880..4032)"
    assert logged() == [
        f"WARNING lost trust in {name}: DISCONNECT (1006 closed), proven 1.250 s ago, epoch 2",
        f"INFO trust again in {name}: was DISCONNECT, out for 0.350 s, epoch 2",
    ]
    assert (trust.losses, trust.recoveries) == (1, 1)


def test_a_beginning_that_fails_the_first_proof_an_end_and_a_return_are_lines(logged) -> None:
    trust = TrustLog(lambda _: "")
    trust.tell([moved("7", 0.0, BookState.UNPRIMED, RESYNCING, Reason.NO_SNAPSHOT, None)])
    trust.tell([moved("7", 1.0, RESYNCING, LIVE, Reason.PROVEN)])
    trust.tell([moved("7", 2.0, LIVE, BookState.RETIRED, Reason.RESOLVED)])
    trust.tell([moved("7", 3.0, BookState.RETIRED, RESYNCING, Reason.REVIVED)])
    assert logged() == [
        "WARNING no book yet of (7): NO_SNAPSHOT, epoch 2",
        "INFO trust in (7): first proof, epoch 2",
        "INFO market over: (7): RESOLVED, epoch 2",
        "INFO life again in (7): REVIVED, epoch 2",
    ]


def test_many_at_once_are_one_line_with_the_oldest_proof_and_some_names(logged) -> None:
    trust = TrustLog(lambda token: f"m{int(token)}")
    trust.tell([lost(number, 5.0, Reason.DISCONNECT) for number in range(200)])
    names = ", ".join(f"m{n} (000000..{n:04})" for n in range(MAX_TOLD))
    assert logged() == [
        f"WARNING lost trust in 200 books: DISCONNECT, oldest proof 200.000 s: {names} and 196 more",
    ]
    assert trust.due() is None


def test_more_within_ten_seconds_are_counted_and_summed_up_when_these_are_over(logged) -> None:
    trust = TrustLog(lambda token: f"m{int(token)}")
    for number in range(100):
        trust.tell([lost(number, 5.0 + number / 100)])
        trust.tell([back(number, 5.005 + number / 100)])
    assert [line.split()[0] for line in logged()] == ["WARNING", "INFO"] * MAX_TOLD
    # None of the other books was told of yet: a second after the last line.
    assert trust.due() == pytest.approx(5.03 + SOON)
    trust.sum_up(5.03 + SOON - 0.001)
    assert logged() == []
    trust.sum_up(5.035 + SOON)
    losses, recoveries = logged()
    assert losses.startswith("WARNING lost trust in 96 books: STALE, oldest proof 100.000 s: m4 ")
    assert recoveries.startswith("INFO trust again in 96 books: was STALE, longest outage 0.005 s: m4 ")
    assert trust.due() is None
    # Those are known: what repeats waits until the ten seconds are over.
    trust.tell([lost(7, 8.0)])
    trust.tell([lost(8, 14.0)])
    assert trust.due() == 5.0 + INTERVAL
    trust.sum_up(5.0 + INTERVAL - 0.001)
    assert logged() == []
    trust.sum_up(5.0 + INTERVAL)
    assert [line[:40] for line in logged()] == ["WARNING lost trust in 2 books: STALE, ol"]
    # The next interval begins with its own allowance only when this one is over, too.
    trust.tell([lost(7, 16.0)])
    assert logged() == []
    trust.sum_up(inf)
    assert logged() == ["WARNING lost trust in m7 (000000..0007): STALE, proven 8.000 s ago, epoch 2"]
    trust.tell([lost(8, 40.0)])
    assert len(logged()) == 1


def test_the_first_loss_of_a_book_waits_for_no_summary_of_others(logged) -> None:
    trust = TrustLog(lambda token: f"m{int(token)}")
    # One book that comes and goes uses up the lines of the ten seconds, again and again.
    for turn in range(150):
        now = 5.0 + turn / 10
        trust.tell([lost(1, now)])
        trust.tell([back(1, now + 0.05)])
        if (trust.due() or inf) <= now:
            trust.sum_up(now)
    told = logged()
    assert len(told) < 14
    assert "m2" not in "".join(told)
    trust.tell([lost(2, 20.0)])
    (line,) = logged()
    assert line.startswith("WARNING lost trust in ")
    assert "m2 (000000..0002)" in line
    # The next one comes in the same second: it waits for the rest of that.
    trust.tell([lost(3, 20.4)])
    assert logged() == []
    assert trust.due() == 20.0 + SOON
    trust.sum_up(21.0)
    assert logged() == ["WARNING lost trust in m3 (000000..0003): STALE, proven 4.000 s ago, epoch 2"]


def test_a_storm_is_at_most_a_line_a_second(logged) -> None:
    trust = TrustLog(lambda token: f"m{int(token)}")
    lines = []
    for number in range(2_000):
        now = 5.0 + number / 100
        trust.tell([lost(number, now)])
        if (trust.due() or inf) <= now:
            trust.sum_up(now)
        lines += logged()
    trust.sum_up(inf)
    lines += logged()
    assert len(lines) <= 4 + 21
    assert sum(int(line.split()[4]) if line.split()[4].isdigit() else 1 for line in lines) == 2_000


def test_a_book_that_flaps_is_told_as_one_book_and_how_often(logged) -> None:
    trust = TrustLog(lambda _: "up")
    for turn in range(50):
        trust.tell([lost(1, 5.0 + turn / 10)])
        trust.tell([back(1, 5.05 + turn / 10)])
    logged()
    trust.sum_up(inf)
    assert [line.split(":")[0] for line in logged()] == [
        "WARNING lost trust in 1 book (46 times)",
        "INFO trust again in 1 book (46 times)",
    ]


def test_reasons_do_not_hide_each_other(logged) -> None:
    trust = TrustLog(lambda _: "")
    trust.tell([lost(number, 5.0) for number in range(9)])
    trust.tell([lost(99, 5.1, Reason.HASH_MISMATCH)])
    assert [line.partition(": ")[2][:10] for line in logged()] == ["STALE, old", "HASH_MISMA"]


def test_what_the_other_side_wrote_cannot_break_a_line(logged) -> None:
    trust = TrustLog(lambda _: "slug\nCRITICAL all is lost\x1b[31m")
    trust.tell([moved("7", 5.0, LIVE, SUSPECT, Reason.DISCONNECT, detail="x\n" * 1_000)])
    (line,) = logged()
    assert line.isprintable()
    assert len(line) < 600


def test_tokens_that_are_mirrored_no_more_are_forgotten(logged) -> None:
    trust = TrustLog(lambda _: "")
    trust.tell([lost(1, 5.0)])
    trust.forget([f"{1:020}"])
    trust.tell([back(1, 6.0)])
    assert trust.recoveries == 0
    assert "first proof" in logged()[-1]
