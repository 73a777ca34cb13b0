"""Playing a recording: the bot's own parts, wired as the bot wires them, at recorded times in virtual time.

Two clocks: a tick of the oracle reaches the strategy when it was *received*; its own time only says which second it is
about. Orders wait our latency and the venue's taker delay of that day and then take what the mirror proves to be there,
by the paper account; trades go the way of the chain before they are redeemed. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.common.execution.paper import PaperConfig, PaperExecutor
from bots.common.ledger.account import Account
from bots.common.ledger.database import Database, inline
from bots.common.ledger.ledger import Ledger
from bots.common.money.sizing import SizeLimits
from bots.common.orders.intents import Terms
from bots.common.orders.manager import OrderManager
from bots.common.orders.order import TimeInForce
from bots.common.orders.reconcile import Reconciler
from bots.common.risk.follow import RiskFollower
from bots.common.risk.limits import Risk, RiskLimits
from bots.oracle_lag.signal import SignalSettings
from bots.oracle_lag.strategy import OracleLag
from bots.research.ticks.venue import RecordedVenue
from bots.updown.oracles.ticks import Tick, TickKind
from bots.updown.rounds import Phase, Round
from bots.updown.strike import Strike, StrikeSource
from bots.updown.volatility import Volatility
from polymirror.config import MirrorConfig
from polymirror.mirror import Mirror
from polymirror.simulator.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.common.execution.base import Trade
    from bots.research.ticks.recording import Recording

BEFORE_MS: Final = 1_000
"""The mirror connects this long before the first recorded frame."""

WARM_MS: Final = 10_000
"""But not longer before the first frame or tick of the window: some seconds, in which it learns the venue's clock."""

AFTER_S: Final = 600.0
"""The most time after the last frame and tick for trades to become final and to be redeemed."""


@frozen(kw_only=True)
class TickSettings:
    """What the bot is set to."""

    signal: SignalSettings = field(factory=SignalSettings)
    size: SizeLimits = field(factory=SizeLimits)
    risk: RiskLimits = field(factory=RiskLimits)
    mirror: MirrorConfig = field(factory=MirrorConfig)
    paper: PaperConfig = field(factory=PaperConfig)
    """Its taker delay is replaced by that of the recording's day."""
    tif: TimeInForce = TimeInForce.FOK
    max_proof_age: float = 2.0
    own_time: bool = False
    """For tests: ticks count from the oracle's own time, as if they took no time to arrive."""


@frozen(kw_only=True)
class Replayed:
    """What a replay came to. Money in pUSD."""

    fills: Sequence[Trade]
    profit: Decimal
    """Of what was settled, after fees."""
    counts: Counter[str]
    """Signals, reasons for none, refusals, and outcomes of orders."""
    open_positions: int
    virtual_s: float
    """How much recorded time was played, with the seconds before the first frame."""


def replay(recording: Recording, settings: TickSettings | None = None, kind: TickKind = TickKind.SPOT) -> Replayed:
    """Play a recording from the first to the last of its frames and of the ticks of its window; settle what was bought.

    Ticks from before are heard at once: how far the asset wanders is measured on them.
    """
    chosen = settings or TickSettings()
    opens, ends = recording.window.start * 1000, recording.window.end * 1000
    frames = [at for at, _ in recording.frames] or [opens]
    oracle = recording.oracle.at_ms if chosen.own_time else recording.oracle.received_ms
    ticks = [at for at in oracle if opens <= at < ends]
    # What was recorded late in a window is played from there on, not from the opening.
    start = max(min(frames[0], opens) - BEFORE_MS, min([frames[0], *ticks]) - WARM_MS)
    length = (max([frames[-1], *ticks]) - start) / 1000
    return run_virtual(lambda: _play(recording, chosen, kind, length), start_ms=start, limit=length + 2 * AFTER_S)


