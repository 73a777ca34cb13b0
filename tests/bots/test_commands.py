"""The commands: what a person sees of a ledger, exact for machines, in 80 columns for people, and never in the way."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
from decimal import Decimal

import pytest

from bots.__main__ import main
from bots.common.errors import BotError
from bots.common.ledger.account import Position
from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Grounds, Ledger
from bots.common.ledger.reader import LedgerReader
from bots.common.operate.commands import find
from bots.common.operate.screens import WIDTH, curve, facts, money, table
from bots.common.orders.order import Outcome, Result
from bots.common.risk.follow import PAUSE, STOP
from bots.oracle_lag.__main__ import main as play
from tests.bots.crash_rig import Clock, an_order, drive

D = Decimal
SLUGS = [f"btc-updown-15m-{1_790_000_100 + 900 * number}" for number in range(4)]
FILLED = Result(outcome=Outcome.FILLED, shares=D(10), money=D(6), fee=D("0.0175"), order_id="0xa")


class Running:
    """A bot's ledger while its bot has it: two markets over, one held, one order without a fate."""

    def __init__(self, folder, mode="paper", wallet=""):
        self.clock = Clock()
        self.store = Database.of(folder, mode, wallet)
        self.ledger = Ledger(self.store, self.clock.network())
        drive(self.ledger.open())
        self.path = self.store.path

    def buy(self, number, result=FILLED, payout=None, later=86_400):
        market, slug = f"0xm{number}", SLUGS[number]
        order = an_order(market, f"{number}01", client_id=f"{slug}.{number}")
        grounds = Grounds(
            fair=D("0.71"), strike=D(64_000), price=D("64100.5"), oracle_age_ms=300, book_age_ms=90, proof="HASH"
        )
        self.ledger.decide(market, slug, "size TOO_DEAR", "0.66 against 0.62")
        self.ledger.decide(market, slug, "order", str(order), grounds=lambda: grounds)
        drive(self.ledger.begin(order, asset="btc"))
        if result is not None:
            drive(self.ledger.finish(order.client_id, result, final=True))
        if payout is not None:
            self.clock.seconds += later
            held = Position(market=market, token=order.token, shares=D(10), cost=D("6.0175"))
            drive(self.ledger.settle(held, payout, "redeemed" if payout else "worthless"))

    def close(self):
        drive(self.ledger.flush())
        self.store.close()


@pytest.fixture
def bot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = Running(tmp_path)
    running.buy(0, payout=D(10))
    running.buy(1, payout=D(0))
    running.buy(2)
    running.buy(3, result=None)
    running.ledger.notify("fill", f"{SLUGS[2]}: bought 10 Up for 6 pUSD, fee 0.0175")
    drive(running.ledger.flush())
    yield running
    running.store.close()


def shown(capsys, *arguments, code=0, flat=False):
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.err == ""
    assert max(map(len, said.out.splitlines()), default=0) <= WIDTH, said.out
    return re.sub(r"(?<=\S)\n(?=\S)", " ", said.out) if flat else said.out


def told(capsys, *arguments, code=0):
    return json.loads(shown_json(capsys, *arguments, code=code))


def shown_json(capsys, *arguments, code=0):
    assert main([*arguments, "--json"]) == code
    return capsys.readouterr().out


def refused(capsys, *arguments, code=1):
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, "one line, and no traceback"
    return said.err


# ---- status --------------------------------------------------------------------------------------------


def test_status_says_all_at_once_while_the_bot_writes(bot, capsys):
    found = told(capsys, "status")
    assert found["running"] is True
    assert found["stopped"] is found["paused"] is None
    assert (found["profit"], found["fees"], found["drawdown"]) == ("-2.035", "0.0525", "6.0175")
    assert (found["won"], found["lost"], found["losses_in_a_row"], found["positions"]) == (1, 1, 1, 1)
    assert found["unknown_orders"] == [f"{SLUGS[3]}.3"]
    assert found["last_decision"]["verdict"] == "order"
    assert found["last_notices"][0]["text"].startswith(SLUGS[2])
    text = shown(capsys, "status")
    for words in ("runs;", "allowed", "-2.04 pUSD", "1 won, 1 lost", f"{SLUGS[3]}.3", "1 unsent", "bought 10 Up"):
        assert words in text


