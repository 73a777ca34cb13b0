"""What goes wrong between a trader and the order desk: answers and requests that are lost or late, refusals, no match.

Pure and seeded: each call draws its fate here, :class:`~polymirror.simulator.orders.desk.OrderDesk` acts on it. The
dangerous ones are those after which a trader cannot know what became of an order; it must look it up and must not
send it again. Refusals mean that an order was certainly not accepted. The faults of books and feeds are elsewhere.
"""

from __future__ import annotations

import random
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from attrs import Attribute

RETRY_AFTER_SECONDS: Final = 1

MAX_LONG_MS: Final = 86_400_000
"""A day: no lag and no refusal lasts longer."""

UNAVAILABLE: Final = "Trading is currently disabled. Check polymarket.com for updates"


class Fate(Enum):
    """What happens to one call."""

    NONE = "none"
    ANSWER_LOST = "answer_lost"
    """It is processed, and nobody ever hears of it."""
    REQUEST_LOST = "request_lost"
    """It is never processed, and nobody hears of that either."""
    REQUEST_LATE = "request_late"
    """There is no answer, and it is processed some time later, perhaps after somebody looked for it."""
    TOO_EARLY = "too_early"
    """425: the matching engine is restarting (protocol.md 7; the venue's page on its matching engine)."""
    TOO_MANY = "too_many"
    """429, half of the time with the seconds to wait."""
    UNAVAILABLE = "unavailable"
    """503, with the venue's text or a page of its front server."""
    ANSWER_LATE = "answer_late"
    """It is processed at once, and the answer takes its time."""
    TWICE = "twice"
    """It arrives twice, as from a front server that tries again; the second answer is the one that is heard."""
    POST_ONLY = "post_only"
    """503 with the code ``post_only_mode``: no order that may take is taken, though cancels are."""


POST_ONLY_MODE: Final = "post-only mode: only post-only orders and cancels are allowed"

STRANGE_WORDS: Final = ("PROCESSING", "MATCHED_NOT_BROADCASTED", "CANCELED_BY_OPERATOR: see status page", "")
"""Words for the status of an order or trade that no list of the venue's has."""


