"""The judge of what is read: it knows what became of all news, and excuses only what nobody could know.

Levels that are read must have been the venue's at the time for which they are said to be proven, or later. Two things
are excused: that the change which ended them is still on its way (the link's own one-way delay), and that it was lost
while REST, asked after it, answered as if it had never been. Nothing else is: not that REST is behind, not that this
program stood still or slept, not that messages repeat or overtake each other. A constant delay that nothing told of the
venue's clock rules out looks like none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.core.proofs import ProofKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.proofs import Proof
    from polymirror.core.view import BookView, Top
    from tests.properties.model import ModelBook, Sides

ROUNDING = 0.0015
"""Exchange times are whole milliseconds."""

DRIFT = 60e-6
"""The venue's clock is known a little worse with each second since it was told (50 ppm)."""


class Judge:
    """Holds reads against the model's history. Times in seconds on the world's clock."""

    def __init__(self, start: float) -> None:
        # What became of the news of a token's change at a time: on its way, heard or lost.
        self._news: dict[tuple[str, float], str] = {}
        # What REST answered although it was over when it was asked: token, levels, and the time of the question.
        self._behind: list[tuple[str, Sides, float]] = []
        # Reads that were excused: REST denied a change that was lost.
        self.excused = 0
        # What is not known of the venue's clock at best, and since when: the least delay that was seen.
        self._unknown, self._unknown_at = float("inf"), start
        # Each token's newest proof, and what was not known of the venue's clock when it was dated.
        self._dated: dict[str, tuple[Proof | None, float]] = {}
        self._start = start

    def happened(self, about: Iterable[str], now: float) -> None:
        """Something happened to these tokens, and nobody has been told yet."""
        for asset_id in about:
            self._news.setdefault((asset_id, now), "lost")

    def sent(self, about: Iterable[str], when: float) -> None:
        """The news of what happened then are on their way."""
        for asset_id in about:
            if self._news.get((asset_id, when)) != "heard":
                self._news[asset_id, when] = "on its way"

    def heard(self, about: Iterable[str], when: float, now: float) -> None:
        """The news of what happened then have arrived."""
        for asset_id in about:
            self._news[asset_id, when] = "heard"
            self.clock_told(now - when, now)

    def lost(self, asset_id: str, what: str) -> None:
        """News of a token that are in this state are lost: its connection is, or what was known of it."""
        for key, became in self._news.items():
            if key[0] == asset_id and became == what:
                self._news[key] = "lost"

    def answered(self, book: ModelBook, sides: Sides, asked_at: float) -> None:
        """REST answers with these levels."""
        if (book.ended(sides) or 0.0) < asked_at:
            self._behind.append((book.asset_id, sides, asked_at))

    def clock_told(self, unknown: float, now: float) -> None:
        """Note a statement of the venue's clock that leaves so many seconds open."""
        if unknown <= self._unknown + DRIFT * (now - self._unknown_at):
            self._unknown, self._unknown_at = unknown, now

    def check(self, view: BookView, book: ModelBook, now: float, stream_delay: float) -> None:
        """What was read now was true when it is said to be proven, or later."""
        bids, asks = ([(each.price_e4, each.size_e6) for each in side] for side in (view.bids, view.asks))
        sides = tuple(bids), tuple(asks)
        ended, proven_at = book.ended(sides), now - view.verified_age
        assert ended is not None, f"P2: {book.asset_id} never had these levels: {sides}"
        slack = ROUNDING + DRIFT * (now - self._start)
        if view.last_proof is not None and view.last_proof.kind is not ProofKind.PROBE:
            slack += self._not_known(view, stream_delay)
        if ended >= proven_at - slack:
            return
        became = self._news.get((book.asset_id, ended), "lost")
        if became == "on its way":
            return
        denied = any(each[:2] == (book.asset_id, sides) and each[2] >= proven_at - slack for each in self._behind)
        assert became == "lost" and denied, (  # noqa: PT018 - one promise, one message
            f"P2: {book.asset_id} never had these levels after {ended} ({became}; REST denied it: {denied}), "
            f"and they are said to be proven as of {proven_at}: {view.last_proof}"
        )
        self.excused += 1

    def _not_known(self, view: BookView, stream_delay: float) -> float:
        """What nobody knew of the venue's clock when a proof was dated."""
        dated, known = self._dated.get(view.token, (None, 0.0))
        if dated != view.last_proof:
            known = max(self._unknown, stream_delay if view.clock_uncertainty is None else 0.0)
            self._dated[view.token] = (view.last_proof, known)
        return known


OF_BOTH = ("token", "epoch", "doubts", "settled", "exchange_ms", "read_at", "proven_at", "verified_age")
"""What a read of the top tells, as a read of the book does."""


def check_top(view: BookView | None, top: Top | None) -> None:
    """Both reads for execution must be granted or refused together, and tell the same."""
    assert (view is None) is (top is None), "P1: one of book and top is granted, and the other is not"
    if view is not None and top is not None:
        assert (top.best_bid, top.best_ask) == (view.best_bid, view.best_ask), "P1: the top is of another book"
        assert all(getattr(top, name) == getattr(view, name) for name in OF_BOTH), "P1: the top tells another thing"
