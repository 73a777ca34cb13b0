from __future__ import annotations

import copy
import gzip
import json
from decimal import Decimal

import httpx
import pytest

from polymirror.errors import BadResponse, ConfigError, MarketNotFound, VenueUnavailable
from polymirror.venue.market import parse_market
from polymirror.venue.windows import window_at

pytestmark = pytest.mark.anyio

START = 1_790_000_100

RAW = {
    "slug": f"btc-updown-15m-{START}",
    "question": "Bitcoin Up or Down",
    "conditionId": "0xaa",
    "clobTokenIds": '["1", "2"]',
    "outcomes": '["Up", "Down"]',
    "outcomePrices": '["0.5", "0.5"]',
    "eventStartTime": "2026-09-21T14:15:00Z",
    "endDate": "2026-09-21T14:30:00Z",
    "orderPriceMinTickSize": 0.01,
    "orderMinSize": 5,
    "negRisk": False,
    "active": True,
    "closed": False,
    "acceptingOrders": True,
    "feesEnabled": True,
    "feeSchedule": {"exponent": 1, "rate": 0.07, "takerOnly": True, "rebateRate": 0.2},
    "resolutionSource": "https://data.chain.link/streams/btc-usd-twap-60s-streams",
    "cryptoMarketConfigId": "btc-15m-twap-60",
    "cryptoMarketConfig": {"id": "btc-15m-twap-60", "twapEnabled": True, "twapLookbackSeconds": 60},
}


def altered(**changes):
    raw = copy.deepcopy(RAW)
    raw.update(changes)
    return {name: value for name, value in raw.items() if value is not ...}


def parse(**changes):
    return parse_market(altered(**changes), "test")


