"""One simulated market: two tokens, normally mirror images, their truth, and their wire texts.

Formats follow recorded frames: key order, level order, separators, and which keys a frame carries.
The book hash is computed here by the venue's plain rule (SHA-1 over the compact JSON of ten keys)
from cached fragments, deliberately not by the library's own checksum: a simulator that shared it
could not find it wrong. The exchange decides when something happens; nothing here knows time.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from hashlib import sha1
from typing import TYPE_CHECKING, NamedTuple

from attrs import Factory, define, field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.flow import Change
from polymirror.simulator.exchange.history import Digest, History
from polymirror.simulator.exchange.ladder import ONE_PRICE, PRICE_TEXTS, Ladder, size_text
from polymirror.simulator.frames import BEST_BID_ASK, BOOK, LAST_TRADE_PRICE, PRICE_CHANGE, TICK_SIZE_CHANGE, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polymirror.simulator.exchange.flow import Flow, Group, Trade
    from polymirror.simulator.exchange.queue import Queues
    from polymirror.simulator.exchange.round import Round

Levels = tuple[tuple[int, int], ...]
"""(price in 1/10,000, size in 1/1,000,000), best first."""

MIN_ORDER_SIZE = "5"

NEG_RISK = ("false", "true")

MAX_ALONE = 256
"""Newest changes of one token alone whose times are kept."""


class Lone(NamedTuple):
    """An offer that only the own book of the token with index ``of`` shows; its price is that token's."""

    of: int
    price: int
    size: int

    @property
    def change(self) -> Change:
        """The same as a level: a bid for the other token."""
        return Change(1 - self.of, ONE_PRICE - self.price, self.size)


@frozen(kw_only=True)
class Kind:
    """What a market is about, and what discovery says of it."""

    tags: tuple[tuple[str, str], ...] = (("21", "Crypto"), ("102127", "Up or Down"))
    """Number and label of each. The numbers are made up, but for that of crypto."""
    fee: int = 700
    """The rate of the taker fee in 1/10,000; 0: there is none."""
    neg_risk: bool = False
    volume: int = 0
    """What was traded within 24 hours, in pUSD."""
    question: str = ""
    """What people call it; empty: by its window."""
    taker_delay: bool = True


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
    payouts: tuple[int, int] | None = field(default=None)
    """What the two tokens pay, in proportion: (1, 1) is 50/50. ``None``: the one that won pays all."""

    def __attrs_post_init__(self) -> None:
        if self.payouts is not None and (min(self.payouts) < 0 or not sum(self.payouts)):
            raise ConfigError("payouts", self.payouts, "two whole numbers, none negative, not both 0")


@define(eq=False)
class OwnBook:
    """The book of a token that is no mirror image of the other one's, since something befell it alone.

    ``ladders`` are the bids of the first and of the second token as this token's book has them.
    """

    ladders: tuple[Ladder, Ladder]
    history: History
    alone_ms: deque[int] = Factory(lambda: deque(maxlen=MAX_ALONE))
    """When it changed alone, in true exchange time: the newest last."""
    changed_ms: int = 0
    """What the venue states as the time of the change that befell it alone; 0 once both changed again."""

    def alone_by(self, until_ms: int) -> int:
        """When it had changed alone last at a moment; the oldest change that is known, if it was later."""
        return next((at_ms for at_ms in reversed(self.alone_ms) if at_ms <= until_ms), self.alone_ms[0])


