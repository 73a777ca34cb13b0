"""The lies that services tell a bot on the embedded exchange: each takes a true answer and gives another one.

:mod:`bots.testing.liars` puts them in between. What the exchange does stays true, but for money that is kept back.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import define, frozen

from polymirror.simulator.settings import QUARTER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bots.testing.stage import Stage

    Lie = Callable[["Told", Any], Any]


LATER_S: Final = 2_400
"""Who lies later does so after so many seconds: several rounds have been settled by then."""


PATIENCE_S: Final = 600
"""The venue is given so long to say who won (``rounds.patience``)."""

SILENT_S: Final = 240
"""The venue is given so long to tell its books again (:data:`bots.common.orders.reconcile.SILENT_FOR`)."""

SLOW_S: Final = 4
"""The order service may be so slow."""


@define
class Told:
    """One answer on its way to the bot, as a liar sees it."""

    method: str
    path: str
    status: int
    stage: Stage
    mind: dict[str, Any]
    """What the liars of this run remember."""


@frozen
class Liar:
    """Who lies, and how. ``lie`` takes an answer's JSON and returns another, or the same if it has nothing to say."""

    name: str
    what: str
    """For people."""
    lie: Lie = lambda _told, raw: raw
    price: Callable[[dict[str, Any], int, str, Decimal], Decimal] | None = None
    """What the price feed says instead: of the run's memory, Unix ms, an asset and its true price."""
    delay: float = 0.0
    """Seconds by which the order service answers later."""
    lied: str = ""
    """What the memory has the moment of the first lie under."""
    known: str = ""
    """The same of the first moment at which a bot can know; empty: that of the first lie."""
    wait: float = 0.0
    """Seconds from then on for which an honest service may be as silent, or as slow."""


def objects_of(raw: Any, key: str) -> Iterator[dict[str, Any]]:
    """Find all objects with a key, at any depth."""
    if isinstance(raw, dict):
        if key in raw:
            yield raw
        for each in raw.values():
            yield from objects_of(each, key)
    elif isinstance(raw, list):
        for each in raw:
            yield from objects_of(each, key)


def _swap(market: dict[str, Any], name: str) -> None:
    market[name] = json.dumps(json.loads(market[name])[::-1])


def discovery(change: Callable[[Told, dict[str, Any]], None]) -> Lie:
    """Change every market that the discovery service describes."""

    def lie(told: Told, raw: Any) -> Any:
        if told.path.startswith(("/events", "/markets")):
            for market in objects_of(raw, "conditionId"):
                change(told, market)
        return raw

    return lie


def _swapped(told: Told, market: dict[str, Any]) -> None:
    _swap(market, "outcomes")
    _loser_wins(told, market)


def _loser_wins(told: Told, market: dict[str, Any]) -> None:
    if market["closed"]:
        _swap(market, "outcomePrices")
        _note(told, "decided", market)


def _note(told: Told, what: str, market: dict[str, Any]) -> None:
    """Note the first lie about a window that opened in a bot's time: of others it has nothing to hold it against."""
    if datetime.fromisoformat(market["eventStartTime"]).timestamp() >= told.mind["begun"]:
        told.mind.setdefault(what, _now(told))


def _note_held(told: Told, market: dict[str, Any]) -> None:
    """Note the first lie about a market in which money is, and when its window ended."""
    positions = told.stage.ledger.account(told.stage.account.address).positions
    if any(held.market == market["conditionId"] for held in positions.values()):
        told.mind.setdefault("held", _now(told))
        told.mind.setdefault("ended", datetime.fromisoformat(market["endDate"]).timestamp())


def _open(told: Told, market: dict[str, Any]) -> None:
    if market["closed"]:
        _note_held(told, market)
        market.update(closed=False, active=True, acceptingOrders=True)


def _both_win(told: Told, market: dict[str, Any]) -> None:
    if market["closed"]:
        _note_held(told, market)
        market["outcomePrices"] = json.dumps(["1", "1"])


