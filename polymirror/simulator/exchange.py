"""The simulated exchange: markets that trade, the frames they send, and the truth to compare with.

Pure: time comes in as integer Unix milliseconds, randomness from the seed. Call :meth:`Exchange.step`
with a later time, at the latest at :meth:`Exchange.next_event_ms`, and it returns everything the
venue sent until then, in order. Sessions decide who receives what, faults what goes wrong on the
way. Habits (what is sent when) follow recordings and published measurements of the venue.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from polymirror.errors import UnknownToken
from polymirror.simulator.agenda import Agenda, Output
from polymirror.simulator.catalogue import announcement, list_markets
from polymirror.simulator.endings import end_market
from polymirror.simulator.history import digest
from polymirror.simulator.market import Ending, Levels, Market, Phase
from polymirror.simulator.settings import ExchangeConfig
from polymirror.simulator.trading import Trading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.fault_base import Fault


class Exchange:
    """Some markets, a clock that only :meth:`step` moves, and the truth about every book."""

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        self.config = config or ExchangeConfig()
        self.now_ms = self.config.start_ms
        # Grows with every market that is over, so that sessions look at it instead of at all markets.
        self.over_count = 0
        # What the venue's clock is ahead of the true time: everything it states is off by this much.
        self.clock_offset_ms = 0
        # Until when nothing trades, and until when nothing is taken, only placed and withdrawn.
        self.paused_until_ms = 0
        self.post_only_until_ms = 0
        # Faults that may let a hash contain the next change already.
        self.late_hashes: list[Fault] = []
        self._rng = random.Random(self.config.seed)
        self.markets = list_markets(self.config, self._rng)
        self._by_token = {token: (m, index) for m in self.markets for index, token in enumerate(m.tokens)}
        self._by_condition = {m.condition_id: m for m in self.markets}
        self._by_slug = {m.slug: m for m in self.markets}
        self.agenda = Agenda()
        self._trading = Trading(self, self._rng)
        for market in self.markets:
            self._open(market)
        if self.config.new_market_every_ms is not None:
            self.agenda.add(self.now_ms + self._announcement_gap(), self._announce_market)

    # Time.

    def next_event_ms(self) -> int | None:
        """When something happens next, in Unix milliseconds; ``None``: never again."""
        return self.agenda.next_ms()

    def step(self, now_ms: int) -> Output:
        """Let everything up to and including ``now_ms`` happen; return what was sent, in order.

        A time before the last one is taken as the last one.
        """
        out: Output = []
        self.agenda.run(now_ms, out)
        self.now_ms = max(self.now_ms, now_ms)
        return out

    def stated_ms(self) -> int:
        """What the venue's own clock shows."""
        return self.now_ms + self.clock_offset_ms

    # The truth.

    @property
    def tokens(self) -> tuple[str, ...]:
        """All asset ids, the two of a market next to each other."""
        return tuple(token for market in self.markets for token in market.tokens)

    @property
    def slugs(self) -> tuple[str, ...]:
        """The slugs of all markets."""
        return tuple(self._by_slug)

    def truth(self, token: str) -> tuple[Levels, Levels]:
        """The book as it is now: bids and asks as (price, size) in wire units, best first.

        Raises :class:`~polymirror.errors.UnknownToken` for a token of no market.
        """
        market, index = self._find(token)
        return market.levels(index)

    def was_true(
        self, token: str, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], since_ms: int
    ) -> bool:
        """Whether the book had exactly these levels at any time from ``since_ms`` until now.

        The state in force at ``since_ms`` is included. Every sent message makes a state, those
        inside a batch too. States that ended more than ``history_ms`` ago are forgotten, hence
        false. Raises :class:`~polymirror.errors.UnknownToken` for a token of no market.
        """
        return self.was_digest_true(token, digest(bids, asks), since_ms)

    def was_digest_true(self, token: str, state: tuple[int, int], since_ms: int) -> bool:
        """As :meth:`was_true`, for levels that :func:`polymirror.simulator.history.digest` summed."""
        market, index = self._find(token)
        return market.was(index, state, since_ms)

    def is_resolved(self, token: str) -> bool:
        """Whether the token's market is settled: it has no order book any more."""
        return self._find(token)[0].phase is Phase.RESOLVED

    def is_over(self, token: str) -> bool:
        """Whether the token's market is settled and its connections may be closed."""
        return self._find(token)[0].over

    def knows(self, token: str) -> bool:
        """Whether the token belongs to a market of this exchange, settled or not."""
        return token in self._by_token

    def market_of(self, token: str) -> Market:
        """The market of a token; raises :class:`~polymirror.errors.UnknownToken`."""
        return self._find(token)[0]

    def market_by_slug(self, slug: str) -> Market | None:
        """The market with this slug, if there is one."""
        return self._by_slug.get(slug)

    def market_by_condition(self, condition_id: str) -> Market | None:
        """The market with this condition id, if there is one."""
        return self._by_condition.get(condition_id)

    # What clients ask for.

    def opening_books(self, tokens: Iterable[str]) -> str:
        """The array that answers a subscription; unknown and settled tokens are left out silently."""
        found = (self._by_token[token] for token in tokens if token in self._by_token)
        books = [m.opening_book(index) for m, index in found if m.phase is not Phase.RESOLVED]
        return f"[{','.join(books)}]\n"

    def rest_book(self, token: str) -> str | None:
        """The REST form of a book; ``None`` when the token is unknown or settled."""
        known = self._by_token.get(token)
        if known is None or known[0].phase is Phase.RESOLVED:
            return None
        return known[0].rest_book(known[1])

    # What may be made to happen.

    def settle(
        self, slug: str | None = None, *, resolve_delay_ms: int | None = None, ending: Ending | None = None
    ) -> None:
        """Let the market with this slug (all of them without one) end now, as at its appointed time.

        ``ending`` says how, ``resolve_delay_ms`` only how long after its book is empty it is resolved
        (default: as configured).
        """
        for market in self.markets:
            if slug is None or market.slug == slug:
                how = ending or self._usual_ending(resolve_delay_ms)
                self.agenda.add(self.now_ms, partial(end_market, self, market, how))

    def change_tick(self, market: Market, tick: int, at_ms: int, out: Output, *, announced: bool = True) -> None:
        """Give a market another price grid, in 1/10,000, with or without saying so."""
        old, market.tick = market.tick, tick
        if announced:
            self.announce_tick(market, old, tick, at_ms, out)

    def announce_tick(self, market: Market, old: int, new: int, at_ms: int, out: Output) -> None:
        """Send the event of a changed price grid for both tokens, whether there was a change or not."""
        stated_ms = at_ms + self.clock_offset_ms
        out += [market.tick_frame(index, stated_ms, old, new) for index in (0, 1)]

    # Events.

    def _find(self, token: str) -> tuple[Market, int]:
        try:
            return self._by_token[token]
        except KeyError:
            raise UnknownToken(token) from None

    def _usual_ending(self, resolve_delay_ms: int | None = None) -> Ending:
        config = self.config
        return Ending(
            resolve_delay_ms=config.resolve_delay_ms if resolve_delay_ms is None else resolve_delay_ms,
            announced=config.announce_resolution,
            closes=config.close_when_resolved,
        )

    def _open(self, market: Market) -> None:
        config, agenda = self.config, self.agenda
        market.begin(market.flow.seed(market.tick), self.now_ms)
        market.trade = partial(self._trading.next_batch, market)
        agenda.add(self.now_ms + market.flow.next_delay_ms(), market.trade)
        if config.settle_after_ms is not None:
            end_ms = config.start_ms + config.settle_after_ms
            agenda.add(end_ms, partial(end_market, self, market, self._usual_ending()))

    def _announcement_gap(self) -> int:
        return max(1, round(self._rng.expovariate(1 / (self.config.new_market_every_ms or 1_000))))

    def _announce_market(self, at_ms: int, out: Output) -> None:
        out.append(announcement(self._rng, at_ms + self.clock_offset_ms))
        self.agenda.add(at_ms + self._announcement_gap(), self._announce_market)
