"""``polymirror serve``: the simulated exchange with all its services, until it is stopped."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from rich.table import Table
from rich.text import Text

from polymirror.commands.ending import run_loop
from polymirror.commands.output import complain
from polymirror.commands.screen import make_console, print_json
from polymirror.commands.tables import counts_line
from polymirror.commands.traders import from_file, made_up
from polymirror.config import one_of
from polymirror.errors import ConfigError, PolymirrorError
from polymirror.serving.addresses import LOOPBACK
from polymirror.simulator.faults.catalogue import FAULTS, LISTED_BY
from polymirror.simulator.feeds import FEED_FAULTS
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.outfit import (
    ORDER_FAULTS,
    USER_FAULTS,
    USUAL_ASSETS,
    Outfit,
    OutfitConfig,
    addresses,
    market_row,
)
from polymirror.simulator.server import Simulator
from polymirror.simulator.settings import ExchangeConfig, FlowConfig, PairsConfig, RoundsConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from polymirror.simulator.outfit import Trader

ROUNDS: Final = {"5m": 300, "15m": 900, "1h": 3_600}
ROUND_ASSETS: Final = ("btc", "eth", "sol", "xrp")
USUAL_RATE, ROUNDS_RATE = 20.0, 1.0


PAIRED = 20
"""Markets with pairs, if their number is not told."""


@frozen(kw_only=True)
class ServeOptions:
    """What the command was told."""

    host: str = LOOPBACK
    port: int = 0
    names: tuple[str, ...] = ()
    seed: int | None = None
    markets: int | None = None
    rate: float | None = None
    rounds: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    pairs: float | None = None
    accounts: str | None = None
    account_count: int = 1
    cash: str = "1000"
    delay_ms: int = 250
    settle_ms: int = 2_000
    lag_ms: int = 0
    key_life_s: float = 0.0
    redeem_after_s: float = 0.0
    blocked: bool = False
    faults: tuple[str, ...] = ()
    seconds: float | None = None
    json: bool = False
    details: bool = False


def run_serve(options: ServeOptions) -> int:
    """Serve until the time is over or Ctrl-C; return the exit code. Raises PolymirrorError when it cannot start."""
    seed = secrets.randbits(16) if options.seed is None else options.seed
    venue_faults, feed_faults, order_faults = sort_faults(options.faults)
    traders = _traders(options, seed)
    assets = _assets(options)
    outfit = Outfit(
        OutfitConfig(
            instance=secrets.token_hex(8),
            seed=seed,
            assets=tuple(dict.fromkeys((*USUAL_ASSETS, *assets))),
            traders=traders,
            newcomer_cash=_money(options.cash),
            taker_delay_ms=options.delay_ms,
            settlement=SettlementConfig(mine_ms=options.settle_ms * 2 // 5, confirm_ms=options.settle_ms * 3 // 5),
            mine_ms=options.settle_ms * 2 // 5,
            key_life_ms=round(options.key_life_s * 1_000),
            lag_ms=options.lag_ms,
            redeem_after_ms=round(options.redeem_after_s * 1_000),
            blocked=options.blocked,
            feed_faults=feed_faults,
            order_faults=order_faults,
        )
    )
    venue = Simulator(
        config=_exchange(options, seed, assets),
        faults=venue_faults,
        host=options.host,
        port=options.port,
        names=options.names,
        feeds=outfit.feeds,
        services=outfit.services,
    )
    if not _is_this_machine(options.host):
        complain(f"warning: listening on {options.host}: everybody who reaches it can see and use all accounts")
    console = make_console()
    with suppress(KeyboardInterrupt):
        run_loop(_serve(venue, outfit, seed, options, console))
    injected = {name: count for name, count in {**venue.line.injected, **outfit.injected()}.items() if count}
    if injected and not options.json:
        console.print(f"faults put in: {counts_line(injected)}")
    return 0


def sort_faults(ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Sort ids into faults of books and calls, of prices, and of orders. Raises ConfigError for one that is none."""
    every = (*FAULTS, *FEED_FAULTS, *ORDER_FAULTS, *USER_FAULTS)
    for each in ids:
        if each not in every:
            raise ConfigError("--fault", each, one_of(each, every, LISTED_BY))
        if each in FAULTS and not FAULTS[each].over_sockets:
            raise ConfigError("--fault", each, "one that real sockets have: this one is of virtual time ('torture')")
    return (
        tuple(each for each in ids if each in FAULTS),
        tuple(each for each in ids if each in FEED_FAULTS),
        tuple(each for each in ids if each in {*ORDER_FAULTS, *USER_FAULTS}),
    )


def _traders(options: ServeOptions, seed: int) -> tuple[Trader, ...]:
    cash = _money(options.cash)
    if options.accounts is None:
        return made_up(options.account_count, seed, cash)
    return from_file(Path(options.accounts), cash)


