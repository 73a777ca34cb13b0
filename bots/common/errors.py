"""The exceptions of the bots, and nothing else: what a trading call can end with that is not an answer.

::

    PolymirrorError
    └── BotError
        ├── OrderInvalid           an order that breaks the venue's rules; it was never made (also a ValueError)
        ├── StateInvalid           a stored value that cannot be believed (also a ValueError)
        ├── FeeUnknown             the fee terms of a market are missing, contradictory or not believable
        ├── FactsDiffer            the venue's services say different things of a market
        ├── FactsOutside           a fact of a market is beyond what the settings allow
        └── TradingError           a call to the venue that trades or tells about trades
            ├── NotSent            certain: not one byte of it left; nothing can have happened
            ├── Unanswered         uncertain: it left, or may have left, and no answer can be relied on
            └── VenueRefused       certain: the venue answered, and the answer is no
                ├── NoMatch        a FOK or FAK order found nothing to trade with: an answer, not a fault
                └── BadCredentials the venue does not accept who we say we are

The difference between the three under TradingError is what keeps an order from being sent twice: only
:class:`Unanswered` needs a look-up, and nothing here is ever cured by sending again. Messages name the call and
what the venue said, shortened; they never carry credentials or signatures.
"""

from __future__ import annotations

from bots.common.secrets import hide
from polymirror.errors import PolymirrorError
from polymirror.harmless import harmless

MAX_DETAIL = 160
"""Characters of the venue's own words that go into a message."""


class BotError(PolymirrorError):
    """The root of all errors raised by the bots."""


class OrderInvalid(BotError, ValueError):  # noqa: N818 - a fact about an order
    """An order that the venue's rules do not allow. ``field``, ``value`` and ``allowed`` say which rule."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"order {field}={shorten(value)} is not allowed: it must be {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class StateInvalid(BotError, ValueError):  # noqa: N818 - a fact about a stored value
    """Something stored is not what was written. ``field``, ``value`` and ``allowed`` say what."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"stored {field}={shorten(value)} cannot be believed: it must be {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class FeeUnknown(BotError):  # noqa: N818 - a fact about a market
    """No fee can be computed for a market, so no trade in it can be judged."""

    def __init__(self, market: str, detail: str) -> None:
        super().__init__(f"the fee of market {shorten(market, 32)} is not known: {detail}")
        self.market = market


class FactsDiffer(BotError):  # noqa: N818 - a fact about a market
    """The venue's services say different things of one market: one of them is wrong, so it is not traded."""


class FactsOutside(BotError):  # noqa: N818 - a fact about a market
    """A market's fact lies outside what the settings allow, so it is not traded. ``fact`` names it."""

    def __init__(self, market: str, fact: str, stated: object, allowed: str) -> None:
        super().__init__(f"{shorten(market, 32)}: its {fact} is {shorten(stated)}, and it must be {allowed}")
        self.fact = fact


class TradingError(BotError):
    """A trading call that did not give what was asked for."""

    def __init__(self, call: str, detail: str) -> None:
        super().__init__(f"{call}: {shorten(detail)}")
        self.call = call
        self.detail = shorten(detail)


class NotSent(TradingError):  # noqa: N818
    """The call failed before anything left: no connection, no signature, no room. Nothing happened at the venue."""


class Unanswered(TradingError):  # noqa: N818
    """The call left, or may have left, and its outcome is unknown until it is looked up."""


class VenueRefused(TradingError):  # noqa: N818
    """The venue answered that it does not do this. ``status`` is the HTTP status.

    ``retry_after`` is the wait in seconds that it asked for, if any. ``exists`` says that it refused because it
    already has this very order: then the order's fate must be looked up.
    """

    def __init__(
        self, call: str, status: int, detail: str, *, retry_after: float | None = None, exists: bool = False
    ) -> None:
        super().__init__(call, f"HTTP {status}: {detail}")
        self.status = status
        self.retry_after = retry_after
        self.exists = exists


class NoMatch(VenueRefused):
    """The order met nothing it could trade with and is dead."""


class BadCredentials(VenueRefused):
    """HTTP 401 or 403 with the venue's own words: the key, the passphrase, the signature or the region is refused."""


def shorten(value: object, limit: int = MAX_DETAIL) -> str:
    """Bound what hostile input can put into a message, keep it on one line, and tell no secret with it."""
    return harmless(hide(value if isinstance(value, str) else str(value)), limit)
