"""A stage for bots: the embedded exchange in virtual time, with all that a bot meets there, and a judge.

Rolling rounds, makers who lag behind the oracle, the price feeds, the order desk with its ledger, and on request a
storm of faults in each of them. Simulations and tests of bots build one; a bot does not know that it is on it. Its
executor tells the judge what each order rests on in the moment it leaves.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve

from bots.common.execution.live import LiveExecutor
from bots.common.execution.node import Node
from bots.common.operate.notifications import Telegram
from bots.common.secrets import Secret
from bots.testing.exchange import ApiKey, ExchangeClient
from bots.testing.telegram import TelegramFaults, TelegramService
from polymirror.simulator.chain.chain import Chain
from polymirror.simulator.chain.rpc import PATH as RPC_PATH
from polymirror.simulator.chain.rpc import JsonRpc
from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.faults.base import Fault, Plan
from polymirror.simulator.faults.catalogue import FAULTS
from polymirror.simulator.feeds import FEED_FAULTS, RtdsFeed
from polymirror.simulator.orders.broker import Broker
from polymirror.simulator.orders.desk import Account, OrderDesk
from polymirror.simulator.orders.faults import OrderFaultRates, OrderFaults
from polymirror.simulator.orders.judge import OrderJudge
from polymirror.simulator.orders.ledger import Ledger
from polymirror.simulator.settings import DEFAULT_START_MS, START_PRICES, ExchangeConfig
from polymirror.simulator.virtual import VirtualVenue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Iterable

    from bots.common.execution.live import LiveConfig
    from bots.common.orders.order import Order
    from bots.updown.oracles.factory import OracleSettings
    from polymirror.core.view import BookView
    from polymirror.simulator.settings import RoundsConfig
    from polymirror.venue.network import Network

_NOT_IN_A_STORM: Final = ("settlement", "clock_", "stalled_loop", "hash_dialect")
"""What would end every market early, or is about other clocks and programs than these: by the start of the id."""

_UNKNOWABLE: Final = ("replayed_connection", "asymmetric_market", "future_stamp", "rest_stale_long")
"""What makes a book wrong in a way that nobody can know (docs/proofs.md). The torture's judge excuses and counts it;
the judge here excuses nothing, so a storm has none of it."""

_REST_SHARE: Final = 0.25

STORM: Final[dict[str, float]] = {
    name: _REST_SHARE if name.startswith("rest_") else 1.0
    for name in FAULTS
    if not name.startswith((*_NOT_IN_A_STORM, *_UNKNOWABLE))
}
"""The faults of books and calls that a storm has, and how often each strikes, as a part of its usual share."""

STALE: Final = ("rest_stale", "rest_behind")
MAX_STALE_MS: Final = 1_100
"""Books by REST are no older than this, as measured at the venue. If they could be as old as a frozen token's stream,
the two would agree on a book that is over, and no client could know."""

ALLOWED_MS: Final = 3_000
"""How much older than its proof a book may be before the judge calls it wrong: the apply lag that a mirror accepts
(2 s), and a second for what REST and the way add."""

ORDER_STORM: Final = evolve(
    OrderFaultRates.storm(),
    lag_ms=30_000,
    failed_trades=0.1,
    null_lookups=0.05,
    strange_words=0.05,
    redeem_after_ms=900_000,
)
"""Answers are lost, lists are half a minute behind, trades fail on the chain, and redemptions are refused for long."""

TELEGRAM_STORM: Final = TelegramFaults(busy=0.1, error=0.1, lost=0.05, silent=0.05, garbage=0.05)

NOTHING_HELD: Final = Decimal(0)

CASH: Final = 1_000_000_000
"""What the bot's account starts with, in 1/1,000,000 pUSD."""


