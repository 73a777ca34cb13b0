"""Faults of what a message states about the book: its hash and its best prices, not its levels.

One small class each, with an id, what happens, and where it was seen. None of them makes a book
wrong; they tempt a client to distrust a right one. Listed in :mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.faults.deltas import dumps
from polymirror.simulator.frames import LAST_TRADE_PRICE, PRICE_CHANGE, Frame

if TYPE_CHECKING:
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Item

CENT = Decimal("0.01")


def _wire(price: Decimal) -> str:
    return f"{price.normalize():f}"


class WrongHash(Fault):
    """The stated hashes are not the books', for some time.

    Seen in issues of several clients that could not reproduce the venue's hash.
    """

    id: ClassVar[str] = "wrong_hash"
    default_share: ClassVar[float] = 0.0005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, replace the hashes of price changes."""
        passed: list[Item] = []
        for item in items:
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item):
                spell = self.lasting(link, now_ms)
                if spell is None and self.strikes(now_ms):
                    spell = self.begin(link, now_ms)
                if spell is not None:
                    passed.append(self._spoil(item))
                    continue
            passed.append(item)
        return passed

    def _spoil(self, frame: Frame) -> Frame:
        payload: dict[str, Any] = json.loads(frame.text)
        for change in payload["price_changes"]:
            change["hash"] = f"{self.rng.getrandbits(160):040x}"
        return frame._replace(text=dumps(payload))


class WrongBest(Fault):
    """A price change states a best bid and a best ask that are not the book's, by one cent each.

    Seen inside batches, where the stated top is already that of the batch's end; beyond batches it
    is a precaution: the top is a statement like any other.
    """

    id: ClassVar[str] = "wrong_best"
    default_share: ClassVar[float] = 0.002

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Move the stated top of some price changes outwards."""
        del link
        return [
            self._moved(item)
            if isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item) and self.strikes(now_ms)
            else item
            for item in items
        ]

    def _moved(self, frame: Frame) -> Frame:
        payload: dict[str, Any] = json.loads(frame.text)
        for change in payload["price_changes"]:
            change["best_bid"] = _wire(max(Decimal(0), Decimal(change["best_bid"]) - CENT))
            change["best_ask"] = _wire(min(Decimal(1), Decimal(change["best_ask"]) + CENT))
        return frame._replace(text=dumps(payload))


class LateTradePrice(Fault):
    """The hash contains a trade price that is announced much later.

    Seen at the venue all the time by up to 30 ms, and in one report by 88 ms: on busy markets users
    found the price in the hash unpredictable. Here the announcement waits for the whole length.
    """

    id: ClassVar[str] = "late_trade_price"
    default_share: ClassVar[float] = 0.3

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some trade announcements back."""
        passed = self.release(link, now_ms)
        for item in items:
            is_print = isinstance(item, Frame) and item.kind == LAST_TRADE_PRICE and self.concerns(item)
            if is_print and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
            else:
                passed.append(item)
        return passed


class LateHash(Fault):
    """The hash of a price change is already that of the book after the next change.

    Seen in recordings, where one to two percent of the hashes describe a book one or two changes
    later, of the same or the next millisecond. Made by the exchange itself, for every connection.
    """

    id: ClassVar[str] = "hash_one_change_late"
    default_share: ClassVar[float] = 0.02

    def attach(self, exchange: Exchange) -> None:
        """Let the exchange ask at every batch."""
        if exchange is not self.exchange:
            super().attach(exchange)
            exchange.late_hashes.append(self)
