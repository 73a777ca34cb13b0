"""Rounds: the life of one asset's up/down markets, from the look-up before they open to their settlement.

:class:`Lifecycle` is pure: the wall clock and the venue's descriptions go in; questions to ask the venue and
events come out, and :meth:`Lifecycle.next_ms` says when it wants to be woken. :func:`keep_rounds` is the
thin shell that sleeps and asks. One lifecycle serves one asset, so that an asset that fails fails alone. What
to do about an event (to mirror a market, to trade, to redeem) is for the bot that listens.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, unique
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define, field, frozen

from bots.common.ranges import decimal_range, whole
from bots.updown.oracles.base import HIGHEST, LOWEST
from bots.updown.oracles.coherence import MAX_APART, MAX_STEP, CoherenceLimits
from bots.updown.strike import MAX_DRIFT, MAX_GAP, StrikeLimits, recognise
from polymirror.errors import ConfigError, VenueError
from polymirror.venue.windows import UTC_GRID, Window, window_at, window_slugs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from attrs import Attribute

    from polymirror.venue.market import Market
    from polymirror.venue.network import Network

MAX_ROUNDS: Final = 256
"""The most rounds of one asset that are followed at once; more means that the venue settles nothing any more."""

LONGEST_SLEEP_MS: Final = 5_000
"""The clock is looked at no less often than this, so that one which was set is noticed."""

LONGEST_GAP_MS: Final = 3_600_000
"""However long a market is not settled, the venue is asked for it this often."""

MAX_OVER: Final = 1_024
"""Windows that are remembered as settled or refused, the newest: a clock that is set back begins none again."""

SLEW_MS: Final = 1_000
"""A window that ended by the clock runs again when the clock is set back further than this before its end."""

LENGTHS: Final = {interval.value: seconds for interval, seconds in UTC_GRID.items()}
"""Seconds of the windows that may be followed."""


def _intervals(_self: object, attribute: Attribute[Any], value: object) -> None:
    good = isinstance(value, tuple) and value and len(set(value)) == len(value) and not set(value) - LENGTHS.keys()
    if not good:
        longer = "longer windows settle by the candle of another exchange, which no oracle here tells"
        raise ConfigError(attribute.name, value, f"different ones of {', '.join(LENGTHS)}, at least one; {longer}")


@frozen(kw_only=True)
class RoundSettings:
    """Which windows are followed, and when the venue is asked about them."""

    intervals: tuple[str, ...] = field(default=("15m",), validator=_intervals)
    """The lengths of the windows: 5m and 15m may run side by side."""
    lead: int = field(default=120, validator=whole(10, 3_600, "seconds"))
    """A market is looked up and mirrored this long before its window opens."""
    ask_every: int = field(default=15, validator=whole(1, 600, "seconds"))
    """Between two questions about a market that is not listed, or not settled yet."""
    settle_after: int = field(default=45, validator=whole(0, 600, "seconds"))
    """From the end of a window to the first question who won. The venue takes one to eight minutes."""
    patience: int = field(default=600, validator=whole(60, 86_400, "seconds"))
    """A market that is not settled for longer than this is told of, if something of it is held, and asked for less and
    less often, at least once an hour. The venue takes one to eight minutes (protocol.md 4.5)."""
    official_after: int = field(default=20, validator=whole(0, 600, "seconds"))
    """From the opening of a window to the first question for its official strike."""
    max_strike_gap: Decimal = field(default=MAX_GAP, validator=decimal_range("0", "0.01", "of the strike"))
    """A market whose official strike is further than this from our own tick at the boundary is not traded."""
    max_strike_drift: Decimal = field(default=MAX_DRIFT, validator=decimal_range("0", "0.1", "of the strike"))
    """The same where no tick of ours lies at the boundary, from our newest price."""
    min_strike: Decimal = field(
        default=Decimal("0.0001"), validator=decimal_range(str(LOWEST), str(HIGHEST), "dollars")
    )
    max_strike: Decimal = field(
        default=Decimal(10_000_000), validator=decimal_range(str(LOWEST), str(HIGHEST), "dollars")
    )
    """What a strike may be at all, whoever says it."""
    max_average_step: Decimal = field(default=MAX_STEP, validator=decimal_range("0.00001", "0.01", "a second"))
    """A window is traded no more once the average of its asset moves by more than this share within a second."""
    max_average_gap: Decimal = field(default=MAX_APART, validator=decimal_range("0.00001", "0.01", "of the average"))
    """The same once the average is further than this from our own mean of the prices."""

    def __attrs_post_init__(self) -> None:
        if self.min_strike > self.max_strike:
            raise ConfigError("min_strike", self.min_strike, f"no more than max_strike, {self.max_strike}")

    @property
    def coherence(self) -> CoherenceLimits:
        """What an average must be to be believed."""
        return CoherenceLimits(self.max_average_step, self.max_average_gap)

    @property
    def strikes(self) -> StrikeLimits:
        """What a strike must be to be believed."""
        return StrikeLimits(self.max_strike_gap, self.max_strike_drift, self.min_strike, self.max_strike)


@unique
class Phase(Enum):
    """Where a round stands."""

    AWAITED = "AWAITED"
    """Its market is not known yet."""
    TRACKED = "TRACKED"
    """Its market is known, and its window has not opened."""
    OPEN = "OPEN"
    """Its window runs."""
    ENDED = "ENDED"
    """Its window is over, and the winner is not known yet."""


@define(eq=False)
class Round:
    """One window of one asset. Only :class:`Lifecycle` changes it."""

    window: Window
    phase: Phase = Phase.AWAITED
    market: Market | None = None
    """Known from :attr:`Phase.TRACKED` on."""
    official: Decimal | None = None
    """The venue's own strike, which appears some time after the opening."""
    ask_at_ms: int | None = 0
    """When the venue is to be asked next; ``None``: while an answer is awaited, or there is nothing to ask."""
    adopted: bool = False
    """Followed for its settlement only, without other events: a position from an earlier run rests on it."""
    joined: bool = False
    """Its market became known after the window had opened."""
    overdue: bool = False
    """Whether it was told that nobody says who won."""

    @property
    def slug(self) -> str:
        """The market's name at the venue."""
        return self.window.slug

    @property
    def start_ms(self) -> int:
        """When the window opens, in Unix milliseconds."""
        return self.window.start * 1000

    @property
    def end_ms(self) -> int:
        """When the window is over, in Unix milliseconds."""
        return self.window.end * 1000

    @property
    def terms(self) -> Market:
        """The market of a round whose market is known. Raises LookupError before."""
        if self.market is None:
            raise LookupError(f"the market of {self.slug} is not known yet")
        return self.market


