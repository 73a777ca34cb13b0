"""Venues that mirrors in the background are tried on, and a look for threads that are left."""

from __future__ import annotations

import pytest

from polymirror.simulator import Simulator
from tests.background_rig import own_threads, until, venue_of


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    until(lambda: own_threads() == [])


@pytest.fixture(scope="module")
def quiet():
    with venue_of() as venue:
        yield venue


@pytest.fixture(scope="module")
def busy():
    with venue_of(Simulator(seed=3, rate=100)) as venue:
        yield venue
