"""Missed hashes: their grace, the cheap tries in it, the one search at its end, and as of when they prove."""

from __future__ import annotations

import pytest

from polymirror.core import misses as misses_module
from polymirror.core.dialects import DIGESTS_PER_SECOND, TURN_SECONDS
from polymirror.core.hashing import MarketHash
from polymirror.core.misses import MAX_PENDING_HASHES, SEARCH_SECONDS
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from tests.core.builders import START, Exchange, Rig, assert_right, shown, truth, without_hashes

UNLIKELY = "0.013"
"""A trade price far away from the top of the book."""

WRONG = "0" * 40

SEARCH = 6 * 1002
"""Tick sizes times trade prices."""


@pytest.fixture
def searched(monkeypatch):
    """The hashes that were searched, in order."""
    found = []
    search = MarketHash.search

    def noting(self, asset_id, timestamp, texts, announced, now):
        found.append(announced)
        return search(self, asset_id, timestamp, texts, announced, now)

    monkeypatch.setattr(MarketHash, "search", noting)
    return found


def trade(exchange, price):
    return {
        "event_type": "last_trade_price", "market": exchange.market, "asset_id": "11", "price": price, "size": "1",
        "side": "BUY", "fee_rate_bps": "0", "timestamp": str(exchange.at),
    }  # fmt: skip


def after(rig, exchange, ms, *args):
    """Let some milliseconds pass, and send a change that is made then."""
    rig.advance(ms / 1000)
    message = exchange.change(*args)
    rig.send(message)
    return message


def wrong(message):
    for entry in message["price_changes"]:
        entry["hash"] = WRONG
    return message


def watched(rig):
    return rig.token("11").misses.watched


# ---- The grace -----------------------------------------------------------------------------------------


def test_an_unannounced_trade_price_is_searched_when_the_grace_is_over_and_not_before(rig, exchange, searched):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    told = rig.now
    rig.advance(SEARCH_SECONDS)
    assert searched == []
    assert not rig.live_view("11").settled
    # The batch was over after the batch window, and the grace counts from there.
    rig.advance(rig.engine.config.batch_window)
    assert len(searched) == 1, "what one token's search found fits the other one, too"
    assert_right(rig, exchange)
    assert rig.live_view("11").settled
    # As of the message, not as of the search (D1).
    assert rig.live_view("11").proven_at == pytest.approx(told, abs=0.002)
    assert rig.live_view("11").last_proof.kind is ProofKind.HASH
    assert rig.verdicts("hash") == {"match": 4}
    assert rig.transitions == []


def test_a_trade_price_that_is_announced_within_the_grace_proves_at_once_and_nothing_is_searched(
    rig, exchange, searched
):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.advance(0.03)
    rig.send(trade(exchange, "0.987"))
    assert rig.live_view("11").settled
    assert_right(rig, exchange)
    rig.advance(1.0)
    assert searched == []
    assert rig.verdicts("hash") == {"match": 4}


def test_an_announced_trade_price_may_be_in_a_hash_that_is_also_a_change_late(rig, exchange, searched):
    exchange.trade = UNLIKELY
    early = exchange.change("BUY", "0.46", "5")
    late = wrong(exchange.change("BUY", "0.45", "6"))
    for entry in early["price_changes"]:
        entry["hash"] = exchange.content(entry["asset_id"], int(early["timestamp"]))["hash"]
    rig.send(early)
    rig.send(late)
    assert rig.verdicts("hash") == {"match": 2}
    rig.send(trade(exchange, UNLIKELY))
    assert rig.verdicts("hash")["healed"] == 2
    assert_right(rig, exchange)
    assert searched == []


def test_an_announced_trade_price_is_nothing_to_a_token_that_waits_for_no_hash(rig, exchange):
    rig.send(trade(exchange, UNLIKELY))
    exchange.trade = UNLIKELY
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    assert rig.verdicts("hash") == {"match": 4}


