"""A bundle of two relays that stated different books for one time: what each had, and which of them changed last.

The digests are computed once more from the levels in the bundle, so that what went wrong on the way to the reader is
told from what the relays themselves had.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha1
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from polymirror.errors import DecodeError
from polymirror.explain.explanation import Explanation, LevelRow
from polymirror.explain.timeline import TimelineRow
from polymirror.harmless import harmless
from polymirror.journal.format import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polymirror.journal.format import Header, Incident, Relayed, Shown, Stated

KIND: Final = "relays disagree"

HEADLINE: Final = "Two relays stated different books for the same time of the venue: one of them is wrong."

MAX_NAMED: Final = 4
"""Levels that are named of one message."""

PRICES: Final = 10_000
SIZES: Final = 1_000_000
"""What a relay's whole numbers are of a price and of a size."""


def explain_contradiction(
    header: Header, incident: Incident, stated: Sequence[Stated], said: Sequence[Relayed]
) -> Explanation:
    """Explain a bundle that a reader of several relays wrote. Raises DecodeError for numbers that are none."""
    try:
        return _explain(header, incident, stated[:2], said)
    except (ArithmeticError, ValueError) as error:
        raise DecodeError("a bundle", f"it has numbers that are none: {error}") from None


def _explain(header: Header, incident: Incident, stated: Sequence[Stated], said: Sequence[Relayed]) -> Explanation:
    name, began = harmless(incident.names[0] if incident.names else incident.token, 80), seconds_of(incident.t)
    then = datetime.fromtimestamp(incident.w / 1e9, UTC)
    clock = f"{then:%Y-%m-%d %H:%M:%S}.{then.microsecond // 1000:03d} UTC"
    levels = tuple(_levels(stated))
    detail = f" ({harmless(incident.detail)})" if incident.detail else ""
    words = [
        f"{name} lost trust at {clock}: {incident.reason}{detail}.",
        HEADLINE,
        *_differs(levels, stated),
        *chain.from_iterable(_one(each) for each in stated),
        *_last(stated),
        *_advice(stated),
    ]
    titles = [harmless(each.relay, 60) for each in stated]
    first, second = (*titles, "the other relay", "the other relay")[:2]
    return Explanation(
        name, incident.reason, KIND, incident.token, clock, tuple(words), levels,
        tuple(_row(line, began) for line in said), (), None, None,
        tuple((title, _ladder(each.book)) for title, each in zip(titles, stated, strict=True)),
        {
            "market": incident.market, "token": incident.token, "detail": incident.detail,
            "relays": [
                {"relay": each.relay, "run": each.run, "seq": each.seq, "digest": each.digest, "state": each.book.state,
                 "as_of_ms": each.as_of_ms, "exchange_ms": each.book.exchange_ms, "counts": each.counts}
                for each in stated
            ],
            "skipped_incidents": incident.skipped, "polymirror": header.polymirror, "python": header.python,
            "session": header.session, "settings": header.engine,
        },
        (first, second, "differs by"),
    )  # fmt: skip


def _differs(levels: Sequence[LevelRow], stated: Sequence[Stated]) -> Iterator[str]:
    if len(stated) < 2:  # noqa: PLR2004 - a pair
        yield "The bundle has the book of one relay alone: the other was gone before it was written."
    elif not levels:
        yield "Both books are the same in this bundle: it was no difference of levels."
    else:
        first = levels[0]
        what = f"{first.side} {first.price}: {first.before or 'no level'}, and {first.evidence or 'no level'}"
        many = "One level differs" if len(levels) == 1 else f"{len(levels)} levels differ"
        yield f"{many}, such as {what}."


def _one(each: Stated) -> Iterator[str]:
    """What one relay had, and whether the copy is what that relay sent."""
    book = each.book
    age = "it was not proven" if book.proof_age is None else f"proven by {book.proof} {book.proof_age:.3f} s before"
    settled = "" if each.settled else ", and a newer change was known that was not proven yet"
    yield (
        f"{harmless(each.relay)} (run {harmless(each.run, 12)}), state {each.seq}: {harmless(book.state)}, {age}, "
        f"newest change of venue time {book.exchange_ms}, stated up to {each.as_of_ms}{settled}."
    )
    if _digest(book) != each.digest:
        yield "That copy does not fit the digest that its relay stated: it went wrong here, not there."


