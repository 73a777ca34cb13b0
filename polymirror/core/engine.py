"""The engine: all tokens and sockets of a mirror, without any I/O.

Inputs are methods that take ``now`` (seconds on one monotonic clock): frames, connections coming and going,
REST answers, the passing of time. Consequences are drained: :meth:`Engine.effects` (what the shell must do),
:meth:`Engine.events` (what people may want to know), :meth:`Engine.dirty` (whose readable view changed), and
:meth:`Engine.next_deadline` (when to call :meth:`Engine.tick`). The same inputs at the same times give the
same consequences. Shells are :mod:`polymirror.mirror` (asyncio), the replayer and the virtual-time simulation.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import evolve

from polymirror.core.carriage import Carriage
from polymirror.core.clock import VenueClock
from polymirror.core.dialects import DialectBook
from polymirror.core.effects import Effect, Vouch
from polymirror.core.harm import Harm, count_kind, suspect
from polymirror.core.hashing import MarketHash
from polymirror.core.images import Images
from polymirror.core.lags import Lags
from polymirror.core.market import Market
from polymirror.core.messages import (
    Ignored,
    Malformed,
    PriceChange,
    Snapshot,
    TickSizeChange,
    Trade,
    decode_frame,
)
from polymirror.core.outbox import Outbox, Want
from polymirror.core.reads import Reads
from polymirror.core.requests import Requests
from polymirror.core.sockets import Socket, Sockets
from polymirror.core.states import BookState, Reason
from polymirror.core.timers import Deadlines
from polymirror.core.tracking import fresh_tokens
from polymirror.errors import UnitError, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.checksum import Constants
    from polymirror.core.events import Event
    from polymirror.core.fees import FeeSchedule
    from polymirror.core.lanes import Lane
    from polymirror.core.messages import Rare
    from polymirror.core.token import Token

SAMPLE_SECONDS = 60.0
"""Seconds between samples of the venue's clock, unless told otherwise."""

STALLED_SECONDS = 0.05
"""A deadline that is overdue by this much shows that the program stood still, if the venue's clock is not known yet."""

SAMPLE_IN_DOUBT = 3.0
"""Seconds between samples of the venue's clock while books are in doubt: a wrong one may be the reason."""

DOUBTED = (BookState.SUSPECT, BookState.RESYNCING)

_NEVER = float("-inf")


