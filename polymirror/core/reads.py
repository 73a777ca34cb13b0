"""Reading an engine: the reads for execution, all behind one check, and what explains a refusal.

The base of :class:`polymirror.core.engine.Engine`. Reading does no work: it looks up a token, the age of its proof,
and copies nothing that was copied before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.core.states import BookState, Reason
from polymirror.core.status import Surface
from polymirror.core.view import BookView, Top
from polymirror.errors import NotLive, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.config import EngineConfig
    from polymirror.core.token import Token


class Reads(Surface):
    """The reads of an engine. All ``now`` in seconds on the caller's monotonic clock."""

    config: EngineConfig

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on.

        Raises NotLive unless the book is LIVE and was proven no longer than ``max_proof_age`` seconds
        ago (never more than the configured age), and UnknownToken for a token that is not tracked.
        """
        return self._view(self._readable(asset_id, now, max_proof_age), now)

    def top(self, asset_id: str, now: float, max_proof_age: float | None = None) -> Top:
        """Return the best levels of the newest proven state of a LIVE book: granted exactly when :meth:`live` is.

        Nothing is copied, whatever the depth of the book. Raises as :meth:`live` does.
        """
        token = self._readable(asset_id, now, max_proof_age)
        proven = token.proven
        return Top(
            asset_id, proven.epoch, token.doubts, token.settled, proven.proven_ms, now,
            proven.proof.as_of - self._slept,  # type: ignore[union-attr]  # what is readable is proven
            *proven.top(),
        )  # fmt: skip

    def _readable(self, asset_id: str, now: float, max_proof_age: float | None) -> Token:
        """Return a token whose book may be read for execution: the one check that every such read passes (P1)."""
        token = self._token(asset_id)
        limit = self.config.max_proof_age
        if max_proof_age is not None and not max_proof_age >= limit:
            # Turned round so that an age that is no number refuses instead of meaning the default.
            limit = max_proof_age
        proof = token.proven.proof
        if token.state is BookState.LIVE and proof is not None and now + self._slept - proof.as_of <= limit:
            return token
        self.refused[asset_id] += 1
        raise self.refusal(asset_id, now, limit)

    def refusal(self, asset_id: str, now: float, limit: float | None = None, detail: str = "") -> NotLive:
        """Return the error that says why a token's book may not be read: its detail has what keeps the venue away."""
        token = self._token(asset_id)
        trouble = self._trouble(token)
        if trouble:
            detail = f"{trouble}; {detail}" if detail else trouble
        proof = token.proven.proof
        age = None if proof is None else now + self._slept - proof.as_of
        reason = Reason.STALE if token.state is BookState.LIVE and limit is not None else token.reason
        return NotLive(asset_id, token.state, reason, age, token.proven.epoch, limit, detail)

    def _trouble(self, token: Token) -> str:
        socket = self.sockets.get(self.markets[token.market_id].socket or 0)
        if socket is None or socket.is_open or token.state is BookState.RETIRED:
            return ""
        return socket.trouble

    def peek_state(self, asset_id: str) -> BookState:
        """Return a token's state. Raises UnknownToken."""
        return self._token(asset_id).state

    def peek(self, asset_id: str, now: float) -> BookView:
        """Return a view whatever the state, for display and diagnosis. Never for execution."""
        return self._view(self._token(asset_id), now)

    def _view(self, token: Token, now: float) -> BookView:
        proven, slept = token.proven, self._slept
        proof = proven.proof
        return BookView(
            token=token.asset_id, market=token.market_id, state=token.state, reason=token.reason,
            epoch=proven.epoch, doubts=token.doubts, settled=token.settled, exchange_ms=proven.proven_ms,
            apply_lag=self.markets[token.market_id].lag, clock_uncertainty=self.clock.uncertainty, read_at=now,
            proven_at=None if proof is None else proof.as_of - slept,
            last_proof=self.outside(proof) if slept else proof,
            tick_size=token.tick_size, levels=proven.levels(),
        )  # fmt: skip

    def _token(self, asset_id: str) -> Token:
        token = self.tokens.get(asset_id)
        if token is None:
            raise UnknownToken(asset_id)
        return token

    def states(self) -> Iterable[tuple[str, BookState]]:
        """Yield every token with its state."""
        return ((asset_id, token.state) for asset_id, token in self.tokens.items())