def test_a_hash_that_heals_is_neither_searched_nor_counted_as_failed(rig, exchange, searched):
    early = exchange.change("BUY", "0.46", "5")
    late = wrong(exchange.change("BUY", "0.45", "6"))
    for entry in early["price_changes"]:
        entry["hash"] = exchange.content(entry["asset_id"], int(early["timestamp"]))["hash"]
    rig.send(early)
    rig.settle()
    rig.send(late)
    rig.advance(1.0)
    assert searched == []
    assert rig.verdicts("hash") == {"match": 2, "healed": 2}
    assert rig.engine.dialects.budget.free_at == float("-inf")


def test_a_miss_that_a_newer_proof_overtakes_is_not_searched(rig, exchange, searched):
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.send(wrong(exchange.change("BUY", "0.46", "7")))
    rig.settle()
    assert len(watched(rig)) == 1
    after(rig, exchange, 1, "BUY", "0.46", "8")
    assert rig.live_view("11").settled
    rig.advance(1.0)
    assert searched == []
    assert len(watched(rig)) == 1, "it may still heal, for the count"
    for n in range(misses_module.HEAL_CHANGES):
        after(rig, exchange, 1, "BUY", "0.46", str(10 + n))
    assert watched(rig) == []
    assert rig.verdicts("hash")["mismatch"] == 2


# ---- Once ----------------------------------------------------------------------------------------------


def test_a_hash_that_nothing_explains_is_searched_once(rig, exchange, searched):
    rig.send(wrong(exchange.change("BUY", "0.46", "5")))
    rig.advance(0.9)
    assert searched == [WRONG, WRONG], "one for each token"
    totals = rig.engine.status(rig.now).totals
    assert (totals.searches, totals.search_digests) == (2, 2 * SEARCH), "people are told of each"
    assert rig.verdicts("hash").get("mismatch") is None, "it may still heal"
    for n in range(misses_module.HEAL_CHANGES):
        rig.send(without_hashes(exchange.change("BUY", "0.46", str(6 + n))))
    assert rig.verdicts("hash")["mismatch"] == 2
    assert searched == [WRONG, WRONG]
    assert watched(rig) == []


def test_after_one_search_that_finds_nothing_the_next_miss_is_searched_in_its_time(rig, exchange, searched):
    rig.send(wrong(exchange.change("BUY", "0.46", "5")))
    exchange.trade = UNLIKELY
    message = after(rig, exchange, 20, "BUY", "0.46", "6")
    rig.advance(0.2)
    assert searched == [WRONG, WRONG, message["price_changes"][0]["hash"]]
    assert rig.live_view("11").settled
    assert_right(rig, exchange)


def test_in_a_busy_market_the_oldest_miss_is_kept_until_it_is_searched(rig, exchange, searched):
    exchange.trade = UNLIKELY
    first = exchange.change("BUY", "0.46", "5")
    rig.send(first)
    for n in range(3 * MAX_PENDING_HASHES):
        after(rig, exchange, 5, "BUY", "0.46", str(6 + n))
        assert len(watched(rig)) <= MAX_PENDING_HASHES
    assert searched == [first["price_changes"][0]["hash"]]
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").settled
    assert rig.transitions == []


def test_misses_that_are_not_to_be_searched_any_more_make_room_first(rig, exchange, monkeypatch):
    monkeypatch.setattr(misses_module, "HEAL_CHANGES", 100)
    for n in range(MAX_PENDING_HASHES):
        rig.send(wrong(exchange.change("BUY", "0.46", str(5 + n))))
        rig.advance(0.08)
    before = list(watched(rig))
    assert all(each.searched for each in before)
    rig.send(wrong(exchange.change("BUY", "0.46", "99")))
    rig.settle()
    assert watched(rig)[:-1] == before[1:]


def test_a_hash_without_a_journal_is_not_watched(rig, exchange):
    rig.send(wrong(exchange.change("BUY", "0.46", "5")))
    token = rig.token("11")
    token.proven.journal.clear()
    token.hash_missed(rig.now)
    assert token.misses.watched == []
    assert rig.verdicts("hash")["mismatch"] == 1


