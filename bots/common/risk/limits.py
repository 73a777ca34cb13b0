"""Whether one may trade at all: limits, counters and a stop. Pure: times come in, refusals and changes go out.

Every open position and every undecided order counts at its worst (:mod:`bots.common.risk.groups`), so nothing that was
allowed can break the daily limit, whatever becomes of it. A bot calls :meth:`Risk.enter_group` before orders leave,
then :meth:`Risk.filled` or :meth:`Risk.dropped` for each, and :meth:`Risk.closed` at settlement; an order whose fate is
unknown stays reserved until it is known. :meth:`Risk.advance` once a second lets pauses end, and the kill switch be
noticed, while nothing is traded. Nothing here is kept anywhere: whoever stops a bot writes that down first, and calls
:meth:`Risk.stop` then. The kill switch's file and signal are in :mod:`bots.common.risk.switch`.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, unique
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import evolve, field, frozen

from bots.common.errors import shorten
from bots.common.money.amounts import EXACT
from bots.common.ranges import decimal_range, whole
from bots.common.risk.days import Days, Steady, zone, zone_of
from bots.common.risk.groups import ZERO, Entry, Group, Leg, total, worst_case
from bots.common.risk.signed import Signed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DAY_MS: Final = 86_400_000

MAX_ENTRIES: Final = 1_000
"""Open positions and undecided orders at once."""

SETTLED_MS: Final = 20_000
"""The chain and the lists of what is held may be so far behind an order."""

MAX_REMEMBERED: Final = 4_096
"""Markets whose entry is remembered, the newest of them: a market of 15 minutes is over long before."""

MAX_ASSETS: Final = 256


@frozen(kw_only=True)
class RiskLimits:
    """What may be risked. Raises ConfigError, which names the field."""

    max_trade: Decimal = field(default=Decimal(25), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that one order, or one group of orders, may lose in pUSD, fee included."""
    max_market: Decimal = field(default=Decimal(25), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that all orders in one market may lose together."""
    max_positions: int = field(default=8, validator=whole(1, MAX_ENTRIES, "markets"))
    """Markets with an open position or an undecided order at the same time."""
    max_daily_loss: Decimal = field(default=Decimal(100), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that may be lost on one day, everything that is open counted at its worst."""
    max_hourly: Decimal = field(default=Decimal(400), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that orders signed within any hour may cost together, whatever is said to have become of them: by
    default sixteen orders of 25, one in each quarter of an hour of each of four assets."""
    day_zone: str = field(default="UTC", validator=zone)
    """The time zone in which a day begins at midnight: UTC, or an IANA name such as Europe/Berlin."""
    max_losses_in_a_row: int = field(default=5, validator=whole(1, 1_000, "losses"))
    """So many settled losses, one after the other, and trading pauses."""
    pause_ms: int = field(default=3_600_000, validator=whole(0, 7 * DAY_MS, "ms"))
    """How long it pauses then."""
    cooldown_ms: int = field(default=60_000, validator=whole(0, DAY_MS, "ms"))
    """The least time between two orders on the same asset, whatever became of the first; a group counts as one."""
    second_entry: bool = False
    """Whether a market may be entered again after a fill, by another group than the first."""


@unique
class RiskReason(Enum):
    """Why a trade is not allowed."""

    STOPPED = "the kill switch is on"
    PAUSED = "too many losses in a row"
    COOLDOWN = "the last order on this asset is too recent"
    SECOND_ENTRY = "this market was entered before"
    TRADE = "one order or group may not cost so much"
    MARKET = "orders in one market may not cost so much together"
    POSITIONS = "too many markets are open"
    HOURLY = "orders of one hour may not cost so much together"
    DAILY_LOSS = "the daily loss could pass its limit"


@frozen
class RiskRefusal:
    """A trade that is not allowed, with the numbers that say why."""

    reason: RiskReason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


@unique
class RiskChange(Enum):
    """What people are told, once each: from when on nothing is bought, and from when on it is again."""

    STOPPED = "stopped"
    PAUSED = "paused"
    LIMIT_REACHED = "daily limit reached"
    HOUR_FULL = "hourly limit reached"
    RESUMED = "resumed"


class Told(NamedTuple):
    """What keeps the bot from buying, and since when or until when: told again only when it is another one."""

    which: str
    detail: str


class Mark(NamedTuple):
    """When something was last begun, in Unix milliseconds, and by which group."""

    at_ms: int
    group_id: str

    def by(self, group_id: str) -> bool:
        """Whether it was that very group."""
        return bool(group_id) and self.group_id == group_id


class Risk:
    """The limits, and what has been used of them.

    ``switch`` is asked before every trade: it returns why trading must stop, or ``None``. ``on_change`` is told what
    people should know, once each; while it is ``None``, nothing counts as told: a bot that reads back what it did sets
    it afterwards, and :meth:`advance` tells how things stand. ``seconds`` is a clock that nobody sets: what the time of
    day gains on it by a step begins no new day and ends no pause.
    """

    def __init__(
        self,
        limits: RiskLimits,
        switch: Callable[[], str | None] = lambda: None,
        on_change: Callable[[RiskChange, str], None] | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self.limits = limits
        self.on_change = on_change
        self._switch = switch
        # Why trading was stopped from within or by a person; "" while it is not.
        self._stopped = ""
        # What may still be lost, by the client id of the order that risked it.
        self._entries: dict[str, Entry] = {}
        # What may have been spent all the same, whatever was said, with the time: until it is seen in cash and shares.
        self._doubts: dict[str, tuple[int, Entry]] = {}
        # When a doubt came last for which there was no room; nothing is bought then.
        self._crowded_ms: int | None = None
        # What was signed within an hour, and what a group wanted for which that had no room; 0 while that is not so.
        self._signed = Signed()
        self._no_room = ZERO
        # When each market was entered, the oldest first. Forgotten again when the order bought nothing.
        self._entered: OrderedDict[str, Mark] = OrderedDict()
        # When an order on each asset was last begun.
        self._last_order: dict[str, Mark] = {}
        self._days = Days(zone_of(limits.day_zone))
        self._steady = None if seconds is None else Steady(seconds)
        # Settled losses one after the other, and what followed from them.
        self._streak = 0
        self._paused_until_ms = 0
        # What a group would have cost that could not be afforded any more for what was lost; 0 while that is not so.
        self._too_much = ZERO
        self._now_ms = 0
        self._told: dict[RiskChange, Told] = {}

    # What is so.

    @property
    def stopped(self) -> str | None:
        """Why the kill switch is on, or ``None``."""
        return self._stopped or self._switch()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that may still be lost."""
        return tuple(self._entries.values())

    @property
    def doubted(self) -> bool:
        """Whether money counts as spent until :meth:`seen`."""
        return bool(self._doubts) or self._crowded_ms is not None

    @property
    def open_money(self) -> Decimal:
        """What is lost in pUSD if everything open ends as badly as it can."""
        return worst_case(self._entries.values())

    def profit_today(self, now_ms: int) -> Decimal:
        """Return the settled profit of the day in pUSD, negative for a loss."""
        return self._days.since(now_ms)

    def allow_group(self, now_ms: int, group: Group) -> RiskRefusal | None:
        """Say whether all orders of a group may leave now. Reserves nothing.

        A group that was entered before is no second entry, heeds no cooldown and no pause: its further orders
        complete what was begun.
        """
        now_ms = self.advance(now_ms)
        refusal = self._refuse_always(now_ms, group) or self._refuse_markets(now_ms, group) or self._refuse_money(group)
        self._tell()
        return refusal

    def allow(self, now_ms: int, *, market: str, asset: str, money: Decimal) -> RiskRefusal | None:
        """Ask :meth:`allow_group` for an order alone that costs at most ``money`` pUSD, fee included."""
        leg = Leg(client_id="", market=market, asset=asset, money=money)
        return self.allow_group(now_ms, Group(group_id="", legs=(leg,)))

    def refuse_stopped(self) -> RiskRefusal | None:
        """Look at the kill switch alone: for an order that was allowed, right before it leaves."""
        self._tell()
        return None if (why := self.stopped) is None else RiskRefusal(RiskReason.STOPPED, why)

    # What happens.

    def advance(self, now_ms: int) -> int:
        """Let the time be ``now_ms``, in Unix milliseconds, and tell what has changed; return what is believed of it.

        A clock that was ahead and is set back makes no wait longer than it is meant to be.
        """
        self._now_ms = now_ms = now_ms if self._steady is None else self._steady(now_ms)
        self._paused_until_ms = min(self._paused_until_ms, now_ms + self.limits.pause_ms)
        self._signed.advance(now_ms)
        for asset, mark in self._last_order.items():
            if mark.at_ms > now_ms:
                self._last_order[asset] = mark._replace(at_ms=now_ms)
        self._tell()
        return now_ms

    def enter_group(self, now_ms: int, group: Group) -> RiskRefusal | None:
        """Ask :meth:`allow_group`, and if nothing speaks against it, count its worst case as lost from now on."""
        refusal = self.allow_group(now_ms, group)
        if refusal is None:
            for leg in group.legs:
                self.hold(now_ms, Entry.of(leg, group.group_id))
        return refusal

    def hold(self, now_ms: int, entry: Entry) -> None:
        """Count an order or position that exists whether it was allowed or not."""
        self._entries[entry.client_id] = entry
        if not entry.filled:
            self._signed.sign(now_ms, entry.client_id, entry.money)
        mark = Mark(now_ms, entry.group_id)
        self._entered[entry.market] = mark
        self._entered.move_to_end(entry.market)
        while len(self._entered) > MAX_REMEMBERED:
            self._entered.popitem(last=False)
        self._last_order[entry.asset] = mark
        if len(self._last_order) > MAX_ASSETS:
            self._last_order.pop(min(self._last_order, key=lambda name: self._last_order[name]))

    def filled(self, client_id: str, cost: Decimal, shares: Decimal = ZERO, *, final: bool = False) -> None:
        """Tell that an order traded: ``cost`` pUSD, fee included, are at risk instead of what was reserved.

        ``shares`` are what it brought; without them no gain on one token makes up for the other. ``final``: the chain
        has confirmed it; call this again then. One that failed on the chain is :meth:`dropped`, or filled for less.
        """
        entry = self._entries.get(client_id)
        if entry is not None:
            self._entries[client_id] = evolve(entry, money=cost, shares=shares, filled=True, final=final)

    def dropped(self, client_id: str, *, left: bool = True) -> None:
        """Tell that an order is over and bought nothing. The market may be entered again; the cooldown stays.

        ``left``: whether it ever left us; what did counts in its hour until :meth:`seen`.
        """
        if not left:
            self._signed.free(client_id)
        entry = self._entries.pop(client_id, None)
        if entry is not None and not any(other.market == entry.market for other in self._entries.values()):
            self._entered.pop(entry.market, None)

    def doubt(self, at_ms: int, client_id: str, cost: Decimal) -> None:
        """Tell that somebody says that an order cost no more than this: the rest counts as spent until :meth:`seen`.

        Beyond :data:`MAX_ENTRIES` of them all money counts as spent.
        """
        entry = self._entries.get(client_id)
        if entry is None or (rest := EXACT.subtract(entry.money, cost)) <= 0:
            return
        if len(self._doubts) >= MAX_ENTRIES:
            self._crowded_ms = at_ms
        else:
            self._doubts[client_id] = at_ms, evolve(entry, money=rest, shares=ZERO, filled=False)

    def _counted(self) -> list[Entry]:
        return [*self._entries.values(), *(entry for _, entry in self._doubts.values())]

    def seen(self, strange: Collection[str]) -> None:
        """Tell that cash is what the books say, and which tokens have more shares: older doubts of others are over."""
        now, late = self._now_ms, self._now_ms - SETTLED_MS
        # A clock that was ahead and is set back keeps none for longer.
        doubts, self._doubts = {name: (min(at, now), entry) for name, (at, entry) in self._doubts.items()}, {}
        for name, (at, entry) in doubts.items():
            if at > late or entry.token in strange:
                self._doubts[name] = at, entry
            else:
                self._signed.free(name, entry.money)
        if self._crowded_ms is not None:
            self._crowded_ms = min(self._crowded_ms, now)
            if self._crowded_ms <= late and not strange:
                self._crowded_ms = None

    def gone(self, now_ms: int, money: Decimal) -> None:
        """Tell that so much is missing and given up: as much of it as was in doubt is lost on that day."""
        if lost := min(money, total(entry.money for _, entry in self._doubts.values())):
            self._days.book(now_ms, -lost)

    def closed(self, now_ms: int, market: str, profit: Decimal) -> None:
        """Tell that the position in a market is settled, merged or sold, for this profit in pUSD (negative: a loss).

        Decide its orders before: one that is undecided stays reserved, its loss set off against nothing any more.
        What is left of a position is told by :meth:`hold`.
        """
        self._entries = {
            client_id: entry for client_id, entry in self._entries.items() if entry.market != market or not entry.filled
        }
        self._days.book(now_ms, profit)
        if profit > 0:
            self._streak = 0
        elif profit < 0:
            self._streak += 1
            if self._streak >= self.limits.max_losses_in_a_row:
                self._streak = 0
                self._paused_until_ms = max(self._paused_until_ms, now_ms + self.limits.pause_ms)
        self._tell()

    def stop(self, why: str) -> None:
        """Stop all further trading until :meth:`resume`. The first reason is kept. Nothing is written down here."""
        self._stopped = self._stopped or shorten(why) or "stopped"
        self._tell()

    def resume(self, why: str = "") -> None:
        """Take back :meth:`stop`. A kill switch that is a file stays on while the file exists."""
        self._stopped = ""
        self._tell(f" ({shorten(why)})" if why else "")

    # Each check looks at one kind of limit.

    def _refuse_always(self, now_ms: int, group: Group) -> RiskRefusal | None:
        if (refusal := self.refuse_stopped()) is not None:
            return refusal
        begun = any(group.group_id and entry.group_id == group.group_id for entry in self._entries.values())
        if now_ms < self._paused_until_ms and not begun:
            return RiskRefusal(RiskReason.PAUSED, f"for another {(self._paused_until_ms - now_ms) // 1000} s")
        if self._crowded_ms is not None:
            return RiskRefusal(RiskReason.POSITIONS, f"more than {MAX_ENTRIES} orders are not seen in cash and shares")
        if len(self._entries) + len(group.legs) > MAX_ENTRIES:
            return RiskRefusal(RiskReason.POSITIONS, f"{len(self._entries)} of {MAX_ENTRIES} orders and positions")
        return None

    def _refuse_markets(self, now_ms: int, group: Group) -> RiskRefusal | None:
        limits = self.limits
        for leg in group.legs:
            entered = self._entered.get(leg.market)
            if entered is not None and not limits.second_entry and not entered.by(group.group_id):
                return RiskRefusal(RiskReason.SECOND_ENTRY, f"{(now_ms - entered.at_ms) // 1000} s ago")
            last = self._last_order.get(leg.asset)
            if last is not None and now_ms - last.at_ms < limits.cooldown_ms and not last.by(group.group_id):
                waited = f"{leg.asset}: {now_ms - last.at_ms} of {limits.cooldown_ms} ms"
                return RiskRefusal(RiskReason.COOLDOWN, waited)
        before = {entry.market for entry in self._entries.values()}
        after = before | {leg.market for leg in group.legs}
        if len(after) > max(len(before), limits.max_positions):
            return RiskRefusal(RiskReason.POSITIONS, f"{len(before)} of {limits.max_positions} are open")
        return None

    def _refuse_money(self, group: Group) -> RiskRefusal | None:
        limits = self.limits
        if not group.legs or any(not leg.money.is_finite() or leg.money <= 0 for leg in group.legs):
            amounts = ", ".join(str(leg.money) for leg in group.legs) or "nothing"
            return RiskRefusal(RiskReason.TRADE, f"{amounts} against {limits.max_trade} pUSD")
        if group.worst > limits.max_trade:
            return RiskRefusal(RiskReason.TRADE, f"{group.worst} against {limits.max_trade} pUSD")
        entries = self._counted()
        wanted = [*entries, *(Entry.of(leg, group.group_id) for leg in group.legs)]
        for market in dict.fromkeys(leg.market for leg in group.legs):
            before, after = (worst_case(e for e in each if e.market == market) for each in (entries, wanted))
            if after > limits.max_market and after > before:
                return RiskRefusal(RiskReason.MARKET, f"{after} against {limits.max_market} pUSD")
        wanted_now = total(leg.money for leg in group.legs)
        if self._signed.is_full or EXACT.add(self._signed.money, wanted_now) > limits.max_hourly:
            self._no_room = wanted_now
            signed = f"{self._signed.money} signed and {wanted_now} wanted"
            return RiskRefusal(RiskReason.HOURLY, f"{signed} against {limits.max_hourly} pUSD")
        # What was won today does not widen the limit: it would let one lose more than the limit from the peak.
        lost = max(ZERO, -self.profit_today(self._now_ms))
        before, after = worst_case(entries), worst_case(wanted)
        worst = EXACT.add(lost, after)
        if worst > limits.max_daily_loss and after > before:
            if EXACT.add(lost, group.worst) > limits.max_daily_loss:
                self._too_much = group.worst
            found = f"{worst} against {limits.max_daily_loss} pUSD at worst, {lost} of it lost today"
            return RiskRefusal(RiskReason.DAILY_LOSS, found)
        return None

    # Telling.

    def _tell(self, resumed: str = "") -> None:
        """Tell what has begun to keep the bot from buying since the last time, and what has ended to; a stop why."""
        if (tell := self.on_change) is None:
            return
        found = self._hindrances()
        ended = [kind for kind in self._told if kind not in found]
        begun = [kind for kind, what in found.items() if kind not in self._told or self._told[kind].which != what.which]
        self._told = found
        still = "".join(f", still {kind.value}" for kind in found)
        for kind in ended:
            by = resumed if kind is RiskChange.STOPPED else ""
            tell(RiskChange.RESUMED, f"no longer {kind.value}{by}{still}")
        for kind in begun:
            tell(kind, found[kind].detail)

    def _hindrances(self) -> dict[RiskChange, Told]:
        limits, found = self.limits, {}
        if (why := self.stopped) is not None:
            found[RiskChange.STOPPED] = Told(why, why)
        if self._now_ms < self._paused_until_ms:
            until = datetime.fromtimestamp(self._paused_until_ms // 1000, UTC)
            words = f"{limits.max_losses_in_a_row} in a row lost: nothing is bought until {until:%Y-%m-%d %H:%M:%S} UTC"
            found[RiskChange.PAUSED] = Told("", words)
        if self._no_room and (self._signed.is_full or EXACT.add(self._signed.money, self._no_room) > limits.max_hourly):
            words = f"{self._signed.money} of {limits.max_hourly} pUSD were signed within an hour"
            found[RiskChange.HOUR_FULL] = Told("", words)
        else:
            self._no_room = ZERO
        lost = max(ZERO, -self.profit_today(self._now_ms))
        if EXACT.add(lost, self._too_much) > limits.max_daily_loss:
            more = f": another {self._too_much} could pass it" if self._too_much else ""
            words = f"{lost} of {limits.max_daily_loss} pUSD are lost on {self._days.name(self._now_ms)}{more}"
            found[RiskChange.LIMIT_REACHED] = Told("", words)
        else:
            self._too_much = ZERO
        return found
