from __future__ import annotations

import pytest

from polymirror.core.proofs import complement_differences
from polymirror.core.states import BookState, Reason
from tests.core.builders import CONSTANTS, START, Exchange, Rig, assert_right, changed, shown, truth, unhashed


def differences(rig):
    return complement_differences(rig.token("11").proven.book, rig.token("22").proven.book)


# ---- Batches -------------------------------------------------------------------------------------------


def test_inside_a_batch_hash_and_top_may_already_describe_its_end(rig, exchange):
    messages = [exchange.change("BUY", price, "5", at=START + 5) for price in ("0.46", "0.49", "0.50")]
    for message in messages:
        for entry, last in zip(message["price_changes"], messages[-1]["price_changes"], strict=True):
            entry.update(hash=last["hash"], best_bid=last["best_bid"], best_ask=last["best_ask"])
        rig.send(message)
        assert rig.state("11") is BookState.LIVE
    rig.settle()
    assert_right(rig, exchange)
    assert rig.transitions == []
    assert rig.verdicts("bbo") == {"match": 2}
    assert rig.verdicts("complement") == {"match": 1}
    assert "mismatch" not in rig.verdicts("hash")


def test_a_message_that_proves_all_is_checked_at_once(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "9"))
    rig.settle()
    for n in range(2, 5):
        rig.send(exchange.change("BUY", "0.46", str(n)))
        assert rig.verdicts("bbo") == {"match": 2 * n}
        assert rig.verdicts("complement") == {"match": n}
        assert rig.engine.next_deadline() >= rig.now + 0.1 - 1e-9, "only the second hash is due"


