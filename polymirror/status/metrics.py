"""Prometheus metrics of a mirror: states, proofs, resyncs, refused reads, lags and durations.

Needs the extra ``metrics``. Most numbers come from the mirror when Prometheus asks, so a mirror that is not scraped
pays nothing for them; only transitions are counted as they happen, beside what the mirror itself measures. They are
gathered in the mirror's own thread, whichever thread asks: Prometheus' HTTP server has one for each scrape. Token ids
are never labels: 77 digits each, and thousands of them, would be a series explosion.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from polymirror.core.states import BookState
from polymirror.errors import ConfigError, MirrorBusy, MissingExtra
from polymirror.shell.warnlog import WarnLog
from polymirror.status.pulse import CALLS, Histogram

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import REGISTRY, Collector
except ImportError as error:  # pragma: no cover - tested in a process without it
    raise MissingExtra("polymirror.metrics", "metrics") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from polymirror.core.events import Transition
    from polymirror.status.observed import Observed


Sample = tuple[tuple[str, ...], float]
"""The values of a metric's labels, and the number."""

Sizes = tuple[tuple[str, ...], list[tuple[str, float]], float]
"""The values of its labels, how many values there are up to each bound, and their sum."""

GAUGES: Final[dict[str, tuple[str, ...]]] = {
    "polymirror_books": ("Books by state.", "state"),
    "polymirror_missing": ("Slugs, tokens and events that are looked for and not found yet: they have no books.",),
    "polymirror_proof_age_seconds": ("The oldest proof of any LIVE book.",),
    "polymirror_apply_lag_seconds": ("The largest lag of any socket.",),
    "polymirror_longest_outage_seconds": ("For how long the book has been out of LIVE that is out the longest.",),
    "polymirror_sockets": ("Sockets by whether a connection is open.", "state"),
    "polymirror_clock_uncertainty_seconds": ("The width of what is known of the venue's clock.",),
    "polymirror_rest_calls_left": ("Calls that could be made at once before the rate budget is spent.",),
}
"""What goes up and down: a description, then the names of the labels."""

COUNTERS: Final[dict[str, tuple[str, ...]]] = {
    "polymirror_frames": ("Frames received.",),
    "polymirror_ignored": ("Valid input of no use, by kind.", "kind"),
    "polymirror_malformed": ("Input that could not be read, by kind.", "kind"),
    "polymirror_state_transitions": ("Changes of state.", "from", "to", "reason"),
    "polymirror_book_untrusted_seconds": (
        "Time outside LIVE of books that had been LIVE, by why they left.",
        "reason",
    ),
    "polymirror_proofs": ("Comparisons with the venue.", "kind", "verdict"),
    "polymirror_hash_searches": ("Wide searches for what a hash covers.",),
    "polymirror_hash_search_digests": ("Candidates of these searches.",),
    "polymirror_resyncs": ("Books built anew, by reason.", "reason"),
    "polymirror_reads": ("Reads for execution, by outcome.", "outcome"),
    "polymirror_callback_failures": ("Calls of callbacks that raised.",),
    "polymirror_reconnects": ("Connections that ended or did not open, by the cause.", "cause"),
}
"""What only grows, likewise."""

HISTOGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "polymirror_frame_age_seconds": ("From the venue's timestamp of a change to its application, of one frame in 64.",),
    "polymirror_apply_seconds": ("From a frame to all being told of its changes, of one frame in 64.",),
    "polymirror_loop_lag_seconds": ("How late the event loop came to the engine's deadlines.",),
    "polymirror_probe_duration_seconds": ("From asking REST for books to the answer, by outcome.", "outcome"),
    "polymirror_resync_duration_seconds": ("From RESYNCING to LIVE.",),
}
"""What is counted by size, likewise."""


SCRAPE_SECONDS: Final = 1.0
"""Seconds that a scrape waits for the mirror's thread; after that it has no numbers of it."""


