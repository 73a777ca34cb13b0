"""How a mirror is: the engine's own status, and what only the mirror knows.

:class:`Records` is kept while the mirror runs; :class:`MirrorStatus` is one frozen copy of everything, made when
somebody asks by :meth:`polymirror.mirror.Mirror.status`. Nothing here decides anything.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from polymirror.core.states import BookState
from polymirror.core.status import EngineStatus, Known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.events import Transition
    from polymirror.venue.market import Market


class MirrorStatus(EngineStatus, frozen=True, kw_only=True, gc=False):
    """How a mirror is at one moment: what :class:`~polymirror.core.status.EngineStatus` has, and the mirror's counts.

    Slugs, outcomes, refused reads and resyncs of each token are filled in.
    """

    seed: int
    """Decides all jitter of this mirror."""
    running: bool
    """Inside the ``async with`` block."""
    reads_granted: int
    """Reads for execution since the mirror was made,"""
    reads_refused: int
    """and those of them that were refused with NotLive, of tokens that are gone, too."""
    transitions: int
    """Changes of state since the mirror was made."""

    @classmethod
    def of(cls, engine: EngineStatus, records: Records, *, seed: int, running: bool) -> Self:
        """Add a mirror's records to its engine's status."""
        return cls(
            **{name: getattr(engine, name) for name in EngineStatus.__struct_fields__},
            seed=seed, running=running, transitions=records.transitions,
            reads_granted=records.reads["granted"], reads_refused=records.reads["refused"],
        )  # fmt: skip


class Records:
    """What a mirror counts while it runs. Bounded: a few numbers for each token that it has."""

    def __init__(self) -> None:
        # "granted" and "refused".
        self.reads: Counter[str] = Counter()
        self.transitions = 0
        self._refused: Counter[str] = Counter()
        self._resyncs: dict[str, Counter[str]] = {}

    def refuse(self, token: str) -> None:
        """Count a read for execution that was refused."""
        self.reads["refused"] += 1
        self._refused[token] += 1

    def note(self, event: Transition) -> None:
        """Count a change of state."""
        self.transitions += 1
        if event.new is BookState.RESYNCING:
            self._resyncs.setdefault(event.token, Counter())[event.reason.name] += 1

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop the counts of tokens that are mirrored no more; the totals stay."""
        for token in tokens:
            self._refused.pop(token, None)
            self._resyncs.pop(token, None)

    def known(self, markets: Iterable[Market], budget_left: int | None) -> Known:
        """Return what the engine's status is to be filled in with."""
        names = {token.id: (market.slug, token.outcome) for market in markets for token in market.tokens}
        return Known(names=names, refused=self._refused, resyncs=self._resyncs, budget_left=budget_left)
