"""The judge of a soak: reads books for execution, and compares each granted read with the truth.

What is granted must have been the venue's no longer ago than the view's age, and the way over loopback. What the
proxies, the faults or a busy process delay counts into that age: it is excused only by the list of what cannot be
known, of :mod:`polymirror.torture.verdict`, and counted by name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from polymirror.simulator.exchange.history import digest_of
from polymirror.simulator.faults.openings import StaleOpening
from polymirror.simulator.faults.replay import ReplayedConnection
from polymirror.simulator.faults.stale import OldBooks
from polymirror.torture import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymirror.core.view import BookView
    from polymirror.mirror import Mirror
    from polymirror.simulator.server import Simulator
    from polymirror.torture.leaks import Heartbeat
    from polymirror.torture.pipe import Peaks
    from polymirror.torture.tally import SoakTally

WAY_MS: Final = 100
"""For the way over loopback, and for the venue's own pace: it looks at its clock every 20 ms."""

ASKED_MS: Final = 6_000
"""An answer from REST is accepted so long after it was given, at the latest: the time-out of a request, and a bit."""

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
        """Read one book; a granted read that was not true in time is a violation, unless nobody could know."""
        tally = self._tally
        tally.reads += 1
        try:
            view = self._mirror.live(token, max_proof_age)
        except NotLive:
            tally.refused += 1
            return
        configured = self._mirror.config.engine.max_proof_age
        limit = configured if max_proof_age is None else min(max_proof_age, configured)
        now_ms = self._venue.exchange.now_ms
        claim = verdict.Claim(now_ms, view.verified_age, limit, WAY_MS)
        bids, asks = view.bids, view.asks

        def was(since_ms: int) -> bool:
            return self._venue.exchange.was_true(token, bids, asks, since_ms)

        found = verdict.judge(was, claim, self._excuses(view, was, claim))
        if found in verdict.ALLOWANCES:
            tally.unknowable[found] += 1
        elif found == verdict.WRONG:
            tally.wrong += 1
            how = "was true before that only" if was(0) else "was never true"
            detail = f"{how}: age {view.verified_age:.3f} s, asked {limit:g} s, {view.last_proof}, {view}"
            tally.violate("a granted read equals a real state", detail, token)

    def _excuses(self, view: BookView, was: Callable[[int], bool], claim: verdict.Claim) -> Iterator[verdict.Excuse]:
        """What cannot be known and may explain this read, as far as it can be told from outside.

        What the proxies lost is not known by message: a probe of a kept book is excused as if a change were missing.
        """
        token, faults = view.token, self._venue.line.faults
        if view.last_proof is not None and view.last_proof.kind is ProofKind.PROBE:
            answers = [f.served.newest(token) for f in faults if isinstance(f, OldBooks)]
        else:
            answers = [f.served.newest(token) for f in faults if isinstance(f, StaleOpening)]
            proven_at = view.read_at - view.verified_age
            late = self._lateness.worst(proven_at - BEFORE_SECONDS, view.read_at + AFTER_SECONDS)
            added_ms = math.ceil(late * 1000) + sum(fault.max_delay_ms for fault in faults if fault.injected)
            yield verdict.clock_interval(was, view.clock_uncertainty, added_ms)
        for served in answers:
            if served is not None and served.at_ms >= claim.proven_ms - ASKED_MS:
                yield verdict.same_stamp_answer(was, served.since_ms, lost=True, heard=False)
        for replay in [each for f in faults if isinstance(f, ReplayedConnection) for each in f.replays[token]]:
            shown = replay.shows(token, digest_of(view.bids, view.asks))
            yield verdict.rewritten(claim, replay.began_ms, replay.until_ms, shown=shown, calls_too=replay.calls_too)
        market = self._venue.exchange.market_of(token)
        index = market.tokens.index(token)
        own = market.own[index]
        if own is not None:
            state = digest_of(view.bids, view.asks)
            mirror = (state[1], state[0]) if index else state
            # Here nobody knows when a message was heard, but the message that proves is no older than the proof.
            yield verdict.second_token(lambda ms: market.history.was(mirror, ms), claim, claim.proven_ms, 0)

    def check_keeps_up(self) -> None:
        """Check that what is readable follows the venue closely, now that nothing goes wrong."""
        now = self._mirror.now()
        longest = KEEP_UP_SECONDS + self._heartbeat.busy(now - KEEP_UP_SECONDS, now)
        for token, state in self._mirror.engine.states():
            if state is not BookState.LIVE:
                continue
            try:
                view = self._mirror.live(token)
            except NotLive:
                # The program stood still, and what is due then was not done yet: a refusal is never wrong.
                continue
            since_ms = self._venue.wall_ms() - math.ceil(longest * 1000)
            if not self._venue.exchange.was_true(token, view.bids, view.asks, since_ms):
                detail = f"older than {longest:.3f} s: age {view.verified_age:.3f} s, {view}"
                self._tally.violate("the mirror keeps up in the calm", detail, token)
