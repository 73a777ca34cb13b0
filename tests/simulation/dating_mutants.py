"""Engines that break one rule of dating each: whatever else they do right, an age of theirs is a lie.

They are written against what an engine shows in public, so they stay what they are when its inside changes; only
``Discouraged``, ``Prompt`` and ``Undying`` need its own account of forms, of requests, and of evidence.

- **D1** ``ByReceipt``: a message speaks for the moment it was read, not for its exchange time.
- **D1 for answers** ``Prompt``: an answer speaks for the moment it was read, not for that of its question.
- **D2** ``StillTrue``: a proven state that a later change has ended is as young as the read.
- **D2 for answers** ``Undying``: REST that is behind proves a state for later than the change that ended it.
- **D3** ``WayBack``: a whole book that is delivered again is the baseline until the next change.
- **D4** ``Forgiving``: any answer of REST clears a doubt, whatever it says and whenever it was asked for.
- **D5** ``Gullible``: an answer is used whatever its own hash says, as if that had explained it.
- **D6** ``Sleepless``: a gap is not added to the age of anything.
- **D7** ``Discouraged``: the first hash of the stream that does not fit ends the checking of hashes for its market.
- **Second token** ``Copying``: the second book is the mirror image of the first, and its own hash is never tried.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
from attrs import evolve

from polymirror.core.book import Levels
from polymirror.core.dialects import DialectBook
from polymirror.core.engine import Engine
from polymirror.core.evidence import Evidence
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from polymirror.simulator.faults.rest import plain_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.core.messages import Snapshot
    from polymirror.core.view import BookView

MARKET = re.compile(r'"market": ?"([^"]*)"')
STAMP = re.compile(r'"timestamp": ?"(\d+)"')


def _stamp_of(frame: bytes | str) -> tuple[str, int] | None:
    """The market of a frame and the exchange time that it states first."""
    text = frame if isinstance(frame, str) else frame.decode()
    market, stamp = MARKET.search(text), STAMP.search(text)
    return None if market is None or stamp is None else (market[1], int(stamp[1]))


class ByReceipt(Engine):
    """D1 is gone: a state is as old as the frame that showed it is long here."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.first_heard: dict[tuple[str, int], float] = {}

    def receive(self, number: int, data: bytes | str, now: float, *how: Any) -> None:
        stated = _stamp_of(data)
        if stated is not None:
            self.first_heard.setdefault(stated, now)
        super().receive(number, data, now, *how)

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        view = super().live(asset_id, now)
        heard = self.first_heard.get((view.market, view.exchange_ms), 0.0)
        younger = msgspec.structs.replace(view, proven_at=max(view.proven_at or 0.0, heard))
        if max_proof_age is not None and younger.verified_age > max_proof_age:
            raise self.refusal(asset_id, now, max_proof_age)
        return younger


class StillTrue(Engine):
    """D2 is gone: what was proven last is true until something else is proven."""

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        view = super().live(asset_id, now)
        if not view.settled:
            return msgspec.structs.replace(view, proven_at=now)
        return super().live(asset_id, now, max_proof_age)


class Prompt(Engine):
    """D1 is gone for answers: they are as fresh as if they had been asked for when they came."""

    def books(self, request: int, books: Any, now: float, *failed: Any) -> None:
        under_way = self.requests._under_way
        if request in under_way:
            under_way[request] = evolve(under_way[request], sent_at=now)
        super().books(request, books, now, *failed)


class Undying(Engine):
    """D2 is gone for answers: what they show holds for as long as they say, whatever ended it."""

    def books(self, request: int, books: Any, now: float, *failed: Any) -> None:
        with patch.object(Evidence, "until", lambda evidence, _: evidence):
            super().books(request, books, now, *failed)


