"""Parquet: a folder with the tables ``levels``, ``deltas``, ``trades`` and ``proofs``.

Prices and sizes are exact decimals, in pUSD and shares; times of day are UTC timestamps, in ns where this machine read
them and in ms where the venue stated them. Needs the extra ``export``.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from polymirror.core.units import price_to_decimal, size_to_decimal
from polymirror.errors import MissingExtra
from polymirror.files import new_file
from polymirror.journal.export.rows import Delta, Proven, Row, TradeRow, Whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal
    from pathlib import Path

EXTRA: Final = "export"

ROWS_AT_ONCE: Final = 8_192
"""Rows that are held before they are written."""

TABLES: Final = ("levels", "deltas", "trades", "proofs")


def _arrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("an export to Parquet", EXTRA) from error


def _schemas(pa: Any) -> dict[str, Any]:
    """The columns of each table."""
    price, size = pa.decimal128(9, 4), pa.decimal128(28, 6)
    common = [
        ("local_time", pa.timestamp("ns", "UTC")), ("exchange_time", pa.timestamp("ms", "UTC")),
        ("market", pa.string()), ("token", pa.string()),
    ]  # fmt: skip
    level = [("side", pa.string()), ("price", price), ("size", size)]
    return {
        # One row a level; those of one whole book have the same number, and one without a level has a row with neither.
        "levels": pa.schema([*common, ("book", pa.int64()), *level]),
        "deltas": pa.schema([*common, *level]),
        "trades": pa.schema([*common, *level, ("transaction_hash", pa.string())]),
        "proofs": pa.schema([
            *common, ("epoch", pa.int64()), ("proof", pa.string()), ("age_ns", pa.int64()), ("settled", pa.bool_()),
            ("best_bid", price), ("best_ask", price),
        ]),
    }  # fmt: skip


def write_parquet(rows: Iterable[Row], folder: Path) -> dict[str, int]:
    """Write the four tables to ``folder``; return how many rows each has.

    Raises MissingExtra, and OSError, also for a table that is there already.
    """
    pa, parquet = _arrow()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    schemas = _schemas(pa)
    held: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    counts = dict.fromkeys(TABLES, 0)
    books = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(new_file(folder / f"{name}.parquet")) for name in TABLES}
        writers = {
            name: stack.enter_context(parquet.ParquetWriter(file, schemas[name], compression="zstd"))
            for name, file in files.items()
        }

        def write(name: str) -> None:
            writers[name].write_table(pa.Table.from_pylist(held[name], schema=schemas[name]))
            counts[name] += len(held[name])
            held[name].clear()

        for row in rows:
            books += isinstance(row, Whole)
            name, made = _made(row, books)
            held[name] += made
            if len(held[name]) >= ROWS_AT_ONCE:
                write(name)
        for name in TABLES:
            write(name)
    return counts


def _made(row: Row, books: int) -> tuple[str, list[dict[str, Any]]]:
    common = {
        "local_time": row.local_ns, "exchange_time": row.exchange_ms, "market": row.market, "token": row.token,
    }  # fmt: skip
    if isinstance(row, Delta):
        return "deltas", [common | _level("bid" if row.is_bid else "ask", row.price_e4, row.size_e6)]
    if isinstance(row, Whole):
        sides = {"bid": row.bids, "ask": row.asks}
        levels = [_level(side, *level) for side, each in sides.items() for level in each]
        return "levels", [common | {"book": books} | level for level in levels or [{}]]
    if isinstance(row, TradeRow):
        level = _level(row.side, row.price_e4, row.size_e6)
        return "trades", [common | level | {"transaction_hash": row.transaction_hash}]
    return "proofs", [
        common
        | {
            "epoch": row.epoch, "proof": row.proof, "age_ns": row.age_ns, "settled": row.settled,
            "best_bid": None if row.best_bid_e4 is None else price_to_decimal(row.best_bid_e4),
            "best_ask": None if row.best_ask_e4 is None else price_to_decimal(row.best_ask_e4),
        }
    ]  # fmt: skip


def _level(side: str, price_e4: int, size_e6: int) -> dict[str, Any]:
    return {"side": side, "price": price_to_decimal(price_e4), "size": size_to_decimal(size_e6)}


def read_parquet(folder: Path) -> Iterator[Row]:
    """Yield the rows of each table, one table after the other. Raises MissingExtra and OSError."""
    _, parquet = _arrow()
    for name in TABLES:
        # A whole book is put together again from its levels.
        whole: list[dict[str, Any]] = []
        file = parquet.ParquetFile(folder / f"{name}.parquet")
        for batch in file.iter_batches(ROWS_AT_ONCE):
            times = {each: batch.column(each).cast("int64").to_pylist() for each in ("local_time", "exchange_time")}
            kept = [column for column in batch.schema.names if column not in times]
            for number, row in enumerate(batch.select(kept).to_pylist()):
                given = row | {each: values[number] for each, values in times.items()}
                if name != "levels":
                    yield _read(name, given)
                    continue
                if whole and whole[0]["book"] != given["book"]:
                    yield _whole(whole)
                    whole = []
                whole.append(given)
        if whole:
            yield _whole(whole)


def _read(name: str, row: dict[str, Any]) -> Row:
    common = (row["local_time"], row["exchange_time"], row["market"], row["token"])
    if name == "proofs":
        return Proven(
            *common, row["epoch"], row["proof"], row["age_ns"], row["settled"],
            _e4(row["best_bid"]), _e4(row["best_ask"]),
        )  # fmt: skip
    price, size = int(row["price"] * 10_000), int(row["size"] * 1_000_000)
    if name == "deltas":
        return Delta(*common, row["side"] == "bid", price, size)
    return TradeRow(*common, row["side"], price, size, row["transaction_hash"])


def _whole(levels: list[dict[str, Any]]) -> Whole:
    first = levels[0]
    sides = [
        tuple(
            (int(each["price"] * 10_000), int(each["size"] * 1_000_000)) for each in levels if each.get("side") == side
        )
        for side in ("bid", "ask")
    ]
    return Whole(first["local_time"], first["exchange_time"], first["market"], first["token"], sides[0], sides[1])


def _e4(price: Decimal | None) -> int | None:
    return None if price is None else int(price * 10_000)
