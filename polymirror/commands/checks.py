"""The checks behind ``polymirror doctor``: each asks one question and says what it found and what to do.

A check never raises and never takes longer than its limit. Only reads; no account is needed.
"""

from __future__ import annotations

import asyncio
import platform
import random
import sys
import time
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from polymirror.config import RestConfig, StreamConfig
from polymirror.core.book import OrderBook
from polymirror.core.clock import VenueClock
from polymirror.core.dialects import DialectBook
from polymirror.core.hashing import MarketHash
from polymirror.core.messages import subscription
from polymirror.errors import MarketNotFound, PolymirrorError, VenueUnavailable
from polymirror.harmless import harmless
from polymirror.venue.gamma import Gamma
from polymirror.venue.rest import Clob
from polymirror.venue.wire import hang_up, open_wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from polymirror.config import Endpoints
    from polymirror.venue.gamma import Market

LIMIT: Final = 8.0
"""Seconds that one check may take."""

PATIENT: Final = RestConfig(connect_timeout=3, read_timeout=4, total_timeout=6, attempts=2)
WIRE: Final = StreamConfig(open_timeout=4, close_timeout=0.5)

CLOCK_SAMPLES: Final = 5
CLOCK_PAUSE: Final = 0.23
"""Seconds between samples; no divisor of a second, so that each narrows the bounds."""

MAX_CLOCK_OFFSET: Final = 1.0
"""Seconds that this machine's clock may be wrong before it is worth setting."""

ASKED: Final = ("stream", "clob", "gamma", "clock", "hash")
"""The checks that wait for the venue, in the order in which they are told."""

MANY_LIBRARIES: Final = ("polymirror", "attrs", "httpx", "msgspec", "tenacity", "websockets")
ASSETS: Final = ("btc", "eth", "sol")
WINDOWS_BACK: Final = 4
NETWORK: Final = "check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and the address"


@frozen
class Check:
    """One answer. ``figures`` go into ``--json`` beside the words."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    figures: dict[str, Any] = field(factory=dict)


class Checkup:
    """All checks of one venue from this machine."""

    def __init__(self, endpoints: Endpoints, slugs: Sequence[str] = ()) -> None:
        self._endpoints = endpoints
        # Markets to check with; none: those of the present.
        self._slugs = slugs
        self._rng = random.Random()  # noqa: S311 - jitter
        # What was answered so far, by name.
        self.answered: dict[str, Check] = {}

    @property
    def checks(self) -> tuple[Check, ...]:
        """All checks in their order; those without an answer yet are not ok."""
        waits = (Check(name, ok=False, found="no answer yet", advice="let it run to its end") for name in ASKED)
        asked = (self.answered.get(check.name, check) for check in waits)
        return (check_python(), check_libraries(), check_uvloop(), *asked)

    async def run(self) -> tuple[Check, ...]:
        """Run every check, those that wait for an answer side by side."""
        async with AsyncExitStack() as stack:
            clob = await stack.enter_async_context(Clob(PATIENT, self._endpoints, rng=self._rng))
            gamma = await stack.enter_async_context(Gamma(PATIENT, self._endpoints, rng=self._rng))
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._find_markets(gamma))
                group.create_task(self._answer("clock", self._clock(clob)))
                group.create_task(self._answer("hash", self._hash(clob, looking)))
                group.create_task(self._answer("stream", self._stream(looking)))
                group.create_task(self._answer("clob", self._clob(clob)))
        return self.checks

    async def _answer(self, name: str, check: Awaitable[Check]) -> Check:
        self.answered[name] = answer = await _bounded(name, check)
        return answer

    async def _find_markets(self, gamma: Gamma) -> tuple[Check, tuple[Market, ...]]:
        """Look up the markets to check with: those named, or the quarter-hour ones of now."""
        found: list[Market] = []
        started = time.monotonic()

        async def look() -> Check:
            found.extend([await gamma.market(slug) for slug in self._slugs])
            for asset in () if self._slugs else ASSETS:
                found.extend(await gamma.windows(asset, "15m", time.time(), ahead=0))
            if not found:
                # A simulated exchange goes on with the windows it began with.
                found.extend(await gamma.windows(ASSETS[0], "15m", time.time(), behind=WINDOWS_BACK, ahead=0))
            if not found:
                raise MarketNotFound("no up/down market of this hour")
            spent = time.monotonic() - started
            return Check(
                "gamma", ok=True, found=f"{harmless(found[0].slug, 80)} found in {_ms(spent)}", figures=_figure(spent)
            )

        return await self._answer("gamma", look()), tuple(found)

    async def _stream(self, looking: asyncio.Task[tuple[Check, tuple[Market, ...]]]) -> Check:
        url, started = self._endpoints.stream, time.monotonic()
        wire = await open_wire(url, WIRE, {}, time.time)
        connected = time.monotonic() - started
        try:
            _, markets = await looking
            # The venue answers no PING before a subscription, and takes one for a token it does not know.
            tokens = [token for market in markets for token in market.token_ids] or ["1"]
            await wire.send(subscription(tokens, custom_features=False))
            await wire.send("PING")
            asked = time.monotonic()
            while await wire.recv() != "PONG":
                pass
            answered = time.monotonic() - asked
        finally:
            await hang_up(wire, 0.5, politely=True)
        words = f"connected in {_ms(connected)}, PONG after {_ms(answered)}"
        figures = {"connect_ms": round(connected * 1000, 1), "pong_ms": round(answered * 1000, 1)}
        return Check("stream", ok=True, found=words, figures=figures)

    async def _clob(self, clob: Clob) -> Check:
        started = time.monotonic()
        await clob.time()
        spent = time.monotonic() - started
        return Check("clob", ok=True, found=f"the time in {_ms(spent)}", figures=_figure(spent))

    async def _clock(self, clob: Clob) -> Check:
        """Bound how far this machine's clock is from the venue's."""
        clock = VenueClock()
        for sample in range(CLOCK_SAMPLES):
            if sample:
                await asyncio.sleep(CLOCK_PAUSE)
            answer = await clob.time()
            clock.server_time(answer.seconds, answer.sent, answer.received)
        return judge_clock(clock, time.time() - time.monotonic())

    async def _hash(self, clob: Clob, looking: asyncio.Task[tuple[Check, tuple[Market, ...]]]) -> Check:
        """Learn the venue's hash from whole books, as a mirror does."""
        check, markets = await looking
        if not check.ok:
            return Check("hash", ok=False, found="no books to learn from", advice="see gamma")
        dialects = DialectBook()
        hashes = {market.condition_id: MarketHash(market.condition_id, dialects) for market in markets}
        answer = await clob.books(token for market in markets for token in market.token_ids)
        if not answer.books:
            found = "no books to learn from: these markets are settled"
            return Check("hash", ok=False, found=found, advice="name an open one: polymirror doctor SLUG")
        explained = 0
        for message in answer.books.values():
            known = hashes.setdefault(message.market, MarketHash(message.market, dialects))
            found_out = known.explain(message, OrderBook.of(message, 10_000), time.monotonic())
            known.accept(found_out, message)
            explained += found_out is not None
        total = len(answer.books)
        dialect = None if dialects.current is None else dialects.current.name
        figures = {"explained": explained, "books": total, "dialect": dialect}
        if explained == total:
            keys = 0 if dialects.current is None else len(dialects.current.value)
            words = f"{explained} of {total} books explained by the form {dialect} ({keys} keys)"
            return Check("hash", ok=True, found=words, figures=figures)
        advice = "a mirror works, but proves by REST probes alone: look for a newer polymirror"
        return Check("hash", ok=False, found=f"{explained} of {total} books explained", advice=advice, figures=figures)


