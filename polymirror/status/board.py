"""What the page shows: one message with everything, then messages with what changed since the one before.

Made of :meth:`~polymirror.mirror.Mirror.status`, which is the only source, and of the :mod:`trail <.trail>`. Times are
seconds on the mirror's clock, and each message says what that shows: an age that grows is no change, so a quiet book
costs nothing but to be looked at. Read by the page and by ``polymirror top``; other programs read ``/status``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from polymirror.core.states import BookState, Reason
from polymirror.core.units import PRICE_SCALE, price_to_wire, size_to_wire
from polymirror.harmless import harmless
from polymirror.status.trail import CELL_SECONDS, Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.core.status import TokenStatus
    from polymirror.status.health import MirrorStatus
    from polymirror.status.observed import Observed

COLUMNS: Final = (
    "state", "reason", "since", "proven", "proof", "settled", "epoch", "doubts", "refused", "resyncs", "planned",
    "bid", "bid_size", "ask", "ask_size", "bids", "asks",
)  # fmt: skip
"""What a row has after its key. ``since`` and ``proven``: moments; ``resyncs`` those that were not planned; ``bid`` and
``ask`` with their sizes: the best levels of a LIVE book; ``bids`` and ``asks``: how many levels there are."""

MAX_NAMED: Final = 20
"""Sockets, and things that are not found, that a message names."""

STATES: Final = {
    state: state.name
    for state in (BookState.LIVE, BookState.SUSPECT, BookState.RESYNCING, BookState.UNPRIMED, BookState.RETIRED)
}

Row = tuple[object, ...]


class Board:
    """The newest message, and what it takes to tell what changed since. Not for two threads."""

    def __init__(
        self, mirror: Observed, trail: Trail, problems: Callable[[MirrorStatus], Sequence[str]], title: str
    ) -> None:
        self._mirror = mirror
        self._trail = trail
        self._problems = problems
        self._title = title
        # When this began to be told.
        self._began = mirror.now()
        # By token: the small number that stands for it.
        self._keys: dict[str, int] = {}
        self._next_key = 0
        self._names: dict[str, tuple[str | None, str | None]] = {}
        self._rows: dict[str, Row] = {}
        self._head: dict[str, Any] = {}
        # When the frames were counted last, and how many there were.
        self._counted: tuple[float, int] | None = None

    def update(self) -> bytes:
        """Look at the mirror, and return what changed as JSON."""
        status = self._mirror.status()
        names, rows, strips = {}, [], {}
        for each in status.tokens:
            token, row = each.token, self._row(each, status.at)
            key = self._key(token)
            name = (_shown(each.slug), _shown(each.outcome))
            before = self._rows.get(token)
            self._trail.see(token, each.state, status.at)
            if before is None or self._names[token] != name:
                names[key] = (token, *name)
            if before != row:
                rows.append((key, *row))
                # A strip goes on by itself while its state lasts.
                if before is None or before[:3] != row[:3]:
                    strips[key] = self._trail.letters(token)
            self._rows[token], self._names[token] = row, name
        gone = self._forget(status)
        self._head = self._new_head(status)
        return msgspec.json.encode({"head": self._head, "names": names, "rows": rows, "strips": strips, "gone": gone})

    def whole(self) -> bytes:
        """Return all that the messages up to now came to, as JSON."""
        return msgspec.json.encode(
            {
                "columns": COLUMNS,
                "limit": self._mirror.config.engine.max_proof_age,
                "cell": CELL_SECONDS,
                "head": self._head,
                "names": {self._keys[token]: (token, *name) for token, name in self._names.items()},
                "rows": [(self._keys[token], *row) for token, row in self._rows.items()],
                "strips": {self._keys[token]: self._trail.letters(token) for token in self._rows},
            }
        )

    def _key(self, token: str) -> int:
        key = self._keys.get(token)
        if key is None:
            key = self._keys[token] = self._next_key
            self._next_key += 1
        return key

    def _forget(self, status: MirrorStatus) -> list[int]:
        there = {each.token for each in status.tokens}
        gone = [token for token in self._rows if token not in there]
        for token in gone:
            del self._rows[token], self._names[token]
        self._trail.keep(there, status.at)
        return [self._keys.pop(token) for token in gone]

    def _row(self, book: TokenStatus, at: float) -> Row:
        bid: tuple[str | None, str | None] = (None, None)
        ask = bid
        if book.state is BookState.LIVE:
            raw = self._mirror.peek(book.token).levels
            if raw.bid_keys:
                bid = (price_to_wire(raw.bid_keys[-1]), size_to_wire(raw.bid_sizes[-1]))
            if raw.ask_keys:
                ask = (price_to_wire(PRICE_SCALE - raw.ask_keys[-1]), size_to_wire(raw.ask_sizes[-1]))
        planned = book.resyncs.get(Reason.SCHEDULED.name, 0)
        return (
            book.state.name, book.reason.name, round(book.since, 3),
            None if book.proof_age is None else round(at - book.proof_age, 3),
            None if book.proof is None else book.proof.value, book.settled, book.epoch, book.doubts,
            book.refused_reads, sum(book.resyncs.values()) - planned, planned,
            *bid, *ask, book.bid_levels, book.ask_levels,
        )  # fmt: skip

    def _new_head(self, status: MirrorStatus) -> dict[str, Any]:
        live = [each.proof_age for each in status.tokens if each.state is BookState.LIVE and each.proof_age is not None]
        sockets = status.sockets
        closed = [(each.number, harmless(each.trouble or "connecting")) for each in sockets if not each.is_open]
        lags = [each.lag for each in sockets if each.lag is not None]
        return {
            "title": harmless(self._title),
            "began": self._began,
            "at": round(status.at, 3),
            "running": status.running,
            "states": {name: status.totals.states.get(name, 0) for name in STATES.values()},
            "oldest": max(live, default=None),
            "clock": status.clock.uncertainty,
            "sockets": len(sockets),
            "closed": closed[:MAX_NAMED],
            "closed_count": len(closed),
            "trouble": harmless(status.trouble),
            "lag": max(lags, default=None),
            "budget": status.rest.budget_left,
            "reads": (status.reads_granted, status.reads_refused),
            "frames": status.totals.frames,
            "rate": self._rate(status),
            "missing": [(harmless(name), harmless(why)) for name, why in list(status.missing.items())[:MAX_NAMED]],
            "missing_count": len(status.missing),
            "problems": self._problems(status),
        }

    def _rate(self, status: MirrorStatus) -> float | None:
        """Frames a second since the message before; None with the first."""
        before, self._counted = self._counted, (status.at, status.totals.frames)
        if before is None or status.at <= before[0]:
            return None
        return round((status.totals.frames - before[1]) / (status.at - before[0]), 1)


def _shown(name: str | None) -> str | None:
    return None if name is None else harmless(name)
