"""One engine and the plain venue, in virtual time: the shell, the network, REST and ``/time`` between them.

Only the engine's inputs and outputs are used. Each channel has a hook that is given what would be delivered and says
what is: a list of (seconds from now, payload). A hook may spoil, delay, repeat or lose. Two clocks run here: the
venue's, and the mirror's monotonic one, which stands still while the process is suspended.
"""

from __future__ import annotations

import json
from heapq import heappop, heappush
from inspect import signature
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

from polymirror.config import EngineConfig
from polymirror.core import effects
from polymirror.core.checksum import Constants
from polymirror.core.engine import Engine
from polymirror.core.events import Transition
from polymirror.core.messages import decode_books
from polymirror.errors import NotLive
from tests.plain.venue import PlainMarket, Truth, levels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.core.states import BookState
    from polymirror.core.view import BookView

    Deliveries = Iterable[tuple[float, Any]]

ASK_GAMMA = getattr(effects, "AskGamma", ())
SAMPLES = hasattr(Engine, "next_time_sample")
"""Whether the engine says when the time is to be asked."""
SAYS_RESOLVED = "resolved" in signature(Engine.disconnected).parameters
LANE = 1000
"""Added to a socket's number for its second connection."""
FIRST_TIMES, TIME_INTERVAL = (0.1, 0.47, 0.84, 1.21), 60.0