def _other_tokens(told: Told, market: dict[str, Any]) -> None:
    own, known = json.loads(market["clobTokenIds"]), told.mind.setdefault("tokens", [])
    if own not in known[:2]:
        known.append(own)
    # The first one, as long as there is no other, has its own the wrong way round.
    market["clobTokenIds"] = json.dumps(next((each for each in known[:2] if each != own), own[::-1]))


def _set(**values: Any) -> Callable[[Told, dict[str, Any]], None]:
    return lambda _told, market: market.update(values)


def strike(value: float | None, share: float = 1.0) -> Lie:
    """Publish another official strike."""

    def lie(told: Told, raw: Any) -> Any:
        if told.path.startswith(("/events", "/markets")):
            for metadata in objects_of(raw, "priceToBeat"):
                for market in objects_of(raw, "conditionId"):
                    _note(told, "strike", market)
                metadata["priceToBeat"] = metadata["priceToBeat"] * share if value is None else value
        return raw

    return lie


def terms(**values: Any) -> Lie:
    """Change what the order book service says of a market."""

    def lie(told: Told, raw: Any) -> Any:
        return {**raw, **values} if told.path.startswith("/clob-markets/") and isinstance(raw, dict) else raw

    return lie


def _clob_swapped(told: Told, raw: Any) -> Any:
    if told.path.startswith("/clob-markets/") and isinstance(raw, dict):
        first, second = raw["t"]
        raw["t"] = [{**first, "o": second["o"]}, {**second, "o": first["o"]}]
    return raw


def _killed(told: Told, raw: Any) -> Any:
    """Fill orders, say that they were killed, and never list them."""
    gone = told.mind.setdefault("killed", {})
    if (told.method, told.path) == ("POST", "/order") and raw.get("status") in {"matched", "delayed"}:
        gone[raw["orderID"]] = None
        told.status = 400
        return {"error": "order couldn't be fully filled. FOK orders are fully filled or killed."}
    if told.path.startswith("/data/order/") and raw.get("id") in gone:
        return {**raw, "status": "UNMATCHED", "size_matched": "0", "associate_trades": []}
    if told.path == "/data/trades":
        raw["data"] = [each for each in raw["data"] if each["taker_order_id"] not in gone]
    return raw


def _unmatched(told: Told, raw: Any) -> Any:
    if (told.method, told.path) == ("POST", "/order") and raw.get("status") in {"matched", "delayed"}:
        told.mind.setdefault("killed", {})[raw["orderID"]] = None
        return {**raw, "status": "unmatched", "takingAmount": "", "makingAmount": "", "tradeIDs": []}
    return _killed(told, raw)


def _vanished(told: Told, raw: Any) -> Any:
    """Fill orders, lose the answer, and show them nowhere, nor what they cost and bought."""
    gone = told.mind.setdefault("vanished", {})
    if (told.method, told.path) == ("POST", "/order") and raw.get("status") in {"matched", "delayed"}:
        gone[raw["orderID"]] = None
        told.status = 503
        return {"error": "try again"}
    if told.path.startswith("/data/order/"):
        told.status = 404
        return None
    return _no_positions(told, _none_listed(told, balance(_as_before)(told, raw)))


def _none_listed(told: Told, raw: Any) -> Any:
    if told.path == "/data/trades":
        raw["data"] = []
    return raw


def listed(**change: Callable[[Decimal], Decimal]) -> Lie:
    """List trades with other numbers, in answers to orders and look-ups, too."""

    def lie(told: Told, raw: Any) -> Any:
        size: Callable[[Decimal], Decimal] = change.get("size", _same)
        if told.path == "/data/trades":
            for each in raw["data"]:
                for name, make in change.items():
                    each[name] = str(make(Decimal(each[name])))
        elif told.path == "/order" and raw.get("takingAmount"):
            raw["takingAmount"] = str(size(Decimal(raw["takingAmount"])))
        elif told.path.startswith("/data/order/") and raw.get("size_matched"):
            raw["size_matched"] = str(size(Decimal(raw["size_matched"])))
        return raw

    return lie


