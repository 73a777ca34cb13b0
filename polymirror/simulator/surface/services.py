"""What else the simulated venue may serve: price feeds over WebSockets, and services over HTTP.

Only the two shapes are here, and how a call finds who answers it. A feed or a service is pure: text or a call
and the time go in, frames or an answer come out. The embedded :class:`~polymirror.simulator.server.Simulator`
carries them over real sockets, :class:`~polymirror.simulator.virtual.VirtualVenue` in virtual time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.line import FaultLine
    from polymirror.simulator.frames import Call, Item
    from polymirror.simulator.surface.rest import Desk

T = TypeVar("T")

MARKET_PATH: Final = "/ws/market"
"""Where the venue's own market channel is; no feed may be there."""


class FeedSession(Protocol):
    """One client's connection to a feed, as the feed sees it. Times are Unix milliseconds."""

    closed: bool
    """True once a Close or a Reset was returned: it is not asked again. Whoever carries the frames sets it
    too, when the client left."""

    def receive(self, text: str, now_ms: int) -> list[Item]:
        """Answer a text frame of the client, at once."""
        ...

    def outgoing(self, now_ms: int) -> list[Item]:
        """Return everything due up to and including ``now_ms`` that was not returned yet, in order.

        May be called at any time, also when nothing is due.
        """
        ...

    def next_ms(self) -> int | None:
        """Return when something is due next; ``None``: not before the client sends something."""
        ...


class Feed(Protocol):
    """A WebSocket service beside the market channel. The faults of the venue do not touch it: it has its own."""

    @property
    def path(self) -> str:
        """Where it is, such as ``/ws/rtds``: unique among the feeds of a venue."""
        ...

    def open(self, headers: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> FeedSession | int:
        """Accept a client, or refuse its handshake with an HTTP status (400 to 599).

        ``headers`` have lower-case names.
        """
        ...


class Service(Protocol):
    """An HTTP service beside the venue's own. The faults of the venue do not touch it: it has its own."""

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call; ``None``: it is not for this service.

        What the call does is done when this returns; the answer's ``delay_ms`` and ``hangs`` only decide
        when, or whether, the client hears of it.
        """
        ...


Makes: TypeAlias = "Iterable[T] | Callable[[Exchange], Iterable[T]]"
"""Feeds or services, or a function that makes them for the exchange of a venue."""


def made_for(exchange: Exchange, makes: Makes[T]) -> tuple[T, ...]:
    """Return the feeds or services for this exchange."""
    return tuple(makes(exchange) if callable(makes) else makes)


def answer_call(services: Iterable[Service], desk: Desk, line: FaultLine, call: Call, now_ms: int) -> Answer:
    """Return the answer of the first service whose call it is, or else the venue's own with its faults."""
    for service in services:
        answer = service.answer(call, now_ms)
        if answer is not None:
            return answer
    if call.method not in {"GET", "HEAD", "POST"}:
        return Answer(405, '{"error":"Method Not Allowed"}')
    return line.answer(call, desk.answer(call), now_ms)


def feeds_by_path(feeds: Iterable[Feed]) -> dict[str, Feed]:
    """Index feeds by their path. Raises :class:`ValueError` when two share one, or when one is the venue's own."""
    found: dict[str, Feed] = {}
    for feed in feeds:
        if feed.path == MARKET_PATH or feed.path in found or not feed.path.startswith("/"):
            msg = f"the feed's path {feed.path!r} is taken, or does not start with a slash"
            raise ValueError(msg)
        found[feed.path] = feed
    return found
