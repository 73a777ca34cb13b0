"""What all adapters share: the part of the engine's interface that the simulated network drives.

An adapter stands where polymirror's engine stands, so that every program gets the same frames at the same times
from the same code. What a program's own transport does (heartbeat, when it gives a connection up, how it returns)
is stated as a :class:`Transport`, taken from its source: real sockets have no virtual clock. What it does with
frames and with the loss of a connection is its own code, called by the subclass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import define, frozen

from polymirror.core.clock import VenueClock
from polymirror.core.effects import Effect, OpenSocket, Reconnect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.checksum import Constants
    from polymirror.core.messages import Snapshot
    from polymirror.core.states import BookState

Side = list[tuple[int, int]]
"""Levels as (price in 1/10,000, size in 1/1,000,000), in any order."""

LINE = 0
"""The one socket of a peer."""

MEBIBYTE = 2**20


@frozen(kw_only=True)
class Transport:
    """How a program keeps its socket, as its source says. Times in seconds."""

    ping_interval: float
    """How often it sends PING; infinite: never."""
    pong_timeout: float
    """It gives a connection up when the last PONG is older than this; infinite: never."""
    check_interval: float
    """How often it looks at the age of the last PONG."""
    max_message: int
    """A larger frame ends the connection, in bytes."""
    backoff_base: float = 0.25
    """The first upper bound of the pause before it connects anew, drawn with full jitter."""
    backoff_cap: float = 30.0
    """The last upper bound of that pause."""


@frozen
class SendText:
    """An effect that polymirror's engine does not need: send this text."""

    line: int
    text: str


@define
class Line:
    """The socket and its tokens."""

    asset_ids: tuple[str, ...] = ()


class Peer:
    """The base of all adapters. Subclasses implement :meth:`take`, :meth:`sides` and, if they can, the rest."""

    name: ClassVar[str]
    """As the page calls it."""
    transport: ClassVar[Transport]
    promise: ClassVar[str]
    """What its documentation says about the state of a book."""
    driven: ClassVar[str]
    """Which of its code runs, and what stands in for the rest."""
    tick_size: str = "0.01"
    """Of the markets that are added, for programs that ask."""

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        del config, rng
        self.clock = VenueClock()
        self.sockets = {LINE: Line()}
        self.is_open = False
        # Grows with every change of a token's book, so that a reader need not look again.
        self.versions: dict[str, int] = {}
        # Frames that its own code refused with an exception.
        self.errors = 0
        self._effects: list[Effect | SendText] = []
        self._pong_at = 0.0
        self._next_ping = self._next_check = float("inf")

    # ---- What subclasses do ------------------------------------------------------------------------

    def add(self, condition_id: str, asset_ids: Sequence[str]) -> None:
        """Prepare for a market."""

    def take(self, text: str) -> None:
        """Take a frame."""
        raise NotImplementedError

    def opened(self) -> None:
        """The connection is open and the subscription sent."""

    def dropped(self) -> None:
        """The connection is lost."""

    def sides(self, token: str) -> tuple[Side, Side] | None:
        """Return bids and asks as a user would read them now; None: refused or absent."""
        raise NotImplementedError

    def close(self) -> None:
        """The run is over."""

    def touch(self, token: str) -> None:
        """A token's book, or whether it can be read, may have changed."""
        self.versions[token] = self.versions.get(token, 0) + 1

    # ---- What the network calls --------------------------------------------------------------------

    def track(
        self, condition_id: str, asset_ids: Sequence[str], now: float, *, constants: Constants | None = None
    ) -> None:
        """Follow a market."""
        del now, constants
        line = self.sockets[LINE]
        if not line.asset_ids:
            self._effects.append(OpenSocket(LINE, tuple(asset_ids)))
        line.asset_ids += tuple(asset_ids)
        self.add(condition_id, asset_ids)

    def states(self) -> tuple[tuple[str, BookState], ...]:
        """No peer tells a state for each book."""
        return ()

    def carried_by(self, number: int) -> tuple[str, ...]:
        """Return the tokens of the one socket."""
        return self.sockets[number].asset_ids

    def connected(self, number: int, now: float, *, lane: int = 0) -> None:
        """The socket is open."""
        del number, lane
        self.is_open = True
        self._pong_at = now
        self._next_ping = now + self.transport.ping_interval
        self._next_check = now + self.transport.check_interval
        self.opened()

    def disconnected(self, number: int, now: float, why: str = "", *, resolved: bool = False, lane: int = 0) -> None:
        """The socket is lost."""
        del number, now, why, resolved, lane
        self.is_open = False
        self._next_ping = self._next_check = float("inf")
        self.dropped()

    def unreachable(self, number: int, why: str, now: float, *, lane: int = 0) -> None:
        """An attempt to connect failed: the adapters' programs only try again."""

    def receive(self, number: int, data: str, now: float, read_at: float | None = None, lane: int = 0) -> None:
        """Take a frame."""
        del read_at, lane
        if len(data) > self.transport.max_message:
            self._effects.append(Reconnect(number, "1009 message too big"))
            return
        if data == "PONG":
            self._pong_at = now
        try:
            self.take(data)
        except Exception:  # noqa: BLE001 - whatever a program raises, its caller goes on
            self.errors += 1

    def tick(self, now: float) -> None:
        """Do what is due: send PING, and look for the answer to the last ones."""
        if now >= self._next_check:
            self._next_check = now + self.transport.check_interval
            if now - self._pong_at > self.transport.pong_timeout:
                self._effects.append(Reconnect(LINE, "no PONG"))
                return
        if now >= self._next_ping:
            self._next_ping = now + self.transport.ping_interval
            self._effects.append(SendText(LINE, "PING"))

    def next_deadline(self) -> float:
        """Return when :meth:`tick` is due."""
        return min(self._next_ping, self._next_check)

    def effects(self) -> list[Effect | SendText]:
        """Return what is to be done."""
        effects, self._effects = self._effects, []
        return effects

    def events(self) -> tuple[()]:
        """Tell nothing."""
        return ()

    def dirty(self) -> tuple[()]:
        """Tell nothing."""
        return ()

    def gap(self, seconds: float, now: float) -> None:
        """The process slept: no peer looks."""

    def next_time_sample(self, now: float, interval: float) -> float:
        """No peer asks for the venue's time."""
        del now, interval
        return float("inf")

    def books(self, request: int, books: Mapping[str, Snapshot], now: float) -> None:
        """Never asked for."""

    def books_failed(self, request: int, now: float) -> None:
        """Never asked for."""
