"""A market maker in some hundred lines: it quotes both sides of a market, cancels, and keeps books of its own.

    polymirror serve --seed 7 --port 8000
    python examples/market_maker.py http://127.0.0.1:8000 SLUG serve/7/0 60

The third argument is the name of an account that the exchange made up, the last one is how many seconds it trades. Both
sides are bought (whoever sells a token buys the other one), so money is all that it needs. Any answer may be
lost, so nothing that it has to know is read from one: a call is made again until it is answered, and the same order
sent twice is one order. Before it quotes anew it cancels everything. It learns of fills from the user channel, and from
the list of trades at the end, since events may be missing. It quotes LIVE books only. It is an example, and earns
nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from polymirror import Endpoints, Mirror, NotLive
from polymirror.simulator.orders.auth import Account

SHARES, ZERO = 5, "0x" + "0" * 64
PREFIX, WORDS = "TRADE_STATUS_", {"MATCHED", "MINED", "RETRYING", "CONFIRMED", "FAILED"}
CENT = Decimal("0.01")
PATIENCE, LATE = 1.0, 3.5  # seconds until a call is made again, and after which none is on its way any more


class Maker:
    """One account's quotes, and what it believes to have."""

    def __init__(self, url: str, account: Account) -> None:
        self.url, self.account = url, account
        self.socket = url.replace("http", "ws", 1)
        self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE)
        self.trades: dict[str, dict[str, Any]] = {}  # by id, as they were told last

    async def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Make a call until it is answered; refused calls (400) are."""
        raw = b"" if body is None else json.dumps(body).encode()
        while True:
            headers = self.account.headers(int(time.time()), method, path, raw)
            with suppress(httpx.HTTPError):
                answer = await self.http.request(method, path, content=raw, params=query, headers=headers)
                if answer.status_code in {200, 400}:
                    return answer.json()
            await asyncio.sleep(0.05)

    async def bid(self, token: str, price: Decimal) -> None:
        """Bid for some shares, never as the taker; the price is in pUSD."""
        order = {"salt": random.getrandbits(53), "maker": self.account.address, "signer": self.account.address}
        money, shares = int(SHARES * price * 1_000_000), SHARES * 1_000_000
        order |= {"tokenId": token, "makerAmount": str(money), "takerAmount": str(shares)}
        order |= {"side": "BUY", "signatureType": 0, "timestamp": str(int(time.time() * 1_000)), "expiration": "0"}
        order |= {"metadata": ZERO, "builder": ZERO, "signature": "0x"}
        sent = {"order": order, "owner": self.account.api_key, "orderType": "GTC", "postOnly": True}
        await self.call("POST", "/order", sent)

    async def listen(self) -> None:
        """Hear of fills, on one connection after the other."""
        async for socket in connect(f"{self.socket}/ws/user"):
            with suppress(ConnectionClosed):
                await socket.send(json.dumps({"type": "user", "auth": self.account.credentials, "markets": []}))
                async for text in socket:
                    if (event := json.loads(text))["event_type"] == "trade":
                        self.trades[event["id"]] = event

    async def quote(self, slug: str, seconds: float, pause: float = 0.5) -> None:
        """Quote for some time, withdraw, and read up what was missed."""
        end, listening = time.monotonic() + seconds, asyncio.create_task(self.listen())
        async with Mirror.for_slug(slug, endpoints=Endpoints.at(self.url)) as mirror:
            while time.monotonic() < end:
                await self.call("DELETE", "/cancel-all")
                with suppress(NotLive):  # no quote is better than a wrong one
                    tops = [(token, mirror.top(token)) for token in mirror.tokens]
                    sides = [(token, top.best_bid, top.best_ask) for token, top in tops]
                    ours = [(token, min(b.price, a.price - 2 * CENT) + CENT) for token, b, a in sides if a and b]
                    await asyncio.gather(*[self.bid(token, price) for token, price in ours])
                await asyncio.sleep(pause)
        await asyncio.sleep(LATE)
        await self.call("DELETE", "/cancel-all")
        listening.cancel()
        read: set[str] = set()
        while not await self.read_up(read):
            pass

    async def read_up(self, read: set[str]) -> bool:
        """Read the list of trades; return whether each was read with a status that one knows, now or before."""
        cursor, sure = "MA==", True
        while cursor != "LTE=":
            page = await self.call("GET", "/data/trades", next_cursor=cursor)
            good = {trade["id"]: trade for trade in page["data"] if trade["status"].removeprefix(PREFIX) in WORDS}
            self.trades |= good
            read |= good.keys()
            sure = sure and read >= {trade["id"] for trade in page["data"]}
            cursor = page["next_cursor"]
        return sure

    def books(self) -> tuple[Decimal, dict[str, Decimal]]:
        """What all trades that did not fail cost in pUSD, and the shares of each token that they brought."""
        good = [trade for trade in self.trades.values() if trade["status"].removeprefix(PREFIX) != "FAILED"]
        held: dict[str, Decimal] = {}
        for fill in [fill for trade in good for fill in trade["maker_orders"] if fill["owner"] == self.account.api_key]:
            held[fill["asset_id"]] = held.get(fill["asset_id"], Decimal(0)) + Decimal(fill["matched_amount"])
        return sum([Decimal(trade["money"]) for trade in good], Decimal(0)), held


if __name__ == "__main__":
    at, market, name, seconds = sys.argv[1:]
    maker = Maker(at, Account.made_up(name))
    asyncio.run(maker.quote(market, float(seconds)))
    print(f"{len(maker.trades)} trades for %s pUSD; shares: %s" % maker.books())
