"""What every test may use: the asyncio backend, the recordings, and one hypothesis profile."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]
CORPUS = REPOSITORY.parent / "shared" / "corpus"

OPERATORS = ("POLYMARKET_", "TELEGRAM_", "CHAINLINK_", "POLYMIRROR_")

# Fresh examples in each run, no deadline on a busy machine, and a failure that can be repeated.
settings.register_profile("polymirror", deadline=None, print_blob=True)
settings.load_profile("polymirror")


@pytest.fixture(scope="session", autouse=True)
def _heard_signals():
    """Signals end what is tested, also where ``nohup`` or a shell in the background had them ignored."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL, "SIGTERM": signal.SIG_DFL}
    for number, handler in ((getattr(signal, name, None), handler) for name, handler in usual.items()):
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _no_credentials_of_ours():
    """Take the operator's own credentials and settings away: no test may read, use or print them."""
    for name in [each for each in os.environ if each.startswith(OPERATORS)]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _fresh_log():
    """Give each test the log that a program finds, whatever a command or a wider fixture has set up before."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.setLevel(logging.WARNING)
    for name, each in root.manager.loggerDict.items():
        ours = name.partition(".")[0] in {"bots", "polymirror"} and isinstance(each, logging.Logger)
        if ours and each.level != logging.NOTSET:
            each.setLevel(logging.NOTSET)
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    logging.setLogRecordFactory(logging.LogRecord)
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The library runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real recordings, which lies beside the repository and is never part of it."""
    return require_corpus(CORPUS, in_ci=bool(os.environ.get("CI")))


def require_corpus(folder: Path, *, in_ci: bool) -> Path:
    if folder.is_dir():
        return folder
    missing = f"the recordings are not at ../{folder.parent.name}/{folder.name}, beside the repository"
    if in_ci:
        # A green run that silently left out the real input would be worth nothing.
        pytest.fail(f"{missing}, and CI is set", pytrace=False)
    pytest.skip(missing)
