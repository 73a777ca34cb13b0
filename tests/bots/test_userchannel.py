"""The user channel: what it says of orders and trades, as early as it happens, and never more than it knows."""

from __future__ import annotations

import asyncio
import json
import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.common.execution.base import ChainStatus
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.execution.userchannel import Gap, OrderTold, TradeTold, UserChannel
from bots.common.orders.order import Order, Outcome
from bots.testing.exchange import ApiKey, ExchangeClient
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.frames import Close
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Account, OrderDesk
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults, UserFaultRates
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.orders.users import UserChannel as SimulatedChannel
from polymirror.simulator.virtual import VirtualVenue, run_virtual
from polymirror.venue.network import Network
from tests.bots.execution_rig import CRYPTO, START_MS, d

LOGIN = {"apiKey": "the-key", "secret": "the-secret", "passphrase": "the-passphrase"}


class Rig:
    """An exchange with one account, its order desk and its user channel, in virtual time."""

    def __init__(self, rates=None, user_rates=None, *, delay_ms=150):
        self.exchange = Exchange(ExchangeConfig(seed=5, start_ms=START_MS, flow=FlowConfig(rate=2.0)))
        ledger, self.account = Ledger(), Account.made_up("tester")
        ledger.deposit(self.account.address, 1_000 * ONE_PUSD)
        settlement = SettlementConfig(mine_ms=2_000, confirm_ms=3_000)
        broker = Broker(self.exchange, ledger, BrokerConfig(taker_delay_ms=delay_ms, settlement=settlement))
        self.desk = OrderDesk(broker, [self.account], faults=OrderFaults(rates, seed=5))
        self.desk.users = SimulatedChannel(self.desk.keys, user_rates, seed=5)
        self.told = []

    def run(self, scene, login=None):
        """Run ``scene(channel, client)`` while the channel runs; what it tells is in ``told``, with the time."""

        async def main():
            async with VirtualVenue(self.exchange, feeds=[self.desk.users], services=[self.desk]) as venue:
                made = self.account
                key = ApiKey(made.address, made.api_key, made.secret, made.passphrase)
                async with ExchangeClient(venue.base_url, key, venue.network) as client:
                    channel = UserChannel(
                        login or client.login,
                        lambda event: self.told.append((venue.network.monotonic(), event)),
                        venue.network,
                        url=venue.stream_url("/ws/user"),
                        rng=random.Random(3),
                    )
                    running = asyncio.create_task(channel.run())
                    await asyncio.sleep(0.5)
                    await scene(channel, client)
                    running.cancel()
                    return channel

        return run_virtual(main, start_ms=START_MS)

    async def buy(self, client, name="c1", pusd="20.00"):
        """Take from the cheapest asks; return the venue's answer and when it came."""
        token = self.exchange.tokens[0]
        worst = d(self.exchange.truth(token)[1][4][0]).scaleb(-4)
        self.order = order = Order.buy(
            client_id=name, market=self.exchange.market_of(token).condition_id, token=token, price=worst, money=d(pusd),
            tick=d("0.01"), created_ms=self.exchange.now_ms, fee=CRYPTO,
        )  # fmt: skip
        return await client.send(await client.prepare(order), lambda: None)

    def events(self, kind):
        return [event for _, event in self.told if isinstance(event, kind)]


def test_an_order_and_its_trades_are_told_as_they_happen():
    rig, lists = Rig(), []

    async def scene(channel, client):
        ack = await rig.buy(client)
        assert ack.status == "delayed"
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(8)
        lists.append((ack, began, await client.trades(0)))

    channel = rig.run(scene)
    [(ack, began, listed)] = lists
    assert rig.told[0][1] == Gap(why="connected")
    orders = rig.events(OrderTold)
    assert {event.order_id for event in orders} == {ack.order_id}
    assert orders[-1].state.status == "MATCHED"
    assert orders[-1].state.shares == sum(trade.shares for trade in listed)
    # The match is told within the taker's delay and the way, long before a list is asked for.
    matched_at = next(at for at, event in rig.told if isinstance(event, TradeTold))
    assert matched_at - began < 0.3
    stages = {}
    for event in rig.events(TradeTold):
        for fill in event.fills:
            stages.setdefault(fill.id, []).append(fill.status)
    assert set(stages) == {trade.id for trade in listed}
    assert set(map(tuple, stages.values())) == {(ChainStatus.MATCHED, ChainStatus.MINED, ChainStatus.CONFIRMED)}
    # The last word on each trade is what the list says of it.
    last = {fill.id: fill for event in rig.events(TradeTold) for fill in event.fills}
    assert [last[trade.id] for trade in listed] == list(listed)
    assert channel.counts["malformed"] == channel.counts["other"] == 0


