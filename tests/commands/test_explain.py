"""A mirror of the command line keeps what led to losses of trust, and another command explains it."""

from __future__ import annotations

import pytest

from polymirror.commands.app import run
from polymirror.journal.incident.store import bundles
from polymirror.simulator import Plan, make_faults
from tests.commands.conftest import Served


@pytest.mark.parametrize(
    "arguments", [["watch", "--json"], ["record", "--json", "--out", "journal"]], ids=lambda a: a[0]
)
def test_what_is_watched_or_recorded_leaves_bundles_that_are_explained(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with Served(seed=7, faults=make_faults(["garbage_frame"], plan=Plan(share=0.3))) as venue:
        where = ["--venue", venue.base_url, "--incidents", "incidents", "--seconds", "4"]
        assert run([*arguments, venue.slugs[0], *where]) == 0
    found = bundles(tmp_path / "incidents")
    assert found
    capsys.readouterr()
    assert run(["explain", str(found[0])]) == 0
    assert "lost trust at" in capsys.readouterr().out
