"""``python -m bots.oracle_lag``: the embedded exchange by default, paper on the real feed, or live."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

from bots.common.errors import shorten
from bots.common.operate.settings import load
from bots.common.operate.start import Start, between, kept, say
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.live import run_live
from bots.oracle_lag.rehearse import rehearsal
from bots.oracle_lag.simulate import simulate
from bots.updown.stats import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

MAX_ROUNDS = 10_000
ROUNDS = 40
SEED = 7
COLUMNS = 80


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the modes; return the exit code: 0, 1 when something is not as it must be, 2 for settings."""
    start = Start("bots.oracle_lag", __doc__ or "", "docs/bots.md", SEED)
    start.play("rounds", ROUNDS, "rounds to play", type=between(1, MAX_ROUNDS))
    options = start.read(arguments)
    return start.do(options, lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    settings = load(BotSettings, options.config)
    live = partial(run_live, for_real=options.live, tell=say, begin_log=options.begin_log)
    if options.venue is not None:
        practice = rehearsal(settings, options.venue)
        return live(practice.settings, geoblock=practice.geoblock, environment=practice.environment)
    return live(settings) if options.live or options.live_data else _simulate(settings, options)


def _simulate(settings: BotSettings, options: argparse.Namespace) -> int:
    def tell(text: str) -> None:
        if not options.json:
            say(shorten(text, COLUMNS))

    tell(f"oracle_lag on the embedded exchange: {options.rounds} rounds, seed {options.seed}")
    store = kept(options.keep)
    found = simulate(
        settings,
        rounds=options.rounds,
        seed=options.seed,
        storm=options.storm,
        kills=options.kills,
        store=store,
        tell=tell,
    )
    if store is not None:
        store.close()
    if options.json:
        # Six decimals of money survive the way through a JSON number.
        say(json.dumps(found, default=float))
    else:
        say("\n" + table(found, f"oracle_lag, seed {options.seed}"))
    return 0 if found["clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