def test_every_recorded_market_is_read(corpus):
    objects = json.loads((corpus / "gamma/updown_15m_markets.json").read_bytes())
    objects.append(json.loads((corpus / "gamma/hugompt_gamma_market_updown.json").read_bytes()))
    expected = {}
    for path in sorted((corpus / "oracle").glob("*markets*.jsonl.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            record = json.loads(line)
            objects.append(record["raw"])
            expected[record["slug"]] = record
    assert len(objects) >= 600
    winners = 0
    for raw in objects:
        market = parse_market(raw, "recorded")
        asset, _, interval, start = market.slug.split("-")
        window = window_at(asset, interval, int(start))
        assert (window.slug, window.start, window.end) == (market.slug, market.window_start, market.window_end)
        assert (market.up.outcome, market.down.outcome) == ("Up", "Down")
        assert market.tick_size in {"0.01", "0.001"}
        assert market.min_order_size == "5"
        assert market.oracle.source.startswith("https://data.chain.link/streams/")
        assert market.fees_enabled == raw["feesEnabled"]
        if market.fee is not None:
            assert (str(market.fee.rate), market.fee.exponent, str(market.fee.rebate_rate)) == ("0.07", 1, "0.2")
        winners += market.winner is not None
        record = expected.get(market.slug)
        if record is not None and record["resolved"]:
            assert market.token_ids == tuple(record["token_ids"])
            assert market.winner == ("Up" if record["outcome_prices"] == ["1", "0"] else "Down")
    assert winners >= 600


async def test_the_recorded_event_is_found_and_read(corpus, desk):
    events = json.loads((corpus / "gamma/hugompt_gamma_event_crypto_updown.json").read_bytes())
    service = desk(events)
    async with service.gamma() as gamma:
        (market,) = await gamma.event(events[0]["slug"])
        assert market.slug == "hype-updown-5m-1782287400"
        with pytest.raises(MarketNotFound):
            await gamma.event("another")


def test_all_fields_of_a_market_are_read():
    market = parse()
    assert market.window_start == START
    assert market.window_end == START + 900
    assert market.starts_at.isoformat() == "2026-09-21T14:15:00+00:00"
    assert market.ends_at.isoformat() == "2026-09-21T14:30:00+00:00"
    assert (market.up.id, market.down.id, market.token_ids) == ("1", "2", ("1", "2"))
    assert (market.tick_size, market.min_order_size) == ("0.01", "5")
    assert market.fee.rate == Decimal("0.07")
    assert (market.oracle.twap_enabled, market.oracle.twap_lookback_seconds) == (True, 60)
    assert market.oracle.config_id == "btc-15m-twap-60"
    assert (market.active, market.closed, market.accepting_orders, market.neg_risk) == (True, False, True, False)
    assert (market.winner, market.price_to_beat, market.final_price) == (None, None, None)


def test_outcomes_go_by_their_label_and_not_by_their_place():
    market = parse(outcomes='["Down", "Up"]')
    assert (market.up.id, market.down.id) == ("2", "1")
    market = parse(outcomes=["no", "YES"], clobTokenIds=["1", "2"])
    assert (market.up.id, market.down.id) == ("2", "1")
    with pytest.raises(BadResponse, match="no outcome is called up or yes, only A, B"):
        _ = parse(outcomes='["A", "B"]').up


def test_a_token_is_found_by_its_outcome():
    market = parse(outcomes='["Down", "Up"]')
    assert (market.yes, market.no) == (market.up, market.down)
    assert market.token("Up") == market.token("up") == market.up
    teams = parse(outcomes='["Lakers", "Celtics"]')
    assert teams.token("LAKERS").id == "1"
    for wrong in ("Bulls", "", None, 0):
        with pytest.raises(ConfigError, match="it must be one of Lakers, Celtics"):
            teams.token(wrong)
    with pytest.raises(ConfigError, match="one of A, a"):
        parse(outcomes='["A", "a"]').token("a")


def test_numbers_may_be_strings_and_never_become_floats():
    market = parse(
        orderPriceMinTickSize="0.0010",
        orderMinSize="5.0",
        negRisk="true",
        feeSchedule={"exponent": "1", "rate": "0.072", "rebateRate": None},
    )
    assert (market.tick_size, market.min_order_size, market.neg_risk) == ("0.001", "5", True)
    assert (market.fee.rate, market.fee.taker_only, market.fee.rebate_rate) == (Decimal("0.072"), True, 0)


def test_a_fee_that_is_not_stated_is_not_a_market_without_fee():
    market = parse(feeSchedule=...)
    assert (market.fees_enabled, market.fee) == (True, None)
    market = parse(feesEnabled=False)
    assert (market.fees_enabled, market.fee) == (False, None)


def test_an_oracle_that_says_little_is_read_as_little():
    market = parse(resolutionSource="", cryptoMarketConfig=..., cryptoMarketConfigId=...)
    assert market.oracle.source is None
    assert market.oracle.twap_enabled is None
    market = parse(resolutionSource=None, events=[{"resolutionSource": "https://a.example"}])
    assert market.oracle.source == "https://a.example"
    market = parse(cryptoMarketConfig={"id": "x"}, cryptoMarketConfigId=...)
    assert (market.oracle.config_id, market.oracle.twap_enabled, market.oracle.twap_lookback_seconds) == (
        "x",
        None,
        None,
    )


def test_the_official_prices_come_from_the_event():
    metadata = {"priceToBeat": 63123.544863797618, "finalPrice": "63124.1"}
    market = parse_market(
        json.loads(json.dumps(altered(events=[{"eventMetadata": metadata}])), parse_float=Decimal), "test"
    )
    assert str(market.price_to_beat).startswith("63123.5448637976")
    assert market.final_price == Decimal("63124.1")


@pytest.mark.parametrize(
    ("prices", "closed", "winner"),
    [
        ('["1", "0"]', True, "Up"),
        ('["0", "1"]', True, "Down"),
        ('["1", "0"]', False, None),
        ('["0.5", "0.5"]', True, None),
        ('["0", "0"]', True, None),
        ('["1"]', True, None),
        (None, True, None),
    ],
)
def test_a_winner_is_named_only_when_the_market_is_settled(prices, closed, winner):
    assert parse(outcomePrices=prices, closed=closed).winner == winner


@pytest.mark.parametrize(
    ("prices", "closed", "status", "payouts"),
    [
        ('["1", "0"]', True, ..., ("1", "0")),
        ('["0", "1"]', True, "resolved", ("0", "1")),
        ('["1", "0"]', False, "resolved", ()),
        ('["0.5", "0.5"]', True, "resolved", ("0.5", "0.5")),
        ('["0.50", "0.5"]', True, "resolved", ("0.5", "0.5")),
        ('["0.5", "0.5"]', True, "proposed", ()),  # the last prices of a market that nobody traded
        ('["0.5", "0.5"]', True, ..., ()),
        ('["0.505", "0.495"]', True, "resolved", ()),
        ('["0", "0"]', True, "resolved", ()),
    ],
)
def test_what_each_token_pays_is_stated_only_when_the_market_is_settled(prices, closed, status, payouts):
    market = parse(outcomePrices=prices, closed=closed, umaResolutionStatus=status)
    assert market.payouts == tuple(map(Decimal, payouts))
    assert (market.winner is None) == (Decimal(1) not in market.payouts)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("slug", [..., "", 5]),
        ("question", [..., ""]),
        ("conditionId", [..., None, 7]),
        ("outcomes", [..., '["Up"]', "[1, 2]", "not json", "{}", '["Up", ""]']),
        ("clobTokenIds", ["not json", [1, 2], '["1", "1"]', "7"]),
        ("orderPriceMinTickSize", [..., None, 0, -1, "x", "NaN", True, "1e99999999"]),
        ("orderMinSize", [..., "Infinity", []]),
        ("active", [..., "maybe", 1]),
        ("closed", [..., None]),
        ("eventStartTime", ["yesterday", 5]),
        ("endDate", ["2026-13-01"]),
        ("feeSchedule", [[], "free"]),
        ("rate", [...]),
        ("cryptoMarketConfig", ["btc"]),
        ("twapLookbackSeconds", [0.5]),
        ("events", ["x", ["x"]]),
    ],
)
def test_a_missing_or_odd_field_is_named(field, values):
    for value in values:
        raw = altered(**{field: value})
        if field == "rate":
            raw = altered(feeSchedule={"exponent": 1})
        if field == "twapLookbackSeconds":
            raw = altered(cryptoMarketConfig={"twapLookbackSeconds": "0.5"})
        with pytest.raises(BadResponse, match=field):
            parse_market(raw, "test")


