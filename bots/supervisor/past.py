"""What the wallet traded before, as the venue lists it, and the ledger does not know: nothing is bought twice for it.

A ledger that was lost, a second machine, a purchase by hand: each leaves trades at the venue that no order of this
ledger explains. Their markets are left alone until a person has looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bots.common.execution.base import Venue
    from bots.common.ledger.ledger import Ledger


async def strange_markets(ledger: Ledger, venue: Venue, since_ms: int) -> dict[str, str]:
    """Return the markets of trades since then (Unix ms) that no order in the ledger made, and why they are strange.

    Raises TradingError when the venue does not tell.
    """
    trades = [trade for trade in await venue.trades(since_ms) if not trade.failed]
    if not trades:
        return {}
    rows = await ledger.query("SELECT DISTINCT order_id FROM results WHERE order_id IS NOT NULL")
    known = {name for (name,) in rows}
    # An order without an answer has no name yet: what is traded in its market may be its.
    open_markets = {begun.order.market for begun in ledger.account.open.values()}
    found: dict[str, str] = {}
    for trade in trades:
        if trade.order_id not in known and trade.market not in open_markets:
            what = f"{trade.side.value} {trade.shares} of {trade.token[:12]}"
            found.setdefault(trade.market, f"the wallet traded it ({what}), and this ledger does not know of it")
    return found
