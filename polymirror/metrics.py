"""Prometheus metrics of a mirror: states, proofs, resyncs, refused reads and lag.

Needs the extra ``metrics``. Most numbers come from the mirror when Prometheus asks, so a mirror that is not
scraped pays nothing for them; only transitions are counted as they happen. Token ids are never labels: 77 digits
each, and thousands of them, would be a series explosion.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from polymirror.core.states import BookState
from polymirror.errors import MissingExtra

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import REGISTRY, Collector
except ImportError as error:  # pragma: no cover - tested in a process without it
    raise MissingExtra("polymirror.metrics", "metrics") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from polymirror.core.events import Transition
    from polymirror.mirror import Mirror


class MirrorMetrics(Collector):
    """Offers one mirror's numbers to a registry (default: the global one) until :meth:`close`.

    A registry holds one mirror's metrics: give a second mirror a registry of its own.
    """

    def __init__(self, mirror: Mirror, registry: CollectorRegistry = REGISTRY) -> None:
        self._mirror = mirror
        self._registry = registry
        self._transitions: Counter[tuple[str, str, str]] = Counter()
        # Seconds outside LIVE, by the reason that ended it, of books that are LIVE again.
        self._untrusted: Counter[str] = Counter()
        # Books that left LIVE: when, and why.
        self._since: dict[str, tuple[float, str]] = {}
        # The verdicts shown last.
        self._proofs: Counter[tuple[str, str]] = Counter()
        self._forget = mirror.on_transition(self._note)
        registry.register(self)

    def close(self) -> None:
        """Stop counting and leave the registry."""
        self._forget()
        self._registry.unregister(self)

    def _note(self, event: Transition) -> None:
        self._transitions[event.old.name, event.new.name, event.reason.name] += 1
        if event.old is BookState.LIVE:
            self._since[event.token] = (event.at, event.reason.name)
        elif event.new in (BookState.LIVE, BookState.RETIRED) and event.token in self._since:
            left, reason = self._since.pop(event.token)
            self._untrusted[reason] += event.at - left  # type: ignore[assignment]

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, as they are now."""
        mirror = self._mirror
        now = mirror.now()
        summary = mirror.engine.summary(now)
        totals = summary.totals
        # Tokens that were removed meanwhile are nobody's outage any more.
        there = set(mirror.tokens)
        for token in [token for token in self._since if token not in there]:
            left, reason = self._since.pop(token)
            self._untrusted[reason] += now - left  # type: ignore[assignment]
        untrusted = self._untrusted.copy()
        for left, reason in self._since.values():
            untrusted[reason] += now - left  # type: ignore[assignment]
        # A batch that goes on is checked anew, and its verdicts are taken back until it is over. A counter that goes
        # back for a moment would look to Prometheus as if it had started again from 0.
        self._proofs |= {(kind, verdict): n for kind, each in totals.proofs.items() for verdict, n in each.items()}
        books = GaugeMetricFamily("polymirror_books", "Books by state.", labels=["state"])
        for state in BookState:
            books.add_metric([state.name], totals.states.get(state.name, 0))
        yield books
        yield self._counter("polymirror_frames", "Frames received.", [((), totals.frames)], [])
        yield self._counter("polymirror_ignored", "Valid input of no use, by kind.",
                            (((kind,), n) for kind, n in totals.ignored.items()), ["kind"])  # fmt: skip
        yield self._counter("polymirror_malformed", "Input that could not be read, by kind.",
                            (((kind,), n) for kind, n in totals.malformed.items()), ["kind"])  # fmt: skip
        yield self._counter("polymirror_state_transitions", "Changes of state.",
                            self._transitions.items(), ["from", "to", "reason"])  # fmt: skip
        yield self._counter("polymirror_book_untrusted_seconds", "Time outside LIVE of books that were LIVE before.",
                            (((reason,), n) for reason, n in untrusted.items()), ["reason"])  # fmt: skip
        yield self._counter("polymirror_proofs", "Comparisons with the venue.",
                            self._proofs.items(), ["kind", "verdict"])  # fmt: skip
        yield self._counter("polymirror_hash_searches", "Wide searches for what a hash covers.",
                            [((), totals.searches)], [])  # fmt: skip
        yield self._counter("polymirror_hash_search_digests", "Candidates of these searches.",
                            [((), totals.search_digests)], [])  # fmt: skip
        yield self._counter("polymirror_resyncs", "Books built anew, by reason.",
                            (((reason,), n) for reason, n in totals.resyncs.items()), ["reason"])  # fmt: skip
        yield self._counter("polymirror_reads", "Reads for execution, by outcome.",
                            (((outcome,), mirror.reads[outcome]) for outcome in ("granted", "refused")),
                            ["outcome"])  # fmt: skip
        lags = [socket.lag for socket in summary.sockets if socket.lag is not None]
        yield GaugeMetricFamily("polymirror_apply_lag_seconds", "The largest lag of any socket.", max(lags, default=0))
        yield GaugeMetricFamily("polymirror_proof_age_seconds", "The oldest proof of any LIVE book.", summary.proof_age)

    @staticmethod
    def _counter(name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]], labels: list[str]) -> Metric:
        family = CounterMetricFamily(name, text, labels=labels)
        for key, value in values:
            family.add_metric(list(key), value)
        return family
