from __future__ import annotations

import json

import pytest

from polymirror.core import messages
from polymirror.core.messages import (
    MAX_CHANGE_CHARS,
    USUAL_BYTES,
    Change,
    Ignored,
    Malformed,
    MarketResolved,
    PriceChange,
    Snapshot,
    TickSizeChange,
    Trade,
    WireLevel,
    decode_books,
    decode_frame,
    subscription,
    subscription_change,
)
from polymirror.errors import DecodeError
from tests.core.builders import START, Exchange

AT = "1777000000000"


def book(**changes):
    return {
        "event_type": "book", "market": "0xm", "asset_id": "11", "timestamp": AT, "hash": "h", "bids": [], "asks": [],
    } | changes  # fmt: skip


def price_change(**changes):
    return {
        "event_type": "price_change", "market": "0xm", "timestamp": AT,
        "price_changes": [{"asset_id": "11", "price": "0.48", "size": "5", "side": "BUY"}],
    } | changes  # fmt: skip


def decode(content):
    return decode_frame(json.dumps(content))


def only(content):
    (message,) = decode(content)
    return message


# ---- What the venue sends ------------------------------------------------------------------------------


def test_a_single_object_and_an_array_of_one_give_the_same_message():
    assert decode(price_change()) == decode([price_change()])
    assert decode(book()) == decode([book()])


def test_bytes_and_text_and_a_trailing_newline_give_the_same_message():
    frame = Exchange().opening()
    assert frame.endswith("\n")
    assert decode_frame(frame) == decode_frame(frame.encode()) == decode_frame(frame.strip())
    assert len(decode_frame(frame)) == 2


def test_an_array_may_mix_kinds_and_keeps_their_order():
    kinds = [type(each) for each in decode([book(), price_change(), {"event_type": "new_market"}, book()])]
    assert kinds == [Snapshot, PriceChange, Ignored, Snapshot]


def test_unknown_fields_are_ignored():
    assert only(book(new_field={"deep": [1, None]})) == only(book())
    assert only(price_change(new_field=1.5)) == only(price_change())


def test_todays_price_change_keeps_every_entry():
    message = only(Exchange().change("BUY", "0.49", "7.5"))
    assert message.at_ms == START + 1
    up, down = message.price_changes
    assert (up.asset_id, up.price, up.size, up.side) == ("11", "0.49", "7.5", "BUY")
    assert (down.asset_id, down.price, down.size, down.side) == ("22", "0.51", "7.5", "SELL")
    assert (up.best_bid, up.best_ask, len(up.hash)) == ("0.49", "0.52", 40)


def test_the_schema_with_changes_of_one_asset_is_read_and_its_hash_belongs_to_the_last_change():
    changes = [{"price": "0.4", "side": "SELL", "size": "3300"}, {"price": "0.5", "side": "SELL", "size": "1"}]
    old = {
        "event_type": "price_change", "market": "0xm", "asset_id": "11", "timestamp": AT, "hash": "h",
        "changes": changes,
    }  # fmt: skip
    message = only(old)
    assert message.at_ms == int(AT)
    assert message.price_changes == [Change("11", "0.4", "3300", "SELL"), Change("11", "0.5", "1", "SELL", "h")]


def test_the_oldest_flat_schema_is_read():
    flat = {
        "event_type": "price_change", "market": "0xm", "asset_id": "11", "timestamp": AT, "hash": "h",
        "price": "0.4", "side": "BUY", "size": "12",
    }  # fmt: skip
    assert only(flat).price_changes == [Change("11", "0.4", "12", "BUY", "h")]


def test_an_old_schema_without_changes_has_no_entries():
    assert only(price_change(price_changes=None, changes=[])).price_changes == []


def test_a_price_change_without_any_change_is_malformed():
    message = only(price_change(price_changes=None, asset_id="11"))
    assert message == Malformed("price_change", "no price_changes", "0xm", ("11",))


def test_objects_without_an_event_type_are_told_by_their_fields():
    typeless = {key: value for key, value in book().items() if key != "event_type"}
    assert isinstance(only(typeless), Snapshot)
    recording = {key: value for key, value in price_change().items() if key != "event_type"}
    assert only(recording).at_ms == int(AT)
    old = {
        "market": "0xm",
        "asset_id": "11",
        "timestamp": AT,
        "changes": [{"price": "0.4", "side": "BUY", "size": "1"}],
    }
    assert only(old).price_changes == [Change("11", "0.4", "1", "BUY")]
    assert only({"error": "No orderbook exists"}) == Ignored("untyped")


