"""Reading an engine: the reads for execution, all behind one check, and what explains a refusal.

The base of :class:`polymirror.core.engine.Engine`. Reading does no work: it looks up a token, the age of its proof,
and copies nothing that was copied before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.config import check_age
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.status import Surface
from polymirror.core.top import Top
from polymirror.core.view import BookView
from polymirror.errors import NotLive, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.config import EngineConfig
    from polymirror.core.images import Images
    from polymirror.core.token import Token


OVERDUE_SECONDS: Final = 0.02
"""A second token whose own hash is overdue by more than this is not read as a mirror image."""

_NUMBERS: Final = (float, int)

# Looking a member of an enumeration up takes longer than what is done with it here.
_LIVE: Final = BookState.LIVE
_IMAGE: Final = ProofKind.COMPLEMENT


class Reads(Surface):
    """The reads of an engine. All ``now`` in seconds on the caller's monotonic clock."""

    config: EngineConfig
    _images: Images

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on.

        Raises NotLive unless the book is LIVE and was proven no longer than ``max_proof_age`` seconds
        ago (never more than the configured age), UnknownToken for a token that is not tracked, and ConfigError for
        an age that is no number of seconds above 0.
        """
        return self._view(self._readable(asset_id, now, max_proof_age), now)

    def top(self, asset_id: str, now: float, max_proof_age: float | None = None) -> Top:
        """Return the best levels of the newest proven state of a LIVE book: granted exactly when :meth:`live` is.

        Nothing is copied, whatever the depth of the book. Raises as :meth:`live` does.
        """
        token = self._readable(asset_id, now, max_proof_age)
        proven = token.proven
        bid_keys, bid_sizes, ask_keys, ask_sizes = proven.columns()
        return Top(
            asset_id, proven.epoch, token.doubts, token.settled, proven.proven_ms, now,
            proven.proof.as_of - self._slept,  # type: ignore[union-attr]  # what is readable is proven
            bid_keys[-1] if bid_keys else 0, bid_sizes[-1] if bid_keys else 0,
            ask_keys[-1] if ask_keys else 0, ask_sizes[-1] if ask_keys else 0,
        )  # fmt: skip

    def _readable(self, asset_id: str, now: float, max_proof_age: float | None) -> Token:
        """Return a token whose book may be read for execution: the one check that every such read passes (P1)."""
        try:
            token = self.tokens.get(asset_id)
        except TypeError:
            # A list of tokens, for one: it cannot be looked up.
            token = None
        if token is None:
            raise UnknownToken(asset_id)
        limit = self.config.max_proof_age
        if max_proof_age is not None:
            # What is no plain number above 0 (a bool is none) is looked at in calm.
            if max_proof_age.__class__ not in _NUMBERS or not max_proof_age > 0.0:
                check_age("max_proof_age", max_proof_age)
            if max_proof_age < limit:  # noqa: PLR1730 - min() takes a tenth of the read
                limit = max_proof_age
        proof = token.proven.proof
        inside = now + self._slept
        # A program that stood still may read before it does what is due: then nobody has tried the own hash in time.
        if (
            token.state is _LIVE
            and proof is not None
            and inside - proof.as_of <= limit
            # Mostly none is overdue, which is quick to see.
            and (
                proof.kind is not _IMAGE
                or inside <= self._images.next() + OVERDUE_SECONDS
                or inside <= self._own_hash_until(token)
            )
        ):
            return token
        self.refused[asset_id] += 1
        raise self.refusal(asset_id, now, limit)

    def readable_until(self, asset_id: str) -> float | None:
        """Return when a LIVE book stops being readable unless something new is proven; None: it is not LIVE.

        In seconds on the caller's clock. Raises UnknownToken.
        """
        token = self._token(asset_id)
        proof = token.proven.proof
        if token.state is not _LIVE or proof is None:
            return None
        until = proof.as_of + self.config.max_proof_age
        if proof.kind is _IMAGE:
            until = min(until, self._own_hash_until(token))
        return until - self._slept

    def _own_hash_until(self, token: Token) -> float:
        """Return until when a mirror image may be read although its own hash is still to be tried."""
        return self._images.due(self.markets[token.market_id]) + OVERDUE_SECONDS

    def refusal(self, asset_id: str, now: float, limit: float | None = None, detail: str = "") -> NotLive:
        """Return the error that says why a token's book may not be read: its detail has what keeps the venue away."""
        token = self._token(asset_id)
        trouble = self._trouble(token)
        if trouble:
            detail = f"{trouble}; {detail}" if detail else trouble
        proof = token.proven.proof
        age = None if proof is None else now + self._slept - proof.as_of
        if token.state is BookState.LIVE and limit is not None and age is not None and age <= limit:
            overdue = "its own hash was to be tried by now: the program stood still"
            detail = f"{detail}; {overdue}" if detail else overdue
        reason = Reason.STALE if token.state is BookState.LIVE and limit is not None else token.reason
        return NotLive(asset_id, token.state, reason, age, token.proven.epoch, limit, detail)

    def _trouble(self, token: Token) -> str:
        socket = self.sockets.get(self.markets[token.market_id].socket or 0)
        if socket is None or socket.is_open or token.state is BookState.RETIRED:
            return ""
        return socket.trouble

    def venue_ms(self, now: float) -> int:
        """Return what the venue's clock shows at least, in ms since 1970; 0 while nothing is known of it."""
        return self.clock.now_ms(now + self._slept)

    def peek_state(self, asset_id: str) -> BookState:
        """Return a token's state. Raises UnknownToken."""
        return self._token(asset_id).state

    def peek(self, asset_id: str, now: float) -> BookView:
        """Return a view whatever the state, for display and diagnosis. Never for execution."""
        return self._view(self._token(asset_id), now)

    def _view(self, token: Token, now: float) -> BookView:
        proven, slept, market_id = token.proven, self._slept, token.market_id
        proof, market = proven.proof, self.markets[market_id]
        # In the order of the fields: their names would take a twentieth of the read.
        return BookView(
            token.asset_id, market_id, token.state, token.reason, proven.epoch, token.doubts, token.settled,
            proven.proven_ms, market.lag, self.clock.uncertainty, now,
            None if proof is None else proof.as_of - slept, self.outside(proof) if slept else proof,
            token.grid.tick, proven.levels(), market.fee,
        )  # fmt: skip

    def _token(self, asset_id: str) -> Token:
        return self._tracked(asset_id)

    def states(self) -> Iterable[tuple[str, BookState]]:
        """Yield every token with its state."""
        return ((asset_id, token.state) for asset_id, token in self.tokens.items())
