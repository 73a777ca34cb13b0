"""The simulated venue's books of account: who has how much cash and how many shares of what, to the unit.

A :class:`Ledger` holds accounts by address. Every change is an entry (a deposit, a fill, a redemption), and running
totals are kept beside the entries; :meth:`Ledger.audit` computes the totals again from the entries alone and raises
on any difference. All numbers are ints: money in 1/1,000,000 pUSD and shares in 1/1,000,000, the two scales of the
venue's contracts. Nothing here knows orders' rules, books or HTTP; :mod:`polymirror.simulator.orders.broker` writes in
it, tests and a run's closing summary read it.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from polymirror.errors import ConfigError, PolymirrorError

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE_PUSD: Final = 1_000_000
"""Money units in one pUSD."""

ONE_SHARE: Final = 1_000_000
"""Units of shares in one share; redeemed, a winning share is worth one pUSD."""

MAX_ENTRIES: Final = 1_000_000
"""More fills and redemptions than this are not kept: the ledger refuses them, it never forgets one."""


MAX_DEPOSIT: Final = 10**12 * ONE_PUSD
"""Nobody brings in more at once."""

_EXACT: Final = Context(prec=40, traps=[Inexact])


class LedgerError(PolymirrorError):
    """The ledger does not balance, or would not after this entry. The message names the account and both numbers."""


@frozen(kw_only=True)
class Fill:
    """One match: a part of a taker's order against one price level.

    ``price`` is in 1/10,000 pUSD, ``money`` what the shares cost (or brought) without the ``fee``.
    """

    id: str
    order_id: str
    address: str
    market: str
    token: str
    outcome: str
    buys: bool
    price: int
    shares: int
    money: int
    fee: int
    at_ms: int

    @property
    def cash(self) -> int:
        """What the fill did to the account's money: negative when buying."""
        return -(self.money + self.fee) if self.buys else self.money - self.fee


@frozen(kw_only=True)
class Redemption:
    """Shares of a resolved market that were given back, for one pUSD each or for nothing."""

    address: str
    market: str
    token: str
    shares: int
    payout: int
    at_ms: int


@define
class Position:
    """Shares of one token, and the market it belongs to."""

    market: str
    outcome: str
    shares: int = 0


@define
class Holdings:
    """What one address has. ``cash`` includes what is reserved."""

    address: str
    deposited: int = 0
    cash: int = 0
    fees: int = 0
    positions: dict[str, Position] = field(factory=dict)
    reserved: dict[str, tuple[int, str, int]] = field(factory=dict)
    """What orders in flight may still spend, by order: (money, token, shares)."""
    fills: list[Fill] = field(factory=list)
    redemptions: list[Redemption] = field(factory=list)

    @property
    def pusd(self) -> Decimal:
        """The cash in pUSD, exact."""
        return Decimal(self.cash).scaleb(-6, _EXACT)

    @property
    def reserved_cash(self) -> int:
        """Money that orders in flight may still spend."""
        return sum(money for money, _, _ in self.reserved.values())

    def reserved_shares(self, token: str) -> int:
        """Shares of a token that orders in flight may still sell."""
        return sum(shares for _, each, shares in self.reserved.values() if each == token)

    def shares(self, token: str) -> int:
        """Shares of a token, what is reserved included."""
        position = self.positions.get(token)
        return 0 if position is None else position.shares


