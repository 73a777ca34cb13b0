from __future__ import annotations

import json

import pytest

from polymirror.commands import checks, watch
from polymirror.commands.app import run
from polymirror.commands.books import name_tokens
from polymirror.commands.checks import judge_clock
from polymirror.commands.watch import split_arguments
from polymirror.core.clock import VenueClock
from polymirror.errors import ConfigError

PATIENCE = 60.0
"""Seconds after which a test gives up; no verdict depends on them."""

CHECKS = {"python", "libraries", "uvloop", "stream", "clob", "gamma", "clock", "hash"}


def at(venue) -> list[str]:
    return ["--venue", venue.endpoints.clob]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A look once waits for the books as long as a busy machine may take."""
    monkeypatch.setattr(watch, "FIRST_LIVE", PATIENCE)


def test_watch_shows_the_books_of_a_slug_and_of_a_token(venue, capsys):
    assert run(["watch", venue.slugs[0], venue.tokens[2], "--once", *at(venue)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("LIVE") == 4
    assert "BTC up" in out
    assert "ETH down" in out
    assert max(map(len, out.splitlines())) <= 80


def test_watch_prints_one_object_if_it_looks_once(venue, capsys):
    assert run(["watch", venue.slugs[0], "--once", "--json", *at(venue)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert (result["tokens"], result["live"]) == (2, 2)
    assert [book["name"] for book in result["books"]] == ["BTC up", "BTC down"]
    assert {book["state"] for book in result["books"]} == {"LIVE"}
    assert all(book["best_bid"] < book["best_ask"] for book in result["books"])


def test_watch_says_in_one_line_that_there_is_no_such_market(venue, capsys):
    assert run(["watch", "no-such-market", "--once", *at(venue)]) == 2
    assert capsys.readouterr().err == "polymirror: no market with slug no-such-market (yet)\n"


def test_pages_of_the_site_stand_for_slugs():
    page = "https://polymarket.com/de/event/some-event/some-market?tid=1"
    assert split_arguments([page, "7", "polymarket.com/market/m", "n"]) == (("some-market", "m", "n"), ("7",))
    with pytest.raises(ConfigError, match=r"a page on polymarket\.com"):
        split_arguments(["https://example.com/event/x"])


def test_a_venue_in_good_order_passes_every_check(venue, capsys):
    assert run(["doctor", "--json", *at(venue)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert set(report["checks"]) == CHECKS
    assert report["checks"]["hash"]["explained"] == report["checks"]["hash"]["books"] >= 2
    assert report["checks"]["hash"]["dialect"] == "TEN"
    clock = report["checks"]["clock"]
    # Both are rounded, and the two clocks are one.
    assert abs(clock["offset_s"]) <= clock["uncertainty_s"] + 0.2


def test_the_doctor_checks_with_the_markets_it_is_given(venue, capsys, monkeypatch):
    monkeypatch.setattr(checks, "CLOCK_PAUSE", 0.0)
    assert run(["doctor", venue.slugs[2], "--json", *at(venue)]) == 0
    assert venue.slugs[2] in json.loads(capsys.readouterr().out)["checks"]["gamma"]["found"]
    assert run(["doctor", "no-such-market", *at(venue)]) == 1
    bad = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not ok")]
    assert [line.split()[2] for line in bad] == ["gamma", "hash"]


def test_without_a_network_every_check_answers_in_one_line(nowhere, capsys):
    assert run(["doctor", *nowhere]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == len(CHECKS)
    bad = {line.split()[2] for line in lines if line.startswith("not ok")}
    assert bad == {"stream", "clob", "gamma", "clock", "hash"}
    assert all("check the network" in line for line in lines if line.split()[2] in {"stream", "clob", "gamma"})


def test_a_clock_that_is_wrong_is_named_with_its_bounds():
    clock = VenueClock()
    assert not judge_clock(clock, 0.0).ok
    # The venue says 1000 between 10.0 and 10.2 of our monotonic clock.
    clock.server_time(1000, 10.0, 10.2)
    assert judge_clock(clock, 990.3).ok
    ahead = judge_clock(clock, 995.0)
    assert not ahead.ok
    assert ahead.figures == {"offset_s": 4.6, "uncertainty_s": 0.6}
    assert "4.60 s ahead" in ahead.found


class Window:
    def __init__(self, slug, condition, hour=None):
        self.slug, self.condition_id, self.starts_at = slug, condition, hour
        self.tokens = [type("Token", (), {"id": f"{condition}{side}", "outcome": side}) for side in ("Up", "Down")]


def test_tokens_get_short_names_that_differ():
    assert list(name_tokens([Window("btc-updown-5m-1", "a")]).values()) == ["BTC up", "BTC down"]
    long = name_tokens([Window("will-it-rain-in-london-in-may", "c")])
    assert all(len(name) <= 24 for name in long.values())
