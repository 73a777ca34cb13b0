"""What a test of the suite says: its verdict, one plain sentence, and the figures behind it."""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_TRADES: Final = 30
"""With fewer purchases a test that needs chance to even out says nothing."""


@unique
class Verdict(Enum):
    """What became of the claim that the strategy earns money."""

    SURVIVED = "survived"
    """The test could have refuted it and did not."""
    REFUTED = "refuted"
    UNDECIDED = "not decidable"


@frozen(kw_only=True)
class Finding:
    """One test's result."""

    test: str
    verdict: Verdict
    sentence: str
    figures: Mapping[str, Any] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain objects."""
        return {
            "test": self.test,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "figures": dict(self.figures),
        }


def too_few(test: str, count: int, **figures: Any) -> Finding:
    """Say that a test had too little to go by."""
    purchases = "1 purchase" if count == 1 else f"{count} purchases"
    sentence = f"{purchases}: {LEAST_TRADES} are needed before this test can say anything."
    return Finding(test=test, verdict=Verdict.UNDECIDED, sentence=sentence, figures={"trades": count, **figures})
