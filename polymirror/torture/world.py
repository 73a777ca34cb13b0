"""One world: an engine, a simulated venue and the network between them, under a virtual clock.

The world is the engine's shell: it carries out the effects as :mod:`polymirror.mirror` does, only that sockets and
calls are events on a timeline. After every frame and answer it reads the books concerned, and all of them regularly
and whenever the process was suspended; each granted read is compared with what the exchange really had.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from hashlib import sha256
from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

from polymirror.config import EngineConfig, StreamConfig
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
from polymirror.core.messages import subscription_change
from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState
from polymirror.core.units import PRICES, parse_size
from polymirror.errors import NotLive, UnitError
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.exchange.history import Sums, digest
from polymirror.simulator.exchange.market import MIN_ORDER_SIZE, Phase
from polymirror.simulator.faults.line import FaultLine
from polymirror.simulator.faults.openings import StaleOpening
from polymirror.simulator.faults.replay import ReplayedConnection
from polymirror.simulator.faults.stale import OldBooks
from polymirror.simulator.frames import BEST_BID_ASK, BOOK, LAST_TRADE_PRICE, NEW_MARKET, OPENING, PRICE_CHANGE
from polymirror.simulator.virtual import NetworkConfig
from polymirror.torture import verdict
from polymirror.torture.links import Client, End, Links
from polymirror.torture.timeline import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from polymirror.core.book import Levels
    from polymirror.core.effects import Effect
    from polymirror.core.messages import Snapshot
    from polymirror.core.view import BookView
    from polymirror.simulator.exchange.history import Digest
    from polymirror.simulator.faults.base import Fault
    from polymirror.simulator.frames import Frame
    from polymirror.simulator.settings import ExchangeConfig
    from polymirror.torture.links import Wire

MAX_LOG = 100_000
"""Transitions kept for the trace of a violation."""

READ_AGES = (None, None, 1.0, 0.25)
"""The proof ages in seconds that reads ask for; None: the configured one."""

BESIDE_THE_BOOK = frozenset({BEST_BID_ASK, LAST_TRADE_PRICE, NEW_MARKET})
"""Frames that carry no level: they come beside one that does, and nothing is read after them."""

SWEEP_EVERY = MICRO // 4
SWEEPS = 4
"""A share of all books is read so often, each of them once in so many times, whether anything arrives or not."""

ASKED_MS = 50
"""An answer is given after the moment for which it is believed to speak; the client's clock may be off by so much."""


@frozen
class Violation:
    """A broken promise: what, when (true seconds since the start) and about which token."""

    promise: str
    at: float
    token: str
    detail: str


@define
class Tally:
    """What a world counts."""

    reads: int = 0
    refused: int = 0
    transitions: int = 0
    wrong_live_seconds: float = 0.0
    unknowable: Counter[str] = Factory(Counter)
    """Reads that were wrong because of what cannot be known, by the name of the allowance."""
    violations: list[Violation] = Factory(list)


