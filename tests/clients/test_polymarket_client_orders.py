"""``polymarket-client`` with credentials: orders, look-ups, the user channel, positions, the second relay."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tests.clients.sdk import events, sdk, secure, streams
from tests.clients.venue import ADDRESS, OTHER_KEY, QUIET, open_venue

pytestmark = pytest.mark.anyio
NAME = "polymarket-client"

LOW = Decimal("0.02")
"""A price at which nobody sells."""


@asynccontextmanager
async def trader(**options):
    """A quiet exchange and the account of KEY on it."""
    async with open_venue(rate=options.pop("rate", QUIET), **options) as venue, secure(venue) as client:
        yield venue, client


async def until(ask, seconds=5.0):
    """Ask again until the answer is true, for look-ups that lag."""
    async with asyncio.timeout(seconds):
        while not (found := await ask()):  # noqa: ASYNC110 - the venue tells no one
            await asyncio.sleep(0.05)
    return found


async def all_of(pages):
    return [item async for page in pages for item in page.items]


async def book_size(client, token, price):
    """What rests at a price on the side of the buyers."""
    book = await client.get_order_book(asset_id=token)
    return sum(level.size for level in book.bids if level.price == price)


@pytest.mark.client(NAME, "AsyncSecureClient.create, fetch_api_keys, get_closed_only_mode")
async def test_logging_in_again_gives_the_same_credentials():
    async with trader() as (venue, client):
        async with secure(venue) as again, secure(venue, credentials=client.credentials) as given:
            assert again.credentials == client.credentials == given.credentials
        assert client.credentials.key in await client.fetch_api_keys()
        assert await client.get_closed_only_mode() is False
        async with secure(venue, key=OTHER_KEY, wallet=sdk_address(OTHER_KEY)) as other:
            assert other.credentials.key != client.credentials.key


def sdk_address(key):
    from eth_account import Account  # noqa: PLC0415 - comes with the SDK

    return Account.from_key(key).address


@pytest.mark.client(NAME, "AsyncSecureClient.create with the default deposit wallet")
async def test_a_deposit_wallet_is_the_default():
    async with open_venue(rate=QUIET) as venue, secure(venue, wallet=None) as client:
        assert client.wallet_type == "DEPOSIT_WALLET"
        assert client.wallet != ADDRESS


@pytest.mark.client(NAME, "place_limit_order (GTC), list_open_orders, get_order, cancel_order")
async def test_a_resting_order_is_in_the_book_until_it_is_cancelled():
    async with trader() as (venue, client):
        token = venue.tokens[0]
        before = await book_size(client, token, LOW)
        placed = await client.place_limit_order(asset_id=token, price=LOW, size=10, side="BUY")
        assert (placed.ok, placed.status, placed.trade_ids) == (True, "live", ())
        assert await book_size(client, token, LOW) == before + 10
        (order,) = await until(lambda: all_of(client.list_open_orders(market=venue.condition(token))))
        assert (order.id, order.price, order.original_size, order.size_matched) == (placed.order_id, LOW, 10, 0)
        assert (order.status, order.order_type, order.side) == ("LIVE", "GTC", "BUY")
        cancelled = await client.cancel_order(order_id=placed.order_id)
        assert cancelled.canceled == (placed.order_id,)
        assert await book_size(client, token, LOW) == before
        assert not await all_of(client.list_open_orders())
        assert (await client.get_order(order_id=placed.order_id)).status.startswith("CANCELED")


@pytest.mark.client(NAME, "place_limit_order (GTD)")
async def test_an_order_may_state_when_it_ends():
    async with trader() as (venue, client):
        end = int(time.time()) + 300
        placed = await client.place_limit_order(
            asset_id=venue.tokens[0], price=LOW, size=10, side="BUY", expiration=end
        )
        order = await until(lambda: client.get_order(order_id=placed.order_id))
        assert (order.order_type, int(order.expires_at.timestamp())) == ("GTD", end)


@pytest.mark.client(NAME, "place_limit_order (post-only)")
async def test_a_post_only_order_that_would_trade_is_refused():
    async with trader() as (venue, client):
        token = venue.tokens[0]
        ask = await client.get_price(asset_id=token, side="SELL")
        crossing = await refusal(
            client.place_limit_order(asset_id=token, price=ask, size=10, side="BUY", post_only=True)
        )
        assert "crosses book" in crossing
        assert (await client.place_limit_order(asset_id=token, price=LOW, size=10, side="BUY", post_only=True)).ok


async def refusal(call):
    """The venue's words, whether they came with 400 or with success false."""
    try:
        answer = await call
    except sdk.RequestRejectedError as error:
        return str(error) if error.status == 400 else f"status {error.status}"
    return "" if answer.ok else answer.message


