"""The public sets of data that are known to bear on these strategies.

Nothing is downloaded: a person fetches what they may use, and :func:`look_at` says whether the file can be read. The
figures are those of the sets' own pages; only the last one was opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.research.loaders import table
from bots.research.loaders.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@frozen(kw_only=True)
class Known:
    """One public set."""

    name: str
    where: str
    licence: str
    size: str
    period: str
    columns: str
    decides: str


KNOWN: Final = (
    Known(
        name="kaboomfox/15btc_eth",
        where="Hugging Face",
        licence="MIT",
        size="about 61 GB",
        period="February 2026",
        columns="best bid and ask with size at about 1 Hz, oracle, Binance, target price; BTC and ETH, 15m",
        decides="closest to the claims: lag, win rate and profit at real asks, in the era of the first fees",
    ),
    Known(
        name="BrockMisner/polymarket-crypto-5m-15m",
        where="Hugging Face",
        licence="MIT",
        size="not stated",
        period="from about March 2026",
        columns="books, trades, prices, resolutions",
        decides="profit at real asks, with depth",
    ),
    Known(
        name="obadiaha/polymarket-crypto-5m-15m",
        where="Hugging Face",
        licence="MIT",
        size="not stated",
        period="from about March 2026",
        columns="books, trades, prices, resolutions",
        decides="as the one before",
    ),
    Known(
        name="aliplayer1/polymarket-crypto-updown",
        where="Hugging Face",
        licence="MIT",
        size="6.5 GB",
        period="not stated",
        columns="not looked at",
        decides="not known before it is opened",
    ),
    Known(
        name="kachoio/polymarket-5-minute-crypto-up-down-markets",
        where="Hugging Face",
        licence="CC0",
        size="about 89,000 markets, 26.8 million rows of a second",
        period="2026-03-24 to 2026-05-18",
        columns="prices each second, outcomes derived from prices; no oracle",
        decides="pair cost and calibration; not the oracle's lead",
    ),
    Known(
        name="gude/polymarket-pmdata-btc-5m",
        where="Hugging Face",
        licence="not looked at",
        size="not stated",
        period="2026-02-14 to 2026-06-30",
        columns="whole books to the millisecond; BTC 5m",
        decides="tick replay of the book's side; needs an oracle beside it",
    ),
    Known(
        name="polydata5/polymarket-updown-5m-ws",
        where="Hugging Face",
        licence="to be checked",
        size="449 GB",
        period="2026-08-21 to 2026-11-11",
        columns="raw frames and Chainlink, seven coins, 5m",
        decides="everything, in the eras in which the average settles: the one for tick replay",
    ),
    Known(
        name="polyorderbooks",
        where="its own site",
        licence="CC BY 4.0",
        size="805 markets",
        period="not stated",
        columns="whole books each second; no oracle",
        decides="depth and pair cost",
    ),
    Known(
        name="CronosVirus00/polymarket-BTC5min-database",
        where="GitHub",
        licence="CC BY 4.0",
        size="50 markets were opened",
        period="2026-04-16",
        columns="book events with receive times; no oracle",
        decides="pair cost with depth",
    ),
)
"""All that are known."""


def listing() -> str:
    """Return the list for people."""
    rows = []
    for each in KNOWN:
        rows += [
            each.name,
            f"  where    {each.where}; licence: {each.licence}; {each.size}; {each.period}",
            f"  has      {each.columns}",
            f"  decides  {each.decides}",
        ]
    return "\n".join(rows)


def look_at(path: Path, columns: Mapping[str, str], sql_table: str = "") -> str:
    """Say whether a file can be read in the layout ``table``, and what it lacks. Raises DataError."""
    there = columns_of(path, sql_table)
    missing = [each for each in table.NEEDED if columns.get(each, each) not in there]
    absent = [each for each in table.OPTIONAL if columns.get(each, each) not in there]
    lines = [f"{path.name} has {', '.join(there)}"]
    if missing:
        lines.append(
            f"It lacks {', '.join(missing)}; name them with --column OURS=THEIRS if they are called otherwise."
        )
    else:
        lines.append('It can be read: layout = "table".')
    lacking = {
        "oracle_ms": "without oracle_ms receive times are not told apart from the oracle's own",
        "up_ask_size": "without up_ask_size the depth is assumed",
        "down_ask_size": "without down_ask_size the depth is assumed",
        "strike": "without strike it is the oracle's price nearest to the opening",
        "outcome": "without outcome it is read off the last prices, where they are clear",
    }
    return "\n".join([*lines, *(f"  {lacking[each]}" for each in absent)])
