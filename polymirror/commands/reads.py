"""The demo's conscience: reads every book all the time, and compares each granted read with the truth.

The exchange knows what was true when; a LIVE view that it contradicts is the one thing that must never happen.
Pure but for the calls it makes on the mirror and the exchange it is given.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Protocol

from polymirror.errors import NotLive

if TYPE_CHECKING:
    from polymirror.core.view import BookView

STEP: Final = 0.0001
"""Ages are counted in steps of this many seconds."""

MAX_STEPS: Final = 600_000
"""Ages above a minute are counted together."""

ALLOWANCE: Final = 0.25
"""Seconds for which a proof may be older than it says: the way of a frame over loopback."""

EVER: Final = 50.0
"""Seconds before its age in which a wrong read may have been true: the exchange remembers a minute."""

STALLS_KEPT: Final = 256
"""How many of the newest reads' delays are remembered."""

MAX_EXAMPLES: Final = 10


class Ages:
    """How often each age occurred, to a tenth of a millisecond; bounded, however long the run."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one age."""
        self._counts[min(int(seconds / STEP), MAX_STEPS)] += 1

    def quantile(self, share: float) -> float | None:
        """Return the age in seconds below which this share of all ages lies; None when there are none."""
        wanted = share * self._counts.total()
        seen = 0
        for step, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return step * STEP
        return None


class Readable(Protocol):
    """What is read: a mirror."""

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return a proven view or raise NotLive."""
        ...


class Truth(Protocol):
    """What knows better: the simulated exchange."""

    def confirms(self, view: BookView, slack: float) -> bool:
        """Whether the book was what the view says, no longer ago than its age and ``slack`` seconds."""
        ...


class Reads:
    """Counts of reads: granted, refused, and wrong."""

    def __init__(self, mirror: Readable, truth: Truth) -> None:
        self._mirror = mirror
        self._truth = truth
        self.granted: int = 0
        self.refused: Counter[str] = Counter()
        self.wrong: int = 0
        # The first wrong reads in words: what was read, and how it was wrong.
        self.examples: list[str] = []
        self.ages: Ages = Ages()
        # How much later than wanted the newest rounds of reads came: the event loop was busy, so were the frames.
        self._stalls: deque[float] = deque(maxlen=STALLS_KEPT)

    def stalled(self, seconds: float) -> None:
        """Note how late a round of reads was."""
        self._stalls.append(max(0.0, seconds))

    def read(self, token: str) -> None:
        """Read one book, and judge the answer."""
        try:
            view = self._mirror.live(token)
        except NotLive as refusal:
            self.refused[refusal.state.name] += 1
            return
        self.granted += 1
        self.ages.add(view.verified_age)
        slack = ALLOWANCE + (view.apply_lag or 0.0) + max(self._stalls, default=0.0)
        if not self._truth.confirms(view, slack):
            self._note_wrong(view)

    def _note_wrong(self, view: BookView) -> None:
        self.wrong += 1
        if len(self.examples) < MAX_EXAMPLES:
            ever = self._truth.confirms(view, EVER)
            how = "was true before that age only" if ever else "was never true"
            proof = "no proof" if view.last_proof is None else f"proof {view.last_proof.kind.value}"
            self.examples.append(f"{view.token[:12]}.. epoch {view.epoch}, {proof}, {how}: {view}")
