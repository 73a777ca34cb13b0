"""The usual message, taken in one go: an order and its mirror image, for two calm books.

Most messages are of this kind: two entries, one for each token of a market, that say the same. It means for them
what :meth:`Market.deltas` and :meth:`Market.close` do for any message, and a test holds the two ways together;
but the level is searched once, one SHA-1 proves both books, since they are exact mirror images, and what is checked
when a batch is over is checked at once: it was the last message of its batch, until another one comes. Whatever is not
exactly so is left to the long way.

The second token's own hash is tried after a bounded time and number of messages: until then it counts as the mirror
image of the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol

from polymirror.core.book import Undo
from polymirror.core.proofs import ProofKind
from polymirror.core.units import COMPLEMENTS, PRICE_SCALE, PRICES, parse_size
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.core.hashing import MarketHash
    from polymirror.core.messages import Change
    from polymirror.core.outbox import Outbox
    from polymirror.core.token import Token

TURNS: Final = 16
"""The second token's own hash is tried with one message in this many at least; else it is the mirror image,"""

TURN_SECONDS: Final = 0.1
"""and after this many seconds."""

# Looked up in an Enum they cost as much as a level's search.
_HASH: Final = ProofKind.HASH
_COMPLEMENT: Final = ProofKind.COMPLEMENT


class Pair(Protocol):
    """What is needed of a market."""

    hashes: MarketHash
    outbox: Outbox
    pair: tuple[Token, Token] | None
    differences: set[tuple[int, bool]]
    compared: int
    batch_ms: int
    heard_at: float
    messages: int
    turn: int
    both_due: float
    checked_as: Literal["proven_pairs", "proven_twice", "unhashed_pairs"] | None
    touched: dict[Token, None]

    def joinable(self, now: float) -> bool:
        """Whether the open batch may grow by a message without another look at it."""

    def reopen(self) -> None:
        """Take back what was counted for the open batch."""

    def close(self, now: float, *, definite: bool) -> None:
        """End the open batch."""

    def changed(self, tokens: Iterable[Token], now: float, *, prove: bool = True) -> None:
        """Try to prove changed books."""


