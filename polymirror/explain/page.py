"""One page of HTML that explains an incident: it stands alone, needs nothing from anywhere, and has no script."""

from __future__ import annotations

from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Final

from polymirror.harmless import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polymirror.explain.explanation import Explanation

NEAR: Final = 8
"""Levels of each side next to the best one that a ladder shows in any case,"""

BESIDE: Final = 1
"""and those next to one that differs."""

MAX_RAW: Final = 4_000
"""Characters of a raw message that are shown."""

AROUND: Final = 1.15
"""The strip shows so much more time than what matters takes."""

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1d21;--dim:#68707a;--line:#dfe3e8;--card:#f6f7f9;--good:#1a7f37;
--bad:#c62828;--warn:#b26a00;--goodbg:#dff3e4;--badbg:#fde3e3;--warnbg:#fff0d4;--mark:#ffe9a8}
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e4e7eb;--dim:#98a1ab;--line:#2e343b;--card:#1c2025;
--good:#57c274;--bad:#ff7b72;--warn:#e3a547;--goodbg:#173822;--badbg:#4a1f1f;--warnbg:#45320f;--mark:#574a14}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.2rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.35rem;line-height:1.3;margin:0 0 .3rem}h2{font-size:1.05rem;margin:1.8rem 0 .6rem}
.lead{font-size:1.1rem;margin:.2rem 0 1rem}.dim{color:var(--dim)}
ul.words{padding-left:1.1rem;margin:0}ul.words li{margin:.25rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th{text-align:left;font-weight:600;color:var(--dim);border-bottom:1px solid var(--line)}
th,td{padding:.22rem .5rem;vertical-align:top}td.n,th.n{text-align:right;white-space:nowrap}
tr+tr td{border-top:1px solid var(--line)}
.good{color:var(--good)}.bad{color:var(--bad)}.state{font-weight:600}.plain{color:var(--dim)}
mark{background:var(--mark);color:inherit;border-radius:.25rem;padding:0 .3rem;font-weight:600}
.strip{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem}
.track{position:relative;height:1.5rem;margin:.25rem 0;border-radius:.25rem;overflow:hidden;background:var(--line)}
.band{position:absolute;top:0;bottom:0;min-width:2px;font-size:.72rem;line-height:1.5rem;padding-left:.3rem;
overflow:hidden;white-space:nowrap}
.LIVE{background:var(--goodbg);color:var(--good)}.SUSPECT{background:var(--badbg);color:var(--bad)}
.RESYNCING{background:var(--warnbg);color:var(--warn)}.UNPRIMED,.RETIRED{background:var(--line);color:var(--dim)}
.dots{position:relative;height:1.3rem}.dot{position:absolute;top:.35rem;width:.6rem;height:.6rem;margin-left:-.3rem;
border-radius:50%;background:var(--dim)}.dot.good{background:var(--good)}.dot.bad{background:var(--bad)}
.dot.first{width:1rem;height:1rem;margin-left:-.5rem;top:.15rem;outline:2px solid var(--fg)}
.scale{display:flex;justify-content:space-between;font-size:.78rem;color:var(--dim)}
.ladder{max-width:40rem}.ladder th,.ladder td{width:40%}.ladder .price{width:20%;text-align:center;font-weight:600}
.ladder tr+tr td{border:0}.ladder .ask .price{color:var(--bad)}.ladder .bid .price{color:var(--good)}
.ladder tr.differs td{background:var(--mark)}.ladder tr.ask+tr.bid td{border-top:2px solid var(--dim)}
.ladder tr.gap td{color:var(--dim);text-align:center;font-size:.85em}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border:1px solid var(--line);
border-radius:.5rem;padding:.7rem;font-size:.8rem;margin:.4rem 0}
summary{cursor:pointer}
@media(max-width:40rem){body{padding:.8rem}th,td{padding:.2rem .3rem}
table{font-size:.82rem}td.line,th.line{display:none}}
"""


def page_of(found: Explanation) -> str:
    """Return an explanation as a page of HTML."""
    title = f"{found.name}: {found.reason}"
    words = "".join(f"<li>{_text(each)}</li>" for each in found.words[2:])
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>"
        f'<h1>{_text(found.words[0])}</h1><p class="lead">{_text(found.words[1])}</p>'
        f'<ul class="words">{words}</ul>{_strip(found)}{_levels(found)}{_ladders(found)}{_rows(found)}'
        f"{_raw(found)}{_about(found)}</body></html>\n"
    )


def _text(value: object) -> str:
    return escape(escaped(str(value)))


def _strip(found: Explanation) -> str:
    """Return the states of both books, and what the witnesses said, along one axis of time."""
    ends = [row.at for row in found.rows if row.tone == "state"]
    marks = [row.at for row in found.rows if row.mark]
    begin = min([-1.0, *(at * AROUND for at in marks)])
    end = max([1.0, *(at * AROUND for at in ends)])

    def place(at: float) -> float:
        return round(100 * (min(max(at, begin), end) - begin) / (end - begin), 2)

    tracks: dict[str, list[str]] = {}
    for band in found.bands:
        left, right = place(band.begin), place(band.end)
        shown = tracks.setdefault(band.book, [])
        if right > left or begin <= band.begin <= end:
            span = f"{band.state} for {band.end - band.begin:.2f} s"
            shown.append(
                f'<div class="band {_text(band.state)}" style="left:{left}%;width:{round(right - left, 2)}%" '
                f'title="{_text(span)}">{_text(band.state) if right - left > 12 else ""}</div>'  # noqa: PLR2004 - room
            )
    dots = "".join(
        f'<span class="dot {row.tone}{" first" if row.mark else ""}" style="left:{place(row.at)}%" '
        f'title="{_text(f"{row.at:+.3f} s {row.mark} {row.book} {row.text}")}"></span>'
        for row in found.rows
        if row.tone != "state" and begin <= row.at <= end
    )
    bars = "".join(
        f'<div class="dim">{_text(book)}</div><div class="track">{"".join(shown)}</div>'
        for book, shown in tracks.items()
    )
    scale = f'<div class="scale"><span>{begin:+.1f} s</span><span>{end:+.1f} s</span></div>'
    return (
        f'<h2>Time line</h2><div class="strip">{bars}<div class="dim">What the witnesses said</div>'
        f'<div class="dots">{dots}</div>{scale}</div>'
        '<p class="dim">Green: agrees with the book. Red: disagrees. Outlined: the last right and the first wrong one. '
        "0 is the loss of trust.</p>"
    )


def _levels(found: Explanation) -> str:
    if not found.levels:
        return ""
    rows = "".join(
        f'<tr><td>{_text(each.side)}</td><td class="n">{_text(each.price)}</td>'
        f'<td class="n bad">{_size(each.before)}</td><td class="n good">{_size(each.evidence)}</td>'
        f'<td class="n">{_size(each.after)}</td></tr>'
        for each in found.levels
    )
    heads = "".join(f'<th class="n">{each}</th>' for each in ("price", *map(_text, found.columns)))
    return f"<h2>Levels that differed</h2><table><tr><th>side</th>{heads}</tr>{rows}</table>"


def _size(size: str | None) -> str:
    return "-" if size is None else _text(size)


def _ladders(found: Explanation) -> str:
    """Return both books as one ladder, level beside level."""
    if len(found.ladders) != 2:  # noqa: PLR2004 - a pair
        return ""
    (ours, mine), (theirs, others) = found.ladders
    rows = [*_side("ask", mine["asks"], others["asks"]), *_side("bid", mine["bids"], others["bids"])]
    heads = f'<th class="n">{_text(ours)}</th><th class="price">price</th><th>{_text(theirs)}</th>'
    return f'<h2>Both books</h2><table class="ladder"><tr>{heads}</tr>{"".join(rows)}</table>'


def _side(side: str, mine: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of one side, the best price towards the middle; equal levels far from it are counted."""
    ours = {Decimal(price): size for price, size in mine}
    theirs = {Decimal(price): size for price, size in others}
    prices = sorted(ours.keys() | theirs.keys(), reverse=True)
    differs = [not _same(ours.get(price), theirs.get(price)) for price in prices]
    best = range(len(prices))[-NEAR:] if side == "ask" else range(len(prices))[:NEAR]
    shown = {at for at, differ in enumerate(differs) if differ for at in range(at - BESIDE, at + BESIDE + 1)} | set(
        best
    )
    rows: list[str] = []
    equal = 0
    for at, price in enumerate(prices):
        if at in shown:
            rows += _gap(equal, side)
            equal = 0
            kind = f"{side}{' differs' if differs[at] else ''}"
            rows.append(
                f'<tr class="{kind}"><td class="n">{_size(ours.get(price))}</td>'
                f'<td class="price">{price}</td><td>{_size(theirs.get(price))}</td></tr>'
            )
        else:
            equal += 1
    return rows + _gap(equal, side)


