"""A suite of liars: services that answer whatever they like, between a whole bot and the embedded exchange.

Each liar changes what one service says: discovery, the order book service's terms, the order service, the balance, the
list of positions, redemption, or the prices. What the exchange does stays true, so its own ledger tells what a lie
cost, counted in pUSD that are gone: shares that were not redeemed count as nothing. :func:`measure` plays one liar or
several at once, :func:`main` (``python -m bots.testing.liars``) all of them, and prints docs/security.md's table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import random
import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import httpx
from attrs import define, evolve, field, frozen

from bots.common.ledger.database import Database, inline
from bots.oracle_lag.config import BotSettings
from bots.oracle_lag.strategy import plan_of
from bots.testing.lies import ALIKE, LIARS, PAIRS, Told, is_late, objects_of
from bots.testing.stage import Stage
from bots.updown.bot import Bot, World
from bots.updown.oracles.factory import make_oracle
from bots.updown.stats import RunStats
from polymirror.simulator.settings import DEFAULT_START_MS, QUARTER_MS, RoundsConfig
from polymirror.simulator.virtual import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bots.testing.lies import Liar
    from polymirror.config import StreamConfig
    from polymirror.venue.network import Network
    from polymirror.venue.wires import AnyWire


MOST_OVER_S: Final = 900
"""A run ends so many seconds after its last window, settled or not: some lies are never settled."""

ORDER_SERVICE: Final = ("/order", "/data/", "/balance-allowance", "/redeem")

LOOK_EVERY_S: Final = 60

AFTER_STOP_S: Final = 3_600
"""A run ends so many seconds after a bot has stopped for good."""

USUAL: Final = re.compile(
    r"started|[\w-]+: (bought|won|lost|order (met|held|rejected))|\S+ \(.*\): profit|the bot ends"
    r"|trading: (daily|hourly|paused|resumed, no longer (daily|hourly|paused))"
)
"""What a bot tells when nobody lies: no answer to a lie."""


@frozen
class Found:
    """What became of a bot among liars."""

    names: str
    told: str
    lied_s: float | None
    """Seconds from the first lie to what was told; ``None``: nothing was told."""
    after_s: float | None
    """The same from the moment in which it could be known; ``None``: it was never told, or never could be known."""
    loss: Decimal
    bound: Decimal
    believed: Decimal
    """The profit by the bot's own books."""

    @property
    def held(self) -> bool:
        """Whether the loss is within the bound."""
        return self.loss <= self.bound


# ---- How they come in between ------------------------------------------------------------------------


class _Transport(httpx.AsyncBaseTransport):
    """Carries requests truly, and answers as the liars like."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, liars: Sequence[Liar], stage: Stage, mind: dict[str, Any]
    ) -> None:
        self._inner, self._liars, self._stage, self._mind = inner, liars, stage, mind

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request (httpx calls this)."""
        response = await self._inner.handle_async_request(request)
        body = await response.aread()
        with contextlib.suppress(ValueError):
            raw = json.loads(body)
            told = Told(request.method, request.url.path, response.status_code, self._stage, self._mind)
            if told.path.startswith("/clob-markets/"):
                self._note("terms")
            if (told.method, told.path) == ("POST", "/order") and raw.get("status") in {"matched", "delayed"}:
                self._note("sent")
                if is_late(self._stage.exchange.now_ms / 1000, self._mind):
                    self._note("sent later")
            if told.path.startswith(ORDER_SERVICE):
                await asyncio.sleep(sum(liar.delay for liar in self._liars))
            for liar in self._liars:
                raw = liar.lie(told, raw) if raw is not None else raw
            return httpx.Response(told.status, json=raw, request=request)
        return response

    def _note(self, what: str) -> None:
        self._mind.setdefault(what, self._stage.exchange.now_ms / 1000)


class _Wire:
    """A socket of the price feed whose prices are the liar's."""

    def __init__(self, inner: AnyWire, liars: Sequence[Liar], mind: dict[str, Any]) -> None:
        self._inner, self._liars, self._mind = inner, liars, mind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def recv(self, decode: bool = False) -> bytes:  # noqa: FBT001, FBT002 - as in websockets
        """Return the next frame."""
        del decode
        data = await self._inner.recv(decode=False)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            raw = json.loads(data)
            for each in objects_of(raw, "timestamp"):
                self._change(raw, each)
            return json.dumps(raw).encode()
        return data

    def _change(self, raw: dict[str, Any], each: dict[str, Any]) -> None:
        asset = str(raw["payload"].get("symbol", "")).partition("/")[0]
        for liar in self._liars:
            if liar.price is not None and "value" in each:
                off = liar.price(self._mind, each["timestamp"], asset, Decimal(1))
                each["value"] = each["value"] * float(off)
                if "full_accuracy_value" in each:
                    each["full_accuracy_value"] = str(int(Decimal(each["full_accuracy_value"]) * off))


