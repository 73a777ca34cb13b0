"""What is played for the tests, and playing it, in whatever process. Judging it is :mod:`~bots.research.falsify.suite`.

:func:`plays_of` names every variant, :func:`chunks` cuts the windows into pieces, :func:`play_chunk` plays some of the
variants on a piece, and :func:`join` puts the results together. Nothing here needs numpy or scipy: a process that only
plays starts without them.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from bots.research.series import Meter, Play, Played, decide_as_the_bot, play, play_one, sees_the_future
from bots.updown.volatility import Volatility

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        found[delay_name(seconds)] = evolve(base, fills=evolve(fills, extra_delay_ms=seconds * 1000))
    for seconds in SHIFTS_S:
        found[shift_name(seconds)] = evolve(base, oracle_later_ms=seconds * 1000)
    for move, price in product(MOVES, PRICES):
        signal = evolve(base.signal, min_move=Decimal(move), max_price=Decimal(price))
        size = evolve(base.size, max_price=Decimal(price) - Decimal("0.0001"))
        found[setting_name(move, price)] = evolve(base, signal=signal, size=size)
    return {name: evolve(each, name=name) for name, each in found.items()}


def delay_name(seconds: int) -> str:
    """Name the variant whose orders match so much later."""
    return f"{seconds} s of delay"


def shift_name(seconds: int) -> str:
    """Name the variant that hears the oracle so much later."""
    return f"oracle {seconds} s later"


def setting_name(move: str, price: str) -> str:
    """Name a point of the grid."""
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
        before = meter.copy()
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
