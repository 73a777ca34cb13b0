"""Summing up many seeds."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.torture.verdict import ALLOWANCES

if TYPE_CHECKING:
    from polymirror.torture.run import SeedResult

MAX_REPORTED = 20
"""Violations that are told in full."""


def quantiles(values: list[float]) -> dict[str, float]:
    """Return p50, p99 and max, rounded to the millisecond; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {"p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], 3)}


@define
class Report:
    """Grows with each seed; :meth:`as_dict` is what ``polymirror torture --json`` prints."""

    results: int = 0
    virtual_seconds: float = 0.0
    faults: Counter[str] = Factory(Counter)
    violations: list[tuple[int, Any]] = Factory(list)
    wrong_live_seconds: float = 0.0
    detect: dict[str, list[float]] = Factory(dict)
    recover: list[float] = Factory(list)
    retire: list[float] = Factory(list)
    unseen: dict[str, list[float]] = Factory(dict)
    unknowable: Counter[str] = Factory(Counter)
    reads: int = 0
    refused: int = 0
    _traces: dict[int, str] = Factory(dict)

    def add(self, result: SeedResult) -> None:
        """Take one seed's result."""
        self.results += 1
        self.virtual_seconds += result.seconds
        self.faults.update(result.faults)
        self.violations.extend((result.seed, violation) for violation in result.violations)
        self.wrong_live_seconds += result.wrong_live_seconds
        for fault, values in result.detect.items():
            self.detect.setdefault(fault, []).extend(values)
        self.recover.extend(result.recover)
        self.retire.extend(result.retire)
        for fault, values in result.unseen.items():
            self.unseen.setdefault(fault, []).extend(values)
        self.unknowable.update(result.unknowable)
        self.reads += result.reads
        self.refused += result.refused
        self._traces[result.seed] = result.trace

    @property
    def trace(self) -> str:
        """One hash over all seeds' transitions: the same on every machine."""
        return sha256("".join(f"{seed}:{self._traces[seed]};" for seed in sorted(self._traces)).encode()).hexdigest()

    def as_dict(self, elapsed: float, known: list[str]) -> dict[str, Any]:
        """Return the report. ``elapsed`` in seconds of real time; ``known`` are all fault ids."""
        return {
            "seeds": self.results,
            "violations": len(self.violations),
            "violation_list": [
                {"seed": seed, "promise": v.promise, "at": round(v.at, 6), "token": v.token, "detail": v.detail}
                for seed, v in self.violations[:MAX_REPORTED]
            ],
            "virtual_hours": round(self.virtual_seconds / 3600, 3),
            "faults_injected": sum(self.faults.values()),
            "faults_by_id": {fault: self.faults.get(fault, 0) for fault in sorted(known)},
            "never_struck": [fault for fault in sorted(known) if not self.faults.get(fault)],
            "unknowable": {name: self.unknowable[name] for name in ALLOWANCES},
            "wrong_live_seconds": round(self.wrong_live_seconds, 6),
            "detect_seconds": {fault: quantiles(values) for fault, values in sorted(self.detect.items())},
            "recover_seconds": quantiles(self.recover),
            "settled_seconds": quantiles(self.retire),
            "recover_unseen": {
                fault: {"bound": FAULTS[fault].heal_seconds or 0.0, **quantiles(values)}
                for fault, values in sorted(self.unseen.items())
            },
            "reads": self.reads,
            "refused_reads": self.refused,
            "speedup_over_real_time": round(self.virtual_seconds / elapsed, 1) if elapsed else 0.0,
            "elapsed_seconds": round(elapsed, 1),
            "trace": self.trace,
        }
