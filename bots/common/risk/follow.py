"""How the risk counters learn what happened: from the ledger's rows alone, so that a crash cannot part the two.

:class:`RiskFollower` is handed to the :class:`~bots.common.ledger.ledger.Ledger`, which calls it with every row that
it books, while the bot trades and when the rows are read back. With it nobody else tells the risk of orders: a bot
asks ``risk.allow_group`` and, without waiting for anything in between, calls ``begin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.common.ledger.rows import ZERO, Begun, CashMoved, Corrected, Finished, Merged, RiskEvent, Settled
from bots.common.money.amounts import EXACT
from bots.common.orders.order import Outcome, Side
from bots.common.risk.groups import Entry, Leg

if TYPE_CHECKING:
    from decimal import Decimal

    from bots.common.ledger.account import Account
    from bots.common.ledger.rows import Row
    from bots.common.orders.order import Order
    from bots.common.risk.limits import Risk

STOP: Final = "stop"
RESUME: Final = "resume"
PAUSE: Final = "pause"
GO_ON: Final = "go on"
"""A pause is told and kept; it follows from the rows and the settings, and nothing else is done about it."""


class RiskFollower:
    """Keeps ``risk`` in step with the rows of ``account``. Make it before the ledger is opened."""

    def __init__(self, risk: Risk, account: Account) -> None:
        self._risk = risk
        self._account = account
        # Orders that can still change, by client id; the account forgets them before we hear of it.
        self._begun: dict[str, Begun] = {}
        # The account's profit before the present row: a sale has brought the difference.
        self._profit = account.totals.profit
        # What markets have brought of which something is still held: both tokens of a pair end as one.
        self._earned: dict[str, Decimal] = {}

    def __call__(self, row: Row) -> None:
        """Hear of a row that the account has booked."""
        match row:
            case Begun():
                self._begun[row.order.client_id] = row
                self._reserve(row)
            case Finished() if row.result.decided:
                self._decide(self._begun[row.client_id], row)
                if row.final:
                    del self._begun[row.client_id]
            case Settled():
                self._close(row, row.market)
            case Merged():
                self._merge(row)
            case Corrected():
                self._believe(row)
            case CashMoved() if row.amount < 0:
                self._risk.gone(row.at_ms, -row.amount)
            case RiskEvent(kind=kind) if kind == STOP:
                self._risk.stop(row.detail)
            case RiskEvent(kind=kind) if kind == RESUME:
                self._risk.resume(row.detail)
        self._profit = self._account.totals.profit

    def _reserve(self, row: Begun) -> None:
        self._risk.hold(row.at_ms, Entry.of(leg_of(row.order, row.asset, row.reserve), row.group_id))

    def _take(self, market: str) -> Decimal:
        """Return what the present row earned, and what was earned in its market before and not told yet."""
        earned = EXACT.subtract(self._account.totals.profit, self._profit)
        return EXACT.add(self._earned.pop(market, ZERO), earned)

    def _close(self, row: Row, market: str) -> None:
        """Close a market once nothing of it is held any more; until then its entries count as they did."""
        whole = self._take(market)
        if any(held.market == market for held in self._account.positions.values()):
            self._earned[market] = whole
        else:
            self._risk.closed(row.at_ms, market, whole)

    def _merge(self, row: Merged) -> None:
        """Close what was merged; shares of one token that are left count by themselves: all is final by then."""
        entries = [entry for entry in self._risk.entries if entry.market == row.market and entry.filled]
        self._risk.closed(row.at_ms, row.market, self._take(row.market))
        self._hold(row, row.market, entries[0] if entries else None, final=True)

    def _decide(self, begun: Begun, row: Finished) -> None:
        result, order = row.result, begun.order
        if result.outcome is not Outcome.REFUSED:
            self._risk.doubt(row.at_ms, row.client_id, EXACT.add(result.money, result.fee))
        if result.traded and order.side is Side.BUY:
            self._risk.filled(row.client_id, -result.cash(Side.BUY), result.shares, final=row.final)
        else:
            self._risk.dropped(row.client_id, left=result.outcome is not Outcome.REFUSED)
        if order.side is Side.SELL and (result.traded or self._account.totals.profit != self._profit):
            self._risk.closed(row.at_ms, order.market, self._take(order.market))
            self._hold(row, order.market, begun)
        else:
            # The chain may have taken a purchase back after its position, or the other token's, was over.
            self._close(row, order.market)

    def _believe(self, row: Corrected) -> None:
        """Count what is gone as a loss: nobody knows where it went."""
        entries = [entry for entry in self._risk.entries if entry.market == row.market and entry.filled]
        self._risk.closed(row.at_ms, row.market, self._take(row.market))
        self._hold(row, row.market, entries[0] if entries else None)

    def _hold(
        self, row: Finished | Corrected | Merged, market: str, like: Begun | Entry | None, *, final: bool = False
    ) -> None:
        """Count what is left of a market's positions, one entry for each token."""
        asset, group_id = ("", "") if like is None else (like.asset, like.group_id)
        for held in self._account.positions.values():
            if held.market == market:
                name = f"rest-{row.seq}-{held.token}"
                rest = Entry(
                    client_id=name,
                    market=market,
                    asset=asset,
                    money=held.cost,
                    token=held.token,
                    shares=held.shares,
                    group_id=group_id,
                    filled=True,
                    final=final,
                )
                self._risk.hold(row.at_ms, rest)


def leg_of(order: Order, asset: str, reserve: Decimal) -> Leg:
    """Say what an order risks that costs at most ``reserve`` pUSD, fee included."""
    return Leg(
        client_id=order.client_id,
        market=order.market,
        asset=asset,
        money=reserve,
        token=order.token,
        shares=order.shares if order.side is Side.BUY else ZERO,
    )
