"""Options that several commands have, spelled once, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polymirror.config import Endpoints

WHERE = "Another venue"
SOAK = "Over real sockets"
WHO = "Accounts and orders"
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, nothing else.")]
Seed = Annotated[
    int | None, typer.Option(metavar="NUMBER", min=0, max=2**32 - 1, help="Repeat a run's choices. [default: drawn]")
]
Venue = Annotated[str | None, typer.Option(metavar="URL", help="A venue of 'polymirror serve'.", rich_help_panel=WHERE)]
Stream = Annotated[str | None, typer.Option(metavar="URL", help="The WebSocket.", rich_help_panel=WHERE)]
Clob = Annotated[str | None, typer.Option(metavar="URL", help="The order book service.", rich_help_panel=WHERE)]
Plain = Annotated[
    bool,
    typer.Option("--allow-plain", help="These may be on another machine and without TLS.", rich_help_panel=WHERE),
]
Gamma = Annotated[str | None, typer.Option(metavar="URL", help="The discovery service.", rich_help_panel=WHERE)]


def choose_endpoints(
    venue: str | None, stream: str | None, clob: str | None, gamma: str | None, *, allow_plain: bool = False
) -> Endpoints:
    """Put the endpoints together: the venue's own unless another is given. Raises ConfigError for a bad URL."""
    from attrs import evolve  # noqa: PLC0415 - startup

    from polymirror.config import Endpoints  # noqa: PLC0415 - startup

    given = {"stream": stream, "clob": clob, "gamma": gamma}
    chosen = {name: url.rstrip("/") for name, url in given.items() if url is not None}
    base = Endpoints() if venue is None else Endpoints.at(venue, allow_plain=allow_plain)
    return evolve(base, allow_plain=allow_plain, **chosen)
