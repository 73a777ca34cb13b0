"""One line of the result: a figure, what it may be, and whether it is. And what every measurement is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.speed.method import Ratio


@frozen
class Options:
    """How long a run may take."""

    quick: bool = False
    """A tenth of the frames and rounds: to look at while working, not to publish."""

    def choose(self, full: int, quick: int) -> int:
        """Return a count for this kind of run."""
        return quick if self.quick else full


@frozen
class Row:
    """One target and what was measured. A row that could not be measured is never ok."""

    name: str
    title: str
    """What the ratio is, in words: "... / ..."."""
    ratio: float | None
    """The figure that has a target; None: not measured."""
    target: float
    at_least: bool = False
    """Whether the target is a lower bound."""
    unit: str = "x"
    details: Mapping[str, Any] = field(factory=dict)
    """Plain values: spreads, absolute figures, who else was measured."""
    reason: str = ""
    """Why the row is not ok whatever the ratio says: not installed, wrong, something was lost."""

    @property
    def ok(self) -> bool:
        """Whether the target is met, and nothing speaks against the figure."""
        if self.ratio is None or self.reason:
            return False
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        reason = {"reason": self.reason} if self.reason else {}
        return {
            "ratio": rounded(self.ratio),
            "target": self.target,
            "ok": self.ok,
            "unit": self.unit,
            "bound": "at least" if self.at_least else "at most",
            "title": self.title,
            **reason,
            **{key: rounded(value) for key, value in self.details.items()},
        }

    @classmethod
    def from_json(cls, name: str, told: Mapping[str, Any]) -> Row:
        """Return what :meth:`as_json` was made from, to its precision."""
        own = {"ratio", "target", "ok", "unit", "bound", "title", "reason"}
        details = {key: value for key, value in told.items() if key not in own}
        at_least = told["bound"] == "at least"
        return cls(name, told["title"], told["ratio"], told["target"], at_least, told["unit"], details,
                   told.get("reason", ""))  # fmt: skip


def missing(name: str, title: str, target: float, reason: str, **more: Any) -> Row:
    """Return the row of something that could not be measured here."""
    return Row(name, title, None, target, reason=reason, **more)


def spread_of(ratio: Ratio) -> dict[str, Any]:
    """Return the details that every ratio of a race has: its quartiles and the number of rounds."""
    return {"quartiles": [rounded(each) for each in ratio.spread], "rounds": len(ratio.rounds)}


def rounded(value: Any) -> Any:
    """Return floats with four significant digits, other values as they are."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
