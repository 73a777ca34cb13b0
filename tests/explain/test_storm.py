"""In a storm of faults, every incident within the stated limits has a bundle, and each of them is explained."""

from __future__ import annotations

import pytest

from polymirror.explain.words import explain
from polymirror.journal.incident.store import bundles
from polymirror.journal.reader import open_journal
from tests.incident_rig import run

STORM = (
    "lost_delta", "garbage_frame", "frozen_token", "disconnect", "rest_503", "wrong_hash", "silent_socket",
    "rest_stale", "duplicated_delta", "tick_change",
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_every_incident_of_a_storm_has_a_bundle_or_is_counted(seed, tmp_path):
    seen = run(tmp_path, *STORM, seed=seed, seconds=60, share=6, markets=3)
    written = [note for note in seen.notes if note.path is not None]
    assert len(written) >= 3
    assert sorted(note.path for note in written) == bundles(tmp_path)
    began = {}
    for note in reversed(seen.notes):
        within = note.at - began.get(note.market, float("-inf")) >= 60 and len(began) < 10
        assert (note.path is not None) is within
        if within:
            began[note.market] = note.at
    # Each loss is inside an incident that was noted.
    for event in seen.losses:
        market = seen.market_of[event.token]
        assert any(note.market == market and note.at <= event.at for note in seen.notes)
    for path in bundles(tmp_path):
        found = explain(list(open_journal(path).lines()))
        assert 3 <= len(found.words) <= 10
        assert path.stat().st_size < 2**20
