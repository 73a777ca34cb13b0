"""A whole run on a file of our own: the report, its repeatability, going on after a stop, and the command line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from bots.common.operate.settings import SettingsError
from bots.research import planted
from bots.research.__main__ import main
from bots.research.config import load

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEAD = "slug,received_ms,oracle_ms,oracle_price,up_bid,up_ask,down_bid,down_ask,strike,outcome"
SETTINGS = """
seed = 3
processes = 1
[signal]
min_move = 0.0003
[data.mine]
layout = "table"
path = "mine.csv"
licence = "ours"
note = "Made up <by> us."
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with planted windows in a CSV file, and its report."""
    from decimal import Decimal  # noqa: PLC0415

    where = tmp_path_factory.mktemp("research")
    lines = [HEAD]
    for window in planted.windows(5, count=40, edge=Decimal("0.2")):
        assert window.up is not None
        assert window.down is not None
        strike = window.strike_e8 / 1e8
        for at, received, price, up, down in zip(
            window.oracle.at_ms,
            window.oracle.received_ms,
            window.oracle.price_e8,
            window.up.ask_e4,
            window.down.ask_e4,
            strict=True,
        ):
            won = "up" if window.up_won else "down"
            lines.append(
                f"{window.name},{received},{at},{price / 1e8:.8f},,{up / 1e4},,{down / 1e4},{strike:.8f},{won}"
            )
    (where / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (where / "run.toml").write_text(SETTINGS, encoding="utf-8")
    assert main(["run", str(where / "run.toml"), "--out", str(where / "out")]) == 0
    return where


def test_the_report_has_a_study_with_a_verdict_and_all_tests(folder: Path) -> None:
    result = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    (study,) = result["studies"]
    assert (study["windows"], study["playable"], study["receive_times"]) == (40, 40, True)
    assert study["verdict"] in {"supported", "refuted", "not decidable"}
    assert len(study["findings"]) == 12
    assert all(each["sentence"].endswith(".") for each in study["findings"])
    assert len(result["first"]) == 3
    assert study["summary"]["trades"] > 0
    assert set(study["summary"]) >= {"win_rate", "profit", "fees", "drawdown", "losing_streak", "by_asset", "by_hour"}


class Page(HTMLParser):
    """What a page would load, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [value for name in ("src", "href") if (value := values.get(name))]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_beside_it_and_runs_no_script(folder: Path) -> None:
    text = (folder / "out" / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert [each for each in page.loads if not each.startswith(("#", "data:"))] == []
    assert len(page.ids) == len(set(page.ids))
    assert "<script" not in text
    assert "prefers-color-scheme: dark" in text
    assert "Made up &lt;by&gt; us." in text
    # No colour but those that are legible on both, and the page's own.
    drawn = set(re.findall(r"(?:stroke|fill): ?(#[0-9a-f]{6})", text[text.index("<svg") :]))
    assert drawn <= {"#3b82c4", "#d9822b", "#8a8f98"}


def looked_at(page: Path) -> tuple[str, str]:
    """What a browser makes of a page, and what it logs."""
    done = subprocess.run(  # noqa: S603 - our own page
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt-get install chromium")
def test_a_browser_opens_the_page_without_a_complaint(folder: Path, tmp_path: Path) -> None:
    shown, logged = looked_at(folder / "out" / "report.html")
    assert "What recorded data says of the bots" in shown
    assert "CONSOLE" not in logged
    # That a complaint would be seen shows that there was none.
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><script>console.error('no')</script>", encoding="utf-8")
    assert "CONSOLE" in looked_at(broken)[1]


def test_a_second_run_gives_the_same_bytes_from_what_was_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [(folder / "out" / name).read_bytes() for name in ("report.json", "report.html")]
    assert main(["run", str(folder / "run.toml"), "--out", str(folder / "out")]) == 0
    assert "mine: done before" in capsys.readouterr().err
    assert [(folder / "out" / name).read_bytes() for name in ("report.json", "report.html")] == before


def test_other_data_is_not_taken_for_what_was_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("run.toml", "mine.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with (tmp_path / "mine.csv").open("rb+") as file:
        rows = file.read().splitlines(keepends=True)
        file.seek(0)
        file.truncate()
        file.writelines(rows[: 1 + 30 * 10])
    (tmp_path / "out").symlink_to(folder / "out")
    assert main(["run", str(tmp_path / "run.toml"), "--out", str(tmp_path / "out2")]) == 0
    assert "done before" not in capsys.readouterr().err
    first, second = (
        json.loads((each / "report.json").read_text(encoding="utf-8")) for each in (folder / "out", tmp_path / "out2")
    )
    assert first["data_hash"] != second["data_hash"]
    assert first["config_hash"] == second["config_hash"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = 1", "data is not allowed"),
        ("[data.x]\nlayout = 'zip'\npath = 'x'", "data.x.layout"),
        ("[data.x]\nlayout = 'table'", "data.x.path is missing"),
        ("sead = 1\n[data.x]\nlayout = 'table'\npath = 'x'", "sead is no setting"),
        ("[fills]\nlatency_ms = -1\n[data.x]\nlayout = 'table'\npath = 'x'", "fills.latency_ms"),
        ("[eras]\nfees = ['x']\n[data.x]\nlayout = 'table'\npath = 'x'", "eras.fees"),
    ],
)
def test_a_wrong_setting_is_named_and_the_exit_code_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(said)):
        load(path)
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text("processes = 1\n[data.x]\nlayout = 'table'\npath = 'none.csv'", encoding="utf-8")
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "none.csv" in capsys.readouterr().err.splitlines()[-1]


def test_the_datasets_are_listed_and_a_file_is_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    assert "kaboomfox/15btc_eth" in capsys.readouterr().out
    assert main(["datasets", str(folder / "mine.csv")]) == 0
    assert "It can be read" in capsys.readouterr().out
    assert main(["datasets", str(folder / "run.toml")]) == 1


def test_the_settings_are_the_bots_own(folder: Path) -> None:
    config, data = load(folder / "run.toml")
    setup = config.play
    assert str(setup.signal.min_move) == "0.0003"
    assert setup.size.max_price < setup.signal.max_price
    assert data["mine"].layout == "table"


def test_a_process_that_only_plays_starts_without_the_libraries_of_statistics() -> None:
    code = "import sys, bots.research.falsify.plays; print(sorted({'numpy', 'scipy', 'matplotlib'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert found.stdout == "[]\n"
