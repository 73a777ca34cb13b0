"""Seeded runs of everything that goes wrong: the events of a run, drawn in advance, each with its own generator."""

from __future__ import annotations

import json
from math import log
from random import Random

from polymirror.config import EngineConfig
from tests.plain.judge import Judge, Parcel
from tests.plain.venue import BASE_MS, ONE, SHARE, PlainMarket
from tests.plain.way import Lag, Way

USUAL = {"change": 60, "burst": 6, "trade": 8, "place and cancel": 4}
FAULTS = {
    # To one of the next messages of a market...
    "lost": 6, "lost entry": 3, "duplicate": 5, "late": 5, "reordered": 4, "wrong hash": 4, "no hash": 3, "cut": 2,
    # ...to the stream...
    "garbage": 2, "future stamp": 2, "late book": 4, "tick": 1, "lag ramp": 1, "disconnect": 3,
    # ...to the next opening books...
    "opening lost": 2, "opening stale": 2, "opening half stale": 2,
    # ...to REST for a while...
    "rest behind": 3, "rest fails": 2, "rest silent": 1, "rest slow": 2, "rest altered": 3, "rest missing": 2,
    # ...and to the program.
    "stall": 2, "suspend": 1, "quiet": 1, "prove": 5,
}  # fmt: skip
FATES = ("lost", "lost entry", "duplicate", "late", "reordered", "wrong hash", "no hash", "cut")
CAPTURES = 0.25
GARBAGE = (
    '{"event_type":"price_ch', "[1,2", "PONG", "INVALID OPERATION", "", "[]", '{"event_type":"of another kind"}',
    '{"market":"0xm0","price_changes":[{"asset_id":"1001","price":"0.4x"}],"event_type":"price_change"}',
    '{"event_type":"book","market":"0xm1","asset_id":"1011","timestamp":"x"}',
)  # fmt: skip


