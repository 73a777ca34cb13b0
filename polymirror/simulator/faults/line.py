"""The line that carries faults: all connections and calls of one venue pass through it.

Each frame, call and attempt passes the faults in their order, all that could change it. Pure; the app and a
virtual world own one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from attrs import evolve

from polymirror.simulator.faults.base import ClientFault, Fault, Link
from polymirror.simulator.frames import Answer, Call, Frame, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polymirror.simulator.exchange.exchange import Exchange


class FaultLine:
    """All faults of a venue, one after the other, for all of its connections and calls."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._links = 0
        # The connections that somebody still has, so that an end of a fault reaches them.
        self._open: WeakSet[Link] = WeakSet()
        self._exchange: Exchange | None = None
        self.faults = tuple(faults)

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults in the order in which they act. May be replaced."""
        return self._faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        self._faults = tuple(faults)
        self._on_stream = [fault for fault in self._faults if type(fault).outgoing is not Fault.outgoing]
        self._on_calls = [fault for fault in self._faults if type(fault).answer is not Fault.answer]
        self._on_attempts = [fault for fault in self._faults if type(fault).refuses is not Fault.refuses]
        self._on_client = [fault for fault in self._faults if isinstance(fault, ClientFault)]
        if self._exchange is not None:
            self.attach(self._exchange)

    @property
    def injected(self) -> dict[str, int]:
        """How often each fault struck."""
        counts: dict[str, int] = {}
        for fault in self._faults:
            counts[fault.id] = counts.get(fault.id, 0) + fault.injected
        return counts

    @property
    def max_delay_ms(self) -> int:
        """The longest delay of all faults together: each may hold back what another one did."""
        return sum(fault.max_delay_ms for fault in self._faults)

    def attach(self, exchange: Exchange) -> None:
        """Let the faults of the exchange itself act on this one. Call it once for each exchange."""
        self._exchange = exchange
        for fault in self._faults:
            fault.attach(exchange)

    def open_link(self) -> Link:
        """A new connection."""
        self._links += 1
        link = Link(self._links)
        self._open.add(link)
        return link

    def end(self, fault: Fault, now_ms: int) -> None:
        """Let a fault strike no more. What lasts of it on a connection is over, what it held back there is due.

        What befell the exchange itself, such as a restart, goes on for its length.
        """
        fault.plan = evolve(fault.plan, share=0.0)
        for link in self._open:
            spell = link.spells.get(fault)
            if spell is not None:
                spell.until_ms = min(spell.until_ms, now_ms)
                spell.held = [(min(due, now_ms), item) for due, item in spell.held]

    def refuses(self, now_ms: int) -> bool:
        """Whether an attempt to connect at this time fails."""
        # All are asked, so that no fault takes chances from another one.
        return sum([fault.refuses(now_ms) for fault in self._on_attempts]) > 0

    def stall_ms(self, now_ms: int) -> int:
        """For how long the client does nothing from now on. One call is one chance: ask at each frame."""
        return sum([fault.stall_ms(now_ms) for fault in self._on_client])

    def sleep_ms(self, now_ms: int) -> int:
        """For how long the client's clock stands still from now on. One call is one chance: ask at each frame."""
        return sum([fault.sleep_ms(now_ms) for fault in self._on_client])

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """What arrives of this answer."""
        for fault in self._on_calls:
            answer = fault.answer(call, answer, now_ms)
        return answer

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """What arrives of these items, in order. Nothing follows a closing or a reset."""
        if link.dead:
            return []
        for fault in self._on_stream:
            items = fault.outgoing(link, items, now_ms)
        return self._until_the_end(link, items)

    def next_ms(self, link: Link) -> int | None:
        """When a held item of this connection is due: call :meth:`outgoing` then, even with nothing."""
        if link.dead or not link.spells:
            return None
        return min((due for spell in link.spells.values() for due, _ in spell.held), default=None)

    def _until_the_end(self, link: Link, items: list[Item]) -> list[Item]:
        for index, item in enumerate(items):
            if not isinstance(item, Frame):
                link.dead = True
                link.spells.clear()
                return items[: index + 1]
        return items
