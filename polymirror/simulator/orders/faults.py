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


def _share(_: object, attribute: Attribute[float], value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ConfigError(attribute.name, value, "between 0 and 1")


def _late(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 600_000:
        raise ConfigError(attribute.name, value, "a whole number between 1 and 600000 milliseconds")


@frozen(kw_only=True)
class OrderFaultRates:
    """The share of calls that meet each fault, 0 to 1. Those that change something draw from the first six."""

    answer_lost: float = field(default=0.0, validator=_share)
    request_lost: float = field(default=0.0, validator=_share)
    request_late: float = field(default=0.0, validator=_share)
    too_early: float = field(default=0.0, validator=_share)
    too_many: float = field(default=0.0, validator=_share)
    unavailable: float = field(default=0.0, validator=_share)
    reads: float = field(default=0.0, validator=_share)
    """The share of look-ups that are lost or refused, in equal parts."""
    unmatched: float = field(default=0.0, validator=_share)
    """The share of accepted orders that find no match, whatever the book says."""
    late_ms: int = field(default=3_000, validator=_late)
    """How late a late request is at most."""

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


READ_FATES: Final = (Fate.ANSWER_LOST, Fate.TOO_EARLY, Fate.TOO_MANY, Fate.UNAVAILABLE)


class OrderFaults:
    """Draws the fate of each call. ``struck`` counts what happened, by the name of the rate."""

    def __init__(self, rates: OrderFaultRates | None = None, *, seed: int = 0) -> None:
        self.rates = rates or OrderFaultRates()
        # False: nothing goes wrong from now on, such as in the calm at the end of a run.
        self.active = True
        self.struck: Counter[str] = Counter()
        self._rng = random.Random(f"orders:{seed}")
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

    def late_ms(self) -> int:
        """How late a late request is, in milliseconds."""
        return self._rng.randint(1, self.rates.late_ms)

    def refusal(self, fate: Fate) -> Answer:
        """The answer to a call with one of the fates that refuse it."""
        if fate is Fate.TOO_EARLY:
            return Answer(425, '{"error":"Too Early"}')
        if fate is Fate.TOO_MANY:
            waits = (("Retry-After", str(RETRY_AFTER_SECONDS)),) if self._rng.random() < 0.5 else ()
            return Answer(429, '{"error":"Too Many Requests"}', waits)
        if self._rng.random() < 0.5:
            return Answer(503, "<html><body><h1>503 Service Unavailable</h1></body></html>", content_type="text/html")
        return Answer(503, f'{{"error":"{UNAVAILABLE}"}}')
