"""The reads for execution: an age that is none is refused at the call, and never means something."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polymirror.errors import ConfigError, NotLive, UnknownToken

NO_AGES = [-1, -0.5, 0, 0.0, float("nan"), float("-inf"), True, "1", Decimal("0.5")]
WHY = r"max_proof_age=.* is not allowed: it must be a number of seconds above 0 \(float or int\)"


@pytest.mark.parametrize("age", NO_AGES)
@pytest.mark.parametrize("read", ["live", "top"])
def test_an_age_that_is_none_is_refused_whatever_the_book_is(rig, read, age):
    call = getattr(rig.engine, read)
    with pytest.raises(ConfigError, match=WHY):
        call("11", rig.now, age)
    rig.disconnect()
    with pytest.raises(ConfigError, match=WHY):
        call("11", rig.now, age)
    assert rig.engine.status(rig.now).tokens[0].refused_reads == 0


@pytest.mark.parametrize("age", [1, 1.0, 10**400, float("inf"), 1e-9, None])
@pytest.mark.parametrize("read", ["live", "top"])
def test_any_number_above_zero_is_an_age(rig, read, age):
    assert getattr(rig.engine, read)("11", rig.now, age).token == "11"  # noqa: S105 - no password


@pytest.mark.parametrize("read", ["live", "top"])
def test_no_age_reaches_further_than_the_configured_one(rig, read):
    configured = rig.engine.config.max_proof_age
    for age in (None, float("inf"), configured + 1):
        with pytest.raises(NotLive) as refused:
            getattr(rig.engine, read)("11", rig.now + configured + 0.1, age)
        assert refused.value.max_proof_age == configured


def test_a_book_is_readable_until_its_proof_is_too_old(rig):
    view = rig.engine.live("11", rig.now)
    until = rig.engine.readable_until("11")
    assert until == pytest.approx(view.proven_at + rig.engine.config.max_proof_age)
    assert rig.engine.live("11", until - 0.001)
    with pytest.raises(NotLive):
        rig.engine.live("11", until + 0.001)


def test_a_book_that_is_not_live_is_readable_until_no_time(rig):
    rig.disconnect()
    assert rig.engine.readable_until("11") is None
    with pytest.raises(UnknownToken):
        rig.engine.readable_until("99")
