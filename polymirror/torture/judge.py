"""The judge of a soak: reads books for execution, and compares each granted read with the truth.

A view's age counts from the moment its proof was heard, so what it shows may be older by the time the proof was
under way. That time is measured, not guessed: the proxy knows how late its bytes were, the heartbeat how late this
process was, and the venue's faults state their bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.states import BookState
from polymirror.errors import NotLive

if TYPE_CHECKING:
    from polymirror.mirror import Mirror
    from polymirror.simulator.server import Simulator
    from polymirror.torture.leaks import Heartbeat
    from polymirror.torture.pipe import Peaks
    from polymirror.torture.tally import SoakTally

ALLOWANCE: Final = 0.1
"""Seconds for the way over loopback and the venue's own pace (it looks at its clock every 20 ms)."""

BEFORE_SECONDS: Final = 1.0
"""How long a frame may wait in this process between the proxy and its proof: behind a backlog that was let go."""

AFTER_SECONDS: Final = 0.1
"""How much later than the proof the proxy may have noted that its bytes are gone."""

KEEP_UP_SECONDS: Final = 2.0
"""In the calm a view's levels were the venue's within so many seconds, even if somebody is slow to read them."""


class Judge:
    """Reads and judges. ``lateness`` is that of the bytes that reached the mirror's stream."""

    def __init__(
        self, mirror: Mirror, venue: Simulator, lateness: Peaks, heartbeat: Heartbeat, tally: SoakTally
    ) -> None:
        self._mirror = mirror
        self._venue = venue
        self._lateness = lateness
        self._heartbeat = heartbeat
        self._tally = tally

    def read(self, token: str, max_proof_age: float | None = None) -> None:
        """Read one book; a granted read that was not true in time is a violation."""
        tally = self._tally
        tally.reads += 1
        try:
            view = self._mirror.live(token, max_proof_age)
        except NotLive:
            tally.refused += 1
            return
        proven_at = view.read_at - view.verified_age
        late = self._lateness.worst(proven_at - BEFORE_SECONDS, proven_at + AFTER_SECONDS)
        busy = self._heartbeat.busy(proven_at - late - BEFORE_SECONDS, proven_at)
        slack = ALLOWANCE + late + busy + self._fault_delay()
        if not self._venue.was_true(token, view.bids, view.asks, view.verified_age + slack):
            tally.wrong += 1
            ever = self._venue.was_true(token, view.bids, view.asks, view.verified_age + 3600)
            how = "was true before that only" if ever else "was never true"
            detail = f"{how}: age {view.verified_age:.3f} s and {slack:.3f} s, {view.last_proof}, {view}"
            tally.violate("a granted read equals a real state", detail, token)

    def check_keeps_up(self) -> None:
        """Check that what is readable follows the venue closely, now that nothing goes wrong."""
        now = self._mirror.now()
        longest = KEEP_UP_SECONDS + self._heartbeat.busy(now - KEEP_UP_SECONDS, now)
        for token, state in self._mirror.engine.states():
            if state is not BookState.LIVE:
                continue
            view = self._mirror.live(token)
            if not self._venue.was_true(token, view.bids, view.asks, longest):
                detail = f"older than {longest:.3f} s: age {view.verified_age:.3f} s, {view}"
                self._tally.violate("the mirror keeps up in the calm", detail, token)

    def _fault_delay(self) -> float:
        """How late the venue's own faults can have made what it sent, in seconds."""
        return sum(fault.max_delay_ms for fault in self._venue.line.faults if fault.injected) / 1000
