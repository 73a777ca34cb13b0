"""What the clients of feeds make of frames: recorded ones, published vectors, odd ones and garbage."""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.updown.oracles.buffer import OracleBuffer
from bots.updown.oracles.chainlink import MAINNET_SPOT, ChainlinkDialect, sign
from bots.updown.oracles.keys import ChainlinkKeys, ClobKeys
from bots.updown.oracles.polybolt import PolyboltDialect
from bots.updown.oracles.reports import ReportInvalid, decode_blob, decode_report
from bots.updown.oracles.rtds import RtdsDialect, exact_price
from bots.updown.oracles.ticks import Tick, TickKind
from polymirror.simulator.feeds.reports import encode_report, feed_id

SPOT, TWAP = TickKind.SPOT, TickKind.TWAP60
CLOB_KEYS = ClobKeys(api_key="the-key", secret="the-secret", passphrase="the-phrase")
CHAINLINK_KEYS = ChainlinkKeys(client_id="clientId", user_secret="userSecret")
BTC = MAINNET_SPOT["btc"]


def rtds(kind=SPOT, assets=("btc", "eth", "sol")):
    return RtdsDialect(kind, assets)


def polybolt(kind=TWAP, assets=("btc", "eth")):
    return PolyboltDialect(kind, assets, CLOB_KEYS)


def chainlink(kind=SPOT, **feeds):
    return ChainlinkDialect(kind, feeds or {"btc": BTC}, CHAINLINK_KEYS, lambda: 1_790_000_000.0)


def frame_of(feed, price, observed):
    report = {
        "feedID": feed,
        "fullReport": encode_report(feed, Decimal(price), observed),
        "validFromTimestamp": observed,
        "observationsTimestamp": observed,
    }
    return json.dumps({"report": report}).encode()


# ---- Recordings --------------------------------------------------------------------------------------


def test_every_recorded_frame_of_the_relay_is_read_exactly(corpus):
    dialect, prices, other = rtds(), 0, {}
    with (corpus / "ws" / "btc_eth_sol_15m_20260429.jsonl").open() as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["source"] != "polymarket_rtds_chainlink":
                continue
            said = dialect.read(entry["payload"].encode())
            if said.prices:
                [price] = said.prices
                prices += 1
                payload = json.loads(entry["payload"])["payload"]
                assert price.asset == payload["symbol"].removesuffix("/usd")
                assert price.at_ms == payload["timestamp"]
                assert int(price.price.scaleb(18)) == int(payload["full_accuracy_value"])
            else:
                other[said.what] = other.get(said.what, 0) + 1
    # The rest are first answers to filtered subscriptions, which we never send.
    assert prices + sum(other.values()) == 900
    assert set(other) == {"ignored"}
    assert prices > 400


@pytest.mark.parametrize("day", ["2026-06-08", "2026-07-24"])
def test_two_recorded_days_give_the_strike_and_the_outcome_of_every_market(corpus, day):
    dialect, buffer = rtds(), OracleBuffer(max_ticks=100_000, max_age_s=86_400)
    with gzip.open(corpus / "oracle" / f"BTCUSD-prices-{day}.csv.gz", "rt") as file:
        count = 0
        for row in csv.DictReader(file):
            text = (
                f'{{"connection_id":"c","payload":{{"full_accuracy_value":"{row["full_accuracy_value"]}",'
                f'"symbol":"btc/usd","timestamp":{row["feed_ts_ms"]},"value":{row["value"]}}},'
                f'"timestamp":{row["server_ts_ms"]},"topic":"crypto_prices_chainlink","type":"update"}}'
            )
            [price] = dialect.prices(text.encode())
            assert str(price.price.scaleb(18).to_integral_exact()) == row["full_accuracy_value"]
            assert buffer.put(Tick("btc", SPOT, price.price, price.at_ms, 0.0))
            count += 1
    assert count > 78_000
    strikes = outcomes = 0
    with gzip.open(corpus / "oracle" / f"BTC-5m-markets-{day}.jsonl.gz", "rt") as lines:
        for line in lines:
            market = json.loads(line)
            start = buffer.nearest("btc", market["start_sec"] * 1_000, SPOT, 0)
            end = buffer.nearest("btc", market["end_sec"] * 1_000, SPOT, 0)
            if start is None or not market["strike_value"]:
                continue
            strikes += 1
            assert start.price.scaleb(18) == Decimal(market["strike_value"])
            if end is not None and market["resolved"]:
                outcomes += 1
                assert (end.price >= start.price) == (market["outcome_prices"] == ["1", "0"])
    assert strikes > 250
    assert outcomes > 240


