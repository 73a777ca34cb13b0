"""The venue's discovery service: from a slug, a token or a window to a market with its tokens and terms.

Since April 2026 the service leaves settled markets out unless asked for them, so a look-up that finds nothing
is repeated for closed ones. Names of windows are computed in :mod:`polymirror.venue.windows`, descriptions
are read in :mod:`polymirror.venue.market`. Called by the mirror, the command line and the bots.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from attrs import frozen

from polymirror.core.fees import FeeSchedule
from polymirror.errors import BadResponse, MarketNotFound, VenueError
from polymirror.venue.body import UNREADABLE
from polymirror.venue.fields import Reader, parse_json
from polymirror.venue.http import Answer, Http, HttpCounters, NotFound, Query
from polymirror.venue.market import Market, Oracle, Token, parse_market
from polymirror.venue.network import REAL
from polymirror.venue.windows import Interval, Window, window_slugs

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType

    from polymirror.config import Endpoints, RestConfig
    from polymirror.venue.network import Network

T = TypeVar("T", list[Any], dict[str, Any])

__all__ = ["FeeSchedule", "Gamma", "Interval", "Market", "Oracle", "Token", "Window", "window_slugs"]


PAGE: Final = 100
"""Markets of one page of a list."""

MAX_PAGES: Final = 50
"""Pages of one list, unless more are asked for."""

AT_ONCE: Final = 50
"""Descriptions that are read before other tasks get their turn: some milliseconds' worth."""

OPEN_THEN_CLOSED: Final[tuple[Mapping[str, str], ...]] = ({}, {"closed": "true"})
"""What is added to a question, and to its repetition for what was not found."""


@frozen
class _Key:
    """By what markets are looked up, and how many at once: so many that an address stays below 4 KiB."""

    query: str
    noun: str
    label: str
    at_once: int
    names_of: Callable[[Any], Sequence[str]]


def _slugs_of(raw: Any) -> Sequence[str]:
    slug = raw.get("slug") if isinstance(raw, dict) else None
    return (slug,) if isinstance(slug, str) else ()


def _tokens_of(raw: Any) -> Sequence[str]:
    try:
        # A service that does not know the filter answers with any markets.
        return Reader("GET /markets", raw).texts("clobTokenIds") if isinstance(raw, dict) else ()
    except BadResponse:
        return ()


SLUGS: Final = _Key("slug", "slug", "market", 50, _slugs_of)
TOKENS: Final = _Key("clob_token_ids", "token", "market of token", 25, _tokens_of)


