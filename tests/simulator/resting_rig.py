"""Several accounts with limit orders on one exchange, and a client that checks every frame it sends."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig, Session
from polymirror.simulator.frames import Frame
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.orders.rules import OrderKind, Ticket
from polymirror.simulator.orders.states import BookedOrder, Event, OrderEvent
from tests.simulator.naive import NaiveClient

PUNCTUAL: dict[str, Any] = {"late_trade_price": False, "late_tick_size": False, "hash_one_change_late": 0.0}
ME, YOU, THEM = "0xa", "0xb", "0xc"
SHARE = 1_000_000


@define
class Trader:
    """``UP`` and ``DOWN`` are the indices of the tokens; prices in cents, sizes in shares."""

    exchange: Exchange
    ledger: Ledger
    broker: Broker
    client: NaiveClient
    session: Session
    events: list[Event] = field(factory=list)
    _numbers: int = 0

    @property
    def market(self) -> Any:
        return self.exchange.markets[0]

    @property
    def tokens(self) -> tuple[str, str]:
        return self.market.tokens

    def ticket(
        self, who: str, side: str, index: int, cents: float, shares: float, kind: str = "GTC", **more: Any
    ) -> Ticket:
        self._numbers += 1
        size, money = round(shares * SHARE), round(shares * cents * 10_000)
        buys = side == "BUY"
        return Ticket(
            id=f"0x{self._numbers:064x}",
            salt=self._numbers,
            maker=who,
            token=self.tokens[index],
            buys=buys,
            offered=money if buys else size,
            asked=size if buys else money,
            kind=OrderKind(kind),
            signed_ms=1,
            **more,
        )

    def place(
        self, who: str, side: str, index: int, cents: float, shares: float, kind: str = "GTC", **more: Any
    ) -> BookedOrder:
        return self.broker.place(self.ticket(who, side, index, cents, shares, kind, **more), self.exchange.now_ms)

    def wait(self, ms: int = 0) -> list[str]:
        """Step, feed the client, and return the kinds of the frames."""
        frames = self.session.outgoing(self.exchange.step(self.exchange.now_ms + ms))
        self._feed(frames)
        return [frame.kind for frame in frames if isinstance(frame, Frame)]

    def _feed(self, items: Any) -> None:
        for item in items:
            if isinstance(item, Frame) and item.kind != "new_market":
                self.client.feed(item.text)

    def checked(self) -> None:
        """Every hash, top and mirror image was right, no book was crossed, REST says the same, the ledger balances."""
        self.wait()
        self.client.finish()
        seen = self.client.seen
        assert seen["hash_right"] == seen["hash"]
        assert seen["top_right"] == seen["top"]
        assert seen["complement_right"] == seen["complement"]
        assert seen["crossed"] == 0
        for token in self.tokens:
            known = self.exchange.rest_book(token)
            if known is not None:
                told, book = json.loads(known), self.client.books[token]
                assert {x["price"]: x["size"] for x in told["bids"]} == book.bids
                assert {x["price"]: x["size"] for x in told["asks"]} == book.asks
        self.ledger.audit()

    def cash(self, who: str) -> int:
        return self.ledger.account(who).cash

    def free(self, who: str) -> int:
        return self.ledger.free_cash(who)

    def shares(self, who: str, index: int) -> float:
        return self.ledger.account(who).shares(self.tokens[index]) / SHARE

    def size(self, index: int, side: str, cents: float) -> float:
        """What the book of a token shows at a price."""
        bids, asks = self.exchange.truth(self.tokens[index])
        return dict(bids if side == "BUY" else asks).get(round(cents * 100), 0) / SHARE

    def told(self) -> list[str]:
        """What the listener heard since the last call: who, what, and the state."""
        words = []
        for event in self.events:
            if isinstance(event, OrderEvent):
                words.append(f"{event.address} {event.kind} {event.order.state.value}")
            else:
                words.append(f"{event.address} {event.trade.status.value}")
        self.events.clear()
        return words

    def empty(self) -> None:
        """Take all orders of the flow away, silently."""
        for ladder in self.market.ladders:
            for price in list(ladder.prices):
                ladder.set(price, 0)
        self._subscribe()

    def _subscribe(self) -> None:
        first = {"assets_ids": list(self.tokens), "type": "market", "custom_feature_enabled": True}
        self.client = NaiveClient()
        self.session = Session(self.exchange)
        self._feed(self.session.receive(json.dumps(first), self.exchange.now_ms))


def traders(
    *, seed: int = 1, rate: float = 0.001, pusd: int = 1_000, flow: FlowConfig | None = None, **config: Any
) -> Trader:
    """Three accounts on one market. Orders are matched at once, the flow rests unless ``rate`` says otherwise."""
    flow = flow or FlowConfig(rate=rate, fair=0.5)
    exchange = Exchange(ExchangeConfig(seed=seed, flow=flow, new_market_every_ms=None, **PUNCTUAL))
    ledger = Ledger()
    for who in (ME, YOU, THEM):
        ledger.deposit(who, pusd * ONE_PUSD)
    broker = Broker(exchange, ledger, BrokerConfig(**{"taker_delay_ms": 0, **config}))
    made = Trader(exchange, ledger, broker, NaiveClient(), Session(exchange))
    broker.listen(made.events.append)
    made._subscribe()
    return made
