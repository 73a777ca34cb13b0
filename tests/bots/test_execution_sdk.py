"""The venue's own SDK under our client: what it signs, sends and answers, against a server on this computer.

Skipped where the extra ``bots`` is not installed. No test talks to the venue.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from contextlib import asynccontextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bots.common.errors import BotError, NotSent, TradingError, Unanswered
from bots.common.execution.base import Prepared
from bots.common.execution.live import LiveConfig, LiveExecutor
from bots.common.execution.sdk import SdkClient, Wallet, _bound_gas, _must_be, _watch_departures
from bots.common.money.amounts import TICKS, keeps_price, shares_for
from bots.common.orders.order import Outcome, Side
from polymirror import ConfigError, Gate
from polymirror.venue.network import Network
from tests.bots.execution_rig import CRYPTO, Books, buy, d, sell, view_of

sdk = pytest.importorskip("polymarket", reason="the extra 'live' is not installed: pip install -e '.[live]'")
pytestmark = pytest.mark.anyio

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
WALLET = {
    "private_key": KEY, "address": ADDRESS,
    "api_key": "the-key", "api_secret": "c2VjcmV0", "api_passphrase": "the-phrase",
}  # fmt: skip
CONDITION = "0x" + "ab" * 32
TOKEN, OTHER = "1" + "0" * 60, "2" + "0" * 60
MARKET = {
    "t": [{"t": TOKEN, "o": "Up"}, {"t": OTHER, "o": "Down"}], "mts": 0.01, "mos": 5, "nr": False, "ao": True,
    "fd": {"r": 0.07, "e": 1, "to": True}, "itode": True,
}  # fmt: skip
MATCHED = {
    "success": True, "errorMsg": "", "orderID": "0xa", "status": "matched", "makingAmount": "10.4",
    "takingAmount": "20.235294", "tradeIDs": ["t1"], "transactionsHashes": [],
}  # fmt: skip
MAKER = {
    "order_id": "0xm", "asset_id": TOKEN, "maker_address": "0x1", "owner": "o", "side": "SELL", "price": "0.52",
    "matched_amount": "8", "outcome": "Up", "fee_rate_bps": "",
}  # fmt: skip
TRADE = {
    "id": "t1", "market": CONDITION, "asset_id": TOKEN, "owner": "k", "maker_address": ADDRESS, "side": "BUY",
    "taker_order_id": "0xa", "trader_side": "TAKER", "price": "0.514", "size": "20.235294", "outcome": "Up",
    "status": "TRADE_STATUS_MATCHED", "fee_rate_bps": "1000", "bucket_index": 0, "transaction_hash": "",
    "maker_orders": [
        MAKER, {**MAKER, "asset_id": OTHER, "side": "BUY", "price": "0.49", "matched_amount": "12.235294"},
    ],
    "match_time": "1790000101", "last_update": "1790000101",
}  # fmt: skip
AT_MS = 1_790_000_101_000
ORDER = {
    "id": "0xa", "market": CONDITION, "asset_id": TOKEN, "owner": "k", "maker_address": ADDRESS, "side": "BUY",
    "price": "0.52", "original_size": "20", "size_matched": "0", "outcome": "Up", "order_type": "FOK",
    "status": "DELAYED", "associate_trades": [], "created_at": 1790000100, "expiration": "0",
}  # fmt: skip


def a_page(*items):
    return {"data": list(items), "next_cursor": "LTE=", "limit": 100, "count": len(items)}


class Venue:
    """Answers by method and path; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, object]] = {
            "GET /auth/api-keys": (200, {"apiKeys": ["the-key"]}),
            f"GET /markets-by-token/{TOKEN}": (200, {"condition_id": CONDITION}),
            f"GET /clob-markets/{CONDITION}": (200, MARKET),
            "POST /order": (200, MATCHED),
            "GET /data/trades": (200, a_page(TRADE)),
            "GET /data/orders": (200, a_page()),
        }
        self.heard: list[tuple[str, dict[str, str], str]] = []
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                call = f"{self.command} {self.path.partition('?')[0]}"
                venue.heard.append((call, dict(self.headers), body))
                status, answer = venue.answers.get(call, (404, {"error": f"no {call}"}))
                answer = answer(json.loads(body)) if callable(answer) else answer
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if isinstance(answer, str) else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = answer  # noqa: N815 - the base class names them

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def environment(self):
        from polymarket.environments import PRODUCTION, _create_environment  # noqa: PLC0415

        base = f"http://127.0.0.1:{self.server.server_address[1]}"
        urls = {
            each.name: base
            for each in dataclasses.fields(PRODUCTION._config)
            if each.name.endswith("_url") and "ws" not in each.name
        }
        return _create_environment(name="test", config=dataclasses.replace(PRODUCTION._config, **urls))

    def orders(self) -> list[tuple[dict[str, str], dict[str, object]]]:
        return [(headers, json.loads(body)) for call, headers, body in self.heard if call == "POST /order"]


