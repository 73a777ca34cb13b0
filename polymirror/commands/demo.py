"""``polymirror demo``: an embedded exchange, a mirror on it, faults in between, and a judge.

Runs everything in one event loop. The faults are in :mod:`polymirror.commands.mishaps`, the judge in
:mod:`polymirror.commands.reads`, the pictures in :mod:`polymirror.commands.tables`, the closing summary in
:mod:`polymirror.commands.outcome`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from polymirror.commands.books import Watched
from polymirror.commands.ending import run_loop
from polymirror.commands.mishaps import calm_from, make_mishaps
from polymirror.commands.outcome import Run, print_summary
from polymirror.commands.reads import Reads
from polymirror.commands.screen import animate, is_live, kept_warnings, make_console, print_json
from polymirror.commands.tables import Dashboard, counts_line, dashboard, format_age, states_line
from polymirror.config import EngineConfig, MirrorConfig
from polymirror.core.states import BookState
from polymirror.mirror import Mirror
from polymirror.simulator.server import Simulator
from polymirror.simulator.settings import ExchangeConfig, FlowConfig

if TYPE_CHECKING:
    from rich.console import Console

READ_INTERVAL: Final = 0.02
"""Every book is read this often, in seconds."""

MAX_TOTAL_RATE: Final = 240.0
"""Batches a second over all markets: what an exchange and a mirror in one process carry with ease."""

RATE: Final = 20.0
TOKENS_PER_SOCKET: Final = 4
PATIENCE: Final = 8.0
"""Seconds that a book may take beyond the end to come back."""

PROGRESS_INTERVAL: Final = 5.0
"""Seconds between two lines of progress where there is no picture."""

SETTLE_AT: Final = 0.55
"""The share of the run after which the last market is settled, if there are several."""


def run_demo(*, seconds: float, seed: int | None, tokens: int, json: bool) -> int:
    """Run the demo and print its summary; return the exit code."""
    run = Run(seconds, secrets.randbits(16) if seed is None else seed, (tokens + 1) // 2, json)
    console = make_console()
    with kept_warnings(), suppress(KeyboardInterrupt):
        run_loop(_play(run, console))
    if not run.result:
        return run.code
    if json:
        print_json(run.result)
    else:
        print_summary(run, console)
    return run.code


async def _play(run: Run, console: Console) -> None:
    now_ms = int(time.time() * 1000)
    rate = min(RATE, MAX_TOTAL_RATE / run.markets)
    config = ExchangeConfig(seed=run.seed, markets=run.markets, flow=FlowConfig(rate=rate))
    venue = Simulator(config=config)
    venue.line.faults = make_mishaps(venue.exchange, now_ms, run.seconds, rate, run.seed)
    settings = MirrorConfig(engine=EngineConfig(tokens_per_socket=TOKENS_PER_SOCKET), seed=run.seed)
    async with venue:
        mirror = Mirror(slugs=venue.slugs, config=settings, endpoints=venue.endpoints)
        # Before the start, so that no transition is missed.
        watched = Watched(mirror)
        async with mirror:
            await _judge(run, console, venue, mirror, watched)


async def _judge(run: Run, console: Console, venue: Simulator, mirror: Mirror, watched: Watched) -> None:
    reads = Reads(mirror, venue)
    try:
        async with asyncio.TaskGroup() as group:
            if not run.json and is_live(console):
                work = animate(console, lambda *size: dashboard(_picture(run, watched, reads, mirror), *size))
            elif not run.json:
                work = _tell_progress(run, console, watched, reads)
            else:
                work = asyncio.sleep(0)
            shown = group.create_task(work, name="demo picture")
            await _read_all(run, venue, mirror, watched, reads)
            shown.cancel()
        run.finished = True
    finally:
        # Before the mirror stops: stopping it ends every connection, and with them the trust.
        watched.close()
        run.result = _sum_up(run, venue, mirror, watched, reads)
        run.restless, run.examples = watched.restless(), reads.examples


async def _read_all(run: Run, venue: Simulator, mirror: Mirror, watched: Watched, reads: Reads) -> None:
    """Read every book in short intervals until the time is over and the books have recovered."""
    settle_at = run.seconds * SETTLE_AT if run.markets > 2 else float("inf")  # noqa: PLR2004 - keep two
    due = mirror.now()
    while True:
        elapsed = watched.elapsed
        if elapsed >= settle_at:
            settle_at = float("inf")
            venue.exchange.settle(venue.slugs[-1], resolve_delay_ms=int(run.seconds * 30))
        if elapsed >= run.seconds and (watched.calm() or elapsed >= run.seconds + PATIENCE):
            return
        for token in mirror.tokens:
            if mirror.engine.peek_state(token) is not BookState.RETIRED:
                reads.read(token)
        due = max(due + READ_INTERVAL, mirror.now() + READ_INTERVAL / 4)
        await asyncio.sleep(due - mirror.now())
        reads.stalled(mirror.now() - due)


def _sum_up(run: Run, venue: Simulator, mirror: Mirror, watched: Watched, reads: Reads) -> dict[str, Any]:
    totals = mirror.status().totals
    states = totals.states

    def in_ms(share: float) -> float | None:
        age = reads.ages.quantile(share)
        return None if age is None else round(age * 1000, 1)

    return {
        "seconds": round(watched.elapsed, 1),
        "seed": run.seed,
        "interrupted": not run.finished,
        "tokens": len(mirror.tokens),
        "live": states.get("LIVE", 0),
        "retired": states.get("RETIRED", 0),
        "states": dict(states),
        "reads": reads.granted,
        "refused_reads": reads.refused.total(),
        "refused": dict(sorted(reads.refused.items())),
        "wrong_live_reads": reads.wrong,
        "verified_age_ms": {"p50": in_ms(0.5), "p99": in_ms(0.99)},
        "transitions": watched.transitions,
        "resyncs": dict(totals.resyncs),
        "proofs": totals.proofs,
        "faults": {name: count for name, count in venue.line.injected.items() if count},
        "frames": totals.frames,
        "malformed": sum(totals.malformed.values()),
        "ignored": sum(totals.ignored.values()),
    }


def _picture(run: Run, watched: Watched, reads: Reads, mirror: Mirror) -> Dashboard:
    elapsed = watched.elapsed
    if elapsed >= run.seconds:
        status = "waiting for the last book to come back"
    elif elapsed >= calm_from(run.seconds):
        status = "the faults are over: every book should come back"
    else:
        status = "deltas lost, tokens frozen, sockets cut, garbage sent"
    return Dashboard(
        title=f"polymirror demo  seed {run.seed}",
        status=status,
        elapsed=elapsed,
        total=run.seconds,
        rows=watched.rows(),
        moments=tuple(watched.moments),
        footer=_footer(reads, mirror),
    )


def _footer(reads: Reads, mirror: Mirror) -> list[Text]:
    proofs = {kind: sum(verdicts.values()) for kind, verdicts in mirror.status().totals.proofs.items()}
    style = "bold red" if reads.wrong else "bold green"
    counts = Text.assemble(
        f"reads {reads.granted:,}   refused {reads.refused.total():,}   ", (f"wrong {reads.wrong:,}", style),
        no_wrap=True, overflow="ellipsis",
    )  # fmt: skip
    median = reads.ages.quantile(0.5)
    if median is not None:
        counts.append(f"   median proof age {format_age(median)}")
    ellipsis = Text(f"proofs {counts_line(proofs)}", style="dim", no_wrap=True, overflow="ellipsis")
    return [counts, ellipsis]


async def _tell_progress(run: Run, console: Console, watched: Watched, reads: Reads) -> None:
    """Say how it goes, a line now and then."""
    console.print(f"polymirror demo: {run.markets * 2} books, {run.seconds:g} s, seed {run.seed}")
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL)
        console.print(
            f"{watched.elapsed:6.0f} s  {states_line(watched.states())}; reads {reads.granted:,}, "
            f"refused {reads.refused.total():,}, wrong {reads.wrong:,}"
        )
