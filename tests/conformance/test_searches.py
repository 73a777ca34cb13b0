"""What a hash covers and nobody announced is found in real recordings, and what is searched for has a bound."""

from __future__ import annotations

import json
import os
from collections import Counter
from decimal import Decimal
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest

from polymirror.core.checksum import HashTemplate
from polymirror.core.dialects import SearchBudget
from polymirror.core.units import PRICES, SIZES
from polymirror.journal.frames import FrameReplay
from tests.conformance.plain import TRADE_PRICES, Constants, PlainBook, messages, trade_price_that_fits
from tests.conformance.recordings import play, recordings
from tests.conftest import require_corpus

if TYPE_CHECKING:
    from pathlib import Path

DENSE = "btc5m_dense_20260421.jsonl"
LATE_HASHES = 113
"""Frames of ordinary traffic with late hashes in them."""


@pytest.fixture(scope="module")
def excerpts(corpus: Path) -> Path:
    """Short excerpts of recordings, which lie beside the corpus."""
    return require_corpus(corpus.parent / "cases" / "recordings", in_ci=bool(os.environ.get("CI")))


def frames(folder: Path) -> list[tuple[str, float | None]]:
    rows = [json.loads(line) for line in (folder / "frames.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["frame"], row["recv_ms"] / 1000 if "recv_ms" in row else None) for row in rows]


# ---- Tick size and trade price together ----------------------------------------------------------------


def test_a_tick_size_and_a_trade_price_that_nobody_announced_are_found_together(excerpts: Path) -> None:
    replay = FrameReplay()
    for frame, at in frames(excerpts / "tick_and_trade_unannounced"):
        replay.frame(frame, at)
        # The next message is some 100 ms away; a batch is over after ten.
        replay.frame("[]", (at or 0.0) + 0.02)
        (book,) = messages(frame)
        view = replay.engine.live(book["asset_id"], (at or 0.0) + 0.02)
        assert view.settled
        assert [(each.price_e4, each.size_e6) for each in reversed(view.bids)] == units(book["bids"])
        assert [(each.price_e4, each.size_e6) for each in reversed(view.asks)] == units(book["asks"])
    summary = replay.summary()
    assert summary["hash"] == {"match": 3, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert summary["left_live"] == {}


def units(levels: list[dict[str, str]]) -> list[tuple[int, int]]:
    return [(PRICES[each["price"]], SIZES[each["size"]]) for each in levels]


def test_the_pair_of_that_excerpt_is_found_by_the_plain_rule_too(excerpts: Path) -> None:
    """What the test above finds is no accident of the library's own text."""
    _, (second, _), _ = frames(excerpts / "tick_and_trade_unannounced")
    (book,) = messages(second)
    args = (book["market"], book["asset_id"], book["timestamp"], PlainBook.of(book))
    assert trade_price_that_fits(*args, Constants("5", "0.01", neg_risk=False), book["hash"], TRADE_PRICES) is None
    assert trade_price_that_fits(*args, Constants("5", "0.001", neg_risk=False), book["hash"], TRADE_PRICES) == "0.001"


# ---- After late hashes ---------------------------------------------------------------------------------


class Market:
    """One market by the plain rule, to write changes that the recording does not have."""

    def __init__(self) -> None:
        self.market, self.at = "", 0
        self.books: dict[str, PlainBook] = {}

    def take(self, frame: str) -> None:
        for message in messages(frame):
            self.market, self.at = message["market"], int(message["timestamp"])
            if "bids" in message:
                self.books[message["asset_id"]] = PlainBook.of(message)
            for change in message.get("price_changes", ()):
                self.books[change["asset_id"]].apply(change)

    def change(self, price: str, size: str, trade: str, after_ms: int) -> str:
        """A change of both tokens' books, whose hashes have this trade price."""
        self.at += after_ms
        one, other = self.books
        entries = [{"asset_id": one, "price": price, "size": size, "side": "BUY"},
                   {"asset_id": other, "price": str(1 - Decimal(price)), "size": size, "side": "SELL"}]  # fmt: skip
        for entry in entries:
            book = self.books[entry["asset_id"]]
            book.apply(entry)
            bid, ask = max(book.bids, key=Decimal), min(book.asks, key=Decimal)
            entry |= {"hash": self.digest(entry["asset_id"], trade), "best_bid": bid, "best_ask": ask}
        message = {"market": self.market, "price_changes": entries, "timestamp": str(self.at)}
        return json.dumps(message | {"event_type": "price_change"})

    def digest(self, asset_id: str, trade: str) -> str:
        def levels(side: dict[str, str], *, descending: bool) -> list[dict[str, str]]:
            return [{"price": p, "size": side[p]} for p in sorted(side, key=Decimal, reverse=descending)]

        book = self.books[asset_id]
        content: dict[str, Any] = {
            "market": self.market, "asset_id": asset_id, "timestamp": str(self.at), "hash": "",
            "bids": levels(book.bids, descending=False), "asks": levels(book.asks, descending=True),
            "min_order_size": "5", "tick_size": "0.001", "neg_risk": True, "last_trade_price": trade,
        }  # fmt: skip
        return sha1(json.dumps(content, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("ordinary", [40, LATE_HASHES])
def test_a_trade_price_that_nobody_announced_is_found_however_many_hashes_were_late_before(
    excerpts: Path, ordinary: int
) -> None:
    replay, market = FrameReplay(), Market()
    for frame, at in frames(excerpts / "rationed_grid_after_late_hashes")[:ordinary]:
        replay.frame(frame, at)
        market.take(frame)
    for n in range(12):
        replay.frame(market.change("0.05", str(100 + n), "0.431", after_ms=200))
    replay.finish()
    summary = replay.summary()
    assert summary["left_live"] == {}
    assert summary["hash"]["mismatch"] == 0
    assert all(replay.engine.live(token, market.at / 1000).settled for token in market.books)


# ---- What it costs -------------------------------------------------------------------------------------


def test_late_hashes_of_a_busy_market_cost_no_search_and_few_tries(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: Counter[str] = Counter()
    fit = HashTemplate.fit

    def counted(self: HashTemplate, begun: Any, announced: str, candidates: Any) -> str | None:
        candidates = tuple(candidates)
        tried["digests"] += len(candidates)
        return fit(self, begun, announced, candidates)

    monkeypatch.setattr(HashTemplate, "fit", counted)
    monkeypatch.setattr(SearchBudget, "spend", lambda *_: tried.update(["searches"]))
    (dense,) = (each for each in recordings(corpus) if each.name == DENSE)
    (part,) = dense.parts()
    played = play(part)
    hashes = played.summary()["hash"]
    assert hashes["match"] + hashes["healed"] >= 10_100
    assert tried["searches"] == 0
    # Less than one for each of its 5,544 frames.
    assert tried["digests"] < 5_000
