"""A trading client for the venue itself, on its official SDK (``polymarket-client``, the extra ``bots``).

Two of the SDK's clients share one set of credentials. The synchronous one signs and redeems in threads of its own,
so that no signature ever holds up the event loop; the asynchronous one sends orders and reads, because the lease
must be checked in the loop and in the same step in which the bytes leave. What the SDK raises is translated into the
errors of :mod:`bots.common.errors` here, and nothing else knows the SDK. Not tested against the live venue.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import typing
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx
from attrs import field, frozen

from bots.common.errors import BotError, NoMatch, NotSent, TradingError, Unanswered, VenueRefused
from bots.common.execution.base import Ack, ChainStatus, Holdings, Prepared, Redeemed, Trade
from bots.common.execution.reading import fills, named, state_of, word
from bots.common.execution.wire import MAX_PAGES, Departure, refusal, said_no
from bots.common.money.amounts import BASE_UNITS, EXACT
from bots.common.orders.order import Side
from bots.common.secrets import NOTHING, Secret, secret_of
from polymirror.errors import ConfigError, MissingExtra, NotLive
from polymirror.venue.bounded import bound_answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from bots.common.execution.base import OrderState
    from bots.common.orders.order import Order

T = TypeVar("T")

NO_MATCH_CODES: Final = frozenset({"unmatched", "fok_not_filled", "fak_not_filled"})

ORDER_PATH: Final = "/order"

LOGIN_WITHIN: Final = 30.0
"""Seconds for all calls of a login together: the SDK makes them before anything of it can be bounded."""

WEI: Final = 10**18
"""Parts of a POL in which gas is paid."""

BUILT_DIFFERENTLY: Final = "this version of polymarket-client is built differently: live trading needs 0.14"

POSITIONS: Final = 1_000
"""Positions of a page, the most there can be: shares that lost stay in a wallet for good."""

MAX_ANSWER_BYTES: Final = 2**24
"""Of one answer: a page of a thousand positions has less than a megabyte."""

_departing: ContextVar[Departure | None] = ContextVar("departing", default=None)
"""The order that the running task is about to send."""


@frozen(kw_only=True)
class Wallet:
    """What it takes to trade. Prints without its secrets."""

    private_key: Secret = field(converter=secret_of)
    address: str | None = None
    """The wallet to trade for; ``None``: the deposit wallet of the key."""
    api_key: Secret = field(default=NOTHING, converter=secret_of)
    api_secret: Secret = field(default=NOTHING, converter=secret_of)
    api_passphrase: Secret = field(default=NOTHING, converter=secret_of)
    """The venue's credentials, all three or none: without them the SDK derives them from the key."""
    relayer_key: Secret = field(default=NOTHING, converter=secret_of)
    relayer_address: str | None = None
    """What redeeming without gas needs, for wallets other than a plain key's own."""
    max_gas: Decimal = Decimal("0.5")
    """POL that a transaction of a plain key's own wallet may cost at most; a dearer one is not signed."""

    def __attrs_post_init__(self) -> None:
        three = (self.api_key, self.api_secret, self.api_passphrase)
        if any(three) and not all(three):
            raise ConfigError("api_key", "(hidden)", "given together with api_secret and api_passphrase, or not at all")
        if bool(self.relayer_key) != bool(self.relayer_address):
            raise ConfigError("relayer_key", "(hidden)", "given together with relayer_address, or not at all")


