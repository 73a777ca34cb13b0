"""One market's engine: after each change of a book, is a pair worth it, and is anything held that has no counterpart?

What is held decides what is mended, not what this process remembers: a leg that was refused, one whose "no match" is
learned late, a trade that the chain failed and a restart all look the same here. Every way out is told.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from bots.common.ledger.lone import LoneBudget
from bots.common.ledger.rows import ZERO
from bots.common.money.amounts import EXACT, MONEY_STEP, ceil_to, floor_to
from bots.common.money.pairs import Cost, can_trade, prices_with_fee, size_pair
from bots.common.money.sizing import NoSize, SizeLimits, SizeRefusal
from bots.common.orders.intents import Group, Intent, Leg, Terms
from bots.common.orders.order import Outcome, Side, TimeInForce
from bots.pair_cost.strategy import Mend, PairSettings, Way, begin_alone, mend
from polymirror.core.units import price_to_decimal as price_of
from polymirror.errors import NotLive

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from bots.common.orders.intents import Sizing
    from bots.common.orders.manager import OrderManager
    from bots.common.orders.order import Order, Result
    from bots.supervisor.turns import Turns
    from polymirror.core.view import BookView
    from polymirror.mirror import Mirror
    from polymirror.venue.market import Market

LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at a market whose books do not change."""

LONGEST_WAIT: Final = 60.0
"""Seconds that a market waits after orders that traded nothing; they double from one."""

LEAST_E4: Final = 10_100
"""A purchase must cost a pUSD and a cent for rounding, in 1/10,000."""

_REFUSED: Final = {Cost.NO_OFFER: NoSize.NO_ASKS, Cost.TOO_SMALL: NoSize.TOO_SMALL}


@frozen(kw_only=True)
class Shared:
    """What the engines of all markets share."""

    settings: PairSettings
    mirror: Mirror
    manager: OrderManager
    turns: Turns
    counts: Counter[str]
    clock: Callable[[], float]
    """Monotonic seconds."""
    tell: Callable[[str], None]
    is_over: Callable[[], bool]
    """Whether no new pair is begun any more."""


