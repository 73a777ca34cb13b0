"""What asking for books, and judging their answers, needs of a token.

:class:`~polymirror.core.token.Token` is one. The interface stands apart, so that the token may own what asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from polymirror.config import EngineConfig
    from polymirror.core.book import OrderBook, Undo
    from polymirror.core.evidence import Evidence
    from polymirror.core.hashing import Explained, MarketHash
    from polymirror.core.messages import Snapshot
    from polymirror.core.misses import Misses
    from polymirror.core.outbox import Outbox
    from polymirror.core.proven import Proven
    from polymirror.core.states import BookState, Reason


class Subject(Protocol):
    """One token, as its dealings with REST see it. Times in seconds on the mirror's monotonic clock."""

    asset_id: str
    market_id: str
    config: EngineConfig
    outbox: Outbox
    hashes: MarketHash
    proven: Proven
    state: BookState
    connected: bool
    lagging: bool
    calm: bool
    doubts: int
    missed_deltas: bool
    doubted_at: float
    miss_since: float | None
    misses: Misses
    refresh_at: float
    resyncs: dict[str, int]

    @property
    def twin(self) -> Subject | None:
        """The market's other token, once it is tracked."""
        ...

    @property
    def probe_interval(self) -> float:
        """Seconds after which a proof is followed by a probe."""
        ...

    def proof_is_old(self, now: float) -> bool:
        """Whether the proof is so old that a probe is needed."""
        ...

    def doubt(self, reason: Reason, now: float, detail: str = "") -> None:
        """Make a LIVE book SUSPECT."""
        ...

    def start_resync(
        self, reason: Reason, now: float, *, gap: bool, detail: str = "", doubted_at: float | None = None
    ) -> None:
        """Clear the book and ask for a baseline."""
        ...

    def admits(self, book: OrderBook, evidence: Evidence) -> bool:
        """Whether a book may be a baseline."""
        ...

    def load(self, book: OrderBook, evidence: Evidence, now: float, *, verifiable: bool, believed: bool = True) -> bool:
        """Take a baseline."""
        ...

    def prove(self, evidence: Evidence, now: float) -> None:
        """The book as it stands equals the venue's."""
        ...

    def prove_past(self, undos: list[Undo], book: OrderBook, evidence: Evidence, now: float) -> None:
        """The book as it was before ``undos`` equals the venue's."""
        ...

    def accept(self, explained: Explained | None, message: Snapshot, now: float) -> None:
        """A whole book was accepted: keep what it tells about the market."""
        ...