def test_published_reports_decode_to_their_published_values(corpus):
    decoded = 0
    for vector in json.loads((corpus / "oracle" / "datastreams_vectors.json").read_text()):
        if vector.get("version") != 3:
            if "hex" in vector:
                with pytest.raises(ReportInvalid, match="version 9 is not known"):
                    decode_report(vector["hex"])
            continue
        if vector["n_rs"] == 0:
            # Printed in a guide without its end, in the middle of a price.
            with pytest.raises(ReportInvalid, match="cut off"):
                decode_report(vector["hex"])
            continue
        report = decode_report(vector["hex"])
        decoded += 1
        assert report.feed_id == vector["feedId"]
        assert (report.version, report.valid_from) == (3, vector["validFromTimestamp"])
        assert (report.observed, report.expires) == (vector["observationsTimestamp"], vector["expiresAt"])
        for ours, theirs in ((report.price, "benchmarkPrice"), (report.bid, "bid"), (report.ask, "ask")):
            assert int(ours.scaleb(18)) == vector[theirs]
    assert decoded == 2


# ---- Data Streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "body", "keys", "at_ms", "signature"),
    [
        (
            *("GET", "/api/v1/feeds", b"", ("clientId", "userSecret"), 1718885772),
            "e9b2aa1deb13b2abd078353a5e335b2f50307159ad28b433157d2c74dbab2072",
        ),
        (
            *("POST", "/api/v1/feeds", b"", ("clientId1", "secret1"), 12000),
            "31b48ebdb13802b58978cd89eca0c3c68ddccf85392e703b55942544e7203d3d",
        ),
        (
            *("POST", "/api/v1/reports/bulk", b'{"attr1": "value1","attr2": [1,2,3]}', ("clientId2", "secret2")),
            *(1718885772, "37190febe20b6f3662f6abbfa3a7085ad705ac64e88bde8c1a01a635859e6cf7"),
        ),
    ],
)
def test_signatures_are_those_of_the_providers_sdk(method, target, body, keys, at_ms, signature):
    assert sign(method, target, body, ChainlinkKeys(client_id=keys[0], user_secret=keys[1]), at_ms) == signature


def test_the_handshake_signs_exactly_the_address_that_is_called():
    dialect = chainlink(btc=BTC, eth=MAINNET_SPOT["eth"])
    path = f"/api/v1/ws?feedIDs={BTC},{MAINNET_SPOT['eth']}"
    assert dialect.url == f"wss://ws.dataengine.chain.link{path}"
    assert dialect.headers() == {
        "Authorization": "clientId",
        "X-Authorization-Timestamp": "1790000000000",
        "X-Authorization-Signature-SHA256": sign("GET", path, b"", CHAINLINK_KEYS, 1_790_000_000_000),
    }


prices = st.integers(2 * 10**9, 10**26).map(lambda units: Decimal(units).scaleb(-18))


@given(price=prices, observed=st.integers(0, 2**32 - 86_401), version=st.sampled_from([2, 3]))
def test_reports_of_both_versions_survive_the_way_there_and_back(price, observed, version):
    report = decode_report(encode_report(feed_id("btc", version=version), price, observed))
    assert (report.version, report.price, report.observed) == (version, price, observed)
    assert (report.feed_id, report.expires) == (feed_id("btc", version=version), observed + 86_400)
    assert (report.bid is None, report.ask is None) == (version == 2, version == 2)


def test_both_versions_are_read_as_ticks_of_their_kind():
    two = feed_id("btc", version=2)
    [price] = chainlink(TWAP, btc=two).prices(frame_of(two, "65000.123456789012345678", 1_790_000_001))
    assert price == ("btc", TWAP, Decimal("65000.123456789012345678"), 1_790_000_001_000)
    [price] = chainlink().prices(frame_of(BTC, "65000.1", 1_790_000_001))
    assert price == ("btc", SPOT, Decimal("65000.1"), 1_790_000_001_000)


