"""What all exports are made of: the changes, whole books, trades and proofs of a replayed journal, in order.

Numbers are raw ints, as inside: prices in 1/10,000 of a pUSD, sizes in 1/1,000,000 of a share; times of day in ns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from polymirror.core.messages import PriceChange, Snapshot, Trade, decode_frame
from polymirror.core.states import BookState
from polymirror.core.units import PRICES, parse_size
from polymirror.errors import UnitError
from polymirror.journal.format import Book, Heard, Lost, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polymirror.core.messages import Message
    from polymirror.journal.replay import Replay, ReplayStep


class Delta(Struct, frozen=True):
    """A change as the venue told it: the new size at a price; 0 removes the level."""

    local_ns: int
    exchange_ms: int
    market: str
    token: str
    is_bid: bool
    price_e4: int
    size_e6: int


class Whole(Struct, frozen=True):
    """A whole book as the venue told it: each level a price and a size, in the order in which it sends them."""

    local_ns: int
    exchange_ms: int
    market: str
    token: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


class TradeRow(Struct, frozen=True):
    """A trade as the venue told it; ``side`` is what the taker did."""

    local_ns: int
    exchange_ms: int
    market: str
    token: str
    side: str
    price_e4: int
    size_e6: int
    transaction_hash: str


class Proven(Struct, frozen=True):
    """A readable book that changed and is LIVE: what proves it, and how old that is."""

    local_ns: int
    exchange_ms: int
    market: str
    token: str
    epoch: int
    proof: str
    age_ns: int
    settled: bool
    best_bid_e4: int | None
    best_ask_e4: int | None


Row = Delta | Whole | TradeRow | Proven


def rows_of(replay: Replay) -> Iterator[Row]:
    """Replay a journal and yield its rows. What the venue said and cannot be read is left out."""
    seen: set[str] = set()
    for step in replay.steps():
        line = step.line
        if isinstance(line, Heard) and not line.lane:
            # The second connection of a hedged socket says the same again.
            for message in decode_frame(unpack(line.data, line.form)):
                for row in _said(message, line.w):
                    if isinstance(row, Whole):
                        seen.add(row.token)
                    yield row
        elif isinstance(line, Lost):
            # What was missed may have changed any book.
            seen.clear()
        elif isinstance(line, Book) and line.token not in seen:
            # Where a replay begins in the middle, and after a gap, nobody else has told it.
            seen.add(line.token)
            yield from (row for message in decode_frame(line.data) for row in _said(message, line.w))
        yield from _proven(replay, step)


def _said(message: Message, local_ns: int) -> Iterator[Row]:
    if isinstance(message, PriceChange):
        for change in message.price_changes or ():
            try:
                price, size = PRICES[change.price], parse_size(change.size)
            except UnitError:
                continue
            is_bid = change.side == "BUY"
            yield Delta(local_ns, message.at_ms, message.market, change.asset_id, is_bid, price, size)
    elif isinstance(message, Snapshot):
        try:
            bids, asks = (
                tuple([(PRICES[level.price], parse_size(level.size)) for level in side])
                for side in (message.bids, message.asks)
            )
        except UnitError:
            return
        yield Whole(local_ns, message.timestamp_ms, message.market, message.asset_id, bids, asks)
    elif isinstance(message, Trade):
        yield TradeRow(
            local_ns, message.timestamp_ms, message.market, message.asset_id, message.side, message.price,
            message.size, message.transaction_hash or "",
        )  # fmt: skip


def _proven(replay: Replay, step: ReplayStep) -> Iterator[Proven]:
    for token in step.changed:
        standing = replay.engine.standing(token)
        if standing is None or standing.state is not BookState.LIVE:
            continue
        view = replay.engine.peek(token, step.at)
        proof, bid, ask = view.last_proof, view.best_bid, view.best_ask
        if proof is not None:
            yield Proven(
                step.line.w, view.exchange_ms, view.market, token, view.epoch, proof.kind.value,
                round(view.verified_age * 1e9), view.settled,
                None if bid is None else bid.price_e4, None if ask is None else ask.price_e4,
            )  # fmt: skip


class Books:
    """Books put together from rows: what an export must give back. Levels by token and side, price to size."""

    def __init__(self) -> None:
        self.bids: dict[str, dict[int, int]] = {}
        self.asks: dict[str, dict[int, int]] = {}

    def take(self, row: Row) -> None:
        """Take the next row; changes of a book that was not told whole yet are left out."""
        if isinstance(row, Whole):
            self.bids[row.token], self.asks[row.token] = dict(row.bids), dict(row.asks)
        elif isinstance(row, Delta) and row.token in self.bids:
            side = (self.bids if row.is_bid else self.asks)[row.token]
            if row.size_e6:
                side[row.price_e4] = row.size_e6
            else:
                side.pop(row.price_e4, None)
