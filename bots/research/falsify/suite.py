"""All tests of one strategy on one era's windows: what is played, in which process, and what it comes to.

:func:`plays_of` names every variant; :func:`play_chunk` plays them all on some windows, in whatever process;
:func:`judge_all` makes the findings of the joined results, and :func:`conclude` the verdict.
"""

from __future__ import annotations

import random
from collections import Counter
from copy import deepcopy
from decimal import Decimal
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.research.falsify import rerun, resampling
from bots.research.falsify.findings import LEAST_TRADES, Finding, Verdict
from bots.research.series import Meter, Play, Played, decide_as_the_bot, play, play_one, sees_the_future
from bots.updown.volatility import Volatility

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bots.research.fills import FillModel
    from bots.research.series import Decides
    from bots.research.trades import Trade
    from bots.research.windows import Window

MOVES: Final = ("0.0003", "0.0005", "0.0007", "0.001", "0.0015")
PRICES: Final = ("0.55", "0.62", "0.70", "0.80")
DELAYS_S: Final = (0, 1, 2, 5, 10, 15, 30, 60)
SHIFTS_S: Final = (15, 60, 300)

BASE: Final = "as it was"
ORDERED: Final = "at the order's limit"
STALE: Final = "at the old price"
OWN_TIME: Final = "from the oracle's own time"

DRAWS: Final = 20
"""Windows that are drawn at random for each purchase."""

CHUNK: Final = 500
"""Windows that are played in one piece; a longer run of them is cut at midnight."""


def plays_of(base: Play) -> dict[str, Play]:
    """Name every variant that the tests need. ``base`` is the one that is judged."""
    fills = base.fills
    found = {
        BASE: base,
        ORDERED: evolve(base, fills=evolve(fills, limit="ordered")),
        STALE: evolve(base, fills=evolve(fills, price="stale")),
        OWN_TIME: evolve(base, own_time=True),
    }
    for seconds in DELAYS_S[1:]:
        found[_delay(seconds)] = evolve(base, fills=evolve(fills, extra_delay_ms=seconds * 1000))
    for seconds in SHIFTS_S:
        found[_shift(seconds)] = evolve(base, oracle_later_ms=seconds * 1000)
    for move, price in product(MOVES, PRICES):
        signal = evolve(base.signal, min_move=Decimal(move), max_price=Decimal(price))
        size = evolve(base.size, max_price=Decimal(price) - Decimal("0.0001"))
        found[_setting(move, price)] = evolve(base, signal=signal, size=size)
    return {name: evolve(each, name=name) for name, each in found.items()}


def _delay(seconds: int) -> str:
    return f"{seconds} s of delay"


def _shift(seconds: int) -> str:
    return f"oracle {seconds} s later"


def _setting(move: str, price: str) -> str:
    return f"move {move}, price {price}"


def chunks(windows: Iterable[Window]) -> Iterator[list[Window]]:
    """Cut windows into pieces that may be played apart: by asset, at midnight, always at the same places."""
    by_asset: dict[str, list[Window]] = {}
    for window in windows:
        by_asset.setdefault(window.asset, []).append(window)
    for each in by_asset.values():
        piece: list[Window] = []
        for window in sorted(each, key=lambda one: one.start_ms):
            if len(piece) >= CHUNK and window.day != piece[-1].day:
                yield piece
                piece = []
            piece.append(window)
        yield piece


@frozen
class Results:
    """What the variants came to, by name, and how many decisions of the base needed the future."""

    played: Mapping[str, Played]
    cheats: int

    def trades(self, name: str) -> tuple[Trade, ...]:
        """Return the purchases of one variant."""
        return self.played[name].trades


def play_chunk(windows: Sequence[Window], plays: Mapping[str, Play], decides: Decides = decide_as_the_bot) -> Results:
    """Play variants on windows of one asset. The decisions of the base are checked as well, if it is among them."""
    found: dict[str, Played] = {}
    cheats = 0
    for name, each in plays.items():
        if name == BASE:
            found[name], cheats = _checked(windows, each, decides)
        else:
            found[name] = play(windows, each, decides)
    return Results(found, cheats)


def _checked(windows: Sequence[Window], setup: Play, decides: Decides) -> tuple[Played, int]:
    """Play, and look at each purchase again with its future taken away."""
    trades: list[Trade] = []
    counts: Counter[str] = Counter()
    meters: dict[object, Meter] = {}
    cheats = 0
    for window in windows:
        key = window.asset, window.oracle_kind
        meter = meters.get(key) or meters.setdefault(key, Meter(Volatility(*key)))
        before = deepcopy(meter)
        found = play_one(window, setup, meter, counts, decides)
        if found is not None:
            trades.append(found)
            cheats += sees_the_future(window, found, setup, before, decides)
    return Played(tuple(trades), counts), cheats


def join(parts: Iterable[Results]) -> Results:
    """Put the results of all chunks together."""
    trades: dict[str, list[Trade]] = {}
    counts: dict[str, Counter[str]] = {}
    cheats = 0
    for part in parts:
        cheats += part.cheats
        for name, played in part.played.items():
            trades.setdefault(name, []).extend(played.trades)
            counts.setdefault(name, Counter()).update(played.counts)
    return Results({name: Played(tuple(trades[name]), counts[name]) for name in trades}, cheats)


