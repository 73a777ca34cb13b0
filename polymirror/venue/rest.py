"""The venue's order book REST service: full books, the clock, and what a market's grid and fees are.

Public reads only; nothing here trades. The HTTP side, with budget and retries, is :mod:`polymirror.venue.http`;
the JSON of a book belongs to :mod:`polymirror.core.messages`. The mirror calls this for probes and resyncs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn, Self
from urllib.parse import quote

from attrs import field, frozen

from polymirror.core.messages import Snapshot, decode_books
from polymirror.errors import BadResponse, DecodeError, MarketNotFound, VenueError
from polymirror.venue.body import UNREADABLE
from polymirror.venue.failures import page_in
from polymirror.venue.fields import Reader, parse_json
from polymirror.venue.http import Answer, Http, HttpCounters, NotFound
from polymirror.venue.market import ClobMarket, parse_clob_market
from polymirror.venue.network import REAL
from polymirror.venue.pieces import cut_books, is_light

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from types import TracebackType

    from polymirror.config import Endpoints, RestConfig
    from polymirror.venue.network import Network

MAX_SPLITS: Final = 64
"""How often one :meth:`Clob.books` may cut a refused batch in two: enough to single out three bad tokens of 500."""

REFUSED_BATCH: Final = frozenset({400, 413, 422})
"""Statuses with which a batch is refused for what is in it, or for its size."""

LARGE_BODY: Final = 524_288
"""Bytes of books that are decoded before other tasks get their turn: about two milliseconds' worth."""

MAX_BLANK: Final = 100
"""Characters of white space before an answer."""

EARLIEST_TIME: Final = 1_500_000_000
LATEST_TIME: Final = 10_000_000_000
"""Unix seconds between which the venue's clock is believed: 2017 to 2286. Milliseconds lie far outside."""


Bodies = tuple[tuple[tuple[str, ...], bytes], ...]
"""Answers with books as they came: what each was asked for, and its text."""


@frozen
class BooksAnswer:
    """What became of the tokens of one :meth:`Clob.books`: each is in exactly one of the three."""

    books: dict[str, Snapshot]
    """The books that came, by token."""
    missing: tuple[str, ...] = ()
    """Tokens that a successful answer left out, in the order asked: settled or unknown."""
    failed: dict[str, VenueError] = field(factory=dict)
    """Tokens without an answer, and the error of their batch."""
    bodies: Bodies = ()
    """What the books were read from, in the order in which it came: for whoever records it."""


@frozen
class ServerTime:
    """The venue's clock, in whole unix seconds, read at some moment between ``sent`` and ``received``.

    Those two are seconds of the client's monotonic clock. The venue cuts the fraction off, so its real time was
    up to a second later.
    """

    seconds: int
    sent: float
    received: float


