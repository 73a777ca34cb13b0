"""A mirror, a real nats-server and consumers of it, while everything goes on and while each of them is ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from polymirror import BookState, NotLive
from polymirror.relay.broker import follower, station
from polymirror.relay.broker.broadcast import Broadcast
from polymirror.relay.link import SILENCE
from polymirror.relay.remote import RemoteMirror
from polymirror.simulator import Simulator
from tests.loopback import PATIENCE, Truth, mirror_of, nothing_left, turns_until
from tests.relay.broker.server import nats, with_nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from polymirror import Mirror
    from polymirror.relay.broker.server import BrokerRelay

pytestmark = [pytest.mark.anyio, with_nats]


@asynccontextmanager
async def relaying(mirror: Mirror, url: str, **settings: object) -> AsyncIterator[BrokerRelay]:
    """A relay of a mirror's books that has found its broker."""
    relay = await mirror.serve_relay_nats(url, name="desk", **settings)
    try:
        await turns_until(lambda: relay.connected)
        yield relay
    finally:
        await relay.stop()


def refused_with(remote: RemoteMirror, *tokens: str) -> list[str]:
    """Why each of these is refused; fails for one that is not."""
    found = []
    for token in tokens or remote.tokens:
        with pytest.raises(NotLive) as caught:
            remote.live(token)
        found.append(str(caught.value))
    return found


async def settles(remote: RemoteMirror, state: BookState) -> None:
    """Wait until all books are in a state."""

    def is_so() -> bool:
        return all((found := remote._replica.standing(token)) and found[0] is state for token in remote.tokens)

    await remote.until(is_so, PATIENCE)


async def test_every_granted_read_is_true_for_two_consumers_of_two_formats(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, markets=3, rate=120) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=mirror.tokens) as first,
        RemoteMirror(relay.url, config=first.config.__class__(binary=False)) as second,
    ):
        await first.wait_live(timeout=PATIENCE)
        await second.until(lambda: len(second.tokens) == 6, PATIENCE)
        await second.wait_live(timeout=PATIENCE)
        assert set(second.tokens) == set(mirror.tokens)
        assert {each.slug for each in second.markets} == set(venue.slugs)
        for remote in (first, second):
            truth = Truth(remote, venue)
            remote.on_update(lambda update, truth=truth: truth.read(update.token))
            await remote.until(lambda truth=truth: truth.granted >= 300, PATIENCE)
            assert truth.wrong == []
            assert not {"malformed", "gaps", "digests that differ"} & set(remote._links[0].counts)
        assert relay.tokens == 6
        await turns_until(lambda: first.live(mirror.tokens[0]).settled or not mirror.peek(mirror.tokens[0]).settled)


async def test_a_broker_that_is_killed_is_refused_at_once_and_all_is_live_once_it_is_back(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=mirror.tokens) as remote,
    ):
        await remote.wait_live(timeout=PATIENCE)
        link = remote._links[0]
        broker.kill()
        # The socket says so, whatever silence would tell: nothing waits for a look at the clock.
        await turns_until(lambda: not link.is_open)
        for why in refused_with(remote):
            assert "DISCONNECT" in why
        await turns_until(lambda: not relay.connected)
        await broker.start()
        await remote.wait_live(timeout=PATIENCE)
        truth = Truth(remote, venue)
        for token in remote.tokens:
            truth.read(token)
        assert (truth.granted, truth.wrong) == (len(remote.tokens), [])


async def test_a_broker_that_stands_still_is_refused_within_the_silence_and_left(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=mirror.tokens) as remote,
    ):
        await remote.wait_live(timeout=PATIENCE)
        broker.pause(signal.SIGSTOP)
        sent = max(remote._links[0].copy(token).sent for token in remote.tokens)
        await settles(remote, BookState.SUSPECT)
        link = remote._links[0]
        low = link.offset.low(remote.now())
        # By the clock of the copies themselves: what left the relay last may be read for so long, and no longer.
        later = sent + low + SILENCE + 0.2
        for token in remote.tokens:
            with pytest.raises(NotLive):
                remote._replica.live(token, max(later, remote.now()))
        await remote.until(lambda: not link.is_open and not relay.connected, PATIENCE)
        broker.pause(signal.SIGCONT)
        await remote.wait_live(timeout=PATIENCE)


async def test_a_relay_that_ends_is_refused_and_another_run_of_that_name_takes_over(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=mirror.tokens) as remote,
    ):
        await remote.wait_live(timeout=PATIENCE)
        run = remote._links[0].relay
        await relay.stop()
        await settles(remote, BookState.SUSPECT)
        # The broker says that nobody is there, which is told by name.
        await remote.until(lambda: "no relay of that name" in remote._links[0].trouble, PATIENCE)
        assert all("no relay of that name is at the broker" in why for why in refused_with(remote))
        async with relaying(mirror, broker.url):
            await remote.wait_live(timeout=PATIENCE)
            assert remote._links[0].relay != run
            truth = Truth(remote, venue)
            for token in remote.tokens:
                truth.read(token)
            assert truth.wrong == []


async def test_a_consumer_that_comes_anew_primes_by_asking_and_disturbs_nobody(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=mirror.tokens) as stays,
    ):
        await stays.wait_live(timeout=PATIENCE)
        for _ in range(3):
            async with RemoteMirror(relay.url, tokens=mirror.tokens) as comes:
                await comes.wait_live(timeout=PATIENCE)
        counts = stays._links[0].counts
        assert not {"gaps", "digests that differ", "malformed"} & set(counts)
        assert relay.counts["whole books"] >= 4 * len(mirror.tokens)


