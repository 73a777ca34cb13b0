"""Whether a granted read may be wrong: the truth first, then the short list of what nobody can know.

A read is right when the book was so no longer ago than the age that the view states, and than the age that was
asked for, plus the way through the network. If it was not, one of five things may explain it; each is bounded, and
each is counted by its name. Everything else is a broken promise. Pure: the facts come from the simulation, never
from the engine that is judged, but for the two numbers that it states in public. What is read at the far end of a relay
is explained by what explained it at the mirror, when the newest word that has come from there left.

Times are in exchange milliseconds, by true time. ``was`` answers whether the levels that were read were the book's
at any time from a moment on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Was = Callable[[int], bool]

TRUE: Final = "true"
WRONG: Final = "wrong"

CLOCK_INTERVAL: Final = "clock_interval"
"""A constant delay inside the interval that the venue's clock is known to lie in."""

STATED_AHEAD: Final = "stated_ahead"
"""A message that states a time in the future, and is late by as much: a clock was set, or a stamp is wrong."""

SAME_STAMP_ANSWER: Final = "same_stamp_answer"
"""A change that nobody heard of, while a call or a subscription is answered with the book from before it."""

REWRITTEN: Final = "rewritten"
"""An intermediary that rewrites everything consistently: the hash has no key."""

SECOND_TOKEN: Final = "second_token"  # noqa: S105 - the name of an allowance
"""A second token that stops being its pair's mirror image without any message: its own hash is tried a bit later."""

ALLOWANCES: Final = (CLOCK_INTERVAL, STATED_AHEAD, SAME_STAMP_ANSWER, REWRITTEN, SECOND_TOKEN)

ROUNDING_MS: Final = 1

HONEST_REST_MS: Final = 20_000
"""A rewritten connection is found out within this time if REST is honest."""

UNTRIED_MS: Final = 100
UNTRIED_MESSAGES: Final = 16
"""A second token's own hash is tried so long after a message, or with so many of them, whichever comes first."""


def true_since(now_ms: int, age: float, limit: float, link_ms: int) -> int:
    """The moment at which, or later, a book must have been so that is read with this age in seconds."""
    return now_ms - math.ceil(min(age, limit) * 1000) - link_ms - ROUNDING_MS


@frozen
class Claim:
    """What a granted read says of itself, and the way that it cannot see."""

    now_ms: int
    age: float
    """The view's verified age in seconds."""
    limit: float
    """The age that was asked for, in seconds, and never more than the configured one."""
    link_ms: int
    """The latency and the jitter of the network, one way."""

    @property
    def proven_ms(self) -> int:
        """The moment for which the view states that it was proven."""
        return self.now_ms - math.ceil(self.age * 1000)

    @property
    def since_ms(self) -> int:
        """The book must have been so at this moment or later."""
        return true_since(self.now_ms, self.age, self.limit, self.link_ms)


@frozen
class Excuse:
    """One of them, with what decides whether it explains this read."""

    name: str
    explains: Callable[[int], bool]
    """Told since when the book should have been so."""


def judge(was: Was, claim: Claim, excuses: Iterable[Excuse]) -> str:
    """Return TRUE, the name of the first excuse that explains the read, or WRONG. Excuses are looked at last."""
    since_ms = claim.since_ms
    if was(since_ms):
        return TRUE
    return next((excuse.name for excuse in excuses if excuse.explains(since_ms)), WRONG)


def clock_interval(was: Was, uncertainty: float | None, added_ms: int) -> Excuse:
    """Excuse a delay that the clock's interval hides.

    ``uncertainty`` is the view's own, in seconds; None: ``/time`` never answered. ``added_ms`` is what faults really
    added to the market's stream: nobody may be later than that.
    """
    slack_ms = added_ms if uncertainty is None else min(added_ms, math.ceil(uncertainty * 1000))
    return Excuse(CLOCK_INTERVAL, lambda since_ms: slack_ms > 0 and was(since_ms - slack_ms))


def stated_ahead(was: Was, misdated_ms: int) -> Excuse:
    """Excuse a message that was dated too young, by at most ``misdated_ms``: so far ahead did it state its time.

    It was at least as late itself: one that comes before the time that it states is from the future, and found out.
    """
    return Excuse(STATED_AHEAD, lambda since_ms: misdated_ms > 0 and was(since_ms - misdated_ms))


def same_stamp_answer(was: Was, kept_ms: int, *, lost: bool, heard: bool) -> Excuse:
    """Excuse a probe or a subscription that was answered with a book kept since ``kept_ms``.

    ``lost``: a change of the market after that never reached the client. ``heard``: something about this book did
    that states a later time than the answer.
    """
    return Excuse(SAME_STAMP_ANSWER, lambda _: lost and not heard and was(kept_ms))


def rewritten(claim: Claim, began_ms: int, until_ms: int, *, shown: bool, calls_too: bool) -> Excuse:
    """Excuse a connection that shows the past as if it were now, and perhaps calls that agree with it.

    ``shown``: what was read is of that past.
    """
    found_out_ms = max(began_ms + HONEST_REST_MS, until_ms if calls_too else 0)
    return Excuse(REWRITTEN, lambda _: shown and began_ms <= claim.now_ms <= found_out_ms + claim.link_ms)


def second_token(mirror_was: Was, claim: Claim, heard_ms: int, messages: int) -> Excuse:
    """Excuse the mirror image of the other token, for a moment after the first message since this one changed alone.

    ``mirror_was`` is the history of the mirror image, ``heard_ms`` when that message was heard, and ``messages`` how
    many of the market came since.
    """
    recent = claim.now_ms - heard_ms <= UNTRIED_MS + claim.link_ms and messages <= UNTRIED_MESSAGES
    return Excuse(SECOND_TOKEN, lambda since_ms: recent and mirror_was(since_ms))
