"""The event loop of virtual time: it leaps, it never drifts, and it says why it cannot go on."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time

import httpx
import pytest

from polymirror import ConfigError
from polymirror.simulator.settings import DEFAULT_START_MS
from polymirror.simulator.virtual import VirtualTimeError, loop, run_virtual


def test_an_hour_of_waiting_takes_no_time_and_moves_every_clock_alike() -> None:
    async def main():
        running = asyncio.get_running_loop()
        before = running.time(), running.wall(), running.wall_ms()
        await asyncio.sleep(3_600)
        after = running.time(), running.wall(), running.wall_ms()
        return [late - early for late, early in zip(after, before, strict=True)]

    began = time.monotonic()
    assert run_virtual(main) == [3_600, 3_600, 3_600_000]
    assert time.monotonic() - began < 60


def test_timers_fire_in_order_each_at_exactly_its_time() -> None:
    async def main():
        running = asyncio.get_running_loop()
        began, fired = running.time(), []
        delays = [rng.uniform(0, 1_000) for _ in range(1_000)]
        for delay in delays:
            running.call_at(began + delay, lambda delay=delay: fired.append((delay, running.time() == began + delay)))
        await asyncio.sleep(1_000)
        return fired == [(delay, True) for delay in sorted(delays)]

    rng = random.Random(7)
    assert run_virtual(main)


def test_a_leap_of_any_length_ends_exactly_at_the_timer() -> None:
    async def main():
        running = asyncio.get_running_loop()
        for factor in range(300, 900):
            running._now = 1_000.0
            due = 1_000.1 * factor / 7
            woken = running.create_future()
            running.call_at(due, woken.set_result, None)
            await woken
            assert running.time() == due

    run_virtual(main, limit=float("inf"))


def test_a_time_of_day_and_the_monotonic_clock_translate_into_each_other_without_loss() -> None:
    async def main():
        running = asyncio.get_running_loop()
        times = range(DEFAULT_START_MS, DEFAULT_START_MS + 100_000_000, 7_777)
        for at in times:
            running._now = running.when(at)
            assert running.wall_ms() == at
        return len(times)

    assert run_virtual(main, limit=float("inf")) > 10_000


def test_time_limits_are_in_virtual_time() -> None:
    async def main():
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time() - began

    assert run_virtual(main) == 600


def test_a_stall_lets_time_pass_while_nothing_is_done() -> None:
    async def main():
        running = asyncio.get_running_loop()
        began, fired = running.time(), []
        running.call_later(1, lambda: fired.append(running.time() - began))
        running.stall(5)
        assert fired == []
        await asyncio.sleep(0.5)
        return fired

    assert run_virtual(main) == [5]


def test_a_deadlock_is_an_error_that_names_who_waits_and_their_clean_up_still_runs() -> None:
    cleaned = []

    async def main():
        asyncio.current_task().set_name("the one that waits")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            cleaned.append(True)

    with pytest.raises(VirtualTimeError, match=r"deadlock: .* the one that waits"):
        run_virtual(main)
    assert cleaned == [True]


def test_only_some_of_many_waiting_tasks_are_named() -> None:
    async def main():
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(asyncio.Event().wait(), name=f"t{number:02}")

    with pytest.raises(VirtualTimeError, match=r"t00, .* and 43 more"):
        run_virtual(main)


def test_a_wait_without_end_is_an_error_after_the_limit() -> None:
    async def main():
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(1)

    with pytest.raises(VirtualTimeError, match="not done after 60 s"):
        run_virtual(main, limit=60)


def test_a_program_that_spins_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(loop, "MAX_TURNS", 1_000)

    async def main():
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    with pytest.raises(VirtualTimeError, match="spins"):
        run_virtual(main)


def test_threads_are_refused_by_name() -> None:
    async def main():
        await asyncio.to_thread(time.sleep, 1)

    with pytest.raises(VirtualTimeError, match="no threads in virtual time"):
        run_virtual(main)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: asyncio.open_connection("127.0.0.1", 9),
        lambda: asyncio.start_server(lambda *_: None, "127.0.0.1", 0),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 80),
    ],
)
def test_what_would_leave_the_process_is_refused(attempt) -> None:
    async def main():
        await attempt()

    with pytest.raises(VirtualTimeError, match="virtual time"):
        run_virtual(main)


def test_an_http_client_that_misses_the_virtual_network_is_refused() -> None:
    async def main():
        async with httpx.AsyncClient() as client:
            await client.get("http://127.0.0.1:9/")

    # The client wraps what its sockets raise.
    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(main)
    assert caught.group_contains(VirtualTimeError, match="no real sockets")


def test_a_signal_is_heard_and_given_back() -> None:
    former = signal.getsignal(signal.SIGUSR1)

    async def main():
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
        asyncio.get_running_loop().call_later(5, signal.raise_signal, signal.SIGUSR1)
        await heard.wait()
        assert not asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR2)

    run_virtual(main)
    assert signal.getsignal(signal.SIGUSR1) is former


def test_what_the_program_raises_comes_out() -> None:
    async def main():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_virtual(main)


@pytest.mark.parametrize("settings", [{"start_ms": 0}, {"limit": 0.0}, {"limit": float("nan")}])
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(ConfigError, match="more than 0"):
        run_virtual(lambda: asyncio.sleep(0), **settings)


def test_a_group_cancels_its_tasks_in_the_same_order_wherever_they_lie_in_memory() -> None:
    def order(waste: int) -> list[int]:
        ended: list[int] = []
        kept: list[object] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                ended.append(number)

        async def main() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1), asyncio.TaskGroup() as group:
                    for number in range(40):
                        kept.extend(bytearray(1_000) for _ in range(waste * number % 7))
                        group.create_task(wait(number))

        run_virtual(main)
        return ended

    assert order(0) == order(1) == order(3) == order(5)
