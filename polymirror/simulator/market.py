"""One simulated market: two mirrored tokens, their truth, and their wire texts.

Formats follow recorded frames: key order, level order, separators, and which keys a frame carries.
The book hash is computed here by the venue's plain rule (SHA-1 over the compact JSON of ten keys)
from cached fragments, deliberately not by the library's own checksum: a simulator that shared it
could not find it wrong. The exchange decides when something happens; nothing here knows time.
"""

from __future__ import annotations

from enum import Enum
from hashlib import sha1
from typing import TYPE_CHECKING

from attrs import define, field

from polymirror.simulator.frames import BEST_BID_ASK, BOOK, LAST_TRADE_PRICE, PRICE_CHANGE, TICK_SIZE_CHANGE, Frame
from polymirror.simulator.history import History
from polymirror.simulator.ladder import ONE_PRICE, PRICE_TEXTS, Ladder, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.flow import Change, Flow, Group, Trade

Levels = tuple[tuple[int, int], ...]
"""(price in 1/10,000, size in 1/1,000,000), best first."""

MIN_ORDER_SIZE = "5"


class Phase(Enum):
    """Where a market is in its life."""

    TRADING = "trading"
    CLOSING = "closing"
    """Past its end: the book is emptied, the outcome is not known yet."""
    RESOLVED = "resolved"
    """Settled: no order book exists any more."""


