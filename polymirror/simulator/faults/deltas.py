"""Faults of single updates: price changes lost, doubled, out of order, too old, or late.

One small class each, with an id, what happens, and where it was seen. They change frames only, never
the exchange, so the truth to compare with stays what it was. Listed in
:mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.frames import FULL_DEPTH_KINDS, OPENING, PRICE_CHANGE, Frame

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Link, Spell
    from polymirror.simulator.frames import Item

MAX_CROSSED_MESSAGES = 3
MAX_CROSSED_MS = 200
MAX_DUPLICATE_MS = 120


def dumps(payload: object) -> str:
    """JSON with the separators of the venue's price changes."""
    return json.dumps(payload, separators=(", ", ":"))


class LostDelta(Fault):
    """A price change never arrives.

    Seen in a live study of the venue: one missed order, found only by the hash.
    """

    id: ClassVar[str] = "lost_delta"
    default_share: ClassVar[float] = 0.002
    hash_visible: ClassVar[bool] = True

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Drop some price changes."""
        del link
        return [item for item in items if not (self._is_delta(item) and self.strikes(now_ms))]

    def _is_delta(self, item: Item) -> bool:
        return isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item)


class DuplicatedDelta(LostDelta):
    """The same price change comes again within 120 ms.

    Seen 60 times in three busy minutes of a live study, and 172 times in 45 minutes.
    """

    id: ClassVar[str] = "duplicated_delta"
    default_share: ClassVar[float] = 0.01

    @property
    def max_delay_ms(self) -> int:
        """Where another fault loses the first copy, the second one is all that comes."""
        return MAX_DUPLICATE_MS

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Send some price changes a second time, a little later."""
        passed: list[Item] = [*self.release(link, now_ms), *items]
        for item in items:
            if self._is_delta(item) and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.rng.randint(1, MAX_DUPLICATE_MS))
        return passed


class ReorderedDeltas(LostDelta):
    """A price change arrives after the one that follows it.

    Seen in a live study between kinds of messages, by up to 58 ms when quiet and 0.62 s when busy; not
    among the price changes of one token, where it is a precaution.
    """

    id: ClassVar[str] = "reordered_deltas"
    default_share: ClassVar[float] = 0.005

    @property
    def max_delay_ms(self) -> int:
        """A price change without a follower waits for the whole length."""
        return self.plan.length_ms

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some price changes back until the next one has passed."""
        passed = self.release(link, now_ms)
        for item in items:
            is_delta = self._is_delta(item)
            waiting = self in link.spells
            if is_delta and not waiting and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
                continue
            passed.append(item)
            if is_delta and waiting:
                passed += self.release_all(link)
        return passed


class OlderDelta(Fault):
    """A price change that is one millisecond older than the opening books arrives right after them.

    Seen twice in a live study: the books contained it already, and applying it broke one hash check.
    """

    id: ClassVar[str] = "older_delta"
    default_share: ClassVar[float] = 0.3
    hash_visible: ClassVar[bool] = True

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Let an outdated size of a level follow some opening arrays."""
        del link
        passed: list[Item] = []
        for item in items:
            passed.append(item)
            if not isinstance(item, Frame) or item.kind != OPENING or not self.concerns(item):
                continue
            books = self._books(item)
            if books and self.strikes(now_ms):
                passed.append(self._outdated(self.rng.choice(books)))
        return passed

    def _books(self, frame: Frame) -> list[dict[str, Any]]:
        """Books of the array that hold a level on both sides."""
        wanted = self.plan.tokens
        return [
            book
            for book in json.loads(frame.text)
            if book["bids"] and book["asks"] and (not wanted or book["asset_id"] in wanted)
        ]

    def _outdated(self, book: dict[str, Any]) -> Frame:
        bid, ask = book["bids"][-1]["price"], book["asks"][-1]["price"]
        level = self.rng.choice(book["bids"])
        change = {
            "asset_id": book["asset_id"],
            "price": level["price"],
            "size": f"{level['size'].partition('.')[0]}.77",
            "side": "BUY",
            "hash": f"{self.rng.getrandbits(160):040x}",
            "best_bid": bid,
            "best_ask": ask,
        }
        older_ms = int(book["timestamp"]) - 1
        payload = {
            "market": book["market"],
            "price_changes": [change],
            "timestamp": str(older_ms),
            "event_type": PRICE_CHANGE,
        }
        return Frame(dumps(payload), PRICE_CHANGE, book["market"], "", older_ms)


