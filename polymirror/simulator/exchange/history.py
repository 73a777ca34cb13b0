"""The truth about one market's books over time, small enough to keep.

Remembers by digest which states the books had and until when, so that the question "was the book
exactly this at some time since then?" costs one look-up. Old states are forgotten after a horizon.
The two books of a market are mirror images, so one history serves both; one that a fault makes differ
gets a copy. The market keeps them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE_PRICE = 10_000

Column = tuple[int, ...]

Digest = tuple[int, int]
"""The sums over a book's bids and over its asks, these as the bids of the other token that they mirror."""

MAX_STATES = 1_000_000
"""More states than this are never kept for one market, however long the horizon."""


def digest(bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> Digest:
    """The digest of levels given as (price, size) in wire units, in any order."""
    return sum(map(hash, bids)), sum([hash((ONE_PRICE - price, size)) for price, size in asks])


class Level(Protocol):
    """What a level has that somebody read: those of a view have it."""

    @property
    def price_e4(self) -> int:
        """The price in 1/10,000 of a pUSD."""
        ...

    @property
    def size_e6(self) -> int:
        """The size in 1/1,000,000 of a share."""
        ...


class Read(Protocol):
    """What a granted read says: :class:`~polymirror.core.view.BookView` does."""

    @property
    def token(self) -> str:
        """The asset id."""
        ...

    @property
    def verified_age(self) -> float:
        """Seconds from the proof of the levels to the read."""
        ...

    @property
    def bids(self) -> Iterable[Level]:
        """The levels, in any order."""
        ...

    @property
    def asks(self) -> Iterable[Level]:
        """The levels, in any order."""
        ...


def digest_of(bids: Iterable[Level], asks: Iterable[Level]) -> Digest:
    """As :func:`digest`, for the levels of a view."""
    return digest(*[[(level.price_e4, level.size_e6) for level in side] for side in (bids, asks)])


class Sums:
    """Digests of one market's books, read again and again as columns, asks keyed by the bid that they mirror.

    A change moves one side, and a side is in both books: comparing it with the last one is cheaper than a new sum.
    """

    def __init__(self) -> None:
        # By the index of the token whose bids they are: the keys and sizes seen last, and their sum.
        self._sides: list[tuple[Column, Column, int]] = [((), (), 0), ((), (), 0)]

    def digest(self, index: int, bid_keys: Column, bid_sizes: Column, ask_keys: Column, ask_sizes: Column) -> Digest:
        """As :func:`digest`, for the book of the first (0) or the second (1) token."""
        return self._sum(index, bid_keys, bid_sizes), self._sum(1 - index, ask_keys, ask_sizes)

    def _sum(self, side: int, keys: Column, sizes: Column) -> int:
        known_keys, known_sizes, known = self._sides[side]
        if sizes == known_sizes and keys == known_keys:
            return known
        total = sum(map(hash, zip(keys, sizes, strict=True)))
        self._sides[side] = (keys, sizes, total)
        return total


@define(eq=False)
class History:
    """The states of one book, and when each of them was replaced last."""

    horizon_ms: int
    current: Digest = (0, 0)
    _ended: dict[Digest, int] = field(factory=dict)
    _order: deque[tuple[int, Digest]] = field(factory=deque)

    def record(self, state: Digest, at_ms: int) -> None:
        """The book changed into this state."""
        replaced = self.current
        if state == replaced:
            return
        order, ended = self._order, self._ended
        ended[replaced] = at_ms
        order.append((at_ms, replaced))
        self.current = state
        limit = at_ms - self.horizon_ms
        while order[0][0] < limit or len(order) > MAX_STATES:
            when, old = order.popleft()
            if ended.get(old) == when:
                del ended[old]

    def was(self, state: Digest, since_ms: int) -> bool:
        """Whether the book was in this state at any time from ``since_ms`` on.

        The state in force at ``since_ms`` counts, and so does one that was replaced in that
        millisecond. What ended before the horizon counts as never.
        """
        return state == self.current or self._ended.get(state, -1) >= since_ms

    def copy(self) -> History:
        """Another history with the same past, whatever it is that keeps this one."""
        return History(self.horizon_ms, self.current, self._ended.copy(), self._order.copy())

    def __len__(self) -> int:
        """How many past states are kept."""
        return len(self._order)
