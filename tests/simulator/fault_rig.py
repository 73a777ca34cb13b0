"""One client, one venue and some faults between them: what was sent, and what arrived."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import define, field

from polymirror.simulator import Exchange, ExchangeConfig, FaultLine, FlowConfig, Plan, Session, make_faults
from polymirror.simulator.exchange.history import digest
from polymirror.simulator.frames import Answer, Call, Frame, Item
from polymirror.simulator.surface.rest import Desk
from tests.simulator.naive import NaiveClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from polymirror.simulator.faults.base import Fault, Link

FLOW = FlowConfig(rate=50.0, trade_share=0.05, volatility=0.02)
QUIET = FlowConfig(rate=10.0, trade_share=0.05, volatility=0.02)
BOOK_CALL = Call("GET", "/book", {"token_id": "1"})


@define(eq=False)
class Rig:
    """A venue with two markets, a line of faults, and a connection that hears everything."""

    line: FaultLine
    exchange: Exchange = field(factory=lambda: Exchange(ExchangeConfig(seed=1, markets=2, flow=FLOW)))
    sent: list[Item] = field(factory=list)
    arrived: list[Item] = field(factory=list)
    # When each item arrived, in exchange milliseconds.
    times: list[int] = field(factory=list)
    session: Session = field(init=False)
    link: Link = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.line.attach(self.exchange)
        self.connect()

    @property
    def now(self) -> int:
        return self.exchange.now_ms

    def connect(self) -> None:
        self.session, self.link = Session(self.exchange), self.line.open_link()
        self.say(json.dumps({"assets_ids": self.exchange.tokens, "type": "market", "custom_feature_enabled": True}))

    def say(self, text: str) -> list[Item]:
        return self._pass(self.session.receive(text, self.now), self.now)

    def run(self, seconds: float) -> Rig:
        end = self.now + int(seconds * 1000)
        while True:
            times = [at for at in (self.exchange.next_event_ms(), self.line.next_ms(self.link)) if at is not None]
            at = min(times, default=end + 1)
            if at > end:
                self.exchange.step(end)
                return self
            self._pass(self.session.outgoing(self.exchange.step(at)), at)

    def call(self, path: str = "/book", tokens: Iterable[str] = ()) -> Answer:
        wanted = list(tokens) or list(self.exchange.tokens)
        if path == "/books":
            call = Call("POST", path, {}, json.dumps([{"token_id": token} for token in wanted]).encode())
        else:
            call = Call("GET", path, {"token_id": wanted[0]})
        return self.line.answer(call, Desk(self.exchange).answer(call), self.now)

    def books(self) -> list[dict[str, Any]]:
        return list(json.loads(self.call("/books").body))

    def is_true(self, book: dict[str, Any], since_ms: int) -> bool:
        return self.exchange.was_digest_true(book["asset_id"], digest(*levels(book)), since_ms)

    def _pass(self, items: list[Item], at: int) -> list[Item]:
        self.sent += items
        passed = self.line.outgoing(self.link, list(items), at)
        self.arrived += passed
        self.times += [at + item.delay_ms for item in passed]
        return passed


def rig(fault: str | Fault | Iterable[str], plan: Plan | None = None, *, seed: int = 1, **settings: Any) -> Rig:
    faults = make_faults([fault] if isinstance(fault, str) else fault, plan=plan, seed=seed)  # type: ignore[arg-type]
    config: dict[str, Any] = {"seed": seed, "markets": 2, "flow": FLOW, **settings}
    return Rig(FaultLine(faults), Exchange(ExchangeConfig(**config)))


def frames(items: Iterable[Item], *kinds: str) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame) and (not kinds or item.kind in kinds)]


def changes(items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    for frame in frames(items, "price_change"):
        yield from json.loads(frame.text)["price_changes"]


def client_of(items: Iterable[Item]) -> NaiveClient:
    client = NaiveClient()
    for frame in frames(items):
        client.feed(frame.text)
    client.finish()
    return client


def levels(book: dict[str, Any]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    bids, asks = (
        [(round(float(x["price"]) * 10_000), round(float(x["size"]) * 1_000_000)) for x in book[side]]
        for side in ("bids", "asks")
    )
    return bids, asks
