"""Windows of the time in which the average settles, with receive times: one JSON document of events.

Layout ``parity``: ``windows: [{window_ts, token_up, token_down, label: {resolved_up, price_to_beat}, events}]``. An
event is ``[received s, kind, ...]``: ``s`` and ``l`` two spot feeds, ``t`` the 60-second average (own time, price),
``p`` a trade (token, price, size), ``b`` the best bid and ask of a token (in the last 90 seconds alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bots.research.loaders.tables import DataError, document
from bots.research.windows import QuoteKind, Quotes, Ticks, Window, e4, e8, strike_from
from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    from pathlib import Path

    from bots.research.eras import Eras


def load(path: Path, eras: Eras, source: str) -> list[Window]:
    """Read the document; each window's prices are its trades until the best prices begin. Raises DataError."""
    content = document(path)
    try:
        return [_window(each, eras, source) for each in content["windows"]]
    except (KeyError, TypeError, IndexError, ValueError, ArithmeticError) as error:
        raise DataError(f"{path.name}: not the layout of parity windows ({type(error).__name__}: {error})") from None


def _window(raw: dict[str, Any], eras: Eras, source: str) -> Window:
    asset, _, interval, begin = raw["cid"].split("-")
    start = int(begin) * 1000
    end = start + int(interval.removesuffix("m")) * 60_000
    events = sorted(raw["events"], key=lambda each: each[0])
    told = [each for each in events if each[1] == "t"]
    ticks = Ticks(
        at_ms=[int(each[2] * 1000) for each in told],
        received_ms=[int(each[0] * 1000) for each in told],
        price_e8=[e8(each[3]) for each in told],
    )
    strike = strike_from(ticks, start)
    return Window(
        source=source,
        asset=asset,
        start_ms=start,
        end_ms=end,
        rules=eras.rules(interval, start),
        oracle=ticks,
        oracle_kind=TickKind.TWAP60,
        oracle_name="Chainlink, 60-second average",
        up=_quotes(events, raw["token_up"], raw["token_down"]),
        down=_quotes(events, raw["token_down"], raw["token_up"]),
        strike_e8=e8(raw["label"]["price_to_beat"]),
        strike_known_ms=max(start, start + 20_000 if strike is None else strike[1]),
        up_won=bool(raw["label"]["resolved_up"]),
    )


def _quotes(events: list[Any], token: str, other: str) -> Quotes:
    """Join a token's prices: trades of both tokens, and best prices where they are recorded."""
    seen: list[tuple[int, int, int]] = []
    for event in events:
        at = int(event[0] * 1000)
        if event[1] == "p":
            price = e4(event[3]) if event[2] == token else 10_000 - e4(event[3]) if event[2] == other else 0
            seen += [(at, price, price)] if price else []
        elif event[1] == "b" and event[2] == token:
            seen.append((at, e4(event[3] or 0), e4(event[4] or 0)))
    columns = list(zip(*seen, strict=True)) or [(), (), ()]
    return Quotes(received_ms=columns[0], bid_e4=columns[1], ask_e4=columns[2], kind=QuoteKind.PRINT)
