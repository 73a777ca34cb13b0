"""BookView: the immutable read. What it was, when it was proven, and what it would cost to trade on it.

A view is a state of the book that was proven equal to the venue's, with the age of that proof. It never
changes after it was made, so it can be kept, compared and passed between threads. Made by
:meth:`polymirror.core.engine.Engine.live` and nowhere else for execution.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen
from msgspec import Struct

from polymirror.core.book import Levels
from polymirror.core.proofs import Proof
from polymirror.core.states import BookState, Reason
from polymirror.core.units import (
    MONEY_SCALE,
    PRICE_SCALE,
    decimal_to_units,
    money_to_decimal,
    price_to_decimal,
    price_to_wire,
    size_to_decimal,
    size_to_wire,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


ONE_UNIT = Decimal("0.000001")
"""The smallest size, in shares; at most as much money buys it."""

# Quotients (mid, averages) are rounded to 28 digits whatever the caller's decimal context is.
_EXACT = Context(prec=28)


class Level(NamedTuple):
    """One price level. ``price`` in 1/10,000 of a pUSD, ``size`` in 1/1,000,000 of a share."""

    price: int
    size: int

    @property
    def decimal(self) -> tuple[Decimal, Decimal]:
        """Price in pUSD and size in shares, exact."""
        return price_to_decimal(self.price), size_to_decimal(self.size)

    def __str__(self) -> str:
        return f"{price_to_wire(self.price)} x {size_to_wire(self.size)}"


@frozen
class Fill:
    """What walking the levels gives. All numbers exact; a fee is not included."""

    shares: Decimal
    """Shares that can be traded."""
    money: Decimal
    """pUSD paid (buying) or received (selling) for them."""
    unfilled: Decimal
    """What was asked for and is not there: shares, or pUSD if an amount of money was asked for."""
    worst: Decimal | None
    """The last price reached, in pUSD: the limit price of an order that would get this fill."""

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there, but for money too little to buy one unit of size."""
        return self.unfilled < ONE_UNIT

    @property
    def average(self) -> Decimal | None:
        """The mean price per share in pUSD, or None when nothing can be traded."""
        return _EXACT.divide(self.money, self.shares) if self.shares else None


