"""What goes wrong on price feeds: one small class each, with an id, what happens, and where it was seen.

They are :class:`~polymirror.simulator.faults.base.Fault` objects, seeded, with a plan of when and how often; the tokens
of a plan are assets here. Every connection of a feed passes through a :class:`FeedLine`. The faults of the venue's
market channel are others and never touch a feed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ClassVar, Final
from weakref import WeakKeyDictionary

from polymirror.config import one_of
from polymirror.errors import ConfigError
from polymirror.simulator.faults.base import Fault, Link
from polymirror.simulator.frames import Close, Frame, Item, Reset

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.faults.base import Plan

PRICE: Final = "price"
"""The kind of all frames that carry prices. Their ``token`` is the asset, their ``market`` the topic or channel."""

MAX_REMEMBERED: Final = 30
"""Frames of a series that are remembered to be repeated later."""


class FeedLine:
    """All faults of one feed, one after the other, for all of its connections."""

    def __init__(self, faults: Iterable[str | Fault] = (), *, seed: int = 0) -> None:
        self.faults: tuple[Fault, ...] = tuple(
            fault if isinstance(fault, Fault) else make_feed_faults([fault], seed=seed)[0] for fault in faults
        )
        self._at_source = [fault for fault in self.faults if getattr(fault, "at_source", False)]
        self._on_the_way = [fault for fault in self.faults if not getattr(fault, "at_source", False)]
        self._links = 0

    @property
    def injected(self) -> dict[str, int]:
        """How often each fault struck."""
        counts: dict[str, int] = {}
        for fault in self.faults:
            counts[fault.id] = counts.get(fault.id, 0) + fault.injected
        return counts

    def open_link(self) -> Link:
        """Return a new connection."""
        self._links += 1
        return Link(self._links)

    def refuses(self, now_ms: int) -> bool:
        """Whether an attempt to connect fails. All faults are asked: none takes chances from another."""
        return any(fault.refuses(now_ms) for fault in self.faults)

    def at_source(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """What the feed sends of these items, in order, before it numbers its frames."""
        for fault in self._at_source:
            items = fault.outgoing(link, items, now_ms)
        return items

    def on_the_way(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """What arrives of these items, in order."""
        for fault in self._on_the_way:
            items = fault.outgoing(link, items, now_ms)
        return items

    def next_ms(self, link: Link) -> int | None:
        """When a held item of this connection is due."""
        return min((due for spell in link.spells.values() for due, _ in spell.held), default=None)


class FeedFault(Fault):
    """The base: each price frame is one chance; other frames pass."""

    at_source: ClassVar[bool] = False
    """Whether it happens before frames are numbered, so that a sequence does not show it."""

    def takes(self, item: Item, now_ms: int) -> bool:
        """Whether this item is the chance that is taken."""
        return isinstance(item, Frame) and item.kind == PRICE and self.concerns(item) and self.strikes(now_ms)


class ZombieFeed(FeedFault):
    """A connection stays open and answers every PING, but brings no price any more.

    Seen on the venue's relay by many: eight stalls in 25 minutes, one of 688 seconds, the socket open throughout.
    """

    id: ClassVar[str] = "feed_zombie"
    at_source: ClassVar[bool] = True
    default_share: ClassVar[float] = 0.001
    default_length_ms: ClassVar[int] = 60_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop every price."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and self.takes(item, now_ms):
                spell = self.begin(link, now_ms)
            if spell is None or item.kind != PRICE:
                passed.append(item)
        return passed


class FrozenAsset(FeedFault):
    """One asset gets no more prices on a connection while the others do."""

    id: ClassVar[str] = "feed_frozen_asset"
    at_source: ClassVar[bool] = True
    default_share: ClassVar[float] = 0.001
    default_length_ms: ClassVar[int] = 30_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop the prices of its asset."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and isinstance(item, Frame) and self.takes(item, now_ms):
                spell = self.begin(link, now_ms, item.token)
            if spell is None or not isinstance(item, Frame) or item.kind != PRICE or item.token != spell.subject:
                passed.append(item)
        return passed


class StuckAsset(FeedFault):
    """The price of one asset is sent again and again, with its old time, while the others go on.

    A client that takes any frame for a sign of life never misses anything.
    """

    id: ClassVar[str] = "feed_stuck_asset"
    at_source: ClassVar[bool] = True
    default_share: ClassVar[float] = 0.001
    default_length_ms: ClassVar[int] = 30_000

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        self._stuck: WeakKeyDictionary[Link, Frame] = WeakKeyDictionary()

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, send its first frame instead of each that follows."""
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and isinstance(item, Frame) and self.takes(item, now_ms):
                spell = self.begin(link, now_ms, f"{item.market} {item.token}")
                self._stuck[link] = item
            stuck = self._stuck.get(link)
            same = isinstance(item, Frame) and spell is not None and f"{item.market} {item.token}" == spell.subject
            passed.append(stuck if same and stuck is not None else item)
        return passed


