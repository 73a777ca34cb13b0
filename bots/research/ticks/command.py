"""``python -m bots.research ticks``: play one recorded market, and print what came of it as JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bots.research.eras import Eras
from bots.research.loaders.tables import DataError, rows
from bots.research.ticks.play import Replayed, replay
from bots.research.ticks.recording import Recording, market_of, read_frames
from bots.research.windows import Ticks, e8, strike_from
from bots.updown.oracles.ticks import TickKind

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = ("at_ms", "received_ms", "price")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("frames", help="a mirror's journal, or somebody's recording of the market channel")
    parser.add_argument("--oracle", required=True, help=f"CSV, JSON lines, Parquet or SQLite: {', '.join(COLUMNS)}")
    parser.add_argument("--slug", required=True, help="the market's name, such as btc-updown-5m-1776808200")
    parser.add_argument("--market", required=True, help="its condition id")
    parser.add_argument("--up", required=True, metavar="TOKEN", help="the token that pays if the price is up")
    parser.add_argument("--down", required=True, metavar="TOKEN", help="the other one")
    parser.add_argument("--strike", type=Decimal, help="the price at the opening; left out: the oracle's tick there")
    parser.add_argument("--won", choices=("up", "down"), help="who won; left out: positions stay open")


def run(options: argparse.Namespace, columns: Mapping[str, str], path: Path, oracle: Path) -> str:
    """Play, and return the JSON text. Raises DataError, ConfigError."""
    ticks = _ticks(oracle, columns)
    start_ms = int(options.slug.rsplit("-", 1)[-1]) * 1000 if options.slug.rsplit("-", 1)[-1].isdigit() else 0
    rules = Eras().rules(options.slug.split("-")[2] if options.slug.count("-") > 2 else "", start_ms)  # noqa: PLR2004
    market, window = market_of(
        slug=options.slug, condition_id=options.market, up=options.up, down=options.down, fee=rules.fee
    )
    seen = strike_from(ticks, start_ms)
    known = start_ms if seen is None else seen[1]
    strike = options.strike if options.strike is not None else None if seen is None else Decimal(seen[0]).scaleb(-8)
    won = {"up": (1, 0), "down": (0, 1)}.get(options.won or "")
    recording = Recording(
        market=market,
        window=window,
        rules=rules,
        frames=read_frames(path, options.market),
        oracle=ticks,
        strike=strike,
        strike_known_ms=known,
        payouts={} if won is None else dict(zip(market.token_ids, map(Decimal, won), strict=True)),
    )
    kind = TickKind.SPOT if rules.settlement == "spot" else TickKind.TWAP60
    return json.dumps({"rules": rules.era, **_plain(replay(recording, kind=kind))}, indent=1)


def _ticks(path: Path, columns: Mapping[str, str]) -> Ticks:
    names = [columns.get(each, each) for each in COLUMNS]
    try:
        found = sorted((int(row[names[1]]), int(row[names[0]]), e8(row[names[2]])) for row in rows(path, names))
    except (ValueError, ArithmeticError) as error:
        raise DataError(f"{path.name}: a row cannot be read ({type(error).__name__}: {error})") from None
    return Ticks(
        at_ms=[at for _, at, _ in found],
        received_ms=[received for received, _, _ in found],
        price_e8=[price for _, _, price in found],
    )


def _plain(found: Replayed) -> dict[str, Any]:
    return {
        "profit": str(found.profit),
        "open_positions": found.open_positions,
        "virtual_s": found.virtual_s,
        "counts": dict(sorted(found.counts.items())),
        "fills": [
            {
                "token": each.token,
                "price": str(each.price),
                "shares": str(each.shares),
                "money": str(each.money),
                "fee": str(each.fee),
                "at_ms": each.at_ms,
            }
            for each in found.fills
        ],
    }
