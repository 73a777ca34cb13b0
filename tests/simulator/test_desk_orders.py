"""The order desk's orders that rest, its cancels, heartbeats and the user channel, and what goes wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from polymirror.simulator import ExchangeConfig, FlowConfig
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.frames import Call, Frame
from polymirror.simulator.orders import auth, desk, signing
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Account, OrderDesk, order_id_of
from polymirror.simulator.orders.faults import STRANGE_WORDS, OrderFaultRates, OrderFaults
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.orders.users import UserSession
from tests.simulator.order_rig import ONE_PUSD, Rig, rig

QUIET = ExchangeConfig(seed=3, flow=FlowConfig(rate=0.001))
LOW = (200_000, 10_000_000)
"""Ten shares at two cents: nobody sells there."""
HIGH = (9_900_000, 10_000_000)
EOA = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"


def quiet(settlement: SettlementConfig | None = None, delay_ms: int = 0, **rates: Any) -> Rig:
    made = rig(exchange=QUIET, delay_ms=delay_ms)
    if settlement is not None or rates:
        broker = Broker(
            made.exchange,
            made.ledger,
            BrokerConfig(taker_delay_ms=delay_ms, settlement=settlement or SettlementConfig()),
        )
        faults = OrderFaults(OrderFaultRates(**rates), seed=3)
        made = evolve(made, broker=broker, desk=OrderDesk(broker, [made.account], faults=faults))
    return made


def place(trader: Rig, amounts: tuple[int, int] = LOW, name: str = "one", kind: str = "GTC", **more: Any) -> Any:
    body = {**trader.body(*amounts, kind=kind, name=name), **more.pop("top", {})}
    body["order"].update(more)
    answer = trader.call("POST", "/order", body)
    return json.loads(answer.body), answer.status


def loaded(answer: Any) -> Any:
    assert answer.status == 200, answer
    return json.loads(answer.body)


def follow(trader: Rig) -> UserSession:
    session = trader.desk.users.open({}, {}, trader.exchange.now_ms)
    assert isinstance(session, UserSession)
    assert session.receive(json.dumps({"type": "user", "auth": trader.account.credentials}), 0) == []
    return session


def told(trader: Rig, session: UserSession) -> list[dict[str, Any]]:
    return [json.loads(item.text) for item in session.outgoing(trader.exchange.now_ms) if isinstance(item, Frame)]


# Orders that rest.


def test_an_order_rests_until_it_is_cancelled() -> None:
    trader = quiet()
    answer, _ = place(trader)
    assert (answer["status"], answer["success"], answer["takingAmount"]) == ("live", True, "")
    order = trader.get(f"/data/order/{answer['orderID']}")
    assert (order["status"], order["order_type"], order["price"], order["expiration"]) == ("LIVE", "GTC", "0.02", "0")
    assert [each["id"] for each in trader.get("/data/orders")["data"]] == [answer["orderID"]]
    assert trader.get("/order-scoring", order_id=answer["orderID"]) == {"scoring": True}
    done = loaded(trader.call("DELETE", "/order", {"orderID": answer["orderID"]}))
    assert done == {"canceled": [answer["orderID"]], "not_canceled": {}}
    assert trader.get(f"/data/order/{answer['orderID']}")["status"] == "CANCELED"
    again = loaded(trader.call("DELETE", "/order", {"orderID": answer["orderID"]}))
    assert set(again["not_canceled"]) == {answer["orderID"]}
    assert loaded(trader.call("POST", "/orders-scoring", [answer["orderID"], "0x1"])) == {
        answer["orderID"]: False,
        "0x1": False,
    }


def test_an_order_with_an_end_states_it() -> None:
    trader = quiet()
    end = trader.exchange.now_ms // 1_000 + 300
    answer, _ = place(trader, kind="GTD", expiration=str(end))
    assert trader.get(f"/data/order/{answer['orderID']}")["expiration"] == str(end)
    soon, status = place(trader, kind="GTD", name="two", expiration=str(trader.exchange.now_ms // 1_000 + 30))
    assert (soon, status) == ({"error": "invalid expiration"}, 400)


def test_a_post_only_order_does_not_take() -> None:
    trader = quiet()
    crossing = place(trader, HIGH, top={"postOnly": True})
    assert crossing == ({"error": "invalid post-only order: order crosses book"}, 400)
    assert place(trader, name="two", top={"postOnly": True})[0]["status"] == "live"


def test_orders_of_the_first_version_are_refused_in_words_that_clients_look_for() -> None:
    for old in ({"nonce": "0"}, {"feeRateBps": "0"}):
        assert place(quiet(), **old) == ({"error": "order_version_mismatch"}, 400)


@pytest.mark.parametrize("wrong", [{"orderType": []}, {"orderType": {}}, {"side": []}, {"signatureType": []}])
def test_a_field_of_another_kind_is_refused_also_when_the_call_is_late(wrong: dict[str, Any]) -> None:
    trader = quiet()
    body = trader.body(*LOW, kind="GTC")
    body["order"] |= {name: value for name, value in wrong.items() if name in body["order"]}
    body |= {name: value for name, value in wrong.items() if name not in body["order"]}
    assert trader.call("POST", "/order", body).status == 400
    trader.desk.faults = OrderFaults(OrderFaultRates(request_late=1.0))
    assert trader.call("POST", "/order", body).hangs
    trader.wait(60_000)
    assert not trader.broker.open_orders()


def test_times_that_are_no_plain_digits_are_refused() -> None:
    trader = quiet()
    assert trader.call("GET", "/data/trades", query={"after": "\u00b2"}).status == 400


def test_fields_that_nobody_knows_are_taken() -> None:
    assert place(quiet(), taker="0x" + "0" * 40)[0]["status"] == "live"


# Many at once.


def test_orders_come_by_the_many_and_each_has_its_answer() -> None:
    trader = quiet()
    bodies = [trader.body(*amounts, kind="GTC", name=str(n)) for n, amounts in enumerate([LOW, (1, 3), LOW])]
    answers = loaded(trader.call("POST", "/orders", bodies))
    assert [(answer["status"], answer["success"]) for answer in answers] == [
        ("live", True),
        ("", False),
        ("live", True),
    ]
    assert answers[1]["errorMsg"]
    assert (answers[1]["orderID"], answers[1]["takingAmount"]) == ("", "")
    ids = [answers[0]["orderID"], answers[2]["orderID"]]
    done = loaded(trader.call("DELETE", "/orders", [*ids, "0x1"]))
    assert (done["canceled"], set(done["not_canceled"])) == (ids, {"0x1"})


@pytest.mark.parametrize("wrong", [[], [{}] * 16, {}, None])
def test_none_and_too_many_orders_are_refused(wrong: Any) -> None:
    assert quiet().call("POST", "/orders", wrong).status == 400


def test_orders_are_cancelled_by_market_and_all() -> None:
    trader = quiet()
    ids = [place(trader, name=str(number))[0]["orderID"] for number in range(3)]
    other = loaded(trader.call("DELETE", "/cancel-market-orders", {"asset_id": trader.exchange.tokens[1]}))
    assert other == {"canceled": [], "not_canceled": {}}
    one = loaded(trader.call("DELETE", "/cancel-market-orders", {"market": trader.condition}))
    assert one["canceled"] == ids
    ids = [place(trader, name=f"again {number}")[0]["orderID"] for number in range(2)]
    assert loaded(trader.call("DELETE", "/cancel-all"))["canceled"] == ids
    assert trader.cash == 1_000 * ONE_PUSD
    trader.ledger.audit()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/order", {}),
        ("/order", ["0x1"]),
        ("/orders", [5]),
        ("/orders", "0x1"),
        ("/orders", ["0x1"] * 1_001),
        ("/cancel-market-orders", {}),
        ("/cancel-market-orders", {"market": 5}),
    ],
)
def test_cancels_that_name_nothing_are_refused(path: str, body: Any) -> None:
    assert quiet().call("DELETE", path, body).status == 400


def test_another_accounts_order_is_not_cancelled() -> None:
    trader = quiet()
    order_id = place(trader)[0]["orderID"]
    other = Account.made_up("other")
    trader.desk.keys.add(other)
    mine, trader.account = trader.account, other
    assert set(loaded(trader.call("DELETE", "/orders", [order_id]))["not_canceled"]) == {order_id}
    trader.account = mine
    assert trader.get(f"/data/order/{order_id}")["status"] == "LIVE"


# The dead man's switch.


def beat(trader: Rig, last: str | None = "") -> tuple[int, str]:
    answer = trader.call("POST", "/v1/heartbeats", {"heartbeat_id": last})
    return answer.status, json.loads(answer.body)["heartbeat_id"]


def test_without_heartbeats_everything_is_cancelled_once() -> None:
    trader = quiet()
    _, first = beat(trader)
    order_id = place(trader)[0]["orderID"]
    trader.wait(9_000)
    _, second = beat(trader, first)
    assert beat(trader, "another") == (400, second)
    trader.wait(9_000)
    assert trader.get(f"/data/order/{order_id}")["status"] == "LIVE"
    trader.wait(1_000)
    assert trader.get(f"/data/order/{order_id}")["status"] == "CANCELED"
    assert place(trader, name="two")[0]["status"] == "live"
    trader.wait(60_000)
    assert len(trader.get("/data/orders")["data"]) == 1
    assert beat(trader, None)[0] == 200


def test_what_was_held_back_when_the_heartbeats_ended_does_not_stay_in_the_book() -> None:
    trader = quiet(delay_ms=3_000)
    (price, size), *_ = trader.asks()
    beat(trader)
    trader.wait(8_000)
    shares = size + 5 * ONE_PUSD
    trader.ledger.deposit(trader.account.address, shares)
    order_id = place(trader, (shares * price // 10_000, shares))[0]["orderID"]
    trader.wait(2_500)
    assert trader.get(f"/data/order/{order_id}")["status"] == "DELAYED"
    trader.wait(1_500)
    found = trader.get(f"/data/order/{order_id}")
    assert (found["status"], found["size_matched"] != "0") == ("CANCELED", True)
    assert beat(trader)[0] == 200


def test_while_the_engine_is_away_the_switch_waits() -> None:
    trader = quiet()
    beat(trader)
    order_id = place(trader)[0]["orderID"]
    trader.exchange.paused_until_ms = trader.exchange.now_ms + 12_500
    trader.wait(12_000)
    assert trader.get(f"/data/order/{order_id}")["status"] == "LIVE"
    trader.wait(1_500)
    assert trader.get(f"/data/order/{order_id}")["status"] == "CANCELED"


# The user channel.


def test_the_channel_tells_of_an_order_from_its_placement_to_its_end() -> None:
    trader = quiet()
    session = follow(trader)
    order_id = place(trader)[0]["orderID"]
    trader.call("DELETE", "/cancel-all")
    placed, cancelled = told(trader, session)
    assert (placed["event_type"], placed["type"], cancelled["type"]) == ("order", "PLACEMENT", "CANCELLATION")
    assert {placed["id"], cancelled["id"]} == {order_id}
    assert (placed["status"], placed["original_size"], placed["size_matched"]) == ("LIVE", "10", "0")
    assert (placed["owner"], placed["order_owner"]) == (trader.account.api_key,) * 2
    texts = {name: value for name, value in placed.items() if name != "associate_trades"}
    assert all(isinstance(value, str) for value in texts.values())


def test_the_channel_tells_of_each_step_of_a_trade_and_the_list_knows_its_hash() -> None:
    trader = quiet(SettlementConfig(mine_ms=400, confirm_ms=600))
    session = follow(trader)
    answer, _ = place(trader, HIGH, kind="FAK")
    assert answer["status"] == "matched"
    [before, *_] = trader.get("/data/trades")["data"]
    assert (before["status"], before["transaction_hash"]) == ("TRADE_STATUS_MATCHED", "")
    assert before["fee_rate_bps"] == "0"
    trader.wait(2_000)
    events = [event for event in told(trader, session) if event["event_type"] == "trade"]
    steps = [event["status"] for event in events if event["id"] == answer["tradeIDs"][0]]
    assert steps == ["MATCHED", "MINED", "CONFIRMED"]
    assert events[0]["trader_side"] == "TAKER"
    [after, *_] = trader.get("/data/trades")["data"]
    assert (after["status"], len(after["transaction_hash"])) == ("TRADE_STATUS_CONFIRMED", 66)


def test_both_sides_of_a_trade_are_told_and_each_sees_its_own_part() -> None:
    trader = quiet()
    maker, taker = trader.account, Account.made_up("taker")
    trader.ledger.deposit(taker.address, 100 * ONE_PUSD)
    trader.desk.keys.add(taker)
    best = trader.exchange.truth(trader.token)[0][0][0]
    amounts = (10 * (best + 100) * 100, 10_000_000)
    resting = follow(trader)
    maker_id = place(trader, amounts)[0]["orderID"]
    # Whoever buys the other token meets it.
    trader.account = taker
    taking = follow(trader)
    token, price = trader.exchange.tokens[1], 10_000 - best - 100
    body = trader.body(10 * price * 100, 10_000_000, kind="GTC", name="taker")
    body["order"]["tokenId"] = token
    answer = loaded(trader.call("POST", "/order", body))
    assert answer["status"] == "matched"
    [mine] = [
        event for event in told(trader, taking) if event["event_type"] == "trade" and event["status"] == "MATCHED"
    ]
    [its] = [
        event for event in told(trader, resting) if event["event_type"] == "trade" and event["status"] == "MATCHED"
    ]
    assert (mine["trader_side"], its["trader_side"]) == ("TAKER", "MAKER")
    assert (mine["asset_id"], its["asset_id"]) == (token, token)
    [made] = [each for each in its["maker_orders"] if each["order_id"] == maker_id]
    assert (made["owner"], made["asset_id"], made["side"]) == (maker.api_key, trader.token, "BUY")
    assert [each["owner"] for each in mine["maker_orders"]] == [""]
    assert float(its["money"]) == pytest.approx(10 * (best + 100) / 10_000)
    assert its["fee"] == "0"
    trader.ledger.audit()


# What goes wrong.


def test_look_ups_lag() -> None:
    trader = quiet(lag_ms=5_000)
    order_id = place(trader)[0]["orderID"]
    assert trader.call("GET", f"/data/order/{order_id}").body == "null"
    assert trader.get("/data/orders")["data"] == []
    trader.wait(5_000)
    assert trader.get(f"/data/order/{order_id}")["status"] == "LIVE"
    trader.call("DELETE", "/cancel-all")
    assert [order["id"] for order in trader.get("/data/orders")["data"]] == [order_id]
    place(trader, HIGH, kind="FAK", name="two")
    assert trader.get("/data/trades")["data"] == []
    trader.wait(5_000)
    assert trader.get("/data/orders")["data"] == []
    assert trader.get(f"/data/order/{order_id}")["status"] == "CANCELED"
    assert trader.get("/data/trades")["data"]
    assert trader.get("/data/trades", market="0x0")["data"] == []


def test_a_look_up_is_null_for_an_order_that_is_there() -> None:
    trader = quiet(null_lookups=1)
    order_id = place(trader)[0]["orderID"]
    answer = trader.call("GET", f"/data/order/{order_id}")
    assert (answer.status, answer.body) == (200, "null")
    assert trader.desk.faults.struck == {"null_lookups": 1}
    assert trader.call("GET", "/data/order/0x" + "1" * 64).status == 404


def test_words_come_that_nobody_knows() -> None:
    trader = quiet(strange_words=1)
    answer, _ = place(trader)
    order_id = answer["orderID"]
    assert answer["status"] in STRANGE_WORDS
    place(trader, HIGH, kind="FAK", name="two")
    assert trader.get(f"/data/order/{order_id}")["status"] in STRANGE_WORDS
    assert trader.get("/data/orders")["data"][0]["status"] in STRANGE_WORDS
    assert trader.get("/data/trades")["data"][0]["status"].removeprefix("TRADE_STATUS_") in STRANGE_WORDS


def test_a_balance_is_the_one_of_the_look_before() -> None:
    trader = quiet(stale_balances=1)

    def balance() -> int:
        return int(trader.get("/balance-allowance", asset_type="COLLATERAL")["balance"])

    before = balance()
    place(trader, HIGH, kind="FAK")
    assert balance() == before
    trader.desk.faults.active = False
    assert balance() == trader.cash < before


def test_a_call_that_arrives_twice_is_done_once_and_sounds_refused() -> None:
    trader = quiet(twice=1)
    answer, status = place(trader)
    assert status == 400
    assert "Duplicated" in answer["error"]
    assert len(trader.broker.open_orders()) == 1


def test_an_answer_is_late() -> None:
    trader = quiet(answer_late=1, late_ms=500)
    answer = trader.call("POST", "/order", trader.body(*LOW, kind="GTC"))
    assert 0 < answer.delay_ms <= 500
    assert len(trader.broker.open_orders()) == 1


def test_in_post_only_mode_cancels_are_taken() -> None:
    trader = quiet(post_only=1)
    answer, status = place(trader)
    assert (status, answer["code"]) == (503, "post_only_mode")
    assert loaded(trader.call("DELETE", "/cancel-all")) == {"canceled": [], "not_canceled": {}}


def test_a_fill_fails_on_the_chain_after_minutes() -> None:
    trader = quiet(SettlementConfig(mine_ms=400), failed_trades=1, fail_ms=120_000)
    session = follow(trader)
    place(trader, HIGH, kind="FAK")
    trader.wait(119_000)
    assert trader.shares() > 10_000_000
    trader.wait(1_000)
    assert (trader.shares(), trader.cash) == (0, 1_000 * ONE_PUSD)
    assert {trade["status"] for trade in trader.get("/data/trades")["data"]} == {"TRADE_STATUS_FAILED"}
    assert [event["status"] for event in told(trader, session) if event["event_type"] == "trade"][-1] == "FAILED"
    trader.ledger.audit()


def test_a_redemption_is_refused_for_hours() -> None:
    trader = quiet(redeem_after_ms=7_200_000)
    place(trader, HIGH, kind="FAK")
    trader.exchange.settle(ending=Ending(resolve_delay_ms=10))
    trader.wait(60_000)
    market = {"market": trader.condition}
    assert trader.call("POST", "/redeem", market).status == 400
    trader.wait(7_199_000)
    assert trader.call("POST", "/redeem", market).status == 400
    trader.wait(1_000)
    assert loaded(trader.call("POST", "/redeem", market))["redeemed"]


# Wallets that log in.


@pytest.fixture
def wallet(monkeypatch: pytest.MonkeyPatch) -> tuple[Rig, list[Any]]:
    """A trader who logged in with a wallet whose signatures count as right while the list is empty."""
    wrong: list[Any] = []
    monkeypatch.setattr(auth, "login_is_signed", lambda *_: True)
    monkeypatch.setattr(desk, "order_is_signed", lambda *_: not wrong)
    trader = quiet()
    headers = {"poly_address": EOA, "poly_timestamp": "1", "poly_nonce": "0", "poly_signature": "0x"}
    made = trader.desk.answer(Call("POST", "/auth/api-key", {}, b"", headers), 0)
    assert made is not None
    given = loaded(made)
    account = trader.desk.keys.of_key(given["apiKey"])
    assert account is not None
    assert account.credentials == given
    assert loaded(trader.desk.answer(Call("GET", "/auth/derive-api-key", {}, b"", headers), 0)) == given
    assert loaded(trader.desk.answer(Call("GET", "/auth/api-keys", {}, b"", headers), 0)) == {
        "apiKeys": [given["apiKey"]]
    }
    trader.account = account
    trader.ledger.deposit(EOA, 100 * ONE_PUSD)
    return trader, wrong


def test_a_wallet_trades_for_itself(wallet: tuple[Rig, list[Any]]) -> None:
    trader, wrong = wallet
    answer, _ = place(trader)
    assert answer["status"] == "live"
    assert answer["orderID"] == order_id_of(trader.body(*LOW, kind="GTC")["order"])
    wrong.append("signature")
    assert place(trader, name="two") == ({"error": "invalid signature"}, 400)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_wallet_trades_for_its_other_wallets_with_one_purse(wallet: tuple[Rig, list[Any]], kind: int) -> None:
    trader, _ = wallet
    funder = "0x" + "ab" * 20
    signer = funder if kind == signing.DEPOSIT_WALLET else EOA
    answer, status = place(trader, maker=funder, signer=signer, signatureType=kind)
    assert (status, answer.get("status")) == (200, "live"), answer
    assert trader.get("/data/orders")["data"][0]["maker_address"] == funder
    assert trader.desk.purse_of(funder.upper().replace("X", "x")) == EOA
    assert trader.ledger.account(EOA).reserved_cash
    assert place(trader, name="two", maker="0x", signer=EOA, signatureType=kind)[1] == 400


def test_nobody_trades_for_a_wallet_of_somebody_else(wallet: tuple[Rig, list[Any]]) -> None:
    trader, _ = wallet
    other = Account.made_up("other")
    trader.desk.keys.add(other)
    wrong = place(trader, maker=other.address, signer=EOA, signatureType=2)
    assert wrong == ({"error": "the order owner has to be the owner of the API KEY"}, 400)


def test_credentials_are_deleted(wallet: tuple[Rig, list[Any]]) -> None:
    trader, _ = wallet
    assert trader.call("DELETE", "/auth/api-key").body == '"OK"'
    assert trader.call("GET", "/data/orders").status == 401
    assert trader.call("GET", "/notifications").status == 401
