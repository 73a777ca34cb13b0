"""``polymirror watch``: a mirror on the real venue (or any other), shown until it is stopped.

On a terminal a picture with keys, on a pipe a line for each transition, with ``--json`` an object a line.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from rich.text import Text

from polymirror.commands.books import Watched
from polymirror.commands.ending import run_loop
from polymirror.commands.keys import Navigation, pressed_keys
from polymirror.commands.ladder import ladder_picture
from polymirror.commands.screen import OneLine, animate, is_live, kept_warnings, make_console, print_json
from polymirror.commands.tables import (
    Dashboard,
    Layout,
    books_table,
    clock,
    counts_line,
    dashboard,
    states_line,
    words,
)
from polymirror.errors import ConfigError, MarketNotFound, NotLive
from polymirror.harmless import harmless
from polymirror.mirror import Mirror
from polymirror.serving.addresses import authority, read_address
from polymirror.venue.pages import slug_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, RenderableType

    from polymirror.commands.keys import Key
    from polymirror.commands.ladder import Ladder
    from polymirror.commands.tables import BookRow
    from polymirror.config import Endpoints
    from polymirror.core.events import Transition

TOKEN_ID: Final = re.compile(r"[0-9]{1,80}", re.ASCII)

FIRST_LIVE: Final = 15.0
"""Seconds that ``--once`` waits for all books to be LIVE."""

PROGRESS_INTERVAL: Final = 5.0
"""Seconds between two lines of progress where there is no picture."""

TELL_INTERVAL: Final = 0.25
"""Seconds between two looks for what is to be told on a pipe."""

MAX_HEARD: Final = 10_000
"""Transitions that wait to be told; more of them are counted."""

MAX_MISSING: Final = 3
"""Markets that are named in a line as not found yet."""

MAX_HEAD: Final = 500
"""Characters of the first lines of a picture: names and troubles that the venue worded."""

ONCE_LEVELS: Final = 20
"""Levels of each side that ``--once`` prints of a book."""


@define
class Session:
    """What is watched and how, and what was seen at the end."""

    slugs: tuple[str, ...]
    tokens: tuple[str, ...]
    seconds: float | None
    once: bool
    json: bool
    book: str | None
    console: Console
    http: tuple[str, int] | None = None
    """Where the status is served; None: nowhere."""
    names: tuple[str, ...] = ()
    """Other names by which that may be called."""
    incidents: str | None = None
    """The folder for what led to losses of trust; None: it is not kept."""
    page: str = ""
    """The address of its page, once it is served."""
    navigation: Navigation = field(factory=Navigation)
    result: dict[str, Any] = field(factory=dict)
    rows: list[BookRow] = field(factory=list)
    ladder: Ladder | None = None
    calm: bool = False


def split_arguments(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return slugs and token ids: an argument of digits only is a token. Raises ConfigError for what is neither."""
    tokens = tuple(each for each in arguments if TOKEN_ID.fullmatch(each))
    return tuple(slug_of(each) for each in arguments if each not in tokens), tokens


def run_watch(
    arguments: Sequence[str],
    endpoints: Endpoints,
    *,
    seconds: float | None,
    once: bool,
    json: bool,
    book: str | None = None,
    http: str | None = None,
    names: Sequence[str] = (),
    incidents: str | None = None,
) -> int:
    """Watch until the time is over or Ctrl-C; return the exit code. Raises what the mirror raises at its start."""
    slugs, tokens = split_arguments(arguments)
    if once and http is not None:
        raise ConfigError("--http", http, "given only without --once")
    console = make_console()
    address = None if http is None else read_address("--http", http)
    session = Session(slugs, tokens, seconds, once, json, book, console, address, tuple(names), incidents)
    live = not json and not once and is_live(console)
    if not live and not once:
        shown = logging.StreamHandler()
        shown.setFormatter(OneLine())
        logging.basicConfig(handlers=[shown], level=logging.WARNING)
    with kept_warnings() if live or once else nullcontext(), suppress(KeyboardInterrupt):
        run_loop(_watch(session, endpoints, live=live))
    if json and session.result:
        print_json(session.result if once else {"type": "summary"} | session.result)
    elif session.ladder is not None:
        console.print(ladder_picture(session.ladder, 2 * ONCE_LEVELS + 3, console.width))
    elif session.rows:
        console.print(books_table(session.rows, len(session.rows) + 3, console.width))
    return 0 if session.calm or not once else 1


