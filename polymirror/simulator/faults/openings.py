"""Faults of the books that answer a subscription: lost, late, old, huge, or never followed by anything.

One small class each, with an id, what happens, and where it was seen. Listed in
:mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults.base import Fault, Plan, Served, Servings
from polymirror.simulator.frames import OPENING, REPLY, Frame

if TYPE_CHECKING:
    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.base import Link
    from polymirror.simulator.frames import Item

LARGE_BYTES = 2**20 + 2**16
"""What a padded opening frame exceeds: the default limit of common WebSocket clients is 1 MiB."""


def opening_text(books: list[dict[str, Any]]) -> str:
    """The opening array of these books."""
    return json.dumps(books, separators=(",", ":")) + "\n"


class LostOpening(Fault):
    """The books that answer a subscription never come; the updates do.

    Seen in a recording: 822 deltas of a market before any book. Also whenever a subscription names
    more than about 500 tokens.
    """

    id: ClassVar[str] = "lost_opening"
    default_share: ClassVar[float] = 0.2

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Drop some opening arrays."""
        del link
        return [item for item in items if not (self._is_opening(item) and self.strikes(now_ms))]

    def _is_opening(self, item: Item) -> bool:
        return isinstance(item, Frame) and item.kind == OPENING and self.concerns(item)


class LostOpeningOneToken(LostOpening):
    """One of the books that answer a subscription is missing; its twin's came.

    Seen as books that are left out silently: the venue does it for tokens that it does not know yet.
    """

    id: ClassVar[str] = "lost_opening_one_token"

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Take one book out of some opening arrays."""
        del link
        return [
            self._without_one(item)
            if isinstance(item, Frame) and self._is_opening(item) and self.strikes(now_ms)
            else item
            for item in items
        ]

    def _without_one(self, frame: Frame) -> Frame:
        books = json.loads(frame.text)
        wanted = [book for book in books if not self.plan.tokens or book["asset_id"] in self.plan.tokens]
        if wanted:
            books.remove(self.rng.choice(wanted))
        return frame._replace(text=opening_text(books))


class StaleOpening(LostOpening):
    """The books that answer a subscription are as they were some time ago: of both tokens of a market, or of one.

    Not reported by name; a venue of several servers, one of them behind, answers like this.
    """

    id: ClassVar[str] = "stale_opening"
    default_length_ms: ClassVar[int] = 3_000
    note_every_ms: ClassVar[int] = 500

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        # The books by token as they were, and when; none is older than the planned length.
        self._past: deque[tuple[int, dict[str, str]]] = deque()
        self.served: Servings = Servings()

    @property
    def max_delay_ms(self) -> int:
        """How old a book can be."""
        return self.plan.length_ms

    def attach(self, exchange: Exchange) -> None:
        """Note the books of this exchange regularly."""
        if exchange is not self.exchange:
            super().attach(exchange)
            exchange.agenda.add(exchange.now_ms, partial(self._note, exchange))

    def _note(self, exchange: Exchange, at_ms: int, out: Output) -> None:
        del out
        plan = self.plan
        if plan.start_ms - plan.length_ms <= at_ms < plan.end_ms:
            books = {t: m.opening_book(index) for m in exchange.markets for index, t in enumerate(m.tokens)}
            self._past.append((at_ms, books))
        while self._past and self._past[0][0] < at_ms - plan.length_ms:
            self._past.popleft()
        exchange.agenda.add(at_ms + self.note_every_ms, partial(self._note, exchange))

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Answer some subscriptions with what was."""
        del link
        return [
            self._as_it_was(item, now_ms)
            if isinstance(item, Frame) and self._past and self._is_opening(item) and self.strikes(now_ms)
            else item
            for item in items
        ]

    def _as_it_was(self, frame: Frame, now_ms: int) -> Frame:
        books = json.loads(frame.text)
        past_ms, past = self._past[0]
        chosen: set[str] = set()
        for market in dict.fromkeys(book["market"] for book in books):
            tokens = [book["asset_id"] for book in books if book["market"] == market]
            if self.plan.tokens:
                chosen.update(self.plan.tokens.intersection(tokens))
            else:
                chosen.update(tokens if self.rng.random() < 0.5 else [self.rng.choice(tokens)])
        old = [
            json.loads(past[book["asset_id"]]) if book["asset_id"] in chosen and book["asset_id"] in past else book
            for book in books
        ]
        for before, after in zip(books, old, strict=True):
            if before != after:
                self.served.note(after["asset_id"], Served(now_ms, past_ms, int(after["timestamp"])))
        return frame._replace(text=opening_text(old))


class DelayedOpening(LostOpening):
    """The books that answer a subscription come after updates that follow them.

    Seen as deltas before the first book: several clients drop them, apply them to an empty book, or
    throw an error.
    """

    id: ClassVar[str] = "delayed_opening"
    default_length_ms: ClassVar[int] = 1_500

    @property
    def max_delay_ms(self) -> int:
        """How long an opening array waits."""
        return self.plan.length_ms

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some opening arrays back while everything else passes."""
        passed = self.release(link, now_ms)
        for item in items:
            if self._is_opening(item) and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
            else:
                passed.append(item)
        return passed


class LargeOpening(LostOpening):
    """The opening frame is larger than 1 MiB, as one with the books of 600 tokens is.

    Seen in a recorder's wire notes: 1 MiB is the usual limit of WebSocket clients, so it had to be
    raised. Here white space inside the array makes up the size.
    """

    id: ClassVar[str] = "large_opening"
    default_share: ClassVar[float] = 0.05

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Pad some opening arrays."""
        del link
        return [
            item._replace(text=f"[{' ' * LARGE_BYTES}{item.text[1:]}")
            if isinstance(item, Frame) and self._is_opening(item) and self.strikes(now_ms)
            else item
            for item in items
        ]


class SilentSubscription(LostOpening):
    """A subscription is accepted, but nothing is ever sent for it: no books and no updates.

    Seen in an issue of the venue's client: subscribed, PONG fine, and not one message for the tokens,
    for up to hours. Here it lasts for the planned length.
    """

    id: ClassVar[str] = "silent_subscription"
    default_share: ClassVar[float] = 0.1
    default_length_ms: ClassVar[int] = 60_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop everything about the markets that the opening named."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and isinstance(item, Frame) and self._is_opening(item) and self.strikes(now_ms):
                markets = {book["market"] for book in json.loads(item.text)}
                spell = self.begin(link, now_ms, " ".join(sorted(markets)))
            if spell is None or not isinstance(item, Frame) or item.kind == REPLY:
                passed.append(item)
            elif item.kind == OPENING:
                if not any(market in item.text for market in spell.subject.split()):
                    passed.append(item)
            elif item.market not in spell.subject:
                passed.append(item)
        return passed
