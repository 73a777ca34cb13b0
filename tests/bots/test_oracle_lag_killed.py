"""A real process, a real disk and a real ``kill -9``: no order is out that the files do not know."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bots.common.ledger.reader import LedgerReader

ROOT = Path(__file__).parents[2]

BOT = """
import sys
from pathlib import Path
from bots.common.ledger.database import Database
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.simulate import simulate
from polymirror.simulator.orders.judge import OrderJudge

hear = OrderJudge.before_submit

def tell(self, client_id, token, view):
    print(client_id, flush=True)
    hear(self, client_id, token, view)

OrderJudge.before_submit = tell
simulate(BotSettings(), rounds=4_000, seed=7, store=Database(Path(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("orders", "later"), [(1, 0.0), (5, 0.013)])
def test_every_order_that_left_before_a_real_kill_is_on_the_disk(tmp_path, orders, later):
    path = tmp_path / "bot.sqlite"
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", BOT, str(path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        left = [process.stdout.readline().strip() for _ in range(orders)]
        time.sleep(later)  # somewhere in the life of that order; nothing depends on where
        process.kill()
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == -9, errors
    left += rest.split()
    with LedgerReader(path) as reader:
        account = reader.account()
    assert len(left) >= orders
    assert [client_id for client_id in left if not account.knows(client_id)] == []
    assert account.totals.orders >= len(set(left)) == len(left)
