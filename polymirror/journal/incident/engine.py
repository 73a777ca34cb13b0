"""A recorded engine whose changes of state are watched, right after the input that led to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.core.events import Transition
from polymirror.journal.recorder import RecordingEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.events import Event
    from polymirror.journal.format import Line


class WatchedEngine(RecordingEngine):
    """``moved`` hears of every change of a state."""

    def __init__(
        self,
        config: EngineConfig,
        rng: Random,
        put: Callable[[Line], None],
        wall: Callable[[], float],
        book_seconds: float,
        files: Callable[[], int],
        moved: Callable[[Iterable[Transition]], None],
    ) -> None:
        super().__init__(config, rng, put, wall, book_seconds, files)
        self._moved = moved

    def events(self) -> list[Event]:
        """As :meth:`Engine.events`."""
        drained = super().events()
        transitions = [event for event in drained if isinstance(event, Transition)]
        if transitions:
            self._moved(transitions)
        return drained

    def refusals(self, asset_ids: Iterable[str]) -> int:
        """Return how many reads of these tokens were refused so far."""
        return sum(self.refused[asset_id] for asset_id in asset_ids)
