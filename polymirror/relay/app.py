"""What a relay answers: a WebSocket for each consumer, and plain REST. An ASGI app; all of it is for reading.

REST refuses as a read does: 409 with the reason for a book that is not LIVE, 404 for a token that is not carried. On
the WebSocket a text message is JSON and a binary one msgpack; a relay answers as the query ``format`` says.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from polymirror.config import check_age
from polymirror.errors import ConfigError, DecodeError, NotLive, UnknownToken
from polymirror.harmless import harmless
from polymirror.relay.publisher import BEAT
from polymirror.relay.wire import Ask, decode
from polymirror.shell.warnlog import WarnLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocket

    from polymirror.core.view import BookView
    from polymirror.relay.publisher import Consumer, Publisher
    from polymirror.relay.wire import Format
    from polymirror.serving.guard import Guard
    from polymirror.venue.market import Market

MAX_CONSUMERS: Final = 200

ASK_PAUSE: Final = 0.02
"""Seconds between two messages of one consumer that are read: each may ask for many books."""

MAX_BOOKS: Final = 500
"""Books in one answer of REST."""

TRY_AGAIN: Final = 1013
BAD_DATA: Final = 1007
GOING_AWAY: Final = 1001


class Readable(Protocol):
    """What REST needs of a mirror."""

    @property
    def tokens(self) -> Iterable[str]:
        """All tokens."""
        ...

    @property
    def markets(self) -> Iterable[Market]:
        """All markets."""
        ...

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view. Raises NotLive and UnknownToken."""
        ...


