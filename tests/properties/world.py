"""The world between the model exchange and the engine: a network, a REST service and a clock, all virtual.

It carries out the engine's effects as a shell would, after the delays and with the failures that the test
asks for (the *weather*), and writes down every input, so that a second engine can be given the same. After
each input it checks the promises (see :meth:`World.check`): what was read was true, how long ago, and that
nothing grew beyond its bound.
"""

from __future__ import annotations

import json
from collections import deque
from copy import deepcopy
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Any

from polymirror.core.checksum import Constants
from polymirror.core.effects import (
    AskGamma,
    CloseSocket,
    FetchBooks,
    OpenSocket,
    Reconnect,
    Subscribe,
    Unsubscribe,
    Vouch,
)
from polymirror.core.engine import Engine
from polymirror.core.events import Transition
from polymirror.core.harm import MAX_KINDS
from polymirror.core.messages import decode_books
from polymirror.core.misses import MAX_PENDING_HASHES
from polymirror.core.states import LEGAL_TRANSITIONS, BookState
from polymirror.errors import NotLive
from tests.properties.judge import ROUNDING, Judge, check_top
from tests.properties.model import ModelBook, ModelMarket, make_market, stamp
from tests.properties.trading import Trading
from tests.properties.weather import Link, Weather, drain, give, named, quick_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.config import EngineConfig
    from polymirror.core.view import BookView

START = 1_000.0
MAX_REQUESTS = 4
MAX_BOOKS = 500
AGAIN_AFTER = 600.0
"""A retired market is looked at this often at most, in seconds."""
MAX_HEALING = 200
"""Seconds after the last fault within which every book must be LIVE or RETIRED..."""
CALM = 20.0
"""...without any transition for this long."""

MAX_BATCH_SPREAD = 0.1
"""How much longer than the grace two LIVE books of a market may disagree, in seconds."""


