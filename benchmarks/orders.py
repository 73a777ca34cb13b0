"""How many orders a second the embedded exchange takes: ``python -m benchmarks.orders [ORDERS]``.

Three accounts place, match and cancel on one market of 40 levels, with everything that belongs to it: checks, reserves,
ledger, frames, both hashes, settlement. Every other order rests, the next one takes it (half of them by buying the
other token); one in ten is cancelled instead. The exchange's clock stands still meanwhile; the seconds are those of the
processor.
"""

from __future__ import annotations

import sys
import time

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.ledger import ONE_PUSD, ONE_SHARE, Ledger
from polymirror.simulator.orders.rules import OrderKind, Ticket

WHO = ("0xa", "0xb", "0xc")
USUAL = 30_000
STEP_EVERY = 1_000


def tickets(tokens: tuple[str, str], count: int) -> list[Ticket]:
    """Orders in pairs: one that rests inside the spread, and one that takes it."""
    made = []
    for number in range(count):
        pair, takes = divmod(number, 2)
        price = 4_900 + 100 * (pair % 3)
        buys, token = True, tokens[0]
        if takes and pair % 2:
            token, price = tokens[1], 10_000 - price
        elif takes:
            buys = False
        size, money = 5 * ONE_SHARE, 5 * ONE_SHARE * price // 10_000
        made.append(
            Ticket(
                id=f"0x{number:064x}",
                salt=number + 1,
                maker=WHO[number % 3],
                token=token,
                buys=buys,
                offered=money if buys else size,
                asked=size if buys else money,
                kind=OrderKind.GTC,
                signed_ms=1,
            )
        )
    return made


def run(count: int) -> tuple[float, int]:
    """Orders a second, and how many trades there were."""
    exchange = Exchange(ExchangeConfig(seed=1, flow=FlowConfig(rate=0.001, fair=0.5), new_market_every_ms=None))
    market = exchange.markets[0]
    for ladder in market.ladders:
        for price in list(ladder.prices):
            ladder.set(price, 0)
    for side in (0, 1):
        for price in range(2_900, 4_900, 100):
            market.ladders[side].set(price, 50 * ONE_SHARE)
    ledger = Ledger()
    broker = Broker(exchange, ledger, BrokerConfig(taker_delay_ms=0))
    for who in WHO:
        ledger.deposit(who, 10**6 * ONE_PUSD)
        broker.split(who, market.condition_id, 10**5 * ONE_SHARE)
    orders, now_ms = tickets(market.tokens, count), exchange.now_ms
    begun = time.process_time()
    for number, ticket in enumerate(orders):
        if number % 20 == 1:
            broker.cancel(orders[number - 1].maker, orders[number - 1].id)
            continue
        broker.place(ticket, now_ms)
        if not number % STEP_EVERY:
            exchange.step(now_ms)
    seconds = time.process_time() - begun
    ledger.audit()
    return count / seconds, len(broker.trades)


def main() -> None:
    """Print one line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else USUAL
    rate, trades = run(count)
    print(f"{rate:,.0f} orders a second ({count:,} orders, {trades:,} trades)")  # noqa: T201


if __name__ == "__main__":
    main()