def test_buys_and_sells_are_read_as_bids_and_asks():
    old = book(buys=[{"price": "0.4", "size": "1"}], sells=[{"price": "0.6", "size": "2"}])
    del old["bids"], old["asks"]
    message = only(old)
    assert (message.bids, message.asks) == ([WireLevel("0.4", "1")], [WireLevel("0.6", "2")])
    del old["event_type"]
    assert only(old) == message


def test_levels_keep_their_wire_strings():
    assert only(book(bids=[{"price": ".48", "size": "5.00"}])).bids == [WireLevel(".48", "5.00")]


def test_numbers_where_strings_are_usual_are_taken_by_their_exact_text():
    frame = (
        '{"event_type":"book","market":"0xm","asset_id":11,"timestamp":1777000000000,"hash":"h",'
        '"bids":[{"price":0.1000,"size":1145.64}],"asks":[],"neg_risk":true,"tick_size":0.01}'
    )
    (message,) = decode_frame(frame)
    assert (message.asset_id, message.timestamp_ms) == ("11", 1_777_000_000_000)
    assert message.bids == [WireLevel("0.1000", "1145.64")]
    assert (message.neg_risk, message.tick_size) == (True, "0.01")


def test_a_trade_a_tick_size_and_a_resolution_are_read():
    trade = only({
        "event_type": "last_trade_price", "market": "0xm", "asset_id": "11", "price": "0.48", "size": "2.5",
        "side": "BUY", "fee_rate_bps": "", "timestamp": AT, "transaction_hash": "0x1",
    })  # fmt: skip
    assert trade == Trade("0xm", "11", int(AT), 4800, 2_500_000, "BUY", "", "0x1")
    tick = only({
        "event_type": "tick_size_change", "market": "0xm", "asset_id": "11", "old_tick_size": "0.01",
        "new_tick_size": "0.001", "timestamp": AT,
    })  # fmt: skip
    assert tick == TickSizeChange("0xm", "11", int(AT), "0.001")
    resolved = {"event_type": "market_resolved", "market": "0xm", "assets_ids": ["11", "22"], "winning_asset_id": "11"}
    assert only(resolved) == MarketResolved("0xm", ("11", "22"), "11")
    assert only({"event_type": "market_resolved", "market": "0xm"}) == MarketResolved("0xm", (), None)


@pytest.mark.parametrize("kind", ["best_bid_ask", "new_market", "something_new"])
def test_kinds_the_mirror_has_no_use_for_are_ignored_by_name(kind):
    assert only({"event_type": kind, "market": "0xm", "assets_ids": "whatever", "line": 0.5}) == Ignored(kind)
    assert only({"event_type": kind, "market": "0xm"}) == Ignored(kind)


@pytest.mark.parametrize("reply", ["PONG", "PING", "INVALID OPERATION", "INVALID MESSAGE", "NO NEW ASSETS", "PONG\n"])
def test_text_replies_are_ignored_by_name(reply):
    assert decode_frame(reply) == [Ignored(reply.strip())]


@pytest.mark.parametrize("reply", ["", " ", "\n", "[]", "[]\n"])
def test_empty_replies_are_nothing(reply):
    assert decode_frame(reply) == []


@pytest.mark.parametrize("reply", ["TOO MANY REQUESTS", "null", "17", '"text"'])
def test_an_unknown_short_text_is_ignored(reply):
    assert decode_frame(reply) == [Ignored("text")]


def test_the_name_of_an_unknown_kind_is_cut():
    assert only({"event_type": "x" * 1000}) == Ignored("x" * messages.MAX_KIND_CHARS)
    assert only({"event_type": "x" * 1000, "market": 5}) == Ignored("x" * messages.MAX_KIND_CHARS)


# ---- What the venue should not send --------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"{", b"[", b'{"event_type":', b'[{"event_type":"book"},', b"{}}", b'{"a":NaN}', b'{"a":-}', b"\xff\xfe\x00",
        b'{"market":"\xff"}', b'{"event_type":"\xc3\x28"}', b"<html>" + b"x" * 200, "caf\u00e9".encode(), b"\x00\x01",
        b"[" * 100_000, b'{"a":' * 100_000, b'[1,"\xff"]', b'{"timestamp":' + b"9" * 6000 + b"}",
    ],
    ids=range(17),
)  # fmt: skip
def test_garbage_is_one_malformed_frame_that_may_concern_any_token(frame):
    (message,) = decode_frame(frame)
    assert isinstance(message, Malformed)
    assert (message.kind, message.market, message.asset_ids) == ("frame", "", ())
    assert 0 < len(message.detail) <= 200