class World(Trading):
    """Drives one engine against the model exchange."""

    def __init__(
        self, config: EngineConfig | None = None, *, seed: int = 0, markets: int = 2, told: bool = True
    ) -> None:
        self.config = config or quick_config()
        self.seed = seed
        self.engine = Engine(self.config, Random(seed))
        self.now = START
        # How much of the time until now this machine slept: the mirror's clock stood still.
        self.slept = 0.0
        self.weather = Weather()
        self.markets = [make_market(n + 1, self.now - 5.0) for n in range(markets)]
        self.books = {book.asset_id: book for market in self.markets for book in market.books}
        self.market_of = {book.asset_id: market for market in self.markets for book in market.books}
        self.links: dict[int, Link] = {}
        self.frozen: set[str] = set()
        # What happens to the coming frames, in order; an empty queue means that they arrive.
        self.fates: deque[str] = deque()
        self.inputs: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.outputs: list[tuple[Any, ...]] = []
        self.reads = 0
        self.transitions: list[Transition] = []
        self._late: tuple[Link, str, float] | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self.judge = Judge(START)
        # The epoch that a LIVE book had when its connection was lost.
        self._outlived: dict[str, int] = {}
        self._retired_at: dict[str, float] = {}
        self._state = dict.fromkeys(self.books, BookState.UNPRIMED)
        self._epoch = dict.fromkeys(self.books, 0)
        # When the requests that nobody has answered were sent.
        self._under_way: dict[int, float] = {}
        # Since when two LIVE, wholly proven books of a market have disagreed.
        self._apart: dict[str, float] = {}
        if told:
            self.tell_time()
        for market in self.markets:
            self.track(market)

    # ---- Inputs ------------------------------------------------------------------------------------

    @property
    def clock(self) -> float:
        """What the mirror's own clock shows: it stands still while the machine sleeps."""
        return self.now - self.slept

    def call(self, name: str, *args: Any, **options: Any) -> None:
        """Give the engine one input now, carry out what it wants, and check the promises."""
        self.inputs.append((name, deepcopy((*args, self.clock)), options))
        give(self.engine, *self.inputs[-1])
        output = drain(self.engine)
        self.outputs.append(output)
        effects, events, _, _ = output
        self._follow(events)
        for effect in effects:
            self._carry_out(effect)
        self.check()

    def track(self, market: ModelMarket) -> None:
        for book in market.books:
            self._state[book.asset_id], self._epoch[book.asset_id] = BookState.UNPRIMED, 0
            self._outlived.pop(book.asset_id, None)
            self.judge.lost(book.asset_id, "heard")
        # As a mirror does; the other markets' constants are learnt.
        known = {"constants": Constants("5", "0.01", neg_risk=False)} if market is self.markets[0] else {}
        self.call("track", market.condition_id, [book.asset_id for book in market.books], **known)

    def _carry_out(self, effect: object) -> None:  # noqa: C901 - one case for each effect
        match effect:
            case OpenSocket(socket, asset_ids):
                link = self.links[socket] = Link(socket, dict.fromkeys(asset_ids))
                self._open_later(link)
            case Subscribe(socket, asset_ids):
                assert not all(self._retired(asset_ids)), "P5: a subscription for retired tokens"
                link = self.links[socket]
                link.asset_ids |= dict.fromkeys(asset_ids)
                if link.is_open:
                    self._greet(link, asset_ids)
            case Unsubscribe(socket, asset_ids):
                for asset_id in asset_ids:
                    self.links[socket].asset_ids.pop(asset_id, None)
            case Reconnect(socket):
                self.at(0.0, lambda: self.disconnect(self.links[socket]))
            case CloseSocket(socket):
                link = self.links[socket]
                link.is_open, link.closed_for_good = False, True
                link.session += 1
            case Vouch(socket):
                assert self.links[socket].is_open, "a socket that is gone was vouched for"
            case FetchBooks(request, asset_ids):
                self._check_wanted(asset_ids)
                self._ask_rest(request, asset_ids)
            case AskGamma(condition_id):
                self._ask_gamma(condition_id)

    def _check_wanted(self, asset_ids: tuple[str, ...]) -> None:
        for asset_id, retired in zip(asset_ids, self._retired(asset_ids), strict=True):
            soon = self.now < self._retired_at.get(asset_id, 0.0) + AGAIN_AFTER
            assert not (retired and soon), "P5: a book is wanted for a retired token"

    def _retired(self, asset_ids: Iterable[str]) -> list[bool]:
        return [self.engine.tokens[asset_id].state is BookState.RETIRED for asset_id in asset_ids]

    # ---- Time --------------------------------------------------------------------------------------

    def at(self, delay: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heappush(self._queue, (self.now + delay, self._serial, action))

    def advance(self, seconds: float) -> None:
        """Let time pass: frames, answers and deadlines fall due in their order."""
        until = self.now + seconds
        ticks_at_once = 0
        while True:
            arrival = self._queue[0][0] if self._queue else float("inf")
            deadline = self.engine.next_deadline() + self.slept
            due = min(arrival, deadline)
            if due > until:
                break
            ticks_at_once = ticks_at_once + 1 if due <= self.now else 0
            assert ticks_at_once < 200, "P3: the engine's deadlines never come to an end"
            self.now = max(self.now, due)
            if arrival <= deadline:
                heappop(self._queue)[2]()
            else:
                self.call("tick")
        self.now = until
        self.check()

    def stall(self, seconds: float) -> None:
        """The process stands still: everything that falls due meanwhile is handled late, in order."""
        until = self.now + seconds
        self.now = until
        self._catch_up(until)

    def sleep(self, seconds: float) -> None:
        """The machine is suspended: its clock stands still, and the venue goes on."""
        until = self.now + seconds
        self.now = until
        self.slept += seconds
        self.call("gap", seconds)
        self._catch_up(until)

    def _catch_up(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            heappop(self._queue)[2]()
        self.call("tick")

    # ---- The stream --------------------------------------------------------------------------------

    def _open_later(self, link: Link) -> None:
        session = link.session

        def open_now() -> None:
            if link.closed_for_good or link.session != session or link.is_open:
                return
            if self.weather.open_fails:
                self.at(0.5, open_now)
                return
            link.is_open, link.opened_at, link.arrives = True, self.now, self.now
            self.call("connected", link.number)
            self._greet(link, tuple(link.asset_ids))

        self.at(self.weather.open_delay, open_now)

    def disconnect(self, link: Link, *, resolved: bool = False) -> None:
        if not link.is_open:
            return
        link.is_open = False
        link.session += 1
        for asset_id in link.asset_ids:
            self.judge.lost(asset_id, "on its way")
            if asset_id in self.engine.tokens and self._state[asset_id] is BookState.LIVE:
                self._outlived[asset_id] = self._epoch[asset_id]
        if self._late is not None and self._late[0] is link:
            self._late = None
        self.call("disconnected", link.number, resolved=resolved)
        self._open_later(link)

    def _greet(self, link: Link, asset_ids: Iterable[str]) -> None:
        opening = [
            self.market_of[a].opening(self.books[a])
            for a in asset_ids
            if not self.market_of[a].settled and a not in self.frozen
        ]
        if not self.weather.opening_lost:
            self.send(link, json.dumps(opening, separators=(",", ":")) + "\n")

    def links_of(self, market: ModelMarket) -> list[Link]:
        ids = {book.asset_id for book in market.books}
        return [link for link in self.links.values() if link.is_open and ids & link.asset_ids.keys()]

    def emit(self, market: ModelMarket, content: dict[str, Any]) -> None:
        """Send a message to whoever subscribed to the market, without what concerns frozen tokens."""
        self.judge.happened(named(content), self.now)
        if content["event_type"] == "price_change":
            entries = [each for each in content["price_changes"] if each["asset_id"] not in self.frozen]
            if not entries:
                return
            content = content | {"price_changes": entries}
        elif content["event_type"] == "book" and content["asset_id"] in self.frozen:
            return
        about = named(content)
        for link in self.links_of(market):
            fate = self.fates.popleft() if self.fates else "arrives"
            text = json.dumps(content)
            if fate == "dropped":
                continue
            if fate == "overtaken" and self._late is None:
                self._late = (link, text, self.now)
                self.judge.sent(about, self.now)
                continue
            self.send(link, text, about=about)
            if fate == "twice":
                self.send(link, text)
            if fate == "again later":
                self.send(link, text, delay=0.12)
            if self._late is not None and self._late[0] is link:
                (_, text, sent), self._late = self._late, None
                self.send(link, text, sent=sent, about=named(json.loads(text)))

    def send(
        self, link: Link, data: str | bytes, *, sent: float | None = None, delay: float = 0.0, about: Iterable[str] = ()
    ) -> None:
        """Let a frame travel. Frames keep their order, apart from those that ``delay`` sends astray.

        ``about`` names the tokens of which it tells what happened when it was ``sent``.
        """
        session, sent = link.session, self.now if sent is None else sent
        self.judge.sent(about, sent)
        arrives = max(link.arrives, self.now + self.weather.stream_delay) + delay
        if not delay:
            link.arrives = arrives

        def arrive() -> None:
            if link.session == session and link.is_open:
                self.judge.heard(about, sent, self.now)
                self.call("receive", link.number, data)

        self.at(arrives - self.now, arrive)

    # ---- REST --------------------------------------------------------------------------------------

    def _ask_rest(self, request: int, asset_ids: tuple[str, ...]) -> None:
        how, sent, behind = self.weather.rest, self.now, self.weather.rest_behind
        # Some answers are made as soon as they are asked for, and others at the last moment.
        made_at = sent if request % 2 else sent + self.weather.rest_delay
        assert len(asset_ids) == len(set(asset_ids)) <= MAX_BOOKS
        self._under_way = {r: at for r, at in self._under_way.items() if self.now < at + self.config.request_timeout}
        self._under_way[request] = sent
        assert len(self._under_way) <= MAX_REQUESTS, "P3: too many requests at once"
        if how == "silent":
            return

        def answer() -> None:
            self._under_way.pop(request, None)
            if how == "fails":
                self.call("books_failed", request)
                return
            bodies = []
            for asset_id in asset_ids:
                if self.market_of[asset_id].settled or how == "missing":
                    continue
                was = self.books[asset_id].as_of(made_at - behind)
                self.judge.answered(self.books[asset_id], was.sides, sent)
                content = deepcopy(was.rest)
                # With nothing known of the market, there is nothing to judge it by.
                market = self.engine.markets.get(self.market_of[asset_id].condition_id)
                if how == "altered" and market is not None and market.hashes.constants:
                    content["bids"] = content["bids"][:-1] or [{"price": "0.01", "size": "7"}]
                elif how == "broken":
                    content["bids"] = [{"price": "0.01", "size": "-7"}]
                bodies.append(content)
            decoded = decode_books(json.dumps(bodies).encode())
            self.call("books", request, {book.asset_id: book for book in decoded})

        self.at(self.weather.rest_delay, answer)

    def _ask_gamma(self, condition_id: str) -> None:
        right = self.weather.gamma == "right"

        def answer() -> None:
            [market] = [each for each in self.markets if each.condition_id == condition_id]
            self.call("market_status", condition_id, market.settled if right else None)

        self.at(self.weather.rest_delay, answer)

    # ---- The promises ------------------------------------------------------------------------------

    def read(self, asset_id: str, max_proof_age: float | None = None) -> BookView | None:
        return self._take(self.engine.live, asset_id, max_proof_age)

    def _take(self, take: Callable[..., Any], asset_id: str, max_proof_age: float | None) -> Any:
        refusal = None
        try:
            return take(asset_id, self.clock, max_proof_age)
        except NotLive as error:
            refusal = error
        state = self.engine.tokens[asset_id].state
        assert refusal.state is state
        if state is BookState.LIVE:
            assert refusal.age is not None
            late = self.engine.next_deadline() < self.clock and "program stood still" in str(refusal)
            assert late or refusal.age > refusal.max_proof_age, "a LIVE book with a fresh proof was refused"
        return None

    def check(self) -> None:
        """P1, P2 and P3 for every token, as things stand."""
        for asset_id, book in self.books.items():
            self._check_read(asset_id, book)
        self._check_agreement()
        self._check_bounds()

    def _check_read(self, asset_id: str, book: ModelBook) -> None:
        if asset_id not in self.engine.tokens:
            return
        self.engine.peek(asset_id, self.clock)
        for limit in (None, 0.25):
            view, top = self.read(asset_id, limit), self._take(self.engine.top, asset_id, limit)
            check_top(view, top)
            if view is None:
                continue
            self.reads += 1
            allowed = self.config.max_proof_age if limit is None else min(limit, self.config.max_proof_age)
            assert view.state is BookState.LIVE, "P1: readable, and not LIVE"
            assert view.proven_at is not None, "P2: readable, and never proven"
            assert view.verified_age == max(0.0, self.clock - view.proven_at), "P2: the age is wrong"
            assert view.verified_age <= allowed, "P2: the proof is too old"
            assert view.proven_at <= self.clock + ROUNDING, "P2: proven in the future"
            self.judge.check(view, book, self.now, self.weather.stream_delay)
            link = self.links[self.engine.markets[view.market].socket or 0]
            assert link.is_open, "P2: a book outlived its connection"
            assert view.epoch > self._outlived.get(asset_id, -1), "P2: a proof outlived its connection"

    def _check_agreement(self) -> None:
        """Two LIVE books whose newest state is proven must show the same orders soon after a batch, or be doubted."""
        name, arguments, _ = self.inputs[-1]
        heard = str(arguments[1]) if name == "receive" else ""
        for model in self.markets:
            market = self.engine.markets.get(model.condition_id)
            if market is None:
                continue
            one, other = (self.engine.tokens[book.asset_id] for book in model.books)
            both = one.state is other.state is BookState.LIVE and one.proven.unproven == other.proven.unproven == 0
            (a, b), (c, d) = ((t.proven.book.bids, t.proven.book.asks) for t in (one, other))
            same = (a.keys, a.sizes, b.keys, b.sizes) == (d.keys, d.sizes, c.keys, c.sizes)
            proven = min(t.proven.proof.as_of if t.proven.proof else self.now for t in (one, other))
            since = self._apart.get(model.condition_id, self.now)
            if not both or same or proven > since:
                self._apart.pop(model.condition_id, None)
            elif "price_change" in heard and model.condition_id in heard:
                self._apart.setdefault(model.condition_id, self.now)
            elif self.engine.next_deadline() > self.clock:
                # Else the process was held up, and the engine has not been told of the time yet.
                allowed = self.config.hash_grace + MAX_BATCH_SPREAD
                assert self.now - since <= allowed, f"P2: two LIVE books of a market have disagreed since {since}"

    def _check_bounds(self) -> None:
        engine, config = self.engine, self.config
        for token in engine.tokens.values():
            assert len(token.buffer) <= config.max_buffered_deltas, "P3: the buffer outgrew its bound"
            assert len(token.proven.journal) <= config.max_journal, "P3: the journal outgrew its bound"
            assert len(token.misses.watched) <= MAX_PENDING_HASHES
            assert not token.calm or token.is_calm(), "the quick way would not see that something is disputed"
            assert len(token.proven.book.bids.keys) <= config.max_levels
        for market in engine.markets.values():
            assert len(market._resent) <= 2
            assert len(market.touched) <= 2
        assert len(engine._open) <= len(engine.markets)
        assert len(engine._deadlines) <= len(engine.tokens)
        assert len(engine.ignored) <= MAX_KINDS + 1
        assert len(engine.malformed) <= MAX_KINDS + 1
        assert not engine.outbox.rearm
        assert set(engine.outbox.books) <= set(engine.tokens)
        assert not engine.effects()
        assert not engine.events()

    def _follow(self, events: Iterable[object]) -> None:
        """The transitions are legal, each begins where the last one ended, and epochs never shrink."""
        for event in events:
            if isinstance(event, Transition):
                self.transitions.append(event)
                assert event.old is self._state[event.token]
                assert event.new in LEGAL_TRANSITIONS[event.old]
                assert event.epoch >= self._epoch[event.token]
                if event.new is BookState.RETIRED:
                    assert self.market_of[event.token].settled, "P5: retired, and it trades"
                    self._retired_at[event.token] = self.now
                self._state[event.token], self._epoch[event.token] = event.new, event.epoch
        for asset_id, token in self.engine.tokens.items():
            assert token.state is self._state[asset_id]
            assert token.proven.epoch >= self._epoch[asset_id]

    # ---- Afterwards --------------------------------------------------------------------------------

    def replay(self) -> None:
        """P4: a second engine with the same seed and inputs does and says the same."""
        second = Engine(self.config, Random(self.seed))
        for each, expected in zip(self.inputs, self.outputs, strict=True):
            give(second, *each)
            assert drain(second) == expected, "P4: the same input had another consequence"

    def heal(self, *, busy: bool) -> None:
        """The faults stop. Within a bounded time every book is LIVE or RETIRED, and stays so."""
        self.weather = Weather()
        self.fates.clear()
        self.frozen.clear()
        calm_since, seen = self.now, 0
        for step in range(MAX_HEALING):
            if busy and step % 2 == 0:
                for market in self.markets:
                    self.touch(market, step)
            if step % 60 == 0:
                self.tell_time()
            self.advance(1.0)
            if len(self.transitions) != seen or not self.healed():
                calm_since, seen = self.now, len(self.transitions)
            if self.now - calm_since >= CALM:
                return
        states = ", ".join(f"{t.asset_id} {t.state.name} ({t.reason.name})" for t in self.engine.tokens.values())
        latest = "; ".join(map(str, self.transitions[-4:]))
        raise AssertionError(f"P5: not healed after {MAX_HEALING} s: {states}; latest: {latest}")

    def tell_time(self) -> None:
        """Let the engine's clock hear of ``/time``, as the shell does now and then."""
        self.judge.clock_told(self.now % 1.0, self.now)
        self.call("server_time", stamp(self.now) // 1000, self.clock - 0.05)

    def healed(self) -> bool:
        return all(
            state is BookState.RETIRED if self.over(asset_id) else state is BookState.LIVE
            for asset_id, state in self.engine.states()
        )

    def over(self, asset_id: str) -> bool:
        """Whether the market is settled: that is final."""
        return self.market_of[asset_id].settled
