"""The markets of one mirror: those that it has, those that it still looks for, and who needs which.

What is wanted by slug, by token or as a whole event is looked up in one call for many, and again until it is found: a
venue that is down, a slug that nobody knows yet and a market without tokens keep their own entry waiting and nothing
else. The user, each event and each walk along rolling windows hold what they need; a market that nobody holds any more
is not mirrored. Used by :mod:`polymirror.shell.markets`; the mirror owns the engine.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum, unique
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define, field

from polymirror.config import check_each
from polymirror.core.checksum import Constants
from polymirror.core.fees import NO_FEE
from polymirror.core.states import BookState, Reason
from polymirror.errors import (
    BadResponse,
    ConfigError,
    MarketNotFound,
    NotLive,
    UnknownToken,
    VenueError,
    VenueUnavailable,
)
from polymirror.harmless import harmless
from polymirror.venue.backoff import FullJitter
from polymirror.venue.market import UP_LABELS, Market
from polymirror.venue.pages import check_token, event_of, slug_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from polymirror.core.engine import Engine
    from polymirror.shell.teller import Teller
    from polymirror.venue.gamma import Gamma

T = TypeVar("T")
V = TypeVar("V")

PAIR: Final = 2
"""Tokens of a market."""

MAX_NAME: Final = 80
"""Characters of a market's slug in a message."""

RETRY_BASE: Final = 0.25
RETRY_CAP: Final = 2.0
"""Full-jitter backoff, in seconds, while the service cannot be reached: who waits for it wants to know at once."""

RETRY_UNKNOWN: Final = 30.0
"""Seconds between questions for what the service does not know yet: it answers no newer within that time."""

EVENT_AGAIN: Final = 60.0
"""Seconds between questions for an event's new markets."""

USER: Final = "the user"
"""Who holds what was named by the program itself."""


@unique
class Kind(Enum):
    """By what a market is looked for."""

    SLUG = "slug"
    TOKEN = "token"  # noqa: S105 - no secret
    EVENT = "event"


@define(eq=False)
class Wanted:
    """Something that is looked for. An event stays wanted once it is found: it may get new markets."""

    name: str
    kind: Kind
    holders: set[Hashable]
    trouble: str = "not looked up yet"
    due: float = 0.0
    attempts: int = 0
    missing: bool = True
    # The markets of an event that were found so far, by condition id, in order.
    found: dict[str, None] = field(factory=dict)


