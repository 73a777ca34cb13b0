"""The venue's discovery service: from a slug, a token or a window to a market with its tokens and terms.

Since April 2026 the service leaves settled markets out unless asked for them, so a look-up that finds nothing
is repeated for closed ones. Names of windows are computed in :mod:`polymirror.venue.windows`, descriptions
are read in :mod:`polymirror.venue.market`. Called by the mirror, the command line and the bots.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

from polymirror.errors import BadResponse, MarketNotFound
from polymirror.venue.body import UNREADABLE
from polymirror.venue.fields import Reader, parse_json
from polymirror.venue.http import Answer, Http, HttpCounters, NotFound
from polymirror.venue.market import FeeSchedule, Market, Oracle, Token, parse_market
from polymirror.venue.network import REAL
from polymirror.venue.windows import Interval, Window, window_slugs

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from types import TracebackType

    from polymirror.config import Endpoints, RestConfig
    from polymirror.venue.network import Network

__all__ = ["FeeSchedule", "Gamma", "Interval", "Market", "Oracle", "Token", "Window", "window_slugs"]


AT_ONCE: Final = 50
"""Descriptions that are read before other tasks get their turn: some milliseconds' worth."""


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
        for number, raw in enumerate(await self._find("/markets", {"slug": slug})):
            await _leave_turns(number)
            if isinstance(raw, dict) and raw.get("slug") == slug:
                return parse_market(raw, f"market {slug[:80]}")
        raise MarketNotFound(f"no market with slug {slug[:80]} (yet)")

    async def market_of_token(self, token: str) -> Market:
        """Look up the market of a token, open or settled. Raises :class:`~polymirror.errors.MarketNotFound`."""
        for number, raw in enumerate(await self._find("/markets", {"clob_token_ids": token})):
            await _leave_turns(number)
            # A service that does not know the filter answers with any markets.
            if isinstance(raw, dict) and token in Reader("GET /markets", raw).texts("clobTokenIds"):
                return parse_market(raw, f"market of token {token[:80]}")
        raise MarketNotFound(f"no market with token {token[:80]} (yet)")

    async def event(self, slug: str) -> tuple[Market, ...]:
        """Look up all markets of an event by the event's slug, open or settled.

        An up/down event has one market under its own slug, and only the event tells the official strike and
        settlement price. Raises :class:`~polymirror.errors.MarketNotFound`.
        """
        for number, raw in enumerate(await self._find("/events", {"slug": slug})):
            await _leave_turns(number)
            if isinstance(raw, dict) and raw.get("slug") == slug:
                call = f"event {slug[:80]}"
                event = Reader(call, raw)
                markets: list[Market] = []
                for each in event.objects("markets"):
                    await _leave_turns(len(markets))
                    markets.append(parse_market(each.fields, call, event))
                return tuple(markets)
        raise MarketNotFound(f"no event with slug {slug[:80]} (yet)")

    async def windows(
        self, asset: str, interval: str | Interval, now: float, *, behind: int = 0, ahead: int = 1
    ) -> tuple[Market, ...]:
        """Look up the markets of the window at ``now`` (unix seconds), ``behind`` before it and ``ahead`` after it.

        In order of time; a window without a market (yet) is left out. Raises
        :class:`~polymirror.errors.ConfigError` for an interval or asset without a formula, and
        :class:`~polymirror.errors.BadResponse` when a market's window is not the one its slug stands for.
        """
        windows = window_slugs(asset, interval, now, behind=behind, ahead=ahead)
        found: dict[str, Market] = {}
        errors: list[Exception] = []

        async def look_up(slug: str) -> None:
            try:
                found[slug] = await self.market(slug)
            except MarketNotFound:
                return
            except Exception as error:  # noqa: BLE001 - raised below, alone: callers expect no group of errors
                errors.append(error)

        async with asyncio.TaskGroup() as group:
            for slug in dict.fromkeys(window.slug for window in windows):
                group.create_task(look_up(slug))
        if errors:
            raise errors[0]
        return tuple(
            found[window.slug] for window in windows if window.slug in found and _fits(found[window.slug], window)
        )

    async def _find(self, path: str, query: Mapping[str, str]) -> list[Any]:
        """Ask for open entries, then for settled ones. An empty list when there is neither."""
        name = f"GET {path}"

        async def decode(answer: Answer) -> list[Any]:
            content = parse_json(answer.body, name, UNREADABLE)
            if not isinstance(content, list):
                raise BadResponse(name, f"a list was expected, not {type(content).__name__}", UNREADABLE)
            return content

        for extra in ({}, {"closed": "true"}):
            try:
                found = await self._http.call(name, path, decode, query={**query, **extra})
            except NotFound:
                continue
            if found:
                return found
        return []


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
