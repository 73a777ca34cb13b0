"""A report once a day: what the day before brought."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final, Protocol

from bots.common.ledger.rows import from_e6
from bots.common.operate.screens import exact

if TYPE_CHECKING:
    from bots.common.ledger.ledger import Ledger
    from polymirror.venue.network import Network

KIND: Final = "daily"

LOOK: Final = 60.0
"""Seconds between two looks at the calendar: a clock may be set."""


class Tell(Protocol):
    """Who is told."""

    def __call__(self, text: str, kind: str, /) -> None:
        """Tell this."""
        ...


async def report_days(ledger: Ledger, network: Network, tell: Tell, zone: tzinfo = UTC) -> None:
    """Tell of each day of ``zone`` when it is over, or at the next start if nobody ran then, until cancelled."""

    def today() -> date:
        return datetime.fromtimestamp(network.wall(), zone).date()

    told = await ledger.query("SELECT max(at_ms) FROM notices WHERE kind = ?", (KIND,))
    first = await ledger.query("SELECT min(at_ms) FROM notices")
    since = told[0][0] or first[0][0]
    day = today() if since is None else datetime.fromtimestamp(since / 1000, zone).date()
    while True:
        if today() > day:
            tell(await _report(ledger, today() - timedelta(days=1), zone), KIND)
            day = today()
        await asyncio.sleep(LOOK)


async def _report(ledger: Ledger, day: date, zone: tzinfo) -> str:
    begin, end = (
        int(datetime(each.year, each.month, each.day, tzinfo=zone).timestamp() * 1000)
        for each in (day, day + timedelta(days=1))
    )
    rows = await ledger.query(
        "SELECT coalesce(sum(profit_e6), 0), coalesce(sum(profit_e6 > 0), 0), coalesce(sum(profit_e6 < 0), 0) "
        "FROM realised WHERE at_ms >= ? AND at_ms < ?",
        (begin, end),
    )
    profit, won, lost = rows[0]
    orders = await ledger.query("SELECT count(*) FROM orders WHERE at_ms >= ? AND at_ms < ?", (begin, end))
    account = ledger.account
    return (
        f"{day} ({zone}): profit {exact(from_e6(profit))} pUSD, {won} won, {lost} lost, {orders[0][0]} orders; "
        f"in all {exact(account.totals.profit)} pUSD, {len(account.positions)} positions open, "
        f"{len(account.open)} orders unknown"
    )