def test_what_left_the_journal_proves_nothing(rig, exchange):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.settle()
    token = rig.token("11")
    token.proven.journal.popleft()
    rig.send(trade(exchange, UNLIKELY))
    assert token.misses.watched == []
    assert not rig.live_view("11").settled


# ---- As of when ----------------------------------------------------------------------------------------


def test_what_is_found_late_proves_a_superseded_state_only_up_to_what_followed(rig, exchange, searched):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    told, state, at_ms = rig.now, truth(exchange, "11"), exchange.at
    rig.advance(0.02)
    rig.send(without_hashes(exchange.change("BUY", "0.45", "6")))
    rig.advance(0.1)
    view = rig.live_view("11")
    assert shown(view) == state
    assert not view.settled
    assert view.proven_at == pytest.approx(told, abs=0.002)
    assert view.exchange_ms == at_ms
    assert len(searched) == 1


def test_a_superseded_state_is_as_old_as_the_change_that_ended_it_if_that_is_older(rig, exchange):
    exchange.trade = UNLIKELY
    earlier = exchange.at + 50
    after(rig, exchange, 100, "BUY", "0.46", "5")
    told, state = rig.now, truth(exchange, "11")
    rig.settle()
    # An older change that comes late: what the hash is of was not the whole truth since then.
    exchange.alter("BUY", "0.45", "6")
    rig.send(without_hashes(exchange.message(exchange.entries("BUY", "0.45", "6"), at=earlier)))
    rig.advance(0.1)
    assert shown(rig.live_view("11")) == state
    assert rig.live_view("11").proven_at == pytest.approx(told - 0.05, abs=0.002)


def test_a_state_older_than_what_is_proven_meanwhile_is_not_shown_again(rig, exchange):
    token = rig.token("11")
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.settle()
    rig.send(without_hashes(exchange.change("BUY", "0.45", "6")))
    newer = truth(exchange, "11")
    # REST proves the newest state; the older one's hash is not forgotten before its messages are over.
    (miss, *_) = watched(rig)
    rig.engine.prove("11", rig.now)
    rig.drain()
    rig.answer()
    assert shown(rig.live_view("11")) == newer
    proven_at = rig.live_view("11").proven_at
    token.misses.watched = [miss]
    token.misses.traded((UNLIKELY,), rig.now)
    assert token.misses.watched == []
    assert shown(rig.live_view("11")) == newer
    assert rig.live_view("11").proven_at == proven_at


@pytest.mark.parametrize("said_by", ["a book of its own", "a book of the other token"])
def test_a_hash_that_fits_late_does_not_settle_what_was_said_against_the_book_since(rig, exchange, said_by):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    state, at_ms = truth(exchange, "11"), exchange.at
    rig.settle()
    rig.advance(0.005)
    # A newer change was lost.
    exchange.alter("BUY", "0.47", "9")
    if said_by == "a book of its own":
        rig.send(exchange.book("11") | {"hash": WRONG})
    else:
        # It is proven, and shows what is not known of the first token.
        rig.send(exchange.book("22"))
    rig.settle()
    rig.send(trade(exchange, UNLIKELY))
    view = rig.live_view("11")
    assert (shown(view), view.exchange_ms) == (state, at_ms)
    assert not view.settled
    rig.advance(1.1)
    assert rig.state("11") is not BookState.LIVE


def test_a_doubt_after_the_message_is_not_cleared_by_its_hash(rig, exchange):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.settle()
    rig.engine.overflow(1, rig.now)
    rig.advance(0.1)
    assert rig.state("11") is BookState.SUSPECT
    rig.send(exchange.change("BUY", "0.46", "6"))
    assert rig.state("11") is BookState.LIVE


