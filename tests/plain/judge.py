"""Holds every granted read of an engine against the plain venue's truth, quickly.

A view claims that its levels were the venue's no longer ago than ``verified_age``. Excused is the link's own delay for
honest messages, and what cannot be known, each under its name: see :data:`EXCUSES`. Levels that never were are wrong,
and so are levels older than something newer that the engine had heard longer than ``verified_age`` ago.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from polymirror.errors import NotLive
from tests.plain.venue import levels_of

if TYPE_CHECKING:
    from tests.plain.driver import Driver
    from tests.plain.venue import Levels

AGES = (None, 1.0, 0.25)
FULL_AGE = 15.0
MS = 0.001
DRIFT = 50e-6
"""How far clocks may drift apart, in seconds a second."""

MENDED = 1.0
"""Seconds within which a mirror has used or doubted what it heard."""

UNHEARD = "a change that was not heard, and an answer from before it"
CONSTANT = "a constant delay that no frame was quicker than, inside the clock's interval"
SLOW_CLOCK = "clocks drift apart"
MISDATED = "a message that states a time in the future, and arrived late"
EXCUSES = (UNHEARD, CONSTANT, SLOW_CLOCK, MISDATED)

MAX_KEPT = 5


@define(eq=False)
class Parcel:
    """A text on its way to the engine, with what it is about: token -> number of the state that it tells of."""

    text: str
    about: dict[str, int]
    sent: float
    asked: float | None = None
    """When the question was sent that it answers; None: nobody asked."""
    future: bool = False
    """It states a time in the future."""


class Answer(list):
    """Books that REST answered with, in the same way."""

    about: dict[str, int]
    asked: float


@define(slots=True)
class Known:
    """What the engine was told of one token, and the levels read last."""

    heard: dict[int, float] = Factory(dict)
    """State -> when the engine first heard of it."""
    newest: int = -1
    asked: dict[int, float] = Factory(dict)
    """State -> when the latest question was sent that was answered with it."""
    misdated: dict[int, float] = Factory(dict)
    """State -> how long its message was under way, for messages that state a time in the future."""
    stated: dict[int, float] = Factory(dict)
    """State -> which time of the venue it was, by whatever told of it: a change, a book or an answer."""
    proof: Any = None
    """The proof that was read last."""
    quickest: float = 0.0
    """How quick the quickest message had been when it was read first: what came later moves no proof."""
    shown: Any = None
    levels: Levels | None = None
    index: int | None = None
    seen: int = 0


class Judge:
    """Reads all tokens of a driver with several ages, and counts what it finds."""

    def __init__(self, driver: Driver, *, honest_delay: float) -> None:
        self.driver = driver
        self.honest_delay = honest_delay
        self.granted = self.refused = self.never_true = 0
        self.excused: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.known = {token: Known() for token in driver.market_of}
        self._quickest = float("inf")
        self._truths = {token: driver.truth(token) for token in driver.market_of}

    # ---- What the engine hears -------------------------------------------------------------------------

    def hears(self, payload: Any) -> None:
        """Note what a delivered payload told the engine; other payloads say nothing that is true."""
        if not isinstance(payload, (Parcel, Answer)):
            return
        now = self.driver.now
        for token, index in payload.about.items():
            known = self.known[token]
            known.heard.setdefault(index, now)
            known.newest = max(known.newest, index)
            if payload.asked is not None:
                known.asked[index] = max(payload.asked, known.asked.get(index, payload.asked))
            elif payload.future:
                known.misdated[index] = now - payload.sent
                stamp = int(json.loads(payload.text)["timestamp"])
                known.stated[index] = (stamp - self.driver.market_of[token].base_ms) / 1000
            if (stated := self._truths[token].stated.get(index)) is not None:
                known.stated[index] = stated
        if payload.asked is None and not payload.future and payload.about:
            self._quickest = min(self._quickest, now - payload.sent)

    # ---- What is read ----------------------------------------------------------------------------------

    def read_all(self) -> None:
        live, mono = self.driver.engine.live, self.driver.mono
        for token, known in self.known.items():
            for limit in AGES:
                try:
                    view = live(token, mono, limit)
                except NotLive:
                    # A smaller age would be refused all the more.
                    self.refused += 1
                    break
                self.granted += 1
                self.judge(token, known, view, limit)

    def judge(self, token: str, known: Known, view: Any, limit: float | None) -> None:
        truth = self._truths[token]
        count = len(truth.states)
        if view.levels is not known.shown:
            known.shown, known.levels = view.levels, levels_of(view)
            known.index, known.seen = truth.index(known.levels), count
        elif known.seen != count:
            # The book may have become again what it was.
            known.index, known.seen = truth.index(known.levels), count
        if view.last_proof != known.proof:
            known.proof, known.quickest = view.last_proof, self._quickest
        index, claimed = known.index, view.verified_age
        if not claimed <= (FULL_AGE if limit is None else limit) + 1e-9:
            self._wrong("granted with too old a proof", token, view, limit, 0.0)
        if index is None:
            self.never_true += 1
            self._wrong(f"levels that never were, proven by {kind(view)}", token, view, limit, float("inf"))
        elif index + 1 < count:
            age = self.driver.now - truth.since[index + 1]
            if age > claimed + self.honest_delay + MS:
                self._weigh(token, known, view, limit, index, age)

    def _weigh(self, token: str, known: Known, view: Any, limit: float | None, index: int, age: float) -> None:
        """The levels are older than the view says. Could the engine have known?"""
        now, claimed = self.driver.now, view.verified_age
        as_of, error = now - claimed, age - claimed
        since = self._truths[token].since
        newest = since[known.newest]
        if (
            error <= self._noted(token, known.misdated, index) + MS
            or newest <= self._noted(token, known.stated, index) + MS
        ):
            # By its own time it came after what was heard.
            self.excused[MISDATED] += 1
            return
        newer = [state for state in known.heard if state > index]
        if newer and min(known.heard[state] for state in newer) < as_of - MS:
            self._wrong(f"older than what was heard, proven by {kind(view)}", token, view, limit, age)
            return
        last = max((state for state in known.heard if state <= index), default=0)
        came = min((since[state] for state in newer), default=now)
        soon = min((known.heard[state] for state in newer), default=now) >= now - MENDED
        if soon and came >= as_of - MS and self._noted(token, known.asked, index, last) >= as_of - MS:
            # What was heard since is newer than the question that was answered so.
            self.excused[UNHEARD] += 1
            return
        interval = self.clock_interval(view)
        if error <= known.quickest + MS and (interval is None or error <= interval + MS):
            self.excused[CONSTANT] += 1
        elif error <= self.honest_delay + MS + DRIFT * now:
            self.excused[SLOW_CLOCK] += 1
        else:
            self._wrong(f"older than it says, proven by {kind(view)}", token, view, limit, age)

    def _noted(self, token: str, noted: dict[int, float], index: int, first: int = 0) -> float:
        """Return the most that was noted of these levels, from state ``first`` on: a book may become what it was."""
        states = self._truths[token].states
        same = (value for state, value in noted.items() if state >= first and states[state] == states[index])
        return max(same, default=-1.0)

    def clock_interval(self, view: Any) -> float | None:
        clock = getattr(self.driver.engine, "clock", None)
        return getattr(view, "clock_uncertainty", getattr(clock, "uncertainty", None))

    def _wrong(self, what: str, token: str, view: Any, limit: float | None, age: float) -> None:
        self.wrong[what] += 1
        if self.wrong[what] == 1 and len(self.examples) < MAX_KEPT:
            self.examples.append(
                f"at {self.driver.now:.3f} {token} (max_proof_age {limit}): {what}; last true {age:.4f} s ago, "
                f"verified_age {view.verified_age:.4f}, settled {view.settled}, epoch {view.epoch}"
            )


def kind(view: Any) -> str:
    return "nothing" if view.last_proof is None else view.last_proof.kind.name
