"""The second bot's hot path, by hand: ``python -m benchmarks.pairs [MARKETS]``; three runs, the best of each figure.

*Tick*: the two best asks of a market against its limit, as after every change of a book that leaves nothing. *Look*:
the same with both tops read from the mirror, proof and age included. *Decision*: from two proven books to the largest
pair and its intent. *Group*: the same with both legs as exact orders, what they cost at most and what they could leave
alone, as under the lease.
All on a mirror of as many markets as are asked for, default 500, in virtual time; and what a second of that costs in
CPU, venue included, and in memory.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from decimal import Decimal
from statistics import median
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from bots.common.ledger.account import Account, Position
from bots.common.ledger.lone import LoneBudget
from bots.common.money.pairs import can_trade, prices_with_fee, size_pair
from bots.common.money.sizing import SizeLimits
from bots.common.orders.intents import Group, Intent, Terms
from bots.pair_cost.engine import PairEngine, Shared
from bots.pair_cost.strategy import PairSettings
from bots.supervisor.turns import Turns, TurnSettings
from polymirror.config import MirrorConfig
from polymirror.core.fees import FeeSchedule
from polymirror.mirror import Mirror
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.settings import DEFAULT_START_MS, ExchangeConfig, PairsConfig
from polymirror.simulator.virtual import VirtualVenue, run_virtual

USUAL = 500
RUNS = 3
ROUNDS = 200
SECONDS = 5
HELD = 30
"""Positions without a counterpart, in other markets."""
FEE = FeeSchedule(Decimal("0.07"), 1)
LIMITS = SizeLimits(max_money=Decimal(25), max_price=Decimal("0.99"))
CHEAPER = 1_200
DEAREST_KEY = 10_000 - CHEAPER - 100
"""Keys of asks are one less their price, in 1/10,000."""


def main(markets: int) -> dict[str, float]:
    """Measure once."""

    async def play() -> dict[str, float]:
        config = ExchangeConfig(seed=3, markets=markets, pairs=PairsConfig(every_s=0), new_market_every_ms=None)
        venue = VirtualVenue(Exchange(config), seed=3)
        async with venue:
            mirror = Mirror(
                slugs=venue.exchange.slugs, config=MirrorConfig(seed=1), endpoints=venue.endpoints,
                network=venue.network,
            )  # fmt: skip
            async with mirror:
                await mirror.wait_live(timeout=120)
                began = time.process_time()
                await asyncio.sleep(SECONDS)
                spent = (time.process_time() - began) / SECONDS
                return {"CPU of a second (s)": spent, **measure(mirror)}

    return run_virtual(play, start_ms=DEFAULT_START_MS, limit=10_000.0)


def measure(mirror: Mirror) -> dict[str, float]:
    """Time the three on all markets of a mirror."""
    costs, settings = prices_with_fee(FEE), PairSettings()
    tops = []
    for market in mirror.markets:
        asks = [mirror.top(token).best_ask for token in market.token_ids]
        tops.append(tuple(0 if ask is None else ask.price_e4 for ask in asks))
    limit = settings.limit_e8
    began = time.perf_counter()
    for _ in range(ROUNDS):
        for first, second in tops:
            can_trade(costs, limit, first, second)
    tick = (time.perf_counter() - began) / (ROUNDS * len(tops))

    account = _account()
    budget = LoneBudget(account, settings.max_one_legged)
    engines = [PairEngine(market, _terms(market), _shared(mirror, account)) for market in mirror.markets]
    looks = [_timed(engine.look) for _ in range(5) for engine in engines]

    decisions, groups = [], []
    for engine in engines:
        first, second = (mirror.live(token) for token in engine.market.token_ids)
        # The second book is made cheaper, so that there is a pair and the decision goes all the way.
        keys = tuple(key for key in second.levels.ask_keys if key < DEAREST_KEY)
        sizes = second.levels.ask_sizes[: len(keys)]
        cheap = replace(
            second, levels=second.levels._replace(ask_keys=tuple(k + CHEAPER for k in keys), ask_sizes=sizes)
        )

        def decide(engine: Any = engine, books: Any = (first.levels, cheap.levels)) -> object:
            found = size_pair(settings.limits(Decimal(5), Decimal(25)), costs, books, 100)
            tokens = engine.market.token_ids
            return found, Intent(terms=_TERMS[engine.market.slug], tokens=tokens, size=engine.size_pair)

        sizing = budget.guard(engine.market.condition_id, engine.size_pair)

        def group(sizing: Any = sizing, views: Any = (first, cheap)) -> object:
            return sizing(views, LIMITS)

        if keys and isinstance(group(), Group):
            decisions += [_timed(decide) for _ in range(5)]
            groups += [_timed(group) for _ in range(5)]
    return {
        "tick (ns)": tick * 1e9,
        "look (us, median)": median(looks) * 1e6,
        "decision (us, median)": median(decisions) * 1e6,
        "group (us, median)": median(groups) * 1e6,
        "markets with a pair": len(groups) / 5,
        "memory (MiB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


_TERMS: dict[str, Terms] = {}


def _terms(market: Any) -> Terms:
    terms = _TERMS[market.slug] = Terms(
        market=market.condition_id, slug=market.slug, asset=market.slug, fee=FEE, min_shares=Decimal(5),
        neg_risk=False, taker_delay=True,
    )  # fmt: skip
    return terms


def _account() -> Account:
    account = Account()
    for number in range(HELD):
        token = str(number)
        account.positions[token] = Position(market=token, token=token, shares=Decimal(5), cost=Decimal("0.1"))
    return account


def _shared(mirror: Mirror, account: Account) -> Shared:
    manager: Any = SimpleNamespace(account=account, under_way=0, is_taken=lambda _: False, enter=lambda *_: False)
    return Shared(
        settings=PairSettings(), mirror=mirror, manager=manager, turns=Turns(TurnSettings()), counts=Counter(),
        clock=time.monotonic, tell=lambda _: None, is_over=lambda: False,
    )  # fmt: skip


def _timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else USUAL
    FOUND = [main(COUNT) for _ in range(RUNS)]
    for NAME in FOUND[0]:
        sys.stdout.write(f"{NAME:<24} {min(each[NAME] for each in FOUND):10.2f}   of {COUNT} markets\n")
