"""The commands for recordings and their options: ``record``, ``journal check`` and ``replay``.

Options only, as in :mod:`polymirror.commands.app`, which has them among its commands.
"""

from __future__ import annotations

from typing import Annotated

import typer

from polymirror.commands.helping import Command, Group
from polymirror.commands.options import Clob, Gamma, Json, Plain, Stream, Venue, choose_endpoints

WHEN = "Of a journal"

From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="As 2026-11-30T12:00:00 (UTC), or Unix seconds.", rich_help_panel=WHEN),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="The same.", rich_help_panel=WHEN)]
Tokens = Annotated[
    list[str] | None, typer.Option(metavar="TOKEN", help="Only this one; may be repeated.", rich_help_panel=WHEN)
]

journal: typer.Typer = typer.Typer(
    name="journal", help="Look into a journal that 'record' or a mirror made.", cls=Group, no_args_is_help=True
)


def record(
    what: Annotated[
        list[str], typer.Argument(metavar="SLUG|TOKEN", help="Market slugs or pages, or token ids (digits).")
    ],
    *,
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder for the journal; made if it is not there.")],
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Stop after this long. [default: Ctrl-C]")
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(metavar="MIB", min=1, max=1e9, help="Delete the oldest files above so many MiB. [default: none]"),
    ] = None,
    incidents: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep what led to losses of trust there, for 'explain'.")
    ] = None,
    json: Json = False,
    venue: Venue = None,
    stream: Stream = None,
    clob: Clob = None,
    gamma: Gamma = None,
    allow_plain: Plain = False,
) -> None:
    """Mirror markets and record everything that was heard, to be replayed to the last bit.

    Exits with 1 if anything could not be recorded. Ctrl-C ends it and nothing is lost.
    """
    from polymirror.commands.journals import run_record  # noqa: PLC0415 - startup

    endpoints = choose_endpoints(venue, stream, clob, gamma, allow_plain=allow_plain)
    code = run_record(what, out, endpoints, seconds=seconds, keep=keep, json=json, incidents=incidents)
    raise typer.Exit(code)


@journal.callback()
def _journal() -> None:
    """Look into a journal that 'record' or a mirror made."""


@journal.command(cls=Command)
def check(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a journal, or one of its files.")],
    *,
    json: Json = False,
) -> None:
    """Replay a journal and say what it covers: gaps, seconds of each token, what hashes prove, the sums of its files.

    Exits with 1 if something is missing.
    """
    from polymirror.commands.journals import run_check  # noqa: PLC0415 - startup

    raise typer.Exit(run_check(folder, json=json))


@journal.command(cls=Command)
def export(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a journal, or one of its files.")],
    *,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="parquet, tardis or hftbacktest.")],
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder for what is written.")],
    start: From = None,
    until: Until = None,
    token: Tokens = None,
    json: Json = False,
) -> None:
    """Write a journal in another format: Parquet tables, tardis-style CSV, or events for hftbacktest."""
    from polymirror.commands.exports import run_export  # noqa: PLC0415 - startup

    raise typer.Exit(run_export(folder, to, out, start=start, until=until, tokens=tuple(token or ()), json=json))


def replay(
    file: Annotated[str, typer.Argument(metavar="FILE|DIR", help="A recording or a journal; - for standard input.")],
    *,
    speed: Annotated[
        str, typer.Option(metavar="NUMBER", help="1: as fast as it was, 10: ten times so; max: at once.")
    ] = "max",
    start: From = None,
    until: Until = None,
    token: Tokens = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve it as the venue's own WebSocket and REST, on this machine.")
    ] = False,
    port: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, max=65_535, help="The port to serve at; 0 for any free one.")
    ] = 0,
    json: Json = False,
) -> None:
    """Run a recording through the same engine that runs live, and count what it proved.

    A journal is a folder, or one of its files. Recordings of others are JSON Lines, plain or packed with gzip, zstd or
    bzip2, or a table in Parquet. One frame or event a line, as received or in an envelope: an object that has it under
    frame, raw, payload or data, and perhaps a time under recv_ms.

    Without any whole book nothing can be checked: that is a mistake, and the exit code is 2.
    """
    from polymirror.commands.replay import ReplayOptions, run_replay  # noqa: PLC0415 - startup

    options = ReplayOptions(
        name=file, speed=speed, start=start, until=until, tokens=tuple(token or ()), serve=serve, port=port, json=json
    )
    raise typer.Exit(run_replay(options))
