"""What each announced hash of a recording is the hash of: every one gets a class, none is left out.

The audit plays a recording by the plain rule and asks, for each change, which book has the hash that came
with it: the book after that change; after one of the next three; one in which a few neighbouring changes are
taken in another order. A SHA-1 does not fit by accident, so each answer but the last is certain.
"""

from __future__ import annotations

from collections import Counter, deque
from decimal import Decimal
from enum import Enum
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import Factory, define

from tests.conformance.plain import (
    TICKS,
    TRADE_PRICES,
    Constants,
    PlainBook,
    constants_that_fit,
    messages,
    trade_price_that_fits,
)
from tests.conformance.recordings import Kind, Miss

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.conformance.recordings import Step

LATER = 3
"""Changes after its own within which a hash may fit."""
NEIGHBOURS = 8
"""Changes before and after its own that may have been taken in another order..."""
MOVED = 2
"""... at most this many of them."""
PAIR = 2
"""Tokens of a market."""


class Class(Enum):
    """What an announced hash turned out to be the hash of."""

    AT_ONCE = "the book after the change"
    ANNOUNCED_LATER = "the same, with a trade price that was announced only afterwards"
    NEVER_ANNOUNCED = "the same, with a trade price found on the grid and not announced in the recording"
    SAME_MOMENT = "the book one to three changes later, in the same millisecond"
    LATER_MOMENT = "the book one to three changes later, in a later millisecond"
    OTHER_ORDER = "a book in which one or two neighbouring changes came earlier or later"
    CUT = "not found: the recording ends inside the batch"
    UNEXPLAINED = "not found"
    NO_BOOK = "not looked at: the change came before its token's first book"
    UNVERIFIABLE = "not looked at: no hash, or no known form of it fits the books"


MISSES = frozenset({Class.OTHER_ORDER, Class.CUT, Class.UNEXPLAINED})
"""What a mirror can neither prove at once nor a few changes later."""


class Entry(NamedTuple):
    """One change of one token, where it stands in the recording, and the book before its neighbourhood."""

    market: str
    at: str
    change: dict[str, str]
    position: int


@define
class Unclear:
    """A hash that is not of the book after its change: the rest is found out once the token's changes are known."""

    index: int
    before: list[PlainBook]
    constants: Constants
    trades: tuple[str, ...]


@define
class TokenLog:
    """One token's changes since its last loss, and their classes."""

    asset_id: str
    book: PlainBook | None = None
    entries: list[Entry] = Factory(list)
    classes: list[Class | None] = Factory(list)
    unclear: list[Unclear] = Factory(list)
    # The books before the newest changes, oldest first.
    before: deque[PlainBook] = Factory(lambda: deque(maxlen=NEIGHBOURS + 1))


@define
class MarketLog:
    """What is known of a market at this point of the recording."""

    constants: Constants | None = None
    last_trade_price: str = ""
    tokens: dict[str, TokenLog] = Factory(dict)
    batch_at: str = ""
    touched: dict[str, dict[str, str]] = Factory(dict)
    resent: dict[str, PlainBook] = Factory(dict)


@define
class Audit:
    """The outcome. ``of`` maps each hash that came with a change to its class, the newest mention last."""

    classes: Counter[Class] = Factory(Counter)
    of: dict[Miss, Class] = Factory(dict)
    books: Counter[str] = Factory(Counter)
    rest: Counter[str] = Factory(Counter)
    bbo: Counter[bool] = Factory(Counter)
    complement: Counter[bool] = Factory(Counter)
    resent: Counter[bool] = Factory(Counter)
    rest_joined: Counter[bool] = Factory(Counter)
    # Books that followed a book with no change between them in the recording.
    without_changes: int = 0
    # Rows of misses of one token by their length.
    rows: Counter[int] = Factory(Counter)

    def add(self, other: Audit) -> None:
        """Take in the audit of another part of the recording."""
        for name in ("classes", "books", "rest", "bbo", "complement", "resent", "rest_joined", "rows", "of"):
            getattr(self, name).update(getattr(other, name))
        self.without_changes += other.without_changes


