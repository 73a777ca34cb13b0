"""What the simulated venue demands of an order before it looks at the book: form, amounts, price grid; and its fee.

Pure functions over ints. The rules and most texts are the venue's (its page of error codes, and messages its users
quote); where a rule is the simulator's own, the docstring says so. :mod:`polymirror.simulator.orders.broker` applies
them, :mod:`polymirror.simulator.orders.desk` turns a :class:`Refused` into an HTTP answer.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import Enum
from typing import Any, Final

from attrs import field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.exchange.ladder import ONE_PRICE, PRICE_TEXTS, size_text
from polymirror.simulator.orders.ledger import ONE_PUSD, ONE_SHARE
from polymirror.simulator.orders.signing import order_id_of

MAX_NUMBER: Final = 10**21
"""No number in an order is larger. The simulator's own bound; the balance bounds amounts long before."""

CENT: Final = ONE_PUSD // 100
"""The step of what a market order offers: two decimals."""

ASKED_STEP: Final = ONE_PUSD // 10_000
"""The step of what a market order asks for: four decimals."""

COARSEST_TICK: Final = 1_000
"""With this tick, 0.1, clients round what they ask for to three decimals (protocol.md 7.4)."""

SIZE_STEP: Final = ONE_SHARE // 100
"""The step of the shares of an order that may rest: two decimals."""

LEAST_RESTING: Final = 5 * ONE_SHARE
"""The smallest order that may rest, in 1/1,000,000 shares."""

GTD_MARGIN_MS: Final = 60_000
"""An order ends so long before its expiration; one that expires sooner is refused (protocol.md 7.2)."""

CRUMBS: Final = 1_000
"""Units of money that an order which takes and rests may cost more than its limit says: each match with an order for
the other token is rounded up by less than one."""

MAX_LEVELS: Final = 1_000
"""An order meets fewer levels than this: the finest grid that the simulated markets use is 0.001."""

FEE_STEP: Final = ONE_PUSD // 100_000
"""Fees are in 1/100,000 pUSD (protocol.md 7.5)."""

FOK_KILLED: Final = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_KILLED: Final = (
    "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
)
CROSSES: Final = "invalid post-only order: order crosses book"
BAD_EXPIRATION: Final = "invalid expiration"
BAD_PAYLOAD: Final = "Invalid order payload"

_EXACT: Final = Context(prec=60)
_HEX: Final = re.compile(r"0x[0-9a-fA-F]*")


class OrderKind(Enum):
    """The venue's order types."""

    GTC = "GTC"
    """Good till cancelled: takes what it can within its limit, the rest stays in the book."""
    GTD = "GTD"
    """Good till date: the same, until a minute before its expiration."""
    FOK = "FOK"
    """Fill or kill: all at once, or nothing. To buy it spends its money, to sell it sells its shares."""
    FAK = "FAK"
    """Fill and kill: as much at once as there is."""


