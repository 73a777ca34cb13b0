"""Which socket carries which market, when it is subscribed anew, and how a market ends and comes back.

The engine calls here once its tokens have decided; what comes out are effects. Retirement needs evidence that names
the market: ``market_resolved``, or Gamma saying that it is closed. All else (a close frame, 404s, answers without
it, an emptied book) is a reason to ask Gamma. A retired market is looked at now and then, and is mirrored again when
it shows life. Times in seconds on the mirror's monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polymirror.core.effects import AskGamma, CloseSocket, OpenSocket, Reconnect, Subscribe, Unsubscribe
from polymirror.core.states import BookState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polymirror.core.effects import Effect
    from polymirror.core.market import Market
    from polymirror.core.outbox import Outbox
    from polymirror.core.sockets import Socket, Sockets
    from polymirror.core.states import Reason

REPLACE_INTERVAL: Final = 10.0
"""Seconds between two requests of the engine to replace one socket."""

ASK_GAMMA_SECONDS: Final = 5.0
"""Seconds after which Gamma is asked again whether a market is closed, doubled with each time it says no,"""

ASK_GAMMA_CAP: Final = 60.0
"""up to this many."""


class Carriage:
    """The subscriptions of all markets."""

    def __init__(self, markets: Mapping[str, Market], sockets: Sockets, outbox: Outbox, effects: list[Effect]) -> None:
        self._markets = markets
        self._sockets = sockets
        self._outbox = outbox
        self._effects = effects

    def assign(self, market: Market, asset_ids: Sequence[str], now: float) -> None:
        """Have tokens of a market carried by a socket."""
        socket, new = self._sockets.assign(market, len(asset_ids))
        for asset_id in asset_ids if socket.is_open else ():
            market.tokens[asset_id].subscribed(now, now, *list(socket.lanes))
        number = socket.number
        self._effects.append(OpenSocket(number, socket.asset_ids) if new else Subscribe(number, tuple(asset_ids)))

    # ---- Connections -------------------------------------------------------------------------------

    def opened(self, socket: Socket, lane: int, asked_at: float, now: float) -> None:
        """A connection is open and subscribed: the first begins everything anew, the second is only one more."""
        first = not socket.is_open
        socket.lanes.opened(lane)
        socket.troubles.pop(lane, None)
        for market in socket.markets.values():
            if first:
                market.lag, market.newest_ms = None, 0
            for token in market.tokens.values():
                if first and token.state is not BookState.RETIRED:
                    token.subscribed(now, asked_at, lane)
                elif not first:
                    token.questions.ask(asked_at, lane)

    def closed(self, socket: Socket, lane: int, why: str, now: float) -> tuple[Market, ...]:
        """A connection is lost; return the markets that nothing carries now: their books may be outdated."""
        socket.lanes.closed(lane)
        socket.troubles[lane] = why
        if socket.is_open:
            # No book is doubted, so nothing else tells that it stands on one leg (P7).
            self._outbox.warn("connection lost", f"socket {socket.number}.{lane}: {why}; its twin goes on alone", now)
        markets = tuple(socket.markets.values())
        for token in [token for market in markets for token in market.tokens.values()]:
            if socket.is_open:
                token.questions.lost(lane)
            elif token.state is not BookState.RETIRED:
                token.disconnected(now, why)
        return () if socket.is_open else markets

    def replace_failing(self, socket: Socket, now: float) -> None:
        """Have the lane of a hedged socket replaced that does worse than its twin."""
        failing, socket.lanes.failing = socket.lanes.failing, None
        if failing is not None and now >= socket.replaced_at + REPLACE_INTERVAL:
            lane, why = failing
            self._outbox.warn("connection replaced", f"socket {socket.number}.{lane}: {why}", now)
            self._replace(socket, lane, why, now)

    # ---- Markets -----------------------------------------------------------------------------------

    def release(self, market: Market) -> None:
        """Have a market carried no more."""
        number = market.socket
        if number is None:
            return
        emptied = self._sockets.release(market)
        self._effects.append(CloseSocket(number) if emptied is not None else Unsubscribe(number, tuple(market.tokens)))

    def resubscribe(self, now: float) -> None:
        """Subscribe the markets anew that wish for it; a socket on which that did not help is replaced."""
        wanted = tuple(self._outbox.resubscribe)
        self._outbox.resubscribe.clear()
        markets = [self._markets[condition_id] for condition_id in wanted]
        failing = {
            market.socket
            for market in markets
            if any(token.resync.needs_new_socket for token in market.tokens.values())
        }
        for market, socket in [(each, self._sockets[each.socket]) for each in markets if each.socket is not None]:
            if socket.number in failing and now >= socket.replaced_at + REPLACE_INTERVAL:
                # Of two, the one that was not replaced last.
                lane = next((each for each in socket.lanes if each != socket.replaced), 0)
                self._replace(socket, lane, "resubscribing did not help", now)
            else:
                self._effects.append(Unsubscribe(socket.number, tuple(market.tokens)))
                self._effects.append(Subscribe(socket.number, tuple(market.tokens)))
                for token in market.tokens.values():
                    for lane in socket.lanes:
                        token.questions.ask(now, lane)

    def _replace(self, socket: Socket, lane: int, why: str, now: float) -> None:
        """Have one connection of a socket replaced."""
        socket.replaced_at, socket.replaced = now, lane
        self._effects.append(Reconnect(socket.number, why, lane))

    # ---- The end of a market, and its return -------------------------------------------------------

    def ask_gamma(self, now: float) -> None:
        """Ask whether markets are closed that give reason to; the same one not too often."""
        asked = tuple(self._outbox.ask_gamma)
        self._outbox.ask_gamma.clear()
        for condition_id in asked:
            market = self._markets[condition_id]
            if now >= market.asked_at + min(ASK_GAMMA_CAP, ASK_GAMMA_SECONDS * 2 ** min(market.denied, 10)):
                market.asked_at = now
                self._effects.append(AskGamma(condition_id))

    def retire(self, market: Market, reason: Reason, since_ms: int, now: float) -> None:
        """A market is over, by evidence of exchange time ``since_ms``: what is newer is life."""
        for token in market.tokens.values():
            newest_ms = max(since_ms, token.proven.floor_ms)
            token.retire(reason, now)
            token.resync.retired(now, newest_ms)

    def revive(self, now: float) -> None:
        """Mirror retired markets again that show life."""
        revived = tuple(self._outbox.revive)
        self._outbox.revive.clear()
        for condition_id in revived:
            market = self._markets[condition_id]
            dead = [asset_id for asset_id, token in market.tokens.items() if token.state is BookState.RETIRED]
            for asset_id in dead:
                market.tokens[asset_id].revive(now)
            market.denied = 0
            if market.socket is None:
                self.assign(market, tuple(market.tokens), now)
            else:
                # The other token kept it on its socket.
                lanes = list(self._sockets[market.socket].lanes)
                for asset_id in dead if lanes else ():
                    market.tokens[asset_id].subscribed(now, now, *lanes)
                self._outbox.resubscribe[condition_id] = None
