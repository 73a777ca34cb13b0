"""The ledger of one bot: what it is about to do is on the disk before it does it, and nothing is ever taken back.

:class:`Ledger` books each row in the bot's :class:`~bots.common.ledger.account.Account` and puts it in the file in the
same order. An order may leave when :meth:`Ledger.begin` has returned, not earlier: whatever happens then, the next
start finds it and looks up its fate. The account and whoever follows (risk) are told *before* the disk is, and exactly
what the row will say; a start reads the rows back through the same methods. What no decision waits for (decisions,
notices, fills) is queued, and written with the next row that somebody waits for, or by :meth:`Ledger.run` soon after.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import ROUND_CEILING
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from attrs import evolve, frozen

from bots.common.errors import BotError, StateInvalid
from bots.common.ledger.account import Account, AlreadyBegun
from bots.common.ledger.database import LedgerCorrupt, inline
from bots.common.ledger.rows import (
    BOOKED,
    TABLES,
    ZERO,
    Begun,
    CashMoved,
    Corrected,
    Decision,
    Difference,
    Filled,
    Finished,
    MergeBegun,
    Merged,
    Notice,
    RiskEvent,
    Row,
    Settled,
    columns,
    from_row,
    to_e6,
    to_row,
)
from bots.common.money.amounts import MONEY_UNIT, decimal_of
from bots.common.orders.order import Outcome, Result, Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from decimal import Decimal
    from pathlib import Path

    from bots.common.execution.base import Trade
    from bots.common.ledger.account import Position
    from bots.common.ledger.database import Offload, Statement
    from bots.common.orders.order import Order
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Row)
Read = Callable[[str, tuple[Any, ...]], Sequence[tuple[Any, ...]]]

AT_ONCE: Final = 1_000
"""Rows of a kind that are read back in one go."""

MAX_PENDING: Final = 10_000
"""With so many rows that could not be written no order is begun, and decisions are counted instead of kept."""

MAX_INTEGER: Final = 2**63
"""A row with such a number could never be written, nor could what is queued after it."""

SOON: Final = 1.0
"""Seconds after which what nobody waits for is written."""

SAME_FOR_MS: Final = 60_000
"""A decision of the same verdict in the same market is written again after so long."""

ORDER: Final = "order"
"""The verdict that leads to one, and is written each time; every other is a refusal."""

MAX_VERDICTS: Final = 4_096
"""Decisions of which it is remembered when they were written last, the newest."""

TOLD: Final = (*BOOKED, RiskEvent)
"""What the account and its followers hear of, in order, while it happens and when it is read back."""

INSERTS: Final = {
    kind: f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - our own names
    for kind, table in TABLES.items()
    for names in [(*columns(kind), *(("profit_e6",) if kind in BOOKED else ()))]
}


class LedgerFull(BotError):  # noqa: N818 - a fact
    """Too much waits to be written, because the disk takes nothing. No order is begun."""


class Store(Protocol):
    """What a ledger needs of a :class:`~bots.common.ledger.database.Database`."""

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        ...

    def write(self, statements: Iterable[Statement]) -> None:
        """Do all of it or nothing, durably."""
        ...

    def copy_of_day(self, day: str) -> Path | None:
        """Write the day's copy unless it is there."""
        ...


@frozen(kw_only=True)
class Grounds:
    """What a decision rested on, as far as it is known."""

    fair: Decimal | None = None
    strike: Decimal | None = None
    price: Decimal | None = None
    oracle_age_ms: int | None = None
    book_age_ms: int | None = None
    proof: str = ""
    basis: str = ""

    @classmethod
    def of(cls, basis: Mapping[str, str], **more: Any) -> Grounds:
        """Take ``strike``, ``oracle_price`` and ``oracle_age_ms`` from what a strategy states; all of it is kept."""
        price, strike, age = (basis.get(name) for name in ("oracle_price", "strike", "oracle_age_ms"))
        return cls(
            price=None if price is None else decimal_of("oracle_price", price),
            strike=None if strike is None else decimal_of("strike", strike),
            oracle_age_ms=None if age is None else int(age),
            basis=json.dumps(dict(basis)) if basis else "",
            **more,
        )


@frozen
class _Verdict:
    """When a decision was written last, and how many like it after it were not."""

    at_ms: int
    more: int = 0


