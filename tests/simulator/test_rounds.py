"""Rolling rounds from their listing to their settlement, read with the library's own parsers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from polymirror.errors import ConfigError, UnknownToken
from polymirror.simulator import Exchange, ExchangeConfig, FaultLine, OracleConfig, Plan, Round, RoundsConfig
from polymirror.simulator.exchange.fair import probability_up
from polymirror.simulator.faults.catalogue import make_faults
from polymirror.simulator.frames import Call, Frame
from polymirror.simulator.settings import DEFAULT_START_MS as START
from polymirror.simulator.surface.rest import Desk
from polymirror.venue.fields import Reader, parse_json
from polymirror.venue.market import Market, parse_market
from polymirror.venue.windows import Interval, window_at

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60_000
WINDOW = 900_000
SMALL = RoundsConfig(assets=("btc", "eth"))


def venue(rounds: RoundsConfig = SMALL, *, start_ms: int = START, **others: object) -> Exchange:
    return Exchange(ExchangeConfig(seed=4, rounds=rounds, start_ms=start_ms, new_market_every_ms=None, **others))  # type: ignore[arg-type]


def rounds_of(exchange: Exchange) -> list[Round]:
    assert exchange.rounds is not None
    return list(exchange.rounds.known.values())


def described(exchange: Exchange, slug: str, *, closed: bool = False) -> Market | None:
    """The market as the library reads it from the event around it."""
    query = {"slug": slug, "closed": "true"} if closed else {"slug": slug}
    answer = Desk(exchange).answer(Call("GET", "/events", query))
    events = parse_json(answer.body.encode(), "GET /events")
    if not events:
        return None
    event = Reader.of("event", events[0])
    return parse_market(event.objects("markets")[0].fields, "event", event)


def book_status(exchange: Exchange, token: str) -> int:
    return Desk(exchange).answer(Call("GET", "/book", {"token_id": token})).status


def test_the_current_and_the_next_windows_are_listed_under_the_venues_names() -> None:
    exchange = venue(RoundsConfig(assets=("btc", "xrp"), ahead=2), start_ms=START + 5 * MINUTE)
    for asset in ("btc", "xrp"):
        for ahead in range(3):
            window = window_at(asset, Interval.FIFTEEN_MINUTES, START / 1_000 + 900 * ahead)
            market = exchange.market_by_slug(window.slug)
            assert market is not None
            assert (market.window_start_ms, market.window_end_ms) == (window.start * 1_000, window.end * 1_000)
            assert exchange.truth(market.tokens[0])[0]
    assert len(exchange.markets) == 6
    assert len(set(exchange.tokens)) == 12


def test_at_each_boundary_the_next_window_is_listed_and_announced() -> None:
    exchange = venue()
    frames = exchange.step(START + 2 * WINDOW)
    listed = [(frame.at_ms - START, json.loads(frame.text)) for frame in frames if frame.kind == "new_market"]
    assert [at for at, _ in listed] == [WINDOW, WINDOW, 2 * WINDOW, 2 * WINDOW]
    for at, told in listed:
        market = exchange.market_by_condition(told["market"])
        assert market is not None
        assert market.window_start_ms - START == at + WINDOW
        assert (told["slug"], told["clob_token_ids"]) == (market.slug, list(market.tokens))


def test_markets_are_the_same_whatever_else_is_listed() -> None:
    alone, more = venue(RoundsConfig(assets=("eth",))), venue(RoundsConfig(assets=("btc", "eth"), ahead=3))
    for market in alone.markets:
        twin = more.market_by_slug(market.slug)
        assert twin is not None
        assert (twin.condition_id, twin.tokens) == (market.condition_id, market.tokens)


def test_a_round_is_decided_by_the_averages_before_its_start_and_its_end() -> None:
    exchange = venue()
    exchange.step(START + 4 * WINDOW)
    done = [this for this in rounds_of(exchange) if this.winner is not None]
    assert len(done) == 8
    for this in done:
        strike, final = (exchange.oracle.twap(this.asset, at, 60) for at in (this.start_ms, this.end_ms))
        assert (this.strike, this.final) == (strike, final)
        assert this.winner == this.tokens[0 if final >= strike else 1]
    assert {this.tokens.index(this.winner or "") for this in done} == {0, 1}
    by_start = {(this.asset, this.start_ms): this for this in done}
    for (asset, start), this in by_start.items():
        following = by_start.get((asset, start + WINDOW))
        assert following is None or following.strike == this.final


def test_a_tie_is_up() -> None:
    still = OracleConfig(volatility=0.0, jumps_per_hour=0.0)
    exchange = venue(oracle=still)
    exchange.step(START + WINDOW)
    assert [this.winner for this in rounds_of(exchange)[:2]] == [this.tokens[0] for this in rounds_of(exchange)[:2]]


def test_the_official_strike_is_told_some_seconds_after_the_opening() -> None:
    exchange = venue(start_ms=START - 3 * MINUTE)
    [slug] = [market.slug for market in exchange.markets if market.window_start_ms == START and market.asset == "btc"]
    exchange.step(START + 5_000)
    early = described(exchange, slug)
    assert early is not None
    assert early.price_to_beat is None
    exchange.step(START + 15_000)
    market = described(exchange, slug)
    assert market is not None
    assert market.price_to_beat == exchange.oracle.twap("btc", START, 60)
    this = exchange.round_of(market.condition_id)
    assert this is not None
    assert this.strike == market.price_to_beat


def test_the_description_names_the_oracle_the_window_and_the_fee() -> None:
    exchange = venue(RoundsConfig(assets=("btc",), window_s=300))
    market = described(exchange, exchange.slugs[0])
    assert market is not None
    assert market.window_start == START // 1_000
    assert market.window_end == START // 1_000 + 300
    assert market.oracle.source == "https://data.chain.link/streams/btc-usd-twap-60s-streams"
    assert (market.oracle.config_id, market.oracle.twap_lookback_seconds) == ("btc-5m-twap-60", 60)
    assert market.oracle.twap_enabled
    assert market.fee is not None
    assert (market.fee.rate, market.fee.exponent) == (Decimal("0.07"), 1)
    assert (market.up.id, market.down.id) == exchange.tokens[:2]
    assert market.accepting_orders
    assert (market.winner, market.final_price) == (None, None)


def test_descriptions_have_the_fields_of_recorded_ones(corpus: Path) -> None:
    recorded = json.loads((corpus / "gamma" / "hugompt_gamma_event_crypto_updown.json").read_text())[0]
    exchange = venue()
    [event] = json.loads(Desk(exchange).answer(Call("GET", "/events", {"slug": exchange.slugs[0]})).body)
    # The settings of the average and the version of the contracts are newer than the recording.
    newer = {"cryptoMarketConfigId", "cryptoMarketConfig", "version"}
    for simulated, real in ((event, recorded), (event["markets"][0], recorded["markets"][0])):
        for name in simulated.keys() & real.keys():
            assert type(simulated[name]) is type(real[name]) or name in {"bestBid", "bestAsk"}, name
    closing = {"archived", "automaticallyResolved", "lastTradePrice"}
    assert event["markets"][0].keys() - recorded["markets"][0].keys() <= newer | closing


def test_a_market_trades_on_after_its_window_then_settles_and_is_described_as_closed_later() -> None:
    exchange = venue()
    market = exchange.markets[0]
    token = market.tokens[0]
    end = market.window_end_ms

    exchange.step(end + 100_000)
    assert exchange.outcome(market.condition_id) is None
    assert book_status(exchange, token) == 200
    assert exchange.truth(token)[0]

    frames = exchange.step(end + 155_000)
    emptied = [frame for frame in frames if frame.kind == "price_change" and frame.market == market.condition_id]
    last = json.loads(emptied[-1].text)["price_changes"][0]
    assert (last["size"], last["best_bid"], last["best_ask"]) == ("0", "0", "1")
    [told] = [frame for frame in frames if frame.kind == "market_resolved" and frame.market == market.condition_id]
    this = exchange.round_of(market.condition_id)
    assert this is not None
    assert 110_000 < told.at_ms - end < 155_000
    assert json.loads(told.text)["winning_asset_id"] == this.winner == exchange.outcome(market.condition_id)
    assert book_status(exchange, token) == 404
    assert exchange.is_over(token)

    assert described(exchange, market.slug) is not None or described(exchange, market.slug, closed=True) is not None
    exchange.step(told.at_ms + 30_000)
    assert described(exchange, market.slug) is None
    closed = described(exchange, market.slug, closed=True)
    assert closed is not None
    assert closed.winner == ("Up" if this.winner == closed.up.id else "Down")
    assert (closed.price_to_beat, closed.final_price) == (this.strike, this.final)


def test_the_discovery_service_learns_of_a_resolution_late() -> None:
    exchange = venue(RoundsConfig(assets=("btc",), publish_delay_s=100.0))
    market = exchange.markets[0]
    while not exchange.is_resolved(market.tokens[0]):
        exchange.step(exchange.now_ms + 1_000)
    exchange.step(exchange.now_ms + 80_000)
    late = described(exchange, market.slug)
    assert late is not None
    assert (late.closed, late.winner) == (False, None)


def test_markets_are_forgotten_and_outcomes_are_not() -> None:
    rounds = RoundsConfig(assets=("btc",), window_s=300, keep_s=60.0)
    exchange = venue(rounds)
    first = exchange.markets[0]
    most = 0
    for _ in range(60):
        exchange.step(exchange.now_ms + 5 * MINUTE)
        most = max(most, len(exchange.markets))
    assert most <= 4
    assert len(exchange.tokens) == 2 * len(exchange.markets)
    assert exchange.market_by_slug(first.slug) is exchange.market_by_condition(first.condition_id) is None
    assert not exchange.knows(first.tokens[0])
    with pytest.raises(UnknownToken):
        exchange.truth(first.tokens[0])
    assert exchange.outcome(first.condition_id) in first.tokens
    assert len(rounds_of(exchange)) == 62


def test_several_lengths_run_at_the_same_time_and_hours_are_decided_by_the_price_itself() -> None:
    exchange = venue(RoundsConfig(assets=("btc",), window_s=900, more_windows_s=(300, 3_600)))
    hour = window_at("btc", Interval.HOUR, START / 1_000)
    market = exchange.market_by_slug(hour.slug)
    assert market is not None
    assert (market.window_start_ms, market.window_end_ms) == (hour.start * 1_000, hour.end * 1_000)
    found = described(exchange, hour.slug)
    assert found is not None
    assert found.oracle.source == "https://www.binance.com/en/trade/BTC_USDT"
    assert (found.oracle.config_id, found.oracle.twap_enabled) == (None, None)
    exchange.step(market.window_end_ms)
    this = exchange.round_of(market.condition_id)
    assert this is not None
    assert this.strike == exchange.oracle.price("btc", market.window_start_ms)
    assert {round_.label for round_ in rounds_of(exchange)} == {"5m", "15m", "1h"}


def test_a_market_that_is_told_to_settle_early_is_decided_by_the_prices_of_that_moment() -> None:
    exchange = venue()
    running, ahead = exchange.markets[0], exchange.markets[2]
    exchange.step(START + 5 * MINUTE)
    for market in (running, ahead):
        exchange.settle(market.slug, resolve_delay_ms=0)
    exchange.step(START + 5 * MINUTE + 100)
    this, that = exchange.round_of(running.condition_id), exchange.round_of(ahead.condition_id)
    assert this is not None
    assert that is not None
    # Emptying the book took some milliseconds, so the price of that very second counts.
    assert this.final == exchange.oracle.twap("btc", START + 5 * MINUTE + 1, 60)
    assert exchange.outcome(running.condition_id) == this.winner is not None
    decided = this.winner, this.final
    exchange.step(START + 3 * WINDOW)
    assert (this.winner, this.final) == decided
    assert that.winner == that.tokens[0]


def test_a_settlement_fault_changes_how_a_round_ends_but_never_when_its_outcome_is_known() -> None:
    exchange = venue()
    # Without the guard it would strike each market within five seconds.
    faults = make_faults(["settlement_unannounced"], seed=1)
    faults[0].plan = Plan(share=1.0, length_ms=1_000)
    FaultLine(faults).attach(exchange)
    market = exchange.markets[0]
    exchange.step(market.window_end_ms - 1)
    assert exchange.truth(market.tokens[0])[0]
    frames = exchange.step(market.window_end_ms + 10_000)
    assert exchange.outcome(market.condition_id) is not None
    assert not [frame for frame in frames if frame.kind == "market_resolved"]


def test_a_hash_dialect_holds_for_markets_that_are_listed_later() -> None:
    exchange = venue()
    for market in exchange.markets:
        market.hashed_keys = 9
    exchange.step(START + WINDOW)
    assert {market.hashed_keys for market in exchange.markets} == {9}


def test_the_same_seed_gives_the_same_frames() -> None:
    def frames() -> list[Frame]:
        exchange = venue()
        return [frame for second in range(0, 1_000_000, 1_000) for frame in exchange.step(START + second)]

    first = frames()
    assert first == frames()
    assert len(first) > 2_000


@pytest.mark.slow
def test_who_reacts_before_the_makers_buys_below_what_it_is_worth() -> None:
    """The rule of the reference bot: 0.07 % from the strike, 5 minutes left, the leading token below 0.62."""
    gains = gains_of_leaders(lag_s=55.0)
    assert len(gains) >= 30
    assert 0.03 < sum(gains) / len(gains) < 0.2
    assert len(gains_of_leaders(lag_s=0.0)) < len(gains) / 2


def gains_of_leaders(lag_s: float) -> list[float]:
    """What a share of each leading token was worth, less its price and the fee, to who knows the oracle's price."""
    assets = ("btc", "eth", "sol", "xrp", "doge", "bnb", "hype")
    exchange = venue(RoundsConfig(assets=assets, lag_s=lag_s))
    gains: dict[str, float] = {}
    while exchange.now_ms < START + 5 * WINDOW:
        exchange.step(exchange.now_ms + 2_000)
        now = exchange.now_ms
        for market in exchange.markets:
            this = market.round
            if this is None or this.strike is None or market.condition_id in gains or this.end_ms - now < 5 * MINUTE:
                continue
            price = exchange.oracle.price(this.asset, now - 1_000)
            moved = price / this.strike - 1
            index = 0 if moved > 0 else 1
            asks = exchange.truth(this.tokens[index])[1]
            if abs(moved) > Decimal("0.0007") and asks and asks[0][0] < 6_200:
                left, deviation = (this.end_ms - now) / 1_000, exchange.oracle.config.deviation
                up = probability_up(float(price), float(this.strike), left, deviation=deviation, average_s=60.0)
                paid = asks[0][0] / 10_000
                gains[market.condition_id] = abs(index - up) - paid - 0.07 * paid * (1 - paid)
    return list(gains.values())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"assets": ()}, {"assets": ("BTC",)}, {"assets": ("btc", "btc")}, {"window_s": 600}),
        *({"more_windows_s": (60,)}, {"ahead": -1}, {"lag_s": -1.0}, {"twap_s": 1.5}),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        RoundsConfig(**wrong)  # type: ignore[arg-type]


def test_the_oracle_is_there_without_rounds_and_rounds_are_not() -> None:
    exchange = Exchange(ExchangeConfig(seed=4))
    assert exchange.oracle.price("btc", START) > 0
    assert exchange.round_of(exchange.markets[0].condition_id) is None
    assert exchange.outcome(exchange.markets[0].condition_id) is None
    exchange.settle(resolve_delay_ms=0)
    exchange.step(exchange.now_ms + 1_000)
    assert exchange.outcome(exchange.markets[0].condition_id) in exchange.tokens
