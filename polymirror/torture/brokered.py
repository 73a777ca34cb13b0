"""A way through a broker: what the relay tells it and the consumer asks it for is decided by the real parts of both.

Only the server and its two connections are a model, and a harsher one: it loses, repeats and reorders single messages,
which a server does not on one connection. Each side loses its connection by itself, and comes back when it likes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from polymirror.relay.broker.follower import Follower
from polymirror.relay.broker.station import Station
from polymirror.torture.timeline import MICRO
from polymirror.torture.way import PUMP, Way

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.relay.link import Link
    from polymirror.relay.publisher import Publisher

NAME: Final = "desk"

MAX_PAYLOAD: Final = 1 << 20
"""Bytes of one message, as a server takes them unless told otherwise."""

INTERVALS: Final = (0.0, 0.05)
"""The least between two messages about one token, in seconds: drawn for each run of the relay."""

AWAY: Final = (MICRO // 20, 3 * MICRO)
"""For how long a relay is away that was restarted, or has lost the broker."""

NOBODY: Final = b"503"


class Brokered(Way):
    """A relay at a broker, and one of its consumers."""

    # Until when the relay is away from the broker.
    _back: int = 0

    # ---- The relay ---------------------------------------------------------------------------------

    def _new_publisher(self) -> Publisher:
        publisher = super()._new_publisher()
        interval = self._rng.choice(INTERVALS)
        # What would be logged is a count there, and none of it decides anything.
        self._station = Station(publisher, NAME, lambda: self._world.seconds, lambda *_: None, interval)
        return publisher

    @property
    def _is_there(self) -> bool:
        return self._world.now >= self._back

    def _pump_down(self) -> None:
        # Nothing beats while the broker is not there.
        self._send_down()
        self._world.at_client(self._world.now + PUMP, self._pump_down)

    def _send_down(self) -> None:
        if self._is_there and "relay_slow" not in self._lasting:
            for subject, frame in self._station.take(MAX_PAYLOAD):
                self._tell(subject, frame)

    def _tell(self, subject: str, frame: bytes) -> None:
        """Hand a message to the broker, which hands it to the consumer if that listens to the subject."""
        if self._connected and subject in self._follower.subjects:
            self._down(frame)

    def _heard(self, reply: str, data: bytes) -> None:
        """The broker has something for the relay, or says that it is not there."""
        if not self._is_there:
            self._carry("down", NOBODY, self._nobody)
            return
        for subject, frame in self._station.asked(self._follower.ask, data, reply, MAX_PAYLOAD):
            self._tell(subject, frame)
        self._send_down()

    def _leave(self) -> None:
        """The relay loses the broker, and what it told last with it."""
        list(self._station.take(MAX_PAYLOAD))
        self._back = self._world.now + self._rng.randint(*AWAY)

    # ---- The consumer's end ------------------------------------------------------------------------

    def new_link(self) -> Link:
        """Begin anew at the consumer's end."""
        link = super().new_link()
        self._follower = Follower(link, NAME, f"{self._rng.getrandbits(64):x}", self._rng)
        return link

    def _nobody(self, _: bytes) -> None:
        if self._follower.nobody(self._far.there()):
            self._closed("no relay of that name is at the broker")

    def owes(self, tokens: Iterable[str]) -> list[str]:
        """Nothing: what is told to a broker may wait for its turn."""
        del tokens
        return []

    def _open(self) -> None:
        self.told.opened()
        self._hears = True
        self._follower.opened(self._far.there())

    def _pump_once(self) -> None:
        if not self._connected or self._world.now < self._far.stalled_until:
            return
        if self._follower.tries_again(self._far.there()):
            self._hears = True
            self._far.looks()
        for said in self._follower.says(self._far.there()):
            self._carry("up", said, partial(self._heard, self._follower.replies))

    # ---- Faults ------------------------------------------------------------------------------------

    def _begin(self, fault: str, until: int) -> None:
        match fault:
            case "relay_restart":
                # Its consumers stay connected: to the broker.
                self.struck[fault] += 1
                self._leave()
                self._move()
                self._publisher = self._new_publisher()
            case "relay_cut" if self._rng.random() < 1 / 2:
                self.struck[fault] += 1
                self._leave()
            case _:
                if fault == "broker_restart":
                    self._leave()
                super()._begin(fault, until)
