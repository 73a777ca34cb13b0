"""The oracle-lag strategy over recorded windows: the bot's own decision and its own sizing, on sampled prices. Pure.

At each tick of the oracle, when it was *received*, :func:`bots.oracle_lag.signal.decide` is asked as the bot asks it,
and :func:`bots.common.money.sizing.size_buy` says on the newest recorded price what to order. What becomes of the
order is the fill model's business. One purchase a window, and a pause of the risk settings after an order that traded
nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from copy import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from bots.common.money.sizing import SizeLimits, SizeRefusal, size_buy
from bots.oracle_lag.signal import Direction, Quiet, Signal, SignalSettings, decide
from bots.research.fills import FillModel, buy
from bots.research.trades import Trade
from bots.updown.oracles.ticks import Tick, TickKind
from bots.updown.strike import Strike, StrikeSource
from bots.updown.volatility import LATE_MS, STEP_MS, Volatility
from polymirror.core.book import Levels
from polymirror.core.states import BookState
from polymirror.core.units import PRICE_SCALE
from polymirror.core.view import BookView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bots.research.windows import Ticks, Window
    from bots.updown.volatility import Measured

    Decides = Callable[[SignalSettings, Window, int, Strike | None, int, Measured | None], Signal | Quiet]

TICK_E4: Final = 100
"""The tick of these markets while the price is not near 0 or 1."""

COOLDOWN_MS: Final = 60_000
"""The least time between two orders in a window: that of :class:`bots.common.risk.limits.RiskLimits`."""


@frozen(kw_only=True)
class Play:
    """Everything that a backtest may vary."""

    name: str = "as traded"
    signal: SignalSettings = field(factory=SignalSettings)
    size: SizeLimits = field(factory=SizeLimits)
    fills: FillModel = field(factory=FillModel)
    min_left_share: Decimal | None = None
    """The time that must be left, as a share of the window: the signal's own setting is for quarter hours."""
    oracle_later_ms: int = 0
    """For tests: every tick counts as received so much later."""
    own_time: bool = False
    """For tests: every tick counts from the oracle's own time, as if it took no time to arrive."""
    derived: bool = True
    """Whether a side may be bought whose price was only derived from the other side's."""
    max_quote_age_ms: int = 90_000
    """A price that was received longer ago is none to decide on."""

    def of(self, window: Window) -> SignalSettings:
        """Return the signal's settings for a window: the kind of price that was recorded, the time to be left."""
        kind = "twap60" if window.oracle_kind is TickKind.TWAP60 else "spot"
        left = self.signal.min_left if self.min_left_share is None else round(self.min_left_share * window.seconds)
        return evolve(self.signal, price=kind, min_left=left)


@define(eq=False)
class Meter:
    """The bot's estimator of how far an asset wanders, told each tick once, whichever window it is recorded with."""

    volatility: Volatility
    # Up to which time of its own, and of its receipt, everything was told.
    _told: tuple[int, int] = field(init=False, default=(0, 0))

    def copy(self) -> Meter:
        """Return one that was told the same and hears for itself."""
        found = copy(self)
        found.volatility = copy(self.volatility)
        return found

    def hear(self, ticks: Ticks, window: Window) -> Iterator[int]:
        """Yield the index of each tick received inside the window, once the estimator has heard it and all before."""
        times, received = ticks.at_ms, ticks.received_ms
        first, last = bisect_left(received, window.start_ms), bisect_left(received, window.end_ms)
        at_ms, received_ms = self._told
        for index in range(min(first, bisect_left(received, received_ms)), last):
            if (now_ms := times[index]) > at_ms:
                at_ms = now_ms
                # Only the first tick of a minute is a sample: the others need not be made.
                if at_ms % STEP_MS <= LATE_MS:
                    price = Decimal(ticks.price_e8[index]).scaleb(-8)
                    self.volatility.hear(Tick(window.asset, window.oracle_kind, price, at_ms, 0.0))
                self._told = at_ms, received[index]
            if index >= first:
                yield index


@frozen
class Played:
    """What a play came to: purchases, and counts of why others were not made."""

    trades: tuple[Trade, ...]
    counts: Counter[str]


def decide_as_the_bot(
    settings: SignalSettings, window: Window, index: int, strike: Strike | None, now_ms: int, measured: Measured | None
) -> Signal | Quiet:
    """Ask the strategy. A test of the tests puts another function here, which cheats."""
    price = Decimal(window.oracle.price_e8[index]).scaleb(-8)
    return decide(settings, price, strike, now_ms, window.start_ms, window.end_ms, measured)


def play(windows: Iterable[Window], setup: Play, decides: Decides = decide_as_the_bot) -> Played:
    """Trade the windows of one asset, in order. How far it wanders is measured across them."""
    trades: list[Trade] = []
    counts: Counter[str] = Counter()
    meters: dict[tuple[str, TickKind], Meter] = {}
    for window in windows:
        key = window.asset, window.oracle_kind
        meter = meters.get(key) or meters.setdefault(key, Meter(Volatility(*key)))
        found = play_one(window, setup, meter, counts, decides)
        if found is not None:
            trades.append(found)
    return Played(tuple(trades), counts)


