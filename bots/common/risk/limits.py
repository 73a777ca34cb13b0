"""Whether one may trade at all: limits, counters and a stop. Pure: times come in, refusals go out.

Every open position and every undecided order counts as if all its money were lost, so no trade that was allowed
can break the daily limit, whatever becomes of it. A bot calls :meth:`Risk.enter` before an order leaves, then
:meth:`Risk.filled` or :meth:`Risk.dropped`, and :meth:`Risk.closed` at settlement; an order whose fate is unknown
stays reserved until it is known. :meth:`Risk.snapshot` is what the state file keeps. The kill switch's file and
signal are in :mod:`bots.common.risk.switch`.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, field, frozen

from bots.common.errors import StateInvalid, shorten
from bots.common.money.amounts import EXACT
from bots.common.ranges import decimal_range, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DAY_MS: Final = 86_400_000

MAX_ENTRIES: Final = 1_000
"""Open positions and undecided orders that a snapshot may hold."""

MAX_REMEMBERED: Final = 4_096
"""Markets whose entry is remembered, the newest of them: a market of 15 minutes is over long before."""

MAX_ASSETS: Final = 256

VERSION: Final = 1

T = TypeVar("T")


@frozen(kw_only=True)
class RiskLimits:
    """What may be risked. Raises ConfigError, which names the field."""

    max_trade: Decimal = field(default=Decimal(25), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that one order may cost in pUSD, fee included."""
    max_market: Decimal = field(default=Decimal(25), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that all orders in one market may cost together."""
    max_positions: int = field(default=8, validator=whole(1, MAX_ENTRIES, "markets"))
    """Markets with an open position or an undecided order at the same time."""
    max_daily_loss: Decimal = field(default=Decimal(100), validator=decimal_range("0.01", "1000000", "pUSD"))
    """The most that may be lost on one UTC day, everything that is open counted as lost."""
    max_losses_in_a_row: int = field(default=5, validator=whole(1, 1_000, "losses"))
    """So many settled losses, one after the other, and trading pauses."""
    pause_ms: int = field(default=3_600_000, validator=whole(0, 7 * DAY_MS, "ms"))
    """How long it pauses then."""
    cooldown_ms: int = field(default=60_000, validator=whole(0, DAY_MS, "ms"))
    """The least time between two orders on the same asset, whatever became of the first."""
    second_entry: bool = False
    """Whether a market may be entered again after a fill."""


class RiskReason(Enum):
    """Why a trade is not allowed."""

    STOPPED = "the kill switch is on"
    PAUSED = "too many losses in a row"
    COOLDOWN = "the last order on this asset is too recent"
    SECOND_ENTRY = "this market was entered before"
    TRADE = "one order may not cost so much"
    MARKET = "orders in one market may not cost so much together"
    POSITIONS = "too many markets are open"
    DAILY_LOSS = "the daily loss could pass its limit"


@frozen
class RiskRefusal:
    """A trade that is not allowed, with the numbers that say why."""

    reason: RiskReason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


@frozen
class Entry:
    """Money at risk: an order that is not decided yet, or what it bought."""

    client_id: str
    market: str
    asset: str
    money: Decimal
    """pUSD that are lost in the worst case, fee included."""
    filled: bool
    """False while the order is undecided."""


class Risk:
    """The limits, and what has been used of them.

    ``switch`` is asked before every trade: it returns why trading must stop, or ``None``.
    """

    def __init__(self, limits: RiskLimits, switch: Callable[[], str | None] = lambda: None) -> None:
        self.limits = limits
        self._switch = switch
        # Why trading was stopped from within or by a signal; "" while it is not. Survives a restart.
        self._stopped = ""
        # What may still be lost, by the client id of the order that risked it.
        self._entries: dict[str, Entry] = {}
        # When each market was entered, the oldest first. Forgotten again when the order bought nothing.
        self._entered: OrderedDict[str, int] = OrderedDict()
        # When an order on each asset was last begun.
        self._last_order: dict[str, int] = {}
        # The UTC day that the profit below belongs to, in days since 1970. It never goes back.
        self._day = 0
        # Settled profit of that day, negative for a loss.
        self._profit = Decimal(0)
        # Settled losses one after the other.
        self._streak = 0
        self._paused_until_ms = 0

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
    def open_money(self) -> Decimal:
        """What is lost in pUSD if everything open is lost."""
        return self._sum(self._entries.values())

    def profit_today(self, now_ms: int) -> Decimal:
        """Return the settled profit of the UTC day in pUSD, negative for a loss."""
        return self._profit if now_ms // DAY_MS <= self._day else Decimal(0)

    def allow(self, now_ms: int, *, market: str, asset: str, money: Decimal) -> RiskRefusal | None:
        """Say whether an order that costs at most ``money`` pUSD, fee included, may leave now; change nothing."""
        return (
            self._refuse_always(now_ms)
            or self._refuse_market(now_ms, market, asset)
            or self._refuse_money(now_ms, market, money)
        )

    def refuse_stopped(self) -> RiskRefusal | None:
        """Look at the kill switch alone: for an order that was allowed, right before it leaves."""
        return None if (why := self.stopped) is None else RiskRefusal(RiskReason.STOPPED, why)

    # What happens.

    def enter(self, now_ms: int, *, client_id: str, market: str, asset: str, money: Decimal) -> RiskRefusal | None:
        """Ask :meth:`allow`, and if nothing speaks against the order, count its money as lost from now on."""
        refusal = self.allow(now_ms, market=market, asset=asset, money=money)
        if refusal is None:
            self.adopt(now_ms, client_id=client_id, market=market, asset=asset, money=money, filled=False)
        return refusal

    def adopt(
        self, now_ms: int, *, client_id: str, market: str, asset: str, money: Decimal, filled: bool = True
    ) -> None:
        """Count an order or position that exists whether it was allowed or not, as found when reconciling."""
        self._entries[client_id] = Entry(client_id, market, asset, money, filled)
        self._entered[market] = now_ms
        self._entered.move_to_end(market)
        while len(self._entered) > MAX_REMEMBERED:
            self._entered.popitem(last=False)
        self._last_order[asset] = now_ms
        if len(self._last_order) > MAX_ASSETS:
            self._last_order.pop(min(self._last_order, key=lambda name: self._last_order[name]))

    def filled(self, client_id: str, cost: Decimal) -> None:
        """Tell that an order traded: ``cost`` pUSD, fee included, are at risk instead of what was reserved."""
        entry = self._entries.get(client_id)
        if entry is not None:
            self._entries[client_id] = evolve(entry, money=cost, filled=True)

    def dropped(self, client_id: str) -> None:
        """Tell that an order is over and bought nothing. The market may be entered again; the cooldown stays."""
        entry = self._entries.pop(client_id, None)
        if entry is not None and not any(other.market == entry.market for other in self._entries.values()):
            self._entered.pop(entry.market, None)

    def closed(self, now_ms: int, market: str, profit: Decimal) -> None:
        """Tell that the position in a market is settled or sold, for this profit in pUSD (negative: a loss).

        Undecided orders in that market stay reserved.
        """
        self._entries = {
            client_id: entry for client_id, entry in self._entries.items() if entry.market != market or not entry.filled
        }
        day = now_ms // DAY_MS
        if day > self._day:
            self._day, self._profit = day, Decimal(0)
        self._profit = EXACT.add(self._profit, profit)
        if profit > 0:
            self._streak = 0
        elif profit < 0:
            self._streak += 1
            if self._streak >= self.limits.max_losses_in_a_row:
                self._streak = 0
                self._paused_until_ms = max(self._paused_until_ms, now_ms + self.limits.pause_ms)

    def stop(self, why: str) -> None:
        """Stop all further trading, across restarts, until :meth:`resume`. The first reason is kept."""
        self._stopped = self._stopped or shorten(why) or "stopped"

    def resume(self) -> None:
        """Take back :meth:`stop`. A kill switch that is a file stays on while the file exists."""
        self._stopped = ""

    # What is kept.

    def snapshot(self) -> dict[str, Any]:
        """Return everything that must survive a restart, as dicts and lists of str, int and bool."""
        return {
            "version": VERSION,
            "stopped": self._stopped,
            "day": self._day,
            "profit": str(self._profit),
            "streak": self._streak,
            "paused_until_ms": self._paused_until_ms,
            "entered": dict(self._entered),
            "last_order": dict(self._last_order),
            "entries": [
                {
                    "client_id": entry.client_id,
                    "market": entry.market,
                    "asset": entry.asset,
                    "money": str(entry.money),
                    "filled": entry.filled,
                }
                for entry in self._entries.values()
            ],
        }

    @classmethod
    def restore(
        cls, limits: RiskLimits, snapshot: Mapping[str, Any], switch: Callable[[], str | None] = lambda: None
    ) -> Risk:
        """Go on from a :meth:`snapshot`. Raises StateInvalid, which names the field: nothing is assumed."""
        if snapshot.get("version") != VERSION:
            raise StateInvalid("risk.version", snapshot.get("version"), str(VERSION))
        risk = cls(limits, switch)
        risk._stopped = _take(snapshot, "stopped", str)
        risk._day = _take(snapshot, "day", int)
        risk._profit = _decimal(snapshot, "profit")
        risk._streak = _take(snapshot, "streak", int)
        risk._paused_until_ms = _take(snapshot, "paused_until_ms", int)
        risk._entered = OrderedDict(_times(snapshot, "entered", MAX_REMEMBERED))
        risk._last_order = _times(snapshot, "last_order", MAX_ASSETS)
        entries = _take(snapshot, "entries", list)
        if len(entries) > MAX_ENTRIES:
            raise StateInvalid("risk.entries", f"{len(entries)} of them", f"at most {MAX_ENTRIES}")
        for raw in entries:
            entry = Entry(
                client_id=_take(raw, "client_id", str),
                market=_take(raw, "market", str),
                asset=_take(raw, "asset", str),
                money=_decimal(raw, "money"),
                filled=_take(raw, "filled", bool),
            )
            risk._entries[entry.client_id] = entry
        return risk

    # Each check looks at one kind of limit.

    def _refuse_always(self, now_ms: int) -> RiskRefusal | None:
        if (refusal := self.refuse_stopped()) is not None:
            return refusal
        if now_ms < self._paused_until_ms:
            return RiskRefusal(RiskReason.PAUSED, f"for another {(self._paused_until_ms - now_ms) // 1000} s")
        if len(self._entries) >= MAX_ENTRIES:
            return RiskRefusal(RiskReason.POSITIONS, f"{len(self._entries)} orders and positions are open")
        return None

    def _refuse_market(self, now_ms: int, market: str, asset: str) -> RiskRefusal | None:
        if market in self._entered and not self.limits.second_entry:
            return RiskRefusal(RiskReason.SECOND_ENTRY, f"{(now_ms - self._entered[market]) // 1000} s ago")
        open_markets = {entry.market for entry in self._entries.values()}
        if market not in open_markets and len(open_markets) >= self.limits.max_positions:
            return RiskRefusal(RiskReason.POSITIONS, f"{len(open_markets)} of {self.limits.max_positions}")
        last = self._last_order.get(asset)
        if last is not None and now_ms - last < self.limits.cooldown_ms:
            return RiskRefusal(RiskReason.COOLDOWN, f"{asset}: {now_ms - last} of {self.limits.cooldown_ms} ms")
        return None

    def _refuse_money(self, now_ms: int, market: str, money: Decimal) -> RiskRefusal | None:
        limits = self.limits
        if not money.is_finite() or not 0 < money <= limits.max_trade:
            return RiskRefusal(RiskReason.TRADE, f"{money} against {limits.max_trade} pUSD")
        in_market = EXACT.add(self._sum(e for e in self._entries.values() if e.market == market), money)
        if in_market > limits.max_market:
            return RiskRefusal(RiskReason.MARKET, f"{in_market} against {limits.max_market} pUSD")
        # What was won today does not widen the limit: it would let one lose more than the limit from the peak.
        lost = max(Decimal(0), -self.profit_today(now_ms))
        worst = EXACT.add(EXACT.add(lost, self.open_money), money)
        if worst > limits.max_daily_loss:
            return RiskRefusal(RiskReason.DAILY_LOSS, f"{worst} against {limits.max_daily_loss} pUSD if all is lost")
        return None

    @staticmethod
    def _sum(entries: Any) -> Decimal:
        total = Decimal(0)
        for entry in entries:
            total = EXACT.add(total, entry.money)
        return total


def _take(raw: Any, name: str, kind: type[T]) -> T:
    value = raw.get(name) if isinstance(raw, dict) else None
    if type(value) is not kind:
        raise StateInvalid(f"risk.{name}", value, f"of type {kind.__name__}")
    return value


def _decimal(raw: Any, name: str) -> Decimal:
    text = _take(raw, name, str)
    try:
        value = Decimal(text)
    except ArithmeticError:
        value = Decimal("NaN")
    if not value.is_finite():
        raise StateInvalid(f"risk.{name}", text, "a decimal number")
    return value


def _times(raw: Any, name: str, most: int) -> dict[str, int]:
    values: dict[Any, Any] = _take(raw, name, dict)
    if len(values) > most or not all(type(k) is str and type(v) is int for k, v in values.items()):
        raise StateInvalid(f"risk.{name}", f"{len(values)} entries", f"at most {most} names with times in ms")
    return dict(values)
