"""The simulated exchange: markets that trade, the frames they send, and the truth to compare with.

Pure: time comes in as integer Unix milliseconds, randomness from the seed. Call :meth:`Exchange.step`
with a later time, at the latest at :meth:`Exchange.next_event_ms`, and it returns everything the
venue sent until then, in order. Sessions decide who receives what, faults what goes wrong on the
way. Habits (what is sent when) follow recordings and published measurements of the venue.
"""

from __future__ import annotations

import math
import random
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

from attrs import evolve

from polymirror.errors import ConfigError, UnknownToken
from polymirror.simulator.exchange.dislocations import Dislocations
from polymirror.simulator.exchange.endings import end_market
from polymirror.simulator.exchange.floor import Floor
from polymirror.simulator.exchange.history import digest_of
from polymirror.simulator.exchange.kinds import list_kinds
from polymirror.simulator.exchange.listings import announcement, list_markets, listing
from polymirror.simulator.exchange.market import Ending, Levels, Market, Phase
from polymirror.simulator.exchange.matching import TakerOrder, Taking, crosses
from polymirror.simulator.exchange.oracle import PriceProcess
from polymirror.simulator.exchange.rounds import Rounds
from polymirror.simulator.exchange.script import check_tick, read_sides
from polymirror.simulator.exchange.trading import Trading
from polymirror.simulator.settings import START_PRICES, ExchangeConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.history import Level, Read
    from polymirror.simulator.exchange.queue import Resting
    from polymirror.simulator.exchange.round import Round
    from polymirror.simulator.settings import PairsConfig


