"""Users' functions: which may be called back, and how they are called without harm to the mirror or to each other.

A callback is called and not awaited, so an ``async def`` would never run: it is refused when it is added. What one
raises is logged, with its traceback the first time and as a count after that, and is counted in the status. Used by
everything in the shell that calls back.
"""

from __future__ import annotations

import asyncio
from inspect import isasyncgenfunction, iscoroutine, iscoroutinefunction, unwrap
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.shell.warnlog import WarnLog
    from polymirror.status.health import Records

T = TypeVar("T")

INSTEAD: Final = "to await, iterate instead: 'async for update in mirror.updates()'"
"""What to do where a callback would have to be awaited."""

ALLOWED: Final = f"a plain function of one argument, which is called and not awaited; {INSTEAD}"


def check_callback(callback: object, allowed: str = ALLOWED, field: str = "callback") -> None:
    """Raise ConfigError for what cannot be called, and for what would only make a coroutine that never runs."""
    function = unwrap(callback) if callable(callback) else None
    called = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself: it may be async
    if function is None or any(iscoroutinefunction(each) or isasyncgenfunction(each) for each in (function, called)):
        raise ConfigError(field, callback, allowed)


class Guard:
    """Calls users' functions, and tells what they raise. ``now`` is the mirror's monotonic clock in seconds."""

    def __init__(self, warnings: WarnLog, records: Records, now: Callable[[], float]) -> None:
        self._warnings = warnings
        self._records = records
        self._now = now

    def call(self, what: str, callback: Callable[[T], object], item: T) -> None:
        """Call one; ``what`` it is, such as ``an update callback``, opens the message if that fails."""
        try:
            result = callback(item)
            if iscoroutine(result):
                result.close()
                raise TypeError(f"it returned a coroutine, which nobody awaits; {INSTEAD}")  # noqa: TRY301
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever users raise
            # A user's bug must not stop the mirror, nor other callbacks. Asking a cancelled future raises the second,
            # which would end the task that called back without a word: nobody cancels a callback.
            self._records.failed_callbacks += 1
            name = getattr(callback, "__qualname__", None) or repr(callback)
            self._warnings.failed(f"{what} failed: {name} raised {type(error).__name__}", error, self._now())


class Callbacks(Generic[T]):
    """The callbacks for one kind of thing, at most ``limit``; false while there are none. They are called at once."""

    def __init__(self, what: str, guard: Guard, limit: int) -> None:
        self._what = what
        self._guard = guard
        self._limit = limit
        # In the order in which they were added, with the tokens they are for; none: all. To ask it whether there are
        # any costs a hot path nothing, and it is the same dict for ever.
        self.callbacks: dict[object, tuple[Callable[[T], object], frozenset[str]]] = {}

    def __len__(self) -> int:
        return len(self.callbacks)

    def add(self, callback: Callable[[T], object], tokens: Iterable[str] = ()) -> Callable[[], None]:
        """Add one; return a function that removes it. Raises ConfigError beyond the limit, and for an async one."""
        check_callback(callback)
        if len(self.callbacks) >= self._limit:
            raise ConfigError("callbacks", len(self.callbacks) + 1, f"at most max_subscribers={self._limit}")
        key = object()
        self.callbacks[key] = (callback, frozenset(tokens))
        return lambda: self.callbacks.pop(key, None) and None

    def tell(self, item: T, token: str = "") -> None:
        """Call all who want to hear of this token. One that is removed by another is not called any more."""
        for key, (callback, tokens) in tuple(self.callbacks.items()):
            if key in self.callbacks and (not tokens or token in tokens):
                self._guard.call(self._what, callback, item)
