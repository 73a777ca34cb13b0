"""A mirror that runs elsewhere, by what its status server tells: its books as rows, its newest moves, one book's depth.

What comes is somebody else's text: it is read within bounds, and shown as text. Used by ``polymirror top``, as
:mod:`polymirror.commands.books` is where the mirror runs here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from polymirror.commands.books import MAX_MOMENTS, Named, arranged, name_books
from polymirror.commands.ladder import Ladder, spell_price, spell_size
from polymirror.commands.tables import NOTHING, BookRow, Moment
from polymirror.core.states import BookState, Reason
from polymirror.core.units import parse_price, parse_size
from polymirror.errors import PolymirrorError
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_LINE: Final = 16 * 2**20
"""Bytes of one message: 40,000 books."""

QUIET: Final = 4.0
"""Seconds without news after which what is shown is called old."""

AGAIN: Final = 2.0
"""Seconds between two attempts to reach it."""

BOOK_INTERVAL: Final = 0.5
"""Seconds between two questions about the book that is looked at."""

TIMEOUT: Final = httpx.Timeout(5.0, read=30.0)
"""Seconds; of a stream that says nothing for 30 the connection is lost."""

WINDOW: Final = re.compile(r"-updown-\d+[mh]-(\d{9,11})$")

Book = dict[str, Any]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of all books together: the fields of :mod:`polymirror.status.board` that are shown."""

    title: str
    began: float
    at: float
    running: bool
    states: dict[str, int]
    oldest: float | None
    clock: float | None
    sockets: int
    closed: list[tuple[int, str]]
    closed_count: int
    reads: tuple[int, int]
    rate: float | None
    missing: list[tuple[str, str]]
    problems: list[str]


class RemoteError(PolymirrorError):
    """The status server says nothing, or what it says cannot be read."""


