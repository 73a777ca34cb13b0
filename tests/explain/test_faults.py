"""An explanation names the message with which a fault of the simulator began, or the last one before a loss or silence.

The simulator knows what each fault did to which message; the explanation has the bundle alone.
"""

from __future__ import annotations

import re

import pytest

from polymirror.core.states import Reason
from polymirror.explain.words import explain
from polymirror.journal.format import Moved, seconds_of
from polymirror.journal.reader import open_journal
from tests.incident_rig import run

CLEAN = {"hash_one_change_late": 0.0, "late_trade_price": False}

UNSURE_MS = 60
"""The way to the client takes up to this long, and the age of a proof is known no better."""


class Case:
    """One bundle, and what the simulator knows of it."""

    def __init__(self, seen, note):
        self.note = note
        lines = list(open_journal(note.path).lines())
        self.found = explain(lines)
        left = [each for each in lines if isinstance(each, Moved) and each.old == "LIVE" and each.token == note.token]
        moved = next(each for each in left if seconds_of(each.t) >= note.at)
        self.began_ms = note.wall * 1000
        self.proven_ms = self.began_ms - 1000 * moved.proof_age - UNSURE_MS
        self.passed = seen.passed
        self.struck = [
            each for each in seen.struck
            if self.proven_ms <= each.at_ms <= self.began_ms and self.concerns(each)
        ]  # fmt: skip

    def concerns(self, struck):
        texts = (*struck.lost, *struck.made)
        other = any('"market"' in text for text in texts) and not any(self.note.market in text for text in texts)
        return struck.fault == "garbage_frame" or not other

    def about(self, frames):
        """Those of some frames that change the book, or are it."""
        kinds = ('"price_change"', '"book"')
        return [each for each in frames if f'"{self.found.token}"' in each.text and any(k in each.text for k in kinds)]

    def before(self, struck):
        return self.about(self.passed[: struck.place])

    def after(self, struck):
        return self.about(self.passed[struck.place :])


def same(text, frame):
    """Whether the explanation shows this frame: of an array, the books of the market are kept."""
    return text is not None and (text == frame or (frame.startswith("[") and text.strip("[]") in frame))


def cases(folder, *faults, **settings):
    seen = run(folder, *faults, exchange=CLEAN, market_seconds=0, per_minute=100, **settings)
    found = [Case(seen, note) for note in seen.notes if note.path is not None and note.path.exists()]
    return [case for case in found if case.struck]


def stamp(text):
    return re.search(r'"timestamp"\s*:\s*"([0-9]+)"', text)[1]


def in_one_millisecond(case):
    """Whether what was lost came in the millisecond of the last message before it: that states the end of both."""
    struck = case.struck[0]
    last = case.before(struck)[-1]
    return (
        stamp(struck.lost[0]) == stamp(last.text) and same(case.found.first_wrong, last.text) if struck.lost else False
    )


def check_between(case):
    """Something is missing between two messages."""
    assert case.found.kind in {"loss", "passing"}
    if not in_one_millisecond(case):
        assert same(case.found.last_right, case.before(case.struck[0])[-1].text)
        assert same(case.found.first_wrong, case.after(case.struck[0])[0].text)


def check_held(case):
    """A message was held back, and came after others."""
    assert case.found.kind in {"loss", "passing", "late hash", "wrong hash"}
    if not in_one_millisecond(case):
        assert same(case.found.first_wrong, case.after(case.struck[0])[0].text)


def check_made(case):
    """A message was altered, or made up."""
    assert same(case.found.first_wrong, case.struck[0].made[0])


def check_unreadable(case):
    assert case.found.kind == "unreadable"
    made = [text for each in case.struck for text in each.made]
    assert case.found.first_wrong == made[-1]


def check_silent(case):
    """Nothing came any more; perhaps it is over before anybody saw it, and looks like a loss."""
    assert case.found.kind in {"silence", "loss"}
    last = case.before(case.struck[0])[-1].text
    # It may be the first that does not fit: then what followed it in its millisecond is missing.
    assert same(case.found.last_right, last) or same(case.found.first_wrong, last)


def check_stale(case):
    """Nothing was wrong, and nothing was proven."""
    assert case.found.kind == "stale"
    heard = [each for each in case.passed if each.sent_ms <= case.began_ms]
    assert same(case.found.last_right, case.about(heard)[-1].text)


