"""The quick way of the usual message. That it comes to the same as the long way is tested in tests/simulation."""

from __future__ import annotations

import pytest

from polymirror.core import market as market_module
from polymirror.core import mirrored
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.token import EMPTY_PROBE_INTERVAL
from tests.core.builders import CONSTANTS, START, Rig, assert_right, shown, truth, unhashed


@pytest.fixture
def rig(exchange):
    rig = Rig.live(exchange)
    # The first message of a market goes the long way, which compares both books once.
    rig.send(exchange.change("BUY", "0.46", "7"))
    rig.settle()
    # Both tokens were just proven by their own hashes.
    rig.engine.markets["0xm"].both_due = rig.now + mirrored.TURN_SECONDS
    return rig


def pairs(rig):
    proofs = rig.engine.outbox.proofs
    return proofs.proven_pairs, proofs.proven_twice, proofs.unhashed_pairs


def proof_kinds(rig):
    return [rig.live_view(token).last_proof.kind for token in ("11", "22")]


@pytest.mark.parametrize("dispute", ["a disagreement", "a missed hash", "a held answer"])
def test_a_message_goes_the_long_way_while_something_is_disputed_or_waited_for(rig, exchange, dispute):
    rig.send(exchange.change("BUY", "0.46", "8"))
    token = rig.token("11")
    assert token.calm
    if dispute == "a disagreement":
        token.disagrees(Reason.BBO_MISMATCH, rig.now)
    elif dispute == "a missed hash":
        token.hash_missed(rig.now)
        assert token.miss_since is None
        assert len(token.misses.watched) == 1
    else:
        unheard = exchange.change("BUY", "0.45", "9")
        rig.engine.prove("11", rig.now)
        rig.drain()
        rig.answer(t11=exchange.rest("11"))
        assert token.resync.held is not None
        rig.send(unheard)
    before = pairs(rig)
    rig.send(exchange.change("BUY", "0.46", "10"))
    # What the long way proves ends the dispute.
    assert pairs(rig) == before if dispute != "a held answer" else token.resync.held is None
    assert_right(rig, exchange)


def test_a_hash_that_does_not_fit_is_kept_with_the_change(rig, exchange):
    message = exchange.change("BUY", "0.46", "8")
    for entry in message["price_changes"]:
        entry["hash"] = "0" * 39 + entry["asset_id"][0]
    rig.send(message)
    for entry in message["price_changes"]:
        assert rig.token(entry["asset_id"]).proven.journal[-1].announced == entry["hash"]


def test_a_hash_that_nothing_explains_yet_is_kept_with_the_change(rig, exchange):
    rig.engine.markets["0xm"].hashes.constants = None
    before = pairs(rig)
    message = exchange.change("BUY", "0.46", "8")
    rig.send(message)
    assert pairs(rig) == (before[0], before[1], before[2] + 1)
    for entry in message["price_changes"]:
        assert rig.token(entry["asset_id"]).proven.journal[-1].announced == entry["hash"]


def test_the_hash_of_a_book_that_was_proven_as_a_mirror_image_is_kept_with_the_change(rig, exchange):
    for n in range(mirrored.TURNS):
        message = exchange.change("BUY", "0.46", str(n + 8))
        rig.send(message)
        kinds = proof_kinds(rig)
        kept = [rig.token(token).proven.journal[-1].announced for token in ("11", "22")]
        untried = message["price_changes"][1]["hash"] if kinds[1] is ProofKind.COMPLEMENT else ""
        assert kept == ["", untried]


def test_a_price_outside_of_the_book_goes_the_long_way_which_says_what_is_wrong(rig, exchange):
    message = exchange.change("BUY", "0.46", "8")
    for entry, price in zip(message["price_changes"], ("1", "0"), strict=True):
        entry["price"] = price
    rig.send(message)
    assert rig.engine.malformed == {"price_change": 1}
    assert rig.state("11") is rig.state("22") is BookState.SUSPECT


