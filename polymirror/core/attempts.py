"""Asking for a token's book: when, whom, and what follows from failures.

Failures are retried with full-jitter backoff, by REST and by a new subscription in turn, so that no way that keeps
failing is tried for ever on its own. What answers mean is for :mod:`polymirror.core.resync`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.afterlife import Afterlife
from polymirror.core.channel import RestChannel
from polymirror.core.outbox import Want
from polymirror.core.proofs import ProofKind, Verdict
from polymirror.core.states import BookState, Reason

if TYPE_CHECKING:
    from polymirror.core.subject import Subject

RESUBSCRIBE_EVERY: Final = 3
"""Every third attempt at a baseline asks the stream instead of REST."""

UNHEARD_BEFORE_REPLACING: Final = 4
"""The same, after which its socket is replaced."""

ATTEMPTS_BEFORE_REPLACING: Final = 6
"""Failed attempts at a baseline after which a socket that cannot deliver one is replaced."""

PROBE_RETRY: Final = 1.0
"""Mean seconds until a probe that failed or said nothing is repeated."""

MAX_ABSENCES: Final = 3
"""REST answers without this token, in a row, before Gamma is asked whether its market is closed."""

UNBELIEVED_SECONDS: Final = 20.0
"""How long a baseline that nothing proves is followed before it is thrown away."""

_NEVER: Final = float("inf")


class Attempts:
    """When one token's book is asked for, from whom, and what is given up."""

    # With slots a token takes a kilobyte less.
    __slots__ = (
        "_refreshing", "absences", "afterlife", "again_at", "ask_at", "attempt", "behind", "channel", "confirmed_at",
        "due", "overflowed", "probed_at", "token", "unheard",
    )  # fmt: skip

    def __init__(self, token: Subject) -> None:
        self.token: Subject = token
        # Without a LIVE or SUSPECT book: when the next step is due.
        self.due: float = _NEVER
        # While a baseline waits for its proof: when REST is asked again.
        self.ask_at: float = _NEVER
        # Failed attempts at a baseline since the book was lost.
        self.attempt: int = 0
        # A baseline came that is older than what was heard.
        self.behind: bool = False
        # The buffer was full and started over since the last baseline.
        self.overflowed: bool = False
        # REST answers in a row that did not have this token.
        self.absences: int = 0
        # When REST was last asked to prove this book, and when it last did.
        self.probed_at: float = -_NEVER
        self.confirmed_at: float = -_NEVER
        # When a probe that failed is repeated.
        self.again_at: float = _NEVER
        # Mismatches in a row between which the stream brought no delta for this token.
        self.unheard: int = 0
        # The next matching probe also replaces the baseline.
        self._refreshing = False
        self.channel: RestChannel = RestChannel()
        self.afterlife: Afterlife = Afterlife()

    @property
    def needs_new_socket(self) -> bool:
        """Whether subscribing anew was tried often enough in vain."""
        if self.absences or self.behind:
            # REST does not know it either, or baselines come and are too old: the socket is not to blame.
            return False
        return self.attempt > ATTEMPTS_BEFORE_REPLACING or self.unheard >= UNHEARD_BEFORE_REPLACING

    # ---- Baselines ---------------------------------------------------------------------------------

    def asked(self, now: float) -> None:
        """REST is asked for this book now."""
        self.probed_at, self.again_at = now, _NEVER

    def begin(self, now: float, *, await_stream: bool = False) -> None:
        """Start over: wait for the opening book after a subscription, else ask REST."""
        token = self.token
        self.overflowed = False
        self.ask_at = _NEVER
        if not token.connected:
            self.due = _NEVER
        elif await_stream:
            self.due = now + token.config.first_snapshot_timeout
        else:
            self._ask(now)
        token.outbox.rearm[token.asset_id] = None

    def done(self, now: float) -> None:
        """The book is LIVE again."""
        config, rng = self.token.config, self.token.outbox.rng
        self.due = _NEVER
        self.attempt = self.absences = 0
        self.behind = False
        self.confirmed_at = max(self.confirmed_at, now)
        if self.token.refresh_at == _NEVER or self.token.refresh_at <= now:
            self.token.refresh_at = now + config.scheduled_resync * (0.75 + rng.random() / 2)

    def failed(self, now: float) -> None:
        """An attempt failed: a baseline backs off with full jitter, a probe is repeated soon."""
        token = self.token
        config = token.config
        if token.state is BookState.LIVE:
            if self.channel.contradicts or token.proof_is_old(now):
                # Else it was a look that could as well have been taken later.
                self.again_at = now + PROBE_RETRY * (0.5 + token.outbox.rng.random())
            token.outbox.rearm[token.asset_id] = None
        if token.state in (BookState.LIVE, BookState.SUSPECT, BookState.RETIRED):
            return
        if token.proven.loaded:
            # The baseline that waits for its proof has its own time.
            self.ask_at = now + PROBE_RETRY * (0.5 + token.outbox.rng.random())
            token.outbox.rearm[token.asset_id] = None
            return
        self.attempt += 1
        bound = min(config.resync_backoff_cap, config.resync_backoff_base * 2 ** min(self.attempt, 20))
        self.due = now + token.outbox.rng.random() * bound
        token.outbox.rearm[token.asset_id] = None

    def _ask(self, now: float) -> None:
        token = self.token
        if self.attempt % RESUBSCRIBE_EVERY == RESUBSCRIBE_EVERY - 1:
            token.outbox.resubscribe[token.market_id] = None
            # Nobody reports that no book came, so this attempt counts as used up from the start.
            self.attempt += 1
            self.due = now + token.config.first_snapshot_timeout
        else:
            token.outbox.want(token.asset_id, Want.BASELINE)
            self.due = now + token.config.request_timeout * 2
        token.outbox.rearm[token.asset_id] = None

    # ---- Time --------------------------------------------------------------------------------------

    def on_time(self, now: float) -> None:
        """Take the next step towards a baseline."""
        token = self.token
        if now >= self.ask_at:
            self.ask_at = _NEVER
            token.outbox.want(token.asset_id, Want.URGENT)
        if now < self.due or token.state in (BookState.LIVE, BookState.SUSPECT):
            return
        if token.state is BookState.RETIRED:
            self.due = self.afterlife.look_again(now)
            token.outbox.want(token.asset_id, Want.ROUTINE)
        elif token.lagging and token.proven.loaded:
            # The book is not to blame: it becomes LIVE when its market has caught up.
            self.due = now + token.config.suspect_grace
        elif self.overflowed:
            token.start_resync(Reason.OVERFLOW, now, gap=True)
        elif token.state is BookState.UNPRIMED:
            token.start_resync(Reason.NO_SNAPSHOT, now, gap=False)
        elif token.proven.loaded:
            # A baseline came, and the deltas after it did not prove it in time: do not trust them twice.
            self.attempt += 1
            token.start_resync(Reason.HASH_MISMATCH, now, gap=True)
        else:
            self._ask(now)

    def refresh(self, now: float) -> None:
        """Start a make-before-break refresh: the book stays LIVE until its replacement is proven equal."""
        self._refreshing = True
        self.token.refresh_at = now + self.token.config.scheduled_resync * (0.75 + self.token.outbox.rng.random() / 2)
        self.token.outbox.want(self.token.asset_id, Want.ROUTINE)

    def wait_for_proof(self, now: float) -> None:
        """A baseline is here that its own hash does not prove: the next hashes may, or REST."""
        self.due = now + UNBELIEVED_SECONDS
        self.token.outbox.rearm[self.token.asset_id] = None

    def retired(self, now: float, since_ms: int) -> None:
        """The market is over, by evidence of exchange time ``since_ms``: look again now and then."""
        self.due = self.afterlife.begin(now, since_ms)
        self.absences = 0
        self.token.outbox.rearm[self.token.asset_id] = None

    # ---- Failures ----------------------------------------------------------------------------------

    def absent(self, now: float) -> None:
        """REST answered, and knows no book for this token: settled, too new, or REST errs. Gamma knows."""
        token = self.token
        if token.state is BookState.RETIRED:
            return
        self.absences += 1
        if self.absences >= MAX_ABSENCES or token.proven.is_empty:
            token.outbox.ask_gamma[token.market_id] = None
        if token.state in (BookState.UNPRIMED, BookState.RESYNCING) or token.proven.is_empty:
            self.failed(now)
        # Else it still trades as far as we know: proof age decides, not one odd answer.

    def too_old(self, kind: ProofKind, now: float) -> None:
        """A baseline was refused: it is older than what was heard."""
        self.token.outbox.count(kind, Verdict.BEHIND)
        self.behind = True
        self.failed(now)

    def _refuse(self, verdict: Verdict, now: float) -> None:
        self.token.outbox.count(ProofKind.PROBE, verdict)
        self.failed(now)
