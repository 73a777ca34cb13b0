"""Deadlines of many owners in one order. Used by the engine for tokens and for what it gathers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from sortedcontainers import SortedList

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

Owner = TypeVar("Owner", bound="Hashable")


class Deadlines(Generic[Owner]):
    """One deadline per owner; equal ones fall due in the order in which they were set."""

    def __init__(self) -> None:
        # (time, serial): a total order that never compares owners.
        self._order: SortedList[tuple[float, int]] = SortedList()
        self._owner: dict[int, Owner] = {}
        self._entry: dict[Owner, tuple[float, int]] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._order)

    def set(self, owner: Owner, at: float) -> None:
        """Set, or move, an owner's deadline; infinity removes it."""
        known = self._entry.get(owner)
        if known is not None:
            if known[0] == at:
                return
            self.cancel(owner)
        if at == float("inf"):
            return
        self._serial += 1
        entry = (at, self._serial)
        self._order.add(entry)
        self._entry[owner] = entry
        self._owner[self._serial] = owner

    def cancel(self, owner: Owner) -> None:
        """Forget an owner's deadline, if it has one."""
        entry = self._entry.pop(owner, None)
        if entry is not None:
            self._order.remove(entry)
            del self._owner[entry[1]]

    def next(self) -> float:
        """Return the earliest deadline, infinity when there is none."""
        return self._order[0][0] if self._order else float("inf")

    def pop_due(self, now: float) -> Iterator[Owner]:
        """Remove and yield the owners whose deadline is not after ``now``, earliest first."""
        while self._order and self._order[0][0] <= now:
            _, serial = self._order.pop(0)
            owner = self._owner.pop(serial)
            del self._entry[owner]
            yield owner
