"""What a mirror looks like to a person: names for tokens, rows for books, and the newest transitions.

The bridge between a running mirror and :mod:`polymirror.commands.tables`; used by the demo and by watch.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from polymirror.commands.keys import SORTS
from polymirror.commands.ladder import Ladder, spell_price, spell_size
from polymirror.commands.tables import BookRow, Moment, words
from polymirror.core.states import BookState
from polymirror.core.units import PRICE_SCALE, size_to_wire
from polymirror.errors import ConfigError
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from polymirror.core.events import Transition
    from polymirror.core.status import TokenStatus
    from polymirror.mirror import Mirror
    from polymirror.venue.gamma import Market

MAX_MOMENTS: Final = 200

MAX_LISTED: Final = 12
"""Names that an error lists."""

MAX_NAME: Final = 18
"""Longer slugs are shortened in the middle."""


class Named(NamedTuple):
    """A market as far as names are made of it."""

    slug: str
    starts: datetime | None
    outcomes: Mapping[str, str]
    """By token."""


def name_tokens(markets: Iterable[Market]) -> dict[str, str]:
    """Give every token a short name: ``BTC up``, or ``BTC 14:15 up`` where two windows of an asset are shown."""
    each = (Named(it.slug, it.starts_at, {token.id: token.outcome for token in it.tokens}) for it in markets)
    return name_books(each)


def name_books(markets: Iterable[Named]) -> dict[str, str]:
    """Give every token of these markets a short name."""
    markets = tuple(markets)
    twice = {name for name, count in Counter(_short(market.slug) for market in markets).items() if count > 1}
    names: dict[str, str] = {}
    for market in markets:
        name = _short(market.slug)
        if name in twice and market.starts is not None:
            name = f"{name} {market.starts:%H:%M}"
        for token, outcome in market.outcomes.items():
            names[token] = harmless(f"{name} {outcome.lower()}", 64)
    return names


def _short(slug: str) -> str:
    asset, _, rest = slug.partition("-")
    if rest.startswith("updown-"):
        return asset.upper()
    return slug if len(slug) <= MAX_NAME else f"{slug[: MAX_NAME - 7]}..{slug[-5:]}"


def arranged(rows: list[BookRow], sort: str, find: str) -> list[BookRow]:
    """Return the rows that have each word of ``find`` in their name, state or reason, in an order of ``SORTS``."""
    wanted = find.lower().split()
    found = [row for row in rows if all(word in _searched(row) for word in wanted)] if wanted else rows
    order: Callable[[BookRow], Any] | None = {
        "name": lambda row: row.name,
        # One that never was proven is older than all.
        "age": lambda row: float("-inf") if row.age is None else -row.age,
        "refused": lambda row: -row.refused,
        "resyncs": lambda row: -row.resyncs,
    }.get(sort)
    return found if order is None else sorted(found, key=order)


def _searched(row: BookRow) -> str:
    return f"{row.name} {row.state.name} {words(row.reason)}".lower()


class _Top(NamedTuple):
    """The best prices in 1/10,000 and their sizes in 1/1,000,000; only of a book that is LIVE."""

    bid: int | None = None
    bid_size: int | None = None
    ask: int | None = None
    ask_size: int | None = None


class Watched:
    """Follows a mirror from before its start: its transitions as they happen, and its books as rows.

    ``tell`` is called with each transition and the moment at which it happened, in seconds since 1970.
    """

    def __init__(self, mirror: Mirror, tell: Callable[[Transition, float], object] | None = None) -> None:
        self._mirror = mirror
        self._tell = tell
        self.started: float = mirror.now()
        self.moments: deque[Moment] = deque(maxlen=MAX_MOMENTS)
        self.transitions: int = 0
        self._resyncs: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._named = 0
        self._forget = mirror.on_transition(self._note)

    def close(self) -> None:
        """Look no more: what the end of the mirror does to its books says nothing about them."""
        self._forget()

    def _note(self, transition: Transition) -> None:
        self.transitions += 1
        if transition.new is BookState.RESYNCING:
            self._resyncs[transition.token] += 1
        at = time.time() - (self._mirror.now() - transition.at)
        self.moments.append(
            Moment(
                at=at, name=self.name(transition.token), old=transition.old, new=transition.new,
                reason=transition.reason, detail=transition.detail,
            )
        )  # fmt: skip
        if self._tell is not None:
            self._tell(transition, at)

    def name(self, token: str) -> str:
        """Return a token's short name. Markets are named anew when there are more of them."""
        if self._named != len(self._mirror.markets):
            self._named = len(self._mirror.markets)
            self._names = name_tokens(self._mirror.markets)
        return self._names.get(token, harmless(token[:8]))

    def find(self, wanted: str) -> str | None:
        """Return the book that is meant by its token id, its name, or its outcome; None: no book yet.

        Raises ConfigError, with the names there are, if none of them is meant although all are found, or several.
        """
        tokens = self._mirror.tokens
        if not tokens or wanted in tokens:
            return wanted if tokens else None
        names = {token: self.name(token) for token in tokens}
        word = wanted.strip().lower()
        exact = [token for token, name in names.items() if name.lower() == word]
        found = exact or [token for token, name in names.items() if name.lower().endswith(f" {word}")]
        if not found and self._mirror.missing:
            return None
        if len(found) != 1:
            listed = ", ".join(list(names.values())[:MAX_LISTED])
            raise ConfigError("--book", wanted, f"a token id or the name of one book: {listed}")
        return found[0]

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._mirror.now() - self.started

    def states(self) -> Counter[str]:
        """Count the books by the name of their state."""
        return Counter(state.name for _, state in self._mirror.engine.states())

    def calm(self) -> bool:
        """Whether every book is LIVE or retired."""
        return all(state in (BookState.LIVE, BookState.RETIRED) for _, state in self._mirror.engine.states())

    def restless(self) -> list[str]:
        """Name the books that are neither LIVE nor retired, with their state and reason."""
        settled = (BookState.LIVE, BookState.RETIRED)
        return [
            f"{self.name(each.token)} {each.state.name} ({each.reason.name})"
            for each in self._mirror.status().tokens
            if each.state not in settled
        ]

    def rows(self, sort: str = SORTS[0], find: str = "") -> list[BookRow]:
        """Return every book that is looked for as a row. Prices only of LIVE ones: others have none to offer."""
        status = self._mirror.status()
        return arranged([self._row(each, status.at) for each in status.tokens], sort, find)

    def _row(self, book: TokenStatus, now: float) -> BookRow:
        top = self._top(book)
        return BookRow(
            token=book.token,
            name=self.name(book.token),
            state=book.state,
            reason=book.reason,
            age=book.proof_age,
            since=max(0.0, now - book.since),
            proof="" if book.proof is None else book.proof.value,
            bid=spell_price(top.bid),
            ask=spell_price(top.ask),
            bid_size=spell_size(top.bid_size),
            ask_size=spell_size(top.ask_size),
            levels=f"{book.bid_levels} {book.ask_levels}",
            epoch=book.epoch,
            resyncs=self._resyncs[book.token],
            refused=book.refused_reads,
        )

    def _top(self, book: TokenStatus) -> _Top:
        if book.state is not BookState.LIVE:
            return _Top()
        raw = self._mirror.peek(book.token).levels
        bid = (raw.bid_keys[-1], raw.bid_sizes[-1]) if raw.bid_keys else (None, None)
        ask = (PRICE_SCALE - raw.ask_keys[-1], raw.ask_sizes[-1]) if raw.ask_keys else (None, None)
        return _Top(*bid, *ask)

    def ladder(self, token: str) -> Ladder | None:
        """Return one book's depth as it was proven last; None for one that is not mirrored (any more)."""
        standing = self._mirror.engine.standing(token)
        if standing is None:
            return None
        view = self._mirror.peek(token)
        raw = view.levels
        return Ladder(
            name=self.name(token),
            state=standing.state,
            reason=standing.reason,
            age=None if view.proven_at is None else view.verified_age,
            bids=list(zip(reversed(raw.bid_keys), reversed(raw.bid_sizes), strict=True)),
            asks=[(PRICE_SCALE - k, s) for k, s in zip(reversed(raw.ask_keys), reversed(raw.ask_sizes), strict=True)],
        )

    def describe(self) -> list[dict[str, Any]]:
        """Return every book as a plain object for ``--json``: prices and sizes as exact texts, ages in ms."""
        return [self._describe(book) for book in self._mirror.status().tokens]

    def _describe(self, book: TokenStatus) -> dict[str, Any]:
        top = self._top(book)
        return {
            "token": book.token,
            "name": self.name(book.token),
            "state": book.state.name,
            "reason": book.reason.name,
            "verified_age_ms": None if book.proof_age is None else round(book.proof_age * 1000, 3),
            "last_proof": None if book.proof is None else book.proof.value,
            "best_bid": None if top.bid is None else spell_price(top.bid),
            "best_ask": None if top.ask is None else spell_price(top.ask),
            "bid_size": None if top.bid_size is None else size_to_wire(top.bid_size),
            "ask_size": None if top.ask_size is None else size_to_wire(top.ask_size),
            "epoch": book.epoch,
            "resyncs": self._resyncs[book.token],
        }
