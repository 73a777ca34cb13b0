"""The user channel: what an account's orders and trades do, told over a WebSocket, with faults of its own.

A :class:`UserChannel` is a :class:`~polymirror.simulator.surface.services.Feed` at ``/ws/user``. Its first frame states
credentials and markets (none, or an empty list: all of them), later ones subscribe and unsubscribe, and text PING is
answered by PONG (protocol.md 11). The desk hands it events as texts (:meth:`UserChannel.tell`); each session draws from
its own seeded faults what becomes of an event on its way. Times are Unix milliseconds.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.frames import REPLY, Close, Frame
from polymirror.simulator.orders.faults import USER_FAULTS, UserFaultRates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polymirror.simulator.frames import Item
    from polymirror.simulator.orders.auth import Account, KeyRing
    from polymirror.simulator.surface.services import FeedSession

USER: Final = "user"
"""The kind of this channel's frames."""

PATH: Final = "/ws/user"
POLL_MS: Final = 20
"""How often a session is asked for what came up since: an event may come from any call."""

MAX_WAITING: Final = 20_000
"""Events that wait for one session; one more, and the venue closes it as a slow reader."""

MAX_MARKETS: Final = 10_000

POLICY_VIOLATION: Final = 1008
TRY_AGAIN: Final = 1013
BAD_FIRST_FRAME: Final = Close(POLICY_VIOLATION, "invalid subscription payload")
BAD_CREDENTIALS: Final = Close(POLICY_VIOLATION, "invalid credentials")
TOO_SLOW: Final = Close(TRY_AGAIN, "slow consumer")


class UserChannel:
    """The channel. ``struck`` counts what went wrong, by the name of the rate; ``active`` false: nothing does."""

    path: str = PATH

    def __init__(self, keys: KeyRing, rates: UserFaultRates | None = None, *, seed: int = 0) -> None:
        self.keys = keys
        self.rates: UserFaultRates = rates or UserFaultRates()
        self.active = True
        self.struck: Counter[str] = Counter()
        self._rng = random.Random(f"user channel:{seed}")
        self._sessions: list[UserSession] = []

    def open(self, headers: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> FeedSession | int:
        """Accept everybody; the first frame tells who it is."""
        del headers, query
        self._sessions = [session for session in self._sessions if not session.closed]
        session = UserSession(self, now_ms)
        self._sessions.append(session)
        return session

    def hears(self, address: str) -> bool:
        """Whether any connection listens for this account."""
        return any(session.listens(address) for session in self._sessions)

    def tell(self, address: str, market: str, text: str, at_ms: int) -> None:
        """Send an event of an account to all its connections that want the market."""
        for session in self._sessions:
            if session.listens(address, market):
                session.offer(text, at_ms)

    def fate(self) -> str:
        """What becomes of an event; empty: it is told."""
        drawn = self._rng.random()
        for name in USER_FAULTS if self.active else ():
            drawn -= getattr(self.rates, name)
            if drawn < 0:
                self.struck[name] += 1
                return name
        return ""

    def late_ms(self) -> int:
        """How late a late event is."""
        return self._rng.randint(1, self.rates.late_ms)


class UserSession:
    """One client's connection."""

    def __init__(self, channel: UserChannel, now_ms: int) -> None:
        self.closed: bool = False
        self._channel = channel
        self._account: Account | None = None
        # ``None``: all markets.
        self._markets: set[str] | None = None
        # When each is due, in the order in which they are sent: a late one holds up those behind it.
        self._waiting: deque[tuple[int, str]] = deque()
        # An event that waits for the next one to overtake it, with the time at which it goes anyway.
        self._held: tuple[int, str] | None = None
        self._silent = False
        self._asked_ms = now_ms

    def listens(self, address: str, market: str | None = None) -> bool:
        """Whether this connection is told of an account's events in a market, or in any."""
        account = None if self.closed else self._account
        if account is None or account.address != address or self._channel.keys.of_key(account.api_key) is None:
            return False
        return market is None or self._markets is None or market in self._markets

    def receive(self, text: str, now_ms: int) -> list[Item]:
        """Answer a text frame of the client."""
        self._asked_ms = max(self._asked_ms, now_ms)
        if text == "PING":
            return [Frame("PONG", REPLY, at_ms=now_ms)]
        message = _parsed(text)
        if self._account is None:
            return self._first(message, now_ms)
        markets = _markets(message)
        operation = str(message.get("operation"))
        if markets is None or operation not in {"subscribe", "unsubscribe"}:
            return [Frame("INVALID OPERATION", REPLY, at_ms=now_ms)]
        # Who has all markets keeps them.
        if self._markets is not None and operation == "subscribe":
            self._markets |= markets if len(markets) + len(self._markets) <= MAX_MARKETS else set()
        elif self._markets is not None:
            self._markets -= markets
        return []

    def _first(self, message: dict[str, Any], now_ms: int) -> list[Item]:
        markets = _markets(message)
        if markets is None or "auth" not in message or str(message.get("type", USER)).lower() != USER:
            return self._close(BAD_FIRST_FRAME)
        account = self._channel.keys.accept(message["auth"], now_ms)
        if account is None:
            return self._close(BAD_CREDENTIALS)
        self._account, self._markets = account, markets or None
        return []

    def offer(self, text: str, at_ms: int) -> None:
        """Take an event on, and let it meet its fault."""
        fate = self._channel.fate()
        self._silent = self._silent or fate == "silent"
        if self._silent or fate == "missing":
            return
        due = at_ms + (self._channel.late_ms() if fate == "late" else 0)
        if fate == "swapped" and self._held is None:
            self._held = (at_ms + self._channel.late_ms(), text)
            return
        self._waiting.append((due, text))
        if fate == "duplicated":
            self._waiting.append((due, text))
        if self._held is not None:
            self._waiting.append((due, self._held[1]))
            self._held = None

    def outgoing(self, now_ms: int) -> list[Item]:
        """Everything due by now."""
        self._asked_ms = max(self._asked_ms, now_ms)
        if len(self._waiting) > MAX_WAITING:
            return self._close(TOO_SLOW)
        if self._held is not None and self._held[0] <= now_ms:
            self._waiting.append(self._held)
            self._held = None
        items: list[Item] = []
        while self._waiting and self._waiting[0][0] <= now_ms:
            due, text = self._waiting.popleft()
            items.append(Frame(text, USER, at_ms=due))
        return items

    def next_ms(self) -> int | None:
        """Soon, since any call and any step of the exchange may bring an event; never before somebody logged in."""
        return None if self._account is None else self._asked_ms + POLL_MS

    def _close(self, close: Close) -> list[Item]:
        self.closed = True
        return [close]


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _markets(message: dict[str, Any]) -> set[str] | None:
    """The markets that a frame names; ``None``: something else than a list of texts stands there."""
    named = message.get("markets") or []
    good = isinstance(named, list) and len(named) <= MAX_MARKETS and all(isinstance(each, str) for each in named)
    return set(named) if good else None