class Exchange(Floor):
    """Some markets, a clock that only :meth:`step` moves, and the truth about every book."""

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        super().__init__(config or ExchangeConfig())
        # What was sent and not handed out yet: the events of a step, and what a taker did between two steps.
        self._unsent: Output = []
        self._rng = random.Random(self.config.seed)
        # The prices that decide rounds, and the rounds; without rounds nothing depends on the prices.
        self.oracle: PriceProcess = _oracle(self.config)
        self.rounds: Rounds | None = self._make_rounds()
        self.markets: tuple[Market, ...] = ()
        self._by_token: dict[str, tuple[Market, int]] = {}
        self._by_condition: dict[str, Market] = {}
        self._by_slug: dict[str, Market] = {}
        self._listed = 0
        self._trading = Trading(self, self._rng)
        # What befalls the pairs of tokens, if the configuration asks for it.
        self.dislocations: Dislocations | None = self._make_dislocations()
        if self.config.pairs is not None:
            self._list_kinds(self.config.pairs, self.config.markets, self.now_ms)
        elif self.rounds is None:
            self.add_markets(list_markets(self.config, self._rng), self.now_ms)
        else:
            self.rounds.begin()
        if self.config.new_market_every_ms is not None:
            self.agenda.add(self.now_ms + self._announcement_gap(), self._announce_market)

    # Time.

    def next_event_ms(self) -> int | None:
        """When something happens next, in Unix milliseconds; ``None``: never again."""
        return self.now_ms if self._unsent else self.agenda.next_ms()

    def step(self, now_ms: int) -> Output:
        """Let everything up to and including ``now_ms`` happen; return what was sent, in order.

        A time before the last one is taken as the last one.
        """
        self.agenda.run(now_ms, self._unsent)
        out, self._unsent = self._unsent, []
        self.now_ms = max(self.now_ms, now_ms)
        return out

    # The truth.

    @property
    def tokens(self) -> tuple[str, ...]:
        """All asset ids, the two of a market next to each other; of rounds those that can be looked up."""
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

    def was_true(self, token: str, bids: Iterable[Level], asks: Iterable[Level], since_ms: int) -> bool:
        """Whether the book had exactly these levels, those of a view, at any time from ``since_ms`` until now.

        The state in force at ``since_ms`` is included. Every sent message makes a state, those
        inside a batch too. States that ended more than ``history_ms`` ago are forgotten, hence
        false. Raises :class:`~polymirror.errors.UnknownToken` for a token of no market.
        """
        return self.was_digest_true(token, digest_of(bids, asks), since_ms)

    def confirms(self, view: Read, slack: float = 0.0, *, now_ms: int | None = None) -> bool:
        """Whether a granted read is right: whether the book was that no longer ago than the view's own age, and a bit.

        ``slack`` is that bit in seconds, for the way of what proved it. ``now_ms`` is when it was read, by the venue's
        clock; default: the last :meth:`step`. Never true of an infinite age or a token of no market.
        """
        age = view.verified_age + slack
        if not math.isfinite(age) or not self.knows(view.token):
            return False
        since_ms = (self.now_ms if now_ms is None else now_ms) - math.ceil(age * 1_000)
        return self.was_true(view.token, view.bids, view.asks, since_ms)

    def was_digest_true(self, token: str, state: tuple[int, int], since_ms: int) -> bool:
        """As :meth:`was_true`, for levels that :func:`polymirror.simulator.exchange.history.digest` summed."""
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

    def round_of(self, condition_id: str) -> Round | None:
        """The round behind a market, also long after it was settled; ``None`` when there is none."""
        return None if self.rounds is None else self.rounds.known.get(condition_id)

    def outcome(self, condition_id: str) -> str | None:
        """The token that pays, once the market is resolved; of a round also when its market is gone."""
        known = self.round_of(condition_id)
        if known is not None:
            return known.winner if known.resolved else None
        market = self._by_condition.get(condition_id)
        return None if market is None or market.winner is None else market.tokens[market.winner]

    def payouts(self, condition_id: str) -> tuple[int, int] | None:
        """What the two tokens of a market pay, in proportion, once it is resolved: (1, 0), (0, 1), (1, 1) ..."""
        known = self.round_of(condition_id)
        if known is not None:
            return known.payouts if known.resolved else None
        market = self._by_condition.get(condition_id)
        return None if market is None else market.payouts

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

    def take(
        self,
        token: str,
        side: Literal["BUY", "SELL"],
        limit_price: int,
        shares: int,
        at_ms: int,
        *,
        all_or_nothing: bool,
    ) -> list[tuple[int, int]]:
        """Match a taker's order against the makers at ``at_ms``; return its fills as (price, shares), best first.

        ``limit_price`` is the worst acceptable price of the token in 1/10,000, ``shares`` and the sizes
        returned are in 1/1,000,000. With ``all_or_nothing`` (FOK) less than all of it is none of it; without
        (FAK) the rest is dropped. Everything up to ``at_ms`` happens first, and a time in the past means now;
        the next :meth:`step` returns what was sent meanwhile and what this trade broadcasts. The book shows
        orders for the other token in the mirror, so they are matched too. No fill while the market is not
        trading, the engine is away, or orders are only placed (post-only). Raises
        :class:`~polymirror.errors.UnknownToken` for a token of no market.
        """
        order = TakerOrder(buys=side == "BUY", limit=limit_price, size=shares, all_or_nothing=all_or_nothing)
        return [(deal.price, deal.size) for deal in self.match(token, order, at_ms).deals]

    def match(self, token: str, order: TakerOrder, at_ms: int, *, rest: Resting | None = None) -> Taking:
        """As :meth:`take`, with all that is known of each match. What is left of ``rest`` joins the book."""
        market, index = self._find(token)
        now_ms = self.advance(at_ms)
        if not self.takes_orders(market, now_ms):
            return Taking(index, order.buys, ())
        if rest is not None and self.dislocations is not None:
            self.dislocations.end(market, now_ms, self._unsent)
        return self._trading.take(market, index, order, now_ms, self._unsent, rest=rest)

    def rest(self, token: str, resting: Resting, at_ms: int) -> None:
        """Let an account's order that crosses nothing join the book, which is broadcast with the next step."""
        market, _ = self._find(token)
        now_ms = self.advance(at_ms)
        if self.dislocations is not None:
            self.dislocations.end(market, now_ms, self._unsent)
        self._trading.rest(market, resting, now_ms, self._unsent)

    def withdraw(self, token: str, orders: Iterable[Resting], at_ms: int) -> None:
        """Take orders of accounts out of the book of this token's market, in one batch."""
        market, _ = self._find(token)
        self._trading.withdraw(market, orders, self.advance(at_ms), self._unsent)

    def set_book(
        self,
        token: str,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        at_ms: int,
        *,
        tick: int | None = None,
    ) -> None:
        """Let the order flow have exactly these levels from ``at_ms`` on, and leave the market alone afterwards.

        Levels are (price in 1/10,000, size in 1/1,000,000), in any order; the other token's book is their mirror
        image. ``tick`` gives the market another price grid first. Orders of accounts stay; those that the new levels
        cross are matched. One batch of price changes, which the next step broadcasts. Raises
        :class:`~polymirror.errors.ConfigError` for levels that no book has or a market that does not trade, and
        :class:`~polymirror.errors.UnknownToken`.
        """
        market, index = self._find(token)
        if market.phase is not Phase.TRADING:
            raise ConfigError("token", token, f"of a market that trades, and {market.slug} is {market.phase.value}")
        grid = market.tick if tick is None else check_tick(tick)
        wanted = read_sides(index, bids, asks, grid)
        now_ms = self.advance(at_ms)
        if grid != market.tick:
            self.change_tick(market, grid, now_ms, self._unsent)
        self._trading.script(market, wanted, now_ms, self._unsent)

    def crosses(self, token: str, *, buys: bool, price: int) -> bool:
        """Whether an order at this price, in 1/10,000, would be matched now, at least in part."""
        market, index = self._find(token)
        return crosses(market, index, buys=buys, price=price)

    def takes_orders(self, market: Market, at_ms: int) -> bool:
        """Whether orders are matched at this time: the market trades, the engine is there, and not post-only."""
        return market.phase is Phase.TRADING and at_ms >= max(self.paused_until_ms, self.post_only_until_ms)

    def advance(self, at_ms: int) -> int:
        """Let everything up to this time happen, for the next :meth:`step` to return; a time in the past means now."""
        # An event of the agenda may call this: then the agenda is at its time already, the exchange not yet.
        now_ms = max(self.now_ms, self.agenda.at_ms)
        if at_ms > now_ms:
            self.agenda.run(at_ms, self._unsent)
            now_ms = at_ms
            self.now_ms: int = at_ms
        return now_ms

    def add_markets(self, markets: Sequence[Market], at_ms: int) -> None:
        """Let markets come into being and trade from now on."""
        if self.markets:
            # What is hashed is a matter of the venue, not of a market.
            for market in markets:
                market.hashed_keys = self.markets[0].hashed_keys
        self.markets += tuple(markets)
        self._by_token |= {token: (m, index) for m in markets for index, token in enumerate(m.tokens)}
        self._by_condition |= {m.condition_id: m for m in markets}
        self._by_slug |= {m.slug: m for m in markets}
        for market in markets:
            self._open(market, at_ms)

    def remove_market(self, market: Market) -> None:
        """Forget a market: from now on it is as unknown as one that never was."""
        self.markets = tuple(each for each in self.markets if each is not market)
        for token in market.tokens:
            self._by_token.pop(token, None)
        self._by_condition.pop(market.condition_id, None)
        if self._by_slug.get(market.slug) is market:
            del self._by_slug[market.slug]

    def settle(
        self,
        slug: str | None = None,
        *,
        resolve_delay_ms: int | None = None,
        ending: Ending | None = None,
        payouts: tuple[int, int] | None = None,
    ) -> None:
        """Let the market with this slug (all of them without one) end now, as at its appointed time.

        ``ending`` says how, ``resolve_delay_ms`` only how long after its book is empty it is resolved
        (default: as configured), ``payouts`` only what the two tokens pay, such as (1, 1) for 50/50.
        """
        for market in self.markets:
            if slug is None or market.slug == slug:
                how = ending or self.usual_ending(resolve_delay_ms)
                how = how if payouts is None else evolve(how, payouts=payouts)
                self.agenda.add(self.now_ms, partial(end_market, self, market, how))

    # Events.

    def _make_rounds(self) -> Rounds | None:
        """The rounds, if the configuration asks for them; they list and forget markets here."""
        config = self.config.rounds
        if config is None:
            return None
        rounds = Rounds(self, config, self.oracle, opens=self.add_markets, forgets=self.remove_market)
        self.resolve_round: Callable[[Market, int], None] | None = rounds.resolve
        return rounds

    def _make_dislocations(self) -> Dislocations | None:
        pairs = self.config.pairs
        if pairs is None:
            return None
        if self.rounds is not None:
            raise ConfigError("pairs", "set", "not set together with rounds")
        rng = random.Random(f"{self.config.seed}/dislocations")
        return Dislocations(self, self._trading, pairs, rng)

    def _list_kinds(self, pairs: PairsConfig, count: int, at_ms: int) -> list[Market]:
        """List markets of many kinds, each with its end, and put down when the next one comes."""
        markets = list_kinds(self.config, pairs, self._listed, count, at_ms)
        self._listed += count
        self.add_markets(markets, at_ms)
        for market in markets:
            self.agenda.add(market.window_end_ms, partial(end_market, self, market, self.usual_ending()))
        if pairs.listed_every_s:
            wait_ms = 1 + round(self._rng.expovariate(1 / (pairs.listed_every_s * 1_000)))
            self.agenda.add(at_ms + wait_ms, partial(self._list_another, pairs))
        return markets

    def _list_another(self, pairs: PairsConfig, at_ms: int, out: Output) -> None:
        out += [listing(market, at_ms + self.clock_offset_ms) for market in self._list_kinds(pairs, 1, at_ms)]

    def _find(self, token: str) -> tuple[Market, int]:
        try:
            return self._by_token[token]
        except KeyError:
            raise UnknownToken(token) from None

    def _open(self, market: Market, at_ms: int) -> None:
        config, agenda = self.config, self.agenda
        market.begin(market.flow.seed(market.tick), at_ms)
        market.trade = partial(self._trading.next_batch, market)
        agenda.add(at_ms + market.flow.next_delay_ms(), market.trade)
        if self.dislocations is not None:
            self.dislocations.follow(market, at_ms)
        if config.settle_after_ms is not None and market.round is None:
            end_ms = config.start_ms + config.settle_after_ms
            agenda.add(end_ms, partial(end_market, self, market, self.usual_ending()))

    def _announcement_gap(self) -> int:
        return max(1, round(self._rng.expovariate(1 / (self.config.new_market_every_ms or 1_000))))

    def _announce_market(self, at_ms: int, out: Output) -> None:
        out.append(announcement(self._rng, at_ms + self.clock_offset_ms))
        self.agenda.add(at_ms + self._announcement_gap(), self._announce_market)


def _oracle(config: ExchangeConfig) -> PriceProcess:
    """The prices of all usual assets and of those that have rounds."""
    assets = START_PRICES if config.rounds is None else (*START_PRICES, *config.rounds.assets)
    prices = {asset: Decimal(100) for asset in assets} | dict(START_PRICES) | dict(config.oracle.start_prices)
    return PriceProcess(config.seed, prices, start_ms=config.start_ms, config=config.oracle)
