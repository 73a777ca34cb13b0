"""``polymirror faults``: every id that ``--fault`` takes, what it does, and where it was seen."""

from __future__ import annotations

import json

import pytest

from polymirror.commands import faults as command
from polymirror.commands.app import run
from polymirror.commands.faults import WORDS, all_faults
from polymirror.commands.screen import make_console
from polymirror.commands.serve import sort_faults
from polymirror.simulator.faults.catalogue import FAULTS, check_ids
from polymirror.simulator.outfit import ORDER_FAULTS, USER_FAULTS


def test_every_fault_is_told_once_with_the_commands_that_take_it():
    faults = all_faults()
    names = [fault["id"] for fault in faults]
    assert len(names) == len(set(names))
    assert set(names) >= set(FAULTS)
    for fault in faults:
        assert fault["what"].endswith(".")
    served = [fault["id"] for fault in faults if "serve" in fault["commands"]]
    tortured = [fault["id"] for fault in faults if "torture" in fault["commands"]]
    # All that is listed is taken, and all that is taken is listed.
    assert sum(map(len, sort_faults(served))) == len(served)
    check_ids(tortured)
    assert set(tortured) == set(FAULTS)
    assert set(WORDS) == {*ORDER_FAULTS, *USER_FAULTS}


def test_json_is_one_object_with_all_of_them(capsys):
    assert run(["faults", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["faults"]
    assert told == all_faults()
    lost = next(each for each in told if each["id"] == "lost_delta")
    assert lost == {
        "id": "lost_delta", "about": "books and calls", "what": "A price change never arrives.",
        "seen": "Seen in a live study of the venue: one missed order, found only by the hash.",
        "commands": ["serve", "torture"],
    }  # fmt: skip


def test_a_pipe_gets_a_line_for_each_that_can_be_searched(capsys):
    assert run(["faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(all_faults())
    assert lines[0].split("\t")[0] == "lost_opening"


def test_a_word_chooses_and_one_that_none_has_is_a_mistake(capsys):
    assert run(["faults", "ALTERED"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["altered_levels", "altered_tick"]
    assert run(["faults", "lost_detla"]) == 2
    err = capsys.readouterr().err
    assert "lost_delta, if that was meant" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_of_any_width_shows_ids_and_words_in_full(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    console = make_console()
    console._force_terminal = True
    monkeypatch.setattr(command, "make_console", lambda: console)
    assert run(["faults"]) == 0
    out = "".join(capsys.readouterr().out)
    assert "price" in out
    plain = [line for line in out.splitlines() if "\x1b" not in line]
    assert max(map(len, plain), default=0) <= columns
    assert "Virtual time only." in " ".join(out.split()) or columns < 80


@pytest.mark.parametrize(("arguments", "said"), [
    (["torture", "--fault", "lost_delt"], "lost_delta, if that was meant"),
    (["torture", "--sockets", "--fault", "suspend"], "virtual time"),
    (["serve", "--fault", "anser_lost"], "answer_lost, if that was meant"),
    (["serve", "--fault", "meteor"], "one that 'polymirror faults' lists"),
])  # fmt: skip
def test_a_fault_that_does_not_exist_is_one_line_with_the_nearest(arguments, said, capsys):
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert len(err) < 200
