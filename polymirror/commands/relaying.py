"""The command for relays and its options. Options only, as in :mod:`polymirror.commands.app`, which has it."""

from __future__ import annotations

from typing import Annotated

import typer

from polymirror.commands.options import Clob, Gamma, Json, Plain, Stream, Venue, choose_endpoints

CONSUMERS = "For consumers"


def relay(
    what: Annotated[
        list[str], typer.Argument(metavar="SLUG|TOKEN", help="Market slugs or pages, or token ids (digits).")
    ],
    *,
    http: Annotated[
        str, typer.Option(metavar="[HOST:]PORT", help="Where to serve; port 0 is any.", rich_help_panel=CONSUMERS)
    ] = "127.0.0.1:8801",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of that server; may be repeated.", rich_help_panel=CONSUMERS),
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Tell a NATS server, too: nats://HOST:PORT/NAME.", rich_help_panel=CONSUMERS),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Stop after this long. [default: Ctrl-C]")
    ] = None,
    json: Json = False,
    venue: Venue = None,
    stream: Stream = None,
    clob: Clob = None,
    gamma: Gamma = None,
    allow_plain: Plain = False,
) -> None:
    """Mirror markets and serve their books to other processes: over a WebSocket, and as plain REST.

    What is not LIVE is refused there as it is here. A RemoteMirror in Python follows them, or a client of any language.
    Who we are to a NATS server is in NATS_CREDS, NATS_USER and NATS_PASSWORD, or NATS_TOKEN.
    """
    from polymirror.commands.relays import run_relay  # noqa: PLC0415 - startup

    endpoints = choose_endpoints(venue, stream, clob, gamma, allow_plain=allow_plain)
    code = run_relay(what, endpoints, http=http, names=allow_host or (), nats=nats, seconds=seconds, json=json)
    raise typer.Exit(code)