def _share(_: object, attribute: Attribute[float], value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigError(attribute.name, value, "between 0 and 1")


def _late(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 600_000:
        raise ConfigError(attribute.name, value, "a whole number between 1 and 600000 milliseconds")


def _long(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_LONG_MS:
        raise ConfigError(attribute.name, value, f"a whole number between 0 and {MAX_LONG_MS} milliseconds")


@frozen(kw_only=True)
class OrderFaultRates:
    """The share of calls that meet each fault, 0 to 1. Those that change something draw from the first nine."""

    answer_lost: float = field(default=0.0, validator=_share)
    request_lost: float = field(default=0.0, validator=_share)
    request_late: float = field(default=0.0, validator=_share)
    too_early: float = field(default=0.0, validator=_share)
    too_many: float = field(default=0.0, validator=_share)
    unavailable: float = field(default=0.0, validator=_share)
    answer_late: float = field(default=0.0, validator=_share)
    twice: float = field(default=0.0, validator=_share)
    post_only: float = field(default=0.0, validator=_share)
    reads: float = field(default=0.0, validator=_share)
    """The share of look-ups that are lost or refused, in equal parts."""
    unmatched: float = field(default=0.0, validator=_share)
    """The share of accepted orders that find no match, whatever the book says."""
    late_ms: int = field(default=3_000, validator=_late)
    """How late a late request or answer is at most."""
    null_lookups: float = field(default=0.0, validator=_share)
    """The share of look-ups of one order that are answered by ``null``, though it is there."""
    strange_words: float = field(default=0.0, validator=_share)
    """The share of orders and trades in answers, new ones included, whose status is a word that nobody knows."""
    stale_balances: float = field(default=0.0, validator=_share)
    """The share of looks at a balance that show what the last look showed."""
    failed_trades: float = field(default=0.0, validator=_share)
    """The share of matched orders whose trades fail on the chain."""
    fail_ms: int = field(default=120_000, validator=_long)
    """How long after its match such a trade fails."""
    lag_ms: int = field(default=0, validator=_long)
    """How old everything is that look-ups and lists of orders and trades show."""
    redeem_after_ms: int = field(default=0, validator=_long)
    """How long after the first try a resolved market is not redeemed yet."""

    def __attrs_post_init__(self) -> None:
        total = sum(getattr(self, fate.value) for fate in Fate if fate is not Fate.NONE)
        if total > 1:
            raise ConfigError("the sum of the rates of calls", total, "at most 1")

    @classmethod
    def storm(cls) -> OrderFaultRates:
        """A quarter of all calls go wrong in some way."""
        return cls(
            answer_lost=0.08,
            request_lost=0.05,
            request_late=0.02,
            too_early=0.04,
            too_many=0.04,
            unavailable=0.02,
            reads=0.2,
            unmatched=0.05,
        )


USER_FAULTS: Final = ("missing", "duplicated", "swapped", "late", "silent")


@frozen(kw_only=True)
class UserFaultRates:
    """The share of the user channel's events that meet each fault, 0 to 1; one event meets one fault at most."""

    missing: float = field(default=0.0, validator=_share)
    """It never comes."""
    duplicated: float = field(default=0.0, validator=_share)
    """It comes twice."""
    swapped: float = field(default=0.0, validator=_share)
    """It comes after the next one, or late if there is none."""
    late: float = field(default=0.0, validator=_share)
    """It, and what follows it, comes up to ``late_ms`` late."""
    silent: float = field(default=0.0, validator=_share)
    """It and all later ones are never told on this connection, though PING is still answered."""
    late_ms: int = field(default=3_000, validator=_late)

    def __attrs_post_init__(self) -> None:
        total = sum(getattr(self, name) for name in USER_FAULTS)
        if total > 1:
            raise ConfigError("the sum of the rates of events", total, "at most 1")

    @classmethod
    def storm(cls) -> UserFaultRates:
        """A quarter of all events meet a fault."""
        return cls(missing=0.06, duplicated=0.06, swapped=0.06, late=0.06, silent=0.01)


READ_FATES: Final = (Fate.ANSWER_LOST, Fate.TOO_EARLY, Fate.TOO_MANY, Fate.UNAVAILABLE)


class OrderFaults:
    """Draws the fate of each call. ``struck`` counts what happened, by the name of the rate."""

    def __init__(self, rates: OrderFaultRates | None = None, *, seed: int = 0) -> None:
        self.rates: OrderFaultRates = rates or OrderFaultRates()
        # False: nothing goes wrong from now on, such as in the calm at the end of a run.
        self.active = True
        self.struck: Counter[str] = Counter()
        self._rng = random.Random(f"orders:{seed}")
        # What came later draws apart, so that the fates of calls stay those of their seed.
        self._more = random.Random(f"more of orders:{seed}")
        self._weights: dict[str, Any] = asdict(self.rates)

    def of_change(self) -> Fate:
        """The fate of a call that changes something: an order, a redemption."""
        drawn = self._rng.random()
        if not self.active:
            return Fate.NONE
        for fate in Fate:
            if fate is Fate.NONE:
                continue
            drawn -= self._weights[fate.value]
            if drawn < 0:
                self.struck[fate.value] += 1
                return fate
        return Fate.NONE

    def of_read(self) -> Fate:
        """The fate of a look-up."""
        drawn, which = self._rng.random(), self._rng.choice(READ_FATES)
        if not self.active or drawn >= self.rates.reads:
            return Fate.NONE
        self.struck["reads"] += 1
        return which

    def dooms(self) -> bool:
        """Whether an order that is accepted now will find no match."""
        doomed = self._rng.random() < self.rates.unmatched and self.active
        if doomed:
            self.struck["unmatched"] += 1
        return doomed

    def strikes(self, name: str) -> bool:
        """Whether the fault of this rate strikes now."""
        rate: float = getattr(self.rates, name)
        struck = bool(rate) and self._more.random() < rate and self.active
        if struck:
            self.struck[name] += 1
        return struck

    def word(self, status: str) -> str:
        """The status that an answer states: the true one, as a rule."""
        return self._more.choice(STRANGE_WORDS) if self.strikes("strange_words") else status

    @property
    def lag_ms(self) -> int:
        """How old what look-ups show is now."""
        return self.rates.lag_ms if self.active else 0

    def late_ms(self) -> int:
        """How late a late request or answer is, in milliseconds."""
        return self._rng.randint(1, self.rates.late_ms)

    def refusal(self, fate: Fate) -> Answer:
        """The answer to a call with one of the fates that refuse it."""
        if fate is Fate.TOO_EARLY:
            return Answer(425, '{"error":"Too Early"}')
        if fate is Fate.POST_ONLY:
            return Answer(503, f'{{"error":"{POST_ONLY_MODE}","code":"post_only_mode"}}')
        if fate is Fate.TOO_MANY:
            waits = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if self._rng.random() < 0.5 else ()
            return Answer(429, '{"error":"Too Many Requests"}', waits)
        if self._rng.random() < 0.5:
            return Answer(503, "<html><body><h1>503 Service Unavailable</h1></body></html>", content_type="text/html")
        return Answer(503, f'{{"error":"{UNAVAILABLE}"}}')