class Driver:
    """Give it markets, ``start()`` it, and let time pass with ``run_to``."""

    def __init__(
        self,
        *markets: PlainMarket,
        config: EngineConfig | None = None,
        seed: int = 1,
        delay: float = 0.02,
        rest_delay: float = 0.05,
        clock: bool = False,
        constants: bool = True,
        hedge: int = 1,
    ) -> None:
        self.hedge = hedge
        self.markets = list(markets)
        self.market_of = {token: market for market in markets for token in market.tokens}
        self.engine = Engine(config or EngineConfig(), Random(seed))
        self.now = 0.0
        self.slept = 0.0
        # How long things take: one way of the stream, one way of a REST call, an opening, a new connection.
        self.delay, self.rest_delay, self.opening_delay, self.connect_delay = delay, rest_delay, 0.05, 0.3
        self.clock = clock
        # The hooks: (what, ...) -> [(seconds until it is delivered, payload)].
        self.on_stream: Callable[[Any], Deliveries] = lambda message: [(self.delay, message)]
        self.on_opening: Callable[[list[Any]], Deliveries] = lambda messages: [(self.delay, messages)]
        self.on_rest: Callable[[tuple[str, ...], list[Any]], Deliveries] = lambda _, books: [(self.rest_delay, books)]
        self.on_time: Callable[[int], Deliveries] = lambda seconds: [(self.rest_delay, seconds)]
        # What Gamma says of a market: closed, or None for no answer.
        self.on_gamma: Callable[[str], Deliveries] = lambda _: [(0.2, False)]
        # Told of every message that the engine was given, as it was given.
        self.on_delivered: Callable[[Any], None] = lambda _: None
        self.gamma_asked: list[tuple[float, str]] = []
        self.transitions: list[Transition] = []
        self.sockets: dict[int, set[str]] = {}
        # Connections: those of lane 1 are numbered from LANE on.
        self.sessions: dict[int, int] = {}
        self.open: set[int] = set()
        self._stalled_until = -inf
        self._mono, self._asleep_at = 0.0, None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        for each in markets:
            known = Constants(each.min_order_size, each.tick, each.neg_risk) if constants else None
            self.engine.track(each.market, each.tokens, self.mono, constants=known)

    # ---- Time --------------------------------------------------------------------------------------

    @property
    def mono(self) -> float:
        """The mirror's monotonic clock. It stands still while the computer sleeps."""
        if self._asleep_at is None:
            self._mono = max(self._mono, self.now - self.slept)
        return self._mono

    def at(self, when: float, work: Callable[[], None]) -> None:
        self._serial += 1
        heappush(self._queue, (when, self._serial, work))

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Have something reach the mirror: not before it is awake."""

        def arrive() -> None:
            if self.now < self._stalled_until:
                self.at(self._stalled_until, arrive)
            else:
                work()
                self.drain()

        self.at(self.now + seconds, arrive)

    def start(self) -> Driver:
        self.drain()
        if self.clock:
            first = [self.engine.next_time_sample(self.mono)] if SAMPLES else FIRST_TIMES
            for when in first:
                self.at(max(0.0, when), self.ask_time)
        return self

    def run_to(self, when: float) -> Driver:
        while True:
            deadline, first = self.engine.next_deadline(), self._queue[0][0] if self._queue else inf
            if min(due := max(deadline + self.slept, self._stalled_until, self.now), first) > when:
                break
            if first <= due:
                self.now = max(self.now, first)
                heappop(self._queue)[2]()
            else:
                self.now = due
                # Two clocks: what is due by one must be due by the other, to the last digit.
                self._mono = max(self._mono, min(deadline, self.mono + 1e-6))
                self.engine.tick(self.mono)
                self.drain()
        self.now = max(self.now, when)
        return self

    def stall(self, seconds: float) -> None:
        """The program does nothing for a while; what arrives waits, and is read late."""
        self._stalled_until = max(self._stalled_until, self.now + seconds)

    def suspend(self, seconds: float) -> None:
        """The whole machine sleeps: like a stall, but the monotonic clock stands still too."""
        self.stall(seconds)
        self._asleep_at = self.mono

        def wake() -> None:
            self._asleep_at = None
            self.slept += seconds
            if hasattr(self.engine, "gap"):
                self.engine.gap(seconds, self.mono)
            self.drain()

        # Before whatever else waits for the end of the sleep.
        self._serial += 1
        heappush(self._queue, (self._stalled_until, -self._serial, wake))

    # ---- The stream --------------------------------------------------------------------------------

    def send(self, message: Any, lane: int | None = None) -> None:
        """Give a message (a dict, a list, or raw text) to every socket; those in flight die with their socket."""
        for number in sorted(self.open if lane is None else [n for n in self.open if n // LANE == lane]):
            session = self.sessions[number]
            for seconds, payload in self.on_stream(message):
                self.later(seconds, lambda n=number, s=session, p=payload: self.deliver(n, s, p))

    def deliver(self, number: int, session: int, payload: Any, read_at: float | None = None) -> None:
        if number in self.open and self.sessions[number] == session:
            data = getattr(payload, "text", payload)
            text = data if isinstance(data, (str, bytes)) else json.dumps(data)
            if number < LANE:
                self.engine.receive(number, text, self.mono, read_at)
            else:
                self.engine.receive(number - LANE, text, self.mono, read_at, 1)
            self.on_delivered(payload)

    def ends(self, socket: int) -> list[int]:
        """The connections of a socket."""
        return [socket + LANE * lane for lane in range(self.hedge)]

    def hear(self, payload: Any, socket: int = 1, read_at: float | None = None) -> None:
        self.deliver(socket, self.sessions[socket], payload, read_at)
        self.drain()

    def connect(self, number: int) -> None:
        if number % LANE in self.sockets and number not in self.open:
            self.open.add(number)
            self.engine.connected(number % LANE, self.mono, **_lane(number))
            self.drain()
            self.subscribe(number, tuple(self.sockets[number % LANE]))

    def subscribe(self, number: int, asset_ids: Iterable[str]) -> None:
        """The opening books, as they are when the subscription has reached the venue."""
        session = self.sessions[number]

        def answer() -> None:
            books = [m.book(t, opening=True) for m in self.markets for t in m.tokens if t in asset_ids]
            for seconds, payload in self.on_opening(books):
                self.later(seconds, lambda p=payload: self.deliver(number, session, p))

        self.at(self.now + self.opening_delay, answer)

    def disconnect(self, number: int = 1, why: str = "", *, resolved: bool = False, back_after: float = 0.3) -> None:
        """Lose a socket; it comes back by itself."""
        self.sessions[number] = self.sessions.get(number, 0) + 1
        if number in self.open:
            self.open.discard(number)
            how = {"resolved": resolved} if SAYS_RESOLVED else {}
            self.engine.disconnected(number % LANE, self.mono, why, **how, **_lane(number))
            self.drain()
        self.later(back_after, lambda: self.connect(number))

    def close(self, socket: int) -> None:
        """Nothing is left on a socket."""
        self.sockets.pop(socket, None)
        for number in self.ends(socket):
            self.open.discard(number)
            self.sessions[number] = self.sessions.get(number, 0) + 1

    # ---- REST, /time and Gamma ---------------------------------------------------------------------

    def ask_books(self, request: int, asset_ids: tuple[str, ...]) -> None:
        def answer() -> None:
            books = [self.market_of[token].rest(token) for token in asset_ids if token in self.market_of]
            for seconds, payload in self.on_rest(asset_ids, books):
                self.later(seconds, lambda p=payload: self.answer_books(request, p))

        self.at(self.now + self.rest_delay, answer)

    def answer_books(self, request: int, books: list[Any] | None) -> None:
        if books is None:
            self.engine.books_failed(request, self.mono)
        else:
            decoded = decode_books(json.dumps(books).encode())
            self.engine.books(request, {book.asset_id: book for book in decoded}, self.mono)
            self.on_delivered(books)

    def ask_time(self) -> None:
        if self.now < self._stalled_until:
            self.at(self._stalled_until, self.ask_time)
            return
        sent = self.mono

        def answer() -> None:
            seconds = self.markets[0].stamp(self.now) // 1000
            for wait, told in self.on_time(seconds):
                self.later(wait, lambda told=told: self.take_time(told, sent))

        self.at(self.now + self.rest_delay, answer)
        if not SAMPLES and self.now > FIRST_TIMES[-1] - 0.01:
            self.at(self.now + TIME_INTERVAL, self.ask_time)

    def take_time(self, seconds: int | None, sent: float) -> None:
        taker = self.engine.server_time if hasattr(self.engine, "server_time") else self.engine.clock.server_time
        if seconds is not None:
            taker(seconds, sent, self.mono)
        if SAMPLES:
            due = self.engine.next_time_sample(self.mono) + self.slept
            self.at(max(due, self.now + 0.01), self.ask_time)

    def ask_gamma(self, condition_id: str) -> None:
        self.gamma_asked.append((self.now, condition_id))
        for seconds, closed in self.on_gamma(condition_id):
            self.later(seconds, lambda c=closed: self.engine.market_status(condition_id, c, self.mono))

    # ---- Outputs -----------------------------------------------------------------------------------

    def drain(self) -> None:
        for event in self.engine.events():
            self.transitions.extend([event] if isinstance(event, Transition) else [])
        for effect in self.engine.effects():
            self.carry_out(effect)
        self.engine.dirty()

    def carry_out(self, effect: Any) -> None:
        if isinstance(effect, effects.OpenSocket):
            self.sockets[effect.socket] = set(effect.asset_ids)
            for number in self.ends(effect.socket):
                self.sessions.setdefault(number, 0)
                self.later(0.0, lambda n=number: self.connect(n))
        elif isinstance(effect, effects.Subscribe):
            self.sockets.setdefault(effect.socket, set()).update(effect.asset_ids)
            for number in self.open.intersection(self.ends(effect.socket)):
                self.subscribe(number, effect.asset_ids)
        elif isinstance(effect, effects.Unsubscribe):
            self.sockets.get(effect.socket, set()).difference_update(effect.asset_ids)
        elif isinstance(effect, effects.Reconnect):
            number = effect.socket + LANE * getattr(effect, "lane", 0)
            self.later(0.0, lambda: self.disconnect(number, effect.why, back_after=self.connect_delay))
        elif isinstance(effect, effects.CloseSocket):
            self.close(effect.socket)
        elif isinstance(effect, effects.FetchBooks):
            self.ask_books(effect.request, effect.asset_ids)
        elif isinstance(effect, ASK_GAMMA):
            self.ask_gamma(effect.condition_id)

    # ---- Reading -----------------------------------------------------------------------------------

    def state(self, token: str) -> BookState:
        return self.engine.peek_state(token)

    def truth(self, token: str) -> Truth:
        return self.market_of[token].truth[token]

    def read(self, token: str, max_proof_age: float | None = None) -> BookView | None:
        """Read for execution; None when it is refused."""
        try:
            return self.engine.live(token, self.mono, max_proof_age)
        except NotLive:
            return None

    def true_age(self, token: str, view: BookView) -> float:
        return self.truth(token).age(levels_of(view), self.now)

    def is_right(self, token: str) -> bool:
        """Whether the book is LIVE and shows what the venue has now."""
        view = self.read(token)
        return view is not None and levels_of(view) == self.truth(token).now


def _lane(number: int) -> dict[str, int]:
    """What an engine is told beside the socket: engines before hedging know of no lanes."""
    return {"lane": 1} if number >= LANE else {}
