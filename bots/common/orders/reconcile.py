"""The start after a stop of any kind: what the files say, held against what the venue says, before any trade.

:class:`Reconciler` goes through four steps, each of which is written to the intent log before the next: orders
whose fate is unknown are looked up (never sent again); what is held is compared with the venue's own books, and
the venue is believed; positions of markets that were decided meanwhile are settled; what is left unknown is
named, so that nothing is traded there. Being killed on the way costs nothing: the next start goes on.
What decides is in pure functions; :func:`settle` serves a running bot as well.
"""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from bots.common.errors import BadCredentials, TradingError
from bots.common.ledger.account import ZERO, Position
from bots.common.money.amounts import DUST, EXACT, MONEY_UNIT
from bots.common.orders.order import Outcome, Result, Side
from polymirror.errors import PolymirrorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from bots.common.execution.base import Trade, Venue
    from bots.common.ledger.account import Account
    from bots.common.ledger.intents import IntentLog
    from bots.common.ledger.records import Begun, Corrected, Settled
    from bots.common.orders.order import Order
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

TRADES_BACK_MS: Final = 3 * 86_400_000
"""How far back the venue is asked for trades: longer than any up/down market is open."""


@frozen(kw_only=True)
class Patience:
    """How long a start waits for clear answers. All in seconds."""

    quiet: float = 5.0
    """An order is looked up no earlier than this after it was begun: it may still have been on its way."""
    pause: float = 2.0
    """Between two attempts."""
    attempts: int = 4
    """So many look-ups of one order, and so many readings of what is held."""


@frozen(kw_only=True)
class Reconciled:
    """What a start found."""

    resolved: tuple[tuple[Order, Result], ...] = ()
    """Orders whose fate was unknown, and now is not."""
    unresolved: tuple[Order, ...] = ()
    """Orders whose fate still is unknown: their markets are not to be traded, and they are to be asked about again."""
    settled: tuple[Settled, ...] = ()
    corrected: tuple[Corrected, ...] = ()
    doubtful: tuple[Position, ...] = ()
    """Positions of which the venue said something else each time it was asked."""
    foreign: Mapping[str, Decimal] = field(factory=dict)
    """Shares in the wallet that were never in our books: left alone."""

    @property
    def blocked(self) -> frozenset[str]:
        """Condition ids of markets that must not be traded yet."""
        unresolved = {order.market for order in self.unresolved}
        return frozenset(unresolved | {position.market for position in self.doubtful})

    def lines(self) -> tuple[str, ...]:
        """Tell a person, one line for each finding."""
        return (
            *(f"order {order.client_id} was on its way: {result.outcome.value}" for order, result in self.resolved),
            *(f"order {order.client_id} is still unknown: its market is left alone" for order in self.unresolved),
            *(f"{each.token[:12]} was settled meanwhile: {each.payout} for {each.cost} pUSD" for each in self.settled),
            *(f"{each.token[:12]}: the venue does not say how much is held" for each in self.doubtful),
            *(f"{each.token[:12]} corrected to {each.shares} shares: {each.why}" for each in self.corrected),
        )