def test_a_batch_that_goes_on_after_a_message_that_proved_all_is_counted_once(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.send(exchange.change("BUY", "0.47", "5", at=exchange.at))
    rig.settle()
    assert rig.verdicts("bbo") == {"match": 2}
    assert rig.verdicts("complement") == {"match": 1}
    assert rig.transitions == []


def test_a_batch_is_closed_by_the_next_timestamp(rig, exchange):
    # The hash of one token alone goes the long way.
    for size in "56":
        message = exchange.change("BUY", "0.46", size, at=START + 9)
        message["price_changes"][0]["hash"] = ""
        rig.send(message)
    assert rig.verdicts("bbo") == {}
    rig.send(exchange.change("BUY", "0.47", "5", at=START + 11))
    assert rig.verdicts("bbo") == {"match": 4}


def test_a_batch_is_closed_by_a_few_milliseconds(rig, exchange):
    # The hash of one token alone goes the long way.
    for size in "56":
        message = exchange.change("BUY", "0.46", size, at=START + 9)
        message["price_changes"][0]["hash"] = ""
        rig.send(message)
    assert rig.engine.next_deadline() == rig.now + rig.engine.config.batch_window
    rig.advance(0.9 * rig.engine.config.batch_window)
    assert rig.verdicts("bbo") == {}
    rig.advance(0.2 * rig.engine.config.batch_window)
    assert rig.verdicts("bbo") == {"match": 2}
    assert rig.engine.next_deadline() >= rig.now + 0.1 - 1e-9, "only the second hash is due"


def test_a_batch_of_too_many_messages_is_closed_early(exchange):
    rig = Rig.live(exchange, max_batch_messages=3)
    for n in range(7):
        rig.send(exchange.change("BUY", "0.46", str(n + 1), at=START + 5))
    assert rig.verdicts("bbo") == {"match": 4}


def test_a_busy_market_does_not_hold_up_the_batches_of_a_quiet_one():
    busy, still = Exchange(), Exchange("0xn", "33", "44")
    rig = Rig.live(busy, still)
    rig.send(busy.change("BUY", "0.46", "5"))
    step = 0.4 * rig.engine.config.batch_window
    rig.advance(step / 2)
    still.alter("BUY", "0.20", "5")
    rig.send(still.change("BUY", "0.21", "5"))
    for n in range(4):
        rig.advance(step)
        rig.send(busy.change("BUY", "0.46", str(n + 6)))
    assert rig.token("33").miss_since is not None


# ---- BBO -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["best_bid", "best_ask"])
def test_a_top_that_differs_at_the_definite_end_of_a_batch_is_a_doubt(rig, exchange, side):
    message = unhashed(exchange.change("BUY", "0.46", "5"))
    message["price_changes"][0][side] = "0.5"
    rig.send(message)
    assert rig.state("11") is BookState.LIVE
    rig.send(unhashed(exchange.change("BUY", "0.46", "6")))
    assert rig.path("11") == ["SUSPECT BBO_MISMATCH"]
    assert rig.path("22") == []


def test_when_only_time_ended_the_batch_a_differing_top_has_a_grace(rig, exchange):
    message = unhashed(exchange.change("BUY", "0.46", "5"))
    message["price_changes"][0]["best_bid"] = "0.5"
    rig.send(message)
    rig.advance(0.9)
    assert rig.transitions == []
    rig.advance(0.2)
    assert rig.path("11") == ["SUSPECT BBO_MISMATCH"]


def test_a_hash_that_fits_outweighs_a_wrong_top(rig, exchange):
    message = exchange.change("BUY", "0.46", "5")
    message["price_changes"][0]["best_bid"] = "0.5"
    rig.send(message)
    rig.send(exchange.change("BUY", "0.46", "6"))
    rig.advance(2)
    assert rig.transitions == []
    assert rig.verdicts("bbo")["mismatch"] == 1


@pytest.mark.parametrize("wrong", ["NaN", "-0.48", "x" * 1000, "2"])
def test_a_stated_top_that_is_no_price_is_warned_of_and_counts_as_a_mismatch(rig, exchange, wrong):
    message = unhashed(exchange.change("BUY", "0.46", "5"))
    message["price_changes"][0]["best_bid"] = wrong
    rig.send(message)
    rig.send(unhashed(exchange.change("BUY", "0.46", "6")))
    assert rig.path("11") == ["SUSPECT BBO_MISMATCH"]
    assert [each.kind for each in rig.warnings] == ["malformed best_bid or best_ask"]
    assert all(len(each.detail) < 300 for each in rig.warnings)


def test_no_stated_top_is_unverifiable(rig, exchange):
    message = exchange.change("BUY", "0.46", "5")
    for entry in message["price_changes"]:
        del entry["best_bid"], entry["best_ask"]
    rig.send(message)
    rig.settle()
    assert rig.verdicts("bbo") == {"unverifiable": 2}


def test_a_book_that_is_emptied_agrees_with_every_spelling_of_an_empty_top():
    for nothing in (("0", "1"), ("", ""), (None, None)):
        exchange = Exchange(bids=[("0.48", "5")], asks=[("0.52", "5")])
        rig = Rig.live(exchange)
        rig.send(exchange.change("BUY", "0.48", "0"))
        last = exchange.change("SELL", "0.52", "0")
        for entry in last["price_changes"]:
            entry["best_bid"], entry["best_ask"] = nothing
        rig.send(last)
        rig.settle()
        assert rig.transitions == []
        assert "mismatch" not in rig.verdicts("bbo")
        assert rig.live_view("11").bids == rig.live_view("22").asks == ()


# ---- Complement ----------------------------------------------------------------------------------------


def one_sided(exchange, side, price, size):
    """A message in which the second token's entry is missing."""
    message = exchange.change(side, price, size)
    del message["price_changes"][1]
    return message


def test_a_frozen_token_is_found_by_its_complement(rig, exchange):
    frozen = truth(exchange, "22")
    for n in range(3):
        rig.send(one_sided(exchange, "BUY", "0.46", str(n + 1)))
    assert rig.path("22") == ["SUSPECT COMPLEMENT_MISMATCH"]
    assert rig.path("11") == []
    assert shown(rig.engine.peek("22", rig.now)) == frozen
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    for _ in range(4):
        rig.advance(1.0)
        rig.answer()
    assert_right(rig, exchange)


def test_a_frozen_token_is_found_by_probes_when_there_is_no_other_sign():
    exchange = Exchange()
    rig = Rig(exchange, constants=CONSTANTS)
    rig.time()
    rig.engine.untrack("0xm", rig.now)
    rig.engine.track("0xm", ["22"], rig.now, constants=CONSTANTS)
    rig.engine.connected(2, rig.now)
    rig.drain()
    rig.send([exchange.opening_book("22")], line=2)
    assert rig.state("22") is BookState.LIVE
    frozen = truth(exchange, "22")
    exchange.change("BUY", "0.49", "5")
    for _ in range(30):
        rig.advance(0.5)
        rig.answer()
        if rig.state("22") is BookState.LIVE and rig.token("22").proven.epoch == 0:
            assert shown(rig.live_view("22")) == frozen
            assert rig.live_view("22").verified_age <= 15
    assert "SUSPECT PROBE_MISMATCH" in rig.path("22")
    assert shown(rig.live_view("22")) == truth(exchange, "22")


def test_when_only_time_ended_the_batch_a_differing_complement_has_a_grace(rig, exchange):
    rig.send(one_sided(exchange, "BUY", "0.46", "5"))
    rig.advance(0.9)
    assert rig.transitions == []
    rig.advance(0.2)
    assert rig.path("22") == ["SUSPECT COMPLEMENT_MISMATCH"]


def test_unproven_tokens_that_are_no_mirror_images_are_both_doubted(rig, exchange):
    message = unhashed(exchange.change("BUY", "0.46", "5"))
    message["price_changes"][1]["size"] = "6"
    rig.send(message)
    rig.send(unhashed(exchange.change("BUY", "0.47", "5")))
    assert rig.path("11") == rig.path("22") == ["SUSPECT COMPLEMENT_MISMATCH"]


def test_tokens_that_are_both_proven_at_one_time_are_believed_whatever_the_complement(rig, exchange):
    other = Exchange()
    other.alter("BUY", "0.47", "9")
    message = exchange.change("BUY", "0.46", "5")
    other.at = exchange.at
    rig.send(message)
    changed(rig.token("22").proven.book, "SELL", "0.53", "9", START)
    rig.token("22").proven.generation += 1
    rig.settle()
    assert rig.verdicts("complement") == {"mismatch": 1}
    assert rig.transitions == []


def test_the_differing_levels_are_kept_up_to_date_by_every_kind_of_message(rig, exchange):
    market = rig.engine.markets["0xm"]
    rig.send(exchange.change("BUY", "0.46", "5"))
    steps = [
        one_sided(exchange, "BUY", "0.46", "6"),
        one_sided(exchange, "SELL", "0.57", "3"),
        one_sided(exchange, "BUY", "0.46", "7"),
        exchange.change("SELL", "0.57", "4"),
        exchange.change("BUY", "0.44", "4"),
        exchange.message([exchange.entry("11", "0.44", "5", "BUY"), exchange.entry("22", "0.56", "6", "SELL")]),
        exchange.change("BUY", "0.44", "7", at=exchange.at),
        exchange.message([
            *exchange.entries("BUY", "0.31", "1"), *exchange.entries("BUY", "0.32", "1"),
            exchange.entry("11", "0.33", "1", "BUY"),
        ]),
        exchange.change("BUY", "0.46", "8"),
    ]  # fmt: skip
    for step in steps:
        rig.send(step)
        assert market.differences == differences(rig)
    assert differences(rig) == {(3300, True)}


def test_several_entries_of_a_token_in_one_message_are_one_change(rig, exchange):
    exchange.at += 1
    for price in ("0.30", "0.31", "0.32"):
        exchange.alter("BUY", price, "5")
    rig.send(exchange.message([each for p in ("0.30", "0.31", "0.32") for each in exchange.entries("BUY", p, "5")]))
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


def test_differences_are_right_again_after_a_message_with_a_bad_entry(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    message = exchange.change("BUY", "0.47", "5")
    message["price_changes"][1]["size"] = "-1"
    rig.send(message)
    assert rig.path("11") == ["SUSPECT DECODE_ERROR"]
    rig.send(exchange.change("BUY", "0.44", "5"))
    assert rig.engine.markets["0xm"].differences == differences(rig) == {(4700, True)}


def test_one_token_alone_has_no_complement():
    exchange = Exchange()
    rig = Rig(constants=CONSTANTS)
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    assert rig.verdicts("complement") == {}
    assert rig.engine.counts["untracked"] == 2
    assert shown(rig.live_view("11")) == truth(exchange, "11")


# ---- Tick size -----------------------------------------------------------------------------------------


def tick_size_change(token, tick):
    return {
        "event_type": "tick_size_change", "market": "0xm", "asset_id": token, "old_tick_size": "0.01",
        "new_tick_size": tick, "timestamp": str(START + 5),
    }  # fmt: skip


def test_a_new_tick_size_must_be_proven_and_a_repeated_event_changes_nothing(rig, exchange):
    for _ in range(2):
        rig.send(tick_size_change("11", "0.001"))
    assert rig.path("11") == ["SUSPECT TICK_SIZE_CHANGE"]
    assert rig.path("22") == []
    exchange.tick_size = "0.001"
    rig.send(tick_size_change("22", "0.001"))
    rig.send(exchange.change("BUY", "0.481", "5"))
    rig.settle()
    assert rig.path("11")[-1] == "LIVE PROVEN"
    assert_right(rig, exchange)
    assert rig.live_view("11").tick_size_e4 == 10
    rig.forget()
    rig.send(unhashed(exchange.change("BUY", "0.482", "5")))
    rig.send(tick_size_change("11", "0.001"))
    assert rig.transitions == []


def test_a_book_that_is_proven_on_the_new_grid_already_is_not_doubted(rig, exchange):
    exchange.tick_size = "0.001"
    rig.send(exchange.change("BUY", "0.481", "5"))
    rig.settle()
    assert rig.live_view("11").tick_size_e4 == 10
    rig.send(tick_size_change("11", "0.001"))
    assert rig.transitions == []


def test_a_tick_size_of_a_token_that_nobody_tracks_or_that_has_no_book_is_noted_quietly(rig, exchange):
    rig.send(tick_size_change("99", "0.001"))
    rig.disconnect()
    rig.connect()
    rig.forget()
    rig.send(tick_size_change("11", "0.001"))
    assert rig.transitions == []
    assert rig.token("11").tick_size == 10


@pytest.mark.parametrize("tick", ["0.02", "NaN", "", "-1"])
def test_a_tick_size_that_cannot_be_makes_the_books_suspect(rig, tick):
    rig.send(tick_size_change("11", tick))
    assert rig.path("11") == rig.path("22") == ["SUSPECT DECODE_ERROR"]
    assert rig.engine.malformed == {"tick_size_change": 1}


def test_a_baseline_from_rest_that_is_newer_than_the_other_token_doubts_that_one_too(rig, exchange):
    """Of a frozen token nothing comes: what is known of its twin is all that shows it."""
    rig.advance(0.5)
    rig.send(exchange.message(exchange.entries("BUY", "0.46", "5")[:1]))
    exchange.alter("BUY", "0.46", "5")
    rig.engine.resync("11", rig.now)
    rig.drain()
    exchange.at += 1
    rig.answer("22")
    assert rig.state("11") is BookState.LIVE
    assert rig.state("22") is BookState.LIVE
    assert not rig.live_view("22").settled
    rig.advance(rig.engine.config.hash_grace + 0.01)
    assert rig.state("22") is BookState.SUSPECT
    assert rig.token("22").reason is Reason.COMPLEMENT_MISMATCH
