"""What the strategies make can be, covers what there is, and can be played; and scripts happen as they are written."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from importlib import reload

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from polymirror import BookState, NotLive
from polymirror.core.level import Level
from polymirror.simulator import FAULTS, Exchange
from polymirror.testing import Book, Step, perform, play, strategies
from tests.simulator.naive import NaiveClient


def found(strategy, wanted):
    """Return an example, without looking for the smallest one."""
    return find(strategy, wanted, settings=settings(phases=[Phase.generate], max_examples=1_000))


few = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@given(strategies.books(max_levels=5, min_levels=1), st.integers(0, 1))
@few
def test_every_book_is_one_that_the_venue_could_have(book, index):
    exchange = Exchange()
    token = exchange.tokens[index]
    rows = [[(level.price_e4, level.size_e6) for level in side] for side in (book.bids, book.asks)]
    exchange.set_book(token, *rows, exchange.now_ms)
    assert exchange.truth(token) == tuple(map(tuple, rows)), "best first, as it was made"
    assert all(1 <= len(side) <= 5 for side in rows)


@given(st.integers(0, 3), st.integers(0, 3), st.data())
def test_books_have_as_many_levels_as_was_asked_for(least, more, data):
    most = least + more
    book = data.draw(strategies.books(min_levels=least, max_levels=most, tick="0.1" if most < 4 else "0.001"))
    assert all(least <= len(side) <= most for side in (book.bids, book.asks))


def test_books_may_be_empty_lopsided_and_full_of_crumbs():
    assert found(strategies.books(), lambda book: not book.bids and not book.asks) == Book()
    assert found(strategies.books(), lambda book: bool(book.asks) and not book.bids).best_bid is None
    assert found(strategies.books(tick="0.001"), lambda book: bool(book.bids) and book.bids[0].price_e4 % 100 != 0)
    assert found(strategies.levels(), lambda level: level.size_e6 < 1_000_000)
    assert find(strategies.levels(), lambda level: level.price_e4 >= 5_000) == Level(5_000, 1_000_000)


@given(strategies.views(max_age=0.5, min_levels=1))
def test_a_view_is_a_read_of_a_live_book(view):
    assert view.state is BookState.LIVE
    assert 0.0 <= view.verified_age <= 0.5
    assert view.best_bid < view.best_ask
    assert view.spread > 0
    assert view.cost_to_buy("0.000001").complete
    assert view.last_proof.as_of == view.proven_at
    assert json.dumps(view.exchange_ms)


@given(strategies.streams(max_seconds=3.0))
@few
def test_a_stream_is_what_a_connection_brings_and_what_it_states_fits(stream):
    client = NaiveClient()
    for text in stream:
        if '"new_market"' not in text:
            client.feed(text)
    client.finish()
    assert '"event_type":"book"' in stream[0]
    # Hashes may be ahead of what is told, as the venue's are; tops and mirror images are not.
    assert client.seen["top_right"] == client.seen["top"]
    assert client.seen["complement_right"] == client.seen["complement"]


def test_there_is_a_frame_of_each_kind_that_the_stream_brings_and_a_book_of_rest():
    contents = [json.loads(frame) for frame in strategies._frames()]
    arrays = [content for content in contents if isinstance(content, list)]
    assert [len(array) for array in arrays] == [2, 0], "the opening books, and the answer about nothing"
    kinds = {content.get("event_type", "rest") for content in contents if isinstance(content, dict)}
    told = {"price_change", "book", "best_bid_ask", "last_trade_price", "tick_size_change"}
    assert kinds == told | {"new_market", "market_resolved", "rest"}


@given(strategies.scripts(markets=2))
def test_scripts_draw_from_what_exists(script):
    assert all(step.fault is None or step.fault in FAULTS for step in script)
    assert all((step.book is None) != (step.fault is None) for step in script)
    assert all(0 <= step.after <= 5.0 and step.market in {0, 1} for step in script)


def test_a_failing_script_is_printed_so_that_it_can_be_pasted_into_a_test():
    script = found(strategies.scripts(), lambda script: any(step.book and step.book.bids for step in script))
    assert eval(repr(script), {"Step": Step, "Book": Book, "Level": Level}) == script  # noqa: S307 - what we printed


def test_a_script_happens_step_by_step_at_its_times_and_its_faults_end():
    script = (
        Step(after=1.0, book=Book(bids=(Level(4_700, 10**7),))),
        Step(after=0.5, fault="frozen_token", lasts=2.0),
        Step(market=3, book=Book(asks=(Level(6_000, 10**6),))),
        Step(after=5.0, fault="lost_delta", lasts=3_000.0),
    )

    async def scene(venue, mirror):
        began_ms = venue.wall_ms()
        seen = [(venue.wall_ms() - began_ms, step) async for step in perform(venue, script)]
        assert seen == [(1_000, script[0]), (1_500, script[1]), (1_500, script[2]), (6_500, script[3])]
        assert [str(venue.truth(token)) for token in venue.tokens[::2]] == ["0.47 x 10 | no ask", "no bid | 0.6 x 1"]
        assert [fault.plan.share for fault in venue._carrier.line.faults] == [0.0, 0.0]

    play(scene, markets=2)


def test_a_script_that_is_left_early_ends_without_a_word(caplog):
    script, kept = (Step(fault="frozen_token", lasts=3_000.0), Step(after=1.0, book=Book())), []

    async def scene(venue, mirror):
        kept.append(perform(venue, script))
        async for _ in kept[0]:
            break

    # It is closed with the loop, after the venue.
    play(scene)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@given(strategies.scripts(max_steps=6))
@settings(few, max_examples=15)
def test_no_script_makes_a_mirror_grant_what_was_not_true(script):
    async def scene(venue, mirror):
        async for _ in perform(venue, script):
            for token in mirror.tokens:
                with suppress(NotLive):
                    assert venue.confirms(mirror.live(token), slack=6.0)
        await asyncio.sleep(60)
        await mirror.wait_live(timeout=120)

    play(scene)


def test_without_hypothesis_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match="needs hypothesis: pip install hypothesis"):
        reload(strategies)