def test_status_names_a_stop_a_pause_a_file_and_a_difference(bot, capsys, tmp_path):
    bot.clock.seconds = __import__("time").time()
    drive(bot.ledger.note_risk(PAUSE, "too many losses in a row"))
    assert "PAUSED: too many losses in a row" in shown(capsys, "status")
    drive(bot.ledger.note_risk(STOP, "by hand"))
    bot.ledger.note_difference("position", "0xm2", "201", D(10), D(4), "three looks")
    drive(bot.ledger.flush())
    text = shown(capsys, "status")
    assert "STOPPED: by hand" in text
    assert "position: 10, the venue's 4" in text
    bot.close()
    assert "does not run" in shown(capsys, "status")
    drive_again = Running(tmp_path / "second")
    drive_again.close()
    (tmp_path / "second" / "STOP").touch()
    assert "STOPPED: the file STOP exists" in shown(capsys, "status", "--folder", "second")


# ---- trades, positions, pnl ----------------------------------------------------------------------------


def test_trades_are_the_newest_first_with_what_they_earned(bot, capsys):
    found = told(capsys, "trades")["trades"]
    assert [each["client_id"] for each in found] == [f"{SLUGS[n]}.{n}" for n in (3, 2, 1, 0)]
    assert [each["profit"] for each in found] == [None, None, "-6.0175", "3.9825"]
    assert [each["outcome"] for each in found] == ["unknown", "filled", "filled", "filled"]
    assert found[1]["price"] == "0.6"
    text = shown(capsys, "trades", "--last", "2")
    assert len(text.splitlines()) == 6
    assert "unknown?" in text
    assert "not confirmed yet, or not known" in text


def test_positions_are_what_is_held_and_what_may_be(bot, capsys):
    found = told(capsys, "positions")
    assert [each["name"] for each in found["positions"]] == [SLUGS[2]]
    assert (found["positions"][0]["shares"], found["positions"][0]["cost"]) == ("10", "6.0175")
    assert found["unknown_orders"] == [f"{SLUGS[3]}.3"]
    assert f"fate unknown: {SLUGS[3]}.3" in shown(capsys, "positions")


def test_profit_has_a_curve_and_days_of_a_zone(bot, capsys):
    found = told(capsys, "pnl")
    assert found["profit"] == "-2.035"
    assert [each["profit"] for each in found["curve"]] == ["3.9825", "-2.035"]
    text = shown(capsys, "pnl")
    assert "█" in text
    assert "-2.035 pUSD, after 0.0525" in text
    days = told(capsys, "pnl", "--daily")["days"]
    assert [each["profit"] for each in days] == ["3.9825", "-6.0175"]
    assert [each["total"] for each in days] == ["3.9825", "-2.035"]
    east = told(capsys, "pnl", "--daily", "--zone", "Pacific/Kiritimati")["days"]
    assert [each["day"] for each in east] > [each["day"] for each in days]
    assert "no time zone" in refused(capsys, "pnl", "--daily", "--zone", "Mars/Base")


@pytest.mark.parametrize(
    "sums", [[], ["1"], ["-1"], ["0"], ["5", "-3", "2"], [str(n % 37 - 30) for n in range(1_000)], ["0.000001"] * 200]
)
def test_a_curve_fits_and_hides_no_loss(sums):
    drawn = curve([D(each) for each in sums])
    assert max(map(len, drawn.splitlines())) <= WIDTH
    assert len(drawn.splitlines()) <= 14
    below = drawn.rpartition("+-")[2]
    assert ("█" in below or "▀" in below) == any(D(each) < -1 for each in sums) or len(sums) < 3


def test_a_loss_between_many_wins_is_seen():
    sums = [D(50)] * 999
    sums[500] = D(-50)
    assert "█" in curve(sums).rpartition("+-")[2]


# ---- why -----------------------------------------------------------------------------------------------


