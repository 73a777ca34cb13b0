"""The gate: leases on LIVE books, for whatever sends orders.

A lease is the right to act on one book, or on several at once, given only while each of them is LIVE, settled and
proven recently enough. It can be lost at any moment, so an executor calls :meth:`Lease.check` last thing before the
wire: it returns what to act on, or raises, and does no I/O. There is no way around it: an executor that takes a
lease and nothing else cannot act on a book that nobody vouches for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import iscoroutinefunction
from typing import Final, Protocol, TypeVar, overload

from polymirror.config import check_age, check_timeout
from polymirror.core.states import BookState
from polymirror.core.view import BookView
from polymirror.errors import ConfigError, LeaseLost, NotLive, UnknownToken

MAX_BOOKS: Final = 128
"""Books under one lease: a check reads all of them, some 10 us each, and nothing else runs meanwhile."""


class Books(Protocol):
    """What the gate needs of a mirror."""

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view or raise NotLive."""
        ...

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """Wait until the newest change is proven, or raise NotLive."""
        ...


class _Held:
    """What the leases share: the books as they were leased, and the look at all of them."""

    def __init__(self, books: Books, views: tuple[BookView, ...], max_proof_age: float | None) -> None:
        self._books = books
        self._views = views
        self._max_proof_age = max_proof_age
        self._ended = False

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens whose books are leased, in the order in which they were named."""
        return tuple(view.token for view in self._views)

    @property
    def views(self) -> tuple[BookView, ...]:
        """The views that the lease was given for, in the order of :attr:`tokens`."""
        return self._views

    def end(self) -> None:
        """Make every further check fail."""
        self._ended = True

    def _look(self) -> tuple[BookView, ...]:
        # Nothing is awaited in between: all of them hold at one instant.
        return tuple(map(self._look_at, self._views))

    def _look_at(self, leased: BookView) -> BookView:
        token = leased.token
        if self._ended:
            raise LeaseLost(
                token, leased.state, leased.reason, leased.verified_age, leased.epoch,
                detail="its block has ended",
            )  # fmt: skip
        try:
            view = self._books.live(token, self._max_proof_age)
        except NotLive as refusal:
            raise LeaseLost(
                token, refusal.state, refusal.reason, refusal.age, refusal.epoch, refusal.max_proof_age, refusal.detail
            ) from refusal
        except UnknownToken as error:
            why = "the mirror does not track it any more"
            raise LeaseLost(token, leased.state, leased.reason, None, leased.epoch, detail=why) from error
        why = ""
        if view.epoch != leased.epoch:
            why = f"the lease was for epoch {leased.epoch}"
        elif view.doubts != leased.doubts:
            why = "it was in doubt since the lease was given"
        elif not view.settled:
            why = "a newer change is not proven yet"
        if why:
            raise LeaseLost(token, BookState.LIVE, view.reason, view.verified_age, view.epoch, detail=why)
        return view


class Lease(_Held):
    """The right to act on one token's book. Made by :meth:`Gate.lease`; worthless once that block ends."""

    @property
    def token(self) -> str:
        """The token whose book is leased."""
        return self.view.token

    @property
    def view(self) -> BookView:
        """The view that the lease was given for."""
        return self._views[0]

    def check(self) -> BookView:
        """Return the book as it is now, or raise LeaseLost.

        The book must be LIVE, of the epoch the lease was given for, never in doubt since, proven no longer ago than
        the lease allows, and settled: no newer change is known that is not proven yet.
        """
        return self._look()[0]


class JointLease(_Held):
    """The right to act on several books, all or nothing. Made by :meth:`Gate.lease`; ends with that block."""

    def check(self) -> tuple[BookView, ...]:
        """Return all books as they are now, in the order of :attr:`tokens`, or raise LeaseLost.

        Each must be what :meth:`Lease.check` asks of one, at the same instant. The error names the first that is not.
        """
        return self._look()


Held = TypeVar("Held", Lease, JointLease)


class Gate:
    """Gives leases on a mirror's books. ``max_proof_age`` (seconds) holds where a lease asks for nothing else.

    Raises ConfigError for what is no :class:`~polymirror.mirror.Mirror`, and for an age that is no number of
    seconds above 0.
    """

    def __init__(self, books: Books, *, max_proof_age: float | None = None) -> None:
        if not iscoroutinefunction(getattr(books, "wait_settled", None)):
            raise ConfigError("books", books, "a Mirror; a BackgroundMirror has a lease() of its own")
        if max_proof_age is not None:
            check_age("max_proof_age", max_proof_age)
        self._books = books
        self._max_proof_age = max_proof_age

    @overload
    def lease(
        self, token: str, /, *, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AbstractAsyncContextManager[Lease]: ...

    @overload
    def lease(
        self, token: str, second: str, /, *more: str, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AbstractAsyncContextManager[JointLease]: ...

    def lease(
        self, *tokens: str, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AbstractAsyncContextManager[Lease] | AbstractAsyncContextManager[JointLease]:
        """Lease a book, or several all or nothing; use it with ``async with``.

        Waits up to ``timeout`` seconds, for all of them together, until no change of any is known that is not proven
        yet. Entering raises NotLive for the first book that may not be read or does not settle, and UnknownToken; the
        call raises ConfigError for a bad age or timeout, and for tokens that are none, too many (more than 128) or
        named twice.
        """
        age = self._max_proof_age if max_proof_age is None else max_proof_age
        if age is not None:
            check_age("max_proof_age", age)
        check_timeout("timeout", timeout)
        _check_tokens(tokens)
        if len(tokens) == 1:
            return self._lease(Lease, tokens, age, timeout)
        return self._lease(JointLease, tokens, age, timeout)

    @asynccontextmanager
    async def _lease(
        self, kind: Callable[[Books, tuple[BookView, ...], float | None], Held], tokens: tuple[str, ...],
        age: float | None, timeout: float,
    ) -> AsyncIterator[Held]:  # fmt: skip
        lease = kind(self._books, await self._settled(tokens, age, timeout), age)
        try:
            yield lease
        finally:
            lease.end()

    async def _settled(self, tokens: tuple[str, ...], age: float | None, timeout: float) -> tuple[BookView, ...]:
        """Return the views of all books, read at one instant at which each was settled."""
        clock = asyncio.get_running_loop().time
        end = clock() + timeout
        while True:
            views = tuple(self._books.live(token, age) for token in tokens)
            restless = next((view for view in views if not view.settled), None)
            if restless is None:
                return views
            rest = end - clock()
            if rest <= 0:
                raise NotLive(
                    restless.token, restless.state, restless.reason, restless.verified_age, restless.epoch, age,
                    detail=f"a newer change is not proven yet, waited {timeout:g} s",
                )  # fmt: skip
            # Others may change meanwhile: all are read again.
            await self._books.wait_settled(restless.token, age, rest)


def _check_tokens(tokens: tuple[str, ...]) -> None:
    for token in tokens:
        if not isinstance(token, str):
            raise ConfigError("tokens", token, "one text for each book, as in lease(up, down)")
    if not 1 <= len(tokens) <= MAX_BOOKS:
        raise ConfigError("tokens", tokens, f"1 to {MAX_BOOKS} tokens, not {len(tokens)}: name the books to lease")
    twice = next((token for number, token in enumerate(tokens) if token in tokens[:number]), None)
    if twice is not None:
        raise ConfigError("tokens", twice, "named once: a lease has each book once")