class MirrorMetrics(Collector):
    """Offers one mirror's numbers to a registry (default: the global one) until :meth:`close`.

    Any thread may scrape. A mirror whose thread does not answer within a second has no samples in that scrape, so an
    alert on their absence finds it; old ones would look as if all were well.

    A registry holds one mirror's metrics, once, because two of them under the same names could not be told apart.
    Raises ConfigError for a registry that has them already: close those first, or give each mirror a registry of its
    own.
    """

    def __init__(self, mirror: Observed, registry: CollectorRegistry = REGISTRY) -> None:
        self._mirror = mirror
        self._registry = registry
        self._transitions: Counter[tuple[str, str, str]] = Counter()
        # Seconds outside LIVE by the reason for which trust was lost, of books that are LIVE again, retired or gone.
        self._untrusted: Counter[str] = Counter()
        # Books that left LIVE: when, and why.
        self._since: dict[str, tuple[float, str]] = {}
        # Books that are in RESYNCING: since when. And how long those took that came out of it well.
        self._resyncing: dict[str, float] = {}
        self._resyncs = Histogram(CALLS)
        self._warnings = WarnLog()
        # The verdicts shown last.
        self._proofs: Counter[tuple[str, str]] = Counter()
        try:
            registry.register(self)
        except ValueError:
            raise ConfigError(
                "registry", registry,
                "one without a mirror's metrics: close() those, or give this mirror a CollectorRegistry of its own",
            ) from None  # fmt: skip
        try:
            self._forget: Callable[[], None] | None = mirror.on_transition(self._note)
        except BaseException:
            registry.unregister(self)
            raise

    def close(self) -> None:
        """Stop counting and leave the registry. Does nothing the second time."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()
            self._registry.unregister(self)

    def describe(self) -> Iterator[Metric]:
        """Yield all metrics without numbers: any registry then knows their names, and refuses a second mirror's."""
        return _families({}, {})

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, as they are now; without numbers if the mirror's thread does not answer."""
        try:
            samples, sizes = self._mirror.ask(lambda _: (self._samples(), self._sizes()), SCRAPE_SECONDS)
        except MirrorBusy as error:
            self._warnings.warn("a scrape has no numbers of the mirror", str(error), time.monotonic())
            samples, sizes = {}, {}
        return _families(samples, sizes)

    def _sizes(self) -> dict[str, list[Sizes]]:
        pulse = self._mirror.pulse
        found: dict[str, list[tuple[tuple[str, ...], Histogram]]] = {
            "polymirror_frame_age_seconds": [((), pulse.frame_age)],
            "polymirror_apply_seconds": [((), pulse.apply_time)],
            "polymirror_loop_lag_seconds": [((), pulse.loop_lag)],
            "polymirror_probe_duration_seconds": [((outcome,), each) for outcome, each in pulse.probes.items()],
            "polymirror_resync_duration_seconds": [((), self._resyncs)],
        }
        return {name: [(labels, each.buckets(), each.total) for labels, each in one] for name, one in found.items()}

    def _note(self, event: Transition) -> None:
        self._transitions[event.old.name, event.new.name, event.reason.name] += 1
        began = self._resyncing.pop(event.token, None)
        if event.new is BookState.RESYNCING:
            self._resyncing[event.token] = event.at
        elif began is not None and event.new is BookState.LIVE:
            self._resyncs.observe(event.at - began)
        if event.old is BookState.LIVE and event.new is not BookState.RETIRED:
            self._since[event.token] = (event.at, event.reason.name)
        elif event.new in (BookState.LIVE, BookState.RETIRED) and event.token in self._since:
            left, reason = self._since.pop(event.token)
            self._untrusted[reason] += event.at - left  # type: ignore[assignment]

    def _samples(self) -> dict[str, Iterable[Sample]]:
        mirror = self._mirror
        now = mirror.now()
        summary = mirror.engine.summary(now)
        totals, lags = summary.totals, [socket.lag for socket in summary.sockets if socket.lag is not None]
        # A batch that goes on is checked anew, and its verdicts are taken back until it is over. A counter that goes
        # back for a moment would look to Prometheus as if it had started again from 0.
        self._proofs |= {(kind, verdict): n for kind, each in totals.proofs.items() for verdict, n in each.items()}
        untrusted, clock = self._untrusted_until(now), summary.clock.uncertainty
        # Those that are gone are not in it any more.
        longest = max((now - left for left, _ in self._since.values()), default=0.0)
        return {
            "polymirror_books": [((state.name,), totals.states.get(state.name, 0)) for state in BookState],
            "polymirror_missing": [((), len(mirror.missing))],
            # No book is LIVE, no change came yet: then there is no age and no lag, and 0 would look like the best one.
            "polymirror_proof_age_seconds": [] if summary.proof_age is None else [((), summary.proof_age)],
            "polymirror_apply_lag_seconds": [((), max(lags))] if lags else [],
            "polymirror_longest_outage_seconds": [((), longest)],
            "polymirror_sockets": [
                (("open",), sum(socket.is_open for socket in summary.sockets)),
                (("closed",), sum(not socket.is_open for socket in summary.sockets)),
            ],
            "polymirror_clock_uncertainty_seconds": [] if clock is None else [((), clock)],
            "polymirror_rest_calls_left": [] if mirror.budget_left is None else [((), mirror.budget_left)],
            "polymirror_frames": [((), totals.frames)],
            "polymirror_ignored": _by_name(totals.ignored),
            "polymirror_malformed": _by_name(totals.malformed),
            "polymirror_state_transitions": list(self._transitions.items()),
            "polymirror_book_untrusted_seconds": _by_name(untrusted),
            "polymirror_proofs": list(self._proofs.items()),
            "polymirror_hash_searches": [((), totals.searches)],
            "polymirror_hash_search_digests": [((), totals.search_digests)],
            "polymirror_resyncs": _by_name(totals.resyncs),
            "polymirror_reads": _by_name(mirror.reads),
            "polymirror_callback_failures": [((), mirror.failed_callbacks)],
            "polymirror_reconnects": _by_name(mirror.pulse.reconnects),
        }

    def _untrusted_until(self, now: float) -> Counter[str]:
        # Tokens that were removed meanwhile are nobody's outage any more.
        there = set(self._mirror.tokens)
        for token in [token for token in self._since if token not in there]:
            left, reason = self._since.pop(token)
            self._untrusted[reason] += now - left  # type: ignore[assignment]
            self._resyncing.pop(token, None)
        untrusted = self._untrusted.copy()
        for left, reason in self._since.values():
            untrusted[reason] += now - left  # type: ignore[assignment]
        return untrusted


def _by_name(counts: Mapping[str, float]) -> list[Sample]:
    return [((name,), count) for name, count in counts.items()]


def _families(samples: Mapping[str, Iterable[Sample]], sizes: Mapping[str, Iterable[Sizes]]) -> Iterator[Metric]:
    for kind, metrics in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
        for name, (text, *labels) in metrics.items():
            family = kind(name, text, labels=labels)
            for values, number in samples.get(name, ()):
                family.add_metric(list(values), number)
            yield family
    for name, (text, *labels) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, buckets, total in sizes.get(name, ()):
            histogram.add_metric(list(values), buckets, total)
        yield histogram
