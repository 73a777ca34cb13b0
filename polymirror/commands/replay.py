"""``polymirror replay``: a recording through the engine, with its progress and a summary."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from rich.table import Table
from rich.text import Text

from polymirror.commands.ending import run_loop, signals_wait, whole_step
from polymirror.commands.screen import kept_warnings, make_console, print_json, progress_bar
from polymirror.commands.tables import counts_line, states_line
from polymirror.errors import ConfigError, PolymirrorError
from polymirror.journal.foreign import STDIN, open_recording
from polymirror.journal.frames import FrameReplay
from polymirror.journal.reader import is_journal
from polymirror.journal.replay import Replay
from polymirror.journal.serve import ReplayServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from polymirror.journal.foreign import Recording

REFRESH_EVERY: Final = 512
"""Lines between two looks at the progress."""

AT_ONCE: Final = "max"

MAX_SLUGS: Final = 10
"""Markets that are named when a recording is served."""

MIN_SPEED, MAX_SPEED = 0.01, 10_000.0

LOOK_SECONDS: Final = 0.1
"""Seconds between two looks whether a signal came."""


@frozen
class ReplayOptions:
    """What the command line asks for. Raises ConfigError for a speed or a time that is none."""

    name: str
    speed: str = "max"
    start: str | None = None
    until: str | None = None
    tokens: tuple[str, ...] = ()
    serve: bool = False
    port: int = 0
    json: bool = False

    @property
    def factor(self) -> float | None:
        """How many times as fast as it was; None: at once."""
        if self.speed == AT_ONCE:
            return None
        try:
            factor = float(self.speed)
        except ValueError:
            factor = 0.0
        if not MIN_SPEED <= factor <= MAX_SPEED:
            raise ConfigError("--speed", self.speed, f"between {MIN_SPEED} and {MAX_SPEED:,}, or {AT_ONCE}")
        return factor

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The Unix seconds from and until which it is replayed."""
        return read_moment("--from", self.start), read_moment("--until", self.until)

    @property
    def is_journal(self) -> bool:
        """Whether it is a journal: a folder, or a file of one."""
        path = Path(self.name)
        return self.name not in {"", STDIN} and (path.is_dir() or (path.is_file() and is_journal(path)))


def read_moment(option: str, text: str | None) -> float | None:
    """Read a time of day: a date and a time in UTC unless it says otherwise, or Unix seconds."""
    if text is None:
        return None
    with suppress(ValueError):
        if isfinite(seconds := float(text)):
            return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, text, "a time such as 2026-11-30T12:00:00 (UTC), or Unix seconds") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def run_replay(options: ReplayOptions) -> int:
    """Replay a recording or a journal and print what came of it; return the exit code. Ctrl-C ends it where it is.

    Raises PolymirrorError for what cannot be read, and ConfigError for options that do not fit it.
    """
    factor, bounds = options.factor, options.bounds
    if options.serve:
        if options.tokens:
            raise ConfigError("--token", options.tokens, "given only without --serve, which serves all")
        with suppress(KeyboardInterrupt):
            run_loop(_serve(options, factor or 1.0, bounds))
        return 0
    if options.is_journal:
        return _run_journal(options, factor, bounds)
    for name, given in (("--from", options.start), ("--until", options.until), ("--token", options.tokens or None)):
        if given is not None:
            raise ConfigError(name, given, "given only for a journal")
    if factor is not None:
        raise ConfigError("--speed", options.speed, f"{AT_ONCE} but for a journal and with --serve")
    return _run_recording(options.name, json=options.json)


def _run_journal(options: ReplayOptions, factor: float | None, bounds: tuple[float | None, float | None]) -> int:
    console, trace, interrupted = make_console(), sha256(), True
    found = Replay(Path(options.name), tokens=options.tokens, start=bounds[0], end=bounds[1])
    states: Counter[str] = Counter()
    unseen, step = set(options.tokens), None
    with kept_warnings(), suppress(KeyboardInterrupt), signals_wait() as look:
        for step in found.steps(speed=factor, sleep=lambda seconds: _sleep(seconds, look)):
            unseen.difference_update(step.changed)
            for event in step.transitions:
                if options.tokens and event.token not in options.tokens:
                    continue
                trace.update(repr(event).encode())
                if factor is not None and not options.json:
                    at = datetime.fromtimestamp(step.wall, UTC)
                    console.print(f"{at:%Y-%m-%d %H:%M:%S.%f} {event}", soft_wrap=True)
            if found.lines % REFRESH_EVERY == 0:
                look()
        interrupted = False
    if found.lines:
        states = Counter(state.name for _, state in found.engine.states())
    summary: dict[str, Any] = {
        "sessions": len(found.sessions), "exact": found.exact, "lines": found.lines, "frames": found.frames,
        "lost": found.lost, "transitions": found.moves, "left_live": dict(sorted(found.left_live.items())),
        "states": dict(sorted(states.items())), "trace": trace.hexdigest(), "interrupted": interrupted,
    }  # fmt: skip
    if options.json:
        print_json(summary)
    else:
        _print_journal(options.name, summary, console)
    if not interrupted:
        _check_part(options.name, found, unseen, empty=step is None)
    return 0


def _check_part(name: str, found: Replay, unseen: Iterable[str], *, empty: bool) -> None:
    """Raise PolymirrorError if nothing is in the part that was asked for: what checked nothing must not look right."""
    if empty:
        raise PolymirrorError(f"nothing in {name} is from that time: see 'polymirror journal check'")
    for token in unseen:
        if found.engine.standing(token) is None:
            raise ConfigError("--token", token, f"one of those in {name}: see 'polymirror journal check'")


