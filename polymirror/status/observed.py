"""What is needed of a mirror to show how it is. Types only: :class:`polymirror.mirror.Mirror` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polymirror.config import MirrorConfig
    from polymirror.core.engine import Engine
    from polymirror.core.events import Transition
    from polymirror.core.view import BookView
    from polymirror.journal.recorded import IncidentNote
    from polymirror.status.health import MirrorStatus
    from polymirror.status.pulse import Pulse

T = TypeVar("T")


class Observed(Protocol):
    """A mirror, as far as those see it who tell how it is."""

    config: MirrorConfig
    engine: Engine

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens."""

    @property
    def missing(self) -> dict[str, str]:
        """What is not found yet, and why."""

    @property
    def reads(self) -> Mapping[str, int]:
        """Reads for execution, by outcome."""

    @property
    def failed_callbacks(self) -> int:
        """Calls of callbacks that raised."""

    @property
    def budget_left(self) -> int | None:
        """Calls of REST that could be made at once."""

    @property
    def pulse(self) -> Pulse:
        """What it measures of itself."""

    def now(self) -> float:
        """Return its monotonic clock in seconds."""

    def status(self) -> MirrorStatus:
        """Return how it is."""

    def peek(self, token: str) -> BookView:
        """Return the last proven levels, for display."""

    def incidents(self, token: str | None = None) -> tuple[IncidentNote, ...]:
        """Return the newest incidents of the market with this token, newest first."""

    def on_transition(self, callback: Callable[[Transition], object]) -> Callable[[], None]:
        """Call back with every change of a state; return a function that removes the callback."""

    def ask(self, work: Callable[[Self], T], timeout: float = 1.0) -> T:
        """Do something in its own thread."""
