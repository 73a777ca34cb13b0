"""Who waits in the book of one market, and in which order: orders of accounts among those of the order flow.

The venue shows one size for each level; behind it orders wait by price, then by time. A :class:`Queues` exists while at
least one account has an order in a market's book. It knows the sizes that the order flow has at each level, which is
what the flow goes by, and for the levels where accounts wait too the sequence: pieces of the flow, which has no names,
and orders. What the flow takes away are its youngest pieces, so that an account's order moves up as late as it can.

Levels are bids, by the index of the token whose bid they are; an order to sell one token is a bid for the other one.
Prices are in 1/10,000, sizes in 1/1,000,000. Pure bookkeeping: the texts and the hash are the market's, what happens is
decided in :mod:`polymirror.simulator.exchange.trading`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.simulator.exchange.ladder import Ladder


@define(eq=False)
class Resting:
    """An account's order in the book."""

    order: Any
    """Whatever its owner knows it by."""
    side: int
    """The index of the token for which it is a bid."""
    price: int
    """What it bids for that token."""
    left: int
    """What is not matched yet."""
    index: int
    """The token that it names: another one than ``side`` when it sells."""
    waits: bool = False
    """Whether it is in the book."""


Piece = tuple[Resting | None, int]
"""A part of a level's size, first in line first: an account's order, or ``None`` for the order flow."""


@define(eq=False)
class Queues:
    """The sizes of the order flow, and the sequence wherever an account waits."""

    anonymous: tuple[Ladder, Ladder]
    """What the flow has in the book: the bids of the first and of the second token."""
    waiting: int = 0
    """How many orders of accounts are in the book."""
    _lines: tuple[dict[int, list[list[Any]]], dict[int, list[list[Any]]]] = field(factory=lambda: ({}, {}), init=False)
    """By side and price: [order or None, size], first in line first."""

    @classmethod
    def among(cls, ladders: tuple[Ladder, Ladder]) -> Queues:
        """Begin with a book that is the flow's alone."""
        return cls((ladders[0].copy(), ladders[1].copy()))

    def total(self, side: int, price: int) -> int:
        """The size of a level, everybody's."""
        line = self._lines[side].get(price)
        return self.anonymous[side].size_at(price) if line is None else sum([size for _, size in line])

    def pieces(self, side: int, price: int) -> Sequence[Piece]:
        """What is at a level, first in line first."""
        line = self._lines[side].get(price)
        if line is not None:
            return [(order, size) for order, size in line]
        size = self.anonymous[side].size_at(price)
        return [(None, size)] if size else []

    def orders(self) -> list[Resting]:
        """All orders of accounts that wait, level by level."""
        return [order for lines in self._lines for line in lines.values() for order, _ in line if order is not None]

    # What changes.

    def join(self, resting: Resting) -> None:
        """An order of an account goes to the end of its level's line."""
        lines = self._lines[resting.side]
        line = lines.get(resting.price)
        if line is None:
            size = self.anonymous[resting.side].size_at(resting.price)
            line = lines[resting.price] = [[None, size]] if size else []
        line.append([resting, resting.left])
        self.waiting += 1
        resting.waits = True

    def leave(self, resting: Resting) -> None:
        """An order of an account is withdrawn."""
        line = self._lines[resting.side][resting.price]
        line[:] = [entry for entry in line if entry[0] is not resting]
        self.waiting -= 1
        resting.waits = False
        self._tidy(resting.side, resting.price)

    def place(self, side: int, price: int, size: int) -> None:
        """The flow has this much at a level from now on: more joins at the end, less leaves from there."""
        delta = size - self.anonymous[side].set(price, size)
        line = self._lines[side].get(price)
        if line is None:
            return
        if delta > 0:
            if line[-1][0] is None:
                line[-1][1] += delta
            else:
                line.append([None, delta])
            return
        for entry in reversed(line):
            if delta < 0 and entry[0] is None:
                gone = min(entry[1], -delta)
                entry[1] -= gone
                delta += gone
        line[:] = [entry for entry in line if entry[1]]

    def take(self, side: int, price: int, size: int) -> list[Piece]:
        """Somebody takes this much of a level, which has as much: first come, first served."""
        line = self._lines[side].get(price)
        flow = self.anonymous[side]
        if line is None:
            flow.set(price, flow.size_at(price) - size)
            return [(None, size)]
        taken: list[Piece] = []
        while size:
            entry = line[0]
            resting: Resting | None = entry[0]
            part = min(size, entry[1])
            size -= part
            entry[1] -= part
            if resting is None:
                flow.set(price, flow.size_at(price) - part)
            else:
                resting.left -= part
                if not resting.left:
                    self.waiting -= 1
                    resting.waits = False
            taken.append((resting, part))
            if not entry[1]:
                del line[0]
        self._tidy(side, price)
        return taken

    def _tidy(self, side: int, price: int) -> None:
        """Keep no line in which no account waits, and no two pieces of the flow next to each other: they are one."""
        lines = self._lines[side]
        line = lines[price]
        if not any(entry[0] is not None for entry in line):
            del lines[price]
            return
        for at in range(len(line) - 1, 0, -1):
            if line[at][0] is None is line[at - 1][0]:
                line[at - 1][1] += line.pop(at)[1]