class DuplicateTick(FeedFault):
    """A frame arrives twice."""

    id: ClassVar[str] = "feed_duplicate"
    default_share: ClassVar[float] = 0.05

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Repeat some frames."""
        del link
        passed: list[Item] = []
        for item in items:
            passed.append(item)
            if self.takes(item, now_ms):
                passed.append(item)
        return passed


class OldTick(FeedFault):
    """An old price arrives again after newer ones, up to half a minute late."""

    id: ClassVar[str] = "feed_old_tick"
    at_source: ClassVar[bool] = True
    default_share: ClassVar[float] = 0.05

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        self._past: WeakKeyDictionary[Link, dict[str, deque[Frame]]] = WeakKeyDictionary()

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Let some frames be followed by an older one of the same asset."""
        past = self._past.setdefault(link, {})
        passed: list[Item] = []
        for item in items:
            passed.append(item)
            if not isinstance(item, Frame) or item.kind != PRICE:
                continue
            earlier = past.setdefault(f"{item.market} {item.token}", deque(maxlen=MAX_REMEMBERED))
            if earlier and self.takes(item, now_ms):
                passed.append(self.rng.choice(earlier))
            earlier.append(item)
        return passed


class LateTick(FeedFault):
    """A price is overtaken: it arrives seconds after those that follow it."""

    id: ClassVar[str] = "feed_late_tick"
    at_source: ClassVar[bool] = True
    default_share: ClassVar[float] = 0.02
    default_length_ms: ClassVar[int] = 4_000

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Hold some frames back."""
        passed = self.release(link, now_ms)
        for item in items:
            if self.takes(item, now_ms):
                self.hold(link, item, now_ms + self.plan.length_ms)
            else:
                passed.append(item)
        return passed


class LostTick(FeedFault):
    """A frame never arrives. On a feed with sequence numbers, this is a gap."""

    id: ClassVar[str] = "feed_lost_tick"
    default_share: ClassVar[float] = 0.02

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Drop some frames."""
        del link
        return [item for item in items if not self.takes(item, now_ms)]


class DroppedTicks(FeedFault):
    """The relay leaves out frames of a client that it finds slow, and says how many in the next one.

    Documented for PolyBolt (``dropped``). On a feed without sequence numbers the prices are merely lost.
    """

    id: ClassVar[str] = "feed_dropped"
    default_share: ClassVar[float] = 0.002
    default_length_ms: ClassVar[int] = 3_000

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        super().__init__(plan, seed=seed)
        # By connection and channel: how many were left out and not told of yet.
        self._dropped: WeakKeyDictionary[Link, dict[str, int]] = WeakKeyDictionary()

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """While an occurrence lasts, drop prices; the first frame after it tells."""
        dropped = self._dropped.setdefault(link, {})
        passed: list[Item] = []
        for item in items:
            spell = self.lasting(link, now_ms)
            if spell is None and self.takes(item, now_ms):
                spell = self.begin(link, now_ms)
            if not isinstance(item, Frame) or item.kind != PRICE:
                passed.append(item)
            elif spell is not None:
                dropped[item.market] = dropped.get(item.market, 0) + 1
            else:
                passed.append(_telling(item, dropped.pop(item.market, 0)))
        return passed


def _telling(frame: Frame, dropped: int) -> Frame:
    if not dropped or '"seq":' not in frame.text:
        return frame
    return frame._replace(text=frame.text.replace('"payload":', f'"dropped":{dropped},"payload":', 1))


class GarbageTick(FeedFault):
    """A frame is cut off in the middle."""

    id: ClassVar[str] = "feed_garbage"
    default_share: ClassVar[float] = 0.005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Cut some frames."""
        del link
        return [
            item._replace(text=item.text[: len(item.text) // 2])
            if isinstance(item, Frame) and self.takes(item, now_ms)
            else item
            for item in items
        ]


class FeedReset(FeedFault):
    """The connection dies without a close frame."""

    id: ClassVar[str] = "feed_reset"
    default_share: ClassVar[float] = 0.001

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """End the connection."""
        del link
        for index, item in enumerate(items):
            if self.takes(item, now_ms):
                return [*items[:index], Reset()]
        return items


class FeedDrain(FeedFault):
    """The relay closes with 4003: it is about to restart. Documented for PolyBolt."""

    id: ClassVar[str] = "feed_drain"
    default_share: ClassVar[float] = 0.0005

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """End the connection."""
        del link
        for index, item in enumerate(items):
            if self.takes(item, now_ms):
                return [*items[:index], Close(4003, "draining")]
        return items


class FeedRefused(Fault):
    """An attempt to connect is answered with HTTP 503."""

    id: ClassVar[str] = "feed_refused"
    default_share: ClassVar[float] = 0.3

    def refuses(self, now_ms: int) -> bool:
        """Refuse some attempts."""
        return self.strikes(now_ms)


FEED_FAULTS: Final[dict[str, type[Fault]]] = {
    kind.id: kind
    for kind in (
        *(ZombieFeed, FrozenAsset, StuckAsset, DuplicateTick, OldTick, LateTick, LostTick, DroppedTicks),
        *(GarbageTick, FeedReset, FeedDrain, FeedRefused),
    )
}
"""Every fault of feeds by its id. All of them together are the storm."""


def make_feed_faults(
    ids: Iterable[str] = tuple(FEED_FAULTS), *, seed: int = 0, plan: Plan | None = None
) -> tuple[Fault, ...]:
    """Build faults by their ids, each with its usual share and length unless there is a plan; all by default.

    Raises :class:`~polymirror.errors.ConfigError` for an unknown id, naming the nearest.
    """
    wanted = tuple(ids)
    for each in wanted:
        if each not in FEED_FAULTS:
            raise ConfigError("faults of a feed", each, one_of(each, FEED_FAULTS))
    return tuple(FEED_FAULTS[each](plan, seed=seed) for each in wanted)
