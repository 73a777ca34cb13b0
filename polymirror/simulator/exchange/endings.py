"""How a simulated market ends: the emptying of its book, its resolution, and the news of it.

Each step is an event of the exchange's agenda. The exchange starts it, at the appointed time or when
somebody asks; the variants are those that published studies of the venue saw.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from polymirror.simulator.exchange.flow import Change, Group
from polymirror.simulator.exchange.listings import resolution
from polymirror.simulator.exchange.market import Phase

if TYPE_CHECKING:
    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.floor import Floor
    from polymirror.simulator.exchange.market import Ending, Market

EMPTYING_PER_MS = 25
"""How many levels of a settled book are removed in one millisecond."""


def end_market(floor: Floor, market: Market, ending: Ending, at_ms: int, out: Output) -> None:
    """Stop trading and begin the ending, unless another one began before."""
    if market.ending is not None:
        return
    market.ending = ending
    market.phase = Phase.CLOSING
    # Orders of accounts end with it; their sizes go with the rest of the book.
    market.queues = None
    if floor.trading_ended is not None:
        floor.trading_ended(market, at_ms)
    if ending.empties:
        _empty(floor, market, at_ms, out)
    else:
        floor.agenda.add(at_ms + ending.resolve_delay_ms, partial(_resolve, floor, market, ending))


def _empty(floor: Floor, market: Market, at_ms: int, out: Output) -> None:
    """Remove some levels of a book that ended; come back in a millisecond until none is left."""
    doomed = [Change(side, p, 0) for side in (0, 1) for p in reversed(market.ladders[side].prices)]
    group = Group(tuple(doomed[:EMPTYING_PER_MS]))
    for change in group.changes:
        market.apply(change, at_ms)
    stated_ms = market.changed_ms = at_ms + floor.clock_offset_ms
    hashes = market.book_hash(0, stated_ms), market.book_hash(1, stated_ms)
    out += market.price_change_frames(group, stated_ms, hashes, sell_first=False)
    if len(doomed) > EMPTYING_PER_MS:
        floor.agenda.add(at_ms + 1, partial(_empty, floor, market))
    elif market.ending is not None:
        delay_ms = market.ending.resolve_delay_ms
        floor.agenda.add(at_ms + delay_ms, partial(_resolve, floor, market, market.ending))


def _resolve(floor: Floor, market: Market, ending: Ending, at_ms: int, out: Output) -> None:
    """From now on there is an outcome and no order book."""
    market.phase = Phase.RESOLVED
    market.payouts = ending.payouts
    if ending.payouts is not None and 0 in ending.payouts:
        market.winner = ending.payouts.index(0) ^ 1
    if floor.resolve_round is not None and market.round is not None:
        floor.resolve_round(market, at_ms)
    elif market.payouts is None:
        market.winner = 0 if market.flow.fair >= 5_000 else 1
        market.payouts = (1 - market.winner, market.winner)
    floor.agenda.add(at_ms + ending.announce_delay_ms, partial(_say_farewell, floor, market, ending))
    del out


def _say_farewell(floor: Floor, market: Market, ending: Ending, at_ms: int, out: Output) -> None:
    market.over = ending.closes
    floor.over_count += ending.closes
    if ending.announced:
        out.append(resolution(market, at_ms + floor.clock_offset_ms))