class Auditor:
    """Plays the steps of one recording."""

    def __init__(self) -> None:
        self.audit = Audit()
        self.markets: dict[str, MarketLog] = {}
        # Announced trades by market: position in the recording and both tokens' spelling.
        self.trades: dict[str, list[tuple[int, tuple[str, str]]]] = {}
        self.position = 0
        # States of the stream that REST may show, by hash.
        self.states: dict[str, PlainBook] = {}

    def play(self, steps: Iterable[Step]) -> Audit:
        steps = list(steps)
        self._collect_trades(steps)
        for step in steps:
            self.position += 1
            if step.kind is Kind.CONNECTION:
                self._lose_everything()
            else:
                for message in messages(step.text):
                    self._take(message, from_rest=step.kind is Kind.REST)
        self._lose_everything()
        return self.audit

    def _collect_trades(self, steps: list[Step]) -> None:
        for position, step in enumerate(steps, 1):
            for message in messages(step.text) if step.kind is Kind.FRAME else ():
                if message.get("event_type") == "last_trade_price":
                    price = Decimal(message["price"])
                    spellings = (f"{price:.3f}", f"{1 - price:.3f}")
                    self.trades.setdefault(message["market"], []).append((position, spellings))

    def _take(self, message: dict[str, Any], *, from_rest: bool) -> None:
        if "price_changes" in message:
            self._changes(message)
        elif "bids" in message and from_rest:
            self._rest_book(message)
        elif "bids" in message:
            self._book(message)

    def _lose_everything(self) -> None:
        for log in self.markets.values():
            self._close(log)
            for token in log.tokens.values():
                self._finish(token)
            log.tokens.clear()
            log.batch_at = ""

    # ---- Books -------------------------------------------------------------------------------------

    def _rest_book(self, message: dict[str, Any]) -> None:
        self.audit.rest["match" if constants_that_fit(message) else "mismatch"] += 1
        known = self.states.get(message["hash"])
        if known is not None:
            self.audit.rest_joined[known == PlainBook.of(message)] += 1

    def _book(self, message: dict[str, Any]) -> None:
        log = self.markets.setdefault(message["market"], MarketLog())
        self.audit.books[self._prove_book(log, message)] += 1
        book = PlainBook.of(message)
        self.states[message["hash"]] = book
        token = log.tokens.setdefault(message["asset_id"], TokenLog(message["asset_id"]))
        if token.book is None:
            token.book = book
            for entry in token.entries:
                if int(entry.at) >= int(message["timestamp"]):
                    token.book.apply(entry.change)
            return
        if message["timestamp"] != log.batch_at:
            self._close(log)
            log.batch_at = message["timestamp"]
        log.resent[message["asset_id"]] = book

    def _prove_book(self, log: MarketLog, message: dict[str, Any]) -> str:
        if log.constants is not None:
            args = (message["market"], message["asset_id"], message["timestamp"], PlainBook.of(message))
            for constants in _with_every_tick(log.constants):
                found = trade_price_that_fits(*args, constants, message["hash"], TRADE_PRICES)
                if found is not None:
                    log.constants, log.last_trade_price = constants, found
                    return "match"
            return "mismatch"
        learnt = constants_that_fit(message)
        if learnt is None:
            return "unverifiable"
        log.constants, log.last_trade_price = learnt
        return "match"

    # ---- Changes -----------------------------------------------------------------------------------

    def _changes(self, message: dict[str, Any]) -> None:
        log = self.markets.setdefault(message["market"], MarketLog())
        if message["timestamp"] != log.batch_at:
            self._close(log)
            log.batch_at = message["timestamp"]
        for change in message["price_changes"]:
            token = log.tokens.setdefault(change["asset_id"], TokenLog(change["asset_id"]))
            entry = Entry(message["market"], message["timestamp"], change, self.position)
            token.entries.append(entry)
            if token.book is None:
                token.classes.append(Class.NO_BOOK)
                log.touched[token.asset_id] = change
                continue
            token.before.append(token.book.copy())
            token.book.apply(change)
            log.touched[token.asset_id] = change
            token.classes.append(self._class_at_once(log, token, entry))

    def _class_at_once(self, log: MarketLog, token: TokenLog, entry: Entry) -> Class | None:
        announced = entry.change.get("hash", "")
        if log.constants is None or not announced or token.book is None:
            return Class.UNVERIFIABLE
        trades = self.trades.get(entry.market, [])
        known = [spelling for position, both in trades if position < entry.position for spelling in both][-16:]
        for constants in _with_every_tick(log.constants):
            likely = (log.last_trade_price, *reversed(known))
            args = (entry.market, token.asset_id, entry.at, token.book, constants, announced)
            found = trade_price_that_fits(*args, likely)
            if found is not None:
                log.constants, log.last_trade_price = constants, found
                self.states[announced] = token.book.copy()
                return Class.AT_ONCE
        args = (entry.market, token.asset_id, entry.at, token.book, log.constants, announced)
        found = trade_price_that_fits(*args, TRADE_PRICES)
        if found is None:
            likely = (log.last_trade_price, *reversed(known))
            token.unclear.append(Unclear(len(token.classes), list(token.before), log.constants, likely))
            return None
        log.last_trade_price = found
        self.states[announced] = token.book.copy()
        later = {spelling for position, both in trades if position >= entry.position for spelling in both}
        return Class.ANNOUNCED_LATER if found in later else Class.NEVER_ANNOUNCED

    # ---- Ends of batches ---------------------------------------------------------------------------

    def _close(self, log: MarketLog) -> None:
        """The batch is over: top and complement must agree now, and re-sent books must be ours."""
        for asset_id, change in log.touched.items():
            book = log.tokens[asset_id].book
            if book is not None and change.get("best_bid") is not None:
                stated = (Decimal(change["best_bid"] or 0), Decimal(change["best_ask"] or 1))
                self.audit.bbo[book.top() == stated] += 1
        books = [token.book for token in log.tokens.values()]
        if (log.touched or log.resent) and len(books) == PAIR and books[0] is not None and books[1] is not None:
            self.audit.complement[books[0].is_complement_of(books[1])] += 1
        for asset_id, book in log.resent.items():
            token = log.tokens[asset_id]
            if token.entries:
                self.audit.resent[token.book == book] += 1
            else:
                # The recording has no changes of this token: nothing could have led from one book to the next.
                self.audit.without_changes += 1
            token.book = book
        log.touched, log.resent = {}, {}

    # ---- What was not of the book after its change -------------------------------------------------

    def _finish(self, token: TokenLog) -> None:
        for unclear in token.unclear:
            token.classes[unclear.index] = self._class_of(token, unclear)
        row = 0
        for entry, found in zip(token.entries, token.classes, strict=True):
            assert found is not None, "every change has a class by now"
            self.audit.classes[found] += 1
            self.audit.of[Miss(token.asset_id, int(entry.at), entry.change.get("hash", ""))] = found
            if found in MISSES:
                row += 1
            elif row:
                self.audit.rows[row] += 1
                row = 0
        if row:
            self.audit.rows[row] += 1

    def _class_of(self, token: TokenLog, unclear: Unclear) -> Class:
        entries, i = token.entries, unclear.index
        own = entries[i]
        for j in range(i + 1, min(i + 1 + LATER, len(entries))):
            book = _rebuilt(unclear.before[-1], entries[i : j + 1])
            for at in dict.fromkeys((own.at, entries[j].at)):
                if _fits(token, own, at, book, unclear, TRADE_PRICES):
                    return Class.SAME_MOMENT if entries[j].at == own.at else Class.LATER_MOMENT
        for book in _other_orders(unclear, entries):
            if _fits(token, own, own.at, book, unclear, (*unclear.trades, *TRADE_PRICES)):
                return Class.OTHER_ORDER
        return Class.CUT if own.at == entries[-1].at else Class.UNEXPLAINED


