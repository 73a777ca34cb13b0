"""A person reads what went wrong: in words, as a table of levels, as a time line, and as one page that stands alone."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from polymirror.commands.app import run as command
from polymirror.explain.page import page_of
from polymirror.explain.words import explain
from polymirror.journal.format import Heard, Incident, read_line, write_lines
from polymirror.journal.reader import open_journal
from tests import browser
from tests.incident_rig import run

CLEAN = {"hash_one_change_late": 0.0, "late_trade_price": False}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle about a lost change."""
    folder = tmp_path_factory.mktemp("bundles")
    seen = run(folder, "lost_delta", share=8, seconds=45, seed=3, exchange=CLEAN)
    return seen.notes[-1].path


@pytest.fixture(scope="module")
def lines(bundle):
    return list(open_journal(bundle).lines())


def test_the_words_say_what_when_first_and_what_healed_it(lines):
    found = explain(lines)
    what, kind, right, wrong, between, compared, healed = found.words
    assert re.match(
        r"eth-updown-\S+ Up lost trust at 2026-09-21 14:15:19\.\d{3} UTC: HASH_MISMATCH \(for 1.000 s\)", what
    )
    assert "did not arrive" in kind
    assert re.match(r"Last right: the message at -\d\.\d{3} s \(line \d+: BUY 0\.01 -> 18310, venue time \d+\)", right)
    assert re.match(r"First wrong: the message at -1\.010 s \(line \d+: BUY 0\.49 -> 0, venue time \d+\)", wrong)
    assert between.startswith("What is missing came after")
    assert "one level differed, such as bid 0.01: 18310 in our book, 18322 there." in compared
    assert re.match(r"Healed: Up after 0\.08 s by a book from REST, Down after", healed)
    (level,) = found.levels
    assert (level.side, level.price, level.before, level.evidence) == ("bid", "0.01", "18310", "18322")
    assert [row.mark for row in found.rows if row.mark] == ["last right", "first wrong"]
    assert [row.at for row in found.rows] == sorted(row.at for row in found.rows)
    assert {"LIVE", "SUSPECT"} <= {band.state for band in found.bands}
    assert json.loads(json.dumps(found.to_dict()))["kind"] == "loss"


def test_the_command_prints_words_and_levels_or_one_object(bundle, capsys):
    assert command(["explain", str(bundle)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "FIRST WRONG" in out
    assert "18322" in out
    assert command(["explain", str(bundle), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["levels"][0]["evidence"] == "18322"
    assert told["about"]["engine"]["max_proof_age"] == 15.0


def test_mistakes_are_one_line(bundle, tmp_path, capsys):
    page, other = tmp_path / "page.html", tmp_path / "other.jsonl"
    page.write_text("mine")
    other.write_text('{"kind":"header"}\n')
    missing = tmp_path / "missing.jsonl"
    headed = tmp_path / "journal.jsonl"
    first = next(open_journal(bundle).lines())
    headed.write_bytes(write_lines([first]))
    for arguments, said in (
        ([str(missing)], "cannot be read: No such file"),
        ([str(tmp_path)], "cannot be read: Is a directory"),
        ([str(other)], "header"),
        ([str(headed)], "no bundle of an incident"),
        ([str(bundle), "--html", str(page)], "cannot be written: File exists"),
    ):
        assert command(["explain", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert err.count("\n") == 1
    assert page.read_text() == "mine"


class Loaded(HTMLParser):
    """What a page would fetch, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.urls, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.urls += [value for name, value in attrs if name in {"src", "href", "action", "data"}]


def test_the_page_stands_alone_and_shows_no_text_as_markup(lines, bundle, tmp_path):
    assert command(["explain", str(bundle), "--html", str(tmp_path / "page.html")]) == 0
    page = Loaded((tmp_path / "page.html").read_text())
    assert page.urls == ["data:,"]
    assert not page.tags & {"script", "iframe", "img", "object", "form", "a"}
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    evil = "<script>alert(1)</script>\x1b[2J\u202e"
    changed = []
    for line in lines:
        if isinstance(line, Incident):
            line.names, line.detail = (f"{evil} Up", f"{evil} Down"), evil
        changed.append(Heard(line.n, line.t, line.w, 1, evil) if isinstance(line, Heard) and line.n == 140 else line)
    text = page_of(explain([read_line(each) for each in write_lines(changed).splitlines()]))
    assert not Loaded(text).tags & {"script"}
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_bundle_of_which_the_end_is_missing_says_so(lines, tmp_path, capsys):
    assert not any("cut or damaged" in each for each in explain(lines).words)
    assert explain(lines[:-7]).words[-1].startswith("The file is cut or damaged: its last 7 lines are missing")
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(write_lines(lines)[:-20])
    assert command(["explain", str(torn)]) == 0
    assert "The file is cut or damaged" in capsys.readouterr().out


def test_lines_that_nobody_wrote_end_in_no_crash(lines):
    """Whatever is cut out of a bundle, something is said about it."""
    for gone in range(2, len(lines), 60):
        assert explain([*lines[:gone], *lines[gone + 20 :]]).words
    kept = [line for line in lines if isinstance(line, Incident) or line.n == 0]
    assert explain(kept).kind == "unknown"


@pytest.mark.anyio
@pytest.mark.skipif(browser.PATH is None, reason="there is no chromium: apt-get install chromium")
async def test_the_page_is_read_in_a_browser_and_on_a_phone(lines, tmp_path):
    text = page_of(explain(lines))
    async with browser.browsing(tmp_path) as page:
        for width, dark, phone in ((1200, False, False), (360, True, True)):
            await page.look_like(width, 900, dark=dark, phone=phone)
            await page.open(f"data:text/html;charset=utf-8,{quote(text)}")
            await page.until("document.querySelectorAll('.ladder tr.differs').length === 1")
            assert await page.run("document.documentElement.scrollWidth") <= width
            assert await page.run("document.querySelectorAll('.dot.first').length") == 2
            back = await page.run("getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(255, 255, 255)") is not dark
        assert page.errors == []
