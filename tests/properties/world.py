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

from polymirror.core.effects import CloseSocket, FetchBooks, OpenSocket, Reconnect, Subscribe, Unsubscribe, Vouch
from polymirror.core.engine import MAX_KINDS, Engine
from polymirror.core.events import Transition
from polymirror.core.messages import decode_books
from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason
from polymirror.core.token import MAX_PENDING_HASHES
from polymirror.errors import NotLive
from tests.properties.model import ONE, ModelBook, ModelMarket, make_market, stamp
from tests.properties.weather import Link, Weather, quick_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polymirror.config import EngineConfig
    from polymirror.core.view import BookView

START = 1_000.0
MAX_REQUESTS = 4
MAX_BOOKS = 500
MAX_ALTERED = 2
SLACK = 1e-6
MAX_HEALING = 200
"""Seconds after the last fault within which every book must be LIVE or RETIRED..."""
CALM = 20.0
"""...without any transition for this long."""

MAX_BATCH_SPREAD = 0.1
"""How much longer than the grace two LIVE books of a market may disagree, in seconds."""


class World:
    """Drives one engine against the model exchange."""

    def __init__(self, config: EngineConfig | None = None, *, seed: int = 0, markets: int = 2) -> None:
        self.config = config or quick_config()
        self.seed = seed
        self.engine = Engine(self.config, Random(seed))
        self.now = START
        self.weather = Weather()
        self.markets = [make_market(n + 1, self.now - 5.0) for n in range(markets)]
        self.books = {book.asset_id: book for market in self.markets for book in market.books}
        self.market_of = {book.asset_id: market for market in self.markets for book in market.books}
        self.links: dict[int, Link] = {}
        self.frozen: set[str] = set()
        # What REST said it does not know.
        self.denied: set[str] = set()
        # What happens to the coming frames, in order; an empty queue means that they arrive.
        self.fates: deque[str] = deque()
        self.inputs: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.outputs: list[tuple[Any, ...]] = []
        self.reads = 0
        self.transitions: list[Transition] = []
        self._late: tuple[Link, str, float] | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._altered = 0
        # How old the news were that arrived (or were asked for) at a time.
        self._age_of_news: dict[float, float] = {}
        self._state = dict.fromkeys(self.books, BookState.UNPRIMED)
        self._epoch = dict.fromkeys(self.books, 0)
        # When the requests that nobody has answered were sent.
        self._under_way: dict[int, float] = {}
        # Since when two LIVE, wholly proven books of a market have disagreed.
        self._apart: dict[str, float] = {}
        self.tell_time()
        for market in self.markets:
            self.track(market)

    # ---- Inputs ------------------------------------------------------------------------------------

    def call(self, name: str, *args: Any, **options: Any) -> None:
        """Give the engine one input now, carry out what it wants, and check the promises."""
        self.inputs.append((name, deepcopy((*args, self.now)), options))
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
        self.call("track", market.condition_id, [book.asset_id for book in market.books])

    def _carry_out(self, effect: object) -> None:
        if isinstance(effect, OpenSocket):
            link = self.links[effect.socket] = Link(effect.socket, dict.fromkeys(effect.asset_ids))
            self._open_later(link)
        elif isinstance(effect, Subscribe):
            assert not all(self._retired(effect.asset_ids)), "P5: a subscription for retired tokens"
            link = self.links[effect.socket]
            link.asset_ids |= dict.fromkeys(effect.asset_ids)
            if link.is_open:
                self._greet(link, effect.asset_ids)
        elif isinstance(effect, Unsubscribe):
            for asset_id in effect.asset_ids:
                self.links[effect.socket].asset_ids.pop(asset_id, None)
        elif isinstance(effect, Reconnect):
            self.at(0.0, lambda: self.disconnect(self.links[effect.socket]))
        elif isinstance(effect, CloseSocket):
            link = self.links[effect.socket]
            link.is_open, link.closed_for_good = False, True
            link.session += 1
        elif isinstance(effect, Vouch):
            assert self.links[effect.socket].is_open, "a socket that is gone was vouched for"
        elif isinstance(effect, FetchBooks):
            assert not any(self._retired(effect.asset_ids)), "P5: a book is wanted for a retired token"
            self._ask_rest(effect.request, effect.asset_ids)

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
            deadline = self.engine.next_deadline()
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
        if content["event_type"] == "price_change":
            entries = [each for each in content["price_changes"] if each["asset_id"] not in self.frozen]
            if not entries:
                return
            content = content | {"price_changes": entries}
        elif content["event_type"] == "book" and content["asset_id"] in self.frozen:
            return
        for link in self.links_of(market):
            fate = self.fates.popleft() if self.fates else "arrives"
            text = json.dumps(content)
            if fate == "dropped":
                continue
            if fate == "overtaken" and self._late is None:
                self._late = (link, text, self.now)
                continue
            self.send(link, text)
            if fate == "twice":
                self.send(link, text)
            if fate == "again later":
                self.send(link, text, delay=0.12)
            if self._late is not None and self._late[0] is link:
                (_, text, sent), self._late = self._late, None
                self.send(link, text, sent=sent)

    def send(self, link: Link, data: str | bytes, *, sent: float | None = None, delay: float = 0.0) -> None:
        """Let a frame travel. Frames keep their order, apart from those that ``delay`` sends astray."""
        session, sent = link.session, self.now if sent is None else sent
        arrives = max(link.arrives, self.now + self.weather.stream_delay) + delay
        if not delay:
            link.arrives = arrives

        def arrive() -> None:
            if link.session == session and link.is_open:
                self._news(self.now, self.now - sent)
                self.call("receive", link.number, data)

        self.at(arrives - self.now, arrive)

    def _news(self, when: float, age: float) -> None:
        self._age_of_news[when] = max(age, self._age_of_news.get(when, 0.0))

    # ---- REST --------------------------------------------------------------------------------------

    def _ask_rest(self, request: int, asset_ids: tuple[str, ...]) -> None:
        how, sent, behind = self.weather.rest, self.now, self.weather.rest_behind
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
                    self.denied.add(asset_id)
                    continue
                when = self.now - behind
                self._news(sent, max(0.0, sent - when))
                content = deepcopy(self.books[asset_id].as_of(when).rest)
                # Were all of them wrong, the venue would have changed its hash, and be believed.
                alter = how == "altered" and self._altered < MAX_ALTERED and self.engine.dialects.verifiable
                self._altered = self._altered + 1 if alter else 0
                if self._altered:
                    content["bids"] = content["bids"][:-1] or [{"price": "0.01", "size": "7"}]
                elif how == "broken":
                    content["bids"] = [{"price": "0.01", "size": "-7"}]
                bodies.append(content)
            decoded = decode_books(json.dumps(bodies).encode())
            self.call("books", request, {book.asset_id: book for book in decoded})

        self.at(self.weather.rest_delay, answer)

    # ---- The promises ------------------------------------------------------------------------------

    def read(self, asset_id: str, max_proof_age: float | None = None) -> BookView | None:
        refusal = None
        try:
            return self.engine.live(asset_id, self.now, max_proof_age)
        except NotLive as error:
            refusal = error
        state = self.engine.tokens[asset_id].state
        assert refusal.state is state
        if state is BookState.LIVE:
            assert refusal.age is not None
            assert refusal.age > refusal.max_proof_age, "a LIVE book with a fresh proof was refused"
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
        self.engine.peek(asset_id, self.now)
        for limit in (None, 0.25):
            view = self.read(asset_id, limit)
            if view is None:
                continue
            self.reads += 1
            allowed = self.config.max_proof_age if limit is None else min(limit, self.config.max_proof_age)
            assert view.state is BookState.LIVE, "P1: readable, and not LIVE"
            assert view.proven_at is not None, "P2: readable, and never proven"
            assert view.verified_age == self.now - view.proven_at, "P2: the age is wrong"
            assert view.verified_age <= allowed, "P2: the proof is too old"
            age = self._age_of_news.get(view.proven_at)
            assert age is not None, f"P2: nothing could prove anything at {view.proven_at}"
            sides = tuple(map(tuple, view.bids)), tuple(map(tuple, view.asks))
            since = view.proven_at - age - SLACK
            assert book.was_true(sides, since), f"P2: {asset_id} never had these levels after {since}: {sides}"
            link = self.links[self.engine.markets[view.market].socket or 0]
            assert link.is_open, "P2: a book outlived its connection"
            assert view.proven_at >= link.opened_at, "P2: a proof outlived its connection"

    def _check_agreement(self) -> None:
        """Two LIVE books whose newest state is proven must show the same orders soon after a batch, or be doubted."""
        name, arguments, _ = self.inputs[-1]
        heard = str(arguments[1]) if name == "receive" else ""
        for model in self.markets:
            market = self.engine.markets.get(model.condition_id)
            if market is None:
                continue
            one, other = (self.engine.tokens[book.asset_id] for book in model.books)
            both = one.state is other.state is BookState.LIVE and one.unproven == other.unproven == 0
            same = (one.book.bids.keys, one.book.bids.sizes, one.book.asks.keys, one.book.asks.sizes) == (
                other.book.asks.keys, other.book.asks.sizes, other.book.bids.keys, other.book.bids.sizes)  # fmt: skip
            proven = min(t.proof.at if t.proof else self.now for t in (one, other))
            since = self._apart.get(model.condition_id, self.now)
            if not both or same or proven > since:
                self._apart.pop(model.condition_id, None)
            elif "price_change" in heard and model.condition_id in heard:
                self._apart.setdefault(model.condition_id, self.now)
            elif self.engine.next_deadline() > self.now:
                # Else the process was held up, and the engine has not been told of the time yet.
                allowed = self.config.hash_grace + MAX_BATCH_SPREAD
                assert self.now - since <= allowed, f"P2: two LIVE books of a market have disagreed since {since}"

    def _check_bounds(self) -> None:
        engine, config = self.engine, self.config
        for token in engine.tokens.values():
            assert len(token.buffer) <= config.max_buffered_deltas, "P3: the buffer outgrew its bound"
            assert len(token.journal) <= config.max_journal, "P3: the journal outgrew its bound"
            assert len(token.missed) <= MAX_PENDING_HASHES
            assert not token.calm or token.is_calm(), "the quick way would not see that something is disputed"
            assert len(token.book.bids.keys) <= config.max_levels
        for market in engine.markets.values():
            assert len(market._resent) <= 2
            assert len(market._touched) <= 2
        assert len(engine._open) <= len(engine.markets)
        assert len(engine._deadlines) <= len(engine.tokens)
        assert len(engine.ignored) <= MAX_KINDS + 1
        assert len(engine.malformed) <= MAX_KINDS + 1
        assert not engine.outbox.rearm
        assert set(engine.outbox.books) <= set(engine.tokens.values())
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
                self._state[event.token], self._epoch[event.token] = event.new, event.epoch
        for asset_id, token in self.engine.tokens.items():
            assert token.state is self._state[asset_id]
            assert token.epoch >= self._epoch[asset_id]

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
        self.call("server_time", stamp(self.now) // 1000, self.now - 0.05)

    def healed(self) -> bool:
        return all(
            state is BookState.RETIRED if self.over(asset_id) else state is BookState.LIVE
            for asset_id, state in self.engine.states()
        )

    def over(self, asset_id: str) -> bool:
        """Whether the market is settled, or REST said often enough that there is no such book: that is final."""
        token = self.engine.tokens[asset_id]
        return self.market_of[asset_id].settled or (asset_id in self.denied and token.reason is Reason.GONE)

    def touch(self, market: ModelMarket, step: int) -> None:
        """An ordinary order far from the top, placed and later cancelled."""
        if not market.settled:
            self.orders(market, [("BUY", 1000, (step % 8) * 1_000_000)])

    def orders(self, market: ModelMarket, changes: list[tuple[str, int, int]], *, kind: str = "own") -> None:
        """Make changes with one timestamp, and announce them.

        ``kind`` says which state each message states: "own" (one message, one batch), "batch" (a message
        for each change, all of them stating the end), "late" (the first message's hash is already of what
        the others, a millisecond later, will bring).
        """
        when = stamp(self.now)
        rows, tops = [], []
        for side, price, size in changes:
            # An order that would trade or is off the grid is a cancellation here.
            rows.append(market.put(side, price, size if market.fits(side, price) else 0))
            tops.append({book.asset_id: book.best() for book in market.books})
        market.changed_ms = when
        if kind == "own":
            messages = [market.price_change([row for each in rows for row in each], when)]
        else:
            messages = [market.price_change(each, when) for each in rows]
        if kind == "late" and len(messages) > 1:
            # Only the hash runs ahead: the top that a message states was never seen to.
            messages[0] = market.price_change(rows[0], when, tops[0])
            self.now = self.now + 0.001
            market.changed_ms = stamp(self.now)
            messages[1:] = [market.price_change(each, market.changed_ms) for each in rows[1:]]
        market.remember(self.now)
        for message in messages:
            self.emit(market, message)

    def trade(self, market: ModelMarket, *, buys: bool, part: bool, printed_after: float) -> None:
        """Take the best level, wholly or in part: price changes, both books anew, and the print a little later."""
        levels = market.up.asks if buys else market.up.bids
        if not levels:
            return
        price, size = levels.items()[0 if buys else -1]
        rows = market.put("SELL" if buys else "BUY", price, size // 2 if part else 0)
        # The hash knows the trade before it is printed, in either token's price.
        market.last_trade = f"{(price if part else ONE - price) / ONE:.3f}"
        market.commit(self.now)
        when = market.changed_ms
        self.emit(market, market.price_change(rows, when))
        for book in market.books:
            self.emit(market, market.whole(book))
        self.at(printed_after, lambda: self.emit(market, market.trade_print(price, when)))


def give(engine: Engine, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    *args, now = deepcopy(arguments)
    if name == "disconnected":
        engine.disconnected(args[0], now, "test", **options)
    elif name == "server_time":
        engine.clock.server_time(*args, now)
    else:
        getattr(engine, name)(*args, now, **options)


def drain(engine: Engine) -> tuple[Any, ...]:
    return engine.effects(), engine.events(), engine.dirty(), engine.next_deadline()