def _with_every_tick(constants: Constants) -> Iterator[Constants]:
    yield constants
    for tick in TICKS:
        if tick != constants.tick_size:
            yield constants._replace(tick_size=tick)


def _rebuilt(start: PlainBook, entries: Iterable[Entry]) -> PlainBook:
    book = start.copy()
    for entry in entries:
        book.apply(entry.change)
    return book


def _fits(token: TokenLog, own: Entry, at: str, book: PlainBook, unclear: Unclear, trades: Iterable[str]) -> bool:
    announced = own.change["hash"]
    return trade_price_that_fits(own.market, token.asset_id, at, book, unclear.constants, announced, trades) is not None


def _other_orders(unclear: Unclear, entries: list[Entry]) -> Iterator[PlainBook]:
    """The books with up to MOVED neighbouring changes left for later, or taken earlier."""
    i, start = unclear.index, unclear.before[0]
    first = i + 1 - len(unclear.before)
    done, to_come = range(first, i + 1), range(i + 1, min(i + 1 + NEIGHBOURS, len(entries)))
    for moved in range(1, MOVED + 1):
        for left_out in range(moved, -1, -1):
            for without in combinations(reversed(done), left_out):
                for early in combinations(to_come, moved - left_out):
                    taken = [k for k in (*done, *early) if k not in without]
                    yield _rebuilt(start, (entries[k] for k in taken))
