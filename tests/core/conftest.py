"""What nearly every test of the core begins with."""

from __future__ import annotations

import pytest

from tests.core.builders import Exchange, Rig


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def rig(exchange: Exchange) -> Rig:
    """Both books LIVE."""
    return Rig.live(exchange)
