"""What a journal must not have in it, and how large it may become."""

from __future__ import annotations

import asyncio
import random

import pytest
import zstandard

from polymirror import Mirror, MirrorConfig, StreamConfig
from polymirror.config import EngineConfig
from polymirror.journal.disk import index_of, journal_files
from polymirror.journal.format import Answered, Asked, Closed, Header, Heard
from polymirror.journal.incident.engine import WatchedEngine
from polymirror.journal.reader import sessions
from polymirror.journal.recorder import RecordingEngine
from polymirror.venue.market import Market, Oracle, Token
from tests.journal.rig import record

SECRET = "hunter2-of-the-proxy"  # noqa: S105 - made up

BYTES_A_FRAME, BYTES_A_BOOK = 150, 200
"""The bound that docs/journal.md states."""

ATTRIBUTES = 30
"""Up to so many attributes of an object are found without looking into a dictionary of its own (CPython)."""


def market() -> Market:
    return Market(
        slug="x", question="", condition_id="0xm", tokens=(Token("11", "Up"), Token("22", "Down")), window_start=None,
        window_end=None, tick_size="0.01", min_order_size="5", neg_risk=False, fees_enabled=False, fee=None,
        oracle=Oracle(None), active=True, closed=False, accepting_orders=True, winner=None, price_to_beat=None,
        final_price=None,
    )  # fmt: skip


def text_of(folder) -> bytes:
    read = zstandard.ZstdDecompressor().stream_reader
    packed = [read(path.read_bytes(), read_across_frames=True).read() for path in journal_files(folder)]
    return b"".join([*packed, *(index_of(path).read_bytes() for path in journal_files(folder))])


@pytest.mark.anyio
async def test_the_credentials_of_a_proxy_are_never_recorded(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "WSS_PROXY", "wss_proxy"):
        monkeypatch.setenv(name, f"http://user:{SECRET}@127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    config = MirrorConfig(stream=StreamConfig(backoff_base=0.01, backoff_cap=0.02))
    async with Mirror([market()], journal=tmp_path, config=config) as mirror:

        def failed() -> bool:
            return bool(mirror.status().trouble) and mirror.recorded.lines > 10

        async with asyncio.timeout(60):
            while not failed():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.02)
    lines = [line for session in sessions(tmp_path) for line in session.lines()]
    # The failures are there, in words, and what the proxy is to be told is not.
    assert any(isinstance(line, Closed) and line.what == "unreachable" and line.why for line in lines)
    text = text_of(tmp_path)
    assert b"unreachable" in text
    assert SECRET.encode() not in text
    assert b"user:" not in text
    assert b"polymarket.com" not in text.split(b"\n")[0]
    assert isinstance(lines[0], Header)


def test_a_journal_stays_below_the_stated_bytes(tmp_path):
    seen = record(tmp_path, seconds=60, faults=(), rate=0.5, markets=20)
    assert len(seen.tokens) == 40
    lines = [line for session in sessions(tmp_path) for line in session.lines()]
    frames = sum(isinstance(line, Heard) for line in lines)
    asked = {line.request: len(line.tokens) for line in lines if isinstance(line, Asked) and line.what == "books"}
    answers = [line for line in lines if isinstance(line, Answered) and line.what == "books"]
    books = sum(asked[line.request] for line in answers)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert frames > 500
    assert books > 40
    assert size < BYTES_A_FRAME * frames + BYTES_A_BOOK * books


def test_a_recorded_engine_has_no_more_attributes_than_are_found_quickly():
    # Of what recording costs a frame this was a tenth: the engine looks at its own attributes all the time.
    args = (EngineConfig(), random.Random(1), lambda _line: None, lambda: 0.0, 60.0, lambda: 0)
    assert len(vars(RecordingEngine(*args))) <= ATTRIBUTES
    assert len(vars(WatchedEngine(*args, lambda _events: None))) <= ATTRIBUTES