@pytest.mark.client(NAME, "place_market_order (FAK), wait_for_order_fill_settlement, list_account_trades")
async def test_a_market_order_spends_its_money_and_its_trades_settle():
    async with trader() as (venue, client):
        token = venue.tokens[0]
        before = (await client.get_balance_allowance(asset_type="COLLATERAL")).balance
        ask = await client.get_price(asset_id=token, side="SELL")
        bought = await client.place_market_order(asset_id=token, side="BUY", amount=5, max_price=ask + Decimal("0.05"))
        assert (bought.ok, bought.status, bought.making_amount) == (True, "matched", 5)
        hashes = await client.wait_for_order_fill_settlement(bought, timeout_s=10)
        assert hashes
        trades = await all_of(client.list_account_trades(market=venue.condition(token)))
        ours = [trade for trade in trades if trade.id in bought.trade_ids]
        assert {trade.status for trade in ours} == {"CONFIRMED"}
        assert {trade.transaction_hash for trade in ours} == set(hashes)
        assert sum(trade.size for trade in ours) == bought.taking_amount
        assert {trade.trader_side for trade in ours} == {"TAKER"}
        held = (await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=token)).balance
        assert held == bought.taking_amount * 1_000_000
        after = (await client.get_balance_allowance(asset_type="COLLATERAL")).balance
        fee = before - after - 5_000_000
        assert 0 < fee < 400_000


@pytest.mark.client(NAME, "place_market_order (FOK) that cannot be filled whole")
async def test_an_order_that_cannot_be_filled_whole_is_killed():
    async with trader() as (venue, client):
        token = venue.tokens[0]
        ask = await client.get_price(asset_id=token, side="SELL")
        far = client.place_market_order(asset_id=token, side="BUY", amount=900, max_price=ask, order_type="FOK")
        assert await refusal(far) == "order couldn't be fully filled. FOK orders are fully filled or killed."
        none = client.place_market_order(asset_id=token, side="BUY", amount=5, max_price=Decimal("0.01"))
        assert (await refusal(none)).startswith("no orders found to match with FAK order.")


@pytest.mark.client(NAME, "post_orders, cancel_orders, cancel_market_orders, cancel_all")
async def test_orders_are_placed_and_cancelled_by_the_many():
    async with trader() as (venue, client):

        async def place(*tokens):
            signed = [
                await client.create_limit_order(asset_id=token, price=LOW, size=5 + number, side="BUY")
                for number, token in enumerate(tokens)
            ]
            answers = await client.post_orders(signed)
            assert [answer.status for answer in answers] == ["live"] * len(tokens)
            return [answer.order_id for answer in answers]

        first, second = venue.tokens[0], venue.tokens[2]
        ids = await place(first, first, second)
        done = await client.cancel_orders(order_ids=ids[:1])
        assert (set(done.canceled), done.not_canceled) == ({ids[0]}, {})
        done = await client.cancel_market_orders(market=venue.condition(second))
        assert set(done.canceled) == {ids[2]}
        ids += await place(second)
        done = await client.cancel_all()
        assert set(done.canceled) == {ids[1], ids[3]}
        gone = await client.cancel_order(order_id=ids[0])
        assert set(gone.not_canceled) == {ids[0]}


@pytest.mark.client(NAME, "subscribe(UserSpec): orders")
async def test_the_user_channel_tells_of_orders():
    async with trader() as (venue, client):
        token = venue.tokens[0]
        handle = await client.subscribe(streams.UserSpec(markets=[venue.condition(token)]))
        placed = await client.place_limit_order(asset_id=token, price=LOW, size=10, side="BUY")
        await client.cancel_order(order_id=placed.order_id)
        async with asyncio.timeout(10):
            told = [(await anext(handle)).payload for _ in range(2)]
        assert [each.order_event_type for each in told] == ["PLACEMENT", "CANCELLATION"]
        assert {each.id for each in told} == {placed.order_id}
        assert (told[0].price, told[0].original_size, told[0].size_matched) == (LOW, 10, 0)
        assert client._get_user_manager().dropped_events == 0


@pytest.mark.client(NAME, "subscribe(UserSpec): trades, all markets")
async def test_the_user_channel_tells_of_each_step_of_a_trade():
    async with trader() as (venue, client):
        handle = await client.subscribe(streams.UserSpec())
        bought = await client.place_market_order(asset_id=venue.tokens[0], side="BUY", amount=2)
        steps = {trade: [] for trade in bought.trade_ids}
        async with asyncio.timeout(15):
            while not all(words and words[-1] == "CONFIRMED" for words in steps.values()):
                event = await anext(handle)
                if event.type == "trade":
                    steps[event.payload.id].append(event.payload.status)
        assert {tuple(words) for words in steps.values()} == {("MATCHED", "MINED", "CONFIRMED")}