class FutureStamp(LostDelta):
    """One price change is stamped ahead, by two seconds to an hour; every second time its hash fits that stamp.

    Not reported for the venue; one of several servers whose clock is wrong does it.
    """

    id: ClassVar[str] = "future_stamp"
    default_share: ClassVar[float] = 0.0005
    hash_visible: ClassVar[bool] = False
    heal_seconds: ClassVar[float | None] = 25.0
    min_ahead_ms: ClassVar[int] = 2_000
    max_ahead_ms: ClassVar[int] = 3_600_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Stamp some price changes ahead."""
        del link
        return [
            self._ahead(item) if isinstance(item, Frame) and self._is_delta(item) and self.strikes(now_ms) else item
            for item in items
        ]

    def _ahead(self, frame: Frame) -> Frame:
        payload = json.loads(frame.text)
        # As many in each order of magnitude.
        ahead = self.min_ahead_ms * (self.max_ahead_ms / self.min_ahead_ms) ** self.rng.random()
        stamp = int(payload["timestamp"]) + int(ahead)
        payload["timestamp"] = str(stamp)
        market = None if self.exchange is None else self.exchange.market_by_condition(frame.market)
        if self.rng.random() < 0.5 and market is not None:
            hashes = {token: market.book_hash(index, stamp) for index, token in enumerate(market.tokens)}
            for change in payload["price_changes"]:
                change["hash"] = hashes.get(change["asset_id"], change["hash"])
        return frame._replace(text=dumps(payload))


class CrossedMessages(LostDelta):
    """A removal comes a few messages late, so that the book looks crossed meanwhile, then heals.

    Seen by users of another client library: the bid at the old ask price arrives first, while the
    frame already states the right best ask.
    """

    id: ClassVar[str] = "crossed_messages"
    default_share: ClassVar[float] = 0.01

    @property
    def max_delay_ms(self) -> int:
        """How long a removal waits at most."""
        return min(self.plan.length_ms, MAX_CROSSED_MS)

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some removals until a few price changes of the market have passed."""
        passed = self.release(link, now_ms)
        for item in items:
            if not isinstance(item, Frame) or item.kind not in {PRICE_CHANGE, *FULL_DEPTH_KINDS}:
                passed.append(item)
                continue
            spell = link.spells.get(self)
            if spell is not None and self._must_go_first(item, spell):
                passed += self.release_all(link)
                spell = None
            is_removal = item.kind == PRICE_CHANGE and '"size":"0"' in item.text and self.concerns(item)
            if is_removal and spell is None and self.strikes(now_ms):
                self.hold(link, item, now_ms + self.max_delay_ms)
                link.spells[self].subject = item.market
                continue
            passed.append(item)
            if spell is not None and item.market == spell.subject:
                spell.count += 1
                if spell.count >= MAX_CROSSED_MESSAGES:
                    passed += self.release_all(link)
        return passed

    def _must_go_first(self, frame: Frame, spell: Spell) -> bool:
        """A whole book, or a change of the same level, would make a late removal wrong for good."""
        if frame.kind in FULL_DEPTH_KINDS:
            return True
        levels = {(c["asset_id"], c["price"]) for c in json.loads(frame.text)["price_changes"]}
        return any(
            (c["asset_id"], c["price"]) in levels
            for _, item in spell.held
            if isinstance(item, Frame)
            for c in json.loads(item.text)["price_changes"]
        )
