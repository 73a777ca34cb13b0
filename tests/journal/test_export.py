"""What is exported is read back equal, and books put together from it are those of the replay."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import stat
import sys

import numpy as np
import pytest
from msgspec.structs import replace

from polymirror.commands.app import run
from polymirror.core.units import parse_price, parse_size
from polymirror.errors import DecodeError, MissingExtra
from polymirror.journal.export.hftbacktest import BUY, EXCHANGE, LOCAL, read_hftbacktest, write_hftbacktest
from polymirror.journal.export.parquet import TABLES, read_parquet, write_parquet
from polymirror.journal.export.rows import Books, Delta, Proven, TradeRow, Whole, rows_of
from polymirror.journal.export.tardis import COLUMNS, read_tardis, write_tardis
from polymirror.journal.reader import sessions
from polymirror.journal.replay import Replay
from tests.core.builders import Exchange
from tests.journal.rig import record, with_a_gap


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("journal")
    record(folder, seconds=30, faults=("disconnect",), rate=10.0)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    rows = list(rows_of(Replay(folder)))
    kinds = {type(row) for row in rows}
    assert kinds == {Delta, Whole, TradeRow, Proven}
    return rows


def books_of(rows) -> Books:
    books = Books()
    for row in rows:
        books.take(row)
    return books


def test_books_put_together_from_the_rows_are_those_of_the_replay(folder):
    replay, books = Replay(folder), Books()
    compared = 0
    for row in rows_of(replay):
        books.take(row)
        if isinstance(row, Proven) and row.settled:
            levels = replay.engine.peek(row.token, 0.0).levels
            assert books.bids[row.token] == dict(zip(levels.bid_keys, levels.bid_sizes, strict=True))
            asks = {10_000 - key: size for key, size in zip(levels.ask_keys, levels.ask_sizes, strict=True)}
            assert books.asks[row.token] == asks
            assert row.best_bid_e4 == max(books.bids[row.token])
            compared += 1
    assert compared > 100


def test_after_a_gap_books_are_those_that_were_recorded_whole():
    exchange, books = Exchange(), Books()
    for row in rows_of(Replay(with_a_gap(exchange))):
        books.take(row)
    for token in exchange.tokens:
        content = exchange.content(token)
        assert books.bids[token] == {parse_price(b["price"]): parse_size(b["size"]) for b in content["bids"]}
        assert books.asks[token] == {parse_price(b["price"]): parse_size(b["size"]) for b in content["asks"]}


def test_an_export_says_what_is_missing_and_that_there_is_nothing(tmp_path, capsys):
    path = tmp_path / "20260101T000000Z-abcdef-00001.jsonl.zst"
    path.write_bytes(with_a_gap(Exchange()))
    options = ["journal", "export", str(path), "--to", "tardis", "--out", str(tmp_path / "out")]
    assert run(options) == 0
    assert "1 lines are missing" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "out")
    assert run([*options, "--token", "123"]) == 2
    assert list((tmp_path / "out").iterdir()) == []
    assert "is of that time and these tokens" in capsys.readouterr().err


def test_parquet_is_read_back_equal(rows, tmp_path):
    counts = write_parquet(rows, tmp_path)
    kinds = dict(zip(TABLES, (Whole, Delta, TradeRow, Proven), strict=True))
    back = list(read_parquet(tmp_path))
    for name, kind in kinds.items():
        assert [row for row in back if isinstance(row, kind)] == [row for row in rows if isinstance(row, kind)]
        if name != "levels":
            assert counts[name] == sum(isinstance(row, kind) for row in rows)


def test_an_empty_book_is_kept_in_parquet(tmp_path):
    empty = [Whole(1, 2, "0xm", "11", (), ()), Whole(3, 4, "0xm", "11", ((4800, 5),), ())]
    write_parquet(empty, tmp_path)
    assert list(read_parquet(tmp_path)) == empty


def test_tardis_csv_is_read_back_equal_but_for_what_it_has_no_column_for(rows, tmp_path):
    path = tmp_path / "x.csv.gz"
    count = write_tardis(rows, path)
    back = list(read_tardis(path))
    told = [row for row in rows if isinstance(row, (Delta, Whole))]
    assert back == [replace(row, market="", local_ns=row.local_ns // 1000 * 1000) for row in told]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert lines[0] == "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    assert len(lines) == count + 1
    assert len(COLUMNS) == 8
    with gzip.open(tmp_path / "y.csv.gz", "wt") as file:
        file.write("a,b\n")
    with pytest.raises(DecodeError, match="its columns are not"):
        list(read_tardis(tmp_path / "y.csv.gz"))


def test_hftbacktest_events_are_in_order_and_give_the_same_books(rows, tmp_path):
    counts = write_hftbacktest(rows, tmp_path)
    want = books_of(rows)
    for token, count in counts.items():
        data = np.load(tmp_path / f"{token}.npz")["data"]
        assert len(data) == count
        assert data.dtype.names == ("ev", "exch_ts", "local_ts", "px", "qty", "order_id", "ival", "fval")
        assert data.dtype.itemsize == 64
        assert (np.diff(data["exch_ts"]) >= 0).all()
        assert (np.diff(data["local_ts"]) >= 0).all()
        assert (data["local_ts"] >= data["exch_ts"]).all()
        assert ((data["ev"] & (EXCHANGE | LOCAL)) == (EXCHANGE | LOCAL)).all()
        assert (data["ev"] & BUY).any()
        back = list(read_hftbacktest(tmp_path / f"{token}.npz"))
        own = [row for row in rows if row.token == token and not isinstance(row, Proven)]
        assert [values_of(row) for row in back] == [values_of(row) for row in own]
        books = books_of(back)
        assert (books.bids[token], books.asks[token]) == (want.bids[token], want.asks[token])


def values_of(row):
    """What does not depend on the times and on what the format has no place for."""
    if isinstance(row, Whole):
        return row.bids, row.asks
    if isinstance(row, Delta):
        return row.is_bid, row.price_e4, row.size_e6
    return row.side or "BUY", row.price_e4, row.size_e6


@pytest.mark.parametrize("form", ["parquet", "tardis", "hftbacktest"])
def test_a_journal_is_exported_from_the_command_line(form, folder, rows, tmp_path, capsys):
    token = next(row.token for row in rows)
    begin = sessions(folder)[0].header.w / 1e9
    assert run(["journal", "export", str(folder), "--to", form, "--out", str(tmp_path / "out"), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert sum(whole["rows"].values()) > 100
    options = ["--token", token, "--from", str(begin + 5), "--until", str(begin + 20)]
    assert run(["journal", "export", str(folder), "--to", form, "--out", str(tmp_path / "part"), *options]) == 0
    assert capsys.readouterr().out.strip()
    assert run(["journal", "export", str(folder), "--to", "xml", "--out", str(tmp_path)]) == 2
    assert "parquet, tardis, hftbacktest" in capsys.readouterr().err
    assert run(["journal", "export", str(tmp_path / "no"), "--to", form, "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize("to", ["parquet", "tardis", "hftbacktest"])
def test_what_is_exported_is_its_owners_alone_and_replaces_nothing(to, folder, tmp_path, capsys):
    out = tmp_path / "new"
    umask = os.umask(0)
    try:
        assert run(["journal", "export", str(folder), "--to", to, "--out", str(out)]) == 0
    finally:
        os.umask(umask)
    files = sorted(out.iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in (out, *files)] == [0o700, *[0o600] * len(files)]
    # The last one is there, so the others are not made either.
    for path in files[:-1]:
        path.unlink()
    files[-1].write_text("a work of years")
    assert run(["journal", "export", str(folder), "--to", to, "--out", str(out)]) == 2
    assert f"{files[-1]} is there already: choose another --out" in capsys.readouterr().err
    assert [path.read_text() for path in out.iterdir()] == ["a work of years"]


@pytest.mark.parametrize("write", [write_parquet, write_hftbacktest, lambda rows, out: write_tardis(rows, out / "x")])
def test_an_export_that_fails_leaves_nothing_that_looks_whole(write, rows, tmp_path):
    def failing():
        yield from rows[:100]
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        write(failing(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("library", "write"), [("pyarrow", write_parquet), ("numpy", write_hftbacktest)])
def test_without_its_library_an_export_names_the_extra(library, write, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"polymirror\[export\]"):
        write([], tmp_path)
