"""What a bundle says, as plain values: what the command prints, the page shows and programs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

if TYPE_CHECKING:
    from polymirror.explain.timeline import Band, TimelineRow


@frozen
class LevelRow:
    """One level at which the books differ; None: no such level."""

    side: str
    price: str
    before: str | None
    """In the book that was doubted,"""
    evidence: str | None
    """in the whole book that contradicts it,"""
    after: str | None
    """and in the book when the incident was over."""


@frozen
class Explanation:
    """What a bundle says."""

    name: str
    reason: str
    kind: str
    token: str
    """Whose book went wrong: the one that lost trust first, or its twin."""
    began: str
    """The time of day, UTC."""
    words: tuple[str, ...]
    levels: tuple[LevelRow, ...]
    rows: tuple[TimelineRow, ...]
    bands: tuple[Band, ...]
    last_right: str | None
    """The text of the last message of the stream that agreed with the book or came before the loss, as received."""
    first_wrong: str | None
    """The text of the first message that disagreed; None: it was no message of the stream."""
    ladders: tuple[tuple[str, Any], ...]
    """Two books to lay side by side, each with its title: bids and asks, best first."""
    about: dict[str, Any]
    """Versions, seed, market and tokens."""
    columns: tuple[str, str, str] = ("our book", "venue's book", "afterwards")
    """What the sizes of the levels that differ are."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values that JSON has."""
        return asdict(self)
