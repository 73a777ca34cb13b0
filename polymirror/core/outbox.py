"""What the core wants done and known: events for people, wishes for the engine.

Tokens and markets write here while they handle an input; :class:`polymirror.core.engine.Engine` reads it
at the end of that input. So the parts need no reference to each other, and every input's consequences
come out in one order.
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING

from polymirror.core.announcements import Announcements
from polymirror.core.events import Warned
from polymirror.core.proofs import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.announcements import Announcement
    from polymirror.core.clock import VenueClock
    from polymirror.core.events import Event
    from polymirror.core.proofs import ProofKind, Verdict


class Want(IntEnum):
    """How badly a token wants a book from REST."""

    ROUTINE = 0
    """A proof is getting old: may be gathered with others."""
    URGENT = 1
    """A doubt must be cleared, or a user asked."""
    BASELINE = 2
    """There is no book to serve: a baseline is needed."""


class Outbox:
    """Collects events and wishes by ids; holds what all tokens share."""

    def __init__(self, config: EngineConfig, rng: Random, clock: VenueClock) -> None:
        self.config = config
        self.clock = clock
        # The only source of jitter in the core, seeded by the mirror.
        self.rng = rng
        # In the order in which they happened; drained by the shell.
        self.events: list[Event] = []
        self.announcements: Announcements = Announcements()
        # Tokens whose deadline may have come nearer, in order.
        self.rearm: dict[str, None] = {}
        # Tokens that want a REST book.
        self.books: dict[str, Want] = {}
        # The strongest of the wishes that nobody has looked at yet.
        self.fresh: Want | None = None
        # Markets that should be subscribed anew, that Gamma should be asked about, and that show life again.
        self.resubscribe: dict[str, None] = {}
        self.ask_gamma: dict[str, None] = {}
        self.revive: dict[str, None] = {}
        # Tokens whose readable view changed since the last drain.
        self.dirty: dict[str, None] = {}
        self.proofs: Tally = Tally()
        # Counts one verdict.
        self.count: Callable[[ProofKind, Verdict], None] = self.proofs.count
        # snapshots, ignored, malformed, untracked...
        self.counts: Counter[str] = Counter()
        # Resyncs by the reason of the doubt that led to them.
        self.resyncs: dict[str, int] = {}

    def want(self, asset_id: str, how: Want) -> None:
        """Note a wish for a REST book; the strongest wish counts."""
        known = self.books.get(asset_id)
        if known is None or known < how:
            self.books[asset_id] = how
            if self.fresh is None or self.fresh < how:
                self.fresh = how

    def forget(self, condition_id: str, asset_ids: Collection[str]) -> None:
        """Drop what is wanted for a market that is mirrored no more; what happened is told all the same."""
        for wishes in (self.resubscribe, self.ask_gamma, self.revive):
            wishes.pop(condition_id, None)
        for asset_id in asset_ids:
            for kept in (self.books, self.rearm, self.dirty):
                kept.pop(asset_id, None)
        self.announcements.forget(condition_id, *asset_ids)

    def announce(self, message: Announcement, tokens: Container[str], now: float) -> None:
        """Tell people what the venue announced about a market with these ``tokens``, if they want to know."""
        event = self.announcements.read(message, tokens, now)
        if event is not None:
            self.events.append(event)

    def warn(self, kind: str, detail: str, now: float) -> None:
        """Tell people that something is odd; nothing is told for an empty ``detail``."""
        if detail:
            self.events.append(Warned(now, kind, detail))
