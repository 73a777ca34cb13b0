"""Rolling up/down rounds: markets that are listed, open, end and settle, one after the other.

Knows which windows exist, what they are called and what decides them: the average of the oracle's prices
before the end against that before the start, a tie is Up (the venue's rule since August 2026; hourly
windows compare the price itself). The exchange owns one :class:`Rounds` if its configuration asks for it;
how a market ends is in :mod:`polymirror.simulator.exchange.endings`, what the makers do in
:mod:`polymirror.simulator.exchange.fair`.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from polymirror.simulator.exchange.endings import end_market
from polymirror.simulator.exchange.fair import FairFlow
from polymirror.simulator.exchange.listings import listing, token_id
from polymirror.simulator.exchange.market import Market
from polymirror.simulator.exchange.round import HOUR_SECONDS, LABELS, Round

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.floor import Floor
    from polymirror.simulator.exchange.oracle import PriceProcess
    from polymirror.simulator.settings import RoundsConfig

LONG_NAMES = {"btc": "bitcoin", "eth": "ethereum", "sol": "solana", "xrp": "xrp", "doge": "dogecoin"}
"""The names of assets in hourly slugs; others are called by their short name."""

MAX_ROUNDS_KNOWN = 100_000
"""So many rounds are remembered; the oldest are forgotten first. Two years of 15 minutes for one asset."""

SPREAD_OF_DELAYS = 0.15


class Rounds:
    """All rounds of an exchange: lists them in time, lets them end, and forgets their markets later."""

    def __init__(
        self,
        floor: Floor,
        config: RoundsConfig,
        oracle: PriceProcess,
        *,
        opens: Callable[[Sequence[Market], int], None],
        forgets: Callable[[Market], None],
    ) -> None:
        self.config = config
        # By condition id, oldest first; kept after the market is gone, because bots come late to redeem.
        self.known: dict[str, Round] = {}
        self._floor = floor
        self._oracle = oracle
        # How markets come into being, and how they are as unknown again as if they had never been.
        self._opens, self._forgets = opens, forgets
        self._listed = 0

    def begin(self) -> None:
        """List the running windows and those ahead, without announcing what exists already."""
        for window_s in self.config.windows_s:
            window_ms, now_ms = window_s * 1_000, self._floor.now_ms
            current_ms = now_ms // window_ms * window_ms
            for ahead in range(self.config.ahead + 1):
                self._list(window_s, current_ms + ahead * window_ms, now_ms)
            self._floor.agenda.add(current_ms + window_ms, partial(self._roll, window_s))

    def resolve(self, market: Market, at_ms: int) -> None:
        """The venue resolves a round's market: its outcome counts from now on, and is published soon."""
        this = market.round
        if this is None:
            return
        this.decide(self._oracle, at_ms)
        this.resolved = True
        if market.payouts is None:
            market.winner = this.tokens.index(this.winner or "")
            market.payouts = (1 - market.winner, market.winner)
        else:
            # Not what the prices say: somebody decided otherwise.
            this.winner = None if market.winner is None else this.tokens[market.winner]
        this.payouts = market.payouts
        agenda = self._floor.agenda
        agenda.add(at_ms + self._about(this, "publish", self.config.publish_delay_s), partial(_publish, this))
        agenda.add(at_ms + round(self.config.keep_s * 1_000), partial(self._forget, market))

    def _roll(self, window_s: int, at_ms: int, out: Output) -> None:
        """A boundary: the next windows come into being, and are announced."""
        window_ms = window_s * 1_000
        boundary_ms = at_ms // window_ms * window_ms
        for market in self._list(window_s, boundary_ms + self.config.ahead * window_ms, at_ms):
            out.append(listing(market, at_ms + self._floor.clock_offset_ms))
        self._floor.agenda.add(boundary_ms + window_ms, partial(self._roll, window_s))

    def _list(self, window_s: int, start_ms: int, now_ms: int) -> list[Market]:
        """Make the markets of one window, one for each asset, and let them trade."""
        markets = [self._market(asset, window_s, start_ms, now_ms) for asset in self.config.assets]
        self._opens(markets, now_ms)
        for market in markets:
            self._appoint(market)
        return markets

    def _market(self, asset: str, window_s: int, start_ms: int, now_ms: int) -> Market:
        config, settings = self.config, self._floor.config
        slug = _slug(asset, window_s, start_ms // 1_000)
        # By name, so that a market is the same whatever else is listed.
        rng = random.Random(f"{settings.seed}/{start_ms}/{slug}")
        this = Round(
            asset=asset,
            slug=slug,
            condition_id=f"0x{rng.getrandbits(256):064x}",
            tokens=(token_id(rng), token_id(rng)),
            window_s=window_s,
            start_ms=start_ms,
            end_ms=start_ms + window_s * 1_000,
            twap_s=config.twap_s if window_s < HOUR_SECONDS else 0,
        )
        flow = FairFlow(
            config=config.flow,
            rng=rng,
            start_ms=now_ms,
            round=this,
            oracle=self._oracle,
            lag_ms=round(config.lag_s * 1_000),
            quiet_share=config.quiet_share,
        )
        self._listed += 1
        self.known[this.condition_id] = this
        if len(self.known) > MAX_ROUNDS_KNOWN:
            del self.known[next(iter(self.known))]
        return Market(
            index=self._listed - 1,
            condition_id=this.condition_id,
            tokens=this.tokens,
            slug=slug,
            asset=asset,
            window_start_ms=this.start_ms,
            window_end_ms=this.end_ms,
            flow=flow,
            history_ms=settings.history_ms,
            round=this,
        )

    def _appoint(self, market: Market) -> None:
        """Put down what will happen to a market, and when."""
        this = market.round
        if this is None:
            return
        floor, agenda, config, oracle = self._floor, self._floor.agenda, self.config, self._oracle
        if this.start_ms <= floor.now_ms:
            this.open(oracle)
        else:
            agenda.add(this.start_ms, lambda _at_ms, _out: this.open(oracle))
        strike_ms = this.start_ms + self._about(this, "strike", config.strike_delay_s)
        agenda.add(strike_ms, partial(_publish_strike, this))
        agenda.add(this.end_ms, lambda _at_ms, _out: this.decide(oracle))
        settle_ms = this.end_ms + self._about(this, "settle", config.settle_delay_s)
        agenda.add(settle_ms, partial(end_market, floor, market, floor.usual_ending()))

    def _about(self, this: Round, what: str, seconds: float) -> int:
        """A delay that a market draws for itself, in milliseconds."""
        rng = random.Random(f"{self._floor.config.seed}/{this.condition_id}/{what}")
        return round(seconds * 1_000 * rng.uniform(1 - SPREAD_OF_DELAYS, 1 + SPREAD_OF_DELAYS))

    def _forget(self, market: Market, at_ms: int, out: Output) -> None:
        del at_ms, out
        self._forgets(market)


def _publish(this: Round, at_ms: int, out: Output) -> None:
    del at_ms, out
    this.strike_published = this.outcome_published = True


def _publish_strike(this: Round, at_ms: int, out: Output) -> None:
    del at_ms, out
    this.strike_published = True


def _slug(asset: str, window_s: int, start: int) -> str:
    """The venue's name of a window; hourly ones are called by the hour in New York."""
    if window_s < HOUR_SECONDS:
        return f"{asset}-updown-{LABELS[window_s]}-{start}"
    local = datetime.fromtimestamp(start, UTC).astimezone(ZoneInfo("America/New_York"))
    date = f"{local:%B}-{local.day}-{local.year}".lower()
    return f"{LONG_NAMES.get(asset, asset)}-up-or-down-{date}-{local.hour % 12 or 12}{local:%p}-et".lower()
