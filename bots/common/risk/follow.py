"""How the risk counters learn what happened: from the ledger's rows alone, so that a crash cannot part the two.

:class:`RiskFollower` is handed to the :class:`~bots.common.ledger.ledger.Ledger`, which calls it with every row that
it books, while the bot trades and when the rows are read back. With it nobody else tells the risk of orders: a bot
asks ``risk.allow`` and, without waiting for anything in between, calls ``begin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.common.ledger.rows import ZERO, Begun, Corrected, Finished, Merged, RiskEvent, Settled
from bots.common.money.amounts import EXACT
from bots.common.orders.order import Side

if TYPE_CHECKING:
    from bots.common.ledger.account import Account
    from bots.common.ledger.rows import Row
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
            case Settled() | Merged():
                self._risk.closed(row.at_ms, row.market, EXACT.subtract(self._account.totals.profit, self._profit))
            case Corrected():
                self._believe(row)
            case RiskEvent(kind=kind) if kind == STOP:
                self._risk.stop(row.detail)
            case RiskEvent(kind=kind) if kind == RESUME:
                self._risk.resume()
        self._profit = self._account.totals.profit

    def _reserve(self, row: Begun) -> None:
        order = row.order
        self._risk.adopt(
            row.at_ms,
            client_id=order.client_id,
            market=order.market,
            asset=row.asset,
            money=row.reserve,
            filled=False,
        )

    def _decide(self, begun: Begun, row: Finished) -> None:
        result, order = row.result, begun.order
        earned = EXACT.subtract(self._account.totals.profit, self._profit)
        if result.traded and order.side is Side.BUY:
            self._risk.filled(row.client_id, -result.cash(Side.BUY))
        else:
            self._risk.dropped(row.client_id)
        if order.side is Side.SELL and (result.traded or earned):
            self._risk.closed(row.at_ms, order.market, earned)
            self._hold(row, order.market, order.token, begun.asset)
        elif earned and not any(entry.market == order.market for entry in self._risk.entries):
            # The chain took a purchase back, or changed it, after its position was over.
            self._risk.closed(row.at_ms, order.market, earned)

    def _believe(self, row: Corrected) -> None:
        """Count what is gone as a loss: nobody knows where it went."""
        entries = [entry for entry in self._risk.entries if entry.market == row.market and entry.filled]
        lost = EXACT.subtract(self._account.totals.profit, self._profit)
        self._risk.closed(row.at_ms, row.market, lost if row.shares <= 0 else ZERO)
        self._hold(row, row.market, row.token, entries[0].asset if entries else "")

    def _hold(self, row: Finished | Corrected, market: str, token: str, asset: str) -> None:
        """Count what is left of a position as one entry."""
        held = self._account.positions.get(token)
        if held is not None:
            name = f"rest-{row.seq}"
            self._risk.adopt(row.at_ms, client_id=name, market=market, asset=asset, money=held.cost)
