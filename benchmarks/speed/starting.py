"""Ten thousand books at once: from the stream's opening books, and from REST after all sockets were lost.

In the storm no opening book comes with the new connections, so every baseline must come from REST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.speed.crowd import Crowd
from benchmarks.speed.rows import Row, rounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.speed.rows import Options

TOKENS = 10_000
LEVELS = 50
PATIENCE = 60.0
"""Virtual seconds in which all books must be LIVE again."""


def measure(options: Options) -> Iterator[Row]:
    """Measure a cold start, then a reconnect storm."""
    tokens = options.choose(TOKENS, TOKENS // 10)
    scale = TOKENS / tokens
    with Crowd(tokens, LEVELS) as crowd:
        crowd.connect()
        crowd.open_books()
        start, started = dict(crowd.spent), crowd.all_live()
        crowd.spent.clear()
        crowd.calls = 0
        lost_at = crowd.now = crowd.now + 1.0
        crowd.disconnect()
        crowd.connect()
        crowd.run(lost_at + PATIENCE, stop_when_live=True)
        recovered, took = crowd.all_live(), crowd.now - lost_at
        storm = {what: cpu * scale for what, cpu in crowd.spent.items()}
    note = "Quick runs extrapolate from a tenth." if options.quick else ""
    yield Row(
        "cold_start_cpu",
        f"{TOKENS:,} tokens of {LEVELS} levels a side made LIVE by opening books, CPU",
        scale * sum(start.values()),
        4.0,
        unit="s",
        details={"s_by_part": {what: rounded(scale * cpu) for what, cpu in start.items()}, "note": note},
        reason="" if started else "not all books are LIVE after their opening books",
    )
    client = storm.get("REST client and decoding", 0.0)
    yield Row(
        "reconnect_storm_cpu",
        f"{TOKENS:,} tokens of {LEVELS} levels a side made LIVE by REST after all sockets were lost, CPU",
        sum(storm.values()),
        4.0,
        unit="s",
        details={
            "s_by_part": {what: rounded(cpu) for what, cpu in storm.items()},
            "s_without_rest_client": sum(storm.values()) - client,
            "s_until_all_live": took,
            "note": note,
        },
        reason="" if recovered else f"not all books are LIVE after {PATIENCE:g} s",
    )
    yield Row(
        "reconnect_storm_calls",
        f"calls to /books for {TOKENS:,} baselines",
        scale * crowd.calls,
        40.0,
        unit="calls",
        reason="" if recovered else f"not all books are LIVE after {PATIENCE:g} s",
    )
