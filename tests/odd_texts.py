"""Odd texts through every place that shows one: ``python -m tests.odd_texts 100000``; the suite runs fewer.

What counts as bad is said here by the categories of Unicode, not by the function under test.
"""

from __future__ import annotations

import io
import logging
import random
import sys
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import websockets.frames
from rich.text import Text
from websockets.exceptions import ConnectionClosedError

from bots.common.errors import OrderInvalid, TradingError, Unanswered, shorten
from bots.common.operate import logs
from bots.common.operate.logs import Lines, event
from bots.common.operate.notifications import TelegramError, _joined
from bots.common.operate.screens import facts, sentence, table
from bots.common.operate.settings import SettingsError
from bots.updown.oracles.rtds import RtdsDialect
from bots.updown.oracles.ticks import TickKind
from polymirror.commands.checks import Check
from polymirror.commands.doctor import print_checks
from polymirror.commands.ladder import Ladder, ladder_picture
from polymirror.commands.output import complain
from polymirror.commands.replay import print_summary
from polymirror.commands.screen import make_console, print_json
from polymirror.commands.tables import BookRow, Dashboard, Moment, dashboard
from polymirror.core.states import BookState, Reason
from polymirror.errors import (
    BadResponse,
    ConfigError,
    DecodeError,
    MarketNotFound,
    NotLive,
    PolymirrorError,
    UnitError,
    UnknownToken,
    VenueUnavailable,
)  # fmt: skip
from polymirror.shell.warnlog import WarnLog
from polymirror.venue.closing import CloseCause, CloseKind, cause_of
from polymirror.venue.failures import explain, page_in
from polymirror.venue.losslog import LossLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECES = (
    *("\x1b[2J", "\x1b]8;;http://x.test\x07here\x1b]8;;\x07", "\x1b[31m", "\x9b31m", "\r", "\n", "\r\n", "\t", "\x00"),
    *("\x07", "\x08\x08\x08", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u202d", "\u2066", "\u2069", "\u200b"),
    *("\u200d", "\u200f", "\ufeff", "\u061c", "\xad", "\ud800", "\udfff", "\U000e0041", "\u034f", "\u3164"),
    *("[/x]", "[bold]", "[/]", "[red]on[/red]", "[link=http://x.test]", "[@click=quit]", ":boom:", "{0}", "{}", "%s"),
    *("%(message)s", "\\", "'", '"', "<b>", "e\u0301", "\u7248\u672c", "\U0001f600", "up", "BTC", "0.5", "x" * 300),
    "\n2026-11-30T12:00:00.000Z WARNING all is well",
)  # fmt: skip


def odd_texts(count: int, seed: int = 0) -> Iterator[str]:
    """Texts of pieces that mean something to somebody, and of characters from anywhere."""
    rng = random.Random(seed)
    for _ in range(count):
        parts = [
            rng.choice(PIECES) if rng.random() < 0.7 else chr(rng.randrange(0x110000)) for _ in range(rng.randint(1, 6))
        ]
        yield "".join(parts)


def bad_characters(shown: str, lines: int | None = None) -> set[str]:
    """What must not be shown; line ends are allowed in a text that has as many ``lines`` as it should."""
    found = {each for each in shown if unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    return found - ({"\n"} if lines is None or shown.count("\n") == lines - 1 else set())


def _of(*errors: Exception) -> str:
    return "\n".join(map(str, errors))


def _log(emit: Callable[[logging.Logger], object], name: str, formatter: logging.Formatter | None = None) -> str:
    stream, log = io.StringIO(), logging.getLogger(name)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        emit(log)
    finally:
        log.removeHandler(handler)
        log.propagate = before
    return stream.getvalue().removesuffix("\n")


def _raised(text: str, **form: bool) -> str:
    def emit(log: logging.Logger) -> None:
        try:
            raise ValueError(text)  # noqa: TRY301 - its traceback is what is wanted
        except ValueError:
            log.exception("%s", text)

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logs._record)
    try:
        shown = _log(emit, "bots.odd", Lines(**form))
    finally:
        logging.setLogRecordFactory(before)
    assert "ValueError" in shown
    assert all(line.startswith("  ") for line in shown.split("\n")[1:])
    return shown


def _printed(*what: object) -> str:
    console = make_console()
    console.file, console.width = io.StringIO(), 80
    for each in what:
        if callable(each):
            each(console)
        else:
            console.print(each, soft_wrap=isinstance(each, str))
    return console.file.getvalue()


def _written(call: Callable[[], object]) -> str:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
        call()
    return out.getvalue().removesuffix("\n")


def _closed(text: str) -> str:
    reason = text.encode("utf-8", "replace")[:120].decode("utf-8", "ignore")
    return str(cause_of(ConnectionClosedError(websockets.frames.Close(1008, reason), None)))


def _summary(text: str) -> dict[str, object]:
    counts = dict.fromkeys(("frames", "deltas", "snapshots", "tokens", "ignored", "malformed"), 1)
    proofs = {each: {"match": 1} for each in ("hash", "bbo", "complement", "resent_books", "invariants")}
    kinds = {"states": {text: 1}, "left_live": {text: 1}, "ignored_kinds": {text: 1}, "malformed_kinds": {text: 1}}
    return {**counts, **proofs, **kinds, "interrupted": True}


def _dashboard(text: str) -> object:
    row = BookRow(
        name=text,
        state=BookState.SUSPECT,
        reason=Reason.STALE,
        age=1.0,
        proof=text,
        bid=text,
        ask=text,
        epoch=1,
        resyncs=1,
    )
    moment = Moment(at=1.0, name=text, old=BookState.LIVE, new=BookState.SUSPECT, reason=Reason.STALE, detail=text)
    return dashboard(
        Dashboard(
            title=text, status=text, elapsed=1.0, total=2.0, rows=[row], moments=[moment], footer=[Text(text)]
        ),
        80, 24,
    )  # fmt: skip


def _ladder(text: str) -> object:
    one = Ladder(name=text, state=BookState.LIVE, reason=Reason.PROVEN, age=1.0, bids=[(4_800, 1)], asks=[(4_900, 1)])
    return ladder_picture(one, 20, 80)


RTDS = RtdsDialect(TickKind.SPOT, ("btc",))

LINES: dict[str, Callable[[str], str]] = {
    "an error of the library": lambda text: str(VenueUnavailable(text, 503, text)),
    "an error of the bots": lambda text: str(TradingError(text, text)),
    "a call without an answer": lambda text: Unanswered("x", text).detail,
    "Telegram's refusal": lambda text: str(TelegramError("getMe", 400, text)),
    "a failure": lambda text: explain(ValueError(text)),
    "a page": lambda text: page_in(b"<html><title>" + text.encode("utf-8", "replace") + b"</title>"),
    "a close reason": _closed,
    "a lost connection": lambda text: _log(
        lambda _: LossLog().lost("books", CloseCause(CloseKind.REQUESTED, text), 0.0), "polymirror.venue.stream"
    ),
    "a complaint": lambda text: _written(lambda: complain(text)),
    "JSON": lambda text: _written(lambda: print_json({"name": text.encode("utf-8", "replace").decode()})),
    "the relay's words": lambda text: RTDS.read(text.encode("utf-8", "replace")).trouble,
    "a detail": shorten,
    "a warning": lambda text: _log(lambda _: WarnLog().warn(text, text, 0.0), "polymirror"),
    "a bot's line": lambda text: _log(
        lambda log: event(log, text, logging.WARNING, why=text), "bots.odd", Lines()
    ),
    "a bot's object": lambda text: _log(
        lambda log: event(log, text, logging.WARNING, why=text), "bots.odd", Lines(as_json=True)
    ),
}  # fmt: skip
"""Places that make one line."""

SCREENS: dict[str, Callable[[str], str]] = {
    "errors": lambda text: _of(
        BadResponse(text, text), MarketNotFound(text), ConfigError(text, text, text), UnknownToken(text),
        NotLive(text, BookState.LIVE, None, 1.0, 1, detail=text), DecodeError(text, text), PolymirrorError(text),
        OrderInvalid("price", text, text), UnitError("price", text, text), SettingsError((text, text)),
    ),
    "a traceback": _raised,
    "a traceback in JSON": lambda text: _raised(text, as_json=True),
    "Telegram": lambda text: _joined([text, text])[0],
    "a picture": lambda text: _printed(_dashboard(text)),
    "a ladder": lambda text: _printed(_ladder(text), text),
    "doctor": lambda text: _printed(lambda console: print_checks([Check(text, False, text, text)], console)),
    "replay": lambda text: _printed(lambda console: print_summary(text, _summary(text), console)),
    "tables": lambda text: "\n".join((table(("a", ">b"), [(text, text)]), facts([("a", text)]), sentence(text))),
}  # fmt: skip
"""Places that make several."""

RARE = {"a picture", "a ladder", "replay", "doctor"}
"""Drawing takes milliseconds: these get each tenth text of a long run."""


def find_leaks(count: int, seed: int = 0) -> list[tuple[str, str, set[str]]]:
    """Show ``count`` texts everywhere; return where which of them came out how, at most a few."""
    leaks = []
    for number, text in enumerate(odd_texts(count, seed)):
        for places, lines in ((LINES, 1), (SCREENS, None)):
            for name, show in places.items():
                if name in RARE and count > 10_000 and number % 10:
                    continue
                bad = bad_characters(show(text), lines)
                if bad:
                    leaks.append((name, text, bad))
        if len(leaks) > 20:
            break
    return leaks


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    found = find_leaks(total, seed=random.randrange(2**32))
    for leak in found:
        sys.stdout.write(f"{leak!a}\n")
    sys.stdout.write(f"{total} texts, {len(LINES) + len(SCREENS)} places: {len(found)} leaks\n")
    sys.exit(bool(found))
