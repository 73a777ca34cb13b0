"""Rolling up/down rounds: markets that are listed, open, end and settle, one after the other.

Knows which windows exist, what they are called and what decides them: the average of the oracle's prices
before the end against that before the start, a tie is Up (the venue's rule since August 2026; hourly
windows compare the price itself). The exchange owns one :class:`Rounds` if its configuration asks for it;
how a market ends is in :mod:`polymirror.simulator.endings`, what the makers do in
:mod:`polymirror.simulator.fair`.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from attrs import define

from polymirror.simulator.catalogue import listing, token_id
from polymirror.simulator.endings import end_market
from polymirror.simulator.fair import FairFlow
from polymirror.simulator.market import Market
from polymirror.simulator.settings import RoundsConfig

if TYPE_CHECKING:
    from decimal import Decimal

    from polymirror.simulator.agenda import Output
    from polymirror.simulator.exchange import Exchange
    from polymirror.simulator.oracle import PriceProcess

__all__ = ["Round", "Rounds", "RoundsConfig"]

HOUR_SECONDS = 3_600
LABELS = {300: "5m", 900: "15m", HOUR_SECONDS: "1h"}
"""How the venue calls the lengths of windows, in seconds."""

LONG_NAMES = {"btc": "bitcoin", "eth": "ethereum", "sol": "solana", "xrp": "xrp", "doge": "dogecoin"}
"""The names of assets in hourly slugs; others are called by their short name."""

MAX_ROUNDS_KNOWN = 100_000
"""So many rounds are remembered; the oldest are forgotten first. Two years of 15 minutes for one asset."""

SPREAD_OF_DELAYS = 0.15


@define(eq=False, kw_only=True)
class Round:
    """One window of one asset, and what became of it. Times are Unix milliseconds, the end excluded."""

    asset: str
    slug: str
    condition_id: str
    tokens: tuple[str, str]
    """The token that pays if the price is up, and the one that pays if it is down."""
    window_s: int
    start_ms: int
    end_ms: int
    twap_s: int
    """The look-back of the average that decides, in seconds; 0: the price itself."""
    strike: Decimal | None = None
    """What decides at the start, in dollars; ``None`` before the window opens."""
    final: Decimal | None = None
    """What decides at the end; ``None`` before."""
    winner: str | None = None
    """The token that pays; ``None`` before the end. The venue says so only when it resolves the market."""
    resolved: bool = False
    """Whether the venue has resolved the market: from now on the winner can be redeemed."""
    strike_published: bool = False
    """Whether the discovery service tells the strike."""
    outcome_published: bool = False
    """Whether the discovery service tells the outcome and the final price."""

    @property
    def label(self) -> str:
        """The length of the window as the venue calls it, such as ``15m``."""
        return LABELS[self.window_s]

    def open(self, oracle: PriceProcess, at_ms: int | None = None) -> None:
        """Note the strike; ``at_ms`` is a time before the start, when the market ends that early."""
        if self.strike is None:
            self.strike = oracle.twap(self.asset, self.start_ms if at_ms is None else at_ms, self.twap_s)

    def decide(self, oracle: PriceProcess, at_ms: int | None = None) -> None:
        """Note the final price and the winner; ``at_ms`` is a time before the end, when it ends early."""
        if self.winner is not None:
            return
        early_ms = self.end_ms if at_ms is None else min(at_ms, self.end_ms)
        self.open(oracle, min(early_ms, self.start_ms))
        self.final = oracle.twap(self.asset, early_ms, self.twap_s)
        assert self.strike is not None  # noqa: S101 - opening it, just above, notes the strike
        self.winner = self.tokens[0 if self.final >= self.strike else 1]


class Rounds:
    """All rounds of an exchange: lists them in time, lets them end, and forgets their markets later."""

    def __init__(self, exchange: Exchange, config: RoundsConfig) -> None:
        self.config = config
        # By condition id, oldest first; kept after the market is gone, because bots come late to redeem.
        self.known: dict[str, Round] = {}
        self._exchange = exchange
        self._listed = 0

    def begin(self) -> None:
        """List the running windows and those ahead, without announcing what exists already."""
        for window_s in self.config.windows_s:
            window_ms, now_ms = window_s * 1_000, self._exchange.now_ms
            current_ms = now_ms // window_ms * window_ms
            for ahead in range(self.config.ahead + 1):
                self._list(window_s, current_ms + ahead * window_ms, now_ms)
            self._exchange.agenda.add(current_ms + window_ms, partial(self._roll, window_s))

    def resolve(self, market: Market, at_ms: int) -> None:
        """The venue resolves a round's market: its outcome counts from now on, and is published soon."""
        this = market.round
        if this is None:
            return
        this.decide(self._exchange.oracle, at_ms)
        this.resolved = True
        market.winner = this.tokens.index(this.winner or "")
        agenda = self._exchange.agenda
        agenda.add(at_ms + self._about(this, "publish", self.config.publish_delay_s), partial(_publish, this))
        agenda.add(at_ms + round(self.config.keep_s * 1_000), partial(self._forget, market))

    def _roll(self, window_s: int, at_ms: int, out: Output) -> None:
        """A boundary: the next windows come into being, and are announced."""
        window_ms = window_s * 1_000
        boundary_ms = at_ms // window_ms * window_ms
        for market in self._list(window_s, boundary_ms + self.config.ahead * window_ms, at_ms):
            out.append(listing(market, at_ms + self._exchange.clock_offset_ms))
        self._exchange.agenda.add(boundary_ms + window_ms, partial(self._roll, window_s))

    def _list(self, window_s: int, start_ms: int, now_ms: int) -> list[Market]:
        """Make the markets of one window, one for each asset, and let them trade."""
        markets = [self._market(asset, window_s, start_ms, now_ms) for asset in self.config.assets]
        self._exchange.add_markets(markets, now_ms)
        for market in markets:
            self._appoint(market)
        return markets

    def _market(self, asset: str, window_s: int, start_ms: int, now_ms: int) -> Market:
        config, exchange = self.config, self._exchange
        slug = _slug(asset, window_s, start_ms // 1_000)
        # By name, so that a market is the same whatever else is listed.
        rng = random.Random(f"{exchange.config.seed}/{start_ms}/{slug}")
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
            oracle=exchange.oracle,
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
            history_ms=exchange.config.history_ms,
            round=this,
        )

    def _appoint(self, market: Market) -> None:
        """Put down what will happen to a market, and when."""
        this = market.round
        if this is None:
            return
        exchange, agenda, config = self._exchange, self._exchange.agenda, self.config
        oracle = exchange.oracle
        if this.start_ms <= exchange.now_ms:
            this.open(oracle)
        else:
            agenda.add(this.start_ms, lambda _at_ms, _out: this.open(oracle))
        strike_ms = this.start_ms + self._about(this, "strike", config.strike_delay_s)
        agenda.add(strike_ms, partial(_publish_strike, this))
        agenda.add(this.end_ms, lambda _at_ms, _out: this.decide(oracle))
        settle_ms = this.end_ms + self._about(this, "settle", config.settle_delay_s)
        agenda.add(settle_ms, partial(end_market, exchange, market, exchange.usual_ending()))

    def _about(self, this: Round, what: str, seconds: float) -> int:
        """A delay that a market draws for itself, in milliseconds."""
        rng = random.Random(f"{self._exchange.config.seed}/{this.condition_id}/{what}")
        return round(seconds * 1_000 * rng.uniform(1 - SPREAD_OF_DELAYS, 1 + SPREAD_OF_DELAYS))

    def _forget(self, market: Market, at_ms: int, out: Output) -> None:
        del at_ms, out
        self._exchange.remove_market(market)


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