def test_why_names_every_verdict_the_grounds_and_the_end(bot, capsys):
    found = told(capsys, "why", SLUGS[0])
    assert {each["verdict"]: each["times"] for each in found["verdicts"]} == {"order": 1, "size TOO_DEAR": 1}
    assert found["decisions"][0]["fair"] == "0.71"
    assert found["orders"][0]["shares"] == "10"
    assert found["ended"] == [{"at_ms": found["ended"][0]["at_ms"], "profit": "3.9825", "why": "redeemed"}]
    text = shown(capsys, "why", SLUGS[0][-10:])
    for words in ("size TOO_DEAR", "0.66 against 0.62", "strike 64000", "oracle 0.30 s", "HASH", "profit 3.98"):
        assert words in text
    assert told(capsys, "why", "0xm3")["orders"][0]["outcome"] == "unknown"


def test_decisions_that_were_counted_belong_to_those_before_them(bot, capsys):
    for number in range(70):
        bot.ledger.decide("0xm9", "eth-updown-15m-1790000100", "size TOO_DEAR", str(number))
        bot.clock.seconds += 1
    bot.ledger.decide("0xm9", "eth-updown-15m-1790000100", "order")
    drive(bot.ledger.flush())
    found = told(capsys, "why", "eth")
    # Those of the last minute are written with the next of their verdict.
    assert {each["verdict"]: each["times"] for each in found["verdicts"]} == {"size TOO_DEAR": 61, "order": 1}
    assert [each["more"] for each in found["decisions"]] == [0, 0, 59]
    assert len(told(capsys, "why", "eth", "--last", "1")["decisions"]) == 1


def test_why_asks_which_market_and_knows_none(bot, capsys):
    assert "4 markets are like that" in refused(capsys, "why", "btc")
    assert "nothing was decided" in refused(capsys, "why", "doge%")
    assert "nothing was decided" in refused(capsys, "why", "%")


# ---- export and backup ---------------------------------------------------------------------------------


