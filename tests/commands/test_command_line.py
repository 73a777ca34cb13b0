from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer

import polymirror.cli
from polymirror.commands import app as command_line
from polymirror.commands.app import choose_endpoints, run
from polymirror.config import Endpoints
from polymirror.errors import ConfigError, MarketNotFound


def one_line(capsys) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("polymirror: ")
    return err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments, capsys):
    assert run(arguments) == 0
    out = capsys.readouterr().out
    for command in ("demo", "watch", "replay", "doctor", "serve"):
        assert f" {command} " in out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(option, capsys):
    assert run([option]) == 0
    assert capsys.readouterr().out.startswith("polymirror ")


COMMANDS = ["demo", "doctor", "explain", "faults", "journal", "record", "relay", "replay", "serve", "top", "torture",
            "watch"]  # fmt: skip


@pytest.mark.parametrize("command", [[], *([each] for each in COMMANDS)])
def test_a_help_fits_80_columns_and_has_no_types_and_no_braces(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "Usage: polymirror" in out
    # <bool>, {FILE}, int range: what a parser calls things. A range such as [1<=x<=5] says something.
    assert not re.search(r"<bool|[{}]| range", out)
    # Two versions of typer cannot be kept from telling the type of an argument.
    told = re.search(r"<[a-z]", out)
    assert not told or tuple(map(int, typer.__version__.split(".")[:2])) in {(0, 27), (0, 28)}


def test_every_command_is_there_and_looked_at(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert set(COMMANDS) == set(re.findall(r"^│ ([a-z]+)  ", out, re.MULTILINE))


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("polymirror wat", ["watch"]),
        ("polymirror torture --fault lost_o", ["lost_opening", "lost_opening_one_token"]),
        ("polymirror serve --fault feed_dr", ["feed_dropped", "feed_drain"]),
        ("polymirror serve --acc", ["--accounts"]),
    ],
)
def test_a_shell_completes_commands_options_and_faults(words, completed):
    environment = os.environ | {
        "_POLYMIRROR_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "polymirror"], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert done.stdout.split() == completed
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dance"], "dance"),
        (["replay"], "FILE"),
        (["demo", "--tokens", "1"], "--tokens"),
        (["demo", "--seconds", "soon"], "--seconds"),
        (["watch", "btc", "--never"], "--never"),
        (["watch", "no slug!"], "slug"),
        (["watch", "btc", "--venue", "ftp://here"], "http"),
        (["watch", "btc", "--stream", "http://here"], "ws"),
        (["serve", "--fault", "gremlin"], "gremlin"),
        (["record", "btc"], "--out"),
        (["journal", "check"], "DIR"),
        (["journal", "check", "nowhere"], "there is no nowhere"),
        (["replay", "x", "--speed", "0"], "--speed"),
        (["replay", "x", "--speed", "fast"], "max"),
        (["replay", "x", "--from", "noon"], "--from"),
        (["replay", "x", "--from", "5"], "only for a journal"),
        (["replay", "x", "--token", "5"], "only for a journal"),
        (["replay", "x", "--speed", "2"], "but for a journal"),
        (["replay", "x", "--serve", "--token", "5"], "--serve"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments, said, capsys):
    assert run(arguments) == 2
    assert said in one_line(capsys)


def test_an_error_inside_groups_of_tasks_is_one_line(monkeypatch, capsys):
    def fail(*_args, **_options):
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [MarketNotFound("no such\nmarket")])])

    monkeypatch.setattr(command_line, "app", fail)
    assert run(["demo"]) == 2
    assert one_line(capsys) == "polymirror: no such\\nmarket\n"


def test_a_bug_is_not_dressed_up_as_a_mistake(monkeypatch):
    def fail(*_args, **_options):
        raise ExceptionGroup("tasks", [MarketNotFound("no"), KeyError("bug")])

    monkeypatch.setattr(command_line, "app", fail)
    with pytest.raises(ExceptionGroup):
        run(["demo"])


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "app", interrupt)
    assert run(["demo"]) == 130
    assert capsys.readouterr() == ("", "")


def test_without_its_extra_the_command_says_in_one_line_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(polymirror.cli, "find_spec", lambda name: None if name == "typer" else object())
    with pytest.raises(SystemExit) as exited:
        polymirror.cli.main()
    assert exited.value.code == 2
    assert one_line(capsys) == "polymirror: the command line needs an extra: pip install 'polymirror[cli]'\n"


def test_the_module_runs_as_the_command_and_imports_no_simulator_for_its_help():
    code = (
        "import runpy, sys; sys.argv = ['polymirror', '--help']\n"
        "try: runpy.run_module('polymirror', run_name='__main__')\n"
        "except SystemExit as exited: assert exited.code == 0\n"
        "assert not {'starlette', 'uvicorn', 'polymirror.simulator'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603 - our own code
    assert b"demo" in done.stdout
    assert done.stderr == b""


def test_endpoints_are_the_venues_own_unless_others_are_named():
    assert choose_endpoints(None, None, None, None) == Endpoints()
    local = choose_endpoints("http://127.0.0.1:80/", None, None, "https://other/")
    assert local == Endpoints(stream="ws://127.0.0.1:80/ws/market", clob="http://127.0.0.1:80", gamma="https://other")
    assert choose_endpoints("https://venue", None, None, None).stream == "wss://venue/ws/market"
    with pytest.raises(ConfigError):
        choose_endpoints("venue", None, None, None)
