from __future__ import annotations

import random

import pytest

from polymirror.config import EngineConfig
from polymirror.core.dialects import DialectBook
from polymirror.core.events import Transition
from polymirror.core.outbox import Outbox, Want
from polymirror.core.proofs import ProofKind, Verdict
from polymirror.core.states import BookState, Reason


@pytest.fixture
def outbox():
    return Outbox(EngineConfig(), random.Random(1), DialectBook())


def test_the_strongest_wish_counts(outbox):
    token = object()
    for how in (Want.URGENT, Want.ROUTINE):
        outbox.want(token, how)
    assert outbox.books == {token: Want.URGENT}
    outbox.want(token, Want.BASELINE)
    assert outbox.books == {token: Want.BASELINE}


def test_verdicts_are_counted_by_kind(outbox):
    for _ in range(2):
        outbox.count(ProofKind.HASH, Verdict.HEALED)
    assert outbox.proofs.as_dict() == {"hash": {"healed": 2}}


def test_a_transition_reads_as_one_line():
    event = Transition("11", 5.25, BookState.LIVE, BookState.SUSPECT, Reason.STALE, 3, "16 s")
    assert str(event) == "5.250000 11 LIVE -> SUSPECT STALE epoch 3 (16 s)"
    plain = Transition("11", 5.25, BookState.LIVE, BookState.SUSPECT, Reason.STALE, 3)
    assert str(plain) == "5.250000 11 LIVE -> SUSPECT STALE epoch 3"