async def _bounded(name: str, check: Awaitable[Check]) -> Check:
    """Turn whatever goes wrong into a line."""
    try:
        async with asyncio.timeout(LIMIT):
            return await check
    except TimeoutError:
        return Check(name, ok=False, found=f"no answer within {LIMIT:g} s", advice=NETWORK)
    except MarketNotFound as error:
        return Check(name, ok=False, found=str(error), advice="name an open one: polymirror doctor SLUG")
    except VenueUnavailable as error:
        return Check(name, ok=False, found=harmless(str(error)), advice=NETWORK)
    except PolymirrorError as error:
        return Check(name, ok=False, found=harmless(str(error)), advice="is the address right?")
    except Exception as error:  # noqa: BLE001 - a doctor's own failure is a finding, too
        return Check(name, ok=False, found=harmless(f"{type(error).__name__}: {error}"), advice=NETWORK)


def judge_clock(clock: VenueClock, wall_offset: float) -> Check:
    """Say how far this machine's clock is off; ``wall_offset`` is Unix time minus the monotonic clock, in seconds."""
    if clock.low is None or clock.high is None:
        return Check("clock", ok=False, found="the venue did not tell the time", advice="see clob")
    # How much the venue's clock is ahead of ours lies between these two.
    low, high = clock.low / 1000 - wall_offset, clock.high / 1000 - wall_offset
    middle, width = -(low + high) / 2, abs(high - low)
    figures = {"offset_s": round(middle, 3), "uncertainty_s": round(width / 2, 3)}
    side = "ahead of" if middle >= 0 else "behind"
    words = f"{abs(middle):.2f} s {side} the venue's, give or take {width / 2:.2f} s"
    ok = low <= MAX_CLOCK_OFFSET and high >= -MAX_CLOCK_OFFSET
    advice = "" if ok else "set this machine's clock (NTP): ages do not depend on it, signed orders do"
    return Check("clock", ok=ok, found=words, advice=advice, figures=figures)


def check_python() -> Check:
    """Name the interpreter and the system."""
    found = f"{platform.python_version()} ({platform.python_implementation()}) on {platform.system()}"
    ok = sys.version_info >= (3, 11)
    return Check("python", ok=ok, found=found, advice="" if ok else "install Python 3.11 or newer")


def check_libraries() -> Check:
    """Name the versions of what is installed."""
    versions: dict[str, str | None] = {}
    for name in MANY_LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    missing = [name for name, found in versions.items() if found is None and name != "polymirror"]
    words = ", ".join(f"{name} {found or 'not installed'}" for name, found in versions.items())
    advice = f"pip install {' '.join(missing)}" if missing else ""
    return Check("libraries", ok=not missing, found=words, advice=advice, figures={"versions": versions})


def check_uvloop() -> Check:
    """Say whether the faster event loop is there; it is optional."""
    try:
        found = version("uvloop")
    except PackageNotFoundError:
        words = "not installed; optional, lower latency under load: pip install uvloop"
        return Check("uvloop", ok=True, found=words, figures={"version": None})
    return Check("uvloop", ok=True, found=f"{found}; a mirror runs under it too", figures={"version": found})


def _figure(seconds: float) -> dict[str, float]:
    return {"ms": round(seconds * 1000, 1)}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
