"""The bot on the real feed: on paper, or with real orders. Its ledger is on the disk, its checks come first."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from bots.common.execution.paper import CANNOT_KNOW
from bots.common.ledger.database import Database, DiskThread
from bots.common.operate import account, checks
from bots.common.operate.ending import run_until_told
from bots.common.operate.login import Login
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
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from bots.common.execution.base import Executor
    from bots.oracle_lag.config import BotSettings, Keys


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
    looks = (
        (source == "polybolt" and not any(three), f"oracle.source is polybolt: set {names}"),
        (
            source == "chainlink" and not (keys.chainlink_id and keys.chainlink_secret),
            "oracle.source is chainlink: set CHAINLINK_CLIENT_ID and CHAINLINK_USER_SECRET",
        ),
        (source == "simulated", "oracle.source is simulated: set rtds, polybolt or chainlink for the real feed"),
        (bool(settings.telegram_chat) and not keys.telegram_token, "telegram_chat is set: set TELEGRAM_TOKEN, too"),
    )
    return account.lacking(settings, for_real=for_real) + tuple(problem for wrong, problem in looks if wrong)


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
        wallet = account.wallet_of(settings) if for_real else ""
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
                login=Login(
                    open=partial(account.log_in, settings, environment),
                    variables=account.VARIABLES,
                    least=settings.risk.max_trade,
                    node=settings.node,
                )
                if for_real
                else None,
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
            open_executor=partial(account.for_real, settings, environment) if for_real else partial(paper, settings),
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


def _clob_keys(keys: Keys) -> ClobKeys | None:
    if not (keys.api_key and keys.api_secret and keys.api_passphrase):
        return None
    return ClobKeys(api_key=keys.api_key, secret=keys.api_secret, passphrase=keys.api_passphrase)


def _chainlink_keys(keys: Keys) -> ChainlinkKeys | None:
    if not (keys.chainlink_id and keys.chainlink_secret):
        return None
    return ChainlinkKeys(client_id=keys.chainlink_id, user_secret=keys.chainlink_secret)
