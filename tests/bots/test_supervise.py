"""Failure domains: each fails, and is started again, alone."""

from __future__ import annotations

import asyncio
import random

import pytest

from bots.common.operate.supervise import GivenUp, RestartPolicy, Standing, Supervisor, describe
from polymirror.errors import ConfigError
from polymirror.simulator.virtual.loop import run_virtual
from polymirror.venue.network import Network


def network():
    loop = asyncio.get_running_loop()
    return Network(monotonic=loop.time, wall=loop.time)


def now():
    return asyncio.get_running_loop().time()


def test_one_domain_that_fails_is_restarted_alone_and_the_others_never_wait():
    async def main():
        starts, ticks, told = [], [], []

        async def btc():
            starts.append(now())
            await asyncio.sleep(1)
            raise RuntimeError("the btc desk broke")

        async def eth():
            while True:
                ticks.append(now())
                await asyncio.sleep(1)

        supervisor = Supervisor(network(), rng=random.Random(1), on_failure=lambda domain: told.append(domain.error))
        async with supervisor:
            supervisor.keep("btc", btc)
            supervisor.keep("eth", eth)
            await asyncio.sleep(100.5)
            domains = supervisor.domains
        return starts, ticks, told, domains

    starts, ticks, told, domains = run_virtual(main)
    assert 4 < len(starts) < 60
    assert len(ticks) == 101
    assert set(told) == {"RuntimeError: the btc desk broke"}
    assert domains["btc"].failures == len(told)
    assert (domains["eth"].failures, domains["eth"].standing) == (0, Standing.RUNNING)


def test_a_domain_that_is_released_ends_alone_and_its_name_is_free_again():
    async def main():
        ended, ticks = [], []

        async def market():
            try:
                await asyncio.sleep(1_000)
            finally:
                ended.append(now())

        async def other():
            while True:
                ticks.append(now())
                await asyncio.sleep(1)

        async with Supervisor(network(), rng=random.Random(1)) as supervisor:
            supervisor.keep("market", market)
            supervisor.keep("other", other)
            await asyncio.sleep(5)
            supervisor.release("market")
            supervisor.release("unknown")
            await asyncio.sleep(1)
            left = tuple(supervisor.domains)
            supervisor.keep("market", market)
            await asyncio.sleep(4.5)
            return ended[:], ticks, left, tuple(supervisor.domains)

    ended, ticks, left, domains = run_virtual(main)
    assert len(ended) == 1
    assert len(ticks) == 11
    assert left == ("other",)
    assert set(domains) == {"other", "market"}


def test_waits_grow_up_to_the_cap_and_start_over_after_a_steady_run():
    class Longest(random.Random):
        def uniform(self, _low, high):
            return high

    async def main():
        starts, runs = [], [1, 1, 1, 1, 100, 1]

        async def fails():
            starts.append(now())
            await asyncio.sleep(runs[len(starts) - 1] if len(starts) <= len(runs) else 1_000_000)
            raise RuntimeError

        policy = RestartPolicy(base=1, cap=3, steady=60)
        async with Supervisor(network(), policy, rng=Longest()) as supervisor:
            supervisor.keep("x", fails)
            await asyncio.sleep(1_000)
        return [after - before - run for before, after, run in zip(starts, starts[1:], runs, strict=False)]

    assert run_virtual(main) == pytest.approx([1, 2, 3, 3, 1, 2])


async def _broken():
    raise RuntimeError("for ever")


FEW = RestartPolicy(base=0.1, cap=0.1, failures=3, window=60)


def test_a_domain_that_fails_too_often_is_down_and_the_others_go_on():
    async def main():
        async with Supervisor(network(), FEW) as supervisor:
            supervisor.keep("x", _broken)
            steady = supervisor.keep("y", asyncio.Event().wait)
            await asyncio.sleep(50)
            return supervisor.domains["x"], steady

    down, steady = run_virtual(main)
    assert (down.standing, down.failures) == (Standing.DOWN, 3)
    assert steady.standing is Standing.RUNNING