def test_every_truncation_of_a_real_frame_is_malformed():
    for frame in (Exchange().opening().strip(), json.dumps(Exchange().change("BUY", "0.49", "5"))):
        for end in range(1, len(frame)):
            assert all(isinstance(each, Malformed) for each in decode_frame(frame[:end])), frame[:end]


def test_a_lone_surrogate_is_malformed():
    (message,) = decode_frame('{"event_type":"\ud800"}')
    assert isinstance(message, Malformed)


def test_an_element_that_is_no_object_is_malformed_and_spares_its_neighbours():
    assert [type(each) for each in decode([price_change(), 5, None, [book()], book()])] == [
        PriceChange, Malformed, Malformed, Malformed, Snapshot,
    ]  # fmt: skip
    assert decode([["x"]]) == [Malformed("element", "a list where an object belongs")]


@pytest.mark.parametrize("stamp", ["", "0", "-5", "x", "1.5", "100000000000000", "9" * 5000, None])
def test_a_timestamp_that_cannot_be_is_malformed(stamp):
    for content in (book(timestamp=stamp), price_change(timestamp=stamp)):
        message = only(content)
        assert isinstance(message, Malformed)
        assert (message.market, message.asset_ids) == ("0xm", ("11",))


@pytest.mark.parametrize(
    "changes",
    [
        {"bids": None}, {"asks": None}, {"asset_id": ""}, {"bids": {}}, {"bids": [{"price": "0.4"}]},
        {"bids": [{"price": None, "size": "1"}]}, {"bids": ["0.4"]}, {"hash": []}, {"neg_risk": "no"},
    ],
    ids=str,
)  # fmt: skip
def test_a_book_with_missing_or_wrong_fields_is_malformed_and_names_its_token(changes):
    message = only(book(**changes))
    assert isinstance(message, Malformed)
    assert (message.kind, message.market) == ("book", "0xm")
    assert message.asset_ids == (() if changes == {"asset_id": ""} else ("11",))


