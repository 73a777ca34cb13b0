"""What a soak counts, and the report it becomes. Filled by :mod:`polymirror.torture.sockets` and its judge."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define

from polymirror.torture.report import quantiles
from polymirror.torture.verdict import ALLOWANCES

if TYPE_CHECKING:
    from polymirror.torture.leaks import Leaks
    from polymirror.venue.stream import StreamCounters

MAX_VIOLATIONS: Final = 20
"""Violations told in full; all are counted."""


@define
class SoakTally:
    """Counts of all rounds so far. Times in seconds."""

    seconds: float = 0.0
    rounds: int = 0
    reads: int = 0
    refused: int = 0
    wrong: int = 0
    unknowable: Counter[str] = Factory(Counter)
    """Reads that were wrong because of what cannot be known, by the name of the allowance."""
    toxics: Counter[str] = Factory(Counter)
    """How often each toxic was switched on, by proxy."""
    faults: Counter[str] = Factory(Counter)
    """How often each fault of the venue struck."""
    stalls: int = 0
    """How often the user's code blocked the event loop."""
    closes: Counter[str] = Factory(Counter)
    """What ended the mirror's connections."""
    recover: list[float] = Factory(list)
    """For each book in doubt when a calm began, how long it was so."""
    shutdowns: list[float] = Factory(list)
    leaked_tasks: int = 0
    leaked_descriptors: int = 0
    leaked_timers: int = 0
    memory_growth_kb: float | None = None
    violations: int = 0
    details: list[dict[str, str]] = Factory(list)

    def violate(self, promise: str, detail: str, token: str = "") -> None:
        """Note a broken promise."""
        self.violations += 1
        if len(self.details) < MAX_VIOLATIONS:
            self.details.append({"promise": promise, "token": token, "detail": detail})

    def shutdown(self, seconds: float, limit: float, during: object) -> None:
        """Note how long a mirror took to stop, and what the proxies did during it."""
        self.shutdowns.append(seconds)
        if seconds > limit:
            self.violate("a mirror stops within a second", f"{seconds:.3f} s during {during}")

    def note_closes(self, counters: StreamCounters) -> None:
        """Add what ended a stream's connections."""
        self.closes.update({kind.value: count for kind, count in counters.closes.items() if count})

    def leak(self, leaks: Leaks, number: int) -> None:
        """Note what round ``number`` left behind."""
        self.leaked_tasks += len(leaks.tasks)
        self.leaked_descriptors += len(leaks.descriptors)
        self.leaked_timers += len(leaks.timers)
        if leaks:
            self.violate("nothing is left behind", f"round {number}: {leaks}")

    def as_dict(self) -> dict[str, Any]:
        """Return the report that ``polymirror torture --sockets --json`` prints."""
        growth = self.memory_growth_kb
        return {
            "seconds": round(self.seconds, 1),
            "rounds": self.rounds,
            "reads": self.reads,
            "refused_reads": self.refused,
            "wrong_live_reads": self.wrong,
            "unknowable": {name: self.unknowable[name] for name in ALLOWANCES},
            "toxics_injected": self.toxics.total(),
            "toxics_by_id": dict(sorted(self.toxics.items())),
            "faults_injected": self.faults.total(),
            "faults_by_id": dict(sorted(self.faults.items())),
            "stalls": self.stalls,
            "closes": dict(sorted(self.closes.items())),
            "recover_seconds": quantiles(self.recover),
            "leaked_tasks": self.leaked_tasks,
            "leaked_fds": self.leaked_descriptors,
            "leaked_timers": self.leaked_timers,
            "memory_growth_kb": None if growth is None else round(growth, 1),
            "shutdown_seconds": {"max": round(max(self.shutdowns, default=0.0), 3)},
            "violations": self.violations,
            "violation_list": self.details,
        }


def in_words(error: BaseException) -> str:
    """Say what went wrong and where; each of them, when there are several."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(in_words, error.exceptions))
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f" ({trace.tb_frame.f_code.co_name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{where}"