@pytest.mark.parametrize("tokens", [..., None, "", "[]"])
def test_a_market_without_tokens_is_not_there_yet(tokens):
    with pytest.raises(MarketNotFound, match="no tokens yet"):
        parse(clobTokenIds=tokens)


@pytest.mark.parametrize("value", [None, 5, "x", []])
def test_what_is_no_object_is_no_market(value):
    with pytest.raises(BadResponse, match="an object was expected"):
        parse_market(value, "test")


async def test_a_market_is_found_by_its_slug(desk):
    service = desk([RAW])
    async with service.gamma() as gamma:
        assert (await gamma.market(RAW["slug"])).condition_id == "0xaa"
    assert str(service.requests[0].url) == f"https://gamma-api.polymarket.com/markets?slug={RAW['slug']}"
    assert gamma.counters.calls == 1


async def test_a_settled_market_is_found_by_asking_for_closed_ones(desk):
    service = desk([], [altered(closed=True, outcomePrices='["1", "0"]')])
    async with service.gamma() as gamma:
        assert (await gamma.market(RAW["slug"])).winner == "Up"
    assert service.requests[1].url.params["closed"] == "true"


@pytest.mark.parametrize(
    "answer", [[], httpx.Response(404, json={"error": "slug not found"}), [{**RAW, "slug": "another"}], [None, 5]]
)
async def test_a_market_that_is_not_there_is_not_found(desk, answer):
    service = desk(answer)
    async with service.gamma() as gamma:
        with pytest.raises(MarketNotFound):
            await gamma.market(RAW["slug"])
        with pytest.raises(MarketNotFound):
            await gamma.market_of_token("9")


async def test_a_market_is_found_by_one_of_its_tokens_and_strangers_are_ignored(desk):
    service = desk([{**RAW, "clobTokenIds": '["8", "9"]'}, RAW])
    async with service.gamma() as gamma:
        assert (await gamma.market_of_token("2")).slug == RAW["slug"]
    assert service.requests[0].url.query == b"clob_token_ids=2"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"null", b"[", b""])
async def test_a_body_that_is_no_list_is_a_bad_response(desk, body):
    service = desk(httpx.Response(200, content=body))
    async with service.gamma() as gamma:
        with pytest.raises(BadResponse):
            await gamma.market("x")


