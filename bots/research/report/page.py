"""The page of the report: one HTML text that needs nothing beside it, no script, legible on a phone, light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from bots.research.report import plots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

READING: Final = (
    "A share pays 1 pUSD if its side wins, and a profit is in pUSD: +0.05 is five cents. A range in brackets says how "
    "far luck may have moved a figure: of 100 such ranges about 95 hold the true value. <em>Refuted</em> means that "
    "this data shows the claim to be wrong, <em>not decidable</em> that it can neither show nor rule out a profit. The "
    "<em>delay</em> is how long the venue held an order back; <em>spot</em> means that the oracle's last price "
    "decided, <em>twap60</em> that its average over the last 60 seconds did."
)

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #57606a; --line: #d0d7de; --page: #ffffff; --card: #f6f8fa;
  --good: #1a7f37; --bad: #b3261e; --open: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4b0; --line: #383f48; --page: #14171b;
  --card: #1d2126; --good: #57c278; --bad: #ff8a80; --open: #e0b04a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.first { font-size: 1.1rem; padding-left: 1.4rem; } .first li { margin: .4rem 0; }
.soft { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .4rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
@media (max-width: 44rem) {
  thead { display: none; } tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  td, td.number { display: flex; gap: .8rem; padding: .15rem 0; border: 0; text-align: left; white-space: normal; }
  td::before { content: attr(data-head); flex: 0 0 35%; color: var(--soft); }
  td[data-head=""] { font-weight: 600; } td[data-head=""]::before { content: none; }
}
.verdict { font-weight: 600; white-space: nowrap; }
.supported, .survived, .reproduced { color: var(--good); } .refuted { color: var(--bad); }
.undecided { color: var(--open); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: .8rem; }
th { overflow-wrap: normal; }
figure { margin: 0; max-width: 36rem;
  padding: .5rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
figure svg { width: 100%; height: auto; display: block; } figcaption { font-size: .85rem; color: var(--soft); }
details { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .8rem; margin: .6rem 0;
  background: var(--card); }
summary { cursor: pointer; font-weight: 600; }
code { font-size: .85rem; }
"""


def page(result: Mapping[str, Any]) -> str:
    """Write the page of a run's result."""
    studies: Sequence[Mapping[str, Any]] = result.get("studies", [])
    body = [
        "<h1>What recorded data says of the bots</h1>",
        '<ol class="first">',
        *(f"<li>{escape(each)}</li>" for each in result["first"]),
        "</ol>",
        f'<p class="soft">{READING}</p>',
        "<h2>Verdicts</h2>",
        _table(
            ("data", "rules of its time", "windows", "purchases", "a share makes", "verdict"),
            [*map(_row_of, studies), *map(_row_of_pair, result.get("pairs", []))],
        ),
        "<h2>The claims</h2>",
        _table(
            ("claim", "verdict", "why"),
            [(escape(each["claim"]), _verdict(each["verdict"]), escape(each["sentence"])) for each in result["claims"]],
        ),
        *(_study(each, result["data"]) for each in studies),
        *_pairs(result.get("pairs", []), studies),
        *_others(result),
        "<h2>To repeat it</h2>",
        (
            f'<p class="soft">Seed {result["seed"]}, settings {result["config_hash"]}, data {result["data_hash"]}, '
            f"code {result['code_hash']}. The same four give the same report. All figures are in report.json beside "
            "this page.</p>"
        ),
        _table(
            ("data", "layout", "licence", "hash", ""),
            [
                (
                    escape(name),
                    each["layout"],
                    escape(each["licence"]),
                    f"<code>{each['hash']}</code>",
                    escape(each["note"]),
                )
                for name, each in result["data"].items()
            ],
        ),
    ]
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Research report</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>\n'
    )
    return head + "\n".join(body) + "\n</body></html>\n"


def _row_of(study: Mapping[str, Any]) -> tuple[str, ...]:
    summary = study["summary"]
    return (
        f'<a href="#{_anchor(study)}">{escape(study["source"])}</a>',
        escape(study["era"]),
        _number(f"{study['windows']:,}"),
        _number(f"{summary['trades']:,}"),
        _number(_estimate(summary["per_share"])),
        _verdict(study["verdict"]),
    )


def _row_of_pair(each: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{escape(each['source'])}: pair cost",
        escape(each["era"]),
        _number(f"{each['rounds']:,}"),
        _number(f"{each['both'] + each['one']:,}"),
        _number(_estimate(each["per_round_after_fees"]) if "price" in each else "-"),
        _verdict(each["verdict"]),
    )


def _anchor(study: Mapping[str, Any]) -> str:
    return "".join(each if each.isalnum() else "-" for each in f"{study['source']} {study['era']}")


