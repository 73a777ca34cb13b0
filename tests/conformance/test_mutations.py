"""Recorded frames, damaged on purpose: nothing raises, everything is counted, no LIVE view is a made-up book.

Each run plays a recording with some of its frames damaged, by a seed. REST answers with the state that the
recording had at that moment, sometimes damaged too. After every frame each readable view is compared with
what the undamaged recording went through by the plain rule.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from polymirror.core.checksum import Constants as CoreConstants
from polymirror.core.checksum import Dialect
from polymirror.core.effects import FetchBooks, OpenSocket
from polymirror.core.hashing import Explained, MarketHash
from polymirror.core.messages import Malformed, decode_books, decode_frame
from polymirror.errors import DecodeError, NotLive
from polymirror.journal.frames import REPLAY_CONFIG
from tests.conformance.plain import TRADE_PRICES, Constants, PlainBook, messages, trade_price_that_fits
from tests.conformance.recordings import Kind, Played, Step, recordings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polymirror.core.view import BookView

MAX_STEPS = 1_200
MAX_STEPS_JUDGED = 300
SHARE = {"btc5m_dense_20260421.jsonl": 0.05, "btc_eth_sol_15m_20260429.jsonl": 0.3}
"""How many of a recording's frames are damaged: more of the one that has few."""

REST_SHARE = 0.2
IMPATIENT = evolve(REPLAY_CONFIG, hash_grace=0.05, suspect_grace=0.05, resync_backoff_base=0.01, resync_backoff_cap=0.1)
"""Recordings are short: doubts must turn into resyncs within them."""

NEAR_MS = 50
"""A state that exists only as a hash was announced this near to the time that the view states."""

CONSTANTS = Constants("5", "0.01", neg_risk=False)


# ---- Damage ----------------------------------------------------------------------------------------


def cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text))]


def flip(rng: random.Random, text: str) -> str:
    """Another character somewhere, often one that changes the structure."""
    i = rng.randrange(len(text))
    return text[:i] + rng.choice('0123456789.,:"{}[]x\\\0é') + text[i + 1 :]


def swap_values(rng: random.Random, text: str) -> str:
    """Exchange two texts of one level, change, book or message."""
    content = json.loads(text)
    one = rng.choice([each for each in objects(content) if len(each) > 1])
    a, b = rng.sample(sorted(one), 2)
    one[a], one[b] = one[b], one[a]
    return json.dumps(content)


def remove_key(rng: random.Random, text: str) -> str:
    content = json.loads(text)
    one = rng.choice([each for each in objects(content) if each])
    del one[rng.choice(sorted(one))]
    return json.dumps(content)


def rename_token(rng: random.Random, text: str) -> str:
    """One token becomes its neighbour, or a token that does not exist."""
    content = json.loads(text)
    named = [each for each in objects(content) if "asset_id" in each]
    if not named:
        return cut(rng, text)
    ids = sorted({each["asset_id"] for each in named})
    rng.choice(named)["asset_id"] = rng.choice([*ids, "123", ""])
    return json.dumps(content)


def odd_value(rng: random.Random, text: str) -> str:
    """NaN, negatives, numbers for texts, null and structures for values."""
    content = json.loads(text)
    one = rng.choice([each for each in objects(content) if each])
    odd = (
        float("nan"),
        float("inf"),
        -1,
        "-0.5",
        "NaN",
        "1e3",
        0.48,
        7,
        10**30,
        None,
        True,
        "",
        [],
        {},
        [[]],
        "0",
        "1",
    )
    one[rng.choice(sorted(one))] = rng.choice(odd)
    return json.dumps(content)


def other_size(rng: random.Random, text: str) -> str:
    """A plausible size in place of the right one: only the hash can tell."""
    content = json.loads(text)
    sized = [each for each in objects(content) if "size" in each]
    if not sized:
        return flip(rng, text)
    rng.choice(sized)["size"] = str(rng.choice([0, 1, 5, 100, 1234.5]))
    return json.dumps(content)


def lost_entry(rng: random.Random, text: str) -> str:
    """A level or a change is missing."""
    content = json.loads(text)
    lists = [v for each in objects(content) for v in each.values() if isinstance(v, list) and v]
    if not lists:
        return flip(rng, text)
    chosen = rng.choice(lists)
    del chosen[rng.randrange(len(chosen))]
    return json.dumps(content)


def doubled_entry(rng: random.Random, text: str) -> str:
    """A level or a change comes twice."""
    content = json.loads(text)
    lists = [v for each in objects(content) for v in each.values() if isinstance(v, list) and v]
    if not lists:
        return text + text
    chosen = rng.choice(lists)
    chosen.insert(rng.randrange(len(chosen)), rng.choice(chosen))
    return json.dumps(content)


