"""Telling users that a book changed, without ever waiting for them.

A subscriber has no queue: it has a set of tokens that changed since it last looked, so a slow one gets the
newest state and the number of changes it missed, and memory is bounded by the number of tokens. One that nobody
holds any more is forgotten: leaving an ``async for`` loop needs no clean-up. Callbacks run once per turn of the
event loop for everything that changed in it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from attrs import frozen

from polymirror.errors import ConfigError, MirrorClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.core.states import BookState, Reason

log = logging.getLogger("polymirror")


@frozen
class Update:
    """A token's readable view, or its state, changed. Read the book with ``mirror.live(token)``."""

    token: str
    state: BookState
    reason: Reason
    epoch: int
    conflated: int
    """Changes since this subscriber's last update that this one stands for, beside the newest."""


class Subscription:
    """One subscriber's view of what changed: an endless async iterator of :class:`Update`.

    ``tokens`` limits it; empty means all. Made by :meth:`polymirror.mirror.Mirror.updates`. It ends when the
    mirror stops or :meth:`close` is called.
    """

    def __init__(
        self, owner: Subscribers, tokens: Iterable[str], describe: Callable[[str, int], Update | None]
    ) -> None:
        self._owner = owner
        self._tokens = frozenset(tokens)
        self._describe = describe
        # Changed tokens, oldest first, and how often each changed since it was last taken.
        self._pending: dict[str, int] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def offer(self, changed: Iterable[str]) -> None:
        """Note changed tokens and wake the reader. Costs the mirror a dictionary update each."""
        pending, tokens = self._pending, self._tokens
        for token in changed:
            if not tokens or token in tokens:
                pending[token] = pending.get(token, 0) + 1
        if pending and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop tokens that are mirrored no more: their number over time has no bound."""
        for token in tokens:
            self._pending.pop(token, None)

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
        self._owner.remove(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while True:
            while self._pending:
                token = next(iter(self._pending))
                update = self._describe(token, self._pending.pop(token) - 1)
                if update is not None:
                    return update
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits on this subscription: make one for each")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Subscribers:
    """All subscriptions and callbacks of a mirror, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In order of subscription, so that readers are woken in the same order in every run.
        self._subscriptions: WeakKeyDictionary[Subscription, None] = WeakKeyDictionary()
        self._callbacks: dict[object, tuple[Callable[[Update], None], frozenset[str]]] = {}
        # Changed tokens that the callbacks have not been told of yet.
        self._pending: dict[str, int] = {}
        self._scheduled = False
        self._closed = False

    def subscribe(self, tokens: Iterable[str], describe: Callable[[str, int], Update | None]) -> Subscription:
        """Add an iterator. Raises ConfigError beyond the limit, and MirrorClosed after the end."""
        self._check_room()
        subscription = Subscription(self, tokens, describe)
        self._subscriptions[subscription] = None
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.pop(subscription, None)

    def call(self, callback: Callable[[Update], None], tokens: Iterable[str]) -> Callable[[], None]:
        """Add a callback; return a function that removes it. Raises as :meth:`subscribe` does."""
        self._check_room()
        key = object()
        self._callbacks[key] = (callback, frozenset(tokens))
        return lambda: self._callbacks.pop(key, None) and None

    def notify(self, changed: tuple[str, ...], describe: Callable[[str, int], Update | None]) -> None:
        """Tell everyone what changed; never waits and never raises."""
        for subscription in self._subscriptions:
            subscription.offer(changed)
        if not self._callbacks:
            return
        for token in changed:
            self._pending[token] = self._pending.get(token, 0) + 1
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_callbacks, describe)

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop what is pending about tokens that are mirrored no more."""
        for subscription in self._subscriptions:
            subscription.forget(tokens)

    def close(self) -> None:
        """End all iterations, forget all callbacks, and take no more."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()
        self._callbacks.clear()
        self._pending.clear()

    def _run_callbacks(self, describe: Callable[[str, int], Update | None]) -> None:
        self._scheduled = False
        pending, self._pending = self._pending, {}
        for token, changes in pending.items():
            update = describe(token, changes - 1)
            if update is None:
                continue
            for key, (callback, tokens) in tuple(self._callbacks.items()):
                if (tokens and token not in tokens) or key not in self._callbacks:
                    continue
                try:
                    callback(update)
                except Exception:
                    # A user's bug must not stop the mirror, nor other callbacks.
                    log.exception("an update callback failed")

    def _check_room(self) -> None:
        if self._closed:
            raise MirrorClosed("the mirror was stopped: nothing changes any more")
        count = len(self._subscriptions) + len(self._callbacks)
        if count >= self._limit:
            raise ConfigError("subscribers", count + 1, f"at most max_subscribers={self._limit}")
