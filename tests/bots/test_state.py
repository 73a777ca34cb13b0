"""The state file: whole or refused, and saved again and again."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from bots.common.errors import StateInvalid
from bots.common.ledger import intents, state
from bots.common.ledger.account import Account
from bots.common.ledger.files import Memory
from bots.common.ledger.intents import NAME as LOG
from bots.common.ledger.intents import IntentLog
from bots.common.ledger.state import NAME, CorruptState, State, StateFile, StateKeeper, decode_state, encode_state
from tests.bots.crash_rig import Clock, an_order, drive

pytestmark = pytest.mark.anyio

STATE = State(saved_ms=5, account=Account().snapshot(), parts={"risk": {"streak": 2, "on": True, "names": ["a"]}})


def test_there_is_no_state_before_the_first_was_saved():
    assert drive(StateFile(Memory()).load()) is None


def test_a_state_is_read_back_equal():
    store = StateFile(Memory())
    drive(store.save(STATE))
    assert drive(store.load()) == STATE


def test_a_state_with_any_byte_changed_is_refused():
    data = encode_state(STATE)
    for index in range(len(data) - 1):
        with pytest.raises(CorruptState, match="restore it from a copy"):
            decode_state(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
    for size in range(len(data) - 1):
        with pytest.raises(CorruptState):
            decode_state(data[:size])


def test_a_state_of_another_version_is_refused(monkeypatch):
    data = encode_state(STATE)
    monkeypatch.setattr(state, "VERSION", 2)
    with pytest.raises(CorruptState, match="version=1 cannot be believed: it must be 2"):
        decode_state(data)


@pytest.mark.parametrize("part", [0.1, Decimal(1), None, {"deep": {"deeper": [1.5]}}, {1: 2}, b"x"])
def test_nothing_inexact_or_unknown_is_stored(part):
    with pytest.raises(StateInvalid, match=r"state\.parts\.x"):
        encode_state(State(saved_ms=1, account={}, parts={"x": part}))


def test_a_state_cannot_be_nested_without_end():
    part: list = []
    part.append(part)
    with pytest.raises(StateInvalid, match="at most 8 levels"):
        encode_state(State(saved_ms=1, account={}, parts={"x": part}))


def a_keeper(files, clock, **rest):
    log = IntentLog(files, Account(), clock.network())
    drive(log.open())
    return log, StateKeeper(StateFile(files), log, clock.network(), lambda: {"x": {"y": 1}}, **rest)


def test_what_is_saved_is_as_of_the_newest_record_and_the_log_is_shortened_by_it(monkeypatch):
    monkeypatch.setattr(intents, "COMPACT_BYTES", 0)
    files, clock = Memory(), Clock()
    log, keeper = a_keeper(files, clock)
    assert keeper.age is None
    drive(log.begin(an_order()))
    drive(keeper.save())
    clock.seconds += 7
    assert keeper.age == 7
    saved = drive(StateFile(files).load())
    assert (saved.account["through"], saved.parts) == (1, {"x": {"y": 1}})
    assert files.contents[LOG].startswith(b'{"base":1,')


async def test_it_saves_again_and_again_also_after_a_failure(monkeypatch, caplog):
    files, clock, naps = Memory(), Clock(), []
    _, keeper = a_keeper(files, clock, every=30)

    async def sleep(seconds):
        naps.append((seconds, keeper.failures, NAME in files.contents))
        if len(naps) == 1:
            files.replace = full
        elif len(naps) == 3:
            del files.replace
        elif len(naps) == 4:
            raise asyncio.CancelledError

    def full(_name, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await keeper.run()
    assert naps == [(30, 0, True), (30, 1, True), (30, 2, True), (30, 0, True)]
    assert "No space left on device" in caplog.text
    assert "2 times in a row" in caplog.text
