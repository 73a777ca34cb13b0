"""The line that carries faults: all connections and calls of one venue pass through it.

It keeps the faults in order and calls only those that can do something: most frames pass while no
fault is near its next strike, and they cost a subtraction. Pure; the app and a virtual world own one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.simulator.faults.base import FOREVER_MS, ClientFault, Fault, Link
from polymirror.simulator.frames import ALL_KINDS, CLOSING, Answer, Call, Frame, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polymirror.simulator.exchange.exchange import Exchange

PLENTY = FOREVER_MS


class FaultLine:
    """All faults of a venue, one after the other, for all of its connections and calls."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._links = 0
        self._exchange: Exchange | None = None
        # How many frames of each kind may still pass before a fault has a chance that it takes, and how
        # many that was at the last count.
        self._room: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        # From this exchange time on another set of faults is awake.
        self._recount_ms = 0
        self.faults = tuple(faults)

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults in the order in which they act. May be replaced."""
        return self._faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        self._faults = tuple(faults)
        self._on_stream = [fault for fault in self._faults if type(fault).outgoing is not Fault.outgoing]
        self._rank = {fault: number for number, fault in enumerate(self._on_stream)}
        self._on_calls = [fault for fault in self._faults if type(fault).answer is not Fault.answer]
        self._on_attempts = [fault for fault in self._faults if type(fault).refuses is not Fault.refuses]
        self._on_client = [fault for fault in self._faults if isinstance(fault, ClientFault)]
        self._awake: set[Fault] = set()
        self._recount_ms = 0
        self._room, self._counted = {}, {}
        for fault in self._faults:
            fault.on_plan = self._plan_changed
            if self._exchange is not None:
                fault.attach(self._exchange)

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
        return Link(self._links)

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
        if now_ms < self._recount_ms and self._passes(items):
            return self._prolong(link, items, now_ms) if link.spells else items
        return self._disturb(link, items, now_ms)

    def next_ms(self, link: Link) -> int | None:
        """When a held item of this connection is due: call :meth:`outgoing` then, even with nothing."""
        if link.dead or not link.spells:
            return None
        return min((due for spell in link.spells.values() for due, _ in spell.held), default=None)

    def _passes(self, items: list[Item]) -> bool:
        """Let items pass if none of them can be struck: take them from the room there is."""
        room = self._room
        for index, item in enumerate(items):
            room[item.kind] -= 1
            if room[item.kind] < 0:
                for passed in items[: index + 1]:
                    room[passed.kind] += 1
                return False
        return True

    def _prolong(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Call only the faults that last on this connection."""
        offered = items
        for fault in sorted(link.spells, key=lambda fault: self._rank.get(fault, 0)):
            if fault in self._awake:
                # It passes its chances itself, but they are taken from the room already.
                for item in offered:
                    fault.gap += item.kind == fault.kind
            items = fault.outgoing(link, items, now_ms)
        return self._until_the_end(link, items)

    def _disturb(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """Call the faults that can strike now, or that last on this connection."""
        self._settle_up()
        if now_ms >= self._recount_ms:
            self._look_who_is_awake(now_ms)
        awake, spells, count = self._awake, link.spells, len(items)
        for fault in self._on_stream:
            if fault not in spells and fault not in awake:
                continue
            if fault in spells or fault.gap < count or not fault.kind or fault.plan.tokens:
                items = fault.outgoing(link, items, now_ms)
                count = len(items)
                continue
            for item in items:
                fault.gap -= item.kind == fault.kind
        self._make_room()
        return self._until_the_end(link, items)

    def _until_the_end(self, link: Link, items: list[Item]) -> list[Item]:
        for index, item in enumerate(items):
            if not isinstance(item, Frame):
                link.dead = True
                link.spells.clear()
                return items[: index + 1]
        return items

    def _settle_up(self) -> None:
        """Take the frames that passed since the last count from the gaps of the faults."""
        if self._room != self._counted:
            passed = {kind: count - self._room[kind] for kind, count in self._counted.items()}
            for fault in self._awake:
                if fault.kind:
                    fault.gap -= passed[fault.kind]
            self._counted = self._room.copy()

    def _look_who_is_awake(self, now_ms: int) -> None:
        faults = self._on_stream
        self._awake = {fault for fault in faults if fault.is_awake(now_ms)}
        edges = [edge for fault in faults for edge in (fault.plan.start_ms, fault.plan.end_ms)]
        self._recount_ms = min((edge for edge in edges if edge > now_ms), default=FOREVER_MS)

    def _make_room(self) -> None:
        room = dict.fromkeys(ALL_KINDS, PLENTY)
        room[CLOSING] = 0
        for fault in self._awake:
            if not fault.kind:
                room = dict.fromkeys(ALL_KINDS, 0)
                break
            gap = 0 if fault.plan.tokens else fault.gap
            room[fault.kind] = min(room[fault.kind], gap)
        self._room = room
        self._counted = room.copy()

    def _plan_changed(self) -> None:
        """Before a plan changes: nothing is known any more about who strikes next."""
        self._settle_up()
        self._recount_ms = 0
