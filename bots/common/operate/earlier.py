"""Markets of an earlier run's orders and positions: found at the start, and followed until they are decided.

Those that a bot can follow itself are handed to it; any other is asked about here. What is not listed blocks only
itself. Called by :class:`~bots.common.operate.app.App`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from polymirror.errors import VenueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from bots.common.ledger.account import Account
    from bots.common.orders.manager import OrderManager
    from polymirror.venue.gamma import Gamma
    from polymirror.venue.market import Market

log = logging.getLogger(__name__)

ASK_AGAIN: Final = 60.0
"""Seconds between two questions for a market that nobody follows."""


class Earlier:
    """What an earlier run left, of one account. ``tell`` is told of markets that nobody else follows."""

    def __init__(self, account: Account, tell: Callable[[str], None]) -> None:
        self._account = account
        self._tell = tell
        # By condition id; those that were found.
        self._markets: dict[str, Market] = {}

    def name(self, market: str) -> str:
        """Return the slug of a market, or what its condition id begins with."""
        known = self._markets.get(market)
        return market[:12] if known is None else known.slug

    def payouts(self, market: str) -> Mapping[str, Decimal] | None:
        """Return what a share of each token of a market pays; ``None`` for one that is not known."""
        known = self._markets.get(market)
        return None if known is None else _payouts(known)

    async def find(self, gamma: Gamma, manager: OrderManager, adopt: Callable[[Market], bool]) -> dict[str, str]:
        """Find all of them; return a token of each that nobody else follows from now on, by condition id.

        ``adopt`` says whether somebody does.
        """
        account = self._account
        tokens = {held.market: held.token for held in account.positions.values()}
        tokens |= {begun.order.market: begun.order.token for begun in account.open.values()}
        tokens |= {claim.begun.order.market: claim.begun.order.token for claim in account.claims.values()}
        await asyncio.gather(*(self._find(gamma, market, token) for market, token in tokens.items()))
        left = {}
        for market, token in tokens.items():
            known = self._markets.get(market)
            if payouts := self.payouts(market):
                # Its shares may be gone already: the wallet is not held against them.
                manager.decide(market, payouts, confirmed=False)
            if known is None or not adopt(known):
                left[market] = token
        return left

    async def follow(self, gamma: Gamma, manager: OrderManager, market: str, token: str) -> None:
        """Ask about a market until it is decided."""
        asked = 0
        while True:
            await self._find(gamma, market, token)
            if payouts := self.payouts(market):
                manager.decide(market, payouts, confirmed=False)
                return
            asked += 1
            if asked == 1:
                why = "is followed for its settlement alone" if market in self._markets else "is not listed"
                self._tell(f"market {market[:12]} of an earlier run {why}: it is asked about every minute")
            await asyncio.sleep(ASK_AGAIN)

    async def _find(self, gamma: Gamma, market: str, token: str) -> None:
        try:
            self._markets[market] = await gamma.market_of_token(token)
        except VenueError as error:
            log.warning("market %s of an earlier run is not found yet: %s", market[:18], error)


def _payouts(market: Market) -> dict[str, Decimal]:
    return dict(zip(market.token_ids, market.payouts, strict=False))