class Consumers:
    """All consumers of one publisher's books over WebSockets."""

    def __init__(self, publisher: Publisher, warn: Callable[[str, str], None]) -> None:
        self._publisher = publisher
        self._warn = warn
        self._wakes: dict[Consumer, asyncio.Event] = {}
        self._over = False
        # When the next look is planned, and what brings it forward.
        self._planned = float("inf")
        self._sooner = asyncio.Event()

    def wake(self) -> None:
        """Send what waits."""
        for consumer, event in self._wakes.items():
            if consumer.waits:
                event.set()
        if self._publisher.next_look() < self._planned:
            self._sooner.set()

    def close(self) -> None:
        """End all connections."""
        self._over = True
        for event in self._wakes.values():
            event.set()

    async def beat(self) -> None:
        """Say something of each book once a beat, until cancelled."""
        while True:
            rest = self._publisher.beat()
            self._planned = self._publisher.next_look()
            self._sooner.clear()
            self.wake()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(rest, BEAT)):
                    await self._sooner.wait()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one consumer until it leaves."""
        format_ = socket.query_params.get("format", "json")
        if format_ not in ("json", "msgpack") or len(self._wakes) >= MAX_CONSUMERS:
            await socket.close(TRY_AGAIN if format_ in ("json", "msgpack") else BAD_DATA)
            return
        await socket.accept()
        consumer, event = self._publisher.join("json" if format_ == "json" else "msgpack"), asyncio.Event()
        self._wakes[consumer] = event
        try:
            async with asyncio.TaskGroup() as tasks:
                hears = tasks.create_task(self._hear(socket, consumer))
                with suppress(WebSocketDisconnect):
                    await self._tell(socket, consumer, event, hears)
                hears.cancel()
        finally:
            del self._wakes[consumer]
            self._publisher.leave(consumer)

    async def _tell(
        self, socket: WebSocket, consumer: Consumer, event: asyncio.Event, hears: asyncio.Task[int]
    ) -> None:
        """Send what there is, each frame when the one before is taken."""
        hears.add_done_callback(lambda _: event.set())
        while not self._over and not hears.done():
            event.clear()
            while consumer.waits and not hears.done():
                data = self._publisher.frame(consumer)
                if consumer.format == "json":
                    await socket.send_text(data.decode())
                else:
                    await socket.send_bytes(data)
            await event.wait()
        code = hears.result() if hears.done() else GOING_AWAY
        if code:
            await socket.close(code)

    async def _hear(self, socket: WebSocket, consumer: Consumer) -> int:
        """Read what a consumer says until it leaves (0), or says what cannot be read (the code to close with)."""
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return 0
            text, binary = message.get("text"), message.get("bytes")
            format_: Format = "json" if text is not None else "msgpack"
            try:
                ask = decode(Ask, text.encode() if text is not None else binary or b"", format_)
            except DecodeError as error:
                self._warn("relay consumer", f"a consumer is cut off: {harmless(str(error))}")
                return BAD_DATA
            self._publisher.asked(consumer, ask)
            self.wake()
            await asyncio.sleep(ASK_PAUSE)


class Rest:
    """The plain answers."""

    def __init__(self, mirror: Readable) -> None:
        self._mirror = mirror

    async def markets(self, _: Request) -> Response:
        """Return all markets."""
        found = [
            {
                "slug": market.slug,
                "question": market.question,
                "market": market.condition_id,
                "tokens": [{"token": token.id, "outcome": token.outcome} for token in market.tokens],
            }
            for market in self._mirror.markets
        ]
        return _json({"markets": found})

    async def book(self, request: Request) -> Response:
        """Return one book, LIVE and no older than ``max_proof_age`` seconds, or say why not."""
        try:
            return _json(self._mirror.live(request.path_params["token"], _age(request)).to_dict())
        except ConfigError as error:
            return _json({"error": str(error)}, 400)
        except UnknownToken as error:
            return _json({"error": str(error)}, 404)
        except NotLive as error:
            return _json(_refusal(error), 409)

    async def books(self, request: Request) -> Response:
        """Return all books, or those of the query's ``token`` (may be repeated); with ``live=1`` LIVE ones alone."""
        tokens = request.query_params.getlist("token") or list(self._mirror.tokens)
        books: list[Any] = []
        try:
            age = _age(request)
            for token in tokens[:MAX_BOOKS]:
                try:
                    books.append(self._mirror.live(token, age).to_dict())
                except NotLive as error:
                    if request.query_params.get("live") != "1":
                        books.append(_refusal(error))
        except ConfigError as error:
            return _json({"error": str(error)}, 400)
        except UnknownToken as error:
            return _json({"error": str(error)}, 404)
        return _json({"books": books, "left_out": max(0, len(tokens) - MAX_BOOKS)})

    async def health(self, _: Request) -> Response:
        """Return how many books are LIVE; 503 when none is."""
        counts = {"LIVE": 0, "other": 0}
        for token in self._mirror.tokens:
            try:
                self._mirror.live(token)
                counts["LIVE"] += 1
            except (NotLive, UnknownToken):
                counts["other"] += 1
        return _json({"ok": counts["LIVE"] > 0, "books": counts}, 200 if counts["LIVE"] else 503)


def build_app(mirror: Readable, consumers: Consumers, guard: Guard, now: Callable[[], float]) -> ASGIApp:
    """Return the app, for those whom ``guard`` lets in."""
    rest, warnings = Rest(mirror), WarnLog()
    app = Starlette(
        routes=[
            Route("/health", rest.health),
            Route("/markets", rest.markets),
            Route("/books", rest.books),
            Route("/books/{token}", rest.book),
            WebSocketRoute("/stream", consumers.serve),
        ]
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = guard.refusal(scope["headers"])
        if not refusal:
            await app(scope, receive, send)
            return
        warnings.warn("refused", refusal, now())
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await _json({"error": refusal}, 403)(scope, receive, send)

    return guarded


def _age(request: Request) -> float | None:
    given = request.query_params.get("max_proof_age")
    if given is None:
        return None
    try:
        age = float(given)
    except ValueError:
        raise ConfigError("max_proof_age", given, "a number of seconds above 0") from None
    check_age("max_proof_age", age)
    return age


def _refusal(error: NotLive) -> dict[str, Any]:
    return {
        "token": error.token,
        "error": str(error),
        "state": error.state.name,
        "reason": None if error.reason is None else error.reason.name,
        "verified_age_seconds": error.age,
        "epoch": error.epoch,
        "max_proof_age_seconds": error.max_proof_age,
    }


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-store"}, "application/json")