async def test_a_consumer_says_again_and_again_what_it_wants_and_gets_no_whole_book_for_it(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(follower, "KEEP_EVERY", 0.05)
    kept: list[list[str]] = []
    wanted: list[list[str]] = []

    class Noting(Broadcast):
        def asked(self, ask, most):
            kept.extend([ask.keep] * bool(ask.keep))
            wanted.extend([ask.want] * bool(ask.want))
            return super().asked(ask, most)

    monkeypatch.setattr(station, "Broadcast", Noting)
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=mirror.tokens) as remote,
    ):
        await remote.wait_live(timeout=PATIENCE)
        before = len(wanted)
        await remote.until(lambda: len(kept) >= 3, PATIENCE)
        assert all(set(tokens) == set(mirror.tokens) for tokens in kept)
        assert relay.counts["whole books"] <= len(mirror.tokens) * max(before, len(wanted))
        assert "expired" not in relay.counts


async def test_nothing_is_left_of_relay_and_consumer(tmp_path) -> None:
    async with nats(tmp_path) as broker, Simulator(seed=4, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        async with (
            nothing_left(),
            relaying(mirror, broker.url) as relay,
            RemoteMirror(relay.url, tokens=mirror.tokens) as remote,
        ):
            await remote.wait_live(timeout=PATIENCE)


async def test_a_token_that_is_not_carried_says_so(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url, tokens=["123", "a.b", *mirror.tokens]) as remote,
    ):
        await remote.wait_live(*mirror.tokens, timeout=PATIENCE)
        for token in ("123", "a.b"):
            await remote.until(lambda token=token: "does not carry it" in refused_with(remote, token)[0], PATIENCE)


async def test_markets_that_come_and_go_are_followed(tmp_path) -> None:
    async with (
        nats(tmp_path) as broker,
        Simulator(seed=4, markets=2, rate=50) as venue,
        mirror_of(venue, venue.slugs[0]) as mirror,
        relaying(mirror, broker.url) as relay,
        RemoteMirror(relay.url) as remote,
    ):
        await remote.until(lambda: len(remote.tokens) == 2, PATIENCE)
        await mirror.add_slug(venue.slugs[1])
        await remote.until(lambda: len(remote.tokens) == 4, PATIENCE)
        await remote.wait_live(timeout=PATIENCE)
        mirror.remove_market(mirror.markets[0].condition_id)
        await remote.until(lambda: len(remote.tokens) == 2, PATIENCE)
        assert [each.slug for each in remote.markets] == [venue.slugs[1]]


async def test_a_consumer_that_stood_still_trusts_nothing_of_before_whatever_comes_first(tmp_path) -> None:
    """It is stopped as a whole; what waits for it meanwhile would fill the broker's bound, so it is cut off, too."""
    async with (
        nats(tmp_path, "max_payload: 65536\nmax_pending: 65536") as broker,
        Simulator(seed=4, rate=200) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url) as relay,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        consumer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", READER, relay.url, mirror.tokens[0], stdout=asyncio.subprocess.PIPE
        )

        try:
            await until_it_says(consumer, "LIVE")
            consumer.send_signal(signal.SIGSTOP)
            # What is waited for is that time has passed: nothing else makes a book old.
            await asyncio.sleep(SILENCE + 0.5)
            consumer.send_signal(signal.SIGCONT)
            await until_it_says(consumer, "SUSPECT DISCONNECT")
            await until_it_says(consumer, "LIVE")
        finally:
            consumer.kill()
            await consumer.communicate()


async def until_it_says(consumer: asyncio.subprocess.Process, word: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while word not in (line := await consumer.stdout.readline()).decode():
            assert line, "the consumer has ended"


class Split:
    """A network of two hosts: this one, and one whose programs are begun with ``there``. Its cable can be pulled."""

    def __init__(self) -> None:
        self.name = f"pm{os.getpid()}"
        self.here = f"10.213.{os.getpid() % 250}.1"
        self.there = ("ip", "netns", "exec", self.name)
        self._cable = f"{self.name}h"

    def make(self) -> None:
        """Make it. Raises CalledProcessError where that is not allowed."""
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "far", "netns", self.name)
        run("ip", "addr", "add", f"{self.here}/24", "dev", self._cable)
        run("ip", "link", "set", self._cable, "up")
        run(*self.there, "ip", "addr", "add", self.here.removesuffix("1") + "2/24", "dev", "far")
        run(*self.there, "ip", "link", "set", "far", "up")

    def pull(self) -> None:
        """Let nothing through."""
        run(*self.there, "ip", "link", "set", "far", "down")

    def plug(self) -> None:
        """Let everything through again."""
        run(*self.there, "ip", "link", "set", "far", "up")

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


async def test_a_consumer_behind_a_network_that_is_split_trusts_nothing_and_heals_by_itself(tmp_path, split) -> None:
    async with (
        nats(tmp_path, host=split.here) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        relaying(mirror, broker.url, allow_plain=True) as relay,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        consumer = await asyncio.create_subprocess_exec(
            *split.there, sys.executable, "-c", READER, relay.url, mirror.tokens[0], stdout=asyncio.subprocess.PIPE
        )
        try:
            await until_it_says(consumer, "LIVE")
            split.pull()
            await until_it_says(consumer, "SUSPECT DISCONNECT")
            split.plug()
            await until_it_says(consumer, "LIVE")
            # Shorter than it takes to notice that the connection is gone, and longer than the silence.
            split.pull()
            await until_it_says(consumer, "SUSPECT DISCONNECT")
            split.plug()
            await until_it_says(consumer, "LIVE")
        finally:
            consumer.kill()
            await consumer.communicate()


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
