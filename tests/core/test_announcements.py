"""What the venue announces beside its books is told to whoever wants to know, once, in bounded texts."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from polymirror.config import EngineConfig
from polymirror.core.engine import Engine
from polymirror.core.events import Resolved, TickChanged, Traded, Transition
from polymirror.core.states import BookState, Reason

MARKET, UP, DOWN = "0xm", "11", "22"
AT = 1_777_366_758_691


SOCKET = 1


def opened() -> Engine:
    made = Engine(EngineConfig(), Random(1))
    made.track(MARKET, (UP, DOWN), 0.0)
    assert [effect.socket for effect in made.effects()] == [SOCKET]
    made.connected(SOCKET, 0.0)
    return made


@pytest.fixture
def engine() -> Engine:
    made = opened()
    made.events()
    made.listen(wanted=True)
    return made


def take(engine: Engine, kind: str, at: float = 1.0, **fields: Any) -> list[Any]:
    message = {"event_type": kind, "market": MARKET, "timestamp": str(AT)} | fields
    engine.receive(SOCKET, json.dumps(message), at)
    return [event for event in engine.events() if isinstance(event, (Traded, TickChanged, Resolved))]


TRADE = {"asset_id": UP, "price": "0.48", "size": "2.5", "side": "BUY", "fee_rate_bps": "0", "transaction_hash": "0xab"}


def test_a_trade_is_told_in_decimals_and_raw_ints(engine) -> None:
    (trade,) = take(engine, "last_trade_price", **TRADE)
    assert trade == Traded(UP, 1.0, AT, 4_800, 2_500_000, "BUY", Decimal(0), "0xab")
    assert (trade.price, trade.size) == (Decimal("0.48"), Decimal("2.5"))
    assert str(trade) == "11 BUY 0.48 x 2.5"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fee_rate_bps": ""}, {"fee_rate_bps": None}),
        ({"fee_rate_bps": None}, {"fee_rate_bps": None}),
        ({"fee_rate_bps": 12.5}, {"fee_rate_bps": Decimal("12.5")}),
        ({"fee_rate_bps": "NaN"}, {"fee_rate_bps": None}),
        ({"fee_rate_bps": "9" * 10_000}, {"fee_rate_bps": None}),
        ({"transaction_hash": ""}, {"transaction_hash": None}),
        ({"transaction_hash": "0x" + "f" * 65}, {"transaction_hash": None}),
        ({"side": "X" * 10_000}, {"side": ""}),
        ({"side": "SELL"}, {"side": "SELL"}),
    ],
)
def test_what_a_trade_does_not_state_or_states_oddly_is_left_open(engine, changed, told) -> None:
    (trade,) = take(engine, "last_trade_price", **(TRADE | changed))
    assert {name: getattr(trade, name) for name in told} == told


def test_a_trade_is_told_as_often_as_the_venue_says_it(engine) -> None:
    assert len(take(engine, "last_trade_price", **TRADE) + take(engine, "last_trade_price", **TRADE)) == 2
    assert str(take(engine, "last_trade_price", **(TRADE | {"side": ""}))[0]) == "11 traded 0.48 x 2.5"


def test_a_tick_size_is_told_once_and_again_when_it_goes_back(engine) -> None:
    fine = {"asset_id": UP, "new_tick_size": "0.001"}
    (event,) = take(engine, "tick_size_change", **fine)
    assert event == TickChanged(UP, 1.0, AT, 10)
    assert event.tick_size == Decimal("0.001")
    assert take(engine, "tick_size_change", at=2.0, **fine) == []
    assert len(take(engine, "tick_size_change", **(fine | {"asset_id": DOWN}))) == 1
    assert len(take(engine, "tick_size_change", asset_id=UP, new_tick_size="0.01", timestamp=str(AT + 1))) == 1
    assert len(take(engine, "tick_size_change", **(fine | {"timestamp": str(AT + 2)}))) == 1


def test_a_resolution_is_told_before_the_books_retire_and_once(engine) -> None:
    engine.receive(SOCKET, json.dumps({"event_type": "market_resolved", "market": MARKET, "winning_asset_id": UP}), 1.0)
    events = engine.events()
    assert events[0] == Resolved(MARKET, 1.0, None, UP)
    assert [(type(e), e.new, e.reason) for e in events[1:]] == [(Transition, BookState.RETIRED, Reason.RESOLVED)] * 2


def test_a_repeated_resolution_is_told_once(engine) -> None:
    twice = [{"event_type": "market_resolved", "market": MARKET, "winning_asset_id": UP, "timestamp": str(AT)}] * 2
    engine.receive(SOCKET, json.dumps(twice), 1.0)
    assert sum(isinstance(event, Resolved) for event in engine.events()) == 1


def test_a_resolution_names_a_winner_of_its_own_market_only(engine) -> None:
    assert take(engine, "market_resolved", winning_asset_id="9" * 10_000) == [Resolved(MARKET, 1.0, AT, None)]


def test_nothing_is_told_unless_somebody_wants_it_nor_of_others_tokens(engine) -> None:
    assert take(engine, "last_trade_price", **(TRADE | {"asset_id": "33"})) == []
    assert take(engine, "last_trade_price", **TRADE, market="0xother") == []
    engine.listen(wanted=False)
    assert take(engine, "last_trade_price", **TRADE) == []
    assert take(engine, "tick_size_change", asset_id=UP, new_tick_size="0.001") == []


def test_what_was_announced_of_a_market_is_forgotten_with_it(engine) -> None:
    take(engine, "tick_size_change", asset_id=UP, new_tick_size="0.001")
    take(engine, "market_resolved", winning_asset_id=UP)
    engine.untrack(MARKET, 2.0)
    assert engine.outbox.announcements._last == {}


def test_a_transition_tells_how_old_the_proof_is_also_when_the_book_is_cleared_at_once(rig) -> None:
    rig.advance(1.5)
    rig.forget()
    rig.disconnect()
    losses = [event for event in rig.transitions if event.old is BookState.LIVE]
    assert [event.proof_age for event in losses] == [pytest.approx(1.5)] * 2
