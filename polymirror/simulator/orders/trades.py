"""Matches, and how they are settled: MATCHED, then MINED and CONFIRMED, or FAILED.

A match is a claim, not a position (protocol.md 11): the chain settles it later, or never. :class:`Trades` gives each
trade its course over the times of a :class:`SettlementConfig`, as events of the exchange's agenda; what a status means
for money and orders is the broker's affair, which is called with every change. Pure; times are the exchange's.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

    from polymirror.simulator.exchange.agenda import Agenda, Output

NOBODY: Final = ""
"""The address of whoever has no account: the traders of the simulated order flow."""

MAX_WAIT_MS: Final = 86_400_000
"""No step of a settlement takes longer."""


class TradeStatus(Enum):
    """How far a trade is; the value is the venue's word."""

    MATCHED = "MATCHED"
    RETRYING = "RETRYING"
    """The transaction did not get through, and is sent again."""
    MINED = "MINED"
    """In a block: from now on there is a transaction hash."""
    CONFIRMED = "CONFIRMED"
    """Final."""
    FAILED = "FAILED"
    """Final: neither shares nor money ever moved."""

    @property
    def final(self) -> bool:
        """Whether it stays like that."""
        return self in {TradeStatus.CONFIRMED, TradeStatus.FAILED}


@frozen(kw_only=True)
class MakerFill:
    """What one resting order gave, in that order's own terms: its token, its side, its price."""

    order_id: str
    address: str
    """Whose order it was; empty: one of the order flow."""
    token: str
    outcome: str
    buys: bool
    price: int
    shares: int


@frozen(kw_only=True)
class Trade:
    """One match of a taker's order with the orders at one price, from the taker's side.

    A new status makes a new object. ``fee`` is the taker's; makers pay none.
    """

    id: str
    taker_order_id: str
    taker_address: str
    """Who took; empty: the order flow did."""
    market: str
    token: str
    outcome: str
    buys: bool
    price: int
    shares: int
    money: int
    """What the taker paid or got without the fee."""
    fee: int
    status: TradeStatus
    matched_ms: int
    updated_ms: int
    transaction_hash: str
    """Empty until it is MINED."""
    makers: tuple[MakerFill, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The accounts in it, each once, the taker first."""
        found = dict.fromkeys((self.taker_address, *(maker.address for maker in self.makers)))
        return tuple(address for address in found if address != NOBODY)


def _wait(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_WAIT_MS:
        raise ConfigError(attribute.name, value, f"a whole number between 0 and {MAX_WAIT_MS} milliseconds")


def _retries(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100:
        raise ConfigError(attribute.name, value, "a whole number between 0 and 100")


@frozen(kw_only=True)
class SettlementConfig:
    """How long settlement takes, in milliseconds; 0: at once."""

    mine_ms: int = field(default=0, validator=_wait)
    """From the match to the block, or to each failed attempt."""
    confirm_ms: int = field(default=0, validator=_wait)
    """From the block to the end."""
    retry_ms: int = field(default=2_000, validator=_wait)
    """From a failed attempt to the next one's result."""


@frozen(kw_only=True)
class Course:
    """How one trade goes. The default is the usual one; faults give others."""

    fails: bool = False
    """Whether it ends as FAILED, after its attempts."""
    retries: int = field(default=0, validator=_retries)
    """How often it is RETRYING before."""
    mine_ms: int | None = field(default=None)
    """Instead of the configured time."""
    confirm_ms: int | None = field(default=None)
    """Instead of the configured time."""


USUAL: Final = Course()


class Trades:
    """All trades of a broker by id, oldest first, and what is still to come of them.

    ``changed`` is called with each trade that has a new status, MATCHED included.
    """

    def __init__(self, agenda: Agenda, config: SettlementConfig, changed: Callable[[Trade, int], None]) -> None:
        self.config = config
        # Decides how a trade goes, when it is matched; set by whoever lets things go wrong.
        self.course_of: Callable[[Trade], Course] | None = None
        self._agenda = agenda
        self._changed = changed
        self._trades: dict[str, Trade] = {}
        self._of: dict[str, list[str]] = {}

    def __len__(self) -> int:
        """How many trades there were."""
        return len(self._trades)

    def get(self, trade_id: str) -> Trade | None:
        """A trade as it is now."""
        return self._trades.get(trade_id)

    def of(self, address: str) -> list[Trade]:
        """The trades of an account as they are now, oldest first."""
        return [self._trades[trade_id] for trade_id in self._of.get(address, ())]

    def add(self, trade: Trade, at_ms: int) -> None:
        """Begin to settle a match."""
        for address in trade.addresses:
            self._of.setdefault(address, []).append(trade.id)
        self._trades[trade.id] = trade
        self._changed(trade, at_ms)
        course = USUAL if self.course_of is None else self.course_of(trade)
        mine_ms = self.config.mine_ms if course.mine_ms is None else course.mine_ms
        self._after(mine_ms, partial(self._attempt, trade.id, course, course.retries), at_ms)

    def _after(self, wait_ms: int, step: Callable[[int], None], at_ms: int) -> None:
        if wait_ms:
            self._agenda.add(at_ms + wait_ms, partial(_quietly, step))
        else:
            step(at_ms)

    def _attempt(self, trade_id: str, course: Course, retries: int, at_ms: int) -> None:
        if retries:
            self._become(trade_id, TradeStatus.RETRYING, at_ms)
            self._after(self.config.retry_ms, partial(self._attempt, trade_id, course, retries - 1), at_ms)
            return
        if course.fails:
            self._become(trade_id, TradeStatus.FAILED, at_ms)
            return
        self._become(trade_id, TradeStatus.MINED, at_ms)
        confirm_ms = self.config.confirm_ms if course.confirm_ms is None else course.confirm_ms
        self._after(confirm_ms, partial(self._become, trade_id, TradeStatus.CONFIRMED), at_ms)

    def _become(self, trade_id: str, status: TradeStatus, at_ms: int) -> None:
        trade = self._trades[trade_id]
        transaction = trade.transaction_hash
        if status is TradeStatus.MINED:
            transaction = "0x" + sha256(f"transaction/{trade_id}".encode()).hexdigest()
        trade = self._trades[trade_id] = evolve(trade, status=status, updated_ms=at_ms, transaction_hash=transaction)
        self._changed(trade, at_ms)


def _quietly(step: Callable[[int], None], at_ms: int, out: Output) -> None:
    del out  # settlement is told to the accounts, not to the market
    step(at_ms)
