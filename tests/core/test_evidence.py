"""Evidence that is older than it looks must not make a book younger, and one mistake must not cost the neighbours."""

from __future__ import annotations

import pytest

from polymirror.core.states import BookState
from tests.core.builders import BEGIN, CONSTANTS, START, Exchange, Rig


def test_an_older_book_from_the_stream_with_the_same_levels_is_no_fresh_proof(rig, exchange):
    old = exchange.opening_book("11")
    rig.send(exchange.change("BUY", "0.49", "7"))
    rig.send(exchange.change("BUY", "0.49", "0"))
    proven = rig.token("11").proven.proof.as_of
    rig.advance(1)
    rig.send([old])
    rig.advance(0.1)
    assert rig.token("11").proven.proof.as_of == proven


def test_rest_answers_alone_never_switch_hash_checking_off(rig, exchange):
    exchange.alter("BUY", "0.30", "1")
    for _ in range(40):
        rig.advance(1.0)
        rig.answer(**{f"t{token}": exchange.rest(token, hash="0" * 40) for token in exchange.tokens})
    assert rig.token("11").hashes.verifiable
    assert "STALE" in rig.path("11")[0]
    assert not [each for each in rig.warnings if each.kind == "hash form"]


def test_a_late_duplicate_in_one_market_is_no_lag_of_the_others(rig, exchange):
    late = exchange.change("BUY", "0.49", "5")
    rig.send(late)
    other = Exchange("0xn", "33", "44")
    rig.exchanges = (exchange, other)
    rig.engine.track("0xn", other.tokens, rig.now, constants=CONSTANTS)
    rig.send(other.opening())
    rig.advance(3)
    rig.send(exchange.change("BUY", "0.49", "6"))
    rig.send(late)
    assert "SUSPECT APPLY_LAG" not in rig.path("33")
    assert rig.state("11") is BookState.LIVE


def test_a_market_that_was_just_added_is_not_retired_with_those_that_are_resolved(rig, exchange):
    other = Exchange("0xn", "33", "44")
    rig.exchanges = (exchange, other)
    rig.engine.track("0xn", other.tokens, rig.now, constants=CONSTANTS)
    rig.disconnect(resolved=True)
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.engine.market_status("0xn", closed=False, now=rig.now)
    assert rig.state("11") is BookState.RETIRED
    assert rig.state("33") is BookState.UNPRIMED


@pytest.mark.parametrize("asked", [False, True], ids=["clock never asked", "clock asked"])
def test_a_frame_from_the_future_does_not_hide_how_late_its_socket_is(asked):
    one, other = Exchange(), Exchange("0xn", "33", "44")
    rig = Rig.live(one, other)
    if asked:
        rig.engine.clock.server_time(START // 1000, BEGIN - 0.01, BEGIN + 0.01)
    rig.send(one.change("BUY", "0.46", "5"))
    rig.send(other.change("BUY", "0.46", "5", at=START + 30_000))
    rig.advance(rig.engine.config.max_apply_lag + 2)
    rig.send(one.change("BUY", "0.46", "6", at=START + 2))
    assert rig.path("11") == ["SUSPECT APPLY_LAG"]
