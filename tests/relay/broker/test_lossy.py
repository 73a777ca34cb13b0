"""A station and consumers over a way that loses, repeats and delays, on a virtual clock: no granted read is untrue."""

from __future__ import annotations

import heapq
import random
from itertools import count

import pytest

from polymirror import NotLive
from polymirror.relay.broker.follower import Follower
from polymirror.relay.broker.station import Station
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.replica import TICK, Replica
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub

TOKENS = (UP, DOWN)
SECONDS, QUIET = 40.0, 30.0
"""How long it goes on, and from when on nothing is lost any more."""


class World:
    """A relay, a broker, and consumers who come and go."""

    def __init__(self, seed: int, interval: float) -> None:
        self.rng = random.Random(seed)
        self.stub = Stub()
        self.start = self.now = self.stub.at
        self.history: dict[str, list[tuple[float, object]]] = {token: [] for token in TOKENS}
        self.queue: list[tuple[float, int, object]] = []
        self.numbers = count()
        self.consumers: dict[str, tuple[Follower, Replica]] = {}
        self.granted = self.refused = 0
        self.wrong: list[str] = []
        self.changes = count(1)
        for token in TOKENS:
            self.change(token)
        self.relay("run 1", interval)
        self.at(0.0, self.pump)
        for name in ("first", "second"):
            self.join(name)

    def at(self, delay: float, what: object) -> None:
        heapq.heappush(self.queue, (self.now + delay, next(self.numbers), what))

    def run(self) -> None:
        while self.queue and self.queue[0][0] <= self.start + SECONDS:
            self.now, _, what = heapq.heappop(self.queue)
            self.stub.at = self.now
            what()

    # ---- The relay

    def relay(self, run: str, interval: float) -> None:
        self.publisher = Publisher(self.stub, run, SteadyClock(lambda: self.now + 1_000))
        self.station = Station(self.publisher, "desk", self.stub.now, lambda *_: None, interval)
        self.interval = interval

    def change(self, token: str) -> None:
        self.stub.until = self.now + 15
        self.stub.set(token, {**BIDS, 4800: next(self.changes)}, ASKS)
        self.history[token].append((self.now, self.stub.views[token].levels))

    def pump(self) -> None:
        if self.rng.random() < 0.3:
            token = self.rng.choice(TOKENS)
            self.change(token)
            self.publisher.changed([token])
        for subject, frame in self.station.take(2**20):
            for name in self.consumers:
                self.carry(lambda name=name, frame=frame, subject=subject: self.heard(name, subject, frame))
        if self.lossy and self.rng.random() < 0.0005:
            self.relay(f"run {next(self.numbers)}", self.interval)
        self.at(0.01, self.pump)

    @property
    def lossy(self) -> bool:
        return self.now < self.start + QUIET

    # ---- The way

    def carry(self, what: object) -> None:
        rng = self.rng
        if self.lossy and rng.random() < 0.05:
            return
        delay = rng.uniform(0.0, 3.0) if self.lossy and rng.random() < 0.02 else rng.uniform(0.0002, 0.003)
        self.at(delay, what)
        if self.lossy and rng.random() < 0.02:
            self.at(delay + rng.uniform(0.0, 2.0), what)

    # ---- Consumers

    def join(self, name: str) -> None:
        link = Link("relay")
        replica = Replica([link], 15.0)
        replica.want(TOKENS, self.now)
        follower = Follower(link, "desk", f"{next(self.numbers)}", self.rng)
        self.consumers[name] = (follower, replica)
        follower.opened(self.now)
        self.tick(name, follower)

    def tick(self, name: str, follower: Follower) -> None:
        if self.consumers[name][0] is not follower:
            return
        replica = self.consumers[name][1]
        replica.tick(self.now)
        for said in follower.says(self.now):
            self.carry(lambda said=said: self.asked(name, follower, said))
        self.read(replica)
        if self.lossy and self.rng.random() < 0.002:
            # Another one in its place.
            self.join(name)
            return
        self.at(TICK, lambda: self.tick(name, follower))

    def asked(self, name: str, follower: Follower, data: bytes) -> None:
        for subject, frame in self.station.asked(follower.ask, data, follower.replies, 2**20):
            self.carry(lambda subject=subject, frame=frame: self.heard(name, subject, frame))

    def heard(self, name: str, subject: str, frame: bytes) -> None:
        follower, replica = self.consumers[name]
        if subject in follower.subjects:
            replica.received(follower.link, frame, self.now)
            self.read(replica)

    def read(self, replica: Replica) -> None:
        for token in TOKENS:
            try:
                view = replica.live(token, self.now)
            except NotLive:
                self.refused += 1
                continue
            self.granted += 1
            history = self.history[token]
            ends = [*[at for at, _ in history[1:]], self.now + 1]
            # It was so at the moment for which it is said to be proven, or later.
            if not any(
                levels == view.levels and end >= view.proven_at for (_, levels), end in zip(history, ends, strict=True)
            ):
                self.wrong.append(f"{token[:3]} at {self.now}")


@pytest.mark.parametrize("interval", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_no_granted_read_is_untrue_and_all_is_read_once_the_way_is_good(seed: int, interval: float) -> None:
    world = World(seed, interval)
    world.run()
    assert world.wrong == []
    assert world.granted > 1_000
    assert world.refused > 100
    for _, replica in world.consumers.values():
        for token in TOKENS:
            replica.live(token, world.now)
