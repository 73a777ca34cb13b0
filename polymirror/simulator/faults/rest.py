"""Faults of the calls for books: answers that are late, missing, outdated, or something else.

One small class each, with an id, what happens, and where it was seen. They act on ``/book`` and
``/books``; where an answer holds many books, those of outdated or ghostly states are single ones.
Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from hashlib import sha1
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.frames import NO_BOOK, Answer, Call

if TYPE_CHECKING:
    from collections.abc import Callable

BOOK_PATHS = frozenset({"/book", "/books"})

HTML_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"

RETRY_AFTER_SECONDS = 1


class RestFault(Fault):
    """The base of faults that replace whole answers to calls for books."""

    default_share: ClassVar[float] = 0.2

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Replace some answers."""
        if call.path not in BOOK_PATHS or not self.is_about(call) or not self.strikes(now_ms):
            return answer
        return self.instead(answer)

    def is_about(self, call: Call) -> bool:
        """Whether the plan is about a token that is asked for."""
        tokens = self.plan.tokens
        if not tokens:
            return True
        body = call.body.decode(errors="replace")
        return call.query.get("token_id") in tokens or any(f'"{token}"' in body for token in tokens)

    def instead(self, answer: Answer) -> Answer:
        """What arrives instead of this answer."""
        raise NotImplementedError


class RestTooEarly(RestFault):
    """The answer is 425: the matching engine is restarting.

    Seen on the calls for orders, as the venue's page on its matching engine says; users took it for a
    bug. On the calls for books it is a precaution.
    """

    id: ClassVar[str] = "rest_425"

    def instead(self, answer: Answer) -> Answer:
        """Too Early."""
        del answer
        return Answer(425, '{"error":"Too Early"}')


class RestTooMany(RestFault):
    """The answer is 429, and nothing says how long to wait.

    Seen in the venue's list of errors; its limits are per ten seconds.
    """

    id: ClassVar[str] = "rest_429"

    def instead(self, answer: Answer) -> Answer:
        """Too Many Requests."""
        del answer
        return Answer(429, '{"error":"Too Many Requests"}')


class RestTooManyForNow(RestFault):
    """The answer is 429, and a header says how long to wait.

    Seen in the venue's trading client, which reads ``Retry-After`` as seconds or as a date.
    """

    id: ClassVar[str] = "rest_429_retry_after"

    def instead(self, answer: Answer) -> Answer:
        """Too Many Requests, with the seconds to wait."""
        del answer
        return Answer(429, '{"error":"Too Many Requests"}', (("Retry-After", str(RETRY_AFTER_SECONDS)),))


class RestUnavailable(RestFault):
    """The answer is 503, with the venue's text or a page of its front server.

    Seen in the venue's list of errors, for times when trading is disabled.
    """

    id: ClassVar[str] = "rest_503"

    def instead(self, answer: Answer) -> Answer:
        """Service Unavailable."""
        del answer
        if self.rng.random() < 0.5:
            return Answer(503, HTML_PAGE.format("503 Service Temporarily Unavailable"), content_type="text/html")
        return Answer(503, '{"error":"Trading is currently disabled. Check polymarket.com for updates"}')


class RestHtml(RestFault):
    """The body is a page of HTML, sometimes even with status 200.

    Seen from the network in front of the venue; the login page of a hotel comes with 200.
    """

    id: ClassVar[str] = "rest_html"

    def instead(self, answer: Answer) -> Answer:
        """A page, with one of two statuses."""
        del answer
        status, title = (200, "Just a moment...") if self.rng.random() < 0.5 else (502, "502 Bad Gateway")
        return Answer(status, HTML_PAGE.format(title), content_type="text/html")


class RestHanging(RestFault):
    """There is no answer at all; the connection stays open.

    Not reported by name: a proxy that loses its backend does it. Over real sockets the embedded venue
    drops the call after a minute.
    """

    id: ClassVar[str] = "rest_hanging"

    def instead(self, answer: Answer) -> Answer:
        """Silence."""
        return answer._replace(hangs=True)