def test_an_order_in_flight_is_looked_at_as_soon_as_something_is_told_of_it():
    took = {}
    for told in (False, True):
        rig = Rig()

        async def scene(channel, client, rig=rig, told=told):
            loop = asyncio.get_running_loop()
            executor = LiveExecutor(client, Network(monotonic=loop.time, wall=loop.wall), LiveConfig(poll=5))
            if told:
                channel._told = executor.hear
            ack = await rig.buy(client)
            began = loop.time()
            result = await executor._follow(rig.order, ack)
            assert (result.outcome, result.money) == (Outcome.FILLED, 20)
            took[told] = loop.time() - began

        rig.run(scene)
    assert took[True] < 0.5
    assert took[False] >= 5


def test_trades_that_fail_are_told_as_failed():
    rig = Rig(OrderFaultRates(failed_trades=1.0, fail_ms=4_000))

    async def scene(channel, client):
        await rig.buy(client)
        await asyncio.sleep(8)

    rig.run(scene)
    statuses = [fill.status for event in rig.events(TradeTold) for fill in event.fills]
    assert statuses[0] is ChainStatus.MATCHED
    assert statuses[-1] is ChainStatus.FAILED
    assert ChainStatus.CONFIRMED not in statuses


@pytest.mark.parametrize("fault", ["missing", "duplicated", "swapped", "late", "silent"])
def test_whatever_happens_to_events_the_channel_lives_and_tells_nothing_wrong(fault):
    rig, lists = Rig(user_rates=UserFaultRates(**{fault: 0.5})), []

    async def scene(channel, client):
        for number in range(4):
            await rig.buy(client, f"c{number}")
            await asyncio.sleep(8)
        lists.append(await client.trades(0))
        assert channel.connected

    rig.run(scene)
    [listed] = lists
    assert rig.desk.users.struck[fault]
    known = {(trade.id, trade.price, trade.shares, trade.money) for trade in listed}
    told = {(fill.id, fill.price, fill.shares, fill.money) for event in rig.events(TradeTold) for fill in event.fills}
    assert told <= known
    assert len(told) < len(known) if fault == "silent" else told


def test_a_connection_that_is_lost_comes_back_and_says_that_something_may_be_missing():
    rig = Rig()

    async def scene(channel, client):
        channel._stream.reconnect("a test")
        await asyncio.sleep(5)
        await rig.buy(client)
        await asyncio.sleep(8)

    channel = rig.run(scene)
    assert rig.events(Gap) == [Gap(why="connected")] * 2
    assert channel.counts["lost connections"] == 1
    assert rig.events(TradeTold)


def test_credentials_that_are_refused_are_told_tried_again_and_never_logged(caplog):
    caplog.set_level(logging.DEBUG)
    rig = Rig()
    logins = []

    def login():
        # They are derived anew after a while.
        made = rig.account
        logins.append(1)
        return LOGIN if len(logins) < 4 else made.credentials

    async def scene(channel, client):
        assert channel.refused
        assert not rig.events(TradeTold)
        await asyncio.sleep(60)
        assert not channel.refused
        assert channel.connected
        await rig.buy(client)
        await asyncio.sleep(1)

    channel = rig.run(scene, login)
    assert len(logins) >= 4
    assert rig.events(TradeTold)
    secrets = [*LOGIN.values(), rig.account.api_key, rig.account.secret, rig.account.passphrase]
    shown = caplog.text + repr(channel) + repr(vars(channel)) + repr(rig.told)
    assert not any(secret in shown for secret in secrets)


class Recorder:
    """A feed that remembers what it is sent, and says what it is told to say."""

    path = "/ws/user"

    def __init__(self, *says):
        self.heard, self.says, self.closed, self.opened = [], list(says), False, 0

    def open(self, headers, query, now_ms):
        self.opened += 1
        self.closed = False
        return self

    def receive(self, text, now_ms):
        self.heard.append((now_ms, text))
        return self.says.pop(0) if self.says else []

    def outgoing(self, now_ms):
        return []

    def next_ms(self):
        return None


def against(feed, scene, markets=()):
    told = []

    async def main():
        async with VirtualVenue(Exchange(ExchangeConfig(seed=1, start_ms=START_MS)), feeds=[feed]) as venue:
            url = venue.stream_url("/ws/user")
            channel = UserChannel(
                lambda: LOGIN, told.append, venue.network, url=url, markets=markets, rng=random.Random(3)
            )
            await scene(channel)
            return channel, told

    return run_virtual(main, start_ms=START_MS)


async def running(channel, seconds):
    task = asyncio.create_task(channel.run())
    await asyncio.sleep(seconds)
    return task