def test_two_entries_of_the_second_token_go_the_long_way(rig, exchange):
    message = exchange.change("BUY", "0.46", "8")
    mirrored_entry = next(entry for entry in message["price_changes"] if entry["asset_id"] == "22")
    message["price_changes"] = [mirrored_entry, mirrored_entry]
    before = pairs(rig)
    rig.send(message)
    assert pairs(rig) == before
    assert shown(rig.live_view("22")) == truth(exchange, "22")


def test_one_hash_proves_both_books_and_the_others_is_tried_in_its_turn(rig, exchange):
    kinds = []
    for n in range(mirrored.TURNS):
        rig.send(exchange.change("BUY", "0.46", str(n + 8)))
        kinds.append(proof_kinds(rig))
        assert_right(rig, exchange)
    assert kinds.count([ProofKind.HASH, ProofKind.COMPLEMENT]) == mirrored.TURNS - 1
    assert kinds.count([ProofKind.HASH, ProofKind.HASH]) == 1
    assert pairs(rig) == (mirrored.TURNS - 1, 1, 0)


def test_a_token_whose_own_hash_never_fits_is_doubted_though_its_mirror_image_is_proven(rig, exchange):
    for n in range(mirrored.TURNS + 1):
        message = exchange.change("BUY", "0.46", str(n + 8))
        message["price_changes"][1]["hash"] = "0" * 40
        rig.send(message)
        rig.settle()
    rig.advance(rig.engine.config.hash_grace)
    assert (rig.state("11"), rig.path("22")[0]) == (BookState.LIVE, "SUSPECT HASH_MISMATCH")


def test_the_usual_message_without_hashes_is_checked_at_once_and_proves_nothing(rig, exchange):
    before = rig.live_view("11")
    rig.send(unhashed(exchange.change("BUY", "0.46", "8")))
    assert pairs(rig) == (0, 0, 1)
    assert rig.verdicts("hash")["unverifiable"] == 2
    view = rig.live_view("11")
    assert (view.levels, view.settled) == (before.levels, False)
    # What is taken away needs no grid.
    rig.send(unhashed(exchange.change("BUY", "0.46", "0")))
    assert pairs(rig) == (0, 0, 2)


@pytest.mark.parametrize("finer", ["11", "22"])
def test_a_price_off_the_grid_needs_a_hash(rig, exchange, finer):
    other = "22" if finer == "11" else "11"
    # Only one of the tokens was told of a finer grid.
    rig.engine.markets["0xm"].hashes.constants = None
    for token, tick in ((finer, 10), (other, 100)):
        rig.token(token).grid.announce(tick, START, rig.now)
    rig.send(unhashed(exchange.change("BUY", "0.465", "8")))
    assert pairs(rig) == (0, 0, 0)
    rig.settle()
    assert rig.path(other) == ["SUSPECT INVARIANT_FAIL"]


def test_books_that_are_emptied_are_probed_soon(rig, exchange):
    for price in list(exchange.bids):
        rig.send(exchange.change("BUY", price, "0"))
    for price in list(exchange.asks):
        rig.send(exchange.change("SELL", price, "0"))
    assert rig.token("11").proven.is_empty
    assert rig.engine.next_deadline() <= rig.now + EMPTY_PROBE_INTERVAL


def test_a_top_that_is_not_the_stated_one_is_counted_when_the_batch_is_over(rig, exchange):
    message = exchange.change("BUY", "0.46", "8")
    message["price_changes"][0]["best_bid"] = "0.11"
    rig.send(message)
    assert pairs(rig) == (0, 0, 0)
    rig.settle()
    assert rig.verdicts("bbo")["mismatch"] == 1
    assert rig.transitions == []


def test_a_baseline_of_the_time_of_a_checked_message_is_checked_with_it(rig, exchange):
    at = START + 50
    rig.send(exchange.change("BUY", "0.46", "8", at=at))
    assert pairs(rig) == (1, 0, 0)
    rig.engine.resync("22", rig.now)
    # What the baseline is to catch up with: the batch goes on.
    rig.send(exchange.message([exchange.change("BUY", "0.46", "9", at=at)["price_changes"][1]], at=at))
    rig.send(exchange.book("22", at=at))
    rig.settle()
    assert pairs(rig) == (0, 0, 0)
    assert rig.verdicts("complement") == {"match": 1, "mismatch": 1}


