"""Relay, broker and consumer as processes of their own: each is killed, stands still, or is cut off from the others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from polymirror.relay.link import SILENCE
from polymirror.relay.remote import RemoteMirror
from polymirror.simulator import Simulator
from tests.loopback import PATIENCE, Truth, mirror_of
from tests.relay.broker.server import nats, relaying, with_nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, with_nats]

READER = """
import asyncio, sys
from polymirror import RemoteConfig
from polymirror.relay.remote import RemoteMirror

async def main(url, token):
    async with RemoteMirror(url, tokens=[token], config=RemoteConfig(allow_plain=True)) as remote:
        remote.on_transition(lambda told: print(told.new.name, told.reason.name, flush=True))
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed at the end, if it was not before."""
    found = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield found
    finally:
        if found.returncode is None:
            found.kill()
        await found.communicate()


def consumer_of(url: str, token: str) -> tuple[str, ...]:
    return (sys.executable, "-c", READER, url, token)


async def until_it_says(consumer: asyncio.subprocess.Process, word: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while word not in (line := await consumer.stdout.readline()).decode():
            assert line, "the consumer has ended"


@pytest.mark.slow
async def test_each_of_the_three_is_killed_in_turn_and_all_that_is_read_is_true(tmp_path) -> None:
    async with nats(tmp_path) as broker, Simulator(seed=4, rate=50) as venue:
        url, up = f"{broker.url}/desk", venue.tokens[0]
        relays = (sys.executable, "-m", "polymirror", "relay", venue.slugs[0], "--venue", venue.base_url, "--http", "0")
        relay = (*relays, "--nats", url)
        async with RemoteMirror(url, tokens=[up]) as stays, program(*consumer_of(url, up)) as consumer:
            truth = Truth(stays, venue)
            stays.on_update(lambda update: truth.read(update.token))

            async def all_is_read() -> None:
                await until_it_says(consumer, "LIVE")
                before = truth.granted
                await stays.until(lambda: truth.granted >= before + 100, PATIENCE)
                assert truth.wrong == []

            async with program(*relay) as first:
                await all_is_read()
                first.kill()
                await until_it_says(consumer, "SUSPECT DISCONNECT")
            async with program(*relay):
                await all_is_read()
                broker.kill()
                await until_it_says(consumer, "SUSPECT DISCONNECT")
                await broker.start()
                await all_is_read()
                counts = stays.relays[0].counts
                consumer.kill()
                async with program(*consumer_of(url, up)) as another:
                    await until_it_says(another, "LIVE")
                    before = truth.granted
                    await stays.until(lambda: truth.granted >= before + 10, PATIENCE)
                assert (stays.relays[0].counts, truth.wrong) == (counts, [])


async def test_a_consumer_that_stood_still_trusts_nothing_of_before_whatever_comes_first(tmp_path) -> None:
    """It is stopped as a whole; what waits for it meanwhile would fill the broker's bound, so it is cut off, too."""
    async with (
        nats(tmp_path, "max_payload: 65536\nmax_pending: 65536") as broker,
        Simulator(seed=4, rate=200) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        async with program(*consumer_of(relay.url, mirror.tokens[0])) as consumer:
            await until_it_says(consumer, "LIVE")
            consumer.send_signal(signal.SIGSTOP)
            # What is waited for is that time has passed: nothing else makes a book old.
            await asyncio.sleep(SILENCE + 0.5)
            consumer.send_signal(signal.SIGCONT)
            await until_it_says(consumer, "SUSPECT DISCONNECT")
            await until_it_says(consumer, "LIVE")


class Split:
    """A network of two hosts: this one, and one whose programs are begun with ``inside``. Its cable can be pulled."""

    def __init__(self) -> None:
        self.name = f"pm{os.getpid()}"
        self.here, self.there = (f"10.213.{os.getpid() % 250}.{host}" for host in (1, 2))
        self.inside = ("ip", "netns", "exec", self.name)
        self._cable = f"{self.name}h"

    def make(self) -> None:
        """Make it. Raises CalledProcessError where that is not allowed."""
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "far", "netns", self.name)
        run("ip", "addr", "add", f"{self.here}/24", "dev", self._cable)
        run("ip", "link", "set", self._cable, "up")
        run(*self.inside, "ip", "addr", "add", f"{self.there}/24", "dev", "far")
        run(*self.inside, "ip", "link", "set", "far", "up")

    def pull(self) -> None:
        """Let nothing through."""
        run(*self.inside, "ip", "link", "set", "far", "down")

    def plug(self) -> None:
        """Let everything through again."""
        run(*self.inside, "ip", "link", "set", "far", "up")

    def end(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)  # noqa: S603, S607


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed words


@pytest.fixture
def split():
    found = Split()
    try:
        found.make()
    except (OSError, subprocess.CalledProcessError) as error:
        found.end()
        pytest.skip(f"no network namespace can be made here: {getattr(error, 'stderr', error)}")
    yield found
    found.end()


async def is_split_and_healed(split: Split, consumer: asyncio.subprocess.Process) -> None:
    await until_it_says(consumer, "LIVE")
    # Until it is noticed that the connection is gone, or not even so long.
    for _ in range(2):
        split.pull()
        await until_it_says(consumer, "SUSPECT DISCONNECT")
        split.plug()
        await until_it_says(consumer, "LIVE")


async def test_a_consumer_behind_a_network_that_is_split_trusts_nothing_and_heals_by_itself(tmp_path, split) -> None:
    async with (
        nats(tmp_path, host=split.here) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url, allow_plain=True) as relay,
        program(*split.inside, *consumer_of(relay.url, mirror.tokens[0])) as consumer,
    ):
        await is_split_and_healed(split, consumer)


async def test_a_broker_behind_a_network_that_is_split_is_lost_to_both_and_found_again(tmp_path, split) -> None:
    async with (
        nats(tmp_path, host=split.there, before=split.inside) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url, allow_plain=True) as relay,
        program(*consumer_of(relay.url, mirror.tokens[0])) as consumer,
    ):
        await is_split_and_healed(split, consumer)
