"""Carrying out what the engine asks for: sockets, subscriptions, calls for books and for the state of markets.

Everything that comes back is an input of the engine; nothing is decided here. The mirror owns the engine and is told
after each input, so that it can tell others and set its timer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from polymirror.core.effects import (
    AskGamma,
    CloseSocket,
    FetchBooks,
    OpenSocket,
    Reconnect,
    Subscribe,
    Unsubscribe,
    Vouch,
)
from polymirror.core.messages import PriceChange, decode_frame, subscription, subscription_change
from polymirror.errors import VenueError, VenueUnavailable
from polymirror.shell.rawframes import RawFrame
from polymirror.status.pulse import SAMPLE
from polymirror.venue.losslog import LossLog
from polymirror.venue.pieces import cut_array
from polymirror.venue.stream import CloseCause, CloseKind, Stream

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Mapping

    from polymirror.config import MirrorConfig
    from polymirror.core.effects import Effect
    from polymirror.core.engine import Engine
    from polymirror.shell.callbacks import Callbacks
    from polymirror.shell.clocks import Clocks
    from polymirror.status.pulse import Pulse
    from polymirror.venue.gamma import Gamma
    from polymirror.venue.market import Market
    from polymirror.venue.network import Network
    from polymirror.venue.rest import Bodies, Clob

LOOK_FOR_GAP: Final = 0.05
"""Seconds between two looks whether this machine slept, while frames come."""

ALL_RESOLVED: Final = "all subscribed assets resolved"
"""The venue's reason for closing a socket when nothing on it trades any more. Anybody can write it: a reason to ask."""


@frozen
class Hooks:
    """What the carrier needs of its mirror."""

    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    """Runs something until the mirror stops, under a name."""
    drain: Callable[[], None]
    """Handles what an input led to."""
    warn: Callable[[str, str], None]
    """Tells something odd by its kind and detail."""
    frames: Callbacks[RawFrame]
    """Hear of every frame, before it is used."""
    pulse: Pulse
    """Counts what is measured."""
    bodies: Callable[[int, Bodies], None] | None = None
    """Keeps the texts of an answer with books, by its request, before it is used. None: nobody records them."""


