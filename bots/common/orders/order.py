"""Orders and what becomes of them: values that every executor, log and strategy shares. Pure.

An :class:`Order` obeys the venue's rules from the moment it exists: its price lies on the tick grid and its two
amounts have the decimals that a FOK or FAK order may have. Sizing decides on them, the ledger stores them, an executor
sends them and answers with a :class:`Result`. No code here talks to anybody.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Required, TypedDict, Unpack

from attrs import field, frozen

from bots.common.errors import OrderInvalid
from bots.common.money.amounts import (
    ASKED_STEP,
    EXACT,
    MAX_AMOUNT,
    MONEY_STEP,
    SIZE_STEP,
    check_price,
    is_multiple,
    keeps_price,
    money_for,
    shares_for,
)
from polymirror.core.fees import NO_FEE, FeeSchedule

if TYPE_CHECKING:
    from attrs import Attribute

_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_SALT_BITS: Final = 53
"""The venue's clients write the salt as a JSON number: more bits would not survive one that reads doubles."""


class Side(Enum):
    """What the order does. The value is the venue's word."""

    BUY = "BUY"
    SELL = "SELL"


class TimeInForce(Enum):
    """How much of the order must trade at once. The value is the venue's word."""

    FOK = "FOK"
    """Everything or nothing."""
    FAK = "FAK"
    """What is there; the rest is dropped."""


class Outcome(Enum):
    """What became of an order."""

    FILLED = "filled"
    PARTIAL = "partial"
    """It traded less than it offered, being FAK, or because some of its trades failed on the chain; it is over."""
    NO_MATCH = "no_match"
    """It traded nothing and never will."""
    REJECTED = "rejected"
    """The venue refused it, or it could not be sent. It traded nothing and never will."""
    REFUSED = "refused"
    """We refused it before the wire: the lease was lost. Nothing left."""
    UNKNOWN = "unknown"
    """It left or may have left, and what became of it must be looked up. It is never sent again."""


def _finite(_: object, attribute: Attribute[Decimal], value: Any) -> None:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise OrderInvalid(attribute.name, value, "a finite Decimal")


class OrderTerms(TypedDict, total=False):
    """What an order has besides its amounts and its price: fields of :class:`Order`, the first four required."""

    client_id: Required[str]
    market: Required[str]
    token: Required[str]
    created_ms: Required[int]
    tif: TimeInForce
    neg_risk: bool
    fee: FeeSchedule
    taker_delay: bool