def _study(study: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    summary, lag = study["summary"], study["lag"]
    receipt = "recorded" if study["receive_times"] else "not recorded: a value counts from its own time"
    sampled = f"a token price every {study['every_s']:g} s; " if study["every_s"] else ""
    facts = (
        f"{study['windows']:,} windows on {study['days']} dates, {study['playable']:,} of them with oracle and token "
        f"prices; oracle: {study['oracle']}; {sampled}receive times {receipt}."
    )
    pictures = [
        *([plots.curve(summary["curve"])] if summary["trades"] > 1 else []),
        *([plots.calibration(study["prices"], "price of Up")] if study["prices"] else []),
        *(
            [plots.calibration(study["signals"]["bins"], "chance that the bot believes")]
            if study["signals"]["signals"]
            else []
        ),
        *([plots.correlation(lag)] if lag else []),
        *([plots.events(lag["event_study"])] if lag and lag["event_study"] else []),
        *([plots.waits(lag["reprice_s"]["waits"])] if lag and lag["reprice_s"] else []),
    ]
    sweep = next(each for each in study["findings"] if each["test"] == "delay sweep")["figures"]
    if any(isinstance(each, dict) and each.get("low") is not None for each in sweep.values()):
        pictures.append(plots.sweep({name: each for name, each in sweep.items() if name.endswith(" s")}))
    return "\n".join(
        (
            f'<h2 id="{_anchor(study)}">{escape(study["source"])}: {escape(study["era"])}</h2>',
            f"<p>{_verdict(study['verdict'])}: {escape(study['why'])}</p>",
            f'<p class="soft">{escape(data[study["source"]]["note"])} {escape(facts)}</p>',
            _figures(summary, study["at_the_old_price"]) if study["at_the_old_price"]["trades"] else "",
            _signals(study["signals"]),
            '<div class="plots">' + "".join(map(_figure, pictures)) + "</div>" if pictures else "",
            _findings(study["findings"]) if study["playable"] else "",
            _parts(summary) if summary["trades"] else "",
            "<details><summary>Why nothing was bought at other times</summary>"
            + _table(
                ("reason", "times"), [(escape(name), _number(f"{count:,}")) for name, count in study["counts"].items()]
            )
            + "</details>"
            if study["counts"]
            else "",
        )
    )


def _figures(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    rows: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
        ("purchases", lambda each: f"{each['trades']:,}"),
        ("won", lambda each: _rate(each["win_rate"])),
        (
            "must be won to lose nothing",
            lambda each: "-" if each["needed_win_rate"] is None else f"{each['needed_win_rate']:.1%}",
        ),
        ("a share makes, before fees", lambda each: _estimate(each["per_share_before_fees"])),
        ("a share makes, after fees", lambda each: _estimate(each["per_share"])),
        ("profit before fees, pUSD", lambda each: _money(each["profit_before_fees"])),
        ("fees, pUSD", lambda each: _money(each["fees"])),
        ("profit after fees, pUSD", lambda each: _money(each["profit"])),
        ("deepest fall of the profit, pUSD", lambda each: _money(each["drawdown"])),
        ("losses in a row", lambda each: str(each["losing_streak"])),
    )
    return _table(
        ("", "at the next price", "at the price last seen: wrong, to compare"),
        [(words, _number(show(new)), _number(show(old))) for words, show in rows],
    )


def _signals(found: Mapping[str, Any]) -> str:
    if not found["signals"]:
        return ""
    return (
        f"<p>The first signal of a window was right in {_rate(found['right'])} of {found['signals']:,} windows; the "
        "bot "
        f"believed in {found['believed']:.1%}. That says nothing about the price.</p>"
    )


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    rows = [(escape(each["test"]), _verdict(each["verdict"]), escape(each["sentence"])) for each in findings]
    return "<h3>Tests that could refute it</h3>" + _table(("test", "verdict", "what was found"), rows)


def _parts(summary: Mapping[str, Any]) -> str:
    found = []
    for name, words in (("by_asset", "asset"), ("by_day", "day"), ("by_hour", "hour")):
        rows = [
            (
                escape(part),
                _number(str(each["trades"])),
                _number(_rate(each["win_rate"])),
                _number(_estimate(each["per_share"])),
                _number(_money(each["profit"])),
            )
            for part, each in summary[name].items()
        ]
        found.append(_table((words, "purchases", "won", "a share makes", "profit, pUSD"), rows))
    return "<details><summary>By asset, day and hour</summary>" + "".join(found) + "</details>"


def _pairs(found: Sequence[Mapping[str, Any]], studies: Iterable[Mapping[str, Any]]) -> list[str]:
    parts = ["<h2>Pair cost: both sides for less than a dollar</h2>"] if found else []
    for each in found:
        parts.append(f"<h3>{escape(each['source'])}: {escape(each['era'])}</h3>")
        parts.append(f"<p>{_verdict(each['verdict'])}: {escape(each['why'])}</p>")
        if "price" in each:
            parts.append(
                f"<p>One after the other at {each['price']}: of {each['rounds']:,} rounds both sides came down to the "
                f"price in {each['both']:,}, one alone in {each['one']:,}, none in {each['neither']:,}. A begun pair "
                f"was completed in {_rate(each['completed'])}; {float(each['needed']):.1%} are needed to lose nothing. "
                f"A round makes {_estimate(each['per_round'])} pUSD a share before fees, "
                f"{_estimate(each['per_round_after_fees'])} after taker fees. A side that came down alone is the "
                "loser, because the loser's price goes to 0.</p>"
            )
        else:
            parts.append(
                f"<p>Another project's paper bot says of itself: {each['rounds']:,} rounds, both sides filled in "
                f"{each['both']:,}, one alone in {each['one']:,}; it made {_money(each['profit'])} pUSD on "
                f"{_money(each['cost'])} spent.</p>"
            )
    rows = [
        (
            escape(each["source"]),
            _number(f"{at_once['windows']:,}"),
            _number(_rate(at_once["under_a_dollar"])),
            _number(_rate(at_once["after_fees"])),
            _number(at_once["cheapest"]),
        )
        for each in studies
        if (at_once := each["both_at_once"])
    ]
    if rows:
        parts += [
            "<h3>Both at once</h3>",
            _table(("data", "windows", "ever below a dollar", "after fees", "cheapest"), rows),
            (
                '<p class="soft">At the venue who sells one side at p is a buyer of the other at 1 - p, so both asks '
                "together never cost less than a dollar in one book. A recorded sum below it says that the recorder "
                "looked at the two sides at different moments; it could not be traded.</p>"
            ),
        ]
    return parts


def _others(result: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            escape(each["source"]),
            _number(f"{each['windows']:,}"),
            _number(_rate(each["up"])),
            _number(_rate(each["agree"])),
        )
        for each in result.get("labels", [])
    ]
    parts = (
        ["<h2>Who won</h2>", _table(("data", "windows", "up won", "its prices name the winner"), rows)] if rows else []
    )
    for each in result.get("others", []):
        if each["kind"] == "tails":
            parts.append(
                f"<h3>{escape(each['source'])}</h3><p>{each['cases']:,} moments at which a side cost "
                f"{each['stated']:.3f} on "
                f"average; {_rate(each['won'])} of them won. They were chosen by their maker, so that is no estimate "
                "of "
                "all.</p>"
            )
        else:
            parts.append(
                f"<h3>{escape(each['source'])}</h3><p>{each['cases']:,} purchases of another project's paper bot in "
                f"{each['windows']:,} windows: {_rate(each['won'])} won, a share makes "
                f"{_estimate(each['per_share'])} pUSD "
                "after fees when held to the end, at the prices that its own model paid.</p>"
            )
    return parts