class SdkClient:
    """One wallet at the venue. Open it with :meth:`open` and use it with ``async with``. Times in seconds."""

    def __init__(
        self,
        wallet: Wallet,
        sender: Any,
        signer: Any,
        login: dict[str, Secret],
        *,
        timeout: float = 5.0,
        redeem_timeout: float = 240.0,
    ) -> None:
        self._wallet = wallet
        # The SDK's asynchronous client: sends and reads.
        self._sender = sender
        # The SDK's synchronous client: signs and redeems, each in its own thread.
        self._signer = signer
        self._timeout = timeout
        self._redeem_timeout = redeem_timeout
        self._signing = ThreadPoolExecutor(1, "signing")
        self._redeeming = ThreadPoolExecutor(1, "redeeming")
        self._login = login
        _watch_departures(sender)
        _bound_answers(sender)
        _bound_answers(signer)
        for client in (sender, signer):
            _bound_gas(client, wallet.max_gas)

    @classmethod
    async def open(cls, wallet: Wallet, *, timeout: float = 5.0, environment: Any = None) -> SdkClient:
        """Log in.

        Raises MissingExtra without the SDK, BotError for credentials that cannot be any, and TradingError when the
        venue does not let us in, or not within :data:`LOGIN_WITHIN`.
        """
        try:
            import polymarket as sdk  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise MissingExtra("live trading", "live") from error

        def options(**more: Any) -> dict[str, Any]:
            made: dict[str, Any] = {"private_key": wallet.private_key.reveal(), **more}
            if environment is not None:
                made["environment"] = environment
            if wallet.relayer_key and wallet.relayer_address is not None:
                made["api_key"] = sdk.RelayerApiKey(key=wallet.relayer_key.reveal(), address=wallet.relayer_address)
            return made

        given = None
        if wallet.api_key:
            three = (wallet.api_key, wallet.api_secret, wallet.api_passphrase)
            given = sdk.ApiKeyCreds(
                **dict(zip(("key", "secret", "passphrase"), map(Secret.reveal, three), strict=True))
            )
        sender, limit = None, asyncio.timeout(LOGIN_WITHIN)
        try:
            async with limit:
                sender = await sdk.AsyncSecureClient.create(**options(wallet=wallet.address, credentials=given))
                # Held, and so hidden, while the second client may fail with them in its words.
                login = _login(sender)
                given = sender.credentials
                signer = await _apart(
                    partial(sdk.SecureClient.create, **options(wallet=sender.wallet, credentials=given))
                )
        except Exception as error:  # noqa: BLE001 - translated
            if sender is not None:
                await sender.close()
            if limit.expired():
                raise Unanswered("log in", f"not done within {LOGIN_WITHIN:g} s") from None
            failed = _translated("log in", error)
            if isinstance(failed, NotSent):
                # The SDK does not even ask with credentials that cannot be any.
                raise BotError(f"the credentials cannot be used ({failed.detail})") from None
            raise failed from None
        return cls(wallet, sender, signer, login, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sender.close()
        # A signature that is being made takes milliseconds; a redemption under way is not waited for.
        self._signing.shutdown(wait=True, cancel_futures=True)
        self._redeeming.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._signer.close)

    @property
    def address(self) -> str:
        """The wallet that is traded for."""
        return str(self._sender.wallet)

    # The calls of a TradingClient.

    async def prepare(self, order: Order) -> Prepared:
        """Sign the order in a thread, and make sure that what was signed is the order."""
        amounts: dict[str, Any] = (
            {"amount": order.money, "max_price": order.price}
            if order.side is Side.BUY
            else {"shares": order.shares, "min_price": order.price}
        )
        sign = partial(
            self._signer.create_market_order,
            token_id=order.token,
            side=order.side.value,
            order_type=order.tif.value,
            **amounts,
        )
        try:
            async with asyncio.timeout(self._timeout):
                signed = await asyncio.get_running_loop().run_in_executor(self._signing, sign)
        except Exception as error:  # noqa: BLE001 - nothing has left, whatever it was
            raise NotSent("sign order", f"{type(error).__name__}: {error}") from None
        _must_be(order, signed)
        # The venue's name for the order is the hash of what was signed, by all accounts; but a look-up under a
        # name that is only believed could "prove" that an order never arrived. So it has none until it is told.
        return Prepared(order=order, order_id=None, payload=signed)

    def order_id(self, order: Order) -> str | None:  # noqa: ARG002 - part of the protocol
        """Return nothing: see :meth:`prepare`."""
        return None

    async def send(self, prepared: Prepared, check: Callable[[], object]) -> Ack:
        """Send the signed order, once. See :class:`~bots.common.execution.base.TradingClient`."""
        departure = Departure(check, traced=True)
        token = _departing.set(departure)
        try:
            departure()
            async with asyncio.timeout(self._timeout):
                answer = await self._sender.post_order(prepared.payload)
        except (NotLive, TradingError):
            raise
        except Exception as error:  # noqa: BLE001 - sorted by what it means for the order
            raise _translated("order", error, departure) from None
        finally:
            _departing.reset(token)
        if not answer.ok:
            text = str(answer.message)
            raise NoMatch("order", 200, text) if answer.code in NO_MATCH_CODES else said_no("order", text)
        buying = prepared.order.side is Side.BUY
        shares = answer.taking_amount if buying else answer.making_amount
        return Ack(order_id=named(str(answer.order_id), "order", "order_id"), status=word(answer.status), shares=shares)

    async def look_up(self, order_id: str) -> OrderState | None:
        """Return what the venue says of an order, or ``None`` for a 404."""
        try:
            found = await self._ask("order look-up", self._sender.get_order(order_id=order_id))
        except VenueRefused as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return state_of(found.status, found.size_matched)

    async def trades(self, since_ms: int, *, market: str | None = None) -> Sequence[Trade]:
        """Return our taker fills since then, the oldest first, those that failed on the chain too."""
        pages = self._sender.list_account_trades(market=market, after=str(since_ms // 1000))
        found = await self._ask("trades", _items(pages))
        taken = [fill for trade in found if trade.trader_side == "TAKER" for fill in _fills(trade)]
        return sorted(taken, key=lambda fill: fill.at_ms)

    async def holdings(self) -> Holdings:
        """Return the wallet's pUSD, and its positions as the venue's index has them, which lags some seconds."""
        cash, held = await asyncio.gather(
            self._ask("balance", self._sender.get_balance_allowance(asset_type="COLLATERAL")),
            self._ask("positions", _items(self._sender.list_positions(page_size=POSITIONS))),
        )
        positions: dict[str, Decimal] = {}
        for each in held:
            if each.current_size > 0:
                token = named(str(each.asset_id), "positions", "asset_id")
                positions[token] = positions.get(token, Decimal(0)) + each.current_size
        return Holdings(cash=Decimal(cash.balance) / BASE_UNITS, positions=positions)

    async def redeem(self, market: str, token: str) -> Redeemed:
        """Redeem a settled market on the chain and wait until that is certain, in a thread."""
        question = self._sender.get_balance_allowance(asset_type="CONDITIONAL", token_id=token)
        balance = await self._ask("balance", question)
        if not balance.balance:
            return Redeemed(shares=Decimal(0))

        def redeem_and_wait() -> None:
            self._signer.redeem_positions(condition_id=market).wait()

        try:
            async with asyncio.timeout(self._redeem_timeout):
                await asyncio.get_running_loop().run_in_executor(self._redeeming, redeem_and_wait)
        except Exception as error:  # noqa: BLE001 - sorted by what it means
            raise _translated("redeem", error) from None
        return Redeemed(shares=Decimal(balance.balance) / BASE_UNITS)

    async def merge(self, market: str, shares: Decimal) -> None:
        """Merge shares of both tokens on the chain and wait until that is certain, in a thread."""
        amount = int(shares * BASE_UNITS)

        def merge_and_wait() -> None:
            self._signer.merge_positions(condition_id=market, amount=amount).wait()

        try:
            async with asyncio.timeout(self._redeem_timeout):
                await asyncio.get_running_loop().run_in_executor(self._redeeming, merge_and_wait)
        except Exception as error:  # noqa: BLE001 - sorted by what it means
            raise _translated("merge", error) from None

    def login(self) -> dict[str, str]:
        """Return the credentials as the user channel wants them."""
        return {name: secret.reveal() for name, secret in self._login.items()}

    async def authorised(self) -> None:
        """Make a cheap call that needs credentials. Raises BadCredentials or another TradingError."""
        await self._ask("credentials", self._sender.fetch_api_keys())

    async def approved(self) -> bool:
        """Say whether the venue's contracts may move the wallet's pUSD and shares, as far as its index knows.

        Raises TradingError also for a wallet that could buy and not redeem what it won.
        """
        if self._sender.wallet_type != "EOA" and not self._wallet.relayer_key:
            kind = str(self._sender.wallet_type).lower().replace("_", " ")
            why = f"a {kind} redeems through the venue's relayer: give its key and address"
            raise TradingError("redeeming", why)
        state = await self._ask("approvals", self._sender.get_trading_approvals_state())
        return bool(state.is_fully_approved)

    async def _ask(self, call: str, question: Awaitable[T]) -> T:
        """Make one call that changes nothing."""
        try:
            async with asyncio.timeout(self._timeout):
                return await question
        except TradingError:
            raise
        except Exception as error:  # noqa: BLE001 - translated
            raise _translated(call, error) from None


async def _apart(work: Callable[[], T]) -> T:
    """Do what blocks in a thread of its own, for which nobody waits at the end: what comes too late is dropped."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(typing.cast("T", value))
        else:
            done.set_exception(error)

    def run() -> None:
        value, failed = None, None
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(tell, value, failed)

    threading.Thread(target=run, name="log in", daemon=True).start()
    return await done


def _login(sender: Any) -> dict[str, Secret]:
    """Return the credentials of a client: where none were given, the venue has made them, and they are as secret."""
    made = sender.credentials
    return {"apiKey": Secret(made.key), "secret": Secret(made.secret), "passphrase": Secret(made.passphrase)}


def _watch_departures(sender: Any) -> None:
    """Have the SDK's HTTP client tell when an order's bytes leave.

    The SDK offers no place for that, so its client is reached into at this one point. Without it a lease could be
    checked a whole TLS handshake too early: an SDK that is built otherwise is refused.
    """
    inner = getattr(getattr(getattr(sender, "_ctx", None), "secure_clob", None), "_client", None)
    if not isinstance(inner, httpx.AsyncClient):
        raise BotError(BUILT_DIFFERENTLY)

    async def before_request(request: httpx.Request) -> None:
        departure = _departing.get()
        if departure is not None and request.method == "POST" and request.url.path == ORDER_PATH:
            request.extensions["trace"] = departure.trace

    inner.event_hooks = {**inner.event_hooks, "request": [*inner.event_hooks["request"], before_request]}


def _bound_answers(client: Any) -> None:
    """Have the SDK read no answer without end: its clients have no limit."""
    context: Any = getattr(client, "_ctx", None)
    for name in getattr(context, "__dataclass_fields__", ()):
        each: Any = getattr(context, name)
        # The node of the chain is asked through one more.
        inner = getattr(getattr(each, "_transport", each), "_client", None)
        if isinstance(inner, httpx.Client | httpx.AsyncClient):
            bound_answers(inner, MAX_ANSWER_BYTES)


def _bound_gas(client: Any, most: Decimal) -> None:
    """Have the SDK sign no transaction that may cost more: it takes price and amount of gas from a public node."""
    account: Any = getattr(getattr(client, "_ctx", None), "signer", None)
    sign = getattr(account, "sign_transaction", None)
    if sign is None:
        raise BotError(BUILT_DIFFERENTLY)

    def sign_within(transaction: Any, *args: Any, **given: Any) -> Any:
        price = max(transaction.get(name, 0) for name in ("gasPrice", "maxFeePerGas"))
        cost = Decimal(transaction["gas"] * price + transaction.get("value", 0)) / WEI
        if cost > most:
            raise ValueError(f"the node asks for {cost:.6f} POL and no more than live.max_gas, {most} POL, is paid")
        return sign(transaction, *args, **given)

    account.sign_transaction = sign_within


def _must_be(order: Order, signed: Any) -> None:
    """Raise NotSent unless what was signed offers exactly what the order offers, at a price that is no worse.

    The SDK rounds by the tick size it remembers, which may be older than the mirror's.
    """
    at_limit = EXACT.divide(order.money, order.price) if order.side is Side.BUY else order.shares * order.price
    least, most = order.asked * BASE_UNITS, at_limit * BASE_UNITS
    same = (
        str(signed.token_id) == order.token
        and signed.side == order.side.value
        and signed.order_type == order.tif.value
        and signed.maker_amount == order.offered * BASE_UNITS
        and least <= signed.taker_amount <= most
    )
    if not same:
        made = f"{signed.order_type} {signed.side} {signed.maker_amount} for {signed.taker_amount} of millionths"
        raise NotSent("sign order", f"the SDK made another order of it: {made}")


def _translated(call: str, error: Exception, departure: Departure | None = None) -> TradingError:
    """Return what an exception of the SDK, or of the network under it, means."""
    text = str(error) or type(error).__name__
    status = getattr(error, "status", None)
    name = type(error).__name__
    if name == "RateLimitError":
        return refusal(call, httpx.codes.TOO_MANY_REQUESTS, text, retry_after=getattr(error, "retry_after", None))
    if isinstance(status, int):
        return refusal(call, status, text, retry_after=getattr(error, "retry_after", None))
    if name in {"UserInputError", "SigningError", "CancelledSigningError"}:
        return NotSent(call, f"{name}: {text}")
    if name == "TransactionFailedError":
        return VenueRefused(call, httpx.codes.OK, text)
    if departure is not None:
        cause = error.__cause__ if isinstance(error.__cause__, httpx.HTTPError) else error
        return departure.failed(call, cause)
    return Unanswered(call, f"{name}: {text}")


async def _items(pages: Any) -> list[Any]:
    """Read all pages of a list of the SDK, up to a bound."""
    found: list[Any] = []
    count = 0
    page_source: AsyncIterator[Any] = aiter(pages)
    async for page in page_source:
        found += page.items
        count += 1
        if count >= MAX_PAGES and page.has_more:
            raise Unanswered("list", f"more than {MAX_PAGES} pages")
    return found


def _fills(trade: Any) -> list[Trade]:
    """Take a trade of the SDK apart."""
    whole = Trade(
        id=named(str(trade.id), "trades", "id"),
        order_id=named(str(trade.taker_order_id), "trades", "taker_order_id"),
        market=named(str(trade.condition_id), "trades", "condition_id"),
        token=named(str(trade.asset_id), "trades", "asset_id"),
        side=Side(str(trade.side)),
        price=trade.price,
        shares=trade.size,
        money=Decimal(0),
        at_ms=int(trade.matched_at.timestamp() * 1000),
        status=ChainStatus.of(str(trade.status)),
        tx=named(str(trade.transaction_hash), "trades", "transaction_hash") if trade.transaction_hash else None,
    )
    return fills(whole, [(str(each.asset_id), each.price, each.matched_amount) for each in trade.maker_orders])
