"""The bot on the real feed: on paper, or with real orders. Its ledger is on the disk, its checks come first."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from bots.common.errors import BotError
from bots.common.execution.live import LiveExecutor
from bots.common.execution.paper import CANNOT_KNOW
from bots.common.execution.sdk import SdkClient, Wallet
from bots.common.execution.userchannel import UserChannel
from bots.common.ledger.database import Database, DiskThread
from bots.common.ledger.reader import LedgerReader
from bots.common.operate import checks
from bots.common.operate.commands import LEDGER
from bots.common.operate.ending import run_until_told
from bots.common.operate.notifications import Telegram, TelegramApi
from bots.common.operate.onpaper import on_paper
from bots.common.operate.settings import SettingsError
from bots.common.risk.switch import STOP_FILE, KillFile, stop_on_signal
from bots.oracle_lag.strategy import plan_of
from bots.updown.bot import Bot, World
from bots.updown.oracles.factory import make_oracle
from bots.updown.oracles.keys import ChainlinkKeys, ClobKeys
from bots.updown.ready import Outside, preflight
from bots.updown.stats import table
from polymirror.venue.network import REAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bots.common.execution.base import Executor
    from bots.oracle_lag.config import BotSettings, Keys

log = logging.getLogger(__name__)

CONFIRMATION: Final = "I may lose this money"


def run_live(
    settings: BotSettings,
    *,
    for_real: bool,
    tell: Callable[[str], None],
    begin_log: Callable[[], None] = lambda: None,
    geoblock: str = checks.GEOBLOCK,
    environment: Any = None,
) -> int:
    """Run until stopped; return the exit code. Raises SettingsError when something is missing to begin with.

    ``begin_log`` is called when the checks are over: they have a line for each failure. ``geoblock`` and
    ``environment`` (of the venue's SDK) are others in a rehearsal.
    """
    if problems := lacking(settings, for_real=for_real):
        raise SettingsError(problems)
    work = run(settings, for_real=for_real, tell=tell, begin_log=begin_log, geoblock=geoblock, environment=environment)
    return asyncio.run(work)


def lacking(settings: BotSettings, *, for_real: bool) -> tuple[str, ...]:
    """Say what is missing, one line each: what can be known without asking anybody."""
    keys, source = settings.keys, settings.oracle.source
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
        (source == "polybolt" and not any(three), f"oracle.source is polybolt: set {names}"),
        (
            source == "chainlink" and not (keys.chainlink_id and keys.chainlink_secret),
            "oracle.source is chainlink: set CHAINLINK_CLIENT_ID and CHAINLINK_USER_SECRET",
        ),
        (source == "simulated", "oracle.source is simulated: set rtds, polybolt or chainlink for the real feed"),
        (bool(settings.telegram_chat) and not keys.telegram_token, "telegram_chat is set: set TELEGRAM_TOKEN, too"),
    )
    return tuple(problem for wrong, problem in looks if wrong)


async def run(
    settings: BotSettings,
    *,
    for_real: bool,
    tell: Callable[[str], None],
    begin_log: Callable[[], None] = lambda: None,
    geoblock: str = checks.GEOBLOCK,
    environment: Any = None,
) -> int:
    """Check everything, then trade until told to end; return the exit code: 0 when it ended gently."""
    keys, network, endpoints = settings.keys, REAL, settings.mirror.endpoints
    async with AsyncExitStack() as stack:
        wallet = (settings.wallet or _signer(keys)) if for_real else ""
        database = Database.of(settings.folder, "live" if for_real else "paper", wallet)
        stack.callback(database.close)
        thread = DiskThread()
        stack.callback(thread.close)
        chat = Telegram(keys.telegram_token, settings.telegram_chat, network) if settings.telegram_chat else None
        oracle = make_oracle(
            evolve(settings.oracle, assets=settings.assets),
            network,
            clob_keys=_clob_keys(keys),
            chainlink_keys=_chainlink_keys(keys),
        )
        report = await preflight(
            Outside(
                network=network,
                endpoints=endpoints,
                oracle=oracle,
                assets=settings.assets,
                interval=settings.rounds.intervals[0],
                store=database,
                offload=thread,
                geoblock=geoblock,
                telegram=TelegramApi(keys.telegram_token, network) if chat is not None else None,
                chat=settings.telegram_chat,
                account=partial(_account, settings, environment) if for_real else None,
                variables="POLYMARKET_PRIVATE_KEY and POLYMARKET_API_*",
                least=settings.risk.max_trade,
            )
        )
        tell("\n".join(map(str, report.findings)))
        if not report.ok:
            return report.exit_code
        begin_log()
        world = World(
            network=network,
            endpoints=endpoints,
            oracle=oracle,
            store=database,
            offload=thread,
            open_executor=partial(live, settings, environment) if for_real else partial(paper, settings),
            switch=KillFile(settings.folder / STOP_FILE),
            stop_file=str((settings.folder / STOP_FILE).absolute()),
            chat=chat,
        )
        bot = Bot(plan_of(settings), world)
        stack.enter_context(stop_on_signal(asyncio.get_running_loop(), bot.stop))
        try:
            _, code = await run_until_told(bot.run(), bot.drain)
        finally:
            # It runs until somebody stops it, and the summary is wanted then, too.
            tell("\n" + table(bot.summary(), "oracle_lag") + ("" if for_real else f"\n{CANNOT_KNOW}"))
    return code


def paper(settings: BotSettings, bot: Bot) -> AbstractAsyncContextManager[Executor]:
    """Open an account on paper."""
    return on_paper(settings.paper, bot)


@asynccontextmanager
async def live(settings: BotSettings, environment: Any, bot: Bot) -> AsyncIterator[Executor]:
    """Open the way to the venue."""
    async with _account(settings, environment) as client:
        await alone(bot.world, settings.folder, settings.wallet or _signer(settings.keys), client.address)
        executor = LiveExecutor(client, bot.world.network, settings.live)
        executor.know(bot.account.order_ids)
        url = settings.mirror.endpoints.stream.removesuffix("/market") + "/user"
        listening = asyncio.create_task(_listen(UserChannel(client.login, executor.hear, bot.world.network, url=url)))
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


@asynccontextmanager
async def _account(settings: BotSettings, environment: Any) -> AsyncIterator[SdkClient]:
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


def _signer(keys: Keys) -> str:
    """Return the address of the private key: wallets that are not named go by the key that signs for them."""
    from eth_account import Account  # noqa: PLC0415 - an optional dependency

    return str(Account.from_key(keys.private_key.reveal()).address)


def _clob_keys(keys: Keys) -> ClobKeys | None:
    if not (keys.api_key and keys.api_secret and keys.api_passphrase):
        return None
    return ClobKeys(api_key=keys.api_key, secret=keys.api_secret, passphrase=keys.api_passphrase)


def _chainlink_keys(keys: Keys) -> ChainlinkKeys | None:
    if not (keys.chainlink_id and keys.chainlink_secret):
        return None
    return ChainlinkKeys(client_id=keys.chainlink_id, user_secret=keys.chainlink_secret)
