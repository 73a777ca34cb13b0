"""A ledger in which the venue's words are kept as they came: none of them does anything at any exit."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from decimal import Decimal

import pytest
from attrs import evolve

from bots.__main__ import main
from bots.common.ledger.rows import TABLES
from tests.bots.books_rig import a_trade
from tests.bots.test_commands import FILLED, Running
from tests.odd_texts import bad_characters, odd_texts

COMMANDS = (["status"], ["trades"], ["positions"], ["pnl"], ["pnl", "--daily"], ["why", "0xm0"])
EXPORTS = [["export", table] for table in TABLES.values()]
D = Decimal


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "files"
    running, texts = Running(folder), odd_texts(2_000)

    def odd():
        return "\x1b]0;x\x07\u202e\n=" + next(texts)

    for number in range(4):
        running.buy(number, evolve(FILLED, order_id=odd(), detail=odd()), payout=None if number else D(10))
    for number in range(60):
        trade = a_trade(id=odd(), order_id=odd(), market=odd(), token=odd(), tx=odd())
        running.ledger.note_fill("btc-updown-15m-1790000100.0", trade, number)
        running.ledger.note_difference(odd(), odd(), odd(), D(1), D(2), odd())
        running.ledger.notify(odd(), odd())
        running.ledger.decide(f"0xm0{odd()}" if number % 2 else "0xm0", odd(), odd(), odd())
    running.close()
    with sqlite3.connect(running.path) as raw:  # a stop that somebody asked for
        raw.execute("INSERT INTO requests (at_ms, kind, detail) VALUES (1, 'stop', ?)", (odd(),))
    raw.close()
    return folder


@pytest.mark.parametrize("command", [*COMMANDS, *EXPORTS], ids=" ".join)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_no_control_character_comes_out_and_no_line_is_forged(command, form, folder, capsys):
    main([*command, "--folder", str(folder), *form])
    told = capsys.readouterr()
    assert told.out or told.err
    for line in (told.out + told.err).split("\n"):
        assert not bad_characters(line), ascii(line)
    if form:
        json.loads(told.out or "0")
    elif command[0] == "export":
        rows = list(csv.reader(io.StringIO(told.out)))
        assert len({len(row) for row in rows}) == 1
        assert not [cell for row in rows[1:] for cell in row if cell.startswith(("=", "@"))]


def test_each_row_is_one_line_of_a_table_and_of_csv(folder, capsys):
    for table in TABLES.values():
        main(["export", table, "--folder", str(folder)])
        lines = capsys.readouterr().out.splitlines()
        with sqlite3.connect(folder / "paper-account.sqlite") as raw:
            assert len(lines) == 1 + raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        raw.close()
    main(["trades", "--folder", str(folder)])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4 + 2
