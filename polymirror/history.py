"""The tops of some books over time, as a table: for a notebook, a chart, or a look back at what a bot could see.

A :class:`History` is told of changes by a mirror and keeps what :meth:`~polymirror.mirror.Mirror.top` then says: one
row for each change, the oldest dropped first. Times when a book could not be read have their row, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, Self

from attrs import frozen

from polymirror.config import check_age
from polymirror.core.frames import PRICE, SIZE, make_frame
from polymirror.core.level import Level
from polymirror.core.states import BookState
from polymirror.core.top import Top
from polymirror.errors import ConfigError, NotLive, UnknownToken
from polymirror.shell.subscribers import Update

MAX_ROWS: Final = 10_000_000
"""No history keeps more rows than this: some 3 GB."""

MAX_SHOWN: Final = 200_000
"""Tokens whose last row is remembered: as many as a mirror can have."""

_PRICES: Final = {"bid": PRICE, "bid_size": SIZE, "ask": PRICE, "ask_size": SIZE}


class Source(Protocol):
    """What a history needs of a mirror."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens that are known now."""
        ...

    def now(self) -> float:
        """Return the mirror's clock, in seconds."""
        ...

    def top(self, token: str, max_proof_age: float | None = None) -> Top:
        """Return the proven top or raise NotLive."""
        ...

    def on_update(self, callback: Callable[[Update], None], *tokens: str) -> Callable[[], None]:
        """Call back after changes of these tokens (none: all); return what ends that."""
        ...


@frozen
class Row:
    """A top as it was read; or that there was none to read: then the last four are None."""

    at: float
    """When that was, in seconds on the mirror's clock."""
    token: str
    state: BookState
    """LIVE with nothing read: its proof was older than the history allows."""
    exchange_ms: int | None
    """The venue's time of the newest change in these levels, in ms since 1970."""
    verified_age: float | None
    """Seconds from the proof of these levels to the read."""
    best_bid: Level | None
    """None with an :attr:`exchange_ms`: nobody bids."""
    best_ask: Level | None


class History:
    """Records the tops of some tokens of a mirror (none given: all), until :meth:`close` or the end of its ``with``.

    ``limit`` is the most rows that are kept (1 to 10,000,000), ``max_proof_age`` that of each read in seconds. A row is
    added when the top of a book changes, or whether it can be read; changes within one turn of the event loop are one.
    Raises ConfigError for a bad limit or age.
    """

    def __init__(self, mirror: Source, *tokens: str, limit: int = 100_000, max_proof_age: float | None = None) -> None:
        if max_proof_age is not None:
            check_age("max_proof_age", max_proof_age)
        self._mirror = mirror
        self._max_proof_age = max_proof_age
        self._rows: deque[Row] = deque(maxlen=_checked(limit))
        # What each token's last row shows, its times apart.
        self._shown: dict[str, tuple[object, ...]] = {}
        self._remove = mirror.on_update(self._told, *tokens)
        for token in tokens or mirror.tokens:
            self._read(token)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows that are kept, oldest first."""
        return tuple(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def to_frame(self, library: str = "pandas", *, floats: bool = False) -> Any:
        """Return the rows as a DataFrame of ``pandas`` or ``polars``, oldest first.

        Columns: ``at``, ``token``, ``state``, ``exchange_ms`` and ``verified_age`` as in :class:`Row`; ``bid`` and
        ``ask`` in pUSD, ``bid_size`` and ``ask_size`` in shares: exact Decimals, with ``floats`` 64-bit floats. For any
        thread: while a mirror runs have it made in another one, ``await asyncio.to_thread(history.to_frame)``, because
        a million rows take seconds, and the first table imports the library. Raises as
        :meth:`polymirror.core.view.BookView.to_frame` does.
        """
        rows = self.rows
        columns: dict[str, Sequence[object]] = {
            "at": [row.at for row in rows],
            "token": [row.token for row in rows],
            "state": [row.state.name for row in rows],
            "exchange_ms": [row.exchange_ms for row in rows],
            "verified_age": [row.verified_age for row in rows],
            "bid": [row.best_bid and row.best_bid.price_e4 for row in rows],
            "bid_size": [row.best_bid and row.best_bid.size_e6 for row in rows],
            "ask": [row.best_ask and row.best_ask.price_e4 for row in rows],
            "ask_size": [row.best_ask and row.best_ask.size_e6 for row in rows],
        }
        return make_frame(library, columns, _PRICES, floats=floats)

    def close(self) -> None:
        """Record no more; what was recorded stays."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _told(self, update: Update) -> None:
        if update.state is BookState.LIVE:
            self._read(update.token)
        else:
            # Not read, so that the mirror counts no refusal that nobody asked for.
            self._keep(Row(self._mirror.now(), update.token, update.state, None, None, None, None))

    def _read(self, token: str) -> None:
        try:
            top = self._mirror.top(token, self._max_proof_age)
        except NotLive as refused:
            self._keep(Row(self._mirror.now(), token, refused.state, None, None, None, None))
        except UnknownToken:
            # Removed meanwhile, or not looked up yet.
            pass
        else:
            live, age = BookState.LIVE, top.verified_age
            self._keep(Row(top.read_at, token, live, top.exchange_ms, age, top.best_bid, top.best_ask))

    def _keep(self, row: Row) -> None:
        shown = (row.state, row.exchange_ms is None, row.best_bid, row.best_ask)
        if shown != self._shown.get(row.token):
            if len(self._shown) >= MAX_SHOWN:
                # Tokens come and go for weeks: at worst a row is added that shows what the last one did.
                self._shown.clear()
            self._shown[row.token] = shown
            self._rows.append(row)


def _checked(limit: object) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_ROWS:
        raise ConfigError("limit", limit, f"a whole number from 1 to {MAX_ROWS} rows")
    return limit