def test_a_vital_domain_that_is_down_ends_the_block_with_its_error():
    async def main():
        ended = []

        async def other():
            try:
                await asyncio.sleep(1_000)
            finally:
                ended.append(now())

        async def block():
            async with Supervisor(network(), FEW) as supervisor:
                supervisor.keep("oracle", _broken, vital=True)
                supervisor.keep("other", other)
                await asyncio.sleep(1_000)

        with pytest.raises(GivenUp, match=r"oracle failed 3 times and is vital; the last time: RuntimeError: for ever"):
            await block()
        return ended

    assert len(run_virtual(main)) == 1


def test_failures_that_are_far_apart_are_no_reason_to_give_up():
    async def main():
        async def fails():
            await asyncio.sleep(40)
            raise RuntimeError

        async with Supervisor(network(), FEW) as supervisor:
            domain = supervisor.keep("x", fails)
            await asyncio.sleep(1_000)
            return domain.failures, domain.standing

    failures, standing = run_virtual(main)
    assert failures > 20
    assert standing is not Standing.DOWN


def test_leaving_the_block_ends_every_domain_and_waits_for_it():
    async def main():
        ended = []

        async def slow():
            try:
                await asyncio.sleep(1_000)
            finally:
                await asyncio.sleep(1)
                ended.append("slow")

        async def waiting():
            raise RuntimeError

        policy = RestartPolicy(base=100, cap=100)
        async with Supervisor(network(), policy) as supervisor:
            supervisor.keep("slow", slow)
            supervisor.keep("waiting", waiting)
            await asyncio.sleep(0.1)
        return ended

    assert run_virtual(main) == ["slow"]


def test_an_error_of_the_block_itself_goes_through_unchanged():
    async def main():
        async with Supervisor(network()) as supervisor:
            supervisor.keep("x", asyncio.Event().wait)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run_virtual(main)


def test_a_stray_cancellation_inside_a_domain_is_a_failure_and_not_its_silent_end():
    async def main():
        starts = []

        async def leaks():
            starts.append(now())
            raise asyncio.CancelledError

        async with Supervisor(network()) as supervisor:
            domain = supervisor.keep("x", leaks)
            await asyncio.sleep(20)
        return starts, domain

    starts, domain = run_virtual(main)
    assert len(starts) > 1
    assert domain.error.startswith("CancelledError")


def test_cancelling_the_whole_thing_is_a_cancellation():
    async def main():
        async def block():
            async with Supervisor(network()) as supervisor:
                supervisor.keep("x", asyncio.Event().wait)
                await asyncio.sleep(1_000)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(block())
            await asyncio.sleep(1)
            task.cancel()
        return task.cancelled()

    assert run_virtual(main) is True


def test_a_domain_that_returns_is_done():
    async def main():
        async def once():
            await asyncio.sleep(1)

        async with Supervisor(network()) as supervisor:
            domain = supervisor.keep("x", once)
            await asyncio.sleep(5)
        return domain

    assert run_virtual(main).standing is Standing.DONE


def test_what_ends_a_process_is_not_restarted():
    class Killed(BaseException):
        pass

    async def main():
        async def dies():
            raise Killed

        async with Supervisor(network()) as supervisor:
            supervisor.keep("x", dies)
            await asyncio.sleep(5)

    with pytest.raises(BaseExceptionGroup) as caught:
        run_virtual(main)
    assert caught.group_contains(Killed)


def test_a_name_is_given_once():
    async def main():
        async with Supervisor(network()) as supervisor:
            supervisor.keep("x", asyncio.Event().wait)
            with pytest.raises(ValueError, match="'x' is taken"):
                supervisor.keep("x", asyncio.Event().wait)

    run_virtual(main)


def test_of_a_group_the_first_member_is_told_in_one_line():
    group = ExceptionGroup("many", [ExceptionGroup("inner", [RuntimeError("a\nb")]), ValueError()])
    assert describe(group) == "RuntimeError: a\\nb"
    assert len(describe(RuntimeError("x" * 1000))) < 200


@pytest.mark.parametrize("name", ["base", "cap", "steady", "failures", "window"])
def test_a_policy_is_checked(name):
    with pytest.raises(ConfigError, match=name):
        RestartPolicy(**{name: 0})
