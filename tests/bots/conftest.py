"""What every test of the bots gets: a log that is as it was, whatever a command set up."""

from __future__ import annotations

import logging

import pytest

from bots.common.operate.logs import OWN


@pytest.fixture(autouse=True)
def _log_as_before():
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("", *OWN)}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
