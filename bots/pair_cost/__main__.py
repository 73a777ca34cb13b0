"""``python -m bots.pair_cost``: the embedded exchange; ``universe``: which markets would be traded, and why."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from bots.pair_cost.config import PairBotSettings
from bots.pair_cost.simulate import make, simulate
from bots.supervisor.command import command

PROFILES = Path(__file__).parent / "profiles"

main = partial(
    command, "bots.pair_cost", PairBotSettings, make, profiles=PROFILES, simulate=simulate, page="docs/pairs.md"
)

if __name__ == "__main__":
    sys.exit(main())