def test_a_book_that_is_given_up_inside_a_batch_is_not_checked_when_it_is_over(rig, exchange):
    for size in "89":
        message = exchange.change("BUY", "0.46", size, at=START + 50)
        message["price_changes"][0]["hash"] = ""
        rig.send(message)
    rig.engine.resync("22", rig.now)
    before = rig.verdicts("invariants")["match"]
    rig.settle()
    assert rig.verdicts("invariants")["match"] == before + 1


def test_a_hash_that_came_with_an_image_and_fits_the_end_of_the_batch_speaks_for_its_message(rig, exchange):
    """The image was proven by its twin's hash, so its own hash was not looked at when it came."""
    rig.advance(3)
    rig.send(exchange.change("BUY", "0.46", "6", at=START + 3_000))
    first = exchange.change("BUY", "0.46", "8", at=START + 3_001)
    second = exchange.change("BUY", "0.47", "9", at=START + 3_001)
    early, late = first["price_changes"][1], second["price_changes"][1]
    early["hash"], late["hash"] = late["hash"], early["hash"]
    # The hash of one token alone goes the long way.
    second["price_changes"][0]["hash"] = ""
    rig.send(first)
    assert rig.live_view("22").last_proof.kind is ProofKind.COMPLEMENT
    rig.send(second)
    rig.settle()
    assert rig.live_view("22").last_proof.kind is ProofKind.HASH
    assert rig.live_view("22").verified_age < 0.1
    assert shown(rig.live_view("22")) == truth(exchange, "22")


@pytest.mark.parametrize("both", [False, True])
def test_a_hash_of_the_end_of_a_batch_that_one_token_never_reaches_is_heard(exchange, both):
    rig = Rig.live(exchange, prove_both_hashes=both)
    rig.send(exchange.change("BUY", "0.46", "7"))
    rig.settle()
    first = exchange.change("BUY", "0.46", "8", at=START + 50)
    second = exchange.change("BUY", "0.47", "9", at=START + 50)
    # The second token's hash is of the end of the batch already, and its own change is lost.
    first["price_changes"][1]["hash"] = second["price_changes"].pop()["hash"]
    rig.send(first)
    rig.send(second)
    rig.settle()
    rig.advance(rig.engine.config.hash_grace)
    assert (rig.state("11"), rig.path("22")[0]) == (BookState.LIVE, "SUSPECT HASH_MISMATCH")


def test_a_batch_that_was_proven_by_both_hashes_may_go_on(exchange):
    rig = Rig.live(exchange, prove_both_hashes=True)
    for size in ("7", "8", "9"):
        rig.send(exchange.change("BUY", "0.46", size, at=START + 50 + (size != "7")))
    rig.settle()
    assert pairs(rig) == (0, 1, 0)
    assert rig.verdicts("complement") == {"match": 2}
    assert proof_kinds(rig) == [ProofKind.HASH, ProofKind.HASH]
    assert_right(rig, exchange)


def test_two_entries_for_a_market_of_which_one_token_is_mirrored_go_the_long_way(exchange):
    rig = Rig()
    rig.exchanges = (exchange,)
    rig.engine.track(exchange.market, ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening_book("11"))
    rig.send(exchange.change("BUY", "0.46", "7"))
    assert rig.engine.counts["untracked"] == 1
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_the_entries_may_come_in_either_order(rig, exchange):
    message = exchange.change("SELL", "0.53", "8")
    message["price_changes"].reverse()
    rig.send(message)
    assert pairs(rig) == (1, 0, 0)
    assert proof_kinds(rig) == [ProofKind.HASH, ProofKind.COMPLEMENT]
    assert_right(rig, exchange)


# ---- Later messages of a batch -------------------------------------------------------------------------


def taken(monkeypatch):
    """How the messages went from now on: True for the quick way."""
    ways = []
    usual = market_module.take_mirrored

    def noting(*args):
        ways.append(usual(*args))
        return ways[-1]

    monkeypatch.setattr(market_module, "take_mirrored", noting)
    return ways


