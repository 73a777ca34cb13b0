"""The gate: leases on LIVE books, for whatever sends orders.

A lease is the right to act on one book, given only while the book is LIVE, settled and proven recently
enough. It can be lost at any moment, so an executor calls :meth:`Lease.check` last thing before the wire:
it returns the view to act on, or raises, and does no I/O. There is no way around it: an executor that takes a
lease and nothing else cannot act on a book that nobody vouches for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from polymirror.config import check_age, check_timeout
from polymirror.core.states import BookState
from polymirror.core.view import BookView
from polymirror.errors import LeaseLost, NotLive, UnknownToken


class Books(Protocol):
    """What the gate needs of a mirror."""

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view or raise NotLive."""
        ...

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """Wait until the newest change is proven, or raise NotLive."""
        ...


class Lease:
    """The right to act on one token's book. Made by :meth:`Gate.lease`; worthless once that block ends."""

    def __init__(self, books: Books, view: BookView, max_proof_age: float | None) -> None:
        self._books = books
        # The view that the lease was given for.
        self.view = view
        self._max_proof_age = max_proof_age
        self._ended = False

    @property
    def token(self) -> str:
        """The token whose book is leased."""
        return self.view.token

    def check(self) -> BookView:
        """Return the book as it is now, or raise LeaseLost.

        The book must be LIVE, of the epoch the lease was given for, proven no longer ago than the lease
        allows, and settled: no newer change is known that is not proven yet.
        """
        leased = self.view
        if self._ended:
            raise LeaseLost(self.token, leased.state, leased.reason, None, leased.epoch, detail="the lease has ended")
        try:
            view = self._books.live(self.token, self._max_proof_age)
        except NotLive as refusal:
            raise LeaseLost(
                refusal.token, refusal.state, refusal.reason, refusal.age, refusal.epoch, refusal.max_proof_age
            ) from refusal
        except UnknownToken as error:
            why = "the mirror does not track it any more"
            raise LeaseLost(self.token, leased.state, leased.reason, None, leased.epoch, detail=why) from error
        why = ""
        if view.epoch != leased.epoch:
            why = f"the lease was for epoch {leased.epoch}"
        elif view.doubts != leased.doubts:
            why = "it was in doubt since the lease was given"
        elif not view.settled:
            why = "a newer change is not proven yet"
        if why:
            raise LeaseLost(self.token, BookState.LIVE, view.reason, view.verified_age, view.epoch, detail=why)
        return view

    def end(self) -> None:
        """Make every further check fail."""
        self._ended = True


class Gate:
    """Gives leases on a mirror's books. ``max_proof_age`` (seconds) holds where a lease asks for nothing else.

    Raises ConfigError for an age that is no number of seconds above 0.
    """

    def __init__(self, books: Books, *, max_proof_age: float | None = None) -> None:
        if max_proof_age is not None:
            check_age("max_proof_age", max_proof_age)
        self._books = books
        self._max_proof_age = max_proof_age

    @asynccontextmanager
    async def lease(
        self, token: str, *, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AsyncIterator[Lease]:
        """Lease a book, waiting up to ``timeout`` seconds for its newest change to be proven.

        Raises NotLive if the book may not be read, UnknownToken, and ConfigError for a bad age or time-out.
        """
        age = self._max_proof_age if max_proof_age is None else max_proof_age
        if age is not None:
            check_age("max_proof_age", age)
        check_timeout("timeout", timeout)
        view = await self._books.wait_settled(token, age, timeout)
        lease = Lease(self._books, view, age)
        try:
            yield lease
        finally:
            lease.end()
