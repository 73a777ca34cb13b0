"""A recording served as the venue's own WebSocket and REST, on this machine: any client runs on it unchanged.

It begins with the first contact, and times pass as they did, or faster. A client that judges how old its data are, as
our mirror does, takes only speed 1: at any other the venue's clock seems to run wrong. Needs the extra ``simulator``.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from polymirror.config import Endpoints
from polymirror.core.fees import FeeSchedule
from polymirror.core.messages import PriceChange, Snapshot, book_text, decode_frame
from polymirror.errors import ConfigError, MissingExtra, PolymirrorError
from polymirror.journal.foreign import open_recording
from polymirror.journal.format import Book, Heard, Lost, Used, seconds_of, unpack
from polymirror.journal.frames import FrameReplay, open_envelope
from polymirror.journal.player import decimal_in
from polymirror.journal.reader import is_journal, sessions
from polymirror.journal.replay import numbered
from polymirror.journal.stage import Listed, Stage, listed_in
from polymirror.serving.addresses import LOOPBACK
from polymirror.serving.guard import Guard
from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from polymirror.simulator.frames import Call

LOOK_AHEAD: Final = 200_000
"""Lines of a recording in which its markets are looked for before it is served."""

MAX_TOKENS: Final = 500
"""Tokens in one call for books."""


class ReplayServer:
    """Serves a recording: use it with ``async with``. ``source`` is a journal or a recording of somebody else.

    ``speed`` is how many times as fast as it was; ``start`` and ``end`` are Unix seconds of a part of it; ``port`` 0
    means any free one; ``clock`` gives seconds. Raises what reading it raises, PolymirrorError if there is no market in
    it or no frame before the end, ConfigError for an end before the start, MissingExtra without the extra, and OSError
    when the port is taken.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        speed: float = 1.0,
        start: float | None = None,
        end: float | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if start is not None and end is not None and end <= start:
            raise ConfigError("end", end, f"after the start, {start}")
        path = Path(source)
        journal = path.is_dir() or is_journal(path)
        markets = _markets_of_journal(path) if journal else _markets_of_recording(str(source))
        if not markets:
            raise PolymirrorError(f"no market was found in {source}, so there is nothing to serve")
        frames = _frames_of_journal(path) if journal else _frames_of_recording(str(source))
        if end is not None:
            frames = takewhile(lambda frame: frame[0] <= end * 1000, frames)
        self._stage = Stage(frames, markets)
        if self._stage.over:
            raise PolymirrorError(f"no frame of {source} is from that time, so there is nothing to serve")
        # What is older than the start is played at once, so that there are books.
        self._base_ms = self._stage.now_ms if start is None else max(self._stage.now_ms, int(start * 1000))
        self._speed = speed
        self._wanted_port = port
        self._monotonic = clock
        # When the first client came; None: nobody did.
        self._began: float | None = None
        self._stack: AsyncExitStack | None = None
        # The bound port; 0 before the start.
        self.port: int = 0

    @property
    def markets(self) -> tuple[Listed, ...]:
        """The markets of the recording."""
        return tuple(self._stage.markets.values())

    @property
    def base_url(self) -> str:
        """Where the HTTP services are, once it is started; the stream is there at ``/ws/market``."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def endpoints(self) -> Endpoints:
        """Where it is, for a mirror's configuration, once it is started."""
        return Endpoints.at(self.base_url)

    @property
    def over(self) -> bool:
        """Whether everything was played. It goes on answering."""
        return self._stage.over

    def begin(self) -> None:
        """Let time pass from now on; the first client does that."""
        if self._began is None:
            self._began = self._monotonic()

    def now(self) -> float:
        """Return the time of day in the recording, in Unix seconds."""
        passed = 0.0 if self._began is None else self._monotonic() - self._began
        return self._base_ms / 1000 + passed * self._speed

    async def __aenter__(self) -> Self:
        """Start to listen on this machine alone."""
        try:
            from polymirror.journal.served import RecordedHub, build_app  # noqa: PLC0415 - an extra
            from polymirror.serving.server import served  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtra("serving a recording", "simulator") from error
        hub = RecordedHub(self._stage, self.now, self.begin, self.answer)
        async with AsyncExitStack() as stack:
            app = build_app(hub, Guard(LOOPBACK))
            listening = served(app, LOOPBACK, self._wanted_port, hang_up=hub.hang_up)
            self.port = await stack.enter_async_context(listening)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            pump = tasks.create_task(hub.pump(), name="replay pump")
            stack.callback(pump.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: no task and no socket is left."""
        stack, self._stack, self.port = self._stack, None, 0
        if stack is not None:
            await stack.__aexit__(None, None, None)

    # ---- REST --------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """Answer one call as the venue does."""
        path = call.path.rstrip("/")
        if call.method == "POST" and path == "/books":
            return self._books(call.body)
        simple = {"/time": int(self.now()), "/ok": "OK", "": "OK"}
        if path in simple:
            return _told(simple[path])
        if path in {"/book", "/tick-size", "/neg-risk"}:
            return self._of_token(path, call.query.get("token_id", ""))
        if path in {"/markets", "/events"}:
            return _told(self._find(path, call))
        head, _, tail = path.rpartition("/")
        market = self._stage.markets.get(tail)
        if head in {"/clob-markets", "/markets"} and market is not None:
            return _told(market.compact() if head == "/clob-markets" else market.described())
        named = [market for market in self.markets if head == "/markets/slug" and market.slug == tail]
        return _told(named[0].described()) if named else Answer(404, '{"error":"not found"}')

    def _books(self, body: bytes) -> Answer:
        try:
            wanted = [each["token_id"] for each in msgspec.json.decode(body, type=list[dict[str, str]])[:MAX_TOKENS]]
        except (msgspec.MsgspecError, KeyError, UnicodeDecodeError):
            return Answer(400, '{"error":"Invalid payload"}')
        books = [book for token in wanted if (book := self._stage.book(token)) is not None]
        return Answer(200, f"[{','.join(map(book_text, books))}]")

    def _of_token(self, path: str, token: str) -> Answer:
        book = self._stage.book(token)
        if book is None:
            return Answer(404, '{"error":"No orderbook exists for the requested token id"}')
        market = self._stage.market_of(token)
        if path == "/tick-size":
            return _told({"minimum_tick_size": float(market.tick_size)})
        return _told({"neg_risk": market.neg_risk}) if path == "/neg-risk" else Answer(200, book_text(book))

    def _find(self, path: str, call: Call) -> list[Any]:
        asked: dict[str, set[str]] = {}
        for name, value in call.pairs:
            asked.setdefault(name, set()).add(value)
        found = [
            market
            for market in self.markets
            if ("slug" not in asked or market.slug in asked["slug"])
            and ("condition_ids" not in asked or market.condition_id in asked["condition_ids"])
            and ("clob_token_ids" not in asked or asked["clob_token_ids"] & set(market.tokens))
            and "true" not in asked.get("closed", ())
        ]
        described = [market.described() for market in found]
        if path == "/markets":
            return described
        return [
            {"id": each["id"], "slug": each["slug"], "title": each["question"], "markets": [each]} for each in described
        ]


def _told(content: object) -> Answer:
    return Answer(200, msgspec.json.encode(content).decode())


# ---- What is in a recording ------------------------------------------------------------------------


def _markets_of_journal(path: Path) -> dict[str, Listed]:
    markets: dict[str, Listed] = {}
    looked = 0
    for session in sessions(path):
        for line in session.lines():
            looked += 1
            if isinstance(line, Used) and line.what == "track":
                size, tick, neg_risk = line.constants or ("5", "0.01", False)
                fee = line.fee
                terms = None if fee is None else FeeSchedule(decimal_in(fee[0]), fee[1], fee[2], decimal_in(fee[3]))
                markets[line.market] = Listed(line.market, line.tokens, size, tick, neg_risk, terms)
            elif isinstance(line, Book):
                listed_in(decode_frame(line.data), markets)
            if looked >= LOOK_AHEAD:
                return markets
    return markets


def _frames_of_journal(path: Path) -> Iterator[tuple[int, str]]:
    last = 0
    for session in sessions(path):
        # Distances are those of the mirror's clock: the time of day may have been set while it recorded.
        wall = session.header.w / 1e9 - seconds_of(session.header.t)
        # Tokens whose book was recorded whole since a gap, in which the venue may have told any; None: there was none.
        whole: set[str] | None = None if session.whole else set()
        for line in numbered(session.lines(), 0 if session.whole else None):
            if isinstance(line, Lost):
                whole = set()
            elif isinstance(line, Book) and whole is not None and line.token not in whole:
                whole.add(line.token)
                yield last, f"[{line.data}]"
            # The second connection of a hedged socket says the same again.
            elif isinstance(line, Heard) and not line.lane:
                data = unpack(line.data, line.form)
                last = max(last, int((wall + seconds_of(line.t)) * 1000))
                yield last, data if isinstance(data, str) else data.decode("utf-8", "replace")


def _markets_of_recording(name: str) -> dict[str, Listed]:
    """Find the markets, and play them to find out what their hashes cover."""
    markets: dict[str, Listed] = {}
    replay = FrameReplay()
    with open_recording(name) as recording:
        for number, line in enumerate(recording.lines()):
            frame, _ = open_envelope(line.strip())
            listed_in(decode_frame(frame), markets)
            replay.line(line)
            if number >= LOOK_AHEAD:
                break
    for market in markets.values():
        for token in market.tokens:
            book = replay.engine.restated(token)
            if book is not None and book.min_order_size is not None:
                market.min_order_size, market.neg_risk = book.min_order_size, bool(book.neg_risk)
                market.tick_size = book.tick_size or market.tick_size
    return markets


def _frames_of_recording(name: str) -> Iterator[tuple[int, str]]:
    """Yield the frames with their receive times, or the exchange's own where there are none."""
    last = 0
    with open_recording(name) as recording:
        for line in recording.lines():
            frame, at = open_envelope(line.strip())
            if at is None:
                messages = decode_frame(frame)
                stamps = [message.at_ms for message in messages if isinstance(message, PriceChange)]
                stamps += [message.timestamp_ms for message in messages if isinstance(message, Snapshot)]
                last = max([last, *stamps])
            else:
                last = max(last, round(at * 1000))
            if frame:
                yield last, frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
