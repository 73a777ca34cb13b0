"""Second tokens that only their mirror image speaks for: each one's own hash is tried before long, come what may.

While messages say the same of both tokens of a market and the hash of one fits, the other is proven with it
(:mod:`polymirror.core.mirrored`), and every so often a message tries both. Here is the rest of that promise: when no
such message comes, the own hash of the last one is tried all the same. If it does not fit, the book is in doubt:
of 4,875 hashes of recordings whose twin's fitted, none did not. Times in seconds on the mirror's monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.mirrored import TURN_SECONDS
from polymirror.core.proofs import ProofKind
from polymirror.core.states import Reason

if TYPE_CHECKING:
    from polymirror.core.market import Market


PUT_OFF_SECONDS: Final = 0.015
"""For so long a try may wait for the end of a batch; what is overdue by a bit more is not read."""


class Images:
    """Markets whose second token is the mirror image of the first, and until when that may be enough."""

    def __init__(self) -> None:
        # When each own hash is to be tried. The earliest first: all have the same time.
        self._due: dict[Market, float] = {}
        # Those that were due within a batch, and when they are tried after all.
        self._put_off: dict[Market, float] = {}

    def note(self, market: Market, now: float) -> None:
        """The second token was proven as a mirror image, for the first time since its own hash was tried."""
        self._due.pop(market, None)
        if self._put_off:
            self._put_off.pop(market, None)
        self._due[market] = now + TURN_SECONDS

    def forget(self, market: Market) -> None:
        """The market is mirrored no more."""
        self._due.pop(market, None)
        self._put_off.pop(market, None)

    def next(self) -> float:
        """Return when the next own hash is due; infinity: none is."""
        return next(iter(self._due.values()), float("inf"))

    def due(self, market: Market) -> float:
        """Return when the own hash of a market's second token is due; infinity: it is not."""
        return self._due.get(market, float("inf"))

    def next_try(self) -> float:
        """Return when :meth:`on_time` has something to do; infinity: never."""
        if not self._put_off:
            return self.next()
        others = (due for market, due in self._due.items() if market not in self._put_off)
        return min(*self._put_off.values(), next(others, float("inf")))

    def on_time(self, now: float) -> None:
        """Try the hashes that are due. Within a batch they may be of its end, so that is waited for: not for long."""
        if now < self.next():
            return
        for market, due in tuple(self._due.items()):
            if now < due:
                return
            later = min(market.heard_at + market.outbox.config.batch_window, due + PUT_OFF_SECONDS)
            if market.touched and now < later:
                self._put_off[market] = later
            else:
                self.forget(market)
                _try_own(market, now)


def _try_own(market: Market, now: float) -> None:
    """Prove the second token by the own hash of its newest message, or doubt it."""
    market.turn, market.both_due = 0, now + TURN_SECONDS
    (_, token), proofs = market.tokens.values(), market.outbox.proofs
    proven = token.proven
    proof, stated = proven.proof, proven.stated
    if proof is None or proof.kind is not ProofKind.COMPLEMENT or stated is None:
        return
    if market.checked_as == "proven_pairs":
        if market.hashes.prove(token.asset_id, proven.stated_ms, proven.book, stated.hash):
            proven.own_hash_fits(proof)
            proofs.proven_pairs -= 1
            proofs.proven_twice += 1
            market.checked_as = "proven_twice"
            return
        # As at the end of any batch: perhaps it is known why it does not fit.
        market.reopen()
        market.close(now, definite=False)
    # Changes that nothing proves yet may stand on what was never so.
    if (proven.unproven or not proven.hash_proven) and stated.hash and market.hashes.verifiable:
        token.doubt(Reason.HASH_MISMATCH, now, "it was proven as the mirror image of its twin")
