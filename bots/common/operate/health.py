"""A bot that looks after itself: every so often each part is asked how it is, and changes are told.

A probe is a function that returns a :class:`Vital`; those that any bot needs are made here. :class:`Health` asks
them all, logs one line, and tells a person when something went bad or came back, not each time it still is.
Nothing is mended here: supervisors and watchdogs do that, and health says whether they manage to.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from bots.common.operate.supervise import Standing, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.common.ledger.ledger import Ledger
    from bots.common.operate.supervise import Supervisor
    from bots.common.orders.reconcile import Reconciler
    from bots.common.orders.settling import Settler
    from polymirror.venue.network import Network

    Probe = Callable[[], "Vital"]

log = logging.getLogger(__name__)

MAX_LATENESS: Final = 0.5
"""Seconds that the event loop may be late before it is called sick: books would be applied as late."""


@frozen
class Vital:
    """How one part is."""

    name: str
    ok: bool
    words: str

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


@frozen(kw_only=True)
class HealthReport:
    """How all parts were at one moment."""

    at_ms: int
    """Our wall clock, in ms since 1970."""
    vitals: tuple[Vital, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(vital.ok for vital in self.vitals)

    def __str__(self) -> str:
        return "; ".join(f"{'' if vital.ok else 'NOT OK '}{vital}" for vital in self.vitals)

    def describe(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"ok": self.ok, "at_ms": self.at_ms, "parts": {v.name: {"ok": v.ok, "is": v.words} for v in self.vitals}}


class Health:
    """Asks ``probes`` every ``every`` seconds. ``confirm`` bad answers in a row are bad news, one good one is good."""

    def __init__(
        self,
        probes: Sequence[Probe],
        network: Network,
        tell: Callable[[str], None] = lambda _text: None,
        *,
        every: float = 60.0,
        confirm: int = 2,
    ) -> None:
        self.last: HealthReport | None = None
        """The newest report."""
        self._probes = tuple(probes)
        self._network = network
        self._tell_of = tell
        self._every = every
        self._confirm = confirm
        # Bad answers in a row, by part.
        self._bad: dict[str, int] = {}
        # How late the last wake-up was, in seconds: how long others kept the event loop busy.
        self._late = 0.0

    @property
    def problems(self) -> list[str]:
        """What was wrong when it was asked last, in words."""
        return [] if self.last is None else [str(vital) for vital in self.last.vitals if not vital.ok]

    def check(self) -> HealthReport:
        """Ask everybody now. A probe that fails is a part that is not well."""
        vitals = [_ask(probe) for probe in self._probes]
        vitals.append(Vital("event loop", self._late <= MAX_LATENESS, f"{self._late * 1000:.0f} ms late"))
        report = self.last = HealthReport(at_ms=int(self._network.wall() * 1000), vitals=tuple(vitals))
        self._tell(report)
        return report

    async def run(self) -> None:
        """Check again and again until cancelled."""
        while True:
            due = self._network.monotonic() + self._every
            await asyncio.sleep(self._every)
            self._late = max(0.0, self._network.monotonic() - due)
            report = self.check()
            log.log(logging.INFO if report.ok else logging.WARNING, "health: %s", report)

    def _tell(self, report: HealthReport) -> None:
        for vital in report.vitals:
            before = self._bad.get(vital.name, 0)
            self._bad[vital.name] = 0 if vital.ok else before + 1
            if not vital.ok and before + 1 == self._confirm:
                self._tell_of(f"not well: {vital}")
            elif vital.ok and before >= self._confirm:
                self._tell_of(f"well again: {vital}")


def _ask(probe: Probe) -> Vital:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 - a sick probe is a finding
        return Vital(getattr(probe, "__name__", "probe"), ok=False, words=describe(error))


def tasks(*supervisors: Supervisor) -> Probe:
    """Say which domains are not running."""

    def probe() -> Vital:
        domains = [domain for each in supervisors for domain in each.domains.values()]
        bad = [f"{d.name} {d.standing.value} ({d.error})" for d in domains if d.standing in _NOT_WELL]
        return Vital("tasks", not bad, ", ".join(bad) or f"{len(domains)} running")

    return probe


_NOT_WELL: Final = frozenset({Standing.WAITING, Standing.DOWN})


def books(count: Callable[[], tuple[int, int]], least: float = 0.5) -> Probe:
    """Say how many of the mirrored books are LIVE: ``count`` returns LIVE ones and all, ``least`` is a share."""

    def probe() -> Vital:
        live, total = count()
        return Vital("books", live >= least * total, f"{live} of {total} LIVE")

    return probe


def written(ledger: Ledger) -> Probe:
    """Say whether the ledger reaches the disk."""

    def probe() -> Vital:
        return Vital("ledger", not ledger.failures, f"{ledger.waiting} rows wait for the disk")

    return probe


def money(settler: Settler, reconciler: Reconciler, network: Network, most: float = 600.0) -> Probe:
    """Say what is decided and not settled for long, and what differs from the venue's books, or is not told of them."""

    def probe() -> Vital:
        wrong = [*settler.stuck, *(f"{name[:12]} differs" for name in reconciler.differing)]
        if (silent := network.monotonic() - reconciler.looked_at) > most:
            wrong.append(f"the venue has not told its books for {silent / 60:.0f} min")
        return Vital("money", not wrong, ", ".join(wrong) or "books agree")

    return probe


def orders(ledger: Ledger, network: Network, most: float = 120.0) -> Probe:
    """Say whether the fate of an order is unknown for more than ``most`` seconds."""
    since: dict[str, float] = {}

    def probe() -> Vital:
        now = network.monotonic()
        for name in since.keys() - ledger.account.open.keys():
            del since[name]
        ages = [now - since.setdefault(name, now) for name in ledger.account.open]
        oldest = max(ages, default=0.0)
        words = f"{len(ages)} under way, the oldest for {oldest:.0f} s" if ages else "none under way"
        return Vital("orders", oldest <= most, words)

    return probe
