"""What one order call over HTTP can end with, and the last look before it leaves. Shared by the trading clients.

The venue's answers are sorted here once, into the three kinds of :mod:`bots.common.errors`: it certainly did not
happen, it certainly was refused, or it cannot be known. Whatever is not recognised is put under the last. The facts
are those of protocol.md sections 3 and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx

from bots.common.errors import BadCredentials, NoMatch, NotSent, TradingError, Unanswered, VenueRefused

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PAGES: Final = 50
"""Pages of one list that are read; a longer one is an error, not a cut."""

NO_MATCH_WORDS: Final = (
    "fully filled or killed",  # FOK
    "no orders found to match",  # FAK
    "partially filled or killed",
)
"""By these the venue says that an order found nothing to trade with."""

EXISTS_WORDS: Final = ("duplicated", "already exists")

DOUBTFUL_WORDS: Final = (
    "match delayed",  # documented for status 400: the order may be in flight
    "delaying the order",
    "timed out",
    "could not run the execution",
    "could not insert order",
)
"""The venue's words for an order of which it does not say, or not know, what becomes of it (its error codes)."""

CERTAIN_WORDS: Final = ("invalid", "not enough balance", "not yet ready", "does not exist", "min size", "banned")
"""Its words for an order that it certainly did not take, where no status says so."""

NOT_ACCEPTED: Final = frozenset({425, 429})
"""The matching engine restarts; too many calls. Neither takes the order."""

CLOSED_WORDS: Final = ("trading is currently", "post-only", "post_only", "cancel-only", "cancel_only")
"""A 503 with one of these is the venue's own refusal; any other may come from something in between, too late."""

NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""What an HTTP client raises before there is a connection to send on."""

_SENDING: Final = "send_request_headers.started"


class Departure:
    """The last look before an order leaves, and the memory of whether it has left.

    A real HTTP client first finds or opens a connection, which takes many round trips when it must open one, and
    tells of each step through httpx's ``trace`` extension. So the lease is checked twice: before the call, to spare a
    connection for nothing, and in the same step of the event loop in which the first byte is written. A transport
    that is not httpx's own does not tell; there the first look is the last.
    """

    def __init__(self, check: Callable[[], object], *, traced: bool) -> None:
        self._check = check
        self._traced = traced
        # Whether anything may have left. What was raised before that is certain to have had no effect.
        self.left = False

    def __call__(self) -> None:
        """Check now, right before the call."""
        self._check()
        self.left = not self._traced

    async def trace(self, event: str, _: dict[str, Any]) -> None:
        """Check again as the bytes leave: httpx awaits this, and what it raises stops the request unsent."""
        if event.endswith(_SENDING) and not self.left:
            self._check()
            self.left = True

    def failed(self, call: str, error: Exception) -> TradingError:
        """Say what an error of the HTTP client means for the order."""
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if not self.left or (not self._traced and isinstance(error, NEVER_LEFT)):
            return NotSent(call, what)
        return Unanswered(call, what)


def refusal(call: str, status: int, text: str, *, retry_after: float | None = None, own: bool = True) -> TradingError:
    """Return the error that an answer other than success stands for. ``text`` is the venue's message.

    ``own`` says whether the body was the venue's own JSON: a page of some proxy with status 400 or 403 refuses as
    well, but what it says is not taken for the outcome of an order.
    """
    words = text.lower()
    if status == httpx.codes.BAD_REQUEST and own and any(each in words for each in NO_MATCH_WORDS):
        return NoMatch(call, status, text)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return BadCredentials(call, status, text)
    if status in NOT_ACCEPTED:
        return VenueRefused(call, status, text, retry_after=retry_after)
    if status == httpx.codes.SERVICE_UNAVAILABLE and own and any(each in words for each in CLOSED_WORDS):
        return VenueRefused(call, status, text, retry_after=retry_after)
    doubtful = status == httpx.codes.REQUEST_TIMEOUT or any(each in words for each in DOUBTFUL_WORDS)
    if httpx.codes.is_client_error(status) and not doubtful:
        return VenueRefused(call, status, text, exists=own and any(each in words for each in EXISTS_WORDS))
    return Unanswered(call, f"HTTP {status}: {text}")


def said_no(call: str, text: str) -> TradingError:
    """Return the error for an answer with status 200 that says the order did not succeed.

    The venue has looked at the order then, and may have taken it: words that are not known are no refusal.
    """
    error = refusal(call, httpx.codes.BAD_REQUEST, text)
    if type(error) is VenueRefused and not error.exists and not any(each in text.lower() for each in CERTAIN_WORDS):
        return Unanswered(call, f"not a success: {text or 'no reason given'}")
    return error
