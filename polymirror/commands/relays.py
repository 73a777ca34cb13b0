"""``polymirror relay``: a mirror whose books others read, until it is stopped."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from polymirror.commands.ending import run_loop
from polymirror.commands.screen import kept_warnings, make_console, print_json
from polymirror.commands.tables import states_line
from polymirror.commands.watch import split_arguments
from polymirror.config import EngineConfig, MirrorConfig, NatsConfig
from polymirror.errors import ConfigError
from polymirror.harmless import harmless
from polymirror.mirror import Mirror
from polymirror.relay.broker.subjects import split
from polymirror.serving.addresses import authority, read_address

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from rich.console import Console

    from polymirror.config import Endpoints
    from polymirror.relay.broker.server import BrokerRelay
    from polymirror.relay.server import RelayServer

LINE_SECONDS: Final = 5.0
"""Seconds between two lines of progress on a pipe."""

DRAW_SECONDS: Final = 0.5
"""The same for the line that changes on a terminal."""

MAX_TOLD: Final = 10
"""Warnings that are told at once."""

NAME_ROOM: Final = 40
"""Characters of the names of what is not found yet."""


def run_relay(
    arguments: Sequence[str],
    endpoints: Endpoints,
    *,
    http: str,
    names: Sequence[str],
    nats: str | None,
    seconds: float | None,
    json: bool,
) -> int:
    """Relay until the time is over or Ctrl-C; return the exit code: 1 if no book was LIVE at the end.

    Raises what the mirror and the server raise at their start.
    """
    slugs, tokens = split_arguments(arguments)
    host, port = read_address("--http", http)
    broker = None if nats is None else split("--nats", nats, allow_plain=endpoints.allow_plain)
    # A consumer that is far away would wait for the second token's hash after each change.
    config = MirrorConfig(engine=EngineConfig(prove_both_hashes=True))
    mirror = Mirror(slugs=slugs, tokens=tokens, endpoints=endpoints, config=config)
    console, result = make_console(), dict[str, Any]()
    with kept_warnings() as warnings, suppress(KeyboardInterrupt):
        run_loop(
            _relay(
                mirror, console, result, seconds, warnings,
                address=(host, port), names=names, broker=broker, quiet=json,
            )
        )  # fmt: skip
    if json:
        print_json(result | {"warnings": list(warnings)})
    return 0 if result.get("states", {}).get("LIVE") else 1


async def _relay(
    mirror: Mirror,
    console: Console,
    result: dict[str, Any],
    seconds: float | None,
    warnings: deque[str],
    *,
    address: tuple[str, int],
    names: Sequence[str],
    broker: tuple[str, str] | None,
    quiet: bool,
) -> None:
    moves = console.is_terminal and not console.is_dumb_terminal and not quiet
    async with mirror:
        try:
            relay = await mirror.serve_relay(*address, names=names)
        except OSError as error:
            allowed = f"an address that can be had: {error.strerror or error}"
            raise ConfigError("--http", authority(*address), allowed) from error
        told = None
        if broker is not None:
            server, name = broker
            plain = mirror.config.endpoints.allow_plain
            access = NatsConfig.from_environment(os.environ)
            told = await mirror.serve_relay_nats(server, name=name, access=access, allow_plain=plain)
        if not quiet:
            console.print(f"relaying at {relay.url}{'' if told is None else ' and ' + told.url}", highlight=False)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    with console.status("relaying") if moves else nullcontext() as status:
                        while True:
                            await asyncio.sleep(DRAW_SECONDS if moves else LINE_SECONDS)
                            line = _line(mirror, relay, told)
                            if status is not None:
                                status.update(line)
                            elif not quiet:
                                console.print(line, soft_wrap=True, highlight=False)
                            if not quiet:
                                _print_warnings(warnings, console)
        finally:
            result |= {
                "url": relay.url, "markets": [market.slug for market in mirror.markets], "missing": mirror.missing,
                "states": dict(mirror.status().totals.states), "consumers": relay.consumers,
                "broker": told and {"url": told.url, "connected": told.connected, "books": told.tokens},
            }  # fmt: skip


def _line(mirror: Mirror, relay: RelayServer, told: BrokerRelay | None) -> str:
    noun = "consumer" if relay.consumers == 1 else "consumers"
    broker = (
        "" if told is None else f", {told.tokens} books at the broker{'' if told.connected else ' (not connected)'}"
    )
    missing = f", not found yet: {harmless(', '.join(mirror.missing), NAME_ROOM)}" if mirror.missing else ""
    return f"{relay.consumers} {noun}{broker}; {states_line(mirror.status().totals.states)}{missing}"


def _print_warnings(warnings: deque[str], console: Console) -> None:
    for warning in list(warnings)[-MAX_TOLD:]:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    warnings.clear()
