"""How the risk counters learn what happened: from the intent log alone, so that a crash cannot part the two.

:class:`RiskFollower` is handed to the :class:`~bots.common.ledger.intents.IntentLog`, which calls it with every record,
while the bot trades and when the log is read back. With it nobody else tells the risk of orders: a bot asks
``risk.allow`` and, without waiting for anything in between, calls ``begin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bots.common.ledger.account import ZERO
from bots.common.ledger.records import Begun, Corrected, Finished, Settled
from bots.common.money.amounts import EXACT
from bots.common.orders.order import Side

if TYPE_CHECKING:
    from bots.common.ledger.account import Account
    from bots.common.ledger.records import Record
    from bots.common.risk.limits import Risk


class RiskFollower:
    """Keeps ``risk`` in step with the log of ``account``. Make it before the log is opened."""

    def __init__(self, risk: Risk, account: Account) -> None:
        self._risk = risk
        self._account = account
        # Orders whose fate is not known, by client id; the account forgets them before we hear of it.
        self._begun = dict(account.open)
        # The account's profit before the present record: a sale has brought the difference.
        self._profit = account.totals.profit

    def __call__(self, record: Record) -> None:
        """Hear of a record that the account has booked."""
        if isinstance(record, Begun):
            self._begun[record.order.client_id] = record
            self._reserve(record)
        elif isinstance(record, Finished):
            if record.result.decided:
                self._decide(self._begun.pop(record.client_id), record)
        elif isinstance(record, Settled):
            self._risk.closed(record.at_ms, record.market, EXACT.subtract(record.payout, record.cost))
        else:
            self._believe(record)
        self._profit = self._account.totals.profit

    def _reserve(self, record: Begun) -> None:
        order = record.order
        self._risk.adopt(
            record.at_ms,
            client_id=order.client_id,
            market=order.market,
            asset=record.asset,
            money=record.reserve,
            filled=False,
        )

    def _decide(self, begun: Begun, record: Finished) -> None:
        result, order = record.result, begun.order
        if result.traded and order.side is Side.BUY:
            self._risk.filled(record.client_id, -result.cash(Side.BUY))
            return
        self._risk.dropped(record.client_id)
        if result.traded:
            self._risk.closed(record.at_ms, order.market, EXACT.subtract(self._account.totals.profit, self._profit))
            self._hold(record, order.market, order.token, begun.asset)

    def _believe(self, record: Corrected) -> None:
        entries = [entry for entry in self._risk.entries if entry.market == record.market and entry.filled]
        lost = ZERO
        if record.shares <= 0:
            # Nobody knows where it went: it counts as a loss.
            for entry in entries:
                lost = EXACT.add(lost, entry.money)
        self._risk.closed(record.at_ms, record.market, -lost)
        self._hold(record, record.market, record.token, entries[0].asset if entries else "")

    def _hold(self, record: Finished | Corrected, market: str, token: str, asset: str) -> None:
        """Count what is left of a position as one entry."""
        held = self._account.positions.get(token)
        if held is not None:
            name = f"rest-{record.number}"
            self._risk.adopt(record.at_ms, client_id=name, market=market, asset=asset, money=held.cost)