def window_of(slug):
    start = int(slug.rsplit("-", 1)[1])
    minutes = 30 + (start - START) // 60
    return altered(slug=slug, eventStartTime=None, endDate=f"2026-09-21T{14 + minutes // 60}:{minutes % 60:02}:00Z")


def window_service(missing=()):
    def answer(request):
        slugs = request.url.params.get_list("slug")
        known = [] if "closed" in request.url.params else [slug for slug in slugs if slug not in missing]
        assert int(request.url.params.get("limit", "1")) == len(slugs)
        return httpx.Response(200, json=[window_of(slug) for slug in known])

    return answer


async def test_many_slugs_are_looked_up_in_a_call_for_each_fifty(desk):
    slugs = [f"btc-updown-15m-{START + 60 * number}" for number in range(120)]
    service = desk(window_service())
    async with service.gamma() as gamma:
        found = await gamma.markets(slugs)
    assert [market.slug for market in found.values()] == slugs == list(found)
    assert len(service.requests) == 3
    assert max(len(str(request.url)) for request in service.requests) < 4096


async def test_what_is_wrong_with_one_of_many_is_told_in_its_place(desk):
    good, odd, unknown = (f"btc-updown-15m-{START + number}" for number in (0, 60, 120))

    def answer(request):
        if "closed" in request.url.params:
            return httpx.Response(200, json=[])
        return httpx.Response(200, json=[window_of(good), {**window_of(odd), "orderMinSize": "x"}, None])

    async with desk(answer).gamma() as gamma:
        found = await gamma.markets([good, odd, unknown])
    assert found[good].slug == good
    assert isinstance(found[odd], BadResponse)
    assert "orderMinSize" in str(found[odd])
    assert isinstance(found[unknown], MarketNotFound)


async def test_a_name_that_fits_into_no_request_keeps_no_other_away(desk):
    slugs = [f"btc-updown-15m-{START + number}" for number in range(4)]
    async with desk(window_service()).gamma() as gamma:
        found = await gamma.markets([*slugs[:2], "\ud800", *slugs[2:]])
    assert isinstance(found["\ud800"], BadResponse)
    assert [found[slug].slug for slug in slugs] == slugs


async def test_a_service_that_is_away_is_told_for_each_of_many(desk):
    async with desk(httpx.Response(503)).gamma() as gamma:
        found = await gamma.markets(["a", "b"])
    assert [type(each) for each in found.values()] == [VenueUnavailable, VenueUnavailable]


async def test_current_next_and_previous_windows_are_looked_up_in_order_of_time(desk):
    async with desk(window_service()).gamma() as gamma:
        found = await gamma.windows("btc", "15m", START + 5, behind=1, ahead=2)
    assert [market.slug for market in found] == [f"btc-updown-15m-{START + 900 * number}" for number in (-1, 0, 1, 2)]


async def test_a_window_without_a_market_is_left_out(desk):
    async with desk(window_service(missing={f"btc-updown-15m-{START}"})).gamma() as gamma:
        found = await gamma.windows("btc", "15m", START)
    assert [market.slug for market in found] == [f"btc-updown-15m-{START + 900}"]


async def test_a_market_whose_window_is_another_one_is_a_bad_response(desk):
    async with desk([altered(endDate="2026-09-21T15:00:00Z")]).gamma() as gamma:
        with pytest.raises(BadResponse, match="endDate"):
            await gamma.windows("btc", "15m", START, ahead=0)


async def test_an_error_of_one_look_up_comes_out_alone(desk):
    async with desk(httpx.Response(503)).gamma() as gamma:
        with pytest.raises(VenueUnavailable):
            await gamma.windows("btc", "15m", START)


async def test_of_two_hours_with_one_name_the_market_decides_which_it_is(desk):
    first, second = 1_793_509_200, 1_793_512_800
    slug = "bitcoin-up-or-down-november-1-2026-1am-et"
    raw = altered(slug=slug, eventStartTime="2026-11-01T05:00:00Z", endDate="2026-11-01T06:00:00Z")
    async with desk([raw]).gamma() as gamma:
        assert [market.slug for market in await gamma.windows("btc", "1h", first, ahead=0)] == [slug]
        assert await gamma.windows("btc", "1h", second, ahead=0) == ()