@asynccontextmanager
async def a_client():
    venue = Venue()
    wallet = Wallet(**WALLET)
    try:
        async with await SdkClient.open(wallet, environment=venue.environment) as client:
            yield client, venue
    finally:
        venue.server.shutdown()
        venue.server.server_close()


def an_order(**changes):
    return buy(**({"market": CONDITION, "token": TOKEN} | changes))


async def submitted(client, order=None, books=None):
    order = order or an_order()
    books = books or Books(view_of(token=TOKEN))
    executor = LiveExecutor(client, Network(), LiveConfig(poll=0.01, fills_within=0.05, decide_within=0.1))
    async with Gate(books).lease(TOKEN) as lease:
        return await executor.submit(order, lease)


async def test_what_is_sent_is_the_order_signed_and_with_credentials():
    async with a_client() as (client, venue):
        result = await submitted(client)
        ((headers, body),) = venue.orders()
    assert body["orderType"] == "FOK"
    assert body["owner"] == "the-key"
    order = body["order"]
    assert (order["side"], order["tokenId"]) == ("BUY", TOKEN)
    assert (order["makerAmount"], order["takerAmount"]) == ("10400000", "20000000")
    assert order["maker"] == order["signer"] == ADDRESS
    assert len(order["signature"]) == 132
    assert headers["POLY_API_KEY"] == "the-key"
    assert {"POLY_ADDRESS", "POLY_SIGNATURE", "POLY_TIMESTAMP", "POLY_PASSPHRASE"} <= set(headers)
    # Eight shares from a seller at 0.52, the rest of the money with a buyer of the other token at 0.49.
    assert (result.outcome, result.shares) == (Outcome.FILLED, d("20.235294"))
    assert result.money == an_order().money == d("4.16") + d("6.24")
    assert result.fee == d("0.13978") + d("0.21403")
    assert not result.exact


async def test_the_user_channel_gets_the_credentials_that_the_sdk_has():
    async with a_client() as (client, _):
        assert client.login() == {"apiKey": "the-key", "secret": WALLET["api_secret"], "passphrase": "the-phrase"}


async def test_signing_is_done_in_a_thread_of_its_own():
    async with a_client() as (client, _):
        names = []
        sign = client._signer.create_market_order

        def watched(**given):
            names.append(threading.current_thread().name)
            return sign(**given)

        client._signer.create_market_order = watched
        await client.prepare(an_order())
    assert names == ["signing_0"]


async def test_the_lease_is_checked_as_the_bytes_leave_and_its_loss_stops_them():
    async with a_client() as (client, venue):
        prepared = await client.prepare(an_order())
        looks = []

        def check():
            looks.append(len(venue.orders()))
            if len(looks) == 2:
                raise LookupError("lost")

        with pytest.raises(TradingError, match="lost"):
            await client.send(prepared, check)
        assert venue.orders() == []
        await client.send(prepared, lambda: looks.append(len(venue.orders())))
        assert len(venue.orders()) == 1
    assert looks == [0, 0, 0, 0]


