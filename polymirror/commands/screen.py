"""Where the commands draw: a live picture on a terminal, plain lines everywhere else.

One place decides what a terminal is, so that pipes, ``TERM=dumb`` and ``--json`` never get a moving picture.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment

from polymirror.harmless import escaped, escaped_lines, harmless, harmless_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rich.console import ConsoleOptions, RenderableType

PICTURE_INTERVAL: Final = 0.125
"""Seconds between two pictures."""

MIN_WIDTH, MIN_HEIGHT = 36, 10
"""A smaller terminal gets plain lines."""

MAX_WARNINGS: Final = 100

MAX_LINE: Final = 500
"""Characters of one of them that are kept."""


class _Console(Console):
    """A console that shows text as it is: no markup is read in it, and what cannot be seen becomes an escape.

    Its broken pipe is raised, to be told like any other output that is lost.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Make what is drawn, also inside of something else: so that an escape has its place in a table."""
        for segment in super().render(renderable, options):
            text = segment.text
            good = segment.control or text == "\n" or text.isprintable()
            yield segment if good else Segment(escaped_lines(text), segment.style)

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called where the error is handled


def make_console() -> Console:
    """Make the console for what people read."""
    return _Console(highlight=False, markup=False, emoji=False)


def is_live(console: Console) -> bool:
    """Whether a moving picture can be drawn there."""
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and console.width >= MIN_WIDTH
        and console.height >= MIN_HEIGHT
    )


class _ClockBar(Progress):
    """A bar that moves by itself, as time passes."""

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            self.update(task.id, completed=min(task.elapsed or 0.0, task.total or 0.0))
        return super().get_renderables()


def progress_bar(console: Console, *, quiet: bool, kind: type[Progress] = Progress) -> Progress:
    """Make a bar with an estimate that leaves no trace; it shows nothing where no picture can be drawn."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    off = quiet or not console.is_terminal or console.is_dumb_terminal
    return kind(*columns, console=console, transient=True, disable=off)


def clock_bar(console: Console, what: str, seconds: float) -> Progress:
    """Make a bar for what takes a known time."""
    bar = progress_bar(console, quiet=False, kind=_ClockBar)
    bar.add_task(what, total=seconds)
    return bar


async def animate(
    console: Console, draw: Callable[[int, int], RenderableType], wake: asyncio.Event | None = None
) -> None:
    """Draw again and again, each time for the width and height there are, until cancelled; then leave no trace.

    ``wake`` is set by whoever wants the next picture at once.
    """
    wake = asyncio.Event() if wake is None else wake
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        while True:
            live.update(draw(*console.size), refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(PICTURE_INTERVAL):
                    await wake.wait()
            wake.clear()


def print_json(content: Mapping[str, object]) -> None:
    """Print one object on one line, as the last thing."""
    sys.stdout.write(escaped(msgspec.json.encode(content).decode()) + "\n")
    sys.stdout.flush()


class OneLine(logging.Formatter):
    """Makes one line of each record, and lines that begin with a space of an exception that it has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return what is shown."""
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        line = f"polymirror: {harmless(record.getMessage(), MAX_LINE)}"
        return f"{line}\n{harmless_trace(trace)}" if trace else line


class _Keeper(logging.Handler):
    """Keeps the newest warnings, and counts them all."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self.newest: deque[str] = deque(maxlen=MAX_WARNINGS)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.newest.append(harmless(record.getMessage(), MAX_LINE))


@contextmanager
def kept_warnings() -> Iterator[deque[str]]:
    """Keep the warnings of the library and of asyncio instead of printing them into a picture.

    Yields the newest, bounded.
    """
    keeper, logs = _Keeper(), [logging.getLogger(name) for name in ("polymirror", "asyncio")]
    before = [log.propagate for log in logs]
    for log in logs:
        log.addHandler(keeper)
        log.propagate = False
    try:
        yield keeper.newest
    finally:
        for log, propagate in zip(logs, before, strict=True):
            log.removeHandler(keeper)
            log.propagate = propagate
