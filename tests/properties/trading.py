"""What happens at the model exchange: orders and trades, announced as the venue does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.properties.model import ONE, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.properties.model import ModelMarket


class Trading:
    """The exchange's side of a world."""

    now: float

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later."""
        raise NotImplementedError

    def emit(self, market: ModelMarket, content: dict[str, Any]) -> None:
        """Send a message to whoever subscribed."""
        raise NotImplementedError

    def touch(self, market: ModelMarket, step: int) -> None:
        """An ordinary order far from the top, placed and later cancelled."""
        if not market.settled:
            self.orders(market, [("BUY", 1000, (step % 8) * 1_000_000)])

    def orders(self, market: ModelMarket, changes: list[tuple[str, int, int]], *, kind: str = "own") -> None:
        """Make changes with one timestamp, and announce them.

        ``kind`` says which state each message states: "own" (one message, one batch), "batch" (a message
        for each change, all of them stating the end), "late" (the first message's hash is already of what
        the others, a millisecond later, will bring).
        """
        when = stamp(self.now)
        rows, tops = [], []
        for side, price, size in changes:
            # An order that would trade or is off the grid is a cancellation here.
            rows.append(market.put(side, price, size if market.fits(side, price) else 0))
            tops.append({book.asset_id: book.best() for book in market.books})
        market.changed_ms = when
        if kind == "own":
            messages = [market.price_change([row for each in rows for row in each], when)]
        else:
            messages = [market.price_change(each, when) for each in rows]
        if kind == "late" and len(messages) > 1:
            # Only the hash runs ahead: the top that a message states was never seen to.
            messages[0] = market.price_change(rows[0], when, tops[0])
            self.now = self.now + 0.001
            market.changed_ms = stamp(self.now)
            messages[1:] = [market.price_change(each, market.changed_ms) for each in rows[1:]]
        market.remember(self.now)
        for message in messages:
            self.emit(market, message)

    def trade(self, market: ModelMarket, *, buys: bool, part: bool, printed_after: float) -> None:
        """Take the best level, wholly or in part: price changes, both books anew, and the print a little later."""
        levels = market.up.asks if buys else market.up.bids
        if not levels:
            return
        price, size = levels.items()[0 if buys else -1]
        rows = market.put("SELL" if buys else "BUY", price, size // 2 if part else 0)
        # The hash knows the trade before it is printed, in either token's price.
        market.last_trade = f"{(price if part else ONE - price) / ONE:.3f}"
        market.commit(self.now)
        when = market.changed_ms
        self.emit(market, market.price_change(rows, when))
        for book in market.books:
            self.emit(market, market.whole(book))
        self.at(printed_after, lambda: self.emit(market, market.trade_print(price, when)))