def test_an_export_is_exact_and_no_formula(bot, capsys):
    bot.ledger.notify("odd", "=HYPERLINK(1)")
    drive(bot.ledger.flush())
    assert main(["export", "orders", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["money"] for row in rows] == ["6"] * 4
    assert rows[0]["utc"].startswith("2026-09-21 ")
    assert main(["export", "notices"]) == 0
    assert "'=HYPERLINK(1)" in capsys.readouterr().out
    plain = json.loads(shown_json(capsys, "export", "redemptions"))
    assert [row["profit"] for row in plain] == ["3.9825", "-6.0175"]
    with pytest.raises(SystemExit) as wrong:
        main(["export", "secrets"])
    assert wrong.value.code == 2


def test_a_backup_of_a_running_bot_is_whole_and_can_be_read(bot, capsys, tmp_path):
    found = told(capsys, "backup", "copy.sqlite")
    assert (found["orders"], found["profit"]) == (4, "-2.035")
    with LedgerReader(tmp_path / "copy.sqlite") as copy, LedgerReader(bot.path) as original:
        assert copy.account().totals == original.account().totals
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o077 == 0
    assert "exists" in refused(capsys, "backup", "copy.sqlite")
    assert "paper-account.backup-" in shown(capsys, "backup")
    assert find(None, "", "", tmp_path) == tmp_path / "paper-account.sqlite", "a copy is no ledger"


# ---- stop, resume, reconcile ---------------------------------------------------------------------------


def test_a_running_bot_takes_up_what_it_is_asked(bot, capsys, monkeypatch):
    heard = []

    def answer(_seconds):
        heard.extend(drive(bot.ledger.requests()))

    monkeypatch.setattr("time.sleep", answer)
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    monkeypatch.setattr("socket.gethostname", lambda: "desk")
    assert "buys nothing any more" in shown(capsys, "stop", "too", "windy")
    assert "may buy again" in shown(capsys, "resume", "--why", "calm again")
    assert "may buy again" in shown(capsys, "resume")
    monkeypatch.setattr("getpass.getuser", {}.popitem)
    assert told(capsys, "reconcile")["taken_up"] is True
    assert heard == [
        ("stop", "ann@desk: too windy"),
        ("resume", "ann@desk: calm again"),
        ("resume", "ann@desk: the command resume"),
        ("reconcile", "the command reconcile"),
    ]


def test_one_that_does_not_listen_is_named(bot, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert "has not taken it up" in shown(capsys, "stop", code=3, flat=True)
    assert "stop," in shown(capsys, "status")
    bot.close()
    assert "it is done when one starts" in shown(capsys, "stop", code=3, flat=True)


def test_resume_names_the_file_that_still_stops_it(bot, capsys, tmp_path):
    bot.close()
    (tmp_path / "STOP").touch()
    assert "remove STOP" in shown(capsys, "resume", code=3)


# ---- which ledger, and what goes wrong -----------------------------------------------------------------


def test_one_ledger_is_taken_and_several_are_listed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "there is no such ledger" in refused(capsys, "status")
    (tmp_path / "here").mkdir()
    for mode, wallet in (("paper", ""), ("live", "0xabc"), ("live", "0xdef")):
        Running(tmp_path / "here", mode, wallet).close()
    said = refused(capsys, "status")
    assert "3 ledgers" in said
    assert "live-0xabc.sqlite" in said
    assert told(capsys, "status", "--mode", "paper")["ledger"] == "here/paper-account.sqlite"
    assert told(capsys, "status", "--wallet", "0xDEF")["ledger"] == "here/live-0xdef.sqlite"
    assert "2 ledgers" in refused(capsys, "trades", "--mode", "live")


@pytest.mark.parametrize("command", ["status", "trades", "positions", "pnl", "export", "backup", "stop", "resume"])
def test_a_folder_that_is_not_there_or_holds_nothing_is_one_line_that_says_what_to_do(tmp_path, capsys, command):
    there = tmp_path / "there"
    assert f"there is no folder {there}: name another" in refused(capsys, command, "--folder", str(there))
    there.touch()
    assert f"there is no folder {there}: name another" in refused(capsys, command, "--folder", str(there))
    there.unlink()
    there.mkdir()
    assert "name its folder with --folder, or start a bot" in refused(capsys, command, "--folder", str(there))
    (there / "paper-account.sqlite").touch()
    assert "start its bot once" in refused(capsys, command, "--folder", str(there))


def test_an_empty_ledger_is_no_error(tmp_path, capsys):
    Running(tmp_path).close()
    for command in ("status", "trades", "positions", "pnl"):
        shown(capsys, command, "--folder", str(tmp_path))
        told(capsys, command, "--folder", str(tmp_path))
    shown(capsys, "pnl", "--daily", "--folder", str(tmp_path))


def test_a_damaged_ledger_is_one_line(bot, capsys):
    bot.close()
    bot.path.write_bytes(b"not a database" * 1_000)
    assert "damaged" in refused(capsys, "status")


def test_another_version_is_one_line(bot, capsys):
    bot.close()
    with sqlite3.connect(bot.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "version 99" in refused(capsys, "status")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_ledger_of_somebody_else_is_one_line(bot, capsys):
    bot.close()
    bot.path.chmod(0)
    assert "cannot be" in refused(capsys, "status")


def test_reading_keeps_no_bot_from_starting_and_changes_nothing(bot, capsys):
    bot.close()
    before = bot.path.read_bytes()
    for command in ("status", "trades", "positions", "pnl"):
        shown(capsys, command)
    assert bot.path.read_bytes() == before
    Running(bot.path.parent).close()


def test_a_simulation_keeps_its_ledger_to_practise_on(tmp_path, capsys):
    played = ["--rounds", "2", "--seed", "7", "--keep", str(tmp_path / "practice")]
    assert play([*played, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    found = told(capsys, "pnl", "--folder", str(tmp_path / "practice"))
    assert float(found["profit"]) == summary["pnl"]
    assert len(told(capsys, "trades", "--folder", str(tmp_path / "practice"))["trades"]) == summary["trades"] > 0
    assert play(played) == 1
    assert "holds a run already" in capsys.readouterr().err


# ---- How it is laid out --------------------------------------------------------------------------------


def test_hostile_words_stay_on_their_line(bot, capsys):
    bot.ledger.notify("odd", "x\x1b[31m" + "y" * 500 + "\n\u202eabc")
    drive(bot.ledger.flush())
    assert "\x1b" not in shown(capsys, "status")


def test_tables_cut_the_middle_and_money_has_no_negative_zero():
    text = table(("market", ">profit"), [("a" * 100, "1.00")])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert ".." in text
    assert (money(D("-0.001")), money(None), money(D("1234.5"))) == ("0.00", "-", "1,234.50")
    assert facts([("name", "")]) == "name"
    with pytest.raises(BotError):
        find(None, "paper", "", __import__("pathlib").Path("/nonexistent"))
