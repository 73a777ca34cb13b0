"""One market as somebody recorded it frame by frame, with the oracle's ticks beside it, and reading it from a file.

A recording is a mirror's journal (a folder or a file of one), or what :mod:`polymirror.journal.foreign` opens: JSON
lines as recorders write them, also packed, and Parquet. Where it has no receive times, the time that a frame states
counts, later by a stated lag.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bots.research.loaders.tables import DataError
from polymirror.errors import PolymirrorError
from polymirror.journal.foreign import open_recording
from polymirror.journal.format import Heard, unpack
from polymirror.journal.frames import open_envelope
from polymirror.journal.reader import is_journal, sessions
from polymirror.venue.market import Market, Oracle, Token
from polymirror.venue.windows import Interval, window_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal
    from pathlib import Path

    from bots.research.eras import Rules
    from bots.research.windows import Ticks
    from polymirror.core.fees import FeeSchedule
    from polymirror.venue.windows import Window

MAX_FRAMES: Final = 5_000_000
"""Frames of one recording; a longer one is refused, not cut."""

LAG_MS: Final = 60
"""From a frame's own time to its receipt, where that was not recorded: 40 to 110 ms were measured (protocol notes)."""

NS_PER_MS: Final = 1_000_000

Received = tuple[int, str]
"""When a frame was received, in Unix milliseconds, and its text."""


@frozen(kw_only=True, eq=False)
class Recording:
    """Everything that a replay needs."""

    market: Market
    window: Window
    rules: Rules
    frames: tuple[Received, ...]
    """In the order of their receipt."""
    oracle: Ticks
    strike: Decimal | None
    """The price at the opening, in dollars; ``None``: it is not known, and nothing is bought."""
    strike_known_ms: int = 0
    payouts: Mapping[str, Decimal] = field(factory=dict)
    """What a share of each token pays; empty: not known, and positions stay open."""

    def __attrs_post_init__(self) -> None:
        """Refuse frames that are out of order, and too many."""
        if len(self.frames) > MAX_FRAMES:
            raise DataError(f"{len(self.frames)} frames in one recording: {MAX_FRAMES} at most")
        times = [at for at, _ in self.frames]
        if times != sorted(times):
            raise DataError("the receive times of the frames go back")


def read_frames(path: Path, market: str = "", lag_ms: int = LAG_MS) -> tuple[Received, ...]:
    """Read the frames that name a market, by its condition id, in the order of receipt. Raises DataError."""
    try:
        found = list(_frames(path, market, lag_ms))
    except (PolymirrorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name}: not a recording of frames ({type(error).__name__}: {error})") from None
    return tuple(sorted(found, key=lambda each: each[0]))


def _frames(path: Path, market: str, lag_ms: int) -> Iterator[Received]:
    if path.is_dir() or is_journal(path):
        for session in sessions(path):
            for line in session.lines():
                # A second connection of a hedged mirror brings the same again.
                if isinstance(line, Heard) and line.lane == 0:
                    plain = _plain(unpack(line.data, line.form))
                    if market in plain:
                        yield (line.w + NS_PER_MS // 2) // NS_PER_MS, plain
        return
    with open_recording(str(path)) as recording:
        for text in recording.lines():
            if text.strip():
                frame, at = open_envelope(text)
                plain = _plain(frame)
                # Before it is read: a frame of another market costs no more than a look.
                if market in plain:
                    yield (_stated(plain) + lag_ms if at is None else int(at * 1000)), plain


def _plain(frame: str | bytes) -> str:
    return frame if isinstance(frame, str) else frame.decode()


def _stated(text: str) -> int:
    content: Any = json.loads(text)
    return max(int(each["timestamp"]) for each in (content if isinstance(content, list) else [content]))


def market_of(
    *, slug: str, condition_id: str, up: str, down: str, fee: FeeSchedule, tick_size: str = "0.01"
) -> tuple[Market, Window]:
    """Describe a market that was recorded without its description. Raises ConfigError for a slug without a window."""
    asset, _, interval, begin = slug.split("-")
    window = window_at(asset, Interval(interval), int(begin))
    market = Market(
        slug=slug,
        question=slug,
        condition_id=condition_id,
        tokens=(Token(up, "Up"), Token(down, "Down")),
        window_start=window.start,
        window_end=window.end,
        tick_size=tick_size,
        min_order_size="5",
        neg_risk=False,
        fees_enabled=fee.rate > 0,
        fee=fee,
        oracle=Oracle(source=None),
        active=True,
        closed=False,
        accepting_orders=True,
        winner=None,
        price_to_beat=None,
        final_price=None,
    )
    return market, window