@pytest.mark.parametrize("markets", [(), ("0xb", "0xa")])
def test_the_first_frame_is_who_and_what_and_a_ping_follows_every_ten_seconds(markets):
    feed = Recorder()

    async def scene(channel):
        task = await running(channel, 31)
        channel._stream.reconnect("a test")
        await asyncio.sleep(5)
        task.cancel()

    against(feed, scene, markets)
    first, *pings, again = feed.heard
    named = {"markets": list(markets)} if markets else {}
    assert json.loads(first[1]) == json.loads(again[1]) == {"auth": LOGIN, "type": "user", **named}
    assert [text for _, text in pings] == ["PING"] * 3
    assert [round((at - first[0]) / 1000) for at, _ in pings] == [10, 20, 30]


def test_a_socket_without_a_sign_of_life_is_replaced():
    feed = Recorder()

    async def scene(channel):
        (await running(channel, 300)).cancel()

    against(feed, scene)
    assert feed.opened > 5


def test_a_venue_that_sends_everybody_away_is_not_asked_too_often():
    class Doorman(Recorder):
        def receive(self, text, now_ms):
            self.closed = True
            return [*super().receive(text, now_ms), Close(1008, "invalid credentials")]

    feed = Doorman()

    async def scene(channel):
        (await running(channel, 600)).cancel()
        assert channel.refused

    against(feed, scene)
    assert 10 < feed.opened < 100


ORDER = {
    "event_type": "order", "type": "CANCELLATION", "id": "0xa", "market": "0xm", "asset_id": "11", "side": "BUY",
    "original_size": "20", "size_matched": "0", "price": "0.52", "order_type": "FOK", "timestamp": "1790000100",
    "status": "CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed.",
}  # fmt: skip
MAKER = {"order_id": "0xq", "asset_id": "22", "matched_amount": "12", "price": "0.49"}
TRADE = {
    "event_type": "trade", "type": "TRADE", "id": "t1", "taker_order_id": "0xa", "market": "0xm", "asset_id": "11",
    "side": "BUY", "size": "20", "price": "0.514", "fee_rate_bps": "0", "status": "MATCHED_NOT_BROADCASTED",
    "match_time": "1790000101", "last_update": "1790000101", "transaction_hash": "", "trader_side": "TAKER",
    "maker_orders": [MAKER, {**MAKER, "asset_id": "11", "matched_amount": "8", "price": "0.52"}],
}  # fmt: skip


def heard(data):
    told = []
    channel = UserChannel(lambda: LOGIN, told.append, Network())
    channel._heard(data if isinstance(data, bytes) else json.dumps(data).encode())
    return told, channel.counts


def test_words_of_the_venue_are_taken_as_they_come():
    (order,), _ = heard(ORDER)
    assert (order.order_id, order.kind, order.state.shares) == ("0xa", "CANCELLATION", 0)
    assert order.state.status.startswith("CANCELED_ORDER COULDN'T")
    (made,), _ = heard({**ORDER, "type": "NOVELTY", "status": "PLANNED", "more": 1})
    assert (made.kind, made.state.status) == ("NOVELTY", "PLANNED")
    (trade,), _ = heard([TRADE])
    assert [(fill.price, fill.shares, fill.money) for fill in trade.fills] == [
        (d("0.51"), d(12), d("6.12")),
        (d("0.52"), d(8), d("4.16")),
    ]
    assert {(fill.status, fill.tx, fill.at_ms) for fill in trade.fills} == {
        (ChainStatus.MATCHED, None, 1_790_000_101_000)
    }
    (mined,), _ = heard({**TRADE, "status": "MINED", "transaction_hash": "0x7"})
    assert {(fill.status, fill.tx) for fill in mined.fills} == {(ChainStatus.MINED, "0x7")}


@pytest.mark.parametrize(
    ("frame", "count"),
    [
        (b"PONG", "words"),
        (b"INVALID OPERATION", "words"),
        (b"", "words"),
        ({**TRADE, "trader_side": "MAKER"}, "other"),
        ({"event_type": "balance"}, "other"),
        ([5, None], "other"),
        ([], ""),
    ],
)
def test_what_is_no_event_of_ours_is_counted_and_told_to_nobody(frame, count):
    told, counts = heard(frame)
    assert told == []
    assert counts[count] == (len(frame) if frame == [5, None] else bool(count))


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b"[[",
        {**ORDER, "id": 5},
        {**ORDER, "size_matched": "NaN"},
        {**TRADE, "size": "1e99"},
        {**TRADE, "size": -1},
        {**TRADE, "side": "HOLD"},
        {**TRADE, "match_time": "yesterday"},
        {**TRADE, "maker_orders": [1]},
    ],
)
def test_an_event_that_cannot_be_read_is_a_reason_to_look(frame):
    (gap,), counts = heard(frame)
    assert isinstance(gap, Gap)
    assert counts["malformed"] == 1


words = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.floats(allow_nan=False))


@given(st.sampled_from([ORDER, TRADE]), st.dictionaries(st.sampled_from(sorted({*ORDER, *TRADE})), words, max_size=4))
def test_nothing_that_is_told_raises(frame, changes):
    told, counts = heard({**frame, **changes})
    assert len(told) + counts["other"] == 1
