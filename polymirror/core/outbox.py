"""What the core wants done and known: events for people, wishes for the engine.

Tokens and markets write here while they handle an input; :class:`polymirror.core.engine.Engine` reads it
at the end of that input. So the parts need no reference to each other, and every input's consequences
come out in one order.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from polymirror.core.proofs import ProofKind, Tally, Verdict

if TYPE_CHECKING:
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.events import Transition, Warned
    from polymirror.core.hashing import DialectBook
    from polymirror.core.token import Token


class Want(Enum):
    """How badly a token wants a book from REST."""

    ROUTINE = 0
    """A proof is getting old: may be gathered with others."""
    URGENT = 1
    """A doubt must be cleared, or a user asked."""
    BASELINE = 2
    """There is no book to serve: a baseline is needed."""


class Outbox:
    """Collects events and wishes; holds what all tokens share."""

    def __init__(self, config: EngineConfig, rng: Random, dialects: DialectBook) -> None:
        self.config = config
        # The only source of jitter in the core, seeded by the mirror.
        self.rng = rng
        self.dialects = dialects
        # In the order in which they happened; drained by the shell.
        self.events: list[Transition | Warned] = []
        # Tokens whose deadline may have come nearer, in order.
        self.rearm: dict[Token, None] = {}
        # Tokens that want a REST book.
        self.books: dict[Token, Want] = {}
        # The strongest of the wishes that nobody has looked at yet.
        self.fresh: Want | None = None
        # Tokens whose market should be subscribed anew.
        self.resubscribe: dict[Token, None] = {}
        # Tokens whose readable view changed since the last drain.
        self.dirty: dict[str, None] = {}
        self.proofs = Tally()
        # snapshots, ignored, malformed, untracked...
        self.counts: Counter[str] = Counter()
        # Resyncs by the reason of the doubt that led to them.
        self.resyncs: dict[str, int] = {}

    def want(self, token: Token, how: Want) -> None:
        """Note a wish for a REST book; the strongest wish counts."""
        known = self.books.get(token)
        if known is None or known.value < how.value:
            self.books[token] = how
            if self.fresh is None or self.fresh.value < how.value:
                self.fresh = how

    def count(self, kind: ProofKind, verdict: Verdict) -> None:
        """Count one verdict."""
        self.proofs.count(kind, verdict)