@frozen(kw_only=True)
class Order:
    """One FOK or FAK order on one token. Make it with :meth:`buy` or :meth:`sell`. Raises OrderInvalid.

    Buying, it offers ``money`` and asks for ``shares``; selling, the other way round. It never trades at a worse
    price than ``price``.
    """

    client_id: str
    """Ours, unique for ever: letters, digits and ``_.:-``, at most 80. The venue's salt follows from it."""
    market: str
    """The condition id."""
    token: str
    side: Side
    tif: TimeInForce = TimeInForce.FOK
    price: Decimal = field(validator=_finite)
    """The limit in pUSD, a multiple of ``tick``."""
    shares: Decimal = field(validator=_finite)
    """Buying: what ``money`` buys at the limit, rounded down to the venue's decimals. Selling: what is offered."""
    money: Decimal = field(validator=_finite)
    """pUSD without the fee. Buying: what is offered, in whole cents. Selling: the least that must come back."""
    tick: Decimal = field(validator=_finite)
    created_ms: int
    """Our wall clock when the order was decided on, in ms since 1970: look-ups search from here."""
    neg_risk: bool = False
    fee: FeeSchedule = NO_FEE
    """The terms the order was judged by."""
    taker_delay: bool = True
    """Whether the venue holds this market's taker orders back before they match (``itode``)."""

    def __attrs_post_init__(self) -> None:
        if not _CLIENT_ID.fullmatch(self.client_id):
            raise OrderInvalid("client_id", self.client_id, "1 to 80 letters, digits and _.:-")
        if not self.market or not self.token:
            raise OrderInvalid("token", self.token, "a token of a named market")
        if self.created_ms <= 0:
            raise OrderInvalid("created_ms", self.created_ms, "ms since 1970")
        check_price(self.price, self.tick)
        buying = self.side is Side.BUY
        steps = {
            "money": MONEY_STEP if buying else ASKED_STEP[self.tick],
            "shares": ASKED_STEP[self.tick] if buying else SIZE_STEP,
        }
        for name, step in steps.items():
            amount = getattr(self, name)
            if amount <= 0 or not is_multiple(amount, step):
                raise OrderInvalid(name, amount, f"a multiple of {step} above 0")
        if self.offered > MAX_AMOUNT:
            raise OrderInvalid("money" if buying else "shares", self.offered, f"at most {MAX_AMOUNT}")
        at_limit = EXACT.multiply(self.shares, self.price)
        rounded_fairly = at_limit <= self.money if buying else self.money <= at_limit
        if not rounded_fairly or not keeps_price(self.money, self.shares, self.price):
            raise OrderInvalid("money", self.money, f"what {self.shares} shares are worth at {self.price}")

    @classmethod
    def buy(cls, *, money: Decimal, price: Decimal, tick: Decimal, **terms: Unpack[OrderTerms]) -> Order:
        """Offer ``money`` pUSD (whole cents, the fee comes on top) for shares at ``price`` or better."""
        shares = shares_for(money, price, tick)
        return cls(side=Side.BUY, price=price, tick=tick, money=money, shares=shares, **terms)

    @classmethod
    def sell(cls, *, shares: Decimal, price: Decimal, tick: Decimal, **terms: Unpack[OrderTerms]) -> Order:
        """Offer ``shares`` (hundredths of a share) at ``price`` or better."""
        money = money_for(shares, price, tick)
        return cls(side=Side.SELL, price=price, tick=tick, money=money, shares=shares, **terms)

    @property
    def offered(self) -> Decimal:
        """The venue's maker amount: pUSD when buying, shares when selling."""
        return self.money if self.side is Side.BUY else self.shares

    @property
    def asked(self) -> Decimal:
        """The venue's taker amount: shares when buying, pUSD when selling."""
        return self.shares if self.side is Side.BUY else self.money

    @property
    def salt(self) -> int:
        """A number of 53 bits that follows from ``client_id``: after a crash the same order is the same order."""
        digest = hashlib.sha256(self.client_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") >> (64 - _SALT_BITS)

    def __str__(self) -> str:
        what = f"{self.tif.value} {self.side.value} {self.shares} of {self.token[:12]}"
        return f"{self.client_id}: {what} at {self.price} for {self.money} pUSD"


@frozen(kw_only=True)
class Result:
    """What became of an order, in exact numbers. ``shares`` and ``money`` are 0 unless it traded."""

    outcome: Outcome
    shares: Decimal = Decimal(0)
    """Shares bought or sold."""
    money: Decimal = Decimal(0)
    """pUSD paid (buying) or received (selling) for them, without the fee."""
    fee: Decimal = Decimal(0)
    """pUSD of fee, on top of what was paid or out of what was received."""
    order_id: str | None = None
    """The venue's name for the order, once it has one."""
    detail: str = ""
    """Why, in words; for people and logs."""
    exact: bool = True
    """Whether ``money`` and ``fee`` are the venue's own figures. False: the fee is our computation."""

    @property
    def traded(self) -> bool:
        """Whether any shares changed hands."""
        return self.shares > 0

    @property
    def decided(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self.outcome is not Outcome.UNKNOWN

    def cash(self, side: Side) -> Decimal:
        """Return what the order did to our pUSD: negative when buying."""
        return -(self.money + self.fee) if side is Side.BUY else self.money - self.fee