class Engine(Reads):
    """The pure core of a mirror. See the module's docstring for how to drive it."""

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        self.config = config
        self.dialects: DialectBook = DialectBook()
        self.clock: VenueClock = VenueClock()
        self.outbox: Outbox = Outbox(config, rng, self.clock)
        self.tokens: dict[str, Token] = {}
        self.markets: dict[str, Market] = {}
        self.sockets: Sockets = Sockets(config.tokens_per_socket)
        self.counts: Counter[str] = self.outbox.counts
        # Counted apart: one more look into a dict for each would cost a hundredth of it.
        self.frames: int = 0
        # Ignored and malformed input by kind; bounded by MAX_KINDS.
        self.ignored: Counter[str] = Counter()
        self._harm = Harm(self.tokens, self.markets, self.outbox)
        self.malformed: Counter[str] = self._harm.malformed
        # Reads that were refused, by token.
        self.refused: Counter[str] = Counter()
        self._effects: list[Effect] = []
        self._carriage = Carriage(self.markets, self.sockets, self.outbox, self._effects)
        self._deadlines: Deadlines[str] = Deadlines()
        # Markets with an open batch, the one that was quiet for longest first.
        self._open: dict[Market, None] = {}
        self._images = Images()
        self._lags = Lags(self.markets, self.outbox, config.max_apply_lag)
        self.requests: Requests = Requests(self.outbox, self.tokens, config.request_timeout)
        # Seconds that the caller's clock stood still, and when it was noticed last: inside, time goes on (D6).
        self._slept = 0.0
        self._woke_at = _NEVER

    # ---- Tokens ------------------------------------------------------------------------------------

    def track(
        self,
        condition_id: str,
        asset_ids: Sequence[str],
        now: float,
        *,
        constants: Constants | None = None,
        fee: FeeSchedule | None = None,
    ) -> None:
        """Start to mirror tokens of one market (normally both). Its views carry the ``fee`` terms, if they are given.

        Raises ConfigError over ``max_tokens``, and for a token that another market has.
        """
        now += self._slept
        market = self.markets.get(condition_id)
        fresh = fresh_tokens(condition_id, asset_ids, self.tokens, market, self.config.max_tokens)
        if not fresh:
            return
        if market is None:
            hashes = MarketHash(condition_id, self.dialects)
            market = self.markets[condition_id] = Market(condition_id, hashes, self.outbox)
        if constants is not None:
            market.hashes.constants = constants
        if fee is not None:
            market.fee = fee
        for asset_id in fresh:
            token = self.tokens[asset_id] = market.add(asset_id)
            token.since, token.lagging = now, market.lagging
        self._carriage.assign(market, fresh, now)
        self._settle(now)

    def untrack(self, condition_id: str, now: float) -> None:
        """Forget a market and its tokens."""
        market = self.markets.pop(condition_id, None)
        if market is None:
            raise UnknownToken(condition_id)
        for asset_id in market.tokens:
            del self.tokens[asset_id]
            self._deadlines.cancel(asset_id)
            self.refused.pop(asset_id, None)
        self.outbox.forget(condition_id, market.tokens)
        market.hashes.forget()
        self.requests.forget(market.tokens)
        self._open.pop(market, None)
        self._images.forget(market)
        self._lags.forget(market)
        self._carriage.release(market)
        self._settle(now + self._slept)

    # ---- Connections -------------------------------------------------------------------------------

    def connected(self, number: int, now: float, *, asked_at: float | None = None, lane: int = 0) -> None:
        """A connection of a socket is open, and its subscription was sent, at ``asked_at`` if not now.

        ``lane`` tells the two connections of a hedged socket apart: the second is one more, nothing is lost or begun.
        """
        asked_at = (now if asked_at is None else asked_at) + self._slept
        now += self._slept
        socket = self.sockets.get(number)
        if socket is None:
            return
        self._carriage.opened(socket, lane, asked_at, now)
        self._settle(now)

    def disconnected(self, number: int, now: float, why: str = "", *, resolved: bool = False, lane: int = 0) -> None:
        """A connection of a socket is lost: its books are, unless another ``lane`` of it is open.

        ``resolved``: the venue says that all its markets are. A reason to ask Gamma, no evidence: it names none.
        """
        now += self._slept
        socket = self.sockets.get(number)
        if socket is None:
            return
        if resolved:
            self.outbox.ask_gamma.update(dict.fromkeys(socket.markets))
        for market in self._carriage.closed(socket, lane, why, now):
            self._lags.forget(market)
            self._open.pop(market, None)
            market.drop_batch()
        self._settle(now)

    def unreachable(self, number: int, why: str, now: float, *, lane: int = 0) -> None:
        """An attempt to open a connection failed. Until one succeeds, refused reads and the status say why."""
        socket = self.sockets.get(number)
        if socket is not None and lane not in socket.lanes:
            socket.troubles[lane] = why
        self._settle(now + self._slept)

    def overflow(self, number: int, now: float) -> None:
        """Frames of a socket had to be dropped: every book on it is in doubt."""
        now += self._slept
        socket = self.sockets.get(number)
        if socket is not None:
            suspect(socket, Reason.OVERFLOW, now, "")
        self._settle(now)

    def gap(self, seconds: float, now: float) -> None:
        """The caller's clock stood still for ``seconds`` (a suspended machine), which was noticed now (D6).

        They are added to the age of every proof, and all books are probed.
        """
        self._slept += seconds
        self._woke_at = now
        now += self._slept
        self.clock.woke(now)
        self.outbox.warn("gap", f"this program slept for {seconds:.3f} s: all books are probed", now)
        for asset_id, token in self.tokens.items():
            if token.state is not BookState.RETIRED:
                self.outbox.want(asset_id, Want.URGENT)
                self.outbox.rearm[asset_id] = None
        self._settle(now)

    def receive(  # noqa: C901, PLR0912 - a call for its parts would cost more than they do
        self, number: int, data: bytes | str, now: float, read_at: float | None = None, lane: int = 0
    ) -> None:
        """Take one frame of a socket, from one of its connections.

        ``read_at``: when it was read from the socket (default: now). Proofs that rest on it are at least as old.
        """
        self.frames += 1
        socket = self.sockets.by_number.get(number)
        if socket is None or (way := socket.lanes.get(lane)) is None:
            self.counts["orphaned"] += 1
            return
        heard_at = (now if read_at is None else read_at) + self._slept
        now += self._slept
        hedged = socket.lanes.hedged
        if hedged:
            if socket.lanes.failing is not None:
                self._carriage.replace_failing(socket, now)
            if socket.lanes.is_echo(data, way, heard_at):
                self.counts["echoes"] += 1
                return
        clock, max_lag = self.clock, self.config.max_apply_lag
        if clock.low is None and now > self._due() + STALLED_SECONDS:
            # This program stood still, and nothing tells yet how old what waited is.
            clock.woke(now)
        for message in decode_frame(data):
            if not isinstance(message, PriceChange):
                self._rare(socket, message, heard_at, now, way)
                continue
            market, at_ms = self.markets.get(message.market), message.at_ms
            if market is None or market.socket != number:
                self.counts["untracked"] += len(message.price_changes or ())
                continue
            # Both are set by a frame, and until then nothing is fresh.
            if (
                now < clock.fresh_until
                and market.newest_ms <= at_ms
                and not market.lagging
                and 0.0 <= (lag := now - (as_of := (at_ms - clock.low) / 1000.0)) <= max_lag  # type: ignore[operator]
            ):
                # The usual frame moves no bound and changes no state.
                market.newest_ms, market.lag, market.lag_at = at_ms, lag, now
                if as_of > heard_at:  # noqa: PLR1730 - min() is a call, and this is the hot path
                    as_of = heard_at
            else:
                as_of = self._lags.date(market, at_ms, heard_at, now)
            if hedged:
                socket.lanes.note(data, market, way, heard_at, at_ms)
            try:
                if market.deltas(message, as_of, now, heard_at):
                    if self._open:
                        self._open.pop(market, None)
                    if market.turn == 1:
                        self._images.note(market, now)
                    continue
            except UnitError as error:
                self._bad_entry(socket, market, message, str(error), now)
            self._note_batch(market)
        outbox = self.outbox
        if outbox.rearm or outbox.fresh or now >= self.requests.due:
            self._settle(now)

    def _bad_entry(self, socket: Socket, market: Market, message: PriceChange, detail: str, now: float) -> None:
        market.drop_batch()
        ids = tuple(change.asset_id for change in message.price_changes or ())
        self._harm.take(socket, Malformed("price_change", detail, message.market, ids), now, frame=self.frames)

    def _rare(self, socket: Socket, message: Rare, heard_at: float, now: float, lane: Lane) -> None:
        """Take any message but a price change."""
        if isinstance(message, Snapshot):
            self.counts["snapshots"] += 1
            self._take_snapshot(socket, message, heard_at, now, lane)
        elif isinstance(message, Malformed):
            self._harm.take(socket, message, now, frame=self.frames)
        elif isinstance(message, Ignored):
            self.counts["ignored"] += 1
            count_kind(self.ignored, message.kind)
        elif (market := self.markets.get(message.market)) is not None:
            self.outbox.announce(message, market.tokens, now)
            if isinstance(message, Trade):
                market.traded(message.price, now)
            elif isinstance(message, TickSizeChange):
                market.tick_size(message, now)
            else:
                self._carriage.retire(market, Reason.RESOLVED, message.timestamp_ms, now)

    def _take_snapshot(self, socket: Socket, message: Snapshot, heard_at: float, now: float, lane: Lane) -> None:
        market = self.markets.get(message.market)
        if market is None or market.socket != socket.number:
            self.counts["untracked"] += 1
            return
        try:
            market.whole_book(message, heard_at, now, lane)
        except UnitError as error:
            bad = Malformed("book", str(error), message.market, (message.asset_id,))
            self._harm.take(socket, bad, now, frame=self.frames)
        self._note_batch(market)

    def _note_batch(self, market: Market) -> None:
        # At the end: the one quiet for longest is the first to be closed by time.
        self._open.pop(market, None)
        if market.batch_ms:
            self._open[market] = None

    # ---- The end of a market, and its return -------------------------------------------------------

    def market_status(self, condition_id: str, closed: bool | None, now: float) -> None:  # noqa: FBT001
        """Take the answer to :class:`AskGamma`: whether the market is closed; None: nobody could tell."""
        now += self._slept
        market = self.markets.get(condition_id)
        if market is not None and closed:
            self._carriage.retire(market, Reason.CLOSED, self.clock.now_ms(now), now)
        elif market is not None and closed is not None:
            market.denied += 1
        self._settle(now)

    # ---- REST --------------------------------------------------------------------------------------

    def books(
        self, request: int, books: Mapping[str, Snapshot], now: float, failed: Container[str] = (), why: str = ""
    ) -> None:
        """Take the answer to a :class:`FetchBooks`.

        A token that is neither in it nor in ``failed`` (no answer for it, and ``why``) is unknown to the venue.
        """
        now += self._slept
        self.requests.trouble = why
        asked = self.requests.answered(request)
        if asked is None:
            self.counts["late_answers"] += 1
            return
        vouched: dict[int | None, None] = {}
        for token, generation, doubts in asked.tokens:
            if self.tokens.get(asset_id := token.asset_id) is not token:
                continue  # Untracked meanwhile, and perhaps tracked anew.
            book = books.get(asset_id)
            if token.proven.generation != generation:
                # Asked before the book was cleared, replaced or subscribed anew: says nothing now.
                self.counts["outdated_answers"] += 1
                if book is not None:
                    token.resync.overhear(book, now)
                token.resync.failed(now)
            elif asset_id in failed:
                token.resync.failed(now)
            elif book is None:
                token.resync.absent(now)
            elif token.resync.answer(book, asked.sent_at, doubts, now):
                vouched[self.markets[token.market_id].socket] = None
                # Else its timer comes for nothing; and after 500 others the caches have forgotten it.
                self._deadlines.set(asset_id, token.next_due())
        self._effects.extend(Vouch(socket) for socket in vouched if socket is not None)
        self._settle(now)

    def books_failed(self, request: int, now: float, why: str = "no answer") -> None:
        """The request could not be answered: those who wait for a baseline back off."""
        self._books_failed(request, now + self._slept, why)
        self._settle(now + self._slept)

    def _books_failed(self, request: int, now: float, why: str) -> None:
        self.requests.trouble = why
        asked = self.requests.answered(request)
        self.counts["failed_requests"] += asked is not None
        for token, _, _ in () if asked is None else asked.tokens:
            if self.tokens.get(token.asset_id) is token:
                token.resync.failed(now)

    def prove(self, asset_id: str, now: float) -> None:
        """Ask REST for a full-depth proof of one token's book, now."""
        if self._token(asset_id).state is not BookState.RETIRED:
            self.outbox.want(asset_id, Want.URGENT)
        self._settle(now + self._slept)

    def resync(self, asset_id: str, now: float) -> None:
        """Throw the book away and build it anew. Does nothing while it is being built anew."""
        now += self._slept
        token = self._token(asset_id)
        if token.proven.loaded or token.state is not BookState.RESYNCING:
            token.start_resync(Reason.REQUESTED, now, gap=False)
        self._settle(now)

    # ---- Time --------------------------------------------------------------------------------------

    def server_time(self, seconds: int, sent: float, received: float) -> None:
        """Take a ``/time`` answer: the venue's whole seconds, asked at ``sent``, answered at ``received``."""
        if sent < self._woke_at:
            # The program slept in between: nobody knows how long it took.
            return
        self.clock.server_time(seconds, sent + self._slept, received + self._slept)
        self._lags.follow_clock(received + self._slept)

    def time_asked(self, now: float) -> None:
        """Note that ``/time`` is asked now."""
        self.clock.sampled(now + self._slept)

    def next_time_sample(self, now: float, interval: float = SAMPLE_SECONDS) -> float:
        """Return when to ask ``/time`` next: ``interval`` seconds after the last time at the latest.

        Around the second's edge while that narrows the clock's interval, soon while it or books are in doubt.
        """
        due = self.clock.next_sample(now + self._slept, interval)
        if any(token.state in DOUBTED for token in self.tokens.values()):
            due = min(due, self.clock.sampled_at + SAMPLE_IN_DOUBT)
        return due - self._slept

    def next_deadline(self) -> float:
        """Return when :meth:`tick` should be called next; infinity: no need."""
        return self._due() - self._slept

    def _due(self) -> float:
        due = min(self._deadlines.next(), self.requests.next_due(), self._images.next_try())
        # The first was quiet for longest.
        first = next(iter(self._open), None)
        return due if first is None else min(due, first.heard_at + self.config.batch_window)

    def tick(self, now: float) -> None:
        """Do everything that is due."""
        due = self._due()
        # What was promised for now must be due, to the last digit.
        now = max(now + self._slept, due) if now >= due - self._slept else now + self._slept
        while self._open:
            market = next(iter(self._open))
            if now < market.heard_at + self.config.batch_window:
                break
            del self._open[market]
            market.close(now, definite=False)
        self._images.on_time(now)
        self._lags.pass_time(now)
        for asset_id in tuple(self._deadlines.pop_due(now)):
            self.tokens[asset_id].on_time(now)
            self.outbox.rearm[asset_id] = None
        for request in self.requests.overdue(now):
            self._books_failed(request, now, f"no answer within {self.config.request_timeout:g} s")
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Turn what an input left in the outbox into deadlines and effects."""
        outbox = self.outbox
        if outbox.revive:
            self._carriage.revive(now)
        if outbox.rearm:
            for asset_id in outbox.rearm:
                token = self.tokens[asset_id]
                self._deadlines.set(asset_id, token.next_due())
                if token.state is BookState.RETIRED:
                    self._drop_retired(self.markets[token.market_id])
            outbox.rearm.clear()
        if outbox.resubscribe:
            self._carriage.resubscribe(now)
        if outbox.ask_gamma:
            self._carriage.ask_gamma(now)
        if self.requests.needed(now):
            self._effects.extend(self.requests.make(now))

    def _drop_retired(self, market: Market) -> None:
        if all(each.state is BookState.RETIRED for each in market.tokens.values()):
            self._open.pop(market, None)
            self._lags.forget(market)
            self._carriage.release(market)

    # ---- Output ------------------------------------------------------------------------------------

    def listen(self, *, wanted: bool) -> None:
        """Have trades, tick sizes and resolutions among the events from now on, or no more."""
        self.outbox.announcements.wanted = wanted

    def effects(self) -> list[Effect]:
        """Drain what the shell must do, in order."""
        drained = self._effects.copy()
        self._effects.clear()
        return drained

    def events(self) -> list[Event]:
        """Drain what happened, in order."""
        drained, self.outbox.events = self.outbox.events, []
        return [evolve(event, at=event.at - self._slept) for event in drained] if self._slept else drained

    def dirty(self) -> tuple[str, ...]:
        """Drain the tokens whose readable view may have changed."""
        if not self.outbox.dirty:
            return ()
        drained = tuple(self.outbox.dirty)
        self.outbox.dirty.clear()
        return drained