class Reconciler:
    """One start of one bot. ``winner_of`` tells the winning token of a market, or ``None`` while there is none."""

    def __init__(
        self,
        intents: IntentLog,
        venue: Venue,
        winner_of: Callable[[str], Awaitable[str | None]],
        network: Network,
        patience: Patience | None = None,
    ) -> None:
        self._intents = intents
        self._account: Account = intents.account
        self._venue = venue
        self._winner_of = winner_of
        self._network = network
        self._patience = Patience() if patience is None else patience

    async def run(self) -> Reconciled:
        """Do all of it. Raises TradingError when the venue does not tell what is held: then one must not trade."""
        resolved = await self.resolve()
        own = own_tokens(self._account, [order for order, _ in resolved])
        held, doubtful = await self._steady_holdings(own)
        winners = {market: await self._winner(market) for market in {position.market for position in own.values()}}
        wrong = {
            token: difference
            for token, difference in differences(self._account, own, held).items()
            # Nothing left of a decided market: it was redeemed before we were stopped. That is settled below.
            if token not in doubtful and not (winners[own[token].market] is not None and difference[1] == 0)
        }
        corrected = await self._correct(own, wrong) if wrong else ()
        settled: list[Settled | None] = []
        for position in tuple(self._account.positions.values()):
            winner = winners.get(position.market)
            if winner is not None and position.token not in doubtful:
                settled.append(await settle(self._intents, self._venue, position, winner))
        found = Reconciled(
            resolved=resolved,
            unresolved=tuple(begun.order for begun in self._intents.open_intents()),
            settled=tuple(each for each in settled if each is not None),
            corrected=corrected,
            doubtful=tuple(own[token] for token in doubtful),
            foreign=foreign(own, held),
        )
        for line in found.lines():
            log.warning("%s", line)
        return found

    async def resolve(self) -> tuple[tuple[Order, Result], ...]:
        """Look up every order whose fate is unknown; may be called again later. Never raises for the venue."""
        found = []
        for begun in self._intents.open_intents():
            result = await self._look_up(begun)
            await self._intents.finish(begun.order.client_id, result)
            if result.decided:
                found.append((begun.order, result))
        return tuple(found)

    async def _look_up(self, begun: Begun) -> Result:
        young = begun.at_ms / 1000 + self._patience.quiet - self._network.wall()
        if young > 0:
            # A clock that was set back must not make us wait for ever.
            await asyncio.sleep(min(young, self._patience.quiet))
        name = self._account.name_of(begun.order.client_id)
        result = Result(outcome=Outcome.UNKNOWN, detail="not looked up")
        for attempt in range(self._patience.attempts):
            if attempt:
                await asyncio.sleep(self._patience.pause)
            try:
                result = await self._venue.resolve(begun.order, name)
            except TradingError as error:
                result = Result(outcome=Outcome.UNKNOWN, detail=str(error))
            name = result.order_id or name
            if result.decided:
                break
        return result

    async def _steady_holdings(self, own: Mapping[str, Position]) -> tuple[Mapping[str, Decimal], frozenset[str]]:
        """Return what the venue says is held, and the tokens of which it did not say the same the last two times.

        It is asked until it agrees with our books or patience ends: its own lag behind a trade by some seconds.
        """
        before: Mapping[str, Decimal] | None = None
        changing: frozenset[str] = frozenset()
        failure: TradingError | None = None
        for attempt in range(self._patience.attempts):
            if attempt:
                await asyncio.sleep(self._patience.pause)
            try:
                held = (await self._venue.holdings()).positions
            except BadCredentials:
                raise
            except TradingError as error:
                failure = error
                continue
            wrong = differences(self._account, own, held)
            changing = frozenset(t for t in wrong if before is None or before.get(t, ZERO) != held.get(t, ZERO))
            before = held
            if not wrong:
                break
        if before is None:
            assert failure is not None  # noqa: S101 - without an answer there was an error
            raise failure
        return before, changing

    async def _winner(self, market: str) -> str | None:
        try:
            return await self._winner_of(market)
        except PolymirrorError as error:
            log.warning("whether market %s was decided is not known yet: %s", market[:18], error)
            return None

    async def _correct(
        self, own: Mapping[str, Position], wrong: Mapping[str, tuple[Decimal, Decimal]]
    ) -> tuple[Corrected, ...]:
        since = int(self._network.wall() * 1000) - TRADES_BACK_MS
        trades = await self._venue.trades(since)
        corrected = []
        for token, (was, now) in wrong.items():
            if was and bought(token, trades)[0] == was:
                log.warning("%s: its trades add up to our %s shares, though %s are shown", token[:12], was, now)
                continue
            believed = evolve(own[token], shares=now, cost=cost_of(own[token], now, trades))
            corrected.append(await self._intents.correct(believed, f"our books said {was}, the venue says {now}"))
        return tuple(corrected)


