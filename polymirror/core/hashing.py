"""Proving a book by the venue's hash: what to try, in which order, and when to stop.

The hash covers things the stream announces late or never: the last trade price (in the hash up to 30 ms
before it is announced, either token's), a new tick size (slightly before its event), the market's
constants (never on the stream). A match with any candidate still proves every level, since two texts with
one SHA-1 do not occur by accident. So :class:`MarketHash` keeps what is known of a market, tries the
likely candidates first and the whole price grid last, and learns from each match.

The form of the text is the venue's to change. :class:`DialectBook` learns, from whole books, which known
form is in use, and says so when none is: then hashes are *unverifiable*, never wrong.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import define, evolve

from polymirror.core.checksum import Constants, Dialect, HashTemplate
from polymirror.core.units import PRICE_SCALE, TICK_SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polymirror.core.book import OrderBook
    from polymirror.core.messages import Snapshot

MAX_RECENT_TRADES: Final = 8
"""Announced trade prices kept as candidates; each counts twice (p and 1 - p)."""

FINEST_STEP: Final = 10
"""Distance of the trade prices of a full search, in 1/10,000: 999 candidates, half a millisecond."""

CHEAP_STEP: Final = 25
"""With trade prices at least this far apart, a market's own grid is searched whenever a hash does not fit."""

MAX_FAILED_GRIDS: Final = 4
"""Full searches in a row that may fail before they are rationed."""

GRID_RATION: Final = 64
"""Once rationed, one check in this many is a full search."""

COMMON_MIN_ORDER_SIZES: Final = ("5", "15", "1", "10", "20", "50", "100")
"""Tried when REST has not told the minimum order size yet (5 in all recorded crypto markets)."""

COMMON_TICK_SIZES: Final = ("0.01", "0.001")
"""The tick sizes of all recorded crypto markets."""

NEWEST: Final = 3
"""Trade prices that are tried under another tick size than the known one: the last proven, and the newest's two."""

HEAL_CHANGES: Final = 3
"""Messages after a hash miss within which the announced hash may still fit."""

MAX_PENDING_HASHES: Final = 4
"""Missed hashes of one token that are watched at once."""

MAX_DISTRUST: Final = 3
"""REST answers in a row that no known dialect explains before hashes count as unverifiable."""


def trade_price_wire(price: int) -> str:
    """Spell a price (1/10,000) as the hash does: three decimals, four where needed ("0.480")."""
    whole, rest = divmod(price, PRICE_SCALE)
    return f"{whole}.{rest:04d}" if rest % 10 else f"{whole}.{rest // 10:03d}"


@cache
def trade_prices(step: int = FINEST_STEP) -> tuple[str, ...]:
    """Return all trade prices that are multiples of ``step`` (1/10,000), and "" for no trade yet."""
    return ("", *(trade_price_wire(p) for p in range(step, PRICE_SCALE, step)))


@define
class MissedHash:
    """An announced hash that did not fit yet: the venue may have hashed a change or two late."""

    at: int
    """Exchange time of its delta in ms: the hash is over this timestamp."""
    announced: str
    heard_at: float
    """When it was heard, in seconds on the mirror's clock: what it proves is proven as of then."""
    left: int
    """Messages that may still make it fit."""


class DialectBook:
    """Which dialect the venue speaks, learnt from whole books; shared by all markets of a mirror."""

    def __init__(self) -> None:
        # The dialect in use; None until learnt, and again when whole books stop matching it.
        self.current: Dialect | None = None
        # REST answers in a row that matched nothing, and no match on the stream: MAX_DISTRUST of them end `current`.
        self.distrust = 0
        # When the newest of them was asked for.
        self._distrusted_at = float("-inf")

    @property
    def verifiable(self) -> bool:
        """Whether a differing hash means anything: False while no known dialect explains the venue's books."""
        return self.current is not None

    def to_try(self) -> Iterator[Dialect]:
        """Yield the dialects to try on a whole book, the known one first."""
        known = self.current
        if known is not None:
            yield known
        yield from (each for each in Dialect if each is not known)

    def explained(self, dialect: Dialect) -> None:
        """Note that a whole book matched."""
        self.current = dialect
        self.distrust = 0

    def unexplained(self, asked_at: float) -> None:
        """Note that a REST book matched no dialect."""
        if asked_at == self._distrusted_at:
            # One broken answer may hold many books.
            return
        self._distrusted_at = asked_at
        self.distrust += 1
        if self.distrust >= MAX_DISTRUST:
            self.current = None