def test_a_book_that_was_replaced_has_no_missed_hashes(rig, exchange, searched):
    exchange.trade = UNLIKELY
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.settle()
    rig.disconnect()
    assert watched(rig) == []
    assert rig.token("11").misses.search_at == float("inf")
    rig.advance(0.2)
    assert searched == []


# ---- The budget ----------------------------------------------------------------------------------------


def test_without_budget_a_search_waits_and_is_made_as_soon_as_there_is_some(rig, exchange, searched):
    exchange.trade = UNLIKELY
    budget = rig.engine.dialects.budget
    budget.spend(DIGESTS_PER_SECOND + DIGESTS_PER_SECOND // 2, rig.now)
    after(rig, exchange, 100, "BUY", "0.46", "5")
    rig.advance(0.35)
    assert searched == []
    assert rig.token("11").misses.search_at == budget.free_at
    rig.advance(0.1)
    assert len(searched) == 1
    # The other token looks again at its own turn: what was found fits it.
    rig.advance(TURN_SECONDS)
    assert len(searched) == 1
    assert_right(rig, exchange)


def test_all_markets_share_one_budget_and_take_turns():
    exchanges = [Exchange(f"0x{n:02d}", f"1{n:02d}", f"2{n:02d}") for n in range(30)]
    rig = Rig.live(*exchanges, hash_grace=10.0)
    for exchange in exchanges:
        exchange.at += 1
        exchange.trade = UNLIKELY
        rig.send(exchange.change("BUY", "0.46", "5"))
    rig.advance(0.1)
    settled = [rig.live_view(exchange.up).settled for exchange in exchanges]
    assert 5 <= sum(settled) < 30
    rig.advance(3.0)
    for exchange in exchanges:
        assert_right(rig, exchange)
        assert rig.live_view(exchange.up).settled


# ---- Swapped messages ----------------------------------------------------------------------------------


def swapped(exchange):
    """Two messages of one millisecond that stand the other way round than they were hashed."""
    first = exchange.change("BUY", "0.46", "5")
    second = exchange.change("BUY", "0.45", "6", at=exchange.at)
    return second, first


def test_when_two_messages_of_a_millisecond_stand_swapped_the_earlier_hash_proves_the_end(rig, exchange, searched):
    rig.advance(0.1)
    for message in swapped(exchange):
        rig.send(message)
    told = rig.now
    assert not rig.live_view("11").settled
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").settled
    assert rig.live_view("11").proven_at == pytest.approx(told, abs=0.002)
    assert rig.verdicts("hash") == {"match": 4}
    rig.advance(1.0)
    assert searched == []


def test_a_wrong_end_is_proven_by_no_hash_of_its_batch(rig, exchange):
    one, other = swapped(exchange)
    for entry in one["price_changes"]:
        entry["size"] = "7"
    rig.send(one)
    rig.send(other)
    rig.settle()
    assert not rig.live_view("11").settled
    assert len(watched(rig)) == 1


def test_an_earlier_hash_that_came_before_a_doubt_does_not_clear_it(rig, exchange):
    one, other = swapped(exchange)
    rig.advance(0.1)
    rig.send(one)
    rig.now += 0.005
    rig.engine.overflow(1, rig.now)
    rig.send(other)
    rig.settle()
    assert rig.state("11") is BookState.SUSPECT
    assert rig.token("11").proven.unproven == 0


def test_no_more_hashes_of_a_batch_are_compared_than_the_bound(rig, exchange, monkeypatch):
    monkeypatch.setattr("polymirror.core.proven.MAX_EARLIER", 2)
    for n in range(4):
        message = exchange.change("BUY", "0.46", str(5 + n), at=START + 1)
        for entry in message["price_changes"]:
            entry["hash"] = f"{n}" * 40
        rig.send(message)
    token = rig.token("11")
    assert [undo.announced[0] for undo in token.proven.announced_at(START + 1)] == ["2", "1"]
    token.proven.stated = None
    assert [undo.announced[0] for undo in token.proven.announced_at(START + 1)] == ["3", "2"]