class WayBack(Engine):
    """D3 is gone: a whole book is the book, whenever it is from, until the next change."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.delivered: dict[str, tuple[Levels, float]] = {}

    def receive(self, number: int, data: bytes | str, now: float, *how: Any) -> None:
        super().receive(number, data, now, *how)
        text = data if isinstance(data, str) else data.decode()
        if '"event_type":"book"' in text and text.startswith("{"):
            book = json.loads(text)
            bids, asks = (sorted(map(_units, book[side])) for side in ("bids", "asks"))
            mirrored = sorted((10_000 - price, size) for price, size in asks)
            levels = Levels(
                tuple(price for price, _ in bids),
                tuple(size for _, size in bids),
                tuple(key for key, _ in mirrored),
                tuple(size for _, size in mirrored),
            )
            self.delivered[book["asset_id"]] = (levels, now)
        else:
            for token in [token for token in self.delivered if token in text]:
                del self.delivered[token]

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        view = super().live(asset_id, now, max_proof_age)
        levels, at = self.delivered.get(asset_id, (view.levels, view.proven_at))
        return msgspec.structs.replace(view, levels=levels, proven_at=at)


def _units(level: dict[str, str]) -> tuple[int, int]:
    return int(Decimal(level["price"]) * 10_000), int(Decimal(level["size"]) * 1_000_000)


class Forgiving(Engine):
    """D4 is gone: after an answer nothing is in doubt any more."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.answered: dict[str, float] = {}

    def books(self, request: int, books: Any, now: float, *failed: Any) -> None:
        self.answered |= dict.fromkeys(books, now)
        super().books(request, books, now, *failed)

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        try:
            return super().live(asset_id, now, max_proof_age)
        except NotLive as error:
            at = self.answered.get(asset_id)
            if error.state is not BookState.SUSPECT or at is None:
                raise
            view = self.peek(asset_id, now)
            if view.proven_at is None or now - at > 1.0:
                raise
            return msgspec.structs.replace(view, state=BookState.LIVE, proven_at=max(at, view.proven_at))


class Gullible(Engine):
    """D5 is gone: each answer gets the hash that its levels need."""

    def books(self, request: int, books: Any, now: float, *failed: Any) -> None:
        super().books(request, {asset_id: _explained(book) for asset_id, book in books.items()}, now, *failed)


def _explained(book: Snapshot) -> Snapshot:
    told = json.loads(msgspec.json.encode(book))
    form = {
        "market": book.market,
        "asset_id": book.asset_id,
        "timestamp": str(book.timestamp_ms),
        "hash": "",
        "bids": told["bids"],
        "asks": told["asks"],
        "min_order_size": book.min_order_size,
        "tick_size": book.tick_size,
        "neg_risk": book.neg_risk,
        "last_trade_price": book.last_trade_price,
    }
    return msgspec.structs.replace(book, hash=plain_hash(form))


class Sleepless(Engine):
    """D6 is gone: whoever did not notice has not slept."""

    def gap(self, seconds: float, now: float) -> None:
        del seconds, now


class Forms(DialectBook):
    """Gives up with the first hash that does not fit, and for good."""

    def missed(self, market: str, now: float) -> bool:
        super().missed(market, now)
        before, self.distrusted = self.distrusted, True
        return not before

    def matched(self) -> None:
        """What fits proves nothing any more."""


class Discouraged(Engine):
    """D7 is gone: one hash that no form explains, and hashes mean nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.dialects = Forms()


class Copying(Engine):
    """The second token is never looked at: whatever one book is, the other one mirrors it."""

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        view = super().live(asset_id, now, max_proof_age)
        first = next(iter(self.markets[view.market].tokens))
        if asset_id == first:
            return view
        other = super().live(first, now, max_proof_age)
        bid_keys, bid_sizes, ask_keys, ask_sizes = other.levels
        # No field of its own but the name: what is read is the other book.
        return msgspec.structs.replace(
            view, levels=Levels(ask_keys, ask_sizes, bid_keys, bid_sizes), proven_at=other.proven_at
        )


DATING_MUTANTS: dict[str, tuple[Callable[..., Engine], tuple[str, ...]]] = {
    "D1": (ByReceipt, ("lagging_market", "stalled_loop", "stream_behind_rest")),
    "D1 for answers": (Prompt, ("stalled_loop", "lost_delta")),
    "D2": (StillTrue, ("lost_delta", "wrong_hash")),
    "D2 for answers": (Undying, ("rest_behind", "lost_delta")),
    "D3": (WayBack, ("late_duplicate_book",)),
    "D4": (Forgiving, ("lost_delta", "wrong_hash", "rest_behind")),
    "D5": (Gullible, ("altered_levels",)),
    "D6": (Sleepless, ("suspend",)),
    "D7": (Discouraged, ("lost_delta",)),
    "second token": (Copying, ("asymmetric_market",)),
}
"""By the rule that is broken: the engine, and faults among which it must be caught."""
