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
