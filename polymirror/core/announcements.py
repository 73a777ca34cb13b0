"""What the venue announces about markets beside their books, as events for whoever wants to know.

Each text in them is bounded or known, because events wait for people. Used by :mod:`polymirror.core.outbox`, which all
tokens share.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve

from polymirror.core.events import Resolved, TickChanged, Traded
from polymirror.core.messages import MarketResolved, TickSizeChange, Trade
from polymirror.core.units import parse_tick

if TYPE_CHECKING:
    from collections.abc import Container

    from polymirror.core.events import Announced

_SIDES: Final[dict[str, Literal["BUY", "SELL"]]] = {"BUY": "BUY", "SELL": "SELL"}
_RATE: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_TRANSACTION: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")

Announcement = Trade | TickSizeChange | MarketResolved


class Announcements:
    """Turns announcements into events while somebody wants them; one that is repeated becomes one event."""

    def __init__(self) -> None:
        self.wanted = False
        # By token or market: what was announced last but trades, so that a repetition is known.
        self._last: dict[str, Announced] = {}

    def read(self, message: Announcement, tokens: Container[str], now: float) -> Announced | None:
        """Return the event for an announcement about a market with these ``tokens``; None if there is none to tell."""
        if not self.wanted:
            return None
        at_ms = message.timestamp_ms
        if isinstance(message, MarketResolved):
            winner = message.winning_asset_id if message.winning_asset_id in tokens else None
            return self._once(message.market, Resolved(message.market, now, at_ms or None, winner))
        token = message.asset_id
        if token not in tokens:
            return None
        if isinstance(message, TickSizeChange):
            return self._once(token, TickChanged(token, now, at_ms, parse_tick(message.tick_size)))
        rate, transaction = message.fee_rate_bps or "", message.transaction_hash or ""
        return Traded(
            token, now, at_ms, message.price, message.size, _SIDES.get(message.side, ""),
            Decimal(rate) if _RATE.fullmatch(rate) else None,
            transaction if _TRANSACTION.fullmatch(transaction) else None,
        )  # fmt: skip

    def forget(self, *names: str) -> None:
        """Forget what was announced about tokens and markets that are mirrored no more."""
        for name in names:
            self._last.pop(name, None)

    def _once(self, about: str, event: Announced) -> Announced | None:
        last = self._last.get(about)
        if last is not None and evolve(event, at=last.at) == last:
            return None
        self._last[about] = event
        return event
