"""A mirror, a real nats-server and consumers of it, while everything goes on and while each of them is ended."""

from __future__ import annotations

import signal

import pytest

from polymirror import BookState, NotLive
from polymirror.relay.broker import follower, station
from polymirror.relay.broker.broadcast import Broadcast
from polymirror.relay.link import SILENCE
from polymirror.relay.remote import RemoteMirror
from polymirror.simulator import Simulator
from tests.loopback import PATIENCE, Truth, mirror_of, turns_until
from tests.relay.broker.server import nats, relaying, with_nats

pytestmark = [pytest.mark.anyio, with_nats]


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
