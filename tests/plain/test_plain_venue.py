"""The plain venue writes what the venue writes: two published books with their hashes, and it knows its past."""

from __future__ import annotations

import pytest

from tests.plain.venue import SHARE, PlainMarket, trimmed

LONG = "0xd967d7d5a0b33a1526e5f2239568e58de8c924a14fe3b69a1c50aff38cb0d4e0"
LONG_ID = "28718769439282091652995010258948804660150865727547676008909086622855303551587"
EMPTY = "0xf9ac0e77c3f0f1ad3c26c31d6d34e4a77c4e0236509fd82c28b7385ca5d6a08f"
EMPTY_ID = "85600252644170731211210566152921956764401066963486188642737546170874308262312"


@pytest.mark.parametrize(
    ("market", "token", "stamp_ms", "bids", "asks", "expected"),
    [
        (LONG, LONG_ID, 1777325080783, {100: 100 * SHARE}, {9900: 100 * SHARE},
         "6244f63858a1e3ef43606706e51a484907d911a0"),
        (EMPTY, EMPTY_ID, 1777366470133, {}, {}, "2641799594ca630c7cfbcb1eefa308abb6cd4eab"),
    ],
)  # fmt: skip
def test_its_hash_is_the_venues(market, token, stamp_ms, bids, asks, expected):
    plain = PlainMarket(market, (token, "2"))
    plain.bids, plain.asks, plain.changed_ms = bids, asks, stamp_ms
    assert plain.rest(token)["hash"] == expected


def test_a_change_is_told_of_both_tokens_as_mirror_images():
    plain = PlainMarket()
    first, second = plain.change("BUY", 4900, 5 * SHARE, 1.0)["price_changes"]
    assert (first["price"], first["side"], first["best_bid"], first["best_ask"]) == ("0.49", "BUY", "0.49", "0.52")
    assert (second["price"], second["side"], second["best_bid"], second["best_ask"]) == ("0.51", "SELL", "0.48", "0.51")
    assert first["hash"] == plain.rest("1001")["hash"]
    assert second["hash"] == plain.rest("1002")["hash"]


def test_its_truth_says_when_a_state_was_last_true():
    plain = PlainMarket()
    before = plain.levels("1001")
    plain.change("BUY", 4900, 5 * SHARE, 1.0)
    during = plain.levels("1001")
    plain.change("BUY", 4900, 0, 3.0)
    truth = plain.truth["1001"]
    assert truth.age(before, 10.0) == 0.0
    assert truth.age(during, 10.0) == 7.0
    assert truth.age(((), ()), 10.0) == float("inf")
    assert truth.at(2.0) == during


def test_its_second_token_can_be_made_to_differ():
    plain = PlainMarket()
    plain.alter("1002", "BUY", 4500, 0, 5.0)
    assert 4500 not in dict(plain.levels("1002")[0])
    assert 5500 in dict(plain.levels("1001")[1])
    assert len(plain.truth["1001"].states) == 1
    assert len(plain.truth["1002"].states) == 2


@pytest.mark.parametrize(("number", "text"), [(5 * SHARE, "5"), (1145640000, "1145.64"), (1, "0.000001"), (0, "0")])
def test_numbers_are_written_without_zeros_at_the_end(number, text):
    assert trimmed(number, 6) == text
