"""Proving a book by the venue's hash: what to try, in which order, and when to stop.

The hash covers things the stream announces late or never: the last trade price (in the hash up to 30 ms
before it is announced, either token's), a new tick size (slightly before its event), the market's
constants (never on the stream). A match with any candidate still proves every level, since two texts with
one SHA-1 do not occur by accident. So :class:`MarketHash` keeps what is known of a market, tries the
likely candidates first and the whole price grid last, and learns from each match. What a whole book says about
itself explains that book's own hash; it is kept only once the book is accepted (rule D5).

The form of the text is the venue's to change. :class:`DialectBook` learns, from whole books, which known
form is in use, and says so when none is: then hashes are *unverifiable*, never wrong. REST alone never leads
there: it takes hashes of the stream that no known form explains, over time and more than one market (rule D7).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, frozen

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

DISTRUST_SECONDS: Final = 5.0
"""For how long, at least, the stream's hashes of several markets must not fit before they count as unverifiable,"""

DISTRUST_ALONE_SECONDS: Final = 10.0
"""and those of a market that is alone."""

DISTRUST_MISSES: Final = 3
"""How many hashes of a market must not fit, with none between them that does."""


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

    at_ms: int
    """Exchange time of its delta: the hash is over this timestamp."""
    announced: str
    as_of: float
    """For when its delta speaks, in seconds on the mirror's clock: what it proves is proven as of then."""
    doubts: int
    """How many doubts there had been."""
    left: int
    """Messages that may still make it fit."""


@frozen
class Explained:
    """What a whole book's own hash covers: nothing of it is known before the book is accepted."""

    dialect: Dialect
    constants: Constants
    last_trade_price: str


@define
class _Misses:
    """Hashes of one market's stream that no known form explained, since one did. Times in seconds."""

    first_at: float
    count: int = 0


class DialectBook:
    """Which dialect the venue speaks, learnt from whole books; shared by all markets of a mirror."""

    def __init__(self) -> None:
        # The dialect in use; None until learnt.
        self.current: Dialect | None = None
        # The stream's hashes mean nothing any more.
        self.distrusted = False
        # By market; all are forgotten with any hash that fits.
        self._misses: dict[str, _Misses] = {}
        # Markets whose hashes are looked at.
        self.markets: set[str] = set()

    def to_try(self) -> Iterator[Dialect]:
        """Yield the dialects to try on a whole book, the known one first."""
        known = self.current
        if known is not None:
            yield known
        yield from (each for each in Dialect if each is not known)

    def explained(self, dialect: Dialect) -> None:
        """Note that a whole book was explained, and accepted."""
        self.current = dialect
        self.matched()

    def matched(self) -> None:
        """Note that a hash fitted: the venue's form is known."""
        if self._misses or self.distrusted:
            self._misses.clear()
            self.distrusted = False

    def missed(self, market: str, now: float) -> bool:
        """Note that a hash of the stream never fitted; return whether that ends the trust in all of them."""
        misses = self._misses.setdefault(market, _Misses(now))
        misses.count += 1
        long = [each for each in self._misses.values() if each.count >= DISTRUST_MISSES]
        patience = DISTRUST_SECONDS if len(self.markets) > 1 else DISTRUST_ALONE_SECONDS
        patient = [each for each in long if now - each.first_at >= patience]
        ended = not self.distrusted and len(patient) >= min(2, len(self.markets))
        self.distrusted = self.distrusted or ended
        return ended

    def forget(self, market: str) -> None:
        """A market is mirrored no more."""
        self.markets.discard(market)
        self._misses.pop(market, None)

    @property
    def missing(self) -> tuple[str, ...]:
        """The markets whose hashes did not fit since the last one that did."""
        return tuple(self._misses)

    def has_missed(self, market: str) -> bool:
        """Whether a hash of this market's stream did not fit since the last one that did."""
        return market in self._misses


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
        shown = None if constants is None else TICK_SIZES.get(constants.tick_size)
        if shown != self._shown_tick:
            # What failed on another grid says nothing about this one.
            self._shown_tick, self._failed_grids = shown, 0

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
        self._dialects.matched()
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
        self._dialects.matched()
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
        self._dialects.matched()
        return True

    def explain(self, message: Snapshot, book: OrderBook) -> Explained | None:
        """Find what a whole book's own hash covers: a dialect, constants and a last trade price. Learns nothing."""
        if not message.hash:
            return None
        asset_id, timestamp, told = message.asset_id, message.timestamp_ms, message.last_trade_price
        trades = ([] if told is None else [told]) + [self.last_trade_price, *self._recent]
        for dialect in self._dialects.to_try():
            for constants in self._constants_to_try(dialect, message):
                known = constants is self._constants and dialect is self._dialects.current
                template = self._template(asset_id) if known else None
                if template is None:
                    template = HashTemplate(dialect, self.market, asset_id, constants)
                found = template.find(message.hash, timestamp, book, trades)
                if found is None and told is None and dialect.has_last_trade and self._worth_grid(constants):
                    found = template.find(message.hash, timestamp, book, trade_prices())
                if found is not None:
                    return Explained(dialect, constants, found)
        return None

    def accept(self, explained: Explained | None, message: Snapshot) -> None:
        """A whole book was accepted: keep what explained its hash, or, where nothing can, what it tells.

        A price grid only ever gets finer: a book from before its change has the old one, and a hash that fits.
        """
        if explained is not None:
            constants = explained.constants
            if self._constants is not None and _is_coarser(constants.tick_size, self._constants.tick_size):
                constants = evolve(constants, tick_size=self._constants.tick_size)
            if constants != self._constants:
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
        known, told = self._constants, self._told_constants(message)
        tick = known.tick_size if known is not None else message.tick_size or self._next_tick or "0.01"
        if known is not None:
            yield known
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


def _is_coarser(tick_size: str, than: str) -> bool:
    """Whether a grid is coarser than another, where both are known."""
    one, other = TICK_SIZES.get(tick_size), TICK_SIZES.get(than)
    return one is not None and other is not None and one > other
