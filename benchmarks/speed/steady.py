"""What thousands of quiet books cost: timers, probes by REST, and metrics. Quiet is the worst case for all three.

A book that trades is proven by the stream; one that does not must be proven by REST about every seven seconds, so
here every book is probed all the time. Frames are not part of it; the hot path has its own measurement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.speed.crowd import Crowd
from benchmarks.speed.method import no_collections
from benchmarks.speed.rows import Row, missing, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.speed.rows import Options

LEVELS = 5
"""Levels a side: most of the venue's books are thin, and the quiet ones are."""

WARM_UP = 20.0
SCRAPE_SECONDS = 15.0
"""Prometheus asks this often."""


def measure(options: Options) -> Iterator[Row]:
    """Measure ten thousand tokens, and one thousand."""
    for name, tokens, target in (("steady_10k_tokens", 10_000, 5.0), ("steady_1k_tokens", 1_000, 1.0)):
        title = f"{tokens:,} quiet tokens: timers, probes and metrics, share of one core"
        try:
            from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra
        except ImportError:
            yield missing(name, title, target, "prometheus-client is not installed", unit="%")
            continue
        seconds = options.choose(60, 15)
        with Crowd(tokens, LEVELS) as crowd:
            details = _let_run(crowd, seconds, CollectorRegistry)
        problem = details.pop("problem")
        yield Row(name, title, details.pop("percent"), target, unit="%", details=details, reason=problem)


def _let_run(crowd: Crowd, seconds: int, make_registry: Callable[[], Any]) -> dict[str, Any]:
    from prometheus_client import generate_latest  # noqa: PLC0415 - an extra

    from polymirror.metrics import MirrorMetrics  # noqa: PLC0415 - needs the extra

    registry = make_registry()
    metrics = MirrorMetrics(crowd.mirror, registry)
    crowd.connect()
    crowd.open_books()
    with no_collections():
        crowd.run(WARM_UP)
        crowd.spent.clear()
        crowd.calls = crowd.probed = 0
        end = crowd.now + seconds
        while crowd.now < end:
            crowd.run(min(end, crowd.now + SCRAPE_SECONDS))
            with crowd.counted("metrics"):
                generate_latest(registry)
    metrics.close()
    return {
        "percent": 100 * crowd.cpu / seconds,
        "percent_by_part": {what: rounded(100 * cpu / seconds) for what, cpu in crowd.spent.items()},
        "probes_per_second": crowd.probed / seconds,
        "calls_per_10_seconds": 10 * crowd.calls / seconds,
        "levels_a_side": LEVELS,
        "problem": "" if crowd.all_live() else "not all books stayed LIVE",
    }
