"""The 60-second average of an asset computed here, for feeds that deliver only spot prices. Pure.

For signals only: how the venue's oracle samples its average is not published, so a computed one is close to it
but is never the price that settles a market. Bots call it; the strike never does.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Final

from bots.updown.oracles.base import EXACT
from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from bots.updown.oracles.buffer import OracleBuffer

LOOKBACK_MS: Final = 60_000

MAX_HOLE_MS: Final = 5_000
"""No price in the window may have to stand for longer than this. The relay leaves out some 3 % of the seconds."""

_UNIT: Final = Decimal("1e-18")


def twap_from_spot(
    buffer: OracleBuffer, asset: str, at_ms: int, *, lookback_ms: int = LOOKBACK_MS, max_hole_ms: int = MAX_HOLE_MS
) -> Decimal | None:
    """Return the average of the spot prices over the ``lookback_ms`` before ``at_ms``, cut to 18 decimals.

    The rule: each price holds from its own time until the next one, and counts by the milliseconds for which it
    holds within ``[at_ms - lookback_ms, at_ms)``. With a price for every whole second that is the plain mean of the
    sixty before ``at_ms``, which in a study of 50 strikes was 0.28 dollars from the official value at the median
    (Bitcoin). The sum is exact; only the quotient is cut.

    Returns ``None`` when a price would have to hold for more than ``max_hole_ms``, at the edges too: then the
    average is a guess.
    """
    begin = at_ms - lookback_ms
    first = buffer.at(asset, begin, TickKind.SPOT)
    if first is None:
        return None
    price, since, told_at = first.price, begin, first.at_ms
    total = Decimal(0)
    for tick in buffer.between(asset, TickKind.SPOT, begin + 1, at_ms - 1):
        if tick.at_ms - told_at > max_hole_ms:
            return None
        total = EXACT.fma(price, tick.at_ms - since, total)
        price, since, told_at = tick.price, tick.at_ms, tick.at_ms
    if at_ms - told_at > max_hole_ms:
        return None
    total = EXACT.fma(price, at_ms - since, total)
    # The one operation that is not exact: the quotient is cut on purpose.
    wide = EXACT.copy()
    wide.clear_traps()
    return wide.divide(total, lookback_ms).quantize(_UNIT, rounding=ROUND_DOWN, context=wide)