class Refused(Exception):  # noqa: N818 - it states what the venue did
    """The venue did not accept the order: the HTTP status, the text, and a code where it gives one."""

    def __init__(self, status: int, text: str, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code


@frozen(kw_only=True)
class Ticket:
    """An order as it was sent, read and checked for form. Amounts in 1/1,000,000."""

    id: str
    salt: int
    maker: str
    token: str
    buys: bool
    offered: int
    asked: int
    kind: OrderKind
    signed_ms: int
    post_only: bool = False
    expiration_s: int = 0
    """Unix seconds, as it was sent; 0: none."""

    @property
    def all_or_nothing(self) -> bool:
        """Whether a part of it is none of it."""
        return self.kind is OrderKind.FOK

    @property
    def rests(self) -> bool:
        """Whether what finds no match stays in the book."""
        return self.kind is OrderKind.GTC or self.kind is OrderKind.GTD

    @property
    def ends_ms(self) -> int:
        """When it ends in Unix milliseconds: a minute before its expiration; 0: never."""
        return self.expiration_s * 1_000 - GTD_MARGIN_MS if self.kind is OrderKind.GTD else 0

    @property
    def shares(self) -> int:
        """How many shares are to change hands, in 1/1,000,000."""
        return self.asked if self.buys else self.offered

    @property
    def money(self) -> int:
        """The pUSD of the order at its limit, without the fee, in 1/1,000,000."""
        return self.offered if self.buys else self.asked

    @property
    def limit(self) -> int:
        """The worst acceptable price in 1/10,000: rounded down when buying, up when selling."""
        scaled = self.money * ONE_PRICE
        return scaled // self.shares if self.buys else -(-scaled // self.shares)

    def price(self, tick: int) -> int | None:
        """The price on the grid that the amounts stand for, in 1/10,000; ``None``: they stand for no such price.

        The asked amount was rounded to its step, so the quotient of the two may be off by that much and no more.
        """
        scaled = self.money * ONE_PRICE
        below = scaled // self.shares // tick * tick
        slack = ASKED_STEP * ONE_PRICE * (10 if tick == COARSEST_TICK else 1)
        for price in (below, below + tick):
            # In 1/10,000 of a money unit; when buying the rounded amount is the shares, worth the price each.
            off = abs(scaled - price * self.shares)
            if tick <= price <= ONE_PRICE - tick and off <= (slack * price // ONE_PRICE if self.buys else slack):
                return price
        return None


@frozen(kw_only=True)
class FeeTerms:
    """The taker fee of a market: ``shares * rate * (p * (1 - p)) ** exponent``. The defaults are today's."""

    rate: Decimal = field(default=Decimal("0.07"))
    exponent: int = field(default=1)

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ConfigError("fee rate", self.rate, "a Decimal between 0 and 1")
        if not 0 <= self.exponent <= 8:
            raise ConfigError("fee exponent", self.exponent, "a whole number between 0 and 8")

    def fee(self, price: int, shares: int) -> int:
        """The fee of a fill, in 1/1,000,000 pUSD: rounded half up to five decimals, as the venue's page says.

        A newer description of its interface says that it is cut instead (protocol.md 7.5). The page's smallest
        charge of 0.00001 follows from the rounding: what is less than half of it costs nothing.
        """
        steps = _EXACT.divide(self._exact(price, shares), Decimal(FEE_STEP))
        return int(steps.to_integral_value(ROUND_HALF_UP)) * FEE_STEP

    def most(self, limit: int, shares: int) -> int:
        """No way to buy so many shares at the limit or below costs a higher fee, in 1/1,000,000 pUSD."""
        dearest = min(limit, ONE_PRICE // 2)
        # Each level's fee is rounded by itself, by half a step at most.
        return int(self._exact(dearest, shares)) + 1 + FEE_STEP // 2 * min(limit, MAX_LEVELS)

    def most_for(self, money: int, limit: int, tick: int) -> int:
        """No way to spend so much money at the limit or below costs a higher fee, in 1/1,000,000 pUSD.

        Cheap shares are more shares: what counts is ``rate * p ** (exponent - 1) * (1 - p) ** exponent`` for each
        pUSD, which rises to its top and falls from there.
        """
        lowest = min(tick, limit)
        # Per pUSD the top is where p is (exponent - 1) / (2 * exponent - 1).
        top = 0 if self.exponent == 0 else (self.exponent - 1) * ONE_PRICE // (2 * self.exponent - 1)
        prices = {min(max(price, lowest), limit) for price in (lowest, top, top + 1, limit)}
        dearest = max(self._exact(price, money * ONE_PRICE // price + 1) for price in prices)
        return int(dearest) + 1 + FEE_STEP // 2 * min(limit, MAX_LEVELS)

    def _exact(self, price: int, shares: int) -> Decimal:
        spread = Decimal(price * (ONE_PRICE - price)).scaleb(-8, _EXACT)
        return _EXACT.multiply(_EXACT.multiply(Decimal(shares), self.rate), _EXACT.power(spread, self.exponent))


def money_of(price: int, shares: int) -> int:
    """What shares are worth at a price in 1/10,000, in 1/1,000,000 pUSD, cut as an integer division cuts."""
    return price * shares // ONE_PRICE


def read_ticket(payload: Any, *, address: str, api_key: str) -> Ticket:
    """Read the body of ``POST /order`` by the account that sends it. Raises Refused."""
    order = payload.get("order") if isinstance(payload, dict) else None
    if not isinstance(order, dict):
        raise Refused(400, BAD_PAYLOAD)
    if payload.get("owner") != api_key or order.get("maker") != address:
        raise Refused(400, "the order owner has to be the owner of the API KEY")
    kind, side = payload.get("orderType"), order.get("side")
    post_only = payload.get("postOnly") or False
    if not isinstance(kind, str) or kind not in OrderKind.__members__ or not isinstance(post_only, bool):
        raise Refused(400, BAD_PAYLOAD)
    token, signature = order.get("tokenId"), order.get("signature")
    good = isinstance(token, str) and isinstance(signature, str) and _HEX.fullmatch(signature)
    if not isinstance(side, str) or side not in {"BUY", "SELL"} or not good or not isinstance(token, str):
        raise Refused(400, BAD_PAYLOAD)
    try:
        order_id = order_id_of(order)
    except ValueError as error:
        raise Refused(400, BAD_PAYLOAD) from error
    return Ticket(
        id=order_id,
        salt=_whole(order.get("salt")),
        maker=address,
        token=token,
        buys=side == "BUY",
        offered=_whole(order.get("makerAmount")),
        asked=_whole(order.get("takerAmount")),
        kind=OrderKind(kind),
        signed_ms=_whole(order.get("timestamp")),
        post_only=post_only,
        expiration_s=_whole(order.get("expiration", 0), least=0),
    )


def check_amounts(ticket: Ticket, tick: int, *, least_money: int = ONE_PUSD) -> None:
    """Raise Refused unless the amounts have the decimals, the price and the size that the venue takes.

    The smallest order to buy at once is ``least_money`` in 1/1,000,000 pUSD, the smallest one to rest five shares.
    """
    if ticket.rests:
        _check_resting(ticket, tick)
        return
    if ticket.offered % CENT or ticket.asked % ASKED_STEP:
        which = "market buy" if ticket.buys else "sell"
        text = (
            f"the {which} orders maker amount supports a max accuracy of 2 decimals, taker amount a max of 4 decimals"
        )
        raise Refused(400, f"invalid amounts, {text}")
    if ticket.price(tick) is None:
        _refuse_price(ticket, tick)
    check_least(ticket, least_money)


def check_least(ticket: Ticket, least_money: int) -> None:
    """Raise Refused when an order that is matched at once buys for less than the venue takes."""
    if ticket.buys and ticket.money < least_money:
        amount, least = size_text(ticket.money), size_text(least_money)
        raise Refused(400, f"invalid amount for a marketable BUY order (${amount}), min size: ${least}")


def check_terms(ticket: Ticket, at_ms: int) -> None:
    """Raise Refused unless the kind, the expiration and post-only go together at this time."""
    if ticket.post_only and not ticket.rests:
        raise Refused(400, "invalid post-only order: only GTC and GTD orders are allowed")
    if bool(ticket.expiration_s) != (ticket.kind is OrderKind.GTD) or (
        ticket.kind is OrderKind.GTD and ticket.ends_ms < at_ms
    ):
        raise Refused(400, BAD_EXPIRATION)


def _check_resting(ticket: Ticket, tick: int) -> None:
    shares, limit = ticket.shares, ticket.limit
    if shares % SIZE_STEP:
        raise Refused(400, "invalid amounts, the size of an order supports a max accuracy of 2 decimals")
    if ticket.money * ONE_PRICE % shares or limit % tick or not tick <= limit <= ONE_PRICE - tick:
        _refuse_price(ticket, tick)
    if shares < LEAST_RESTING:
        size, least = size_text(shares), size_text(LEAST_RESTING)
        raise Refused(400, f"order {ticket.id} is invalid. Size ({size}) lower than the minimum: {least}")


def _refuse_price(ticket: Ticket, tick: int) -> None:
    stated = _EXACT.divide(Decimal(ticket.money), Decimal(ticket.shares))
    text = f"Price ({stated.normalize():.20g}) breaks minimum tick size rule: {PRICE_TEXTS[tick]}"
    raise Refused(400, f"order {ticket.id} is invalid. {text}")


def _whole(value: object, *, least: int = 1) -> int:
    """A whole number, positive as a rule, sent as a number or as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 40:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_NUMBER:
        raise Refused(400, BAD_PAYLOAD)
    return value
