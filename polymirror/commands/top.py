"""``polymirror top``: a mirror that runs elsewhere, by its status server, as ``watch`` shows one that runs here.

On a terminal a picture with keys, on a pipe snapshots, with ``--json`` an object each.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
from attrs import asdict, define, field
from rich.text import Text

from polymirror.commands.ending import run_loop
from polymirror.commands.keys import Navigation, pressed_keys
from polymirror.commands.ladder import ladder_picture
from polymirror.commands.remote import BOOK_INTERVAL, Remote
from polymirror.commands.screen import animate, is_live, make_console, print_json
from polymirror.commands.tables import Dashboard, Layout, books_table, dashboard, format_age, states_line
from polymirror.core.states import BookState
from polymirror.errors import ConfigError
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from polymirror.commands.keys import Key
    from polymirror.commands.ladder import Ladder
    from polymirror.commands.remote import Head
    from polymirror.commands.tables import BookRow

MAX_HEAD = 500
"""Characters of the first lines: what the other side wrote."""

SNAPSHOT_ROWS = 40
"""Books that a snapshot on a pipe shows, the worst ones."""


@define
class Session:
    """What is looked at, and how."""

    remote: Remote
    url: str
    seconds: float | None
    every: float
    console: Console
    navigation: Navigation = field(factory=Navigation)
    ladder: Ladder | None = None


def run_top(url: str, *, seconds: float | None, once: bool, every: float, json: bool) -> int:
    """Look until the time is over or Ctrl-C; return the exit code. Raises ConfigError if nobody answers at first."""
    address = url if "://" in url else f"http://{url}"
    with suppress(KeyboardInterrupt):
        return run_loop(_top(f"{address.rstrip('/')}/", seconds=seconds, once=once, every=every, json=json))
    return 0


async def _top(url: str, *, seconds: float | None, once: bool, every: float, json: bool) -> int:
    try:
        client = httpx.AsyncClient(base_url=url, trust_env=False)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError("URL", url, "the address of a mirror's status server") from error
    async with client, asyncio.TaskGroup() as group:
        remote = Remote(client)
        session = Session(remote, url, seconds, every, make_console())
        following = group.create_task(remote.follow(), name="top follow")
        try:
            await remote.told.wait()
            if remote.head is None:
                raise ConfigError("URL", url, f"where a mirror serves its status: {remote.trouble}")
            if once:
                _snapshot(session, remote.head, json=json)
                return 0 if all(row.state in _CALM for row in remote.rows("trouble")) else 1
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    live = not json and is_live(session.console)
                    await (_show(session) if live else _print_all(session, json=json))
        finally:
            following.cancel()
    return 0


_CALM = frozenset({BookState.LIVE, BookState.RETIRED})


# ---- Snapshots -----------------------------------------------------------------------------------------


async def _print_all(session: Session, *, json: bool) -> None:
    while True:
        if session.remote.head is not None:
            _snapshot(session, session.remote.head, json=json)
        await asyncio.sleep(session.every)


def _snapshot(session: Session, head: Head, *, json: bool) -> None:
    """Print how it is now."""
    remote, console = session.remote, session.console
    rows = remote.rows("trouble")
    if json:
        lost = {"silence": round(remote.silence, 1), "trouble": remote.trouble} if remote.is_lost else None
        print_json({"lost": lost, "head": head, "books": [_plain(row) for row in rows]})
        return
    console.print(harmless(f"{head.title}: {_how_it_is(remote, head)}", MAX_HEAD), soft_wrap=True)
    if not remote.is_lost:
        console.print(books_table(rows, min(len(rows), SNAPSHOT_ROWS) + 3, console.width))


def _plain(row: BookRow) -> dict[str, Any]:
    return asdict(row) | {"state": row.state.name, "reason": row.reason.name}


# ---- The picture ---------------------------------------------------------------------------------------


async def _show(session: Session) -> None:
    navigation, over, drawn = session.navigation, asyncio.Event(), asyncio.Event()

    def press(key: Key) -> None:
        rows = session.remote.rows(navigation.sort, navigation.find)
        navigation.press(key, [row.token for row in rows])
        if navigation.book is None:
            session.ladder = None
        asked.set()
        drawn.set()
        if navigation.over:
            over.set()

    asked = asyncio.Event()
    with pressed_keys(press) as keys:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(animate(session.console, lambda *size: _draw(session, *size, keys=keys), drawn)),
                group.create_task(_ask_depth(session, asked, drawn)),
            ]
            await over.wait()
            for task in tasks:
                task.cancel()


async def _ask_depth(session: Session, asked: asyncio.Event, drawn: asyncio.Event) -> None:
    """Ask for the depth of the book that is looked at, again and again."""
    while True:
        token = session.navigation.book
        if token is not None:
            found = await session.remote.ladder(token)
            if token == session.navigation.book:
                session.ladder = found
                drawn.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(BOOK_INTERVAL):
                await asked.wait()
        asked.clear()


def _draw(session: Session, width: int, height: int, *, keys: bool) -> RenderableType:
    navigation, remote = session.navigation, session.remote
    if remote.head is None:
        return Text(remote.trouble)
    picture = _picture(session, remote.head, keys=keys)
    navigation.page = Layout.of(picture, height).page
    ladder = session.ladder
    if remote.is_lost:
        # What is old must not look like what is calm.
        return dashboard(picture, width, height, lambda _room: Text("what was told before is old, and not shown"))
    if navigation.book is None or ladder is None:
        return dashboard(picture, width, height)
    return dashboard(picture, width, height, lambda room: ladder_picture(ladder, room, width))


def _picture(session: Session, head: Head, *, keys: bool) -> Dashboard:
    navigation, remote = session.navigation, session.remote
    granted, refused = head.reads
    rate = "" if head.rate is None else f"frames {head.rate:,.0f}/s   "
    counts = f"{rate}reads {granted:,}   refused {refused:,}"
    return Dashboard(
        title=harmless(f"polymirror top  {head.title}  {session.url}", MAX_HEAD),
        status=harmless(_how_it_is(remote, head), MAX_HEAD),
        elapsed=head.at - head.began,
        total=None,
        rows=[] if remote.is_lost else remote.rows(navigation.sort, navigation.find),
        moments=tuple(remote.moments),
        first=navigation.first,
        footer=[
            Text(navigation.hint if keys else "Ctrl-C ends", style="dim", no_wrap=True, overflow="ellipsis"),
            Text(counts, no_wrap=True, overflow="ellipsis"),
        ],
    )


def _how_it_is(remote: Remote, head: Head) -> str:
    """Say how all is in a line: what is wrong comes first."""
    if remote.is_lost:
        return f"NO NEWS for {remote.silence:.0f} s: {remote.trouble or 'it does not answer'}"
    if not head.running:
        return "the mirror has stopped"
    wrong = [*head.problems, *(f"socket {number} is closed: {why}" for number, why in head.closed)]
    wrong += [f"{name} is not found yet: {why}" for name, why in head.missing]
    if wrong:
        return "; ".join(wrong)
    told = [states_line({name: count for name, count in head.states.items() if count})]
    if head.oldest is not None:
        told.append(f"oldest proof {format_age(head.oldest)}")
    if head.clock is not None:
        told.append(f"clock ±{format_age(head.clock / 2)}")
    told.append(f"{head.sockets - head.closed_count} of {head.sockets} sockets open")
    return ", ".join(told)
