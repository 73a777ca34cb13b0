"""What happened, for people: changes of state, and warnings. Data only; drained by the shell in order."""

from __future__ import annotations

from attrs import frozen

from polymirror.core.states import BookState, Reason


@frozen
class Transition:
    """A book moved from one state to another. ``at`` in seconds on the mirror's monotonic clock."""

    token: str
    at: float
    old: BookState
    new: BookState
    reason: Reason
    epoch: int
    detail: str = ""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return (f"{self.at:.6f} {self.token} {self.old.name} -> {self.new.name} "
                f"{self.reason.name} epoch {self.epoch}{detail}")  # fmt: skip


@frozen
class Warned:
    """Something was malformed, or the venue behaves in a new way. For the log, once per kind and while."""

    at: float
    kind: str
    detail: str
