"""The simulated venue's books of account: who has how much cash and how many shares of what, to the unit.

A :class:`Ledger` holds accounts by address. Every change is an entry (a deposit, a fill, a split, a redemption), and
running totals are kept beside the entries; :meth:`Ledger.audit` computes the totals again from the entries alone and
raises on any difference. Whoever has no account, the order flow, is the account :data:`OUTSIDE`, which may owe; so
money and shares are conserved over all accounts, the fees and the collateral behind the shares: that is audited too.

A match moves money and shares at once, as the venue's order book sees it, so that one can go on trading with them;
until the chain has it they are *claims* as well, which nothing on the chain (split, merge, redeem) can use. A trade
that FAILED is booked back as if it had never been: who has spent it meanwhile then owes it (a negative number), and can
spend nothing more until that is made good.

All numbers are ints: money in 1/1,000,000 pUSD and shares in 1/1,000,000, the two scales of the venue's contracts.
Nothing here knows orders' rules, books or HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from polymirror.errors import ConfigError, PolymirrorError
from polymirror.simulator.orders.entries import Conversion, Fill, Holdings, Position, Redemption

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["MAX_ENTRIES", "ONE_PUSD", "ONE_SHARE", "OUTSIDE", "Fill", "Holdings", "Ledger", "LedgerError", "Redemption"]

ONE_PUSD: Final = 1_000_000
"""Money units in one pUSD."""

ONE_SHARE: Final = 1_000_000
"""Units of shares in one share; redeemed, a winning share is worth one pUSD."""

MAX_ENTRIES: Final = 1_000_000
"""More fills, splits and redemptions than this are not kept: the ledger refuses them, it never forgets one."""

MAX_DEPOSIT: Final = 10**12 * ONE_PUSD
"""Nobody brings in more at once."""

OUTSIDE: Final = ""
"""The address of everybody without an account. It begins with nothing and may owe."""


class LedgerError(PolymirrorError):
    """The ledger does not balance, or would not after this entry. The message names the account and both numbers."""


class Ledger:
    """Accounts by address, and the proof that they balance."""

    def __init__(self) -> None:
        self.accounts: dict[str, Holdings] = {}
        # The money behind the shares of each market: one pUSD for one share of each token.
        self.collateral: dict[str, int] = {}
        # What takers have paid to the venue.
        self.fees: int = 0
        # How many entries all accounts have together.
        self._entries = 0

    @property
    def full(self) -> bool:
        """Whether no further entry can be kept."""
        return self._entries >= MAX_ENTRIES

    def account(self, address: str) -> Holdings:
        """Return an account; an address that was never seen has an empty one."""
        found = self.accounts.get(address)
        if found is None:
            found = self.accounts[address] = Holdings(address)
        return found

    def look_up(self, address: str) -> Holdings:
        """Return an account to be read; asking for one that was never seen leaves nothing behind."""
        return self.accounts.get(address) or Holdings(address)

    def deposit(self, address: str, units: int) -> None:
        """Bring in money from outside, in 1/1,000,000 pUSD. Raises ConfigError unless that is a positive int."""
        if type(units) is not int or not 0 < units <= MAX_DEPOSIT:
            raise ConfigError("deposit", units, f"a whole number of 1/1,000,000 pUSD between 1 and {MAX_DEPOSIT}")
        account = self.account(address)
        account.deposited += units
        account.cash += units

    # What orders do.

    def reserve(self, address: str, order_id: str, *, money: int = 0, token: str = "", shares: int = 0) -> None:
        """Set aside what an open order may spend. Raises LedgerError when it is not there, and changes nothing."""
        account = self.account(address)
        if money < 0 or shares < 0 or order_id in account.reserved:
            raise LedgerError(f"{address}: cannot reserve {money} and {shares} for order {order_id} (again)")
        if money and money > (free := account.cash - account.reserved_cash):
            raise LedgerError(f"{address}: order {order_id} needs {money} units of money, {free} are free")
        if shares and shares > (free := account.shares(token) - account.reserved_shares(token)):
            raise LedgerError(f"{address}: order {order_id} needs {shares} units of shares, {free} are free")
        account.reserved[order_id] = (money, token, shares)

    def keep(self, address: str, order_id: str, *, money: int = 0, shares: int = 0) -> None:
        """Let go of what is reserved for an order beyond this much; nothing is left reserved for nothing."""
        account = self.account(address)
        had_money, token, had_shares = account.reserved.pop(order_id, (0, "", 0))
        if not (0 <= money <= had_money and 0 <= shares <= had_shares):
            raise LedgerError(f"{address}: order {order_id} keeps {money} of {had_money}, {shares} of {had_shares}")
        if money or shares:
            account.reserved[order_id] = (money, token, shares)

    def book(self, fills: Sequence[Fill], *, claimed: bool = False) -> None:
        """Book one match: the fills of everybody in it, spent from what their orders have reserved.

        ``claimed``: they are not on the chain yet. Raises LedgerError when shares or money would come from nowhere,
        or an order spends more than it has reserved; then nothing is booked.
        """
        sets, cash, fees = _conserved(fills)
        if cash + fees + sets:
            raise LedgerError(f"a match makes {cash} of money with {fees} of fees and {sets} of collateral")
        spends: dict[tuple[str, str], list[int]] = {}
        for fill in fills:
            if fill.address != OUTSIDE:
                spent = spends.setdefault((fill.address, fill.order_id), [0, 0])
                spent[not fill.buys] += fill.money + fill.fee if fill.buys else fill.shares
                reserved = self.account(fill.address).reserved.get(fill.order_id, (0, "", 0))
                if spent[0] > reserved[0] or spent[1] > reserved[2] or not (fill.buys or fill.token == reserved[1]):
                    raise LedgerError(f"{fill.address}: order {fill.order_id} spent {spent} of {reserved}")
        for (address, order_id), (money, shares) in spends.items():
            account = self.accounts[address]
            had_money, token, had_shares = account.reserved[order_id]
            account.reserved[order_id] = (had_money - money, token, had_shares - shares)
        self.fees += fees
        if sets:
            self.collateral[fills[0].market] = self.collateral.get(fills[0].market, 0) + sets
        for fill in fills:
            account = self.account(fill.address)
            _move(account, fill, 1)
            if fill.address != OUTSIDE:
                account.fills.append(fill)
                self._entries += 1
                if claimed:
                    account.claims[fill.id] = fill

    def confirm(self, fills: Iterable[Fill]) -> None:
        """The chain has a match: what it brought is no claim any more."""
        for fill in fills:
            self.account(fill.address).claims.pop(fill.id, None)

    def reverse(self, fills: Sequence[Fill]) -> None:
        """Book a match back whose trade failed, fee included: nothing of it ever moved."""
        sets, _, fees = _conserved(fills)
        self.fees -= fees
        if sets:
            self.collateral[fills[0].market] -= sets
        for fill in fills:
            account = self.account(fill.address)
            _move(account, fill, -1)
            if fill.address != OUTSIDE:
                account.claims.pop(fill.id, None)
                account.reversed.append(fill)
                self._entries += 1

    def settle(self, address: str, order_id: str, fills: Iterable[Fill]) -> None:
        """Book what an order got from outside, none or many, and release what was set aside for it.

        Raises LedgerError when the fills spend more than was reserved: then nothing is booked.
        """
        booked = tuple(fills)
        if any(fill.address != address or fill.order_id != order_id for fill in booked):
            raise LedgerError(f"{address}: a fill of another order was booked for {order_id}")
        self.book([each for fill in booked for each in (fill, _counterpart(fill))])
        self.keep(address, order_id)

    # What the chain does.

    def convert(self, address: str, market: str, tokens: Mapping[str, str], sets: int, at_ms: int) -> Conversion:
        """Split money into so many shares of each of a market's tokens, given with their outcomes; negative: merge.

        Only what is free and settled can be used. Raises LedgerError when that is not enough.
        """
        account = self.account(address)
        free = self.free_cash(address) if sets >= 0 else min(self.free_shares(address, token) for token in tokens)
        if abs(sets) > free:
            raise LedgerError(f"{address}: needs {abs(sets)} units, {free} are free and settled")
        first, second = tokens
        done = Conversion(address=address, market=market, tokens=(first, second), sets=sets, at_ms=at_ms)
        account.cash -= sets
        self.collateral[market] = self.collateral.get(market, 0) + sets
        for token, outcome in tokens.items():
            _gain(account, market, token, outcome, sets)
        account.conversions.append(done)
        self._entries += 1
        return done

    def redeem(
        self,
        address: str,
        market: str,
        winner: str,
        at_ms: int,
        *,
        payouts: Mapping[str, tuple[int, int]] | None = None,
    ) -> list[Redemption]:
        """Give back all shares of a resolved market: the winning token's for one pUSD each, the others' for nothing.

        ``payouts`` replaces ``winner``: by token, what a share is worth as (numerator, denominator); fractions of a
        unit are cut. What unsettled trades brought stays, since the chain does not know it. Nothing held, nothing
        done: a second call returns an empty list.
        """
        account = self.account(address)
        worth = {winner: (1, 1)} if payouts is None else payouts
        done = []
        for token in [token for token, position in account.positions.items() if position.market == market]:
            position = account.positions[token]
            shares = position.shares - account.claimed_shares(token)
            if shares <= 0:
                continue
            numerator, denominator = rate = worth.get(token, (0, 1))
            payout = shares * numerator // denominator
            account.cash += payout
            self.collateral[market] = self.collateral.get(market, 0) - payout
            _gain(account, market, token, position.outcome, -shares)
            done.append(
                Redemption(
                    address=address,
                    market=market,
                    token=token,
                    shares=shares,
                    payout=payout,
                    at_ms=at_ms,
                    worth=rate,
                )
            )
        account.redemptions += done
        self._entries += len(done)
        return done

    def free_cash(self, address: str) -> int:
        """Money that is neither reserved nor claimed."""
        account = self.account(address)
        return account.cash - account.reserved_cash - account.claimed_cash()

    def free_shares(self, address: str, token: str) -> int:
        """Shares that are neither reserved nor claimed."""
        account = self.account(address)
        return account.shares(token) - account.reserved_shares(token) - account.claimed_shares(token)

    # The proof.

    def audit(self) -> None:
        """Compute every account again from its entries. Raises LedgerError, which names the first difference."""
        for account in self.accounts.values():
            if account.address != OUTSIDE:
                _audit(account)
        cash = sum(account.cash for account in self.accounts.values())
        deposited = sum(account.deposited for account in self.accounts.values())
        behind = sum(self.collateral.values())
        if cash + self.fees + behind != deposited:
            raise LedgerError(f"all: cash {cash}, fees {self.fees} and collateral {behind} are not {deposited}")
        self._audit_shares()

    def _audit_shares(self) -> None:
        """All there is of a token, what was redeemed included, is what money was ever turned into in its market."""
        made, there = dict(self.collateral), dict[tuple[str, str], int]()
        for account in self.accounts.values():
            for token, position in account.positions.items():
                there[position.market, token] = there.get((position.market, token), 0) + position.shares
            for each in account.redemptions:
                there[each.market, each.token] = there.get((each.market, each.token), 0) + each.shares
                made[each.market] = made.get(each.market, 0) + each.payout
        for (market, token), shares in there.items():
            if shares != made.get(market, 0):
                raise LedgerError(f"all: {shares} units of {token} are there, {made.get(market, 0)} were made")


def _conserved(fills: Sequence[Fill]) -> tuple[int, int, int]:
    """The sets of shares that a match makes, the money it makes, and its fees. Raises LedgerError."""
    gained: dict[str, int] = {}
    cash = fees = 0
    for fill in fills:
        gained[fill.token] = gained.get(fill.token, 0) + fill.gained
        cash += fill.cash
        fees += fill.fee
    made = set(gained.values()) or {0}
    if len(made) > 1 or (len(gained) == 1 and made != {0}):
        raise LedgerError(f"a match makes shares of one token alone: {gained}")
    return made.pop(), cash, fees


def _counterpart(fill: Fill) -> Fill:
    return evolve(fill, address=OUTSIDE, order_id="", buys=not fill.buys, fee=0)


def _move(account: Holdings, fill: Fill, sign: int) -> None:
    account.cash += sign * fill.cash
    account.fees += sign * fill.fee
    _gain(account, fill.market, fill.token, fill.outcome, sign * fill.gained)


def _gain(account: Holdings, market: str, token: str, outcome: str, shares: int) -> None:
    position = account.positions.get(token)
    if position is None:
        position = account.positions[token] = Position(market, outcome)
    position.shares += shares
    if not position.shares:
        del account.positions[token]


def _audit(account: Holdings) -> None:
    moves = [(fill, 1) for fill in account.fills] + [(fill, -1) for fill in account.reversed]
    cash = account.deposited + sum(sign * fill.cash for fill, sign in moves)
    cash += sum(r.payout for r in account.redemptions) - sum(c.sets for c in account.conversions)
    _same(account, "cash", account.cash, cash)
    _same(account, "fees", account.fees, sum(sign * fill.fee for fill, sign in moves))
    shares: dict[str, int] = {}
    for fill, sign in moves:
        shares[fill.token] = shares.get(fill.token, 0) + sign * fill.gained
    for conversion in account.conversions:
        for token in conversion.tokens:
            shares[token] = shares.get(token, 0) + conversion.sets
    for redemption in account.redemptions:
        shares[redemption.token] = shares.get(redemption.token, 0) - redemption.shares
        if redemption.payout != redemption.shares * redemption.worth[0] // redemption.worth[1]:
            raise LedgerError(f"{account.address}: {redemption.shares} units were redeemed for {redemption.payout}")
    for token in shares.keys() | account.positions.keys():
        _same(account, f"shares of {token}", account.shares(token), shares.get(token, 0))
    _audit_open(account, shares)


def _audit_open(account: Holdings, shares: Mapping[str, int]) -> None:
    """What is reserved must be there, and what is claimed must rest on a fill."""
    wanted = {token: account.reserved_shares(token) for _, token, _ in account.reserved.values() if token}
    owes = account.cash < account.reserved_cash or any(shares.get(token, 0) < left for token, left in wanted.items())
    # Only who spent what then failed on the chain can owe.
    if (owes or min(shares.values(), default=0) < 0) and not account.reversed:
        raise LedgerError(f"{account.address}: cash {account.cash}, reserved {account.reserved_cash}, shares {shares}")
    known = {fill.id for fill in account.fills}
    if len(known) != len(account.fills):
        raise LedgerError(f"{account.address}: a fill is booked twice")
    if not account.claims.keys() <= known:
        raise LedgerError(f"{account.address}: a claim rests on no fill")


def _same(account: Holdings, what: str, kept: int, computed: int) -> None:
    if kept != computed:
        raise LedgerError(f"{account.address}: {what} is {kept}, its entries say {computed}")