def play_one(
    window: Window,
    setup: Play,
    meter: Meter,
    counts: Counter[str],
    decides: Decides = decide_as_the_bot,
) -> Trade | None:
    """Trade one window; return the purchase, if there was one whose outcome is known."""
    window = _shifted(window, setup)
    settings = setup.of(window)
    counts["windows"] += 1
    ticks = window.oracle
    strike = None if window.strike_e8 is None else _strike(window.strike_e8)
    not_before = window.start_ms
    quiet, name = None, ""
    for index in meter.hear(ticks, window):
        now_ms = ticks.received_ms[index]
        known = strike if now_ms >= window.strike_known_ms else None
        found = decides(settings, window, index, known, now_ms, meter.volatility.measured)
        if isinstance(found, Quiet):
            # Nearly all ticks end here, and the reason's name is slow to look up.
            if found is not quiet:
                quiet, name = found, found.name
            counts[name] += 1
            continue
        counts["signals"] += 1
        if now_ms < not_before:
            counts["cooldown"] += 1
            continue
        result = _order(window, setup, found, now_ms)
        if isinstance(result, str):
            counts[result] += 1
            if result.startswith("order:"):
                not_before = now_ms + COOLDOWN_MS
            continue
        counts["trades"] += 1
        return result
    return None


def _order(window: Window, setup: Play, found: Signal, now_ms: int) -> Trade | str:
    """Size and fill an order on the newest price, or say why not."""
    up = found.direction is Direction.UP
    quotes = window.quotes(up=up)
    index = None if quotes is None else quotes.newest(now_ms)
    if window.up_won is None:
        return "no outcome"
    if quotes is None or index is None or (quotes.derived and not setup.derived):
        return "no price"
    if quotes.received_ms[index] < now_ms - setup.max_quote_age_ms:
        return "price too old"
    ask = setup.fills.ask_e4(quotes, index)
    fee = window.rules.fee
    stake = size_buy(_view(ask, setup.fills.shares_e6(quotes, index)), found.fair, fee, setup.size)
    if isinstance(stake, SizeRefusal):
        return f"size {stake.reason.name}"
    limit = stake.price if setup.fills.limit == "ordered" else setup.size.max_price
    bought = buy(setup.fills, quotes, now_ms, window.rules.taker_delay_ms, limit, stake.money, fee)
    if isinstance(bought, str):
        return f"order: {bought}"
    return Trade(
        source=window.source,
        era=window.rules.era,
        asset=window.asset,
        start_ms=window.start_ms,
        end_ms=window.end_ms,
        up=up,
        decided_ms=now_ms,
        filled_ms=bought.at_ms,
        quoted=Decimal(ask).scaleb(-4),
        quoted_ms=quotes.received_ms[index],
        price=bought.price,
        shares=bought.shares,
        money=bought.money,
        fee=bought.fee,
        fair=found.fair,
        move=float(found.move),
        won=window.up_won is up,
    )


def sees_the_future(window: Window, trade: Trade, setup: Play, before: Meter, decides: Decides) -> bool:
    """Whether the same purchase is not decided when everything received after its decision is taken away.

    ``before``: the estimator as it was before the window; it is not changed.
    """
    seen = _shifted(window, setup).until(trade.decided_ms)
    # What is decided must not depend on the outcome or on later prices; what it trades at must. So the order alone is
    # looked at, with a price at which it surely trades.
    now = Counter[str]()
    asked: list[tuple[int, bool]] = []

    def watch(
        settings: SignalSettings, of: Window, index: int, strike: Strike | None, now_ms: int, measured: Measured | None
    ) -> Signal | Quiet:
        found = decides(settings, of, index, strike, now_ms, measured)
        if not isinstance(found, Quiet):
            asked.append((now_ms, found.direction is Direction.UP))
        return found

    play_one(seen, evolve(setup, oracle_later_ms=0, own_time=False), before.copy(), now, watch)
    return (trade.decided_ms, trade.up) not in asked or trade.filled_ms <= trade.decided_ms


def _shifted(window: Window, setup: Play) -> Window:
    oracle = window.oracle
    if setup.own_time:
        order = sorted(range(len(oracle.at_ms)), key=oracle.at_ms.__getitem__)
        columns = {name: [getattr(oracle, name)[each] for each in order] for name in ("at_ms", "price_e8")}
        oracle = evolve(oracle, received_ms=columns["at_ms"], **columns)
    if setup.oracle_later_ms:
        oracle = oracle.later(setup.oracle_later_ms)
    known = window.strike_known_ms + setup.oracle_later_ms
    return window if oracle is window.oracle else evolve(window, oracle=oracle, strike_known_ms=known)


def _strike(price_e8: int) -> Strike:
    return Strike(Decimal(price_e8).scaleb(-8), StrikeSource.OFFICIAL)


def _view(ask_e4: int, shares_e6: int) -> BookView:
    """Make a book of one level: what is known of it."""
    asks = ((PRICE_SCALE - ask_e4,), (shares_e6,)) if ask_e4 and shares_e6 else ((), ())
    return BookView(
        token="recorded",  # noqa: S106 - the name of a token of a market
        market="recorded",
        state=BookState.LIVE,
        reason=None,
        epoch=0,
        doubts=0,
        settled=True,
        exchange_ms=0,
        apply_lag=None,
        clock_uncertainty=None,
        read_at=0.0,
        proven_at=0.0,
        last_proof=None,
        tick_size_e4=TICK_E4,
        levels=Levels((), (), *asks),
    )
