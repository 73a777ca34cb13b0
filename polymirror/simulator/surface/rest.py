"""The HTTP side of the simulated venue: order book service and discovery service, as pure functions.

A :class:`Call` goes in, an :class:`Answer` comes out: paths, bodies and error texts are the venue's.
The ASGI app and a simulated network both use it. Faults change the answers on their way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from polymirror.simulator.exchange.ladder import ONE_PRICE, PRICE_TEXTS
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.exchange.market import MIN_ORDER_SIZE, Market, Phase
from polymirror.simulator.frames import NO_BOOK, Answer, Call
from polymirror.simulator.surface.gamma import event_object, market_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.simulator.exchange.exchange import Exchange

MAX_BOOKS = 500
"""More tokens than this in one POST are refused."""

MANY = {"/prices": "/price", "/midpoints": "/midpoint", "/spreads": "/spread"}
"""The calls about many tokens, and the call about one that each repeats."""


class Desk:
    """Answers calls from the state of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._by_token: dict[str, Callable[[Market, int, Call], Answer]] = {
            "/midpoint": _midpoint,
            "/spread": _spread,
            "/price": _price,
            "/last-trade-price": _last_trade_price,
            "/tick-size": _tick_size,
            "/neg-risk": lambda *_: _json({"neg_risk": False}),
            "/fee-rate": lambda *_: _json({"base_fee": 1000}),
            "/book": lambda market, index, _: Answer(200, market.rest_book(index) + "\n"),
        }

    def answer(self, call: Call) -> Answer:
        """The venue's answer, with the exchange as it is now."""
        path = call.path.rstrip("/") or "/"
        if call.method == "POST":
            return self._for_many(path, call)
        if path in self._by_token:
            return self._for_token(call.query.get("token_id", ""), path, call)
        simple: dict[str, object] = {"/time": self._exchange.stated_ms() // 1000, "/ok": "OK", "/": "OK"}
        return _json(simple[path]) if path in simple else self._look_up(path, call)

    def _look_up(self, path: str, call: Call) -> Answer:
        head, _, tail = path.rpartition("/")
        if head == "/tick-size":
            return self._for_token(tail, head, call)
        if head == "/clob-markets":
            market = self._exchange.market_by_condition(tail)
            return _error(404, "market not found") if market is None else _json(_compact(market))
        if head == "/markets-by-token":
            known = self._exchange.knows(tail)
            condition = self._exchange.market_of(tail).condition_id if known else ""
            return _json({"condition_id": condition}) if known else _error(404, "market not found")
        return self._discover(path, call)

    def _for_token(self, token: str, path: str, call: Call) -> Answer:
        if not token.isdigit():
            return _error(400, "Invalid token id")
        if not self._exchange.knows(token):
            return _error(404, NO_BOOK)
        market = self._exchange.market_of(token)
        if market.phase is Phase.RESOLVED:
            return _error(404, NO_BOOK)
        return self._by_token[path](market, market.tokens.index(token), call)

    def _for_many(self, path: str, call: Call) -> Answer:
        """The calls that name their tokens in the body; unknown and settled ones are left out."""
        if path not in {"/books", *MANY}:
            return _error(405, "Method Not Allowed")
        try:
            wanted = [(entry["token_id"], str(entry.get("side", "")).upper()) for entry in json.loads(call.body)]
        except (ValueError, TypeError, KeyError, AttributeError):
            return _error(400, "Invalid payload")
        if not all(isinstance(token, str) for token, _ in wanted):
            return _error(400, "Invalid payload")
        if len(wanted) > MAX_BOOKS:
            return _error(400, "Payload exceeds the limit")
        if path == "/books":
            books = (self._exchange.rest_book(token) for token in dict.fromkeys(token for token, _ in wanted))
            return Answer(200, f"[{','.join(book for book in books if book is not None)}]\n")
        return self._map(path, wanted)

    def _map(self, path: str, wanted: list[tuple[str, str]]) -> Answer:
        """Prices, midpoints or spreads by token; prices by side as well."""
        found: dict[str, object] = {}
        for token, side in wanted:
            single = self._for_token(token, MANY[path], Call("GET", MANY[path], {"token_id": token, "side": side}))
            if single.status == 400:
                return single
            if single.status != 200:
                continue
            [value] = json.loads(single.body).values()
            if path == "/prices":
                value = {**cast("dict[str, str]", found.get(token, {})), side: value}
            found[token] = value
        return _json(found)

    def _discover(self, path: str, call: Call) -> Answer:
        kinds = {"/markets": market_object, "/events": event_object}
        if path in kinds:
            market = self._wanted_market(call)
            # Settled markets are hidden unless they are asked for.
            wanted_closed = call.query.get("closed", "false").lower() == "true"
            shown = market is not None and wanted_closed == market.closed
            return _json([kinds[path](market)] if market is not None and shown else [])
        head, _, slug = path.rpartition("/")
        kind = kinds.get(head.removesuffix("/slug")) if head.endswith("/slug") else None
        found = self._exchange.market_by_slug(slug)
        if kind is None or found is None:
            return Answer(404, json.dumps({"type": "not found error", "error": "slug not found"}))
        return _json(kind(found))

    def _wanted_market(self, call: Call) -> Market | None:
        token = call.query.get("clob_token_ids", "")
        if self._exchange.knows(token):
            return self._exchange.market_of(token)
        return self._exchange.market_by_slug(call.query.get("slug", ""))


def _json(value: object) -> Answer:
    return Answer(200, json.dumps(value, separators=(",", ":")))


def _error(status: int, text: str) -> Answer:
    return Answer(status, json.dumps({"error": text}, separators=(",", ":")))


def _midpoint(market: Market, index: int, _call: Call) -> Answer:
    pair = market.pair(index)
    bid, ask = pair[index].best, ONE_PRICE - pair[1 - index].best
    doubled = bid + ask
    return _json({"mid": f"{doubled / (2 * ONE_PRICE):.5f}".rstrip("0").rstrip(".")})


def _spread(market: Market, index: int, _call: Call) -> Answer:
    pair = market.pair(index)
    return _json({"spread": PRICE_TEXTS[ONE_PRICE - pair[0].best - pair[1].best]})


def _price(market: Market, index: int, call: Call) -> Answer:
    sides = dict(zip(("BUY", "SELL"), market.best(index), strict=True))
    price = sides.get(call.query.get("side", "").upper())
    return _error(400, "Invalid side") if price is None else _json({"price": price})


def _last_trade_price(market: Market, _index: int, _call: Call) -> Answer:
    return _json({"price": market.trade_price, "side": market.last_trade_side})


def _tick_size(market: Market, _index: int, _call: Call) -> Answer:
    return _json({"minimum_tick_size": market.tick / ONE_PRICE})


def _compact(market: Market) -> dict[str, object]:
    return {
        "c": market.condition_id,
        "t": [{"t": token, "o": outcome} for token, outcome in zip(market.tokens, OUTCOMES, strict=True)],
        "mts": market.tick / ONE_PRICE,
        "mos": int(MIN_ORDER_SIZE),
        "nr": False,
        "fd": {"r": 0.07, "e": 1, "to": True},
        "mbf": 1000,
        "tbf": 1000,
        "itode": True,
        "ao": market.phase is Phase.TRADING,
    }