def _money(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ConfigError("--cash", text, "a number of pUSD") from None


def _assets(options: ServeOptions) -> tuple[str, ...]:
    if options.assets and not options.rounds:
        raise ConfigError("--asset", options.assets[0], "given together with --rounds")
    return tuple(dict.fromkeys(options.assets)) or ROUND_ASSETS


def _exchange(options: ServeOptions, seed: int, assets: tuple[str, ...]) -> ExchangeConfig:
    if options.pairs is not None:
        for name, given in (("--rounds", options.rounds), ("--rate", options.rate)):
            if given:
                raise ConfigError(name, given, "left out with --pairs: these markets have a pace of their own")
        pairs = PairsConfig(every_s=options.pairs)
        return ExchangeConfig(seed=seed, markets=options.markets or PAIRED, pairs=pairs, new_market_every_ms=None)
    if not options.rounds:
        rate = USUAL_RATE if options.rate is None else options.rate
        return ExchangeConfig(seed=seed, markets=options.markets or 1, flow=FlowConfig(rate=rate))
    if options.markets is not None:
        raise ConfigError("--markets", options.markets, "left out with --rounds: these have a market for each --asset")
    for each in options.rounds:
        if each not in ROUNDS:
            raise ConfigError("--rounds", each, f"one of {', '.join(ROUNDS)}")
    first, *more = dict.fromkeys(ROUNDS[each] for each in options.rounds)
    flow = FlowConfig(rate=ROUNDS_RATE if options.rate is None else options.rate, volatility=0.001)
    rounds = RoundsConfig(assets=assets, window_s=first, more_windows_s=tuple(more), flow=flow)
    return ExchangeConfig(seed=seed, rounds=rounds)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _serve(venue: Simulator, outfit: Outfit, seed: int, options: ServeOptions, console: Console) -> None:
    try:
        await venue.__aenter__()
    except OSError as error:
        raise PolymirrorError(
            f"cannot listen on {options.host}: {error.strerror or error}; choose another --port, or 0"
        ) from error
    try:
        if options.json:
            print_json(content(venue, outfit, seed, shown=options.accounts is None))
        else:
            announce(venue, outfit, seed, options, console)
        if options.seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(options.seconds)
    finally:
        await venue.__aexit__(None, None, None)


def content(venue: Simulator, outfit: Outfit, seed: int, *, shown: bool) -> dict[str, Any]:
    """What ``--json`` prints: where everything is, the markets and the accounts; ``shown``: with their credentials."""
    return {
        "seed": seed,
        **addresses(venue.base_url, outfit.feeds(venue.exchange)),
        "markets": [market_row(market) for market in venue.exchange.markets],
        "accounts": [
            {"address": each.address, "pusd": str(each.cash)}
            | (
                {}
                if each.account is None or not shown
                else {
                    "api_key": each.account.api_key,
                    "secret": each.account.secret,
                    "passphrase": each.account.passphrase,
                }
            )
            for each in outfit.config.traders
        ],
    }


def announce(venue: Simulator, outfit: Outfit, seed: int, options: ServeOptions, console: Console) -> None:
    """Print where the exchange is, what it has, and what to try."""
    open_to = "this machine only" if _is_this_machine(options.host) else f"whoever reaches {options.host}"
    console.print(Text(f"polymirror serve: a simulated exchange, open to {open_to}", style="bold"))
    console.print()
    where = addresses(venue.base_url, outfit.feeds(venue.exchange))
    rows = [(name, url) for name, url in where.items() if name not in {"data", "relayer"}]
    console.print(_grid([*rows, ("seed", str(seed))]))
    console.print()
    for number, trader in enumerate(outfit.config.traders, 1):
        console.print(_grid(_account_rows(number, trader, shown=options.accounts is None)))
    console.print(f"Any wallet may log in, too, and has {outfit.config.newcomer_cash:,f} pUSD.")
    console.print()
    slugs = venue.slugs
    console.print(f"{len(slugs)} markets:" if len(slugs) > 1 else "1 market:")
    if options.details:
        for market in venue.exchange.markets:
            console.print(f"  {market.slug}", soft_wrap=True)
            console.print(f"    condition  {market.condition_id}", soft_wrap=True)
            for token in market.tokens:
                console.print(f"    token      {token}", soft_wrap=True)
    else:
        for line in in_columns(slugs, console.width):
            console.print(line, soft_wrap=True)
    console.print()
    console.print("Watch one from another terminal (Ctrl-C here ends it):")
    console.print(f"  polymirror watch {slugs[0]} --venue {where['clob']}", soft_wrap=True)


def in_columns(words: Sequence[str], width: int) -> list[str]:
    """Lines with as many words as fit, one below the other."""
    longest = max(map(len, words)) + 2
    each = max(1, (width - 2) // longest)
    rows = (words[start : start + each] for start in range(0, len(words), each))
    return ["  " + "".join(word.ljust(longest) for word in row).rstrip() for row in rows]


def _account_rows(number: int, trader: Trader, *, shown: bool) -> list[tuple[str, str]]:
    account = trader.account
    rows = [(f"account {number}", trader.address), ("  pUSD", f"{trader.cash:,f}")]
    if shown and account is not None:
        # These are made up and worth nothing; what a file holds is not told again.
        rows += [("  API key", account.api_key), ("  secret", account.secret), ("  passphrase", account.passphrase)]
    return rows


def _grid(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for name, value in rows:
        table.add_row(name, value)
    return table