async def test_a_lease_that_is_lost_is_a_refusal():
    class Dying(Books):
        def live(self, token, max_proof_age=None):
            self.alive = len(self.looks) < 2
            return super().live(token, max_proof_age)

    async with a_client() as (client, venue):
        result = await submitted(client, books=Dying(view_of(token=TOKEN)))
        assert venue.orders() == []
    assert result.outcome is Outcome.REFUSED
    assert "SUSPECT" in result.detail


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((200, {**MATCHED, "status": "delayed", "makingAmount": "", "takingAmount": ""}), Outcome.UNKNOWN),
        ((200, {**MATCHED, "status": "unmatched"}), Outcome.NO_MATCH),
        ((200, {**MATCHED, "success": False, "errorMsg": "invalid nonce"}), Outcome.REJECTED),
        ((200, {**MATCHED, "success": False, "errorMsg": "words nobody knows"}), Outcome.UNKNOWN),
        ((200, {**MATCHED, "errorMsg": "order match delayed due to market conditions"}), Outcome.UNKNOWN),
        ((400, {"error": "order match delayed due to market conditions"}), Outcome.UNKNOWN),
        ((200, "<html>"), Outcome.UNKNOWN),
        ((400, {"error": "no orders found to match with FAK order. FAK orders are ..."}), Outcome.NO_MATCH),
        ((400, {"error": "not enough balance"}), Outcome.REJECTED),
        ((400, {"error": "order 0xa is invalid. Duplicated."}), Outcome.UNKNOWN),
        ((401, {"error": "Unauthorized/Invalid api key"}), Outcome.REJECTED),
        ((425, {"error": "Too Early"}), Outcome.REJECTED),
        ((429, {"error": "Too Many Requests"}), Outcome.REJECTED),
        ((500, {"error": "could not run the execution"}), Outcome.UNKNOWN),
        ((502, "<html>"), Outcome.UNKNOWN),
        ((503, {"error": "Trading is currently disabled. Check polymarket.com for updates"}), Outcome.REJECTED),
    ],
)
async def test_each_answer_has_its_outcome_and_nothing_is_sent_again(answer, outcome):
    async with a_client() as (client, venue):
        venue.answers["POST /order"] = answer
        venue.answers["GET /data/trades"] = (200, a_page())
        venue.answers["GET /data/order/0xa"] = (200, ORDER)
        result = await submitted(client)
        assert len(venue.orders()) == 1
    assert result.outcome is outcome


async def test_a_venue_that_is_not_there_never_got_the_order():
    async with a_client() as (client, venue):
        prepared = await client.prepare(an_order())
        await client._sender._ctx.secure_clob._client.aclose()
        with pytest.raises(TradingError):
            await client.send(prepared, lambda: None)
        assert venue.orders() == []


async def test_an_order_is_looked_up():
    async with a_client() as (client, venue):
        assert await client.look_up("0xa") is None
        venue.answers["GET /data/order/0xa"] = (200, {**ORDER, "status": "matched", "size_matched": "20"})
        state = await client.look_up("0xa")
        assert (state.status, state.shares) == ("MATCHED", d(20))
        venue.answers["GET /data/order/0xa"] = (200, {**ORDER, "status": "ORDER_STATUS_CANCELED"})
        assert (await client.look_up("0xa")).status == "CANCELED"


async def test_an_order_without_a_name_is_found_by_its_fills():
    async with a_client() as (client, _):
        executor = LiveExecutor(client, Network(), LiveConfig(poll=0.01))
        result = await executor.resolve(an_order(), None)
    assert (result.outcome, result.order_id, result.shares) == (Outcome.FILLED, "0xa", d("20.235294"))


async def test_an_answer_without_end_is_none(monkeypatch):
    monkeypatch.setattr("bots.common.execution.sdk.MAX_ANSWER_BYTES", 50_000)
    async with a_client() as (client, venue):
        venue.answers["GET /data/trades"] = (200, a_page({"x": "y" * 60_000}))
        with pytest.raises(Unanswered, match="longer than 50000 bytes"):
            await client.trades(AT_MS)