def check_late(case):
    """Messages came later and later: the first one above the limit is named."""
    if case.note.reason is not Reason.APPLY_LAG:
        return
    assert case.found.kind == "late"
    heard, arrived = [], 0
    for each in case.about(case.passed):
        # Frames of one connection never overtake one another.
        arrived = each.sent_ms if each.text.startswith("[") else max(arrived, each.sent_ms)
        if arrived <= case.began_ms:
            heard.append((arrived - each.sent_ms + each.late_ms, each.text))
    named = max(at for at, (_, text) in enumerate(heard) if text == case.found.first_wrong)
    assert heard[named][0] > 2_000 - UNSURE_MS
    assert heard[named - 1][0] < 2_000 + UNSURE_MS


def check_altered(case):
    """A message or an answer was altered."""
    made = [text for each in case.struck for text in each.made]
    if case.found.first_wrong is None:
        assert case.found.kind in {"wrong statement", "loss"}
    else:
        assert any(same(case.found.first_wrong, text) for text in made)


def check_stamped(case):
    assert case.found.kind == "stamp"
    assert case.found.first_wrong == case.struck[0].made[0]


def check_opening(case):
    """A stale book began it: nothing older tells, and it is the last message before the first contradiction."""
    assert any(same(case.found.last_right, text) for each in case.struck for text in each.made)


def check_never_heard(case):
    assert case.found.kind == "silence"
    assert case.found.last_right is None
    assert any("Nothing was heard" in words for words in case.found.words)


def check_grid(case):
    assert case.found.kind == "grid"
    assert "tick_size_change" in case.found.first_wrong


def check_form(case):
    """The hashes changed their form: the first such change is named."""
    assert case.found.kind == "late hash"
    assert "another form" in " ".join(case.found.words)
    assert same(case.found.first_wrong, case.after(case.struck[0])[0].text)


def check_clock(case):
    """What is wrong is an answer about the time, or came with it."""
    assert case.found.kind in {"clock", "late"}


def check_stalled(case):
    assert case.found.kind == "late"
    assert any(same(case.found.first_wrong, each.text) for each in case.passed)


CHECKS = {
    "future_stamp": (check_stamped, {"share": 50}),
    "altered_levels": (check_altered, {"share": 50, "rate": 0.3}),
    "stale_opening": (check_opening, {"share": 50, "seconds": 10}),
    "silent_subscription": (check_never_heard, {"share": 50, "seconds": 60}),
    "half_open_socket": (check_silent, {"share": 50}),
    "crossed_messages": (check_held, {"share": 50}),
    "tick_change": (check_grid, {"share": 50, "seconds": 40}),
    "tick_change_repeated": (check_grid, {"share": 50, "seconds": 40}),
    "hash_dialect": (check_form, {"share": 50, "seconds": 30}),
    "clock_skew": (check_clock, {"share": 50, "seconds": 60}),
    "settlement_silent": (check_stale, {"share": 50, "seconds": 60}),
    "stalled_loop": (check_stalled, {"share": 50, "seconds": 60}),
    "lost_delta": (check_between, {"share": 8}),
    "asymmetric_market": (check_between, {"share": 8}),
    "wrong_hash": (check_made, {"share": 8}),
    "garbage_frame": (check_unreadable, {"share": 8}),
    "frozen_token": (check_silent, {"share": 8}),
    "frozen_market": (check_silent, {"share": 8}),
    "silent_socket": (check_silent, {"share": 8}),
    "lagging_market": (check_late, {"share": 8}),
    "bandwidth_limit": (check_late, {"share": 8}),
    "slow_reader": (check_late, {"share": 8}),
    "engine_restart": (check_stale, {"share": 50, "seconds": 60}),
    "rest_empty_list": (check_stale, {"share": 50, "seconds": 60}),
}


@pytest.mark.parametrize("fault", CHECKS)
def test_the_message_with_which_a_fault_began_is_named(fault, tmp_path):
    check, settings = CHECKS[fault]
    found = cases(tmp_path, fault, seed=3, **{"seconds": 90} | settings)
    assert found
    for case in found:
        check(case)
