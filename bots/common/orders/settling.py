"""What is left of a decided market: orders that stayed unknown are ended, winners redeemed, and everything booked.

:class:`Settler` is told what a share of each token pays. It tries again with waits that grow from seconds to an hour,
tells a person after ten minutes and then once a day, and books only what there is evidence for: what a redemption
paid; or that the shares are gone and the money has come; or, of an order that never was answered, what the wallet
holds and what it is missing. A purchase that the chain has not confirmed is neither lost nor won.
"""

from __future__ import annotations

import logging
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final

from attrs import define, field

from bots.common.errors import StateInvalid, TradingError
from bots.common.ledger.rows import ZERO
from bots.common.money.amounts import DUST, EXACT, MONEY_STEP, MONEY_UNIT
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from polymirror.core.fees import highest_fee

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Mapping

    from bots.common.execution.base import Venue
    from bots.common.ledger.account import Position
    from bots.common.ledger.ledger import Ledger
    from bots.common.ledger.rows import Begun, Settled
    from bots.common.orders.found import Wealth
    from bots.common.orders.order import Order
    from bots.common.orders.reconcile import Reconciler
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

MAX_DECIDED: Final = 4_096
"""Decided markets that are remembered until their positions are booked."""

FIRST_WAIT: Final = 5.0
LONGEST_WAIT: Final = 3_600.0
"""Seconds between two attempts; they double."""

UNANSWERED_TRIES: Final = 5
"""The wait does not grow beyond this many doublings while it is an answer that is missing, not the money."""

TELL_AFTER: Final = 600.0
"""Seconds after which a person is told that money is stuck."""

SHOWN_WITHIN: Final = 30.0
"""Seconds after which a person is told of a payout that cash does not show."""

TRIES: Final = 3
"""Readings of cash in which something may be booked meanwhile."""

TELL_AGAIN: Final = 86_400.0

TWICE: Final = 30.0
"""Seconds between two readings of the wallet that must agree before an order is ended by them."""

_NOTHING: Final = Result(
    outcome=Outcome.NO_MATCH, detail="the wallet holds nothing of it, and no money of it is missing"
)


@define
class _Case:
    """One decided market."""

    payouts: Mapping[str, Decimal]
    since: float
    """When it was decided, monotonic, as are the next two."""
    again: float
    tell: float
    in_doubt: bool = False
    """Whether our own prices name another winner, or none."""
    missing: bool = False
    """Whether what it pays is not where it should be by what others say."""
    tries: int = 0
    why: str = ""
    """Why it is not over yet."""
    paid: dict[str, tuple[Decimal, Decimal]] = field(factory=dict)
    """What somebody says was paid for tokens, and what :attr:`Wealth.paid` must be by then: booked once it is."""

    before: dict[str, Decimal] = field(factory=dict)
    """What :attr:`Wealth.paid` was before tokens that are said to be worthless were redeemed."""

    def miss(self, *, soon: bool = True) -> None:
        """Stop buying when a person is told, and have that be soon, if nobody was yet."""
        self.missing = True
        if soon and self.tell == self.since + TELL_AFTER:
            self.tell = self.since + SHOWN_WITHIN


