"""Ages and time-outs that are none are refused by every call of a mirror and a gate, with a sentence that says why."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest

from polymirror import ConfigError, Gate, NotLive
from tests.loopback import PATIENCE, mirror_of, one_loop, quiet_venue

pytestmark = [pytest.mark.anyio, one_loop]

NO_AGES = [-1, 0, float("nan"), True, "1", Decimal("0.5")]
NO_TIMEOUTS = [-1, float("nan"), float("inf"), True, "1", Decimal("0.5"), None]

AGE = r"max_proof_age=.* is not allowed: it must be a number of seconds above 0 \(float or int\)"
TIMEOUT = r"timeout=.* is not allowed: it must be a finite number of seconds from 0 on \(float or int\)"


async def test_ages_that_are_none_are_refused_at_the_call() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        token = mirror.tokens[0]
        await mirror.wait_live(timeout=PATIENCE)
        for age in NO_AGES:
            with pytest.raises(ConfigError, match=AGE):
                mirror.live(token, age)
            with pytest.raises(ConfigError, match=AGE):
                mirror.top(token, age)
            with pytest.raises(ConfigError, match=AGE):
                await mirror.wait_settled(token, age)
            with pytest.raises(ConfigError, match=AGE):
                Gate(mirror, max_proof_age=age)
            with pytest.raises(ConfigError, match=AGE):
                await Gate(mirror).lease(token, max_proof_age=age).__aenter__()
        assert mirror.reads == {"granted": 0, "refused": 0}
        assert mirror.live(token, float("inf")).token == token


async def test_time_outs_that_are_none_are_refused_at_the_call() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        token = mirror.tokens[0]
        await mirror.wait_live(timeout=PATIENCE)
        gate = Gate(mirror)
        calls = (mirror.wait_live, partial(mirror.wait_settled, token), partial(mirror.prove, token))
        for timeout in NO_TIMEOUTS:
            for call in calls:
                with pytest.raises(ConfigError, match=TIMEOUT):
                    await call(timeout=timeout)
            with pytest.raises(ConfigError, match=TIMEOUT):
                await gate.lease(token, timeout=timeout).__aenter__()


async def test_a_time_out_of_nothing_does_not_wait() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        with pytest.raises(NotLive, match="waited 0 s"):
            await mirror.wait_live(timeout=0)
        await mirror.wait_live(timeout=PATIENCE)
        await mirror.wait_live(timeout=0)
        async with Gate(mirror).lease(mirror.tokens[0], timeout=0) as lease:
            assert lease.check().settled
