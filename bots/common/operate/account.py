"""A wallet at the venue, for any bot with real orders: what it takes, what is missing, and the way there.

The settings of a bot that trades for real are :class:`TraderSettings` and more. Credentials come from the environment
alone. Nothing here trades by itself.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bots.common.errors import BotError
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.execution.node import NODE, Node, node_address
from bots.common.execution.paper import PaperConfig
from bots.common.execution.sdk import SdkClient, Wallet
from bots.common.execution.userchannel import UserChannel
from bots.common.ledger.reader import LedgerReader
from bots.common.operate.commands import LEDGER
from bots.common.operate.page import StatusSettings
from bots.common.operate.settings import from_environment
from bots.common.secrets import NOTHING, Secret
from polymirror.config import MirrorConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bots.common.execution.base import Executor
    from bots.common.operate.app import App, World

log = logging.getLogger(__name__)

CONFIRMATION: Final = "I may lose this money"

VARIABLES: Final = "POLYMARKET_PRIVATE_KEY and POLYMARKET_API_*"
"""Where the credentials come from, in words."""


@frozen(kw_only=True)
class TradingKeys:
    """Credentials, from the environment alone. A simulation and paper need none."""

    private_key: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_PRIVATE_KEY"))
    api_key: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_API_KEY"))
    api_secret: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_API_SECRET"))
    api_passphrase: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_API_PASSPHRASE"))
    relayer_key: Secret = field(default=NOTHING, metadata=from_environment("POLYMARKET_RELAYER_KEY"))


@frozen(kw_only=True)
class TraderSettings:
    """What the settings of a bot need, on paper and for real."""

    folder: Path = Path("bot_files")
    """Where the ledgers are, one for each mode and wallet. A file named STOP in it keeps the bot from buying."""
    confirm_live: str = ""
    """Live trading wants these words here, besides ``--live``: I may lose this money."""
    wallet: str = ""
    """The address of the wallet to trade for; empty: the deposit wallet of the private key."""
    relayer_address: str = ""
    """The address that POLYMARKET_RELAYER_KEY belongs to; wallets other than a plain key's own redeem with them."""
    node: str = field(default=NODE, validator=node_address)
    """The node of the chain that says what the wallet has, besides the venue; empty: the venue alone is believed."""
    live: LiveConfig = field(factory=LiveConfig)
    paper: PaperConfig = field(factory=PaperConfig)
    """How the venue is imitated where no money is real; its cash is what the account begins with."""
    mirror: MirrorConfig = field(factory=MirrorConfig)
    status: StatusSettings = field(factory=StatusSettings)
    """Where the status is served."""
    keys: TradingKeys = field(factory=TradingKeys)


def lacking(settings: TraderSettings, *, for_real: bool) -> tuple[str, ...]:
    """Say what is missing for the wallet, one line each: what can be known without asking anybody."""
    keys = settings.keys
    three = (keys.api_key, keys.api_secret, keys.api_passphrase)
    names = "POLYMARKET_API_KEY, POLYMARKET_API_SECRET and POLYMARKET_API_PASSPHRASE"
    unconfirmed = f'live trading is not confirmed: set confirm_live = "{CONFIRMATION}" in the settings file'
    looks = (
        (for_real and settings.confirm_live != CONFIRMATION, unconfirmed),
        (for_real and settings.mirror.endpoints.allow_plain, "mirror.endpoints.allow_plain is not for real orders"),
        (for_real and not keys.private_key, "POLYMARKET_PRIVATE_KEY is not set: orders are signed with it"),
        (any(three) and not all(three), f"{names} belong together: set all three, or none"),
        (
            bool(keys.relayer_key) != bool(settings.relayer_address),
            "POLYMARKET_RELAYER_KEY and the setting relayer_address belong together: set both, or none",
        ),
    )
    return tuple(problem for wrong, problem in looks if wrong)


def wallet_of(settings: TraderSettings) -> str:
    """Return what the ledger is named by: the wallet of the settings or, without one, the key that signs for it."""
    if settings.wallet:
        return settings.wallet
    from eth_account import Account  # noqa: PLC0415 - an optional dependency

    return str(Account.from_key(settings.keys.private_key.reveal()).address)


@asynccontextmanager
async def log_in(settings: TraderSettings, environment: Any = None) -> AsyncIterator[SdkClient]:
    """Log in at the venue. ``environment`` of its SDK is another one in a rehearsal."""
    keys = settings.keys
    wallet = Wallet(
        private_key=keys.private_key,
        address=settings.wallet or None,
        api_key=keys.api_key,
        api_secret=keys.api_secret,
        api_passphrase=keys.api_passphrase,
        relayer_key=keys.relayer_key,
        relayer_address=settings.relayer_address or None,
        max_gas=settings.live.max_gas,
    )
    async with await SdkClient.open(wallet, environment=environment) as client:
        yield client


@asynccontextmanager
async def for_real(settings: TraderSettings, environment: Any, bot: App[Any, Any]) -> AsyncIterator[Executor]:
    """Open the way of a bot's orders to the venue."""
    async with AsyncExitStack() as stack:
        client, network = await stack.enter_async_context(log_in(settings, environment)), bot.world.network
        await alone(bot.world, settings.folder, wallet_of(settings), client.address)
        node = Node(settings.node, client.address, network) if settings.node else None
        if node is not None:
            stack.push_async_callback(node.aclose)
        executor = LiveExecutor(client, network, settings.live, node=node)
        executor.know(bot.account.order_ids)
        url = settings.mirror.endpoints.stream.removesuffix("/market") + "/user"
        listening = asyncio.create_task(_listen(UserChannel(client.login, executor.hear, network, url=url)))
        try:
            yield executor
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def alone(world: World, folder: Path, name: str, address: str) -> None:
    """Note which wallet the ledger called ``name`` is of. Raises BotError where another one is of the same.

    A ledger is named by the wallet of the settings or, without one, by the key that signs for it.
    """

    def look() -> None:
        for path in sorted(folder.glob("live-*.sqlite")):
            named = LEDGER.fullmatch(path.name)
            if named is None or named["wallet"] == name.lower():
                continue
            with LedgerReader(path) as other:
                if other.query("SELECT 1 FROM meta WHERE name = 'address' AND value = ?", (address.lower(),)):
                    words = (
                        "name the wallet in the settings as it was then, or move that ledger away when it holds nothing"
                    )
                    raise BotError(f"{path} is of the same wallet, {address}: {words}")
        world.store.write([("INSERT OR REPLACE INTO meta VALUES ('address', ?)", (address.lower(),))])

    await world.offload(look)


async def _listen(channel: UserChannel) -> None:
    try:
        await channel.run()
    except Exception:
        log.exception("the user channel has ended; orders are looked up all the same")
