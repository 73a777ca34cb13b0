"""The order desk speaks the venue's HTTP: shapes, texts, credentials, and what can go wrong on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from polymirror.errors import ConfigError
from polymirror.simulator import ExchangeConfig, FlowConfig
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.frames import Call
from polymirror.simulator.orders.desk import Account, Geo, OrderDesk, order_id_of
from polymirror.simulator.orders.faults import Fate, OrderFaultRates, OrderFaults
from tests.simulator.order_rig import ONE_PUSD, Rig, rig

AMOUNTS = (9_900_000, 10_000_000)
"""Ten shares at 99 cents at most."""


def send(trader: Rig, name: str = "one", **more: Any) -> Any:
    return trader.call("POST", "/order", trader.body(*AMOUNTS, name=name, **more))


def sent_id(trader: Rig, name: str = "one") -> str:
    return order_id_of(trader.body(*AMOUNTS, name=name)["order"])


# An order's way.


def test_a_delayed_order_is_in_flight_with_empty_amounts_and_then_matched() -> None:
    trader = rig()
    order_id = sent_id(trader)
    answer = json.loads(send(trader).body)
    assert answer == {
        "errorMsg": "",
        "orderID": order_id,
        "takingAmount": "",
        "makingAmount": "",
        "status": "delayed",
        "tradeIDs": [],
        "success": True,
    }
    found = trader.get(f"/data/order/{order_id}")
    assert (found["status"], found["size_matched"], found["original_size"]) == ("DELAYED", "0", "10")
    assert [order["id"] for order in trader.get("/data/orders")["data"]] == [order_id]
    assert trader.get("/data/orders", market=trader.condition, asset_id=trader.token, id=order_id)["count"] == 1
    for other in ({"market": "0x1"}, {"asset_id": "1"}, {"id": "0x1"}):
        assert trader.get("/data/orders", **other)["count"] == 0
    trader.wait(250)
    found = trader.get(f"/data/order/{order_id}")
    assert (found["status"], found["size_matched"], found["price"]) == ("MATCHED", "17.368421", "0.99")
    assert (found["side"], found["order_type"], found["asset_id"]) == ("BUY", "FOK", trader.token)
    assert trader.get("/data/orders") == {"data": [], "next_cursor": "LTE=", "limit": 100, "count": 0}
    trades = trader.get("/data/trades")["data"]
    assert [trade["id"] for trade in trades] == found["associate_trades"]
    assert {trade["taker_order_id"] for trade in trades} == {order_id}


def test_an_order_that_is_matched_at_once_tells_what_was_paid_and_got() -> None:
    trader = rig(delay_ms=0)
    answer = json.loads(send(trader).body)
    trades = trader.get("/data/trades")["data"]
    assert (answer["status"], answer["takingAmount"]) == ("matched", "17.368421")
    assert answer["tradeIDs"] == [trade["id"] for trade in trades]
    [trade] = trades
    assert trade["money"] == answer["makingAmount"]
    assert trade["side"] == "BUY"
    assert trade["maker_orders"][0]["side"] == "SELL"
    paid = ONE_PUSD * 1_000 - int(trader.get("/balance-allowance", asset_type="COLLATERAL")["balance"])
    assert f"{float(trade['money']) + float(trade['fee']):.6f}" == f"{paid / ONE_PUSD:.6f}"
    held = trader.get("/balance-allowance", asset_type="CONDITIONAL", token_id=trader.token)
    assert held["balance"] == "17368421"
    assert [position["size"] for position in trader.get("/data/positions")["data"]] == ["17.368421"]


def test_a_killed_order_is_a_400_and_can_be_looked_up() -> None:
    trader = rig(delay_ms=0)
    answer = trader.call("POST", "/order", trader.body(1_000_000, 100_000_000))
    assert (answer.status, json.loads(answer.body)) == (
        400,
        {"error": "order couldn't be fully filled. FOK orders are fully filled or killed."},
    )
    found = trader.get(f"/data/order/{order_id_of(trader.body(1_000_000, 100_000_000)['order'])}")
    assert found["status"] == "UNMATCHED"


def test_an_order_that_was_never_accepted_is_not_found() -> None:
    trader = rig()
    assert trader.call("GET", f"/data/order/{sent_id(trader)}").status == 404
    assert trader.call("GET", "/data/order/0x12").status == 400


def test_another_accounts_order_is_not_found() -> None:
    trader = rig()
    other = Account.made_up("other")
    trader.desk = OrderDesk(trader.broker, [trader.account, other])
    send(trader)
    order_id = sent_id(trader)
    assert trader.call("GET", f"/data/order/{order_id}").status == 200
    trader.account = other
    assert trader.call("GET", f"/data/order/{order_id}").status == 404
    assert trader.get("/data/trades")["data"] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body.pop("order"),
        lambda body: body.update(owner="somebody"),
        lambda body: body.update(orderType="GTX"),
        lambda body: body.update(postOnly=True),
        lambda body: body["order"].update(maker="0x1"),
        lambda body: body["order"].update(side="UP"),
        lambda body: body["order"].update(tokenId=5),
        lambda body: body["order"].update(signature="none"),
        lambda body: body["order"].update(makerAmount="0"),
        lambda body: body["order"].update(takerAmount=1.5),
        lambda body: body["order"].update(takerAmount="1e9"),
        lambda body: body["order"].update(salt=True),
        lambda body: body["order"].update(salt=10**22),
    ],
)
def test_a_body_that_is_not_an_order_is_refused(damage: Any) -> None:
    trader = rig()
    body = trader.body(*AMOUNTS)
    damage(body)
    assert trader.call("POST", "/order", body).status == 400
    assert trader.broker.open_orders() == []


@pytest.mark.parametrize("body", [[], "text", None, 5])
@pytest.mark.parametrize("path", ["/order", "/redeem"])
def test_any_other_json_is_refused(path: str, body: Any) -> None:
    assert rig().call("POST", path, body).status == 400


def test_a_body_that_is_too_large_is_not_read() -> None:
    trader = rig()
    body = {**trader.body(*AMOUNTS), "more": "x" * 70_000}
    assert trader.call("POST", "/order", body).status == 400


# Who may call.


@pytest.mark.parametrize(
    "wrong",
    [
        {"poly_address": "0x0"},
        {"poly_api_key": "none"},
        {"poly_passphrase": "wrong"},
        {"poly_signature": "AAAA"},
        {"poly_signature": "ä"},
        {"poly_timestamp": "1790000101"},
        {"poly_timestamp": ""},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/auth/api-keys"), ("POST", "/order"), ("GET", "/data/order/0x1")]
)
def test_any_wrong_credential_is_unauthorized(method: str, path: str, wrong: dict[str, str]) -> None:
    trader = rig()
    answer = trader.call(method, path, trader.body(*AMOUNTS) if method == "POST" else None, **wrong)
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "Unauthorized/Invalid api key"})
    assert trader.broker.open_orders() == []


def test_a_signature_covers_the_body() -> None:
    trader = rig()
    headers = {k.lower(): v for k, v in trader.account.headers(1, "POST", "/order", b"{}").items()}
    answer = trader.desk.answer(Call("POST", "/order", {}, b'{"a":1}', headers), 0)
    assert answer is not None
    assert answer.status == 401


def test_right_credentials_are_known_and_secrets_are_not_shown() -> None:
    trader = rig()
    assert trader.get("/auth/api-keys") == {"apiKeys": [trader.account.api_key]}
    assert trader.get("/auth/ban-status/closed-only") == {"closed_only": False}
    assert trader.call("GET", "/balance-allowance/update").status == 200
    for secret in (trader.account.secret, trader.account.passphrase):
        assert secret not in repr(trader.account)
    unreadable = "not base64!"
    with pytest.raises(ConfigError, match="hidden") as caught:
        evolve(trader.account, secret=unreadable)
    assert unreadable not in str(caught.value)


def test_a_restricted_place_is_told_so_and_its_orders_are_refused() -> None:
    trader = rig()
    assert trader.get("/api/geoblock") == {"blocked": False, "ip": "203.0.113.42", "country": "IE", "region": "L"}
    trader.desk.geo = Geo(blocked=True, country="US", region="NY")
    assert trader.get("/api/geoblock")["blocked"] is True
    answer = send(trader)
    assert answer.status == 403
    assert "restricted in your region" in answer.body


@pytest.mark.parametrize(("method", "path"), [("GET", "/book"), ("GET", "/order"), ("POST", "/books"), ("GET", "/")])
def test_other_calls_are_left_to_others(method: str, path: str) -> None:
    assert rig().desk.answer(Call(method, path, {}), 0) is None


# Lists.


def test_trades_are_listed_in_pages_and_by_what_is_asked_for() -> None:
    trader = rig(pusd=100_000, delay_ms=0, exchange=ExchangeConfig(flow=FlowConfig(rate=0.001)))
    for number in range(51):
        for token in trader.exchange.tokens:
            ticket = trader.ticket(1_980_000, 2_000_000, token=token, name=f"{token}{number}", kind="FAK")
            trader.broker.place(ticket, 0)
        trader.wait(1_000)
    first = trader.get("/data/trades")
    assert (first["count"], first["limit"]) == (100, 100)
    rest = trader.get("/data/trades", next_cursor=first["next_cursor"])
    assert (rest["count"], rest["next_cursor"]) == (2, "LTE=")
    everything = first["data"] + rest["data"]
    assert len({trade["id"] for trade in everything}) == 102
    assert [trade["match_time_ms"] for trade in everything] == sorted(trade["match_time_ms"] for trade in everything)
    assert trader.get("/data/trades", next_cursor="LTE=")["data"] == []
    one = everything[7]
    assert trader.get("/data/trades", id=one["id"])["data"] == [one]
    assert trader.get("/data/trades", asset_id=trader.token)["count"] == 51
    assert trader.get("/data/trades", market="0xother")["count"] == 0
    moment = everything[-1]["match_time"]
    assert {trade["match_time"] for trade in trader.get("/data/trades", after=moment)["data"]} == {moment}
    assert trader.get("/data/trades", before=str(int(moment) - 1), after="0")["count"] == 100
    for query in ({"after": "yesterday"}, {"next_cursor": "§"}, {"next_cursor": "AAAA"}):
        assert trader.call("GET", "/data/trades", query=query).status == 400


def test_an_unknown_kind_of_balance_is_refused() -> None:
    answer = rig().call("GET", "/balance-allowance", query={"asset_type": "GOLD"})
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "Invalid asset type"})


# Settlement.


def test_a_resolved_position_is_redeemed_once_and_can_be_read_up_afterwards() -> None:
    trader = rig(delay_ms=0)
    send(trader)
    [position] = trader.get("/data/positions")["data"]
    assert (position["resolved"], position["winner"], position["redeemable"]) == (False, None, False)
    market = position["market"]
    early = trader.call("POST", "/redeem", {"market": market})
    assert (early.status, json.loads(early.body)) == (400, {"error": "market is not resolved"})
    trader.exchange.settle(ending=Ending(resolve_delay_ms=10))
    trader.wait(60_000)
    won = trader.exchange.outcome(market) == trader.token
    [position] = trader.get("/data/positions")["data"]
    assert (position["resolved"], position["winner"], position["redeemable"]) == (True, won, True)
    done = json.loads(trader.call("POST", "/redeem", {"market": market}).body)
    # The money of 10 shares at the limit, spent at 0.57.
    payout = "17.368421" if won else "0"
    entry = {"asset_id": trader.token, "size": "17.368421", "payout": payout}
    assert done == {"market": market, "payout": payout, "redeemed": [entry]}
    again = json.loads(trader.call("POST", "/redeem", {"market": market}).body)
    assert again == {"market": market, "payout": "0", "redeemed": []}
    [kept] = trader.get("/data/redemptions", market=market)["data"]
    assert {name: kept[name] for name in entry} == entry
    assert trader.get("/data/redemptions", market="0x0")["data"] == []
    assert trader.get("/data/positions")["data"] == []
    trader.ledger.audit()


# What goes wrong.


def test_an_order_whose_answer_is_lost_is_accepted_and_can_be_looked_up() -> None:
    trader = rig(rates=OrderFaultRates(answer_lost=1))
    assert send(trader).hangs
    assert trader.get(f"/data/order/{sent_id(trader)}")["status"] == "DELAYED"
    assert trader.desk.faults.struck == {"answer_lost": 1}


def test_an_order_that_is_lost_on_its_way_is_never_accepted() -> None:
    trader = rig(rates=OrderFaultRates(request_lost=1))
    assert send(trader).hangs
    trader.wait(10_000)
    assert trader.call("GET", f"/data/order/{sent_id(trader)}").status == 404


def test_an_order_that_arrives_late_is_accepted_after_it_was_not_found() -> None:
    trader = rig(rates=OrderFaultRates(request_late=1, late_ms=3_000))
    assert send(trader).hangs
    assert trader.call("GET", f"/data/order/{sent_id(trader)}").status == 404
    trader.wait(3_300)
    assert trader.get(f"/data/order/{sent_id(trader)}")["status"] == "MATCHED"
    trader.ledger.audit()


@pytest.mark.parametrize(("rate", "status"), [("too_early", 425), ("too_many", 429), ("unavailable", 503)])
def test_a_refused_order_was_certainly_not_accepted(rate: str, status: int) -> None:
    trader = rig(rates=OrderFaultRates(**{rate: 1}))
    answers = [send(trader, str(number)) for number in range(20)]
    assert {answer.status for answer in answers} == {status}
    assert not any(answer.hangs for answer in answers)
    assert trader.broker.open_orders() == []
    if rate == "too_many":
        assert {answer.headers for answer in answers} == {(), (("Retry-After", "1"),)}


def test_a_lost_answer_to_a_redemption_can_be_read_up() -> None:
    trader = rig(delay_ms=0)
    send(trader)
    trader.exchange.settle(ending=Ending(resolve_delay_ms=10))
    trader.wait(60_000)
    trader.desk.faults = OrderFaults(OrderFaultRates(answer_lost=1))
    assert trader.call("POST", "/redeem", {"market": trader.condition}).hangs
    assert trader.get("/data/redemptions")["count"] == 1


def test_look_ups_are_lost_or_refused_as_well() -> None:
    trader = rig(rates=OrderFaultRates(reads=1))
    answers = [trader.call("GET", "/data/orders") for _ in range(60)]
    assert {answer.status for answer in answers if not answer.hangs} == {425, 429, 503}
    assert any(answer.hangs for answer in answers)
    trader.desk.faults.active = False
    assert trader.get("/data/orders")["count"] == 0


def test_an_order_may_find_no_match_after_its_delay() -> None:
    trader = rig(rates=OrderFaultRates(unmatched=1))
    send(trader)
    trader.wait(250)
    assert trader.get(f"/data/order/{sent_id(trader)}")["status"] == "UNMATCHED"
    assert trader.desk.faults.struck == {"unmatched": 1}


def test_faults_follow_from_the_seed_and_keep_to_their_rates() -> None:
    def fates(seed: int) -> list[Fate]:
        rates = evolve(OrderFaultRates.storm(), answer_late=0.005, twice=0.005, post_only=0.005)
        faults = OrderFaults(rates, seed=seed)
        return [faults.of_change() for _ in range(2_000)]

    assert fates(1) == fates(1)
    assert fates(1) != fates(2)
    assert set(fates(1)) == set(Fate)
    wrong = sum(fate is not Fate.NONE for fate in fates(1)) / 2_000
    assert 0.22 < wrong < 0.28


def test_in_the_calm_nothing_goes_wrong() -> None:
    faults = OrderFaults(OrderFaultRates(answer_lost=1, reads=1, unmatched=1))
    faults.active = False
    assert (faults.of_change(), faults.of_read(), faults.dooms()) == (Fate.NONE, Fate.NONE, False)
    assert not +faults.struck


@pytest.mark.parametrize("wrong", [{"reads": 1.5}, {"too_many": -0.1}, {"late_ms": 0}, {"answer_lost": True}])
def test_rates_outside_their_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        OrderFaultRates(**wrong)


def test_rates_that_exceed_one_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="sum of the rates"):
        OrderFaultRates(answer_lost=0.6, request_lost=0.6)