@frozen
class Ask:
    """Look the market up at the venue, and tell the answer to :meth:`Lifecycle.learn`."""

    slug: str


@frozen
class RoundListed:
    """The market is known and its settlement recognised: mirror it, its window opens soon."""

    round: Round


@frozen
class RoundStarted:
    """A window opened. ``late_ms``: from the boundary to this event, large for one that was joined under way."""

    round: Round
    late_ms: int


@frozen
class RoundEnded:
    """A window is over: nothing is bought in it, unless a clock that was wrong is set back and it starts again."""

    round: Round
    late_ms: int


@frozen
class RoundOverdue:
    """A window is over for longer than ``patience``, and the venue does not say who won. It is asked all the same."""

    round: Round


Payout = Mapping[str, Decimal]
"""What one share of each token of a decided market pays in pUSD: 1 and 0, or 0.5 for both."""


@frozen
class RoundSettled:
    """The venue decided the market: redeem, book, and mirror it no more."""

    round: Round
    payouts: Payout

    @property
    def winner(self) -> str | None:
        """The token that pays 1; ``None`` where both pay a half."""
        return next((token for token, pays in self.payouts.items() if pays == 1), None)


@frozen
class RoundSkipped:
    """A window that is not traded, and why in words."""

    slug: str
    why: str


Event = RoundListed | RoundStarted | RoundEnded | RoundOverdue | RoundSettled | RoundSkipped
Step = Ask | Event


