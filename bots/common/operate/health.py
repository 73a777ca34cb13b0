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

from bots.common.operate.notifications import Silent
from bots.common.operate.supervise import Standing, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.common.ledger.intents import IntentLog
    from bots.common.ledger.state import StateKeeper
    from bots.common.operate.notifications import Notifier
    from bots.common.operate.supervise import Supervisor
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
        notifier: Notifier | None = None,
        *,
        every: float = 60.0,
        confirm: int = 2,
    ) -> None:
        self.last: HealthReport | None = None
        """The newest report."""
        self._probes = tuple(probes)
        self._network = network
        self._notifier = Silent() if notifier is None else notifier
        self._every = every
        self._confirm = confirm
        # Bad answers in a row, by part.
        self._bad: dict[str, int] = {}
        # How late the last wake-up was, in seconds: how long others kept the event loop busy.
        self._late = 0.0

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
                self._notifier.notify(f"not well: {vital}")
            elif vital.ok and before >= self._confirm:
                self._notifier.notify(f"well again: {vital}")


def _ask(probe: Probe) -> Vital:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 - a sick probe is a finding
        return Vital(getattr(probe, "__name__", "probe"), ok=False, words=describe(error))


def tasks(supervisor: Supervisor) -> Probe:
    """Say which domains are not running."""

    def probe() -> Vital:
        domains = supervisor.domains.values()
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


def saved(keeper: StateKeeper, most: float = 120.0) -> Probe:
    """Say how old the state file is; older than ``most`` seconds is not well."""

    def probe() -> Vital:
        age = keeper.age
        words = "never written" if age is None else f"written {age:.0f} s ago"
        return Vital("state file", age is not None and age <= most and not keeper.failures, words)

    return probe


def orders(intents: IntentLog, network: Network, most: float = 120.0) -> Probe:
    """Say whether the fate of an order is unknown for more than ``most`` seconds."""

    def probe() -> Vital:
        now = network.wall()
        ages = [now - begun.at_ms / 1000 for begun in intents.open_intents()]
        oldest = max(ages, default=0.0)
        words = f"{len(ages)} under way, the oldest for {oldest:.0f} s" if ages else "none under way"
        return Vital("orders", oldest <= most, words)

    return probe
