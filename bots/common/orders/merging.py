"""Filled pairs become pUSD again: equal shares of both tokens are merged, and booked once the wallet shows it.

A merge is no order: it has no price and no counterpart, and doing it twice can only merge what is held. All the same
it is written down before it leaves, since a crash, or an answer that is lost, leaves open whether it happened. From
then on :class:`Merger` goes by the wallet alone: both tokens are fewer by what was to be merged, and so much more cash
is there; or nothing has changed for so long that it never happened. One merge is under way at a time, so that what
cash shows is of it. What is too little to be worth its cost, and what differs, waits for settlement.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from bots.common.errors import StateInvalid, TradingError
from bots.common.ledger.rows import ZERO, MergeBegun, columns, from_row
from bots.common.money.amounts import DUST, EXACT, MONEY_STEP
from bots.common.orders.order import Outcome
from bots.common.ranges import decimal_range

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from bots.common.execution.base import Venue
    from bots.common.ledger.account import Position
    from bots.common.ledger.ledger import Ledger
    from bots.common.ledger.rows import Merged
    from bots.common.orders.found import Wealth
    from bots.common.orders.reconcile import Reconciler
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

NEVER_CAME: Final = 120.0
"""Seconds after which a merge whose shares are all still there is taken not to have happened: the relayer gives up, and
lists are half a minute behind at worst."""

FIRST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 600.0
"""Seconds between two attempts in the same market; they double."""

LONGEST_LOOK: Final = 60.0
"""Seconds between two looks at a merge that has left; they double up to that."""

LONGEST_FAILED: Final = 15.0
"""Seconds until the next look, at most, after one that the venue did not answer: it has shown nothing."""

MOST_FAILED: Final = 3
"""So often looks that were not answered double the wait, all together: soon after the first answer comes a second."""

TELL_AFTER: Final = 600.0
"""Seconds after which a person is told, and the others wait for this one no longer."""


_BEGUN: Final = f"""
SELECT {", ".join(columns(MergeBegun))} FROM merges_begun AS begun
    WHERE seq = (SELECT max(seq) FROM merges_begun AS each WHERE each.market = begun.market)
    AND NOT EXISTS (SELECT 1 FROM merges WHERE merges.market = begun.market AND merges.seq > begun.seq)
