"""Every exception polymirror raises, and nothing else.

::

    PolymirrorError
    ├── ConfigError            a setting is out of range (also a ValueError)
    ├── UnitError              a price or size that cannot be read exactly (also a ValueError)
    ├── FeeUnknown             a fee was asked for, and its terms are not known or cannot be believed
    ├── DecodeError            bytes from the venue that are not what they should be
    ├── NotLive                the golden rule: this book may not be read for execution
    │   └── LeaseLost          the book stopped being LIVE while a lease was held
    ├── UnknownToken           the token is not tracked by this mirror (also a KeyError)
    ├── MirrorClosed           the mirror was stopped, or was never started
    ├── WrongThread            a mirror belongs to one thread, and was used in another (also a RuntimeError)
    ├── MirrorBusy             the thread of a mirror did not answer another in time (also a TimeoutError)
    ├── MissingExtra           an optional dependency is not installed
    └── VenueError             the venue, or the way to it
        ├── MarketNotFound     no market under this slug or token
        ├── RateLimited        429, with the seconds the venue asked to wait
        ├── VenueUnavailable   TLS, DNS, refused, reset, time-out, redirect elsewhere, 425, 5xx: worth another try
        └── BadResponse        HTML, truncated or unexpected content

Messages carry what a person needs to act: the field, the value, the allowed range, or the state,
reason, age and epoch of a refused book. They never carry credentials.
"""

from __future__ import annotations

import sys
from typing import Any

from polymirror.core.states import BookState, Reason
from polymirror.harmless import harmless

MAX_MESSAGE = 2_000
"""Characters of a message that are shown: the venue may have written much of it."""


class PolymirrorError(Exception):
    """The root of all errors raised by this library. Its text is one line that is safe to show."""

    def __str__(self) -> str:
        return harmless(super().__str__(), MAX_MESSAGE)

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is rebuilt from its message alone, which is not what our constructors take:
        # one that comes back from a worker process would break the pool instead of being raised.
        return _rebuild, (type(self), self.args, vars(self))


class ConfigError(PolymirrorError, ValueError):
    """A setting is outside its allowed range.

    ``field`` is the setting's name, ``value`` what was given, ``allowed`` the range in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={_shorten(spelled(value), 200)} is not allowed: it must be {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class UnitError(PolymirrorError, ValueError):
    """A price or a size that cannot be represented exactly, or lies outside its range."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field} {_shorten(value)} is not valid: it must be {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class FeeUnknown(PolymirrorError):  # noqa: N818 - a fact about a market
    """A fee was asked for, and the market's terms are not known, contradictory or not believable."""


class DecodeError(PolymirrorError):
    """Bytes that are not the JSON they should be. ``what`` names the part that failed."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(f"cannot decode {what}: {detail}")
        self.what = what
        self.detail = detail


class NotLive(PolymirrorError):  # noqa: N818 - it states a fact about a book, as design and docs call it
    """This book may not be read for execution.

    ``state`` and ``reason`` say why, ``age`` how many seconds ago the book was last proven
    (``None``: never), ``epoch`` which generation of the book was refused, and ``max_proof_age``
    the age in seconds the caller would have accepted.
    """

    def __init__(
        self,
        token: str,
        state: BookState,
        reason: Reason | None,
        age: float | None,
        epoch: int,
        max_proof_age: float | None = None,
        detail: str = "",
    ) -> None:
        proven = "never proven" if age is None else f"proven {age:.3f} s ago"
        limit = "" if max_proof_age is None else f", allowed {max_proof_age:g} s"
        why = "" if reason is None else f" ({reason.name})"
        facts = f"is {state.name}{why}, {proven}{limit}, epoch {epoch}"
        super().__init__(self._text(_shorten(token), facts, detail))
        self.token = token
        self.state = state
        self.reason = reason
        self.age = age
        self.epoch = epoch
        self.max_proof_age = max_proof_age
        self.detail = detail

    def _text(self, token: str, facts: str, detail: str) -> str:
        return f"{token} {facts}{': ' + detail if detail else ''}"


class LeaseLost(NotLive):
    """The book left LIVE, was replaced or has changed while a lease on it was held: do not send the order.

    ``state`` and the rest are the book's now, which may be LIVE: ``detail`` says what is wrong then.
    """

    def _text(self, token: str, facts: str, detail: str) -> str:
        why = f"{detail}; " if detail else ""
        return f"the lease on {token} is lost, do not send the order: {why}the book {facts}"


class UnknownToken(PolymirrorError, KeyError):  # noqa: N818 - as above: a fact, not a fault
    """The token is not tracked by this mirror. Add it first."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.token = token

    def __str__(self) -> str:
        given: object = self.token
        text = f"{_shorten(given)} is not tracked by this mirror: add it first"
        if isinstance(given, str) and (given.isdigit() or given.startswith("0x")):
            return text
        if isinstance(given, (list, tuple, set, frozenset, dict)):
            return f"{_shorten(given)} is no token: one is named at a time, by its text of digits, as in market.up.id"
        # A slug, an int, a Token: whatever was added, it would not be found under such a name.
        return f"{text}; tokens are named by text of digits, as in market.up.id, and markets by their condition_id"