@define(eq=False)
class Market:
    """Two tokens, and everything the venue says about them.

    Orders change both, so they are mirror images of each other until a fault makes one of them differ:
    from then on that one has a book of its own.
    """

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
    # What the tokens pay, in proportion, once it is resolved; no token wins alone when both do.
    payouts: tuple[int, int] | None = None
    # The price grid that enters hashes, in 1/10,000; it can be ahead of its announcement.
    tick: int = 100
    # The trade price that enters hashes: one string for both tokens, "" before the first trade.
    trade_price: str = ""
    # The last trade as the taker made it: the index of its token, the price in 1/10,000, and whether it was bought.
    last_trade: tuple[int, int, bool] | None = None
    changed_ms: int = 0
    # Lets the next batch happen; made once, because it is put down again after each.
    trade: Callable[[int, list[Frame]], None] = field(init=False)
    # Decided one batch ahead when a hash had to contain it already.
    planned: Group | None = None
    # True once its book was set from outside: the order flow leaves it alone from then on.
    scripted: bool = False
    # The keys that are hashed: today ten; nine and six have been seen.
    hashed_keys: int = 10
    # How it ends, once that is decided; and whether its connections may be closed.
    ending: Ending | None = None
    over: bool = False
    # The window that its outcome depends on, if it is one of a rolling series.
    round: Round | None = None
    # The truth of the first token; that of the second is its mirror image, unless it has a book of its own.
    history: History = field(init=False)
    own: list[OwnBook | None] = field(factory=lambda: [None, None])
    # The offers of each token that only its own book shows, while there are any.
    lone: list[Lone | None] = field(factory=lambda: [None, None])
    # Who waits in the book, while orders of accounts do.
    queues: Queues | None = None
    kind: Kind = field(factory=Kind)
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
        for own in self.own:
            if own is not None:
                own.changed_ms = 0
                own.ladders[change.side].set(change.price, change.size)
                own.history.record((own.ladders[0].digest, own.ladders[1].digest), at_ms)

    def set_alone(self, index: int, change: Change, at_ms: int, stated_ms: int) -> None:
        """Change one level of one token only, which stops (or begins again) to be the other one's mirror image."""
        own = self.own[index]
        if own is None:
            first, second = self.ladders
            own = self.own[index] = OwnBook((first.copy(), second.copy()), self.history.copy())
        own.alone_ms.append(at_ms)
        own.changed_ms = stated_ms
        own.ladders[change.side].set(change.price, change.size)
        own.history.record((own.ladders[0].digest, own.ladders[1].digest), at_ms)

    def offer(self, offer: Lone, at_ms: int, stated_ms: int) -> None:
        """Let one token's own book, and no other, show an offer of this size; 0: no more."""
        self.set_alone(offer.of, offer.change, at_ms, stated_ms)
        self.lone[offer.of] = offer if offer.size else None

    def was(self, index: int, state: Digest, since_ms: int) -> bool:
        """Whether the book of a token was in this state at any time from ``since_ms`` on."""
        own = self.own[index]
        history = self.history if own is None else own.history
        return history.was((state[1], state[0]) if index else state, since_ms)

    def levels(self, index: int) -> tuple[Levels, Levels]:
        """Bids and asks of the first (0) or the second (1) token."""
        pair = self.pair(index)
        return pair[index].bids(), pair[1 - index].asks()

    def pair(self, index: int) -> tuple[Ladder, Ladder]:
        """The bids of the first and of the second token, as the book of this token has them."""
        own = self.own[index]
        return self.ladders if own is None else own.ladders

    def best(self, index: int) -> tuple[str, str]:
        """Best bid and best ask as the wire writes them: "0" and "1" for an empty side."""
        bid, ask = self._top(index)
        return PRICE_TEXTS[bid], PRICE_TEXTS[ONE_PRICE - ask]

    def _top(self, index: int) -> tuple[int, int]:
        """The highest bid of this token and of the other one, as the book of this token has them."""
        pair = self.pair(index)
        return pair[index].best, pair[1 - index].best

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

    def hashes_after(self, changes: Sequence[Change], at_ms: int) -> tuple[str, str]:
        """What :meth:`book_hash` would be for both tokens if these changes were in already."""
        olds = []
        for pair in dict.fromkeys((self.ladders, self.pair(0), self.pair(1))):
            olds += [(pair, c.side, c.price, pair[c.side].set(c.price, c.size)) for c in changes]
        hashes = self.book_hash(0, at_ms), self.book_hash(1, at_ms)
        for pair, side, price, old in reversed(olds):
            pair[side].set(price, old)
        return hashes

    def book_ms(self, index: int) -> int:
        """The time of the last change of a token's book, as the venue states it."""
        own = self.own[index]
        return self.changed_ms if own is None else own.changed_ms or self.changed_ms

    def rest_book(self, index: int) -> str:
        """The REST form: all ten keys, with the time and the hash of the last change."""
        at_ms = self.book_ms(index)
        book_hash = self.book_hash(index, at_ms)
        return f'{self._heads[index]}{at_ms}","hash":"{book_hash}",{self._sides(index)}{self._tail(10)}'

    def opening_book(self, index: int) -> str:
        """The form that a new subscription gets, an element of its opening array."""
        at_ms = self.book_ms(index)
        return (
            f'{self._heads[index]}{at_ms}","hash":"{self.book_hash(index, at_ms)}",'
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
        tails = _tail_of(hashes[0], *self._top(0)), _tail_of(hashes[1], *self._top(1))
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

    def lone_frame(self, offer: Lone, at_ms: int, hashes: tuple[str, str]) -> Frame:
        """The message of an offer that one token's own book shows. The other token's best bid is said again with it."""
        mine, other = offer.of, 1 - offer.of
        ladder = self.pair(other)[other]
        best, size = PRICE_TEXTS[ladder.best], size_text(ladder.size_at(ladder.best))
        tails = [_tail_of(hashes[index], *self._top(index)) for index in (0, 1)]
        text = (
            f'{{"market":"{self.condition_id}", "price_changes":['
            f'{self._change_heads[mine]}{PRICE_TEXTS[offer.price]}", "size":"{size_text(offer.size)}", '
            f'"side":"SELL{tails[mine]}, {self._change_heads[other]}{best}", "size":"{size}", "side":"BUY{tails[other]}'
            f'], "timestamp":"{at_ms}", "event_type":"price_change"}}'
        )
        return Frame(text, PRICE_CHANGE, self.condition_id, "", at_ms)

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
        one, other = self._top(index)
        spread = PRICE_TEXTS[ONE_PRICE - one - other] if one and other else ""
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
        pair = self.pair(index)
        return f'"bids":[{pair[index].bids_json()}],"asks":[{pair[1 - index].asks_json()}]'

    def _tail(self, keys: int) -> str:
        """The keys after the levels, as far as this many keys go."""
        made_of = (keys, self.tick, self.trade_price)
        if self._last_tail[0] != made_of:
            self._last_tail = (made_of, self._new_tail(keys))
        return self._last_tail[1]

    def _new_tail(self, keys: int) -> str:
        if keys < 9:
            return "}"
        grid, neg_risk = PRICE_TEXTS[self.tick], NEG_RISK[self.kind.neg_risk]
        constants = f',"min_order_size":"{MIN_ORDER_SIZE}","tick_size":"{grid}","neg_risk":{neg_risk}'
        return constants + ("}" if keys < 10 else f',"last_trade_price":"{self.trade_price}"}}')


def _tail_of(book_hash: str, top: int, other_top: int) -> str:
    """The end of a change: what it states about the token's book."""
    bid, ask = PRICE_TEXTS[top], PRICE_TEXTS[ONE_PRICE - other_top]
    return f'", "hash":"{book_hash}", "best_bid":"{bid}", "best_ask":"{ask}"}}'
