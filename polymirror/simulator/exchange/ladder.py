"""One side of a simulated book, stored once for both tokens of a market.

A bid for one token at price p is, for the venue, an ask for the other token at 1 - p: the same
order seen from two sides. So a market consists of two ladders, each holding the bids of one token,
and the asks of a token are the other token's ladder in the mirror (a token that a fault makes differ
has copies of both). Wire fragments of every level
are cached for both views, because the venue's hash is over them. Used by the simulated market only.
"""

from __future__ import annotations

from bisect import bisect_left

from attrs import define, field

ONE_PRICE = 10_000
"""One dollar in units of price (1/10,000)."""

ONE_SIZE = 1_000_000
"""One share in units of size (1/1,000,000)."""


def _price_text(price: int) -> str:
    text = f"{price // ONE_PRICE}.{price % ONE_PRICE:04d}".rstrip("0")
    return text.rstrip(".")


PRICE_TEXTS = tuple(_price_text(price) for price in range(ONE_PRICE + 1))
"""The wire form of every price: a leading zero, no trailing ones ("0.48", "0.999")."""


def size_text(size: int) -> str:
    """The wire form of a size in 1/1,000,000 shares: no trailing zeros ("5", "1145.64")."""
    whole, part = divmod(size, ONE_SIZE)
    return f"{whole}.{part:06d}".rstrip("0") if part else str(whole)


@define(eq=False)
class Ladder:
    """The bids of one token, worst first, which is also the order in which the wire lists them.

    ``digest`` is a sum over the levels. Two ladders with equal digests are equal for every practical
    purpose (the summands are 64-bit hashes), so a state can be remembered in a few bytes.
    """

    prices: list[int] = field(factory=list)
    sizes: list[int] = field(factory=list)
    digest: int = 0
    _bid_texts: list[str] = field(factory=list)
    _ask_texts: list[str] = field(factory=list)
    # The joined fragments; None after a change until somebody asks again.
    _bids_json: str | None = None
    _asks_json: str | None = None

    @property
    def best(self) -> int:
        """The highest bid in 1/10,000; 0 when there is none."""
        return self.prices[-1] if self.prices else 0

    def copy(self) -> Ladder:
        """Another ladder with the same levels."""
        return Ladder(
            self.prices.copy(), self.sizes.copy(), self.digest, self._bid_texts.copy(), self._ask_texts.copy()
        )

    def size_at(self, price: int) -> int:
        """The size at a price; 0 when there is no such level."""
        index = bisect_left(self.prices, price)
        return self.sizes[index] if index < len(self.prices) and self.prices[index] == price else 0

    def set(self, price: int, size: int) -> int:
        """Replace the aggregate size at a price (0 removes the level) and return the old size."""
        prices = self.prices
        index = bisect_left(prices, price)
        old = self.sizes[index] if index < len(prices) and prices[index] == price else 0
        if old == size:
            return old
        if old:
            self.digest -= hash((price, old))
        self._bids_json = self._asks_json = None
        if not size:
            del prices[index], self.sizes[index], self._bid_texts[index], self._ask_texts[index]
            return old
        self.digest += hash((price, size))
        tail = f'","size":"{size_text(size)}"}}'
        bid, ask = f'{{"price":"{PRICE_TEXTS[price]}{tail}', f'{{"price":"{PRICE_TEXTS[ONE_PRICE - price]}{tail}'
        if old:
            self.sizes[index] = size
            self._bid_texts[index] = bid
            self._ask_texts[index] = ask
        else:
            prices.insert(index, price)
            self.sizes.insert(index, size)
            self._bid_texts.insert(index, bid)
            self._ask_texts.insert(index, ask)
        return old

    def bids_json(self) -> str:
        """The levels as the wire's ``bids`` of this token: prices ascending, without brackets."""
        if self._bids_json is None:
            self._bids_json = ",".join(self._bid_texts)
        return self._bids_json

    def asks_json(self) -> str:
        """The levels as the wire's ``asks`` of the other token: prices descending, without brackets."""
        if self._asks_json is None:
            self._asks_json = ",".join(self._ask_texts)
        return self._asks_json

    def bids(self) -> tuple[tuple[int, int], ...]:
        """The levels as bids of this token, (price, size), best first."""
        return tuple(zip(reversed(self.prices), reversed(self.sizes), strict=True))

    def asks(self) -> tuple[tuple[int, int], ...]:
        """The levels as asks of the other token, (price, size), best first."""
        return tuple((ONE_PRICE - price, size) for price, size in self.bids())
