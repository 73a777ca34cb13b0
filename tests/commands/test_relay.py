"""``polymirror relay``: a mirror whose books others read."""

from __future__ import annotations

import json
import threading
import time
from urllib.request import urlopen

import pytest

from polymirror.commands.app import run


def test_books_are_relayed_until_the_time_is_over(venue, capsys):
    options = ["--venue", venue.base_url, "--http", "0", "--seconds", "2", "--json"]
    assert run(["relay", venue.slugs[0], *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["markets"] == [venue.slugs[0]]
    assert told["states"] == {"LIVE": 2}
    assert (told["consumers"], told["missing"], told["warnings"], told["broker"]) == (0, {}, [], None)


def test_its_address_is_told_and_answers(venue, capsys):
    found = []

    def look():
        deadline = time.monotonic() + 20
        while not found and time.monotonic() < deadline:
            told = capsys.readouterr().out
            for word in told.split():
                if word.startswith("http://"):
                    with urlopen(f"{word}/markets", timeout=10) as answer:  # noqa: S310 - the address is our own
                        found.append(json.load(answer))
            time.sleep(0.05)

    other = threading.Thread(target=look)
    other.start()
    assert run(["relay", venue.slugs[0], "--venue", venue.base_url, "--http", "0", "--seconds", "3"]) == 0
    other.join()
    assert [market["slug"] for market in found[0]["markets"]] == [venue.slugs[0]]


def test_without_a_live_book_at_the_end_it_was_not_as_it_should_be(venue, capsys):
    options = ["--venue", venue.base_url, "--http", "0", "--seconds", "1", "--json"]
    assert run(["relay", "no-such-market", *options]) == 1
    assert "no-such-market" in json.loads(capsys.readouterr().out)["missing"]


@pytest.mark.parametrize("address", ["x", "127.0.0.1:99999", "192.0.2.1:8801", ""])
def test_an_address_that_cannot_be_had_is_one_line(venue, capsys, address):
    assert run(["relay", venue.slugs[0], "--venue", venue.base_url, "--http", address]) == 2
    told = capsys.readouterr().err.strip()
    assert told
    assert "\n" not in told


def test_a_broker_that_is_not_there_is_told_and_ends_nothing(venue, capsys, monkeypatch):
    monkeypatch.setenv("NATS_TOKEN", "a secret")
    options = [
        "--venue",
        venue.base_url,
        "--http",
        "0",
        "--nats",
        "nats://127.0.0.1:9/desk",
        "--seconds",
        "2",
        "--json",
    ]
    assert run(["relay", venue.slugs[0], *options]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["broker"] == {"url": "nats://127.0.0.1:9/desk", "connected": False, "books": 0}
    assert "a secret" not in out + err


@pytest.mark.parametrize("address", ["nats://127.0.0.1:4222", "http://127.0.0.1/desk", "nats://10.0.0.1/desk", "desk"])
def test_an_address_of_a_broker_that_is_none_is_one_line(venue, capsys, address):
    assert run(["relay", venue.slugs[0], "--venue", venue.base_url, "--http", "0", "--nats", address]) == 2
    told = capsys.readouterr().err.strip()
    assert "--nats" in told
    assert "\n" not in told
