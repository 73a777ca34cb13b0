"""The plots of the report, as SVG to be put into the page. Drawn by matplotlib, without a display.

Lines and texts take the colour of the page (``currentColor``), so that a plot is legible in light and in dark.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

INK: Final = "#123456"
"""Stands for the page's own colour until the picture is put into it: nothing else is drawn in it."""

BLUE: Final = "#3b82c4"
ORANGE: Final = "#d9822b"
GREY: Final = "#8a8f98"
WIDTH: Final = 5.2
HEIGHT: Final = 2.7


def curve(values: Sequence[float]) -> str:
    """Draw the running profit."""
    figure, axes = _empty("purchase", "pUSD")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(range(1, len(values) + 1), values, color=BLUE, linewidth=1.6)
    return _svg(figure, "The running profit after fees, purchase by purchase")


def calibration(bins: Sequence[Mapping[str, Any]], across: str) -> str:
    """Draw stated chances against seen rates; on the diagonal they are equal."""
    figure, axes = _empty(across, "share that won")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    seen = [each["seen"]["mean"] for each in bins]
    bars = [
        [each["seen"]["mean"] - each["seen"]["low"] for each in bins],
        [each["seen"]["high"] - each["seen"]["mean"] for each in bins],
    ]
    stated = [each["stated"] for each in bins]
    axes.errorbar(stated, seen, yerr=bars, color=BLUE, fmt="o", markersize=4, linewidth=1.2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    return _svg(figure, f"{across} against the share that won, with 95 % intervals")


def correlation(found: Mapping[str, Any]) -> str:
    """Draw the correlation at each lag, for the price sampled last and the one sampled next."""
    figure, axes = _empty("seconds that the token's price is behind", "correlation")
    for name, colour, words in (
        ("correlation", BLUE, "price sampled last"),
        ("correlation_next", ORANGE, "price sampled next"),
    ):
        axes.plot(found[name]["lags_s"], found[name]["values"], color=colour, marker=".", linewidth=1.4, label=words)
    axes.axvline(0, color=GREY, linewidth=0.8)
    _legend(axes)
    return _svg(figure, "Correlation of the oracle's moves with the token's, by lag")


def events(found: Mapping[str, Any]) -> str:
    """Draw the mean path of the token's price around unusual moves of the oracle."""
    figure, axes = _empty("seconds after the oracle's move was received", "change, pUSD")
    low = [each if each is not None else mean for each, mean in zip(found["low"], found["mean"], strict=True)]
    high = [each if each is not None else mean for each, mean in zip(found["high"], found["mean"], strict=True)]
    axes.fill_between(found["offsets_s"], low, high, color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(found["offsets_s"], found["mean"], color=BLUE, linewidth=1.6)
    axes.axvline(0, color=GREY, linewidth=0.8)
    return _svg(figure, "The token's price around unusual moves of the oracle, with its 95 % interval")


def waits(values: Sequence[float]) -> str:
    """Draw how long it took until half of a change was in the token's price."""
    figure, axes = _empty("seconds until half of the change was in the price", "share of the moves")
    axes.step(values, [(at + 1) / len(values) for at in range(len(values))], where="post", color=BLUE, linewidth=1.6)
    axes.set_ylim(0, 1.02)
    return _svg(figure, "Time to reprice")


def sweep(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw the profit of a share by delay, with intervals."""
    figure, axes = _empty("seconds of delay", "pUSD a share, after fees")
    points = [(float(name.split()[0]), each) for name, each in figures.items() if each.get("mean") is not None]
    points = [(delay, each) for delay, each in points if each["low"] is not None]
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.errorbar(
        [delay for delay, _ in points],
        [each["mean"] for _, each in points],
        yerr=[
            [each["mean"] - each["low"] for _, each in points],
            [each["high"] - each["mean"] for _, each in points],
        ],
        color=BLUE,
        fmt="o-",
        markersize=4,
        linewidth=1.2,
    )
    return _svg(figure, "Profit of a share by delay, with 95 % intervals")


def _empty(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    axes.tick_params(colors=INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(INK)
    return figure, axes


def _legend(axes: Axes) -> None:
    legend = axes.legend(frameon=False)
    for text in legend.get_texts():
        text.set_color(INK)


def _svg(figure: Figure, title: str) -> str:
    """Return the picture as an element of a page: it scales, says what it shows, and is the same each time."""
    file = io.StringIO()
    with rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Ids are per picture; several pictures share a page.
    salt = f"p{zlib.crc32(text.encode()):x}"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{salt}", text)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', text, count=1
    )
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
