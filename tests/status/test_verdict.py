"""Whether a mirror is well, and whether it is ready."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from polymirror import Mirror
from polymirror.core.states import BookState, Reason
from polymirror.status.verdict import DARK_SECONDS, problems, readiness
from tests.core.builders import Exchange, Rig


def status(*states, running=True, missing=(), at=1_000.0):
    mirror = Mirror()
    rig = Rig.live(*(Exchange(f"0x{number}", f"{number}1", f"{number}2") for number in range(1, 4)))
    mirror.engine = rig.engine
    found = mirror.status()
    tokens = [
        replace(each, state=state, reason=reason)
        for each, (state, reason) in zip(found.tokens, states, strict=False)
    ]  # fmt: skip
    counts = {}
    for each in tokens:
        counts[each.state.name] = counts.get(each.state.name, 0) + 1
    return replace(
        found, at=at, running=running, tokens=tuple(tokens), missing=dict.fromkeys(missing, "why"),
        totals=replace(found.totals, states=counts),
    )  # fmt: skip


LIVE = (BookState.LIVE, Reason.PROVEN)
LOST = (BookState.SUSPECT, Reason.STALE)
OVER = (BookState.RETIRED, Reason.RESOLVED)
LONG_AGO = 1_000.0 - DARK_SECONDS


@pytest.mark.parametrize(
    ("given", "dark_since", "words"),
    [
        (status(running=False), None, "does not run"),
        (status(LIVE, LOST), None, None),
        (status(LOST), LONG_AGO + 0.1, None),
        (status(LOST, LOST, OVER), LONG_AGO, "no book is LIVE for 30 s: 2 SUSPECT (STALE)"),
        # Nothing trades any more: that is no illness.
        (status(OVER), LONG_AGO, None),
        (status(), LONG_AGO, None),
        (status(missing=["a-slug"]), LONG_AGO, "nothing is found for 30 s: a-slug"),
        (status(missing="abcde"), LONG_AGO, "a, b, c and 2 more"),
    ],
)
def test_a_mirror_is_unwell_if_it_offers_nothing_for_a_while(given, dark_since, words):
    found = problems(given, dark_since)
    assert len(found) == (0 if words is None else 1)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("given", "wanted", "ready", "share"),
    [
        (status(LIVE, LIVE), 1.0, True, 1.0),
        (status(LIVE, LOST), 0.5, True, 0.5),
        (status(LIVE, LOST), 0.6, False, 0.5),
        (status(LIVE, OVER), 1.0, True, 1.0),
        (status(LIVE, missing=["x"]), 0.9, False, 0.5),
        # Nothing to send work to, whatever share is enough.
        (status(OVER), 0.0, False, 0.0),
        (status(LOST), 0.0, False, 0.0),
        (status(), 0.0, False, 0.0),
        (status(LIVE, running=False), 0.0, False, 1.0),
    ],
)
def test_it_is_ready_if_enough_of_its_books_are_live(given, wanted, ready, share):
    found = readiness(given, wanted)
    assert (found.ready, found.share) == (ready, share)