class World(Links):
    """Runs one engine against one exchange. ``faults`` act on all connections and calls.

    ``hedge`` is how many connections each socket has.
    """

    def __init__(
        self,
        exchange: ExchangeConfig,
        faults: Iterable[Fault] = (),
        *,
        seed: int = 0,
        engine: EngineConfig | None = None,
        stream: StreamConfig | None = None,
        network: NetworkConfig | None = None,
        engine_class: Callable[[EngineConfig, random.Random], Engine] = Engine,
        hedge: int = 1,
    ) -> None:
        self._hedge = hedge
        self.engine_config: EngineConfig = engine or EngineConfig()
        line = FaultLine(faults)
        venue = Exchange(exchange)
        line.attach(venue)
        super().__init__(
            venue,
            line,
            engine_class(self.engine_config, random.Random(f"engine:{seed}")),  # noqa: S311 - a simulation
            network or NetworkConfig(),
            stream or StreamConfig(),
            random.Random(f"world:{seed}"),  # noqa: S311
        )
        self.tally: Tally = Tally()
        # The newest transitions, and a running hash over all of them.
        self.log: deque[Transition] = deque(maxlen=MAX_LOG)
        self._trace = sha256()
        # Since when reads of a token have been wrong, in true microseconds.
        self._wrong_since: dict[str, int] = {}
        self._market_of = {token: market for market in venue.markets for token in market.tokens}
        self._link_ms = self.network.latency_ms + self.network.jitter_ms
        # The levels last read, by token, and their digest: most reads see them again.
        self._known: dict[str, tuple[Levels, Digest]] = {}
        self._sums = {market.condition_id: Sums() for market in venue.markets}
        self._old_books = [fault for fault in line.faults if isinstance(fault, OldBooks)]
        self._old_openings = [fault for fault in line.faults if isinstance(fault, StaleOpening)]
        self._replays = [fault for fault in line.faults if isinstance(fault, ReplayedConnection)]
        # Drawn apart, so that reading more changes nothing else.
        self._ages = random.Random(f"ages:{seed}")  # noqa: S311
        self._sweeps = 0
        for market in venue.markets:
            constants = Constants(MIN_ORDER_SIZE, "0.01", neg_risk=False)
            self.engine.track(market.condition_id, market.tokens, 0.0, constants=constants)
        self.at_client(MICRO // 10, self._watch_time)
        self.at_client(SWEEP_EVERY, self._sweep)
        self._drain()

    def run(self, seconds: float) -> None:
        """Let virtual time pass, in true seconds."""
        end = self.now + int(seconds * MICRO)
        due, own = self._own_due()
        while True:
            happens, first = self.exchange.next_event_ms(), self.next_at()
            venue = math.inf if happens is None else (happens - self._start_ms) * 1000
            network = math.inf if first is None else first
            upcoming = min(venue, network, own)
            if upcoming > end:
                self.now = end
                return
            self.now: int = max(self.now, int(upcoming))
            if venue <= upcoming:
                # The engine does not know of it yet, so its deadline stays.
                self._broadcast()
                continue
            if network <= upcoming:
                self.happen()
            else:
                # A deadline that is no whole microsecond must not be missed by rounding.
                self.now += self.seconds < due
                self.engine.tick(self.seconds)
                self._drain()
            due, own = self._own_due()

    def _own_due(self) -> tuple[float, float]:
        """When the engine wants to be called, by its own clock in seconds, and in true microseconds."""
        due = self.engine.next_deadline()
        return due, math.inf if due == math.inf else max(math.ceil(self.true_at(due)), self.blocked_until)

    # ---- For those who watch -----------------------------------------------------------------------

    def arrived(self, market: str) -> None:
        """A frame of a market arrived."""

    def doubted(self, token: str) -> None:
        """A book left LIVE."""

    def changed(self, tokens: Sequence[str]) -> None:
        """The readable views of these tokens may have changed."""

    # ---- What is read ------------------------------------------------------------------------------

    def live(self, token: str, max_proof_age: float | None) -> BookView:
        """Read a book for execution. Raises NotLive."""
        return self.engine.live(token, self.seconds, max_proof_age)

    def as_told(self, view: BookView) -> tuple[BookView, int] | None:
        """Return what the mirror had when it was heard of last, and when, in true exchange ms.

        None: a view is not what was told last. Here it is the mirror's own, and it was told now.
        """
        return view, self.exchange_ms()

    def book_states(self) -> Iterable[tuple[str, BookState]]:
        """Return the state of each book that is read."""
        return self.engine.states()

    def describe(self, token: str) -> str:
        """Return how a book that is read stands, in words."""
        standing = self.engine.standing(token)
        return "gone" if standing is None else f"{standing.state.name} {standing.reason.name}"

    # ---- The shell ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        while effects := self.engine.effects():
            for effect in effects:
                self._carry_out(effect)
        for event in self.engine.events():
            if isinstance(event, Transition):
                self.tally.transitions += 1
                self._trace.update(str(event).encode())
                self.log.append(event)
                if event.old is BookState.LIVE:
                    self.doubted(event.token)
                if event.new is BookState.RETIRED:
                    self._check_retired(event)
        self.changed(self.engine.dirty())

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case OpenSocket(line) | CloseSocket(line):
                for lane in range(self._hedge):
                    self._open_or_close(End(line, lane), opens=isinstance(effect, OpenSocket))
            case Subscribe(line) | Unsubscribe(line) | Vouch(line) | Reconnect(line):
                for wire in self._wires(line):
                    self._have_wire(wire, effect)
            case FetchBooks(request, ids):
                self._call(request, ids)
            case AskGamma(condition):
                self._ask_status(condition)

    def _open_or_close(self, end: End, *, opens: bool) -> None:
        if opens:
            self._clients[end] = Client()
            self._connect(end)
        else:
            self._clients[end].closed = True
            self._clients[end].wire = None

    def _have_wire(self, wire: Wire, effect: Subscribe | Unsubscribe | Vouch | Reconnect) -> None:
        match effect:
            case Subscribe(_, ids):
                self._to_venue(wire, subscription_change("subscribe", ids, custom_features=True))
            case Unsubscribe(_, ids):
                self._to_venue(wire, subscription_change("unsubscribe", ids, custom_features=True))
            case Vouch():
                wire.last_data = self.client_now
            case Reconnect(_, why, lane):
                if wire.end.lane == lane:
                    self._lose(wire, why)

    # ---- The promises ------------------------------------------------------------------------------

    def _check_retired(self, event: Transition) -> None:
        """Check that a book is retired only once its market is settled."""
        if self.exchange.knows(event.token) and not self.exchange.is_resolved(event.token):
            trading = self.exchange.market_of(event.token).phase is Phase.TRADING
            how = "trades" if trading else "is not settled yet"
            self._violate("what is not settled is not retired", event.token, f"its market {how}: {event}")

    def _was_read(self, wire: Wire, frame: Frame) -> None:
        market = self.exchange.market_by_condition(frame.market) if frame.market else None
        if market is not None:
            if frame.kind in {PRICE_CHANGE, BOOK}:
                self.arrived(frame.market)
            age = self.rng.choice(READ_AGES)
            for token in () if frame.kind in BESIDE_THE_BOOK else market.tokens:
                self.read(token, age)
        elif frame.kind == OPENING:
            self._read_all(wire.session.tokens)

    def _was_answered(self, asset_ids: Sequence[str]) -> None:
        self._read_all(asset_ids)

    def _answers(self, books: Iterable[Snapshot]) -> None:
        for book in books:
            token = book.asset_id
            # What was altered on the way says nothing.
            if self.exchange.knows(token) and self.exchange.was_digest_true(token, digest(*_levels(book)), 0):
                self.witness.answered(token, book.timestamp_ms, self.exchange_ms())

    def _awoke(self) -> None:
        self._read_all(self._market_of)

    def _read_all(self, tokens: Iterable[str]) -> None:
        age = self._ages.choice(READ_AGES)
        for token in tokens:
            if token in self._market_of:
                self.read(token, age)

    def _sweep(self) -> None:
        """Read some of the books although nothing happened: silence must age them."""
        self._sweeps += 1
        self._read_all(list(self._market_of)[self._sweeps % SWEEPS :: SWEEPS])
        self.at_client(self.now + SWEEP_EVERY, self._sweep)

    def read(self, token: str, max_proof_age: float | None = None) -> None:
        """Read a book for execution, and compare what is granted with the truth."""
        tally = self.tally
        tally.reads += 1
        since = self._wrong_since.pop(token, None)
        if since is not None:
            tally.wrong_live_seconds += (self.now - since) / MICRO
        try:
            view = self.live(token, max_proof_age)
        except NotLive:
            tally.refused += 1
            return
        state = self._digest_of(view)
        configured = self.engine_config.max_proof_age
        limit = configured if max_proof_age is None else min(max_proof_age, configured)
        told = self.as_told(view)
        if told is None:
            detail = f"{view} epoch {view.epoch}, proof {view.last_proof}"
            self._violate("a granted read is what was told last", token, detail)
            return
        was = self.exchange.was_digest_true
        if was(token, state, verdict.true_since(self.exchange_ms(), view.verified_age, limit, self._link_ms)):
            return
        known, known_ms = told
        claim = verdict.Claim(known_ms, known.verified_age, limit, self._link_ms)
        found = verdict.judge(lambda ms: was(token, state, ms), claim, self._excuses(known, state, claim))
        if found in verdict.ALLOWANCES:
            tally.unknowable[found] += 1
        elif found == verdict.WRONG:
            self._wrong_since[token] = self.now
            detail = f"{view} epoch {view.epoch}, proof {view.last_proof}, asked {limit:g} s"
            self._violate("a granted read equals a real state", token, detail)

    def is_up_to_date(self, view: BookView) -> bool:
        """Whether a view shows what the exchange has now, but for what is under way."""
        since_ms = self.exchange_ms() - self._link_ms - verdict.ROUNDING_MS
        return self.exchange.was_digest_true(view.token, self._digest_of(view), since_ms)

    def _digest_of(self, view: BookView) -> Digest:
        levels = view.levels
        known = self._known.get(view.token)
        if known is None or known[0] is not levels:
            market = self._market_of[view.token]
            state = self._sums[market.condition_id].digest(market.tokens.index(view.token), *levels)
            known = self._known[view.token] = (levels, state)
        return known[1]

    def _excuses(self, view: BookView, state: Digest, claim: verdict.Claim) -> Iterator[verdict.Excuse]:
        """What cannot be known and may explain this read: the simulation knows whether it was so."""
        token, known_ms, proven_ms = view.token, claim.now_ms, claim.proven_ms
        market, index = self._market_of[token], self._market_of[token].tokens.index(token)
        own, condition = market.own[index], market.condition_id
        window_ms = self.engine_config.batch_window * 1000

        def was(since_ms: int) -> bool:
            return self.exchange.was_digest_true(token, state, since_ms)

        if view.last_proof is not None and view.last_proof.kind is ProofKind.PROBE:
            answers = [fault.served.newest(token, known_ms) for fault in self._old_books]
        else:
            answers = [fault.served.newest(token, known_ms) for fault in self._old_openings]
            added_ms = self.witness.added_ms(condition, proven_ms - 1, known_ms)
            yield verdict.clock_interval(was, view.clock_uncertainty, added_ms)
            yield verdict.stated_ahead(was, self.witness.misdated_ms(condition, proven_ms - 1, known_ms))
        for served in answers:
            if served is not None and served.at_ms >= proven_ms - ASKED_MS:
                # A statement about one token says the same about its complement.
                about = "" if own is None else token
                told = (token,) if about else market.tokens
                # What the batch at hand says is heard when it is over.
                heard = self.witness.states_later(condition, about, served.stamp_ms, known_ms, window_ms)
                heard = heard or self.witness.answers_later(told, served.stamp_ms, known_ms)
                # Nobody can hear of what one token does alone: no message tells it.
                alone = own is not None and served.since_ms <= own.alone_by(known_ms) <= known_ms
                lost = alone or self.witness.is_missing(condition, served.since_ms, known_ms)
                yield verdict.same_stamp_answer(was, served.since_ms, lost=lost, heard=heard)
        for replay in [each for fault in self._replays for each in fault.replays[token]]:
            shown = replay.shows(token, state)
            yield verdict.rewritten(claim, replay.began_ms, replay.until_ms, shown=shown, calls_too=replay.calls_too)
        if own is not None:
            mirror = (state[1], state[0]) if index else state
            # What a backlog tells of may be older than what befell the token since.
            alone_ms = own.alone_by(proven_ms + self._link_ms)
            read_ms = self.witness.heard(condition, alone_ms + self.exchange.clock_offset_ms, known_ms)
            first_ms = min(read_ms, default=alone_ms)
            yield verdict.second_token(lambda ms: market.history.was(mirror, ms), claim, first_ms, len(read_ms))

    def _violate(self, promise: str, token: str, detail: str) -> None:
        self.tally.violations.append(Violation(promise, self.elapsed, token, detail))

    # ---- What is told of it ------------------------------------------------------------------------

    def fault_counts(self) -> dict[str, int]:
        """How often each fault struck."""
        return self.faults.injected

    def trace(self) -> str:
        """A hash over all transitions so far: equal for equal runs, on every machine."""
        return self._trace.hexdigest()

    @property
    def backlog_until(self) -> float:
        """When the last change was read that something had delayed, in true seconds since the start."""
        return (self.witness.delayed_ms - self._start_ms) / 1000

    def trades(self, token: str) -> bool:
        """Whether the token's market still has an order book at the exchange."""
        return not self.exchange.is_over(token)

    def states(self) -> dict[BookState, int]:
        """How many books are in each state."""
        counts: dict[BookState, int] = {}
        for _, state in self.book_states():
            counts[state] = counts.get(state, 0) + 1
        return counts


def _levels(book: Snapshot) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The levels of an answer, in wire units; what cannot be read is no level."""
    try:
        sides = [[(PRICES[each.price], parse_size(each.size)) for each in side] for side in (book.bids, book.asks)]
    except UnitError:
        return [], []
    return sides[0], sides[1]
