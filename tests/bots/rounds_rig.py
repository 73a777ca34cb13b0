"""Markets as the venue describes them, and a lifecycle driven through time by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import define, evolve, field

from bots.updown.rounds import Ask, Event, Lifecycle, RoundSettings, Step
from polymirror.core.fees import FeeSchedule
from polymirror.venue.market import Market, Oracle, Token
from polymirror.venue.windows import Window, window_at

START = 1_790_000_100
"""Unix seconds at which a quarter of an hour begins, long after the averages began to settle markets."""

START_MS = START * 1000
QUARTER_MS = 900_000


def market_of(window: Window, **changes: Any) -> Market:
    market = Market(
        slug=window.slug,
        question=f"{window.asset} up or down?",
        condition_id=f"0x{window.asset}{window.start}",
        tokens=(Token(f"{window.asset}-{window.start}-up", "Up"), Token(f"{window.asset}-{window.start}-down", "Down")),
        window_start=window.start,
        window_end=window.end,
        tick_size="0.01",
        min_order_size="5",
        neg_risk=False,
        fees_enabled=True,
        fee=FeeSchedule(Decimal("0.07"), 1),
        oracle=Oracle(
            f"https://data.chain.link/streams/{window.asset}-usd-twap-60s-streams",
            f"{window.asset}-{window.interval.value}-twap-60",
            twap_enabled=True,
            twap_lookback_seconds=60,
        ),
        active=True,
        closed=False,
        accepting_orders=True,
        winner=None,
        price_to_beat=None,
        final_price=None,
    )
    return evolve(market, **changes)


def decided(winner: str | None) -> dict[str, Any]:
    """What changes in a description once the market is settled; ``None``: both tokens pay a half."""
    pays = {"Up": ("1", "0"), "Down": ("0", "1"), None: ("0.5", "0.5")}[winner]
    return {"winner": winner, "closed": True, "payouts": tuple(map(Decimal, pays))}


def window(start: int = START, asset: str = "btc", interval: str = "15m") -> Window:
    return window_at(asset, interval, start)


@define
class Driver:
    """Steps a lifecycle through every moment it asks for; the venue lists each market at once, if it does."""

    life: Lifecycle = field(factory=lambda: Lifecycle("btc", RoundSettings()))
    # What the venue would answer, by slug; everything else is not listed.
    listed: dict[str, Market] = field(factory=dict)
    list_all: bool = True
    asked: list[tuple[int, str]] = field(factory=list)
    told: list[tuple[int, Event]] = field(factory=list)
    now_ms: int = START_MS

    def run(self, until_ms: int) -> Driver:
        while True:
            self.life.advance(self.now_ms)
            self.carry_out()
            due = self.life.next_ms()
            if due > until_ms:
                self.now_ms = until_ms
                return self
            self.now_ms = due

    def carry_out(self) -> None:
        """Do what the lifecycle asks for until it asks for nothing more at this moment."""
        while steps := self.life.take():
            for step in steps:
                self._carry_out(step)
            self.life.advance(self.now_ms)

    def settle_before(self, true_ms: int) -> None:
        """Have the venue decide every market whose window is over by the true time."""
        for slug, market in self.listed.items():
            if (market.window_end or 0) * 1000 <= true_ms and not market.closed:
                self.change(slug, **decided("Up"))

    def _carry_out(self, step: Step) -> None:
        if not isinstance(step, Ask):
            self.told.append((self.now_ms, step))
            return
        self.asked.append((self.now_ms, step.slug))
        if self.list_all and step.slug not in self.listed:
            self.listed[step.slug] = market_of(window(int(step.slug.rsplit("-", 1)[1])))
        self.life.learn(step.slug, self.listed.get(step.slug), self.now_ms)

    def change(self, slug: str, **changes: Any) -> None:
        self.listed[slug] = evolve(self.listed[slug], **changes)

    def events(self, kind: type) -> list[tuple[int, Any]]:
        return [(at, event) for at, event in self.told if isinstance(event, kind)]