@pytest.mark.parametrize(
    "changes",
    [
        {"price_changes": {}}, {"price_changes": [{"asset_id": "11"}]}, {"price_changes": [5, {"asset_id": "11"}]},
        {"price_changes": [{"asset_id": "11", "price": None, "size": "1", "side": "BUY"}]}, {"market": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_price_change_is_malformed_and_names_what_it_can(changes):
    message = only(price_change(**changes))
    assert isinstance(message, Malformed)
    assert message.kind == "price_change"
    assert message.market == ("" if changes == {"market": []} else "0xm")
    assert message.asset_ids == (() if changes == {"price_changes": {}} else ("11",))


def test_an_old_change_without_its_fields_is_malformed():
    message = only(price_change(price_changes=None, asset_id="11", changes=[{"price": "0.4"}]))
    assert isinstance(message, Malformed)
    assert message.asset_ids == ("11",)


@pytest.mark.parametrize(
    "content",
    [
        {"event_type": "last_trade_price", "price": "NaN", "size": "1", "timestamp": AT},
        {"event_type": "last_trade_price", "price": "0.4", "size": "-1", "timestamp": AT},
        {"event_type": "last_trade_price", "price": "0.4", "size": "1"},
        {"event_type": "tick_size_change", "new_tick_size": "0.02", "timestamp": AT},
        {"event_type": "tick_size_change", "timestamp": AT},
        {"event_type": "market_resolved", "assets_ids": 5},
    ],
    ids=str,
)
def test_other_broken_kinds_are_malformed_under_their_own_name(content):
    message = only(content)
    assert isinstance(message, Malformed)
    assert message.kind == content["event_type"]


def test_a_kind_that_is_no_string_is_malformed():
    assert isinstance(only({"event_type": ["book"]}), Malformed)
    assert only({"event_type": 5}) == Ignored("5")


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("in_array", [False, True])
def test_a_field_of_another_kind_in_a_price_change_does_not_matter(long, in_array):
    content = {
        "event_type": "price_change", "market": "0xm", "timestamp": "5", "asks": {}, "hash": 5,
        "price_changes": [{"asset_id": "11", "price": "0.4", "size": "1", "side": "BUY"}],
        "padding": "x" * (2 * USUAL_BYTES if long else 1),
    }  # fmt: skip
    (message,) = decode_frame(json.dumps([content] if in_array else content))
    assert message == PriceChange("0xm", [Change("11", "0.4", "1", "BUY")], 5, "price_change")


@pytest.mark.parametrize("field", ["hash", "price", "size", "side", "best_bid", "best_ask"])
@pytest.mark.parametrize("oddly", [False, True], ids=["as usual", "beside something odd"])
def test_a_change_with_a_text_that_is_much_too_long_is_malformed(field, oddly):
    """Changes are kept for a while, thousands of them, so their texts are bounded."""
    entry = {
        "asset_id": "11",
        "price": "0.5",
        "size": "5",
        "side": "BUY",
        "hash": "ab",
        "best_bid": "0.5",
        "best_ask": "1",
    }
    message = {"event_type": "price_change", "market": "0xm", "timestamp": "1790000000000"}
    good = {**message, "price_changes": [{**entry, "hash": "b" * 40}], "padding": "x" * USUAL_BYTES}
    bad = {
        **message,
        "price_changes": [entry, {**entry, field: "1" * (MAX_CHANGE_CHARS + 1)}],
        "padding": "x" * USUAL_BYTES,
    }
    frame = [good, bad, {"event_type": 5}] if oddly else [good, bad]
    messages = decode_frame(json.dumps(frame).encode())
    assert isinstance(messages[0], PriceChange)
    assert isinstance(messages[1], Malformed)
    assert messages[1].asset_ids == ("11",)
    assert isinstance(decode_frame(json.dumps(bad).encode())[0], Malformed)


def test_a_price_change_without_a_possible_time_is_malformed_beside_something_broken():
    change = {"event_type": "price_change", "market": "0xm", "timestamp": "0", "price_changes": []}
    found = decode_frame(json.dumps([change, 5]))
    assert [message.kind for message in found] == ["price_change", "element"]
    assert "timestamp" in found[0].detail
    assert found[0].market == "0xm"


def test_nesting_deeper_than_any_message_is_cut_not_followed():
    deep = price_change(market=[[[[[["x"]]]]]])
    assert isinstance(only(deep), Malformed)
    assert only(price_change(timestamp=int(AT), extra=[[[[[1]]]]])).at_ms == int(AT)


def test_a_frame_over_the_limit_is_not_decoded(monkeypatch):
    monkeypatch.setattr(messages, "MAX_FRAME_BYTES", 1000)
    frame = json.dumps(book(pad="x" * 1000))
    for each in (frame, f"[{frame}]"):
        (message,) = decode_frame(each)
        assert isinstance(message, Malformed)
        assert "exceed" in message.detail


@pytest.mark.parametrize("element", ["1", "{}"])
def test_an_array_of_too_many_elements_is_one_malformed_frame(monkeypatch, element):
    monkeypatch.setattr(messages, "MAX_MESSAGES", 10)
    assert len(decode_frame(f"[{','.join([element] * 10)}]")) == 10
    (message,) = decode_frame(f"[{','.join([element] * 11)}]")
    assert isinstance(message, Malformed)
    assert message.detail == "11 messages exceed 10"


# ---- REST bodies and subscriptions ---------------------------------------------------------------------


def test_rest_bodies_are_read_as_one_book_or_many():
    exchange = Exchange()
    one, other = (exchange.content(token) for token in exchange.tokens)
    (message,) = decode_books(json.dumps(one).encode())
    assert (message.asset_id, message.timestamp_ms, message.hash) == ("11", START, one["hash"])
    assert (message.min_order_size, message.tick_size, message.neg_risk) == ("5", "0.01", False)
    assert message.last_trade_price == "0.480"
    assert [each.asset_id for each in decode_books(json.dumps([one, other]).encode())] == ["11", "22"]
    assert decode_books(b"[]") == []


@pytest.mark.parametrize(
    "body",
    [b"<html>busy</html>" + b" " * 200 + b"x" * 200, b'{"error":"x"}', b"PONG", b"{", b'[{"bids":[]}]', b"[5]", b"{}"],
)
def test_a_rest_body_that_is_no_book_raises_and_names_the_part(body):
    with pytest.raises(DecodeError, match="cannot decode"):
        decode_books(body)


def test_the_first_frame_of_a_connection_is_the_subscription():
    assert json.loads(subscription(["11", "22"], custom_features=True)) == {
        "assets_ids": ["11", "22"], "type": "market", "custom_feature_enabled": True,
    }  # fmt: skip


def test_the_flag_is_repeated_in_each_subscribe_and_left_out_of_unsubscribe():
    more = json.loads(subscription_change("subscribe", ["11"], custom_features=True))
    assert more == {"operation": "subscribe", "assets_ids": ["11"], "custom_feature_enabled": True}
    less = json.loads(subscription_change("unsubscribe", ["11"], custom_features=True))
    assert less == {"operation": "unsubscribe", "assets_ids": ["11"]}
