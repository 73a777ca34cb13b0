"""What was heard of each market lately, in memory: what an incident's bundle begins with.

Each market has a ring of its own. It begins with whole books of both tokens, so that whoever reads it can follow every
change from its first line on; when these are old, newer ones are asked for, and what came before them is let go. Lines
about several markets, such as an array of opening books or a closed connection, stand in the ring of each. All of it is
bounded in bytes. Fed by :mod:`polymirror.journal.incident.incidents`.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from polymirror.journal.format import (
    OVERHEAD,
    Answered,
    Asked,
    Book,
    Closed,
    Connected,
    Heard,
    Sent,
    Slept,
    Used,
    seconds_of,
    weight,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.config import IncidentConfig
    from polymirror.journal.format import Line

NAMES_MARKET: Final = re.compile(r'"market"\s*:\s*"([^"]{1,100})"')
"""How an object of the venue names its market."""

STRETCHES: Final = 2
"""A ring is kept in so many stretches, or a few more."""

ASK_AGAIN: Final = 1.0
"""Seconds after which whole books are asked for again: a book that is not settled cannot be told whole."""

MAX_REQUESTS: Final = 256
"""Requests to REST of which it is kept which markets they are about."""


@define(eq=False)
class Stretch:
    """Lines that can be followed from the first one on, once there is a whole book of each token among them."""

    began: float
    lines: list[Line] = field(factory=list)
    books: set[str] = field(factory=set)
    size: int = 0
    # Since when it can be followed.
    whole_at: float = float("inf")


@define(eq=False)
class Ring:
    """What was heard of one market."""

    market: str
    tokens: tuple[str, ...]
    known: Line
    """That it is mirrored, and with which constants."""
    stretches: deque[Stretch]
    size: int = 0
    # Bytes that an incident may still add while nothing is let go; None: there is none.
    room: int | None = None
    ask_at: float = 0.0
    cut: bool = False
    """Whether something was let go that was younger than it should be."""

    def lines(self) -> list[Line]:
        """Return everything, oldest first."""
        return [self.known, *(line for stretch in self.stretches for line in stretch.lines)]


class Rings:
    """The rings of all markets.

    ``want_books(tokens)`` asks for whole books of these tokens, ``carried_by(socket)`` tells the tokens of a socket.
    """

    def __init__(
        self,
        config: IncidentConfig,
        want_books: Callable[[Iterable[str]], None],
        carried_by: Callable[[int], Sequence[str]],
    ) -> None:
        self._config = config
        self._want_books = want_books
        self._carried_by = carried_by
        self._rings: dict[str, Ring] = {}
        self._market_of: dict[str, Ring] = {}
        self._requests: dict[int, tuple[Ring, ...]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes that all of it takes, about."""
        return self._size

    def of(self, token: str) -> Ring | None:
        """Return the ring of a token's market; None: it is not mirrored."""
        return self._market_of.get(token)

    def put(self, line: Line) -> None:
        """Take a line of a recording."""
        if isinstance(line, Heard):
            data = line.data
            # What is no whole object may be about any market, whatever it names.
            found = NAMES_MARKET.search(data) if data[:1] == "{" and data.rstrip()[-1] == "}" else None
            ring = self._rings.get(found[1]) if found is not None else None
            if ring is None:
                self._share(line, self._on_socket(line.socket))
            else:
                self._add(ring, line, OVERHEAD + len(data))
        elif isinstance(line, Book):
            if (ring := self._market_of.get(line.token)) is not None:
                self._add_book(ring, line)
        elif isinstance(line, Used):
            self._used(line)
        else:
            self._share(line, self._concerned(line))

    def add(self, ring: Ring, line: Line) -> None:
        """Add a line to one ring."""
        self._add(ring, line, weight(line))

    def _used(self, line: Used) -> None:
        if line.what == "track":
            self._track(line)
        elif line.what == "untrack":
            self._forget(line.market)
        else:
            self._share(line, self._with(line.tokens))

    def _concerned(self, line: Line) -> tuple[Ring, ...]:
        """Return the rings in which a line belongs that is no frame, no book and no wish of the program."""
        match line:
            case Connected(socket=socket) | Closed(socket=socket):
                return self._on_socket(socket)
            case Sent(socket=socket, tokens=tokens) if line.what != "vouch":
                return self._with(tokens) or self._on_socket(socket)
            case Asked(what="books", request=request, tokens=tokens):
                rings = self._requests[request] = self._with(tokens)
                if len(self._requests) > MAX_REQUESTS:
                    del self._requests[next(iter(self._requests))]
                return rings
            case Answered(what="books" | "books_failed", request=request):
                return self._requests.pop(request, ())
            case Asked(what="market", market=market) | Answered(what="market", market=market):
                return (self._rings[market],) if market in self._rings else ()
            case _:
                return tuple(self._rings.values()) if isinstance(line, (Slept, Answered)) else ()

    def _on_socket(self, socket: int) -> tuple[Ring, ...]:
        return self._with(self._carried_by(socket))

    def _with(self, tokens: Iterable[str]) -> tuple[Ring, ...]:
        return tuple(dict.fromkeys(ring for each in tokens if (ring := self._market_of.get(each)) is not None))

    def _share(self, line: Line, rings: tuple[Ring, ...]) -> None:
        """Add one line to several rings: it is in memory once."""
        for ring in rings:
            self._add(ring, line, OVERHEAD + weight(line) // len(rings))

    def _track(self, line: Used) -> None:
        if line.market in self._rings:
            # With further tokens; what is known already stays.
            self._market_of.update(dict.fromkeys(line.tokens, self._rings[line.market]))
            ring = self._rings[line.market]
            ring.tokens = tuple(dict.fromkeys((*ring.tokens, *line.tokens)))
            return
        ring = Ring(line.market, line.tokens, line, deque([Stretch(seconds_of(line.t))]))
        self._rings[line.market] = ring
        self._market_of.update(dict.fromkeys(line.tokens, ring))

    def _forget(self, market: str) -> None:
        ring = self._rings.pop(market, None)
        if ring is not None:
            self._size -= ring.size
            for token in ring.tokens:
                self._market_of.pop(token, None)

    # ---- What is kept ------------------------------------------------------------------------------

    def _add(self, ring: Ring, line: Line, size: int) -> None:
        stretch, now = ring.stretches[-1], seconds_of(line.t)
        stretch.lines.append(line)
        stretch.size += size
        ring.size += size
        self._size += size
        if now >= ring.ask_at and now - stretch.began >= self._config.ring_seconds / STRETCHES:
            ring.ask_at = now + ASK_AGAIN
            self._want_books(ring.tokens)
        if ring.room is not None:
            ring.room -= size
        elif ring.size > self._config.bundle_bytes // 2:
            self._shorten(ring, now)
        if self._size > self._config.ring_bytes:
            self._shorten(max(self._rings.values(), key=lambda each: each.size), now)

    def _add_book(self, ring: Ring, line: Book) -> None:
        now, newest = seconds_of(line.t), ring.stretches[-1]
        if now - newest.began >= self._config.ring_seconds / STRETCHES and newest.whole_at <= now:
            newest = Stretch(now)
            ring.stretches.append(newest)
        elif line.token in newest.books:
            return
        newest.books.add(line.token)
        if newest.books.issuperset(ring.tokens) and newest.whole_at > now:
            newest.whole_at = now
            self._let_go(ring, now - self._config.ring_seconds)
        self.add(ring, line)

    def _let_go(self, ring: Ring, before: float) -> None:
        """Drop the oldest stretches as long as the next one can be followed from before then on."""
        while ring.room is None and len(ring.stretches) > 1 and ring.stretches[1].whole_at <= before:
            self._drop(ring)

    def _shorten(self, ring: Ring, now: float) -> None:
        """Drop the oldest stretch, whatever its age; the only one begins anew."""
        ring.cut = True
        self._drop(ring)
        if not ring.stretches:
            ring.stretches.append(Stretch(now))
            ring.ask_at = now + ASK_AGAIN
            self._want_books(ring.tokens)

    def _drop(self, ring: Ring) -> None:
        gone = ring.stretches.popleft()
        ring.size -= gone.size
        self._size -= gone.size
