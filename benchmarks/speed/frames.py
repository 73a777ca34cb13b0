"""Seeded frames of one market, as the venue writes them: every measurement of the hot path is fed with these.

Each frame carries one order twice, for a token and as its mirror image for the other, with correct hashes of both
whole books, and has a timestamp of its own, so one frame is one batch. The mix follows a recording of a busy
market (5,185 price changes): two thirds of the changes at the touch, a seventh on the ten levels behind it, the rest
anywhere; two sizes of three never seen before. Some levels at the top are pulled and put back, more than recorded,
so that the best prices move and a wrong book shows. Books never cross.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from benchmarks.speed.book_text import SCALE, BookText, price_text

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKET = "0x" + "5e" * 32
TOKENS = ("71" * 38 + "3", "28" * 38 + "6")
START_MS = 1_790_000_000_000
MIDDLE = SCALE // 2

AT_THE_TOUCH = 0.65
NEAR_THE_TOUCH = 0.8
"""Up to this share: on the ten levels behind the touch; the rest anywhere."""
NEAR = 10
PULLED = 0.04
"""The share of the changes that takes a level away; levels taken away are put back at the same rate."""
NEW_SIZES = 0.65
"""The share of sizes that were never seen before."""


@frozen
class Scenario:
    """What kind of book the frames are of."""

    name: str
    tick_size: str
    offsets: tuple[int, ...] = field(repr=False)
    """Distances of the levels from the middle in 1/10,000, the nearest first; the same on both sides."""
    pulled: float = PULLED

    @property
    def levels(self) -> int:
        """Levels a side when none is pulled."""
        return len(self.offsets)


def dense(name: str, tick_size: str, tick: int, levels: int) -> Scenario:
    """Return books whose levels stand side by side."""
    return Scenario(name, tick_size, tuple(tick * i for i in range(1, levels + 1)))


DENSE_48 = dense("dense 0.01, 48 levels", "0.01", 100, 48)
DENSE_100 = dense("dense 0.001, 100 levels", "0.001", 10, 100)
THIN = Scenario("thin 0.01, 3 levels", "0.01", (500, 2500, 4500), pulled=0.4)
"""Three levels a side, far apart, the top pulled and restored all the time."""


@frozen
class Frames:
    """A stream of one market: what opens it, then one change (of two mirrored entries) a frame."""

    scenario: Scenario
    opening: bytes
    """The array of both opening books."""
    changes: tuple[bytes, ...] = field(repr=False)
    stamps: tuple[int, ...] = field(repr=False)
    """Exchange time of each frame in ms, every one different."""
    tops: tuple[tuple[int, int] | None, ...] = field(repr=False)
    """Best bid and ask of the first token after each frame, in 1/10,000; the second's are the mirror image. None
    where a recording does not tell."""
    texts: tuple[bytes, ...] = field(default=(), repr=False)
    """Some of the texts that were hashed for the first token: the material of the SHA-1 floor."""
    market: str = MARKET
    tokens: tuple[str, str] = TOKENS

    @property
    def mean_bytes(self) -> float:
        """Mean size of a frame."""
        return sum(map(len, self.changes)) / len(self.changes)

    def without_hashes(self) -> Frames:
        """Return the same stream with the field ``hash`` of every entry empty, as some recordings have it."""
        bare = []
        for frame in self.changes:
            parts = frame.split(b'"hash":"')
            bare.append(parts[0] + b"".join(b'"hash":"' + part[40:] for part in parts[1:]))
        return evolve(self, changes=tuple(bare))


ENTRIES = 2
"""Changes in one frame: figures "per change" are those of a frame divided by this."""

KEPT_TEXTS = 64
"""Texts that were hashed and are kept for the SHA-1 floor."""

KEPT_LEVELS = 2
"""Levels a side that are never pulled."""


class MarketFlow:
    """A market that trades: both books, and the next change whenever it is asked for."""

    def __init__(
        self, scenario: Scenario, seed: int = 1, market: str = MARKET, tokens: tuple[str, str] = TOKENS
    ) -> None:
        self.rng = Random(f"{scenario.name}:{seed}")  # noqa: S311 - repeatable frames
        self.scenario = scenario
        self.books = (BookText(market, tokens[0], scenario.tick_size), BookText(market, tokens[1], scenario.tick_size))
        self._common = [str(self.rng.randrange(1, 200) * 5) for _ in range(40)]
        self._prices = {True: [MIDDLE - o for o in scenario.offsets], False: [MIDDLE + o for o in scenario.offsets]}
        # Levels that are taken away, as (price, is a bid).
        self._pulled: list[tuple[int, bool]] = []
        for is_bid, prices in self._prices.items():
            for price in prices:
                self._apply(price, self._size(), is_bid=is_bid)

    def opening(self, stamp: int) -> bytes:
        """Return the array with which a socket opens."""
        return f"[{','.join(book.whole(stamp) for book in self.books)}]".encode()

    def frame(self, stamp: int) -> bytes:
        """Change a level and return the frame that says so, at an exchange time in ms."""
        price, size, is_bid = self._draw()
        self._apply(price, size, is_bid=is_bid)
        return change_frame(self.books, price, size, stamp, is_bid=is_bid)

    def _apply(self, price: int, size: str, *, is_bid: bool) -> None:
        one, other = self.books
        one.set(price, size, is_bid=is_bid)
        other.set(SCALE - price, size, is_bid=not is_bid)

    def _size(self) -> str:
        """Draw a size: cents of a share, mostly never seen before."""
        if self.rng.random() > NEW_SIZES:
            return self.rng.choice(self._common)
        return f"{self.rng.randrange(1, 3_000_000) / 100:.2f}".rstrip("0").rstrip(".")

    def _draw(self) -> tuple[int, str, bool]:
        """Draw the next change of the first token: price, size, whether it is a bid."""
        rng, share = self.rng, self.scenario.pulled
        if self._pulled and (rng.random() < share or len(self._pulled) > self.scenario.levels // 4):
            price, is_bid = self._pulled.pop(rng.randrange(len(self._pulled)))
            return price, self._size(), is_bid
        is_bid = rng.random() < 0.5  # noqa: PLR2004 - either side alike
        gone = {price for price, side in self._pulled if side is is_bid}
        standing = [price for price in self._prices[is_bid] if price not in gone]
        drawn = rng.random()
        if drawn < AT_THE_TOUCH:
            price = standing[0]
        else:
            price = rng.choice(standing[1 : 1 + NEAR] if drawn < NEAR_THE_TOUCH else standing)
        if len(standing) > KEPT_LEVELS and price in standing[:NEAR] and rng.random() < share:
            self._pulled.append((price, is_bid))
            return price, "0", is_bid
        return price, self._size(), is_bid


def make_frames(scenario: Scenario, count: int, seed: int = 1) -> Frames:
    """Make ``count`` frames of a scenario; the same seed gives the same bytes."""
    flow = MarketFlow(scenario, seed)
    one, _ = flow.books
    stamp = START_MS
    opening = flow.opening(stamp)
    changes, stamps, tops, texts = [], [], [], []
    for i in range(count):
        # About 500 frames a second, as in the dense recording.
        stamp += flow.rng.choice((1, 1, 1, 2, 2, 3, 4))
        changes.append(flow.frame(stamp))
        stamps.append(stamp)
        tops.append((one.best_bid, one.best_ask))
        if i < KEPT_TEXTS:
            texts.append(one.hashed_text(stamp))
    return Frames(scenario, opening, tuple(changes), tuple(stamps), tuple(tops), tuple(texts))


def change_frame(books: Sequence[BookText], price: int, size: str, stamp: int, *, is_bid: bool) -> bytes:
    """Return the price change that was just applied to both books; the price is the first token's."""
    one, other = books
    entries = (
        _entry(one, price, size, stamp, is_bid=is_bid),
        _entry(other, SCALE - price, size, stamp, is_bid=not is_bid),
    )
    # Spaces as in recorded frames; the kind comes last.
    return (
        f'{{"market":"{one.market}", "price_changes":[{", ".join(entries)}], "timestamp":"{stamp}", '
        '"event_type":"price_change"}'
    ).encode()


def _entry(book: BookText, price: int, size: str, stamp: int, *, is_bid: bool) -> str:
    return (
        f'{{"asset_id":"{book.asset_id}", "price":"{price_text(price)}", "size":"{size}", '
        f'"side":"{"BUY" if is_bid else "SELL"}", "hash":"{book.digest(stamp)}", '
        f'"best_bid":"{_top(book.best_bid)}", "best_ask":"{_top(book.best_ask)}"}}'
    )


def _top(price: int) -> str:
    return "1" if price == SCALE else price_text(price) if price else "0"


def seconds_of(stamps: Sequence[int]) -> list[float]:
    """Return a monotonic clock that runs with the exchange's: the time at which each frame is taken."""
    return [(stamp - stamps[0]) / 1000 + 0.05 for stamp in stamps]
