"""Text from outside: whatever it holds, a person sees one short line of it, and no terminal obeys it."""

from __future__ import annotations

import io
import json

import pytest
from rich.progress import Progress

from polymirror.commands.screen import make_console, progress_bar
from polymirror.harmless import escaped, harmless, harmless_trace
from tests.odd_texts import LINES, SCREENS, bad_characters, find_leaks, odd_texts


def test_no_odd_text_comes_out_of_any_place_as_it_went_in():
    assert len(LINES) + len(SCREENS) >= 20
    assert find_leaks(150, seed=1) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with caf\xe9 and \u7248\u672c", "plain, with caf\xe9 and \u7248\u672c"),
        ("\x1b[2J", "\\u001b[2J"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\u202eevil\x7f\x9b", "\\u202eevil\\u007f\\u009b"),
        ("z\u200bw\u3164\ufe0f", "z\\u200bw\\u3164\\ufe0f"),
        ("\U000e0041\ud800", "\\udb40\\udc41\\ud800"),
        (None, "None"),
    ],
)
def test_what_cannot_be_seen_is_spelled(text, shown):
    assert harmless(text) == shown
    assert harmless(shown) == shown


@pytest.mark.parametrize("limit", [2, 10, 48, 200])
def test_a_text_is_bounded_however_much_longer_its_escapes_are(limit):
    for text in ("\x00" * limit, "x" * (limit + 1), "x" * 100_000, "\u202e" * 100_000):
        assert len(harmless(text, limit)) <= limit
    assert harmless("x" * limit, limit) == "x" * limit


def test_json_stays_the_same_value():
    for text in odd_texts(300):
        # Two halves of a character that were apart before are one afterwards: nothing that UTF-8 could carry has such.
        value = {"text": text.encode("utf-8", "replace").decode()}
        assert json.loads(escaped(json.dumps(value, ensure_ascii=False))) == value


def test_no_line_of_a_traceback_begins_like_one_of_a_log():
    shown = harmless_trace("Traceback\nValueError: x\n2026-11-30 ERROR all your money is gone\n" * 5_000)
    assert all(line.startswith("  ") for line in shown.split("\n"))
    assert len(shown) < 110_000
    assert bad_characters(shown) == set()


def test_a_bar_on_a_terminal_shows_the_name_of_a_file_as_it_is(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = make_console()
    console.file = io.StringIO()
    with progress_bar(console, quiet=False, kind=Progress) as bar:
        bar.add_task("[/x]", total=None)
        bar.refresh()
        assert "[/x]" in console.file.getvalue()
