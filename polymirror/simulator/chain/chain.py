"""Transactions of accounts: what contracts are called, when it is mined, and what that does to the books of account.

A transaction is a list of calls of one address, all or none of which happen, ``mine_ms`` after it was sent. Only what
the venue's SDK calls is understood: split, merge and redeem, and approvals, which change nothing here because
everything is approved. Nothing is signed here; who sent it is the affair of
:mod:`polymirror.simulator.chain.rpc` and :mod:`polymirror.simulator.chain.relayer`. Pure.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from attrs import define

from polymirror.simulator.chain.abi import Arguments, selector
from polymirror.simulator.orders.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.exchange.agenda import Output
    from polymirror.simulator.exchange.exchange import Exchange

SPLIT: Final = selector("splitPosition(address,bytes32,bytes32,uint256[],uint256)")
MERGE: Final = selector("mergePositions(address,bytes32,bytes32,uint256[],uint256)")
REDEEM: Final = selector("redeemPositions(address,bytes32,bytes32,uint256[])")
HARMLESS: Final = frozenset({selector("approve(address,uint256)"), selector("setApprovalForAll(address,bool)")})

MAX_TRANSACTIONS: Final = 100_000
"""More are not kept; the oldest are forgotten first."""

MAX_CALLS: Final = 100

NO_RESULT: Final = "execution reverted: result for condition not received yet"


class ContractCall(NamedTuple):
    """One call of a contract."""

    to: str
    data: bytes


class Owner(Protocol):
    """Who changes positions: the broker."""

    def split(self, address: str, market: str, amount: int, now_ms: int) -> object:
        """Turn money into a share of each token; ``amount`` in 1/1,000,000. Raises Refused."""
        ...

    def merge(self, address: str, market: str, amount: int, now_ms: int) -> object:
        """Turn a share of each token into money. Raises Refused."""
        ...

    def redeem(self, address: str, market: str, now_ms: int) -> object:
        """Give back the shares of a resolved market. Raises Refused."""
        ...

    def has_account(self, address: str) -> bool:
        """Whether an address has books of account of its own."""
        ...


@define
class Transaction:
    """What became of a transaction. ``failure`` is empty unless it was mined and did nothing."""

    hash: str
    address: str
    calls: tuple[ContractCall, ...]
    mined: bool = False
    failure: str = ""


class Chain:
    """The transactions on one exchange.

    ``purse_of`` tells under which address in the books of account a wallet's things are, as far as that is known
    without the chain. For ``redeem_after_ms`` from the first attempt on, redeeming a market fails (a fault).
    """

    def __init__(
        self,
        exchange: Exchange,
        owner: Owner,
        purse_of: Callable[[str], str],
        *,
        mine_ms: int = 500,
        redeem_after_ms: int = 0,
    ) -> None:
        self.exchange = exchange
        self.mine_ms = mine_ms
        self.redeem_after_ms = redeem_after_ms
        self._owner = owner
        # By market: when somebody first tried to redeem it after its end.
        self._tried_ms: dict[str, int] = {}
        self._sent: dict[str, Transaction] = {}
        self._nonces: dict[str, int] = {}
        self._purse_of = purse_of
        # By wallet, in lower case: who sent transactions for it.
        self._signers: dict[str, str] = {}

    def belongs(self, wallet: str, signer: str) -> bool:
        """A wallet is said to be this signer's; whether it may be: it is nobody else's, and no account of its own."""
        known, purse = self._signers.get(wallet.lower()), self._purse_of(wallet)
        if self._owner.has_account(purse):
            return purse.lower() == signer.lower()
        if known is None and len(self._signers) < MAX_TRANSACTIONS:
            self._signers[wallet.lower()] = signer
        return known is None or known.lower() == signer.lower()

    def purse_of(self, address: str) -> str:
        """The address under which a wallet's things are in the books of account."""
        purse = self._purse_of(address)
        if purse.lower() != address.lower() or self._owner.has_account(purse):
            return purse
        return self._purse_of(self._signers.get(address.lower(), address))

    def send(self, address: str, calls: Sequence[ContractCall], now_ms: int) -> Transaction:
        """Take a transaction on; it is mined a moment later, as an event of the exchange's agenda."""
        nonce = self.nonce(address)
        self._nonces[address.lower()] = nonce + 1
        name = "0x" + sha256(f"{address.lower()}/{nonce}/{now_ms}".encode()).hexdigest()
        sent = self._sent[name] = Transaction(name, address, tuple(calls[:MAX_CALLS]))
        while len(self._sent) > MAX_TRANSACTIONS:
            del self._sent[next(iter(self._sent))]
        self.exchange.agenda.add(max(now_ms, self.exchange.now_ms) + self.mine_ms, partial(self._mine, sent))
        return sent

    def find(self, name: str) -> Transaction | None:
        """The transaction with this hash."""
        return self._sent.get(name)

    def nonce(self, address: str) -> int:
        """How many transactions an address has sent."""
        return self._nonces.get(address.lower(), 0)

    def _mine(self, sent: Transaction, at_ms: int, out: Output) -> None:
        del out  # what it does to accounts is on no public channel
        sent.mined = True
        # What is not understood is found before anything is done. That a later call of several is refused after an
        # earlier one was done does not happen with one call, and one is what the SDK sends.
        try:
            steps = [step for call in sent.calls if (step := self._read(self.purse_of(sent.address), call)) is not None]
            for step in steps:
                step(at_ms)
        except (Refused, ValueError) as error:
            sent.failure = error.text if isinstance(error, Refused) else str(error)

    def _read(self, address: str, call: ContractCall) -> Callable[[int], object] | None:
        """What a call does; ``None``: nothing. Raises ValueError for one that is not understood."""
        kind, arguments = call.data[:4], Arguments(call.data[4:])
        if kind in HARMLESS:
            return None
        if kind == REDEEM:
            return partial(self._redeem, address, f"0x{arguments.word(2).hex()}")
        if kind in {SPLIT, MERGE}:
            does = self._owner.split if kind == SPLIT else self._owner.merge
            return partial(does, address, f"0x{arguments.word(2).hex()}", arguments.number(4))
        raise ValueError(f"execution reverted: the simulated chain does not know the call 0x{kind.hex()}")

    def _redeem(self, address: str, market: str, at_ms: int) -> None:
        if self.redeem_after_ms and self.exchange.payouts(market) is not None:
            tried_ms = self._tried_ms.setdefault(market, at_ms)
            if at_ms < tried_ms + self.redeem_after_ms:
                raise Refused(400, NO_RESULT)
        self._owner.redeem(address, market, at_ms)