@define(eq=False)
class Market:
    """Two tokens that are mirror images of each other, and everything the venue says about them."""

    index: int
    condition_id: str
    tokens: tuple[str, str]
    slug: str
    asset: str
    window_start_ms: int
    window_end_ms: int
    flow: Flow
    history_ms: int
    ladders: tuple[Ladder, Ladder] = field(factory=lambda: (Ladder(), Ladder()))
    phase: Phase = Phase.TRADING
    winner: int | None = None
    # The price grid that enters hashes, in 1/10,000; it can be ahead of its announcement.
    tick: int = 100
    # The trade price that enters hashes: one string for both tokens, "" before the first trade.
    trade_price: str = ""
    last_trade_side: str = ""
    changed_ms: int = 0
    # Decided one batch ahead when a hash had to contain it already.
    planned: Group | None = None
    histories: tuple[History, History] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start with two empty books."""
        self.histories = (History(self.history_ms), History(self.history_ms))

    # The truth.

    def begin(self, changes: Iterable[Change], at_ms: int) -> None:
        """Fill the empty books. Nobody could see them half full, so only the result was ever true."""
        for change in changes:
            self.ladders[change.side].set(change.price, change.size)
        self.changed_ms = at_ms
        first, second = self.ladders
        self.histories = (
            History(self.history_ms, (first.bid_digest, second.ask_digest)),
            History(self.history_ms, (second.bid_digest, first.ask_digest)),
        )

    def apply(self, change: Change, at_ms: int) -> None:
        """Change one level; both tokens have a new state from now on."""
        self.ladders[change.side].set(change.price, change.size)
        first, second = self.ladders
        self.histories[0].record((first.bid_digest, second.ask_digest), at_ms)
        self.histories[1].record((second.bid_digest, first.ask_digest), at_ms)

    def levels(self, index: int) -> tuple[Levels, Levels]:
        """Bids and asks of the first (0) or the second (1) token."""
        return self.ladders[index].bids(), self.ladders[1 - index].asks()

    def best(self, index: int) -> tuple[str, str]:
        """Best bid and best ask as the wire writes them: "0" and "1" for an empty side."""
        other = self.ladders[1 - index].best
        return PRICE_TEXTS[self.ladders[index].best], PRICE_TEXTS[ONE_PRICE - other]

    @property
    def tick_text(self) -> str:
        """The tick size as the wire writes it."""
        return PRICE_TEXTS[self.tick]

    # The wire.

    def book_hash(self, index: int, at_ms: int) -> str:
        """The venue's hash of a token's whole book at this timestamp."""
        return sha1(self._ten_keys(index, at_ms, "").encode(), usedforsecurity=False).hexdigest()

    def rest_book(self, index: int) -> str:
        """The REST form: all ten keys, with the time and the hash of the last change."""
        return self._ten_keys(index, self.changed_ms, self.book_hash(index, self.changed_ms))

    def opening_book(self, index: int) -> str:
        """The form that a new subscription gets, an element of its opening array."""
        return (
            f'{{"market":"{self.condition_id}","asset_id":"{self.tokens[index]}","timestamp":"{self.changed_ms}",'
            f'"hash":"{self.book_hash(index, self.changed_ms)}",{self._sides(index)},"tick_size":"{self.tick_text}",'
            f'"event_type":"book","last_trade_price":"{self.trade_price}"}}'
        )

    def book_frame(self, index: int, at_ms: int, book_hash: str) -> Frame:
        """A whole book, as it is sent with every trade: fewer keys than the opening one."""
        text = (
            f'{{"market":"{self.condition_id}","asset_id":"{self.tokens[index]}",{self._sides(index)},'
            f'"hash":"{book_hash}","timestamp":"{at_ms}","event_type":"book"}}\n'
        )
        return Frame(text, BOOK, self.condition_id, self.tokens[index], at_ms)

    def price_change_frames(
        self, group: Group, at_ms: int, hashes: tuple[str, str], *, sell_first: bool
    ) -> list[Frame]:
        """One message for each change; all of them state the top and the hash of the batch's end."""
        tails = []
        for index in (0, 1):
            bid, ask = self.best(index)
            tails.append(f'", "hash":"{hashes[index]}", "best_bid":"{bid}", "best_ask":"{ask}"}}')
        first, second = (f'{{"asset_id":"{token}", "price":"' for token in self.tokens)
        heads = (first, second)
        start = f'{{"market":"{self.condition_id}", "price_changes":['
        end = f'], "timestamp":"{at_ms}", "event_type":"price_change"}}'
        frames = []
        for side, price, size in group.changes:
            text = size_text(size)
            buy = f'{heads[side]}{PRICE_TEXTS[price]}", "size":"{text}", "side":"BUY{tails[side]}'
            mirror = 1 - side
            sell = f'{heads[mirror]}{PRICE_TEXTS[ONE_PRICE - price]}", "size":"{text}", "side":"SELL{tails[mirror]}'
            body = f"{sell}, {buy}" if sell_first else f"{buy}, {sell}"
            frames.append(Frame(f"{start}{body}{end}", PRICE_CHANGE, self.condition_id, "", at_ms))
        return frames

    def trade_frame(self, trade: Trade, at_ms: int, transaction: str) -> Frame:
        """The announcement of a trade, from the taker's point of view."""
        index, price, side = (
            (1 - trade.side, ONE_PRICE - trade.price, "BUY") if trade.bought else (trade.side, trade.price, "SELL")
        )
        text = (
            f'{{"market":"{self.condition_id}", "asset_id":"{self.tokens[index]}", "price":"{PRICE_TEXTS[price]}", '
            f'"size":"{size_text(trade.size)}", "fee_rate_bps":"1000", "side":"{side}", "timestamp":"{at_ms}", '
            f'"event_type":"last_trade_price", "transaction_hash":"{transaction}"}}'
        )
        return Frame(text, LAST_TRADE_PRICE, self.condition_id, self.tokens[index], at_ms)

    def best_frame(self, index: int, at_ms: int) -> Frame:
        """The top of one token without sizes; the spread is empty when a side is."""
        bid, ask = self.best(index)
        both = self.ladders[0].best and self.ladders[1].best
        spread = PRICE_TEXTS[ONE_PRICE - self.ladders[0].best - self.ladders[1].best] if both else ""
        text = (
            f'{{"market":"{self.condition_id}", "asset_id":"{self.tokens[index]}", "best_bid":"{bid}", '
            f'"best_ask":"{ask}", "spread":"{spread}", "timestamp":"{at_ms}", "event_type":"best_bid_ask"}}'
        )
        return Frame(text, BEST_BID_ASK, self.condition_id, self.tokens[index], at_ms)

    def tick_frame(self, index: int, at_ms: int, old: int, new: int) -> Frame:
        """The announcement of a finer price grid for one token."""
        text = (
            f'{{"market":"{self.condition_id}", "asset_id":"{self.tokens[index]}", '
            f'"old_tick_size":"{PRICE_TEXTS[old]}", "new_tick_size":"{PRICE_TEXTS[new]}", "timestamp":"{at_ms}", '
            f'"event_type":"tick_size_change"}}'
        )
        return Frame(text, TICK_SIZE_CHANGE, self.condition_id, self.tokens[index], at_ms)

    def _sides(self, index: int) -> str:
        return f'"bids":[{self.ladders[index].bids_json()}],"asks":[{self.ladders[1 - index].asks_json()}]'

    def _ten_keys(self, index: int, at_ms: int, book_hash: str) -> str:
        return (
            f'{{"market":"{self.condition_id}","asset_id":"{self.tokens[index]}","timestamp":"{at_ms}",'
            f'"hash":"{book_hash}",{self._sides(index)},"min_order_size":"{MIN_ORDER_SIZE}",'
            f'"tick_size":"{self.tick_text}","neg_risk":false,"last_trade_price":"{self.trade_price}"}}'
        )
