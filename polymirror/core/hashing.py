"""Proving a book by the venue's hash: what to try, in which order, and when to stop.

The hash covers things the stream announces late or never: the last trade price (in the hash up to 30 ms
before it is announced, either token's), a new tick size (slightly before its event), the market's
constants (never on the stream). A match with any candidate still proves every level, since two texts with
one SHA-1 do not occur by accident. So :class:`MarketHash` keeps what is known of a market and learns from each match.
It tries, in this order: what was known last (:meth:`MarketHash.prove`, one digest a message); what is likely
(:meth:`MarketHash.try_likely`, at most 53, when a batch is over); everything (:meth:`MarketHash.search`, thousands).
When a missed hash is worth the last, :mod:`polymirror.core.misses` decides; what all of them may cost together,
:class:`~polymirror.core.dialects.SearchBudget`.

What a whole book says about itself explains that book's own hash; it is kept only once the book is accepted (rule D5).
Which form of the text is in use is learnt in :mod:`polymirror.core.dialects`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import evolve
from msgspec import Struct

from polymirror.core.checksum import Constants, Dialect, HashTemplate
from polymirror.core.units import PRICE_SCALE, TICK_SIZES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from hashlib import _Hash as HASH

    from polymirror.core.book import OrderBook, Texts
    from polymirror.core.dialects import DialectBook
    from polymirror.core.messages import Snapshot

MAX_RECENT_TRADES: Final = 8
"""Announced trade prices kept as candidates; each counts twice (p and 1 - p)."""

FINEST_STEP: Final = 10
"""Distance of the trade prices of a search, in 1/10,000; where a market's own grid is finer, that counts."""

NEAR_TOP: Final = 2
"""A trade is made at the best price of its moment: all 2,544 books of two recordings had one so many ticks away."""

COMMON_MIN_ORDER_SIZES: Final = ("5", "15", "1", "10", "20", "50", "100")
"""Tried when REST has not told the minimum order size yet (5 in all recorded crypto markets)."""

COMMON_TICK_SIZES: Final = ("0.01", "0.001")
"""The tick sizes of all recorded crypto markets."""

NEWEST: Final = 3
"""Trade prices that are tried under another tick size than the known one: the last proven, and the newest's two."""


@cache
def trade_price_wire(price: int) -> str:
    """Spell a price (1/10,000) as the hash does: three decimals, four where needed ("0.480")."""
    whole, rest = divmod(price, PRICE_SCALE)
    return f"{whole}.{rest:04d}" if rest % 10 else f"{whole}.{rest // 10:03d}"


@cache
def trade_prices(tick: int = FINEST_STEP) -> tuple[str, ...]:
    """Return "" for no trade yet, all 1,001 prices of three decimals, and what else is on the grid of ``tick``."""
    own = (price for price in range(tick, PRICE_SCALE, tick) if price % FINEST_STEP)
    return ("", *map(trade_price_wire, range(0, PRICE_SCALE + 1, FINEST_STEP)), *map(trade_price_wire, own))


def near_top(book: OrderBook, tick: int) -> Iterator[str]:
    """Yield the trade prices next to a book's best ones, in both tokens' spelling."""
    for keys in (book.bids.keys, book.asks.keys):
        for steps in range(-NEAR_TOP, NEAR_TOP + 1) if keys else ():
            price = keys[-1] + steps * tick
            if 0 < price < PRICE_SCALE:
                yield trade_price_wire(price)
                yield trade_price_wire(PRICE_SCALE - price)


class Explained(Struct, frozen=True, gc=False):
    """What a whole book's own hash covers: nothing of it is known before the book is accepted."""

    dialect: Dialect
    constants: Constants
    last_trade_price: str