def _last(stated: Sequence[Stated]) -> Iterator[str]:
    if len(stated) < 2:  # noqa: PLR2004 - a pair
        return
    older, newer = sorted(stated, key=lambda each: each.book.exchange_ms)
    apart = newer.book.exchange_ms - older.book.exchange_ms
    if not apart:
        yield "Both name the same newest change: they took it in differently, or differ by something older."
        return
    yield (
        f"Changed last: {harmless(newer.relay)}, by {apart / 1000:.3f} s of the venue's time. Either "
        f"{harmless(older.relay)} has missed what came since and still believes its book, or {harmless(newer.relay)} "
        "took in a change that is not of this book."
    )


def _advice(stated: Sequence[Stated]) -> Iterator[str]:
    yield (
        "What to do: nothing was read meanwhile, and both are refused until they say the same. Hold both against the "
        "venue's own REST book of this token, look for bundles of the mirrors behind both relays at this time, and "
        "restart the one that differs. Do not take an address away before that: the one that is left would be believed."
    )
    for each in stated:
        odd = ", ".join(f"{harmless(what)}: {count}" for what, count in sorted(each.counts.items()))
        if odd:
            yield f"Odd with {harmless(each.relay)} so far: {odd}."


def _levels(stated: Sequence[Stated]) -> Iterator[LevelRow]:
    """Yield the levels at which the two differ, best first."""
    if len(stated) < 2:  # noqa: PLR2004 - a pair
        return
    one, other = stated[0].book, stated[1].book
    for side, mine, others in (("bid", one.bids, other.bids), ("ask", one.asks, other.asks)):
        ours, theirs = ({Decimal(price): size for price, size in levels} for levels in (mine, others))
        for price in sorted(ours.keys() | theirs.keys(), reverse=side == "bid"):
            before, after = ours.get(price), theirs.get(price)
            by = Decimal(after or 0) - Decimal(before or 0)
            if by:
                yield LevelRow(side, str(price), before, after, f"{by:+f}")


def _ladder(book: Shown) -> dict[str, Any]:
    return {"bids": book.bids, "asks": book.asks}


def _digest(book: Shown) -> str:
    sides = (
        ",".join(f"{int(Decimal(price) * PRICES)}:{int(Decimal(size) * SIZES)}" for price, size in side)
        for side in (book.bids, book.asks)
    )
    return sha1(f"{book.token}|{'|'.join(sides)}".encode(), usedforsecurity=False).hexdigest()


def _row(line: Relayed, began: float) -> TimelineRow:
    """What a relay said, in words; what cannot be read is shown as it is."""
    at, relay = seconds_of(line.t) - began, harmless(line.relay, 60)
    try:
        item = json.loads(line.data)
        kind, seq = item["is"], int(item["seq"])
        text = f"state {seq} still holds" if kind == "beat" else f"{kind} {seq}: {item['state']}{_changes(item)}"
    except (ArithmeticError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return TimelineRow(at, line.n, "bad", relay, harmless(line.data, 200))
    tone = "state" if item.get("state", "LIVE") != "LIVE" else "plain"
    return TimelineRow(at, line.n, tone, relay, harmless(text))


def _changes(item: dict[str, Any]) -> str:
    if item["is"] == "book":
        return f", {len(item['bids'])} bids and {len(item['asks'])} asks"
    levels = [*(("bid", level) for level in item["bids"]), *(("ask", level) for level in item["asks"])]
    named = [f"{side} {Decimal(level[0]) / PRICES} -> {Decimal(level[1]) / SIZES:f}" for side, level in levels]
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return "".join(f", {each}" for each in named[:MAX_NAMED]) + more
