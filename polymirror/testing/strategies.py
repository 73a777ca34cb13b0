"""Strategies for hypothesis: books, reads, changes, scripts, and what the venue says on its stream, whole or damaged.

The property tests of this library draw from them, and so can those of bots. Each returns a strategy; numbers are exact.
A test that plays a drawn book or script needs a fresh venue for each example: :func:`polymirror.testing.play`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("polymirror.testing.strategies needs hypothesis: pip install hypothesis") from error

from polymirror.core.book import Levels
from polymirror.core.level import Level
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import BookState
from polymirror.core.units import PRICE_SCALE, SIZE_SCALE, decimal_to_units
from polymirror.core.view import BookView
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.frames import Frame
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.surface.session import Session
from polymirror.testing.book import Book
from polymirror.testing.script import Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from hypothesis.strategies import DrawFn, SearchStrategy

MISHAPS: Final = (
    *("lost_delta", "duplicated_delta", "reordered_deltas", "crossed_messages", "garbage_frame", "unknown_event"),
    *("frozen_token", "frozen_market", "silent_socket", "disconnect", "close_1013", "refused_connection"),
    *("rest_503", "rest_429", "rest_hanging", "rest_html", "rest_404"),
)
"""Faults that scripts draw from, unless told others: what every bot meets sooner or later."""


# ---- Books and reads -------------------------------------------------------------------------------


def levels(*, tick: Decimal | str = "0.01", max_shares: int = 100_000) -> SearchStrategy[Level]:
    """One level: a price on the grid, strictly between 0 and 1, and a size from a millionth share up."""
    grid = decimal_to_units("tick", tick, 4)
    prices = st.integers(1, (PRICE_SCALE - 1) // grid).map(lambda steps: steps * grid)
    # Whole shares first: failures shrink to them.
    sizes = st.integers(1, max_shares).map(lambda shares: shares * SIZE_SCALE) | st.integers(1, max_shares * SIZE_SCALE)
    return st.builds(Level, prices, sizes)


@st.composite
def books(
    draw: DrawFn,
    *,
    max_levels: int = 8,
    min_levels: int = 0,
    tick: Decimal | str = "0.01",
    max_shares: int = 100_000,
) -> Book:
    """A book that can be: bids below asks, each price once, at least and at most so many levels a side."""
    rows = draw(
        st.lists(
            levels(tick=tick, max_shares=max_shares),
            min_size=2 * min_levels,
            max_size=2 * max_levels,
            unique_by=lambda level: level.price_e4,
        ).map(sorted)
    )
    # Somewhere between the prices bids end and asks begin.
    low, high = max(min_levels, len(rows) - max_levels), min(max_levels, len(rows) - min_levels)
    middle = draw(st.integers(low, high))
    return Book(bids=tuple(reversed(rows[:middle])), asks=tuple(rows[middle:]))


def view_of(book: Book, *, age: float = 0.0, settled: bool = True, token: str = "1", market: str = "0x1") -> BookView:  # noqa: S107 - an asset id
    """Return a read of this book as a mirror grants it, proven ``age`` seconds before it was made.

    For tests of what a bot decides: no mirror stands behind it.
    """
    now = 1_000.0
    raw = Levels(
        bid_keys=tuple(level.price_e4 for level in reversed(book.bids)),
        bid_sizes=tuple(level.size_e6 for level in reversed(book.bids)),
        ask_keys=tuple(PRICE_SCALE - level.price_e4 for level in reversed(book.asks)),
        ask_sizes=tuple(level.size_e6 for level in reversed(book.asks)),
    )
    return BookView(
        token=token,
        market=market,
        state=BookState.LIVE,
        reason=None,
        epoch=1,
        doubts=0,
        settled=settled,
        exchange_ms=1_790_000_100_000,
        apply_lag=0.0,
        clock_uncertainty=0.0,
        read_at=now,
        proven_at=now - age,
        last_proof=Proof(ProofKind.HASH, now - age, 1),
        tick_size_e4=100,
        levels=raw,
    )


def views(*, max_age: float = 1.0, **of_books: Any) -> SearchStrategy[BookView]:
    """A read as a mirror grants it, of a book that :func:`books` makes with ``of_books``."""
    return st.builds(view_of, books(**of_books), age=st.floats(0.0, max_age), settled=st.booleans())


def level_changes(*, max_size: int = 40) -> SearchStrategy[list[tuple[str, int, int]]]:
    """Changes of a book in raw ints: (BUY or SELL, price in 1/10,000, new size in 1/1,000,000; 0 removes)."""
    # Few prices, so that changes meet, and all others.
    prices = st.integers(1, 12).map(lambda cents: cents * 100) | st.integers(1, PRICE_SCALE - 1)
    sizes = st.just(0) | st.integers(1, SIZE_SCALE**2)
    return st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), prices, sizes), max_size=max_size)


# ---- Scripts ---------------------------------------------------------------------------------------


def scripts(
    *, max_steps: int = 10, markets: int = 1, faults: Sequence[str] = MISHAPS, max_pause: float = 5.0, **of_books: Any
) -> SearchStrategy[tuple[Step, ...]]:
    """What happens to a venue: books that are set and faults that strike, for :func:`polymirror.testing.perform`."""
    when: dict[str, Any] = {"after": st.sampled_from([0.0, 0.001, 0.05, 0.5, max_pause]) | st.floats(0.0, max_pause)}
    when["market"] = st.integers(0, markets - 1)
    steps = st.builds(Step, book=books(**of_books), **when)
    if faults:
        steps |= st.builds(Step, fault=st.sampled_from(list(faults)), lasts=st.floats(0.01, 30.0), **when)
    return st.lists(steps, max_size=max_steps).map(tuple)


# ---- What the venue says ---------------------------------------------------------------------------


def frames() -> SearchStrategy[str]:
    """A message of the venue as text: one of each kind that its stream brings, and a book as REST gives it."""
    return st.sampled_from(_frames())


@st.composite
def streams(draw: DrawFn, *, max_seconds: float = 5.0, rate: float = 20.0) -> tuple[str, ...]:
    """All messages of a connection for some time, from the opening books on, in their order."""
    exchange = Exchange(ExchangeConfig(seed=draw(st.integers(0, 2**32)), flow=FlowConfig(rate=rate)))
    return _heard(exchange, int(draw(st.floats(0.0, max_seconds)) * 1000))


@st.composite
def damaged_frames(draw: DrawFn) -> bytes:
    """A message of the venue in which up to three bytes were cut off, flipped, put in or left out."""
    raw = bytearray(draw(frames()).encode())
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.integers(0, len(raw) - 1))
        what = draw(st.sampled_from(["cut", "flip", "insert", "delete"]))
        if what == "cut":
            del raw[where + 1 :]
        elif what == "flip":
            raw[where] = draw(st.integers(0, 255))
        elif what == "insert":
            raw[where:where] = draw(st.binary(max_size=4))
        elif len(raw) > 1:
            del raw[where]
    return bytes(raw)


@st.composite
def altered_frames(draw: DrawFn) -> str:
    """A message of the venue in which one part was replaced by another JSON value."""
    return json.dumps(_altered(json.loads(draw(frames())), draw))


def json_values() -> SearchStrategy[Any]:
    """Any JSON value, NaN and infinities included, a few levels deep."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )


