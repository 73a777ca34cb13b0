"""The state machine: hypothesis chooses what the venue, the network and the process do to a mirror.

Every rule either changes the model exchange, the weather of the world around it, or lets time pass. The
promises are checked after each input that the engine gets (:meth:`World.check`); the end of each run heals the
world and demands that every book is LIVE or RETIRED, and replays all inputs into a second engine.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from polymirror.core.states import BookState
from polymirror.testing import strategies
from tests.properties.model import ModelMarket, stamp
from tests.properties.weather import quick_config
from tests.properties.world import World

FATES = ("arrives", "dropped", "twice", "again later", "overtaken")

markets = st.integers(0, 1)
tokens = st.integers(0, 3)
prices = st.sampled_from([100, 4000, 4500, 4600, 4700, 4800, 4900, 5000, 5100, 5200, 5300, 5500, 9900])
sizes = st.sampled_from([0, 0, 5_000_000, 12_500_000, 1_234_567])
changes = st.tuples(st.sampled_from(["BUY", "SELL"]), prices, sizes)

odd_values = st.sampled_from(["", "-1", "NaN", "1e5", "2", ".48", "0.48", None, 7, 0.5, [], {}, True, "0" * 50])


class Machine(RuleBasedStateMachine):
    """Rules for the world; see the module's docstring."""

    world: World

    @initialize(
        age=st.sampled_from([1.0, 5.0, 15.0]),
        refresh=st.sampled_from([5.0, 300.0]),
        seed=st.integers(0, 3),
        primed=st.booleans(),
        told=st.booleans(),
    )
    def begin(self, age, refresh, seed, primed, told):
        self.world = World(quick_config(max_proof_age=age, scheduled_resync=refresh), seed=seed, told=told)
        if primed:
            self.world.advance(0.3)

    def market(self, number: int) -> ModelMarket:
        return self.world.markets[number]

    # ---- Time and weather --------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.006, 0.05, 0.3, 1.0, 3.0, 20.0]))
    def time_passes(self, seconds):
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([0.01, 0.5, 4.0]))
    def process_stalls(self, seconds):
        self.world.stall(seconds)

    @rule(seconds=st.sampled_from([0.06, 1.0, 30.0]))
    def machine_sleeps(self, seconds):
        self.world.sleep(seconds)

    @rule(answers=st.booleans())
    def gamma_answers(self, answers):
        self.world.weather.gamma = "right" if answers else "fails"

    @rule(delay=st.sampled_from([0.0, 0.02, 0.3, 3.0]))
    def stream_is_slow(self, delay):
        self.world.weather.stream_delay = delay

    @rule(
        how=st.sampled_from(["right", "fails", "silent", "missing", "altered", "broken"]),
        delay=st.sampled_from([0.0, 0.05, 1.0]),
        behind=st.sampled_from([0.0, 0.0, 0.2, 1.1]),
    )
    def rest_is(self, how, delay, behind):
        weather = self.world.weather
        weather.rest, weather.rest_delay, weather.rest_behind = how, delay, behind

    @rule(coming=st.lists(st.sampled_from(FATES), min_size=1, max_size=3))
    def coming_frames_are(self, coming):
        self.world.fates.extend(coming)

    @rule(number=tokens, change=changes, wait=st.sampled_from([0.0, 3.0]))
    def freeze_one_token(self, number, change, wait):
        """The venue goes on without one token, while the socket and the other token are fine."""
        self.world.frozen.add(list(self.world.books)[number])
        self.delta(number // 2, change, 0.001)
        self.world.advance(wait)

    @rule()
    def thaw(self):
        self.world.frozen.clear()

    @rule(lost=st.booleans())
    def opening_books_are_lost(self, lost):
        self.world.weather.opening_lost = lost

    @rule(opens=st.booleans(), delay=st.sampled_from([0.0, 0.05, 2.0]))
    def disconnect(self, opens, delay):
        self.world.weather.open_fails = not opens
        self.world.weather.open_delay = delay
        for link in tuple(self.world.links.values()):
            self.world.disconnect(link)

    @rule()
    def connections_succeed_again(self):
        self.world.weather.open_fails = False

    @rule()
    def own_queue_overflows(self):
        for number in tuple(self.world.links):
            self.world.call("overflow", number)

    # ---- The exchange ------------------------------------------------------------------------------

    @rule(number=markets, change=changes, gap=st.sampled_from([0.0, 0.001, 0.03]))
    def delta(self, number, change, gap):
        self.world.advance(gap)
        if not self.market(number).settled:
            self.world.orders(self.market(number), [change])

    @rule(number=markets, count=st.sampled_from([10, 40]))
    def burst(self, number, count):
        """More changes than the buffer or the journal holds."""
        for i in range(count):
            self.delta(number, ("BUY", 100 * (1 + i % 30), 1_000_000 * (1 + i)), 0.001)

    @rule(
        number=markets,
        several=st.lists(changes, min_size=2, max_size=5),
        kind=st.sampled_from(["own", "batch", "late"]),
    )
    def batch(self, number, several, kind):
        self.world.advance(0.001)
        if not self.market(number).settled:
            self.world.orders(self.market(number), several, kind=kind)

    @rule(number=markets, buys=st.booleans(), part=st.booleans(), printed_after=st.sampled_from([0.0, 0.03]))
    def trade(self, number, buys, part, printed_after):
        if not self.market(number).settled:
            self.world.advance(0.001)
            self.world.trade(self.market(number), buys=buys, part=part, printed_after=printed_after)

    @rule(number=tokens)
    def snapshot(self, number):
        """A book sent again without a trade."""
        asset_id = list(self.world.books)[number]
        market = self.world.market_of[asset_id]
        if not market.settled:
            self.world.emit(market, market.whole(self.world.books[asset_id]))

    @rule(number=markets, before=st.booleans(), twice=st.booleans())
    def tick_changes(self, number, before, twice):
        world, market = self.world, self.market(number)
        if market.settled:
            return
        world.advance(0.001)
        old, market.tick = market.tick, 10 if market.tick == 100 else 100
        events = market.tick_change(old, stamp(world.now))
        if before:
            # The hash has the new tick already.
            world.orders(market, [("BUY", 200, 3_000_000)])
        else:
            market.commit(world.now)
        for event in events * (2 if twice else 1):
            world.emit(market, event)

    @rule(number=markets, announced=st.booleans(), emptied=st.booleans(), closed=st.booleans())
    def settle(self, number, announced, emptied, closed):
        world, market = self.world, self.market(number)
        if market.settled:
            return
        world.advance(0.001)
        if emptied:
            rows = [row for side, levels in (("BUY", market.up.bids), ("SELL", market.up.asks))
                    for price in tuple(levels) for row in market.put(side, price, 0)]  # fmt: skip
            market.commit(world.now)
            world.emit(market, market.price_change(rows, market.changed_ms))
        market.settled = True
        if announced:
            world.emit(market, market.resolved(stamp(world.now)))
        if closed and all(each.settled for each in world.markets):
            world.advance(1.0)
            for link in tuple(world.links.values()):
                world.disconnect(link, resolved=True)

    # ---- What nobody expects -----------------------------------------------------------------------

    def hurl(self, data: str | bytes) -> None:
        for link in self.world.links.values():
            if link.is_open:
                self.world.send(link, data)

    @rule(data=st.binary(max_size=40) | st.sampled_from([b"PONG", b"[]", b"", b"INVALID OPERATION", b"[" * 3000]))
    def garbage_bytes(self, data):
        self.hurl(data)

    @rule(content=strategies.json_values())
    def garbage_json(self, content):
        self.hurl(json.dumps(content))

    @rule(
        number=markets,
        entry=st.dictionaries(st.sampled_from(["asset_id", "price", "size", "side", "hash", "best_bid", "best_ask"]),
                              odd_values, max_size=2),
        top=st.dictionaries(st.sampled_from(["market", "timestamp", "price_changes", "event_type"]),
                            odd_values, max_size=1),
    )  # fmt: skip
    def damaged_price_change(self, number, entry, top):
        market = self.market(number)
        content = market.price_change(
            [(market.up, "BUY", 4600, 1), (market.down, "SELL", 5400, 1)], stamp(self.world.now)
        )
        content["price_changes"][0] |= {"hash": "0" * 40} | entry
        self.hurl(json.dumps(content | top))

    @rule(
        number=tokens, bids=st.lists(prices, max_size=3), what=st.sampled_from(["wrong hash", "no hash", "bad level"])
    )
    def damaged_book(self, number, bids, what):
        """A book whose levels are not the ones that its hash is of."""
        asset_id = list(self.world.books)[number]
        token = self.world.engine.tokens.get(asset_id)
        if token is None or token.hashes.constants is None:
            # With nothing known of the market, the venue's word is all there is.
            return
        market = self.world.market_of[asset_id]
        content = market.whole(self.world.books[asset_id])
        content["bids"] = [{"price": f"0.{price:04d}", "size": "3"} for price in bids]
        if what == "bad level":
            content["bids"].append({"price": "0.5", "size": "-3"})
        elif what == "no hash":
            content["hash"] = ""
        self.hurl(json.dumps(content))

    @rule(number=markets, ahead_ms=st.sampled_from([-5_000, 60, 5_000, 3_600_000]))
    def delta_from_another_time(self, number, ahead_ms):
        """A change that never happened, with a timestamp that is not now's."""
        market = self.market(number)
        rows = [(market.up, "BUY", 300, 9_000_000), (market.down, "SELL", 9700, 9_000_000)]
        content = market.price_change(rows, stamp(self.world.now) + ahead_ms)
        for entry in content["price_changes"]:
            entry["hash"] = "f" * 40
        self.hurl(json.dumps(content))

    @rule(elsewhere=st.sampled_from(["market", "asset_id"]))
    def news_of_strangers(self, elsewhere):
        market = self.market(0)
        content = market.price_change([(market.up, "BUY", 4600, 1_000_000)], stamp(self.world.now))
        if elsewhere == "market":
            content["market"] = "0xdead"
        content["price_changes"][0]["asset_id"] = "999"
        self.hurl(json.dumps(content))
        self.hurl(json.dumps({"event_type": "a new kind", "market": content["market"]}))

    # ---- The user ----------------------------------------------------------------------------------

    @rule(number=tokens, what=st.sampled_from(["prove", "resync"]))
    def user_asks_for_a_proof_or_a_resync(self, number, what):
        asset_id = list(self.world.books)[number]
        if asset_id in self.world.engine.tokens:
            self.world.call(what, asset_id)

    @rule(number=markets)
    def user_drops_or_adds_a_market(self, number):
        market = self.market(number)
        if market.condition_id in self.world.engine.markets:
            self.world.call("untrack", market.condition_id)
        else:
            # A damaged book still on its way would be the first that a new token sees, with nothing to judge it by.
            self.world.advance(4.0)
            self.world.track(market)

    @rule()
    def venue_tells_the_time(self):
        self.world.tell_time()

    # ---- The end -----------------------------------------------------------------------------------

    busy: Any = False

    @rule()
    def flow_continues_at_the_end(self):
        self.busy = True

    def teardown(self):
        if not hasattr(self, "world"):
            return
        self.world.heal(busy=self.busy)
        for asset_id, state in self.world.engine.states():
            assert state in (BookState.LIVE, BookState.RETIRED), asset_id
        self.world.replay()
