"""A mirror in this process, a relay, and a mirror at its far end, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from polymirror import (
    BookState,
    ConfigError,
    EngineConfig,
    Gate,
    LeaseLost,
    Mirror,
    MirrorClosed,
    MirrorConfig,
    NotLive,
    Reason,
    RemoteConfig,
    UnknownToken,
)
from polymirror.core.events import Resolved, Transition
from polymirror.relay import remote as remote_module
from polymirror.relay.dial import address_of
from polymirror.relay.link import SILENCE
from polymirror.relay.remote import RemoteMirror
from polymirror.relay.wire import Frame, decode
from polymirror.simulator import Simulator
from polymirror.venue.network import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from polymirror.relay.server import RelayServer

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
BOTH = MirrorConfig(engine=EngineConfig(prove_both_hashes=True))


@asynccontextmanager
async def relayed(
    seed: int = 3, markets: int = 2, **options: Any
) -> AsyncIterator[tuple[Simulator, Mirror, RelayServer]]:
    """A venue, a mirror of all that it has, and its relay."""
    async with (
        Simulator(seed=seed, markets=2, **options) as venue,
        Mirror.for_slug(*venue.slugs[:markets], endpoints=venue.endpoints, config=BOTH) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        yield venue, mirror, await mirror.serve_relay()


@pytest.mark.parametrize("step", [600.0, -3.0])
async def test_a_read_after_this_hosts_own_clock_was_set_is_refused_until_the_relay_has_answered(step: float) -> None:
    boot = [100_000.0]
    network = Network(boot=lambda: boot[0] + time.monotonic())
    async with relayed(markets=1) as (_, mirror, relay), RemoteMirror(relay.url, network=network) as remote:
        await remote.wait_live(timeout=PATIENCE)
        token = mirror.tokens[0]
        assert remote.live(token).read_at == pytest.approx(boot[0] + time.monotonic(), abs=1.0)
        boot[0] += step
        with pytest.raises(NotLive) as caught:
            remote.live(token)
        assert (caught.value.state, caught.value.reason) == (BookState.SUSPECT, Reason.CLOCK_STEP)
        await remote.until(lambda: remote.peek(token).state is BookState.LIVE, PATIENCE)
        assert remote.live(token).verified_age < PATIENCE
        assert remote.relays[0].counts == {"clock steps": 1}


async def test_consumers_of_a_relay_whose_clock_was_set_begin_anew() -> None:
    boot = [100_000.0]
    network = Network(boot=lambda: boot[0] + time.monotonic())
    async with (
        Simulator(seed=3, markets=1) as venue,
        Mirror.for_slug(venue.slugs[0], endpoints=venue.endpoints, config=BOTH, network=network) as mirror,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        relay = await mirror.serve_relay()
        async with RemoteMirror(relay.url) as remote:
            await remote.wait_live(timeout=PATIENCE)
            run = remote.relays[0].run
            boot[0] += 5.0
            await remote.until(lambda: remote.relays[0].run == f"{run}.1", PATIENCE)
            await remote.wait_live(timeout=PATIENCE)
            assert remote.relays[0].counts["restarts"] == 1


async def test_the_far_end_reads_what_the_mirror_reads() -> None:
    async with relayed() as (_, mirror, relay), RemoteMirror(relay.url, slugs=[mirror.markets[0].slug]) as remote:
        await remote.wait_live(timeout=PATIENCE)
        assert remote.tokens == mirror.markets[0].token_ids
        assert remote.markets[0].market == mirror.markets[0].condition_id
        assert remote.name_of(remote.tokens[0]) == f"{mirror.markets[0].slug} {mirror.markets[0].tokens[0].outcome}"
        for token in remote.tokens:
            await remote.until(
                lambda token=token: remote.peek(token).exchange_ms == mirror.peek(token).exchange_ms, PATIENCE
            )
            here, there = remote.peek(token), mirror.peek(token)
            assert (here.levels, here.tick_size, here.fee, here.market) == (
                there.levels, there.tick_size, there.fee, there.market,
            )  # fmt: skip
        assert remote.live(remote.tokens[0]).clock_uncertainty is not None
        assert remote.top(remote.tokens[0]).best_bid is not None
        assert remote.reads == {"granted": 2, "refused": 0}
        with pytest.raises(NotLive):
            remote.top(remote.tokens[0], 1e-9)
        assert remote.reads["refused"] == 1


async def test_a_lease_at_the_far_end_is_lost_when_the_mirror_doubts() -> None:
    async with relayed() as (_, mirror, relay), RemoteMirror(relay.url) as remote:
        await remote.wait_live(timeout=PATIENCE)
        up, down = mirror.markets[0].token_ids
        async with Gate(remote).lease(up, down, max_proof_age=10.0, timeout=PATIENCE) as lease:
            assert len(lease.check()) == 2
            mirror.resync(up)
            await remote.until(lambda: remote._replica.standing(up)[2] > lease.views[0].epoch, PATIENCE)
            with pytest.raises(LeaseLost):
                lease.check()


async def test_what_a_relay_carried_that_is_gone_for_good_is_followed_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "LIST_KEPT", 0.5)
    async with relayed(markets=1) as (venue, first, relay):
        one, two = venue.slugs
        async with (
            Mirror.for_slug(two, endpoints=venue.endpoints, config=BOTH) as second,
            RemoteMirror(relay.url, (other := await second.serve_relay()).url) as remote,
        ):
            await remote.until(lambda: {each.slug for each in remote.markets} == {one, two}, PATIENCE)
            await remote.wait_live(timeout=PATIENCE)
            await other.stop()
            await remote.until(lambda: {each.slug for each in remote.markets} == {one}, PATIENCE)
            await remote.wait_live(timeout=PATIENCE)
            assert set(remote.tokens) == set(first.tokens)
            # Where nobody can be reached, the last list is the best there is.
            await relay.stop()
            await remote.until(lambda: not remote.relays[0].is_open, PATIENCE)
            with pytest.raises(TimeoutError):
                await remote.until(lambda: not remote.markets, 1.5)


async def test_what_is_not_there_says_what_is_missing() -> None:
    async with relayed(markets=1) as (_, _mirror, relay):
        async with RemoteMirror(relay.url, slugs=["no-such-market"]) as remote:
            with pytest.raises(NotLive, match=r"no-such-market.*no relay carries it"):
                await remote.wait_live(timeout=0.3)
            assert "no-such-market" in remote.missing
        async with RemoteMirror(relay.url, tokens=["123"]) as remote:
            with pytest.raises(NotLive, match="does not carry it"):
                await remote.wait_live(timeout=0.5)
            with pytest.raises(UnknownToken):
                await remote.wait_live("456", timeout=0.1)
    async with RemoteMirror("http://127.0.0.1:9", tokens=["123"]) as remote:
        with pytest.raises(NotLive, match=r"127\.0\.0\.1:9"):
            await remote.wait_live(timeout=0.3)
        with pytest.raises(NotLive):
            remote.live("123")
    async with RemoteMirror("http://127.0.0.1:9") as remote:
        with pytest.raises(NotLive, match="no relay has listed any yet"):
            await remote.wait_live(timeout=0.1)


async def test_updates_and_events_are_told() -> None:
    async with relayed(rate=50) as (_, mirror, relay), RemoteMirror(relay.url, tokens=mirror.tokens[:2]) as remote:
        events = remote.events(Transition)
        async with asyncio.timeout(PATIENCE):
            first = await anext(events)
            assert isinstance(first, Transition)
            assert first.new is BookState.LIVE
            async for update in remote.updates(mirror.tokens[0]):
                assert update.token == mirror.tokens[0]
                break
        with pytest.raises(ConfigError, match="one of Transition, Warned"):
            remote.events(Resolved)  # type: ignore[arg-type]
        with pytest.raises(UnknownToken):
            remote.updates("9")


async def test_settled_reads_wait_for_the_newest_change() -> None:
    async with relayed(rate=50) as (_, mirror, relay), RemoteMirror(relay.url, tokens=mirror.tokens) as remote:
        await remote.wait_live(timeout=PATIENCE)
        assert (await remote.wait_settled(mirror.tokens[0], timeout=PATIENCE)).settled


async def test_it_runs_once_and_ends_for_good() -> None:
    remote = RemoteMirror("http://127.0.0.1:9", tokens=["1"])
    with pytest.raises(MirrorClosed):
        await remote.until(lambda: True)
    await remote.stop()
    async with remote:
        waits = asyncio.create_task(remote.wait_live(timeout=PATIENCE))
        await asyncio.sleep(0)
        with pytest.raises(MirrorClosed):
            await remote.start()
    with pytest.raises(MirrorClosed):
        await waits
    with pytest.raises(MirrorClosed):
        await remote.wait_live()


@pytest.mark.parametrize(
    "relays",
    [
        (),
        ("http://127.0.0.1:1",) * 2,
        ("ftp://127.0.0.1:1",),
        ("http://user:secret@127.0.0.1:1",),
        ("http://relay.example.com:8801",),
        ("ws://10.0.0.1",),
        ("",),
        (7,),
    ],
)
def test_odd_addresses_are_refused(relays: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        RemoteMirror(*relays)
    assert "secret" not in str(caught.value)


def test_plain_relays_elsewhere_are_for_those_who_say_so() -> None:
    assert RemoteMirror("http://relay.example.com:8801", config=RemoteConfig(allow_plain=True))
    assert RemoteMirror("https://relay.example.com")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8801", "ws://127.0.0.1:8801/stream?format=json"),
        ("https://a.example", "wss://a.example/stream?format=json"),
        ("wss://a.example/desk/stream", "wss://a.example/desk/stream?format=json"),
    ],
)
def test_a_relay_is_named_by_its_server(url: str, address: str) -> None:
    assert address_of(url, "json") == address


# ---- The server ----------------------------------------------------------------------------------------


async def test_a_consumer_that_reads_nothing_delays_itself_alone() -> None:
    async with relayed(rate=300) as (_, mirror, relay), RemoteMirror(relay.url, tokens=mirror.tokens) as remote:
        await remote.wait_live(timeout=PATIENCE)
        async with connect(address_of(relay.url, "json"), max_queue=1) as idle:
            await idle.send(json.dumps({"want": list(mirror.tokens)}))
            seen = 0

            def count(_: object) -> None:
                nonlocal seen
                seen += 1

            remote.on_update(count)
            await remote.until(lambda: seen > 500, PATIENCE)
            assert relay.consumers == 2
            (slow,) = [each for each in relay._publisher._consumers if each.format == "json"]
            assert len(slow.due) <= len(mirror.tokens)


async def _hear_all(socket: ClientConnection) -> None:
    while True:
        await socket.recv()


@pytest.mark.parametrize("said", ["{", '{"want": 7}', '{"want": ["' + "9" * 200 + '"]}', b"\xff"])
async def test_a_consumer_that_says_what_cannot_be_read_is_cut_off(said: str | bytes) -> None:
    async with relayed() as (_, mirror, relay), RemoteMirror(relay.url) as remote:
        await remote.wait_live(timeout=PATIENCE)
        async with connect(address_of(relay.url, "json")) as odd:
            await odd.send(said)
            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.wait_for(_hear_all(odd), PATIENCE)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1007
        assert remote.live(mirror.tokens[0], 10.0)


async def test_a_format_that_there_is_not_is_refused() -> None:
    async with relayed() as (_, _mirror, relay):
        with pytest.raises(InvalidStatus):
            await connect(address_of(relay.url, "xml"))


async def test_a_page_of_another_origin_is_not_let_in() -> None:
    async with relayed() as (_, _mirror, relay):
        with pytest.raises(InvalidStatus):
            await connect(address_of(relay.url, "json"), origin="http://evil.example")


async def test_a_consumer_in_plain_json_is_told_the_whole_story() -> None:
    async with relayed(rate=50) as (_, mirror, relay), connect(address_of(relay.url, "json")) as socket:
        await socket.send(json.dumps({"ping": 7, "list": True, "want": [mirror.tokens[0]]}))
        kinds: set[str] = set()
        async with asyncio.timeout(PATIENCE):
            while not {"pong", "markets", "book", "change"} <= kinds:
                text = await socket.recv()
                assert isinstance(text, str)
                frame = json.loads(text)
                assert frame["version"] == 1
                assert decode(Frame, text.encode(), "json").relay == frame["relay"]
                kinds |= {item["is"] for item in frame["items"]}


async def test_silence_is_longer_than_a_beat_over_real_sockets() -> None:
    """Books that do not change stay LIVE at the far end."""
    async with relayed(rate=0.001) as (_, mirror, relay), RemoteMirror(relay.url) as remote:
        await remote.wait_live(timeout=PATIENCE)
        moves: list[Transition] = []
        remote.on_transition(moves.append)
        await asyncio.sleep(SILENCE * 1.5)
        assert [move for move in moves if move.new is not BookState.LIVE] == []
        assert all(remote.live(token) for token in mirror.tokens)