def _half(value: Decimal) -> Decimal:
    return value / 2


def _same(value: Decimal) -> Decimal:
    return value


def _said(told: Told, who: str, true_e6: int, worth: Callable[[Told, Decimal], Decimal]) -> int:
    """Return what is said of a balance, in millionths, and note the first lie."""
    true = Decimal(true_e6).scaleb(-6)
    said = worth(told, true)
    if said != true:
        told.mind.setdefault(who, _now(told))
    return int(said.scaleb(6))


def balance(worth: Callable[[Told, Decimal], Decimal]) -> Lie:
    """Say another balance, in pUSD."""

    def lie(told: Told, raw: Any) -> Any:
        if told.path == "/balance-allowance" and isinstance(raw, dict) and "balance" in raw:
            raw["balance"] = str(_said(told, "balance", int(raw["balance"]), worth))
        return raw

    return lie


def _later(more: int) -> Callable[[Told, Decimal], Decimal]:
    return lambda told, true: true + (more if _now(told) > told.mind["begun"] + 1_500 else 0)


def _as_before(told: Told, true: Decimal) -> Decimal:
    """Say what the balance was in the beginning: no order has spent anything."""
    first: Decimal = told.mind.setdefault("balance at first", true)
    return first


def node(worth: Callable[[Told, Decimal], Decimal]) -> Lie:
    """Have the chain's node say another balance, in pUSD."""

    def lie(told: Told, raw: Any) -> Any:
        if told.path == "/rpc" and isinstance(raw, dict) and "result" in raw:
            raw["result"] = hex(_said(told, "node", int(raw["result"], 16), worth))
        return raw

    return lie


def _node_silent(told: Told, raw: Any) -> Any:
    if told.path == "/rpc":
        told.mind.setdefault("silent", _now(told))
        told.status = 503
        return {"error": "try again"}
    return raw


def _no_positions(told: Told, raw: Any) -> Any:
    if told.path == "/data/positions":
        raw["data"] = []
    return raw


def redemption(says: str | None, pays: str) -> Lie:
    """Take the shares and pay a part of what they are worth; say another part. ``None``: there was nothing."""

    def lie(told: Told, raw: Any) -> Any:
        if told.path == "/redeem" and isinstance(raw, dict) and raw.get("redeemed"):
            owed = sum((Decimal(each["payout"]) for each in raw["redeemed"]), Decimal(0))
            if owed:
                told.mind.setdefault("redeemed", _now(told))
            # By the exchange's own ledger it is gone.
            account = told.stage.ledger.account(told.stage.account.address)
            account.cash -= int((owed * (1 - Decimal(pays))).scaleb(6))
            for each in raw["redeemed"]:
                each["payout"] = f"{Decimal(each['payout']) * Decimal(says or 0):f}"
            if says is None:
                raw["redeemed"] = []
        return raw

    return lie


def later(lie: Lie) -> Lie:
    """Lie only once trust was won."""
    return lambda told, raw: lie(told, raw) if is_late(_now(told), told.mind) else raw


def is_late(now: float, mind: dict[str, Any]) -> bool:
    """Whether those who lie later do by now."""
    begun: float = mind["begun"]
    return now > begun + LATER_S


def _silent(told: Told, raw: Any) -> Any:
    if told.path in {"/balance-allowance", "/data/positions"}:
        told.mind.setdefault("silent", _now(told))
        told.status = 503
        return {"error": "try again"}
    return raw


