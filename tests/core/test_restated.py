"""A LIVE book as the venue would send it: who starts with it goes on as the one that wrote it."""

from __future__ import annotations

from polymirror.core.dialects import DialectBook
from polymirror.core.hashing import MarketHash
from polymirror.core.messages import book_text, decode_books, decode_frame
from polymirror.core.states import BookState
from tests.core.builders import START, Exchange, Rig, order_book, shown, truth


def test_a_book_is_restated_with_the_hash_of_the_plain_rule_and_another_engine_begins_with_it() -> None:
    rig = Rig.live(exchange := Exchange())
    rig.now += 1
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 1_000))
    book = rig.engine.restated("11")
    assert book is not None
    assert (book.market, book.asset_id, book.timestamp_ms) == ("0xm", "11", START + 1_000)
    assert book == exchange.rest("11", at=START + 1_000)
    text = book_text(book)
    (read,) = decode_frame(text)
    assert read == book
    assert decode_books(text.encode()) == [book]
    other = Rig(Exchange())
    other.engine.connected(1, other.now)
    other.now = rig.now
    other.engine.receive(1, text, other.now)
    assert other.engine.peek_state("11") is BookState.LIVE
    assert shown(other.engine.peek("11", other.now)) == truth(exchange, "11")


def test_a_book_that_is_not_live_or_not_settled_is_not_restated() -> None:
    rig = Rig(exchange := Exchange())
    assert rig.engine.restated("11") is None
    assert rig.engine.restated("99") is None
    rig = Rig.live(exchange)
    assert rig.engine.restated("11") is not None
    wrong = exchange.change("BUY", "0.46", "7", at=START + 1_000)
    for each in wrong["price_changes"]:
        each["hash"] = "0" * 40
    rig.send(wrong)
    assert not rig.engine.is_settled("11")
    assert rig.engine.restated("11") is None


def test_a_market_without_constants_is_restated_without_them() -> None:
    hashes = MarketHash("0xm", DialectBook())
    assert hashes.hash_of("11", START, order_book([("0.40", "1")])) == ""
    rig = Rig.live(Exchange())
    rig.engine.markets["0xm"].hashes.constants = None
    book = rig.engine.restated("11")
    assert book is not None
    assert (book.tick_size, book.min_order_size, book.neg_risk, book.hash) == (None, None, None, "")
