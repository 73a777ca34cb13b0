from __future__ import annotations

import json

import pytest

from polymirror.commands import mishaps
from polymirror.commands.app import run
from polymirror.commands.mishaps import calm_from, make_mishaps
from polymirror.commands.outcome import Run, print_summary
from polymirror.commands.screen import make_console
from polymirror.core.proven import Proven
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.settings import ExchangeConfig


def test_a_demo_ends_with_one_object_and_no_wrong_read(capsys):
    assert run(["demo", "--seconds", "2", "--seed", "3", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result["wrong_live_reads"] == 0
    assert result["live"] + result["retired"] == result["tokens"] == 6
    assert result["reads"] > 0
    assert result["verified_age_ms"]["p50"] <= result["verified_age_ms"]["p99"] < 15_000
    assert result["proofs"]["hash"]["match"] > 0
    assert all(isinstance(count, int) for count in result["resyncs"].values())
    assert isinstance(result["refused_reads"], int)
    assert result["seed"] == 3


def test_a_demo_that_is_not_on_a_terminal_prints_plain_lines(capsys):
    assert run(["demo", "--seconds", "1", "--tokens", "2", "--seed", "4"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert "Every granted read was true" in out


def test_a_mirror_that_serves_unproven_levels_is_caught(monkeypatch, capsys):
    # What the demo is for: were the proof skipped, its judge would see the lost deltas.
    monkeypatch.setattr(Proven, "levels", lambda proven: proven.book.levels())
    monkeypatch.setattr(mishaps, "LOST_PER_SECOND", 10.0)
    # A machine that stands still reads nothing at the wrong moment: then again.
    codes = (run(["demo", "--seconds", "2", "--tokens", "2", "--seed", "4", "--json"]) for _ in range(20))
    assert 1 in codes
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["wrong_live_reads"] > 0


def finished(**changes) -> Run:
    result = {
        "seconds": 20.0, "seed": 1, "tokens": 2, "live": 2, "retired": 0, "states": {"LIVE": 2}, "reads": 5,
        "refused_reads": 0, "wrong_live_reads": 0, "verified_age_ms": {"p50": 1.0, "p99": 2.0}, "resyncs": {},
        "proofs": {}, "faults": {},
    }  # fmt: skip
    return Run(20, 1, 1, json=False, finished=True, result=result | changes)


def test_the_exit_code_tells_a_wrong_read_and_a_book_that_did_not_come_back(capsys):
    assert finished().code == 0
    wrong, stuck, interrupted = finished(wrong_live_reads=1), finished(), finished()
    stuck.restless, interrupted.finished = ["BTC up SUSPECT (STALE)"], False
    assert (wrong.code, stuck.code, interrupted.code) == (1, 1, 130)
    for each, said in ((wrong, "was wrong"), (stuck, "BTC up SUSPECT"), (interrupted, "Interrupted")):
        print_summary(each, make_console())
        assert said in capsys.readouterr().out


@pytest.mark.parametrize("seconds", [1, 20, 600])
@pytest.mark.parametrize("markets", [1, 3, 20])
def test_the_faults_end_before_the_run_does_and_can_be_repeated(seconds, markets):
    exchange = Exchange(ExchangeConfig(markets=markets))
    faults = make_mishaps(exchange, 1_000, seconds, 10.0, 5)
    assert 0 < calm_from(seconds) < seconds
    for fault in faults:
        assert fault.plan.start_ms < fault.plan.end_ms <= 1_000 + calm_from(seconds) * 1000
        assert 0 < fault.plan.share <= 1
    assert [fault.plan for fault in faults] == [f.plan for f in make_mishaps(exchange, 1_000, seconds, 10.0, 5)]
