"""Which layouts there are: name, reader, and what the data can decide. Called by the runner and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from bots.research.loaders import labels, ladder, minutes, oracle_days, others, pair_rounds, parity, sampled, table

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class Layout:
    """A layout. ``read(path, eras, source)`` makes windows; of the other kinds ``read(path)`` makes their records."""

    kind: str
    """windows, labels, pairs, tails or trades."""
    read: Callable[..., list[Any]]
    what: str


LAYOUTS: Final = {
    "table": Layout("windows", table.load, "one row a sample, in columns of your naming"),
    "minutes": Layout("windows", minutes.load, "one mid price a minute, candles of an exchange"),
    "bbo": Layout("windows", sampled.load_bbo, "both best prices at 1 Hz, no oracle"),
    "oracle_bbo": Layout("windows", sampled.load_oracle_bbo, "best prices and oracle, every few seconds"),
    "parity": Layout("windows", parity.load, "ticks, trades and best prices with receive times"),
    "ladder": Layout("windows", ladder.load_ladder, "seven looks at both books before the end"),
    "mids": Layout("windows", ladder.load_mids, "one pair of mid prices before the end"),
    "oracle_days": Layout("windows", oracle_days.load, "days of the oracle with receive times, no token prices"),
    "labels": Layout("labels", labels.load, "winners, with the venue's prices"),
    "spot_labels": Layout("labels", labels.load_spot, "winners, with an exchange's prices"),
    "touches": Layout("pairs", pair_rounds.load_touches, "which side came down to a price, and when"),
    "pair_rounds": Layout("pairs", pair_rounds.load_rounds, "rounds of a paper bot that buys both sides"),
    "tails": Layout("tails", others.load_tails, "moments at which a side cost next to nothing"),
    "paper_trades": Layout("trades", others.load_paper_trades, "purchases of somebody's paper bot"),
}
"""By name, as a configuration names them."""
