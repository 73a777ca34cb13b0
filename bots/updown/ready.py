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
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from bots.common.errors import TradingError
from bots.common.operate import checks
from bots.common.operate.preflight import NETWORK, Check, CheckFailed, Report, run
from bots.updown.watch import check_prices
from polymirror.config import MirrorConfig
from polymirror.errors import MissingExtra, PolymirrorError
from polymirror.mirror import Mirror
from polymirror.venue.rest import Clob
from polymirror.venue.windows import window_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from decimal import Decimal

    from bots.common.execution.base import Holdings
    from bots.common.ledger.database import Offload
    from bots.common.ledger.ledger import Store
    from bots.common.operate.notifications import TelegramApi
    from bots.updown.oracles.base import Oracle
    from polymirror.config import Endpoints
    from polymirror.venue.network import Network

LIVELY: Final = 12.0
"""Seconds for prices to flow and books to become LIVE."""

LOG_IN: Final = 8.0
"""Seconds for what needs the venue's credentials."""


class Account(Protocol):
    """What is asked of a connection to the venue."""

    async def authorised(self) -> None:
        """Make a call that needs credentials. Raises TradingError."""
        ...

    async def approved(self) -> bool:
        """Say whether the venue may move what the wallet holds. Raises TradingError."""
        ...

    async def holdings(self) -> Holdings:
        """Return what the wallet owns. Raises TradingError."""
        ...


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
    account: Callable[[], AbstractAsyncContextManager[Account]] | None = None
    """Logs in at the venue; ``None`` on paper."""
    variables: str = ""
    """Where the credentials come from, in words."""
    least: Decimal
    """pUSD that the account must have."""


async def preflight(outside: Outside) -> Report:
    """Ask everything, and return what was found."""
    network = outside.network
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        background = [group.create_task(outside.oracle.run(), name="preflight oracle")]
        stack.callback(lambda: [task.cancel() for task in background])
        rest = MirrorConfig().rest
        clob = await stack.enter_async_context(
            Clob(rest, outside.endpoints, rng=random.Random(), network=network)  # noqa: S311 - jitter
        )
        # Logging in may create an API key and a wallet: not before the venue has said that it serves this region.
        served: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def region() -> str:
            said = ""
            try:
                said = await checks.region(network, outside.geoblock)
            finally:
                served.set_result(bool(said))
            return said

        questions = [
            Check("region", region),
            Check("clock", partial(checks.clock, clob.time, network), 4.0),
            Check("ledger", partial(checks.disk, outside.store, outside.offload)),
            Check("prices", partial(check_prices, outside.oracle, outside.assets, network, LIVELY), LIVELY + 1),
            Check("books", partial(_books, outside), LIVELY + 1),
        ]
        if outside.telegram is not None:
            text = "a test message of the bot's preflight"
            questions.append(Check("telegram", partial(checks.telegram, outside.telegram, outside.chat, text)))
        if outside.account is not None:
            opened: asyncio.Future[Account] = asyncio.get_running_loop().create_future()
            background.append(
                group.create_task(_log_in(served, outside.account, opened, outside.variables), name="preflight account")
            )
            questions += _account_checks(opened, outside)
        return await run(questions)


async def _log_in(
    served: asyncio.Future[bool],
    account: Callable[[], AbstractAsyncContextManager[Account]],
    opened: asyncio.Future[Account],
    variables: str,
) -> None:
    """Log in, hand the connection to whoever waits for it, and keep it open until cancelled."""
    if not await served:
        opened.set_exception(CheckFailed("nobody logs in where the venue does not serve us", "see the region"))
        return
    try:
        async with account() as client:
            opened.set_result(client)
            await asyncio.Event().wait()
    except TradingError as error:
        if not opened.done():
            opened.set_exception(error)
    except PolymirrorError as error:
        todo = "install it" if isinstance(error, MissingExtra) else f"set {variables} again"
        if not opened.done():
            opened.set_exception(CheckFailed(str(error), todo))


def _account_checks(opened: asyncio.Future[Account], outside: Outside) -> list[Check]:
    async def authorised() -> None:
        await (await asyncio.shield(opened)).authorised()

    async def client() -> Account:
        # Why nobody could log in is told in the line of the credentials, and only there.
        try:
            return await asyncio.shield(opened)
        except PolymirrorError:
            raise CheckFailed("not told without logging in", "mend the credentials first") from None

    async def approved() -> bool:
        return await (await client()).approved()

    async def holdings() -> Holdings:
        return await (await client()).holdings()

    def check(name: str, ask: Callable[[], Awaitable[str]]) -> Check:
        return Check(name, ask, LOG_IN)

    return [
        check("credentials", partial(checks.credentials, authorised, outside.variables)),
        check("allowances", partial(checks.allowances, approved)),
        check("balance", partial(checks.balance, holdings, outside.least)),
    ]


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
