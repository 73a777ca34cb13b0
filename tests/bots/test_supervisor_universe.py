"""Which markets are taken, why others are left, and how politely the lists are read."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial

import pytest
from attrs import evolve

from bots.supervisor.universe import Universe, UniverseSettings, best_asks, judge, table
from polymirror.config import RestConfig
from polymirror.core.fees import FeeSchedule
from polymirror.errors import ConfigError
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, PairsConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual
from polymirror.venue.gamma import Gamma
from polymirror.venue.market import Market, Oracle, Token
from polymirror.venue.rest import Clob

NOW = 1_790_000_000.0
USUAL = UniverseSettings()
MARKET = Market(
    slug="btc-above-100-7", question="?", condition_id="0x1", tokens=(Token("1", "Yes"), Token("2", "No")),
    window_start=None, window_end=int(NOW) + 3_600, tick_size="0.01", min_order_size="5", neg_risk=False,
    fees_enabled=True, fee=FeeSchedule(Decimal("0.07"), 1), oracle=Oracle(None), active=True, closed=False,
    accepting_orders=True, winner=None, price_to_beat=None, final_price=None, volume_24h=Decimal(5_000),
    tags=("crypto",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "filters", "why"),
    [
        ({}, {}, ""),
        ({"closed": True}, {}, "closed"),
        ({"accepting_orders": False}, {}, "closed"),
        ({"window_end": None}, {}, "end is not told"),
        ({"window_end": int(NOW) + 299}, {}, "ends in 299 s"),
        ({"window_end": int(NOW) + 721 * 3_600}, {}, "ends in 721 h"),
        ({"tokens": (Token("1", "A"), Token("2", "B"), Token("3", "C"))}, {}, "3 tokens"),
        ({}, {"slugs": ("eth-*", "sol-*")}, "universe.slugs"),
        ({}, {"slugs": ("eth-*", "btc-*")}, ""),
        ({}, {"without": ("*-above-*",)}, "universe.without"),
        ({}, {"tags": ("sports",)}, "tags crypto"),
        ({}, {"tags": ("sports", "crypto")}, ""),
        ({"volume_24h": None}, {}, "volume None"),
        ({"volume_24h": Decimal(999)}, {}, "volume 999"),
        ({"neg_risk": True}, {}, "neg-risk"),
        ({"neg_risk": True}, {"neg_risk": True}, ""),
        ({"fee": None}, {}, "fee is not told"),
        ({}, {"max_fee": Decimal("0.05")}, "fee rate 0.07"),
    ],
)
def test_why_a_market_is_left(change, filters, why):
    found = judge(evolve(USUAL, **filters), evolve(MARKET, **change), NOW)
    assert (found == "") if not why else (why in found)


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="min_left_s"):
        UniverseSettings(min_left_s=500, max_left_s=500)


def look(settings, *, running=(), asks=None, real_books=False, markets=250, later=0.0):
    """Survey an exchange with many markets; return the survey, the clock, and how many calls it took."""

    async def main():
        config = ExchangeConfig(seed=5, markets=markets, pairs=PairsConfig(every_s=0), new_market_every_ms=None)
        venue = VirtualVenue(Exchange(config), seed=5)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(venue)
            service = {"rng": random.Random(1), "network": venue.network}
            gamma = await stack.enter_async_context(Gamma(RestConfig(), venue.endpoints, **service))
            clob = await stack.enter_async_context(Clob(RestConfig(), venue.endpoints, **service))
            wall = venue.network.wall
            told = partial(best_asks, clob) if real_books else asks
            survey = await Universe(settings, gamma, lambda: wall() + later).survey(running, told)
            return survey, wall(), gamma.counters.calls

    return run_virtual(main, start_ms=DEFAULT_START_MS, limit=600.0)


def test_the_most_traded_are_taken_and_each_other_one_has_a_reason():
    survey, now, calls = look(evolve(USUAL, max_markets=30))
    assert len(survey.taken) == 30
    volumes = [market.volume_24h for market in survey.taken]
    assert volumes == sorted(volumes, reverse=True)
    assert not any(judge(USUAL, market, now) for market in survey.taken)
    assert all(survey.left.values())
    assert {*survey.left, *(market.slug for market in survey.taken)} == set(survey.listed)
    assert "30 markets are traded more" in survey.left.values()
    assert calls <= 3, "three pages of a hundred"
    text = table(survey, now)
    assert text.count("taken\n") == 30
    assert "neg-risk" in text


def test_pages_without_volume_are_not_read_to_the_end():
    _, _, few = look(evolve(USUAL, min_volume=Decimal(400_000)), markets=600)
    _, _, all_of_them = look(evolve(USUAL, min_volume=Decimal(0)), markets=600)
    assert few < all_of_them


def test_tags_are_asked_for():
    survey, *_ = look(evolve(USUAL, tags=("sports",)))
    assert survey.taken
    assert all("sports" in market.tags for market in survey.taken)


def test_what_runs_is_kept_until_it_ends():
    first, now, _ = look(evolve(USUAL, max_markets=5))
    running = [evolve(market, volume_24h=Decimal(1)) for market in first.taken]
    again, *_ = look(evolve(USUAL, max_markets=5), running=running)
    assert [market.slug for market in again.taken] == [market.slug for market in running]
    soonest = min(running, key=lambda market: market.window_end)
    later, *_ = look(evolve(USUAL, max_markets=5), running=running, later=soonest.window_end - now - 200)
    assert soonest.slug not in [market.slug for market in later.taken]


def test_a_screen_looks_at_what_a_pair_costs_on_the_book():
    survey, *_ = look(evolve(USUAL, screen=Decimal("1.01"), max_markets=20), real_books=True)
    assert survey.taken
    dear = [why for why in survey.left.values() if "a pair costs" in why]
    assert dear
    assert all(Decimal(why.split()[3]) > Decimal("1.01") for why in dear)


def test_without_a_book_a_market_is_not_taken_through_a_screen():
    async def nothing(_tokens):
        return {}

    survey, *_ = look(evolve(USUAL, screen=Decimal("1.02"), max_markets=20), asks=nothing)
    assert survey.taken == ()
    assert "a pair costs ? on the book" in survey.left.values()
