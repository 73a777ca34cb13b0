"""Markets of many kinds as discovery lists them: page by page, by tag, by volume, with their fees and ends."""

from __future__ import annotations

import json
from typing import Any

from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.frames import Call
from polymirror.simulator.settings import ExchangeConfig, PairsConfig
from polymirror.simulator.surface.discovery import Discovery

CONFIG = ExchangeConfig(seed=5, markets=230, pairs=PairsConfig(every_s=0), new_market_every_ms=None)
EXCHANGE = Exchange(CONFIG)


def pages(**query: str) -> list[list[dict[str, Any]]]:
    """All pages of a list of markets."""
    found, cursor = [], {}
    while True:
        call = Call("GET", "/markets/keyset", {"limit": "100", **query, **cursor})
        page = json.loads(Discovery(EXCHANGE).answer("/markets/keyset", call).body)
        found.append(page["markets"])
        if "next_cursor" not in page:
            return found
        cursor = {"after_cursor": page["next_cursor"]}


def test_every_market_is_on_one_page():
    found = pages()
    assert [len(page) for page in found] == [100, 100, 30]
    slugs = [market["slug"] for page in found for market in page]
    assert sorted(slugs) == sorted(EXCHANGE.slugs)


def test_they_come_by_volume_when_that_is_asked_for():
    volumes = [market["volume24hr"] for page in pages(order="volume24hr", ascending="false") for market in page]
    assert volumes == sorted(volumes, reverse=True)


def test_tags_are_told_only_to_those_who_ask_and_filter_the_list():
    assert "tags" not in pages()[0][0]
    sports = [market for page in pages(tag_slug="sports", include_tag="true") for market in page]
    assert 0 < len(sports) < 230
    assert all({"sports"} <= {tag["slug"] for tag in market["tags"]} for market in sports)


def test_fees_and_kinds_are_what_the_market_has():
    for market in (market for page in pages() for market in page):
        known = EXCHANGE.market_by_slug(market["slug"])
        assert known is not None
        assert market["feesEnabled"] is bool(known.kind.fee)
        assert market["feeSchedule"]["rate"] == known.kind.fee / 10_000
        assert market["negRisk"] is known.kind.neg_risk
