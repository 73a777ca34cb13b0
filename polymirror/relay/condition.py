"""How a reader's relays are doing: for people, and for whoever watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.relay.link import Link


@frozen
class RelayCondition:
    """One relay, as its reader sees it."""

    name: str
    """Its address."""
    run: str
    """Names its run; empty: it has not spoken."""
    is_open: bool
    trouble: str
    """Why it is not open; empty: it is."""
    width: float | None
    """How wide the interval is in which the offset of the two clocks lies, in seconds; None: it is not known."""
    left_out: int
    """Markets that it carries and cannot list."""
    counts: dict[str, int]
    """What went wrong so far, and how often: ``gaps``, ``digests that differ``, ``malformed``, ``clock steps``,
    ``restarts``, ``lost connections``, ``of an earlier run``, ``after the end``."""


def condition_of(link: Link, now: float) -> RelayCondition:
    """Return how one is doing."""
    return RelayCondition(
        link.name, link.relay, link.is_open, link.trouble, link.offset.width(now), link.left_out, dict(link.counts)
    )


class Odd:
    """Tells what went wrong with relays: each kind as often as it grows, by its sum."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, int]] = {}

    def tell(self, link: Link, warn: Callable[[str, str], None]) -> None:
        """Tell what is new of one; ``warn`` hears by kind and detail."""
        told = self._told.setdefault(link.name, {})
        now = {**link.counts, "markets left out": link.left_out}
        if now == told:
            return
        for what, count in now.items():
            if count > told.get(what, 0):
                why = f": {link.trouble}" if what == "lost connections" and link.trouble else ""
                warn(f"relay {what}", f"{link.name}: {what}, {count} so far{why}")
        self._told[link.name] = now