def between(stage: Stage, liars: Sequence[Liar], mind: dict[str, Any]) -> Network:
    """Return the stage's network with liars on it."""
    network = stage.venue.network
    make = network.transport
    assert make is not None  # noqa: S101 - a virtual network has one

    async def open_wire(
        url: str, config: StreamConfig, headers: Mapping[str, str], wall_now: Callable[[], float]
    ) -> AnyWire:
        wire: Any = await network.open_wire(url, config, headers, wall_now)
        lies = "/ws/rtds" in url and any(liar.price is not None for liar in liars)
        return _Wire(wire, liars, mind) if lies else wire

    return evolve(network, transport=lambda: _Transport(make(), liars, stage, mind), open_wire=open_wire)


# ---- A run -------------------------------------------------------------------------------------------


@define
class _Ear:
    """Hears what a person is told, with the times."""

    stage: Stage
    heard: list[tuple[float, str]] = field(factory=list)

    def __call__(self, text: str) -> None:
        self.heard.append((self.stage.exchange.now_ms / 1000, text))


def measure(names: Sequence[str], *, rounds: int, seed: int, settings: BotSettings | None = None) -> Found:
    """Play a whole bot among liars, and say what it lost by the exchange's own ledger, and what it told."""
    settings = BotSettings() if settings is None else settings
    settings = evolve(settings, oracle=evolve(settings.oracle, assets=settings.assets))
    start_ms = DEFAULT_START_MS + QUARTER_MS - 90_000
    liars = [LIARS[name] for name in names]
    length = 90 + -(-rounds // len(settings.assets)) * (QUARTER_MS // 1000)
    mind: dict[str, Any] = {"begun": start_ms / 1000}

    async def play() -> tuple[Bot, _Ear, Decimal]:
        stage = Stage.build(seed, RoundsConfig(assets=settings.assets), start_ms=start_ms)
        ear, rng = _Ear(stage), random.Random(f"bot:{seed}")
        async with stage.venue:
            network = between(stage, liars, mind)
            world = World(
                network=network,
                endpoints=stage.venue.endpoints,
                oracle=make_oracle(stage.oracle_settings(settings.oracle), network, rng=rng),
                store=Database(),
                offload=inline,
                open_executor=lambda bot: stage.executor(network, settings.live, bot.account.order_ids),
                switch=lambda: None,
                look_on=ear,
                rng=rng,
            )
            bot = Bot(plan_of(settings), world, RunStats(limit=rounds, since_ms=start_ms + 90_000))
            task, over = asyncio.create_task(bot.run()), network.monotonic() + length + MOST_OVER_S
            while not task.done() and network.monotonic() < over:
                await asyncio.wait([task], timeout=LOOK_EVERY_S)
                if bot.risk.stopped:
                    # It buys nothing any more: all that can happen is that something is paid after all.
                    over = min(over, network.monotonic() + AFTER_STOP_S)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        account = stage.ledger.account(stage.account.address)
        return bot, ear, Decimal(account.deposited - account.cash).scaleb(-6)

    bot, ear, loss = run_virtual(play, start_ms=start_ms, limit=float(length + MOST_OVER_S + 60))
    lied = min((mind[each.lied] for each in liars if each.lied in mind), default=None)
    alike = ALIKE.get(frozenset(names))
    moments = {each.known or each.lied: each.wait for each in liars} if alike is None else {alike: 0.0}
    known = min((mind[name] + wait for name, wait in moments.items() if name in mind), default=None)
    told = [(at, text) for at, text in ear.heard if lied is not None and at >= lied and not USUAL.match(text)]
    at, text = told[0] if told else (None, "")
    return Found(
        names=" + ".join(names),
        told=text,
        lied_s=None if at is None or lied is None else at - lied,
        after_s=None if at is None or known is None else max(at - known, 0),
        loss=loss,
        bound=settings.risk.max_daily_loss + settings.risk.max_trade,
        believed=bot.account.totals.profit,
    )


def table(found: Sequence[Found]) -> str:
    """Lay it out as Markdown."""
    lines = [
        "| liar | lost (bound) | told after the lie | after it could be known | what was told first |",
        "|---|---|---|---|---|",
    ]
    for each in found:
        after = " | ".join("-" if time is None else f"{time:.0f} s" for time in (each.lied_s, each.after_s))
        lost = f"{each.loss:.2f} ({each.bound})" + ("" if each.held else " **TOO MUCH**")
        told = each.told[:90].replace("|", "/") or "nothing"
        lines.append(f"| {each.names} | {lost} | {after} | {told} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all of them; return 0 if no loss was above its bound."""
    logging.disable()  # What a bot tells is in the table, and the rest is about books.
    parser = argparse.ArgumentParser(prog="python -m bots.testing.liars", description=__doc__)
    parser.add_argument("names", nargs="*", help="liars, or pairs with a plus; by default all")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    wanted = [name.split("+") for name in options.names] or [[name] for name in LIARS] + [list(pair) for pair in PAIRS]
    found = []
    for names in wanted:
        found.append(measure(names, rounds=options.rounds, seed=options.seed))
        sys.stdout.write(table(found[-1:]).splitlines()[-1] + "\n")
        sys.stdout.flush()
    return 0 if all(each.held for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
