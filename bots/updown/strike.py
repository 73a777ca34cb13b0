"""What settles an up/down market, and from which price its window started. Pure.

Since 14 August 2026 the venue settles 5 and 15 minute windows on a 60-second time-weighted average: up if the
average at the end is at least the one at the start. A market that does not say exactly this is not traded.
The start price (the strike) is believed from our own feed only when a tick lies at the boundary itself;
otherwise the bot waits for the venue's official value. Where both are there they must agree: a market whose strike is
in doubt is not traded. Bots call :func:`find_strike` until it answers.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.updown.oracles.base import HIGHEST, LOWEST, sound_price
from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from bots.updown.oracles.buffer import OracleBuffer
    from polymirror.venue.market import Market
    from polymirror.venue.windows import Window

TWAP_SINCE: Final = 1_786_665_600
"""Unix seconds from which on the 60-second average settles (measured on the venue's markets)."""

LOOKBACK_S: Final = 60

BOUNDARY_MS: Final = 500
"""A tick further from the boundary than this is not the strike (protocol notes: trusted at half a second)."""

MAX_GAP: Final = Decimal("0.0001")
"""The venue's strike and our tick at the boundary may differ by this share of it: they were equal to the last digit
wherever both were recorded (protocol notes)."""

MAX_DRIFT: Final = Decimal("0.02")
"""Without a tick at the boundary the venue's strike is held against our newest price, and may differ by this share."""

_SOURCE: Final = re.compile(r"https://data\.chain\.link/streams/([a-z0-9]+)-usd-twap-60s-streams/?")


@unique
class StrikeSource(Enum):
    """Who says what the window's start price was."""

    OFFICIAL = "OFFICIAL"
    """The venue's own description of the market."""
    BOUNDARY_TICK = "BOUNDARY_TICK"
    """Our feed's tick at the boundary."""


@frozen
class Strike:
    """The price that a window's end is compared with, in dollars."""

    price: Decimal
    source: StrikeSource


@frozen
class StrikeRefusal:
    """The strike is in doubt, with the numbers that say why: the market is not to be traded any more."""

    why: str


def recognise(market: Market, window: Window) -> str:
    """Return why a market's settlement is not understood, in words; empty when it is.

    Understood is a Chainlink 60-second average of the window's own asset, stated by the page of its feed and by
    the market's settings alike; whatever is missing or contradicts the rest is not guessed.
    """
    oracle = market.oracle
    if window.start < TWAP_SINCE:
        return f"windows before {TWAP_SINCE} settled by another rule"
    source = _SOURCE.fullmatch(oracle.source or "")
    if source is None:
        return f"its settlement source is not recognised: {(oracle.source or 'none stated')[:80]}"
    if source[1] != window.asset:
        return f"its settlement source is of {source[1][:16]}, not of {window.asset}"
    if oracle.twap_enabled is not True or oracle.twap_lookback_seconds != LOOKBACK_S:
        stated = f"enabled {oracle.twap_enabled}, look-back {oracle.twap_lookback_seconds} s"
        return f"its average is not stated as one of {LOOKBACK_S} s ({stated})"
    if {token.outcome.lower() for token in market.tokens} != {"up", "down"}:
        return "its outcomes are not up and down"
    return ""


@frozen
class StrikeLimits:
    """What a strike must be to be believed: shares of our own price, and dollars."""

    max_gap: Decimal = MAX_GAP
    """From our tick at the boundary."""
    max_drift: Decimal = MAX_DRIFT
    """From our newest price, where there is no tick at the boundary."""
    lowest: Decimal = LOWEST
    highest: Decimal = HIGHEST


BELIEVED: Final = StrikeLimits()


def find_strike(
    buffer: OracleBuffer, asset: str, start_ms: int, official: Decimal | None, limits: StrikeLimits = BELIEVED
) -> Strike | StrikeRefusal | None:
    """Return the strike of the window that starts at ``start_ms`` (Unix milliseconds), or None: not known yet.

    ``official`` is the venue's word, in dollars, if it has spoken. It is refused when it is no price of anything, when
    it is too far from our tick at the boundary, or without one from our newest price; it is not believed without any.
    """
    tick = buffer.nearest(asset, start_ms, TickKind.TWAP60, BOUNDARY_MS)
    if official is None:
        return None if tick is None else _within(Strike(tick.price, StrikeSource.BOUNDARY_TICK), limits)
    try:
        sound_price(official)
    except ValueError as error:
        return StrikeRefusal(f"the official strike: {error}")
    if isinstance(found := _within(Strike(official, StrikeSource.OFFICIAL), limits), StrikeRefusal):
        return found
    newest = (buffer.latest(asset, TickKind.TWAP60), limits.max_drift)
    ours, allowed = (tick, limits.max_gap) if tick is not None else newest
    if ours is None:
        return None
    if abs(official - ours.price) > allowed * ours.price:
        apart = abs(official - ours.price) / ours.price
        where = "our tick at the boundary" if tick is not None else "our newest price"
        return StrikeRefusal(
            f"the official strike {official} is {apart:.4%} from {where}, {ours.price}: over {allowed:%}"
        )
    return found


def _within(strike: Strike, limits: StrikeLimits) -> Strike | StrikeRefusal:
    if limits.lowest <= strike.price <= limits.highest:
        return strike
    return StrikeRefusal(f"the strike {strike.price} is not from {limits.lowest} to {limits.highest} dollars")


def can_tell(buffer: OracleBuffer, asset: str, start_ms: int, end_ms: int) -> bool:
    """Whether our own ticks at both boundaries say who won."""
    first, last = (buffer.nearest(asset, at_ms, TickKind.TWAP60, BOUNDARY_MS) for at_ms in (start_ms, end_ms))
    return first is not None and last is not None and abs(last.price - first.price) > MAX_GAP * first.price


def contradicted(buffer: OracleBuffer, asset: str, start_ms: int, end_ms: int, up_pays: Decimal | None) -> str:
    """Say why our own ticks at both boundaries name another winner than the venue; empty: they do not, or nothing."""
    first, last = (buffer.nearest(asset, at_ms, TickKind.TWAP60, BOUNDARY_MS) for at_ms in (start_ms, end_ms))
    if first is None or last is None or up_pays not in {0, 1} or abs(last.price - first.price) <= MAX_GAP * first.price:
        return ""
    if (last.price > first.price) == (up_pays == 1):
        return ""
    return f"the venue says that {'up' if up_pays else 'down'} won, our prices went from {first.price} to {last.price}"