class RestTruncated(RestFault):
    """The body ends in the middle of the JSON, with status 200.

    Not reported by name: a connection that breaks while the body passes does it.
    """

    id: ClassVar[str] = "rest_truncated"

    def instead(self, answer: Answer) -> Answer:
        """The first part of the body."""
        size = len(answer.body.rstrip())
        return answer._replace(body=answer.body[: self.rng.randrange(size)] if size else "")


class GammaUnavailable(Fault):
    """The discovery service answers 503, or does not answer; the calls for books are well.

    Not reported by name: it is another service than that of the books, and fails on its own.
    """

    id: ClassVar[str] = "gamma_unavailable"
    default_share: ClassVar[float] = 0.5

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """No market and no event."""
        if not call.path.startswith(("/markets", "/events")) or not self.strikes(now_ms):
            return answer
        if self.rng.random() < 0.5:
            return answer._replace(hangs=True)
        return Answer(503, HTML_PAGE.format("503 Service Temporarily Unavailable"), content_type="text/html")


class RestBookFault(RestFault):
    """The base of faults of single books in an answer."""

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Replace or remove one book of some answers."""
        if call.path not in BOOK_PATHS or answer.status != 200 or not self.is_about(call):
            return answer
        if not self.is_due(now_ms):
            return answer
        books = parse_books(answer)
        wanted = [book for book in books if not self.plan.tokens or book["asset_id"] in self.plan.tokens]
        if not wanted:
            return answer
        self.strike()
        chosen = self.rng.choice(wanted)
        return replace_books(call, books, lambda book: self.changed(book) if book is chosen else book)

    def changed(self, book: dict[str, Any]) -> dict[str, Any] | None:
        """What this book becomes; ``None``: it is missing."""
        raise NotImplementedError


class RestMissing(RestBookFault):
    """A live token has no book: 404, or it is left out of an answer with many.

    Not seen on a live token: it is the answer about settled and unknown ones, and nothing in it tells
    which, so a client must not believe it at once.
    """

    id: ClassVar[str] = "rest_404"

    def changed(self, book: dict[str, Any]) -> dict[str, Any] | None:
        """Nothing."""
        del book
        return None


class RestGhost(RestBookFault):
    """A book with one bid at 0.01 and one ask at 0.99: the state from before anybody traded, an hour old.

    Seen in an issue of the venue's client: ``/book`` showed it while ``/price`` was right. Here its
    hash is right for what it shows.
    """

    id: ClassVar[str] = "rest_ghost_book"
    default_share: ClassVar[float] = 0.1
    age_ms: ClassVar[int] = 3_600_000

    def changed(self, book: dict[str, Any]) -> dict[str, Any] | None:
        """The ghost of this book."""
        ghost = book | {
            "timestamp": str(int(book["timestamp"]) - self.age_ms),
            "bids": [{"price": "0.01", "size": "100"}],
            "asks": [{"price": "0.99", "size": "100"}],
            "last_trade_price": "",
        }
        return ghost | {"hash": plain_hash(ghost)}


def plain_hash(book: dict[str, Any]) -> str:
    """The venue's hash of a REST book."""
    text = json.dumps(book | {"hash": ""}, separators=(",", ":"), ensure_ascii=False)
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


def parse_books(answer: Answer) -> list[dict[str, Any]]:
    """The books of a good answer to ``/book`` or ``/books``; none if another fault spoiled it."""
    try:
        parsed = json.loads(answer.body)
    except ValueError:
        return []
    return parsed if isinstance(parsed, list) else [parsed]


def replace_books(
    call: Call, books: list[dict[str, Any]], change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> Answer:
    """The answer to this call with every book changed; a book that becomes ``None`` is missing."""
    changed = [new for new in map(change, books) if new is not None]
    if call.path == "/books":
        return Answer(200, json.dumps(changed, separators=(",", ":")) + "\n")
    if not changed:
        return Answer(404, json.dumps({"error": NO_BOOK}, separators=(",", ":")))
    return Answer(200, json.dumps(changed[0], separators=(",", ":")) + "\n")