async def settle(intents: IntentLog, venue: Venue, position: Position, winner: str) -> Settled | None:
    """End a position of a decided market: redeem what won, book what lost.

    Returns ``None``, and changes nothing, while an order on the token is undecided or while the venue does not
    redeem; call again later, as often as need be. Raises TradingError, after which the same holds.
    """
    if intents.account.undecided(position.token):
        return None
    if position.token != winner:
        return await intents.settle(position, ZERO)
    result = await venue.redeem(position.market, position.token)
    if result.outcome is Outcome.FILLED:
        return await intents.settle(position, result.money)
    if result.outcome is Outcome.NO_MATCH and (await venue.holdings()).positions.get(position.token, ZERO) < DUST:
        # It was redeemed before, and the answer was lost, or we were stopped before it was written down. Or it never
        # was ours: a trade may fail on the chain after it was matched, and then the list of trades leaves it out.
        explained, _ = bought(position.token, await venue.trades(intents.now_ms() - TRADES_BACK_MS))
        if explained <= EXACT.subtract(position.shares, DUST):
            log.error("%s: we hold %s by our books, its trades say %s", position.token[:12], position.shares, explained)
            return await intents.settle(position, max(explained, ZERO))
        return await intents.settle(position, position.shares)
    log.warning("%s could not be redeemed yet: %s %s", position.token[:12], result.outcome.value, result.detail)
    return None


def own_tokens(account: Account, orders: Iterable[Order] = ()) -> dict[str, Position]:
    """Return what our books have: all positions, and for tokens of ``orders`` that they do not have, no shares.

    Tokens with an order whose fate is unknown are left out: nothing can be said about them.
    """
    none = {order.token: Position(market=order.market, token=order.token, shares=ZERO, cost=ZERO) for order in orders}
    return {token: each for token, each in {**none, **account.positions}.items() if not account.undecided(token)}


def differences(
    account: Account, own: Mapping[str, Position], held: Mapping[str, Decimal]
) -> dict[str, tuple[Decimal, Decimal]]:
    """Return the tokens of ours of which the venue holds another number of shares: our number, and the venue's."""
    wrong = {}
    for token in own:
        position = account.positions.get(token)
        ours, theirs = ZERO if position is None else position.shares, held.get(token, ZERO)
        if abs(EXACT.subtract(ours, theirs)) >= DUST:
            wrong[token] = (ours, theirs)
    return wrong


def foreign(own: Mapping[str, Position], held: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return what the wallet holds that our books do not have. No order leaves without an intent: it is not ours."""
    return {token: shares for token, shares in held.items() if shares >= DUST and token not in own}


def cost_of(position: Position, shares: Decimal, trades: Iterable[Trade]) -> Decimal:
    """Return what ``shares`` are taken to have cost in pUSD.

    That is what the venue's trades add up to, if they explain the shares; else our own average; and without one
    the most a share can cost, 1.
    """
    explained, paid = bought(position.token, trades)
    if explained == shares and paid > 0:
        return paid
    average = EXACT.divide(position.cost, position.shares) if position.shares else Decimal(1)
    return EXACT.multiply(average, shares).quantize(MONEY_UNIT, context=EXACT)


def bought(token: str, trades: Iterable[Trade]) -> tuple[Decimal, Decimal]:
    """Return the shares that trades in a token add up to, and the pUSD they cost, fees included."""
    shares, paid = ZERO, ZERO
    for trade in trades:
        if trade.token == token and not trade.failed:
            sign = 1 if trade.side is Side.BUY else -1
            shares = EXACT.add(shares, sign * trade.shares)
            paid = EXACT.add(paid, EXACT.add(sign * trade.money, trade.fee or ZERO))
    return shares, paid
