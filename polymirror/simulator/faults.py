"""What goes wrong between the venue and a client: the line that carries faults, and their base.

A fault is a small seeded object that changes what passes by: the frames of a connection, or the
answer to a call. Faults are pure, so the real sockets of the app and a network under a virtual clock
use the same ones. The faults themselves are in :mod:`polymirror.simulator.fault_kinds`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar

from attrs import define, field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.frames import Answer, Call, Frame, Item, Reset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOREVER_MS = 2**62


def _check_share(_self: object, _attribute: object, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError("share", value, "between 0 and 1 of the chances")


@frozen(kw_only=True)
class Plan:
    """When, where and how often a fault strikes."""

    share: float = field(default=1.0, validator=_check_share)
    """The probability at each chance: each frame or call it could change."""
    start_ms: int = 0
    """No fault before this exchange time in Unix milliseconds."""
    end_ms: int = FOREVER_MS
    """No new fault at or after this exchange time."""
    length_ms: int = 2_000
    """How long one occurrence lasts, or how long something is held back, in milliseconds."""
    tokens: frozenset[str] = frozenset()
    """Only frames and calls about these tokens; empty: all."""


@define(eq=False)
class Link:
    """One connection, as faults see it."""

    number: int
    # What a fault keeps back on this connection: when it is let go at the latest, and what it is.
    held: dict[str, list[tuple[int, Item]]] = field(factory=dict)
    # Until when an occurrence lasts on this connection, and which token it is about ("": all).
    until: dict[str, tuple[int, str]] = field(factory=dict)
    # True once the connection is cut: nothing passes any more.
    dead: bool = False


class Fault:
    """The base of all faults: passes everything on unchanged.

    Subclasses have an ``id`` and change what passes by; each occurrence counts in ``injected``.
    """

    id: ClassVar[str] = ""
    default_share: ClassVar[float] = 0.01

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        self.plan = plan or Plan(share=self.default_share)
        self.rng = random.Random(f"{self.id}:{seed}")
        self.injected = 0

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """What arrives of these items on this connection. Called with none when held ones are due."""
        del link, now_ms
        return items

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """What arrives of this answer."""
        del call, now_ms
        return answer

    def strikes(self, now_ms: int) -> bool:
        """Draw whether this chance is taken, and count it."""
        plan = self.plan
        if not plan.start_ms <= now_ms < plan.end_ms or self.rng.random() >= plan.share:
            return False
        self.injected += 1
        return True

    def concerns(self, frame: Frame) -> bool:
        """Whether the plan is about a token of this frame."""
        tokens = self.plan.tokens
        return not tokens or frame.token in tokens or any(token in frame.text for token in tokens)

    def release(self, link: Link, now_ms: int) -> list[Item]:
        """What was held back on this connection and is due."""
        held = link.held.get(self.id)
        if not held:
            return []
        link.held[self.id] = [entry for entry in held if entry[0] > now_ms]
        return [item for due, item in held if due <= now_ms]

    def hold(self, link: Link, item: Item, until_ms: int) -> None:
        """Keep an item back on this connection until then."""
        link.held.setdefault(self.id, []).append((until_ms, item))

    def lasting(self, link: Link, now_ms: int) -> str | None:
        """The token an occurrence is about that still lasts ("": all); ``None`` when there is none."""
        until, token = link.until.get(self.id, (0, ""))
        return token if now_ms < until else None

    def begin(self, link: Link, now_ms: int, token: str = "") -> None:
        """Start an occurrence that lasts ``plan.length_ms``."""
        link.until[self.id] = (now_ms + self.plan.length_ms, token)


class FaultLine:
    """All faults of a venue, one after the other, for all of its connections and calls."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults: Sequence[Fault] = tuple(faults)
        self._links = 0

    @property
    def injected(self) -> dict[str, int]:
        """How often each fault struck."""
        counts: dict[str, int] = {}
        for fault in self.faults:
            counts[fault.id] = counts.get(fault.id, 0) + fault.injected
        return counts

    def open_link(self) -> Link:
        """A new connection."""
        self._links += 1
        return Link(self._links)

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """What arrives of these items, in order. Nothing follows a closing or a reset."""
        if link.dead:
            return []
        if self.faults and (items or link.held):
            for fault in self.faults:
                items = fault.outgoing(link, items, now_ms)
        for index, item in enumerate(items):
            if not isinstance(item, Frame):
                link.dead = True
                return items[: index + 1]
        return items

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """What arrives of this answer."""
        for fault in self.faults:
            answer = fault.answer(call, answer, now_ms)
        return answer

    def next_ms(self, link: Link) -> int | None:
        """When a held item of this connection is due: call :meth:`outgoing` then, even with nothing."""
        if link.dead or not link.held:
            return None
        return min((due for held in link.held.values() for due, _ in held), default=None)


def cut(items: list[Item], index: int) -> list[Item]:
    """The items before this one, and then the connection dies."""
    return [*items[:index], Reset()]
