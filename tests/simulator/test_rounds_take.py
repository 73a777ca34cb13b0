"""A taker's order: what it gets, what the exchange broadcasts of it, and that nothing is out of order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest

from polymirror.errors import UnknownToken
from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, RoundsConfig, Session
from polymirror.simulator.frames import Frame
from tests.simulator.naive import NaiveClient

if TYPE_CHECKING:
    from polymirror.simulator.exchange.agenda import Output

PUNCTUAL: dict[str, Any] = {"late_trade_price": False, "late_tick_size": False, "hash_one_change_late": 0.0}
QUIET = ExchangeConfig(seed=1, flow=FlowConfig(rate=0.001, fair=0.5), new_market_every_ms=None, **PUNCTUAL)

Side = Literal["BUY", "SELL"]
ONE_SHARE = 1_000_000


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_it_gets_the_best_levels_within_its_limit_and_they_are_gone(index: int, side: Side) -> None:
    exchange = Exchange(QUIET)
    token = exchange.tokens[index]
    before = exchange.truth(token)
    levels = before[1 if side == "BUY" else 0]
    wanted = levels[0][1] + levels[1][1] + ONE_SHARE
    fills = exchange.take(token, side, levels[4][0], wanted, exchange.now_ms, all_or_nothing=True)
    assert fills == [levels[0], levels[1], (levels[2][0], ONE_SHARE)]
    bids, asks = exchange.truth(token)
    left = ((levels[2][0], levels[2][1] - ONE_SHARE), *levels[3:])
    assert (bids, asks) == ((before[0], left) if side == "BUY" else (left, before[1]))


def test_all_or_nothing_takes_nothing_when_the_limit_does_not_hold_enough() -> None:
    exchange = Exchange(QUIET)
    token = exchange.tokens[0]
    before = exchange.truth(token)
    [best, second, *_] = before[1]
    wanted = best[1] + ONE_SHARE
    assert exchange.take(token, "BUY", best[0], wanted, exchange.now_ms, all_or_nothing=True) == []
    assert exchange.take(token, "BUY", best[0] - 100, wanted, exchange.now_ms, all_or_nothing=False) == []
    assert exchange.truth(token) == before
    assert exchange.step(exchange.now_ms) == []
    assert exchange.take(token, "BUY", best[0], wanted, exchange.now_ms, all_or_nothing=False) == [best]
    assert exchange.truth(token)[1][0] == second


def test_it_is_broadcast_at_the_next_step_like_any_trade() -> None:
    exchange = Exchange(QUIET)
    token, other = exchange.tokens
    best = exchange.truth(token)[1][0]
    at = exchange.now_ms + 250
    exchange.take(token, "BUY", best[0], best[1], at, all_or_nothing=True)
    assert exchange.next_event_ms() == at
    frames = exchange.step(at)
    kinds = [frame.kind for frame in frames]
    assert kinds == ["last_trade_price", "price_change", "book", "book", "best_bid_ask", "best_bid_ask"]
    assert {frame.at_ms for frame in frames} == {at}
    told = json.loads(frames[0].text)
    assert (told["asset_id"], told["side"]) == (token, "BUY")
    assert (float(told["price"]), float(told["size"])) == (best[0] / 10_000, best[1] / ONE_SHARE)
    assert {frame.token for frame in frames if frame.kind == "book"} == {token, other}
    assert exchange.step(at) == []


def test_every_hash_and_top_is_right_while_somebody_takes_all_the_time() -> None:
    rounds = RoundsConfig(assets=("btc",), window_s=300, lag_s=5.0, settle_delay_s=5.0)
    exchange = Exchange(ExchangeConfig(seed=2, rounds=rounds, **PUNCTUAL))
    client, session = NaiveClient(), Session(exchange)
    first = {"assets_ids": list(exchange.tokens), "type": "market", "custom_feature_enabled": True}

    def feed(items: list[Any]) -> None:
        for item in items:
            if isinstance(item, Frame) and item.kind != "new_market":
                client.feed(item.text)

    feed(session.receive(json.dumps(first), exchange.now_ms))
    tokens, got = exchange.tokens, 0
    for number in range(300):
        at = exchange.now_ms + 1_009
        token, side = tokens[number % len(tokens)], ("BUY", "SELL")[number // 4 % 2]
        limit = 9_900 if side == "BUY" else 100
        got += len(exchange.take(token, side, limit, 300 * ONE_SHARE, at, all_or_nothing=False))  # type: ignore[arg-type]
        feed(session.outgoing(exchange.step(at + 3)))
    client.finish()
    seen = client.seen
    assert got > 300
    assert seen["hash_right"] == seen["hash"] > 1_000
    assert seen["top_right"] == seen["top"] > 500
    assert seen["complement_right"] == seen["complement"]
    assert seen["resent_equal"] == seen["resent"] > 500
    assert seen["crossed"] == 0


def test_prints_of_one_taker_come_in_order_and_the_last_one_is_in_the_hash() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FlowConfig(rate=0.001, fair=0.5), new_market_every_ms=None))
    token = exchange.tokens[0]
    levels = exchange.truth(token)[1][:3]
    exchange.take(token, "BUY", 9_900, sum(size for _, size in levels), exchange.now_ms, all_or_nothing=True)
    frames = exchange.step(exchange.now_ms) + exchange.step(exchange.now_ms + 30)
    prints = [json.loads(frame.text) for frame in frames if frame.kind == "last_trade_price"]
    assert [(float(told["price"]), float(told["size"])) for told in prints] == [
        (price / 10_000, size / ONE_SHARE) for price, size in levels
    ]
    last = levels[-1][0] / 10_000
    assert exchange.markets[0].trade_price in {f"{last:.3f}", f"{1 - last:.3f}"}


def test_what_happens_before_it_is_sent_before_it() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FlowConfig(rate=200.0, fair=0.5)))
    at = exchange.now_ms + 500
    exchange.take(exchange.tokens[0], "BUY", 9_900, ONE_SHARE, at, all_or_nothing=True)
    assert exchange.now_ms == at
    times = [frame.at_ms for frame in exchange.step(at + 500)]
    assert times == sorted(times)
    assert times[0] < at < times[-1]


def test_an_event_of_the_agenda_may_take() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FlowConfig(rate=200.0, fair=0.5), new_market_every_ms=None))
    got: list[tuple[int, int]] = []

    def match(at_ms: int, out: Output) -> None:
        del out
        got.extend(exchange.take(exchange.tokens[0], "BUY", 9_900, ONE_SHARE, at_ms, all_or_nothing=True))

    exchange.agenda.add(exchange.now_ms + 250, match)
    times = [frame.at_ms for frame in exchange.step(exchange.now_ms + 1_000)]
    assert len(got) == 1
    assert times == sorted(times)


def test_an_event_that_takes_does_not_let_others_of_its_millisecond_go_first() -> None:
    exchange = Exchange(QUIET)
    order: list[str] = []

    def match(at_ms: int, out: Output) -> None:
        del out
        exchange.take(exchange.tokens[0], "BUY", 9_900, ONE_SHARE, at_ms, all_or_nothing=True)
        order.append("take")

    exchange.agenda.add(exchange.now_ms + 250, match)
    exchange.agenda.add(exchange.now_ms + 250, lambda _at_ms, _out: order.append("other"))
    exchange.step(exchange.now_ms + 1_000)
    assert order == ["take", "other"]


def test_nothing_is_filled_while_nothing_trades() -> None:
    exchange = Exchange(QUIET)
    token = exchange.tokens[0]

    def take() -> list[tuple[int, int]]:
        return exchange.take(token, "BUY", 9_900, ONE_SHARE, exchange.now_ms, all_or_nothing=True)

    exchange.paused_until_ms = exchange.now_ms + 1
    assert take() == []
    exchange.paused_until_ms, exchange.post_only_until_ms = 0, exchange.now_ms + 1
    assert take() == []
    exchange.step(exchange.now_ms + 1)
    assert len(take()) == 1
    exchange.settle(resolve_delay_ms=0)
    exchange.step(exchange.now_ms)
    assert take() == []
    with pytest.raises(UnknownToken):
        exchange.take("1", "BUY", 9_900, ONE_SHARE, exchange.now_ms, all_or_nothing=True)