class Listing:
    """Which markets a mirror has and wants. Times in seconds of ``now``.

    ``teller`` hears of what is not found, and of markets that come and go; ``changed()`` is called after each round of
    look-ups.
    """

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], float],
        rng: random.Random,
        teller: Teller,
        changed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._now = now
        self._jitter = FullJitter(RETRY_BASE, RETRY_CAP, rng)
        self._teller = teller
        self._changed = changed
        # By condition id, in the order in which they were added.
        self.markets: dict[str, Market] = {}
        self._of_token: dict[str, Market] = {}
        self._of_slug: dict[str, Market] = {}
        # Who needs a market, by condition id.
        self._holders: dict[str, set[Hashable]] = {}
        # Tokens of markets that are added at the start.
        self._expected: set[str] = set()
        # By slug, by token or by "event SLUG", in the order in which they were wanted.
        self._wanted: dict[str, Wanted] = {}
        # Set when there is something new to look for.
        self._news = asyncio.Event()

    # ---- What it has -------------------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens: those that are mirrored, then those whose market is still looked for."""
        missing = tuple(name for name, wanted in self._wanted.items() if wanted.kind is Kind.TOKEN)
        return self._engine.asset_ids + missing if missing else self._engine.asset_ids

    @property
    def missing(self) -> dict[str, str]:
        """What is looked for, by slug, token or "event SLUG", and why it is not found yet."""
        return {name: wanted.trouble for name, wanted in self._wanted.items() if wanted.missing}

    def market_of(self, token: str) -> Market:
        """Return the market of a token. Raises NotLive while it is looked for, and UnknownToken."""
        market = _named(self._of_token, token)
        if market is None:
            raise self.refusal(token) or UnknownToken(token)
        return market

    def knows(self, token: str) -> bool:
        """Whether a token is mirrored, expected or looked for."""
        wanted = self._wanted.get(token)
        return token in self._of_token or token in self._expected or (wanted is not None and wanted.kind is Kind.TOKEN)

    def market_named(self, slug: str) -> Market | None:
        """Return the market with this slug; None while it is not mirrored."""
        return self._of_slug.get(slug)

    def event_markets(self, slug: str) -> tuple[Market, ...]:
        """Return the markets of an event, in the order in which they were found.

        Raises NotLive while the event or one of its open markets cannot be read, and ConfigError for one that is not
        wanted.
        """
        wanted = self._wanted.get(name := _event_name(event_of(slug)))
        if wanted is None:
            raise ConfigError("event", slug, "an event of this mirror: add_event or Mirror.for_event comes first")
        if wanted.missing:
            raise self._refusal(name, wanted)
        return tuple(self.markets[each] for each in wanted.found if each in self.markets)

    def name_of(self, token: str) -> str:
        """Return the slug and the outcome of a token for a message; the empty text for one without a market."""
        market = self._of_token.get(token)
        outcomes = [] if market is None else [each.outcome for each in market.tokens if each.id == token]
        return harmless(f"{market.slug} {outcomes[0]}", MAX_NAME) if market is not None and outcomes else ""

    def refusal(self, name: str) -> NotLive | None:
        """Return the error for what is still looked for, which tells why it is not found."""
        wanted = _named(self._wanted, name)
        return None if wanted is None or not wanted.missing else self._refusal(name, wanted)

    def _refusal(self, name: str, wanted: Wanted) -> NotLive:
        noun = "it is" if wanted.kind is Kind.EVENT else "its market is"
        detail = f"{noun} not found yet: {wanted.trouble}"
        return NotLive(name, BookState.UNPRIMED, Reason.TRACKED, None, 0, detail=detail)

    def add(self, market: Market, holders: Iterable[Hashable] = (USER,)) -> None:
        """Start to mirror both tokens of a market, for those who hold it and those who looked for it.

        Raises ConfigError if its tokens cannot be tracked.
        """
        if market.condition_id not in self.markets:
            constants = Constants(
                min_order_size=market.min_order_size, tick_size=market.tick_size, neg_risk=market.neg_risk
            )
            by_label = sorted(market.tokens, key=lambda token: token.outcome.lower() not in UP_LABELS)
            asset_ids = [token.id for token in by_label]
            fee = market.fee if market.fees_enabled else NO_FEE
            self._engine.track(market.condition_id, asset_ids, self._now(), constants=constants, fee=fee)
            self.markets[market.condition_id] = self._of_slug[market.slug] = market
            self._of_token |= dict.fromkeys(asset_ids, market)
            self._expected.difference_update(asset_ids)
            self._teller.added(market)
            if market.closed:
                # Known already: no need to find out that it has no books.
                self._engine.market_status(market.condition_id, closed=True, now=self._now())
        held = self._holders.setdefault(market.condition_id, set())
        held.update(holders)
        for name in (market.slug, *market.token_ids):
            if wanted := self._wanted.pop(name, None):
                held |= wanted.holders

    def add_found(self, market: Market, holders: Iterable[Hashable] = (USER,)) -> Market:
        """Start to mirror what the service described: what is wrong with it is no setting of ours (BadResponse)."""
        call = f"market {harmless(market.slug, MAX_NAME)}"
        if len(market.tokens) != PAIR:
            raise BadResponse(call, f"two tokens were expected, not {len(market.tokens)}")
        try:
            self.add(market, holders)
        except ConfigError as error:
            if error.field != "asset_ids":
                raise
            raise BadResponse(call, harmless(str(error))) from error
        return market

    def remove(self, condition_id: str) -> None:
        """Stop to mirror a market, whoever holds it. Raises UnknownToken if it is not mirrored."""
        market = _named(self.markets, condition_id)
        if market is None:
            raise UnknownToken(condition_id)
        del self.markets[condition_id]
        self._engine.untrack(condition_id, self._now())
        del self._holders[condition_id]
        if self._of_slug.get(market.slug) is market:
            del self._of_slug[market.slug]
        for token in market.token_ids:
            self._of_token.pop(token, None)
        self._teller.removed(market)

    def expect(self, markets: Iterable[Market]) -> None:
        """Know the tokens of these markets already: they are added when the mirror starts."""
        self._expected.update(token for market in markets for token in market.token_ids)

    # ---- Who needs what ----------------------------------------------------------------------------

    def want(self, slugs: Iterable[str], tokens: Iterable[str] = (), holder: Hashable = USER) -> None:
        """Look for these markets from now on, until they are found. Raises ConfigError for what is no slug or token."""
        given = check_each("slugs", slugs, str, "; Mirror.for_slug takes a single slug")
        for slug in map(slug_of, given):
            self._hold(slug, Kind.SLUG, slug, holder, self._of_slug.get(slug))
        for token in check_each("tokens", tokens, str, "; slugs are given as slugs=[...]"):
            check_token(token, "tokens")
            self._hold(token, Kind.TOKEN, token, holder, self._of_token.get(token))

    def want_event(self, slug: str) -> str:
        """Look for the markets of an event from now on, for as long as it is wanted. Return the event's slug."""
        slug = event_of(slug)
        self._hold(_event_name(slug), Kind.EVENT, slug, USER, None)
        return slug

    def _hold(self, key: str, kind: Kind, name: str, holder: Hashable, market: Market | None) -> None:
        if market is not None:
            self._holders[market.condition_id].add(holder)
        elif key in self._wanted:
            self._wanted[key].holders.add(holder)
        else:
            self._wanted[key] = Wanted(name, kind, {holder})
            self._news.set()

    def release(self, slug: str, holder: Hashable) -> None:
        """Somebody needs a market no more: when nobody does, it is neither mirrored nor looked for."""
        wanted, market = self._wanted.get(slug), self._of_slug.get(slug)
        if wanted is not None:
            wanted.holders.discard(holder)
            if not wanted.holders:
                del self._wanted[slug]
        if market is not None:
            self._let_go(market.condition_id, holder)

    def release_event(self, slug: str) -> None:
        """An event is not wanted any more, nor are the markets that only it held. Raises ConfigError if it was not."""
        wanted = self._wanted.pop(name := _event_name(event_of(slug)), None)
        if wanted is None:
            raise ConfigError("event", slug, "an event of this mirror")
        for condition_id in wanted.found:
            if condition_id in self.markets:
                self._let_go(condition_id, name)

    def _let_go(self, condition_id: str, holder: Hashable) -> None:
        holders = self._holders[condition_id]
        holders.discard(holder)
        if not holders:
            self.remove(condition_id)

    # ---- What it looks for -------------------------------------------------------------------------

    async def look_up(self, gamma: Gamma, *, starting: bool = False) -> None:
        """Ask for everything that is due, in one round.

        What the settings have no room for raises ConfigError at the start, and is told like anything else later.
        """
        due = [(key, wanted) for key, wanted in self._wanted.items() if wanted.due <= self._now()]
        slugs, tokens, events = ([each.name for _, each in due if each.kind is kind] for kind in Kind)
        async with asyncio.TaskGroup() as group:
            by_slug = group.create_task(gamma.markets(slugs))
            by_token = group.create_task(gamma.markets_of_tokens(tokens))
            by_event = group.create_task(gamma.events(events))
        markets = by_slug.result() | by_token.result()
        for key, wanted in due:
            if self._wanted.get(key) is not wanted:
                # Found in another way meanwhile, or needed no more.
                continue
            try:
                if wanted.kind is Kind.EVENT:
                    self._take_event(key, wanted, by_event.result()[wanted.name])
                else:
                    self.add_found(_given(markets[wanted.name]), wanted.holders)
            except (VenueError, ConfigError) as error:
                if starting and isinstance(error, ConfigError):
                    raise
                self._put_off(wanted, error)
        self._changed()

    def _take_event(self, key: str, wanted: Wanted, answer: tuple[Market | VenueError, ...] | VenueError) -> None:
        """Mirror the open markets of an event, each once: what the user removed does not come back.

        Those without tokens yet are left for later. One that cannot be read or has no room is told after the others
        are mirrored: who counts on an event's being whole must not miss it.
        """
        described = _given(answer)
        trouble: VenueError | ConfigError | None = None
        for market in described:
            try:
                if not isinstance(market, MarketNotFound) and not (found := _given(market)).closed:
                    if found.condition_id not in wanted.found:
                        self.add_found(found, (key,))
                    wanted.found[found.condition_id] = None
            except (VenueError, ConfigError) as error:
                trouble = trouble or error
        if trouble is None and not wanted.found:
            trouble = MarketNotFound(f"none of the {len(described)} markets of event {wanted.name[:MAX_NAME]} is open")
        wanted.missing = trouble is not None
        if trouble is not None:
            raise trouble
        wanted.attempts, wanted.due = 0, self._now() + EVENT_AGAIN

    def _put_off(self, wanted: Wanted, error: VenueError | ConfigError) -> None:
        wanted.attempts += 1
        wanted.trouble = str(error)
        wish = getattr(error, "retry_after", None) or 0.0
        away = isinstance(error, VenueUnavailable)
        wanted.due = self._now() + (max(wish, self._jitter.seconds(wanted.attempts)) if away else RETRY_UNKNOWN)
        self._teller.warn("look-up", str(error))

    async def run(self, gamma: Gamma) -> None:
        """Look up what is wanted, for as long as the mirror runs."""
        while True:
            self._news.clear()
            rest = min((wanted.due for wanted in self._wanted.values()), default=float("inf")) - self._now()
            if rest <= 0:
                await self.look_up(gamma)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(None if rest == float("inf") else rest):
                    await self._news.wait()


def _named(known: Mapping[str, V], name: object) -> V | None:
    """What has this name; None for whatever could be none, such as a list of names."""
    return known.get(name) if isinstance(name, str) else None


def _event_name(slug: str) -> str:
    """Under which an event is looked for and told: no slug of a market has a space."""
    return f"event {slug}"


def _given(answer: T | VenueError) -> T:
    if isinstance(answer, VenueError):
        raise answer
    return answer
