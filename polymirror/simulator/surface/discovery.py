"""The discovery service's lists, look-ups and search, over the markets of one exchange. Pure.

Lists come plain (``limit`` and ``offset``) or by key set (``limit`` and ``after_cursor``). Names in the query may be
repeated: ``id``, ``slug``, ``condition_ids``, ``clob_token_ids``, ``tag_id``, ``tag_slug``, ``series_id``. Settled
markets are hidden unless ``closed=true``. ``order`` knows ``id``, ``slug``, ``volume24hr`` and the dates; by what it
does not know nothing is ordered. ``include_tag=true`` tells the tags of each market.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.frames import Answer
from polymirror.simulator.surface.answers import UnreadableError, refused_by_gamma, told, whole
from polymirror.simulator.surface.gamma import (
    FIRST_EVENT,
    FIRST_MARKET,
    event_object,
    market_object,
    series_id,
    series_object,
    series_slug,
    tags_of,
    title,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.exchange.market import Market
    from polymirror.simulator.frames import Call

USUAL_LIMIT: Final = 100
MAX_LIMIT: Final = 500
"""Entries of one answer; what the venue's own bounds are is not known."""

SEARCH_LIMIT: Final = 10

EMPTY: Final = ("/teams", "/comments", "/sports")
"""Lists that exist and have nothing in them."""

ORDERS: Final[dict[str, Callable[[Market], Any]]] = {
    "id": lambda market: market.index,
    "slug": lambda market: market.slug,
    **dict.fromkeys(("startDate", "start_date", "eventStartTime", "startTime"), lambda market: market.window_start_ms),
    **dict.fromkeys(("endDate", "end_date"), lambda market: market.window_end_ms),
    **dict.fromkeys(("volume24hr", "volume_24hr"), lambda market: market.kind.volume),
}