class Lifecycle:
    """The rounds of one asset. Feed it the wall clock in Unix milliseconds, and carry out what :meth:`take` gives."""

    def __init__(self, asset: str, settings: RoundSettings) -> None:
        self.asset = asset
        self.settings = settings
        # By slug, in the order in which they were noticed.
        self.rounds: dict[str, Round] = {}
        # Slugs of windows that are settled or refused: none of them is begun again.
        self._over: OrderedDict[str, None] = OrderedDict()
        self._steps: deque[Step] = deque()
        self._now_ms = 0

    # ---- Inputs --------------------------------------------------------------------------------------

    def adopt(self, window: Window) -> None:
        """Follow a window of an earlier run until it is settled, because a position rests on it."""
        known = self.rounds.get(window.slug)
        if known is None:
            self.rounds[window.slug] = Round(window, adopted=True)

    def advance(self, now_ms: int) -> None:
        """Let the time be ``now_ms``. The clock may be set, both ways: what it says now holds."""
        self._pass(now_ms)
        self._notice(now_ms)
        for each in tuple(self.rounds.values()):
            self._move(each, now_ms)
            if each.ask_at_ms is not None and each.ask_at_ms <= now_ms:
                each.ask_at_ms = None
                self._steps.append(Ask(each.slug))

    def learn(self, slug: str, market: Market | None, now_ms: int) -> None:
        """Take the venue's answer to an :class:`Ask`; ``None``: not listed, or no answer."""
        self._pass(now_ms)
        each = self.rounds.get(slug)
        if each is None or (market is not None and not self._accept(each, market)):
            return
        if market is not None and market.payouts and now_ms >= each.end_ms:
            self._settle(each, market, now_ms)
            return
        self._move(each, now_ms)
        each.ask_at_ms = self._next_question(each, now_ms)

    # ---- Outputs -------------------------------------------------------------------------------------

    def take(self) -> list[Step]:
        """Return what is to be done and told, in order, each once."""
        steps = list(self._steps)
        self._steps.clear()
        return steps

    def next_ms(self) -> int:
        """Return when :meth:`advance` is wanted next, in Unix milliseconds."""
        moments = [start for start in self._next_notices() if start > self._now_ms]
        for each in self.rounds.values():
            moments += [at for at in (each.start_ms, each.end_ms, each.ask_at_ms) if at is not None]
        return min((at for at in moments if at > self._now_ms), default=self._now_ms + LONGEST_SLEEP_MS)

    # ---- The machine ---------------------------------------------------------------------------------

    def _pass(self, now_ms: int) -> None:
        """Let the time be ``now_ms``; after a clock ran ahead and was set right, take back what it led to."""
        if now_ms < self._now_ms:
            for each in tuple(self.rounds.values()):
                if each.phase is Phase.AWAITED and not each.adopted and each.start_ms - self._lead_ms > now_ms:
                    del self.rounds[each.slug]
                    continue
                if each.phase is Phase.ENDED and now_ms < each.end_ms - SLEW_MS and not each.adopted:
                    each.phase = Phase.TRACKED
                if each.ask_at_ms is not None:
                    # A wait that was reckoned from a later time would last as long as the clock was ahead.
                    due = self._next_question(each, now_ms)
                    each.ask_at_ms = each.ask_at_ms if due is None else min(each.ask_at_ms, due)
        self._now_ms = now_ms

    @property
    def _lead_ms(self) -> int:
        return self.settings.lead * 1000

    def _windows(self, interval: str, now_ms: int) -> Iterable[Window]:
        """Name the current window and, once the lead is reached, the next."""
        current, following = window_slugs(self.asset, interval, now_ms / 1000, ahead=1)
        yield current
        if following.start * 1000 - now_ms <= self._lead_ms:
            yield following

    def _next_notices(self) -> Iterable[int]:
        for interval in self.settings.intervals:
            for window in window_slugs(self.asset, interval, self._now_ms / 1000, ahead=2)[1:]:
                yield window.start * 1000 - self._lead_ms

    def _notice(self, now_ms: int) -> None:
        for interval in self.settings.intervals:
            for window in self._windows(interval, now_ms):
                if window.slug in self._over or window.slug in self.rounds:
                    continue
                if len(self.rounds) >= MAX_ROUNDS:
                    self._skip(window.slug, f"{MAX_ROUNDS} rounds are open already")
                else:
                    self.rounds[window.slug] = Round(window)

    def _finish(self, slug: str) -> None:
        self.rounds.pop(slug, None)
        self._over[slug] = None
        if len(self._over) > MAX_OVER:
            self._over.popitem(last=False)

    def _skip(self, slug: str, why: str) -> None:
        self._finish(slug)
        self._steps.append(RoundSkipped(slug, why))

    def _move(self, each: Round, now_ms: int) -> None:
        """Pass the boundaries of the window that lie behind."""
        if each.phase is Phase.AWAITED and not each.adopted and now_ms >= each.end_ms:
            # Not over for good: the clock may be wrong.
            del self.rounds[each.slug]
            self._steps.append(RoundSkipped(each.slug, "its market was not listed before its end"))
        if each.phase is Phase.TRACKED and now_ms >= each.start_ms:
            each.phase = Phase.OPEN
            each.ask_at_ms = max(now_ms, each.start_ms + self.settings.official_after * 1000)
            self._tell(each, RoundStarted(each, now_ms - each.start_ms))
        if each.phase is Phase.OPEN and now_ms >= each.end_ms:
            each.phase = Phase.ENDED
            each.ask_at_ms = max(now_ms, each.end_ms + self.settings.settle_after * 1000)
            self._tell(each, RoundEnded(each, now_ms - each.end_ms))
        if not each.overdue and now_ms >= each.end_ms + self.settings.patience * 1000:
            each.overdue = True
            self._steps.append(RoundOverdue(each))

    def _accept(self, each: Round, market: Market) -> bool:
        """Believe the venue's description, or drop the round because it does not fit."""
        why = _misfit(each, market)
        if each.market is None and not why:
            why = "its market is closed" if market.closed else recognise(market, each.window)
            # One that rests on a position of an earlier run and can be traded still is traded on as well.
            each.adopted = each.adopted and (bool(why) or self._now_ms >= each.end_ms)
        if why and each.market is None and not each.adopted:
            self._skip(each.slug, why)
            return False
        if why and not each.adopted:
            # A later answer that contradicts the first is no answer.
            each.ask_at_ms = self._next_question(each, self._now_ms)
            return False
        each.official = market.price_to_beat if each.official is None else each.official
        if each.market is None:
            each.market, each.phase, each.joined = market, Phase.TRACKED, self._now_ms >= each.start_ms
            self._tell(each, RoundListed(each))
        return True

    def _tell(self, each: Round, event: Event) -> None:
        if not each.adopted:
            self._steps.append(event)

    def _settle(self, each: Round, market: Market, now_ms: int) -> None:
        each.market = market
        self._move(each, now_ms)
        self._finish(each.slug)
        payouts = dict(zip(market.token_ids, market.payouts, strict=True))
        self._steps.append(RoundSettled(each, payouts))

    def _next_question(self, each: Round, now_ms: int) -> int | None:
        settings = self.settings
        if each.phase is Phase.TRACKED or (each.phase is Phase.OPEN and each.official is not None):
            return None
        soon = now_ms + settings.ask_every * 1000
        if each.phase is Phase.OPEN:
            return max(soon, each.start_ms + settings.official_after * 1000)
        late_ms = now_ms - each.end_ms
        if late_ms > settings.patience * 1000:
            return max(soon, now_ms + min(late_ms // 10, LONGEST_GAP_MS))
        return soon if each.phase is Phase.AWAITED else max(soon, each.end_ms + settings.settle_after * 1000)


def _misfit(each: Round, market: Market) -> str:
    window, known = each.window, each.market
    if market.slug != window.slug or market.window_start != window.start or market.window_end != window.end:
        return f"its market runs from {market.window_start} to {market.window_end}, not {window.start} to {window.end}"
    if known is not None and (market.condition_id, market.tokens) != (known.condition_id, known.tokens):
        return "its market changed its tokens"
    return ""


def window_of(market: Market) -> Window | None:
    """Return the window that a market's slug stands for, or None when it is not one of the up/down windows here."""
    asset = market.slug.partition("-")[0]
    for interval in UTC_GRID if market.window_start is not None and asset.isalnum() and asset.isascii() else ():
        window = window_at(asset, interval, market.window_start or 0)
        if window.slug == market.slug:
            return window
    return None


class Discovery(Protocol):
    """What the shell needs of :class:`polymirror.venue.gamma.Gamma`."""

    async def event(self, slug: str) -> tuple[Market, ...]:
        """Look up the markets of an event."""
        ...


async def keep_rounds(rounds: Lifecycle, discovery: Discovery, network: Network, tell: Callable[[Event], None]) -> None:
    """Run a lifecycle until cancelled: sleep to each boundary, ask the venue meanwhile, and tell events.

    ``tell`` must return at once; what it raises ends the asset's task, which its supervisor restarts.
    """
    woken = asyncio.Event()

    def now_ms() -> int:
        return int(network.wall() * 1000)

    async def ask(slug: str) -> None:
        try:
            found = [market for market in await discovery.event(slug) if market.slug == slug]
        except VenueError:
            # Not listed yet, or no answer: the lifecycle knows when to ask again.
            found = []
        rounds.learn(slug, found[0] if found else None, now_ms())
        woken.set()

    async with asyncio.TaskGroup() as group:
        while True:
            woken.clear()
            rounds.advance(now_ms())
            for step in rounds.take():
                if isinstance(step, Ask):
                    group.create_task(ask(step.slug), name=f"look up {step.slug}")
                else:
                    tell(step)
            left = min(rounds.next_ms() - now_ms(), LONGEST_SLEEP_MS)
            try:
                async with asyncio.timeout(max(left, 1) / 1000):
                    await woken.wait()
            except TimeoutError:
                pass
