"""What is taken from a bot's ledger, and what is asked of its bot: tables, a copy; to stop, to resume, to reconcile.

A request is written into the ledger, so that it outlives every crash: a bot that runs does it within a second or two,
one that does not when it starts.
"""

from __future__ import annotations

import getpass
import os
import socket
import stat
import time
from typing import TYPE_CHECKING, Any, Final

from bots.common.errors import BotError
from bots.common.files import changed_by_others
from bots.common.ledger.database import in_use
from bots.common.ledger.reader import LedgerReader, request
from bots.common.ledger.rows import from_e6
from bots.common.operate.commands import Answer, plain
from bots.common.operate.screens import exact, moment, sentence
from bots.common.risk.follow import RESUME, STOP
from bots.common.risk.switch import STOP_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOT_TAKEN_UP: Final = 3
"""The exit code when something was asked of a bot that does not run, or does not listen."""

WITHIN: Final = 8.0
"""Seconds in which a bot that runs takes up what it is asked for."""


def export(path: Path, name: str) -> tuple[list[str], list[list[Any]]]:
    """Return a table of the ledger, exact: columns, and rows of text, numbers and None. Raises BotError."""
    with LedgerReader(path) as reader:
        columns, rows = reader.table(name)
    names = [column.removesuffix("_e6") for column in columns] + ["utc"]
    cells: list[list[Any]] = [
        [
            from_e6(value) if column.endswith("_e6") and value is not None else value
            for column, value in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    when = columns.index("at_ms")
    return names, [[*(plain(value) for value in row), moment(row[when])] for row in cells]


def backup(path: Path, target: Path | None, now_ms: int) -> Answer:
    """Write a copy of a ledger, whole and checked, also while its bot runs. Nothing is written over."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms / 1000))
    to = path.with_name(f"{path.stem}.backup-{stamp}.sqlite") if target is None else target
    if to.is_dir():
        to /= f"{path.stem}.backup-{stamp}.sqlite"
    if os.path.lexists(to):
        raise BotError(f"{to} exists: name another file")
    if (problem := changed_by_others(to.parent)) and not to.parent.stat().st_mode & stat.S_ISVTX:
        raise BotError(f"{problem}, or name another folder")
    with LedgerReader(path) as reader:
        reader.back_up(to)
    # What a copy is worth is seen by reading it.
    with LedgerReader(to) as copy:
        totals = copy.account().totals
    size = to.stat().st_size
    data = {"backup": str(to), "bytes": size, "orders": totals.orders, "profit": totals.profit}
    text = f"{to}: {size:,} bytes, read back: {totals.orders} orders, profit {exact(totals.profit)} pUSD"
    return Answer(plain(data), sentence(text))


def who() -> str:
    """Name whoever asks, as far as this machine knows, to be put before the reason: ``user@host: ``."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}: "
    except (ImportError, KeyError, OSError):
        return ""


def ask(
    path: Path, kind: str, detail: str, now_ms: int, sleep: Callable[[float], None], within: float = WITHIN
) -> Answer:
    """Ask the bot to ``stop``, ``resume`` or ``reconcile``, durably, and wait up to ``within`` s for it."""
    try:
        request(path, kind, detail, now_ms)
    except OSError as error:
        if kind != STOP:
            raise
        file = path.parent.absolute() / STOP_FILE
        raise BotError(f"the stop is NOT written down ({error.strerror}): make the file {file} instead") from error
    with LedgerReader(path) as reader:
        number = reader.query("SELECT max(id) FROM requests WHERE kind = ? AND at_ms = ?", (kind, now_ms))[0][0]
    waited = 0.0
    while not (taken := _taken_up(path, number)) and waited < within and in_use(path) is not False:
        sleep(0.25)
        waited += 0.25
    said = {
        (STOP, True): "the bot buys nothing any more, across restarts, until 'resume'; positions are still settled",
        (RESUME, True): "the bot may buy again",
        ("reconcile", True): "the bot compares its books with the venue's; see 'status' and its notices",
    }
    text = said.get((kind, taken), "")
    if not taken and in_use(path) is False:
        text = f"{kind} is written down: no bot runs on {path.name}, and it is done when one starts"
    elif not taken:
        text = f"{kind} is written down, and the bot has not taken it up within {within:g} s: see 'status'"
    if kind == RESUME and (path.parent / STOP_FILE).exists():
        text += f"; the file {STOP_FILE} still keeps it from buying: remove {path.parent / STOP_FILE}"
    data = {"ledger": str(path), "asked": kind, "why": detail, "taken_up": taken}
    return Answer(data, sentence(text), 0 if taken else NOT_TAKEN_UP)


def _taken_up(path: Path, number: int) -> bool:
    with LedgerReader(path) as reader:
        rows = reader.query("SELECT value FROM meta WHERE name = 'request'")
    return bool(rows) and int(rows[0][0]) >= number
