"""Readers for the layouts of the recordings, and the driver that plays them into the library.

A reader turns a file into steps: a frame of the stream, a book asked from REST, or a new connection, each with
its receive time where the recording has one. Nothing here looks into a book; only the driver knows the
library. The command line reads plain lines itself; what is particular to one dataset stays here.
"""

from __future__ import annotations

import json
from collections import Counter
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from polymirror.core.book import OrderBook
from polymirror.core.messages import decode_books
from polymirror.core.states import BookState
from polymirror.journal.frames import LINE, REPLAY_CONFIG, FrameReplay, open_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from polymirror.config import EngineConfig


class Kind(Enum):
    FRAME = "frame"
    REST = "rest"
    CONNECTION = "connection"


class Step(NamedTuple):
    """One thing that a recorder saw. ``at`` in seconds; None: not recorded."""

    kind: Kind
    text: str = ""
    at: float | None = None


class Recording(NamedTuple):
    """A recording as the conformance page shows it. ``parts`` are replayed one by one and summed up."""

    name: str
    what: str
    parts: Callable[[], Iterator[list[Step]]]


# ---- Layouts ---------------------------------------------------------------------------------------


def lines(path: Path) -> list[Step]:
    """A frame or an event a line, plain or in an envelope: what the command line reads."""
    steps = []
    for line in path.read_bytes().splitlines():
        frame, at = open_envelope(line)
        steps.append(Step(Kind.FRAME, frame if isinstance(frame, str) else frame.decode(), at))
    return steps


def connections(path: Path) -> list[Step]:
    """Many short connections in one file, numbered by million, among other sources.

    A line is ``{"source", "recv_wall_ts", "ingest_seq", "payload"}``. An object with ``min_order_size`` is an
    answer of REST. The stream of a connection begins with its first array.
    """
    steps: list[Step] = []
    current, opened = -1, False
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["source"] != "polymarket_clob":
            continue
        number = row["ingest_seq"] // 1_000_000
        if number != current:
            current, opened = number, False
        payload, at = row["payload"], row["recv_wall_ts"] / 1000
        content = json.loads(payload)
        if isinstance(content, dict) and "min_order_size" in content:
            steps.append(Step(Kind.REST, payload, at))
            continue
        if not opened:
            opened = True
            steps.append(Step(Kind.CONNECTION, at=at))
        steps.append(Step(Kind.FRAME, payload, at))
    return steps


def parquet_books(path: Path) -> list[Step]:
    """``book`` events in a column ``raw_data``, with the receive time in ``timestamp`` (seconds)."""
    import pyarrow.parquet  # noqa: PLC0415 - slow to import, needed for this layout only

    rows = pyarrow.parquet.read_table(path, columns=["timestamp", "raw_data"]).to_pylist()
    return [Step(Kind.FRAME, row["raw_data"], row["timestamp"]) for row in rows]


def rest_body(path: Path) -> list[Step]:
    """One answer of REST."""
    return [Step(Kind.REST, path.read_text(encoding="utf-8"))]


def recordings(corpus: Path) -> list[Recording]:
    """All recordings of the market channel, in the order of the page."""
    folder = corpus / "ws"

    def one(reader: Callable[[Path], list[Step]], name: str) -> Callable[[], Iterator[list[Step]]]:
        return lambda: iter([reader(folder / name)])

    books = folder / "btc5m_books_20260416"
    return [
        Recording(
            "golden_frames.jsonl", "one opening frame and four price changes, three markets, April 2026",
            one(lines, "golden_frames.jsonl"),
        ),
        Recording(
            "btc5m_dense_20260421.jsonl",
            "10.5 s of two busy 5-minute markets, about 500 events a second; re-sorted by its maker, no receive times",
            one(lines, "btc5m_dense_20260421.jsonl"),
        ),
        Recording(
            "btc_eth_sol_15m_20260429.jsonl", "three 15-minute markets, 30 short connections in 30 minutes, and REST",
            one(connections, "btc_eth_sol_15m_20260429.jsonl"),
        ),
        Recording(
            "btc5m_books_20260416/*.parquet", "whole books of 5-minute markets, without the changes between them",
            lambda: (parquet_books(path) for path in sorted(books.glob("*.parquet"))),
        ),
        Recording("rest_book_202606.json", "one answer of REST, June 2026", one(rest_body, "rest_book_202606.json")),
    ]  # fmt: skip


# ---- The driver ------------------------------------------------------------------------------------


class Miss(NamedTuple):
    """A hash that did not fit at the end of its batch."""

    asset_id: str
    at: int
    announced: str


class Played(FrameReplay):
    """A replay that also takes connections and REST books, and keeps the hashes that did not fit."""

    def __init__(self, config: EngineConfig = REPLAY_CONFIG, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.missed: dict[Miss, None] = {}
        self.rest: Counter[str] = Counter()
        # The longest time in ms that a LIVE book's newest batches stayed unproven.
        self.longest_doubt_ms = 0
        self._doubt_since: dict[str, float] = {}

    def step(self, step: Step) -> None:
        if step.kind is Kind.FRAME:
            self.frame(step.text, step.at)
            self._look()
        elif step.kind is Kind.CONNECTION:
            self.connection(step.at or 0.0)
        else:
            self.rest_book(step)

    def connection(self, at: float) -> None:
        """The next frames come from a new connection: what the one before brought is outdated."""
        self.pass_time(at)
        if self.engine.tokens:
            self.engine.disconnected(LINE, self._now)
            self.engine.connected(LINE, self._now)
            self._drain()

    def rest_book(self, step: Step) -> None:
        """A book that the recorder asked from REST, whenever it did: is it explained by its own hash?"""
        (message,) = decode_books(step.text.encode())
        self._track(message.market, [message.asset_id])
        hashes = self.engine.markets[message.market].hashes
        explained = hashes.explain(message, OrderBook.of(message, REPLAY_CONFIG.max_levels), self._now)
        if explained is not None:
            hashes.accept(explained, message)
        self.rest["unverifiable" if not message.hash else "mismatch" if explained is None else "match"] += 1

    def _look(self) -> None:
        for token in self.engine.tokens.values():
            for each in token.misses.watched:
                self.missed.setdefault(Miss(token.asset_id, each.at_ms, each.announced))
            if token.miss_since is not None and token.state is BookState.LIVE:
                self._doubt_since.setdefault(token.asset_id, token.miss_since)
            elif (since := self._doubt_since.pop(token.asset_id, None)) is not None:
                self.longest_doubt_ms = max(self.longest_doubt_ms, round((self._now - since) * 1000))


def play(steps: Iterable[Step]) -> Played:
    played = Played()
    for step in steps:
        played.step(step)
    played.finish()
    return played


def total(summaries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add summaries up, key by key."""
    found: dict[str, Any] = {}
    for key, value in chain.from_iterable(summary.items() for summary in summaries):
        if isinstance(value, dict):
            found[key] = dict(sorted((Counter(found.get(key, {})) + Counter(value)).items())) | {
                name: 0 for name in value if not value[name] and not found.get(key, {}).get(name)
            }
        else:
            found[key] = found.get(key, 0) + value
    return found
