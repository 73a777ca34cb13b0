"""Reads as users write them: clean under mypy --strict, with the types that a user expects, and right when they run.

mypy is told to check this folder; the tests run what it checked.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from polymirror import BookView, FeeSchedule, Fill, Level, Mirror, Top
from polymirror.history import History
from polymirror.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable


def is_tight(read: BookView | Top) -> bool:
    assert_type(read.spread, Decimal | None)
    assert_type(read.spread_e4, int | None)
    return read.spread is not None and read.spread < Decimal("0.5") and read.spread > 0


def is_in_the_middle(read: BookView | Top) -> bool:
    bid, ask = read.best_bid, read.best_ask
    if bid is None or ask is None:
        return False
    assert_type(bid, Level)
    assert_type(bid.price, Decimal)
    assert_type(bid.size_e6, int)
    return bid.price < Decimal(1) and bid.price_e4 < ask.price_e4 and bid < ask


def adds_up(view: BookView) -> bool:
    total = Decimal(0)
    for price, size in view.bids:
        assert_type(price, Decimal)
        assert_type(size, Decimal)
        total += size
    lowest = view.bids[-1].price
    assert_type(view.bid_depth(down_to=lowest), Decimal)
    assert_type(view.bid_depth_e6(view.bids[-1].price_e4), int)
    return view.bid_depth(lowest) == view.bid_depth(str(lowest)) == total


def is_deep(view: BookView) -> bool:
    best, tick = view.best_ask, view.tick_size
    if best is None or tick is None:
        return False
    assert_type(tick, Decimal)
    return view.ask_depth(up_to=best.price + 2 * tick) >= best.size


def shows_its_best(view: BookView) -> bool:
    bids, asks = view.top(1)
    assert_type(bids, tuple[Level, ...])
    return (*bids, *asks) == (view.best_bid, view.best_ask)


def can_be_paid(view: BookView) -> bool:
    fill = view.cost_to_buy(1, fees=True)
    assert_type(fill, Fill)
    assert_type(fill.total, Decimal)
    assert_type(view.fee, FeeSchedule | None)
    return fill.complete and fill.money + fill.fee == fill.total <= Decimal("1.1")


def is_plain(view: BookView) -> bool:
    plain = view.to_dict(levels=3)
    assert_type(plain, dict[str, Any])
    return bool(plain["bids"][0]["price"] == str(view.bids[0].price))


def is_recorded(mirror: Mirror) -> bool:
    with History(mirror, *mirror.tokens, limit=10) as history:
        (row, _) = history.rows
    assert_type(row.best_bid, Level | None)
    return row.best_bid == mirror.live(row.token).best_bid


@pytest.mark.anyio
async def test_what_users_write_is_true() -> None:
    async with Simulator(seed=7) as venue, Mirror.for_slug(venue.slugs[0], endpoints=venue.endpoints) as mirror:
        await mirror.wait_live(timeout=10)
        for token in mirror.tokens:
            for says in (is_tight, is_in_the_middle):
                assert says(mirror.live(token))
                assert says(mirror.top(token, max_proof_age=10))
            reads: list[Callable[[BookView], bool]] = [
                adds_up, is_deep, shows_its_best, can_be_paid, is_plain,
            ]  # fmt: skip
            assert all(says(mirror.live(token)) for says in reads)
        assert is_recorded(mirror)