@pytest.mark.client(NAME, "send_order_heartbeat")
async def test_without_a_heartbeat_all_orders_are_cancelled():
    async with trader() as (venue, client):
        beat = await client.send_order_heartbeat()
        beat = await client.send_order_heartbeat(heartbeat_id=beat.heartbeat_id)
        with pytest.raises(sdk.OrderHeartbeatMismatchError) as refused:
            await client.send_order_heartbeat(heartbeat_id="another")
        assert refused.value.heartbeat_id == beat.heartbeat_id
        placed = await client.place_limit_order(asset_id=venue.tokens[0], price=LOW, size=10, side="BUY")

        async def cancelled():
            return (await client.get_order(order_id=placed.order_id)).status.startswith("CANCELED")

        await until(cancelled, seconds=20)


@pytest.mark.client(NAME, "list_positions, get_portfolio_value, get_trading_approvals_state")
async def test_what_was_bought_is_a_position():
    async with trader() as (venue, client):
        bought = await client.place_market_order(asset_id=venue.tokens[0], side="BUY", amount=5)
        (position,) = await until(lambda: all_of(client.list_positions()))
        assert (position.asset_id, position.current_size) == (venue.tokens[0], bought.taking_amount)
        assert (await client.get_portfolio_value()).value > 0
        assert (await client.get_trading_approvals_state()).is_fully_approved


async def held(client, tokens):
    """How much the account has of each token, in 1/1,000,000."""
    kinds = [{"asset_type": "CONDITIONAL", "asset_id": token} for token in tokens]
    return [(await client.get_balance_allowance(**kind)).balance for kind in kinds]


@pytest.mark.client(NAME, "split_position, merge_positions of an EOA")
async def test_a_dollar_is_split_and_merged_again():
    async with trader() as (venue, client):
        condition, pair = venue.condition(venue.tokens[0]), venue.tokens[:2]
        await (await client.split_position(condition_id=condition, amount=10_000_000)).wait()
        assert await held(client, pair) == [10_000_000, 10_000_000]
        await (await client.merge_positions(condition_id=condition, amount="max")).wait()
        assert await held(client, pair) == [0, 0]


@pytest.mark.client(NAME, "redeem_positions of an EOA")
async def test_what_won_is_redeemed():
    async with trader(settle_after=3) as (venue, client):
        condition, pair = venue.condition(venue.tokens[0]), venue.tokens[:2]
        before = (await client.get_balance_allowance(asset_type="COLLATERAL")).balance
        await (await client.split_position(condition_id=condition, amount=10_000_000)).wait()

        async def closed():
            return (await client.get_market(slug=venue.slugs[0])).state.closed

        await until(closed, seconds=20)
        await (await client.redeem_positions(condition_id=condition)).wait()
        assert await held(client, pair) == [0, 0]
        assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance == before


@pytest.mark.client(NAME, "split_position, merge_positions of a deposit wallet, by the relayer")
async def test_the_relayer_splits_and_merges_for_a_deposit_wallet():
    key = sdk.RelayerApiKey(key="simulated", address=ADDRESS)
    async with open_venue(rate=QUIET) as venue, secure(venue, wallet=None, api_key=key) as client:
        condition = venue.condition(venue.tokens[0])
        done = await (await client.split_position(condition_id=condition, amount=10_000_000)).wait()
        assert done.transaction_hash.startswith("0x")
        await (await client.merge_positions(condition_id=condition, amount="max")).wait()


@pytest.mark.client(NAME, "subscribe(CryptoPriceSpec, CryptoTwapPriceSpec): PolyBolt")
@pytest.mark.parametrize("provider", [None, "chainlink", "pyth"])
async def test_the_second_relay_tells_prices_and_averages_with_their_past(provider):
    async with trader() as (_, client):
        spot, average = await asyncio.gather(
            events(client, streams.CryptoPriceSpec(symbols=["btcusd", "ethusd"], provider=provider), 4),
            events(client, streams.CryptoTwapPriceSpec(symbols=["btcusd"]), 3),
        )
    assert [event.type for event in average] == ["subscribe", "update", "update"]
    assert sorted(event.payload.symbol for event in spot if event.type == "subscribe") == ["btcusd", "ethusd"]
    assert {event.payload.source for event in spot} == {provider or "chainlink"}
    assert {event.payload.source for event in average} == {"chainlink"}
