"""A real process, a real disk and a real ``kill -9``: no order is out that the files do not know."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bots.common.ledger.account import Account
from bots.common.ledger.files import Disk
from bots.common.ledger.intents import IntentLog
from bots.common.ledger.state import StateFile
from polymirror.simulator.virtual import run_virtual
from polymirror.venue.network import Network

ROOT = Path(__file__).parents[2]

BOT = """
import sys
from pathlib import Path
from bots.common.ledger.files import Disk
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.simulate import simulate
from polymirror.simulator.orders.judge import OrderJudge

hear = OrderJudge.before_submit

def tell(self, client_id, token, view):
    print(client_id, flush=True)
    hear(self, client_id, token, view)

OrderJudge.before_submit = tell
simulate(BotSettings(), rounds=4_000, seed=7, files=Disk(Path(sys.argv[1])))
"""


def read_back(folder):
    async def read():
        files = Disk(folder)
        state = await StateFile(files).load()
        account = Account() if state is None else Account.restore(state.account)
        await IntentLog(files, account, Network()).open()
        return account

    return run_virtual(read)


@pytest.mark.slow
@pytest.mark.parametrize(("orders", "later"), [(1, 0.0), (5, 0.013)])
def test_every_order_that_left_before_a_real_kill_is_on_the_disk(tmp_path, orders, later):
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", BOT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        left = [process.stdout.readline().strip() for _ in range(orders)]
        time.sleep(later)  # somewhere in the life of that order; nothing depends on where
        process.kill()
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == -9, errors
    left += rest.split()
    account = read_back(tmp_path)
    assert len(left) >= orders
    assert [client_id for client_id in left if not account.knows(client_id)] == []
    assert account.totals.orders >= len(set(left)) == len(left)
