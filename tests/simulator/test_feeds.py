"""The simulated price feeds: what clients may ask, what is published and when, and who is refused."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from itertools import pairwise

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.exchange.oracle import PriceProcess
from polymirror.simulator.feeds import price_feeds
from polymirror.simulator.feeds.datastreams import DEMO_KEYS as STREAM_KEYS
from polymirror.simulator.feeds.datastreams import DataStreamsFeed
from polymirror.simulator.feeds.polybolt import DEMO_KEYS as RELAY_KEYS
from polymirror.simulator.feeds.polybolt import PolyboltFeed
from polymirror.simulator.feeds.pulse import Pulse
from polymirror.simulator.feeds.rtds import RtdsFeed
from polymirror.simulator.frames import Close
from polymirror.simulator.settings import DEFAULT_START_MS as START
from polymirror.simulator.settings import ExchangeConfig
from polymirror.simulator.surface.services import feeds_by_path

ASSETS = ("btc", "eth")
PRICES = PriceProcess(1)


def session_of(feed, now_ms=START, headers=None, query=None):
    session = feed.open(headers or {}, query or {}, now_ms)
    assert not isinstance(session, int), f"refused with {session}"
    return session


def drain(session, until_ms):
    """Everything up to a time as a transport takes it: at each moment that the session names."""
    items = []
    while not session.closed and (due := session.next_ms()) is not None and due <= until_ms:
        items += [(due, item) for item in session.outgoing(due)]
    return items


def say(session, request, now_ms=START):
    return session.receive(json.dumps(request), now_ms)


def texts(items):
    return [item.text for item in items]


# ---- When --------------------------------------------------------------------------------------------


def test_each_second_is_published_once_in_order_and_within_the_lag():
    pulse = Pulse(7, lag_ms=(900, 1_800), missing=0.0)
    moments = [pulse.publish_ms(second) for second in range(START, START + 3_600_000, 1_000)]
    lags = [moment - START - 1_000 * number for number, moment in enumerate(moments)]
    assert all(later > earlier for earlier, later in pairwise(moments))
    assert min(lags) == 900
    assert max(lags) == 1_800
    assert 1_300 < sum(lags) / len(lags) < 1_400
    assert moments == [Pulse(7, lag_ms=(900, 1_800), missing=0.5).publish_ms(START + 1_000 * n) for n in range(3_600)]
    assert moments != [Pulse(8, lag_ms=(900, 1_800), missing=0.0).publish_ms(START + 1_000 * n) for n in range(3_600)]


def test_the_share_of_missing_seconds_is_the_one_asked_for():
    pulse = Pulse(7, lag_ms=(0, 0), missing=0.03)
    for series in ("btc", "eth"):
        missing = sum(pulse.is_missing(series, second) for second in range(START, START + 20_000_000, 1_000))
        assert 500 < missing < 700
    assert not any(Pulse(7, lag_ms=(0, 0), missing=0).is_missing("btc", second) for second in range(1_000))


@pytest.mark.parametrize("now_ms", [START, START + 1, START + 499, START + 999])
def test_the_next_second_is_the_first_that_is_not_out_yet(now_ms):
    pulse = Pulse(7, lag_ms=(300, 1_200), missing=0)
    second = pulse.next_second(now_ms)
    assert pulse.publish_ms(second) > now_ms >= pulse.publish_ms(second - 1_000)


@pytest.mark.parametrize("odd", [{"lag_ms": (0, 1_000)}, {"lag_ms": (5, 4)}, {"lag_ms": (-1, 0)}, {"missing": 1.1}])
def test_a_pulse_that_cannot_be_is_refused(odd):
    with pytest.raises(ConfigError):
        Pulse(1, **({"lag_ms": (0, 0), "missing": 0} | odd))


def test_the_same_is_sent_however_often_it_is_asked_for():
    def run(step_ms):
        session = session_of(RtdsFeed(PRICES, ASSETS, seed=4))
        say(session, {"action": "subscribe", "subscriptions": [{"topic": "crypto_prices_chainlink"}]})
        return [text for at in range(START, START + 30_000, step_ms) for text in texts(session.outgoing(at))]

    assert run(1) == run(10)
    assert len(run(10)) > 50


def test_a_request_does_not_ask_for_thousands_of_answers():
    one = {"topic": "crypto_prices_chainlink", "type": "update", "filters": '{"symbol":"btc/usd"}'}
    text = json.dumps({"action": "subscribe", "subscriptions": [one] * 1_000})
    assert "Invalid request body" in texts(session_of(rtds()).receive(text, START))[0]


def test_a_client_that_was_forgotten_for_long_is_not_flooded():
    session = polybolt()
    say(session, AUTH)
    say(session, wanting())
    assert len(session.outgoing(START + 10_000_000)) <= 300 + 1
    assert session.next_ms() > START + 10_000_000


# ---- RTDS --------------------------------------------------------------------------------------------


def rtds(**options):
    return RtdsFeed(PRICES, ASSETS, **({"missing": 0} | options))


def subscribe(*topics, **more):
    return {"action": "subscribe", "subscriptions": [{"topic": topic, "type": "update"} | more for topic in topics]}


def test_the_relay_tells_every_topic_without_a_filter_in_the_recorded_form():
    session = session_of(rtds())
    assert texts(say(session, subscribe("crypto_prices", "crypto_prices_chainlink", "crypto_prices_twap_sixty"))) == [
        ""
    ]
    first = [(due, json.loads(item.text)) for due, item in drain(session, START + 2_800)][:6]
    assert [frame["payload"]["symbol"] for _, frame in first] == ["btcusdt", "ethusdt"] + ["btc/usd", "eth/usd"] * 2
    due, spot = first[2]
    at_ms = spot["payload"]["timestamp"]
    assert at_ms % 1_000 == 0
    assert 900 <= due - at_ms <= 1_800
    assert spot["timestamp"] == due
    exact = PRICES.price("btc", at_ms)
    assert spot["payload"]["full_accuracy_value"] == str(int(exact * 10**18))
    assert spot["payload"]["value"] == float(exact)
    assert list(spot) == ["connection_id", "payload", "timestamp", "topic", "type"]
    twap = first[4][1]["payload"]
    assert twap["window_s"] == 60
    assert Decimal(twap["full_accuracy_value"]).scaleb(-18) == PRICES.twap("btc", at_ms)
    assert first[0][1]["payload"]["full_accuracy_value"] == format(exact.normalize(), "f")


def test_one_unknown_topic_silences_all_that_were_asked_for_with_it():
    session = session_of(rtds())
    assert texts(say(session, subscribe("crypto_prices_chainlink", "crypto_prices_twap"))) == ["topic not found"]
    assert session.next_ms() is None


def test_a_filter_brings_a_dump_and_one_symbol_but_with_a_space_in_it_only_the_dump():
    for given, speaks in (('{"symbol":"btc/usd"}', True), ('{"symbol": "btc/usd"}', False)):
        session = session_of(rtds())
        ack, dump = texts(say(session, subscribe("crypto_prices_chainlink", filters=given)))
        dump = json.loads(dump)
        assert ack == ""
        assert (dump["topic"], dump["type"], dump["payload"]["symbol"]) == ("crypto_prices", "subscribe", "btc/usd")
        assert len(dump["payload"]["data"]) == 60
        symbols = {item.token for _, item in drain(session, START + 5_000)}
        assert symbols == ({"btc"} if speaks else set())


def test_a_list_of_filters_is_refused_or_silent():
    session = session_of(rtds())
    answer = texts(say(session, subscribe("crypto_prices", filters="btcusdt,ethusdt")))
    assert answer == ["", "invalid Subscription.Filters: value does not match regex"]
    say(session, subscribe("crypto_prices", filters=["btcusdt"]))
    assert session.next_ms() is None


def test_without_a_ping_the_data_stops_after_six_minutes():
    session = session_of(rtds())
    say(session, subscribe("crypto_prices_chainlink"))
    assert drain(session, START + 350_000)
    session.outgoing(START + 361_000)
    assert drain(session, START + 400_000) == []
    assert texts(session.receive("ping", START + 400_000)) == [""]
    assert drain(session, START + 410_000)


@pytest.mark.parametrize(
    "text", ["hello", "{}", "[]", '{"action":"buy","subscriptions":[]}', '{"action":"subscribe","subscriptions":[1]}']
)
def test_what_is_no_request_is_answered_as_the_relay_does(text):
    assert "Invalid request body" in texts(session_of(rtds()).receive(text, START))[0]


def test_what_is_unsubscribed_ends():
    session = session_of(rtds())
    say(session, subscribe("crypto_prices_chainlink"))
    say(session, {**subscribe("crypto_prices_chainlink"), "action": "unsubscribe"}, START + 5_000)
    assert session.next_ms() is None


# ---- PolyBolt ----------------------------------------------------------------------------------------

AUTH = {
    "op": "auth",
    "rid": "1",
    "auth": {"apiKey": RELAY_KEYS.api_key, "secret": RELAY_KEYS.secret, "passphrase": RELAY_KEYS.passphrase},
}


def wanting(channel="price.crypto.twap", symbol="btcusd", **more):
    given = {"symbol": symbol} | ({"window_seconds": 60} if channel.endswith("twap") else {}) | more
    return {"op": "subscribe", "rid": "2", "channel": channel, "filter": given}


def polybolt(**options):
    return session_of(PolyboltFeed(PRICES, ASSETS, **({"missing": 0} | options)))


def replies(session, request, now_ms=START):
    return [json.loads(text) for text in texts(say(session, request, now_ms))]


def test_prices_want_credentials_first():
    session = polybolt()
    error = {"op": "error", "code": "auth_required", "channel": "price.crypto.twap", "rid": "2"}
    assert replies(session, wanting()) == [error]
    assert replies(session, AUTH) == [{"op": "authed", "rid": "1"}]
    ack, snapshot = replies(session, wanting())
    assert ack == {"op": "subscribed", "channel": "price.crypto.twap", "rid": "2"}
    assert (snapshot["seq"], snapshot["snapshot"], len(snapshot["payload"]["data"])) == (1, True, 120)
    newest = snapshot["payload"]["data"][-1]
    assert Decimal(newest["full_accuracy_value"]) == PRICES.twap("btc", newest["timestamp"])
    # Once more brings no second snapshot.
    assert len(replies(session, wanting())) == 1


@pytest.mark.parametrize("part", ["apiKey", "secret", "passphrase"])
def test_one_wrong_credential_is_enough_and_eight_attempts_are_too_many(part):
    session = polybolt()
    wrong = {**AUTH, "auth": AUTH["auth"] | {part: "wrong"}}
    for _ in range(7):
        assert replies(session, wrong) == [{"op": "error", "code": "auth_invalid", "rid": "1"}]
    *_, end = say(session, wrong)
    assert end == Close(4001, "authentication failed")
    assert session.closed
    assert say(session, AUTH) == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"op": "buy"}, "bad_op"),
        ([], "bad_op"),
        (wanting("price.equity"), "bad_channel"),
        ({"op": "subscribe", "subscriptions": [7]}, "bad_channel"),
        (wanting(symbol="dogeusd"), "bad_filter"),
        (wanting(symbol=["btcusd"]), "bad_filter"),
        (wanting(window_seconds=30), "bad_filter"),
    ],
)
def test_mistakes_are_named_by_the_documented_codes(request_, code):
    session = polybolt()
    say(session, AUTH)
    assert replies(session, request_)[0]["code"] == code


def test_too_many_requests_in_a_second_are_refused():
    session = polybolt()
    say(session, AUTH)
    codes = [replies(session, wanting())[0].get("code") for _ in range(21)]
    assert codes == [None] * 20 + ["rate_limited"]
    assert replies(session, wanting(), START + 1_000)[-1]["op"] == "subscribed"


def test_a_request_that_is_too_large_ends_the_connection():
    assert polybolt().receive(" " * 70_000, START) == [Close(4008, "frame too large")]


def test_frames_are_numbered_for_each_channel_from_one_on():
    session = polybolt()
    say(session, AUTH)
    for channel in ("price.crypto", "price.crypto.twap"):
        for symbol in ("btcusd", "ethusd"):
            say(session, wanting(channel, symbol))
    seen = {}
    for _, item in drain(session, START + 20_000):
        frame = json.loads(item.text)
        seen.setdefault(frame["channel"], []).append(frame["seq"])
        exact = Decimal(frame["payload"]["full_accuracy_value"])
        twap = frame["channel"].endswith("twap")
        assert exact == (PRICES.twap if twap else PRICES.price)(item.token, frame["payload"]["timestamp"])
        assert frame["payload"].get("window_seconds") == (60 if twap else None)
    assert set(seen) == {"price.crypto", "price.crypto.twap"}
    # Two snapshots came before.
    assert all(numbers == list(range(3, len(numbers) + 3)) for numbers in seen.values())
    assert replies(session, {"op": "ping"}, START + 20_000) == [{"op": "pong"}]


def test_a_snapshot_of_averages_names_its_window_and_what_ends_names_its_channel():
    """The case ``twap_snapshot_window``."""
    session = polybolt()
    say(session, AUTH)
    _, snapshot = replies(session, wanting())
    assert (snapshot["payload"]["window_seconds"], snapshot["payload"]["source"]) == (60, "chainlink")
    both = [{"channel": each["channel"], "filter": each["filter"]} for each in (wanting("price.crypto"), wanting())]
    say(session, {"op": "subscribe", "subscriptions": both})
    ended = replies(session, {"op": "unsubscribe", "rid": "3", "subscriptions": both})
    assert ended == [{"op": "unsubscribed", "channel": each["channel"], "rid": "3"} for each in both]
    assert session.next_ms() is None


@pytest.mark.parametrize(("given", "source"), [({}, "chainlink"), ({"provider": "pyth"}, "pyth")])
def test_a_spot_price_comes_from_the_provider_that_is_named(given, source):
    session = polybolt()
    say(session, AUTH)
    ack, snapshot = replies(session, wanting("price.crypto", **given))
    assert ack == {"op": "subscribed", "channel": "price.crypto", "provider": source, "rid": "2"}
    assert (snapshot["payload"]["source"], "window_seconds" in snapshot["payload"]) == (source, False)
    assert {json.loads(item.text)["payload"]["source"] for _, item in drain(session, START + 5_000)} == {source}
    assert replies(session, wanting("price.crypto", provider="me"))[0]["code"] == "bad_filter"


# ---- Data Streams ------------------------------------------------------------------------------------


def signed(feeds, at_ms=START, secret=STREAM_KEYS.user_secret, client=STREAM_KEYS.client_id, encoded=False):
    ids = "%2C".join(feeds) if encoded else ",".join(feeds)
    said = f"GET /api/v1/ws?feedIDs={ids} {hashlib.sha256(b'').hexdigest()} {client} {at_ms}"
    return {
        "authorization": client,
        "x-authorization-timestamp": str(at_ms),
        "x-authorization-signature-sha256": hmac.new(secret.encode(), said.encode(), hashlib.sha256).hexdigest(),
    }


def test_a_signed_handshake_brings_a_report_of_each_feed_and_second():
    feed = DataStreamsFeed(PRICES, ASSETS, missing=0)
    wanted = [feed.spot_ids["btc"], feed.twap_ids["eth"]]
    session = session_of(feed, headers=signed(wanted), query={"feedIDs": ",".join(wanted)})
    frames = [json.loads(item.text)["report"] for _, item in drain(session, START + 10_600)]
    assert [frame["feedID"] for frame in frames] == wanted * (len(frames) // 2)
    assert 20 <= len(frames) <= 24
    assert all(frame["observationsTimestamp"] == frame["validFromTimestamp"] for frame in frames)


def test_who_cannot_sign_is_refused():
    feed = DataStreamsFeed(PRICES, ASSETS)
    one = [feed.spot_ids["btc"]]
    two = [feed.spot_ids["btc"], feed.spot_ids["eth"]]

    def status(headers, feeds=one):
        opened = feed.open(headers, {"feedIDs": ",".join(feeds)}, START)
        return opened if isinstance(opened, int) else 200

    assert status(signed(one)) == 200
    assert status(signed(two, encoded=True), two) == status(signed(two), two) == 200
    assert status({}) == 401
    assert status(signed(one, secret="wrong")) == 401
    assert status(signed(one, client="wrong")) == 401
    assert status(signed(one) | {"authorization": "wrong"}) == 401
    assert status(signed(two), one) == 401
    assert status(signed(one, at_ms=START - 5_001)) == 401
    assert status(signed(one, at_ms=START + 5_001)) == 401
    assert status(signed(one, at_ms=START + 5_000)) == 200
    assert status(signed(one) | {"x-authorization-timestamp": "now"}) == 401
    assert status(signed(one) | {"x-authorization-signature-sha256": "é"}) == 401
    assert status(signed(["0x00"]), ["0x00"]) == 403
    assert feed.open(signed(one), {}, START) == 400


# ---- All together ------------------------------------------------------------------------------------


def test_the_feeds_of_an_exchange_tell_the_prices_that_decide_its_rounds():
    exchange = Exchange(ExchangeConfig(seed=5))
    feeds = price_feeds(exchange.oracle, ASSETS, seed=5)
    assert list(feeds_by_path(feeds)) == ["/ws/rtds", "/ws/polybolt", "/api/v1/ws"]
    session = session_of(feeds[0])
    say(session, subscribe("crypto_prices_twap_sixty"))
    for _, item in drain(session, START + 5_000):
        payload = json.loads(item.text)["payload"]
        exact = Decimal(payload["full_accuracy_value"]).scaleb(-18)
        assert exact == exchange.oracle.twap(item.token, payload["timestamp"], 60)


@pytest.mark.parametrize("assets", [(), ("btc", "btc"), ("BTC",), ('b"c',)])
def test_assets_that_are_no_names_are_refused(assets):
    with pytest.raises(ConfigError, match="assets"):
        RtdsFeed(PRICES, assets)


def test_credentials_of_feeds_show_in_no_repr():
    for keys in (RELAY_KEYS, STREAM_KEYS):
        assert "simulated" not in repr(keys)