class Remote:
    """Follows one status server while :meth:`follow` runs. ``client`` has its address."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._columns: tuple[str, ...] = ()
        # By key: the values of each book by their columns.
        self._books: dict[int, Book] = {}
        self._names: dict[str, str] = {}
        self._heard = float("-inf")
        self.head: Head | None = None
        """What was told of all books together; None before the first message."""
        self.trouble: str = ""
        """Why there is no news; empty: there is."""
        self.moments: deque[Moment] = deque(maxlen=MAX_MOMENTS)
        """Changes of state, as far as they could be seen from one message to the next."""
        self.told: asyncio.Event = asyncio.Event()
        """Set once anything was told, or the first attempt failed."""

    # ---- Hearing -----------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Hear what is told until cancelled; when the connection is lost, try again."""
        while True:
            try:
                async with self._client.stream("GET", "events", timeout=TIMEOUT) as answer:
                    await self._check(answer)
                    async for kind, text in _messages(answer):
                        self._take(msgspec.json.decode(text), whole=kind == b"whole")
                        self.trouble = ""
                        self.told.set()
                self.trouble = "it has stopped"
            except (httpx.HTTPError, httpx.InvalidURL, RemoteError) as error:
                self.trouble = harmless(error) or type(error).__name__
            except (msgspec.MsgspecError, TypeError, ValueError, LookupError, AttributeError):
                self.trouble = "what it says cannot be read: is it a mirror's, of this version?"
            self.told.set()
            await asyncio.sleep(AGAIN)

    async def _check(self, answer: httpx.Response) -> None:
        """Raise RemoteError for what is no mirror's stream of events."""
        if answer.status_code == httpx.codes.OK:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return
            raise RemoteError("it is no mirror; what a venue has is shown by 'polymirror watch --venue'")
        text = b""
        async for chunk in answer.aiter_bytes():
            text = (text + chunk)[:1_000]
        why = text.decode(errors="replace")
        with suppress(msgspec.MsgspecError, AttributeError):
            why = msgspec.json.decode(text).get("error", why)
        raise RemoteError(f"{answer.status_code}: {why}")

    def _take(self, message: dict[str, Any], *, whole: bool) -> None:
        if whole:
            self._books.clear()
            self._columns = tuple(message["columns"])
        elif not self._columns:
            raise RemoteError("what it says has no beginning")
        self.head, self._heard = msgspec.convert(message["head"], Head), time.monotonic()
        for key, (token, slug, outcome) in message["names"].items():
            self._books.setdefault(int(key), {}).update(token=token, slug=slug, outcome=outcome)
        if message["names"]:
            self._name()
        for key, *values in message["rows"]:
            book = self._books[key]
            before = book.get("state")
            book.update(zip(self._columns, values, strict=True))
            # Here, where what cannot be read is told, and not where it is drawn.
            row = self._row(book, self.head.at)
            if before is not None and before is not row.state:
                self._moved(row, before)
            book["state"] = row.state
        for key in message.get("gone", ()):
            self._books.pop(key, None)

    def _name(self) -> None:
        markets: dict[str, dict[str, str]] = {}
        for book in self._books.values():
            slug = book["slug"] or f"token {book['token'][:6]}"
            markets.setdefault(slug, {})[book["token"]] = book["outcome"] or ""
        self._names = name_books([Named(slug, _start(slug), outcomes) for slug, outcomes in markets.items()])

    def _moved(self, row: BookRow, before: BookState) -> None:
        at = time.time() - row.since
        self.moments.append(Moment(at=at, name=row.name, old=before, new=row.state, reason=row.reason))

    # ---- What is known -----------------------------------------------------------------------------

    @property
    def silence(self) -> float:
        """Seconds since the newest message; infinite before the first."""
        return time.monotonic() - self._heard

    @property
    def is_lost(self) -> bool:
        """Whether what is known is old."""
        return self.silence > QUIET

    def rows(self, sort: str, find: str = "") -> list[BookRow]:
        """Return every book that is looked for as a row, in an order of ``SORTS``."""
        now = 0.0 if self.head is None else self.head.at + min(self.silence, QUIET)
        return arranged([self._row(book, now) for book in self._books.values()], sort, find)

    def _row(self, book: Book, now: float) -> BookRow:
        return BookRow(
            token=book["token"],
            name=self._names[book["token"]],
            state=book["state"] if isinstance(book["state"], BookState) else BookState[book["state"]],
            reason=Reason[book["reason"]],
            age=None if book["proven"] is None else max(0.0, now - book["proven"]),
            since=max(0.0, now - book["since"]),
            proof=harmless(book["proof"] or ""),
            bid=_price(book["bid"]),
            ask=_price(book["ask"]),
            bid_size=_size(book["bid_size"]),
            ask_size=_size(book["ask_size"]),
            levels=f"{book['bids']} {book['asks']}",
            epoch=book["epoch"],
            resyncs=book["resyncs"],
            refused=book["refused"],
        )

    async def ladder(self, token: str) -> Ladder | None:
        """Ask for one book's depth. None: there is no such book, or no answer that can be read."""
        try:
            answer = await self._client.get(f"books/{token}", timeout=TIMEOUT)
            if answer.status_code != httpx.codes.OK or len(answer.content) > MAX_LINE:
                return None
            told = msgspec.json.decode(answer.content)
            bids, asks = ([(parse_price(p), parse_size(s)) for p, s in told[side]] for side in ("bids", "asks"))
            return Ladder(
                name=self._names.get(token, token[:8]), state=BookState[told["state"]],
                reason=Reason[told["reason"] or Reason.PROVEN.name],
                age=None if told["proven"] is None else max(0.0, told["at"] - told["proven"]), bids=bids, asks=asks,
            )  # fmt: skip
        except (httpx.HTTPError, msgspec.MsgspecError, PolymirrorError, TypeError, ValueError, LookupError):
            return None


async def _messages(answer: httpx.Response) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the kind and the text of each message of a stream of events."""
    kind, waiting = b"", bytearray()
    async for chunk in answer.aiter_bytes():
        waiting += chunk
        if len(waiting) > MAX_LINE:
            raise RemoteError(f"a message of more than {MAX_LINE} bytes")
        *lines, rest = waiting.split(b"\n")
        waiting = rest
        for line in lines:
            name, _, value = bytes(line).partition(b": ")
            if name == b"event":
                kind = value
            elif name == b"data":
                yield kind, value


def _start(slug: str) -> datetime | None:
    """When the window of a rolling market begins, if its slug says so."""
    found = WINDOW.search(slug)
    return None if found is None else datetime.fromtimestamp(int(found[1]), UTC)


def _price(text: str | None) -> str:
    return NOTHING if text is None else spell_price(parse_price(text))


def _size(text: str | None) -> str:
    return NOTHING if text is None else spell_size(parse_size(text))
