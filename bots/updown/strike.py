"""What settles an up/down market, and from which price its window started. Pure.

Since 14 August 2026 the venue settles 5 and 15 minute windows on a 60-second time-weighted average: up if the
average at the end is at least the one at the start. A market that does not say exactly this is not traded.
The start price (the strike) is believed from our own feed only when a tick lies at the boundary itself;
otherwise the bot waits for the venue's official value. Bots call :func:`find_strike` until it answers.
"""

from __future__ import annotations

import re
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from decimal import Decimal

    from bots.updown.oracles.buffer import OracleBuffer
    from polymirror.venue.market import Market
    from polymirror.venue.windows import Window

TWAP_SINCE: Final = 1_786_665_600
"""Unix seconds from which on the 60-second average settles (measured on the venue's markets)."""

LOOKBACK_S: Final = 60

BOUNDARY_MS: Final = 500
"""A tick further from the boundary than this is not the strike (protocol notes: trusted at half a second)."""

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


def find_strike(buffer: OracleBuffer, asset: str, start_ms: int, official: Decimal | None) -> Strike | None:
    """Return the strike of the window that starts at ``start_ms`` (Unix milliseconds), or None: not known yet."""
    if official is not None:
        return Strike(official, StrikeSource.OFFICIAL)
    tick = buffer.nearest(asset, start_ms, TickKind.TWAP60, BOUNDARY_MS)
    return None if tick is None else Strike(tick.price, StrikeSource.BOUNDARY_TICK)