def feed(share: str, *, after_s: int = 0, side: int = 0) -> Callable[[dict[str, Any], int, str, Decimal], Decimal]:
    """Say prices that are off by a share: always, or from so many seconds after each quarter hour on."""

    def price(mind: dict[str, Any], at_ms: int, asset: str, true: Decimal) -> Decimal:
        # A quarter up, the next down, or always the same way.
        up = side or (1 if (at_ms // QUARTER_MS + len(asset)) % 2 else -1)
        up *= at_ms % QUARTER_MS >= after_s * 1000
        if up:
            mind.setdefault("price", max(at_ms / 1000, mind["begun"]))
        # What is wrong from the beginning on cannot be known before it changes.
        if mind.setdefault(f"side of {asset}", up) != up:
            mind.setdefault("jump", at_ms / 1000)
        return true * (1 + up * Decimal(share))

    return price


def drift(mind: dict[str, Any], at_ms: int, asset: str, true: Decimal) -> Decimal:
    """Say prices that leave the true ones slowly, up to 0.5 %, and come back before the window ends."""
    away = min(max(at_ms % QUARTER_MS - 60_000, 0), 300_000)
    back = min(max(at_ms % QUARTER_MS - 360_000, 0), 300_000)
    if away > back:
        mind.setdefault("price", max(at_ms / 1000, mind["begun"]))
    up = 1 if (at_ms // QUARTER_MS + len(asset)) % 2 else -1
    return true * (1 + up * Decimal(away - back) / 300_000 / 200)


def _now(told: Told) -> float:
    return told.stage.exchange.now_ms / 1000


LIARS: Final = {
    each.name: each
    for each in (
        Liar("honest", "nobody lies"),
        Liar("labels", "discovery: outcomes swapped, each loser named the winner", discovery(_swapped), lied="terms"),
        Liar("loser", "discovery: each loser named the winner", discovery(_loser_wins), lied="decided"),
        Liar("loser later", "discovery: the same, after 40 minutes", later(discovery(_loser_wins)), lied="decided"),
        Liar(
            "open", "discovery: no market is ever over", discovery(_open), lied="held", known="ended", wait=PATIENCE_S
        ),
        Liar("both", "discovery: both outcomes win", discovery(_both_win), lied="held", known="ended", wait=PATIENCE_S),
        Liar("tokens", "discovery: the tokens of another market", discovery(_other_tokens), lied="terms"),
        Liar("neg risk", "discovery: neg-risk", discovery(_set(negRisk=True)), lied="terms"),
        Liar("tick", "discovery: another tick", discovery(_set(orderPriceMinTickSize=0.001)), lied="terms"),
        Liar(
            "no fee",
            "discovery: fees denied",
            discovery(_set(feesEnabled=False, feeSchedule=None)),
            lied="terms",
        ),
        Liar("clob labels", "order book service: outcomes swapped", _clob_swapped, lied="terms"),
        Liar("clob no fee", "order book service: fees denied", terms(fd=None), lied="terms"),
        Liar("clob dear", "order book service: a fee of 100 %", terms(fd={"r": 1, "e": 0, "to": True}), lied="terms"),
        Liar("clob tick", "order book service: another tick", terms(mts=0.001), lied="terms"),
        Liar("clob delay", "order book service: no taker delay", terms(itode=False), lied="terms"),
        Liar("killed", "order service: fills, and says killed", _killed, lied="sent"),
        Liar("unmatched", "order service: fills, and says unmatched", _unmatched, lied="sent"),
        Liar("vanished", "order service: fills, and shows neither order, money nor shares", _vanished, lied="sent"),
        Liar("none listed", "order service: lists no trades", _none_listed, lied="sent"),
        Liar("half", "order service: trades of half the size", listed(size=_half, money=_half, fee=_half), lied="sent"),
        Liar(
            "many", "order service: trades of a thousand times the size", listed(size=lambda v: v * 1000), lied="sent"
        ),
        Liar("negative", "order service: trades of a negative size", listed(size=lambda v: -v), lied="sent"),
        Liar("price", "order service: trades at a price of -3", listed(price=lambda _v: Decimal(-3)), lied="sent"),
        Liar("dear", "order service: fees ten times as high", listed(fee=lambda v: v * 10), lied="sent"),
        Liar("rebate", "order service: negative fees", listed(fee=lambda v: -v), lied="sent"),
        Liar("killed later", "order service: the same, after 40 minutes", later(_killed), lied="sent later"),
        Liar("slow", "order service: every answer takes 4 s", delay=SLOW_S, lied="sent", wait=SLOW_S),
        Liar("silent", "balance, positions: silent after 40 minutes", later(_silent), lied="silent", wait=SILENT_S),
        Liar("rich", "balance: 500 more after 25 minutes", balance(_later(500)), lied="balance"),
        Liar("poor", "balance: 500 less after 25 minutes", balance(_later(-500)), lied="balance"),
        Liar("as before", "balance: nothing was spent", balance(_as_before), lied="balance"),
        Liar("node rich", "chain: 500 more after 25 minutes", node(_later(500)), lied="node"),
        Liar("node poor", "chain: 500 less after 25 minutes", node(_later(-500)), lied="node"),
        Liar("node as before", "chain: nothing was spent", node(_as_before), lied="node"),
        Liar("node silent", "chain: silent after 40 minutes", later(_node_silent), lied="silent", wait=SILENT_S),
        Liar("no shares", "positions: none", _no_positions, lied="sent"),
        Liar("feed", "prices: 1 % off, up and down by turns", price=feed("0.01"), lied="price", known="jump"),
        Liar(
            "feed late", "prices: 1 % off from a minute on", price=feed("0.01", after_s=60), lied="price", known="jump"
        ),
        Liar(
            "feed up",
            "prices: 0.3 % up from a minute on",
            price=feed("0.003", after_s=60, side=1),
            lied="price",
            known="jump",
        ),
        Liar("feed drift", "prices: slowly away, 0.5 % off after six minutes, and back", price=drift, lied="price"),
        Liar("strike -5", "priceToBeat: -5", strike(-5), lied="strike"),
        Liar("strike 0", "priceToBeat: 0", strike(0), lied="strike"),
        Liar("strike 1e30", "priceToBeat: 1e30", strike(1e30), lied="strike"),
        Liar("strike 9 %", "priceToBeat: 9 % off", strike(None, 1.09), lied="strike"),
        Liar("nothing", "redemption: takes all, says nothing was there", redemption(None, "0"), lied="redeemed"),
        Liar("pays 0", "redemption: pays nothing, and says so", redemption("0", "0"), lied="redeemed"),
        Liar("pays half", "redemption: pays half, and says so", redemption("0.5", "0.5"), lied="redeemed"),
        Liar("stolen", "redemption: pays nothing, and says all", redemption("1", "0"), lied="redeemed"),
        Liar("stolen later", "redemption: the same, after 40 minutes", later(redemption("1", "0")), lied="redeemed"),
    )
}

ALIKE: Final = {
    frozenset({"labels", "clob labels"}): "decided",
    frozenset({"no fee", "clob no fee"}): "sent",
    frozenset({"feed late", "strike 9 %"}): "strike",
}
"""Pairs that say the same, and the first moment at which anything says otherwise."""

PAIRS: Final = (
    ("labels", "clob labels"),
    ("no fee", "clob no fee"),
    ("tick", "clob tick"),
    ("killed", "as before"),
    ("killed", "node as before"),
    ("vanished", "node silent"),
    ("as before", "node as before"),
    ("killed", "as before", "no shares"),
    ("killed", "as before", "node as before"),
    ("killed", "no shares"),
    ("half", "as before"),
    ("none listed", "as before"),
    ("loser", "stolen"),
    ("loser", "pays 0"),
    ("stolen", "rich"),
    ("feed late", "strike 9 %"),
    ("labels", "killed"),
    ("killed", "silent"),
    ("stolen", "silent"),
    ("stolen", "as before"),
    ("loser", "nothing"),
    ("loser", "feed"),
    ("killed later", "as before"),
    ("slow", "killed"),
)
