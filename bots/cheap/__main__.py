"""``python -m bots.cheap``: buys the first token of a market while it is cheap, once per market."""

from __future__ import annotations

import sys
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from bots.common.operate.app import World
from bots.common.orders.intents import Wish
from bots.common.orders.order import Side
from bots.common.ranges import decimal_range
from bots.supervisor.command import command
from bots.supervisor.config import FleetSettings
from bots.supervisor.fleet import Fleet, FleetPlan
from polymirror import NotLive

if TYPE_CHECKING:
    from bots.common.orders.intents import Terms
    from bots.common.orders.manager import OrderManager
    from bots.common.orders.order import Order, Result
    from polymirror.mirror import Mirror
    from polymirror.venue.market import Market


@frozen(kw_only=True)
class CheapSettings(FleetSettings):
    """Its own settings; all others are those of every bot on many markets."""

    name = "cheap"

    folder: Path = Path("cheap_files")
    below: Decimal = field(default=Decimal("0.45"), validator=decimal_range("0.01", "0.99", "pUSD"))
    """A share is cheap when it costs no more."""
    worth: Decimal = field(default=Decimal("0.55"), validator=decimal_range("0.01", "0.99", "pUSD"))
    """What such a share is believed to be worth: the probability that it wins."""


class Cheap:
    """One market."""

    is_mending = False  # it never trades on account of what it holds

    def __init__(self, bot: CheapBot, market: Market, terms: Terms, mirror: Mirror, manager: OrderManager) -> None:
        self.bot, self.market, self.terms, self.mirror, self.manager = bot, market, terms, mirror, manager
        # A restart forgets it. That nothing is bought twice is a matter of the limits: they know the ledger.
        self.has_bought = False

    def heard(self, order: Order, result: Result) -> None:
        """Hear what became of an order: filled, or not, or not known yet."""
        self.has_bought = self.has_bought or (order.side is Side.BUY and result.traded)

    async def run(self) -> None:
        """Look after each change of the book, until cancelled."""
        token = self.market.token_ids[0]
        async for _ in self.mirror.updates(token):
            try:
                ask = self.mirror.top(token).best_ask
            except NotLive:
                continue
            if ask is not None and ask.price <= self.bot.settings.below and not self.has_bought:
                self.buy(token)

    def buy(self, token: str) -> None:
        """Wish for shares, if it is this market's turn. The manager reads the book again, and sizes the order on it."""
        market, now = self.market.condition_id, self.bot.world.network.monotonic()
        if self.bot.turns.refuse(market, now, self.manager.under_way):
            return
        if self.manager.consider(self.mirror, Wish(token=token, terms=self.terms, fair=self.bot.settings.worth)):
            self.bot.turns.take(market, now)


class CheapBot(Fleet[FleetPlan, World]):
    """All markets."""

    def __init__(self, settings: CheapSettings, world: World, until_ms: int) -> None:
        super().__init__(settings.plan(until_ms), world)
        self.settings = settings

    def engine(self, market: Market, terms: Terms, mirror: Mirror, manager: OrderManager) -> Cheap:
        """Make the engine of a market."""
        return Cheap(self, market, terms, mirror, manager)


main = partial(command, "bots.cheap", CheapSettings, CheapBot)

if __name__ == "__main__":
    sys.exit(main())