"""  # noqa: S608 - our own names
"""The last merge that was begun in each market, where none was booked after it."""


@frozen(kw_only=True)
class MergeSettings:
    """When a pair is merged. Raises ConfigError, which names the field."""

    least: Decimal = field(default=Decimal(5), validator=decimal_range("0.01", "1000000", "shares"))
    """So many pairs of a market at least: what it costs to merge, a call to the relayer or gas, is the same for any."""


@define
class _Case:
    """One merge that has left, or may have left."""

    market: str
    token: str
    other: str
    shares: Decimal
    held: tuple[Decimal, Decimal]
    """What the wallet held of both before it."""
    since: float
    """When it left, monotonic."""
    again: float
    tries: int = 0
    told: bool = False


class Merger:
    """Merges, for one wallet. :meth:`look` is to be called every few seconds, by one task; :meth:`open` before."""

    def __init__(
        self,
        ledger: Ledger,
        venue: Venue,
        reconciler: Reconciler,
        network: Network,
        counts: Counter[str],
        settings: MergeSettings,
        on_merged: Callable[[Merged], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._account = ledger.account
        self._venue = venue
        self._reconciler = reconciler
        self._network = network
        self._counts = counts
        self._settings = settings
        self._on_merged = on_merged
        self._on_trouble = on_trouble
        self._cases: dict[str, _Case] = {}
        # When a market may be tried again, monotonic, and how often it was tried in vain.
        self._waits: dict[str, tuple[float, int]] = {}

    def is_pending(self, market: str) -> bool:
        """Whether a merge there has left of which it is not known whether it happened."""
        return market in self._cases

    @property
    def is_busy(self) -> bool:
        """Whether a merge is under way, or one is due that is certain and worth it."""
        return bool(self._cases) or any(self._due(lambda _market: False))

    @property
    def stuck(self) -> tuple[str, ...]:
        """Merges that are not seen for more than ten minutes, one line each."""
        late = self._network.monotonic() - TELL_AFTER
        return tuple(f"{each.market[:12]}: a merge is not seen" for each in self._cases.values() if each.since < late)

    async def open(self) -> None:
        """Find the merges of an earlier run that may have left."""
        now, now_ms = self._network.monotonic(), self._ledger.now_ms()
        for row in [from_row(MergeBegun, each) for each in await self._ledger.query(_BEGUN)]:
            age = min(max((now_ms - row.at_ms) / 1000, 0.0), NEVER_CAME)
            if row.token in self._account.positions and row.other in self._account.positions:
                held = row.held, row.other_held
                self._watch(_Case(row.market, row.token, row.other, row.shares, held, now - age, now))

    async def look(self, decided: Callable[[str], bool] = lambda _market: False) -> None:
        """See what became of merges, and begin the next one. Never raises for what the venue does.

        ``decided`` markets are left to their settlement, but for a merge that has left.
        """
        try:
            for case in tuple(self._cases.values()):
                if decided(case.market) and self._network.monotonic() > case.since + TELL_AFTER:
                    self._forget(case)  # its shares are paid for whoever has them
                elif self._network.monotonic() >= case.again:
                    await self._see(case)
            while not any(not each.told for each in self._cases.values()):
                pair = next(self._due(decided), None)
                if pair is None:
                    return
                await self._try(*pair)
        except (TradingError, StateInvalid, OSError) as error:
            # What was written down is looked at again; what was not, has not left.
            log.warning("pairs are merged later: %s", error)

    def _due(self, decided: Callable[[str], bool]) -> Iterator[tuple[Position, Position]]:
        """The pairs that are worth merging now, and certain."""
        markets: dict[str, list[Position]] = {}
        for each in self._account.positions.values():
            markets.setdefault(each.market, []).append(each)
        now = self._network.monotonic()
        for market, held in markets.items():
            if len(held) != 2 or min(each.shares for each in held) < self._settings.least:  # noqa: PLR2004 - a pair
                continue
            again, _ = self._waits.get(market, (now, 0))
            if now < again or market in self._cases or decided(market):
                continue
            if not any(self._account.undecided(each.token) or self._account.claimed(each.token) for each in held):
                yield held[0], held[1]

    async def _try(self, one: Position, other: Position) -> None:
        """Merge what both we and the wallet hold; if the wallet lacks as much of both, it was merged before."""
        market, now = one.market, self._network.monotonic()
        _, tries = self._waits.get(market, (0.0, 0))
        self._waits[market] = now + min(FIRST_WAIT * 2**tries, LONGEST_WAIT), min(tries + 1, 16)
        through = self._account.through
        wallet = (await self._venue.holdings()).positions
        if self._account.through != through:
            return  # something was booked meanwhile: the two are of different times
        held = wallet.get(one.token, ZERO), wallet.get(other.token, ZERO)
        lacks = EXACT.subtract(one.shares, held[0]), EXACT.subtract(other.shares, held[1])
        shares = min(one.shares, other.shares)
        if min(lacks) >= DUST and abs(lacks[0] - lacks[1]) < DUST:
            booked = one.shares, other.shares
            self._watch(_Case(market, one.token, other.token, min(*lacks, shares), booked, now, now))
            return
        if max(lacks) >= DUST:
            return  # its own affair of the reconciler
        shares = min(shares, *held)
        case = _Case(market, one.token, other.token, shares, held, now, now)
        # Before anything is waited for: from here on no order is begun there.
        self._watch(case)
        try:
            await self._ledger.begin_merge(market, one.token, other.token, shares, *held)
        except OSError:
            self._forget(case)  # it never leaves
            raise
        self._counts["merges"] += 1
        result = await self._venue.merge(market, one.token, other.token, shares)
        if result.outcome in {Outcome.REJECTED, Outcome.NO_MATCH}:
            log.warning("%s is merged later: %s %s", market[:12], result.outcome.value, result.detail)
            self._forget(case)
            return
        await self._see(case)

    async def _see(self, case: _Case) -> None:
        """Book a merge that the wallet shows, and forget one that never came."""
        now = self._network.monotonic()
        tries, wait = case.tries, FIRST_WAIT * 2**case.tries
        case.again, case.tries = now + min(wait, LONGEST_FAILED), max(tries, min(tries + 1, MOST_FAILED))
        wealth = await self._reconciler.wealth()
        case.again, case.tries = now + min(wait, LONGEST_LOOK), min(tries + 1, 16)
        tokens = case.token, case.other
        if not all(token in self._account.positions for token in tokens):
            self._forget(case)  # settled meanwhile
            return
        pairs = zip(tokens, case.held, strict=True)
        lacks = [EXACT.subtract(held, wealth.positions.get(token, ZERO)) for token, held in pairs]
        if min(lacks) > EXACT.subtract(case.shares, DUST) and self._is_paid(case, wealth):
            row = await self._ledger.merge(case.market, case.token, case.other, case.shares)
            self._forget(case)
            self._waits.pop(case.market, None)
            self._counts["merged"] += 1
            self._on_merged(row)
        elif max(lacks) < DUST and now >= case.since + NEVER_CAME:
            log.warning("the merge of %s in %s never happened", case.shares, case.market[:12])
            self._forget(case)
        elif now >= case.since + TELL_AFTER and not case.told:
            case.told = True
            gap = f"the wallet lacks {lacks[0]} and {lacks[1]} of its tokens, and cash is {wealth.gap} pUSD apart"
            self._on_trouble(f"a merge of {case.shares} in {case.market[:12]} is not seen: {gap}")

    def _is_paid(self, case: _Case, wealth: Wealth) -> bool:
        """Whether cash shows it. An order without a fate may have spent of it by now, but only later on in doubt."""
        if wealth.gap is None:
            return False
        waited = self._network.monotonic() - case.since
        gap = EXACT.add(wealth.gap, self._reconciler.owed) if waited > NEVER_CAME else wealth.gap
        return gap > EXACT.subtract(case.shares, MONEY_STEP)

    def _watch(self, case: _Case) -> None:
        self._cases[case.market] = case
        self._reconciler.merging.add(case.market)

    def _forget(self, case: _Case) -> None:
        self._cases.pop(case.market, None)
        self._reconciler.merging.discard(case.market)
