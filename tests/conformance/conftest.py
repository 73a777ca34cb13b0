"""One replay of all recordings, shared by the tests that look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.report import Replayed, replay_all

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def replayed(corpus: Path) -> dict[str, Replayed]:
    return replay_all(corpus)