class BookView(Struct, frozen=True, eq=False, gc=False):
    """One token's book as it was proven. Prices in 1/10,000, sizes in 1/1,000,000, times in seconds."""

    token: str
    market: str
    state: BookState
    reason: Reason | None
    epoch: int
    """Grows by one whenever the book is cleared or replaced: views of different epochs do not connect."""
    doubts: int
    """Grows by one whenever the book leaves LIVE: between two views with equal ones it was never in doubt."""
    settled: bool
    """True only while nothing newer is known: no unproven change, no differing whole book, no open disagreement."""
    exchange_ms: int
    """The venue's time of the newest change in these levels, in ms since 1970."""
    apply_lag: float | None
    """From the venue's timestamp of the market's newest change to applied, in seconds. None: not known."""
    clock_uncertainty: float | None
    """The width of the interval in which the venue's clock lies, in seconds. A constant delay of the stream inside it
    cannot be known. None: the venue never answered ``/time``, and nothing bounds it."""
    read_at: float
    """When this view was made, on the mirror's monotonic clock."""
    proven_at: float | None
    """The latest moment for which these levels are proven, on the same clock. None only for views that are not LIVE."""
    last_proof: Proof | None
    """The proof that these levels rest on."""
    tick_size: int | None
    """The price grid in 1/10,000."""
    levels: Levels
    """The raw keys and sizes, best last. For tools; whoever trades reads what is below."""

    @property
    def verified_age(self) -> float:
        """Seconds from the proof of these levels to this read; infinite when there is no proof."""
        return float("inf") if self.proven_at is None else max(0.0, self.read_at - self.proven_at)

    @property
    def bids(self) -> tuple[Level, ...]:
        """All bids, best first."""
        raw = self.levels
        return tuple(map(Level, reversed(raw.bid_keys), reversed(raw.bid_sizes)))

    @property
    def asks(self) -> tuple[Level, ...]:
        """All asks, best first."""
        raw = self.levels
        return tuple(Level(PRICE_SCALE - k, s) for k, s in zip(reversed(raw.ask_keys), reversed(raw.ask_sizes)))  # noqa: B905 - equal lengths by construction

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or None."""
        raw = self.levels
        return Level(raw.bid_keys[-1], raw.bid_sizes[-1]) if raw.bid_keys else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or None."""
        raw = self.levels
        return Level(PRICE_SCALE - raw.ask_keys[-1], raw.ask_sizes[-1]) if raw.ask_keys else None

    @property
    def spread(self) -> int | None:
        """Best ask minus best bid in 1/10,000, or None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else ask.price - bid.price

    @property
    def mid(self) -> Decimal | None:
        """Half-way between the best prices, in pUSD, or None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else _EXACT.scaleb(Decimal((bid.price + ask.price) * 5), -5)

    @property
    def microprice(self) -> Decimal | None:
        """The best prices weighted by the opposite sizes, in pUSD, or None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        weighted = bid.price * ask.size + ask.price * bid.size
        return _EXACT.divide(Decimal(weighted), Decimal((bid.size + ask.size) * PRICE_SCALE))

    def bid_depth(self, down_to: int) -> int:
        """Return the size of all bids at ``down_to`` (1/10,000) or higher."""
        return sum(level.size for level in self.bids if level.price >= down_to)

    def ask_depth(self, up_to: int) -> int:
        """Return the size of all asks at ``up_to`` (1/10,000) or lower."""
        return sum(level.size for level in self.asks if level.price <= up_to)

    def cost_to_buy(self, shares: Decimal | int | str) -> Fill:
        """Walk the asks for a number of shares. Raises UnitError for floats and negatives."""
        return _walk_shares(self.asks, decimal_to_units("shares", shares, 6))

    def proceeds_of_selling(self, shares: Decimal | int | str) -> Fill:
        """Walk the bids for a number of shares. Raises UnitError for floats and negatives."""
        return _walk_shares(self.bids, decimal_to_units("shares", shares, 6))

    def buy_with(self, money: Decimal | int | str) -> Fill:
        """Walk the asks for an amount of pUSD. Raises UnitError for floats and negatives."""
        return _walk_money(self.asks, decimal_to_units("money", money, 10))

    def sell_for(self, money: Decimal | int | str) -> Fill:
        """Walk the bids until the proceeds are ``money`` pUSD. Raises UnitError for floats and negatives."""
        return _walk_money(self.bids, decimal_to_units("money", money, 10))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "levels")
        return f"BookView({shown})"

    def __str__(self) -> str:
        age = "never" if self.proven_at is None else f"{self.verified_age * 1000:.1f} ms ago"
        return f"{self.best_bid or 'no bid'} | {self.best_ask or 'no ask'} ({self.state.name}, proven {age})"


class Top(Struct, frozen=True, eq=False, gc=False):
    """The best levels of one token's book as it was proven, and nothing else: what a decision at the top needs.

    Made by :meth:`polymirror.core.engine.Engine.top` without a copy of the book. Times in seconds, prices and sizes as
    in :class:`Level`.
    """

    token: str
    epoch: int
    doubts: int
    settled: bool
    exchange_ms: int
    read_at: float
    proven_at: float
    _bid_key: int
    _bid_size: int
    _ask_key: int
    _ask_size: int

    @property
    def verified_age(self) -> float:
        """Seconds from the proof of these levels to this read."""
        return max(0.0, self.read_at - self.proven_at)

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or None."""
        return Level(self._bid_key, self._bid_size) if self._bid_size else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or None."""
        return Level(PRICE_SCALE - self._ask_key, self._ask_size) if self._ask_size else None

    def __str__(self) -> str:
        return (
            f"{self.best_bid or 'no bid'} | {self.best_ask or 'no ask'} (proven {self.verified_age * 1000:.1f} ms ago)"
        )


def _walk_shares(levels: Iterable[Level], wanted: int) -> Fill:
    left, money, worst = wanted, 0, None
    for level in levels:
        if not left:
            break
        take = min(left, level.size)
        left -= take
        money += take * level.price
        worst = level.price
    return _fill(wanted - left, money, size_to_decimal(left), worst)


def _walk_money(levels: Iterable[Level], wanted: int) -> Fill:
    left, shares, worst = wanted, 0, None
    for level in levels:
        # Whole size units only: a rest smaller than one unit at this price cannot be spent.
        take = min(level.size, left // level.price)
        if not take:
            break
        left -= take * level.price
        shares += take
        worst = level.price
        if take < level.size:
            break
    return _fill(shares, wanted - left, money_to_decimal(left), worst)


def _fill(shares: int, money: int, unfilled: Decimal, worst: int | None) -> Fill:
    assert money <= MONEY_SCALE * max(shares, 1)  # noqa: S101 - no share costs more than 1 pUSD
    price = None if worst is None else price_to_decimal(worst)
    return Fill(size_to_decimal(shares), money_to_decimal(money), unfilled, price)
