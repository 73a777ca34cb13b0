"""Whatever a consumer wants and drops, and whatever a way does to messages: what is granted was true when it says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymirror.core.states import BookState, Reason
from polymirror.errors import NotLive
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.replica import Replica
from polymirror.relay.wire import Ask, decode, encode
from tests.relay.rig import ASKS, DOWN, UP, Stub

TOKENS = (UP, DOWN)
SLACK = 0.01
"""Seconds: what the drift of the clocks may be in so short a test."""


class Way:
    """A relay, one consumer that follows and leaves books, and messages that a test delivers when it likes."""

    def __init__(self, seed: int, *, ordered: bool) -> None:
        self.rng = random.Random(seed)
        self.ordered = ordered
        self.stub = Stub()
        self.was: dict[str, list[tuple[float, object, BookState]]] = {token: [] for token in TOKENS}
        for token in TOKENS:
            self.change(token)
        self.runs = 0
        self.publisher = Publisher(self.stub, "run 0", SteadyClock(self.stub.now))
        self.consumer = self.publisher.join("msgpack")
        self.link = Link("relay")
        self.replica = Replica([self.link], 30.0)
        self.replica.want(TOKENS, self.stub.at)
        self.link.opened(self.stub.at)
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.granted = 0

    def change(self, token: str) -> None:
        bids = {price: self.rng.choice((1, 2, 3)) for price in (4700, 4800) if self.rng.random() < 0.8}
        state = self.rng.choice((BookState.LIVE, BookState.LIVE, BookState.LIVE, BookState.SUSPECT))
        old = self.stub.views.get(token)
        self.stub.set(token, bids, ASKS, state=state, reason=Reason.PROVEN if state is BookState.LIVE else Reason.STALE,
                      doubts=(0 if old is None else old.doubts) + (state is BookState.SUSPECT))  # fmt: skip
        self.was[token].append((self.stub.at, self.stub.views[token].levels, state))

    def take(self, queue: list[bytes]) -> bytes | None:
        """Take one message off a way: the first, or any, which may stay there to come again."""
        if not queue:
            return None
        if self.ordered:
            return queue.pop(0)
        at = self.rng.randrange(len(queue))
        return queue[at] if self.rng.random() < 0.2 else queue.pop(at)

    def deliver(self) -> None:
        ask = self.link.asks(self.stub.at) if self.rng.random() < 0.3 else None
        if ask is not None:
            self.up.append(encode(ask, "msgpack"))
        data = self.take(self.up) if self.rng.random() < 0.4 else None
        if data is not None:
            self.publisher.asked(self.consumer, decode(Ask, data, "msgpack"))
        data = self.take(self.down)
        if data is not None:
            self.replica.received(self.link, data, self.stub.at)

    def begin_anew(self) -> None:
        """The connection is lost, or the relay with it. On a way without order what was sent before may still come."""
        if self.ordered:
            self.up.clear()
            self.down.clear()
        self.link.closed("lost")
        self.replica.look(self.stub.at)
        if self.rng.random() < 0.5:
            self.runs += 1
            self.publisher = Publisher(self.stub, f"run {self.runs}", SteadyClock(self.stub.now))
        else:
            self.publisher.leave(self.consumer)
        self.consumer = self.publisher.join("msgpack")
        self.link.opened(self.stub.at)

    def step(self) -> None:
        rng, token = self.rng, self.rng.choice(TOKENS)
        self.stub.at += rng.choice((0.0, 0.001, 0.02, 0.3))
        match rng.randrange(10):
            case 0:
                self.change(token)
                self.publisher.changed([token])
            case 1:
                self.replica.drop([token])
            case 2:
                self.replica.want([token], self.stub.at)
            case 3:
                self.publisher.beat()
            case 4 if rng.random() < 0.1:
                self.begin_anew()
            case _:
                self.deliver()
        while self.consumer.waits:
            self.down.append(self.publisher.frame(self.consumer))
        self.look()

    def look(self) -> None:
        for token in self.replica.asset_ids:
            try:
                view = self.replica.live(token, self.stub.at)
            except NotLive:
                continue
            self.granted += 1
            assert view.proven_at is not None
            ends = [at for at, _, _ in self.was[token][1:]] + [float("inf")]
            held = [
                levels
                for (_, levels, state), end in zip(self.was[token], ends, strict=True)
                if end >= view.proven_at - SLACK and state is BookState.LIVE
            ]
            assert view.levels in held


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_granted_was_true_when_it_says(ordered: bool) -> None:
    granted = 0
    for seed in range(150):
        way = Way(seed, ordered=ordered)
        for _ in range(150):
            way.step()
        granted += way.granted
    assert granted > 2_000


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.lists(st.sampled_from([*TOKENS, "3", "x"]), max_size=3),
            st.lists(st.sampled_from([*TOKENS, "3"]), max_size=3), st.booleans(), st.none() | st.integers(0, 2**53),
            st.sampled_from(["set", "gone", "looked for", "leave", "beat", "listed", ""]),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_no_consumer_makes_a_relay_raise(said: list[tuple[int, list[str], list[str], bool, int | None, str]]) -> None:
    stub = Stub()
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumers = [relay.join("json") for _ in range(3)]
    for who, want, drop, lists, ping, then in said:
        stub.at += 0.1
        relay.asked(consumers[who], Ask(want=want, drop=drop, list=lists, ping=ping))
        if then == "set":
            stub.set(UP, {4800: who + 1}, ASKS)
        elif then == "gone":
            stub.views.pop(UP, None)
        elif then == "looked for":
            stub.looked_for ^= {DOWN}
        elif then == "leave":
            relay.leave(consumers[who])
            consumers[who] = relay.join("msgpack")
        elif then == "listed":
            relay.listed()
        else:
            relay.beat()
        relay.changed([UP, DOWN, UP])
        for consumer in consumers:
            while consumer.waits:
                relay.frame(consumer)
    for consumer in consumers:
        relay.leave(consumer)
    assert (relay.consumers, relay.tokens) == (0, 0)
