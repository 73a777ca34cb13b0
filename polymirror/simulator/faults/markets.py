"""Faults of single markets: their price grids and their ends.

One small class each, with an id, what happens, and where it was seen. They change the exchange, for
all of its clients. Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.exchange.endings import end_market
from polymirror.simulator.exchange.flow import Change
from polymirror.simulator.exchange.market import Ending, Phase
from polymirror.simulator.faults.venue import VenueFault

if TYPE_CHECKING:
    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.exchange.market import Market

NEXT_TICK = {100: 10, 10: 1}
"""The finer price grid after each, in 1/10,000."""

MAX_REPEAT_MS = 120


class MarketFault(VenueFault):
    """The base of faults of one market: each market gives a chance every five seconds."""

    def happen(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        """Perhaps strike some markets."""
        wanted = self.plan.tokens
        for market in exchange.markets:
            if wanted and wanted.isdisjoint(market.tokens):
                continue
            if market.phase is Phase.TRADING and self.suits(market) and self.strikes(at_ms):
                self.befall(exchange, market, at_ms, out)

    def suits(self, market: Market) -> bool:
        """Whether it can happen to this market now."""
        del market
        return True

    def befall(self, exchange: Exchange, market: Market, at_ms: int, out: Output) -> None:
        """Let it happen."""
        raise NotImplementedError


class TickChange(MarketFault):
    """A market gets a finer price grid, and says so; levels on the old grid stay.

    Seen in the middle of most short windows, when the price passes 0.96 or 0.04.
    """

    id: ClassVar[str] = "tick_change"
    announced: ClassVar[bool] = True

    def suits(self, market: Market) -> bool:
        """Only while there is a finer grid."""
        return market.tick in NEXT_TICK

    def befall(self, exchange: Exchange, market: Market, at_ms: int, out: Output) -> None:
        """Change to the next finer grid."""
        exchange.change_tick(market, NEXT_TICK[market.tick], at_ms, out, announced=self.announced)


class TickUnannounced(TickChange):
    """A market gets a finer price grid without any event; only its hashes and its prices tell.

    Seen for moments at every change, because the grid enters the hash before the event; here no event
    follows.
    """

    id: ClassVar[str] = "tick_change_unannounced"
    announced: ClassVar[bool] = False


class TickRepeated(TickChange):
    """The event of a finer grid comes twice.

    Seen frequently in two studies.
    """

    id: ClassVar[str] = "tick_change_repeated"

    def befall(self, exchange: Exchange, market: Market, at_ms: int, out: Output) -> None:
        """Change, and tell again a little later."""
        old = market.tick
        super().befall(exchange, market, at_ms, out)
        again = partial(exchange.announce_tick, market, old, market.tick)
        exchange.agenda.add(at_ms + self.rng.randint(1, MAX_REPEAT_MS), again)


class TickUnchanged(MarketFault):
    """The event of a changed grid names the grid that is in force already.

    Seen as a regression test of a large trading framework: it cleared good books.
    """

    id: ClassVar[str] = "tick_change_without_change"

    def befall(self, exchange: Exchange, market: Market, at_ms: int, out: Output) -> None:
        """Announce what is."""
        exchange.announce_tick(market, market.tick, market.tick, at_ms, out)


class AsymmetricMarket(MarketFault):
    """One token of a market loses a level without any message; its twin keeps the mirrored one. Later it returns.

    Not reported for the venue: its two books are one, as far as anybody saw. It is what a client takes for granted
    that proves one book by the other.
    """

    id: ClassVar[str] = "asymmetric_market"
    default_length_ms: ClassVar[int] = 5_000

    def suits(self, market: Market) -> bool:
        """Only with a level to lose."""
        return any(ladder.prices for ladder in market.ladders)

    def befall(self, exchange: Exchange, market: Market, at_ms: int, out: Output) -> None:
        """Lose a level of one token, and bring it back after the planned length."""
        del out
        tokens = [index for index, t in enumerate(market.tokens) if not self.plan.tokens or t in self.plan.tokens]
        index = self.rng.choice(tokens)
        side = self.rng.choice([side for side in (0, 1) if market.ladders[side].prices])
        price = self.rng.choice(market.ladders[side].prices)
        market.set_alone(index, Change(side, price, 0), at_ms, at_ms + exchange.clock_offset_ms)

        def back(back_ms: int, out: Output) -> None:
            del out
            change = Change(side, price, market.ladders[side].size_at(price))
            market.set_alone(index, change, back_ms, back_ms + exchange.clock_offset_ms)

        exchange.agenda.add(at_ms + self.plan.length_ms, back)


class Settlement(MarketFault):
    """A market ends: a burst empties its book, the outcome is announced, its sockets are closed with 1000.

    Seen at the end of every window; afterwards calls for its book answer 404.
    """

    id: ClassVar[str] = "settlement"
    default_share: ClassVar[float] = 0.002

    def suits(self, market: Market) -> bool:
        """A round ends at its time: before that there is no outcome. How it ends is up to chance."""
        return market.round is None or market.round.winner is not None

    def befall(self, exchange: Exchange, market: Market, at_ms: int, out: Output) -> None:
        """End this market."""
        end_market(exchange, market, self.ending(), at_ms, out)

    def ending(self) -> Ending:
        """How it ends."""
        return Ending(resolve_delay_ms=self.plan.length_ms)


class SettlementUnannounced(Settlement):
    """A market ends without ``market_resolved``: emptied, closed with 1000, 404.

    Seen in one of five settlements of a study, and in all of another one.
    """

    id: ClassVar[str] = "settlement_unannounced"

    def ending(self) -> Ending:
        """Without the news."""
        return Ending(resolve_delay_ms=self.plan.length_ms, announced=False)


class SettlementLate(Settlement):
    """A market ends, calls answer 404 at once, and ``market_resolved`` comes long after.

    Seen as 115 to 155 seconds between the end of a window and the news.
    """

    id: ClassVar[str] = "settlement_late"

    def ending(self) -> Ending:
        """The news after the planned length."""
        return Ending(resolve_delay_ms=0, announce_delay_ms=self.plan.length_ms)


class SettlementUnclosed(Settlement):
    """A market ends and is announced, but its sockets stay open, silent.

    Seen by a study: the closing with 1000 sometimes never comes.
    """

    id: ClassVar[str] = "settlement_unclosed"

    def ending(self) -> Ending:
        """Without a farewell."""
        return Ending(resolve_delay_ms=self.plan.length_ms, closes=False)


class SettlementSilent(Settlement):
    """A market ends without a word: its book is not emptied, nothing is announced, nothing is closed.

    Not seen as a whole: it is what remains when every hint but the 404 is lost.
    """

    id: ClassVar[str] = "settlement_silent"

    def ending(self) -> Ending:
        """Nothing but the resolution."""
        return Ending(empties=False, resolve_delay_ms=self.plan.length_ms, announced=False, closes=False)
