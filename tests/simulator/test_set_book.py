"""Books that a test writes down: what goes out is as the venue tells it, and nobody but accounts changes them."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random

import pytest

from polymirror import ConfigError, UnknownToken
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.orders.states import OrderState
from tests.simulator.resting_rig import ME, SHARE, YOU, traders

TEN, FIVE = 10 * SHARE, 5 * SHARE


def test_both_tokens_have_the_book_and_all_that_is_told_of_it_is_right() -> None:
    rig = traders(rate=20.0)
    up, down = rig.tokens
    rig.wait(2_000)
    for bids, asks in (
        ([(4_600, TEN), (4_700, FIVE)], [(4_800, FIVE), (9_900, TEN)]),
        ([(4_700, 1)], [(4_800, FIVE)]),
        ([], [(100, TEN)]),
        ([(9_900, 10**18)], []),
        ([], []),
    ):
        rig.exchange.set_book(up, bids, asks, rig.exchange.now_ms + 10)
        kinds = rig.wait()
        assert "price_change" in kinds
        assert rig.exchange.truth(up) == (tuple(sorted(bids, reverse=True)), tuple(sorted(asks)))
        mirrored = [(10_000 - price, size) for price, size in asks]
        assert rig.exchange.truth(down)[0] == tuple(sorted(mirrored, reverse=True))
        rig.checked()
    rig.exchange.set_book(down, [(3_000, FIVE)], [(3_100, TEN)], rig.exchange.now_ms)
    assert rig.exchange.truth(up) == (((6_900, TEN),), ((7_000, FIVE),))
    rig.checked()


def test_the_order_flow_leaves_the_market_alone_afterwards_and_other_markets_live_on() -> None:
    rig = traders(rate=50.0)
    rig.wait(500)
    rig.exchange.set_book(rig.tokens[0], [(4_700, TEN)], [(4_800, TEN)], rig.exchange.now_ms)
    rig.wait()
    assert rig.wait(60_000) == []
    assert rig.exchange.truth(rig.tokens[0]) == (((4_700, TEN),), ((4_800, TEN),))


def test_the_same_book_again_tells_nothing() -> None:
    rig = traders()
    for expected in (True, False):
        rig.exchange.set_book(rig.tokens[0], [(4_700, TEN)], [(4_800, TEN)], rig.exchange.now_ms + 5)
        assert ("price_change" in rig.wait()) is expected


def test_a_change_that_a_hash_has_told_already_still_happens() -> None:
    flow = FlowConfig(rate=50.0, trade_share=0.0)
    exchange = Exchange(ExchangeConfig(flow=flow, new_market_every_ms=None, hash_one_change_late=1.0))
    (market,) = exchange.markets
    while market.planned is None:
        exchange.step(exchange.next_event_ms() or 0)
    told = market.planned.changes[0]
    exchange.set_book(market.tokens[0], [(4_700, TEN)], [], exchange.now_ms)
    first, *_ = (json.loads(frame.text) for frame in exchange.step(exchange.now_ms) if frame.kind == "price_change")
    stated = {(change["asset_id"], change["side"]): change for change in first["price_changes"]}
    change = stated[market.tokens[told.side], "BUY"]
    assert (Decimal(change["price"]) * 10_000, Decimal(change["size"]) * SHARE) == (told.price, told.size)
    assert exchange.truth(market.tokens[0]) == (((4_700, TEN),), ())


def test_orders_of_accounts_stay_and_those_that_are_crossed_trade() -> None:
    rig = traders()
    rig.exchange.set_book(rig.tokens[0], [(4_000, TEN)], [(6_000, TEN)], rig.exchange.now_ms)
    mine, yours = rig.place(ME, "BUY", 0, 50, 10), rig.place(YOU, "BUY", 0, 45, 10)
    rig.exchange.set_book(rig.tokens[0], [(3_000, TEN)], [(4_900, 4 * SHARE), (6_000, TEN)], rig.exchange.now_ms)
    rig.checked()
    assert (mine.size_matched, mine.state) == (4 * SHARE, OrderState.LIVE)
    assert (yours.size_matched, yours.state) == (0, OrderState.LIVE)
    assert rig.exchange.truth(rig.tokens[0]) == (
        ((5_000, 6 * SHARE), (4_500, TEN), (3_000, TEN)),
        ((6_000, TEN),),
    )
    rig.broker.cancel_all(ME, rig.exchange.now_ms)
    rig.broker.cancel_all(YOU, rig.exchange.now_ms)
    rig.checked()
    assert rig.exchange.truth(rig.tokens[0]) == (((3_000, TEN),), ((6_000, TEN),))


def test_an_account_takes_from_a_written_book_as_from_any_other() -> None:
    rig = traders()
    rig.exchange.set_book(rig.tokens[0], [(4_000, TEN)], [(6_000, TEN)], rig.exchange.now_ms)
    order = rig.place(ME, "BUY", 0, 60, 4, "FAK")
    rig.checked()
    assert order.size_matched == 4 * SHARE
    assert rig.exchange.truth(rig.tokens[0])[1] == ((6_000, 6 * SHARE),)


def test_a_finer_grid_is_announced_before_the_first_price_on_it() -> None:
    rig = traders()
    with pytest.raises(ConfigError, match=r"bids='0\.475' .*grid of 0\.01"):
        rig.exchange.set_book(rig.tokens[0], [(4_750, TEN)], [], rig.exchange.now_ms)
    rig.exchange.set_book(rig.tokens[0], [(4_750, TEN)], [], rig.exchange.now_ms, tick=10)
    kinds = rig.wait()
    assert kinds.index("tick_size_change") < kinds.index("price_change")
    rig.checked()


@pytest.mark.parametrize(
    ("bids", "asks", "sentence"),
    [
        ([(4_800, 1)], [(4_800, 1)], r"bids='0\.48' is not allowed: it must be below the best ask, which is 0\.48"),
        ([(0, 1)], [], r"bids='0' .*between 0 and 1 pUSD"),
        ([], [(10_000, 1)], r"asks='1' .*between 0 and 1 pUSD"),
        ([], [(-100, 1)], r"asks='-100' .*between 0 and 1 pUSD"),
        ([(100, 1), (100, 2)], [], r"bids='0\.01' .*named once"),
        ([(100, 0)], [], r"bids='0\.01 x 0' .*size above 0"),
        ([], [(100, 10**19)], r"asks=.*up to a trillion shares"),
    ],
)
def test_a_book_that_cannot_be_is_refused_and_changes_nothing(bids, asks, sentence) -> None:
    rig = traders(rate=20.0)
    before = rig.exchange.truth(rig.tokens[0])
    with pytest.raises(ConfigError, match=sentence):
        rig.exchange.set_book(rig.tokens[0], bids, asks, rig.exchange.now_ms)
    assert rig.exchange.truth(rig.tokens[0]) == before
    assert not rig.market.scripted


def test_a_grid_that_the_venue_has_not_a_market_that_is_over_and_a_stranger_are_refused() -> None:
    rig = traders()
    with pytest.raises(ConfigError, match=r"tick=7 .*one of 1000, 100"):
        rig.exchange.set_book(rig.tokens[0], [], [], rig.exchange.now_ms, tick=7)
    with pytest.raises(UnknownToken):
        rig.exchange.set_book("1", [], [], rig.exchange.now_ms)
    rig.exchange.settle()
    rig.wait(10_000)
    with pytest.raises(ConfigError, match=r"of a market that trades, and btc-.* is resolved"):
        rig.exchange.set_book(rig.tokens[0], [], [], rig.exchange.now_ms)


def test_a_long_script_of_books_and_orders_leaves_every_hash_right_and_the_ledger_balanced() -> None:
    rng, rig = Random(4), traders(rate=30.0)
    for _ in range(60):
        bids = {rng.randrange(1, 48) * 100: rng.randrange(1, 10**9) for _ in range(rng.randrange(6))}
        asks = {rng.randrange(48, 97) * 100: rng.randrange(1, 10**9) for _ in range(rng.randrange(6))}
        rig.exchange.set_book(rig.tokens[rng.randrange(2)], bids.items(), asks.items(), rig.exchange.now_ms + 3)
        for who in (ME, YOU):
            if rng.random() < 0.5:
                rig.broker.cancel_all(who, rig.exchange.now_ms)
            rig.place(who, "BUY", rng.randrange(2), rng.randrange(5, 60), rng.randrange(5, 12))
        rig.checked()
