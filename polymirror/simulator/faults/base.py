"""What goes wrong between the venue and a client: when a fault strikes, and the base of all faults.

A fault is a small seeded object that changes what passes by: the frames of a connection, the answer
to a call, an attempt to connect, or the exchange itself. Faults are pure, so the real sockets of the
app and a network under a virtual clock use the same ones. The faults themselves are listed in
:mod:`polymirror.simulator.faults.catalogue`; :class:`~polymirror.simulator.faults.line.FaultLine` applies them.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from typing import TYPE_CHECKING, ClassVar, Final

from attrs import define, field, frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.frames import Answer, Call, Frame, Item

FOREVER_MS = 2**62

MAX_HELD = 10_000
"""A fault keeps no more items back than this on one connection; one more and all of them pass."""


def _check_share(_self: object, _attribute: object, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError("share", value, "between 0 and 1 of the chances")


@frozen(kw_only=True)
class Plan:
    """When, where and how often a fault strikes."""

    share: float = field(default=1.0, validator=_check_share)
    """The probability at each chance: each frame, call or moment it could change."""
    start_ms: int = 0
    """No fault before this exchange time in Unix milliseconds."""
    end_ms: int = FOREVER_MS
    """No new fault at or after this exchange time."""
    length_ms: int = 2_000
    """How long one occurrence lasts, or how long something is held back, in milliseconds."""
    tokens: frozenset[str] = frozenset()
    """Only frames and calls about these tokens; empty: all."""


@frozen
class Served:
    """An old state of a token that was given out as if it were the present one."""

    at_ms: int
    """When it was given out."""
    since_ms: int
    """From when it was."""
    stamp_ms: int
    """The exchange time that it states."""


MAX_SERVED: Final = 16
"""Newest old states of each token that are noted."""


class Servings:
    """The old states that were given out, by token: the newest of each."""

    def __init__(self) -> None:
        self._served: defaultdict[str, deque[Served]] = defaultdict(lambda: deque(maxlen=MAX_SERVED))

    def note(self, token: str, served: Served) -> None:
        """One is given out."""
        self._served[token].append(served)

    def newest(self, token: str, until_ms: float = math.inf) -> Served | None:
        """Return the newest that was given out by then; None: none was."""
        return next((each for each in reversed(self._served.get(token, ())) if each.at_ms <= until_ms), None)


@define(eq=False)
class Spell:
    """One occurrence that lasts, on one connection."""

    until_ms: int
    # What it is about: a token, a market, or several, as the fault understands it.
    subject: str = ""
    began_ms: int = 0
    # What the fault keeps back: when it is let go at the latest, and what it is.
    held: list[tuple[int, Item]] = field(factory=list)
    # Whatever the fault counts during it.
    count: int = 0


@define(eq=False)
class Link:
    """One connection, as faults see it."""

    number: int
    # The occurrences that last on this connection, or still hold something back.
    spells: dict[Fault, Spell] = field(factory=dict)
    # True once the connection is cut: nothing passes any more.
    dead: bool = False


class Fault:
    """The base of all faults: passes everything on unchanged.

    Subclasses have an ``id`` and change what passes by; each occurrence counts in ``injected``. Each
    has randomness of its own, so leaving one out does not change what the others draw.
    """

    id: ClassVar[str] = ""
    default_share: ClassVar[float] = 0.01
    default_length_ms: ClassVar[int] = 2_000
    hash_visible: ClassVar[bool] = False
    """Whether a wrong book caused by it shows in the hash of the next delta of its token."""
    over_sockets: ClassVar[bool] = True
    """Whether it does the same over the real sockets of the embedded venue as under a virtual clock."""
    storm_lengths_ms: ClassVar[tuple[int, ...]] = (200, 1_000, 3_000, 8_000)
    """How long one occurrence may last in a storm of the torture."""
    heal_seconds: ClassVar[float | None] = None
    """Within how many seconds of its end books are readable again, where a client cannot see that it is over;
    ``None``: it can, or nothing of it lasts."""
    from_the_start: ClassVar[bool] = False
    """Whether it is there from the start of a world to its end, or not at all."""

    def __init__(self, plan: Plan | None = None, *, seed: int = 0) -> None:
        self._plan = plan or Plan(share=self.default_share, length_ms=self.default_length_ms)
        self.rng: random.Random = random.Random(f"{self.id}:{seed}")
        self.injected: int = 0
        # How many chances pass before it strikes. Drawn at once, so that a chance costs a subtraction.
        self.gap: int = self._draw_gap()
        # The exchange it acts on, for the few faults that need one.
        self.exchange: Exchange | None = None

    @property
    def plan(self) -> Plan:
        """When, where and how often it strikes. May be replaced at any time."""
        return self._plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        self._plan = plan
        self.gap = self._draw_gap()

    @property
    def max_delay_ms(self) -> int:
        """The longest delay it adds to data on the way, or the longest staleness of a REST answer."""
        return 0

    # What a fault may change.

    def attach(self, exchange: Exchange) -> None:
        """From now on it belongs to this exchange."""
        self.exchange = exchange

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        """What arrives of these items on this connection. Called with none when held ones are due."""
        del link, now_ms
        return items

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """What arrives of this answer."""
        del call, now_ms
        return answer

    def refuses(self, now_ms: int) -> bool:
        """Whether an attempt to connect fails."""
        del now_ms
        return False

    # When it strikes.

    def is_awake(self, now_ms: int) -> bool:
        """Whether its plan lets it strike at this time."""
        return self._plan.start_ms <= now_ms < self._plan.end_ms

    def is_due(self, now_ms: int) -> bool:
        """Pass one chance; whether it is the one to take. It stays due until :meth:`strike`."""
        if not self.is_awake(now_ms):
            return False
        if self.gap > 0:
            self.gap -= 1
            return False
        return True

    def strike(self) -> None:
        """Take a chance: count it, and draw how many pass before the next one."""
        self.injected += 1
        self.gap = self._draw_gap()

    def strikes(self, now_ms: int) -> bool:
        """Whether this chance is taken; if so, count it."""
        if not self.is_due(now_ms):
            return False
        self.strike()
        return True

    def concerns(self, frame: Frame) -> bool:
        """Whether the plan is about a token of this frame."""
        tokens = self._plan.tokens
        return not tokens or frame.token in tokens or any(token in frame.text for token in tokens)

    def _draw_gap(self) -> int:
        share, draw = self._plan.share, self.rng.random()
        if share <= 0:
            return FOREVER_MS
        return 0 if share >= 1 else int(math.log1p(-draw) / math.log1p(-share))

    # What lasts.

    def lasting(self, link: Link, now_ms: int) -> Spell | None:
        """The occurrence that still lasts on this connection."""
        spell = link.spells.get(self)
        if spell is None or now_ms < spell.until_ms:
            return spell
        if not spell.held:
            del link.spells[self]
        return None

    def begin(self, link: Link, now_ms: int, subject: str = "", *, length_ms: int | None = None) -> Spell:
        """Start an occurrence that lasts ``plan.length_ms`` unless told otherwise."""
        length = self._plan.length_ms if length_ms is None else length_ms
        spell = link.spells[self] = Spell(now_ms + length, subject, now_ms)
        return spell

    def hold(self, link: Link, item: Item, until_ms: int) -> None:
        """Keep an item back on this connection until then."""
        spell = link.spells.get(self)
        if spell is None:
            spell = link.spells[self] = Spell(0)
        spell.held.append((until_ms, item))

    def release(self, link: Link, now_ms: int) -> list[Item]:
        """What was held back on this connection and is due."""
        spell = link.spells.get(self)
        if spell is None or not spell.held:
            return []
        held = spell.held
        if len(held) <= MAX_HELD:
            spell.held = [entry for entry in held if entry[0] > now_ms]
            held = [entry for entry in held if entry[0] <= now_ms]
        else:
            spell.held = []
        if not spell.held and now_ms >= spell.until_ms:
            del link.spells[self]
        return [item for _, item in held]

    def release_all(self, link: Link) -> list[Item]:
        """What was held back on this connection, due or not; the occurrence is over."""
        spell = link.spells.pop(self, None)
        return [] if spell is None else [item for _, item in spell.held]


class ClientFault(Fault):
    """The base of what goes wrong in the client's own process, not on the way to it.

    The world or the shell that runs the client applies it; nothing on the wire changes.
    """

    over_sockets: ClassVar[bool] = False

    def stall_ms(self, now_ms: int) -> int:
        """For how long the client does nothing from now on, in milliseconds. One call is one chance."""
        del now_ms
        return 0

    def sleep_ms(self, now_ms: int) -> int:
        """For how long the client and its monotonic clock stand still. One call is one chance."""
        del now_ms
        return 0
