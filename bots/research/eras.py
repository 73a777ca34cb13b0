"""Which rules held when: fee, taker delay and settlement of the 5 and 15 minute markets, by date. Pure.

The dates are those of the protocol notes, sections 4.3, 7.3, 7.5 and 11; a run's configuration may state others. An era
is what a window's three rules come to, so results of different rules are never added up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from polymirror.core.fees import FeeSchedule
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NO_DATE: Final = "1970-01-01"

FEES: Final = (
    f"{NO_DATE} 5m,15m 0 1",
    "2026-01-05 15m 0.25 2",
    "2026-02-12 5m 0.25 2",
    "2026-03-30 5m,15m 0.072 1",
    "2026-06-05 5m,15m 0.07 1",
)
"""From when on, for which windows, rate and exponent. The last was first seen on 2026-06-07; its day is not known."""

DELAYS: Final = (
    f"{NO_DATE} 5m 0",
    f"{NO_DATE} 15m 0",
    "2025-11-14 15m 500",
    "2026-02-18 15m 0",
    "2026-06-05 5m,15m 250",
    "2026-08-17T11:00 5m,15m 50",
    "2026-09-04 5m,15m 150",
)
"""From when on, for which windows, and for how many milliseconds the venue holds taker orders back."""

SETTLEMENTS: Final = (
    f"{NO_DATE} 5m,15m spot",
    "2026-08-07 5m twap30",
    "2026-08-14 5m,15m twap60",
)
"""From when on, for which windows, and which of the oracle's prices settles."""

KINDS: Final = ("spot", "twap30", "twap60")
MAX_DELAY_MS: Final = 60_000


@frozen
class Rules:
    """What held for one window."""

    era: str
    fee: FeeSchedule
    taker_delay_ms: int
    settlement: str


@frozen
class _Change:
    since_ms: int
    intervals: tuple[str, ...]
    values: tuple[str, ...]


def _changes(name: str, lines: Iterable[str], values: int) -> tuple[_Change, ...]:
    found = []
    for line in lines:
        words = line.split()
        allowed = f"'DATE WINDOWS {' '.join(['VALUE'] * values)}', such as '2026-01-05 5m,15m ...'"
        if len(words) != 2 + values:
            raise ConfigError(f"eras.{name}", line, allowed)
        try:
            when = datetime.fromisoformat(words[0]).replace(tzinfo=UTC)
        except ValueError:
            raise ConfigError(f"eras.{name}", line, allowed) from None
        found.append(_Change(int(when.timestamp() * 1000), tuple(words[1].split(",")), tuple(words[2:])))
    return tuple(sorted(found, key=lambda each: each.since_ms))


@frozen(kw_only=True)
class Eras:
    """The table of rules. Each line: a date (UTC), the windows, and the values. Raises ConfigError."""

    fees: tuple[str, ...] = field(default=FEES)
    delays: tuple[str, ...] = field(default=DELAYS)
    settlements: tuple[str, ...] = field(default=SETTLEMENTS)
    # The lines, read at the start, so that a wrong one is told then.
    _fees: tuple[_Change, ...] = field(init=False)
    _delays: tuple[_Change, ...] = field(init=False)
    _settlements: tuple[_Change, ...] = field(init=False)

    @_fees.default
    def _read_fees(self) -> tuple[_Change, ...]:
        return _changes("fees", self.fees, 2)

    @_delays.default
    def _read_delays(self) -> tuple[_Change, ...]:
        return _changes("delays", self.delays, 1)

    @_settlements.default
    def _read_settlements(self) -> tuple[_Change, ...]:
        return _changes("settlements", self.settlements, 1)

    def __attrs_post_init__(self) -> None:
        """Refuse values that cannot hold."""
        for change in self._fees:
            if problem := _fee(change.values).problem:
                raise ConfigError("eras.fees", " ".join(change.values), f"terms that can be computed with: {problem}")
        for change in self._delays:
            if not change.values[0].isdigit() or int(change.values[0]) > MAX_DELAY_MS:
                raise ConfigError("eras.delays", change.values[0], f"0 to {MAX_DELAY_MS} milliseconds")
        for change in self._settlements:
            if change.values[0] not in KINDS:
                raise ConfigError("eras.settlements", change.values[0], f"one of {', '.join(KINDS)}")

    def rules(self, interval: str, start_ms: int, fee: FeeSchedule | None = None) -> Rules:
        """Return what held for a window of this length ("5m", "15m"). ``fee``: the market's own terms, if recorded."""
        terms = _fee(_at(self._fees, interval, start_ms) or ("0", "1")) if fee is None else fee
        delay = int((_at(self._delays, interval, start_ms) or ("0",))[0])
        settlement = (_at(self._settlements, interval, start_ms) or ("spot",))[0]
        words = [interval, _told(terms)]
        words += [f"delay {delay} ms" if delay else "no delay", settlement]
        return Rules(", ".join(words), terms, delay, settlement)


def _told(terms: FeeSchedule) -> str:
    power = "" if terms.exponent == 1 else f" to the power of {terms.exponent}"
    return f"fee {terms.rate.normalize()}{power}" if terms.rate else "no fee"


def _fee(values: Sequence[str]) -> FeeSchedule:
    try:
        return FeeSchedule(Decimal(values[0]), int(values[1]))
    except (InvalidOperation, ValueError):
        raise ConfigError("eras.fees", " ".join(values), "a rate and a whole exponent, such as '0.07 1'") from None


def _at(changes: Sequence[_Change], interval: str, at_ms: int) -> tuple[str, ...] | None:
    held = [each.values for each in changes if each.since_ms <= at_ms and interval in each.intervals]
    return held[-1] if held else None
