"""What only the simulation can know of a market's stream: what was lost on the way, what was late, what was heard.

The judge asks it when a read is not true. It keeps little: the changes that have not arrived, the delays of those
that have, and the newest frames of each market. Times are in true exchange milliseconds.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from polymirror.simulator.frames import BOOK, OPENING, PRICE_CHANGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.simulator.frames import Frame

REMEMBERED_MS = 300_000
"""A lost change and a delay are forgotten after this time."""

CLOCK_KNOWN_MS = 60_000
"""A client asks for the venue's time so often at least: what its clock was before that is known."""

MAX_HEARD = 64
"""Newest frames of a market that are kept."""

MAX_OPENINGS = 8
"""Newest answers to subscriptions that are kept."""

TOLD_MS = 5_000
"""For so long it is known when something came: a reader far away may not have been told of it."""


class Witness:
    """``link_ms`` is the latency and the jitter of the network, which is no delay."""

    def __init__(self, link_ms: int) -> None:
        self._link_ms = link_ms
        # By market: the text of each change that has not arrived, and when it was sent.
        self._missing: defaultdict[str, dict[str, int]] = defaultdict(dict)
        # By market: when a change arrived, and by how much it was late.
        self._delays: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
        # By market: when each change of late came, and when it was sent.
        self._came: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
        # By how much the quickest change of late was late when it was read, and when: least in the first of these.
        self._quickest: deque[tuple[int, int]] = deque()
        # The venue's clock, how far it is off, and when that began: what was quick before tells nothing of it.
        self._offset_ms, self._set_ms = 0, 0
        # When the newest change that was read was sent.
        self._newest_ms = 0
        # When a change was read last that something had delayed: until then, what did so was not over.
        self.delayed_ms: int = 0
        # By market: when a change was read, and how much younger than it is the time that it stated made it.
        self._misdated: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
        # How far ahead of true time the venue stated it, when that was read; least in the last of these.
        self._ahead: deque[tuple[int, int]] = deque()
        # By market: when a frame was read, and the frame.
        self._heard: defaultdict[str, deque[tuple[int, Frame]]] = defaultdict(lambda: deque(maxlen=MAX_HEARD))
        self._openings: deque[tuple[int, Frame]] = deque(maxlen=MAX_OPENINGS)
        # By token: when a book that answered a call was read, and its exchange time, if the exchange really had it: as
        # far as none before stated that time or a later one.
        self._answered: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)

    def sent(self, frames: Iterable[Frame], now_ms: int, offset_ms: int = 0) -> None:
        """The venue sends these frames, whoever receives them; its clock is off by so much."""
        if offset_ms != self._offset_ms:
            self._offset_ms, self._set_ms = offset_ms, now_ms
        for frame in frames:
            if frame.kind != PRICE_CHANGE:
                continue
            missing = self._missing[frame.market]
            missing[frame.text] = now_ms
            while (oldest := next(iter(missing))) and missing[oldest] < now_ms - REMEMBERED_MS:
                del missing[oldest]

    def arrived(self, frame: Frame, arrived_ms: int, now_ms: int) -> None:
        """The client reads a frame that arrived some time before, if it was busy since."""
        if frame.kind == OPENING:
            self._openings.append((now_ms, frame))
        if frame.kind not in {PRICE_CHANGE, BOOK}:
            return
        self._heard[frame.market].append((now_ms, frame))
        sent_ms = self._missing[frame.market].pop(frame.text, None)
        if sent_ms is None:
            return
        _keep(self._came[frame.market], now_ms, sent_ms)
        if arrived_ms - sent_ms > self._link_ms:
            self.delayed_ms = now_ms
        _note(self._delays[frame.market], now_ms, arrived_ms - sent_ms - self._link_ms)
        if sent_ms >= self._set_ms > self._newest_ms:
            self._quickest.clear()
        self._newest_ms = max(self._newest_ms, sent_ms)
        if sent_ms >= self._set_ms or self._newest_ms < self._set_ms:
            _least(self._quickest, max(0, now_ms - sent_ms - self._link_ms), now_ms)
        # What it stated ahead shows only where it came before that: the rest of it makes a late frame younger.
        ahead_ms = frame.at_ms - sent_ms - self._usual_ahead(frame.at_ms - sent_ms, now_ms)
        _note(self._misdated[frame.market], now_ms, min(ahead_ms, now_ms - sent_ms))

    def _usual_ahead(self, ahead_ms: int, now_ms: int) -> int:
        """How far ahead the venue's clock was at least of late: a client that hears it on time knows of that."""
        return _least(self._ahead, ahead_ms, now_ms)

    def misdated_ms(self, market: str, since_ms: int, until_ms: int) -> int:
        """By how much a change that was read between these was younger at most by the time that it stated."""
        return max((young for at_ms, young in self._misdated[market] if since_ms <= at_ms <= until_ms), default=0)

    def added_ms(self, market: str, since_ms: int, until_ms: int) -> int:
        """The longest delay beyond the network's own of a change that was read between these, as far as it is constant.

        A delay that some change of the last minute did not have, of any market, is one that a client can know, unless
        the venue's clock was set since.
        """
        longest = max((late for at_ms, late in self._delays[market] if since_ms <= at_ms <= until_ms), default=0)
        return min(longest, self._quickest[0][1]) if self._quickest else longest

    def is_missing(self, market: str, since_ms: int, until_ms: int) -> bool:
        """Whether a change that was sent since ``since_ms`` had not arrived as it was at ``until_ms``.

        That may be :data:`TOLD_MS` ago at most.
        """
        if any(since_ms <= sent_ms <= until_ms for sent_ms in self._missing[market].values()):
            return True
        return any(at_ms > until_ms and since_ms <= sent_ms <= until_ms for at_ms, sent_ms in self._came[market])

    def answered(self, token: str, stamp_ms: int, now_ms: int) -> None:
        """The client reads a real book in the answer to a call, whatever becomes of it."""
        answers = self._answered[token]
        if not answers or stamp_ms > answers[-1][1]:
            answers.append((now_ms, stamp_ms))
            while len(answers) > 1 and answers[1][0] < now_ms - TOLD_MS:
                answers.popleft()

    def answers_later(self, tokens: Iterable[str], stamp_ms: int, until_ms: int) -> bool:
        """Whether a call was answered by then with a book of one of these that states a later exchange time."""
        answers = (answer for token in tokens for answer in self._answered[token])
        return any(at_ms <= until_ms and stated_ms > stamp_ms for at_ms, stated_ms in answers)

    def states_later(self, market: str, token: str, stamp_ms: int, until_ms: int, batch_ms: float = 0.0) -> bool:
        """Whether anything was read by then about this book that states a later exchange time.

        Changes count ``batch_ms`` after they were read. No token: whatever is said of the market.
        """
        batch_until_ms = math.ceil(until_ms - batch_ms)
        changes = (frame for at_ms, frame in self._heard[market] if at_ms <= batch_until_ms and frame.at_ms > stamp_ms)
        if any(frame.token == token or token in frame.text for frame in changes):
            return True
        openings = (frame for at_ms, frame in self._openings if at_ms <= until_ms and market in frame.text)
        books = (book for frame in openings for book in json.loads(frame.text))
        later = (book for book in books if book["market"] == market and int(book["timestamp"]) > stamp_ms)
        return any(token in {"", book["asset_id"]} for book in later)

    def heard(self, market: str, since_ms: int, until_ms: int) -> list[int]:
        """When frames of a market were read by then that state this time or a later one, as far as they are kept."""
        return [at_ms for at_ms, frame in self._heard[market] if frame.at_ms >= since_ms and at_ms <= until_ms]


def _keep(times: deque[tuple[int, int]], now_ms: int, value: int) -> None:
    """Keep a value for as long as somebody may not have been told of it."""
    times.append((now_ms, value))
    while times[0][0] < now_ms - TOLD_MS:
        times.popleft()


def _note(times: deque[tuple[int, int]], now_ms: int, by_ms: int) -> None:
    """Keep a time by which something was off, for as long as it matters."""
    if by_ms > 0:
        times.append((now_ms, by_ms))
        while times[0][0] < now_ms - REMEMBERED_MS:
            times.popleft()


def _least(values: deque[tuple[int, int]], value: int, now_ms: int) -> int:
    """Note a value; return the least of those that were noted of late."""
    while values and values[-1][1] >= value:
        values.pop()
    values.append((now_ms, value))
    while values[0][0] < now_ms - CLOCK_KNOWN_MS:
        values.popleft()
    return values[0][1]
