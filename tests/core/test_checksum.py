from __future__ import annotations

import json

import pytest

from polymirror.core.checksum import Constants, Dialect, HashTemplate
from tests.core.builders import CONSTANTS, START, Exchange, order_book, plain_hash, wire

REAL_MARKET = "0xd967d7d5a0b33a1526e5f2239568e58de8c924a14fe3b69a1c50aff38cb0d4e0"
REAL_ASSET = "28718769439282091652995010258948804660150865727547676008909086622855303551587"
EMPTY_MARKET = "0xf9ac0e77c3f0f1ad3c26c31d6d34e4a77c4e0236509fd82c28b7385ca5d6a08f"
EMPTY_ASSET = "85600252644170731211210566152921956764401066963486188642737546170874308262312"


def test_a_real_rest_book_has_the_venues_hash():
    template = HashTemplate(Dialect.TEN, REAL_MARKET, REAL_ASSET, CONSTANTS)
    book = order_book([("0.01", "100")], [("0.99", "100")])
    assert template.digest(1777325080783, book, "") == "6244f63858a1e3ef43606706e51a484907d911a0"


def test_a_real_empty_book_has_the_venues_hash():
    template = HashTemplate(Dialect.TEN, EMPTY_MARKET, EMPTY_ASSET, CONSTANTS)
    assert template.digest(1777366470133, order_book(), "") == "2641799594ca630c7cfbcb1eefa308abb6cd4eab"


def test_the_synthetic_vector_of_the_venues_client_is_reproduced():
    template = HashTemplate(Dialect.TEN, "0xaabbcc", "100", Constants("100", "0.01", neg_risk=False))
    book = order_book([("0.3", "100"), ("0.4", "100")], [("0.6", "100"), ("0.7", "100")])
    # The vector lists its asks ascending, unlike the venue, and hashes them as listed.
    book.asks.wires.reverse()
    book.asks.joined, book.asks._deep = "", -1
    assert template.digest(123456789, book, "0.5") == "0458ea5755c9f73d64a14636fa5c36ed460ec394"


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("neg_risk", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_every_dialect_equals_the_plain_rule_over_its_keys(dialect, neg_risk, empty):
    exchange = Exchange(bids=(), asks=()) if empty else Exchange()
    exchange.neg_risk = neg_risk
    content = exchange.content("11")
    template = HashTemplate(dialect, "0xm", "11", Constants("5", "0.01", neg_risk=neg_risk))
    book = order_book(*exchange.sides("11"))
    expected = plain_hash(content, dialect.value)
    assert template.digest(START, book, exchange.trade) == expected
    assert template.find(expected, START, book, ["", "0.111", exchange.trade]) is not None


def test_dialects_say_what_they_hash():
    assert [each.name for each in Dialect if each.has_last_trade] == ["TEN"]
    assert [each.name for each in Dialect if not each.has_constants] == ["SIX", "TRAILING"]


def test_a_search_returns_the_candidate_that_fits_and_none_when_none_does():
    exchange = Exchange(trade="0.777")
    template = HashTemplate(Dialect.TEN, "0xm", "11", CONSTANTS)
    book = order_book(*exchange.sides("11"))
    announced = exchange.content("11")["hash"]
    assert template.find(announced, START, book, ["", "0.480", "0.777", "0.778"]) == "0.777"
    assert template.find(announced, START, book, ["", "0.480"]) is None
    assert template.find(announced, START + 1, book, ["0.777"]) is None


def test_any_difference_in_any_level_changes_the_hash():
    template = HashTemplate(Dialect.TEN, "0xm", "11", CONSTANTS)
    bids, asks = [("0.4", "1"), ("0.41", "2")], [("0.6", "1")]
    whole = template.digest(1, order_book(bids, asks), "")
    for other in ([("0.4", "1")], [("0.4", "1"), ("0.41", "2.0")], [("0.4", "1"), ("0.42", "2")], []):
        assert template.digest(1, order_book(other, asks), "") != whole
    assert template.digest(1, order_book(bids, []), "") != whole


def test_the_plain_rule_of_these_tests_is_the_venues_text():
    content = {
        "market": REAL_MARKET, "asset_id": REAL_ASSET, "timestamp": "1777325080783", "hash": "whatever",
        "bids": wire([("0.01", "100")]), "asks": wire([("0.99", "100")]), "min_order_size": "5", "tick_size": "0.01",
        "neg_risk": False, "last_trade_price": "",
    }  # fmt: skip
    assert plain_hash(json.loads(json.dumps(content))) == "6244f63858a1e3ef43606706e51a484907d911a0"
