"""The simulated exchange: markets that trade, the frames they send, and the truth to compare with.

Pure: time comes in as integer Unix milliseconds, randomness from the seed. Call :meth:`Exchange.step`
with a later time, at the latest at :meth:`Exchange.next_event_ms`, and it returns everything the
venue sent until then, in order. Sessions decide who receives what, faults what goes wrong on the
way. Habits (what is sent when) follow recordings and published measurements of the venue.
"""

from __future__ import annotations

import random
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from polymirror.errors import UnknownToken
from polymirror.simulator.catalogue import announcement, list_markets, resolution
from polymirror.simulator.flow import COARSE_TICK, FINE_TICK, Change, Group, Trade
from polymirror.simulator.frames import Frame
from polymirror.simulator.history import digest
from polymirror.simulator.market import Levels, Market, Phase
from polymirror.simulator.settings import ExchangeConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FINE_ABOVE = 9_600
"""A market whose price passes 0.96 (or 0.04) gets the finer grid."""

SELL_FIRST_SHARE = 0.03
"""The share of price changes that list the selling entry first."""

MAX_PRINT_DELAY_MS = 30
MAX_TICK_DELAY_MS = 20
EMPTYING_PER_MS = 25
"""How many levels of a settled book are removed in one millisecond."""

Output = list[Frame]


