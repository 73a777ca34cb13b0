"""What look-ups showed a while ago, for a venue whose lists lag (protocol.md 11: by tens of seconds).

A :class:`Past` keeps what each order and trade looked like after each change, by name, and gives what was to be seen at
some time before. Nothing is kept unless something lags.
"""

from __future__ import annotations

from typing import Any, Final

MAX_STATES: Final = 32
"""States that are kept of one thing; of more, the oldest are forgotten."""


class Past:
    """The states of some things by owner and name, in the order in which they came up."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, list[tuple[int, dict[str, Any]]]]] = {}

    def keep(self, owner: str, name: str, state: dict[str, Any], at_ms: int) -> None:
        """Note what a thing looks like from now on."""
        states = self._states.setdefault(owner, {}).setdefault(name, [])
        states.append((at_ms, state))
        del states[:-MAX_STATES]

    def one(self, owner: str, name: str, until_ms: int) -> dict[str, Any] | None:
        """What a thing looked like at a time; ``None``: it was not there yet."""
        states = self._states.get(owner, {}).get(name, [])
        return next((state for at_ms, state in reversed(states) if at_ms <= until_ms), None)

    def all(self, owner: str, until_ms: int) -> list[dict[str, Any]]:
        """Everything of an owner as it was at a time."""
        found = (self.one(owner, name, until_ms) for name in self._states.get(owner, ()))
        return [state for state in found if state is not None]