async def _watch(session: Session, endpoints: Endpoints, *, live: bool) -> None:
    mirror = Mirror(slugs=session.slugs, tokens=session.tokens, endpoints=endpoints, incidents=session.incidents)
    heard: deque[tuple[Transition, float]] = deque(maxlen=MAX_HEARD)
    # Before the start, so that nothing is missed.
    watched = Watched(mirror, lambda *transition: heard.append(transition))
    async with mirror:
        try:
            if session.once:
                for why in mirror.missing.values():
                    raise MarketNotFound(why)
                with suppress(NotLive):
                    await mirror.wait_live(timeout=min(FIRST_LIVE, session.seconds or FIRST_LIVE))
                return
            await _serve(session, mirror)
            with suppress(TimeoutError):
                async with asyncio.timeout(session.seconds):
                    await (_show(session, watched, mirror) if live else _tell_all(session, watched, mirror, heard))
        finally:
            # Before the mirror stops: stopping it ends every connection, and with them the trust.
            watched.close()
            session.calm, session.rows = watched.calm(), watched.rows()
            session.result = _sum_up(watched, mirror)
            if session.book is not None and (token := watched.find(session.book)):
                session.ladder = watched.ladder(token)


async def _serve(session: Session, mirror: Mirror) -> None:
    """Serve the status, if that is wanted, and tell where."""
    if session.http is None:
        return
    host, port = session.http
    try:
        server = await mirror.serve_status(host, port, names=session.names, title="polymirror watch")
    except OSError as error:
        allowed = f"an address that can be had: {error.strerror or error}"
        raise ConfigError("--http", authority(host, port), allowed) from error
    session.page = server.url
    if session.json:
        print_json({"type": "page", "url": server.url})
    elif not is_live(session.console):
        session.console.print(f"the page is at {server.url}", soft_wrap=True)


# ---- Lines ---------------------------------------------------------------------------------------------


async def _tell_all(session: Session, watched: Watched, mirror: Mirror, heard: deque[tuple[Transition, float]]) -> None:
    """Tell every transition, and now and then how it is, or with ``--json`` each book that changed."""
    books: dict[str, dict[str, Any]] = {}
    told, due = 0, PROGRESS_INTERVAL
    try:
        while True:
            told = _tell_heard(session, watched, heard, told)
            if session.json:
                _stream_changes(watched, books)
            elif watched.elapsed >= due:
                due = watched.elapsed + PROGRESS_INTERVAL
                line = f"{_date(time.time())}  {_books(watched.states(), mirror)}; {watched.transitions} transitions"
                session.console.print(line, soft_wrap=True)
            await asyncio.sleep(TELL_INTERVAL)
    except asyncio.CancelledError:
        _tell_heard(session, watched, heard, told)
        raise


def _tell_heard(session: Session, watched: Watched, heard: deque[tuple[Transition, float]], told: int) -> int:
    """Tell what was heard since; return how many transitions there were until now.

    Not done where it is heard: an output that is lost must end the command, and no callback can.
    """
    missed = watched.transitions - told - len(heard)
    if missed:
        _tell_missed(session, missed)
    while heard:
        _tell_transition(session, watched, *heard.popleft())
    return watched.transitions


def _books(states: Mapping[str, int], mirror: Mirror) -> str:
    """How many books are in which state, and what is not found yet."""
    missing = list(mirror.missing)
    named = f"{harmless(', '.join(missing[:MAX_MISSING]), MAX_HEAD)}{' and more' if len(missing) > MAX_MISSING else ''}"
    return (states_line(states) if states else "no books yet") + (f"; not found yet: {named}" if missing else "")


def _tell_missed(session: Session, count: int) -> None:
    if session.json:
        print_json({"type": "missed", "at": _iso(time.time()), "transitions": count})
    else:
        session.console.print(f"{_date(time.time())}  {count} transitions more than can be told", soft_wrap=True)


def _tell_transition(session: Session, watched: Watched, transition: Transition, at: float) -> None:
    name = watched.name(transition.token)
    if not session.json:
        detail = f" ({harmless(transition.detail)})" if transition.detail else ""
        moved = f"{transition.old.name} -> {transition.new.name}, {words(transition.reason)}{detail}"
        session.console.print(f"{_date(at)}  {name}: {moved}", soft_wrap=True)
        return
    print_json(
        {
            "type": "transition",
            "at": _iso(at),
            "token": transition.token,
            "name": name,
            "old": transition.old.name,
            "new": transition.new.name,
            "reason": transition.reason.name,
            "detail": transition.detail,
            "epoch": transition.epoch,
        }
    )