def _verdict(verdict: str) -> str:
    kind = "undecided" if verdict == "not decidable" else verdict
    return f'<span class="verdict {kind}">{verdict}</span>'


def _estimate(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "-"
    bounds = "" if found["low"] is None else f" ({found['low']:+.3f} to {found['high']:+.3f})"
    return f"{found['mean']:+.3f}{bounds}"


def _rate(found: Mapping[str, Any]) -> str:
    return "-" if found["mean"] is None else f"{found['mean']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _money(text: str) -> str:
    return f"{float(text):,.2f}"


def _number(text: str) -> str:
    return f"\0{text}"


def _figure(svg: str) -> str:
    title = svg.split('aria-label="', 1)[1].split('"', 1)[0]
    return f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; a cell that begins with a NUL is a number, whatever is in it. On a phone each row is a card."""
    cells = list(rows)
    numbers = [bool(cells) and cells[0][place].startswith("\0") for place in range(len(head))]
    titles = "".join(
        f'<th class="number">{escape(each)}</th>' if number else f"<th>{escape(each)}</th>"
        for each, number in zip(head, numbers, strict=True)
    )
    lines = "".join("<tr>" + "".join(map(_cell, head, row)) + "</tr>" for row in cells)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(title: str, text: str) -> str:
    kind, shown = (' class="number"', escape(text[1:])) if text.startswith("\0") else ("", text)
    return f'<td{kind} data-head="{escape(title)}"><span>{shown}</span></td>'
