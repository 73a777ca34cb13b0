"""Faults of pace: everything arrives, but late.

One small class each, with an id, what happens, and where it was seen. Delays add up over faults, and
a transport keeps the order of a connection, so one late frame delays those behind it. Listed in
:mod:`polymirror.simulator.faults.catalogue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from polymirror.simulator.faults.base import Fault
from polymirror.simulator.frames import PRICE_CHANGE, Close, Frame

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Link, Spell
    from polymirror.simulator.frames import Item

SLOW_CONSUMER = Close(1013, "slow consumer: send buffer full")

MAX_SLICES = 8


def later(item: Item, delay_ms: int) -> Item:
    """The same item, so much later than it is already."""
    return item._replace(delay_ms=item.delay_ms + delay_ms)


class PaceFault(Fault):
    """The base of faults that delay every item of a connection while they last."""

    default_share: ClassVar[float] = 0.0003

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, delay what passes."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item):
                spell = self.begin(link, now_ms) if self.strikes(now_ms) else None
            passed.append(item if spell is None else later(item, self.delay_ms(item, spell, now_ms)))
        return passed

    def delay_ms(self, item: Item, spell: Spell, now_ms: int) -> int:
        """How late this item is."""
        raise NotImplementedError


class LatencyAndJitter(PaceFault):
    """For some time every message is late, by a different amount each.

    Seen in two studies as ages of 40 to 110 ms in the middle, depending on the place.
    """

    id: ClassVar[str] = "latency"
    max_latency_ms: ClassVar[int] = 800

    @property
    def max_delay_ms(self) -> int:
        """The latency and the jitter together."""
        return min(self.plan.length_ms, self.max_latency_ms)

    def delay_ms(self, item: Item, spell: Spell, now_ms: int) -> int:
        """One latency for the occurrence, a jitter for each item."""
        del item, now_ms
        half = self.max_delay_ms // 2
        if not spell.count:
            spell.count = 1 + self.rng.randint(0, half)
        return spell.count - 1 + self.rng.randint(0, half)


class BandwidthLimit(PaceFault):
    """For some time the connection carries only a few kilobytes a second, so a backlog grows.

    Not reported by name; but one public capture of seven coins came to 449 GB in 77 days, packed, which
    is more than some lines carry in a busy minute.
    """

    id: ClassVar[str] = "bandwidth_limit"
    default_length_ms: ClassVar[int] = 3_000
    bytes_per_second: ClassVar[int] = 4_000

    @property
    def max_delay_ms(self) -> int:
        """The backlog that is allowed to grow."""
        return self.plan.length_ms

    def delay_ms(self, item: Item, spell: Spell, now_ms: int) -> int:
        """The time until the line is free, and the time that this item takes."""
        size = len(item.text) if isinstance(item, Frame) else 0
        free_ms = max(spell.count, now_ms) + 1000 * size // self.bytes_per_second
        spell.count = min(free_ms, now_ms + self.max_delay_ms)
        return spell.count - now_ms


class SlowReader(PaceFault):
    """The client does not read fast enough: messages are later and later, then the venue closes.

    Seen with 96 busy tokens on one socket, cut off after 40 seconds with 1013 "slow consumer: send
    buffer full". Over real sockets the embedded venue's own send buffer does it as well.
    """

    id: ClassVar[str] = "slow_reader"
    default_share: ClassVar[float] = 0.0002
    default_length_ms: ClassVar[int] = 3_000

    @property
    def max_delay_ms(self) -> int:
        """How late the last message before the closing is."""
        return self.plan.length_ms

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Delay more and more; at the end of the length the buffer is full."""
        spell = link.spells.get(self)
        if spell is not None and now_ms >= spell.until_ms:
            del link.spells[self]
            return [later(SLOW_CONSUMER, self.plan.length_ms)]
        return super().outgoing(link, items, now_ms)

    def delay_ms(self, item: Item, spell: Spell, now_ms: int) -> int:
        """As long as the reader has been slow already."""
        del item
        return now_ms - spell.began_ms


class LaggingMarket(Fault):
    """One market of a connection lags more and more, up to 25 s, while its neighbours are on time.

    Seen in a study of sockets with many markets, where single ones were seconds behind the others. What comes is
    in order and its hashes are right; at the end all that is missing comes at once.
    """

    id: ClassVar[str] = "lagging_market"
    default_share: ClassVar[float] = 0.0005
    default_length_ms: ClassVar[int] = 20_000
    storm_lengths_ms: ClassVar[tuple[int, ...]] = (3_000, 10_000, 20_000, 30_000)
    max_lag_ms: ClassVar[int] = 25_000
    growth: ClassVar[float] = 0.85

    @property
    def max_delay_ms(self) -> int:
        """How late the market is at most."""
        return min(self.plan.length_ms, self.max_lag_ms)

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, hold what its market sends back for longer and longer."""
        passed = self.release(link, now_ms)
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and isinstance(item, Frame) and item.kind == PRICE_CHANGE and self.concerns(item):
                spell = self.begin(link, now_ms, item.market) if self.strikes(now_ms) else None
            if spell is None or not isinstance(item, Frame) or item.market != spell.subject:
                passed.append(item)
                continue
            lag_ms = min(self.max_lag_ms, int((now_ms - spell.began_ms) * self.growth))
            self.hold(link, item, min(now_ms + lag_ms, spell.until_ms))
        return passed + self.release(link, now_ms)


class SlicedFrames(PaceFault):
    """Frames arrive in slices, and each is there only with its last slice.

    Not a fault of the venue: every TCP connection may do it. In a network of frames it is a delay for
    every slice; what cuts the bytes of a real connection uses :meth:`cuts`.
    """

    id: ClassVar[str] = "sliced_frames"
    max_slice_ms: ClassVar[int] = 40

    @property
    def max_delay_ms(self) -> int:
        """All slices but the first of the largest frame."""
        return self.max_slice_ms * MAX_SLICES

    def delay_ms(self, item: Item, spell: Spell, now_ms: int) -> int:
        """The pauses between the slices."""
        del spell, now_ms
        size = len(item.text) if isinstance(item, Frame) else 0
        slices = len(self.cuts(size))
        return sum([self.rng.randint(0, self.max_slice_ms) for _ in range(slices)])

    def cuts(self, size: int) -> list[int]:
        """Where to cut this many bytes, in order; none when there is nothing to cut."""
        count = min(MAX_SLICES, size - 1, 1 + size // 400)
        return sorted(self.rng.sample(range(1, size), count)) if count > 0 else []
