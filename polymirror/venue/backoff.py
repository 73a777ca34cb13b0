"""How long to wait before another try: full jitter, and the wait that a server asked for.

Pure arithmetic: no clock, no sleep, no ambient randomness. The stream and the HTTP calls hand
:class:`FullJitter` to tenacity; nothing else decides about delays between attempts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from tenacity import RetryCallState

MAX_DOUBLINGS: Final = 60
"""The exponent stops growing here: 2 to the power of the attempts of a long outage is no float."""

MAX_HEADER: Final = 100
"""Characters of a ``Retry-After`` header; an HTTP date has 29."""


class FullJitter:
    """Wait a random time between nothing and ``min(cap, base * 2 ** (attempt - 1))`` seconds.

    These are the semantics of :class:`tenacity.wait_random_exponential`, with a random generator of
    our own so that a run can be repeated from its seed. An error that carries ``retry_after``
    seconds (a 429 or a 503) is waited for first, up to ``longest_wish``, and the jitter is added to it:
    callers that were all told the same number of seconds must not come back in the same instant.
    """

    def __init__(self, base: float, cap: float, rng: random.Random, *, longest_wish: float | None = None) -> None:
        self._base = base
        self._cap = cap
        self._rng = rng
        self._longest_wish = cap if longest_wish is None else longest_wish

    def seconds(self, attempt: int) -> float:
        """Draw the wait in seconds after failed attempt number ``attempt`` (the first is 1)."""
        exponent = min(max(attempt, 1) - 1, MAX_DOUBLINGS)
        return self._rng.uniform(0.0, min(self._cap, self._base * 2.0**exponent))

    def __call__(self, retry_state: RetryCallState) -> float:
        """Draw the wait after the failure that ``retry_state`` describes; tenacity calls this."""
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        wish = getattr(error, "retry_after", None) or 0.0
        return min(wish, self._longest_wish) + self.seconds(retry_state.attempt_number)


def parse_retry_after(header: str | None, wall_now: float) -> float | None:
    """Read a ``Retry-After`` header: seconds, or an HTTP date relative to ``wall_now`` (unix seconds).

    Returns the wait in seconds, never negative, or ``None`` for a header that is absent or unreadable.
    """
    if header is None or len(header) > MAX_HEADER:
        return None
    try:
        seconds = float(header)
    except ValueError:
        # Hardly ever needed: it takes a hundredth of the time of importing the library.
        from email.utils import parsedate_to_datetime  # noqa: PLC0415

        try:
            seconds = parsedate_to_datetime(header).timestamp() - wall_now
        except (ValueError, TypeError, LookupError, ArithmeticError, OSError):
            # The date is a peer's text, and that module was written for mails.
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
