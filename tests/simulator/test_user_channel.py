"""The user channel: who is told what, and what goes wrong with that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from polymirror.errors import ConfigError
from polymirror.simulator.frames import Close, Frame
from polymirror.simulator.orders.auth import Account, KeyRing
from polymirror.simulator.orders.faults import UserFaultRates
from polymirror.simulator.orders.users import MAX_WAITING, POLL_MS, UserChannel, UserSession

ME, OTHER = Account.made_up("me"), Account.made_up("other")


def channel(**rates: Any) -> UserChannel:
    return UserChannel(KeyRing([ME, OTHER]), UserFaultRates(**rates))


def joined(told: UserChannel, account: Account = ME, **more: Any) -> UserSession:
    session = told.open({}, {}, 0)
    assert isinstance(session, UserSession)
    assert session.next_ms() is None
    assert session.receive(json.dumps({"type": "user", "auth": account.credentials, **more}), 0) == []
    return session


def texts(session: UserSession, now_ms: int = 1) -> list[str]:
    return [item.text for item in session.outgoing(now_ms) if isinstance(item, Frame)]


def test_events_come_to_their_account_and_to_nobody_else() -> None:
    told = channel()
    mine, others = joined(told), joined(told, OTHER)
    told.tell(ME.address, "0xa", "one", 1)
    assert (texts(mine), texts(others)) == (["one"], [])
    assert mine.next_ms() == 1 + POLL_MS
    assert told.hears(ME.address)
    assert not told.hears("0x1")


@pytest.mark.parametrize("markets", [{}, {"markets": []}, {"markets": None}])
def test_no_markets_are_all_markets(markets: dict[str, Any]) -> None:
    told = channel()
    session = joined(told, **markets)
    session.receive('{"operation":"unsubscribe","markets":["0xa"]}', 0)
    told.tell(ME.address, "0xa", "one", 1)
    assert texts(session) == ["one"]


def test_operations_that_are_no_words_are_invalid() -> None:
    assert [item.text for item in joined(channel()).receive('{"operation":[]}', 1) if isinstance(item, Frame)] == [
        "INVALID OPERATION"
    ]


def test_who_deleted_the_credentials_hears_nothing_more_by_them() -> None:
    told = channel()
    session = joined(told)
    told.keys.delete(ME)
    told.keys.add(evolve(ME, api_key="another"))
    told.tell(ME.address, "0xa", "one", 1)
    assert (texts(session), told.hears(ME.address)) == ([], False)


def test_markets_are_subscribed_and_left() -> None:
    told = channel()
    session = joined(told, markets=["0xa"])
    for market in ("0xa", "0xb"):
        told.tell(ME.address, market, market, 1)
    assert texts(session) == ["0xa"]
    session.receive('{"operation":"subscribe","markets":["0xb"]}', 1)
    session.receive('{"operation":"unsubscribe","markets":["0xa"]}', 1)
    for market in ("0xa", "0xb"):
        told.tell(ME.address, market, market, 2)
    assert texts(session, 2) == ["0xb"]


def test_ping_is_answered_and_nonsense_is_told_so() -> None:
    session = joined(channel())
    assert [item.text for item in session.receive("PING", 5) if isinstance(item, Frame)] == ["PONG"]
    for nonsense in ("{", "[]", '{"operation":"dance","markets":[]}', '{"operation":"subscribe","markets":[5]}'):
        assert [item.text for item in session.receive(nonsense, 5) if isinstance(item, Frame)] == ["INVALID OPERATION"]


@pytest.mark.parametrize(
    "first",
    [
        "{",
        '{"type":"user"}',
        '{"type":"market","auth":{}}',
        '{"type":"user","auth":{}}',
        '{"type":"user","auth":5}',
        json.dumps({"type": "user", "auth": {**ME.credentials, "secret": "other"}}),
        json.dumps({"type": "user", "auth": ME.credentials, "markets": "0xa"}),
    ],
)
def test_who_does_not_log_in_is_sent_away(first: str) -> None:
    told = channel()
    session = told.open({}, {}, 0)
    assert isinstance(session, UserSession)
    [item] = session.receive(first, 0)
    assert isinstance(item, Close)
    assert session.closed
    told.tell(ME.address, "0xa", "one", 1)
    assert texts(session) == []


def test_whoever_does_not_read_is_sent_away() -> None:
    told = channel()
    session = joined(told)
    for _ in range(MAX_WAITING + 1):
        told.tell(ME.address, "0xa", "one", 1)
    assert [type(item) for item in session.outgoing(1)] == [Close]
    assert session.closed


# What goes wrong.


def three(**rates: Any) -> tuple[list[str], list[str], UserChannel]:
    """What comes of three events at once, and later."""
    told = channel(**rates)
    session = joined(told)
    for number in range(3):
        told.tell(ME.address, "0xa", str(number), number)
    return texts(session, 2), texts(session, 10_000), told


def test_events_are_missing() -> None:
    assert three(missing=1)[:2] == ([], [])


def test_events_come_twice() -> None:
    assert three(duplicated=1)[0] == ["0", "0", "1", "1", "2", "2"]


def test_events_are_swapped_and_the_last_is_late() -> None:
    assert three(swapped=1)[:2] == (["1", "0"], ["2"])


def test_events_are_late_and_keep_their_order() -> None:
    soon, later, told = three(late=1)
    assert (soon, later) == ([], ["0", "1", "2"])
    assert told.struck == {"late": 3}


def test_a_silent_connection_still_answers_ping_and_the_next_one_speaks() -> None:
    told = channel(silent=1)
    session = joined(told)
    told.tell(ME.address, "0xa", "one", 1)
    told.active = False
    told.tell(ME.address, "0xa", "two", 1)
    assert texts(session) == []
    assert session.receive("PING", 2)
    again = joined(told)
    told.tell(ME.address, "0xa", "three", 3)
    assert texts(again, 3) == ["three"]


@pytest.mark.parametrize("wrong", [{"missing": 2}, {"late_ms": 0}, {"missing": 0.6, "silent": 0.6}])
def test_rates_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        UserFaultRates(**wrong)


def test_a_storm_is_within_the_rates() -> None:
    assert UserFaultRates.storm().missing > 0
