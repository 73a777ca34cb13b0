"""One up/down round: a window of one asset, what decides it, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from decimal import Decimal

    from polymirror.simulator.exchange.oracle import PriceProcess

HOUR_SECONDS = 3_600
LABELS = {300: "5m", 900: "15m", HOUR_SECONDS: "1h"}
"""How the venue calls the lengths of windows, in seconds."""


@define(eq=False, kw_only=True)
class Round:
    """One window of one asset, and what became of it. Times are Unix milliseconds, the end excluded."""

    asset: str
    slug: str
    condition_id: str
    tokens: tuple[str, str]
    """The token that pays if the price is up, and the one that pays if it is down."""
    window_s: int
    start_ms: int
    end_ms: int
    twap_s: int
    """The look-back of the average that decides, in seconds; 0: the price itself."""
    strike: Decimal | None = None
    """What decides at the start, in dollars; ``None`` before the window opens."""
    final: Decimal | None = None
    """What decides at the end; ``None`` before."""
    winner: str | None = None
    """The token that pays; ``None`` before the end. The venue says so only when it resolves the market."""
    payouts: tuple[int, int] | None = None
    """What the two tokens pay, in proportion, once it is resolved; no token wins alone when both do."""
    resolved: bool = False
    """Whether the venue has resolved the market: from now on the winner can be redeemed."""
    strike_published: bool = False
    """Whether the discovery service tells the strike."""
    outcome_published: bool = False
    """Whether the discovery service tells the outcome and the final price."""

    @property
    def label(self) -> str:
        """The length of the window as the venue calls it, such as ``15m``."""
        return LABELS[self.window_s]

    def open(self, oracle: PriceProcess, at_ms: int | None = None) -> None:
        """Note the strike; ``at_ms`` is a time before the start, when the market ends that early."""
        if self.strike is None:
            self.strike = oracle.twap(self.asset, self.start_ms if at_ms is None else at_ms, self.twap_s)

    def decide(self, oracle: PriceProcess, at_ms: int | None = None) -> None:
        """Note the final price and the winner; ``at_ms`` is a time before the end, when it ends early."""
        if self.winner is not None:
            return
        early_ms = self.end_ms if at_ms is None else min(at_ms, self.end_ms)
        self.open(oracle, min(early_ms, self.start_ms))
        self.final = oracle.twap(self.asset, early_ms, self.twap_s)
        assert self.strike is not None  # noqa: S101 - opening it, just above, notes the strike
        self.winner = self.tokens[0 if self.final >= self.strike else 1]
