"""The judge of orders: whether each order that the simulated venue accepted rested on a book that was real.

A bot says just before an order leaves what it is about to act on (:meth:`OrderJudge.before_submit`, called in
process); the judge compares it with the exchange's own past, and when the broker accepts an order it counts what was
wrong with it. It never refuses anything: an order on a wrong book is accepted as it would be, and counted. Several
entries into one market, or one order accepted twice, are counted as duplicates. No bot reads it while it trades;
tests and a run's closing summary do.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field, frozen

from polymirror.core.states import BookState
from polymirror.errors import ConfigError
from polymirror.simulator.exchange.history import Read

if TYPE_CHECKING:
    from polymirror.simulator.exchange.exchange import Exchange

MAX_EVIDENCE: Final = 10_000
"""Announced orders that are remembered; the oldest are forgotten, and count as unannounced if they come yet."""

MAX_DETAILS: Final = 100
"""Violations that are kept in words. All are counted."""

SALT_BITS: Final = 53


class View(Read, Protocol):
    """What the judge needs of a book view: :class:`~polymirror.core.view.BookView` has it."""

    @property
    def state(self) -> BookState:
        """The state the book was read in."""
        ...


class Accepted(Protocol):
    """What the judge needs of an accepted order: the broker's has it."""

    @property
    def id(self) -> str:
        """The venue's name for it."""
        ...

    @property
    def salt(self) -> int:
        """The order's own random number, which follows from the bot's name for it."""
        ...

    @property
    def address(self) -> str:
        """Whose it is."""
        ...

    @property
    def market(self) -> str:
        """The condition id."""
        ...

    @property
    def token(self) -> str:
        """The asset id."""
        ...

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        ...


@frozen
class Evidence:
    """What a bot was about to act on, already compared with the truth."""

    token: str
    live: bool
    """Whether the book was LIVE by the bot's own reading."""
    true: bool
    """Whether these levels were the exchange's recently enough."""
    words: str


@define
class Verdict:
    """What was counted. All but ``accepted`` and ``announced`` should be 0."""

    announced: int = 0
    """Orders that a bot said it would send."""
    accepted: int = 0
    """Orders that the venue accepted, killed ones included."""
    orders_on_non_live: int = 0
    """Accepted orders whose book was not LIVE when they left."""
    orders_on_wrong_book: int = 0
    """Accepted orders that rested on levels which were not the exchange's within the allowed time."""
    duplicates: int = 0
    """Accepted orders with a name that was accepted before, or into a market that was entered before."""
    unannounced: int = 0
    """Accepted orders of which the judge had not heard, or had heard about another token."""
    details: list[str] = field(factory=list)
    """The first violations in words."""

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong with any accepted order."""
        return not (self.orders_on_non_live or self.orders_on_wrong_book or self.duplicates or self.unannounced)


def salt_of(client_id: str) -> int:
    """The salt that follows from a bot's name for an order: the first 53 bits of its SHA-256."""
    return int.from_bytes(sha256(client_id.encode()).digest()[:8], "big") >> (64 - SALT_BITS)


class OrderJudge:
    """Counts orders that should not have been sent.

    ``allowed_ms`` (0 to 60,000) is how much older than its proof a view may be: the time that a proof is on its
    way, with the venue's own delays. With ``one_entry`` a second order to buy in the same market is a duplicate
    unless the first got nothing; a strategy that buys both tokens turns it off.
    """

    def __init__(self, exchange: Exchange, *, allowed_ms: int = 1_000, one_entry: bool = True) -> None:
        if not 0 <= allowed_ms <= 60_000:
            raise ConfigError("allowed_ms", allowed_ms, "a whole number between 0 and 60000 milliseconds")
        self._exchange = exchange
        self._allowed_ms = allowed_ms
        self._one_entry = one_entry
        self._counts = Verdict()
        # By salt: what was said before an order left.
        self._evidence: OrderedDict[int, Evidence] = OrderedDict()
        # By account and salt, and by account and market: the orders accepted so far. The broker's limit bounds both.
        self._by_salt: dict[tuple[str, int], str] = {}
        self._entries: dict[tuple[str, str], set[str]] = {}

    def before_submit(self, client_id: str, token: str, view: View) -> None:
        """Hear what an order is about to rest on, last thing before the wire. ``client_id``: the bot's name for it."""
        age = view.verified_age
        live = view.state is BookState.LIVE
        true = view.token == token and self._exchange.confirms(view, self._allowed_ms / 1_000)
        self._counts.announced += 1
        was = "were true" if true else "were not the exchange's"
        words = f"{client_id}: {view.state.name}, age {age:.3f} s, its levels {was}"
        salt = salt_of(client_id)
        self._evidence.pop(salt, None)
        self._evidence[salt] = Evidence(token, live, true, words)
        if len(self._evidence) > MAX_EVIDENCE:
            self._evidence.popitem(last=False)

    def accepted(self, order: Accepted) -> None:
        """The broker took an order on."""
        counts = self._counts
        counts.accepted += 1
        found = self._evidence.get(order.salt)
        if found is None or found.token != order.token:
            counts.unannounced += 1
            self._note(f"order {order.id} was not announced for this token")
        else:
            counts.orders_on_non_live += not found.live
            counts.orders_on_wrong_book += not found.true
            if not (found.live and found.true):
                self._note(f"order {order.id}, {found.words}")
        same_name = (order.address, order.salt) in self._by_salt
        self._by_salt[order.address, order.salt] = order.id
        entries = self._entries.setdefault((order.address, order.market), set())
        if same_name or (self._one_entry and order.buys and entries):
            counts.duplicates += 1
            why = "its name was accepted before" if same_name else "its market was entered before"
            self._note(f"order {order.id} is a duplicate: {why}")
        if order.buys:
            entries.add(order.id)

    def finished(self, order: Accepted, shares: int) -> None:
        """The broker is done with an order; ``shares`` of it (1/1,000,000) moved: those of failed trades did not."""
        if not shares:
            self._entries.get((order.address, order.market), set()).discard(order.id)

    def verdict(self) -> Verdict:
        """What was counted so far."""
        return self._counts

    def _note(self, words: str) -> None:
        if len(self._counts.details) < MAX_DETAILS:
            self._counts.details.append(words)
