"""The page on relays at a NATS server: its examples run against one, and what it says of the code is so."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from polymirror.relay.broker import broadcast, connection, follower
from polymirror.relay.broker.subjects import FORMATS, Subjects
from polymirror.relay.link import ASK_GONE, SILENCE
from polymirror.relay.wire import MAX_FRAME, MAX_TOKENS
from tests.relay.broker.server import PAGE, Nats, with_nats
from tests.test_docs import WITH_A_SERVER, blocks_of, own_logging, run_page  # noqa: F401 - the fixture is used by name

if TYPE_CHECKING:
    from pathlib import Path

TEXT = PAGE.read_text(encoding="utf-8")


@with_nats
@pytest.mark.usefixtures("own_logging")
def test_every_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert PAGE.name in WITH_A_SERVER
    server = Nats(tmp_path)
    try:
        asyncio.run(server.start())
        here = [
            block._replace(text=block.text.replace("nats://127.0.0.1:4222", server.url)) for block in blocks_of(PAGE)
        ]
        assert sum(block.is_executed for block in here) == 2
        run_page(here)
    finally:
        server.kill()


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    for figure in (
        f"at most one\n  each {broadcast.WHOLE_EVERY:g} s for a token",
        f"{broadcast.WANTED_FOR:g} s after it was asked about last",
        f"all its tokens every {follower.KEEP_EVERY:g} s",
        f"refuses after {SILENCE:g} s",
        f"asks again every {ASK_GONE:g} s",
        f"every {connection.REFUSED:g} s at last",
        f"{MAX_TOKENS:,} for each format",
        f"one of a token in {broadcast.WHOLE_EVERY:g} s, {broadcast.MAX_BATCH} in one go",
        f"{connection.PENDING // 2**20} MiB; nothing more is made",
        f"after {connection.CHECK_TIMEOUT} s the connection is given up",
        f"{connection.PENDING // 2**20} MiB, or {connection.PENDING_MESSAGES:,} messages",
        f"{connection.OPEN_TIMEOUT:g} s to be made",
    ):
        assert figure in TEXT
    assert connection.PENDING == 2 * MAX_FRAME
    assert follower.KEEP_EVERY * 3 <= broadcast.WANTED_FOR


@pytest.mark.parametrize("format_", FORMATS)
def test_the_subjects_of_the_page_are_those_of_the_code(format_) -> None:
    there = Subjects("NAME", format_)
    stated = set(re.findall(r"`(polymirror\.NAME\.FORMAT[^`]*)`", TEXT))
    assert {each.replace("FORMAT", format_) for each in stated} == {
        there.book("TOKEN"), there.markets, there.ask, there.replies + "ANYTHING"
    }  # fmt: skip
