"""What the tests of other people's clients have in common: they may warn, and they are slower than ours."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            # Published packages warn of what they do not do yet. Their warnings are shown; they are no failures here.
            item.add_marker(pytest.mark.filterwarnings("default"))