def read_rows(read: Read, kind: type[R]) -> Iterator[tuple[R, tuple[Any, ...]]]:
    """Return all rows of a kind in order, each as value and as it is in the file; a few at a time are in memory."""
    names = columns(kind)
    all_names = ", ".join((*names, "profit_e6") if kind in BOOKED else names)
    query = f"SELECT {all_names} FROM {TABLES[kind]} WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - our own names
    last = -1
    while rows := read(query, (last, AT_ONCE)):
        for row in rows:
            yield from_row(kind, row[: len(names)]), row
        last = rows[-1][0]


def replay(read: Read, account: Account, tell: Callable[[Row], None]) -> None:
    """Book all rows of a ledger. Raises LedgerCorrupt where they do not add up to what they said."""
    rows = heapq.merge(*(read_rows(read, kind) for kind in TOLD), key=lambda pair: pair[0].seq)
    try:
        for each, row in rows:
            profit = account.apply(each)
            if type(each) in BOOKED and to_e6(profit) != row[-1]:
                raise LedgerCorrupt(f"row {each.seq} of the ledger made {row[-1]}, and now makes {to_e6(profit)}")
            tell(each)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise LedgerCorrupt(f"a row of the ledger cannot be believed: {error}") from error


class Ledger:
    """Books and writes. Call :meth:`open` first. Calls may overlap; their rows keep their order."""

    def __init__(
        self,
        store: Store,
        network: Network,
        *,
        offload: Offload = inline,
        followers: Sequence[Callable[[Row], None]] = (),
        account: Account | None = None,
    ) -> None:
        self.account = Account() if account is None else account
        self.failures = 0
        """Attempts to write in a row that failed."""
        self._store = store
        self._network = network
        self._offload = offload
        self._followers = tuple(followers)
        self._seq = 0
        # Rows that are booked and not on the disk yet, the oldest first. A call that fails or is cancelled leaves
        # them here for the next one.
        self._pending: deque[Statement] = deque()
        self._waiting = asyncio.Event()
        # By market, verdict and token, the latest at the end.
        self._verdicts: dict[tuple[str, str, str], _Verdict] = {}
        # The last request of another process that is done.
        self._request = 0

    async def open(self) -> None:
        """Read everything back into the account, and tell the followers. Raises LedgerCorrupt."""
        await self._offload(self._read_back)

    def now_ms(self) -> int:
        """Return the wall clock in Unix milliseconds."""
        return int(self._network.wall() * 1000)

    @property
    def waiting(self) -> int:
        """Rows that are not on the disk yet."""
        return len(self._pending)

    # ---- What others wait for ------------------------------------------------------------------------

    async def begin(
        self,
        *orders: Order,
        asset: str = "",
        reserves: Sequence[Decimal] = (),
        worst: Decimal | None = None,
        group_id: str = "",
    ) -> None:
        """Write down that orders are about to leave, all or none. They may leave when this has returned, only then.

        ``reserves``: what each costs at most in pUSD, fee included; left out, what it offers. ``worst``: what all
        of them lose at most, by default the sum. Raises AlreadyBegun, LedgerFull, or OSError from the disk; however
        it fails, the orders are booked as refused and must not leave.
        """
        if len(self._pending) > MAX_PENDING:
            raise LedgerFull(f"{len(self._pending)} rows wait: can the ledger's disk be written?")
        for order in orders:
            if self.account.knows(order.client_id):
                raise AlreadyBegun(order.client_id)
        most = [*reserves] or [order.money if order.side is Side.BUY else ZERO for order in orders]
        whole = sum(most, ZERO) if worst is None else worst
        try:
            for order, reserve in zip(orders, most, strict=True):
                self._book(
                    Begun,
                    group_id=group_id or orders[0].client_id,
                    asset=asset,
                    reserve=reserve.quantize(MONEY_UNIT, ROUND_CEILING),
                    worst=whole.quantize(MONEY_UNIT, ROUND_CEILING),
                    order=order,
                )
            await self.flush()
        except BaseException:
            # Cancelled or failed: they never leave, and nothing may stay reserved for them. Should the rows have
            # reached the disk all the same, a later start asks the venue, which has never heard of them.
            refused = Result(outcome=Outcome.REFUSED, detail="the intent was not written down in time")
            for order in (each for each in orders if each.client_id in self.account.open):
                self._book(Finished, client_id=order.client_id, final=True, result=refused)
            raise

    async def finish(self, client_id: str, result: Result, *, final: bool = False) -> None:
        """Write down what is known of an order. Raises UnknownOrder if nothing can change it any more.

        While its fate is unknown the order stays open, and only the venue's name for it is news. A result that
        traded is a claim until it is ``final``, and a later one takes its place.
        """
        no_news = result.order_id is None or result.order_id == self.account.name_of(client_id)
        if not result.decided and client_id in self.account.open and no_news:
            return
        ends = final or (result.decided and not result.traded)
        self._book(Finished, client_id=client_id, final=ends, result=result)
        await self._try_flush()

    async def settle(self, position: Position, payout: Decimal, how: str) -> Settled:
        """Write down that a position is over and paid ``payout`` pUSD in all."""
        row = self._book(
            Settled,
            market=position.market,
            token=position.token,
            shares=position.shares,
            cost=position.cost,
            payout=payout,
            how=how,
        )
        await self._try_flush()
        return row

    async def begin_merge(
        self, market: str, token: str, other: str, shares: Decimal, held: Decimal, other_held: Decimal
    ) -> MergeBegun:
        """Write down that a merge is about to leave. It may leave when this has returned. Raises OSError."""
        both = {"held": held, "other_held": other_held}
        row = self._book(MergeBegun, market=market, token=token, other=other, shares=shares, **both)
        await self.flush()
        return row

    async def merge(self, market: str, token: str, other: str, shares: Decimal) -> Merged:
        """Write down that equal shares of both tokens of a market have become one pUSD each."""
        row = self._book(Merged, market=market, token=token, other=other, shares=shares, received=shares)
        await self._try_flush()
        return row

    async def correct(self, position: Position, why: str) -> Corrected:
        """Write down that from here on we hold what the venue says: ``position``, with no shares if nothing."""
        row = self._book(
            Corrected,
            market=position.market,
            token=position.token,
            shares=position.shares,
            cost=position.cost,
            why=why,
        )
        await self._try_flush()
        return row

    async def move_cash(self, amount: Decimal, kind: str, detail: str = "") -> None:
        """Write down pUSD that were there at the beginning, or that no order explains."""
        self._book(CashMoved, amount=amount, kind=kind, detail=detail)
        await self._try_flush()

    async def note_risk(self, kind: str, detail: str) -> None:
        """Write down that trading was stopped, resumed or paused. The followers hear of it at once."""
        self._book(RiskEvent, kind=kind, detail=detail)
        await self.flush()

    async def requests(self) -> list[tuple[str, str]]:
        """Return what other processes asked for since the last time: ``stop``, ``resume``, ``reconcile``, and why.

        Stops and resumptions are booked here, in the transaction that says that they were taken up or before it.
        """
        rows = await self._offload(
            lambda: self._store.read("SELECT id, kind, detail FROM requests WHERE id > ? ORDER BY id", (self._request,))
        )
        if rows:
            self._request = rows[-1][0]
            for _, kind, detail in rows:
                if kind != "reconcile":
                    self._book(RiskEvent, kind=kind, detail=detail)
            # Last: the thread of the disk may be writing what has been queued so far.
            self._queue("INSERT OR REPLACE INTO meta VALUES ('request', ?)", (str(self._request),))
            await self._try_flush()
        return [(kind, detail) for _, kind, detail in rows]

    async def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query on what is on the disk."""
        return await self._offload(lambda: self._store.read(sql, values))

    async def flush(self) -> None:
        """Write what is not on the disk yet. Raises OSError; nothing is lost by it, the next call tries again."""
        await self._offload(self._write_pending)
        if not self._pending:
            self._waiting.clear()

    async def _try_flush(self) -> None:
        """Write what has happened. A disk that fails loses nothing of it, and must keep nobody from being told.

        Memory has it, :meth:`run` says so and tries again, and a later start would look it up.
        """
        with suppress(OSError):
            await self.flush()

    # ---- What nobody waits for -----------------------------------------------------------------------

    def note_fill(self, client_id: str, trade: Trade, number: int) -> None:
        """Keep what the venue lists of one fill of an order."""
        self._book(
            Filled,
            client_id=client_id,
            trade_id=trade.id,
            number=number,
            price=trade.price,
            shares=trade.shares,
            money=trade.money,
            fee=trade.fee,
            matched_ms=trade.at_ms,
            status=trade.status,
            tx=trade.tx,
        )

    def note_difference(self, what: str, market: str, token: str, ours: Decimal, theirs: Decimal, detail: str) -> None:
        """Keep that the venue says something else than our books."""
        self._book(Difference, what=what, market=market, token=token, ours=ours, theirs=theirs, detail=detail)

    def notify(self, kind: str, text: str) -> int:
        """Put a notice into the outbox and return its number; whoever sends it calls :meth:`mark_sent`."""
        return self._book(Notice, kind=kind, text=text).seq

    async def unsent(self, most: int = 50) -> list[tuple[int, int, str, str, int]]:
        """Return the oldest notices that were not sent: number, time in Unix ms, kind, text, and attempts so far."""
        await self.flush()
        sql = "SELECT seq, at_ms, kind, text, tries FROM notices WHERE sent_at_ms IS NULL ORDER BY seq LIMIT ?"
        return [(seq, at_ms, kind, text, tries) for seq, at_ms, kind, text, tries in await self.query(sql, (most,))]

    def mark_sent(self, seq: int, *, sent: bool = True) -> None:
        """Note that a notice was sent, or that an attempt failed."""
        at = self.now_ms() if sent else None
        self._queue("UPDATE notices SET sent_at_ms = ?, tries = tries + 1 WHERE seq = ?", (at, seq))

    def decide(
        self,
        market: str,
        slug: str,
        verdict: str,
        detail: str = "",
        *,
        token: str = "",
        grounds: Callable[[], Grounds] = Grounds,
    ) -> None:
        """Keep a decision: every order, and one a minute of each other verdict in a market, and how many there were.

        ``grounds`` is asked for those that are kept alone: it is in the way of the next price.
        """
        now, words = self.now_ms(), (market, verdict, token)
        last = self._verdicts.pop(words, None)
        fresh = last is not None and 0 <= now - last.at_ms < SAME_FOR_MS and verdict != ORDER
        if last is not None and (fresh or len(self._pending) > MAX_PENDING):
            self._verdicts[words] = evolve(last, more=last.more + 1)
            return
        self._verdicts[words] = _Verdict(now)
        if len(self._verdicts) > MAX_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        found = grounds()
        self._book(
            Decision,
            market=market,
            slug=slug,
            token=token,
            verdict=verdict,
            detail=detail,
            fair=found.fair,
            strike=found.strike,
            price=found.price,
            oracle_age_ms=found.oracle_age_ms,
            book_age_ms=found.book_age_ms,
            proof=found.proof,
            basis=found.basis,
            repeats=0 if last is None else last.more,
        )

    async def run(self) -> None:
        """Write what nobody waits for, and a copy each day, until cancelled. A disk that fails is tried again."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(min(SOON * 2 ** min(self.failures, 6), 60.0))
            try:
                day = time.strftime("%Y%m%d", time.gmtime(self._network.wall()))
                await self.flush()
                await self._offload(partial(self._store.copy_of_day, day))
                self.failures = 0
            except OSError as error:
                self.failures += 1
                log.error("the ledger could not be written (%s): %d times in a row", error, self.failures)  # noqa: TRY400 - expected

    # ---- Inside --------------------------------------------------------------------------------------

    def _book(self, kind: type[R], /, **fields: Any) -> R:
        """Number a row, book what it says, and put it in the queue."""
        seq = self._seq + 1
        row = to_row(kind(seq=seq, at_ms=self.now_ms(), **fields))
        if wrong := [each for each in row if isinstance(each, int) and abs(each) >= MAX_INTEGER]:
            raise StateInvalid(TABLES[kind], wrong[0], "a number that the file takes")
        written = from_row(kind, row)
        if isinstance(written, TOLD):
            profit = self.account.apply(written)
            row = (*row, to_e6(profit)) if isinstance(written, BOOKED) else row
        self._seq = seq
        if isinstance(written, TOLD):
            self._tell(written)
        self._queue(INSERTS[kind], row)
        return written

    def _tell(self, row: Row) -> None:
        for follower in self._followers:
            follower(row)

    def _queue(self, sql: str, values: tuple[Any, ...]) -> None:
        self._pending.append((sql, values))
        self._waiting.set()

    # What follows happens where the disk is, one call after the other.

    def _read_back(self) -> None:
        replay(self._store.read, self.account, self._tell)
        newest = [self._store.read(f"SELECT max(seq) FROM {table}")[0][0] for table in TABLES.values()]  # noqa: S608 - our own names
        self._seq = max(self.account.through, *(each or 0 for each in newest))
        found = self._store.read("SELECT value FROM meta WHERE name = 'request'")
        self._request = int(found[0][0]) if found else 0

    def _write_pending(self) -> None:
        rows = tuple(self._pending)
        if not rows:
            return
        self._store.write(rows)
        for _ in rows:
            self._pending.popleft()
