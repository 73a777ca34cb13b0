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

from polymirror.core import upkeep
from polymirror.core.clock import VenueClock
from polymirror.core.effects import CloseSocket, Effect, OpenSocket, Reconnect, Subscribe, Unsubscribe, Vouch
from polymirror.core.events import Transition, Warned
from polymirror.core.hashing import DialectBook, MarketHash
from polymirror.core.market import PAIR, Market
from polymirror.core.messages import (
    Malformed,
    MarketResolved,
    PriceChange,
    Snapshot,
    TickSizeChange,
    Trade,
    decode_frame,
)
from polymirror.core.outbox import Outbox, Want
from polymirror.core.requests import Requests
from polymirror.core.resync import FROM_THE_FUTURE_MS
from polymirror.core.sockets import Socket, Sockets
from polymirror.core.states import BookState, Reason
from polymirror.core.status import Surface
from polymirror.core.timers import Deadlines
from polymirror.core.view import BookView
from polymirror.errors import ConfigError, NotLive, UnitError, UnknownToken

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from random import Random

    from polymirror.config import EngineConfig
    from polymirror.core.checksum import Constants
    from polymirror.core.messages import Rare
    from polymirror.core.token import Token

REPLACE_INTERVAL = 10.0
"""Seconds between two requests of the engine to replace one socket."""

MAX_KINDS = 64
"""Different kinds of ignored or malformed input that are counted by name."""

HARMLESS = frozenset({"last_trade_price", "best_bid_ask", "new_market", "market_resolved"})
"""Kinds that never change a book: reading one wrongly casts no doubt."""


