"""Looking over a running mirror's shoulder: when each frame was applied, and whether a book left LIVE."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks.speed.method import percentile
from polymirror import BookState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror import Mirror, Transition


class Watch:
    """Notes when frames that are single objects were applied, and counts books that leave LIVE.

    ``market`` limits the frames to those that begin with its id; opening arrays and answers to PING are no objects.
    """

    def __init__(self, mirror: Mirror, market: str) -> None:
        self.applied: list[float] = []
        self.lost: list[str] = []
        receive, applied, clock = mirror.engine.receive, self.applied, time.monotonic
        start = f'{{"market":"{market}"'.encode()

        def watched(number: int, data: Any, *times: Any) -> None:
            receive(number, data, *times)
            if data.startswith(start):
                applied.append(clock())

        mirror.engine.receive = watched  # type: ignore[method-assign, assignment]
        mirror.on_transition(self._note)

    def _note(self, event: Transition) -> None:
        if event.old is BookState.LIVE:
            self.lost.append(f"{event.reason.name} {event.detail}".strip())

    def ages(self, sent: Sequence[float], since: int = 0, until: int | None = None) -> list[float]:
        """Return the milliseconds from sending to applied of the frames in a range."""
        return [1000 * (a - s) for a, s in zip(self.applied[since:until], sent[since:until], strict=False)]


def summary(ages: Sequence[float]) -> dict[str, float]:
    """Return the percentiles that matter, in ms."""
    return {
        "p50": round(percentile(ages, 0.5), 3),
        "p99": round(percentile(ages, 0.99), 3),
        "p99.9": round(percentile(ages, 0.999), 3),
        "max": round(max(ages), 3),
    }
