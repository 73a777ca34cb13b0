"""What a mirror looks like to a person: names for tokens, rows for books, and the newest transitions.

The bridge between a running mirror and :mod:`polymirror.commands.tables`; used by the demo and by watch.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from polymirror.commands.tables import NOTHING, BookRow, Moment
from polymirror.core.states import BookState
from polymirror.core.units import price_to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.events import Transition
    from polymirror.core.level import Level
    from polymirror.core.status import TokenStatus
    from polymirror.mirror import Mirror
    from polymirror.venue.gamma import Market

MAX_MOMENTS: Final = 200

MAX_NAME: Final = 18
"""Longer slugs are shortened in the middle."""


def name_tokens(markets: Iterable[Market]) -> dict[str, str]:
    """Give every token a short name: ``BTC up``, or ``BTC 14:15 up`` where two windows of an asset are shown."""
    markets = tuple(markets)
    short = {market.condition_id: _short(market.slug) for market in markets}
    twice = {name for name, count in Counter(short.values()).items() if count > 1}
    names: dict[str, str] = {}
    for market in markets:
        name, starts = short[market.condition_id], market.starts_at
        if name in twice and starts is not None:
            name = f"{name} {starts:%H:%M}"
        for token in market.tokens:
            names[token.id] = f"{name} {token.outcome.lower()}"
    return names


def _short(slug: str) -> str:
    asset, _, rest = slug.partition("-")
    if rest.startswith("updown-"):
        return asset.upper()
    return slug if len(slug) <= MAX_NAME else f"{slug[: MAX_NAME - 7]}..{slug[-5:]}"


class Watched:
    """Follows a mirror: its transitions since now, and its books as rows."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.started = mirror.now()
        self.names = name_tokens(mirror.markets)
        self.moments: deque[Moment] = deque(maxlen=MAX_MOMENTS)
        self.transitions = 0
        self._resyncs: Counter[str] = Counter()
        mirror.on_transition(self._note)

    def _note(self, transition: Transition) -> None:
        self.transitions += 1
        if transition.new is BookState.RESYNCING:
            self._resyncs[transition.token] += 1
        self.moments.append(
            Moment(
                at=transition.at - self.started,
                name=self.names.get(transition.token, transition.token[:8]),
                old=transition.old,
                new=transition.new,
                reason=transition.reason,
                detail=transition.detail,
            )
        )

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
            f"{self.names.get(each.token, each.token[:8])} {each.state.name} ({each.reason.name})"
            for each in self._mirror.status().tokens
            if each.state not in settled
        ]

    def rows(self) -> list[BookRow]:
        """Return every book as a row. Prices only of LIVE ones: others have none to offer."""
        return [self._row(each) for each in self._mirror.status().tokens]

    def _row(self, book: TokenStatus) -> BookRow:
        view = self._mirror.peek(book.token) if book.state is BookState.LIVE else None
        return BookRow(
            name=self.names.get(book.token, book.token[:8]),
            state=book.state,
            reason=book.reason,
            age=book.proof_age,
            proof="" if book.proof is None else book.proof.value,
            bid=NOTHING if view is None else _price(view.best_bid),
            ask=NOTHING if view is None else _price(view.best_ask),
            epoch=book.epoch,
            resyncs=self._resyncs[book.token],
        )

    def describe(self) -> list[dict[str, Any]]:
        """Return every book as a plain object for ``--json``; prices as texts, ages in ms."""
        described = []
        for row, token in zip(self.rows(), self._mirror.tokens, strict=True):
            described.append(
                {
                    "token": token,
                    "name": row.name,
                    "state": row.state.name,
                    "reason": row.reason.name,
                    "verified_age_ms": None if row.age is None else round(row.age * 1000, 3),
                    "last_proof": row.proof or None,
                    "best_bid": None if row.bid == NOTHING else row.bid,
                    "best_ask": None if row.ask == NOTHING else row.ask,
                    "epoch": row.epoch,
                    "resyncs": row.resyncs,
                }
            )
        return described


def _price(level: Level | None) -> str:
    if level is None:
        return NOTHING
    # At least two decimals, so that prices stand below each other.
    whole, _, decimals = price_to_wire(level.price_e4).partition(".")
    return f"{whole}.{decimals:0<2}"
