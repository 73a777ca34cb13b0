"""When simulated feeds publish, and what all their connections share. Pure.

A feed tells the price of each whole second a moment after it. :class:`Pulse` says when, and which seconds never come;
:class:`PulseSession` is one client's connection: it remembers which seconds were sent and lets everything pass the
faults. The feeds beside this module say only what a frame looks like and what clients may ask.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

from polymirror.errors import ConfigError
from polymirror.simulator.frames import REPLY, Close, Frame, Reset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from polymirror.simulator.feeds.faults import FeedLine
    from polymirror.simulator.frames import Item

SECOND_MS: Final = 1_000

MAX_BEHIND: Final = 300
"""Seconds that a connection catches up with at once when nobody asked it for long; older ones are left out."""

_ASSET: Final = re.compile(r"[a-z0-9]{1,16}")


class PriceSource(Protocol):
    """What knows the prices, in dollars: :class:`~polymirror.simulator.exchange.oracle.PriceProcess`, or a stub."""

    def price(self, asset: str, at_ms: int) -> Decimal:
        """Return the price at a time in Unix milliseconds."""
        ...

    def twap(self, asset: str, at_ms: int, lookback_s: int = ...) -> Decimal:
        """Return the average over the ``lookback_s`` seconds before a time."""
        ...


class Pulse:
    """The moments at which a feed publishes. Depends on ``seed`` alone, never on who asks or when.

    The price of a second goes out ``lag_ms[0]`` to ``lag_ms[1]`` milliseconds after it; the two may be at most a second
    apart, so that seconds never overtake. ``missing`` is the share of prices that are never published. Raises
    :class:`~polymirror.errors.ConfigError` for values outside these ranges.
    """

    def __init__(self, seed: int, *, lag_ms: tuple[int, int], missing: float) -> None:
        low, high = lag_ms
        if not 0 <= low <= high < low + SECOND_MS:
            raise ConfigError("lag_ms", lag_ms, "two times of 0 ms or more, the second at most 999 ms after the first")
        if not 0 <= missing <= 1:
            raise ConfigError("missing", missing, "between 0 and 1 of the prices")
        self.seed = seed
        self.lag_ms = lag_ms
        self._missing = round(missing * 2**32)

    def publish_ms(self, second: int) -> int:
        """Return when the price of a second goes out. Strictly later for each later second."""
        low, high = self.lag_ms
        return second + low + self._draw(f"lag {second}") % (high - low + 1)

    def is_missing(self, series: str, second: int) -> bool:
        """Whether a price is never published."""
        return bool(self._missing) and self._draw(f"{series} {second}") < self._missing

    def next_second(self, now_ms: int) -> int:
        """Return the first second that is published after ``now_ms``."""
        second = (now_ms - self.lag_ms[1]) // SECOND_MS * SECOND_MS
        while self.publish_ms(second) <= now_ms:
            second += SECOND_MS
        return second

    def _draw(self, what: str) -> int:
        # A checksum is random enough for delays and much cheaper than a generator for each second. Its last bits are
        # too even between neighbours, hence the multiplication.
        return crc32(f"{self.seed} {what}".encode()) * 2_654_435_761 >> 7 & 0xFFFFFFFF


class PulseSession:
    """One client's connection to a feed: see :class:`~polymirror.simulator.surface.services.FeedSession`.

    Feeds override :meth:`answer`, :meth:`listening`, :meth:`publish` and :meth:`number`.
    """

    def __init__(self, pulse: Pulse, line: FeedLine) -> None:
        self.closed: bool = False
        self._pulse = pulse
        self._line = line
        self._link = line.open_link()
        # The second that is published next; None while the client listens to nothing.
        self._second: int | None = None

    # What a feed says.

    def answer(self, text: str, now_ms: int) -> list[Item]:
        """Return what a client's text is answered with at once."""
        del text, now_ms
        return []

    def listening(self) -> bool:
        """Whether the client wants any prices."""
        return True

    def publish(self, second: int, sent_ms: int) -> Iterator[Frame]:
        """Make the frames with the prices of a second, which goes out at ``sent_ms``."""
        raise NotImplementedError

    def number(self, item: Item) -> Item:
        """Give a frame its number, on a feed that numbers them. Called in the order of sending."""
        return item

    # What carries it.

    def receive(self, text: str, now_ms: int) -> list[Item]:
        """Answer a text frame of the client, at once."""
        # First what was due before the text came.
        items = self._due(now_ms)
        items += self.answer(text, now_ms)
        self.follow(now_ms)
        return self._pass(items, now_ms)

    def outgoing(self, now_ms: int) -> list[Item]:
        """Return everything due up to and including ``now_ms`` that was not returned yet, in order."""
        return self._pass(self._due(now_ms), now_ms)

    def next_ms(self) -> int | None:
        """Return when something is due next."""
        if self.closed:
            return None
        held = self._line.next_ms(self._link)
        if self._second is None:
            return held
        due = self._pulse.publish_ms(self._second)
        return due if held is None else min(due, held)

    def follow(self, now_ms: int) -> None:
        """Begin with the next second if the client has begun to listen, and stop if it has stopped."""
        if not self.listening():
            self._second = None
        elif self._second is None:
            self._second = self._pulse.next_second(now_ms)

    def _due(self, now_ms: int) -> list[Item]:
        items: list[Item] = []
        if self._second is None or self.closed:
            return items
        self._second = max(self._second, (now_ms // SECOND_MS - MAX_BEHIND) * SECOND_MS)
        while (sent_ms := self._pulse.publish_ms(self._second)) <= now_ms:
            items += self.publish(self._second, sent_ms)
            self._second += SECOND_MS
        return items

    def _pass(self, items: Sequence[Item], now_ms: int) -> list[Item]:
        """Let items pass the faults; nothing follows an end of the connection."""
        if self.closed:
            return []
        sent = [self.number(item) for item in self._line.at_source(self._link, list(items), now_ms)]
        passed = self._line.on_the_way(self._link, sent, now_ms)
        for index, item in enumerate(passed):
            if isinstance(item, (Close, Reset)):
                self.closed = True
                return passed[: index + 1]
        return passed


def reply(text: str) -> Frame:
    """Make a frame that answers a client and carries no price."""
    return Frame(text, REPLY)


def digits(price: Decimal) -> str:
    """Write a price as a JSON number, with no more digits than it needs."""
    return format(price.normalize(), "f")


def check_assets(assets: Sequence[str]) -> tuple[str, ...]:
    """Return the assets of a feed, or raise :class:`~polymirror.errors.ConfigError`."""
    wanted = tuple(assets)
    if not wanted or len(set(wanted)) < len(wanted) or not all(_ASSET.fullmatch(each) for each in wanted):
        raise ConfigError("assets", wanted, "different names in lower case such as btc, at least one")
    return wanted