class MarketHash:
    """What is known of one market's hash. Both tokens share the constants and the last trade price."""

    def __init__(self, market: str, dialects: DialectBook) -> None:
        self.market = market
        self._dialects = dialects
        self._constants: Constants | None = None
        # The tick size (1/10,000) of the constants.
        self._shown_tick: int | None = None
        # The last trade price of the newest match: by far the likeliest to match again.
        self.last_trade_price = ""
        # Announced trade prices, newest first, both tokens' spelling.
        self._recent: tuple[str, ...] = ()
        # Ticks seen in events that no match has confirmed yet.
        self._next_tick: str | None = None
        # Full searches in a row that found nothing, over both tokens.
        self._failed_grids = 0
        # By asset id, valid for the current constants and dialect.
        self._templates: dict[str, HashTemplate] = {}
        # The same for tick sizes that were tried, by asset id and tick size.
        self._other_templates: dict[tuple[str, str], HashTemplate] = {}
        self._template_of: tuple[Dialect | None, Constants | None] = (None, None)

    @property
    def constants(self) -> Constants | None:
        """What the hash covers beside the levels; None until told by REST, or found by trying the common ones."""
        return self._constants

    @constants.setter
    def constants(self, constants: Constants | None) -> None:
        self._constants = constants
        shown = None if constants is None else TICK_SIZES.get(constants.tick_size)
        if shown != self._shown_tick:
            # What failed on another grid says nothing about this one.
            self._shown_tick, self._failed_grids = shown, 0

    @property
    def verifiable(self) -> bool:
        """Whether a differing hash means anything: dialect and constants are known."""
        return self._constants is not None and self._dialects.verifiable

    def traded(self, price: int) -> None:
        """Note an announced trade price (1/10,000, either token's)."""
        newest = (trade_price_wire(price), trade_price_wire(PRICE_SCALE - price))
        self._recent = (*newest, *self._recent)[: 2 * MAX_RECENT_TRADES]

    def tick_announced(self, tick_size: str) -> None:
        """Note an announced tick size; the next match tells whether the hash has it already."""
        self._next_tick = tick_size

    def finer_tick(self, announced: int | None) -> int | None:
        """Return the finer of an announced tick size (1/10,000) and the one that the hash shows.

        The hash has a new tick before its event comes, and a grid only ever gets finer.
        """
        shown = self._shown_tick
        if announced is None or (shown is not None and shown < announced):
            return shown
        return announced

    def prove(self, asset_id: str, timestamp: int, book: OrderBook, announced: str) -> bool:
        """Whether the book has the announced hash, with what is known now. One SHA-1."""
        template = self._templates.get(asset_id)
        dialect, constants = self._template_of
        if template is None or dialect is not self._dialects.current or constants is not self._constants:
            template = self._template(asset_id)
        if template is None or template.digest(timestamp, book, self.last_trade_price) != announced:
            return False
        self._dialects.distrust = 0
        return True

    def search(self, asset_id: str, timestamp: int, book: OrderBook, announced: str, *, wide: bool = True) -> bool:
        """Whether the book has the announced hash with any candidate; learn from the match.

        Candidates are recent trade prices; if ``wide`` also other tick sizes, the trade prices on the market's grid,
        on which trades are made, and all others, which is rationed while it keeps failing.
        """
        template = self._template(asset_id)
        dialect, constants = self._dialects.current, self.constants
        if template is None or dialect is None or constants is None:
            return False
        likely = (self.last_trade_price, *self._recent, "")
        found = template.find(announced, timestamp, book, likely)
        if found is None and wide and dialect.has_constants:
            for tick in self._other_ticks(constants.tick_size):
                other = self._other_templates.get((asset_id, tick))
                if other is None:
                    other = HashTemplate(dialect, self.market, asset_id, evolve(constants, tick_size=tick))
                    self._other_templates[asset_id, tick] = other
                found = other.find(announced, timestamp, book, likely[:NEWEST])
                if found is not None:
                    self.constants = evolve(constants, tick_size=tick)
                    break
        if found is None and wide and dialect.has_last_trade:
            found = self._search_grid(template, timestamp, book, announced)
        if found is None:
            return False
        self.last_trade_price = found
        self._dialects.distrust = 0
        return True

    def _search_grid(self, template: HashTemplate, timestamp: int, book: OrderBook, announced: str) -> str | None:
        """Try all trade prices on the market's grid, if they are few, and then all others, unless that is rationed."""
        found, step = None, self._shown_tick or FINEST_STEP
        if step >= CHEAP_STEP:
            found = template.find(announced, timestamp, book, trade_prices(step))
        if found is None and self._may_search_all():
            found = template.find(announced, timestamp, book, trade_prices())
            self._failed_grids += 1
        if found is not None:
            self._failed_grids = 0
        return found

    def is_hash_of(self, message: Snapshot, book: OrderBook) -> bool:
        """Whether ``book`` has the hash that a REST book states. Then it equals that book, level by level."""
        told = message.last_trade_price
        template = self._template(message.asset_id)
        if template is None or not message.hash or told is None:
            return False
        if template.digest(message.timestamp_ms, book, told) != message.hash:
            return False
        self.last_trade_price = told
        self._dialects.distrust = 0
        return True

    def learn(self, message: Snapshot, book: OrderBook, asked_at: float | None = None) -> bool | None:
        """Prove a whole book as the venue sent it, learning dialect, constants and last trade price.

        ``asked_at`` is when REST was asked for it; None for a book from the stream.

        Return True when its hash is explained, False when the dialect is known and the hash differs,
        None when nothing known explains it (unverifiable).
        """
        if not message.hash:
            return None
        before = self.constants
        self._take_told(message)
        if self._explain(message, book):
            return True
        known = self.verifiable
        if asked_at is not None:
            # Only REST books tell every field, so only they can show that the dialect has changed.
            self._dialects.unexplained(asked_at)
        if not known:
            return None
        # What came with a wrong hash may be wrong itself.
        self.constants = before or self.constants
        return False

    def _take_told(self, message: Snapshot) -> None:
        """Note the constants that a book tells: all of them in REST books, the tick size in opening ones."""
        tick = message.tick_size
        if message.min_order_size is not None and message.neg_risk is not None:
            known_tick = "0.01" if self.constants is None else self.constants.tick_size
            told = Constants(message.min_order_size, tick or known_tick, message.neg_risk)
            # Kept if it is equal: what is known by identity stays valid.
            self.constants = self.constants if told == self.constants else told
        elif tick is not None and self.constants is not None:
            if self.constants.tick_size != tick:
                self.constants = evolve(self.constants, tick_size=tick)
        elif tick is not None:
            self._next_tick = tick

    def _explain(self, message: Snapshot, book: OrderBook) -> bool:
        """Find a dialect, constants and a last trade price that give the book's own hash; keep what is found."""
        asset_id, timestamp, told = message.asset_id, message.timestamp_ms, message.last_trade_price
        trades = ([] if told is None else [told]) + [self.last_trade_price, *self._recent]
        for dialect in self._dialects.to_try():
            for constants in self._constants_to_try(dialect):
                known = constants is self.constants and dialect is self._dialects.current
                template = self._template(asset_id) if known else None
                if template is None:
                    template = HashTemplate(dialect, self.market, asset_id, constants)
                found = template.find(message.hash, timestamp, book, trades)
                if found is None and told is None and dialect.has_last_trade and self._worth_grid(constants):
                    found = template.find(message.hash, timestamp, book, trade_prices())
                if found is not None:
                    self._dialects.explained(dialect)
                    self.constants = constants
                    self.last_trade_price = found
                    return True
        return False

    def _constants_to_try(self, dialect: Dialect) -> Iterator[Constants]:
        tick = self.constants.tick_size if self.constants is not None else self._next_tick or "0.01"
        if self.constants is not None:
            yield self.constants
            for other in self._other_ticks(tick):
                yield evolve(self.constants, tick_size=other)
        elif not dialect.has_constants:
            yield Constants("", tick, neg_risk=False)
        else:
            for neg_risk in (False, True):
                for size in COMMON_MIN_ORDER_SIZES:
                    for each in (tick, *self._other_ticks(tick)):
                        yield Constants(size, each, neg_risk)

    def _worth_grid(self, constants: Constants) -> bool:
        """Whether constants are likely enough for a search of the whole price grid on a book."""
        if self.constants is not None:
            return constants == self.constants
        return constants.min_order_size == COMMON_MIN_ORDER_SIZES[0] and constants.tick_size in COMMON_TICK_SIZES

    def _other_ticks(self, known: str) -> list[str]:
        ordered = [self._next_tick] if self._next_tick else []
        return [t for t in dict.fromkeys([*ordered, *TICK_SIZES]) if t != known]

    def _may_search_all(self) -> bool:
        """Count down to the next full search once too many have failed."""
        if self._failed_grids < MAX_FAILED_GRIDS:
            return True
        self._failed_grids += 1
        return self._failed_grids % GRID_RATION == 0

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