@given(cut=st.integers(0, 900), noise=st.binary(max_size=3), place=st.integers(0, 900))
def test_a_damaged_report_is_refused_or_harmless_and_never_anything_else(cut, noise, place):
    good = bytes.fromhex(encode_report(BTC, Decimal(65_000), 1_790_000_001)[2:])
    damaged = bytearray(good[: len(good) - cut])
    damaged[place : place + len(noise)] = noise
    for decode in (lambda: decode_report(f"0x{damaged.hex()}"), lambda: decode_blob(bytes(damaged))):
        try:
            decode()
        except ReportInvalid:
            continue


@pytest.mark.parametrize("text", ["", "0x", "0xzz", "00" * 100, "ff" * 1_000, "0x" + "00" * 200_000, "é"])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(ReportInvalid):
        decode_report(text)


def test_a_report_whose_frame_does_not_fit_is_refused():
    good = bytes.fromhex(encode_report(BTC, Decimal(65_000), 1_790_000_001)[2:])
    start = 8 * 32
    blob = good[start : start + 9 * 32]
    assert decode_blob(blob).price == 65_000
    with pytest.raises(ReportInvalid, match="has 288 bytes, not 320"):
        decode_blob(blob + bytes(32))
    with pytest.raises(ReportInvalid, match="word 2 is no time"):
        decode_blob(blob[:64] + (2**32).to_bytes(32) + blob[96:])
    for offset in (7 * 32 + 1, 6 * 32, len(good), 2**255):
        with pytest.raises(ReportInvalid, match="offset"):
            decode_report((good[:96] + offset.to_bytes(32) + good[128:]).hex())


def test_a_report_that_contradicts_its_envelope_is_malformed():
    good = json.loads(frame_of(BTC, 65_000, 1_790_000_001))
    for name, odd in (("feedID", MAINNET_SPOT["eth"]), ("observationsTimestamp", 1_790_000_002)):
        frame = {"report": good["report"] | {name: odd}}
        said = chainlink().read(json.dumps(frame).encode())
        assert (said.prices, said.what) == ((), "malformed")


def test_a_report_of_a_feed_that_nobody_asked_for_is_not_taken():
    said = chainlink().read(frame_of(MAINNET_SPOT["eth"], 2_000, 1_790_000_001))
    assert (said.prices, said.what) == ((), "other symbols")


# ---- RTDS --------------------------------------------------------------------------------------------

UPDATE = {
    "connection_id": "c",
    "payload": {
        "full_accuracy_value": "76211800165600190000000",
        "symbol": "btc/usd",
        "timestamp": 1_777_381_686_000,
        "value": 76211.80016560019,
    },
    "timestamp": 1_777_381_687_612,
    "topic": "crypto_prices_chainlink",
    "type": "update",
}


def update(topic="crypto_prices_chainlink", **payload):
    return json.dumps(UPDATE | {"topic": topic, "payload": UPDATE["payload"] | payload}).encode()


def test_the_subscription_has_one_topic_and_no_filter():
    assert json.loads(rtds(TWAP).first_frame()) == {
        "action": "subscribe",
        "subscriptions": [{"topic": "crypto_prices_twap_sixty", "type": "update"}],
    }


def test_a_price_without_an_exact_form_is_the_number_itself_to_the_last_digit():
    text = b'{"payload":{"symbol":"btc/usd","timestamp":1,"value":76211.800165600190001},"topic":"%s","type":"update"}'
    [price] = rtds().prices(text % b"crypto_prices_chainlink")
    assert str(price.price) == "76211.800165600190001"


@pytest.mark.parametrize(
    ("value", "full", "price"),
    [
        ("76211.80016560019", "76211800165600190000000", "76211.80016560019"),
        ("76211.80016560019", "76211.800165600190123456", "76211.800165600190123456"),
        # Whole dollars, as a feed in dollars writes them: only the rounded number tells.
        ("63304", "63304", "63304"),
        ("63304", None, "63304"),
        (None, "63304.5", "63304.5"),
    ],
)
def test_both_forms_of_a_price_are_understood(value, full, price):
    assert exact_price(None if value is None else Decimal(value), full) == Decimal(price)


