"""A second token that only its mirror image speaks for: its own hash is tried a tenth of a second later."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from polymirror.config import EngineConfig
from polymirror.core.images import PUT_OFF_SECONDS, Images
from polymirror.core.mirrored import TURN_SECONDS
from polymirror.core.proofs import ProofKind
from polymirror.core.reads import OVERDUE_SECONDS
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from tests.core.builders import Exchange, Rig, assert_right


@pytest.fixture
def exchange():
    return Exchange()


@pytest.fixture
def rig(exchange):
    """A market whose second token was proven by its own hash a moment ago: the next message will not try it."""
    rig = Rig.live(exchange)
    # The first message of a market goes the long way, the next one tries both hashes.
    for size in ("7", "6"):
        send(rig, exchange, size)
        rig.settle()
    assert kind(rig) is ProofKind.HASH
    return rig


def send(rig, exchange, size, spoil=None):
    message = exchange.change("BUY", "0.46", size)
    if spoil is not None:
        message["price_changes"][1]["hash"] = spoil
    rig.send(message)


def kind(rig):
    return rig.live_view("22").last_proof.kind


def pairs(rig):
    proofs = rig.engine.outbox.proofs
    return proofs.proven_pairs, proofs.proven_twice


def test_without_another_message_its_own_hash_is_tried_in_time_and_proves_as_of_the_message(rig, exchange):
    send(rig, exchange, "8")
    before = rig.live_view("22")
    assert before.last_proof.kind is ProofKind.COMPLEMENT
    assert pairs(rig) == (1, 1)
    rig.advance(TURN_SECONDS - 0.02)
    assert kind(rig) is ProofKind.COMPLEMENT
    rig.advance(0.03)
    after = rig.live_view("22")
    assert (after.last_proof.kind, after.last_proof.as_of) == (ProofKind.HASH, before.last_proof.as_of)
    assert pairs(rig) == (0, 2)
    assert_right(rig, exchange)


def test_one_that_does_not_fit_is_in_doubt_at_once_and_its_twin_is_not(rig, exchange):
    send(rig, exchange, "8", spoil="0" * 40)
    assert rig.state("22") is BookState.LIVE
    rig.advance(TURN_SECONDS + 0.01)
    assert (rig.state("11"), rig.path("22")[0]) == (BookState.LIVE, "SUSPECT HASH_MISMATCH")


def test_one_without_a_hash_of_its_own_stays_the_mirror_image(rig, exchange):
    send(rig, exchange, "8", spoil="")
    rig.advance(TURN_SECONDS + 0.01)
    assert (rig.state("22"), kind(rig)) == (BookState.LIVE, ProofKind.COMPLEMENT)


def test_what_something_else_has_proven_meanwhile_needs_no_try(rig, exchange):
    send(rig, exchange, "8", spoil="0" * 40)
    rig.advance(0.02)
    rig.engine.prove("22", rig.now)
    rig.drain()
    rig.answer()
    assert kind(rig) is ProofKind.PROBE
    rig.advance(TURN_SECONDS + 0.01)
    assert kind(rig) is ProofKind.PROBE


def test_a_book_that_is_built_anew_is_not_tried(rig, exchange):
    send(rig, exchange, "8")
    rig.engine.resync("22", rig.now)
    rig.advance(TURN_SECONDS + 0.01)
    assert rig.state("22") is BookState.RESYNCING


def test_a_market_that_is_mirrored_no_more_is_not_tried(rig, exchange):
    send(rig, exchange, "8")
    rig.engine.untrack(exchange.market, rig.now)
    rig.advance(TURN_SECONDS + 0.01)
    assert rig.engine.asset_ids == ()


def test_after_a_stall_it_is_not_read_before_its_hash_was_tried(rig, exchange):
    send(rig, exchange, "8", spoil="0" * 40)
    rig.now += 1.0
    # The program stood still, and reads before it does what is due.
    with pytest.raises(NotLive, match=r"LIVE .*its own hash was to be tried by now: the program stood still"):
        rig.live_view("22")
    assert rig.live_view("11").last_proof.kind is ProofKind.HASH
    rig.advance(0.0)
    assert rig.state("22") is BookState.SUSPECT


def test_a_mirror_image_is_readable_until_its_own_hash_is_overdue(rig, exchange):
    send(rig, exchange, "8")
    assert kind(rig) is ProofKind.COMPLEMENT
    until = rig.engine.readable_until("22")
    assert until == pytest.approx(rig.now + TURN_SECONDS + OVERDUE_SECONDS)
    assert rig.engine.live("22", until - 0.001)
    with pytest.raises(NotLive):
        rig.engine.live("22", until + 0.001)
    assert rig.engine.readable_until("11") > until + 1


def test_what_is_due_in_another_market_keeps_nobody_from_reading(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, other)
    for each in (exchange, other):
        for size in ("7", "6"):
            send(rig, each, size)
            rig.settle()
    # Without a hash of its own it stays the mirror image when that was tried.
    send(rig, exchange, "8", spoil="")
    rig.advance(TURN_SECONDS + 0.01)
    # The first message after a while tries both hashes, the next one does not.
    for size in ("8", "9"):
        send(rig, other, size)
    rig.now += 1.0
    assert rig.engine.readable_until("22") > rig.now + 1
    assert kind(rig) is ProofKind.COMPLEMENT
    with pytest.raises(NotLive, match="the program stood still"):
        rig.live_view("44")


def late_batch(exchange):
    """Two messages of one time whose hashes are of the end of both: the first fits nothing before the second comes."""
    exchange.at += 1
    exchange.alter("BUY", "0.46", "9")
    exchange.alter("BUY", "0.45", "3")
    return [exchange.message(exchange.entries("BUY", *level)) for level in (("0.46", "9"), ("0.45", "3"))]


def test_a_try_that_is_due_within_a_batch_waits_for_its_end(rig, exchange):
    send(rig, exchange, "8")
    rig.advance(TURN_SECONDS - 0.004)
    first, second = late_batch(exchange)
    rig.send(first)
    rig.advance(0.006)
    assert rig.path("22") == []
    rig.send(second)
    rig.settle()
    rig.advance(0.02)
    assert rig.path("22") == []
    assert kind(rig) is ProofKind.HASH
    assert_right(rig, exchange)


def test_it_does_not_wait_for_a_batch_that_has_no_end(rig, exchange):
    send(rig, exchange, "8")
    due = rig.now + TURN_SECONDS
    rig.advance(TURN_SECONDS - 0.004)
    first, _ = late_batch(exchange)
    while rig.now < due + PUT_OFF_SECONDS + 0.001:
        rig.send(first | {"price_changes": [change | {"hash": "0" * 40} for change in first["price_changes"]]})
        rig.advance(0.003)
    assert rig.path("22")[0] == "SUSPECT HASH_MISMATCH"


def test_while_it_is_put_off_it_is_read_no_longer_than_ever(rig, exchange):
    send(rig, exchange, "8")
    until = rig.engine.readable_until("22")
    rig.advance(TURN_SECONDS - 0.004)
    first, _ = late_batch(exchange)
    rig.send(first)
    rig.advance(0.006)
    assert kind(rig) is ProofKind.COMPLEMENT
    assert rig.engine.readable_until("22") == until
    assert rig.engine.next_deadline() > rig.now


def test_a_market_that_is_forgotten_while_it_is_put_off_is_not_tried(rig, exchange):
    send(rig, exchange, "8")
    rig.advance(TURN_SECONDS - 0.004)
    rig.send(late_batch(exchange)[0])
    rig.advance(0.006)
    rig.engine.untrack(exchange.market, rig.now)
    rig.advance(0.02)
    assert rig.engine.asset_ids == ()


def test_one_that_is_noted_anew_is_put_off_no_more():
    images = Images()
    outbox = SimpleNamespace(config=EngineConfig())
    market = Mock(heard_at=1.0 + TURN_SECONDS, touched={"22": None}, outbox=outbox)
    images.note(market, 1.0)
    images.on_time(1.0 + TURN_SECONDS)
    assert images.next_try() > images.next()
    images.note(market, 2.0)
    assert images.next_try() == images.next() == 2.0 + TURN_SECONDS