def _stream_changes(watched: Watched, told: dict[str, dict[str, Any]]) -> None:
    """Print each book whose state or top changed since it was printed last."""
    at = _iso(time.time())
    for book in watched.describe():
        seen = {name: value for name, value in book.items() if name not in {"verified_age_ms", "last_proof"}}
        if told.get(book["token"]) != seen:
            told[book["token"]] = seen
            print_json({"type": "book", "at": at} | book)


def _iso(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _date(unix_seconds: float) -> str:
    day = datetime.fromtimestamp(unix_seconds)  # noqa: DTZ006 - as this machine's clock shows it
    return f"{day:%Y-%m-%d} {clock(unix_seconds)}"


# ---- The picture ---------------------------------------------------------------------------------------


async def _show(session: Session, watched: Watched, mirror: Mirror) -> None:
    navigation, over, drawn = session.navigation, asyncio.Event(), asyncio.Event()

    def press(key: Key) -> None:
        navigation.press(key, [row.token for row in watched.rows(navigation.sort, navigation.find)])
        session.book = None
        drawn.set()
        if navigation.over:
            over.set()

    with pressed_keys(press) as keys:
        async with asyncio.TaskGroup() as group:
            picture = animate(
                session.console, lambda *size: _draw(session, watched, mirror, *size, keys=keys), wake=drawn
            )
            shown = group.create_task(picture, name="watch picture")
            await over.wait()
            shown.cancel()


def _draw(session: Session, watched: Watched, mirror: Mirror, width: int, height: int, *, keys: bool) -> RenderableType:
    navigation = session.navigation
    if session.book is not None:
        navigation.book = watched.find(session.book)
    picture = _picture(session, watched, mirror, keys=keys)
    navigation.page = Layout.of(picture, height).page
    ladder = None if navigation.book is None else watched.ladder(navigation.book)
    if ladder is None:
        return dashboard(picture, width, height)
    return dashboard(picture, width, height, lambda room: ladder_picture(ladder, room, width))


def _picture(session: Session, watched: Watched, mirror: Mirror, *, keys: bool) -> Dashboard:
    status, navigation = mirror.status(), session.navigation
    totals, known = status.totals, status.clock.uncertainty
    open_sockets = sum(socket.is_open for socket in status.sockets)
    # What keeps a market or the venue away comes before how the rest is.
    trouble = [*list(mirror.missing.values())[:1], *([status.trouble] if status.trouble else [])]
    told = [_books(totals.states, mirror), f"{open_sockets} open socket{'' if open_sockets == 1 else 's'}"]
    if known is not None:
        told.append(f"venue clock known to {known * 1000:.0f} ms")
    hint = navigation.hint if keys else "Ctrl-C ends"
    if session.page and not navigation.typing:
        hint += f"  {session.page}"
    frames = f"frames {totals.frames:,}   malformed {sum(totals.malformed.values()):,}"
    names = " ".join(market.slug for market in mirror.markets) or " ".join((*session.slugs, *session.tokens))
    return Dashboard(
        title=harmless(f"polymirror watch  {names}", MAX_HEAD),
        status=harmless("; ".join(trouble) or ", ".join(told), MAX_HEAD),
        elapsed=watched.elapsed,
        total=session.seconds,
        rows=watched.rows(navigation.sort, navigation.find),
        moments=tuple(watched.moments),
        first=navigation.first,
        footer=[
            Text(hint, style="dim", no_wrap=True, overflow="ellipsis"),
            Text(f"{frames}   resyncs {counts_line(totals.resyncs)}", no_wrap=True, overflow="ellipsis"),
            Text(f"proofs {counts_line(totals.verdicts)}", style="dim", no_wrap=True, overflow="ellipsis"),
        ],
    )


def _sum_up(watched: Watched, mirror: Mirror) -> dict[str, Any]:
    status = mirror.status()
    totals, states = status.totals, status.totals.states
    return {
        "seconds": round(watched.elapsed, 1),
        "seed": status.seed,
        "markets": [market.slug for market in mirror.markets],
        "missing": mirror.missing,
        "tokens": len(mirror.tokens),
        "live": states.get("LIVE", 0),
        "retired": states.get("RETIRED", 0),
        "states": dict(states),
        "books": watched.describe(),
        "transitions": watched.transitions,
        "resyncs": dict(totals.resyncs),
        "proofs": totals.proofs,
        "frames": totals.frames,
        "ignored": sum(totals.ignored.values()),
        "malformed": sum(totals.malformed.values()),
    }