def take_mirrored(  # noqa: C901, PLR0911, PLR0912, PLR0915 - calls for its parts would cost a fifth of the whole
    market: Pair, first: Change, second: Change, at_ms: int, as_of: float, now: float
) -> bool:
    """Take two entries of the open batch or a later one. False: not usual.

    False means that no level has changed. ``market.checked_as`` then tells whether anything is left to be checked
    when the batch is over.
    """
    if market.pair is None:
        return False
    # One recorded message in eight belongs to an open batch: not to take the long way with it saves 5,000 of 91,400
    # instructions a change.
    joins = at_ms == market.batch_ms
    if joins and not market.joinable(now):
        return False
    one, other = market.pair
    turned = first.asset_id != one.asset_id
    if turned:
        # Always the same token is hashed: the text of a side that did not change is kept.
        first, second = second, first
        if first.asset_id != one.asset_id:
            return False
    mine_proven, image_proven = one.proven, other.proven
    newest_ms = at_ms if joins else at_ms - 1
    if (
        second.asset_id != other.asset_id
        or first.size != second.size
        or newest_ms < mine_proven.last_ms
        or newest_ms < image_proven.last_ms
    ):
        return False
    try:
        price, size = PRICES[first.price], parse_size(first.size)
        # The keys of the best levels.
        bid, ask = PRICES[first.best_bid], COMPLEMENTS[first.best_ask]  # type: ignore[index]  # None raises
        if (
            COMPLEMENTS[second.price] != price
            or COMPLEMENTS[second.best_ask] != bid  # type: ignore[index]
            or PRICES[second.best_bid] != ask  # type: ignore[index]
        ):
            return False
    except (UnitError, TypeError):
        # The long way says what is wrong.
        return False
    if first.side == "BUY" and second.side == "SELL":
        is_bid, key = True, price
    elif first.side == "SELL" and second.side == "BUY":
        is_bid, key = False, PRICES[second.price]
    else:
        return False
    if not 0 < price < PRICE_SCALE:
        return False
    if joins:
        before = mine_proven.changes_of(is_bid, key, at_ms) or image_proven.changes_of(not is_bid, key, at_ms)
        if before and any(undo.new == size for undo in before):
            # The same level again, with a size that it had in this batch: perhaps the same message.
            return False
    elif market.batch_ms and market.checked_as is None:
        # A later message is proof that nothing more of the open batch is to come.
        market.close(now, definite=True)
    if market.differences or market.compared != mine_proven.generation + image_proven.generation:
        return False
    if not (one.calm or one.is_calm()) or not (other.calm or other.is_calm()):
        return False
    book, image_book = mine_proven.book, image_proven.book
    bids, asks = book.bids, book.asks
    mine, image = (bids, image_book.asks) if is_bid else (asks, image_book.bids)
    wire = f'{{"price":"{first.price}","size":"{first.size}"}}'
    image_wire = f'{{"price":"{second.price}","size":"{second.size}"}}'
    old = mine.set_mirrored(image, key, size, wire, image_wire)
    undo, image_undo = Undo(at_ms, is_bid, key, old, size, wire), Undo(at_ms, not is_bid, key, old, size, image_wire)
    if joins:
        market.reopen()
        market.heard_at = now
        market.messages += 1
    else:
        market.batch_ms, market.heard_at, market.messages = at_ms, now, 1
        market.checked_as = None
    dirty = market.outbox.dirty
    dirty[one.asset_id] = dirty[other.asset_id] = None
    fits = (
        (bids.keys[-1] if bids.keys else 0) == bid
        and (asks.keys[-1] if asks.keys else 0) == ask
        and bid + ask < PRICE_SCALE
    )
    checked = fits and _check(market, market.pair, (undo, image_undo), first, second, as_of, now)
    if checked:
        if not size and mine_proven.is_empty:
            # Perhaps settled: the next probe is due sooner.
            market.outbox.rearm[one.asset_id] = market.outbox.rearm[other.asset_id] = None
        if joins:
            # Both are checked as they stand at the end of the batch, as far as it is known.
            market.touched.clear()
        return True
    # Something needs more than a look: the changes are made, the rest goes the long way.
    undo.announced, image_undo.announced = first.hash, second.hash
    mine_proven.follow(undo, first, at_ms, as_of, one.doubts)
    image_proven.follow(image_undo, second, at_ms, as_of, other.doubts)
    # A hash that does not fit one of two mirror images fits none of them: it is of the end of the batch, perhaps.
    market.changed((other, one) if turned else (one, other), now, prove=checked is not None)
    return True


def _check(
    market: Pair, pair: tuple[Token, Token], undos: tuple[Undo, Undo], first: Change, second: Change,
    as_of: float, now: float,
) -> bool | None:  # fmt: skip
    """Prove both books, or find that there is no hash to prove them by.

    False: not usual. None: there is a hash, and it does not fit the first book.
    """
    (one, other), (undo, image_undo) = pair, undos
    hashes, at_ms, tally = market.hashes, undo.at_ms, market.outbox.proofs
    if first.hash and hashes.prove(one.asset_id, at_ms, one.proven.book, first.hash):
        market.turn += 1
        kind = _COMPLEMENT
        image_undo.announced = second.hash
        if market.turn >= TURNS or now > market.both_due or market.outbox.config.prove_both_hashes:
            if not hashes.prove(other.asset_id, at_ms, other.proven.book, second.hash):
                return False
            market.turn, market.both_due = 0, now + TURN_SECONDS
            kind = _HASH
            image_undo.announced = ""
            tally.proven_twice += 1
            market.checked_as = "proven_twice"
        else:
            tally.proven_pairs += 1
            market.checked_as = "proven_pairs"
        one.proven.take(undo, first, at_ms, _HASH, as_of)
        other.proven.take(image_undo, second, at_ms, kind, as_of)
        return True
    if first.hash or second.hash:
        if hashes.verifiable:
            return None if first.hash else False
        undo.announced, image_undo.announced = first.hash, second.hash
    if undo.new and not undo.old:
        # A level that was there already is on the grid, or was found not to be.
        tick = one.tick_size
        if tick is not None and undo.key % tick:
            return False
        if (tick := other.tick_size) is not None and undo.key % tick:
            return False
    one.proven.follow(undo, first, at_ms, as_of, one.doubts)
    other.proven.follow(image_undo, second, at_ms, as_of, other.doubts)
    tally.unhashed_pairs += 1
    market.checked_as = "unhashed_pairs"
    return True