class Engine(Surface):
    """The pure core of a mirror. See the module's docstring for how to drive it."""

    def __init__(self, config: EngineConfig, rng: Random) -> None:
        self.config = config
        self.dialects = DialectBook()
        self.clock = VenueClock()
        self.outbox = Outbox(config, rng, self.dialects)
        self.tokens: dict[str, Token] = {}
        self.markets: dict[str, Market] = {}
        self.sockets = Sockets(config.tokens_per_socket)
        self.counts = self.outbox.counts
        # Counted apart: one more look into a dict for each would cost a hundredth of it.
        self.frames = 0
        # Ignored and malformed input by kind; bounded by MAX_KINDS.
        self.ignored: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._effects: list[Effect] = []
        self._deadlines: Deadlines[Token] = Deadlines()
        # Markets with an open batch, the one that was quiet for longest first.
        self._open: dict[Market, None] = {}
        # All books of the socket were doubted for the frame at hand.
        self._socket_doubted = False
        self.requests = Requests(self.outbox, config.request_timeout)

    # ---- Tokens ------------------------------------------------------------------------------------

    def track(
        self, condition_id: str, asset_ids: Sequence[str], now: float, *, constants: Constants | None = None
    ) -> None:
        """Start to mirror tokens of one market (normally both). Raises ConfigError over ``max_tokens``."""
        fresh = [asset_id for asset_id in dict.fromkeys(asset_ids) if asset_id not in self.tokens]
        if len(self.tokens) + len(fresh) > self.config.max_tokens:
            raise ConfigError("tokens", len(self.tokens) + len(fresh), f"at most max_tokens={self.config.max_tokens}")
        market = self.markets.get(condition_id)
        if len(fresh) + (0 if market is None else len(market.tokens)) > PAIR:
            raise ConfigError("asset_ids", list(asset_ids), "the two tokens of one market")
        if not fresh:
            return
        if market is None:
            hashes = MarketHash(condition_id, self.dialects)
            market = self.markets[condition_id] = Market(condition_id, hashes, self.outbox)
        if constants is not None:
            market.hashes.constants = constants
        socket, new = self.sockets.assign(market, len(fresh))
        for asset_id in fresh:
            token = self.tokens[asset_id] = market.add(asset_id)
            token.since = now
            token.lagging = socket.lagging
            if socket.is_open:
                token.subscribed(now)
        self._effects.append(
            OpenSocket(socket.number, socket.asset_ids) if new else Subscribe(socket.number, tuple(fresh))
        )
        self._settle(now)

    def untrack(self, condition_id: str, now: float) -> None:
        """Forget a market and its tokens."""
        market = self.markets.pop(condition_id, None)
        if market is None:
            raise UnknownToken(condition_id)
        for asset_id, token in market.tokens.items():
            del self.tokens[asset_id]
            self._deadlines.cancel(token)
            self.outbox.books.pop(token, None)
            self.outbox.resubscribe.pop(token, None)
            self.outbox.rearm.pop(token, None)
            self.outbox.dirty.pop(asset_id, None)
        self._open.pop(market, None)
        self._release(market)
        self._settle(now)

    def _release(self, market: Market) -> None:
        number = market.socket
        if number is None:
            return
        emptied = self.sockets.release(market)
        if emptied is not None:
            self._effects.append(CloseSocket(number))
        else:
            self._effects.append(Unsubscribe(number, tuple(market.tokens)))

    # ---- Connections -------------------------------------------------------------------------------

    def connected(self, number: int, now: float) -> None:
        """A socket is open, and its subscription was sent."""
        socket = self.sockets.get(number)
        if socket is None:
            return
        socket.is_open, socket.lag, socket.newest_at = True, None, 0
        for market in socket.markets.values():
            for token in market.tokens.values():
                if token.state is not BookState.RETIRED:
                    token.subscribed(now)
        self._settle(now)

    def disconnected(self, number: int, now: float, why: str = "", *, resolved: bool = False) -> None:
        """A socket is lost. ``resolved``: the venue closed it because all its markets are resolved."""
        socket = self.sockets.get(number)
        if socket is None:
            return
        socket.is_open = socket.lagging = False
        for market in tuple(socket.markets.values()):
            for token in market.tokens.values():
                if resolved and token.resync.had_book:
                    token.retire(Reason.RESOLVED, now)
                elif token.state is not BookState.RETIRED:
                    token.disconnected(now, why)
            self._open.pop(market, None)
            market.drop_batch()
        self._settle(now)

    def overflow(self, number: int, now: float) -> None:
        """Frames of a socket had to be dropped: every book on it is in doubt."""
        self._suspect_socket(number, Reason.OVERFLOW, now, "")
        self._settle(now)

    def receive(self, number: int, data: bytes | str, now: float, read_at: float | None = None) -> None:
        """Take one frame of a socket.

        ``read_at`` is when it was read from the socket, if it had to wait since (default: now): proofs that rest on
        it are as old as that.
        """
        self.frames += 1
        socket = self.sockets.by_number.get(number)
        if socket is None or not socket.is_open:
            self.counts["orphaned"] += 1
            return
        self._socket_doubted = False
        for message in decode_frame(data):
            if not isinstance(message, PriceChange):
                self._rare(socket, message, now, read_at)
                continue
            market, at = self.markets.get(message.market), message.at_ms
            if market is None or market.socket != number:
                self.counts["untracked"] += len(message.price_changes or ())
                continue
            low = self.clock.low
            lag = -1.0 if low is None or now >= self.clock.fresh_until else now - (at - low) / 1000.0
            if 0.0 <= lag <= self.config.max_apply_lag and socket.newest_at <= at and not socket.lagging:
                # The usual frame moves no bound and changes no state.
                socket.newest_at, socket.lag, socket.lag_at = at, lag, now
            else:
                self._take_lag(socket, at, now)
            try:
                checked = market.deltas(message, now, read_at)
            except UnitError as error:
                checked = False
                self._bad_entry(socket, market, message, str(error), now)
            if not checked:
                self._note_batch(market)
            elif self._open:
                self._open.pop(market, None)
        outbox = self.outbox
        if outbox.rearm or outbox.fresh or outbox.resubscribe or now >= self.requests.due:
            self._settle(now)

    def _bad_entry(self, socket: Socket, market: Market, message: PriceChange, detail: str, now: float) -> None:
        market.drop_batch()
        ids = tuple(change.asset_id for change in message.price_changes or ())
        self._malformed(socket, Malformed("price_change", detail, message.market, ids), now)

    def _rare(self, socket: Socket, message: Rare, now: float, read_at: float | None) -> None:
        """Take any message but a price change."""
        if isinstance(message, Snapshot):
            self.counts["snapshots"] += 1
            self._take_book(socket, message, now, read_at)
        elif isinstance(message, Malformed):
            self._malformed(socket, message, now)
        elif isinstance(message, Trade):
            market = self.markets.get(message.market)
            if market is not None:
                market.hashes.traded(message.price)
        elif isinstance(message, TickSizeChange):
            market = self.markets.get(message.market)
            if market is not None:
                market.tick_size(message, now)
        elif isinstance(message, MarketResolved):
            market = self.markets.get(message.market)
            if market is not None:
                self._retire(market, Reason.RESOLVED, now)
        else:
            self.counts["ignored"] += 1
            count_kind(self.ignored, message.kind)

    def _take_book(self, socket: Socket, message: Snapshot, now: float, read_at: float | None) -> None:
        market = self.markets.get(message.market)
        if market is None or market.socket != socket.number:
            self.counts["untracked"] += 1
            return
        try:
            market.whole_book(message, now, read_at)
        except UnitError as error:
            self._malformed(socket, Malformed("book", str(error), message.market, (message.asset_id,)), now)
        self._note_batch(market)

    def _note_batch(self, market: Market) -> None:
        # At the end: the batch that was quiet for longest is the first to be closed by time.
        self._open.pop(market, None)
        if market.batch_at:
            self._open[market] = None

    def _take_lag(self, socket: Socket, at: int, now: float) -> None:
        if socket.newest_at - FROM_THE_FUTURE_MS < at < socket.newest_at:
            # Late in its own order (a duplicate, say): that is not the socket's lag.
            return
        socket.lag, socket.lag_at = self.clock.frame(at, now), now
        if not self.clock.doubted:
            # Else every right frame would be late in its own order from now on, and its lag unknown.
            socket.newest_at = at
        if (socket.lag > self.config.max_apply_lag) is not socket.lagging:
            self._toggle_lagging(socket, now)

    def _toggle_lagging(self, socket: Socket, now: float) -> None:
        socket.lagging = not socket.lagging
        for market in socket.markets.values():
            for token in market.tokens.values():
                token.lagging = socket.lagging
                if socket.lagging:
                    token.doubt(Reason.APPLY_LAG, now, f"{socket.lag:.3f} s")

    def _malformed(self, socket: Socket, message: Malformed, now: float) -> None:
        """Count what could not be read, and doubt only the books that it could have touched."""
        self.counts["malformed"] += 1
        count_kind(self.malformed, message.kind)
        self.outbox.events.append(Warned(now, f"malformed {message.kind}", message.detail))
        if message.kind in HARMLESS:
            return
        named = [self.tokens[asset_id] for asset_id in message.asset_ids if asset_id in self.tokens]
        market = self.markets.get(message.market)
        if message.asset_ids or message.market:
            # A message about one token says the same about its complement.
            for token in dict.fromkeys([*named, *(market.tokens.values() if market else ())]):
                token.missed_input(Reason.DECODE_ERROR, now, message.detail)
        elif not self._socket_doubted:
            # Once a frame: a hostile one may have thousands of elements.
            self._socket_doubted = True
            self._suspect_socket(socket.number, Reason.DECODE_ERROR, now, message.detail)

    def _suspect_socket(self, number: int, reason: Reason, now: float, detail: str) -> None:
        socket = self.sockets.get(number)
        if socket is None:
            return
        for market in socket.markets.values():
            for token in market.tokens.values():
                token.missed_input(reason, now, detail)

    def _retire(self, market: Market, reason: Reason, now: float) -> None:
        for token in market.tokens.values():
            token.retire(reason, now)

    # ---- REST --------------------------------------------------------------------------------------

    def books(self, request: int, books: Mapping[str, Snapshot], now: float, failed: Container[str] = ()) -> None:
        """Take the answer to a :class:`FetchBooks`.

        A token that is neither in it nor in ``failed`` (no answer for it) is unknown to the venue.
        """
        asked = self.requests.answered(request)
        if asked is None:
            self.counts["late_answers"] += 1
            return
        vouched: dict[int | None, None] = {}
        for token, generation in asked.tokens:
            asset_id = token.asset_id
            if self.tokens.get(asset_id) is not token:
                # Untracked meanwhile, and perhaps tracked anew.
                continue
            if token.generation != generation:
                # Asked before the book was cleared, replaced or subscribed anew: says nothing now.
                self.counts["outdated_answers"] += 1
                token.resync.failed(now)
            elif asset_id in failed:
                token.resync.failed(now)
            elif asset_id not in books:
                token.resync.absent(now)
            elif token.resync.answer(books[asset_id], asked.sent_at, now):
                vouched[self.markets[token.hashes.market].socket] = None
        self._effects.extend(Vouch(socket) for socket in vouched if socket is not None)
        self._settle(now)

    def books_failed(self, request: int, now: float) -> None:
        """The request could not be answered: those who wait for a baseline back off."""
        asked = self.requests.answered(request)
        if asked is None:
            return
        self.counts["failed_requests"] += 1
        for token, _ in asked.tokens:
            if self.tokens.get(token.asset_id) is token:
                token.resync.failed(now)
        self._settle(now)

    def prove(self, asset_id: str, now: float) -> None:
        """Ask for a full-depth proof of one token's book by REST, now."""
        self.outbox.want(self._token(asset_id), Want.URGENT)
        self._settle(now)

    def resync(self, asset_id: str, now: float) -> None:
        """Throw the book away and build it anew."""
        self._token(asset_id).start_resync(Reason.REQUESTED, now, gap=False)
        self._settle(now)

    # ---- Time --------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """Return when :meth:`tick` should be called next; infinity: no need."""
        due = min(self._deadlines.next(), self.requests.next_due())
        for market in self._open:
            # The first was quiet for longest.
            return min(due, market.heard_at + self.config.batch_window)
        return due

    def tick(self, now: float) -> None:
        """Do everything that is due."""
        window = self.config.batch_window
        while self._open:
            market = next(iter(self._open))
            if now < market.heard_at + window:
                break
            del self._open[market]
            market.close(now, definite=False)
        for socket in self.sockets.all():
            if socket.lagging and now >= socket.lag_at + self.config.max_apply_lag:
                # Nothing came since, so nothing is waiting to be applied any more.
                self._toggle_lagging(socket, now)
        for token in tuple(self._deadlines.pop_due(now)):
            upkeep.on_time(token, now)
            self.outbox.rearm[token] = None
        for request in self.requests.overdue(now):
            self.books_failed(request, now)
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Turn what an input left in the outbox into deadlines and effects."""
        outbox = self.outbox
        if outbox.rearm:
            for token in outbox.rearm:
                self._deadlines.set(token, upkeep.next_due(token))
                if token.state is BookState.RETIRED:
                    self._drop_retired(token)
            outbox.rearm.clear()
        if outbox.resubscribe:
            self._resubscribe(now)
        if self.requests.needed(now):
            self._effects.extend(self.requests.make(now))

    def _drop_retired(self, token: Token) -> None:
        market = self.markets.get(token.hashes.market)
        if market is not None and all(each.state is BookState.RETIRED for each in market.tokens.values()):
            self._open.pop(market, None)
            self._release(market)

    def _resubscribe(self, now: float) -> None:
        tokens, self.outbox.resubscribe = self.outbox.resubscribe, {}
        markets = dict.fromkeys(self.markets[token.hashes.market] for token in tokens)
        failing = {self.markets[token.hashes.market].socket for token in tokens if token.resync.needs_new_socket}
        for market, socket in [(each, self.sockets[each.socket]) for each in markets if each.socket is not None]:
            if socket.number in failing and now >= socket.replaced_at + REPLACE_INTERVAL:
                socket.replaced_at = now
                self._effects.append(Reconnect(socket.number, "resubscribing did not help"))
            else:
                self._effects.append(Unsubscribe(socket.number, tuple(market.tokens)))
                self._effects.append(Subscribe(socket.number, tuple(market.tokens)))

    # ---- Output ------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """Drain what the shell must do, in order."""
        drained, self._effects = self._effects, []
        return drained

    def events(self) -> list[Transition | Warned]:
        """Drain what happened, in order."""
        drained, self.outbox.events = self.outbox.events, []
        return drained

    def dirty(self) -> tuple[str, ...]:
        """Drain the tokens whose readable view may have changed."""
        if not self.outbox.dirty:
            return ()
        drained = tuple(self.outbox.dirty)
        self.outbox.dirty.clear()
        return drained

    # ---- Reading -----------------------------------------------------------------------------------

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book: the only read for execution.

        Raises NotLive unless the book is LIVE and was proven no longer than ``max_proof_age`` seconds
        ago (never more than the configured age), and UnknownToken for a token that is not tracked.
        """
        token = self._token(asset_id)
        limit = self.config.max_proof_age
        if max_proof_age is not None and not max_proof_age >= limit:
            # Turned round so that an age that is no number refuses instead of meaning the default.
            limit = max_proof_age
        proof = token.proof
        if token.state is BookState.LIVE and proof is not None and now - proof.at <= limit:
            return self._view(token, now)
        raise self.refusal(asset_id, now, limit)

    def refusal(self, asset_id: str, now: float, limit: float | None = None, detail: str = "") -> NotLive:
        """Return the error that says why a token's book may not be read."""
        token = self._token(asset_id)
        age = None if token.proof is None else now - token.proof.at
        reason = Reason.STALE if token.state is BookState.LIVE and limit is not None else token.reason
        return NotLive(asset_id, token.state, reason, age, token.epoch, limit, detail)

    def peek_state(self, asset_id: str) -> BookState:
        """Return a token's state. Raises UnknownToken."""
        return self._token(asset_id).state

    def peek(self, asset_id: str, now: float) -> BookView:
        """Return a view whatever the state, for display and diagnosis. Never for execution."""
        return self._view(self._token(asset_id), now)

    def _view(self, token: Token, now: float) -> BookView:
        socket = None if (number := self.markets[token.hashes.market].socket) is None else self.sockets.get(number)
        return BookView(
            token=token.asset_id, market=token.hashes.market, state=token.state, reason=token.reason,
            epoch=token.epoch, settled=token.unproven == 0, exchange_ms=token.proven_at_ms,
            apply_lag=None if socket is None else socket.lag, read_at=now,
            proven_at=None if token.proof is None else token.proof.at, last_proof=token.proof,
            tick_size=token.tick_size, levels=token.proven_levels(),
        )  # fmt: skip

    def _token(self, asset_id: str) -> Token:
        token = self.tokens.get(asset_id)
        if token is None:
            raise UnknownToken(asset_id)
        return token

    def states(self) -> Iterable[tuple[str, BookState]]:
        """Yield every token with its state."""
        return ((asset_id, token.state) for asset_id, token in self.tokens.items())


def count_kind(counts: Counter[str], kind: str) -> None:
    """Count input by kind; beyond MAX_KINDS kinds, new ones are counted together."""
    counts[kind if kind in counts or len(counts) < MAX_KINDS else "others"] += 1
