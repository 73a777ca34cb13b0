"""What trading, endings and rounds need of the exchange: its time and agenda, its clock, its pauses and its habits.

They are handed a :class:`Floor` and know nothing of the exchange that it is the ground of. Pure, as all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from polymirror.simulator.exchange.agenda import Agenda
from polymirror.simulator.exchange.market import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.exchange.matching import Taking
    from polymirror.simulator.settings import ExchangeConfig


class LateHash(Protocol):
    """Whoever may want that a hash contains the next change already: a fault."""

    def is_due(self, now_ms: int) -> bool:
        """Pass one chance; whether it is the one to take."""

    def strike(self) -> None:
        """Count that it was taken."""


class Floor:
    """The ground on which the markets of one exchange trade."""

    def __init__(self, config: ExchangeConfig) -> None:
        self.config = config
        self.now_ms: int = config.start_ms
        self.agenda: Agenda = Agenda()
        # Grows with every market that is over, so that sessions look at it instead of at all markets.
        self.over_count = 0
        # What the venue's clock is ahead of the true time: everything it states is off by this much.
        self.clock_offset_ms = 0
        # Until when nothing trades, and until when nothing is taken, only placed and withdrawn.
        self.paused_until_ms = 0
        self.post_only_until_ms = 0
        # Faults that may let a hash contain the next change already.
        self.late_hashes: list[LateHash] = []
        # Told of each market of a round that is resolved, and when; set by the rounds.
        self.resolve_round: Callable[[Market, int], None] | None = None
        # Told of orders of accounts that the flow took (market, all of a batch, when), and of
        # each market that stops trading; set by whoever keeps those orders.
        self.flow_took: Callable[[Market, Sequence[Taking], int], None] | None = None
        self.trading_ended: Callable[[Market, int], None] | None = None

    def stated_ms(self) -> int:
        """What the venue's own clock shows."""
        return self.now_ms + self.clock_offset_ms

    def change_tick(self, market: Market, tick: int, at_ms: int, out: Output, *, announced: bool = True) -> None:
        """Give a market another price grid, in 1/10,000, with or without saying so."""
        old, market.tick = market.tick, tick
        if announced:
            self.announce_tick(market, old, tick, at_ms, out)

    def announce_tick(self, market: Market, old: int, new: int, at_ms: int, out: Output) -> None:
        """Send the event of a changed price grid for both tokens, whether there was a change or not."""
        stated_ms = at_ms + self.clock_offset_ms
        out += [market.tick_frame(index, stated_ms, old, new) for index in (0, 1)]

    def usual_ending(self, resolve_delay_ms: int | None = None) -> Ending:
        """How markets end by default; ``resolve_delay_ms`` replaces the configured one."""
        config = self.config
        return Ending(
            resolve_delay_ms=config.resolve_delay_ms if resolve_delay_ms is None else resolve_delay_ms,
            announced=config.announce_resolution,
            closes=config.close_when_resolved,
        )
