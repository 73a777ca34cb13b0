"""Deadlines of many owners in one order. Used by the engine for tokens and for what it gathers."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

Owner = TypeVar("Owner", bound="Hashable")

SPARE: Final = 64
"""Entries that may lie about in the heap, beside as many as there are owners."""


class Deadlines(Generic[Owner]):
    """One deadline per owner; equal ones fall due in the order in which they were set."""

    def __init__(self) -> None:
        # (time, serial, owner), a heap: a total order that never compares owners. What was moved or cancelled stays in
        # it until its turn comes, and is not its owner's entry any more.
        self._heap: list[tuple[float, int, Owner]] = []
        self._entry: dict[Owner, tuple[float, int, Owner]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entry)

    def set(self, owner: Owner, at: float) -> None:
        """Set, or move, an owner's deadline; infinity removes it."""
        known = self._entry.get(owner)
        if known is not None and known[0] == at:
            return
        if at == float("inf"):
            self.cancel(owner)
            return
        self._serial += 1
        entry = self._entry[owner] = (at, self._serial, owner)
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entry) + SPARE:
            # In order it is a heap, too.
            self._heap = sorted(self._entry.values())

    def cancel(self, owner: Owner) -> None:
        """Forget an owner's deadline, if it has one."""
        self._entry.pop(owner, None)

    def next(self) -> float:
        """Return the earliest deadline, infinity when there is none."""
        heap, entries = self._heap, self._entry
        while heap:
            first = heap[0]
            if entries.get(first[2]) is first:
                return first[0]
            heappop(heap)
        return float("inf")

    def pop_due(self, now: float) -> Iterator[Owner]:
        """Remove and yield the owners whose deadline is not after ``now``, earliest first."""
        while self._entry and self.next() <= now:
            _, _, owner = heappop(self._heap)
            del self._entry[owner]
            yield owner
