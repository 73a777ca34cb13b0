"""Finding the few faults that matter: a violation's episodes, reduced until none can be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.core.engine import Engine
from polymirror.torture.run import run_storm

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.torture.storm import Episode, Storm

MAX_RUNS = 60
"""Runs of the seed that shrinking may take."""


def shrink(
    storm: Storm,
    engine_class: Callable[..., Engine] = Engine,
    max_runs: int = MAX_RUNS,
    *,
    hedge: int = 1,
    relay: str = "",
    tell: Callable[[int], object] | None = None,
) -> tuple[Episode, ...]:
    """Return a smallest list of episodes that still breaks a promise (delta debugging, bounded).

    ``tell`` is called with the number of each run before it starts.
    """
    episodes = list(storm.episodes)
    runs, size = 0, max(1, len(episodes) // 2)
    while size >= 1 and runs < max_runs:
        position, reduced = 0, False
        while position < len(episodes) and runs < max_runs:
            rest = episodes[:position] + episodes[position + size :]
            runs += 1
            if tell is not None:
                tell(runs)
            if run_storm(storm, rest, engine_class, hedge=hedge, relay=relay).violations:
                episodes, reduced = rest, True
            else:
                position += size
        if size == 1 and not reduced:
            break
        size = max(1, size // 2)
    return tuple(episodes)
