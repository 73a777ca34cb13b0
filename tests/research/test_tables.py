"""Rows of every kind of file, and what is said of those that cannot be used."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from bots.research.loaders.tables import DataError, columns_of, document, rows

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]


def written(folder: Path, name: str) -> Path:
    path = folder / name
    text = "a,b\n1,x\n2,y\n" if "csv" in name else "".join(json.dumps(row) + "\n" for row in ROWS)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith(".sqlite"):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE prices (a TEXT, b TEXT)")
            database.executemany("INSERT INTO prices VALUES (:a, :b)", ROWS)
    else:
        path.write_text(text, encoding="utf-8")
    return path


KINDS = ["r.csv", "r.csv.gz", "r.jsonl", "r.jsonl.gz", "r.parquet", "r.sqlite"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_wanted_columns(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    assert columns_of(path) == ["a", "b"]
    assert list(rows(path, ("b",))) == [{"b": "x"}, {"b": "y"}]


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"lacks ask, bid; it has a, b"):
        list(rows(written(tmp_path, name), ("a", "ask", "bid")))


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_an_error_of_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x00 no such thing \xff\xfe")
    with pytest.raises(DataError) as raised:
        list(rows(path, ("a",)))
    assert "\n" not in str(raised.value)


def test_a_file_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.txt: not a file of"):
        list(rows(tmp_path / "x.txt", ("a",)))


def test_a_short_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("a,b\n1,x\n2\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3: 1 fields, and 2 columns"):
        list(rows(path, ("a",)))


def test_of_several_tables_one_must_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "r.sqlite")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE others (c TEXT)")
    with pytest.raises(DataError, match="name a table: it has others, prices"):
        list(rows(path, ("a",)))
    assert len(list(rows(path, ("a",), "prices"))) == 2
    with pytest.raises(DataError, match="name a table"):
        list(rows(path, ("a",), "prices; DROP TABLE prices"))


def test_a_database_is_only_read(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        list(rows(tmp_path / "none.sqlite", ("a",)))
    assert not (tmp_path / "none.sqlite").exists()


def test_a_document_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.json: cannot be read as JSON"):
        document(path)