async def _play(recording: Recording, settings: TickSettings, kind: TickKind, length: float) -> Replayed:
    venue = RecordedVenue(recording.frames)
    network = venue.network
    counts: Counter[str] = Counter()
    account = Account()
    risk = Risk(settings.risk, seconds=network.monotonic)
    ledger = Ledger(Database(), network, offload=inline, account=account, followers=(RiskFollower(risk, account),))
    await ledger.open()
    config = evolve(settings.mirror, endpoints=venue.endpoints, seed=0)
    async with Mirror([recording.market], config=config, network=network) as mirror:
        paper = evolve(settings.paper, taker_delay_ms=recording.rules.taker_delay_ms)
        executor = PaperExecutor(mirror, network, paper, lambda _market: recording.payouts or None)
        manager = OrderManager(
            executor=executor,
            ledger=ledger,
            risk=risk,
            limits=settings.size,
            network=network,
            max_proof_age=settings.max_proof_age,
            reconciler=Reconciler(ledger, executor, network, stop=risk.stop, seen=risk.seen),
            tif=settings.tif,
            counts=counts,
        )
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(manager.run(), name="manager"), group.create_task(ledger.run(), name="ledger")]
            await _trade(recording, settings, kind, mirror, manager, counts)
            loop = asyncio.get_running_loop()
            ends = loop.time() + AFTER_S
            if recording.payouts:
                manager.decide(recording.market.condition_id, recording.payouts)
            while loop.time() < ends and _is_busy(recording, manager, account):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(1.0)
            fills = await executor.trades(0)
            for task in work:
                task.cancel()
    return Replayed(
        fills=fills,
        profit=account.totals.profit,
        counts=counts,
        open_positions=len(account.positions),
        virtual_s=length,
    )


def _is_busy(recording: Recording, manager: OrderManager, account: Account) -> bool:
    """Whether orders are under way, or bought shares wait for their redemption."""
    return bool(manager.under_way or account.open or (recording.payouts and (account.positions or account.claims)))


async def _trade(
    recording: Recording,
    settings: TickSettings,
    kind: TickKind,
    mirror: Mirror,
    manager: OrderManager,
    counts: Counter[str],
) -> None:
    """Tell each tick when it is due, put it to the strategy, and let the rest of the frames pass."""
    loop: Any = asyncio.get_running_loop()
    window, market, ticks = recording.window, recording.market, recording.oracle
    signal = evolve(settings.signal, price="spot" if kind is TickKind.SPOT else "twap60")
    strategy = OracleLag(signal)
    terms = Terms(
        market=market.condition_id,
        slug=market.slug,
        asset=window.asset,
        fee=recording.rules.fee,
        min_shares=Decimal(market.min_order_size),
        neg_risk=market.neg_risk,
        taker_delay=recording.rules.taker_delay_ms > 0,
    )
    each = Round(window, phase=Phase.OPEN, market=market)
    strike = None if recording.strike is None else Strike(recording.strike, StrikeSource.OFFICIAL)
    volatility = Volatility(window.asset, kind)
    heard = ticks.at_ms if settings.own_time else ticks.received_ms
    for index in sorted(range(len(heard)), key=heard.__getitem__):
        if heard[index] >= window.end * 1000:
            break
        await _until(loop, heard[index])
        now_ms = loop.wall_ms()
        price = Decimal(ticks.price_e8[index]).scaleb(-8)
        tick = Tick(window.asset, kind, price, ticks.at_ms[index], loop.time())
        volatility.hear(tick)
        if heard[index] < window.start * 1000:
            continue
        known = strike if now_ms >= recording.strike_known_ms else None
        found = strategy.wish(each, terms, tick, known, volatility.measured, now_ms)
        if isinstance(found, str):
            counts[found] += 1
            continue
        counts["signals"] += 1
        manager.consider(mirror, found)
    if recording.frames:
        await _until(loop, recording.frames[-1][0])


async def _until(loop: Any, wall_ms: int) -> None:
    left = loop.when(wall_ms) - loop.time()
    if left > 0:
        await asyncio.sleep(left)