def _altered(value: Any, draw: DrawFn) -> Any:
    if isinstance(value, list) and value and draw(st.booleans()):
        i = draw(st.integers(0, len(value) - 1))
        return [*value[:i], _altered(value[i], draw), *value[i + 1 :]]
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: _altered(value[key], draw)}
    return draw(json_values())


@cache
def _frames() -> tuple[str, ...]:
    """One message of each kind, from a market that trades, changes its grid and ends."""
    flow = FlowConfig(rate=10.0, fair=0.93, volatility=0.02)
    exchange = Exchange(ExchangeConfig(seed=1, flow=flow, settle_after_ms=120_000))
    rest = exchange.rest_book(exchange.tokens[0]) or ""
    by_kind: dict[str, str] = {}
    for text in _heard(exchange, 130_000):
        content = json.loads(text)
        kind = content["event_type"] if isinstance(content, dict) else "opening"
        by_kind.setdefault(kind, text)
    return (*by_kind.values(), rest, "[]")


def _heard(exchange: Exchange, ms: int) -> tuple[str, ...]:
    """What a connection to everything brings in so many milliseconds."""
    session = Session(exchange)
    first = {"assets_ids": exchange.tokens, "type": "market", "custom_feature_enabled": True}
    items = session.receive(json.dumps(first), exchange.now_ms)
    items += session.outgoing(exchange.step(exchange.now_ms + ms))
    return tuple(item.text for item in items if isinstance(item, Frame))


__all__ = [
    "MISHAPS",
    "altered_frames",
    "books",
    "damaged_frames",
    "frames",
    "json_values",
    "level_changes",
    "levels",
    "scripts",
    "streams",
    "view_of",
    "views",
]