@pytest.mark.parametrize(
    ("value", "full"),
    [
        (None, None),
        (None, "76211800165600190000000"),
        ("76211.8", "76211900165600190000000"),
        ("76211.8", "76212"),
        ("76211.8", "-76211.8"),
        ("76211.8", "7.62118E+4"),
        ("76211.8", "NaN"),
        ("76211.8", ""),
        ("0", "0"),
        ("-5", "-5"),
        ("NaN", None),
        ("1E+30", None),
    ],
)
def test_forms_that_disagree_or_are_no_price_are_refused(value, full):
    with pytest.raises(ValueError, match=r"full_accuracy_value|not believed"):
        exact_price(None if value is None else Decimal(value), full)


@pytest.mark.parametrize(
    "data",
    [
        update(timestamp=None),
        update(timestamp="soon"),
        update(timestamp=1.5),
        update(value=0),
        update(value="NaN", full_accuracy_value=None),
        update(full_accuracy_value="12"),
        b'{"topic":"crypto_prices_chainlink","type":"update","payload":[]}',
        b'{"topic"',
        b"\xff\xfe",
    ],
)
def test_a_malformed_frame_is_counted_and_brings_nothing(data):
    said = rtds().read(data)
    assert (tuple(said.prices), said.what) == ((), "malformed")


def test_an_average_over_another_window_is_not_taken():
    topic = "crypto_prices_twap_sixty"
    assert rtds(TWAP).read(update(topic, window_s=30)).what == "malformed"
    assert len(rtds(TWAP).prices(update(topic, window_s=60))) == 1


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "ignored"),
        (b"  \n", "ignored"),
        (b"{}", "ignored"),
        (update("crypto_prices"), "ignored"),
        (update("crypto_prices_twap_sixty"), "ignored"),
        (update(symbol="doge/usd"), "other symbols"),
        (json.dumps(UPDATE | {"type": "subscribe"}).encode(), "ignored"),
        (b'{"type":"subscribe","topic":"crypto_prices","payload":{"symbol":"btc/usd","data":[]}}', "ignored"),
    ],
)
def test_what_is_no_price_of_ours_is_ignored(data, what):
    assert rtds().read(data).what == what
    assert rtds().prices(data) == ()


def test_what_the_relay_says_against_us_is_told_on_in_one_line():
    assert rtds().read(b"topic not found").trouble == "the relay says: topic not found"
    said = rtds().read(b'{"message":"Invalid request body","connectionId":"c","requestId":"r"}')
    assert said.trouble == "the relay says: Invalid request body"
    assert "\x1b" not in rtds().read(b"\x1b[2J" + b"x" * 10_000).trouble
    assert len(rtds().read(b"x" * 10_000).trouble) < 120


# ---- PolyBolt ----------------------------------------------------------------------------------------


def envelope(seq, at_ms=1_790_000_001_000, value="65000.5", channel="price.crypto.twap", **extra):
    payload = {"symbol": "btcusd", "full_accuracy_value": value, "timestamp": at_ms, "window_seconds": 60}
    payload |= extra.pop("payload", {})
    return json.dumps({"v": 1, "channel": channel, "seq": seq, "ts": at_ms, "payload": payload, **extra}).encode()