class Settler:
    """Settles, for one wallet. :meth:`look` is to be called every few seconds, by one task."""

    def __init__(
        self,
        ledger: Ledger,
        venue: Venue,
        reconciler: Reconciler,
        network: Network,
        counts: Counter[str],
        book: Callable[[Order, Result, bool], Awaitable[None]],
        on_settled: Callable[[Settled], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._account = ledger.account
        self._venue = venue
        self._reconciler = reconciler
        self._network = network
        self._counts = counts
        self._book = book
        self._on_settled = on_settled
        self._on_trouble = on_trouble
        self._cases: dict[str, _Case] = {}
        # What the wallet said of unknown orders, and when, monotonic.
        self._readings: dict[str, tuple[Result, float]] = {}

    def decide(self, market: str, payouts: Mapping[str, Decimal], doubt: str = "", *, confirmed: bool = True) -> None:
        """Take what a share of each token pays, in pUSD: 0 if it is not named.

        ``doubt`` says why that may be wrong: nothing is bought any more. ``confirmed``: our own prices say the same; in
        doubt, or unconfirmed, nothing is called worthless before it could not be redeemed.
        """
        if doubt:
            self._reconciler.stop(f"{market[:12]}: {doubt}")
        if market not in self._cases and len(self._cases) < MAX_DECIDED:
            now = self._network.monotonic()
            self._cases[market] = _Case(payouts, now, now, now + TELL_AFTER, bool(doubt) or not confirmed)
            self._reconciler.decided.add(market)

    def payouts(self, market: str) -> Mapping[str, Decimal] | None:
        """Return what was told of a market whose positions are not booked yet."""
        case = self._cases.get(market)
        return None if case is None else case.payouts

    @property
    def stuck(self) -> tuple[str, ...]:
        """What is not settled for more than ten minutes, one line each."""
        late = self._network.monotonic() - TELL_AFTER
        return tuple(f"{market[:12]}: {case.why}" for market, case in self._cases.items() if case.since < late)

    async def look(self, apart: Callable[[str], bool] = lambda _market: False) -> None:
        """Try once what is due, but for markets that are to be left alone. Never raises for what the venue does."""
        for market, case in tuple(self._cases.items()):
            now = self._network.monotonic()
            if now < case.again or apart(market):
                continue
            case.missing = False
            try:
                case.why = await self._settle(market, case)
            except (TradingError, StateInvalid, OSError) as error:
                # A disk that is full has lost nothing: what was booked is written with the next row.
                case.why = str(error)
                case.tries = min(case.tries, UNANSWERED_TRIES)
            if not case.why:
                del self._cases[market]
                self._reconciler.decided.discard(market)
                continue
            self._counts["settle again"] += 1
            case.again = now + min(FIRST_WAIT * 2**case.tries, LONGEST_WAIT)
            case.tries = min(case.tries + 1, 16)
            if now >= case.tell:
                case.tell = now + TELL_AGAIN
                worth = sum((p.cost for p in self._account.positions.values() if p.market == market), ZERO)
                why = f"{market[:12]} is not settled ({worth} pUSD are in it): {case.why}"
                self._on_trouble(why)
                if case.missing:
                    self._reconciler.stop(why)

    async def _settle(self, market: str, case: _Case) -> str:
        """Do what can be done now; return why it is not over, or nothing."""
        why = ""
        for begun in [each for each in self._account.open.values() if each.order.market == market]:
            why = await self._end(begun, case) or why
        if any(claim.begun.order.market == market for claim in self._account.claims.values()):
            await self._reconciler.confirm()
        for position in [each for each in self._account.positions.values() if each.market == market]:
            if self._account.undecided(position.token):
                continue
            if self._account.claimed(position.token) and not await self._is_old_and_held(position, case):
                continue
            for claim in self._account.claimed(position.token):
                if claim.begun.order.side is Side.BUY:
                    await self._ledger.finish(claim.begun.order.client_id, claim.result, final=True)
            why = await self._pay(position, case.payouts.get(position.token, ZERO), case) or why
        if any(claim.begun.order.market == market for claim in self._account.claims.values()):
            # A purchase may not be there, and shares of a sale may come back: they would have to be redeemed.
            return why or "the chain has not confirmed its trades"
        return why

    async def _is_old_and_held(self, position: Position, case: _Case) -> bool:
        """Whether the wallet has held the shares for long, though their trades are not called confirmed."""
        if self._network.monotonic() < case.since + TELL_AFTER:
            return False
        held = (await self._venue.holdings()).positions.get(position.token, ZERO)
        return held >= EXACT.subtract(position.shares, DUST)

    async def _pay(self, position: Position, rate: Decimal, case: _Case) -> str:
        """End a position: redeem what pays, and book it."""
        if position.token in case.paid:
            return await self._see(position, case)
        if not rate:
            return await self._write_off(position, case)
        before = (await self._reconciler.wealth()).paid
        result = await self._venue.redeem(position.market, position.token)
        payout, how = result.money if result.exact else _cut(EXACT.multiply(result.shares, rate)), "redeemed"
        if result.outcome is Outcome.NO_MATCH:
            payout, how = _cut(EXACT.multiply(position.shares, rate)), "found redeemed"
            why, payout = await self._unexplained(position, payout, case)
            if why:
                return why
        elif result.outcome is not Outcome.FILLED:
            log.warning("%s is redeemed later: %s %s", position.token[:12], result.outcome.value, result.detail)
            return f"it cannot be redeemed: {result.detail or result.outcome.value}"
        elif abs(EXACT.subtract(result.shares, position.shares)) >= DUST:
            what = f"our books had {position.shares} shares of {position.token[:12]}, and {result.shares} were redeemed"
            self._on_trouble(what)
            ours = (position.market, position.token, position.shares)
            self._ledger.note_difference("shares", *ours, result.shares, what)
        if how == "redeemed":
            case.paid[position.token] = payout, EXACT.add(before, payout)
            if payout < (owed := _cut(EXACT.multiply(result.shares, rate))):
                less = f"{position.token[:12]} was redeemed for {payout} pUSD, and {owed} were decided"
                self._on_trouble(less)
                self._reconciler.stop(less)
            return await self._see(position, case)
        self._on_settled(await self._ledger.settle(position, payout, how))
        return ""

    async def _write_off(self, position: Position, case: _Case) -> str:
        """Book what is said to be worthless. If it may have won it is redeemed before: the chain decides, and cash."""
        token, paid = position.token, ZERO
        if case.in_doubt:
            if token not in case.before:
                case.before[token] = (await self._reconciler.wealth()).paid
            result, waited = await self._venue.redeem(position.market, token), self._network.monotonic() - case.since
            if result.outcome not in {Outcome.FILLED, Outcome.NO_MATCH} and waited < TELL_AFTER:
                return f"it may have won, and cannot be redeemed: {result.detail or result.outcome.value}"
            wealth = await self._reconciler.wealth()
            paid = min(wealth.gap or ZERO, EXACT.subtract(wealth.paid, case.before[token]), position.shares)
            paid = paid if paid >= MONEY_STEP else ZERO
            nothing = result.outcome is Outcome.FILLED and result.exact and not result.money
            if not paid and not nothing and waited < SHOWN_WITHIN:
                return "it may have won: cash is looked at again"
        if paid:
            self._on_trouble(f"{token[:12]} was said to be worthless, and was worth {paid} pUSD")
        self._on_settled(await self._ledger.settle(position, paid, "redeemed" if paid else "worthless"))
        return ""

    async def _see(self, position: Position, case: _Case) -> str:
        """Book what a redemption is said to have paid, once cash shows it: nobody's word for it is enough.

        It must be there, and not have been before: money that nobody explains is no payout.
        """
        payout, least = case.paid[position.token]
        if self._reconciler.merging:
            return "a merge is under way, whose money could be taken for its payout"
        wealth = await self._reconciler.wealth()
        for _ in range(TRIES):
            wealth = wealth if wealth.gap is not None else await self._reconciler.wealth()
        if wealth.gap is not None:
            short = max(EXACT.subtract(payout, wealth.gap), EXACT.subtract(least, wealth.paid))
            if EXACT.subtract(short, self._reconciler.owed) >= MONEY_STEP:
                case.miss()
                return f"it is said to be redeemed for {payout} pUSD, of which {short} are not to be seen"
        self._on_settled(await self._ledger.settle(position, payout, "redeemed"))
        return ""

    async def _unexplained(self, position: Position, payout: Decimal, case: _Case) -> tuple[str, Decimal]:
        """There is nothing to redeem: say why that is no redemption whose answer was lost, and what it paid."""
        wealth = await self._reconciler.wealth()
        if wealth.positions.get(position.token, ZERO) >= DUST:
            case.miss(soon=False)
            return "the wallet holds it, and there is nothing to redeem", payout
        if wealth.gap is not None and any(
            abs(EXACT.subtract(wealth.gap, paid)) < MONEY_STEP for paid in (payout, self._gone(wealth))
        ):
            return "", payout
        case.miss()
        why = f"it is gone from the wallet, and {payout} pUSD for it are not to be seen (the gap is {wealth.gap})"
        if wealth.gap is None or self._network.monotonic() < case.since + LONGEST_WAIT:
            return why, payout
        # A share of a decided market leaves a wallet by its redemption, or by a person's hand: what came of it counts.
        seen = min(max(wealth.gap, ZERO), payout)
        self._on_trouble(f"{position.token[:12]} is taken to have been redeemed for {seen} pUSD: {why}")
        return "", seen

    def _gone(self, wealth: Wealth) -> Decimal:
        """Return what all shares of decided markets have paid that are not in the wallet any more."""
        total = ZERO
        for held in self._account.positions.values():
            if (case := self._cases.get(held.market)) and wealth.positions.get(held.token, ZERO) < DUST:
                total = EXACT.add(total, _cut(EXACT.multiply(held.shares, case.payouts.get(held.token, ZERO))))
        return total

    # ---- Orders that stayed unknown ------------------------------------------------------------------

    async def end(self, begun: Begun) -> str:
        """End an order that is minutes old, of a market that still trades, if the wallet shows that it never traded.

        Return why not, or nothing. Raises TradingError. Twice the wallet must hold the shares that were booked and have
        the cash that it must, while no trade is listed that could be the order's.
        """
        wealth = await self._reconciler.wealth(apart_from=begun.order.client_id)
        merged = self._reconciler.merged(wealth.positions)
        still = wealth.gap is not None and abs(EXACT.subtract(wealth.gap, merged)) < MONEY_STEP
        alone = len(self._account.undecided(begun.order.token)) <= 1
        clear = still and alone and abs(self._change(begun, wealth)) < DUST
        return await self._conclude(begun, _NOTHING if clear else None, "by what the wallet shows")

    async def _end(self, begun: Begun, case: _Case) -> str:
        """End an order by what the wallet holds and is missing, if two readings agree; return why not, or nothing."""
        wealth = await self._reconciler.wealth(apart_from=begun.order.client_id)
        why = await self._conclude(begun, self._explain(begun, wealth, case), "by settlement")
        case.tries = min(case.tries, 3) if why else case.tries
        return why

    async def _conclude(self, begun: Begun, found: Result | None, how: str) -> str:
        order = begun.order
        if found is not None and not found.traded and await self._reconciler.hints_at(order):
            found = None  # the chain may be behind
        if order.client_id not in self._account.open:
            return ""  # found meanwhile
        now = self._network.monotonic()
        before, at = self._readings.get(order.client_id, (None, now))
        if found is None or found != before:
            self._readings[order.client_id] = (found or Result(outcome=Outcome.UNKNOWN), now)
            return f"the fate of order {order.client_id} is not clear"
        if now < at + TWICE:
            return f"the fate of order {order.client_id} is looked at again"
        del self._readings[order.client_id]
        self._on_trouble(f"order {order.client_id} was ended {how}: {found.detail}")
        await self._book(order, found, True)  # noqa: FBT003 - final: nobody will tell more
        return ""

    def _change(self, begun: Begun, wealth: Wealth) -> Decimal:
        """Return how many shares of the order's token the wallet holds that were not booked."""
        token = begun.order.token
        position = self._account.positions.get(token)
        return EXACT.subtract(wealth.positions.get(token, ZERO), ZERO if position is None else position.shares)

    def _explain(self, begun: Begun, wealth: Wealth, case: _Case) -> Result | None:
        """Say what an order must have done that the wallet is as it is; ``None``: that is not clear."""
        order, gap, change = begun.order, wealth.gap, self._change(begun, wealth)
        if len(self._account.undecided(order.token)) > 1:
            return None
        if abs(change) < DUST:
            if gap is None:
                return None
            if abs(gap) >= MONEY_STEP:
                early = self._network.monotonic() < case.since + TELL_AFTER
                if early or _could_leave(begun, gap, case.payouts.get(order.token, ZERO)):
                    return None
            return _NOTHING
        buying = order.side is Side.BUY
        shares = change if buying else -change
        if shares < 0 or shares > (EXACT.divide(order.money, order.tick) if buying else order.shares):
            return None
        return _explained(order, shares, gap if wealth.clear else None, begun.reserve)


def _could_leave(begun: Begun, gap: Decimal, rate: Decimal) -> bool:
    """Whether an order that traded could leave this gap though its shares are not there: lost, or redeemed by hand."""
    order = begun.order
    if order.side is not Side.BUY:
        return False  # what a sale sold would be missing
    low, least = EXACT.add(begun.reserve, MONEY_STEP), order.money if order.tif is TimeInForce.FOK else ZERO
    paid = EXACT.multiply(order.shares if least else ZERO, rate)
    return -low <= gap <= MONEY_STEP - least or (rate > 0 and gap >= paid - low)


def _explained(order: Order, shares: Decimal, gap: Decimal | None, reserve: Decimal) -> Result:
    """Say what an order did that moved so many shares; what it cost or brought is the gap, if that can be."""
    buying = order.side is Side.BUY
    money = order.money if buying and order.tif is TimeInForce.FOK else _cut(EXACT.multiply(shares, order.price))
    money = min(money, order.money) if buying else money
    average = min(max(EXACT.divide(money, shares), order.tick), 1 - order.tick)
    fee, exact = highest_fee(order.fee, average, shares), False
    if gap is not None and buying and 0 < -gap <= EXACT.add(reserve, MONEY_STEP):
        money, exact = min(money, -gap), True
        fee = EXACT.subtract(-gap, money)
    elif gap is not None and not buying and 0 < gap <= shares:
        money, exact = EXACT.add(gap, fee), True
    return Result(
        outcome=Outcome.FILLED if order.tif is TimeInForce.FOK else Outcome.PARTIAL,
        shares=shares,
        money=money,
        fee=fee,
        detail=f"the wallet holds {shares} shares {'more' if buying else 'less'} than were booked"
        + ("" if exact else ", and what they cost is computed"),
        exact=exact,
    )


def _cut(money: Decimal) -> Decimal:
    return money.quantize(MONEY_UNIT, ROUND_FLOOR, EXACT)
