"""What each day brought, by the calendar of a time zone. Pure. :mod:`bots.common.risk.limits` holds days to a limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import define, field

from bots.common.money.amounts import EXACT
from bots.common.risk.groups import total
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

MOST: Final = 8
"""Days that are kept, the newest."""

LAST_MS: Final = 253_370_764_800_000
"""The year 9999: a clock that says more is read as that."""


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name. UTC needs no installed zones. Raises KeyError or ValueError."""
    return UTC if name == "UTC" else ZoneInfo(name)


def zone(_self: object, attribute: Attribute[Any], value: object) -> None:
    """Allow the name of a time zone that is installed."""
    try:
        zone_of(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        words = "UTC or the IANA name of an installed time zone, such as Europe/Berlin"
        raise ConfigError(attribute.name, value, words) from None


@define
class Steady:
    """The time of day, which no step sets ahead: it gains a hundredth at most on ``seconds``, a clock of its own.

    What is set back is followed at once. A clock that was behind when this began is caught up slowly, in which time a
    day lasts longer, and its limit with it.
    """

    seconds: Callable[[], float]
    reached: tuple[int, float] | None = None

    def __call__(self, now_ms: int) -> int:
        """Return what is believed when the wall clock says ``now_ms``."""
        at = self.seconds()
        if self.reached is not None:
            now_ms = min(now_ms, self.reached[0] + int((at - self.reached[1]) * 1_010))
        self.reached = now_ms, at
        return now_ms


@define
class Days:
    """Settled profit by day, negative for a loss. A clock that is set back takes no loss out of today's."""

    zone: tzinfo = UTC
    profits: dict[int, Decimal] = field(factory=dict)
    """By the proleptic ordinal of the day."""

    def day(self, now_ms: int) -> int:
        """Return the day of a time in Unix milliseconds."""
        return datetime.fromtimestamp(min(max(now_ms, 0), LAST_MS) / 1000, self.zone).toordinal()

    def name(self, now_ms: int) -> str:
        """Return the day in words, such as ``2026-11-30 in UTC``."""
        return f"{date.fromordinal(self.day(now_ms))} in {self.zone}"

    def book(self, now_ms: int, profit: Decimal) -> None:
        """Add a profit to its day; while the clock is set back by up to a day, to the day that was reached before."""
        day = self.day(now_ms)
        day += day + 1 in self.profits
        self.profits[day] = EXACT.add(self.profits.get(day, Decimal(0)), profit)
        while len(self.profits) > MOST:
            del self.profits[min(self.profits)]

    def since(self, now_ms: int) -> Decimal:
        """Return what was booked for this day, and for later ones by a clock that ran ahead."""
        day = self.day(now_ms)
        return total(profit for booked, profit in self.profits.items() if booked >= day)
