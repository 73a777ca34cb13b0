"""The markets of one mirror: those that it has, and those that it still looks for.

What is wanted by slug or by token is looked up in one call for many, and again until it is found: a venue that is down,
a slug that nobody knows yet and a market without tokens keep their own entry waiting and nothing else. Used by
:mod:`polymirror.mirror` only, which owns the engine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import define

from polymirror.config import check_each
from polymirror.core.checksum import Constants
from polymirror.core.fees import NO_FEE
from polymirror.core.states import BookState, Reason
from polymirror.errors import BadResponse, ConfigError, NotLive, UnknownToken, VenueError, VenueUnavailable
from polymirror.venue.backoff import FullJitter
from polymirror.venue.failures import printable
from polymirror.venue.market import UP_LABELS
from polymirror.venue.pages import slug_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from polymirror.core.engine import Engine
    from polymirror.shell.teller import Teller
    from polymirror.venue.gamma import Gamma
    from polymirror.venue.market import Market

PAIR: Final = 2
"""Tokens of a market."""

MAX_NAME: Final = 80
"""Characters of a market's slug in a message."""

RETRY_BASE: Final = 0.25
RETRY_CAP: Final = 2.0
"""Full-jitter backoff, in seconds, while the service cannot be reached: who waits for it wants to know at once."""

RETRY_UNKNOWN: Final = 30.0
"""Seconds between questions for what the service does not know yet: it answers no newer within that time."""


@define(eq=False)
class Wanted:
    """A market that is looked for by its slug or by one of its tokens."""

    name: str
    is_token: bool
    trouble: str = "not looked up yet"
    due: float = 0.0
    attempts: int = 0


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
        # Tokens of markets that are added at the start.
        self._expected: set[str] = set()
        # By name, in the order in which they were wanted.
        self._wanted: dict[str, Wanted] = {}

    # ---- What it has -------------------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens: those that are mirrored, then those whose market is still looked for."""
        missing = tuple(name for name, wanted in self._wanted.items() if wanted.is_token)
        return self._engine.asset_ids + missing if missing else self._engine.asset_ids

    @property
    def missing(self) -> dict[str, str]:
        """What is looked for, by slug or token, and why it is not found yet."""
        return {name: wanted.trouble for name, wanted in self._wanted.items()}

    def market_of(self, token: str) -> Market:
        """Return the market of a token. Raises NotLive while it is looked for, and UnknownToken."""
        market = self._of_token.get(token)
        if market is None:
            raise self.refusal(token) or UnknownToken(token)
        return market

    def knows(self, token: str) -> bool:
        """Whether a token is mirrored, expected or looked for."""
        wanted = self._wanted.get(token)
        return token in self._of_token or token in self._expected or (wanted is not None and wanted.is_token)

    def name_of(self, token: str) -> str:
        """Return the slug and the outcome of a token for a message; the empty text for one without a market."""
        market = self._of_token.get(token)
        outcomes = [] if market is None else [each.outcome for each in market.tokens if each.id == token]
        return printable(f"{market.slug} {outcomes[0]}", MAX_NAME) if market is not None and outcomes else ""

    def refusal(self, name: str) -> NotLive | None:
        """Return the error for a slug or token whose market is still looked for, which tells why it is not found."""
        wanted = self._wanted.get(name)
        if wanted is None:
            return None
        detail = f"its market is not found yet: {wanted.trouble}"
        return NotLive(name, BookState.UNPRIMED, Reason.TRACKED, None, 0, detail=detail)

    def add(self, market: Market) -> None:
        """Start to mirror both tokens of a market. Does nothing for one that is mirrored already.

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
            self.markets[market.condition_id] = market
            self._of_token |= dict.fromkeys(asset_ids, market)
            self._expected.difference_update(asset_ids)
            self._teller.added(market)
        for name in (market.slug, *market.token_ids):
            self._wanted.pop(name, None)

    def add_found(self, market: Market) -> Market:
        """Start to mirror what the service described: what is wrong with it is no setting of ours (BadResponse)."""
        call = f"market {printable(market.slug, MAX_NAME)}"
        if len(market.tokens) != PAIR:
            raise BadResponse(call, f"two tokens were expected, not {len(market.tokens)}")
        try:
            self.add(market)
        except ConfigError as error:
            if error.field != "asset_ids":
                raise
            raise BadResponse(call, printable(str(error))) from error
        return market

    def remove(self, condition_id: str) -> Market:
        """Stop to mirror a market. Raises UnknownToken if it is not mirrored."""
        market = self.markets.pop(condition_id, None)
        if market is None:
            raise UnknownToken(condition_id)
        self._engine.untrack(condition_id, self._now())
        for token in market.token_ids:
            self._of_token.pop(token, None)
        self._teller.removed(market)
        return market

    def expect(self, markets: Iterable[Market]) -> None:
        """Know the tokens of these markets already: they are added when the mirror starts."""
        self._expected.update(token for market in markets for token in market.token_ids)

    # ---- What it looks for -------------------------------------------------------------------------

    def want(self, slugs: Iterable[str], tokens: Iterable[str]) -> None:
        """Look for these markets from now on, until they are found. Raises ConfigError for what is no slug or token."""
        given = check_each("slugs", slugs, str, "; Mirror.for_slug takes a single slug")
        tokens = check_each("tokens", tokens, str)
        for name in map(slug_of, given):
            self._wanted.setdefault(name, Wanted(name, is_token=False))
        for name in tokens:
            if name not in self._of_token:
                self._wanted.setdefault(name, Wanted(name, is_token=True))

    async def look_up(self, gamma: Gamma, *, starting: bool = False) -> None:
        """Ask for everything that is due, in one round.

        What the settings have no room for raises ConfigError at the start, and is told like anything else later.
        """
        due = [wanted for wanted in self._wanted.values() if wanted.due <= self._now()]
        slugs = [wanted.name for wanted in due if not wanted.is_token]
        tokens = [wanted.name for wanted in due if wanted.is_token]
        async with asyncio.TaskGroup() as group:
            rounds = [group.create_task(gamma.markets(slugs)), group.create_task(gamma.markets_of_tokens(tokens))]
        answers = rounds[0].result() | rounds[1].result()
        for wanted in due:
            answer = answers[wanted.name]
            try:
                if isinstance(answer, VenueError):
                    raise answer
                self.add_found(answer)
            except (VenueError, ConfigError) as error:
                if starting and isinstance(error, ConfigError):
                    raise
                self._put_off(wanted, error)
        self._changed()

    def _put_off(self, wanted: Wanted, error: VenueError | ConfigError) -> None:
        wanted.attempts += 1
        wanted.trouble = str(error)
        wish = getattr(error, "retry_after", None) or 0.0
        away = isinstance(error, VenueUnavailable)
        wanted.due = self._now() + (max(wish, self._jitter.seconds(wanted.attempts)) if away else RETRY_UNKNOWN)
        self._teller.warn("look-up", str(error))

    async def run(self, gamma: Gamma) -> None:
        """Look up what is wanted until nothing is any more."""
        while self._wanted:
            rest = min(wanted.due for wanted in self._wanted.values()) - self._now()
            if rest > 0:
                await asyncio.sleep(rest)
            await self.look_up(gamma)