async def _serve(options: ReplayOptions, speed: float, bounds: tuple[float | None, float | None]) -> None:
    """Serve a recording until Ctrl-C."""
    console = make_console()
    server = ReplayServer(options.name, speed=speed, start=bounds[0], end=bounds[1], port=options.port)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except OSError as error:
            said = f"cannot listen: {error.strerror or error}; choose another --port, or 0"
            raise PolymirrorError(said) from error
        slugs = [market.slug for market in server.markets]
        if options.json:
            tokens = {market.slug: market.tokens for market in server.markets}
            print_json({"url": server.base_url, "stream": server.endpoints.stream, "markets": tokens})
        else:
            console.print(f"{options.name} at {server.base_url}, from the first client on", soft_wrap=True)
            console.print(f"polymirror watch {slugs[0]} --venue {server.base_url}", soft_wrap=True)
            if len(slugs) > 1:
                console.print(f"also: {', '.join(slugs[1:MAX_SLUGS])}", soft_wrap=True)
        told = False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if server.over and not told and not options.json:
                told = True
                console.print("the recording is over; the last books are still served", soft_wrap=True)


def _sleep(seconds: float, look: Callable[[], None]) -> None:
    """Sleep, and let a signal end it."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        look()
        time.sleep(min(rest, LOOK_SECONDS))


def _print_journal(name: str, summary: dict[str, Any], console: Console) -> None:
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column()
    if summary["interrupted"]:
        lines.add_row("interrupted", "this is about the part that was read")
    exact = "exact, to the last bit" if summary["exact"] else "the same books, proven anew"
    lines.add_row("replay", exact)
    lines.add_row("lines", f"{summary['lines']:,}, of them {summary['frames']:,} frames; {summary['lost']:,} missing")
    lines.add_row("at the end", states_line(summary["states"]))
    left = summary["left_live"]
    lines.add_row("transitions", f"{summary['transitions']:,}")
    lines.add_row("left LIVE", Text(counts_line(left) if left else "never", style="" if left else "green"))
    lines.add_row("trace", summary["trace"])
    console.print(Text(f"polymirror replay: {name}", style="bold"), soft_wrap=True)
    console.print()
    console.print(lines)


def _run_recording(name: str, *, json: bool) -> int:
    """Replay a recording of somebody else. Without a book in it it raises PolymirrorError, after printing.

    What checked nothing must not look right.
    """
    console, replay, interrupted = make_console(), FrameReplay(), True
    with kept_warnings(), open_recording(name) as recording:
        with suppress(KeyboardInterrupt):
            _replay(replay, recording, console, quiet=json)
            interrupted = False
        replay.finish()
    summary = replay.summary() | {"interrupted": interrupted}
    if json:
        print_json(summary)
    else:
        print_summary(recording.name, summary, console)
    if not summary["snapshots"] and not interrupted:
        raise PolymirrorError(
            f"no whole book was found in {recording.name}, so nothing was checked: {recording.describe()}. Give a "
            "recording of the market channel that begins with the books, one frame or event a line"
        )
    return 0


def _replay(replay: FrameReplay, recording: Recording, console: Console, *, quiet: bool) -> None:
    with progress_bar(console, quiet=quiet) as bar:
        task = bar.add_task(Path(recording.name).name, total=None)
        for number, line in enumerate(recording.lines(), 1):
            whole_step(replay.line, line)
            if number % REFRESH_EVERY == 0:
                said = f"{Path(recording.name).name}  {number:,} lines"
                bar.update(task, completed=recording.position, total=recording.total, description=said)


def print_summary(name: str, summary: dict[str, Any], console: Console) -> None:
    """Print what came of it, for 80 columns, with or without colour."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True)
    lines.add_column()
    if summary["interrupted"]:
        lines.add_row("interrupted", "this is about the part that was read")
    lines.add_row("frames", f"{summary['frames']:,}")
    lines.add_row("deltas", f"{summary['deltas']:,}")
    lines.add_row("whole books", f"{summary['snapshots']:,}")
    lines.add_row("tokens", f"{summary['tokens']:,}; at the end {states_line(summary['states'])}")
    left = summary["left_live"]
    style = "" if left else "green"
    lines.add_row("left LIVE", Text(counts_line(left) if left else "never", style=style))
    lines.add_row("ignored", f"{summary['ignored']:,}" + _named(summary["ignored_kinds"]))
    lines.add_row("malformed", f"{summary['malformed']:,}" + _named(summary["malformed_kinds"]))
    proofs = Table(box=None, pad_edge=False, padding=(0, 2))
    proofs.add_column("proofs")
    verdicts = ("match", "healed", "behind", "unverifiable", "mismatch")
    kinds = {
        "hash": "hash", "bbo": "bbo", "complement": "complement",
        "books": "resent_books", "invariants": "invariants",
    }  # fmt: skip
    for verdict in verdicts:
        proofs.add_column(verdict, justify="right")
    for title, key in kinds.items():
        counts = summary[key]
        proofs.add_row(title, *(f"{counts[each]:,}" if each in counts else "" for each in verdicts))
    console.print(Text(f"polymirror replay: {name}", style="bold"), soft_wrap=True)
    console.print()
    console.print(lines)
    console.print()
    console.print(proofs)


def _named(kinds: dict[str, int]) -> str:
    return f" ({counts_line(kinds)})" if kinds else ""
