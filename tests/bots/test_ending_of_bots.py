"""How a bot ends when it is told to: gently at first, at once the second time, and with a code that says which."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from bots.common.operate.ending import CUT_SHORT, run_until_told

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this platform has no such signals")

NAMES = ("SIGTERM", "SIGINT", "SIGHUP")


class Bot:
    """Ends when it is drained, or only when it is cancelled."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.reasons: list[str] = []
        self.cancelled = False
        self._stubborn = stubborn
        self._end = asyncio.Event()

    def drain(self, why: str) -> None:
        self.reasons.append(why)
        if not self._stubborn:
            self._end.set()

    async def run(self) -> str:
        try:
            await self._end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


def end(*names: str, stubborn: bool = False, grace: float = 60.0):
    async def main():
        bot = Bot(stubborn=stubborn)
        loop = asyncio.get_running_loop()
        for turn, name in enumerate(names):
            loop.call_later(0.01 * (turn + 1), signal.raise_signal, getattr(signal, name))
        before = [signal.getsignal(getattr(signal, name)) for name in NAMES]
        found = await run_until_told(bot.run(), bot.drain, grace)
        assert [signal.getsignal(getattr(signal, name)) for name in NAMES] == before
        return found, bot

    return asyncio.run(main())


@pytest.mark.parametrize("name", NAMES)
def test_the_first_signal_lets_it_end_by_itself(name) -> None:
    found, bot = end(name)
    assert found == ("done", 0)
    assert bot.reasons == [f"signal {name}"]
    assert not bot.cancelled


@pytest.mark.parametrize("name", NAMES)
def test_the_second_signal_ends_it_at_once_and_the_code_says_by_which_it_was_asked(name) -> None:
    found, bot = end(name, "SIGTERM", stubborn=True)
    assert found == (None, CUT_SHORT + getattr(signal, name))
    assert len(bot.reasons) == 1
    assert bot.cancelled


def test_the_end_of_the_grace_ends_it_too() -> None:
    found, bot = end("SIGTERM", stubborn=True, grace=0.05)
    assert found == (None, CUT_SHORT + signal.SIGTERM)
    assert bot.cancelled


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    async def main() -> tuple[str | None, int]:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, signal.raise_signal, signal.SIGHUP)
        return await run_until_told(asyncio.sleep(0.05, "done"), lambda _: pytest.fail("it was ignored"))

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert asyncio.run(main()) == ("done", 0)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_fails_or_is_cancelled_by_others_says_so() -> None:
    async def fail() -> None:
        raise LookupError("of the bot")

    async def cancelled() -> None:
        task = asyncio.ensure_future(run_until_told(asyncio.sleep(60), lambda _: None))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(LookupError, match="of the bot"):
        asyncio.run(run_until_told(fail(), lambda _: None))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
