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

from attrs import define, field, frozen

from polymirror.simulator.frames import BEST_BID_ASK, BOOK, LAST_TRADE_PRICE, PRICE_CHANGE, TICK_SIZE_CHANGE, Frame
from polymirror.simulator.history import Digest, History
from polymirror.simulator.ladder import ONE_PRICE, PRICE_TEXTS, Ladder, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.simulator.flow import Change, Flow, Group, Trade
    from polymirror.simulator.rounds import Round

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


@frozen(kw_only=True)
class Ending:
    """How a market ends."""

    empties: bool = True
    """Whether a burst of removals empties the book first."""
    resolve_delay_ms: int = 2_000
    """From the emptied book to the resolution, when its order book ceases to exist."""
    announced: bool = True
    """Whether ``market_resolved`` is sent."""
    announce_delay_ms: int = 0
    """From the resolution to its announcement."""
    closes: bool = True
    """Whether connections with nothing but ended markets are closed with 1000."""


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
    # Lets the next batch happen; made once, because it is put down again after each.
    trade: Callable[[int, list[Frame]], None] = field(init=False)
    # Decided one batch ahead when a hash had to contain it already.
    planned: Group | None = None
    # The keys that are hashed: today ten; nine and six have been seen.
    hashed_keys: int = 10
    # How it ends, once that is decided; and whether its connections may be closed.
    ending: Ending | None = None
    over: bool = False
    # The window that its outcome depends on, if it is one of a rolling series.
    round: Round | None = None
    # The truth of the first token; that of the second is its mirror image.
    history: History = field(init=False)
    # The beginnings of texts, which never change, and their ends with what they were made from.
    _heads: tuple[str, str] = field(init=False)
    _change_heads: tuple[str, str] = field(init=False)
    _last_tail: tuple[tuple[int, int, str], str] = ((0, 0, ""), "")

    def __attrs_post_init__(self) -> None:
        """Start with two empty books."""
        self.history = History(self.history_ms)
        first, second = (
            f'{{"market":"{self.condition_id}","asset_id":"{token}","timestamp":"' for token in self.tokens
        )
        self._heads = (first, second)
        first, second = (f'{{"asset_id":"{token}", "price":"' for token in self.tokens)
        self._change_heads = (first, second)

    @property
    def closed(self) -> bool:
        """Whether the discovery service knows that it is settled; of a round it learns that late."""
        return self.phase is Phase.RESOLVED and (self.round is None or self.round.outcome_published)

    # The truth.

    def begin(self, changes: Iterable[Change], at_ms: int) -> None:
        """Fill the empty books. Nobody could see them half full, so only the result was ever true."""
        for change in changes:
            self.ladders[change.side].set(change.price, change.size)
        self.changed_ms = at_ms
        self.history = History(self.history_ms, (self.ladders[0].digest, self.ladders[1].digest))

    def apply(self, change: Change, at_ms: int) -> None:
        """Change one level; both tokens have a new state from now on."""
        first, second = self.ladders
        self.ladders[change.side].set(change.price, change.size)
        self.history.record((first.digest, second.digest), at_ms)

    def was(self, index: int, state: Digest, since_ms: int) -> bool:
        """Whether the book of a token was in this state at any time from ``since_ms`` on."""
        return self.history.was((state[1], state[0]) if index else state, since_ms)

    def levels(self, index: int) -> tuple[Levels, Levels]:
        """Bids and asks of the first (0) or the second (1) token."""
        return self.ladders[index].bids(), self.ladders[1 - index].asks()

    def best(self, index: int) -> tuple[str, str]:
        """Best bid and best ask as the wire writes them: "0" and "1" for an empty side."""
        first, second = self.tops
        if index:
            first, second = second, first
        return PRICE_TEXTS[first], PRICE_TEXTS[ONE_PRICE - second]

    @property
    def tops(self) -> tuple[int, int]:
        """The highest bids of the two tokens in 1/10,000; 0 where there is none."""
        first, second = self.ladders[0].prices, self.ladders[1].prices
        return first[-1] if first else 0, second[-1] if second else 0

    @property
    def tick_text(self) -> str:
        """The tick size as the wire writes it."""
        return PRICE_TEXTS[self.tick]

    # The wire.

    def book_hash(self, index: int, at_ms: int) -> str:
        """The venue's hash of a token's whole book at this timestamp."""
        text = f'{self._heads[index]}{at_ms}","hash":"",{self._sides(index)}{self._tail(self.hashed_keys)}'
        return sha1(text.encode(), usedforsecurity=False).hexdigest()

    def rest_book(self, index: int) -> str:
        """The REST form: all ten keys, with the time and the hash of the last change."""
        at_ms = self.changed_ms
        book_hash = self.book_hash(index, at_ms)
        return f'{self._heads[index]}{at_ms}","hash":"{book_hash}",{self._sides(index)}{self._tail(10)}'

    def opening_book(self, index: int) -> str:
        """The form that a new subscription gets, an element of its opening array."""
        return (
            f'{self._heads[index]}{self.changed_ms}","hash":"{self.book_hash(index, self.changed_ms)}",'
            f'{self._sides(index)},"tick_size":"{self.tick_text}",'
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
        first, second = self.tops
        tails = _tail_of(hashes[0], first, second), _tail_of(hashes[1], second, first)
        heads = self._change_heads
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

    def _tail(self, keys: int) -> str:
        """The keys after the levels, as far as this many keys go."""
        made_of = (keys, self.tick, self.trade_price)
        if self._last_tail[0] != made_of:
            self._last_tail = (made_of, self._new_tail(keys))
        return self._last_tail[1]

    def _new_tail(self, keys: int) -> str:
        if keys < 9:
            return "}"
        constants = f',"min_order_size":"{MIN_ORDER_SIZE}","tick_size":"{PRICE_TEXTS[self.tick]}","neg_risk":false'
        return constants + ("}" if keys < 10 else f',"last_trade_price":"{self.trade_price}"}}')


def _tail_of(book_hash: str, top: int, other_top: int) -> str:
    """The end of a change: what it states about the token's book."""
    bid, ask = PRICE_TEXTS[top], PRICE_TEXTS[ONE_PRICE - other_top]
    return f'", "hash":"{book_hash}", "best_bid":"{bid}", "best_ask":"{ask}"}}'
