"""Proofs: single comparisons of a book with what the venue says, and their verdicts.

Each check is a pure function of a book and a statement of the venue. When checks are made, and what follows
from a verdict, is the business of :mod:`polymirror.core.market` and :mod:`polymirror.core.token`; how a hash
is proven, of :mod:`polymirror.core.hashing`.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, unique
from typing import TYPE_CHECKING

from msgspec import Struct

from polymirror.core.units import COMPLEMENTS, PRICES, parse_size

if TYPE_CHECKING:
    from polymirror.core.book import OrderBook
    from polymirror.core.messages import Change


class _Counted:
    """What is counted several times a frame: an Enum's own hash runs in Python."""

    if TYPE_CHECKING:

        def __hash__(self) -> int: ...

    else:
        __hash__ = object.__hash__


@unique
class ProofKind(_Counted, Enum):
    """What was compared."""

    INVARIANTS = "invariants"
    """Full depth, against itself: bids below asks. Order and sizes above 0 hold by construction."""
    BBO = "bbo"
    """Top of the book, against the last delta's best_bid and best_ask."""
    COMPLEMENT = "complement"
    """Full depth, against the market's other token."""
    HASH = "hash"
    """Full depth, against the venue's SHA-1 of the whole book after a change."""
    BOOK = "book"
    """Full depth, against a book the stream sent: an opening one, or one re-sent after a trade."""
    PROBE = "probe"
    """Full depth, against a book asked from REST."""


@unique
class Verdict(_Counted, Enum):
    """What a comparison showed."""

    MATCH = "match"
    HEALED = "healed"
    """The hash fitted one or two changes later: the venue had hashed slightly late."""
    MISMATCH = "mismatch"
    UNVERIFIABLE = "unverifiable"
    """Nothing to compare with: no hash, an unknown dialect, an answer that cannot be placed."""
    BEHIND = "behind"
    """REST answered with a book older than what is proven already: says nothing."""


class Proof(Struct, frozen=True, gc=False):
    """One successful comparison. ``as_of``, in seconds on the mirror's clock: the latest moment for which it holds."""

    kind: ProofKind
    as_of: float
    epoch: int


class Tally:
    """Counts of verdicts by kind."""

    __slots__ = ("_counts", "proven_pairs", "proven_twice", "unhashed_pairs")

    def __init__(self) -> None:
        self._counts: Counter[tuple[ProofKind, Verdict]] = Counter()
        # Whole batches with one verdict each: a count of its own for each check would cost more than the check.
        # Batches of two mirrored books in which everything fitted, with one token's hash tried,
        self.proven_pairs: int = 0
        # with both hashes tried,
        self.proven_twice: int = 0
        # and with no hash to try.
        self.unhashed_pairs: int = 0

    def count(self, kind: ProofKind, verdict: Verdict) -> None:
        """Count one verdict."""
        self._counts[kind, verdict] += 1

    def by_verdict(self) -> dict[tuple[ProofKind, Verdict], int]:
        """Return all counts above 0, in a fixed order."""
        pairs = self.proven_pairs + self.proven_twice + self.unhashed_pairs
        counts = self._counts + Counter({
            (ProofKind.INVARIANTS, Verdict.MATCH): 2 * pairs,
            (ProofKind.BBO, Verdict.MATCH): 2 * pairs,
            (ProofKind.COMPLEMENT, Verdict.MATCH): pairs,
            (ProofKind.HASH, Verdict.MATCH): self.proven_pairs + 2 * self.proven_twice,
            (ProofKind.HASH, Verdict.UNVERIFIABLE): 2 * self.unhashed_pairs,
        })  # fmt: skip
        return {each: counts[each] for each in sorted(counts, key=lambda each: (each[0].value, each[1].value))}

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return ``{kind: {verdict: n}}`` with the values' names."""
        table: dict[str, dict[str, int]] = {}
        for (kind, verdict), n in self.by_verdict().items():
            table.setdefault(kind.value, {})[verdict.value] = n
        return table


def bbo_agrees(book: OrderBook, best_bid: str | None, best_ask: str | None) -> bool | None:
    """Whether the top is the one the venue states; None when it states nothing.

    An empty side is spelled "", "0" (bid), "1" (ask) or null. Raises UnitError for what is no price.
    """
    if best_bid is None and best_ask is None:
        return None
    bids, asks = book.bids.keys, book.asks.keys
    bid = PRICES[best_bid] if best_bid else 0
    ask = COMPLEMENTS[best_ask] if best_ask else 0
    return (bids[-1] if bids else 0) == bid and (asks[-1] if asks else 0) == ask


def violation(book: OrderBook, stated: Change | None, tick: int | None, *, hash_proven: bool) -> str:
    """Name what is impossible about a book at the end of a batch, or return "".

    Order and sizes above 0 hold by construction. A new price off the grid of ``tick`` (1/10,000) is impossible unless
    the hash fits: then only the news of a finer grid is missing.
    """
    if book.crossed():
        return "crossed"
    if hash_proven or stated is None or not parse_size(stated.size):
        return ""
    off_grid = tick is not None and PRICES[stated.price] % tick
    return f"price {stated.price} is off the grid of {tick}" if off_grid else ""


def complement_differences(one: OrderBook, other: OrderBook) -> set[tuple[int, bool]]:
    """Return the levels at which two tokens are no mirror images, as (key, is a bid of ``one``)."""
    differences: set[tuple[int, bool]] = set()
    for is_bid, mine, theirs in ((True, one.bids, other.asks), (False, one.asks, other.bids)):
        if mine.keys == theirs.keys and mine.sizes == theirs.sizes:
            continue
        ours = dict(zip(mine.keys, mine.sizes, strict=True))
        mirror = dict(zip(theirs.keys, theirs.sizes, strict=True))
        differences.update((key, is_bid) for key in ours.keys() | mirror.keys() if ours.get(key) != mirror.get(key))
    return differences