class Exchange:
    """Some markets, a clock that only :meth:`step` moves, and the truth about every book."""

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        self.config = config or ExchangeConfig()
        self.now_ms = self.config.start_ms
        # Grows with every resolved market, so that sessions look at it instead of at all markets.
        self.resolved_count = 0
        self._rng = random.Random(self.config.seed)
        self.markets = list_markets(self.config, self._rng)
        self._by_token = {token: (m, index) for m in self.markets for index, token in enumerate(m.tokens)}
        self._by_condition = {m.condition_id: m for m in self.markets}
        self._by_slug = {m.slug: m for m in self.markets}
        # Events by time; the number keeps the order of those in the same millisecond.
        self._events: list[tuple[int, int, Callable[[int, Output], None]]] = []
        self._scheduled = 0
        for market in self.markets:
            self._open(market)
        if self.config.new_market_every_ms is not None:
            self._at(self.now_ms + self._announcement_gap(), self._announce_market)

    # Time.

    def next_event_ms(self) -> int | None:
        """When something happens next, in Unix milliseconds; ``None``: never again."""
        return self._events[0][0] if self._events else None

    def step(self, now_ms: int) -> Output:
        """Let everything up to and including ``now_ms`` happen; return what was sent, in order.

        A time before the last one is taken as the last one.
        """
        out: Output = []
        events = self._events
        while events and events[0][0] <= now_ms:
            at_ms, _, event = heappop(events)
            self.now_ms = max(self.now_ms, at_ms)
            event(at_ms, out)
        self.now_ms = max(self.now_ms, now_ms)
        return out

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
        market, index = self._find(token)
        return market.histories[index].was(digest(bids, asks), since_ms)

    def was_digest_true(self, token: str, state: tuple[int, int], since_ms: int) -> bool:
        """As :meth:`was_true`, for levels that :func:`polymirror.simulator.history.digest` summed."""
        market, index = self._find(token)
        return market.histories[index].was(state, since_ms)

    def is_resolved(self, token: str) -> bool:
        """Whether the token's market is settled: it has no order book any more."""
        return self._find(token)[0].phase is Phase.RESOLVED

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

    def settle(self, slug: str | None = None, *, resolve_delay_ms: int | None = None) -> None:
        """Let the market with this slug (all of them without one) end now, as at its appointed time.

        It is resolved ``resolve_delay_ms`` after its book is empty (default: as configured).
        """
        for market in self.markets:
            if slug is None or market.slug == slug:
                self._at(self.now_ms, partial(self._empty, market, resolve_delay_ms))

    # Events.

    def _find(self, token: str) -> tuple[Market, int]:
        try:
            return self._by_token[token]
        except KeyError:
            raise UnknownToken(token) from None

    def _at(self, at_ms: int, event: Callable[[int, Output], None]) -> None:
        self._scheduled += 1
        heappush(self._events, (at_ms, self._scheduled, event))

    def _open(self, market: Market) -> None:
        market.begin(market.flow.seed(market.tick), self.now_ms)
        self._at(self.now_ms + market.flow.next_delay_ms(), partial(self._next_batch, market))
        if self.config.settle_after_ms is not None:
            self._at(self.config.start_ms + self.config.settle_after_ms, partial(self._empty, market, None))

    def _next_batch(self, market: Market, at_ms: int, out: Output) -> None:
        if market.phase is not Phase.TRADING:
            return
        group = market.planned or market.flow.next_group(market.ladders, market.tick, at_ms)
        market.planned = None
        next_ms = at_ms + market.flow.next_delay_ms()
        late = self._rng.random() < self.config.hash_one_change_late
        before = market.best(0)
        for change in group.changes:
            market.apply(change, at_ms)
        market.changed_ms = at_ms
        if group.trade is not None:
            self._note_trade(market, group.trade, at_ms, out)
        self._note_tick(market, at_ms, out)
        if late and group.trade is None:
            next_ms = at_ms + self._rng.randint(1, 2)
            hashes = self._hashes_after_next(market, at_ms, next_ms)
        else:
            hashes = (market.book_hash(0, at_ms), market.book_hash(1, at_ms))
        sell_first = self._rng.random() < SELL_FIRST_SHARE
        out += market.price_change_frames(group, at_ms, hashes, sell_first=sell_first)
        if group.trade is not None:
            out += (market.book_frame(index, at_ms, hashes[index]) for index in (0, 1))
        if group.trade is not None or market.best(0) != before:
            self._at(at_ms + 1, partial(self._announce_best, market))
        self._at(next_ms, partial(self._next_batch, market))

    def _hashes_after_next(self, market: Market, at_ms: int, next_ms: int) -> tuple[str, str]:
        """What the venue states when it hashes a moment too late: the next change is in already."""
        plan = market.flow.next_group(market.ladders, market.tick, next_ms)
        market.planned = plan
        if plan.trade is not None:
            return market.book_hash(0, at_ms), market.book_hash(1, at_ms)
        olds = [(c.side, c.price, market.ladders[c.side].set(c.price, c.size)) for c in plan.changes]
        hashes = market.book_hash(0, at_ms), market.book_hash(1, at_ms)
        for side, price, old in reversed(olds):
            market.ladders[side].set(price, old)
        return hashes

    def _note_trade(self, market: Market, trade: Trade, at_ms: int, out: Output) -> None:
        price = 10_000 - trade.price if trade.maker_mirrored else trade.price
        market.trade_price = f"{price / 10_000:.3f}"
        market.last_trade_side = "BUY" if trade.bought else "SELL"
        frame = partial(market.trade_frame, trade, transaction=f"0x{self._rng.getrandbits(256):064x}")
        if self.config.late_trade_price:
            delay = self._rng.randint(0, MAX_PRINT_DELAY_MS)
            self._at(at_ms + delay, lambda when, late: late.append(frame(at_ms=when)))
        else:
            out.append(frame(at_ms=at_ms))

    def _note_tick(self, market: Market, at_ms: int, out: Output) -> None:
        passed = max(market.ladders[0].best, market.ladders[1].best) > FINE_ABOVE
        if market.tick != COARSE_TICK or not passed:
            return
        market.tick = FINE_TICK
        delay = self._rng.randint(1, MAX_TICK_DELAY_MS) if self.config.late_tick_size else 0
        again = self._rng.random() < 0.5
        if delay:
            self._at(at_ms + delay, partial(self._announce_tick, market))
        else:
            self._announce_tick(market, at_ms, out)
        if again:
            self._at(at_ms + delay + self._rng.randint(1, 120), partial(self._announce_tick, market))

    def _announce_tick(self, market: Market, at_ms: int, out: Output) -> None:
        out += (market.tick_frame(index, at_ms, COARSE_TICK, FINE_TICK) for index in (0, 1))

    def _announce_best(self, market: Market, at_ms: int, out: Output) -> None:
        if market.phase is Phase.TRADING:
            out += (market.best_frame(index, at_ms) for index in (1, 0))

    def _announcement_gap(self) -> int:
        return max(1, round(self._rng.expovariate(1 / (self.config.new_market_every_ms or 1_000))))

    def _announce_market(self, at_ms: int, out: Output) -> None:
        out.append(announcement(self._rng, at_ms))
        self._at(at_ms + self._announcement_gap(), self._announce_market)

    def _empty(self, market: Market, delay_ms: int | None, at_ms: int, out: Output) -> None:
        """Remove some levels of a book that ended; come back in a millisecond until none is left."""
        emptied = not market.ladders[0].prices and not market.ladders[1].prices
        if market.phase is Phase.RESOLVED or (market.phase is Phase.CLOSING and emptied):
            return
        market.phase = Phase.CLOSING
        doomed = [Change(side, p, 0) for side in (0, 1) for p in reversed(market.ladders[side].prices)]
        group = Group(tuple(doomed[:EMPTYING_PER_MS]))
        for change in group.changes:
            market.apply(change, at_ms)
        market.changed_ms = at_ms
        hashes = market.book_hash(0, at_ms), market.book_hash(1, at_ms)
        out += market.price_change_frames(group, at_ms, hashes, sell_first=False)
        if len(doomed) > EMPTYING_PER_MS:
            self._at(at_ms + 1, partial(self._empty, market, delay_ms))
        else:
            delay = self.config.resolve_delay_ms if delay_ms is None else delay_ms
            self._at(at_ms + delay, partial(self._resolve, market))

    def _resolve(self, market: Market, at_ms: int, out: Output) -> None:
        if market.phase is Phase.RESOLVED:
            return
        market.phase = Phase.RESOLVED
        market.winner = 0 if market.flow.fair >= 5_000 else 1
        self.resolved_count += 1
        if self.config.announce_resolution:
            out.append(resolution(market, at_ms))