class Carrier:
    """The sockets and calls of one mirror."""

    def __init__(
        self,
        hooks: Hooks,
        engine: Engine,
        config: MirrorConfig,
        network: Network,
        clocks: Clocks,
        rng: random.Random,
        markets: Mapping[str, Market],
    ) -> None:
        self._hooks = hooks
        self._engine = engine
        self._config = config
        self._network = network
        self._clocks = clocks
        self._rng = rng
        self._markets = markets
        # By socket: its connections, one for each lane.
        self._streams: dict[int, list[tuple[Stream, asyncio.Task[None]]]] = {}
        # All are lost together, as a rule.
        self._losses = LossLog()
        # Whether the last call came to no answer at all.
        self._away = False
        # When to look for a gap again while frames come.
        self._look_at = float("-inf")

    def use(self, clob: Clob, gamma: Gamma) -> None:
        """Make calls with these clients from now on."""
        self._clob, self._gamma = clob, gamma

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The connections of all sockets."""
        return tuple(stream for lanes in self._streams.values() for stream, _ in lanes)

    @property
    def waiting(self) -> bool:
        """Whether frames wait to be handed to the engine."""
        return any(stream.waiting for stream in self.streams)

    def answered(self, error: Exception | None = None) -> None:
        """Note how a call ended: after one without any answer, the first answer shows that the network is back."""
        away = isinstance(error, TimeoutError) or (isinstance(error, VenueUnavailable) and error.status is None)
        if self._away and not away:
            for stream in self.streams:
                stream.hurry()
        self._away = away

    def look_for_gap(self) -> None:
        """Tell the engine if this machine slept."""
        now = self._clocks.monotonic()
        self._look_at = now + LOOK_FOR_GAP
        gap = self._clocks.gap()
        if gap:
            self._engine.gap(gap, now)

    def carry_out(self, effect: Effect) -> None:
        """Do what the engine asks for."""
        custom = self._config.custom_features
        match effect:
            case OpenSocket(socket):
                self._streams[socket] = [self._open(socket, lane) for lane in range(self._config.hedge)]
            case Subscribe(socket, ids):
                self._send(socket, subscription_change("subscribe", ids, custom_features=custom))
            case Unsubscribe(socket, ids):
                self._send(socket, subscription_change("unsubscribe", ids, custom_features=custom))
            case Reconnect(socket, why, lane) if socket in self._streams:
                self._streams[socket][lane][0].reconnect(why)
            case Vouch(socket):
                self._vouch(socket)
            case CloseSocket(socket):
                self._close(socket)
            case AskGamma(condition_id):
                self._hooks.spawn(self._ask_gamma(condition_id), f"gamma {condition_id}")
            case FetchBooks(request, ids):
                self._hooks.spawn(self._fetch(request, ids), f"books {request}")

    def _close(self, socket: int) -> None:
        for _, task in self._streams.pop(socket, ()):
            task.cancel()

    def _vouch(self, socket: int) -> None:
        for stream, _ in self._streams.get(socket, ()):
            stream.vouch()

    def _open(self, socket: int, lane: int) -> tuple[Stream, asyncio.Task[None]]:
        engine, monotonic, drain = self._engine, self._clocks.monotonic, self._hooks.drain
        frames, listeners = self._hooks.frames, self._hooks.frames.callbacks
        pulse, until_sample = self._hooks.pulse, SAMPLE

        def first_frame() -> str | None:
            ids = engine.carried_by(socket)
            return subscription(ids, custom_features=self._config.custom_features) if ids else None

        def on_open(now: float) -> None:
            engine.connected(socket, now, asked_at=stream.asked_at, lane=lane)
            drain()

        def on_frame(data: bytes | str, received_at: float) -> None:
            nonlocal until_sample
            now = monotonic()
            if now >= self._look_at:
                self.look_for_gap()
            if listeners:
                frames.tell(RawFrame(socket, lane, data, received_at))
            until_sample -= 1
            if until_sample:
                engine.receive(socket, data, now, received_at, lane)
                drain()
                return
            until_sample, began = SAMPLE, perf_counter()
            engine.receive(socket, data, now, received_at, lane)
            drain()
            pulse.apply_time.observe(perf_counter() - began)
            self._measure_age(data)

        def on_close(now: float, cause: CloseCause) -> None:
            if cause.kind is CloseKind.OVERFLOW:
                engine.overflow(socket, now)
            pulse.reconnects[cause.kind.name] += 1
            engine.disconnected(socket, now, str(cause), resolved=ALL_RESOLVED in cause.reason, lane=lane)
            drain()

        def on_failed(now: float, why: str) -> None:
            pulse.reconnects[CloseKind.OPEN_FAILED.name] += 1
            engine.unreachable(socket, why, now, lane=lane)
            drain()

        name = f"socket {socket}" if self._config.hedge == 1 else f"socket {socket}.{lane}"
        stream = Stream(
            self._config.endpoints.stream,
            first_frame=first_frame,
            on_open=on_open,
            on_frame=on_frame,
            on_close=on_close,
            on_failed=on_failed,
            cut=cut_array,
            config=self._config.stream,
            rng=self._rng,
            name=name,
            network=self._network,
            losses=self._losses,
        )
        return stream, self._hooks.spawn(stream.run(), name)

    def _measure_age(self, data: bytes | str) -> None:
        """Note how long ago the venue sent the change in a frame that is applied now."""
        now_ms = self._engine.venue_ms(self._clocks.monotonic())
        for message in decode_frame(data):
            if now_ms and isinstance(message, PriceChange):
                self._hooks.pulse.frame_age.observe(max(0, now_ms - message.at_ms) / 1000)

    def _send(self, socket: int, text: str) -> None:
        for stream, _ in self._streams.get(socket, ()):
            # Without a connection, or with one that is ending, the next first frame tells the venue. One that
            # just sends its first frame takes the text: the frame was made before this change.
            with suppress(VenueUnavailable):
                stream.send(text)

    async def _fetch(self, request: int, asset_ids: tuple[str, ...]) -> None:
        began, outcome = self._clocks.monotonic(), "failed"
        try:
            # The engine waits no longer: an answer after that would only keep a place.
            async with asyncio.timeout(self._config.engine.request_timeout):
                answer = await self._clob.books(asset_ids)
        except (VenueError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            self.answered(error)
            self._hooks.warn("books", why)
            self._engine.books_failed(request, self._clocks.monotonic(), why)
        else:
            outcome = "answered"
            self.answered(next(iter(answer.failed.values()), None))
            why = next((str(error) for error in answer.failed.values()), "")
            if why:
                self._hooks.warn("books", why)
            if self._hooks.bodies is not None:
                self._hooks.bodies(request, answer.bodies)
            self._engine.books(request, answer.books, self._clocks.monotonic(), answer.failed, why)
        self._hooks.pulse.probes[outcome].observe(self._clocks.monotonic() - began)
        self._hooks.drain()

    async def _ask_gamma(self, condition_id: str) -> None:
        market, closed = self._markets.get(condition_id), None
        if market is not None:
            try:
                async with asyncio.timeout(self._config.engine.request_timeout):
                    closed = (await self._gamma.market(market.slug)).closed
            except (VenueError, TimeoutError) as error:
                self._hooks.warn("gamma", str(error) or "no answer in time")
        self._engine.market_status(condition_id, closed, self._clocks.monotonic())
        self._hooks.drain()
