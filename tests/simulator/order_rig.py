"""An exchange with a broker, a desk and one account, and how a client of them writes its calls."""

from __future__ import annotations

import json
from typing import Any

from attrs import define

from polymirror.simulator import Exchange, ExchangeConfig, FlowConfig
from polymirror.simulator.frames import Answer, Call
from polymirror.simulator.orders.broker import Broker, BrokerConfig
from polymirror.simulator.orders.desk import Account, OrderDesk
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults
from polymirror.simulator.orders.judge import OrderJudge, salt_of
from polymirror.simulator.orders.ledger import ONE_PUSD, Ledger
from polymirror.simulator.orders.rules import OrderKind, Ticket, order_id_of

ZERO = "0x" + "0" * 64


def order_fields(account: Account, token: str, side: str, maker: int, taker: int, name: str = "one") -> dict[str, Any]:
    """The ``order`` part of the venue's body; amounts in 1/1,000,000."""
    return {
        "salt": salt_of(name),
        "maker": account.address,
        "signer": account.address,
        "tokenId": token,
        "makerAmount": str(maker),
        "takerAmount": str(taker),
        "side": side,
        "signatureType": 0,
        "timestamp": "1790000100000",
        "expiration": "0",
        "metadata": ZERO,
        "builder": ZERO,
        "signature": "0xab",
    }


@define
class Rig:
    exchange: Exchange
    ledger: Ledger
    account: Account
    judge: OrderJudge
    broker: Broker
    desk: OrderDesk

    @property
    def token(self) -> str:
        return self.exchange.tokens[0]

    @property
    def condition(self) -> str:
        return self.exchange.market_of(self.token).condition_id

    @property
    def cash(self) -> int:
        return self.ledger.account(self.account.address).cash

    def shares(self, token: str | None = None) -> int:
        return self.ledger.account(self.account.address).shares(token or self.token)

    def asks(self, token: str | None = None) -> tuple[tuple[int, int], ...]:
        return self.exchange.truth(token or self.token)[1]

    def wait(self, ms: int) -> str:
        """Step the exchange; the texts it sent."""
        return "".join(frame.text for frame in self.exchange.step(self.exchange.now_ms + ms))

    def ticket(
        self, maker: int, taker: int, *, side: str = "BUY", kind: str = "FOK", name: str = "one", token: str = ""
    ) -> Ticket:
        fields = order_fields(self.account, token or self.token, side, maker, taker, name)
        return Ticket(
            id=order_id_of(fields),
            salt=fields["salt"],
            maker=self.account.address,
            token=fields["tokenId"],
            buys=side == "BUY",
            offered=maker,
            asked=taker,
            kind=OrderKind(kind),
            signed_ms=1,
        )

    def dollars_at(self, price: int, shares: int) -> tuple[int, int]:
        """Maker and taker amounts of an order to buy about so many whole shares at a limit price in 1/10,000."""
        maker = shares * price // 100 * 10_000
        return maker, maker * 10_000 // price // 100 * 100

    def call(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None, **changed: str
    ) -> Answer:
        """A signed call; ``changed`` replaces headers."""
        raw = b"" if body is None else json.dumps(body).encode()
        headers = {k.lower(): v for k, v in self.account.headers(1_790_000_100, method, path, raw).items()}
        answer = self.desk.answer(Call(method, path, query or {}, raw, {**headers, **changed}), self.exchange.now_ms)
        assert answer is not None
        return answer

    def get(self, path: str, **query: str) -> Any:
        answer = self.call("GET", path, query=query)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def body(self, maker: int, taker: int, *, side: str = "BUY", kind: str = "FOK", name: str = "one") -> Any:
        order = order_fields(self.account, self.token, side, maker, taker, name)
        return {"order": order, "owner": self.account.api_key, "orderType": kind, "deferExec": False}


def rig(
    *,
    seed: int = 3,
    pusd: int = 1_000,
    delay_ms: int = 250,
    rates: OrderFaultRates | None = None,
    exchange: ExchangeConfig | None = None,
    one_entry: bool = True,
) -> Rig:
    made = Exchange(exchange or ExchangeConfig(seed=seed, flow=FlowConfig(rate=2.0)))
    ledger = Ledger()
    account = Account.made_up("tester")
    if pusd:
        ledger.deposit(account.address, pusd * ONE_PUSD)
    judge = OrderJudge(made, one_entry=one_entry)
    broker = Broker(made, ledger, BrokerConfig(taker_delay_ms=delay_ms), judge=judge)
    desk = OrderDesk(broker, [account], faults=OrderFaults(rates, seed=seed))
    return Rig(made, ledger, account, judge, broker, desk)


__all__ = ["ONE_PUSD", "Rig", "order_fields", "rig"]
