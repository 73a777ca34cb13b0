"""The market maker of the examples: after a storm of faults its own books are the exchange's, to the unit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from polymirror.simulator import Simulator
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Account, OrderDesk
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults, UserFaultRates
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.orders.trades import SettlementConfig
from polymirror.simulator.orders.users import UserChannel

pytestmark = pytest.mark.anyio

FILE = Path(__file__).parents[1] / "examples" / "market_maker.py"
RATES = OrderFaultRates(
    answer_lost=0.05,
    request_lost=0.03,
    request_late=0.05,
    too_early=0.04,
    too_many=0.04,
    unavailable=0.02,
    answer_late=0.05,
    twice=0.05,
    reads=0.1,
    failed_trades=0.5,
    strange_words=0.2,
    late_ms=1_500,
    fail_ms=500,
)


def example():
    spec = importlib.util.spec_from_file_location("market_maker", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
async def test_after_a_storm_its_books_are_those_of_the_ledger(monkeypatch):
    module, account, desks = example(), Account.made_up("market maker"), []
    monkeypatch.setattr(module, "LATE", 2.0)
    monkeypatch.setattr(module, "PATIENCE", 0.3)

    def feeds(exchange):
        ledger = Ledger()
        ledger.deposit(account.address, 1_000 * ONE_PUSD)
        broker = Broker(exchange, ledger, BrokerConfig(settlement=SettlementConfig(mine_ms=200, confirm_ms=200)))
        desk = OrderDesk(broker, [account], faults=OrderFaults(RATES, seed=4))
        desk.users = UserChannel(desk.keys, UserFaultRates.storm(), seed=4)
        desks.append(desk)
        return [desk.users]

    async with Simulator(4, rate=200, feeds=feeds, services=lambda _: desks[-1:]) as venue:
        maker = module.Maker(venue.base_url, account)
        await maker.quote(venue.slugs[0], 7, pause=0.1)
        await maker.http.aclose()
        ledger, broker = desks[-1].broker.ledger, desks[-1].broker
        ledger.audit()
        cost, held = maker.books()
        has = ledger.account(account.address)
        assert has.cash == has.deposited - cost * ONE_PUSD
        shares = {token: position.shares for token, position in has.positions.items()}
        assert {token: size * ONE_PUSD for token, size in held.items() if size} == shares
        assert broker.open_orders() == []
        assert {trade["status"].rpartition("_")[2] for trade in maker.trades.values()} == {"CONFIRMED", "FAILED"}
        assert desks[-1].faults.struck["answer_lost"]
