"""What the passing of time does to a token: proofs grow old, doubts run out, what is old is forgotten.

The engine calls :func:`on_time` when :func:`next_due` says so. All times in seconds on the mirror's monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.outbox import Want
from polymirror.core.states import BookState, Reason

if TYPE_CHECKING:
    from polymirror.core.token import Token

EMPTY_PROBE_INTERVAL: Final = 2.0
"""Seconds without proof after which an empty book is probed: it may be settled."""

JOURNAL_MS: Final = 5_000
"""Changes older than this (exchange time) leave the journal: no REST answer lags further."""

QUIET_SECONDS: Final = 2 * JOURNAL_MS / 1000
"""A book without changes for this long keeps no journal, and takes less memory until the next change."""


def probe_interval(token: Token) -> float:
    """Return the seconds after which a proof is followed by a probe: few for an empty book, which may be settled."""
    usual = token.config.max_proof_age * token.config.probe_fraction * token.jitter
    return min(usual, EMPTY_PROBE_INTERVAL) if token.is_empty else usual


def next_due(token: Token) -> float:
    """Return when :func:`on_time` has something to do."""
    config = token.config
    if token.state is BookState.RETIRED:
        return float("inf")
    if token.state is BookState.LIVE and token.proof is not None:
        proven = token.proof.at
        due = min(proven + config.max_proof_age, token.refresh_at)
        due = min(due, max(proven, token.probed_at) + probe_interval(token))
        if token.miss_since is not None:
            due = min(due, token.miss_since + config.hash_grace)
    elif token.state is BookState.SUSPECT:
        due = token.since + config.suspect_grace
    else:
        due = token.resync.due
    return min(due, token.resync.held_until)


def on_time(token: Token, now: float) -> None:
    """Do what is due."""
    _forget(token, now)
    token.resync.on_time(now)
    if token.state is BookState.LIVE and token.proof is not None:
        _on_time_live(token, now, token.proof.at)
    elif token.state is BookState.SUSPECT and now >= token.since + token.config.suspect_grace:
        if token.lagging:
            # Building it anew would lag as much: wait until the socket has caught up.
            token.since = now
        else:
            token.start_resync(token.reason, now, gap=token.missed_deltas)


def _on_time_live(token: Token, now: float, proven: float) -> None:
    config = token.config
    if now >= proven + config.max_proof_age:
        token.doubt(Reason.STALE, now, f"last proof {now - proven:.3f} s ago")
    elif token.miss_since is not None and now >= token.miss_since + config.hash_grace:
        token.doubt(token.miss_reason, now, f"for {now - token.miss_since:.3f} s")
    elif now >= token.refresh_at:
        token.resync.refresh(now)
    elif now >= max(proven, token.probed_at) + probe_interval(token):
        token.probed_at = now
        token.outbox.want(token, Want.ROUTINE)


def _forget(token: Token, now: float) -> None:
    journal = token.journal
    while len(journal) > token.unproven and journal[0].at < token.last_at - JOURNAL_MS:
        journal.popleft()
    if journal and not token.unproven and now - token.stated_at > QUIET_SECONDS:
        journal.clear()
        token.book.rest()