class Discovery:
    """Answers the calls of the discovery service."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kinds: dict[str, tuple[Callable[[Market], dict[str, Any]], int]] = {
            "markets": (market_object, FIRST_MARKET),
            "events": (event_object, FIRST_EVENT),
        }

    def answer(self, path: str, call: Call) -> Answer:
        """Answer a GET; whatever is not there is 404."""
        try:
            return self._answer(path, call)
        except UnreadableError as error:
            return refused_by_gamma(422, str(error))

    def _answer(self, path: str, call: Call) -> Answer:
        if path == "/status":
            return Answer(200, "OK", content_type="text/plain; charset=utf-8")
        if path == "/public-search":
            return self._search(call)
        if path in EMPTY:
            return told([])
        head, *rest = path.strip("/").split("/")
        if head in self._kinds:
            return self._of_kind(head, rest, call)
        kind = {"series": self._of_series, "tags": self._of_tags}.get(head)
        return refused_by_gamma(404, "not found") if kind is None else kind(rest, call)

    def _of_kind(self, kind: str, rest: list[str], call: Call) -> Answer:
        make, first = self._kinds[kind]
        match rest:
            case []:
                return told([make(market) for market in _slice(self._wanted(call, first), call)])
            case ["keyset"]:
                return self._keyset(kind, call)
            case ["slug", slug]:
                market = self._exchange.market_by_slug(slug)
                return refused_by_gamma(404, "slug not found") if market is None else told(make(market))
            case [number, *tail] if tail in ([], ["tags"]):
                market = self._by_number(number, first)
                if market is None:
                    return refused_by_gamma(404, "id not found")
                return told(tags_of(market) if tail else make(market))
        return refused_by_gamma(404, "slug not found")

    def _keyset(self, kind: str, call: Call) -> Answer:
        make, first = self._kinds[kind]
        markets, start = self._wanted(call, first), whole(call, "after_cursor", 0)
        end = start + _limit(call)
        found = [make(market) for market in markets[start:end]]
        if kind == "markets" and _is_true(call, "include_tag", default=False):
            found = [{**each, "tags": tags_of(market)} for each, market in zip(found, markets[start:end], strict=True)]
        page: dict[str, Any] = {kind: found}
        if end < len(markets):
            page["next_cursor"] = str(end)
        return told(page)

    def _by_number(self, number: str, first: int) -> Market | None:
        if not (number.isascii() and number.isdigit()):
            return None
        return next((market for market in self._exchange.markets if str(first + market.index) == number), None)

    def _wanted(self, call: Call, first: int) -> list[Market]:
        """The markets that a list asks for, in the order it wants."""
        exchange = self._exchange
        named = {name: frozenset(call.values(name)) for name in ("id", "slug", "condition_ids", "clob_token_ids")}
        markets: list[Market] | tuple[Market, ...] = exchange.markets
        if named["slug"] and len(named["slug"]) == 1:
            # The usual question, asked again and again: not looked for one by one.
            known = exchange.market_by_slug(next(iter(named["slug"])))
            markets = [] if known is None else [known]
        tests = self._tests(call)
        found = [
            market
            for market in markets
            if (not named["id"] or str(first + market.index) in named["id"])
            and (not named["slug"] or market.slug in named["slug"])
            and (not named["condition_ids"] or market.condition_id in named["condition_ids"])
            and (not named["clob_token_ids"] or not named["clob_token_ids"].isdisjoint(market.tokens))
            and all(test(market) for test in tests)
        ]
        order = ORDERS.get(call.query.get("order", "").split(",")[0])
        if order is not None:
            found.sort(key=order, reverse=not _is_true(call, "ascending", default=True))
        return found

    def _tests(self, call: Call) -> list[Callable[[Market], bool]]:
        closed = _is_true(call, "closed", default=False)
        tests: list[Callable[[Market], bool]] = [lambda market: market.closed == closed]
        tagged = {*call.values("tag_id"), *call.values("tag_slug")}
        if not _is_true(call, "active", default=True) or _is_true(call, "archived", default=False):
            return [lambda _: False]
        if tagged:
            tests.append(lambda market: any(tag[key] in tagged for tag in tags_of(market) for key in ("id", "slug")))
        if series := frozenset(call.values("series_id")):
            tests.append(lambda market: series_id(series_slug(market)) in series)
        starts: Callable[[Market], int] = lambda market: market.window_start_ms - 86_400_000  # noqa: E731
        ends: Callable[[Market], int] = lambda market: market.window_end_ms  # noqa: E731
        for name, of in (("start_date", starts), ("end_date", ends)):
            if least := call.query.get(f"{name}_min"):
                tests.append(_at_least(of, _moment(least)))
            if most := call.query.get(f"{name}_max"):
                tests.append(_at_most(of, _moment(most)))
        return tests

    def _of_tags(self, rest: list[str], call: Call) -> Answer:
        known = {tag["id"]: tag for market in self._exchange.markets for tag in tags_of(market)}
        if not rest:
            return told(_slice(list(known.values()), call))
        key = "slug" if rest[:-1] == ["slug"] else "id" if rest[:-1] == [] else ""
        found = next((tag for tag in known.values() if tag.get(key) == rest[-1]), None)
        return refused_by_gamma(404, "not found") if found is None else told(found)

    def _series(self) -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in map(series_object, self._exchange.markets)}

    def _of_series(self, rest: list[str], call: Call) -> Answer:
        known = self._series()
        if not rest:
            wanted = call.values("slug")
            return told(_slice([each for each in known.values() if not wanted or each["slug"] in wanted], call))
        series = known.get(rest[0]) if len(rest) == 1 else None
        if series is None:
            return refused_by_gamma(404, "id not found")
        members = [market for market in self._exchange.markets if series_slug(market) == series["slug"]]
        return told({**series, "events": [event_object(market) for market in members if not market.closed]})

    def _search(self, call: Call) -> Answer:
        words = call.query.get("q", "").lower().split()
        if not words:
            raise UnreadableError("q is required")
        size = max(1, whole(call, "limit_per_type", SEARCH_LIMIT, MAX_LIMIT))
        start = (max(1, whole(call, "page", 1)) - 1) * size
        found = [
            market
            for market in self._exchange.markets
            if not market.closed and all(word in f"{title(market)} {market.slug}".lower() for word in words)
        ]
        return told(
            {
                "events": [event_object(market) for market in found[start : start + size]],
                "tags": [],
                "profiles": [],
                "pagination": {"hasMore": start + size < len(found), "totalResults": len(found)},
            }
        )


def _limit(call: Call) -> int:
    return max(1, whole(call, "limit", USUAL_LIMIT, MAX_LIMIT))


def _slice(entries: list[Any], call: Call) -> list[Any]:
    start = whole(call, "offset", 0)
    return entries[start : start + _limit(call)]


def _is_true(call: Call, name: str, *, default: bool) -> bool:
    text = call.query.get(name, "").lower()
    return default if not text else text == "true"


def _moment(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000)
    except ValueError:
        raise UnreadableError("invalid date") from None


def _at_least(of: Callable[[Market], int], bound: int) -> Callable[[Market], bool]:
    return lambda market: of(market) >= bound


def _at_most(of: Callable[[Market], int], bound: int) -> Callable[[Market], bool]:
    return lambda market: of(market) <= bound
