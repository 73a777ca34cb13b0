"""The front page's picture is that of the page: its figures, all programs, and nothing that only one theme shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from benchmarks.picture import PAGE, PICTURE, draw, read

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_picture_is_that_of_the_page() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(TEXT), "make it anew: python -m benchmarks.picture"


def test_it_shows_each_program_at_each_age_and_what_ours_refused() -> None:
    found = read(TEXT)
    assert list(found) == ["15 s", "0.25 s"]
    for rows in found.values():
        assert [row.program for row in rows] == [
            "polymirror", "nautilus_trader", "ccxt", "polymarket-client + dict", "naive script",
        ]  # fmt: skip
        assert [row.is_own for row in rows] == [True, False, False, False, False]
        assert re.search(r"; instead it refused for [\d,]+ s, [\d.]+ % of the time$", rows[0].words)


def test_a_bar_is_as_long_as_its_seconds() -> None:
    worse = TEXT.replace(
        "| Wrong but readable, all levels, 15 s | 0 |", "| Wrong but readable, all levels, 15 s | 640.2 |"
    )
    assert worse != TEXT
    drawn = ET.fromstring(draw(worse))  # noqa: S314 - our own
    bars = [float(each.get("width", 0)) for each in drawn if each.tag.endswith("rect")]
    assert bars[0] / bars[1] == pytest.approx(640.2 / 1280.3, abs=0.001)


def test_it_brings_no_background_and_no_colour_of_one_theme() -> None:
    colours = set(re.findall(r'fill="(#\w+)"', draw(TEXT)))
    for colour in colours:
        red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (red, green, blue)]
        light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        # The contrast that large text and drawings need, to white and to black.
        assert 1.05 / (light + 0.05) >= 3, colour
        assert (light + 0.05) / 0.05 >= 3, colour
