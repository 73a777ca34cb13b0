"""How a mirror is: the engine's own status, and what only the mirror knows.

:class:`Records` is kept while the mirror runs; :class:`MirrorStatus` is one frozen copy of everything, made when
somebody asks by :meth:`polymirror.mirror.Mirror.status`. Nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from polymirror.core.status import EngineStatus, Known
from polymirror.status.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.venue.market import Market


class MirrorStatus(EngineStatus, frozen=True, kw_only=True, gc=False):
    """How a mirror is at one moment: what :class:`~polymirror.core.status.EngineStatus` has, and the mirror's counts.

    Slugs and outcomes of the tokens are filled in.
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
    failed_callbacks: int
    """Calls of users' callbacks that raised since the mirror was made. The log has a traceback for each kind."""
    missing: dict[str, str]
    """What is looked for and not found yet, by slug, token or ``event SLUG``, and why: it has no books here."""

    @classmethod
    def of(cls, engine: EngineStatus, records: Records, *, seed: int, running: bool, missing: dict[str, str]) -> Self:
        """Add a mirror's records to its engine's status."""
        return cls(
            **{name: getattr(engine, name) for name in EngineStatus.__struct_fields__},
            seed=seed, running=running, transitions=records.transitions,
            reads_granted=records.granted, reads_refused=records.refused,
            failed_callbacks=records.failed_callbacks, missing=missing,
        )  # fmt: skip


class Records:
    """What a mirror counts while it runs."""

    def __init__(self) -> None:
        # Reads for execution.
        self.granted = self.refused = 0
        self.transitions = 0
        # Calls of users' callbacks that raised.
        self.failed_callbacks = 0
        self.pulse: Pulse = Pulse()

    def known(self, markets: Iterable[Market], budget_left: int | None, look_ups: str = "") -> Known:
        """Return what the engine's status is to be filled in with."""
        names = {token.id: (market.slug, token.outcome) for market in markets for token in market.tokens}
        return Known(names=names, budget_left=budget_left, look_ups=look_ups)