class Ledger:
    """Accounts by address, and the proof that they balance."""

    def __init__(self) -> None:
        self.accounts: dict[str, Holdings] = {}
        # How many fills and redemptions all accounts have together.
        self._entries = 0

    @property
    def full(self) -> bool:
        """Whether no further fill or redemption can be kept."""
        return self._entries >= MAX_ENTRIES

    def account(self, address: str) -> Holdings:
        """Return an account; an address that was never seen has an empty one."""
        found = self.accounts.get(address)
        if found is None:
            found = self.accounts[address] = Holdings(address)
        return found

    def deposit(self, address: str, units: int) -> None:
        """Bring in money from outside, in 1/1,000,000 pUSD. Raises ConfigError unless that is a positive int."""
        if type(units) is not int or not 0 < units <= MAX_DEPOSIT:
            raise ConfigError("deposit", units, f"a whole number of 1/1,000,000 pUSD between 1 and {MAX_DEPOSIT}")
        account = self.account(address)
        account.deposited += units
        account.cash += units

    # What orders do.

    def reserve(self, address: str, order_id: str, *, money: int = 0, token: str = "", shares: int = 0) -> None:
        """Set aside what an order in flight may spend. Raises LedgerError when it is not there, and changes nothing."""
        account = self.account(address)
        if money < 0 or shares < 0 or order_id in account.reserved:
            raise LedgerError(f"{address}: cannot reserve {money} and {shares} for order {order_id} (again)")
        if money > account.cash - account.reserved_cash:
            free = account.cash - account.reserved_cash
            raise LedgerError(f"{address}: order {order_id} needs {money} units of money, {free} are free")
        if shares > account.shares(token) - account.reserved_shares(token):
            free = account.shares(token) - account.reserved_shares(token)
            raise LedgerError(f"{address}: order {order_id} needs {shares} units of shares, {free} are free")
        account.reserved[order_id] = (money, token, shares)

    def settle(self, address: str, order_id: str, fills: Iterable[Fill]) -> None:
        """Book what an order got, none or many, and release what was set aside for it.

        Raises LedgerError when the fills spend more than was reserved: then nothing is booked.
        """
        account = self.account(address)
        money, token, shares = account.reserved[order_id]
        booked = tuple(fills)
        spent = sum(fill.money + fill.fee for fill in booked if fill.buys)
        sold = sum(fill.shares for fill in booked if not fill.buys)
        strange = [fill for fill in booked if fill.address != address or fill.order_id != order_id]
        if spent > money or sold > shares or strange or any(not f.buys and f.token != token for f in booked):
            raise LedgerError(f"{address}: order {order_id} spent {spent} of {money} and sold {sold} of {shares}")
        del account.reserved[order_id]
        for fill in booked:
            position = account.positions.setdefault(fill.token, Position(fill.market, fill.outcome))
            position.shares += fill.shares if fill.buys else -fill.shares
            account.cash += fill.cash
            account.fees += fill.fee
            account.fills.append(fill)
            if not position.shares:
                del account.positions[fill.token]
        self._entries += len(booked)

    def redeem(self, address: str, market: str, winner: str, at_ms: int) -> list[Redemption]:
        """Give back all shares of a resolved market: the winning token's for one pUSD each, the others' for nothing.

        Nothing held, nothing done: a second call returns an empty list.
        """
        account = self.account(address)
        done = []
        for token in [token for token, position in account.positions.items() if position.market == market]:
            shares = account.positions.pop(token).shares
            payout = shares if token == winner else 0
            account.cash += payout
            done.append(
                Redemption(address=address, market=market, token=token, shares=shares, payout=payout, at_ms=at_ms)
            )
        account.redemptions += done
        self._entries += len(done)
        return done

    # The proof.

    def audit(self) -> None:
        """Compute every account again from its entries. Raises LedgerError, which names the first difference."""
        for account in self.accounts.values():
            _audit(account)


def _audit(account: Holdings) -> None:
    cash = account.deposited + sum(f.cash for f in account.fills) + sum(r.payout for r in account.redemptions)
    _same(account, "cash", account.cash, cash)
    _same(account, "fees", account.fees, sum(fill.fee for fill in account.fills))
    shares: dict[str, int] = {}
    for fill in account.fills:
        shares[fill.token] = shares.get(fill.token, 0) + (fill.shares if fill.buys else -fill.shares)
    for redemption in account.redemptions:
        shares[redemption.token] = shares.get(redemption.token, 0) - redemption.shares
        if redemption.payout not in {0, redemption.shares}:
            raise LedgerError(f"{account.address}: {redemption.shares} units were redeemed for {redemption.payout}")
    for token in shares.keys() | account.positions.keys():
        _same(account, f"shares of {token}", account.shares(token), shares.get(token, 0))
    if account.cash < account.reserved_cash or min(shares.values(), default=0) < 0:
        raise LedgerError(f"{account.address}: cash {account.cash}, reserved {account.reserved_cash}, shares {shares}")
    if len({fill.id for fill in account.fills}) != len(account.fills):
        raise LedgerError(f"{account.address}: a fill is booked twice")


def _same(account: Holdings, what: str, kept: int, computed: int) -> None:
    if kept != computed:
        raise LedgerError(f"{account.address}: {what} is {kept}, its entries say {computed}")
