"""Input that could not be read: counted and named, and only the books that it could have touched are doubted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from polymirror.core.states import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polymirror.core.market import Market
    from polymirror.core.messages import Malformed
    from polymirror.core.outbox import Outbox
    from polymirror.core.sockets import Socket
    from polymirror.core.token import Token

MAX_KINDS: Final = 64
"""Different kinds of ignored or malformed input that are counted by name."""

HARMLESS: Final = frozenset({"last_trade_price", "best_bid_ask", "new_market", "market_resolved"})
"""Kinds that never change a book: reading one wrongly casts no doubt."""


class Harm:
    """What unreadable input does to the books of an engine."""

    def __init__(self, tokens: Mapping[str, Token], markets: Mapping[str, Market], outbox: Outbox) -> None:
        self._tokens = tokens
        self._markets = markets
        self._outbox = outbox
        # By kind; bounded by MAX_KINDS.
        self.malformed: Counter[str] = Counter()
        # The frame for which all books of its socket were doubted: a hostile one may have thousands of elements.
        self._doubted = 0

    def take(self, socket: Socket, message: Malformed, now: float, *, frame: int) -> None:
        """Count what could not be read in frame number ``frame``; doubt only the books that it could have touched."""
        self._outbox.counts["malformed"] += 1
        count_kind(self.malformed, message.kind)
        self._outbox.warn(f"malformed {message.kind}", message.detail or "unreadable", now)
        if message.kind in HARMLESS:
            return
        named = [self._tokens[asset_id] for asset_id in message.asset_ids if asset_id in self._tokens]
        market = self._markets.get(message.market)
        if message.asset_ids or message.market:
            # A message about one token says the same about its complement.
            for token in dict.fromkeys([*named, *(market.tokens.values() if market else ())]):
                token.missed_input(Reason.DECODE_ERROR, now, message.detail)
        elif self._doubted != frame:
            self._doubted = frame
            suspect(socket, Reason.DECODE_ERROR, now, message.detail)


def suspect(socket: Socket, reason: Reason, now: float, detail: str) -> None:
    """Doubt every book of a socket."""
    for market in socket.markets.values():
        for token in market.tokens.values():
            token.missed_input(reason, now, detail)


def count_kind(counts: Counter[str], kind: str) -> None:
    """Count input by kind; beyond MAX_KINDS kinds, new ones are counted together."""
    counts[kind if kind in counts or len(counts) < MAX_KINDS else "others"] += 1
