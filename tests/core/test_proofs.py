from __future__ import annotations

import pytest

from polymirror.core.proofs import ProofKind, Tally, Verdict, bbo_agrees, complement_differences
from polymirror.errors import UnitError
from tests.core.builders import Exchange, changed, order_book

BOTH = ([("0.48", "1")], [("0.52", "1")])


def test_the_top_agrees_only_when_both_sides_do():
    book = order_book(*BOTH)
    assert bbo_agrees(book, "0.48", "0.52") is True
    assert bbo_agrees(book, ".48", "0.520") is True
    assert bbo_agrees(book, "0.47", "0.52") is False
    assert bbo_agrees(book, "0.48", "0.53") is False


def test_nothing_stated_says_nothing():
    assert bbo_agrees(order_book(*BOTH), None, None) is None


@pytest.mark.parametrize("nothing", ["", "0", None])
def test_an_empty_bid_side_is_accepted_in_all_spellings(nothing):
    assert bbo_agrees(order_book([], BOTH[1]), nothing, "0.52") is True
    assert bbo_agrees(order_book(*BOTH), nothing, "0.52") is False


@pytest.mark.parametrize("nothing", ["", "1", None])
def test_an_empty_ask_side_is_accepted_in_all_spellings(nothing):
    assert bbo_agrees(order_book(BOTH[0], []), "0.48", nothing) is True
    assert bbo_agrees(order_book(*BOTH), "0.48", nothing) is False


def test_a_stated_top_that_is_no_price_raises():
    with pytest.raises(UnitError):
        bbo_agrees(order_book(*BOTH), "NaN", "0.52")


def test_mirror_images_have_no_differences():
    exchange = Exchange()
    up, down = (order_book(*exchange.sides(token)) for token in exchange.tokens)
    assert complement_differences(up, down) == set()
    assert complement_differences(order_book(), order_book()) == set()


def test_each_differing_level_is_named_with_its_side():
    exchange = Exchange()
    up, down = (order_book(*exchange.sides(token)) for token in exchange.tokens)
    changed(up, "BUY", "0.30", "5", 1)
    changed(up, "SELL", "0.60", "99", 1)
    changed(down, "SELL", "0.52", "0", 1)
    assert complement_differences(up, down) == {(3000, True), (4000, False), (4800, True)}
    assert complement_differences(down, up) == {(3000, False), (4000, True), (4800, False)}


def test_a_tally_lists_verdicts_by_kind_in_one_order():
    tally = Tally()
    tally.count(ProofKind.PROBE, Verdict.MATCH)
    tally.count(ProofKind.PROBE, Verdict.MATCH)
    tally.count(ProofKind.BBO, Verdict.MISMATCH)
    for _ in range(3):
        tally.count(ProofKind.BBO, Verdict.MATCH)
    assert list(tally.as_dict().items()) == [("bbo", {"match": 3, "mismatch": 1}), ("probe", {"match": 2})]
    assert list(tally.as_dict()["bbo"]) == ["match", "mismatch"]
