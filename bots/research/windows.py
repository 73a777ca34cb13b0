"""One window of an up/down market as somebody recorded it: oracle, token prices, receive times, outcome, rules.

Loaders make them, everything else here reads them. Numbers are whole: dollars in 1/100,000,000, token prices in
1/10,000 of a pUSD, shares in 1/1,000,000, times in Unix milliseconds. A value counts from when it was *received*;
where a recorder kept no receive times, the loader states the lag that it assumes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from decimal import Decimal
from enum import Enum, unique
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen
from attrs.converters import optional

from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bots.research.eras import Rules

DOLLAR_E8: Final = 100_000_000
ONE_E4: Final = 10_000
SHARE_E6: Final = 1_000_000

MAX_SAMPLES: Final = 1_000_000
"""Samples of one series; a longer one is refused by the loaders."""


@unique
class QuoteKind(Enum):
    """What a token's recorded price is."""

    BOOK = "best bid and ask"
    PRINT = "prints: trades or mid prices"


def _whole(values: Iterable[int]) -> array[int]:
    return array("q", values)


@frozen(kw_only=True, eq=False)
class Ticks:
    """The oracle's prices, in the order in which they were received."""

    at_ms: array[int] = field(converter=_whole)
    """The oracle's own time of each."""
    received_ms: array[int] = field(converter=_whole)
    price_e8: array[int] = field(converter=_whole)

    def __attrs_post_init__(self) -> None:
        """Refuse series that are not of one length, or out of order."""
        _check(self.received_ms, self.at_ms, self.price_e8)

    def until(self, received_ms: int) -> Ticks:
        """Return what was received up to a time."""
        end = bisect_right(self.received_ms, received_ms)
        return Ticks(at_ms=self.at_ms[:end], received_ms=self.received_ms[:end], price_e8=self.price_e8[:end])

    def later(self, by_ms: int) -> Ticks:
        """Return the same prices, each received so much later (or earlier, below 0)."""
        return evolve(self, received_ms=[each + by_ms for each in self.received_ms])

    def newest(self, received_ms: int) -> int | None:
        """Return the index of the newest one that was received by then."""
        end = bisect_right(self.received_ms, received_ms)
        return end - 1 if end else None


@frozen(kw_only=True, eq=False)
class Quotes:
    """One token's prices, in the order in which they were received. A price of 0: that side is empty or not known."""

    received_ms: array[int] = field(converter=_whole)
    bid_e4: array[int] = field(converter=_whole)
    ask_e4: array[int] = field(converter=_whole)
    ask_size_e6: array[int] | None = field(default=None, converter=optional(_whole))
    """Shares at the best ask; ``None``: the depth was not recorded."""
    kind: QuoteKind = QuoteKind.BOOK
    derived: bool = False
    """Made from the other token: what it costs here is 1 minus what is paid there."""

    def __attrs_post_init__(self) -> None:
        """Refuse series that are not of one length, or out of order."""
        _check(self.received_ms, self.bid_e4, self.ask_e4, *(() if self.ask_size_e6 is None else (self.ask_size_e6,)))

    def until(self, received_ms: int) -> Quotes:
        """Return what was received up to a time."""
        end = bisect_right(self.received_ms, received_ms)
        sizes = None if self.ask_size_e6 is None else self.ask_size_e6[:end]
        cut = {name: getattr(self, name)[:end] for name in ("received_ms", "bid_e4", "ask_e4")}
        return evolve(self, **cut, ask_size_e6=sizes)

    def newest(self, received_ms: int) -> int | None:
        """Return the index of the newest one that was received by then."""
        end = bisect_right(self.received_ms, received_ms)
        return end - 1 if end else None

    def first_after(self, received_ms: int) -> int | None:
        """Return the index of the first one that was received *after* a time."""
        start = bisect_right(self.received_ms, received_ms)
        return start if start < len(self.received_ms) else None

    def complement(self, *, bid_size_e6: Iterable[int] | None = None) -> Quotes:
        """Return the other token's prices, as far as they follow: who sells one at p buys the other at 1 - p."""
        return Quotes(
            received_ms=self.received_ms,
            bid_e4=[ONE_E4 - each if each else 0 for each in self.ask_e4],
            ask_e4=[ONE_E4 - each if each else 0 for each in self.bid_e4],
            ask_size_e6=bid_size_e6,
            kind=self.kind,
            derived=True,
        )