def judge_all(windows: Sequence[Window], results: Results, fills: FillModel, seed: int) -> list[Finding]:
    """Make every finding."""
    base = results.trades(BASE)
    points = {(row, column): _setting(m, p) for row, m in enumerate(MOVES) for column, p in enumerate(PRICES)}
    grid = {name: results.trades(name) for name in points.values()}
    delays = {0: base} | {seconds: results.trades(_delay(seconds)) for seconds in DELAYS_S[1:]}
    shifts = {seconds: results.trades(_shift(seconds)) for seconds in SHIFTS_S}
    ordered = results.played[ORDERED].counts
    orders = sum(count for name, count in ordered.items() if name.startswith("order:")) + ordered["trades"]
    receives = all(each.receives for each in windows)
    return [
        rerun.stale_print(base, results.trades(STALE), orders, ordered["trades"]),
        rerun.look_ahead(base, results.cheats, results.trades(OWN_TIME), receives=receives, sampled_ms=every(windows)),
        resampling.out_of_sample(grid),
        rerun.parameter_grid({point: grid[name] for point, name in points.items()}, points),
        resampling.doubled_fees(base),
        rerun.delay_sweep(delays),
        resampling.shuffled_outcomes(base, seed),
        rerun.shifted_oracle(base, shifts),
        rerun.random_entry(base, draw_entries(windows, base, fills, seed)),
        resampling.leave_one_day_out(base),
        resampling.bootstrapped(base, seed),
        resampling.deflated_for_trials(base, grid),
    ]


def draw_entries(windows: Sequence[Window], trades: Sequence[Trade], fills: FillModel, seed: int) -> list[list[float]]:
    """For each purchase, what the same side at the same time made in windows drawn at random, after fees."""
    rng = random.Random(f"random entry:{seed}")  # noqa: S311 - repeatable, and no secret
    pool: dict[tuple[str, int], list[Window]] = {}
    for window in windows:
        if window.up_won is not None:
            pool.setdefault((window.asset, window.seconds), []).append(window)
    found = []
    for trade in trades:
        like = pool[trade.asset, (trade.end_ms - trade.start_ms) // 1000]
        made = (_entry(rng.choice(like), trade, fills) for _ in range(DRAWS))
        found.append([each for each in made if each is not None])
    return found


def _entry(window: Window, trade: Trade, fills: FillModel) -> float | None:
    quotes = window.quotes(up=trade.up)
    at_ms = window.start_ms + trade.decided_ms - trade.start_ms
    index = None if quotes is None else quotes.first_after(fills.match_ms(at_ms, window.rules.taker_delay_ms))
    if quotes is None or index is None or quotes.received_ms[index] >= window.end_ms:
        return None
    price = fills.ask_e4(quotes, index) / 10_000
    if not price:
        return None
    fee = float(window.rules.fee.rate) * (price * (1 - price)) ** window.rules.fee.exponent
    return float(window.up_won is trade.up) - price - fee


def every(windows: Iterable[Window]) -> int:
    """Return how far apart the recorded prices of tokens usually are, in milliseconds; 0: there are none."""
    gaps = [
        later - earlier
        for window in windows
        for quotes in (window.up,)
        if quotes is not None
        for earlier, later in zip(quotes.received_ms, quotes.received_ms[1:], strict=False)
    ]
    return round(median(gaps)) if gaps else 0


@frozen(kw_only=True)
class Conclusion:
    """The verdict on one strategy in one era, for people."""

    verdict: str
    """supported, refuted or not decidable."""
    why: str
    figures: Mapping[str, Any] = field(factory=dict)


def conclude(base: Sequence[Trade], findings: Iterable[Finding]) -> Conclusion:
    """Weigh the findings: one refutation is enough, support needs all that bear on it."""
    by_test = {each.test: each for each in findings}
    found, before = resampling.net(base), resampling.gross(base)
    figures = {"net": found.to_dict(), "gross": before.to_dict()}
    stale, ahead = by_test["stale-print check"], by_test["look-ahead"]
    if ahead.verdict is Verdict.REFUTED:
        return Conclusion(verdict="refuted", why=ahead.sentence, figures=figures)
    if stale.verdict is Verdict.REFUTED:
        return Conclusion(verdict="refuted", why=stale.sentence, figures=figures)
    if found.count < LEAST_TRADES:
        purchases = {0: "Nothing was bought", 1: "1 purchase was made"}.get(found.count, f"{found.count} purchases")
        why = f"{purchases}, and at least {LEAST_TRADES} are needed."
        return Conclusion(verdict="not decidable", why=why, figures=figures)
    if found.is_negative:
        return Conclusion(verdict="refuted", why=f"A share loses money after fees: {found} pUSD.", figures=figures)
    wanted = ("stale-print check", "look-ahead", "block bootstrap", "deflated for the number of trials", "random entry")
    open_ones = [name for name in wanted if by_test[name].verdict is not Verdict.SURVIVED]
    if found.is_positive and not open_ones:
        why = f"A share makes {found} pUSD after fees, and no test refutes it."
        return Conclusion(verdict="supported", why=why, figures=figures)
    why = f"A share makes {found} pUSD after fees"
    why += "." if not found.is_positive else f", but these tests are not passed: {', '.join(open_ones)}."
    return Conclusion(verdict="not decidable", why=why, figures=figures)
