"""Work for a mirror's thread from another one: done there, once, or not at all."""

from __future__ import annotations

import asyncio
import threading

import pytest

from polymirror import MirrorBusy
from polymirror.shell.ownthread import OwnThread
from tests.loopback import PATIENCE

pytestmark = pytest.mark.anyio


def ident() -> int:
    return threading.get_ident()


async def test_it_is_done_in_the_thread_and_what_it_raises_is_raised() -> None:
    owner = OwnThread()
    assert await asyncio.to_thread(owner.ask, ident, PATIENCE) != ident()
    owner.take()
    assert owner.ask(ident, PATIENCE) == await asyncio.to_thread(owner.ask, ident, PATIENCE) == ident()

    def late() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await asyncio.to_thread(owner.ask, late, PATIENCE)
    owner.release()
    assert await asyncio.to_thread(owner.ask, ident, PATIENCE) != ident()


async def test_what_does_not_begin_in_time_is_never_done() -> None:
    owner, done = OwnThread(), []
    owner.take()
    errors = []

    def ask() -> None:
        with pytest.raises(
            MirrorBusy, match=r"ask: not done within 0\.02 s; the mirror's thread is at .* join"
        ) as busy:
            owner.ask(lambda: done.append(1), 0.02)
        errors.append(busy.value)

    asking = threading.Thread(target=ask)
    asking.start()
    # Holds up the event loop until the other thread has given up.
    asking.join(PATIENCE)
    assert len(errors) == 1
    await asyncio.sleep(0)
    assert done == []


def test_a_loop_that_has_ended_is_nobodys() -> None:
    owner = OwnThread()

    async def take() -> None:
        owner.take()

    asyncio.run(take())
    results = []
    asking = threading.Thread(target=lambda: results.append(owner.ask(ident, PATIENCE)))
    asking.start()
    asking.join(PATIENCE)
    assert len(results) == 1