class PairEngine:
    """Trades the pair of one market."""

    def __init__(self, market: Market, terms: Terms, shared: Shared) -> None:
        self.market = market
        self._terms = terms
        self._shared = shared
        first, second = market.token_ids
        self._tokens = first, second
        self._costs = prices_with_fee(terms.fee)
        self._limit_e8 = shared.settings.limit_e8
        self._alone = LoneBudget(shared.manager.account, shared.settings.max_one_legged)
        # Since when shares are held without a counterpart, monotonic; None while none are.
        self._alone_since: float | None = None
        self._way = Way.WAIT
        # When the next order may leave, and how many in a row have traded nothing.
        self._not_before = 0.0
        self._failures = 0

    async def run(self) -> None:
        """Look after each change and once a second, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_always(), name=f"{self.market.slug} clock")
            async for _ in self._shared.mirror.updates(*self._tokens):
                self.look()

    async def _look_always(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_AGAIN)

    @property
    def is_mending(self) -> bool:
        """Whether something is held without a counterpart, and the last word on it is not spoken."""
        return self._alone_since is not None and self._way is not Way.HOLD

    def heard(self, order: Order, result: Result) -> None:
        """Wait longer after each order that traded nothing."""
        if result.traded:
            self._failures = 0
            self._shared.counts["unwound"] += order.side is Side.SELL
            self._shared.counts["hedged"] += order.side is Side.BUY and order.tif is TimeInForce.FAK
        elif result.outcome is not Outcome.UNKNOWN:
            self._failures = min(self._failures + 1, 16)
            self._not_before = self._shared.clock() + min(2.0 ** (self._failures - 1), LONGEST_WAIT)

    def look(self) -> None:
        """Look at both tops; trade if a pair, or what is held, is worth it. It waits for nothing."""
        shared, uneven = self._shared, self._alone.uneven(*self._tokens)
        alone = abs(uneven) > shared.settings.hedge_tolerance
        if not alone:
            self._alone_since = None
        try:
            tops = shared.mirror.top(self._tokens[0]), shared.mirror.top(self._tokens[1])
        except NotLive:
            return
        asks = [0 if top.best_ask is None else top.best_ask.price_e4 for top in tops]
        if alone:
            which = 0 if uneven > 0 else 1
            bid, ask = tops[which].best_bid, asks[1 - which]
            # So little of the other token as nobody may buy is no way out.
            ask = ask if abs(uneven) * ask >= LEAST_E4 else 0
            self._mend(which, abs(uneven), 0 if bid is None else bid.price_e4, ask)
        elif can_trade(self._costs, self._limit_e8, *asks):
            self._begin(self._tokens, self.size_pair)
        elif shared.settings.sequential and (first := begin_alone(shared.settings, self._costs, *asks)) is not None:
            self._begin((self._tokens[first],), partial(self._size_first, asks[first]))

    def _begin(self, tokens: tuple[str, ...], size: Sizing) -> None:
        """Begin a pair, if it is this market's turn."""
        shared, market, now = self._shared, self.market.condition_id, self._shared.clock()
        if shared.is_over():
            return
        shared.counts["seen"] += 1
        # While the budget of what could be left alone is used up no new leg is risked.
        over = self._alone.is_used_up
        if now < self._not_before or over or shared.manager.is_taken(market):
            shared.counts["waits for its budget" if over else "waits"] += 1
            return
        if why := shared.turns.refuse(market, now, shared.manager.under_way):
            shared.counts[f"waits for its {why}"] += 1
        elif self._enter(tokens, size):
            shared.turns.take(market, now)

    def _enter(self, tokens: tuple[str, ...], size: Sizing, **more: Any) -> bool:
        guarded = self._alone.guard(self.market.condition_id, size)
        intent = Intent(terms=self._terms, tokens=tokens, size=guarded, **more)
        return self._shared.manager.enter(self._shared.mirror, intent)

    # ---- Sizes, on leased books ----------------------------------------------------------------------

    def size_pair(self, views: tuple[BookView, ...], limits: SizeLimits) -> Group | SizeRefusal:
        """Size both legs on the leased books."""
        first, second = views
        tick = first.tick_size_e4
        if tick is None or tick != second.tick_size_e4:
            return SizeRefusal(NoSize.NO_TICK, first.token[:12])
        left = self._shared.turns.left(self._shared.manager.account, self.market.condition_id)
        most = min(limits.max_money, left / 2, self._alone.room)
        here = self._shared.settings.limits(limits.min_shares, most)
        found = size_pair(here, self._costs, (first.levels, second.levels), tick)
        if isinstance(found, Cost):
            return SizeRefusal(_REFUSED.get(found, NoSize.TOO_DEAR), found.value)
        legs = tuple(
            Leg.buy(token, price_of(limit), Decimal(money).scaleb(-6), price_of(tick), self._terms.fee)
            for token, limit, money in zip(self._tokens, found.limits_e4, found.money_e6, strict=True)
        )
        # One leg may find nothing, and its counterpart then pay nothing.
        return Group(legs, max(leg.reserve for leg in legs))

    def _size_first(self, limit_e4: int, views: tuple[BookView, ...], limits: SizeLimits) -> Group | SizeRefusal:
        """One after the other: as much of the first token as may be held alone."""
        (view,), settings, price = views, self._shared.settings, price_of(limit_e4)
        money = floor_to(min(limits.max_money, self._alone.room, settings.max_shares * price), MONEY_STEP)
        if view.tick_size is None or money < max(limits.min_money, limits.min_shares * price):
            return SizeRefusal(NoSize.TOO_SMALL, f"{money} pUSD")
        leg = Leg.buy(view.token, price, money, view.tick_size, self._terms.fee)
        return Group((leg,), leg.reserve)

    # ---- Half a pair ---------------------------------------------------------------------------------

    def _mend(self, which: int, shares: Decimal, bid_e4: int, ask_e4: int) -> None:
        shared, now, market = self._shared, self._shared.clock(), self.market.condition_id
        if self._alone_since is None:
            self._alone_since, self._way = now, Way.WAIT
            shared.counts["one_legged"] += 1
            self._tell(f"{shares} {self.market.tokens[which].outcome} have no counterpart")
        if now < self._not_before or shared.manager.is_taken(market):
            return
        position = shared.manager.account.positions[self._tokens[which]]
        paid_e8 = int(EXACT.divide(position.cost, position.shares).scaleb(8))
        # The other half of the budget is for what is under way.
        over = self._alone.held > shared.settings.max_one_legged / 2
        waited = now - self._alone_since
        found = mend(shared.settings, self._costs, paid_e8, bid_e4, ask_e4, waited, over_budget=over)
        if found.way in {Way.HEDGE, Way.UNWIND}:
            self._not_before = now + LOOK_AGAIN
            token = self._tokens[which if found.way is Way.UNWIND else 1 - which]
            group = next((e.group_id for e in shared.manager.risk.entries if e.market == market and e.group_id), market)
            if not self._enter((token,), partial(self._size_mend, found, shares), tif=TimeInForce.FAK, group_id=group):
                found = Mend(Way.HOLD) if shared.settings.ladder_ends(waited) else Mend(Way.WAIT)
        if found.way is not self._way:
            self._way = found.way
            shared.counts["held alone"] += found.way is Way.HOLD
            if found.way is not Way.WAIT:
                self._tell(f"{shares} {self.market.tokens[which].outcome} without a counterpart: {found.way.value}")

    def _size_mend(
        self, found: Mend, shares: Decimal, views: tuple[BookView, ...], limits: SizeLimits
    ) -> Group | SizeRefusal:
        (view,), price = views, price_of(found.limit_e4)
        tick = view.tick_size
        if tick is None:
            return SizeRefusal(NoSize.NO_TICK, view.token[:12])
        if found.way is Way.UNWIND:
            return Group((Leg.sell(view.token, floor_to(price, tick), shares, tick),), ZERO)
        price = ceil_to(price, tick)
        money = floor_to(EXACT.multiply(shares, price), MONEY_STEP)
        if money < limits.min_money:
            return SizeRefusal(NoSize.TOO_SMALL, f"{money} pUSD")
        leg = Leg.buy(view.token, price, money, tick, self._terms.fee)
        return Group((leg,), leg.reserve)

    def _tell(self, text: str) -> None:
        self._shared.tell(f"{self.market.slug}: {text}")
