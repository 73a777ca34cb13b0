"""The questions of a preflight that need the venue's credentials, after the one that must come first.

Logging in may create an API key and a wallet, so nobody logs in before the venue has said that it serves this region.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from bots.common.errors import TradingError
from bots.common.execution.node import Node
from bots.common.operate import checks
from bots.common.operate.preflight import Check, CheckFailed, Report, run
from polymirror.errors import MissingExtra, PolymirrorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from decimal import Decimal

    from bots.common.execution.base import Holdings
    from polymirror.venue.network import Network

LOG_IN: Final = 8.0
"""Seconds for what needs the venue's credentials."""


class Account(Protocol):
    """What is asked of a connection to the venue."""

    async def authorised(self) -> None:
        """Make a call that needs credentials. Raises TradingError."""
        ...

    @property
    def address(self) -> str:
        """The wallet that is traded for."""
        ...

    async def approved(self) -> bool:
        """Say whether the venue may move what the wallet holds. Raises TradingError."""
        ...

    async def holdings(self) -> Holdings:
        """Return what the wallet owns. Raises TradingError."""
        ...


@frozen(kw_only=True)
class Login:
    """How to log in, and what the account must have."""

    open: Callable[[], AbstractAsyncContextManager[Account]]
    variables: str
    """Where the credentials come from, in words."""
    least: Decimal
    """pUSD that the account must have."""
    node: str = ""
    """The node of the chain that is asked for them as well; empty: none."""


async def preflight(network: Network, geoblock: str, questions: Sequence[Check], login: Login | None = None) -> Report:
    """Ask for the region, ``questions`` and, with a ``login``, for the account; return what was found."""
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        served: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def region() -> str:
            said = ""
            try:
                said = await checks.region(network, geoblock)
            finally:
                served.set_result(bool(said))
            return said

        every = [Check("region", region), *questions]
        if login is not None:
            opened: asyncio.Future[Account] = asyncio.get_running_loop().create_future()
            task = group.create_task(_log_in(served, login, opened), name="preflight account")
            stack.callback(task.cancel)
            every += _account_checks(opened, login, network)
        return await run(every)


async def _log_in(served: asyncio.Future[bool], login: Login, opened: asyncio.Future[Account]) -> None:
    """Log in, hand the connection to whoever waits for it, and keep it open until cancelled."""
    if not await served:
        opened.set_exception(CheckFailed("nobody logs in where the venue does not serve us", "see the region"))
        return
    try:
        async with login.open() as client:
            opened.set_result(client)
            await asyncio.Event().wait()
    except TradingError as error:
        if not opened.done():
            opened.set_exception(error)
    except PolymirrorError as error:
        todo = "install it" if isinstance(error, MissingExtra) else f"set {login.variables} again"
        if not opened.done():
            opened.set_exception(CheckFailed(str(error), todo))


def _account_checks(opened: asyncio.Future[Account], login: Login, network: Network) -> list[Check]:
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

    async def by_the_chain() -> Decimal:
        node = Node(login.node, (await client()).address, network)
        try:
            return await node.cash()
        finally:
            await node.aclose()

    def check(name: str, ask: Callable[[], Awaitable[str]]) -> Check:
        return Check(name, ask, LOG_IN)

    asked = [check("chain", partial(checks.chain, by_the_chain))] if login.node else []
    return [
        check("credentials", partial(checks.credentials, authorised, login.variables)),
        check("allowances", partial(checks.allowances, approved)),
        check("balance", partial(checks.balance, holdings, login.least)),
        *asked,
    ]
