"""The intent log: what a bot is about to do is on the disk before it does it.

:class:`IntentLog` writes one line per record (:mod:`bots.common.ledger.records`) and books it in the bot's
:class:`~bots.common.ledger.account.Account` in the same step. An order may leave when :meth:`IntentLog.begin` has
returned, not earlier: whatever happens then, the next start finds it and looks up its fate. Reading the log back
is here, too; what to do about what is found is in :mod:`bots.common.orders.reconcile`.

The account and whoever follows the log (risk) are told *before* the disk is: a snapshot of the state taken at any
moment is then whole as of the newest record, whether or not the log's own line has reached the disk yet.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.common.errors import BotError
from bots.common.ledger.account import ZERO, AlreadyBegun
from bots.common.ledger.files import inline
from bots.common.ledger.records import BadLine, Begun, Corrected, Finished, Settled, decode, encode, seal, take, unseal
from bots.common.orders.order import Outcome, Result, Side

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from bots.common.ledger.account import Account, Position
    from bots.common.ledger.files import Files, Offload
    from bots.common.ledger.records import Record
    from bots.common.orders.order import Order
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

NAME: Final = "intents.jsonl"
ARCHIVE: Final = "intents.old.jsonl"
"""What the log held before it was last shortened; for people, the bot never reads it."""

COMPACT_BYTES: Final = 256 * 2**10
"""A log larger than this is shortened when the state file has been written."""

MAX_LOG_BYTES: Final = 16 * 2**20
"""With a log this large no order is begun: the state file is not being written."""

MAX_PENDING: Final = 1_000
"""With so many lines that could not be written no order is begun."""

NUL: Final = b"\0"
"""Some file systems put these in the place of what did not reach the disk; the log itself never holds one."""


class CorruptLog(BotError):  # noqa: N818 - a fact
    """A line of the log was changed, or the state file that it goes on from is gone. Nothing is guessed."""


class LogFull(BotError):  # noqa: N818 - a fact
    """The log was not shortened for too long, because the state file cannot be written. No order is begun."""


@frozen
class Contents:
    """What a log file holds."""

    base: int
    """Records up to this number have been moved to the state file."""
    records: tuple[Record, ...]
    size: int
    """Bytes of whole lines. What follows them is the beginning of a line whose writing was interrupted."""


def read_log(data: bytes, name: str = NAME) -> Contents:
    """Read a log file. Raises CorruptLog, with the number of the line.

    Only the very end may be damaged: lines are synced one by one, so all but the last were whole once. An end
    without a line feed, or with NUL bytes, never was, and its order has not left.
    """
    base, number, size, records = 0, 0, 0, []
    lines = data.split(b"\n")
    for index, line in enumerate(lines[:-1]):
        try:
            if index == 0 and line.startswith(b'{"base":'):
                base = number = take(unseal(line), "base", int)
            else:
                record = decode_after(number, line)
                number = record.number
                records.append(record)
        except (BadLine, BotError) as error:
            if NUL in line and not any(part.strip(NUL) for part in lines[index + 1 :]):
                break
            advice = "the disk or a person changed it: restore it from a copy, or ask the venue and remove it"
            raise CorruptLog(f"{name}, line {index + 1}: {error}; {advice}") from error
        size += len(line) + 1
    return Contents(base, tuple(records), size)


def decode_after(number: int, line: bytes) -> Record:
    """Read a line whose record must have a number above ``number``. Raises BadLine."""
    record = decode(line)
    if record.number <= number:
        raise BadLine(f"its number {record.number} does not follow {number}")
    return record


class IntentLog:
    """The log of one bot. Call :meth:`open` first. Calls may overlap; their lines keep their order.

    ``account`` and ``followers`` are told of every record, on opening those that the account has not seen.
    """

    def __init__(
        self,
        files: Files,
        account: Account,
        network: Network,
        *,
        offload: Offload = inline,
        followers: tuple[Callable[[Record], None], ...] = (),
    ) -> None:
        self.account = account
        self._files = files
        self._network = network
        self._offload = offload
        self._followers = followers
        # The number of the newest record, on disk or on its way there.
        self._number = account.through
        # Lines that are booked and not on the disk yet, the oldest first. A call that fails or is cancelled leaves
        # its line here for the next one: a hole would make the lines after it unreadable.
        self._pending: deque[bytes] = deque()
        # Bytes of whole lines in the file. Like the next, it is touched only where the disk is, one call at a time.
        self._size = 0
        # True while the file may end in part of a line, because writing it failed.
        self._torn = False

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    async def open(self) -> tuple[Record, ...]:
        """Read the log, mend its end, and book what the account has not seen; return that. Raises CorruptLog."""
        contents = await self._offload(self._recover)
        if contents.base > self.account.through:
            raise CorruptLog(
                f"{NAME} goes on from record {contents.base} of a state file that is missing or older: restore "
                "it from a copy, or close all positions by hand and remove both"
            )
        news = tuple(record for record in contents.records if record.number > self.account.through)
        for record in news:
            self._tell(record)
        newest = contents.records[-1].number if contents.records else contents.base
        self._number = max(self.account.through, newest)
        return news

    def open_intents(self) -> tuple[Begun, ...]:
        """Return the orders that have left, or may have left, and whose fate is not known."""
        return tuple(self.account.open.values())

    async def begin(self, order: Order, *, asset: str = "", reserve: Decimal | None = None) -> None:
        """Write down that an order is about to leave. It may leave when this has returned, and only then.

        ``reserve`` is what it costs at most in pUSD, fee included; ``None``: what it offers. Raises AlreadyBegun,
        LogFull, or OSError from the disk; however it fails, the order is booked as refused and must not leave.
        """
        if self._size > MAX_LOG_BYTES or len(self._pending) > MAX_PENDING:
            raise LogFull(f"{NAME} has {self._size} bytes, {len(self._pending)} lines wait: can the disk be written?")
        if self.account.knows(order.client_id):
            raise AlreadyBegun(order.client_id)
        if reserve is None:
            reserve = order.money if order.side is Side.BUY else ZERO
        number, at_ms = self._next()
        self._book(Begun(number=number, at_ms=at_ms, order=order, asset=asset, reserve=reserve))
        try:
            await self.flush()
        except BaseException:
            # Cancelled or failed: it never leaves, and nothing may stay reserved for it. Should the line have
            # reached the disk all the same, a later start asks the venue, which has never heard of the order.
            number, at_ms = self._next()
            refused = Result(outcome=Outcome.REFUSED, detail="the intent was not written down in time")
            self._book(Finished(number=number, at_ms=at_ms, client_id=order.client_id, result=refused))
            raise

    async def finish(self, client_id: str, result: Result) -> None:
        """Write down the fate of an order. Raises UnknownOrder if it is not open.

        While it is unknown the order stays open, and only the venue's name for it is news: by that name a later
        start can ask for this very order. A failure of the disk (OSError) loses nothing: memory has it, and a later
        start would look it up again.
        """
        no_news = result.order_id is None or result.order_id == self.account.name_of(client_id)
        if not result.decided and client_id in self.account.open and no_news:
            return
        number, at_ms = self._next()
        self._book(Finished(number=number, at_ms=at_ms, client_id=client_id, result=result))
        await self.flush()

    async def settle(self, position: Position, payout: Decimal) -> Settled:
        """Write down that a position is over and paid ``payout`` pUSD in all."""
        number, at_ms = self._next()
        record = Settled(
            number=number,
            at_ms=at_ms,
            market=position.market,
            token=position.token,
            shares=position.shares,
            cost=position.cost,
            payout=payout,
        )
        self._book(record)
        await self.flush()
        return record

    async def correct(self, position: Position, why: str) -> Corrected:
        """Write down that from here on we hold what the venue says: ``position``, with no shares if nothing."""
        number, at_ms = self._next()
        record = Corrected(
            number=number,
            at_ms=at_ms,
            market=position.market,
            token=position.token,
            shares=position.shares,
            cost=position.cost,
            why=why,
        )
        self._book(record)
        await self.flush()
        return record

    async def flush(self) -> None:
        """Write what is not on the disk yet. Raises OSError; nothing is lost by it, the next call tries again."""
        await self._offload(self._append_pending)

    async def compact(self, through: int) -> None:
        """Drop the records up to ``through``, which a state file on the disk holds, once the log is large.

        What is dropped stays readable for people in the archive file until the next time.
        """
        if self._size > COMPACT_BYTES:
            await self._offload(lambda: self._shorten(through))

    def now_ms(self) -> int:
        """Return the wall clock in Unix milliseconds."""
        return int(self._network.wall() * 1000)

    def _next(self) -> tuple[int, int]:
        self._number += 1
        return self._number, self.now_ms()

    def _book(self, record: Record) -> None:
        self._tell(record)
        self._pending.append(encode(record) + b"\n")

    def _tell(self, record: Record) -> None:
        self.account.apply(record)
        for follower in self._followers:
            follower(record)

    # What follows happens where the disk is, one call after the other.

    def _recover(self) -> Contents:
        data = self._files.read(NAME)
        if data is None:
            return Contents(0, (), 0)
        contents = read_log(data)
        if contents.size < len(data):
            log.warning("%s: the last %d bytes were not written whole and are dropped", NAME, len(data) - contents.size)
        # Also when nothing is cut: what a killed process wrote and did not sync is made durable by it.
        self._files.cut(NAME, contents.size)
        self._size = contents.size
        return contents

    def _append_pending(self) -> None:
        lines = tuple(self._pending)
        if not lines:
            return
        if self._torn:
            self._files.cut(NAME, self._size)
        text = b"".join(lines)
        self._torn = True
        self._files.append(NAME, text)
        self._torn = False
        self._size += len(text)
        for _ in lines:
            self._pending.popleft()

    def _shorten(self, through: int) -> None:
        self._append_pending()
        data = self._files.read(NAME) or b""
        contents = read_log(data)
        kept = [seal({"base": through}), *(encode(record) for record in contents.records if record.number > through)]
        text = b"".join(line + b"\n" for line in kept)
        self._files.replace(ARCHIVE, data)
        self._files.replace(NAME, text)
        self._size, self._torn = len(text), False
