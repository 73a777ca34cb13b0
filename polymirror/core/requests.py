"""Requests for REST books: gathered, bounded, and matched with their answers.

Tokens wish for books (:class:`~polymirror.core.outbox.Want`); here the wishes become few requests. Routine ones
are gathered for a moment, urgent ones go at once, and while the most allowed requests are under way all wait and
so gather by themselves. An answer counts only for tokens whose book is still of the generation that was asked
about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from polymirror.core.effects import FetchBooks
from polymirror.core.outbox import Want

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polymirror.core.outbox import Outbox
    from polymirror.core.token import Token

MAX_BOOKS_PER_REQUEST = 500
"""The venue refuses more tokens in one call."""

MAX_REQUESTS = 4
"""Requests under way at once."""

GATHER = 0.25
"""Seconds for which routine wishes are gathered into one request."""

_NEVER = float("inf")


@frozen
class Request:
    """One request under way. A token's generation and doubts are those it had when the request was made."""

    sent_at: float
    tokens: tuple[tuple[Token, int, int], ...]


class Requests:
    """All requests of an engine. Times in seconds on the mirror's monotonic clock."""

    def __init__(self, outbox: Outbox, tokens: Mapping[str, Token], timeout: float) -> None:
        self._outbox = outbox
        self._tokens = tokens
        self._timeout = timeout
        self._under_way: dict[int, Request] = {}
        # Tokens in a request that is under way: they are not asked for twice.
        self._asked: set[str] = set()
        self._serial = 0
        # When gathered routine wishes are sent at the latest.
        self.due: float = _NEVER
        # Why the last request had no answer, or not for all; empty once one is answered.
        self.trouble = ""
        # A request has ended since the wishes were looked at: there is room.
        self._freed = False

    @property
    def under_way(self) -> int:
        """How many are not answered yet."""
        return len(self._under_way)

    def needed(self, now: float) -> bool:
        """Whether :meth:`make` has something to look at; it goes through all wishes, so not for nothing."""
        fresh = self._outbox.fresh
        if fresh is None:
            return now >= self.due or (self._freed and bool(self._outbox.books))
        # A routine wish joins those that are gathered already, unless it fills the request.
        gathering = fresh is Want.ROUTINE and now < self.due < _NEVER
        return not gathering or len(self._outbox.books) >= MAX_BOOKS_PER_REQUEST

    def make(self, now: float) -> list[FetchBooks]:
        """Turn wishes into requests, as far as there is room. Those without a book come first."""
        wishes = self._outbox.books
        self._outbox.fresh, self._freed = None, False
        room = MAX_REQUESTS - len(self._under_way)
        if room <= 0:
            self.due = _NEVER
            return []
        ready = [asset_id for asset_id in wishes if asset_id not in self._asked]
        if not ready:
            self.due = _NEVER
            return []
        if len(ready) < MAX_BOOKS_PER_REQUEST and all(wishes[asset_id] is Want.ROUTINE for asset_id in ready):
            self.due = min(self.due, now + GATHER)
            if now < self.due:
                return []
        self.due = _NEVER
        ready.sort(key=wishes.__getitem__, reverse=True)
        starts = range(0, len(ready), MAX_BOOKS_PER_REQUEST)
        return [self._make(ready[start : start + MAX_BOOKS_PER_REQUEST], now) for start in starts[:room]]

    def _make(self, asset_ids: list[str], now: float) -> FetchBooks:
        self._serial += 1
        tokens = [self._tokens[asset_id] for asset_id in asset_ids]
        asked = tuple((token, token.proven.generation, token.doubts) for token in tokens)
        self._under_way[self._serial] = Request(now, asked)
        self._asked.update(asset_ids)
        for token in tokens:
            del self._outbox.books[token.asset_id]
            token.resync.asked(now)
        return FetchBooks(self._serial, tuple(asset_ids))

    def answered(self, number: int) -> Request | None:
        """A request is over, one way or another. None: it was given up before."""
        request = self._under_way.pop(number, None)
        if request is not None:
            self._freed = True
            self._asked.difference_update(token.asset_id for token, _, _ in request.tokens)
        return request

    def forget(self, asset_ids: Iterable[str]) -> None:
        """These tokens are mirrored no more: what is still to come about them is of no use."""
        self._asked.difference_update(asset_ids)

    def overdue(self, now: float) -> list[int]:
        """Return the requests that took too long."""
        return [number for number, each in self._under_way.items() if now >= each.sent_at + self._timeout]

    def next_due(self) -> float:
        """Return when wishes or overdue requests must be looked at."""
        for request in self._under_way.values():
            # The first is the oldest.
            return min(self.due, request.sent_at + self._timeout)
        return self.due
