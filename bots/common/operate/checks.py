"""The questions of a preflight: each small, each with just what it needs, each failing with what to do.

A function here takes what it asks and returns the words of a good answer, or raises
:class:`~bots.common.operate.preflight.CheckFailed`; a bot binds its arguments and hands them to
:func:`bots.common.operate.preflight.run`. Nothing here changes anything but two: a test message is sent, and a row of
the ledger is written. Where the venue says that it does not serve a region, that is the end of it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import httpx

from bots.common.errors import BadCredentials, BotError, TradingError
from bots.common.operate.notifications import MAX_ANSWER_BYTES, TOO_MANY, TelegramError
from bots.common.operate.preflight import NETWORK, CheckFailed
from polymirror.commands.checks import judge_clock
from polymirror.core.clock import VenueClock
from polymirror.errors import BadResponse, NotLive, PolymirrorError
from polymirror.venue.body import ENCODING, read_directly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from bots.common.execution.base import Holdings
    from bots.common.ledger.database import Offload
    from bots.common.ledger.ledger import Store
    from bots.common.operate.notifications import TelegramApi
    from polymirror.mirror import Mirror
    from polymirror.venue.network import Network
    from polymirror.venue.rest import ServerTime

GEOBLOCK: Final = "https://polymarket.com/api/geoblock"
"""Where the venue says whether it serves the region a call comes from (the venue's docs)."""

CLOCK_SAMPLES: Final = 4
CLOCK_PAUSE: Final = 0.23
"""Seconds between samples of the venue's clock; no divisor of a second, so that each narrows the bounds."""

PROBE: Final = "INSERT OR REPLACE INTO meta VALUES ('preflight', 'ok')"
"""What is written to see that the ledger can be."""


async def telegram(api: TelegramApi, chat_id: str, text: str) -> str:
    """Ask who the bot is, and send a test message to the chat."""
    async with api:
        try:
            name = str((await api.get_me()).get("username", "?"))
        except TelegramError as error:
            if error.token_is_wrong:
                why = f"the token is not accepted (HTTP {error.status}: {error.description})"
                raise CheckFailed(why, "set TELEGRAM_TOKEN to what @BotFather gave you") from None
            raise CheckFailed(str(error), NETWORK) from None
        try:
            await api.send_message(chat_id, text)
        except TelegramError as error:
            return _judge_chat(error, chat_id, name)
    return f"@{name} reaches chat {chat_id}"


def _judge_chat(error: TelegramError, chat_id: str, name: str) -> str:
    """Say what a message that was not taken means for a chat."""
    if error.status == TOO_MANY:
        return f"@{name} reaches chat {chat_id}, which is busy just now"
    if error.moved_to is not None:
        why = f"the group with the chat id {chat_id} has become another one"
        raise CheckFailed(why, f"set its new id, {error.moved_to}") from None
    if error.passing:
        raise CheckFailed(str(error), NETWORK) from None
    why = f"chat id {chat_id!r} cannot be written to ({error.description})"
    raise CheckFailed(why, f"write /start to @{name} there, or set the right chat id") from None


async def credentials(ask: Callable[[], Awaitable[object]], variables: str) -> str:
    """Make a call that needs the venue's credentials; ``variables`` names where they come from."""
    try:
        await ask()
    except BadCredentials as error:
        raise CheckFailed(f"the venue does not accept them ({error.detail})", f"set {variables} again") from None
    except TradingError as error:
        raise CheckFailed(str(error), NETWORK) from None
    return "accepted"


async def allowances(ask: Callable[[], Awaitable[bool]]) -> str:
    """Ask whether the venue's contracts may move what the wallet holds."""
    try:
        approved = await ask()
    except BadCredentials:
        raise CheckFailed("not told without credentials", "mend the credentials first") from None
    except TradingError as error:
        raise CheckFailed(str(error), NETWORK) from None
    if not approved:
        why = "the venue's contracts may not move the wallet's pUSD and shares"
        raise CheckFailed(why, "approve them once, on the site or with the venue's SDK")
    return "given"


async def balance(ask: Callable[[], Awaitable[Holdings]], least: Decimal) -> str:
    """Ask whether the account has at least ``least`` pUSD."""
    try:
        cash = (await ask()).cash
    except BadCredentials:
        raise CheckFailed("not told without credentials", "mend the credentials first") from None
    except TradingError as error:
        raise CheckFailed(str(error), NETWORK) from None
    if cash < least:
        why = f"the account has {cash} pUSD, and one trade may cost {least}"
        raise CheckFailed(why, "deposit pUSD, or set a smaller stake")
    return f"{cash} pUSD"


async def chain(ask: Callable[[], Awaitable[Decimal]]) -> str:
    """Ask whether a node of the chain tells what the wallet has: while it does not, nothing is bought."""
    try:
        return f"{await ask()} pUSD, by a node of it"
    except TradingError as error:
        raise CheckFailed(str(error), 'set another node, or node = "" to believe the venue alone') from None


async def clock(ask: Callable[[], Awaitable[ServerTime]], network: Network) -> str:
    """Ask how far this machine's clock is from the venue's: orders are signed with its time."""
    bounds = VenueClock()
    for sample in range(CLOCK_SAMPLES):
        if sample:
            await asyncio.sleep(CLOCK_PAUSE)
        try:
            answer = await ask()
        except PolymirrorError as error:
            raise CheckFailed(f"the venue does not tell the time ({error})", NETWORK) from None
        bounds.server_time(answer.seconds, answer.sent, answer.received)
    found = judge_clock(bounds, network.wall() - network.monotonic())
    if not found.ok:
        raise CheckFailed(found.found, found.advice)
    return found.found


async def region(network: Network, url: str = GEOBLOCK, timeout: float = 2.0) -> str:
    """Ask the venue whether it serves this region, and obey. What cannot be read counts as no."""
    try:
        transport = None if network.transport is None else network.transport()
        async with (
            httpx.AsyncClient(transport=transport, timeout=timeout, headers=ENCODING) as client,
            client.stream("GET", url) as response,
        ):
            value = json.loads(await read_directly("region", response, MAX_ANSWER_BYTES))
    except (httpx.HTTPError, BadResponse, ValueError) as error:
        raise CheckFailed(f"the venue does not say ({type(error).__name__}: {error})", NETWORK) from None
    blocked = value.get("blocked") if isinstance(value, dict) else None
    if not isinstance(blocked, bool):
        raise CheckFailed("the venue's answer cannot be read", "try again later, or with a newer version")
    where = " ".join(str(value[key]) for key in ("country", "region") if value.get(key)) or "this region"
    if blocked:
        raise CheckFailed(f"the venue does not serve {where}", "do not trade from here")
    return f"the venue serves {where}"


async def mirror(books: Mirror, within: float, *tokens: str) -> str:
    """Wait until these books (default: all that are mirrored) are LIVE. ``within``: seconds."""
    try:
        await books.wait_live(*tokens, timeout=within)
    except NotLive as error:
        raise CheckFailed(str(error), "try again; see also: polymirror doctor") from None
    except PolymirrorError as error:
        raise CheckFailed(str(error), NETWORK) from None
    return f"{len(tokens or books.tokens)} books LIVE"


async def disk(store: Store, offload: Offload) -> str:
    """Write to the ledger."""
    try:
        await offload(lambda: store.write([(PROBE, ())]))
    except (OSError, BotError) as error:
        raise CheckFailed(f"the ledger cannot be written ({error})", "make room, or set another folder") from None
    return "can be written"
