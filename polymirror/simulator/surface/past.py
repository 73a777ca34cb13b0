"""What anybody may ask about the past: prices in both of the venue's forms, and the trades of a market.

``/prices-history`` is the order book service's, ``/v2/prices-history`` and ``/v2/trades`` are the data service's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.surface.answers import UnreadableError, data_page, told, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.frames import Answer, Call
    from polymirror.simulator.surface.tape import Point, Tape

INTERVALS: Final = {
    "1h": 3_600,
    "6h": 21_600,
    "1d": 86_400,
    "1w": 604_800,
    "1m": 2_592_000,
    "max": 10**10,
    "all": 10**10,
}
"""How far back each named interval reaches, in seconds."""

MINUTE_S: Final = 60

ANONYMOUS: Final = "0x" + "0" * 40


class Past:
    """Answers from a tape."""

    def __init__(self, exchange: Exchange, tape: Tape) -> None:
        self._exchange = exchange
        self._tape = tape
        self.paths: dict[str, Callable[[Call], Answer]] = {
            "/prices-history": self._history,
            "/v2/prices-history": self._data_history,
            "/v2/trades": self._trades,
        }

    def _history(self, call: Call) -> Answer:
        start, end = self._span(call, "startTs", "endTs")
        fidelity = max(1, whole(call, "fidelity", 1, 10_000)) * MINUTE_S
        points = self._points(call.query.get("market", ""), start, end, fidelity)
        return told({"history": [{"t": point.at_s, "p": float(point.price)} for point in points]})

    def _data_history(self, call: Call) -> Answer:
        start, end = self._span(call, "start", "end")
        if "as_of" in call.query:
            end = whole(call, "as_of", end)
        points = self._points(call.query.get("token_id", ""), start, end, MINUTE_S)
        if "as_of" in call.query:
            points = points[-1:]
        return data_page(call, points, _row)

    def _span(self, call: Call, first: str, last: str) -> tuple[int, int]:
        """From when until when prices are wanted, in Unix seconds."""
        now_s = self._exchange.now_ms // 1_000
        interval = call.query.get("interval", "max")
        if interval not in INTERVALS:
            raise UnreadableError("invalid interval")
        return whole(call, first, now_s - INTERVALS[interval]), whole(call, last, now_s)

    def _points(self, token: str, start: int, end: int, step: int) -> list[Point]:
        """The prices of a token, one for each step of so many seconds at most."""
        if not self._exchange.knows(token):
            return []
        market = self._exchange.market_of(token)
        found: list[Point] = []
        for point in self._tape.points(market.condition_id):
            if start <= point.at_s <= end and (not found or found[-1].at_s // step != point.at_s // step):
                found.append(point)
        if token == market.tokens[0]:
            return found
        return [point._replace(price=1 - point.price) for point in found]

    def _trades(self, call: Call) -> Answer:
        condition = call.query.get("condition_id", "")
        rows = [
            {
                "proxy_wallet": ANONYMOUS,
                "token_id": each.token,
                "condition_id": condition,
                "side": each.side,
                "size": each.size,
                "price": each.price,
                "timestamp": each.at_s,
                "transaction_hash": each.transaction,
            }
            for each in self._tape.prints(condition)
        ]
        return data_page(call, rows)


def _row(point: Point) -> dict[str, Any]:
    return {"timestamp": point.at_s, "price": f"{point.price:f}", "resolution_seconds": MINUTE_S}
