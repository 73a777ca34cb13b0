"""Several changes of one level in one message: they are in order, and none of them is another one delivered again."""

from __future__ import annotations

from decimal import Decimal

from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from tests.core.builders import Exchange, Rig


def thrice(exchange: Exchange) -> dict:
    """A level goes, comes and goes again within a millisecond, told in one message; the hash is of the end."""
    exchange.at += 1
    entries = []
    for size in ("0", "5", "0"):
        exchange.alter("BUY", "0.40", size)
        entries.append(exchange.entries("BUY", "0.40", size))
    last = {entry["asset_id"]: entry["hash"] for entry in entries[-1]}
    flat = [entry | {"hash": last[entry["asset_id"]]} for each in entries for entry in each]
    return exchange.message(flat)


def assert_right(rig: Rig, exchange: Exchange) -> None:
    for token in exchange.tokens:
        view = rig.live_view(token)
        shown = [{level.price: level.size for level in side} for side in (view.bids, view.asks)]
        assert shown == [{Decimal(price): Decimal(size) for price, size in side} for side in exchange.sides(token)]


def test_all_are_applied_and_proven_by_the_hash(rig, exchange):
    rig.send(thrice(exchange))
    rig.settle()
    assert_right(rig, exchange)
    assert rig.live_view("11").last_proof.kind is ProofKind.HASH


def test_the_whole_message_delivered_again_changes_nothing(rig, exchange):
    message = thrice(exchange)
    rig.send(message)
    rig.send(message)
    rig.settle()
    assert_right(rig, exchange)
    assert rig.state("11") is BookState.LIVE


def test_what_waits_for_a_baseline_keeps_its_order(exchange):
    rig = Rig(exchange)
    rig.connect()
    rig.time()
    opening = exchange.opening()
    rig.send(thrice(exchange))
    rig.send(opening)
    rig.settle()
    assert_right(rig, exchange)


def test_a_state_that_came_back_is_no_state_that_was_left(rig, exchange):
    rig.send(thrice(exchange))
    rig.settle()
    proven = rig.token("11").proven
    now, at_ms = proven.levels(), proven.last_ms
    between = proven.book.levels_before(list(proven.journal)[-1:])
    proven.clear()
    assert proven.mark.admits(at_ms, now)
    assert not proven.mark.admits(at_ms, between)


def test_three_messages_of_one_moment_are_told_from_a_repetition_by_their_hash(rig, exchange):
    flat = thrice(exchange)["price_changes"]
    for start in (0, 2, 4):
        rig.send(exchange.message(flat[start : start + 2]))
    rig.settle()
    assert_right(rig, exchange)
    rig.send(exchange.message(flat[2:4]))
    rig.settle()
    assert_right(rig, exchange)
    assert rig.state("11") is BookState.LIVE


def test_a_change_that_was_made_before_in_the_moment_is_a_new_one_if_its_hash_is_of_another_book(rig, exchange):
    exchange.at += 1
    for price, size in (("0.40", "0"), ("0.40", "5"), ("0.41", "3"), ("0.40", "0")):
        exchange.alter("BUY", price, size)
        rig.send(exchange.message(exchange.entries("BUY", price, size)))
    rig.settle()
    assert_right(rig, exchange)
    assert rig.state("11") is BookState.LIVE