class MarketHash:
    """What is known of one market's hash. Both tokens share the constants and the last trade price."""

    __slots__ = (
        "_constants", "_dialects", "_next_tick", "_other_templates", "_recent", "_template_of", "_templates",
        "last_trade_price", "market", "shown_tick",
    )  # fmt: skip

    def __init__(self, market: str, dialects: DialectBook) -> None:
        self.market: str = market
        self._dialects = dialects
        self._constants: Constants | None = None
        # The tick size of the constants, in 1/10,000; None until known.
        self.shown_tick: int | None = None
        # The last trade price of the newest match: by far the likeliest to match again.
        self.last_trade_price: str = ""
        # Announced trade prices, newest first, both tokens' spelling.
        self._recent: tuple[str, ...] = ()
        # Ticks seen in events that no match has confirmed yet.
        self._next_tick: str | None = None
        # By asset id, valid for the current constants and dialect.
        self._templates: dict[str, HashTemplate] = {}
        # The same for tick sizes that were tried, by asset id and tick size.
        self._other_templates: dict[tuple[str, str], HashTemplate] = {}
        self._template_of: tuple[Dialect | None, Constants | None] = (None, None)
        dialects.markets.add(market)

    def forget(self) -> None:
        """The market is mirrored no more."""
        self._dialects.forget(self.market)

    @property
    def form(self) -> str | None:
        """The name of the form that the venue hashes; None: not known yet."""
        return None if self._dialects.current is None else self._dialects.current.name

    @property
    def constants(self) -> Constants | None:
        """What the hash covers beside the levels; None until told by REST, or found by trying the common ones."""
        return self._constants

    @constants.setter
    def constants(self, constants: Constants | None) -> None:
        self._constants = constants
        self.shown_tick = None if constants is None else TICK_SIZES.get(constants.tick_size)

    @property
    def verifiable(self) -> bool:
        """Whether a differing hash means anything: the constants are known, and the form is not known to be another."""
        dialects = self._dialects
        return self._constants is not None and not (dialects.distrusted and dialects.has_missed(self.market))

    def stream_missed(self, now: float) -> str:
        """Note that a hash of the stream never fitted; return what is to be told of it."""
        before, ended = self.verifiable, self._dialects.missed(self.market, now)
        if self.verifiable or not before:
            return ""
        markets = ", ".join(self._dialects.missing) if ended else self.market
        return f"{markets}: no known form explains the hashes any more; REST and stream must agree instead"

    def traded(self, price: int) -> tuple[str, str]:
        """Note an announced trade price (1/10,000, either token's); return how the hash may spell it."""
        newest = (trade_price_wire(price), trade_price_wire(PRICE_SCALE - price))
        self._recent = (*newest, *self._recent)[: 2 * MAX_RECENT_TRADES]
        return newest

    def tick_announced(self, tick_size: str) -> None:
        """Note an announced tick size; the next match tells whether the hash has it already."""
        self._next_tick = tick_size

    def prove(self, asset_id: str, timestamp: int, book: OrderBook, announced: str) -> bool:
        """Whether the book has the announced hash, with what is known now. One SHA-1."""
        template = self._templates.get(asset_id)
        dialect, constants = self._template_of
        if template is None or dialect is not self._dialects.current or constants is not self._constants:
            template = self._template(asset_id)
        if template is None or template.digest(timestamp, book, self.last_trade_price) != announced:
            return False
        self._dialects.matched()
        return True

    def hash_of(self, asset_id: str, timestamp: int, book: OrderBook) -> str:
        """Return the hash that the venue gives to a book, as far as is known; "": no form is known yet."""
        template = self._template(asset_id)
        return "" if template is None else template.digest(timestamp, book, self.last_trade_price)

    def which(self, asset_id: str, timestamp: int, book: OrderBook, hashes: Sequence[str]) -> str | None:
        """Return the one of these hashes that the book has, with what is known now. One SHA-1."""
        template = self._template(asset_id)
        digest = None if template is None else template.digest(timestamp, book, self.last_trade_price)
        if digest not in hashes:
            return None
        self._dialects.matched()
        return digest

    def try_likely(self, asset_id: str, timestamp: int, book: OrderBook, announced: str) -> bool:
        """Whether the book has the announced hash with a likely candidate; learn from the match.

        Likely are the recent trade prices and those at the top of the book, and the newest of them under any other
        tick size.
        """
        template = self._template(asset_id)
        if template is None:
            return False
        begun, known = template.begin(timestamp, book.texts()), self._known_trades
        likely = dict.fromkeys((*known, *near_top(book, self.shown_tick or FINEST_STEP)))
        found = template.fit(begun, announced, likely)
        if found is None:
            found = self._fit_other_ticks(asset_id, timestamp, book.texts(), announced, known[:NEWEST], begun)
        return self._learn(found)

    def fits(self, asset_id: str, timestamp: int, texts: Texts, announced: str, trades: Sequence[str] = ()) -> bool:
        """Whether a book of these texts has the announced hash with one of these trade prices, or the known one."""
        template = self._template(asset_id)
        if template is None:
            return False
        return self._learn(
            template.fit(template.begin(timestamp, texts), announced, trades or (self.last_trade_price,))
        )

    def search(self, asset_id: str, timestamp: int, texts: Texts, announced: str, now: float) -> bool:
        """Whether a book of these texts has the announced hash with any tick size and trade price: thousands of tries.

        Learn from the match. It is spent from the budget; whether there is any left is asked before.
        """
        template = self._template(asset_id)
        if template is None:
            return False
        trades = self._all_trades
        begun = template.begin(timestamp, texts)
        found = template.fit(begun, announced, trades)
        if found is None:
            found = self._fit_other_ticks(asset_id, timestamp, texts, announced, trade_prices(), begun)
        self._dialects.budget.spend(len(trades) + (len(TICK_SIZES) - 1) * len(trade_prices()), now)
        return self._learn(found)

    def next_search(self) -> float:
        """Return from when on the budget allows a search."""
        return self._dialects.budget.free_at

    def next_turn(self, now: float) -> float:
        """Return when to look again for what is left of the budget."""
        return self._dialects.budget.turn(now)

    def _fit_other_ticks(
        self, asset_id: str, timestamp: int, texts: Texts, announced: str, trades: Sequence[str], begun: HASH
    ) -> str | None:
        """Try all tick sizes but the known one; keep the one that fits."""
        dialect, constants = self._dialects.current, self._constants
        if dialect is None or constants is None or not dialect.has_constants:
            return None
        for tick in self._other_ticks(constants.tick_size):
            other = self._other_templates.get((asset_id, tick))
            if other is None:
                other = HashTemplate(dialect, self.market, asset_id, evolve(constants, tick_size=tick))
                self._other_templates[asset_id, tick] = other
            found = other.fit(begun if dialect.begins_alike else other.begin(timestamp, texts), announced, trades)
            if found is not None:
                self.constants = evolve(constants, tick_size=tick)
                return found
        return None

    def _learn(self, found: str | None) -> bool:
        """Keep a trade price that gave the announced hash; None: none did."""
        if found is None:
            return False
        self.last_trade_price = found
        self._dialects.matched()
        return True

    @property
    def _known_trades(self) -> tuple[str, ...]:
        """The last proven trade price, the announced ones and none, each once."""
        return tuple(dict.fromkeys((self.last_trade_price, *self._recent, "")))

    @property
    def _all_trades(self) -> tuple[str, ...]:
        """The trade prices to search, those between the usual ones included where the market's grid has some."""
        tick = self.shown_tick or FINEST_STEP
        return trade_prices(tick if tick % FINEST_STEP else FINEST_STEP)

    def is_hash_of(self, message: Snapshot, book: OrderBook) -> bool:
        """Whether ``book`` has the hash that a REST book states. Then it equals that book, level by level."""
        told = message.last_trade_price
        template = self._template(message.asset_id)
        if template is None or not message.hash or told is None:
            return False
        if template.digest(message.timestamp_ms, book, told) != message.hash:
            return False
        self.last_trade_price = told
        self._dialects.matched()
        return True

    def explain(self, message: Snapshot, book: OrderBook, now: float) -> Explained | None:
        """Find what a whole book's own hash covers: a dialect, constants and a last trade price. Learns nothing.

        A whole book is never hashed late, and it is rare: what is likely is tried, and then everything at once, if
        the budget allows.
        """
        if not message.hash:
            return None
        told, dialect, constants = message.last_trade_price, self._dialects.current, self._constants
        if (
            told is not None
            and dialect is not None
            and constants is not None
            and (template := self._template(message.asset_id)) is not None
            and template.digest(message.timestamp_ms, book, told) == message.hash
        ):
            # What would be tried first below, and nearly always fits: in one digest it takes 9 us less.
            return Explained(dialect, constants, told)
        known = self._known_trades
        if told is not None:
            return self._explain(message, book, self._forms_to_try(message), dict.fromkeys((told, *known)))
        likely = dict.fromkeys((*known, *near_top(book, self.shown_tick or FINEST_STEP)))
        found = self._explain(message, book, self._forms_to_try(message), likely)
        budget = self._dialects.budget
        if found is None and now >= budget.free_at:
            forms, trades = list(self._forms_to_search(message)), self._all_trades
            budget.spend(len(forms) * len(trades), now)
            found = self._explain(message, book, forms, trades)
        return found

    def _explain(
        self, message: Snapshot, book: OrderBook, forms: Iterable[tuple[Dialect, Constants]], trades: Iterable[str]
    ) -> Explained | None:
        """Try these trade prices with each of these forms."""
        asset_id, texts = message.asset_id, book.texts()
        for dialect, constants in forms:
            known = constants is self._constants and dialect is self._dialects.current
            template = self._template(asset_id) if known else None
            if template is None:
                template = HashTemplate(dialect, self.market, asset_id, constants)
            found = template.fit(template.begin(message.timestamp_ms, texts), message.hash, trades)
            if found is not None:
                return Explained(dialect, constants, found)
        return None

    def _forms_to_try(self, message: Snapshot) -> Iterator[tuple[Dialect, Constants]]:
        """Yield what a whole book may be written with, the likeliest first."""
        for dialect in self._dialects.to_try():
            for constants in self._constants_to_try(dialect, message):
                yield dialect, constants

    def _forms_to_search(self, message: Snapshot) -> Iterator[tuple[Dialect, Constants]]:
        """Yield those that are worth a search of all trade prices: any tick size, and else what is known or common."""
        known = self._constants
        for dialect, constants in self._forms_to_try(message):
            size, neg_risk = constants.min_order_size, constants.neg_risk
            if known is not None:
                worth = (size, neg_risk) == (known.min_order_size, known.neg_risk)
            else:
                worth = size == COMMON_MIN_ORDER_SIZES[0] and constants.tick_size in COMMON_TICK_SIZES
            if worth and dialect.has_last_trade:
                yield dialect, constants

    def accept(self, explained: Explained | None, message: Snapshot) -> None:
        """A whole book was accepted: keep what explained its hash, or, where nothing can, what it tells.

        A price grid only ever gets finer: a book from before its change has the old one, and a hash that fits.
        """
        if explained is not None:
            constants, known = explained.constants, self._constants
            if constants is not known:
                if known is not None and _is_coarser(constants.tick_size, known.tick_size):
                    constants = evolve(constants, tick_size=known.tick_size)
                if constants != known:
                    self.constants = constants
            self.last_trade_price = explained.last_trade_price
            self._dialects.explained(explained.dialect)
        elif not self.verifiable:
            told = self._told_constants(message)
            if told is not None and (
                self._constants is None or not _is_coarser(told.tick_size, self._constants.tick_size)
            ):
                self.constants = told

    def _told_constants(self, message: Snapshot) -> Constants | None:
        """Return the constants that a book tells: all of them in REST books, the tick size in opening ones."""
        known, tick = self._constants, message.tick_size
        if tick is not None and tick not in TICK_SIZES:
            return None
        if message.min_order_size is not None and message.neg_risk is not None:
            known_tick = "0.01" if known is None else known.tick_size
            return Constants(message.min_order_size, tick or known_tick, message.neg_risk)
        return None if known is None or tick is None else evolve(known, tick_size=tick)

    def _constants_to_try(self, dialect: Dialect, message: Snapshot) -> Iterator[Constants]:
        known = self._constants
        tick = known.tick_size if known is not None else message.tick_size or self._next_tick or "0.01"
        if known is not None:
            yield known
        told = self._told_constants(message)
        if told is not None and told != known:
            yield told
        base = told or known
        if base is not None:
            for other in self._other_ticks(tick):
                if other != base.tick_size:
                    yield evolve(base, tick_size=other)
        elif not dialect.has_constants:
            yield Constants("", tick, neg_risk=False)
        else:
            for neg_risk in (False, True):
                for size in COMMON_MIN_ORDER_SIZES:
                    for each in (tick, *self._other_ticks(tick)):
                        yield Constants(size, each, neg_risk)

    def _other_ticks(self, known: str) -> list[str]:
        ordered = [self._next_tick] if self._next_tick else []
        return [t for t in dict.fromkeys([*ordered, *TICK_SIZES]) if t != known]

    def _template(self, asset_id: str) -> HashTemplate | None:
        dialect, constants = self._template_of
        if dialect is not self._dialects.current or constants is not self.constants:
            # Compared by identity: this runs with each change, and templates are made within microseconds.
            self._templates.clear()
            self._other_templates.clear()
            dialect, constants = self._template_of = (self._dialects.current, self.constants)
        template = self._templates.get(asset_id)
        if template is None and dialect is not None and constants is not None:
            template = self._templates[asset_id] = HashTemplate(dialect, self.market, asset_id, constants)
        return template


def _is_coarser(tick_size: str, than: str) -> bool:
    """Whether a grid is coarser than another, where both are known."""
    one, other = TICK_SIZES.get(tick_size), TICK_SIZES.get(than)
    return one is not None and other is not None and one > other
