"""What stands in a bundle of all that was heard: what concerns its market, of each line.

A frame or an answer may be about hundreds of markets; the parts about one are kept as they were, character by
character. Pure; done by the thread that writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from polymirror.journal.format import Answered, Asked, Body, Heard, Lost, Sent, Used

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polymirror.journal.format import Incident, Line

MAX_ODD: Final = 64 * 1024
"""Characters of a text that cannot be read, and so might be about any market: no more are kept."""

_parts: Final = msgspec.json.Decoder(list[msgspec.Raw])


def lines_of(header: Line, incident: Incident, lines: Sequence[Line], *, cut: bool) -> Iterator[Line]:
    """Yield the lines of a bundle, numbered anew: what is missing for other markets is no gap."""
    n = 0
    yield replace(header, n=n)
    yield replace(incident, n=n, last=len(lines) + (cut and len(lines) > 0))
    names = (incident.market, *incident.tokens)
    for line in lines:
        n += 1
        yield replace(_about(line, names), n=n)
        if cut and n == 1:
            n += 1
            yield Lost(n, line.t, line.w, 1, line.t, line.t, "there was more than may be kept")


def _about(line: Line, names: tuple[str, ...]) -> Line:
    """Cut a line down to what is about a market: its id and its tokens."""
    match line:
        case Heard(data=data, form=form) if form in {"", "text"}:
            return replace(line, data=_cut(data, names))
        case Heard(data=data):
            return replace(line, data=data[:MAX_ODD])
        case Answered(bodies=bodies) if bodies:
            return replace(line, bodies=tuple(_body(body, names) for body in bodies), failed=_only(line.failed, names))
        case Asked(tokens=tokens) | Sent(tokens=tokens) | Used(tokens=tokens) if tokens:
            return replace(line, tokens=_only(tokens, names))
        case _:
            return line


def _body(body: Body, names: tuple[str, ...]) -> Body:
    if body.form not in {"", "text", "made"}:
        return replace(body, text=body.text[:MAX_ODD])
    return replace(body, text=_cut(body.text, names), tokens=None if body.tokens is None else _only(body.tokens, names))


def _only(tokens: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in tokens if each in names)


def _cut(text: str, names: tuple[str, ...]) -> str:
    """Keep of an array the elements that name the market or one of its tokens, as they stand."""
    if not text.lstrip().startswith("["):
        return text if _names(text, names) else text[:MAX_ODD]
    try:
        parts = [bytes(part).decode() for part in _parts.decode(text)]
    except (msgspec.MsgspecError, UnicodeError):
        return text[:MAX_ODD]
    kept = [part for part in parts if _names(part, names)]
    # An array in which nothing is named could be about anything.
    return text if len(kept) == len(parts) or (not kept and len(text) <= MAX_ODD) else f"[{','.join(kept)}]"


def _names(text: str, names: tuple[str, ...]) -> bool:
    return any(f'"{name}"' in text for name in names)
