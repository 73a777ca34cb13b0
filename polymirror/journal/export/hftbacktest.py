"""Events for hftbacktest: an ``.npz`` file for each token, with the array ``data`` of its own structure.

Each event has flags and kind (``ev``), the times of exchange and receipt in ns, a price and a quantity as floats, which
is what that program reads. A whole book clears both sides and brings its levels. hftbacktest wants times that never go
back and no event that is received before it was sent: so a time of the exchange is never before the one ahead of it,
and one of receipt never before that of the exchange. Needs the extra ``export``.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from polymirror.errors import MissingExtra
from polymirror.files import new_file
from polymirror.journal.export.rows import Delta, Row, TradeRow, Whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

EXTRA: Final = "export"

DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
"""Kinds of events: a change, a trade, the end of a side up to a price, a level of a whole book."""

EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
"""Flags: valid at the exchange, valid here; a bid or a buyer's trade, an ask or a seller's."""

KIND: Final = 0xFF
"""The part of ``ev`` that is no flag."""

FIELDS: Final = (
    ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"), ("order_id", "<u8"),
    ("ival", "<i8"), ("fval", "<f8"),
)  # fmt: skip

Event = tuple[int, int, int, float, float, int, int, float]


def _numpy() -> Any:
    try:
        return import_module("numpy")
    except ImportError as error:
        raise MissingExtra("an export for hftbacktest", EXTRA) from error


class _Token:
    """The events of one token, and the newest times."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._exchange_ns = 0
        self._local_ns = 0

    def add(self, row: Row, events: Iterable[tuple[int, float, float]]) -> None:
        self._exchange_ns = max(self._exchange_ns, row.exchange_ms * 1_000_000)
        self._local_ns = max(self._local_ns, row.local_ns, self._exchange_ns)
        for ev, price, quantity in events:
            flags = EXCHANGE | LOCAL | ev
            self.events.append((flags, self._exchange_ns, self._local_ns, price, quantity, 0, 0, 0.0))


def write_hftbacktest(rows: Iterable[Row], folder: Path) -> dict[str, int]:
    """Write ``TOKEN.npz`` for each token to ``folder``; return how many events each has.

    All events of a token are held meanwhile: 64 bytes each, and more while they are gathered. Raises MissingExtra and
    OSError, also for a file that is there already.
    """
    numpy = _numpy()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tokens: dict[str, _Token] = {}
    for row in rows:
        events = list(_events(row))
        if events:
            tokens.setdefault(row.token, _Token()).add(row, events)
    with ExitStack() as stack:
        # All or none.
        files = {name: stack.enter_context(new_file(folder / f"{name}.npz")) for name in tokens}
        for name, token in tokens.items():
            data = numpy.array(token.events, dtype=numpy.dtype(list(FIELDS), align=True))
            numpy.savez_compressed(files[name], data=data)
    return {name: len(token.events) for name, token in tokens.items()}


def _events(row: Row) -> Iterator[tuple[int, float, float]]:
    if isinstance(row, Delta):
        yield DEPTH | (BUY if row.is_bid else SELL), row.price_e4 / 10_000, row.size_e6 / 1_000_000
    elif isinstance(row, Whole):
        # All bids down to 0, all asks up to 1.
        yield CLEAR | BUY, 0.0, 0.0
        yield CLEAR | SELL, 1.0, 0.0
        for side, levels in ((BUY, row.bids), (SELL, row.asks)):
            for price, size in levels:
                yield SNAPSHOT | side, price / 10_000, size / 1_000_000
    elif isinstance(row, TradeRow):
        yield TRADE | (SELL if row.side == "SELL" else BUY), row.price_e4 / 10_000, row.size_e6 / 1_000_000


def read_hftbacktest(path: Path) -> Iterator[Delta | Whole | TradeRow]:
    """Yield what a file holds; its name is the token, the market is empty. Raises MissingExtra and OSError."""
    numpy = _numpy()
    with numpy.load(path) as held:
        data = held["data"]
    token, whole, at = path.stem, [[], []], (0, 0)  # type: tuple[str, list[list[tuple[int, int]]], tuple[int, int]]
    is_open = False
    for ev, exchange_ns, local_ns, price, quantity, *_ in data.tolist():
        kind, level = ev & KIND, (round(price * 10_000), round(quantity * 1_000_000))
        if is_open and kind != SNAPSHOT and not (kind == CLEAR and ev & SELL):
            yield Whole(*at, "", token, tuple(whole[0]), tuple(whole[1]))
            is_open = False
        common = (local_ns, exchange_ns // 1_000_000)
        if kind == CLEAR and ev & BUY:
            is_open, whole, at = True, [[], []], common
        elif kind == SNAPSHOT:
            whole[0 if ev & BUY else 1].append(level)
        elif kind == DEPTH:
            yield Delta(*common, "", token, bool(ev & BUY), *level)
        elif kind == TRADE:
            yield TradeRow(*common, "", token, "BUY" if ev & BUY else "SELL", *level, "")
    if is_open:
        yield Whole(*at, "", token, tuple(whole[0]), tuple(whole[1]))