@define(eq=False)
class Stage:
    """One simulated venue. Enter :attr:`venue` to open it."""

    exchange: Exchange
    ledger: Ledger
    judge: OrderJudge
    desk: OrderDesk
    account: Account
    rtds: RtdsFeed
    telegram: TelegramService
    venue: VirtualVenue

    @classmethod
    def build(
        cls,
        seed: int,
        rounds: RoundsConfig,
        *,
        start_ms: int = DEFAULT_START_MS,
        storm: bool = False,
        faults: Iterable[Fault] = (),
        feed_faults: Iterable[Fault] = (),
    ) -> Stage:
        """Make a venue of rounds whose runs depend on ``seed`` alone. ``storm``: everything goes wrong now and then.

        ``faults`` and ``feed_faults`` are further ones of books and calls, and of the price feed.
        """
        config = ExchangeConfig(seed=seed, rounds=rounds, start_ms=start_ms, new_market_every_ms=None)
        return cls.of(config, storm=storm, faults=faults, feed_faults=feed_faults)

    @classmethod
    def of(
        cls,
        config: ExchangeConfig,
        *,
        storm: bool = False,
        faults: Iterable[Fault] = (),
        feed_faults: Iterable[Fault] = (),
        one_entry: bool = True,
    ) -> Stage:
        """Make a venue of any markets. ``one_entry``: the judge calls a second purchase in a market a duplicate."""
        exchange, seed = Exchange(config), config.seed
        ledger, account = Ledger(), Account.made_up(f"bot {seed}")
        ledger.deposit(account.address, CASH)
        judge = OrderJudge(exchange, allowed_ms=ALLOWED_MS if storm else 1_000, one_entry=one_entry)
        broker = Broker(exchange, ledger, judge=judge)
        order_faults = OrderFaults(ORDER_STORM if storm else None, seed=seed)
        desk = OrderDesk(broker, [account], faults=order_faults)
        telegram = TelegramService(faults=TELEGRAM_STORM if storm else TelegramFaults(), seed=seed)
        wrong = (*(FEED_FAULTS if storm else ()), *feed_faults)
        assets = tuple(START_PRICES) if config.rounds is None else config.rounds.assets
        rtds = RtdsFeed(exchange.oracle, assets, seed=seed, faults=wrong)
        node = JsonRpc(Chain(exchange, broker, desk.purse_of), ledger)
        venue = VirtualVenue(
            exchange,
            faults=(*(_book_faults(seed) if storm else ()), *faults),
            seed=seed,
            feeds=[rtds],
            services=[node, desk, telegram],
        )
        return cls(exchange, ledger, judge, desk, account, rtds, telegram, venue)

    def chat(self, network: Network) -> Telegram:
        """Return the way to a chat of this stage's Telegram."""
        chat = str(next(iter(self.telegram.chats)))
        return Telegram(Secret(self.telegram.token), chat, network, api=self.venue.base_url)

    def oracle_settings(self, settings: OracleSettings) -> OracleSettings:
        """Point an oracle at this stage's feed, which speaks the protocol of the public relay."""
        return evolve(settings, source="rtds", url=self.venue.stream_url("/ws/rtds"))

    def findings(self, profit: Decimal, held_cost: Decimal = NOTHING_HELD, kept: Container[str] = ()) -> dict[str, Any]:
        """Say what the judge saw, and whether the ledger agrees with a bot's profit on all its positions that are over.

        ``held_cost`` is what those have cost that it keeps, ``kept`` are their tokens. Raises LedgerError when the
        ledger itself does not balance.
        """
        self.ledger.audit()
        account, verdict = self.ledger.account(self.account.address), self.judge.verdict()
        worth = Decimal(account.cash - account.deposited).scaleb(-6) + held_cost
        outcome = self.exchange.outcome
        lost = [
            token for token, held in account.positions.items() if outcome(held.market) == token and token not in kept
        ]
        return {
            "orders_on_non_live": verdict.orders_on_non_live,
            "orders_on_wrong_book": verdict.orders_on_wrong_book,
            "duplicate_orders": verdict.duplicates,
            "unannounced_orders": verdict.unannounced,
            "accepted_orders": verdict.accepted,
            "lost_positions": len(lost),
            "faults": {
                "books and calls": sum(self.venue.line.injected.values()),
                "orders": sum(self.desk.faults.struck.values()),
                "prices": sum(self.rtds.line.injected.values()),
                "telegram": self.telegram.refused,
            },
            "ledger": worth,
            "ledger_difference": worth - profit,
            "judge": verdict.details,
            "clean": verdict.clean and worth == profit and not lost,
        }

    @asynccontextmanager
    async def executor(
        self, network: Network, config: LiveConfig, known: Iterable[str] = ()
    ) -> AsyncIterator[LiveExecutor]:
        """Open the way to the order desk for one run of a bot; ``known`` are the orders that its books have already."""
        account = self.account
        key = ApiKey(account.address, account.api_key, account.secret, account.passphrase)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(ExchangeClient(self.venue.base_url, key, network))
            node = Node(self.venue.base_url + RPC_PATH, account.address, network)
            stack.push_async_callback(node.aclose)
            executor = LiveExecutor(client, network, config, departing=self._announce, node=node)
            executor.know(known)
            yield executor

    def _announce(self, order: Order, view: BookView) -> None:
        """Tell the judge what an order rests on, in the step in which it leaves."""
        self.judge.before_submit(order.client_id, order.token, view)


def _book_faults(seed: int) -> list[Fault]:
    faults = []
    for name, part in STORM.items():
        kind = FAULTS[name]
        length_ms = min(kind.default_length_ms, MAX_STALE_MS) if name in STALE else kind.default_length_ms
        faults.append(kind(Plan(share=kind.default_share * part, length_ms=length_ms), seed=seed))
    return faults
