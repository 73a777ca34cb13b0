"""Rows of CSV, JSON lines, Parquet and SQLite, plain or gzipped, with their columns checked. Knows no layout.

:func:`rows` is what the layouts are read through. A file that lacks a column is refused in one sentence that says
which, and which it has. Every row is a dict of the wanted columns alone; CSV gives texts, the others what they hold.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
from contextlib import closing
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, cast

from bots.common.errors import BotError
from polymirror.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MAX_ROWS: Final = 50_000_000
"""Rows of one file; the rest is refused, not left out."""

MAX_LINE_BYTES: Final = 32 * 2**20
MAX_JSON_BYTES: Final = 256 * 2**20
"""Of a file that is one JSON document, unpacked."""

BATCH: Final = 10_000


class DataError(BotError):
    """A file of data cannot be used. The text names the file and what is wrong with it."""


def rows(path: Path, columns: Sequence[str], table: str = "") -> Iterator[dict[str, Any]]:
    """Yield a file's rows. ``table`` names one of a SQLite file; left out, it must have exactly one.

    Raises DataError, and MissingExtra for Parquet without pyarrow.
    """
    for number, row in enumerate(_rows(path, columns, table)):
        if number >= MAX_ROWS:
            raise DataError(f"{path.name}: more than {MAX_ROWS} rows; split it")
        yield row


def document(path: Path) -> Any:
    """Return what a JSON file holds, plain or gzipped. Raises DataError."""
    try:
        with _opened(path) as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise DataError(f"{path.name}: over {MAX_JSON_BYTES} bytes")
        return json.loads(data)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: cannot be read as JSON ({type(error).__name__}: {error})") from None


def require(path: Path, found: Iterable[str], columns: Sequence[str]) -> None:
    """Raise DataError unless all columns are there."""
    there = list(found)
    if missing := [name for name in columns if name not in there]:
        raise DataError(f"{path.name}: lacks {', '.join(missing)}; it has {', '.join(there) or 'no columns'}")


def columns_of(path: Path, table: str = "") -> list[str]:
    """Return the names of a file's columns. Raises DataError."""
    kind = _kind(path)
    if kind == "parquet":
        return list(_parquet(path).schema_arrow.names)
    if kind == "sqlite":
        with closing(_database(path)) as database:
            name = _table(path, database, table)
            return [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')]
    with _opened(path) as file:
        first = file.readline(MAX_LINE_BYTES)
    if kind == "csv":
        return next(csv.reader([first.decode("utf-8-sig", "replace")]), [])
    return list(_object(path, first, 1))


def _rows(path: Path, columns: Sequence[str], table: str) -> Iterator[dict[str, Any]]:
    kind = _kind(path)
    try:
        if kind == "csv":
            yield from _csv_rows(path, columns)
        elif kind == "jsonl":
            yield from _json_rows(path, columns)
        elif kind == "parquet":
            file = _parquet(path)
            require(path, file.schema_arrow.names, columns)
            for batch in file.iter_batches(batch_size=BATCH, columns=list(columns)):
                yield from cast("list[dict[str, Any]]", batch.to_pylist())
        else:
            yield from _sqlite_rows(path, columns, table)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, sqlite3.Error) as error:
        raise DataError(f"{path.name}: cannot be read ({type(error).__name__}: {error})") from None


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    for kind, endings in {
        "csv": (".csv",),
        "jsonl": (".jsonl", ".ndjson"),
        "parquet": (".parquet",),
        "sqlite": (".sqlite", ".sqlite3", ".db"),
    }.items():
        if name.endswith(endings):
            return kind
    raise DataError(f"{path.name}: not a file of .csv, .jsonl, .parquet or .sqlite (.gz allowed for the first two)")


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        require(path, head, columns)
        places = [head.index(name) for name in columns]
        for row in reader:
            if len(row) < len(head):
                if not row:
                    continue
                raise DataError(f"{path.name}, line {reader.line_num}: {len(row)} fields, and {len(head)} columns")
            yield {name: row[place] for name, place in zip(columns, places, strict=True)}


def _json_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with _opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=1):
            if line.strip():
                row = _object(path, line, number)
                require(path, row, columns)
                yield {name: row[name] for name in columns}


def _object(path: Path, line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{path.name}, line {number}: not JSON") from None
    if not isinstance(row, dict):
        raise DataError(f"{path.name}, line {number}: not an object")
    return row


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise MissingExtra("Parquet", "recordings") from error
    try:
        return parquet.ParquetFile(path)
    except ArrowException as error:
        raise DataError(f"{path.name}: cannot be read as Parquet ({error})") from None


def _database(path: Path) -> sqlite3.Connection:
    # Read only: somebody else's file is never written to, nor made.
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _table(path: Path, database: sqlite3.Connection, wanted: str) -> str:
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
    try:
        names = [row[0] for row in database.execute(query)]
    except sqlite3.Error as error:
        raise DataError(f"{path.name}: cannot be read as SQLite ({error})") from None
    if wanted in names or (not wanted and len(names) == 1):
        return wanted or names[0]
    raise DataError(f"{path.name}: name a table: it has {', '.join(names) or 'none'}")


def _sqlite_rows(path: Path, columns: Sequence[str], table: str) -> Iterator[dict[str, Any]]:
    require(path, columns_of(path, table), columns)
    with closing(_database(path)) as database:
        name = _table(path, database, table)
        quoted = ", ".join('"' + each.replace('"', '""') + '"' for each in columns)
        # Column and table names were just read from the file itself.
        found = database.execute(f'SELECT {quoted} FROM "{name}"')  # noqa: S608
        while batch := list(islice(found, BATCH)):
            for row in batch:
                yield dict(zip(columns, row, strict=True))
