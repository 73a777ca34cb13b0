"""``polymirror serve``: what it says, what it serves, and what it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import httpx
import pytest

from polymirror.commands.app import run
from polymirror.commands.serve import in_columns, sort_faults
from polymirror.errors import ConfigError
from polymirror.simulator.orders.desk import Account

BRIEFLY = ["serve", "--seconds", "0.1"]


def told(capsys):
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_it_says_where_everything_is_and_ends_in_time(capsys):
    options = [
        "--markets",
        "9",
        "--seed",
        "1",
        "--fault",
        "lost_delta",
        "--fault",
        "answer_lost",
        "--fault",
        "feed_lost_tick",
    ]
    assert run([*BRIEFLY, *options]) == 0
    out = told(capsys)
    for said in ("ws://127.0.0.1:", "/ws/market", "/ws/rtds", "/ws/polybolt", "/api/geoblock", "polymirror watch btc-"):
        assert said in out
    assert "9 markets:" in out
    assert out.count("-updown-15m-") == 10
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines())
    assert "\x1b" not in out


def test_the_list_tells_conditions_and_tokens(capsys):
    assert run([*BRIEFLY, "--markets", "2", "--list"]) == 0
    out = told(capsys)
    assert out.count("condition  0x") == 2
    assert out.count("token      ") == 4


def test_json_is_one_object_with_everything(capsys):
    assert run([*BRIEFLY, "--markets", "200", "--json", "--count", "2", "--cash", "12.5", "--seed", "3"]) == 0
    found = json.loads(told(capsys))
    assert len(found["markets"]) == 200
    assert found["stream"].startswith("ws://127.0.0.1:")
    assert found["clob"] == found["gamma"]
    assert {"rtds", "polybolt", "streams", "geoblock", "listing"} <= set(found)
    assert [each["pusd"] for each in found["accounts"]] == ["12.5", "12.5"]
    made = Account.made_up("serve/3/0")
    assert (found["accounts"][0]["address"], found["accounts"][0]["secret"]) == (made.address, made.secret)


def test_rounds_of_several_lengths_are_served(capsys):
    lengths = ["--rounds", "5m", "--rounds", "1h", "--asset", "btc", "--asset", "pepe"]
    assert run([*BRIEFLY, *lengths, "--json"]) == 0
    slugs = [market["slug"] for market in json.loads(told(capsys))["markets"]]
    assert len(slugs) == 8
    assert sum(slug.startswith("pepe-updown-5m-") for slug in slugs) == 2
    assert sum(slug.startswith("bitcoin-up-or-down-") for slug in slugs) == 2


def test_markets_with_pairs_are_served(capsys):
    assert run([*BRIEFLY, "--pairs", "60", "--markets", "8", "--json"]) == 0
    slugs = [market["slug"] for market in json.loads(told(capsys))["markets"]]
    assert len(set(slugs)) == 8
    assert not any("updown" in slug for slug in slugs)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pairs", "60", "--rounds", "5m"], "--pairs"),
        (["--fault", "gremlin"], "gremlin"),
        (["--fault", "stalled_loop"], "virtual time"),
        (["--rounds", "5m", "--markets", "2"], "--rounds"),
        (["--rounds", "7m"], "5m, 15m, 1h"),
        (["--asset", "btc"], "--rounds"),
        (["--rounds", "5m", "--asset", "BTC!"], "lower-case"),
        (["--cash", "much"], "pUSD"),
        (["--cash", "-1"], "pUSD"),
        (["--accounts", "/no/such/file"], "cannot be read"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
    ],
)
def test_what_it_cannot_do_is_one_line(capsys, options, says):
    assert run([*BRIEFLY, *options]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.strip().count("\n") == (1 if "--host" in options else 0)


def test_a_taken_port_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", "--port", str(taken.getsockname()[1])]) == 2
    err = capsys.readouterr().err
    assert "--port" in err
    assert err.count("\n") == 1


def test_another_address_is_warned_of(capsys):
    assert run([*BRIEFLY, "--host", "0.0.0.0", "--json"]) == 0  # noqa: S104 - the point of the test
    out, err = capsys.readouterr()
    assert "warning: listening on 0.0.0.0" in err
    assert json.loads(out)["clob"].startswith("http://127.0.0.1:")
    assert run([*BRIEFLY, "--host", "localhost"]) == 0
    assert "this machine only" in told(capsys)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nothing", "not JSON"),
        ("{}", "a list"),
        ("[]", "a list"),
        ("[1]", "account 1 is not an object"),
        ('[{"name": "a", "key": "b"}]', "'key'"),
        ('[{"name": ""}]', "empty"),
        ('[{"cash": 1}]', "only a name"),
        ('[{"address": "0x1"}]', "40 hex digits"),
        ('[{"address": "0x1", "secret": "b"}]', "all of address"),
        ('[{"name": "a", "cash": "b"}]', "no number"),
        ('[{"name": "a", "cash": -1}]', "wrong cash"),
        ('[{"address": "0x' + "a" * 40 + '", "api_key": "b", "secret": "!", "passphrase": "d"}]', "wrong secret"),
        ('[{"name": "a"}, {"name": "a"}]', "same address"),
    ],
)
def test_a_file_of_accounts_that_makes_no_sense_is_refused(capsys, tmp_path, content, says):
    path = tmp_path / "accounts.json"
    path.write_text(content, encoding="utf-8")
    assert run([*BRIEFLY, "--accounts", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_accounts_of_a_file_are_served_and_their_credentials_not_told(capsys, tmp_path):
    path = tmp_path / "accounts.json"
    own = {"address": "0x" + "ab" * 20, "api_key": "k", "secret": "c2VjcmV0", "passphrase": "p", "cash": "7"}
    path.write_text(json.dumps([{"name": "maker"}, own]), encoding="utf-8")
    assert run([*BRIEFLY, "--accounts", str(path), "--cash", "55"]) == 0
    out = told(capsys)
    assert own["address"] in out
    assert "c2VjcmV0" not in out
    assert Account.made_up("maker").secret not in out
    assert run([*BRIEFLY, "--accounts", str(path), "--json"]) == 0
    out = told(capsys)
    assert own["address"] in out
    assert "c2VjcmV0" not in out
    assert Account.made_up("maker").secret not in out


def ask(*arguments, paths):
    """Run the command as a program of its own, ask it, and end it; return what it said, and the answers by path."""
    command = [sys.executable, "-c", "from polymirror.cli import main; main()", "serve", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:  # noqa: S603 - our own
        try:
            found = json.loads(program.stdout.readline())
            with httpx.Client(base_url=found["clob"]) as client:
                return found, {path: client.get(path).json() for path in paths}
        finally:
            program.terminate()


def test_everything_is_listed_under_one_address():
    found, answers = ask("--markets", "7", "--blocked", paths=("/simulator", "/api/geoblock"))
    listed = answers["/simulator"]
    assert listed["markets"] == found["markets"]
    assert {name: url for name, url in listed.items() if name in found and isinstance(url, str)} == {
        name: url for name, url in found.items() if isinstance(url, str)
    }
    assert listed["accounts"] == [{"address": found["accounts"][0]["address"], "pusd": "1000"}]
    assert answers["/api/geoblock"]["blocked"] is True


def test_faults_are_sorted_by_what_they_befall():
    assert sort_faults(["lost_delta", "feed_lost_tick", "reads"]) == (("lost_delta",), ("feed_lost_tick",), ("reads",))
    with pytest.raises(ConfigError):
        sort_faults(["nothing"])


def test_words_stand_in_columns():
    assert in_columns(["a", "bbb", "cc"], 13) == ["  a    bbb", "  cc"]
    assert in_columns(["a" * 90], 80) == ["  " + "a" * 90]
