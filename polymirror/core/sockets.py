"""Which socket carries which market.

Both tokens of a market always share a socket, because the venue sends every update to subscribers of
either. A socket carries a bounded number of tokens: above 500 the venue sends no opening books.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define

from polymirror.core.lanes import Lanes

if TYPE_CHECKING:
    from polymirror.core.market import Market


@define(eq=False)
class Socket:
    """One socket as the engine sees it. Times in seconds on the mirror's monotonic clock."""

    number: int
    markets: dict[str, Market] = Factory(dict)
    # Its open connections: one, or two if it is hedged. It is open as long as one of them is.
    lanes: Lanes = Factory(Lanes)
    # Why a connection is not open: how the last one ended, or why the last attempt failed.
    troubles: dict[int, str] = Factory(dict)
    # From the venue's timestamp of the newest price change to its application, seconds; None: no frame yet.
    lag: float | None = None
    # When the engine last asked for a new connection, and which one it replaced.
    replaced_at: float = float("-inf")
    replaced: int = -1

    @property
    def is_open(self) -> bool:
        """Whether frames can come."""
        return bool(self.lanes)

    @property
    def trouble(self) -> str:
        """Why connections are not open; empty if all are, and before the first attempt."""
        return "; ".join(dict.fromkeys(filter(None, self.troubles.values())))

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """All tokens on this socket."""
        return tuple(asset_id for market in self.markets.values() for asset_id in market.tokens)


class Sockets:
    """Assigns markets to sockets: to the first with room, else to a new one."""

    def __init__(self, tokens_per_socket: int) -> None:
        self._limit = tokens_per_socket
        self.by_number: dict[int, Socket] = {}
        # Tokens of each socket, and of each market that one carries.
        self._load: dict[int, int] = {}
        self._weight: dict[str, int] = {}
        self._serial = 0

    def __getitem__(self, number: int) -> Socket:
        return self.by_number[number]

    def get(self, number: int) -> Socket | None:
        """Return a socket, or None if it is gone."""
        return self.by_number.get(number)

    def all(self) -> tuple[Socket, ...]:
        """Return all sockets, oldest first."""
        return tuple(self.by_number.values())

    def assign(self, market: Market, tokens: int) -> tuple[Socket, bool]:
        """Return the socket for ``tokens`` more tokens of this market, and whether it is new."""
        if market.socket is not None:
            return self._weigh(self.by_number[market.socket], market), False
        number = next((n for n, load in self._load.items() if load + tokens <= self._limit), 0)
        if not number:
            self._serial = number = self._serial + 1
            self.by_number[number] = Socket(number)
            self._load[number] = 0
        socket = self.by_number[number]
        new = not socket.markets
        socket.markets[market.condition_id] = market
        market.socket = number
        return self._weigh(socket, market), new

    def _weigh(self, socket: Socket, market: Market) -> Socket:
        """Count a market's tokens anew: to count all of its socket took a sixth of the time of tracking it."""
        tokens = len(market.tokens)
        self._load[socket.number] += tokens - self._weight.get(market.condition_id, 0)
        self._weight[market.condition_id] = tokens
        return socket

    def release(self, market: Market) -> Socket | None:
        """Take a market off its socket; return the socket if nothing is left on it."""
        if market.socket is None:
            return None
        socket, market.socket = self.by_number[market.socket], None
        del socket.markets[market.condition_id]
        self._load[socket.number] -= self._weight.pop(market.condition_id)
        if socket.markets:
            return None
        del self.by_number[socket.number], self._load[socket.number]
        return socket