def test_a_burst_whose_messages_have_the_hash_and_the_top_of_its_end_is_checked_with_its_last_one(
    rig, exchange, monkeypatch
):
    messages = [exchange.change("BUY", price, "5", at=START + 9) for price in ("0.47", "0.49", "0.30")]
    for message in messages:
        for entry, last in zip(message["price_changes"], messages[-1]["price_changes"], strict=True):
            entry.update(hash=last["hash"], best_bid=last["best_bid"], best_ask=last["best_ask"])
    ways, before = taken(monkeypatch), pairs(rig)
    for message in messages[:2]:
        rig.send(message)
        assert not rig.live_view("11").settled
    rig.send(messages[2])
    assert ways == [True, True, True]
    assert rig.live_view("11").settled
    assert rig.live_view("22").settled
    assert_right(rig, exchange)
    assert pairs(rig) == (before[0] + 1, *before[1:])
    # Nothing is left to be done when the batch is over.
    assert rig.engine.next_deadline() >= rig.now + 0.1 - 1e-9, "only the second hash is due"
    assert rig.engine.markets["0xm"].touched == {}
    rig.settle()
    assert pairs(rig) == (before[0] + 1, *before[1:])


def test_a_batch_whose_messages_all_fit_is_counted_as_one_batch_and_each_hash(rig, exchange, monkeypatch):
    ways, before, hashes = taken(monkeypatch), pairs(rig), rig.verdicts("hash")["match"]
    for price in ("0.47", "0.49", "0.30"):
        rig.send(exchange.change("BUY", price, "5", at=START + 9))
        assert_right(rig, exchange)
    assert ways == [True, True, True]
    assert pairs(rig) == (before[0] + 1, *before[1:])
    assert rig.verdicts("hash")["match"] == hashes + 3
    rig.send(exchange.change("BUY", "0.31", "5"))
    assert pairs(rig) == (before[0] + 2, *before[1:])


def test_a_batch_without_hashes_is_counted_as_one_batch(rig, exchange):
    rig.engine.markets["0xm"].hashes.constants = None
    before = pairs(rig)
    for price in ("0.47", "0.49"):
        rig.send(exchange.change("BUY", price, "5", at=START + 9))
    assert pairs(rig) == (*before[:2], before[2] + 1)


@pytest.mark.parametrize("again", ["the same message", "another size", "the other book's level"])
def test_a_level_that_comes_again_in_its_batch_goes_the_long_way_unless_it_has_another_size(
    rig, exchange, monkeypatch, again
):
    first = exchange.change("BUY", "0.47", "5", at=START + 9)
    if again == "the other book's level":
        rig.send(exchange.message(first["price_changes"][1:]))
        exchange.alter("BUY", "0.47", "5")
        message = exchange.change("BUY", "0.47", "6", at=START + 9)
    else:
        rig.send(first)
        message = first if again == "the same message" else exchange.change("BUY", "0.47", "6", at=START + 9)
    ways = taken(monkeypatch)
    rig.send(message)
    assert ways == [again == "another size"]
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").settled


def test_a_message_that_comes_after_its_batch_is_over_or_full_or_beside_a_book_goes_the_long_way(exchange, monkeypatch):
    rig = Rig.live(exchange, max_batch_messages=2)
    rig.send(exchange.change("BUY", "0.46", "7"))
    rig.settle()
    ways = taken(monkeypatch)
    rig.send(exchange.change("BUY", "0.30", "1", at=START + 9))
    rig.send(exchange.change("BUY", "0.31", "1", at=START + 9))
    rig.send(exchange.change("BUY", "0.32", "1", at=START + 9))
    assert ways == [True, True, False]
    rig.settle()
    ways.clear()
    rig.send(exchange.change("BUY", "0.33", "1", at=START + 30))
    rig.now += 2 * rig.engine.config.batch_window
    rig.send(exchange.change("BUY", "0.34", "1", at=START + 30))
    assert ways == [True, False]
    rig.settle()
    rig.send(exchange.change("BUY", "0.35", "1", at=START + 50))
    book = exchange.book("11")
    rig.send(book | {"bids": book["bids"][1:]})
    ways.clear()
    rig.send(exchange.change("BUY", "0.36", "1", at=START + 50))
    assert ways == [False]