class MirrorClosed(PolymirrorError):  # noqa: N818
    """The mirror is not running: it was stopped, or used outside ``async with``."""


class WrongThread(PolymirrorError, RuntimeError):  # noqa: N818
    """A mirror belongs to the event loop that runs it, and was used in another thread. Nothing was done."""

    def __init__(self, owner: str, caller: str) -> None:
        super().__init__(
            f"the mirror runs in thread {owner!r} and was called in thread {caller!r}: hand the call over with "
            "mirror.ask(...), or an async one with asyncio.run_coroutine_threadsafe(..., loop), or use a "
            "BackgroundMirror, which any thread may call"
        )
        self.owner = owner
        self.caller = caller


class MirrorBusy(PolymirrorError, TimeoutError):  # noqa: N818
    """The thread of a mirror did not answer another one in time: something that runs in it takes too long.

    ``call`` is what was asked of it, ``limit`` the seconds that it had, ``where`` what it was doing instead.
    """

    def __init__(self, call: str, limit: float, where: str) -> None:
        super().__init__(
            f"{call}: not done within {limit:g} s; the mirror's thread is at {where}: nothing that runs in it may block"
        )
        self.call = call
        self.limit = limit
        self.where = where


class MissingExtra(PolymirrorError, ImportError):  # noqa: N818
    """An optional dependency is not installed. The message is the command that installs it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'polymirror[{extra}]'")
        self.feature = feature
        self.extra = extra


class VenueError(PolymirrorError):
    """Something at the venue, or on the way to it, went wrong."""


class MarketNotFound(VenueError):  # noqa: N818
    """The venue knows no market under this slug or token (yet)."""


class RateLimited(VenueError):  # noqa: N818
    """The venue answered 429. ``retry_after`` is the wait it asked for in seconds, if any."""

    def __init__(self, call: str, retry_after: float | None) -> None:
        wait = "" if retry_after is None else f", asked to wait {retry_after:g} s"
        super().__init__(f"{call}: rate limited{wait}")
        self.call = call
        self.retry_after = retry_after


class VenueUnavailable(VenueError):  # noqa: N818
    """The venue cannot answer now (425 engine restart, 5xx, time-out, refused, a portal in the way): try later.

    ``status`` is the HTTP status, or ``None`` when no answer arrived; ``detail`` says why, such as
    ``TLS: certificate has expired``, and ``cause`` both in one text.
    """

    def __init__(self, call: str, status: int | None, detail: str = "", retry_after: float | None = None) -> None:
        what = "no answer" if status is None else f"HTTP {status}"
        super().__init__(f"{call}: {what}{': ' + detail if detail else ''}")
        self.call = call
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def cause(self) -> str:
        """What is wrong, without the call that it kept from its answer."""
        if self.status is None:
            return self.detail or "no answer"
        return f"HTTP {self.status}: {self.detail}" if self.detail else f"HTTP {self.status}"


class BadResponse(VenueError):  # noqa: N818
    """An answer that is not what the call promises: HTML, truncated JSON, a missing field."""

    def __init__(self, call: str, detail: str, status: int | None = None) -> None:
        super().__init__(f"{call}: {detail}")
        self.call = call
        self.status = status


def _rebuild(kind: type[PolymirrorError], args: tuple[object, ...], state: dict[str, object]) -> PolymirrorError:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


def spelled(value: object) -> str:
    """Return what ``repr`` makes of a value, also of a number with more digits than Python writes."""
    try:
        return repr(value)
    except ValueError:
        return f"a number of {sys.get_int_max_str_digits()} digits or more"


def _shorten(value: object, limit: int = 48) -> str:
    """Bound what hostile input can put into a message."""
    text = harmless(value if isinstance(value, str) else spelled(value), MAX_MESSAGE)
    return text if len(text) <= limit else f"{text[:12]}..{text[-6:]}"