async def test_trades_say_how_far_the_chain_is_with_them_and_are_only_those_we_took():
    async with a_client() as (client, venue):
        failed, made = {**TRADE, "status": "FAILED"}, {**TRADE, "trader_side": "MAKER"}
        mined = {**TRADE, "status": "TRADE_STATUS_MINED", "transaction_hash": "0x" + "7" * 64}
        strange = {**TRADE, "status": "MATCHED_NOT_BROADCASTED"}
        venue.answers["GET /data/trades"] = (200, a_page(failed, made, mined, strange))
        found = await client.trades(0)
        assert [fill.status.value for fill in found] == ["FAILED"] * 2 + ["MINED"] * 2 + ["MATCHED"] * 2
        assert [fill.tx for fill in found[1:3]] == [None, "0x" + "7" * 64]
        odd = {**TRADE, "maker_orders": [MAKER]}
        venue.answers["GET /data/trades"] = (200, a_page(odd))
        (whole,) = await client.trades(0)
    assert (whole.price, whole.shares, whole.side, whole.at_ms) == (d("0.514"), d("20.235294"), Side.BUY, AT_MS)


async def test_what_years_of_lost_markets_left_in_the_wallet_is_read_to_its_end(monkeypatch):
    async def pages(*, page_size=100):
        for first in range(0, 20_000, page_size):
            items = [SimpleNamespace(asset_id=number, current_size=d(1)) for number in range(first, first + page_size)]
            yield SimpleNamespace(items=items, has_more=first + page_size < 20_000)

    async with a_client() as (client, venue):
        venue.answers["GET /balance-allowance"] = (200, {"balance": "5000000", "allowances": {}})
        monkeypatch.setattr(client._sender, "list_positions", pages)
        holdings = await client.holdings()
        assert (holdings.cash, len(holdings.positions)) == (5, 20_000)


async def test_a_sale_is_signed_as_a_sale():
    async with a_client() as (client, venue):
        prepared = await client.prepare(sell(market=CONDITION, token=TOKEN))
        await client.send(prepared, lambda: None)
        ((_, body),) = venue.orders()
    order = body["order"]
    assert (order["side"], order["makerAmount"], order["takerAmount"]) == ("SELL", "20000000", "9600000")


async def test_an_order_that_the_sdk_cannot_make_is_not_sent():
    async with a_client() as (client, _):
        with pytest.raises(NotSent, match="tick size"):
            await client.prepare(an_order(price="0.525", money="10.50", tick=d("0.001")))
        with pytest.raises(NotSent):
            await client.prepare(an_order(token=OTHER + "9"))


async def test_wrong_credentials_are_named_without_being_shown():
    venue = Venue()
    venue.answers["GET /auth/api-keys"] = (500, {"error": f"broken for {KEY[2:]} and the-phrase"})
    wallet = Wallet(**WALLET)
    with pytest.raises(TradingError, match="log in") as refused:
        await SdkClient.open(wallet, environment=venue.environment)
    venue.server.shutdown()
    venue.server.server_close()
    for secret in (KEY[2:], "the-phrase", "the-key"):
        assert secret not in str(refused.value)
        assert secret not in repr(wallet)


MADE = {"apiKey": "made-key-Q7x1", "secret": "bWFkZS1zZWNyZXQtUTd4MQ==", "passphrase": "made-phrase-Q7x1"}


@pytest.mark.parametrize("late", [False, True])
async def test_credentials_that_the_venue_makes_are_secrets_as_well(late, monkeypatch):
    venue = Venue()
    echo = {"error": " ".join(MADE.values())}
    venue.answers["POST /auth/api-key"] = venue.answers["GET /auth/derive-api-key"] = (200, MADE)
    venue.answers["GET /data/trades"] = (500, echo)
    try:
        if late:
            monkeypatch.setattr(
                sdk.SecureClient, "create", lambda **_given: (_ for _ in ()).throw(ValueError(f"{echo}"))
            )

        async def ask():
            wallet = Wallet(private_key=KEY, address=ADDRESS)
            async with await SdkClient.open(wallet, environment=venue.environment) as client:
                assert client.login() == MADE
                await client.trades(0)

        with pytest.raises(TradingError) as refused:
            await ask()
    finally:
        venue.server.shutdown()
        venue.server.server_close()
    assert "***" in str(refused.value)
    assert not [secret for secret in MADE.values() if secret in f"{refused.value}"]


@pytest.mark.parametrize("key", ["", "nonsense", KEY[:-2]])
async def test_a_key_that_cannot_be_one_is_not_taken_for_a_network_that_fails(key):
    with pytest.raises(BotError, match="the credentials cannot be used") as refused:
        await SdkClient.open(Wallet(private_key=key))
    assert not isinstance(refused.value, TradingError)
    assert not key or key not in str(refused.value)


