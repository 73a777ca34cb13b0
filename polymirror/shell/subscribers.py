"""Telling users that a book changed, without ever waiting for them.

A subscriber has no queue: it looks at what changed since it last looked (:mod:`polymirror.shell.changes`), so a slow
one gets the newest state and the number of changes it missed, and costs the mirror nothing meanwhile. One that nobody
holds any more is forgotten: leaving an ``async for`` loop needs no clean-up. Callbacks run once per turn of the
event loop for everything that changed in it, and give way when they, or the tokens that they pass over, take long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self
from weakref import WeakKeyDictionary

from attrs import frozen

from polymirror.core.states import BookState, Reason
from polymirror.errors import ConfigError, MirrorClosed
from polymirror.shell.callbacks import Guard, check_callback
from polymirror.shell.changes import Changes, Reader

MAX_SLICE_SECONDS: Final = 0.002
"""Seconds of delivery before frames and other tasks get their turn.

A callback is not cut short, nor is looking up what changed: 0.2 us for each token."""

_ANY: Final = ""
"""Stands for all tokens where readers wait."""


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

    def __init__(self, owner: Subscribers, reader: Reader, describe: Callable[[str, int], Update | None]) -> None:
        self._owner = owner
        self.reader = reader
        self._describe = describe
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def wake(self) -> None:
        """Let the one that waits look again, if anyone waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """End the iteration after what changed up to now."""
        self._closed = True
        self.reader.end()
        self._owner.remove(self)
        self.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while True:
            while (taken := self.reader.take()) is not None:
                token, changes = taken
                update = self._describe(token, changes - 1)
                if update is not None:
                    return update
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits on this subscription: make one for each")
            self._waiter = asyncio.get_running_loop().create_future()
            self._owner.wait(self)
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._owner.unwait(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Subscribers:
    """All subscriptions and callbacks of a mirror, at most ``limit``; ``guard`` calls back."""

    def __init__(self, limit: int, guard: Guard) -> None:
        self._limit = limit
        self._guard = guard
        self._changes = Changes()
        # In order of subscription.
        self._subscriptions: WeakKeyDictionary[Subscription, None] = WeakKeyDictionary()
        self._callbacks: dict[object, tuple[Callable[[Update], object], frozenset[str]]] = {}
        # Those who wait, by the tokens they want, in the order in which they began: all runs wake alike.
        self._waiting: dict[str, dict[Subscription, None]] = {}
        # What the callbacks were told of; None while there are none.
        self._told: Reader | None = None
        # Callbacks under way, interrupted to let others have their turn.
        self._delivery: Iterator[None] | None = None
        self._scheduled = False
        self._closed = False

    def subscribe(self, tokens: Iterable[str], describe: Callable[[str, int], Update | None]) -> Subscription:
        """Add an iterator. Raises ConfigError beyond the limit, and MirrorClosed after the end."""
        self._check_room()
        subscription = Subscription(self, Reader(self._changes, tokens), describe)
        self._subscriptions[subscription] = None
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.pop(subscription, None)

    def call(self, callback: Callable[[Update], object], tokens: Iterable[str]) -> Callable[[], None]:
        """Add a callback; return a function that removes it. Raises as :meth:`subscribe` does, and for an async one."""
        check_callback(callback)
        self._check_room()
        key = object()
        if not self._callbacks:
            self._told = Reader(self._changes)
        self._callbacks[key] = (callback, frozenset(tokens))
        return lambda: self._callbacks.pop(key, None) and None

    def notify(self, changed: tuple[str, ...], describe: Callable[[str, int], Update | None]) -> None:
        """Tell everyone what changed; never waits and never raises. Costs the same for any number that do not wait."""
        self._changes.note(changed)
        if self._waiting:
            for token in (_ANY, *changed):
                for subscription in self._waiting.pop(token, ()):
                    subscription.wake()
        if self._callbacks and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run_callbacks, describe)

    def wait(self, subscription: Subscription) -> None:
        """Note that somebody waits for the next change."""
        for token in subscription.reader.tokens or (_ANY,):
            self._waiting.setdefault(token, {})[subscription] = None

    def unwait(self, subscription: Subscription) -> None:
        """Note that nobody waits there any more."""
        for token in subscription.reader.tokens or (_ANY,):
            waiting = self._waiting.get(token)
            if waiting is not None:
                waiting.pop(subscription, None)
                if not waiting:
                    del self._waiting[token]

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop what is known about tokens that are mirrored no more."""
        tokens = tuple(tokens)
        self._changes.forget(tokens)
        for subscription in self._subscriptions:
            subscription.reader.forget(tokens)
        if self._told is not None:
            self._told.forget(tokens)

    def close(self) -> None:
        """End all iterations, forget all callbacks, and take no more."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()
        self._callbacks.clear()

    def _run_callbacks(self, describe: Callable[[str, int], Update | None]) -> None:
        """Run callbacks for a while; the rest of them in the next turn of the loop."""
        loop = asyncio.get_running_loop()
        until = loop.time() + MAX_SLICE_SECONDS
        if self._delivery is None:
            self._delivery = self._deliver(describe)
        for _ in self._delivery:
            if loop.time() >= until:
                break
        else:
            self._delivery = None
        self._scheduled = bool(self._callbacks) and (
            self._delivery is not None or bool(self._told and self._told.look())
        )
        if self._scheduled:
            loop.call_soon(self._run_callbacks, describe)

    def _deliver(self, describe: Callable[[str, int], Update | None]) -> Iterator[None]:
        """Call back about everything that changed up to now, pausing after each call."""
        reader = self._told
        if reader is None or not reader.look():
            return
        # There is another reader once all callbacks have left: those that came since hear of later changes only.
        while reader is self._told and (taken := reader.take(looks=False)) is not None:
            token, changes = taken
            update = None
            for key, (callback, tokens) in tuple(self._callbacks.items()):
                if (tokens and token not in tokens) or key not in self._callbacks:
                    continue
                if update is None and (update := describe(token, changes - 1)) is None:
                    break
                self._guard.call("an update callback", callback, update)
                yield
            if update is None:
                # Passing over a token takes time, too.
                yield

    def _check_room(self) -> None:
        if self._closed:
            raise MirrorClosed("the mirror was stopped: nothing changes any more")
        count = len(self._subscriptions) + len(self._callbacks)
        if count >= self._limit:
            raise ConfigError("subscribers", count + 1, f"at most max_subscribers={self._limit}")
