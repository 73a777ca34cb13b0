"""The prices that decide simulated rounds: a random walk with jumps for each asset, known at every time.

Pure and a function of the seed alone: any price of any time can be asked for, in any order and any number
of times, and the answer is the same. Nothing here knows markets, and nothing here sends prices: the makers
of :mod:`polymirror.simulator.exchange.fair` look at them late, rounds are decided by them, feeds tell them.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field

from polymirror.errors import ConfigError
from polymirror.simulator.settings import DEFAULT_START_MS, START_PRICES, OracleConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES = 8
"""Prices are whole multiples of ten to the power of minus this many dollars."""

BLOCK_TICKS = 900
"""Prices are made this many at a time; of each block only the first one is kept for good."""

MAX_BLOCKS_KEPT = 8
"""So many blocks of an asset are kept as a whole; others are made again when they are asked for."""

MAX_BLOCKS = 400_000
"""So many blocks exist: a bit more than eleven years of quarter hours."""

MAX_TICKS = 100_000
"""The most prices one question may ask for."""

EARLIER_MS = 7_200_000
"""The walk begins this long before the start of the exchange, so that there is a past to look at."""


class OracleTick(NamedTuple):
    """The price of an asset from ``at_ms`` on (Unix milliseconds), in dollars with eight decimals."""

    asset: str
    at_ms: int
    price: Decimal


class Block(NamedTuple):
    """Some prices in a row, in 1/100,000,000 dollars; one more than it has ticks, where the next one begins."""

    prices: list[int]
    # The sum of the first n prices, for n from 0 on.
    sums: list[int]


@define(eq=False)
class Walk:
    """The prices of one asset by tick number; negative numbers are before the walk begins."""

    name: str
    config: OracleConfig
    # The first price of each block, as far as blocks were made.
    opens: list[int]
    blocks: OrderedDict[int, Block] = field(factory=OrderedDict)

    def price(self, tick: int) -> int:
        """The price of a tick, in 1/100,000,000 dollars."""
        number, place = divmod(tick, BLOCK_TICKS)
        return self.opens[0] if number < 0 else self._block(number).prices[place]

    def total(self, first: int, end: int) -> int:
        """The sum of the prices from tick ``first`` to before tick ``end``."""
        total = self.opens[0] * max(0, min(end, 0) - first)
        first = max(first, 0)
        while first < end:
            number, place = divmod(first, BLOCK_TICKS)
            stop = min(BLOCK_TICKS, place + end - first)
            sums = self._block(number).sums
            total += sums[stop] - sums[place]
            first += stop - place
        return total

    def _block(self, number: int) -> Block:
        found = self.blocks.get(number)
        if found is not None:
            return found
        if number >= MAX_BLOCKS:
            raise ConfigError("tick of the simulated oracle", number * BLOCK_TICKS, f"below {MAX_BLOCKS * BLOCK_TICKS}")
        for each in range(min(number, len(self.opens) - 1), number + 1):
            found = self._make(each)
        assert found is not None  # noqa: S101 - the range above is never empty
        self.blocks[number] = found
        if len(self.blocks) > MAX_BLOCKS_KEPT:
            self.blocks.popitem(last=False)
        return found

    def _make(self, number: int) -> Block:
        config = self.config
        seconds = config.tick_ms / 1_000
        spread = config.volatility * seconds**0.5
        jump_chance = config.jumps_per_hour / 3_600 * seconds
        # A generator of its own for each block: blocks can be made again, and in any order.
        rng = random.Random(f"{self.name}/{number}")
        price = self.opens[number]
        prices, sums, total = [price], [0], 0
        for _ in range(BLOCK_TICKS):
            total += price
            sums.append(total)
            change = rng.gauss(0.0, spread)
            if rng.random() < jump_chance:
                change += rng.choice((-1, 1)) * rng.expovariate(1.0) * config.jump_size
            # Never more than half of it at once, so it stays positive however wild it is.
            price += round(price * max(-0.5, min(change, 0.5)))
            prices.append(price)
        if number + 1 == len(self.opens):
            self.opens.append(price)
        return Block(prices, sums)


class PriceProcess:
    """The price of each asset, each ``tick_ms`` milliseconds of Unix time.

    ``assets`` are their prices two hours before ``start_ms``, in dollars (eight decimals are kept); before
    that they do not move. Asking for an asset that is not among them, or for more than some eleven years,
    raises :class:`~polymirror.errors.ConfigError`. Memory is bounded: a few thousand prices for each asset,
    and one number for each quarter of an hour that has passed.
    """

    def __init__(
        self,
        seed: int,
        assets: Mapping[str, Decimal] = START_PRICES,
        *,
        start_ms: int = DEFAULT_START_MS,
        config: OracleConfig | None = None,
    ) -> None:
        self.config: OracleConfig = config or OracleConfig()
        self.tick_ms: int = self.config.tick_ms
        self._first_tick = (start_ms - EARLIER_MS) // self.tick_ms
        self._walks = {
            name: Walk(f"{seed}/{name}", self.config, [int(price.scaleb(PLACES))]) for name, price in assets.items()
        }

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets that have a price."""
        return tuple(self._walks)

    def price(self, asset: str, at_ms: int) -> Decimal:
        """The newest price that is not after ``at_ms``."""
        return _dollars(self._walk(asset).price(self._tick(at_ms)))

    def ticks(self, asset: str, after_ms: int, until_ms: int) -> list[OracleTick]:
        """The prices after ``after_ms`` up to and including ``until_ms``, in order of time; 100,000 at most."""
        walk = self._walk(asset)
        first, last = after_ms // self.tick_ms + 1, until_ms // self.tick_ms
        if last - first >= MAX_TICKS:
            raise ConfigError("until_ms", until_ms, f"at most {MAX_TICKS} prices of {self.tick_ms} ms after {after_ms}")
        return [
            OracleTick(asset, number * self.tick_ms, _dollars(walk.price(number - self._first_tick)))
            for number in range(first, last + 1)
        ]

    def twap(self, asset: str, at_ms: int, lookback_s: int = 60) -> Decimal:
        """The average of the prices in the ``lookback_s`` seconds before ``at_ms``, itself excluded, rounded down.

        How the venue's oracle samples is not published; the mean of the whole-second prices before the moment
        is what studies found to be close. No look-back, or none that holds a tick, is the price itself.
        """
        # The first ticks that are not before these two times.
        first, end = self._tick(at_ms - lookback_s * 1_000 - 1) + 1, self._tick(at_ms - 1) + 1
        if first >= end:
            return self.price(asset, at_ms)
        return _dollars(self._walk(asset).total(first, end) // (end - first))

    def _tick(self, at_ms: int) -> int:
        return at_ms // self.tick_ms - self._first_tick

    def _walk(self, asset: str) -> Walk:
        try:
            return self._walks[asset]
        except KeyError:
            raise ConfigError("asset", asset, f"one of {', '.join(self._walks)}") from None


def _dollars(units: int) -> Decimal:
    return Decimal(units).scaleb(-PLACES)