async def test_a_wallet_that_could_not_redeem_what_it_won_is_not_approved():
    async with a_client() as (client, _):
        client._sender._ctx = dataclasses.replace(client._sender._ctx, wallet_type="DEPOSIT_WALLET")
        with pytest.raises(TradingError, match="deposit wallet redeems through the venue's relayer"):
            await client.approved()


class Node:
    """A node of the chain that names any price of gas."""

    def __init__(self, price, gas):
        self.methods = []
        self.says = {
            "eth_chainId": hex(137), "eth_getTransactionCount": "0x0", "eth_gasPrice": hex(price),
            "eth_estimateGas": hex(gas), "eth_sendRawTransaction": "0x" + "7" * 64,
            "eth_getTransactionReceipt": {"status": "0x1"},
        }  # fmt: skip

    def __call__(self, asked):
        self.methods.append(asked["method"])
        return {"jsonrpc": "2.0", "id": asked["id"], "result": self.says[asked["method"]]}


@pytest.mark.parametrize(
    ("price", "gas", "signed"),
    [
        (30 * 10**9, 200_000, True),
        (2_500 * 10**9, 200_000, True),
        (2_500 * 10**9 + 1, 200_000, False),
        (30 * 10**9, 10**12, False),
        (150_000 * 10**15, 200_000, False),
    ],
)
async def test_no_gas_is_paid_beyond_the_bound_whatever_a_node_says(price, gas, signed):
    from polymarket._internal.actions.relayer.calls import TransactionCall  # noqa: PLC0415

    async with a_client() as (client, venue):
        node = Node(price, gas)
        venue.answers["POST /"] = (200, node)
        venue.answers["GET /balance-allowance"] = (200, {"balance": "20000000", "allowances": {}})
        call = TransactionCall(to=ADDRESS, data="0x", value=0)
        client._signer.redeem_positions = lambda **_given: client._signer._broadcast_eoa_call(call)
        if signed:
            assert (await client.redeem(CONDITION, TOKEN)).shares == 20
        else:
            with pytest.raises(NotSent, match=r"the node asks for .* POL and no more than live\.max_gas, 0\.5 POL"):
                await client.redeem(CONDITION, TOKEN)
    assert ("eth_sendRawTransaction" in node.methods) is signed


def test_an_sdk_that_signs_in_another_way_is_refused():
    with pytest.raises(BotError, match="built differently"):
        _bound_gas(object(), Decimal(1))


def test_half_of_the_credentials_are_refused():
    with pytest.raises(ConfigError, match="api_key"):
        Wallet(private_key=KEY, api_key="k")
    with pytest.raises(ConfigError, match="relayer_key"):
        Wallet(private_key=KEY, relayer_key="k")


def test_an_sdk_that_is_built_differently_is_refused():
    with pytest.raises(BotError, match="live trading needs 0"):
        _watch_departures(object())


@given(st.data(), st.integers(100, 1_000_000).map(lambda units: Decimal(units).scaleb(-2)))
def test_what_the_sdk_signs_is_the_order_on_every_grid(data, money):
    from polymarket._internal.actions.orders.market import _compute_market_order_amounts  # noqa: PLC0415

    tick = data.draw(st.sampled_from(TICKS))
    price = tick * data.draw(st.integers(1, int(1 / tick) - 1))
    assume(keeps_price(money, shares_for(money, price, tick), price))
    order = buy(money, price, tick=tick, fee=CRYPTO)
    maker, taker = _compute_market_order_amounts(amount=money, price=price, side="BUY", tick_size=tick)

    class Signed:
        token_id, side, order_type = order.token, "BUY", "FOK"
        maker_amount, taker_amount = maker, taker

    _must_be(order, Signed)
    Signed.maker_amount = maker + 10_000
    with pytest.raises(NotSent, match="another order"):
        _must_be(order, Signed)


def test_a_prepared_order_does_not_show_its_signature():
    assert "0xsigned" not in repr(Prepared(order=buy(), order_id=None, payload="0xsigned"))
