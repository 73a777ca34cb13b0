"""BookView: the immutable read. What it was, when it was proven, and what it would cost to trade on it.

A view is a state of the book that was proven equal to the venue's, with the age of that proof. It never
changes after it was made, so it can be kept, compared and passed between threads. Made by
:meth:`polymirror.core.engine.Engine.live` and nowhere else for execution.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from polymirror.config import check_flag
from polymirror.core.book import Levels
from polymirror.core.fees import FeeSchedule
from polymirror.core.fills import Fill, Walk
from polymirror.core.frames import PRICE, SIZE, make_frame
from polymirror.core.level import Level
from polymirror.core.proofs import Proof
from polymirror.core.states import BookState, Reason
from polymirror.core.top import Best
from polymirror.core.units import (
    PRICE_SCALE,
    decimal_to_units,
    limit_to_units,
    price_to_decimal,
    price_to_wire,
    size_to_decimal,
    size_to_wire,
)
from polymirror.errors import ConfigError, FeeUnknown, UnitError

if TYPE_CHECKING:
    from collections.abc import Sequence


class BookView(Best, frozen=True, eq=False, gc=False):
    """One token's book as it was proven. Prices and money are Decimals in pUSD, sizes in shares, times in seconds.

    What ends in ``_e4`` or ``_e6`` is a raw int, in 1/10,000 of a pUSD or in 1/1,000,000 of a share: the same number,
    without the cost of a Decimal.
    """

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
    tick_size_e4: int | None
    """The price grid in 1/10,000 of a pUSD. None: not told yet."""
    levels: Levels
    """The raw keys and sizes, best last. For tools; whoever trades reads what is below."""
    fee: FeeSchedule | None = None
    """The market's fee terms. None: they are not known, which is not the same as no fee."""

    @property
    def verified_age(self) -> float:
        """Seconds from the proof of these levels to this read; infinite when there is no proof."""
        return float("inf") if self.proven_at is None else max(0.0, self.read_at - self.proven_at)

    @property
    def tick_size(self) -> Decimal | None:
        """The price grid in pUSD. None: not told yet."""
        return None if self.tick_size_e4 is None else price_to_decimal(self.tick_size_e4)

    @property
    def bids(self) -> tuple[Level, ...]:
        """All bids, best first."""
        return _bids(self.levels.bid_keys, self.levels.bid_sizes)

    @property
    def asks(self) -> tuple[Level, ...]:
        """All asks, best first."""
        return _asks(self.levels.ask_keys, self.levels.ask_sizes)

    def top(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return the best bids and the best asks, at most so many of each, best first. Raises ConfigError below 1."""
        raw, most = self.levels, slice(-_checked_count("levels", levels), None)
        return _bids(raw.bid_keys[most], raw.bid_sizes[most]), _asks(raw.ask_keys[most], raw.ask_sizes[most])

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

    # ---- Depth ---------------------------------------------------------------------------------------

    def bid_depth(self, down_to: Decimal | int | str) -> Decimal:
        """Return the shares of all bids at ``down_to`` pUSD or higher. Raises UnitError for what is no price."""
        return size_to_decimal(self.bid_depth_e6(limit_to_units("down_to", down_to, ROUND_CEILING)))

    def ask_depth(self, up_to: Decimal | int | str) -> Decimal:
        """Return the shares of all asks at ``up_to`` pUSD or lower. Raises UnitError for what is no price."""
        return size_to_decimal(self.ask_depth_e6(limit_to_units("up_to", up_to, ROUND_FLOOR)))

    def bid_depth_e6(self, down_to_e4: int) -> int:
        """As :meth:`bid_depth`, in raw ints: from 1/10,000 of a pUSD to 1/1,000,000 of a share."""
        return _depth(self.levels.bid_keys, self.levels.bid_sizes, _checked_e4("down_to_e4", down_to_e4))

    def ask_depth_e6(self, up_to_e4: int) -> int:
        """As :meth:`ask_depth`, in raw ints: from 1/10,000 of a pUSD to 1/1,000,000 of a share."""
        least = PRICE_SCALE - _checked_e4("up_to_e4", up_to_e4)
        return _depth(self.levels.ask_keys, self.levels.ask_sizes, least)

    # ---- What an order would get -----------------------------------------------------------------------

    def cost_to_buy(self, shares: Decimal | int | str, *, fees: bool = False) -> Fill:
        """Walk the asks for a number of shares.

        With ``fees`` the fill has :attr:`~polymirror.core.fills.Fill.fee` and
        :attr:`~polymirror.core.fills.Fill.total`. Raises UnitError for floats and negatives, and FeeUnknown when
        fees are asked for and the market's terms are not known.
        """
        return self._walk(self.asks, buys=True, fees=fees).for_shares(decimal_to_units("shares", shares, 6))

    def proceeds_of_selling(self, shares: Decimal | int | str, *, fees: bool = False) -> Fill:
        """Walk the bids for a number of shares. Fees and errors as in :meth:`cost_to_buy`."""
        return self._walk(self.bids, buys=False, fees=fees).for_shares(decimal_to_units("shares", shares, 6))

    def buy_with(self, money: Decimal | int | str, *, fees: bool = False) -> Fill:
        """Walk the asks for an amount of pUSD. Fees and errors as in :meth:`cost_to_buy`.

        As at the venue the fee comes on top of ``money``: what is paid in all is the fill's ``total``.
        """
        return self._walk(self.asks, buys=True, fees=fees).for_money(decimal_to_units("money", money, 10))

    def sell_for(self, money: Decimal | int | str, *, fees: bool = False) -> Fill:
        """Walk the bids until the proceeds are ``money`` pUSD, before the fee. Otherwise as :meth:`buy_with`."""
        return self._walk(self.bids, buys=False, fees=fees).for_money(decimal_to_units("money", money, 10))

    def _walk(self, levels: Sequence[Level], *, buys: bool, fees: bool) -> Walk:
        check_flag("fees", fees)
        if not fees:
            return Walk(levels, None, buys=buys)
        fee = self.fee
        problem = fee.problem if fee is not None else "add the market by its slug, or give the engine its terms"
        if fee is None or problem:
            raise FeeUnknown(f"the fee terms of market {self.market[:12]} are not known: {problem}")
        return Walk(levels, fee, buys=buys)

    # ---- Other shapes ----------------------------------------------------------------------------------

    def to_dict(self, levels: int | None = None) -> dict[str, Any]:
        """Return the view as plain objects that :mod:`json` writes as they are: always these keys, in this order.

        Text: ``token``, ``market``, ``state``, ``reason``, ``proof`` (the last three in words). Whole numbers:
        ``epoch``, ``doubts``, ``exchange_ms``. True or False: ``settled``. Seconds: ``verified_age_seconds``,
        ``apply_lag_seconds``, ``clock_uncertainty_seconds``. Exact decimals as text: ``tick_size``, ``fee`` (None, or
        an object of ``rate``, ``exponent``, ``taker_only`` and ``rebate_rate``), ``bids`` and ``asks``, best first,
        each ``{"price": ..., "size": ...}``. None: not known. ``levels`` limits each side; raises ConfigError below 1.
        """
        bids, asks = (self.bids, self.asks) if levels is None else self.top(levels)
        fee = self.fee
        return {
            "token": self.token,
            "market": self.market,
            "state": self.state.name,
            "reason": None if self.reason is None else self.reason.name,
            "epoch": self.epoch,
            "doubts": self.doubts,
            "settled": self.settled,
            "exchange_ms": self.exchange_ms,
            "verified_age_seconds": None if self.proven_at is None else self.verified_age,
            "apply_lag_seconds": self.apply_lag,
            "clock_uncertainty_seconds": self.clock_uncertainty,
            "proof": None if self.last_proof is None else self.last_proof.kind.value,
            "tick_size": None if self.tick_size_e4 is None else price_to_wire(self.tick_size_e4),
            "fee": None if fee is None else fee.to_dict(),
            "bids": _plain(bids),
            "asks": _plain(asks),
        }

    def to_frame(self, library: str = "pandas", *, floats: bool = False) -> Any:
        """Return the levels as a DataFrame of ``pandas`` or ``polars``: columns ``side``, ``price`` and ``size``.

        First the bids, then the asks (``bid`` and ``ask`` in ``side``), each best first. Prices in pUSD and sizes in
        shares are exact Decimals; with ``floats`` they are 64-bit floats, good for statistics and not for money.
        The first table imports the library, which takes up to seconds: on an event loop have it made in another thread,
        ``await asyncio.to_thread(view.to_frame)``, or import the library before the mirror starts. Raises ConfigError
        for another library, and MissingExtra, with the command that installs it.
        """
        bids, asks = self.bids, self.asks
        columns: dict[str, Sequence[object]] = {
            "side": ["bid"] * len(bids) + ["ask"] * len(asks),
            "price": [level.price_e4 for level in (*bids, *asks)],
            "size": [level.size_e6 for level in (*bids, *asks)],
        }
        return make_frame(library, columns, {"price": PRICE, "size": SIZE}, floats=floats)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "levels")
        return f"BookView({shown})"

    def __str__(self) -> str:
        age = "never" if self.proven_at is None else f"{self.verified_age * 1000:.1f} ms ago"
        return f"{self.best_bid or 'no bid'} | {self.best_ask or 'no ask'} ({self.state.name}, proven {age})"


def _bids(keys: Sequence[int], sizes: Sequence[int]) -> tuple[Level, ...]:
    return tuple(map(Level, reversed(keys), reversed(sizes)))


def _asks(keys: Sequence[int], sizes: Sequence[int]) -> tuple[Level, ...]:
    return tuple([Level(PRICE_SCALE - k, s) for k, s in zip(reversed(keys), reversed(sizes), strict=True)])


def _depth(keys: Sequence[int], sizes: Sequence[int], least: int) -> int:
    return sum(sizes[bisect_left(keys, least) :])


def _checked_count(field: str, count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(field, count, "a whole number of at least 1")
    return count


def _checked_e4(field: str, price: object) -> int:
    if not isinstance(price, int) or isinstance(price, bool) or not 0 <= price <= PRICE_SCALE:
        raise UnitError(field, price, f"a whole number from 0 to {PRICE_SCALE}, in 1/{PRICE_SCALE} of a pUSD")
    return price


def _plain(levels: Sequence[Level]) -> list[dict[str, str]]:
    return [{"price": price_to_wire(level.price_e4), "size": size_to_wire(level.size_e6)} for level in levels]
