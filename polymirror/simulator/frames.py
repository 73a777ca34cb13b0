"""What travels between the simulated venue and a client: frames, closings, calls and answers.

Plain immutable values. The exchange and the sessions make them, faults replace, delay or drop them,
and a transport (real sockets, or a network under a virtual clock) carries them. Nothing here acts.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOK = "book"
PRICE_CHANGE = "price_change"
LAST_TRADE_PRICE = "last_trade_price"
TICK_SIZE_CHANGE = "tick_size_change"
BEST_BID_ASK = "best_bid_ask"
NEW_MARKET = "new_market"
MARKET_RESOLVED = "market_resolved"
OPENING = "opening"
REPLY = "reply"
CLOSING = "closing"

CUSTOM_KINDS = frozenset({BEST_BID_ASK, NEW_MARKET, MARKET_RESOLVED})
"""Kinds that only a connection with ``custom_feature_enabled`` receives."""

FULL_DEPTH_KINDS = frozenset({BOOK, OPENING})
"""Kinds that carry whole books."""

NO_BOOK = "No orderbook exists for the requested token id"
"""What the answer to a call for a book says when there is none."""


class Frame(NamedTuple):
    """One text frame on its way to a client.

    ``kind`` is one of the constants of this module, ``market`` the condition id it is about (empty
    for an opening array or a plain-text reply), ``token`` the asset id if it is about one token
    only. ``at_ms`` is the time it states, by the exchange's clock; ``delay_ms`` is extra time on the
    way, added by faults. A transport keeps the order of the frames of one connection.
    """

    text: str
    kind: str
    market: str = ""
    token: str = ""
    at_ms: int = 0
    delay_ms: int = 0


class Close(NamedTuple):
    """The venue closes the connection with a close frame. ``delay_ms`` as in :class:`Frame`."""

    code: int
    reason: str
    delay_ms: int = 0

    @property
    def kind(self) -> str:
        """What all endings of a connection share."""
        return CLOSING


class Reset(NamedTuple):
    """The connection dies without a close frame. ``delay_ms`` as in :class:`Frame`."""

    delay_ms: int = 0

    @property
    def kind(self) -> str:
        """What all endings of a connection share."""
        return CLOSING


MAX_HANG = 60.0
"""How long a call that is never answered is kept open before its connection breaks, in seconds."""

Item = Frame | Close | Reset
"""Anything that can happen to the receiving end of a connection."""


class Call(NamedTuple):
    """One HTTP request: the method, the path without the host, the query, the body, and the headers.

    Names of headers are in lower case. ``query`` has the last value of each name, ``pairs`` all of them in their
    order; whoever makes a call without repeated names may leave ``pairs`` out.
    """

    method: str
    path: str
    query: dict[str, str]
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    pairs: tuple[tuple[str, str], ...] = ()

    def values(self, name: str) -> tuple[str, ...]:
        """All values of a name in the query, in their order."""
        return tuple(value for each, value in self.pairs or self.query.items() if each == name)


class Answer(NamedTuple):
    """One HTTP answer.

    ``delay_ms`` is how long the venue takes; ``hangs`` means that it never answers at all.
    ``headers`` are name and value pairs besides the content type.
    """

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    delay_ms: int = 0
    hangs: bool = False
