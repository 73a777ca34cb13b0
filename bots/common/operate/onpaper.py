"""A bot on paper: real books, orders that never leave, an account that goes on where the bot's own books are."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from bots.common.execution.base import Holdings
from bots.common.execution.paper import PaperExecutor, booked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bots.common.execution.base import Executor
    from bots.common.execution.paper import PaperConfig
    from bots.common.operate.app import App


@asynccontextmanager
async def on_paper(config: PaperConfig, bot: App[Any, Any]) -> AsyncIterator[Executor]:
    """Open the account of a bot."""
    owned = {held.token: held.shares for held in bot.account.positions.values()}
    holdings = Holdings(cash=config.cash + bot.account.totals.cash, positions=owned)
    past = [booked(claim.begun.order, claim.result) for claim in bot.account.claims.values()]
    yield PaperExecutor(bot, bot.world.network, config, bot.payouts, holdings, past)
