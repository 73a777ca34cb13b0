"""Iterating over events: every one, in order, bounded, and told when it was not every one."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from polymirror.core.events import Traded, Transition, Warned
from polymirror.errors import ConfigError, MirrorClosed
from polymirror.shell import happenings as module
from polymirror.shell.happenings import KINDS, Happenings, Missed

pytestmark = pytest.mark.anyio


def warned(number: int) -> Warned:
    return Warned(float(number), "kind", str(number))


def traded(number: int) -> Traded:
    return Traded("up", float(number), number, 4_800, 5_000_000, "BUY")


async def test_each_iterator_gets_what_it_asked_for_in_order() -> None:
    happenings = Happenings(10)
    every, trades = happenings.iterate(()), happenings.iterate((Traded,))
    for number in range(3):
        happenings.tell(warned(number))
        happenings.tell(traded(number))
    happenings.close()
    assert [event async for event in trades] == [traded(number) for number in range(3)]
    assert [type(event) async for event in every] == [Warned, Traded] * 3


async def test_one_that_waits_is_woken_and_one_that_is_cancelled_loses_nothing() -> None:
    happenings = Happenings(10)
    events = happenings.iterate((Traded,))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(events)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(anext(events))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="make one for each"):
            await anext(events)
        happenings.tell(warned(1))
        happenings.tell(traded(2))
    assert waiting.result() == traded(2)


async def test_what_does_not_fit_is_left_out_oldest_first_and_told_in_its_place(monkeypatch, caplog) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    happenings = Happenings(10)
    events = happenings.iterate((Traded,))
    for number in range(10):
        happenings.tell(traded(number))
    assert await anext(events) == Missed(6.0, 7)
    assert [(await anext(events)).at for _ in range(3)] == [7.0, 8.0, 9.0]
    happenings.tell(traded(10))
    assert (await anext(events)).at == 10.0
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["an iterator over events is too slow: 3 wait, and the oldest are left out"]


async def test_other_kinds_are_refused_with_those_that_there_are() -> None:
    happenings = Happenings(10)
    for kind in ("Traded", Missed, int, traded(1)):
        with pytest.raises(ConfigError, match="must be one of Transition, Traded, TickChanged, Resolved, MarketAdded"):
            happenings.iterate((kind,))
    assert Transition in KINDS


async def test_one_that_nobody_holds_is_forgotten_and_one_that_is_closed_ends() -> None:
    happenings = Happenings(2)
    async with happenings.iterate(()) as events:
        happenings.tell(traded(1))
    assert [event async for event in events] == [traded(1)]
    happenings.iterate((Traded,))
    gc.collect()
    assert not happenings.wants(frozenset({Traded}))
    waiting = happenings.iterate((Traded,))
    assert happenings.wants(frozenset({Traded, Warned}))
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(_read(waiting))
        await asyncio.sleep(0)
        happenings.close()
    assert reader.result() == []
    with pytest.raises(MirrorClosed):
        happenings.iterate(())


async def _read(events) -> list[object]:
    return [event async for event in events]
