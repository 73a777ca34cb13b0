"""A consumer's side of one relay: its books, its clock, and whether it still speaks. Pure.

A link takes frames and the time, and says what to send. Each book of it is believed while the relay says LIVE, the copy
is whole, the relay's clock is known, and something about that very book left the relay no longer than
:data:`SILENCE` ago: a relay that is silent, late or behind is refused as the venue would be. Times are this host's
clock in seconds, unless said.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from polymirror.core.states import BookState, Reason
from polymirror.errors import DecodeError
from polymirror.relay.copy import NEVER, Copy
from polymirror.relay.offset import Offset
from polymirror.relay.recent import Said
from polymirror.relay.wire import Ask, Beat, Frame, Gone, Markets, Pong, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.relay.recent import Recent
    from polymirror.relay.wire import Format, Listed

SILENCE: Final = 1.75
"""Seconds after which a book is not believed, if nothing newer about it left the relay: three beats and a bit."""

PING_EVERY: Final = 1.0

ASK_AGAIN: Final = 1.0
"""Seconds after which a whole book that was asked for is asked for again; from the third time on twice as many each."""

ASK_SELDOM: Final = 16.0
"""No more than this."""

ASK_MOST: Final = 100
"""Whole books that are asked for and have not come: no more are asked for until half of them have. So a relay that
everybody has come back to sends what can be taken, and nothing twice."""

ASK_GONE: Final = 5.0
"""The same for a token that the relay does not carry."""

MAX_PINGS: Final = 8
"""Pings whose answers may still come."""

MAX_RUNS: Final = 16
"""Earlier runs of a relay of which late frames are known."""


class Standing(NamedTuple):
    """How a book stands with one relay."""

    state: BookState
    reason: Reason
    why: str = ""


class Link:
    """One relay. ``name`` is what people are told; ``format_`` how it speaks."""

    def __init__(self, name: str, format_: Format = "msgpack") -> None:
        self.name = name
        self.format: Format = format_
        self.offset: Offset = Offset()
        self.is_open: bool = False
        # Why it is not, or that nothing has come yet.
        self.trouble: str = "not connected yet"
        self.counts: Counter[str] = Counter()
        # The markets as the relay lists them; None: it has not said.
        self.markets: tuple[Listed, ...] | None = None
        # Markets that it carries beside them, and cannot list.
        self.left_out: int = 0
        self._newly_listed = False
        # The run of the relay that speaks; "": none has yet.
        self.relay: str = ""
        self._runs: list[str] = []
        # When it spoke last.
        self._spoke: float = NEVER
        self._copies: dict[str, Copy] = {}
        self._lists = False
        # When each token's whole book is to be asked for; in no order.
        self._wants: dict[str, float] = {}
        # When those were asked for that may still come, the longest ago first; and how often.
        self._asked: dict[str, float] = {}
        self._tries: Counter[str] = Counter()
        self._drops: list[str] = []
        self._list_due = False
        # When the newest of its frames left, by its clock.
        self._newest: float = NEVER
        self._pings: dict[int, float] = {}
        self._pinged = 0
        self._ping_at = float("inf")
        # What it said last; None: nobody wants to know.
        self.recent: Recent | None = None
        # Tokens about which something may be new.
        self._touched: dict[str, None] = {}

    # ---- What is wanted ----------------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that are followed."""
        return tuple(self._copies)

    @property
    def lists(self) -> bool:
        """Whether the relay is to say what it carries."""
        return self._lists

    def want(self, tokens: Iterable[str], now: float) -> None:
        """Follow these tokens."""
        for token in tokens:
            if token not in self._copies:
                self._copies[token] = Copy(token)
                self._wants[token] = now

    def drop(self, tokens: Iterable[str]) -> None:
        """Follow these no more."""
        for token in tokens:
            if self._copies.pop(token, None) is not None:
                self._answered(token)
                self._touched.pop(token, None)
                if self.is_open:
                    self._drops.append(token)

    def list_markets(self) -> None:
        """Have the relay say what it carries, from now on."""
        self._lists = self._list_due = True

    # ---- What comes --------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The relay can be spoken to."""
        self.is_open, self.trouble = True, ""
        self._list_due = self._lists
        self._pings.clear()
        self._ping_at = now
        self._drops.clear()
        self._want_all(now)

    def closed(self, why: str) -> None:
        """The relay cannot be spoken to, or what it says may have been missed: nothing of it is believed."""
        if self.is_open:
            self.counts["lost connections"] += 1
        self.is_open, self.trouble = False, why
        self._ping_at = float("inf")
        self._break_all(Reason.DISCONNECT, why)

    def received(self, data: bytes, now: float) -> None:
        """Take a frame as it came; one that cannot be read may have been about any book."""
        if not self.is_open:
            self.counts["after the end"] += 1
            return
        try:
            frame = decode(Frame, data, self.format)
        except DecodeError as error:
            self.counts["malformed"] += 1
            self._break_all(Reason.DECODE_ERROR, str(error))
            self._want_all(now)
            return
        self.take(frame, now)

    def take(self, frame: Frame, now: float) -> None:
        """Take a frame."""
        pong = next((item for item in frame.items if isinstance(item, Pong)), None)
        asked = None if pong is None else self._pings.pop(pong.id, None)
        if frame.relay != self.relay and not self._is_new(frame.relay, now, answers=asked is not None):
            self.counts["of an earlier run"] += 1
            return
        self._spoke = now
        low = self.offset.low(now)
        heard = self.offset.heard(frame.sent, now) if asked is None else self.offset.answered(asked, frame.sent, now)
        if not heard:
            # What was dated before is dated by a clock that is no more.
            self.counts["clock steps"] += 1
            self._ping_at = now
            self._newest = NEVER
            self._break_all(Reason.CLOCK_STEP, "the relay's clock, or this host's, was set or stood still")
            self._want_all(now)
        elif (better := self.offset.low(now)) is not None and (low is None or better > low):
            # What seemed too old, or was not dated at all, may be believed from here on.
            self._touched.update(dict.fromkeys(self._copies))
        self._newest = max(self._newest, frame.sent)
        for item in frame.items:
            if isinstance(item, Beat):
                self._take(item, frame.sent, now, low)
            elif isinstance(item, Gone):
                self._gone(item.token, frame.sent, now)
            elif isinstance(item, Markets):
                self.markets, self._newly_listed = tuple(item.markets), True
                self.left_out = item.left_out

    def stepped(self, now: float) -> None:
        """This host's own clock is another one from ``now`` on. The copies are whole: they are dated anew."""
        self.counts["clock steps"] += 1
        self.offset = Offset()
        self._spoke = now
        self._pings.clear()
        self._touched.update(dict.fromkeys(self._copies))
        if self.is_open:
            self._ping_at = now
            # What was to be asked for at some time was so by a clock that is no more.
            self._wants = {token: min(due, now) for token, due in self._wants.items()}
            self._asked.clear()

    def _is_new(self, relay: str, now: float, *, answers: bool) -> bool:
        """Whether another run of the relay speaks than before; of an earlier one only what is late comes.

        One that ``answers`` a ping of now, while the other is silent, is no earlier one: what was late came from that.
        """
        if relay in self._runs and not (answers and now - self._spoke > SILENCE):
            return False
        if self.relay:
            self.counts["restarts"] += 1
            self._runs = [*(run for run in self._runs if run != relay), self.relay][-MAX_RUNS:]
            self.offset = Offset()
            self._pings.clear()
            self._ping_at = now
            self._newest = NEVER
            self._list_due = self._lists
            self._copies = {token: Copy(token, copy.known_ms) for token, copy in self._copies.items()}
            self._touched.update(dict.fromkeys(self._copies))
            self._want_all(now)
        self.relay = relay
        return True

    def _take(self, item: Beat, sent: float, now: float, low: float | None) -> None:
        """Take what is said of a token; ``low`` is what was known of the relay's clock before."""
        copy = self._copies.get(item.token)
        if copy is None:
            return
        if low is not None and now - copy.sent - low > SILENCE:
            copy.lapses += 1
        broken = copy.broken
        if self.recent is not None:
            self.recent.put(Said(now, sent, item))
        self._touched[item.token] = None
        if not copy.take(item, sent):
            self._answered(item.token)
        elif broken is None and copy.broken is not None:
            self.counts["gaps" if copy.broken is Reason.GAP else "digests that differ"] += 1
            self._wants[item.token] = now
        else:
            self._wants.setdefault(item.token, now)

    def _gone(self, token: str, sent: float, now: float) -> None:
        copy = self._copies.get(token)
        if copy is not None and copy.gone(sent):
            self._touched[token] = None
            self._answered(token)
            self._wants[token] = now + ASK_GONE

    def _break_all(self, reason: Reason, why: str) -> None:
        for copy in self._copies.values():
            copy.breaks(reason, why)
        self._touched.update(dict.fromkeys(self._copies))

    def _want_all(self, now: float) -> None:
        self._wants = dict.fromkeys(self._copies, now)
        self._asked.clear()
        self._tries.clear()

    def _answered(self, token: str) -> None:
        self._wants.pop(token, None)
        self._asked.pop(token, None)
        self._tries.pop(token, None)

    # ---- What goes ---------------------------------------------------------------------------------

    def asks(self, now: float) -> Ask | None:
        """Return what to send to the relay now; None: nothing."""
        if not self.is_open:
            return None
        ping = None
        if now >= self._ping_at:
            self._ping_at = now + PING_EVERY
            self._pinged += 1
            ping = self._pinged
            self._pings[ping] = now
            while len(self._pings) > MAX_PINGS:
                del self._pings[next(iter(self._pings))]
            self._want_silent(now)
        want = self._next_wants(now)
        drop, self._drops = self._drops, []
        lists, self._list_due = self._list_due, False
        return Ask(ping=ping, want=want, drop=drop, list=lists) if want or drop or lists or ping else None

    def _next_wants(self, now: float) -> list[str]:
        """Return what is to be asked for now, and when each of it is to be asked for again."""
        while self._asked and (oldest := next(iter(self._asked))) and self._asked[oldest] + ASK_AGAIN <= now:
            del self._asked[oldest]
        room = ASK_MOST - len(self._asked)
        if room < ASK_MOST // 2:
            return []
        want = list(islice((token for token, due in self._wants.items() if due <= now), room))
        for token in want:
            self._tries[token] += 1
            # Behind those that were asked for less often.
            del self._wants[token]
            self._wants[token] = now + min(ASK_AGAIN * 2.0 ** max(0, min(self._tries[token], 9) - 2), ASK_SELDOM)
            self._asked.pop(token, None)
            self._asked[token] = now
        return want

    def _want_silent(self, now: float) -> None:
        """Ask again for books of which the relay says nothing, although it speaks: it may not know who wants them."""
        for token, copy in self._copies.items():
            if self._newest - copy.heard > SILENCE:
                self._wants.setdefault(token, now)

    def next_ask(self) -> float:
        """Return when :meth:`asks` has something to say at the latest; infinity: never."""
        if not self.is_open:
            return float("inf")
        wants = min(self._wants.values(), default=float("inf"))
        if len(self._asked) > ASK_MOST - ASK_MOST // 2:
            wants = max(wants, next(iter(self._asked.values())) + ASK_AGAIN)
        return min(self._ping_at, wants)

    def take_markets(self) -> tuple[Listed, ...] | None:
        """Return the markets if the relay has listed them since this was asked last; else None."""
        new, self._newly_listed = self._newly_listed, False
        return self.markets if new else None

    def touched(self) -> list[str]:
        """Drain the tokens about which something may be new."""
        tokens = list(self._touched)
        self._touched.clear()
        return tokens

    # ---- What is believed --------------------------------------------------------------------------

    def copy(self, token: str) -> Copy | None:
        """Return the copy of a token; None: it is not followed, or nothing was told of it."""
        copy = self._copies.get(token)
        return None if copy is None or copy.told is None else copy

    def known_ms(self, token: str) -> int:
        """Return the time of the venue that the relay told of a token last, in ms since 1970; 0: none."""
        copy = self._copies.get(token)
        return 0 if copy is None else copy.known_ms

    def standing(self, token: str, now: float) -> Standing:
        """Return whether a book may be believed, and why not."""
        copy = self.copy(token)
        if copy is None:
            followed = self._copies.get(token)
            why = self.trouble or (followed.why if followed is not None else "") or "no book of it has come yet"
            return Standing(BookState.UNPRIMED, Reason.TRACKED, why)
        if copy.state is not BookState.LIVE:
            return Standing(copy.state, copy.reason or Reason.DISCONNECT, copy.why)
        return self._doubt(copy, now) or Standing(BookState.LIVE, Reason.PROVEN)

    def _doubt(self, copy: Copy, now: float) -> Standing | None:
        """Return why a book is not believed although the relay said that it is LIVE; None: it is."""
        low, proof = self.offset.low(now), copy.proof
        silent = 0.0 if low is None else now - copy.sent - low
        if copy.broken is not None:
            reason, why = copy.broken, copy.why
        elif low is None:
            reason, why = Reason.CLOCK_STEP, "the relay's clock is not known"
        elif silent > SILENCE:
            reason, why = Reason.DISCONNECT, f"nothing about it left the relay for {silent:.3f} s"
        elif proof is None or proof.as_of is None:
            reason, why = Reason.STALE, "the relay has not said when it was proven"
        else:
            return None
        return Standing(BookState.SUSPECT, reason, why)

    def is_readable(self, token: str, now: float) -> bool:
        """Whether the relay itself would still read a LIVE book, for all that it has said."""
        copy, low = self.copy(token), self.offset.low(now)
        if copy is None or low is None or copy.proof is None or copy.proof.until is None:
            return False
        return now <= copy.proof.until + low

    def as_of(self, token: str, now: float) -> float | None:
        """Return the latest moment for which a copy is proven for certain; None: it is not."""
        copy, low = self.copy(token), self.offset.low(now)
        if copy is None or low is None or copy.proof is None or copy.proof.as_of is None:
            return None
        # No proof is younger than the word of it.
        return min(copy.proof.as_of, copy.sent) + low
