"""The names of the up/down markets: which window holds a moment, and what its slug is. Pure arithmetic.

The 5 and 15 minute windows lie on the UTC grid and carry their start in unix seconds. The hourly and daily
ones are named after US Eastern time; a day runs from noon to noon there, so two days of a year have 23 and 25
hours. Four-hour windows are not on the UTC grid and cannot be named by formula: look them up.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import Enum, unique
from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

LONG_NAMES: Final = {"btc": "bitcoin", "eth": "ethereum", "sol": "solana", "xrp": "xrp"}
"""The assets' names in hourly and daily slugs, as far as they were seen."""

SHORT_NAMES: Final = {"bitcoin": "btc", "ethereum": "eth", "solana": "sol", "ripple": "xrp", "dogecoin": "doge"}
"""What people call the assets: no slug of these windows begins so, and one that did would be looked for in vain."""

MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)

MAX_WINDOWS: Final = 10_000
"""The most windows one question may name."""

NOON: Final = 12


@unique
class Interval(Enum):
    """The lengths of up/down windows that have a formula for their slug."""

    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"
    HOUR = "1h"
    DAY = "1d"


UTC_GRID: Final = {Interval.FIVE_MINUTES: 300, Interval.FIFTEEN_MINUTES: 900}
"""Seconds of the windows that start on multiples of their length."""


@frozen(order=True)
class Window:
    """One window of an asset: from ``start`` to ``end``, unix seconds, the end excluded."""

    start: int
    end: int
    slug: str
    asset: str
    interval: Interval
    ambiguous: bool = False
    """Two windows share this slug: on the day the clocks go back, 1 am comes twice."""


def window_at(asset: str, interval: str | Interval, now: float) -> Window:
    """Return the window of ``asset`` (``btc``, ``eth``...) that runs at ``now``, in unix seconds.

    Raises :class:`~polymirror.errors.ConfigError` for an interval without a formula (``4h``), and for an asset whose
    long name is not known when the slug needs it.
    """
    length = _interval(interval)
    given: object = asset
    name = given.lower() if isinstance(given, str) else ""
    if not name.isalnum() or not name.isascii():
        raise ConfigError("asset", asset, "the short name of an asset, such as btc")
    if name in SHORT_NAMES:
        raise ConfigError("asset", asset, f"the short name of an asset: {SHORT_NAMES[name]} for this one")
    if length in UTC_GRID:
        seconds = UTC_GRID[length]
        start = int(now // seconds) * seconds
        return Window(start, start + seconds, f"{name}-updown-{length.value}-{start}", name, length)
    if name not in LONG_NAMES:
        raise ConfigError("asset", asset, f"one of {', '.join(LONG_NAMES)} for {length.value} windows, or looked up")
    return _hour(name, now) if length is Interval.HOUR else _day(name, now)


def window_slugs(
    asset: str, interval: str | Interval, now: float, *, behind: int = 0, ahead: int = 1
) -> tuple[Window, ...]:
    """Return the current window with ``behind`` earlier and ``ahead`` later ones, in order of time.

    An earlier window matters for a minute or two after its end: it trades until it is settled. Raises as
    :func:`window_at` does.
    """
    if behind < 0 or ahead < 0 or behind + ahead >= MAX_WINDOWS:
        raise ConfigError("behind, ahead", (behind, ahead), f"not negative, together less than {MAX_WINDOWS}")
    current = window_at(asset, interval, now)
    earlier: list[Window] = []
    later: list[Window] = []
    for _ in range(behind):
        earlier.append(window_at(asset, interval, (earlier[-1] if earlier else current).start - 1))
    for _ in range(ahead):
        later.append(window_at(asset, interval, (later[-1] if later else current).end))
    return (*reversed(earlier), current, *later)


def _interval(interval: str | Interval) -> Interval:
    try:
        return Interval(interval)
    except ValueError:
        allowed = ", ".join(each.value for each in Interval)
        raise ConfigError("interval", interval, f"one of {allowed}; others have no formula, look them up") from None


def _hour(asset: str, now: float) -> Window:
    # Eastern time is whole hours away from UTC, so the hours begin together.
    start = int(now // 3600) * 3600
    local = _eastern(start)
    hour = f"{local.hour % NOON or NOON}{'am' if local.hour < NOON else 'pm'}"
    slug = f"{LONG_NAMES[asset]}-up-or-down-{_date(local.date())}-{hour}-et"
    twins = [_eastern(start + shift) for shift in (-3600, 3600)]
    ambiguous = any((twin.date(), twin.hour) == (local.date(), local.hour) for twin in twins)
    return Window(start, start + 3600, slug, asset, Interval.HOUR, ambiguous)


def _day(asset: str, now: float) -> Window:
    local = _eastern(now)
    # The date in the slug is that of the end.
    last = local.date() if local.hour < NOON else local.date() + timedelta(days=1)
    slug = f"{LONG_NAMES[asset]}-up-or-down-on-{_date(last)}"
    return Window(_noon(last - timedelta(days=1)), _noon(last), slug, asset, Interval.DAY)


def _date(day: date) -> str:
    return f"{MONTHS[day.month - 1]}-{day.day}-{day.year}"


def _noon(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, NOON, tzinfo=_zone()).timestamp())


def _eastern(unix_seconds: float) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone(_zone())


@cache
def _zone() -> ZoneInfo:
    # Hardly ever needed: it takes a hundredth of the time of importing the library.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError as error:
        raise ConfigError("time zones", "none installed", "the system's, or those of 'pip install tzdata'") from error
