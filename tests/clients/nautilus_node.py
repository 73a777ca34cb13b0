"""A trading node of nautilus_trader that only watches: it runs as a program, since it ends with its process.

JSON in: addresses, instruments, seconds. JSON out: what was loaded and heard, and whether its books became equal to
those of REST, which are asked for until they are, or for ten seconds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
from decimal import Decimal

from nautilus_trader.adapters.polymarket import (
    POLYMARKET,
    PolymarketDataClientConfig,
    PolymarketLiveDataClientFactory,
)
from nautilus_trader.config import InstrumentProviderConfig, LoggingConfig, StrategyConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.strategy import Strategy

PATIENCE = 10.0


class Watcher(Strategy):
    """Counts what it hears; the node keeps the books."""

    def on_start(self) -> None:
        for name in settings["instruments"] or [str(each.id) for each in self.cache.instruments()]:
            instrument = InstrumentId.from_str(name)
            heard[name] = {"deltas": 0, "trades": 0}
            self.subscribe_order_book_deltas(instrument, book_type=BookType.L2_MBP)
            self.subscribe_trade_ticks(instrument)

    def on_order_book_deltas(self, deltas) -> None:
        heard[str(deltas.instrument_id)]["deltas"] += 1

    def on_trade_tick(self, tick) -> None:
        heard[str(tick.instrument_id)]["trades"] += 1


def levels_of(side):
    return {(level.price.as_decimal(), round(Decimal(str(level.size())), 6)) for level in side}


def becomes_equal(name: str) -> bool:
    """Ask REST until the node's own book is the same."""
    token = name.partition("-")[2].removesuffix(".POLYMARKET")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with urllib.request.urlopen(f"{settings['http']}/book?token_id={token}") as answer:  # noqa: S310 - loopback
            rest = json.load(answer)
        wanted = [{(Decimal(each["price"]), Decimal(each["size"])) for each in rest[side]} for side in ("bids", "asks")]
        for _ in range(10):
            book = watcher.cache.order_book(InstrumentId.from_str(name))
            if book is not None and [levels_of(book.bids()), levels_of(book.asks())] == wanted:
                return True
            time.sleep(0.02)
    return False


def tell() -> None:
    found = {
        "instruments": [str(each.id) for each in watcher.cache.instruments()],
        "heard": heard,
        "equal": {name: becomes_equal(name) for name in heard},
    }
    sys.stdout.write(f"\n{json.dumps(found)}\n")
    sys.stdout.flush()
    os._exit(0)


settings = json.load(sys.stdin)
heard: dict[str, dict[str, int]] = {}
watcher = Watcher(StrategyConfig(strategy_id="WATCHER-1"))
wanted = settings["instruments"]
data_client = PolymarketDataClientConfig(
    private_key=settings["key"],
    funder=settings["address"],
    **dict.fromkeys(("api_key", "api_secret", "passphrase"), "bm9uZQ=="),
    base_url_http=settings["http"],
    base_url_ws=settings["stream"],
    instrument_provider=InstrumentProviderConfig(load_all=not wanted, load_ids=frozenset(wanted) or None),
    ws_connection_initial_delay_secs=0.5,
)
node = TradingNode(
    TradingNodeConfig(
        trader_id=TraderId("LOOPBACK-001"),
        logging=LoggingConfig(log_level="ERROR"),
        data_clients={POLYMARKET: data_client},
    )
)
node.trader.add_strategy(watcher)
node.add_data_client_factory(POLYMARKET, PolymarketLiveDataClientFactory)
node.build()
threading.Timer(settings["seconds"], tell).start()
node.run()
