"""CSV in the form of tardis.dev's ``incremental_book_L2``: a row for each level that was told.

The columns are ``exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount``: times in microseconds since
1970, ``amount`` the new size (0 removes the level), ``is_snapshot`` true for the levels of a whole book, which replaces
what was there. https://docs.tardis.dev/downloadable-csv-files/data-types
"""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Final

from polymirror.core.units import price_to_wire, size_to_wire
from polymirror.errors import DecodeError
from polymirror.files import new_file
from polymirror.journal.export.rows import Delta, Row, Whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

COLUMNS: Final = ("exchange", "symbol", "timestamp", "local_timestamp", "is_snapshot", "side", "price", "amount")

EXCHANGE: Final = "polymarket"


def write_tardis(rows: Iterable[Row], path: Path) -> int:
    """Write a CSV file, packed with gzip; return its rows. Trades and proofs are left out.

    The market of a token is not in the format, nor is a whole book without any level. Raises OSError, also for a file
    that is there already.
    """
    count = 0
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_file(path) as packed, gzip.open(packed, "wt", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            if isinstance(row, Delta):
                levels = [("bid" if row.is_bid else "ask", row.price_e4, row.size_e6)]
            elif isinstance(row, Whole):
                levels = [(side, *each) for side, all_ in (("bid", row.bids), ("ask", row.asks)) for each in all_]
            else:
                continue
            is_snapshot = "true" if isinstance(row, Whole) else "false"
            for side, price, size in levels:
                writer.writerow((
                    EXCHANGE, row.token, row.exchange_ms * 1000, row.local_ns // 1000, is_snapshot, side,
                    price_to_wire(price), size_to_wire(size),
                ))  # fmt: skip
                count += 1
    return count


def read_tardis(path: Path) -> Iterator[Delta | Whole]:
    """Yield changes and whole books of a file; their market is empty, their local time in whole microseconds.

    Raises OSError, and DecodeError for what is no such file.
    """
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DecodeError(str(path), f"its columns are not {','.join(COLUMNS)}")
        keys = ("symbol", "timestamp", "local_timestamp", "is_snapshot")
        for (token, stamp, local, is_snapshot), group in groupby(reader, lambda row: tuple(row[key] for key in keys)):
            at_ms, local_ns = int(stamp) // 1000, int(local) * 1000
            levels = [
                (row["side"] == "bid", int(Decimal(row["price"]) * 10_000), int(Decimal(row["amount"]) * 1_000_000))
                for row in group
            ]
            if is_snapshot == "true":
                bids, asks = (
                    tuple((price, size) for is_bid, price, size in levels if is_bid is wanted)
                    for wanted in (True, False)
                )
                yield Whole(local_ns, at_ms, "", token, bids, asks)
                continue
            for is_bid, price, size in levels:
                yield Delta(local_ns, at_ms, "", token, is_bid, price, size)
