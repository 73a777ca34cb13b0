"""A bot and its tests, in virtual time: ``pytest examples/test_bot.py``.

The fixtures come with polymirror: ``pip install 'polymirror[simulator]' pytest``.
"""

import asyncio
from decimal import Decimal

import pytest

from polymirror import BookView, Gate, Mirror, NotLive
from polymirror.testing import StagedVenue


def shares_to_buy(view: BookView) -> Decimal:
    """Whatever costs 45 cents or less, 50 shares at most."""
    return min(view.ask_depth("0.45"), Decimal(50))


async def decide(mirror: Mirror, token: str) -> Decimal:
    """Decide on a book proven within the last two seconds, or raise NotLive."""
    async with Gate(mirror).lease(token, max_proof_age=2.0, timeout=1.0) as lease:
        return shares_to_buy(lease.check())


async def test_it_buys_what_is_cheap(venue: StagedVenue, mirror: Mirror) -> None:
    """It adds up the levels it may buy."""
    venue.set_book(venue.tokens[0], bids=[("0.40", 100)], asks=[("0.44", 30), ("0.45", "2.5"), ("0.46", 500)])
    await venue.until_shown(mirror)
    assert await decide(mirror, venue.tokens[0]) == Decimal("32.5")


async def test_it_decides_nothing_while_the_socket_is_silent(venue: StagedVenue, mirror: Mirror) -> None:
    """It cannot know that its book is old; the gate does."""
    with venue.fault("silent_socket", length=60), venue.fault("rest_503"):
        await asyncio.sleep(3)
        with pytest.raises(NotLive):
            await decide(mirror, venue.tokens[0])