@frozen(kw_only=True, eq=False)
class Window:
    """One window. ``None``: not recorded."""

    source: str
    """The data set that it is from."""
    asset: str
    start_ms: int
    end_ms: int
    rules: Rules
    """Fee, taker delay and settlement as they were then."""
    oracle: Ticks
    """Those from before the window may be among them: how far the asset wanders is measured on them."""
    oracle_kind: TickKind = TickKind.SPOT
    oracle_name: str = "Chainlink"
    receives: bool = True
    """Whether receive times were recorded. False: they are assumed."""
    up: Quotes | None = None
    down: Quotes | None = None
    strike_e8: int | None = None
    strike_known_ms: int = 0
    """From when on the strike could be known."""
    up_won: bool | None = None

    @property
    def name(self) -> str:
        """The slug, which is unique within a source."""
        return f"{self.asset}-updown-{self.seconds // 60}m-{self.start_ms // 1000}"

    @property
    def seconds(self) -> int:
        """The length of the window."""
        return (self.end_ms - self.start_ms) // 1000

    @property
    def day(self) -> int:
        """Its UTC day, counted since 1970: the usual block of what is not independent."""
        return self.start_ms // 86_400_000

    def quotes(self, *, up: bool) -> Quotes | None:
        """Return the prices of one side."""
        return self.up if up else self.down

    def until(self, received_ms: int) -> Window:
        """Return what could be known at a time: nothing received later, and no outcome."""
        return evolve(
            self,
            oracle=self.oracle.until(received_ms),
            up=None if self.up is None else self.up.until(received_ms),
            down=None if self.down is None else self.down.until(received_ms),
            strike_e8=self.strike_e8 if self.strike_known_ms <= received_ms else None,
            up_won=None,
        )


def e8(text: str | float | Decimal) -> int:
    """Return dollars in 1/100,000,000; digits beyond are cut. Raises ArithmeticError for what is no number."""
    return int(Decimal(str(text)).scaleb(8))


def e4(text: str | float | Decimal) -> int:
    """Return a token's price in 1/10,000 of a pUSD, rounded. Raises ArithmeticError for what is no number."""
    return round(Decimal(str(text)).scaleb(4))


def e6(text: str | float | Decimal) -> int:
    """Return shares in 1/1,000,000. Raises ArithmeticError for what is no number."""
    return int(Decimal(str(text)).scaleb(6))


def strike_from(ticks: Ticks, start_ms: int, within_ms: int = 500) -> tuple[int, int] | None:
    """Return the price at the opening and when it was received: the tick nearest to it by the oracle's own time.

    ``None``: none lies within ``within_ms``. That the settlement takes this very tick was measured (protocol notes).
    """
    low, high = bisect_left(ticks.at_ms, start_ms - within_ms), bisect_right(ticks.at_ms, start_ms + within_ms)
    best = min(range(low, high), key=lambda each: abs(ticks.at_ms[each] - start_ms), default=None)
    return None if best is None else (ticks.price_e8[best], ticks.received_ms[best])


def _check(times: array[int], *others: array[int]) -> None:
    if any(len(each) != len(times) for each in others):
        raise ValueError("the columns of a series are not of one length")
    if len(times) > MAX_SAMPLES:
        raise ValueError(f"{len(times)} samples in one series: {MAX_SAMPLES} at most")
    if any(later < earlier for earlier, later in pairwise(times)):
        raise ValueError("the receive times of a series go back")
