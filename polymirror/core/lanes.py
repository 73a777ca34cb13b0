"""The connections of one hedged socket, and the frames that each of them brings.

A *lane* is one WebSocket connection. A hedged socket has two that are subscribed to the same tokens, and is open as
long as one of them is: whatever arrives first is taken, and the same frame on the other lane is an *echo*, which
costs one look into a table and changes nothing. So a lane that dies, stalls or loses a frame costs no availability.
What only one of them brings is taken like anything else, late perhaps and out of order; the hash decides.

A lane that is deaf (its twin brings changes and it does not, whatever else comes on it) or that lags behind its twin is
replaced. Times in seconds on the mirror's monotonic clock.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define

MAX_ECHOES: Final = 2_048
"""Frames of a socket whose echoes are recognised: the newest."""

MAX_ECHO_SIZE: Final = 4_096
"""Longer frames are taken twice: so all that are kept have 8 MiB at most."""

DEAF_CHANGES: Final = 8
"""A lane that brought no change while its twin brought so many,"""

DEAF_SECONDS: Final = 2.0
"""over so many seconds, is replaced,"""

MAX_BEHIND: Final = 2.0
"""and so is one that brings the same frames so many seconds later."""


@define(eq=False)
class Lane:
    """One open connection of a socket."""

    number: int
    # How long after its twin it brought the frame that both brought last; 0: it was first.
    behind: float = 0.0
    # What its twin brought since its own last change: how many of them, and since when.
    missed: int = 0
    missed_since: float = 0.0
    # The other one, while it is open.
    twin: Lane | None = None


class Books(Protocol):
    """What is needed of a market."""

    newest_ms: int

    @property
    def generation(self) -> int:
        """Grows whenever a book of it is built anew."""


class Lanes(dict[int, Lane]):
    """The open connections of one socket by their numbers, and what was heard on any of them.

    A dict, so that finding the lane of a frame is no call of ours.
    """

    def __init__(self) -> None:
        super().__init__()
        # Frames that changed one market, oldest first, while two lanes are open: which lane brought it, the market, the
        # generation of its books then, and when it was read.
        self._heard: dict[bytes | str, tuple[Lane, Books, int, float]] = {}
        # There are two.
        self.hedged: bool = False
        # A lane that does worse than its twin, and how.
        self.failing: tuple[int, str] | None = None

    def opened(self, number: int) -> None:
        """A connection is open."""
        lane = self[number] = Lane(number, twin=next((each for n, each in self.items() if n != number), None))
        if lane.twin is not None:
            lane.twin.twin = lane
        self.hedged = lane.twin is not None

    def closed(self, number: int) -> None:
        """A connection is gone."""
        self.pop(number, None)
        self.hedged, self.failing = False, None
        for lane in self.values():
            lane.missed, lane.twin = 0, None
        self._heard.clear()

    def is_echo(self, data: bytes | str, lane: Lane, heard_at: float) -> bool:
        """Whether the other lane brought this very frame before, and nothing that it changed was forgotten since."""
        heard = self._heard.get(data)
        if heard is None:
            return False
        first, market, generation, at = heard
        if first is lane:
            # What one lane delivers twice is no matter of hedging.
            return False
        lane.missed = 0
        lane.behind = max(0.0, heard_at - at)
        if lane.behind > MAX_BEHIND:
            self.failing = (lane.number, f"{lane.behind:.1f} s behind its twin")
        return generation == market.generation

    def note(self, data: bytes | str, market: Books, lane: Lane, heard_at: float, at_ms: int) -> None:
        """A frame with a price change is taken, the first of its kind: the next one that is equal is its echo.

        Its exchange time ``at_ms`` is in the market's newest one by now.
        """
        if at_ms < market.newest_ms:
            # Old news: its twin lost it, or had it so long ago that it is forgotten. That is no sign of being deaf for
            # the twin, and no sign of hearing for a lane that brings nothing else.
            lane.behind = max(lane.behind, (market.newest_ms - at_ms) / 1000.0)
            return
        lane.missed, lane.behind = 0, 0.0
        twin = lane.twin
        if twin is None:
            return
        if not twin.missed:
            twin.missed_since = heard_at
        twin.missed += 1
        if twin.missed >= DEAF_CHANGES and heard_at - twin.missed_since >= DEAF_SECONDS:
            self.failing = (twin.number, f"its twin brought {twin.missed} changes since its last one")
        if len(data) > MAX_ECHO_SIZE or data[:1] in {b"[", "["}:
            return
        self._heard[data] = (lane, market, market.generation, heard_at)
        if len(self._heard) > MAX_ECHOES:
            del self._heard[next(iter(self._heard))]