def test_authentication_comes_first_and_the_subscription_after_its_answer():
    dialect = polybolt()
    assert json.loads(dialect.first_frame()) == {
        "op": "auth",
        "rid": "auth",
        "auth": {"apiKey": "the-key", "secret": "the-secret", "passphrase": "the-phrase"},
    }
    said = dialect.read(b'{"op":"authed","rid":"auth"}')
    assert json.loads(said.reply)["subscriptions"] == [
        {"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 60}},
        {"channel": "price.crypto.twap", "filter": {"symbol": "ethusd", "window_seconds": 60}},
    ]
    assert json.loads(polybolt(SPOT).read(b'{"op":"authed"}').reply)["subscriptions"][0] == {
        "channel": "price.crypto",
        "filter": {"symbol": "btcusd"},
    }


def test_an_exact_value_of_this_relay_is_in_dollars():
    [price] = polybolt().prices(envelope(1, value="78788.786579938813673472"))
    assert price == ("btc", TWAP, Decimal("78788.786579938813673472"), 1_790_000_001_000)


def test_a_snapshot_is_history_in_order_of_time():
    points = [{"timestamp": at, "value": 65_000 + at} for at in (3, 1, 2)]
    said = polybolt().read(envelope(1, snapshot=True, payload={"data": points, "timestamp": None}))
    assert said.history
    assert [price.at_ms for price in said.prices] == [1, 2, 3]
    empty = polybolt().read(envelope(1, snapshot=True, payload={"data": []}))
    assert (empty.prices, empty.what) == ((), "")


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        ([(1, 0), (2, 0), (3, 0)], False),
        ([(7, 0), (8, 0)], False),
        ([(1, 0), (3, 0)], True),
        # Frames that were left out may use up numbers or not: the documentation leaves it open.
        ([(1, 0), (2, 3)], False),
        ([(1, 0), (5, 3)], False),
        ([(1, 0), (6, 3)], True),
        # A repeated frame is no gap, and neither is the one after it.
        ([(1, 0), (2, 0), (2, 0), (1, 0), (3, 0)], False),
        ([(1, -5), (2, -5)], False),
    ],
)
def test_a_hole_in_the_sequence_gives_the_connection_up(numbers, gap):
    dialect = polybolt()
    dialect.first_frame()
    said = [dialect.read(envelope(seq, dropped=dropped)) for seq, dropped in numbers]
    assert all(each.prices for each in said)
    assert [bool(each.give_up) for each in said] == [False] * (len(said) - 1) + [gap]


def test_each_connection_counts_from_anew():
    dialect = polybolt()
    for last in (50, 3):
        dialect.first_frame()
        assert not dialect.read(envelope(1)).give_up
        assert bool(dialect.read(envelope(last)).give_up) is (last > 2)


def test_asking_for_the_prices_of_a_frame_changes_nothing():
    dialect = polybolt()
    dialect.read(envelope(1))
    for _ in range(3):
        assert len(dialect.prices(envelope(9))) == 1
    assert not dialect.read(envelope(2)).give_up


def test_a_refusal_is_told_in_our_words_because_the_relays_may_repeat_our_secrets():
    said = polybolt().read(b'{"op":"error","code":"auth_invalid","message":"the-secret is wrong"}')
    assert said.trouble == "the relay says auth_invalid: the CLOB API credentials are not accepted"
    assert said.give_up
    assert not polybolt().read(b'{"op":"error","code":"bad_filter"}').give_up
    said = polybolt().read(b'{"op":"error","code":"the-secret"}')
    assert said.trouble == "the relay says an unknown error: see its documentation"
    assert "the-secret" not in repr(said) + repr(polybolt().read(b'{"op":"authed"}'))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (envelope(1, payload={"timestamp": None}), "malformed"),
        (envelope(1, payload={"window_seconds": 30}), "malformed"),
        (envelope(1, value="1e5"), "malformed"),
        (envelope("one"), "malformed"),
        (b'{"op":"pong"}', "ignored"),
        (b'{"op":"subscribed","channel":"price.crypto.twap","rid":"subscribe"}', "ignored"),
        (envelope(1, channel="price.crypto"), "ignored"),
        (b'{"channel":"price.crypto.twap","payload":{}}', "ignored"),
    ],
)
def test_frames_without_a_price_of_ours_are_counted(data, what):
    said = polybolt().read(data)
    assert (tuple(said.prices), said.what) == ((), what)


# ---- All ---------------------------------------------------------------------------------------------

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("btcusd"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [
        *("op", "code", "channel", "seq", "dropped", "snapshot", "payload", "symbol", "value", "full_accuracy_value"),
        *("timestamp", "data", "topic", "type", "message", "report", "feedID", "fullReport", "observationsTimestamp"),
    ]
)
frames = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(names, json_like | st.dictionaries(names, json_like, max_size=5), max_size=6).map(
        lambda value: json.dumps(value).encode()
    ),
)


@given(frames)
def test_nothing_that_the_other_side_sends_makes_a_client_fail(data):
    for dialect in (rtds(), rtds(TWAP), polybolt(), polybolt(SPOT), chainlink()):
        dialect.prices(data)
        dialect.read(data)
