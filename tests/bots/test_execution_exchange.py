"""The client of the embedded exchange, end to end: the real executor, HTTP and order desk, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import random

import httpx
import pytest

from bots.common.errors import BadCredentials, NotSent, TradingError, Unanswered
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.execution.wire import Departure
from bots.common.orders.order import Order, Outcome, Result, Side, TimeInForce
from bots.testing.exchange import ApiKey, ExchangeClient
from polymirror import ConfigError, Gate, Mirror
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Simulator
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Account, OrderDesk, order_id_of
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults
from polymirror.simulator.orders.judge import OrderJudge
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.virtual import VirtualVenue, run_virtual
from tests.bots.execution_rig import CRYPTO, START_MS, buy, d

QUICK = LiveConfig(poll=0.25, resolve_within=20)


class AssetWorker:
    """An exchange with an order desk and one account of 1,000 pUSD, as a venue in virtual time."""

    def __init__(self, rates=None, delay_ms=250, seed=5, pusd=1_000) -> None:
        self.exchange = Exchange(ExchangeConfig(seed=seed, start_ms=START_MS, flow=FlowConfig(rate=2.0)))
        self.ledger = Ledger()
        self.account = Account.made_up("tester")
        self.ledger.deposit(self.account.address, pusd * ONE_PUSD)
        self.judge = OrderJudge(self.exchange, one_entry=False)
        self.broker = Broker(self.exchange, self.ledger, BrokerConfig(taker_delay_ms=delay_ms), judge=self.judge)
        self.faults = OrderFaults(rates, seed=seed)
        self.desk = OrderDesk(self.broker, [self.account], faults=self.faults)

    @property
    def key(self) -> ApiKey:
        made = self.account
        return ApiKey(made.address, made.api_key, made.secret, made.passphrase)

    def run(self, scene, **changes):
        """Run ``scene(executor, mirror, client)`` against it."""

        async def main():
            async with VirtualVenue(self.exchange, services=[self.desk]) as venue:
                mirror = Mirror(slugs=self.exchange.slugs, endpoints=venue.endpoints, network=venue.network)
                client = ExchangeClient(venue.base_url, self.key, venue.network, **changes)
                async with mirror, client:
                    await mirror.wait_live(timeout=20)
                    note = self.judge.before_submit
                    executor = LiveExecutor(
                        client, venue.network, QUICK, lambda order, view: note(order.client_id, order.token, view)
                    )
                    return await scene(executor, mirror, client)

        return run_virtual(main, start_ms=START_MS)

    def order(self, view, shares=20, side=Side.BUY, name="c1", slack=0, **changes) -> Order:
        """Take so many shares, up to ``slack`` ticks worse than the best price."""
        tick = view.tick_size
        best = (view.best_ask if side is Side.BUY else view.best_bid).price
        price = best + slack * tick if side is Side.BUY else best - slack * tick
        given = {
            "client_id": name, "market": view.market, "token": view.token, "price": price, "tick": tick,
            "created_ms": self.exchange.now_ms, "fee": CRYPTO, **changes,
        }  # fmt: skip
        if side is Side.SELL:
            return Order.sell(shares=d(shares), **given)
        return Order.buy(money=(price * shares).quantize(d("0.01")), **given)


async def trade(executor, mirror, make, token=None) -> tuple[Order, Result]:
    async with Gate(mirror).lease(token or mirror.tokens[0], timeout=5) as lease:
        order = make(lease.view)
        return order, await executor.submit(order, lease)


@pytest.mark.parametrize("delay_ms", [0, 250])
def test_a_purchase_and_a_sale_balance_with_the_ledger_to_the_last_digit(delay_ms):
    desk = AssetWorker(delay_ms=delay_ms)

    async def scene(executor, mirror, client):
        _, bought = await trade(executor, mirror, lambda view: desk.order(view, slack=5))
        assert bought.outcome is Outcome.FILLED
        assert bought.exact
        order, sold = await trade(executor, mirror, lambda view: desk.order(view, 10, Side.SELL, "c2", slack=5))
        assert (sold.outcome, sold.shares) == (Outcome.FILLED, 10)
        holdings = await executor.holdings()
        assert holdings.cash == 1000 + bought.cash(Side.BUY) + sold.cash(Side.SELL)
        assert holdings.positions == {order.token: bought.shares - 10}
        trades = await executor.trades(START_MS)
        assert {each.order_id for each in trades} == {bought.order_id, sold.order_id}
        assert sum(each.fee for each in trades) == bought.fee + sold.fee

    desk.run(scene)
    desk.ledger.audit()
    assert desk.judge.verdict().accepted == 2


def test_an_order_is_known_by_its_name_before_it_leaves():
    desk = AssetWorker()

    async def scene(executor, mirror, client):
        order, result = await trade(executor, mirror, lambda view: desk.order(view, slack=5))
        assert client.order_id(order) == result.order_id
        prepared = await client.prepare(order)
        assert prepared.order_id == result.order_id == order_id_of(client._fields(order))

    desk.run(scene)


@pytest.mark.parametrize("tif", TimeInForce)
@pytest.mark.parametrize("delay_ms", [0, 250])
def test_an_order_that_nobody_meets_is_an_answer(tif, delay_ms):
    desk = AssetWorker(delay_ms=delay_ms)

    async def scene(executor, mirror, client):
        return await trade(executor, mirror, lambda view: desk.order(view, slack=-5, tif=tif))

    _, result = desk.run(scene)
    assert result.outcome is Outcome.NO_MATCH


def test_an_order_that_cannot_be_paid_is_rejected_with_the_venues_words():
    desk = AssetWorker(pusd=3)

    async def scene(executor, mirror, client):
        return await trade(executor, mirror, lambda view: desk.order(view, slack=5))

    _, result = desk.run(scene)
    assert result.outcome is Outcome.REJECTED
    assert "not enough balance" in result.detail


def test_the_same_order_a_second_time_is_looked_up_and_fills_nothing_more():
    desk = AssetWorker()

    async def scene(executor, mirror, client):
        order, first = await trade(executor, mirror, lambda view: desk.order(view, slack=5))
        _, second = await trade(executor, mirror, lambda view: order)
        assert second.outcome is Outcome.UNKNOWN
        assert "Duplicated" in second.detail
        again = await executor.resolve(order, second.order_id)
        assert (again.shares, again.money, again.fee) == (first.shares, first.money, first.fee)
        return first, await executor.holdings()

    first, holdings = desk.run(scene)
    assert sum(holdings.positions.values()) == first.shares


@pytest.mark.parametrize("lost", ["answer_lost", "request_lost", "request_late"])
def test_an_order_without_an_answer_is_unknown_and_then_found_out(lost):
    desk = AssetWorker(OrderFaultRates(**{lost: 1.0}))

    async def scene(executor, mirror, client):
        order, first = await trade(executor, mirror, lambda view: desk.order(view, slack=5))
        assert first.outcome is Outcome.UNKNOWN
        return first, await executor.resolve(order, None), await executor.holdings()

    first, second, holdings = desk.run(scene, timeout=2)
    assert second.outcome is (Outcome.UNKNOWN if lost == "request_lost" else Outcome.FILLED)
    assert second.order_id == first.order_id
    assert holdings.cash == 1000 + second.cash(Side.BUY)
    assert sum(holdings.positions.values()) == second.shares


def test_in_a_storm_no_order_is_sent_twice_and_the_books_balance():
    desk = AssetWorker(OrderFaultRates.storm())
    dice = random.Random(11)
    results: list[tuple[Order, Result]] = []

    async def scene(executor, mirror, client):
        for number in range(60):
            make = lambda view, name=f"c{number}": desk.order(  # noqa: E731 - a lambda per order
                view, dice.randint(5, 15), name=name, slack=dice.randint(-1, 4), tif=dice.choice(list(TimeInForce))
            )
            order, result = await trade(executor, mirror, make, dice.choice(mirror.tokens))
            for _ in range(3):
                result = result if result.decided else await executor.resolve(order, None)
            results.append((order, result))
            await asyncio.sleep(dice.random())
        desk.faults.active = False
        return await executor.holdings()

    holdings = desk.run(scene, timeout=2)
    assert {result.outcome for _, result in results} >= {Outcome.FILLED, Outcome.NO_MATCH, Outcome.REJECTED}
    # What is unknown to the end never arrived or was refused in an answer that was lost: no look-up can tell.
    unknown = {result.order_id for _, result in results if not result.decided}
    assert unknown
    assert not any(desk.broker.order(name) for name in unknown)
    assert holdings.cash == 1000 + sum(result.cash(Side.BUY) for _, result in results)
    for token in desk.exchange.tokens:
        held = sum(result.shares for order, result in results if order.token == token)
        assert holdings.positions.get(token, 0) == held
    desk.ledger.audit()
    verdict = desk.judge.verdict()
    assert verdict.clean, verdict.details
    assert verdict.accepted > 40
    assert desk.faults.struck["answer_lost"]
    assert desk.faults.struck["request_late"] + desk.faults.struck["request_lost"]


@pytest.mark.parametrize("lag_ms", [0, 30_000])
def test_with_lists_that_lag_nulls_and_trades_that_fail_what_is_decided_is_what_moved(lag_ms):
    desk = AssetWorker(
        OrderFaultRates(answer_lost=0.3, null_lookups=0.3, failed_trades=0.3, fail_ms=1_000, lag_ms=lag_ms)
    )
    decided: list[tuple[Order, Result]] = []

    async def scene(executor, mirror, client):
        for number in range(12):
            order, result = await trade(
                executor, mirror, lambda view, name=f"c{number}": desk.order(view, 10, name=name, slack=4)
            )
            await asyncio.sleep(2)
            for _ in range(6):
                if result.outcome in {Outcome.UNKNOWN, Outcome.FILLED}:
                    # A fill is provisional: it is looked at again when the chain has had its time.
                    result = await executor.resolve(order, result.order_id)
                    await asyncio.sleep(lag_ms / 4_000)
            decided.append((order, result))
        return await executor.holdings(), await executor.trades(START_MS)

    holdings, trades = desk.run(scene, timeout=2)
    outcomes = {result.outcome for _, result in decided}
    assert outcomes == {Outcome.FILLED, Outcome.NO_MATCH}
    assert desk.faults.struck["null_lookups"]
    assert holdings.cash == 1000 + sum(result.cash(Side.BUY) for _, result in decided)
    assert sum(holdings.positions.values()) == sum(result.shares for _, result in decided)
    # Those that failed are listed, and say so.
    gone = {each.order_id for each in trades if each.failed}
    assert gone == {result.order_id for _, result in decided if result.outcome is Outcome.NO_MATCH}
    assert not any(each.failed for each in trades if each.order_id not in gone)


def test_wrong_credentials_are_told_apart_from_everything_else():
    desk = AssetWorker()
    desk.account = Account.made_up("somebody else")

    async def scene(executor, mirror, client):
        with pytest.raises(BadCredentials, match="HTTP 401: Unauthorized/Invalid api key"):
            await client.authorised()
        return await trade(executor, mirror, desk.order)

    _, result = desk.run(scene)
    assert result.outcome is Outcome.REJECTED


def test_credentials_do_not_show():
    key = ApiKey("0xaddress", "the-key", base64.urlsafe_b64encode(b"secret").decode(), "the-passphrase")
    assert repr(key) == "ApiKey(address='0xaddress')"
    with pytest.raises(ConfigError) as refused:
        ApiKey("0xaddress", "k", "a", "p")
    assert "'a'" not in str(refused.value)


# Over real sockets, where a lease can be lost while the connection is being opened.


def client_of(transport_or_url, timeout=5.0) -> ExchangeClient:
    from polymirror.venue.network import Network  # noqa: PLC0415

    key = ApiKey("0x" + "a" * 40, "k", base64.urlsafe_b64encode(b"s").decode(), "p")
    if isinstance(transport_or_url, str):
        return ExchangeClient(transport_or_url, key, Network(), timeout=timeout)
    return ExchangeClient("http://venue.test", key, Network(transport=lambda: transport_or_url), timeout=timeout)


@pytest.mark.anyio
async def test_a_lease_that_is_lost_while_the_connection_opens_sends_nothing():
    heard: list[bytes] = []

    async def listen(reader, writer):
        heard.append(await reader.read(65_536))
        writer.close()

    looks = []

    def check():
        looks.append(1)
        if len(looks) == 2:
            raise LookupError("lost")

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, client_of(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(LookupError, match="lost"):
            await client.send(await client.prepare(buy()), check)
    assert len(looks) == 2
    assert heard in ([], [b""])


@pytest.mark.anyio
async def test_a_server_that_hangs_up_after_the_order_left_leaves_it_unknown():
    async def listen(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, client_of(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Unanswered):
            await client.send(await client.prepare(buy()), lambda: None)


@pytest.mark.anyio
async def test_a_server_that_is_not_there_never_got_the_order():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with client_of(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(NotSent):
            await client.send(await client.prepare(buy()), lambda: None)


@pytest.mark.anyio
async def test_the_desk_of_the_served_simulator_takes_the_same_calls():
    account = Account.made_up("tester")

    def services(exchange):
        ledger = Ledger()
        ledger.deposit(account.address, 7 * ONE_PUSD)
        return [OrderDesk(Broker(exchange, ledger), [account])]

    key = ApiKey(account.address, account.api_key, account.secret, account.passphrase)
    async with Simulator(seed=5, services=services) as venue:
        from polymirror.venue.network import Network  # noqa: PLC0415

        async with ExchangeClient(venue.base_url, key, Network()) as client:
            assert (await client.holdings()).cash == 7


def answered(status, text, kind="application/json"):
    return httpx.MockTransport(lambda _: httpx.Response(status, text=text, headers={"Content-Type": kind}))


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "said"), [(200, "null"), (404, '{"error":"order not found"}')])
async def test_an_order_that_is_null_or_not_found_is_none(status, said):
    async with client_of(answered(status, said)) as client:
        assert await client.look_up("0xa") is None


ACCEPTED = '{"success":true,"errorMsg":"","orderID":"0xa","status":"%s","makingAmount":"%s","takingAmount":"%s"}'
PAGE = "<html>no</html>"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, PAGE, "Unanswered"),
        (200, "[]", "Unanswered"),
        (200, ACCEPTED % ("matched", "1", "NaN"), "Unanswered"),
        (200, ACCEPTED % ("matched", "1", "-1"), "Unanswered"),
        (200, '{"success":false,"errorMsg":"no orders found to match with FAK order"}', "NoMatch"),
        (200, '{"success":false,"errorMsg":"invalid nonce"}', "VenueRefused"),
        (400, '{"error":"order couldn\'t be fully filled. FOK orders are fully filled or killed."}', "NoMatch"),
        (400, '{"error":"order 0xa is invalid. Duplicated."}', "VenueRefused"),
        (400, PAGE, "VenueRefused"),
        (401, '{"error":"Unauthorized/Invalid api key"}', "BadCredentials"),
        (403, PAGE, "BadCredentials"),
        (404, PAGE, "VenueRefused"),
        (408, PAGE, "Unanswered"),
        (425, '{"error":"Too Early"}', "VenueRefused"),
        (429, PAGE, "VenueRefused"),
        (500, '{"error":"could not run the execution"}', "Unanswered"),
        (502, PAGE, "Unanswered"),
        (503, PAGE, "Unanswered"),
        (503, '{"error":"Trading is currently cancel-only"}', "VenueRefused"),
        (503, '{"error":"post-only mode: only post-only orders are allowed","code":"post_only_mode"}', "VenueRefused"),
    ],
)
async def test_each_answer_is_certain_or_is_called_unknown(status, text, kind):
    async with client_of(answered(status, text)) as client:
        with pytest.raises(TradingError) as refused:
            await client.send(await client.prepare(buy()), lambda: None)
    assert type(refused.value).__name__ == kind
    assert getattr(refused.value, "exists", False) == ("Duplicated" in text)


@pytest.mark.anyio
async def test_what_never_leaves_is_known_not_to_have_left_on_any_transport():
    def refuse(request):
        raise httpx.ConnectError("refused")

    async with client_of(httpx.MockTransport(refuse)) as client:
        with pytest.raises(NotSent, match="ConnectError: refused"):
            await client.send(await client.prepare(buy()), lambda: None)


@pytest.mark.anyio
async def test_an_order_is_gone_from_the_moment_its_first_bytes_leave():
    departure = Departure(lambda: None, traced=True)
    departure()
    await departure.trace("connection.start_tls.started", {})
    assert isinstance(departure.failed("order", TimeoutError()), NotSent)
    await departure.trace("http2.send_request_headers.started", {})
    assert isinstance(departure.failed("order", TimeoutError()), Unanswered)


@pytest.mark.anyio
async def test_a_call_that_trickles_ends_within_its_time():
    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await asyncio.Event().wait()

    async with client_of(Slow(), timeout=0.01) as client:
        with pytest.raises(Unanswered, match="TimeoutError"):
            await client.send(await client.prepare(buy()), lambda: None)


@pytest.mark.anyio
async def test_a_list_that_never_ends_is_an_error_and_not_a_cut():
    async with client_of(answered(200, '{"data":[],"next_cursor":"more"}')) as client:
        with pytest.raises(Unanswered, match="more than 50 pages"):
            await client.trades(0)


@pytest.mark.anyio
async def test_a_client_that_is_not_open_sends_nothing():
    client = client_of(answered(200, "{}"))
    with pytest.raises(NotSent, match="not open"):
        await client.send(await client.prepare(buy()), lambda: None)