class Gamma:
    """The discovery service. Use ``async with``; it has a rate budget of its own.

    Every call may raise :class:`~polymirror.errors.RateLimited`, :class:`~polymirror.errors.VenueUnavailable` and
    :class:`~polymirror.errors.BadResponse` once its retries are spent. A market that is not found may be found
    later: asking more often than each 30 seconds is of no use. ``network`` carries them and has the clocks.
    """

    def __init__(
        self,
        config: RestConfig,
        endpoints: Endpoints,
        *,
        rng: random.Random,
        network: Network = REAL,
    ) -> None:
        self._http = Http(endpoints.gamma, config, rng=rng, network=network)
        # Why the last question had no answer; empty once one is answered.
        self.trouble: str = ""

    @property
    def counters(self) -> HttpCounters:
        """What was called, repeated and throttled so far."""
        return self._http.counters

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def market(self, slug: str) -> Market:
        """Look up a market by its slug, open or settled.

        Raises :class:`~polymirror.errors.MarketNotFound` when there is none, or none with tokens yet.
        """
        return _found((await self.markets([slug]))[slug])

    async def market_of_token(self, token: str) -> Market:
        """Look up the market of a token, open or settled. Raises :class:`~polymirror.errors.MarketNotFound`."""
        return _found((await self.markets_of_tokens([token]))[token])

    async def markets(self, slugs: Sequence[str]) -> dict[str, Market | VenueError]:
        """Look up markets by slug, open or settled, in one call for many.

        What is wrong with one of them stands in its place.
        """
        return await self._look_up(SLUGS, slugs)

    async def markets_of_tokens(self, tokens: Sequence[str]) -> dict[str, Market | VenueError]:
        """Look up the markets of tokens, as :meth:`markets` does."""
        return await self._look_up(TOKENS, tokens)

    async def _look_up(self, key: _Key, names: Sequence[str]) -> dict[str, Market | VenueError]:
        wanted = tuple(dict.fromkeys(names))
        found: dict[str, Market | VenueError] = {}
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(wanted), key.at_once):
                group.create_task(self._look_up_some(key, wanted[start : start + key.at_once], found))
        return {name: found[name] for name in wanted}

    async def _look_up_some(self, key: _Key, names: Sequence[str], found: dict[str, Market | VenueError]) -> None:
        left = dict.fromkeys(names)
        try:
            for extra in OPEN_THEN_CLOSED:
                if left:
                    await self._look_up_once(key, left, extra, found)
        except BadResponse as error:
            if len(left) == 1:
                found |= dict.fromkeys(left, error)
                return
            # One name that fits into no request, or one answer that is too large, is not to keep the others away.
            rest = tuple(left)
            for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
                await self._look_up_some(key, half, found)
        except VenueError as error:
            found |= dict.fromkeys(left, error)
        else:
            found |= {name: MarketNotFound(f"no market with {key.noun} {name[:80]} (yet)") for name in left}

    async def _look_up_once(
        self, key: _Key, left: dict[str, None], extra: Mapping[str, str], found: dict[str, Market | VenueError]
    ) -> None:
        """Ask one question for all that is ``left``, and move what is answered to ``found``."""
        several = {"limit": str(len(left))} if len(left) > 1 else {}
        for number, raw in enumerate(await self._ask("/markets", {key.query: tuple(left), **several, **extra})):
            await _leave_turns(number)
            for name in [name for name in key.names_of(raw) if name in left]:
                del left[name]
                found[name] = _parsed(raw, f"{key.label} {name[:80]}")

    async def event(self, slug: str) -> tuple[Market, ...]:
        """Look up all markets of an event by the event's slug, open or settled.

        An up/down event has one market under its own slug, and only the event tells the official strike and
        settlement price. Raises :class:`~polymirror.errors.MarketNotFound`.
        """
        found = (await self.events([slug]))[slug]
        if isinstance(found, VenueError):
            raise found
        return tuple(_found(market) for market in found)

    async def events(self, slugs: Sequence[str]) -> dict[str, tuple[Market | VenueError, ...] | VenueError]:
        """Look up events by slug: all markets of each, open or settled, in the venue's order.

        What is wrong with an event, or with one of its markets, stands in its place.
        """
        wanted = tuple(dict.fromkeys(slugs))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._event(slug)) for slug in wanted]
        return {slug: task.result() for slug, task in zip(wanted, tasks, strict=True)}

    async def _event(self, slug: str) -> tuple[Market | VenueError, ...] | VenueError:
        call = f"event {slug[:80]}"
        try:
            for number, raw in enumerate(await self._find("/events", {"slug": slug})):
                await _leave_turns(number)
                if isinstance(raw, dict) and raw.get("slug") == slug:
                    event = Reader(call, raw)
                    markets: list[Market | VenueError] = []
                    for each in event.objects("markets"):
                        await _leave_turns(len(markets))
                        markets.append(_parsed(each.fields, call, event))
                    return tuple(markets)
        except VenueError as error:
            return error
        return MarketNotFound(f"no event with slug {slug[:80]} (yet)")

    async def windows(
        self, asset: str, interval: str | Interval, now: float, *, behind: int = 0, ahead: int = 1
    ) -> tuple[Market, ...]:
        """Look up the markets of the window at ``now`` (unix seconds), ``behind`` before it and ``ahead`` after it.

        In order of time; a window without a market (yet) is left out. Raises
        :class:`~polymirror.errors.ConfigError` for an interval or asset without a formula, and
        :class:`~polymirror.errors.BadResponse` when a market's window is not the one its slug stands for.
        """
        windows = window_slugs(asset, interval, now, behind=behind, ahead=ahead)
        answers = await self.markets([window.slug for window in windows])
        found = {slug: _found(each) for slug, each in answers.items() if not isinstance(each, MarketNotFound)}
        return tuple(
            found[window.slug] for window in windows if window.slug in found and _fits(found[window.slug], window)
        )

    async def pages(self, query: Query, *, most: int = MAX_PAGES) -> AsyncIterator[tuple[Market, ...]]:
        """List open markets, a page at a time, in the order that ``query`` asks for, with their tags and volumes.

        ``query`` takes the service's own names, such as ``tag_slug``, ``end_date_min`` and ``order``. At most ``most``
        pages are asked for, each when the one before was taken. A market whose description cannot be read is left out.
        """
        cursor: dict[str, str] = {}
        for _ in range(most):
            path, usual = "/markets/keyset", {"limit": str(PAGE), "closed": "false", "include_tag": "true"}
            raw = await self._ask(path, {**usual, **query, **cursor}, dict)
            found = []
            for number, each in enumerate(Reader(f"GET {path}", raw).objects("markets") if raw else ()):
                await _leave_turns(number)
                market = _parsed(each.fields, f"GET {path}")
                if isinstance(market, Market):
                    found.append(market)
            yield tuple(found)
            following = raw.get("next_cursor") if raw else None
            if not isinstance(following, str) or not following or {"after_cursor": following} == cursor:
                return
            cursor = {"after_cursor": following}

    async def _find(self, path: str, query: Mapping[str, str]) -> list[Any]:
        """Ask for open entries, then for settled ones. An empty list when there is neither."""
        for extra in OPEN_THEN_CLOSED:
            if found := await self._ask(path, {**query, **extra}):
                return found
        return []

    async def _ask(self, path: str, query: Query, kind: type[T] = list) -> T:  # type: ignore[assignment]
        name = f"GET {path}"

        async def decode(answer: Answer) -> T:
            content = parse_json(answer.body, name, UNREADABLE)
            if not isinstance(content, kind):
                raise BadResponse(name, f"a {kind.__name__} was expected, not {type(content).__name__}", UNREADABLE)
            return content

        try:
            found = await self._http.call(name, path, decode, query=query)
        except NotFound:
            found = kind()
        except VenueError as error:
            self.trouble = str(error)
            raise
        except asyncio.CancelledError:
            self.trouble = self.trouble or f"{name}: no answer in time"
            raise
        self.trouble = ""
        return found


def _found(answer: Market | VenueError) -> Market:
    if isinstance(answer, VenueError):
        raise answer
    return answer


def _parsed(raw: Any, call: str, event: Reader | None = None) -> Market | VenueError:
    try:
        return parse_market(raw, call, event)
    except VenueError as error:
        return error


async def _leave_turns(number: int) -> None:
    """Let other tasks have their turn now and then: a peer decides how many descriptions there are."""
    if number % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)


def _fits(market: Market, window: Window) -> bool:
    """Check a market against the window whose slug it has."""
    if market.window_end is None or market.window_end == window.end:
        return True
    if window.ambiguous:
        # The market belongs to the other of two hours with the same name.
        return False
    detail = f"field endDate says {market.window_end}, the slug stands for {window.end}"
    raise BadResponse(f"market {market.slug}", detail)
