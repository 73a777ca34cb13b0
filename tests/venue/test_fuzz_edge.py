"""A bounded slice of the fuzz of the edge, from a fresh seed in each run; the whole is ``tests.venue.fuzz_edge``."""

from __future__ import annotations

import logging
import secrets
import sys
from importlib.util import find_spec

import pytest

from polymirror.venue import wire
from tests.venue.fuzz_edge import MAX_GROWTH, Fuzz

pytestmark = pytest.mark.anyio

CASES = 1_000


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    for name in ("trio", "sniffio"):
        # httpcore looks for these in each call, which takes a third of the time where they are not installed.
        if find_spec(name) is None:
            monkeypatch.setitem(sys.modules, name, None)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("websockets").setLevel(logging.NOTSET)


async def test_nothing_but_venue_errors_comes_out_of_the_edge():
    fuzz = Fuzz(secrets.randbits(32))
    await fuzz.run(CASES)
    assert not fuzz.failures, "\n".join(fuzz.failures)
    assert fuzz.growth <= MAX_GROWTH
    assert fuzz.outcomes.total() == CASES
    # Each way out is taken: a slice that only meets closed doors shows nothing.
    assert {"http ok", "http BadResponse", "http VenueUnavailable", "stream RESET", "stream VenueUnavailable"} <= set(
        fuzz.outcomes
    )


async def test_the_fuzz_sees_an_error_that_comes_out_as_it_is(monkeypatch):
    monkeypatch.setattr(wire, "unavailable", lambda *_arguments, **_options: KeyError("as it is"))
    fuzz = Fuzz(7)
    await fuzz.run(200)
    assert any("KeyError" in each for each in fuzz.failures)
