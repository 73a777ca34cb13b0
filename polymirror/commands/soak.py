"""``polymirror torture --sockets``: a soak over real sockets on the loopback interface, and what it showed."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from polymirror.commands.ending import run_loop
from polymirror.commands.screen import clock_bar, kept_warnings, make_console, print_json
from polymirror.torture.sockets import Soak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

SEED_BITS = 32


def run_soak(*, seconds: float, seed: int | None, tokens: int, faults: Sequence[str], json: bool) -> int:
    """Run the soak; return 0 if no promise was broken, else 1."""
    soak = Soak(seconds, secrets.randbits(SEED_BITS) if seed is None else seed, tokens, tuple(faults))
    console = make_console()
    interrupted = True
    # What goes wrong is wanted here: the mirror's warnings about it are not.
    with kept_warnings(), suppress(KeyboardInterrupt):
        run_loop(_run(soak, None if json else console))
        interrupted = False
    summary = {"seed": soak.seed, "tokens": tokens, "interrupted": interrupted} | soak.tally.as_dict()
    if json:
        print_json(summary)
    else:
        _show(console, summary)
    return 1 if soak.tally.violations else 0


async def _run(soak: Soak, console: Console | None) -> None:
    if console is None:
        async for _ in soak.run():
            pass
        return
    console.print(f"polymirror torture over sockets: {soak.tokens} books, {soak.seconds:g} s, seed {soak.seed}")
    # Told by the clock, and drawn by a thread: a timer of this loop would look like one that is left behind.
    with clock_bar(console, "torture", soak.seconds):
        async for tally in soak.run():
            console.print(
                f"{tally.seconds:6.0f} s  round {tally.rounds}; reads {tally.reads:,}, refused {tally.refused:,}, "
                f"wrong {tally.wrong:,}; {tally.violations} violations"
            )


def _show(console: Console, summary: dict[str, Any]) -> None:
    for violation in summary["violation_list"]:
        about = f"{violation['token']} " if violation["token"] else ""
        text = f"broken: {violation['promise']}: {about}{violation['detail']}"
        console.print(text, soft_wrap=True)
    heal, growth = summary["recover_seconds"], summary["memory_growth_kb"]
    console.print(
        f"\n{summary['rounds']} rounds, {summary['seconds']:g} s, {summary['toxics_injected']:,} toxics, "
        f"{summary['faults_injected']:,} faults, {summary['stalls']} stalls\n"
        f"{summary['reads']:,} reads, {summary['refused_reads']:,} refused, {summary['wrong_live_reads']:,} wrong\n"
        f"wrong by what cannot be known: "
        f"{', '.join(f'{name} {count:,}' for name, count in summary['unknowable'].items())}\n"
        f"books were LIVE again after p50 {heal.get('p50', 0):g} s, p99 {heal.get('p99', 0):g} s of calm; "
        f"the slowest stop took {summary['shutdown_seconds']['max']:g} s\n"
        f"left behind: {summary['leaked_tasks']} tasks, {summary['leaked_fds']} descriptors, "
        f"{summary['leaked_timers']} timers, "
        f"{'too few rounds to tell the memory' if growth is None else f'{growth:g} KiB'}\n"
        f"{summary['violations']} violations"
    )
