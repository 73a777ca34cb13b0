"""A market of which the venue's two services say different things is not traded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from bots.common.errors import FactsDiffer, FactsOutside
from bots.common.orders.facts import FactLimits
from bots.common.orders.intents import Terms
from bots.oracle_lag.signal import SignalSettings
from bots.oracle_lag.strategy import OracleLag
from bots.testing.liars import measure
from bots.updown.rounds import Round, RoundSettings
from bots.updown.stats import RunStats
from bots.updown.worker import AssetWorker
from polymirror.core.fees import NO_FEE, FeeSchedule
from polymirror.errors import ConfigError, VenueUnavailable
from polymirror.venue.market import ClobMarket, Token
from tests.bots.execution_rig import in_virtual_time, network
from tests.bots.rounds_rig import market_of, window

MARKET = market_of(window())
CLOB = ClobMarket(MARKET.condition_id, MARKET.tokens, "0.01", "5", neg_risk=False, fee=MARKET.fee, taker_delay=True)
UP, DOWN = MARKET.tokens


def test_what_both_say_alike_is_joined_whatever_the_order_and_the_letters():
    other = (Token(DOWN.id, "DOWN"), Token(UP.id, "up"))
    assert Terms.of(MARKET, evolve(CLOB, tokens=other, tick_size="0.010"), "btc").fee == MARKET.fee


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tokens": (Token(UP.id, "Down"), Token(DOWN.id, "Up"))}, "tokens"),
        ({"tokens": (UP, Token("another", "Down"))}, "tokens"),
        ({"neg_risk": True}, "neg-risk"),
        ({"tick_size": "0.001"}, "tick"),
        ({"fee": None}, "fees"),
        ({"fee": NO_FEE}, "fees"),
    ],
)
def test_what_they_say_differently_is_named_and_nothing_is_joined(changes, what):
    with pytest.raises(FactsDiffer, match=what):
        Terms.of(MARKET, evolve(CLOB, **changes), "btc")


def test_fees_that_discovery_denies_are_not_believed():
    with pytest.raises(FactsDiffer, match=r"fees \(False and True\)"):
        Terms.of(evolve(MARKET, fees_enabled=False, fee=None), CLOB, "btc")
    free = Terms.of(evolve(MARKET, fees_enabled=False, fee=None), evolve(CLOB, fee=None), "btc")
    assert free.fee.rate == Decimal(0)


def fee(rate, exponent=1):
    return FeeSchedule(Decimal(rate), exponent)


@pytest.mark.parametrize(
    ("changes", "limits", "words"),
    [
        (
            {"fee": fee("0.0800001")},
            {},
            "fee of a share is 0.020000025, and it must be at most facts.max_fee, 0.02 pUSD",
        ),
        ({"fee": fee("0.021", 0)}, {}, "facts.max_fee"),
        ({"fee": fee("0.07")}, {"max_fee": Decimal("0.0174")}, "facts.max_fee, 0.0174"),
        ({"tick_size": "0.1"}, {}, "tick is 0.1"),
        ({"tick_size": "0.0001"}, {"min_tick": Decimal("0.001")}, "tick is 0.0001"),
        ({"tick_size": "0.003"}, {}, "tick is 0.003"),
        ({"tick_size": "0.01"}, {"max_tick": Decimal("0.001")}, "facts.min_tick, 0.0001, to 0.001"),
        ({"min_order_size": "11"}, {}, "smallest order is 11"),
        ({"min_order_size": "5"}, {"max_min_shares": Decimal(4)}, "facts.max_min_shares, 4"),
    ],
)
def test_a_fact_beyond_its_bound_is_named_though_both_services_say_it(changes, limits, words):
    both = (evolve(MARKET, **changes), evolve(CLOB, **changes))
    with pytest.raises(FactsOutside) as found:
        Terms.of(*both, "btc", FactLimits(**limits))
    assert words in str(found.value)


@pytest.mark.parametrize(
    "changes",
    [{"fee": fee("0.08")}, {"fee": fee("0.25", 2)}, {"tick_size": "0.0001"}, {"min_order_size": "10"}],
)
def test_facts_at_their_bounds_are_believed(changes):
    assert Terms.of(evolve(MARKET, **changes), evolve(CLOB, **changes), "btc")


def test_bounds_that_nothing_could_meet_are_refused():
    with pytest.raises(ConfigError, match=r"min_tick=.* no more than max_tick"):
        FactLimits(min_tick=Decimal("0.01"), max_tick=Decimal("0.001"))
    with pytest.raises(ConfigError, match=r"min_strike=.* no more than max_strike"):
        RoundSettings(min_strike=Decimal(2), max_strike=Decimal(1))


class Services:
    """Discovery and the order book service, each of which answers from a list, and the last answer ever after."""

    def __init__(self, described, joined):
        self.described, self.joined = described, joined
        self.gamma = self.clob = self
        self.asked = 0

    async def event(self, slug):
        assert slug == MARKET.slug
        self.asked += 1
        return self._next(self.described)

    async def clob_market(self, condition_id):
        assert condition_id == MARKET.condition_id
        return self._next(self.joined)

    def _next(self, answers):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def learned(first, described, joined):
    """What a worker knows at the end of a window, what it has told, and whom it asked."""
    told, services = [], Services(described, joined)

    async def main():
        worker = AssetWorker(
            "btc",
            OracleLag(SignalSettings()),
            rounds=RoundSettings(),
            facts=FactLimits(),
            mirror=None,
            network=network(),
            oracle=None,
            manager=None,
            stats=RunStats(),
            tell=told.append,
            page=None,
        )
        await worker._learn_terms(services, Round(window(), market=first))
        return worker._terms.get(MARKET.slug)

    return in_virtual_time(main), told, services


FINE = evolve(MARKET, tick_size="0.001")


@pytest.mark.parametrize(
    ("first", "described", "joined"),
    [
        (FINE, [(FINE,), VenueUnavailable("gamma", 503), (), (MARKET,)], [CLOB]),
        (MARKET, [(MARKET,)], [evolve(CLOB, fee=None), VenueUnavailable("clob", 503), CLOB]),
        (evolve(MARKET, fee=None), [(MARKET,)], [evolve(CLOB, fee=None), CLOB]),
    ],
)
def test_a_market_is_traded_once_its_facts_agree_whichever_service_was_late(first, described, joined):
    terms, told, _ = learned(first, described, joined)
    assert terms.fee == MARKET.fee
    assert len(told) == 2
    assert told[0].startswith("not traded: ")
    assert told[1] == f"{MARKET.slug} is traded: what was wrong with its facts is over"


@pytest.mark.parametrize(
    "other",
    [
        {"tokens": (Token(UP.id, "Down"), Token(DOWN.id, "Up"))},
        {"condition_id": "0xother"},
        {"tick_size": "0.001"},
    ],
)
def test_a_market_that_is_another_one_by_now_or_still_differs_is_not_traded_and_that_is_told_once(other):
    terms, told, services = learned(FINE, [(evolve(MARKET, **other),)], [CLOB])
    assert terms is None
    assert len(told) == 1
    assert 100 <= services.asked <= 200


def test_a_market_whose_outcomes_both_services_swap_later_is_not_traded():
    swapped = (Token(UP.id, "Down"), Token(DOWN.id, "Up"))
    terms, told, _ = learned(FINE, [(evolve(MARKET, tokens=swapped),)], [evolve(CLOB, tokens=swapped)])
    assert terms is None
    assert len(told) == 1


@pytest.mark.slow
@pytest.mark.parametrize("liar", ["labels", "tokens", "no fee"])
def test_nothing_is_bought_where_discovery_lies_and_that_is_told_within_a_minute(liar):
    found = measure([liar], rounds=4, seed=7)
    assert found.loss == 0
    assert found.told.startswith("not traded: ")
    assert found.after_s <= 60