class Run(Way):
    """One seeded run. ``without``: kinds of events to leave out; all others stay as they are.

    With ``hedge=2`` each socket has two connections, and what befalls a message befalls it on one of them.
    """

    def __init__(
        self, seed: int, *, stale_rest: bool = False, without: frozenset[str] = frozenset(), hedge: int = 1
    ) -> None:
        self.plan = rng = Random(f"differential:{seed}:{stale_rest}")
        base_ms = BASE_MS + rng.randrange(1000)
        names = [(f"0xm{n}", (f"10{n}1", f"10{n}2")) for n in range(rng.choice([1, 2, 2, 3]))]
        markets = [PlainMarket(market, tokens, base_ms=base_ms) for market, tokens in names]
        self.judge: Judge | None = None
        super().__init__(
            *markets, seed=seed, hedge=hedge, jitter=rng.choice([0.0, 0.0, 0.005, 0.03]), clock=rng.random() < 0.6,
            delay=rng.choice([0.0, 0.005, 0.02, 0.08, 0.2]), rest_delay=rng.choice([0.005, 0.05, 0.15]),
            constants=rng.random() < 0.8,
            config=EngineConfig(prove_both_hashes=rng.random() < 0.2, scheduled_resync=rng.choice([20.0, 300.0])),
        )  # fmt: skip
        self.judge = Judge(self, honest_delay=self.delay + self.jitter)
        kinds = dict(FAULTS) | ({"rest cached": 4} if stale_rest else {})
        self.kinds = sorted(kind for kind in kinds if rng.random() < 0.4)
        if stale_rest and "rest cached" not in self.kinds:
            self.kinds.append("rest cached")
        self.end = self.arrange(USUAL | {kind: kinds[kind] for kind in self.kinds}, without)
        self.on_delivered = self.judge.hears

    def arrange(self, kinds: dict[str, int], without: frozenset[str]) -> float:
        """Draw when what happens; each event draws from a generator of its own, so that others may be left out."""
        rng = self.plan
        rate, faults = 10 ** rng.uniform(-0.3, 1.5), rng.choice([0.1, 0.4, 1.0])
        names = list(kinds)
        weights = [kinds[name] * (1.0 if name in USUAL else faults) for name in names]
        now, end = 0.5, 0.5 + max(40.0, min(200.0, 600.0 / rate))
        while now < end:
            now += -log(1.0 - rng.random()) / rate
            kind, own = rng.choices(names, weights)[0], rng.getrandbits(48)
            if kind == "quiet":
                length = rng.choice([5.0, 20.0, 70.0])
                if kind not in without:
                    now, end = now + length, end + length
            elif kind not in without:
                self.at(now, lambda kind=kind, own=own: self.happen(kind, Random(own)))
        for number in range(int(end / CAPTURES)):
            self.at(number * CAPTURES, self.capture)
            for part in (0.2, 0.45, 0.7):
                self.at((number + part) * CAPTURES, self.read_everything)
        return end

    def play(self) -> Judge:
        self.start().run_to(self.end + 5.0)
        return self.judge

    def drain(self) -> None:
        super().drain()
        self.read_everything()

    def read_everything(self) -> None:
        """Read everything, unless the program stands still."""
        if self.judge is not None and self.now >= self._stalled_until and self._asleep_at is None:
            self.judge.read_all()

    # ---- Events ------------------------------------------------------------------------------------

    def happen(self, kind: str, rng: Random) -> None:
        self.play_out(kind, rng)
        # The venue's book is another one by now, and the engine does not know yet.
        self.read_everything()

    def play_out(self, kind: str, rng: Random) -> None:
        market = rng.choice(self.markets)
        weather = self.weather[market.market]
        if self.hedge > 1 and (kind in FATES or kind == "lag ramp") and rng.random() < 0.5:
            weather = self.second[market.market]
        if kind in FATES:
            weather.fates.extend((kind, rng.getrandbits(32)) for _ in range(rng.choice([1, 1, 1, 2, 6])))
        elif kind.startswith("opening"):
            self.opening_modes.append(kind)
        elif kind.startswith("rest"):
            self.rest_mode, self.rest_until = kind, self.now + rng.choice([0.5, 3.0, 20.0, 60.0])
            kept = {name: weather.seen for name, weather in self.weather.items() if weather.seen}
            self.cached = {name: rng.choice([seen[-1], rng.choice(seen)]) for name, seen in kept.items()}
        else:
            getattr(self, "do_" + kind.replace(" ", "_"))(market, weather, rng)

    def a_level(self, market: PlainMarket, rng: Random) -> tuple[str, int, int]:
        """Draw a change: mostly near the top, a third of them a removal."""
        side = rng.choice(["BUY", "SELL"])
        levels = market.bids if side == "BUY" else market.asks
        if levels and (rng.random() < 0.35 or len(levels) > 12):
            return side, rng.choice([*levels, max(levels) if side == "BUY" else min(levels)]), 0
        step = 100 if market.tick == "0.01" else 10
        price = step * rng.randrange(4000 // step, 4900 // step + 1)
        return side, price if side == "BUY" else ONE - price, rng.randrange(1, 50_000) * (SHARE // 100)

    def do_change(self, market, weather, rng) -> None:
        self.emit(market, market.change(*self.a_level(market, rng), self.now))

    def do_burst(self, market, weather, rng) -> None:
        """Several messages of one millisecond; perhaps all of them state the end."""
        changes = [self.a_level(market, rng) for _ in range(rng.randrange(2, 6))]
        if rng.random() < 0.5:
            for change in changes:
                self.emit(market, market.change(*change, self.now))
            return
        for change in changes:
            market.put(*change)
        market.changed_ms = market.stamp(self.now)
        market.note(self.now)
        for side, price, _ in changes:
            size = (market.bids if side == "BUY" else market.asks).get(price, 0)
            self.emit(market, market.price_change(side, price, size))

    def do_trade(self, market, weather, rng) -> None:
        *messages, trade = market.trade(rng.choice(["BUY", "SELL"]), rng.choice([None, SHARE]), self.now) or [None]
        for message in messages:
            self.emit(market, message)
        if trade:
            self.at(self.now + rng.uniform(0.0, 0.03), lambda: self.emit(market, trade))

    def do_place_and_cancel(self, market, weather, rng) -> None:
        side, price, size = self.a_level(market, rng)
        if size and price not in (market.bids if side == "BUY" else market.asks):
            self.emit(market, market.change(side, price, size, self.now))
            after = rng.choice([0.0, 0.001, 0.2])
            self.at(self.now + after, lambda: self.emit(market, market.change(side, price, 0, self.now)))

    def do_future_stamp(self, market, weather, rng) -> None:
        ahead = market.stamp(self.now + rng.choice([0.05, 0.5, 3.0, 70.0, 3600.0]))
        self.emit(market, market.change(*self.a_level(market, rng), self.now, stamp_ms=ahead), future=True)

    def do_late_book(self, market, weather, rng) -> None:
        if weather.seen:
            old, token = rng.choice(weather.seen), rng.choice(market.tokens)
            text = json.dumps(old.whole[token])
            self.send((self.delay, Parcel(text, {token: old.about[token]}, old.at)))

    def do_garbage(self, market, weather, rng) -> None:
        self.send((self.delay, rng.choice(GARBAGE)))

    def do_tick(self, market, weather, rng) -> None:
        if market.tick == "0.01":
            for message in market.finer("0.001", self.now) * rng.choice([1, 2]):
                self.emit(market, message)

    def do_lag_ramp(self, market, weather, rng) -> None:
        weather.lag = Lag(self.now, rng.choice([2.0, 10.0, 30.0]), rng.choice([0.1, 0.5, 1.5, 4.0]))

    def do_disconnect(self, market, weather, rng) -> None:
        number = rng.choice([end for socket in sorted(self.sockets) for end in self.ends(socket)] or [1])
        self.later(0.0, lambda: self.disconnect(number, "gone", back_after=rng.choice([0.05, 0.5, 3.0])))

    def do_stall(self, market, weather, rng) -> None:
        self.stall(rng.choice([0.05, 0.3, 1.5, 5.0]))

    def do_suspend(self, market, weather, rng) -> None:
        if self._stalled_until <= self.now:
            self.suspend(rng.choice([0.06, 0.8, 5.0, 25.0]))

    def do_prove(self, market, weather, rng) -> None:
        token = rng.choice(market.tokens)
        self.later(0.0, lambda: self.engine.prove(token, self.mono))
