"""The HTTP side of the simulated venue: order book service and discovery service, as pure functions.

A :class:`Call` goes in, an :class:`Answer` comes out: paths, bodies and error texts are the venue's. Calls about one
token or many are here, whole markets in :mod:`polymirror.simulator.surface.clob`, discovery and the past beside it.
One address serves all of them; where two services share a path, the query tells them apart. The ASGI app and a
simulated network both use it. Faults change the answers on their way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from polymirror.simulator.exchange.ladder import ONE_PRICE, PRICE_TEXTS
from polymirror.simulator.exchange.market import Market, Phase
from polymirror.simulator.frames import NO_BOOK, Answer, Call
from polymirror.simulator.surface.answers import UnreadableError, refused, told
from polymirror.simulator.surface.clob import PAGES, compact_market, full_market, markets_page
from polymirror.simulator.surface.discovery import Discovery
from polymirror.simulator.surface.past import Past
from polymirror.simulator.surface.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.frames import Frame

MAX_BOOKS = 500
"""More tokens than this in one POST are refused."""

MANY = {"/prices": "/price", "/midpoints": "/midpoint", "/spreads": "/spread"}
"""The calls about many tokens, and the call about one that each repeats."""

LAST_TRADES: Final = "/last-trades-prices"

BUILDER_FEES: Final = "/fees/builder-fees/"
NO_FEES: Final = {"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0}

VERSION: Final = 2
"""The version of orders that the venue takes."""


class Desk:
    """Answers calls from the state of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tape = Tape(exchange)
        self._past = Past(exchange, self._tape)
        self._discovery = Discovery(exchange)
        self._by_token: dict[str, Callable[[Market, int, Call], Answer]] = {
            "/midpoint": _midpoint,
            "/spread": _spread,
            "/price": _price,
            "/last-trade-price": _last_trade_price,
            "/tick-size": _tick_size,
            "/neg-risk": lambda *_: told({"neg_risk": False}),
            "/fee-rate": lambda *_: told({"base_fee": 1000}),
            "/book": lambda market, index, _: Answer(200, market.rest_book(index) + "\n"),
        }

    def note(self) -> None:
        """Note the prices of a new minute: call it now and then, or there is no past."""
        self._tape.note()

    def hear(self, frames: Iterable[Frame]) -> None:
        """Note the trades among the frames that the exchange sent."""
        self._tape.hear(frames)

    def answer(self, call: Call) -> Answer:
        """The venue's answer, with the exchange as it is now."""
        try:
            return self._answer(call.path.rstrip("/") or "/", call)
        except UnreadableError as error:
            return refused(400, str(error))

    def _answer(self, path: str, call: Call) -> Answer:
        if call.method == "POST":
            return self._for_many(path, call)
        if path in self._by_token:
            return self._for_token(call.query.get("token_id", ""), path, call)
        simple: dict[str, object] = {"/ok": "OK", "/": "OK", "/version": {"version": VERSION}, BUILDER_FEES: NO_FEES}
        if path == "/time":
            return told(self._exchange.stated_ms() // 1000)
        if path in self._past.paths:
            return self._past.paths[path](call)
        # Whose code follows makes no difference.
        name = BUILDER_FEES if path.startswith(BUILDER_FEES) else path
        return told(simple[name]) if name in simple else self._look_up(path, call)

    def _look_up(self, path: str, call: Call) -> Answer:
        head, _, tail = path.rpartition("/")
        if head == "/tick-size":
            return self._for_token(tail, head, call)
        if head == "/clob-markets":
            return _market(self._exchange.market_by_condition(tail), compact_market)
        if head == "/markets-by-token":
            known = self._exchange.knows(tail)
            condition = self._exchange.market_of(tail).condition_id if known else ""
            return told({"condition_id": condition}) if known else refused(404, "market not found")
        # Two services have these two paths: a condition id, a cursor and no question at all are for the books.
        if head == "/markets" and tail.startswith("0x"):
            return _market(self._exchange.market_by_condition(tail), full_market)
        if path in PAGES and (path != "/markets" or not call.query or "next_cursor" in call.query):
            return markets_page(path, self._exchange.markets, call)
        return self._discovery.answer(path, call)

    def _for_token(self, token: str, path: str, call: Call) -> Answer:
        if not token.isdigit():
            return refused(400, "Invalid token id")
        if not self._exchange.knows(token):
            return refused(404, NO_BOOK)
        market = self._exchange.market_of(token)
        if market.phase is Phase.RESOLVED:
            return refused(404, NO_BOOK)
        return self._by_token[path](market, market.tokens.index(token), call)

    def _for_many(self, path: str, call: Call) -> Answer:
        """The calls that name their tokens in the body; unknown and settled ones are left out."""
        if path not in {"/books", LAST_TRADES, *MANY}:
            return refused(405, "Method Not Allowed")
        try:
            wanted = [(entry["token_id"], str(entry.get("side", "")).upper()) for entry in json.loads(call.body)]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return refused(400, "Invalid payload")
        if not all(isinstance(token, str) for token, _ in wanted):
            return refused(400, "Invalid payload")
        return refused(400, "Payload exceeds the limit") if len(wanted) > MAX_BOOKS else self._many(path, wanted)

    def _many(self, path: str, wanted: list[tuple[str, str]]) -> Answer:
        if path == "/books":
            books = (self._exchange.rest_book(token) for token in dict.fromkeys(token for token, _ in wanted))
            return Answer(200, f"[{','.join(book for book in books if book is not None)}]\n")
        if path == LAST_TRADES:
            return told(self._last_trades(dict.fromkeys(token for token, _ in wanted)))
        return self._map(path, wanted)

    def _last_trades(self, tokens: Iterable[str]) -> list[dict[str, str]]:
        """The last trade of each token; those without one are left out, as their side would be no side."""
        known = ((token, self._exchange.market_of(token)) for token in tokens if self._exchange.knows(token))
        return [
            {"token_id": token, **_last_trade(market, market.tokens.index(token))}
            for token, market in known
            if market.last_trade is not None and market.phase is not Phase.RESOLVED
        ]

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
        return told(found)


def _market(market: Market | None, form: Callable[[Market], dict[str, object]]) -> Answer:
    return refused(404, "market not found") if market is None else told(form(market))


def _midpoint(market: Market, index: int, _call: Call) -> Answer:
    pair = market.pair(index)
    bid, ask = pair[index].best, ONE_PRICE - pair[1 - index].best
    doubled = bid + ask
    return told({"mid": f"{doubled / (2 * ONE_PRICE):.5f}".rstrip("0").rstrip(".")})


def _spread(market: Market, index: int, _call: Call) -> Answer:
    pair = market.pair(index)
    return told({"spread": PRICE_TEXTS[ONE_PRICE - pair[0].best - pair[1].best]})


def _price(market: Market, index: int, call: Call) -> Answer:
    sides = dict(zip(("BUY", "SELL"), market.best(index), strict=True))
    price = sides.get(call.query.get("side", "").upper())
    return refused(400, "Invalid side") if price is None else told({"price": price})


def _last_trade(market: Market, index: int) -> dict[str, str]:
    """The last trade in a token's own terms: who buys one token at p sells the other at 1 - p."""
    if market.last_trade is None:
        return {"price": "0.5", "side": ""}
    taken, price, bought = market.last_trade
    if taken != index:
        price, bought = ONE_PRICE - price, not bought
    return {"price": PRICE_TEXTS[price], "side": "BUY" if bought else "SELL"}


def _last_trade_price(market: Market, index: int, _call: Call) -> Answer:
    return told(_last_trade(market, index))


def _tick_size(market: Market, _index: int, _call: Call) -> Answer:
    return told({"minimum_tick_size": market.tick / ONE_PRICE})
