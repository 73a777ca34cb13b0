"""``polymirror torture``: mistakes are one line, a run is summed up, and a broken promise is told."""

import json
from concurrent.futures import Future
from contextlib import nullcontext

import pytest

from polymirror.commands.app import run
from polymirror.torture.relayed import WAY_FAULTS
from tests.simulation.mutants import MUTANTS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "nosuch"], "nosuch"),
        (["--sockets", "--fault", "stalled_loop"], "stalled_loop"),
        (["--seconds", "5"], "--seconds"),
        (["--seed", "5"], "--seed"),
        (["--sockets", "--minutes", "5"], "--minutes"),
        (["--sockets", "--start", "5"], "--start"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments, said, capsys):
    assert run(["torture", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_json_is_one_object_with_what_was_checked(capsys):
    assert run(["torture", "--seeds", "2", "--start", "3", "--minutes", "1", "--tokens", "4", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    for key in (
        "seeds", "violations", "virtual_hours", "faults_injected", "faults_by_id", "wrong_live_seconds",
        "detect_seconds", "recover_seconds", "speedup_over_real_time", "trace",
    ):  # fmt: skip
        assert key in summary
    assert summary["seeds"] == 2
    assert summary["violations"] == 0
    assert summary["start"] == 3


def test_what_struck_on_the_way_from_a_relay_is_told_as_well(capsys):
    arguments = ["--seeds", "1", "--minutes", "1", "--tokens", "2", "--fault", "lost_delta", "--relay", "broker"]
    assert run(["torture", *arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["faults_by_id"]) == {"lost_delta", *WAY_FAULTS}
    assert sum(summary["faults_by_id"].values()) == summary["faults_injected"] > summary["faults_by_id"]["lost_delta"]


def test_a_summary_for_people_fits_80_columns_and_names_what_never_struck(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["torture", "--seeds", "1", "--minutes", "1", "--tokens", "4", "--fault", "duplicated_delta"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "1 seed from 0" in out
    assert "0 violations" in out


def test_a_broken_promise_exits_with_1_and_shows_how_to_repeat_it(capsys, monkeypatch):
    from polymirror.torture import session  # noqa: PLC0415 - patched below

    class InThisProcess:
        passed = 0.0

        def submit(self, work, order):
            done = Future()
            done.set_result(work(order))
            return done

    monkeypatch.setattr(session, "worker_pool", lambda _jobs: nullcontext(InThisProcess()))
    mutant, _ = MUTANTS["serve_the_tip"]
    with mutant():
        arguments = ["--seeds", "1", "--minutes", "3", "--tokens", "6", "--fault", "lost_delta"]
        assert run(["torture", *arguments]) == 1
    out = capsys.readouterr().out
    assert "polymirror torture --seeds 1 --start 0 --minutes 3 --tokens 6 --fault lost_delta" in out
    assert "a granted read equals a real state" in out


@pytest.mark.parametrize(
    ("typo", "near"),
    [
        ("lost-delta", "lost_delta, if that was meant, or another "),
        ("frozen", "frozen_token, if that was meant, or another "),
        # Like none of them.
        ("typo", ""),
    ],
)
def test_a_fault_that_is_none_is_refused_with_the_nearest_if_one_is_near(typo, near, capsys):
    assert run(["torture", "--fault", typo]) == 2
    said = f"--fault='{typo}' is not allowed: it must be {near}one that 'polymirror"
    assert said in capsys.readouterr().err
