"""The usual message, taken in one go: an order and its mirror image, alone in a new batch of two calm books.

Most messages are of this kind: two entries, one for each token of a market, that say the same. It means for them
what :meth:`Market.deltas` and :meth:`Market.close` do for any message, and a test holds the two ways together;
but the level is searched once, one SHA-1 proves both books, since they are exact mirror images, and what is checked
when a batch is over is checked at once. Whatever is not exactly so is left to the long way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.book import Undo
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.units import COMPLEMENTS, PRICE_SCALE, PRICES, parse_size
from polymirror.errors import UnitError

if TYPE_CHECKING:
    from polymirror.core.market import Market
    from polymirror.core.messages import Change
    from polymirror.core.token import Token

TURNS: Final = 16
"""The second token's own hash is tried with one message in this many; else it is proven as the mirror image."""

# Looked up in an Enum they cost as much as a level's search.
_HASH: Final = ProofKind.HASH
_COMPLEMENT: Final = ProofKind.COMPLEMENT


def take_mirrored(  # noqa: C901, PLR0911, PLR0912 - calls for its parts would cost a fifth of the whole
    market: Market, first: Change, second: Change, at: int, heard_at: float, now: float
) -> bool:
    """Take two entries whose exchange time ``at`` (ms) is later than the open batch's. False: not usual.

    False means that no level has changed. ``market.checked_as`` then tells whether anything is left to be checked
    when the batch is over.
    """
    if market.pair is None:
        return False
    one, other = market.pair
    turned = first.asset_id != one.asset_id
    if turned:
        # Always the same token is hashed: the text of a side that did not change is kept.
        first, second = second, first
        if first.asset_id != one.asset_id:
            return False
    if second.asset_id != other.asset_id or first.size != second.size or at <= one.last_at or at <= other.last_at:
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
    if market.batch_at and market.checked_as is None:
        # A later message is proof that nothing more of the open batch is to come.
        market.close(now, definite=True)
    if market.differences or market.compared != one.generation + other.generation:
        return False
    if not (one.calm or one.is_calm()) or not (other.calm or other.is_calm()):
        return False
    bids, asks = one.book.bids, one.book.asks
    mine, image = (bids, other.book.asks) if is_bid else (asks, other.book.bids)
    wire = f'{{"price":"{first.price}","size":"{first.size}"}}'
    image_wire = f'{{"price":"{second.price}","size":"{second.size}"}}'
    old = mine.set_mirrored(image, key, size, wire, image_wire)
    undo, image_undo = Undo(at, is_bid, key, old, size, wire), Undo(at, not is_bid, key, old, size, image_wire)
    market.batch_at, market.heard_at, market.messages = at, now, 1
    market.checked_as = None
    dirty = market.outbox.dirty
    dirty[one.asset_id] = dirty[other.asset_id] = None
    if (
        (bids.keys[-1] if bids.keys else 0) == bid
        and (asks.keys[-1] if asks.keys else 0) == ask
        and bid + ask < PRICE_SCALE
        and _check(market, market.pair, (undo, image_undo), first, second, heard_at)
    ):
        if not size and one.is_empty:
            # Perhaps settled: the next probe is due sooner.
            market.outbox.rearm[one] = market.outbox.rearm[other] = None
        return True
    # Something needs more than a look: the changes are made, the rest goes the long way.
    undo.announced, image_undo.announced = first.hash, second.hash
    one.follow(undo, first, at, heard_at)
    other.follow(image_undo, second, at, heard_at)
    market.changed((other, one) if turned else (one, other), now)
    return True


def _check(
    market: Market, pair: tuple[Token, Token], undos: tuple[Undo, Undo], first: Change, second: Change, heard_at: float
) -> bool:
    """Prove both books, or find that there is no hash to prove them by. False: there is, and it does not fit."""
    (one, other), (undo, image_undo) = pair, undos
    hashes, at, tally = market.hashes, undo.at, market.outbox.proofs
    if first.hash and hashes.prove(one.asset_id, at, one.book, first.hash):
        market.turn = turn = (market.turn + 1) % TURNS
        kind = _COMPLEMENT
        image_undo.announced = second.hash
        if not turn or market.outbox.config.prove_both_hashes:
            if not hashes.prove(other.asset_id, at, other.book, second.hash):
                return False
            kind = _HASH
            image_undo.announced = ""
            tally.proven_twice += 1
            market.checked_as = "proven_twice"
        else:
            tally.proven_pairs += 1
            market.checked_as = "proven_pairs"
        # What follow() and proven() do, for a calm book and a change that is proven already.
        one.journal.append(undo)
        other.journal.append(image_undo)
        one.tip_levels = other.tip_levels = one.past_levels = other.past_levels = None
        one.unproven = other.unproven = 0
        one.last_at = other.last_at = one.proven_at_ms = other.proven_at_ms = at
        one.stated, other.stated = first, second
        one.stated_at = other.stated_at = heard_at
        one.hash_proven = other.hash_proven = True
        one.only_rest = other.only_rest = False
        one.proof = Proof(_HASH, heard_at, one.epoch)
        other.proof = Proof(kind, heard_at, other.epoch)
        return True
    if first.hash or second.hash:
        if hashes.verifiable:
            return False
        undo.announced, image_undo.announced = first.hash, second.hash
    if undo.new:
        tick = one.tick_size
        if tick is not None and undo.key % tick:
            return False
        if other.tick is not one.tick and (tick := other.tick_size) is not None and undo.key % tick:
            return False
    one.follow(undo, first, at, heard_at)
    other.follow(image_undo, second, at, heard_at)
    tally.unhashed_pairs += 1
    market.checked_as = "unhashed_pairs"
    return True
