"""What the status server answers: health, readiness, the status, metrics, and a page that shows it all as it changes.

An ASGI app. All answers are for reading; nothing can be changed here. Whatever is shown comes from one mirror by its
public methods, and is made at most a few times a second, however often it is asked for: answers share a budget, and
who asks for more waits for their turn.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from importlib.resources import files
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from polymirror.errors import ConfigError, NotLive, UnknownToken
from polymirror.shell.warnlog import WarnLog
from polymirror.status.bookview import describe_book
from polymirror.status.feed import Fresh
from polymirror.status.metrics import MirrorMetrics
from polymirror.status.verdict import read_share, readiness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from polymirror.serving.guard import Guard
    from polymirror.status.feed import Feed
    from polymirror.status.health import MirrorStatus
    from polymirror.status.observed import Observed
    from polymirror.status.trail import Trail

MAX_RATE: Final = 50.0
"""Answers a second, of all clients together."""

MAX_BURST: Final = 25
"""Answers at once after a rest."""

MAX_WAIT: Final = 2.0
"""Seconds that one waits for a turn; whoever would wait longer is told that the server is busy."""

MAX_TOKEN: Final = 80
"""Characters of a token id."""

PAGE: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    **{name: (name, "text/javascript; charset=utf-8") for name in ("page.js", "rows.js", "book.js", "shapes.js")},
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The files of the page, by their path."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""With every answer: the page loads nothing from elsewhere, is in nobody's frame, and nothing of it is kept."""


class Turns:
    """A budget of answers: who comes when it is spent waits."""

    def __init__(self, rate: float = MAX_RATE, burst: int = MAX_BURST) -> None:
        self._step = 1.0 / rate
        self._lead = burst * self._step
        # When the budget would be full again.
        self._full_at = 0.0

    async def wait(self) -> bool:
        """Return when it is one's turn; False, at once, if that would take too long."""
        now = monotonic()
        full_at = max(self._full_at, now) + self._step
        pause = full_at - self._lead - now
        if pause > MAX_WAIT:
            return False
        self._full_at = full_at
        if pause > 0:
            await asyncio.sleep(pause)
        return True


class Answers:
    """The answers of one server."""

    def __init__(
        self,
        mirror: Observed,
        feed: Feed,
        trail: Trail,
        registry: CollectorRegistry,
        problems: Callable[[MirrorStatus], Sequence[str]],
        ready: float,
    ) -> None:
        self._mirror = mirror
        self._feed = feed
        self._trail = trail
        self._problems = problems
        self._ready = ready
        self._status = Fresh(mirror.status)
        self._encoded: tuple[MirrorStatus | None, bytes] = (None, b"")
        self._metrics = Fresh(lambda: generate_latest(registry))
        self._files = {path: (files(__package__) / "page" / name).read_bytes() for path, (name, _) in PAGE.items()}

    def routes(self) -> list[Route]:
        """Return all routes."""
        own = {"health": self.health, "ready": self.ready, "status": self.status, "metrics": self.metrics}
        return [
            *(Route(f"/{path}", self.file, name=path or "page") for path in PAGE),
            *(Route(f"/{path}", answer) for path, answer in own.items()),
            Route("/books/{token}", self.book),
            Route("/events", self.events),
        ]

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        path = request.url.path.removeprefix("/")
        return Response(self._files[path], media_type=PAGE[path][1])

    async def health(self, _: Request) -> Response:
        """Return 200, or 503 with what is wrong."""
        status = self._status.get()
        wrong = self._problems(status)
        return _json({"ok": not wrong, "problems": wrong}, 503 if wrong else 200)

    async def ready(self, request: Request) -> Response:
        """Return 200 if the share of LIVE books that is asked for is reached, else 503."""
        given = request.query_params.get("share")
        try:
            wanted = self._ready if given is None else read_share("share", given)
        except ConfigError as error:
            return _json({"error": str(error)}, 400)
        found = readiness(self._status.get(), wanted)
        return _json(found, 200 if found.ready else 503)

    async def status(self, _: Request) -> Response:
        """Return the mirror's whole status."""
        status = self._status.get()
        if self._encoded[0] is not status:
            self._encoded = (status, msgspec.json.encode(status))
        return Response(self._encoded[1], media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Return what Prometheus scrapes."""
        return Response(self._metrics.get(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def book(self, request: Request) -> Response:
        """Return one book."""
        token = request.path_params["token"][:MAX_TOKEN]
        try:
            return _json(describe_book(self._mirror, token, self._trail.moves(token)))
        except (UnknownToken, NotLive) as error:
            return _json({"error": str(error)}, 404)

    async def events(self, _: Request) -> Response:
        """Stream what the page shows."""
        if self._feed.is_full:
            return _json({"error": "as many pages as there may be are open: close one"}, 503)
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        async for kind, text in self._feed.messages():
            yield b"event: %s\ndata: %s\n\n" % (kind.encode(), text)


@contextmanager
def serving_app(
    mirror: Observed,
    feed: Feed,
    trail: Trail,
    problems: Callable[[MirrorStatus], Sequence[str]],
    ready: float,
    guard: Guard,
) -> Iterator[ASGIApp]:
    """Yield the app of one mirror, for those whom ``guard`` lets in; metrics are counted until the block is left."""
    registry = CollectorRegistry()
    metrics = MirrorMetrics(mirror, registry)
    try:
        yield build_app(Answers(mirror, feed, trail, registry, problems, ready), guard)
    finally:
        metrics.close()


def build_app(answers: Answers, guard: Guard) -> ASGIApp:
    """Return the app, for those whom ``guard`` lets in."""
    app, warnings, turns = Starlette(routes=answers.routes()), WarnLog(), Turns()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_RAW_HEADERS]
            await send(message)

        if refusal := guard.refusal(scope["headers"]):
            warnings.warn("refused", refusal, monotonic())
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            else:
                await _json({"error": refusal}, 403, close=True)(scope, receive, send_on)
            return
        if await turns.wait():
            await app(scope, receive, send_on if scope["type"] == "http" else send)
        elif scope["type"] == "http":
            await _json({"error": "too many questions: ask less often"}, 503, close=True)(scope, receive, send_on)

    return guarded


_RAW_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def _json(value: object, status: int = 200, *, close: bool = False) -> Response:
    headers = {"Connection": "close"} if close else None
    return Response(msgspec.json.encode(value), status, headers, "application/json")