class Clob:
    """The order book REST service. Use ``async with``; all callers share one rate budget.

    Every call may raise :class:`~polymirror.errors.RateLimited`, :class:`~polymirror.errors.VenueUnavailable` and
    :class:`~polymirror.errors.BadResponse` once its retries are spent. ``network`` carries them and has the clocks.
    """

    def __init__(
        self,
        config: RestConfig,
        endpoints: Endpoints,
        *,
        rng: random.Random,
        network: Network = REAL,
    ) -> None:
        self._config = config
        self._http = Http(endpoints.clob, config, rng=rng, network=network)

    @property
    def counters(self) -> HttpCounters:
        """What was called, repeated and throttled so far."""
        return self._http.counters

    @property
    def budget_left(self) -> int:
        """Calls that could be made at once before the rate budget is spent."""
        return self._http.budget_left

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def books(self, tokens: Iterable[str]) -> BooksAnswer:
        """Fetch many full books, ``books_per_call`` to a request, requests side by side.

        A batch that the venue refuses for its content is cut in two, and again, until the culprit stands alone;
        after :data:`MAX_SPLITS` cuts the rest fails. When not one token was answered for, the first error is
        raised; otherwise the tokens of failed batches are in :attr:`BooksAnswer.failed`.
        """
        wanted = list(dict.fromkeys(tokens))
        size = self._config.books_per_call
        books: dict[str, Snapshot] = {}
        failed: dict[str, VenueError] = {}
        bodies: list[tuple[tuple[str, ...], bytes]] = []
        splits_left = MAX_SPLITS

        async def fetch(batch: list[str]) -> None:
            nonlocal splits_left
            try:
                found, body = await self._batch(batch)
                books.update(found)
                bodies.append((tuple(batch), body))
            except VenueError as error:
                refused = isinstance(error, BadResponse) and error.status in REFUSED_BATCH
                if refused and len(batch) > 1 and splits_left > 0:
                    splits_left -= 1
                    middle = len(batch) // 2
                    await fetch(batch[:middle])
                    await fetch(batch[middle:])
                else:
                    failed.update(dict.fromkeys(batch, error))

        async with asyncio.TaskGroup() as group:
            for start in range(0, len(wanted), size):
                group.create_task(fetch(wanted[start : start + size]))
        if failed and len(failed) == len(wanted):
            raise next(iter(failed.values()))
        missing = tuple(token for token in wanted if token not in books and token not in failed)
        return BooksAnswer(books, missing, failed, tuple(bodies))

    async def _batch(self, batch: list[str]) -> tuple[dict[str, Snapshot], bytes]:
        name = f"POST /books ({len(batch)} tokens)"
        asked = frozenset(batch)

        async def decode(answer: Answer) -> tuple[dict[str, Snapshot], bytes]:
            # A book nobody asked for is of no use, and of no harm.
            found = await _decode_books(name, answer.body)
            return {book.asset_id: book for book in found if book.asset_id in asked}, answer.body

        try:
            return await self._http.call(name, "/books", decode, post=[{"token_id": token} for token in batch])
        except NotFound:
            # Seen for single books: none of the batch exists.
            return {}, b"[]"

    async def time(self) -> ServerTime:
        """Read the venue's clock. Repeat it and intersect the bounds to know the offset better than to a second."""
        name = "GET /time"

        async def decode(answer: Answer) -> ServerTime:
            reader = Reader(name, {"time": parse_json(answer.body, name, UNREADABLE)})
            seconds = reader.integer("time")
            if not EARLIEST_TIME < seconds < LATEST_TIME:
                raise reader.bad("time", "unix seconds")
            return ServerTime(seconds, answer.sent, answer.received)

        return await self._http.call(name, "/time", decode, by_name=False)

    async def clob_market(self, condition_id: str) -> ClobMarket:
        """Fetch a market's parameters. Raises :class:`~polymirror.errors.MarketNotFound`."""
        name = "GET /clob-markets"

        async def decode(answer: Answer) -> ClobMarket:
            reader = Reader.of(name, parse_json(answer.body, name, UNREADABLE))
            return parse_clob_market(condition_id, reader)

        try:
            return await self._http.call(name, f"/clob-markets/{quote(condition_id, safe='')}", decode)
        except NotFound as error:
            raise MarketNotFound(f"no market with condition id {condition_id[:80]}") from error


async def _decode_books(name: str, body: bytes) -> list[Snapshot]:
    """Decode books, a large body in pieces with turns for others between them."""
    head = body[:MAX_BLANK].lstrip()[:1]
    if not body.strip():
        _unreadable(name, "an empty body")
    if head not in {b"{", b"["}:
        page = page_in(body)
        _unreadable(name, f"not JSON: {page}" if page else "neither an object nor an array")
    pieces = (body,) if len(body) <= LARGE_BODY else cut_books(body)
    found: list[Snapshot] = []
    decoded = 0
    for piece in pieces:
        if not is_light(piece):
            _unreadable(name, f"{len(body)} bytes that take too long to read")
        try:
            found += decode_books(piece)
        except DecodeError as error:
            raise BadResponse(name, str(error), UNREADABLE) from error
        decoded += len(piece)
        if decoded >= LARGE_BODY:
            decoded = 0
            await asyncio.sleep(0)
    return found


def _unreadable(name: str, detail: str) -> NoReturn:
    raise BadResponse(name, detail, UNREADABLE)
