"""The books held against the venue's: at the start, before any trade, and every minute while a bot runs.

:class:`Reconciler` reads the venue's trades, positions and balance. Trades confirm what was claimed, or take it back
when they failed on the chain. What else differs, three times in a row, is told, kept in the ledger and left as it is:
no number of ours is changed because somebody's list says something else. The one exception are shares that are gone
and whose trades say so, too: somebody sold them. What the wallet holds that we never ordered is named once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from bots.common.errors import BadCredentials, StateInvalid, TradingError
from bots.common.execution.base import ChainStatus
from bots.common.execution.fates import account as account_for
from bots.common.execution.fates import beyond, could_be
from bots.common.ledger.rows import ZERO
from bots.common.money.amounts import DUST, EXACT, MONEY_STEP, MONEY_UNIT
from bots.common.orders.found import Lately, Reconciled, Wealth, bought, lacking_pairs, part
from bots.common.orders.order import Outcome, Result, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from bots.common.execution.base import Holdings, Trade, Venue
    from bots.common.ledger.account import Claim, Position
    from bots.common.ledger.ledger import Ledger
    from bots.common.ledger.rows import Begun
    from bots.common.orders.order import Order
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

MARGIN_MS: Final = 86_400_000
"""Trades are asked for from so long before the oldest order that traded and is not final: clocks step."""

RECENT_MS: Final = 900_000
"""The same while there is none."""

STEADY: Final = 3
STEADY_FOR: Final = 40.0
"""So many looks in a row, over so many seconds, must show the same difference before it is one: lists lag."""

SILENT_FOR: Final = 240.0
"""Seconds after which nothing is bought until the venue tells its books again. Its restarts take 90 s and up to two
minutes more (protocol.md 3)."""

STUCK_MS: Final = 600_000
"""A trade that the chain has not confirmed after so long is told."""

MAX_NAMED: Final = 4_096

MISSING: Final = "missing pUSD"
APART: Final = "pUSD by the chain"

_FINAL: Final = frozenset({ChainStatus.CONFIRMED, ChainStatus.FAILED})


@frozen(kw_only=True)
class Patience:
    """How long a start waits for clear answers. All in seconds."""

    quiet: float = 5.0
    """An order is looked up no earlier than this after it was begun: it may still have been on its way."""
    pause: float = 2.0
    """Between two attempts."""
    look_for: float = 3.0
    """So long an order is looked up at the start: other markets do not wait for it, it is looked up on and on later."""
    attempts: int = 4
    """So many readings of what is held."""


@frozen
class _Seen:
    """A difference, and in how many looks in a row it was the same."""

    value: Decimal
    since: float
    times: int = 1
    told: bool = False


class Reconciler:
    """Looks, for one wallet. ``tell`` is told what a person must know."""

    def __init__(
        self,
        ledger: Ledger,
        venue: Venue,
        network: Network,
        tell: Callable[[str], None] = lambda _text: None,
        patience: Patience | None = None,
        stop: Callable[[str], None] = lambda _why: None,
        seen: Callable[[Collection[str]], None] = lambda _strange: None,
    ) -> None:
        self.decided, self.merging = set[str](), set[str]()
        """Markets that are being settled, and those in which a merge has left: their shares may go at any time."""
        self._ledger = ledger
        self._account = ledger.account
        self._venue = venue
        self._network = network
        self._tell = tell
        self.stop = stop
        """Told why nothing is to be bought any more."""
        # Told when cash is what it must be: see Risk.seen.
        self._clear = seen
        self._patience = Patience() if patience is None else patience
        # Trades before this, on the venue's clock, may be of a time before the ledger.
        self._since_ms = ledger.now_ms()
        self.looked_at = network.monotonic()
        """When the venue's books were read last, monotonic."""
        self.silent = ""
        """Why nothing is to be bought: the venue does not tell its books; empty while it does."""
        # How many rows ours had when all of the venue's agreed with them last.
        self._agreed = -1
        self._lately = Lately()
        # One look at a time: a person may ask for one while the bot is at its own.
        self._one = asyncio.Lock()
        # Differences of shares by token, and of pUSD under the empty name.
        self._seen: dict[str, _Seen] = {}
        # What was told once: foreign tokens and trades, and claims that are stuck. The oldest are forgotten.
        self._named: dict[str, None] = {}
        # Tokens in the wallet whose positions are over.
        self._over: set[str] = set()
        # Shares, by token, that were worth nothing and stay in the wallet.
        self._lost: dict[str, Decimal] = {}
        # Fills as the venue listed them last, by order, trade and number.
        self._fills: dict[tuple[str, str, int], Trade] = {}

    @property
    def differing(self) -> tuple[str, ...]:
        """What differs persistently: the tokens, and "pUSD"."""
        return tuple(token or "pUSD" for token, seen in self._seen.items() if seen.told)

    @property
    def unsure(self) -> bool:
        """Whether something differs that may be gone at the next look, or is booked and was not seen yet."""
        return bool(self._seen) or self._agreed != self._account.through

    # ---- The start -----------------------------------------------------------------------------------

    async def start(self) -> Reconciled:
        """Find out what an earlier run left. Raises TradingError when the venue does not tell what is held."""
        found = await self.resolve()
        for attempt in range(self._patience.attempts):
            if attempt:
                await asyncio.sleep(self._patience.pause)
            try:
                await self._look()
            except BadCredentials:
                raise
            except TradingError:
                if attempt == self._patience.attempts - 1:
                    raise
            else:
                if not self._seen and not self._account.claims:
                    break
        unresolved = tuple(begun.order for begun in self._account.open.values())
        return Reconciled(resolved=found, unresolved=unresolved)

    async def resolve(self) -> tuple[tuple[Order, Result], ...]:
        """Look up every order whose fate is unknown, side by side. Never raises for the venue."""
        begun = tuple(self._account.open.values())
        results = await asyncio.gather(*map(self._look_up, begun))
        for each, result in zip(begun, results, strict=True):
            await self._ledger.finish(each.order.client_id, result)
            self.judge_cost(each, result)
        return tuple((each.order, result) for each, result in zip(begun, results, strict=True) if result.decided)

    async def _look_up(self, begun: Begun) -> Result:
        young = begun.at_ms / 1000 + self._patience.quiet - self._network.wall()
        if young > 0:
            # A clock that was set back must not make us wait for ever.
            await asyncio.sleep(min(young, self._patience.quiet))
        name = self._account.name_of(begun.order.client_id)
        try:
            async with asyncio.timeout(self._patience.look_for):
                result = await self._venue.resolve(begun.order, name)
        except (TradingError, TimeoutError) as error:
            detail = str(error) or f"nothing showed it within {self._patience.look_for:g} s"
            result = Result(outcome=Outcome.UNKNOWN, detail=detail)
        return evolve(result, order_id=result.order_id or name)

    # ---- While it runs -------------------------------------------------------------------------------

    def judge_cost(self, begun: Begun, result: Result) -> None:
        """Stop buying after a purchase that cost more than was reserved: its stated fee or price was not true."""
        cost = EXACT.add(result.money, result.fee)
        if result.traded and begun.order.side is Side.BUY and cost > begun.reserve:
            stated = f"at most {begun.reserve} were reserved by the stated price and fee (rate {begun.order.fee.rate})"
            self.stop(f"order {begun.order.client_id} cost {cost} pUSD, fee {result.fee} included, and {stated}")

    async def check(self) -> None:
        """Look once. What the venue does not tell is looked for the next time."""
        why = ""
        try:
            await self._look()
        except (TradingError, StateInvalid, OSError) as error:
            why = f" ({error})"
            log.warning("the books could not be held against the venue's: %s", error)
        late = self._network.monotonic() - self.looked_at > SILENT_FOR
        if late and not self.silent:
            self.silent = f"the venue has not told its books for {SILENT_FOR / 60:g} minutes{why}"
            self._tell(f"{self.silent}: nothing is bought until it does")
        elif self.silent and not late:
            self.silent = ""
            self._tell("the venue tells its books again: buying goes on")

    async def confirm(self) -> None:
        """Read the venue's trades, and book what they say of those that are not confirmed. Raises TradingError."""
        async with self._one:
            if self._account.claims:
                await self._confirm(await self._trades())

    async def hints_at(self, order: Order) -> bool:
        """Whether trades are listed that an order without a fate may have made. Raises TradingError."""
        names = set(self._account.order_ids)
        return any(
            each.token == order.token and each.side is order.side and not each.failed and each.order_id not in names
            for each in await self._venue.trades(max(0, order.created_ms - MARGIN_MS))
            if could_be(order, each)
        )

    async def wealth(self, apart_from: str = "") -> Wealth:
        """Read what is owned. ``apart_from``: an open order that does not make the money unclear.

        Raises TradingError.
        """
        through = self._account.through
        held = await self._venue.holdings()
        known = self._account.through == through and await self._ledger.query("SELECT 1 FROM cash LIMIT 1")
        totals = self._account.totals
        return Wealth(
            positions=held.positions,
            gap=self._gap(held) if known else None,
            paid=EXACT.subtract(held.cash, EXACT.subtract(totals.cash, totals.payouts)),
            clear=not (self._account.claims or self._account.open.keys() - {apart_from}),
        )

    def _gap(self, held: Holdings) -> Decimal:
        totals = self._account.totals
        return EXACT.subtract(held.cash, EXACT.add(totals.moved, totals.cash))

    async def _look(self) -> None:
        async with self._one:
            await self._look_alone()

    async def _look_alone(self) -> None:
        trades = await self._trades()
        await self._confirm(trades)
        self._name_foreign(trades)
        through = self._account.through
        held = await self._venue.holdings()
        self.looked_at = self._network.monotonic()
        if self._account.through != through:
            return  # something was booked meanwhile: the two are of different times
        await self._compare(held)
        await self._judge(held)
        if not (self._account.open or self._account.claims or self.decided or self.merging):
            self._compare_words(held)
            await self._compare_cash(held)
            self._agreed = through

    async def _trades(self) -> Sequence[Trade]:
        # An order without a fate is looked up by itself: it may stay so for ever, and the list would grow with it.
        waiting = (claim.begun.at_ms - MARGIN_MS for claim in self._account.claims.values())
        since = min(waiting, default=self._ledger.now_ms() - RECENT_MS)
        return await self._venue.trades(max(0, since))

    # ---- Trades --------------------------------------------------------------------------------------

    async def _confirm(self, trades: Sequence[Trade]) -> None:
        by_order: dict[str, list[Trade]] = defaultdict(list)
        for trade in trades:
            by_order[trade.order_id].append(trade)
        for client_id, claim in tuple(self._account.claims.items()):
            # Its own memory of the name: the account forgets those of the oldest orders.
            name = claim.result.order_id or self._account.name_of(client_id)
            fills = by_order.get(name, []) if name else []
            if fills and name:
                await self._revise(client_id, claim, name, fills)
            if client_id in self._account.claims:
                self._tell_stuck(client_id, claim)
            else:
                self._forget(client_id)

    async def _revise(self, client_id: str, claim: Claim, name: str, fills: Sequence[Trade]) -> None:
        """Book what the list says of an order that traded: the chain's word, and numbers that differ from ours."""
        numbers: dict[str, int] = defaultdict(int)
        for fill in fills:
            key = (client_id, fill.id, numbers[fill.id])
            numbers[fill.id] += 1
            if self._fills.get(key) != fill:
                self._fills[key] = fill
                self._ledger.note_fill(client_id, fill, key[-1])
        order, before = claim.begun.order, claim.result
        result = account_for(order, name, fills, before.shares)
        if not result.decided:
            if beyond(order, fills) and self._first(f"beyond {client_id}"):
                self._tell(f"the trades of order {client_id} are {result.detail}")
            return
        same = (result.shares, result.money, result.fee) == (before.shares, before.money, before.fee)
        final = all(fill.status in _FINAL for fill in fills)
        if same and not final:
            return
        await self._ledger.finish(client_id, before if same else result, final=final)
        if not same:
            self.judge_cost(claim.begun, result)
            was = f"{before.shares} for {before.money}"
            self._tell(f"order {client_id} traded {result.shares} for {result.money} pUSD, not {was}: {result.detail}")

    def _tell_stuck(self, client_id: str, claim: Claim) -> None:
        if self._ledger.now_ms() - claim.begun.at_ms > STUCK_MS and self._first(f"stuck {client_id}"):
            self._tell(f"the chain has not confirmed what order {client_id} traded for ten minutes")

    def _forget(self, client_id: str) -> None:
        for key in [key for key in self._fills if key[0] == client_id]:
            del self._fills[key]

    def _name_foreign(self, trades: Iterable[Trade]) -> None:
        """Name trades that no order of ours made; one of an open order without a name could be its."""
        known = {*self._account.order_ids, *filter(None, map(self._account.name_of, self._account.open))}
        known |= {claim.result.order_id for claim in self._account.claims.values() if claim.result.order_id}
        open_tokens = {begun.order.token for begun in self._account.open.values()}
        for trade in trades:
            dead = self._account.untraded.get(trade.order_id)
            # What failed once has moved nothing, by whatever word a later list calls it.
            if dead and self._first(f"{trade.id} of {dead}") and not trade.failed:
                what = f"order {dead} was booked as one that traded nothing, and a trade of it is listed"
                self._tell(f"{what}: {trade.shares} shares, which are in no sum of ours")
                self._ledger.note_difference("trade", trade.market, trade.token, ZERO, trade.shares, what)
            if trade.order_id in known or trade.token in open_tokens or trade.at_ms < self._since_ms:
                continue
            if self._first(f"trade {trade.order_id}"):
                what = f"{trade.side.value} {trade.shares} of {trade.token[:12]} at {trade.price}"
                self._tell(f"a trade that is not ours: {what}, by order {trade.order_id[:18]}")
                self._ledger.note_difference("foreign trade", trade.market, trade.token, ZERO, trade.shares, what)

    # ---- Shares and pUSD -----------------------------------------------------------------------------

    async def _compare(self, held: Holdings) -> None:
        touched, moving = {"", MISSING, APART}, self.decided | self.merging
        for token, position in tuple(self._account.positions.items()):
            if self._account.undecided(token) or self._account.claimed(token) or position.market in moving:
                continue
            theirs = held.positions.get(token, ZERO)
            if abs(EXACT.subtract(position.shares, theirs)) >= DUST:
                touched.add(token)
                await self._differ(position, theirs)
            elif (seen := self._seen.get(token)) is not None and seen.told:
                self._tell(f"books agree again on {token[:12]}")
        known = self._account.positions.keys() | self._over
        strange = [token for token, shares in held.positions.items() if shares >= DUST and token not in known]
        strange = [each for each in strange if not self._account.undecided(each) and f"token {each}" not in self._named]
        if strange:
            # Whatever was bought and lost stays in the wallet for good: it is asked for at once, not token by token.
            over = await self._ledger.query("SELECT DISTINCT token FROM redemptions")
            self._over = {token for (token,) in over if token in held.positions}
        for token in strange:
            if token not in self._over:
                touched.add(f"token {token}")
                await self._name_holding(token, held.positions[token])
        # What was not seen this time begins anew.
        for name in self._seen.keys() - touched:
            del self._seen[name]

    async def _differ(self, position: Position, theirs: Decimal) -> None:
        token = position.token
        if not self._is_new(token, theirs):
            return
        detail = f"our books have {position.shares} shares of {token[:12]}, the venue says {theirs}"
        self._ledger.note_difference("shares", position.market, token, position.shares, theirs, detail)
        self._tell(f"books differ: {detail}")
        self.stop(detail)
        # All its trades: those of the last minutes alone may add up to anything.
        ((first,),) = await self._ledger.query("SELECT min(created_ms) FROM orders WHERE token = ?", (token,))
        trades = [] if first is None else await self._venue.trades(max(0, first - MARGIN_MS))
        if theirs < position.shares and 0 < bought(token, trades)[0] == theirs:
            left = evolve(position, shares=theirs, cost=part(position, theirs))
            await self._ledger.correct(left, f"{detail}, and so do its trades")
            self._tell(f"{token[:12]} is corrected to {theirs} shares: its trades say so, too")

    async def _name_holding(self, token: str, shares: Decimal) -> None:
        if not self._is_new(f"token {token}", shares):
            return
        ours = await self._ledger.query("SELECT 1 FROM orders WHERE token = ? LIMIT 1", (token,))
        self._first(f"token {token}")
        del self._seen[f"token {token}"]
        what = "which our orders did not buy" if ours else "which was never ordered"
        self._tell(f"the wallet holds {shares} of {token[:12]}, {what}: left alone")
        if ours:  # of what was never ordered anybody may send some
            self.stop(f"the wallet holds {shares} of {token[:12]}, {what}")
        self._ledger.note_difference("foreign shares", "", token, ZERO, shares, what)

    async def _judge(self, held: Holdings) -> None:
        """Hold cash against all that was signed, also while orders are open: what is missing beyond them stops it."""
        if not await self._ledger.query("SELECT 1 FROM cash LIMIT 1"):
            return
        gap = self._gap(held)
        self._lately.note(self.looked_at, EXACT.subtract(held.cash, gap), STEADY_FOR)
        if abs(EXACT.subtract(gap, self.merged(held.positions))) < MONEY_STEP:
            self._clear(await self._strange(held))
        if EXACT.add(gap, self.owed) > -MONEY_STEP:
            self._seen.pop(MISSING, None)
        elif self._is_new(MISSING, ZERO):
            self.stop(f"{-gap} pUSD are missing from the wallet, and no order, fee or payout explains it")

    async def _strange(self, held: Holdings) -> set[str]:
        """Return the tokens, of those we ever ordered, of which the wallet holds more than was booked.

        Booked is also what has lost and stays in the wallet.
        """

        def more() -> set[str]:
            ours, lost = self._account.positions, self._lost
            booked = {token: lost.get(token, ZERO) for token in held.positions}
            booked |= {t: EXACT.add(lost.get(t, ZERO), each.shares) for t, each in ours.items()}
            return {t for t, shares in held.positions.items() if shares >= EXACT.add(booked[t], DUST)}

        if more():
            rows = await self._ledger.query(
                "SELECT token, sum(shares_e6) FROM redemptions WHERE how = 'worthless' GROUP BY token"
            )
            self._lost = {token: Decimal(shares) * MONEY_UNIT for token, shares in rows if token in held.positions}
        if found := more():
            # Of anything else anybody may send some.
            found &= {token for (token,) in await self._ledger.query("SELECT DISTINCT token FROM orders")}
        return found

    def merged(self, positions: Mapping[str, Decimal]) -> Decimal:
        """Return how many pairs the wallet lacks where a merge has left: they are pUSD already, and not booked yet."""
        return lacking_pairs(self._account.positions.values(), self.merging, positions)

    @property
    def owed(self) -> Decimal:
        """What may be missing now: what open orders cost at most, and what sales bring that are not confirmed."""
        sold = (c.result.money for c in self._account.claims.values() if c.begun.order.side is Side.SELL)
        return reduce(EXACT.add, (*(begun.reserve for begun in self._account.open.values()), *sold), ZERO)

    def _compare_words(self, held: Holdings) -> None:
        """Hold the venue's word on the wallet's pUSD against the chain's."""
        if abs(held.apart) < MONEY_STEP:
            self._seen.pop(APART, None)
        elif self._is_new(APART, Decimal(1).copy_sign(held.apart)):
            least, most = held.cash, EXACT.add(held.cash, abs(held.apart))
            venue, chain = (most, least) if held.apart > 0 else (least, most)
            self.stop(f"the venue says that the wallet has {venue} pUSD, and the chain that it has {chain}")

    async def _compare_cash(self, held: Holdings) -> None:
        totals, gap = self._account.totals, self._gap(held)
        if not await self._ledger.query("SELECT 1 FROM cash LIMIT 1"):
            await self._ledger.move_cash(gap, "opening", "what the wallet held when the ledger began")
            return
        if abs(gap) < MONEY_STEP:
            self._seen.pop("", None)
            return
        # Each order changes the value, and the venue may be late with the last ones; and shares that differ may explain
        # it.
        way, gap = Decimal(1).copy_sign(gap), self._lately.beyond(held.cash)
        sure = abs(gap) >= MONEY_STEP and not self._seen.keys() - {"", MISSING}
        if not self._is_new("", way, sure=sure):
            return
        self._seen.pop("")
        self._ledger.note_difference("pUSD", "", "", EXACT.add(totals.moved, totals.cash), held.cash, "unexplained")
        await self._ledger.move_cash(gap, "unexplained", "no order, fee or payout explains it")
        self._tell(f"the wallet has {held.cash} pUSD, {gap} more than our books explain: paid in or out by hand?")

    def _is_new(self, name: str, value: Decimal, *, sure: bool = True) -> bool:
        """Note a difference; say whether it is steady now, and was not told before. ``sure``: it may be told."""
        seen, now = self._seen.get(name), self._network.monotonic()
        if seen is None or seen.value != value:
            self._seen[name] = _Seen(value, now)
            return False
        steady = sure and seen.times + 1 >= STEADY and now - seen.since >= STEADY_FOR
        self._seen[name] = _Seen(value, seen.since, seen.times + 1, seen.told or steady)
        return steady and not seen.told

    def _first(self, what: str) -> bool:
        """Say whether this is named for the first time."""
        if what in self._named:
            return False
        self._named[what] = None
        if len(self._named) > MAX_NAMED:
            del self._named[next(iter(self._named))]
        return True
