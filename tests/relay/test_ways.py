"""What holds at the far end of a relay whichever way it is reached: over a socket, or by way of a real nats-server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from polymirror import NotLive, Reason, RemoteConfig, UnknownToken
from polymirror.core.events import Transition
from polymirror.core.states import BookState
from polymirror.relay.remote import RemoteMirror
from polymirror.simulator import FAULTS, Plan, Simulator
from tests.loopback import PATIENCE, Truth, mirror_of, nothing_left
from tests.relay.desk import WAYS, desk_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("way", WAYS),
]


def why_not(remote: RemoteMirror, token: str) -> NotLive:
    with pytest.raises(NotLive) as caught:
        remote.live(token)
    return caught.value


async def test_every_granted_read_is_true_in_both_formats_while_everything_goes_wrong(way: str, tmp_path: Path) -> None:
    faults = [FAULTS[name](Plan(share=0.02)) for name in ("lost_delta", "disconnect", "reordered_deltas", "rest_stale")]
    async with (
        Simulator(seed=3, markets=2, rate=100, faults=faults) as venue,
        mirror_of(venue) as mirror,
        desk_of(mirror, way, tmp_path) as desk,
        RemoteMirror(desk.relay.url, tokens=mirror.tokens) as named,
        RemoteMirror(desk.relay.url, config=RemoteConfig(binary=False)) as all_of_it,
    ):
        for remote in (named, all_of_it):
            truth, moves = Truth(remote, venue), list[Transition]()
            remote.on_update(lambda update, truth=truth: truth.read(update.token))
            remote.on_transition(moves.append)
            await remote.until(lambda truth=truth, moves=moves: truth.granted >= 200 and len(moves) >= 12, PATIENCE)
            assert truth.wrong == []
            assert set(remote.tokens) == set(mirror.tokens)
            assert not {"malformed", "gaps", "digests that differ"} & set(remote.relays[0].counts)
        assert {each.slug for each in all_of_it.markets} == set(venue.slugs)


async def test_a_relay_that_ends_is_refused_and_the_next_run_is_read(way: str, tmp_path: Path) -> None:
    async with (
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        desk_of(mirror, way, tmp_path) as desk,
        RemoteMirror(desk.relay.url, tokens=mirror.tokens) as remote,
    ):
        await remote.wait_live(timeout=PATIENCE)
        up, run = remote.tokens[0], remote.relays[0].run
        before = remote.live(up)
        await desk.relay.stop()
        await remote.until(lambda: remote._replica.standing(up)[0] is not BookState.LIVE, PATIENCE)
        assert why_not(remote, up).reason is Reason.DISCONNECT
        # A broker says that nobody is there, and that is told.
        words = "no relay of that name is at the broker" if way == "broker" else "the relay ended the connection"
        await remote.until(lambda: words in str(why_not(remote, up)), PATIENCE)
        await desk.serve()
        await remote.wait_live(timeout=PATIENCE)
        after = remote.live(up)
        assert (after.epoch, after.doubts) > (before.epoch, before.doubts)
        assert remote.relays[0].run != run
        truth = Truth(remote, venue)
        for token in remote.tokens:
            truth.read(token)
        assert truth.wrong == []


async def test_a_token_that_is_not_carried_says_so(way: str, tmp_path: Path) -> None:
    async with (
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        desk_of(mirror, way, tmp_path) as desk,
        RemoteMirror(desk.relay.url, tokens=["123", "a.b", *mirror.tokens]) as remote,
    ):
        await remote.wait_live(*mirror.tokens, timeout=PATIENCE)
        for token in ("123", "a.b"):
            await remote.until(lambda token=token: "does not carry it" in str(why_not(remote, token)), PATIENCE)
        with pytest.raises(UnknownToken):
            await remote.wait_live("456", timeout=0.1)


async def test_all_markets_are_followed_as_they_come_and_go(way: str, tmp_path: Path) -> None:
    async with (
        Simulator(seed=4, markets=2, rate=50) as venue,
        mirror_of(venue, venue.slugs[0]) as mirror,
        desk_of(mirror, way, tmp_path) as desk,
        RemoteMirror(desk.relay.url) as remote,
    ):
        await remote.until(lambda: len(remote.tokens) == 2, PATIENCE)
        await mirror.add_slug(venue.slugs[1])
        await remote.until(lambda: len(remote.tokens) == 4, PATIENCE)
        await remote.wait_live(timeout=PATIENCE)
        gone = mirror.markets[0]
        mirror.remove_market(gone.condition_id)
        await remote.until(lambda: len(remote.tokens) == 2, PATIENCE)
        assert [each.slug for each in remote.markets] == [venue.slugs[1]]
        with pytest.raises(UnknownToken):
            remote.live(gone.token_ids[0])


async def test_nothing_is_left_of_relay_and_consumer(way: str, tmp_path: Path) -> None:
    async with Simulator(seed=4, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        async with (
            nothing_left(),
            desk_of(mirror, way, tmp_path) as desk,
            RemoteMirror(desk.relay.url, tokens=mirror.tokens) as remote,
        ):
            await remote.wait_live(timeout=PATIENCE)
