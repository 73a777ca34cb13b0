"""The example of a consumer in Node: it keeps a book that is proven by its digest, and refuses what is not."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from polymirror import Mirror
from polymirror.relay.digest import digest_of, side_text
from polymirror.simulator import Simulator
from tests.clients.venue import NODE, need_npm

pytestmark = pytest.mark.anyio
need_npm("ws")

EXAMPLE = Path(__file__).parents[2] / "examples" / "relay_reader.mjs"
PATIENCE = 30.0


def test_it_is_read_in_a_few_minutes():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 80


async def test_it_keeps_a_proven_book_and_refuses_at_once_when_the_relay_is_gone(tmp_path):
    # It looks for its package where it lies.
    program = tmp_path / EXAMPLE.name
    program.write_bytes(EXAMPLE.read_bytes())
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    digests = set()
    async with (
        Simulator(seed=7, rate=20) as venue,
        Mirror.for_slug(venue.slugs[0], endpoints=venue.endpoints) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]

        def note(_: object) -> None:
            bids, asks = mirror.peek(up).bids, mirror.peek(up).asks
            texts = [side_text((level.price_e4, level.size_e6) for level in side) for side in (bids, asks)]
            digests.add(digest_of(up, *texts))

        note(None)
        mirror.on_update(note, up)
        relay = await mirror.serve_relay()
        command = ("node", str(program), f"{relay.url.replace('http', 'ws')}/stream", up)
        reader = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
        )
        try:
            assert reader.stdout is not None
            reads = []
            async with asyncio.timeout(PATIENCE):
                while len(reads) < 4:
                    told = json.loads(await reader.stdout.readline())
                    if isinstance(told, dict):
                        reads.append(told)
            assert {told["digest"] for told in reads} <= digests
            assert all(0 <= told["age"] <= 5 for told in reads)
            assert len({told["seq"] for told in reads}) > 1
            await relay.stop()
            async with asyncio.timeout(PATIENCE):
                assert await reader.wait() == 1
        finally:
            if reader.returncode is None:
                reader.kill()
                await reader.wait()