def lost(rng: random.Random, text: str) -> str:
    return ""


DAMAGE: tuple[Callable[[random.Random, str], str], ...] = (
    cut, flip, swap_values, remove_key, rename_token, odd_value, other_size, lost_entry, doubled_entry, lost,
)  # fmt: skip


def objects(content: Any) -> list[dict[str, Any]]:
    """Every object in some JSON, the outer ones first."""
    if isinstance(content, dict):
        return [content, *(inner for value in content.values() for inner in objects(value))]
    return [inner for value in content for inner in objects(value)] if isinstance(content, list) else []


# ---- The truth -------------------------------------------------------------------------------------


def level(side: str, price: str, size: str) -> int:
    return hash((side, int(Decimal(price) * 10_000), int(Decimal(size) * 1_000_000)))


class Truth:
    """What the undamaged recording went through: all states of each token so far, and the newest."""

    def __init__(self) -> None:
        self.books: dict[str, PlainBook] = {}
        self.newest: dict[str, tuple[str, str]] = {}
        # Digests of all states so far; each is a sum over levels.
        self.states: dict[str, set[int]] = {}
        self.hashes: dict[str, dict[int, list[str]]] = {}
        self._digest: dict[str, int] = {}

    def take(self, text: str) -> None:
        for message in messages(text):
            if "bids" in message:
                asset_id = message["asset_id"]
                book = self.books[asset_id] = PlainBook.of(message)
                self._digest[asset_id] = sum(level("BUY", *each) for each in book.bids.items()) + sum(
                    level("SELL", *each) for each in book.asks.items()
                )
                self._note(message["market"], asset_id, message["timestamp"], message["hash"])
            for change in message.get("price_changes", ()):
                self._change(message, change)

    def _change(self, message: dict[str, Any], change: dict[str, str]) -> None:
        asset_id, side, price = change["asset_id"], change["side"], change["price"]
        book = self.books.get(asset_id)
        if book is None:
            return
        old = (book.bids if side == "BUY" else book.asks).get(price)
        book.apply(change)
        self._digest[asset_id] -= 0 if old is None else level(side, price, old)
        self._digest[asset_id] += level(side, price, change["size"]) if Decimal(change["size"]) else 0
        self._note(message["market"], asset_id, message["timestamp"], change["hash"])

    def _note(self, market: str, asset_id: str, timestamp: str, announced: str) -> None:
        self.states.setdefault(asset_id, set()).add(self._digest[asset_id])
        self.hashes.setdefault(asset_id, {}).setdefault(int(timestamp), []).append(announced)
        self.newest[asset_id] = (market, timestamp)

    def knows(self, view: BookView) -> bool:
        """Whether the view is a state of the recording, or has a hash that the venue announced."""
        sides = (("BUY", view.bids), ("SELL", view.asks))
        digest = sum(hash((side, each.price_e4, each.size_e6)) for side, levels in sides for each in levels)
        return digest in self.states[view.token] or self._was_announced(view)

    def _was_announced(self, view: BookView) -> bool:
        """The file's order is not always the venue's: a state may exist only as a hash."""

        def wire(levels: Any) -> dict[str, str]:
            return {plain(each.price_e4, 10_000): plain(each.size_e6, 1_000_000) for each in levels}

        book = PlainBook(wire(view.bids), wire(view.asks))
        hashes = self.hashes[view.token].items()
        near = [(at, announced) for at, announced in hashes if abs(at - view.exchange_ms) <= NEAR_MS]
        return any(
            trade_price_that_fits(view.market, view.token, str(at), book, CONSTANTS, each, TRADE_PRICES) is not None
            for at, announced in near
            for each in announced
        )

    def rest(self, asset_id: str) -> str | None:
        """REST's answer at this moment."""
        known = self.books.get(asset_id)
        if known is None:
            return None
        market, timestamp = self.newest[asset_id]
        body = {"market": market, "asset_id": asset_id, "timestamp": timestamp, "hash": "",
                "bids": [{"price": p, "size": known.bids[p]} for p in sorted(known.bids, key=Decimal)],
                "asks": [{"price": p, "size": known.asks[p]} for p in sorted(known.asks, key=Decimal, reverse=True)],
                "min_order_size": "5", "tick_size": "0.01", "neg_risk": False, "last_trade_price": ""}  # fmt: skip
        body["hash"] = sha1(json.dumps(body, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
        return json.dumps(body)


def plain(units: int, scale: int) -> str:
    return f"{(Decimal(units) / scale).normalize():f}"


# ---- The run ---------------------------------------------------------------------------------------


class Damaged(Played):
    """A replay whose frames and REST answers are damaged now and then, and whose every view is judged."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__(IMPATIENT, seed)
        self.rng = random.Random(seed)
        self.share = share
        self.truth = Truth()
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        # Frames with a token's first book stay whole: without one good book no form of the hash is known.
        self._primed: set[str] = set()

    def damaged_step(self, step: Step) -> None:
        if step.kind is Kind.CONNECTION:
            self.connection(step.at or 0.0)
            return
        if step.kind is Kind.REST:
            return
        self.truth.take(step.text)
        text = step.text
        tokens = {message["asset_id"] for message in messages(text) if "bids" in message}
        if not tokens - self._primed and self.rng.random() < self.share:
            damage = self.rng.choice(DAMAGE)
            text = damage(self.rng, text)
            self.seen[f"damaged: {damage.__name__}"] += 1
            self.seen["expected malformed"] += sum(isinstance(each, Malformed) for each in decode_frame(text))
        self._primed |= tokens
        self.frame(text, step.at)
        self.judge()

    def judge(self) -> None:
        for asset_id in tuple(self.engine.tokens):
            try:
                view = self.engine.live(asset_id, self._now)
            except NotLive:
                self.seen["refused" if asset_id in self._primed else "too early"] += 1
                continue
            self.seen["granted"] += 1
            if asset_id not in self.truth.books or not self.truth.knows(view):
                self.wrong.append(f"frame {self.engine.counts['frames']}: {view}")

    def _drain(self) -> None:
        """Carry requests out: REST knows the truth of this moment, and is damaged now and then too."""
        self.engine.dirty()
        while effects := self.engine.effects():
            for effect in effects:
                if isinstance(effect, FetchBooks):
                    self._answer(effect)
                elif isinstance(effect, OpenSocket):
                    self.engine.connected(effect.socket, self._now)
        self.transitions += [each for each in self.engine.events() if hasattr(each, "old")]

    def _answer(self, effect: FetchBooks) -> None:
        bodies = [body for body in map(self.truth.rest, effect.asset_ids) if body is not None]
        if bodies and self.rng.random() < REST_SHARE:
            i = self.rng.randrange(len(bodies))
            bodies[i] = self.rng.choice(DAMAGE)(self.rng, bodies[i])
        try:
            books = [book for body in bodies for book in decode_books(body.encode())]
        except DecodeError:
            self.engine.books_failed(effect.request, self._now)
            return
        self.engine.books(effect.request, {book.asset_id: book for book in books}, self._now)
        self.seen["REST answers"] += 1


def run(corpus: Path, name: str, seed: int, max_steps: int = MAX_STEPS) -> Damaged:
    (recording,) = (each for each in recordings(corpus) if each.name == name)
    damaged = Damaged(seed, SHARE[name])
    for part in recording.parts():
        for step in part[:max_steps]:
            damaged.damaged_step(step)
    damaged.finish()
    damaged.judge()
    return damaged


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", SHARE)
def test_damaged_frames_are_counted_and_never_become_a_readable_book(name: str, seed: int, corpus: Path) -> None:
    damaged = run(corpus, name, seed)
    assert damaged.wrong == []
    # The run means something: reads were granted and refused, and there was damage of most kinds.
    assert damaged.seen["granted"] > 100
    assert damaged.summary()["malformed"] >= damaged.seen["expected malformed"]
    assert damaged.engine.counts["malformed"] == sum(damaged.engine.malformed.values())
    assert damaged.engine.counts["ignored"] == sum(damaged.engine.ignored.values())


@pytest.mark.slow
def test_the_judge_notices_when_hashes_are_believed_unseen(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MarketHash, "prove", lambda *_: True)
    assert run(corpus, "btc5m_dense_20260421.jsonl", 0, MAX_STEPS_JUDGED).wrong


def test_the_judge_notices_when_whole_books_are_believed_unseen(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    believed = Explained(Dialect.TEN, CoreConstants("5", "0.01", neg_risk=False), "")
    monkeypatch.setattr(MarketHash, "explain", lambda *_: believed)
    assert any(run(corpus, "btc_eth_sol_15m_20260429.jsonl", seed).wrong for seed in range(8))


def test_without_damage_the_same_run_refuses_nothing_and_grants_only_the_truth(corpus: Path) -> None:
    (recording,) = (each for each in recordings(corpus) if each.name == "btc5m_dense_20260421.jsonl")
    damaged = Damaged(seed=0, share=0.0)
    (part,) = recording.parts()
    for step in part[:MAX_STEPS_JUDGED]:
        damaged.damaged_step(step)
    assert damaged.wrong == []
    assert damaged.seen["refused"] == 0
    assert damaged.left_live == {}