def _same(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and Decimal(one) == Decimal(other))


def _gap(count: int, side: str) -> list[str]:
    many = f"{count} equal {side}{'s' if count > 1 else ''}"
    return [f'<tr class="gap"><td colspan="3">{many}</td></tr>'] if count else []


def _rows(found: Explanation) -> str:
    rows = "".join(
        f'<tr><td class="n">{row.at:+.3f}</td><td class="n line">{row.line}</td><td class="{row.tone}">'
        f"{f'<mark>{_text(row.mark)}</mark> ' if row.mark else ''}{f'{_text(row.book)}: ' if row.book else ''}"
        f"{_text(row.text)}{f' ({row.times} times)' if row.times > 1 else ''}</td></tr>"
        for row in found.rows
    )
    heads = '<tr><th class="n">seconds</th><th class="n line">line</th><th>what happened</th></tr>'
    return f"<h2>What happened</h2><table>{heads}{rows}</table>"


def _raw(found: Explanation) -> str:
    texts = (("Last message before it went wrong", found.last_right), ("First wrong message", found.first_wrong))
    shown = "".join(
        f"<details><summary>{title}, as received</summary><pre>{_text(text[:MAX_RAW])}</pre></details>"
        for title, text in texts
        if text is not None
    )
    return f"<h2>Messages</h2>{shown}" if shown else ""


def _about(found: Explanation) -> str:
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in found.about.items())
    return (
        f"<h2>This bundle</h2><details><summary>Market, versions and settings</summary><table>{rows}</table></details>"
    )
