"""A second exchange for accounts, as plain as can be: lists, fractions, no shared code, slow. Tests compare with it.

One market, two tokens. An order to sell one token is kept as a bid for the other. Every level is a list of
``[owner, order id, left]``, first in line first, where the owner ``None`` is the order flow.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

ONE = 1_000_000
RATE = Fraction(7, 100)


class NaiveVenue:
    def __init__(self, accounts: dict[str, int]) -> None:
        self.cash: dict[Any, int] = {**accounts, None: 0}
        self.shares: dict[Any, list[int]] = {who: [0, 0] for who in self.cash}
        self.fees = 0
        self.collateral = 0
        self.levels: list[dict[int, list[list[Any]]]] = [{}, {}]
        # By id: [owner, token, buys, price, left, reserved money, reserved shares]; only what rests.
        self.open: dict[str, list[Any]] = {}
        self.matched: dict[str, int] = {}
        # Fills of trades that may fail yet, in the order of their matching.
        self.unsettled: list[list[tuple[Any, int, bool, int, int, int]]] = []

    # The book.

    def book(self, token: int) -> tuple[dict[int, int], dict[int, int]]:
        sums = [{price: sum(x[2] for x in line) for price, line in side.items()} for side in self.levels]
        return sums[token], {10_000 - price: size for price, size in sums[1 - token].items()}

    def flow_has(self, side: int, price: int) -> int:
        return sum(left for owner, _, left in self.levels[side].get(price, []) if owner is None)

    def flow_sets(self, side: int, price: int, size: int) -> None:
        more = size - self.flow_has(side, price)
        if more > 0:
            more -= self.flow_takes(side, True, price, more)
            if more:
                self.levels[side].setdefault(price, []).append([None, "", more])
        while more < 0:
            line = self.levels[side][price]
            last = [entry for entry in line if entry[0] is None][-1]
            gone = min(last[2], -more)
            last[2] -= gone
            more += gone
            self.levels[side][price] = [entry for entry in line if entry[2]]
        self.tidy()

    def flow_takes(self, token: int, buys: bool, limit: int, size: int) -> int:
        got = self.match(None, "", token, buys, limit, size, None)
        return sum(fill[2] for fill in got)

    def tidy(self) -> None:
        for side in self.levels:
            for price, line in list(side.items()):
                # The flow has no names: two pieces of it next to each other are one, and are rounded as one.
                merged: list[list[Any]] = []
                for entry in line:
                    if merged and entry[0] is None is merged[-1][0]:
                        merged[-1][2] += entry[2]
                    elif entry[2]:
                        merged.append(entry)
                side[price] = merged
                if not merged:
                    del side[price]

    # Matching.

    def match(
        self, who: Any, order: str, token: int, buys: bool, limit: int, size: int | None, money: int | None
    ) -> list[tuple[int, list[Any], int, int]]:
        """Take; return (price, entry, shares, the taker's money) for each piece, and book it all."""
        side = 1 - token if buys else token
        pieces = []
        for bid in sorted(self.levels[side], reverse=True):
            price = 10_000 - bid if buys else bid
            if price > limit if buys else price < limit:
                break
            for entry in self.levels[side][bid]:
                if size == 0 or money == 0:
                    break
                got = entry[2] if size is None else min(entry[2], size)
                paid = price * got // 10_000
                maker = self.open.get(entry[1])
                if buys and maker is not None and maker[2]:
                    paid = got - bid * got // 10_000
                if money is not None and Fraction(money * 10_000, price) < got:
                    got, paid = money * 10_000 // price, money
                pieces.append((price, entry, got, paid))
                size = None if size is None else size - got
                money = None if money is None else money - paid
        for price in dict.fromkeys(piece[0] for piece in pieces):
            self.clear(who, order, token, buys, price, [piece for piece in pieces if piece[0] == price])
        for line in [line for level in self.levels for line in level.values()]:
            line[:] = [entry for entry in line if entry[2]]
        self.tidy()
        return pieces

    def clear(self, who: Any, order: str, token: int, buys: bool, price: int, pieces: list[Any]) -> None:
        """One trade: all pieces at one price."""
        total, paid = sum(p[2] for p in pieces), sum(p[3] for p in pieces)
        exact = total * RATE * Fraction(price, 10_000) * (1 - Fraction(price, 10_000))
        fee = int(exact / 10 + Fraction(1, 2)) * 10
        with_accounts = who is not None or any(entry[0] is not None for _, entry, _, _ in pieces)
        fills = [(who, token, buys, total, paid, fee if buys else min(fee, paid))]
        for _, entry, got, money in pieces:
            entry[2] -= got
            maker = self.open.get(entry[1])
            if maker is None:
                fills.append((None, token, not buys, got, money, 0))
                continue
            own = money if maker[1] == token else got - money
            fills.append((maker[0], maker[1], maker[2], got, own, 0))
            maker[4] -= got
            maker[5 if maker[2] else 6] -= own if maker[2] else got
            self.matched[entry[1]] = self.matched.get(entry[1], 0) + got
            if not maker[4]:
                del self.open[entry[1]]
        if order:
            self.matched[order] = self.matched.get(order, 0) + total
        if with_accounts:
            self.move(fills, 1)
            self.unsettled.append(fills)

    def move(self, fills: list[Any], sign: int) -> None:
        for owner, token, buys, got, money, fee in fills:
            self.cash[owner] += sign * (-(money + fee) if buys else money - fee)
            self.shares[owner][token] += sign * (got if buys else -got)
            self.fees += sign * fee
        gained = [0, 0]
        for _, token, buys, got, _, _ in fills:
            gained[token] += got if buys else -got
        assert gained[0] == gained[1]
        self.collateral += sign * gained[0]

    # Orders.

    def free(self, who: str) -> int:
        return self.cash[who] - sum(order[5] for order in self.open.values() if order[0] == who)

    def free_shares(self, who: str, token: int) -> int:
        mine = [order for order in self.open.values() if order[0] == who and order[1] == token]
        return self.shares[who][token] - sum(order[6] for order in mine)

    def crosses(self, token: int, buys: bool, price: int) -> bool:
        bids, asks = self.book(token)
        return any(ask <= price for ask in asks) if buys else any(bid >= price for bid in bids)

    def limit(self, who: str, order: str, token: int, buys: bool, price: int, size: int) -> None:
        got = self.match(who, order, token, buys, price, size, None)
        left = size - sum(piece[2] for piece in got)
        if left:
            money = -(-price * left // 10_000) if buys else 0
            self.open[order] = [who, token, buys, price, left, money, 0 if buys else left]
            side, bid = (token, price) if buys else (1 - token, 10_000 - price)
            self.levels[side].setdefault(bid, []).append([who, order, left])

    def spendable(self, token: int, limit: int, money: int) -> bool:
        """Whether this much money finds enough within the limit."""
        asks = self.book(token)[1]
        return sum(Fraction(price * size, 10_000) for price, size in asks.items() if price <= limit) >= money

    def sellable(self, token: int, limit: int, size: int) -> bool:
        return sum(have for price, have in self.book(token)[0].items() if price >= limit) >= size

    def cancel(self, order: str) -> None:
        del self.open[order]
        for side in self.levels:
            for line in side.values():
                line[:] = [entry for entry in line if entry[1] != order]
        self.tidy()

    # The chain.

    def split(self, who: str, sets: int) -> None:
        self.cash[who] -= sets
        self.shares[who] = [have + sets for have in self.shares[who]]
        self.collateral += sets

    def fail(self, index: int) -> None:
        """A trade never happened; whoever cannot pay his orders now loses the youngest ones."""
        fills = self.unsettled.pop(index)
        self.move(fills, -1)
        for who in {fill[0] for fill in fills} - {None}:
            for order in reversed([name for name, each in self.open.items() if each[0] == who]):
                _, token, buys, *_ = self.open[order]
                if self.free(who) < 0 if buys else self.free_shares(who, token) < 0:
                    self.cancel(order)

    def conserved(self, brought: int) -> None:
        assert sum(self.cash.values()) + self.fees + self.collateral == brought
        for token in (0, 1):
            assert sum(have[token] for have in self.shares.values()) == self.collateral
