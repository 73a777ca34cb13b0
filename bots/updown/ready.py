"""Is everything there that a bot of up/down rounds needs? Its preflight: which questions are asked, and of whom.

The questions are in :mod:`bots.common.operate.checks`, and how they are asked in
:mod:`bots.common.operate.preflight`. On paper no account is asked for. The oracle and a mirror of one current market
run for as long as that takes, and end with it.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.common.operate import checks, login
from bots.common.operate.preflight import NETWORK, Check, CheckFailed, Report
from bots.updown.watch import check_prices
from polymirror.config import MirrorConfig
from polymirror.errors import PolymirrorError
from polymirror.mirror import Mirror
from polymirror.venue.rest import Clob
from polymirror.venue.windows import window_at

if TYPE_CHECKING:
    from bots.common.ledger.database import Offload
    from bots.common.ledger.ledger import Store
    from bots.common.operate.login import Login
    from bots.common.operate.notifications import TelegramApi
    from bots.updown.oracles.base import Oracle
    from polymirror.config import Endpoints
    from polymirror.venue.network import Network

LIVELY: Final = 12.0
"""Seconds for prices to flow and books to become LIVE."""


@frozen(kw_only=True)
class Outside:
    """What a start depends on."""

    network: Network
    endpoints: Endpoints
    oracle: Oracle
    assets: tuple[str, ...]
    interval: str
    """The length of the window whose books are tried."""
    store: Store
    offload: Offload
    geoblock: str = checks.GEOBLOCK
    telegram: TelegramApi | None = None
    chat: str = ""
    login: Login | None = None
    """How to log in at the venue; ``None`` on paper."""


async def preflight(outside: Outside) -> Report:
    """Ask everything, and return what was found."""
    network = outside.network
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        prices = group.create_task(outside.oracle.run(), name="preflight oracle")
        stack.callback(prices.cancel)
        rest = MirrorConfig().rest
        clob = await stack.enter_async_context(
            Clob(rest, outside.endpoints, rng=random.Random(), network=network)  # noqa: S311 - jitter
        )
        questions = [
            Check("clock", partial(checks.clock, clob.time, network), 4.0),
            Check("ledger", partial(checks.disk, outside.store, outside.offload)),
            Check("prices", partial(check_prices, outside.oracle, outside.assets, network, LIVELY), LIVELY + 1),
            Check("books", partial(_books, outside), LIVELY + 1),
        ]
        if outside.telegram is not None:
            text = "a test message of the bot's preflight"
            questions.append(Check("telegram", partial(checks.telegram, outside.telegram, outside.chat, text)))
        return await login.preflight(network, outside.geoblock, questions, outside.login)


async def _books(outside: Outside) -> str:
    """Mirror the current market of the first asset until its books are LIVE."""
    slug = window_at(outside.assets[0], outside.interval, outside.network.wall()).slug
    try:
        async with Mirror.for_slug(slug, endpoints=outside.endpoints, network=outside.network) as mirror:
            return await checks.mirror(mirror, LIVELY)
    except PolymirrorError as error:
        if isinstance(error, CheckFailed):
            raise
        raise CheckFailed(str(error), NETWORK) from None
