"""From an intent to a booked trade: the lease, the size, the risk, the ledger, the executor.

An :class:`OrderManager` carries orders in tasks of their own, so a strategy that asks for one goes on at once; a task
that fails takes nothing else with it, because the ledger knows its orders, and :meth:`OrderManager.run` looks their
fate up. It redeems and books what was decided through :class:`~bots.common.orders.settling.Settler`, and has the books
held against the venue's by :class:`~bots.common.orders.reconcile.Reconciler`. It knows no strategy and no mirror:
strategies bring their books, and are told results.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from attrs import asdict, evolve

from bots.common.errors import BotError
from bots.common.execution.fates import UNSEEN
from bots.common.ledger.ledger import MAX_VERDICTS, ORDER, Grounds
from bots.common.money.sizing import SizeLimits, SizeRefusal
from bots.common.operate.logs import event
from bots.common.orders.intents import leases_of
from bots.common.orders.merging import Merger, MergeSettings
from bots.common.orders.order import Outcome, Result, Side, TimeInForce
from bots.common.orders.settling import TWICE, Settler
from bots.common.risk.follow import leg_of
from bots.common.risk.groups import Group as RiskGroup
from polymirror.core.states import BookState
from polymirror.errors import NotLive, PolymirrorError, UnknownToken
from polymirror.gate import Books, Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from decimal import Decimal

    from bots.common.execution.base import Executor
    from bots.common.ledger.account import Account
    from bots.common.ledger.ledger import Ledger
    from bots.common.ledger.rows import Begun, Merged, Settled
    from bots.common.orders.intents import Intent, Leg, Terms, Wish
    from bots.common.orders.order import Order
    from bots.common.orders.reconcile import Reconciler
    from bots.common.risk.limits import Risk
    from polymirror.core.view import BookView
    from polymirror.gate import Lease
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at orders without a fate and at positions that are to be redeemed."""

SELDOM: Final = 60.0
"""Seconds between two look-ups of an order that stays unknown; they grow up to that."""

RECONCILE_EVERY: Final = 45.0
"""Seconds between two times that the books are held against the venue's: 240 calls an hour."""

SOON: Final = 5.0
"""The same while the venue's books were not seen to be ours since ours changed, or money counts as spent that nobody
says was. Of each list the venue allows 75 times as many calls or more (protocol.md 3)."""

SOON_FOR: Final = 120.0
"""Seconds after the last change for which it is so: what an honest venue's lists lag behind is over by then."""

PAUSE: Final = 1.0
"""Seconds between two rounds of looking at least, however slowly the venue answers."""

EVIDENT: Final = 300.0
"""Seconds after which the wallet and the lists show what an order without a fate did: they were seen to be behind by
tens of seconds. So many since it was begun, by the wall clock, and :data:`SELDOM` in this process."""

STUCK: Final = 600.0
"""Seconds after which a person is told of an order whose fate stays unknown."""

MAX_TASKS: Final = 64
"""Intents under way at once; the risk limits are far below."""

PROOF_TIMEOUT: Final = 2.0
"""Seconds to wait for a proof that was asked for; the price has moved on after that."""


class Provable(Books, Protocol):
    """What an intent needs of a mirror."""

    async def prove(self, token: str, timeout: float) -> BookView:
        """Have the book proven now, or raise NotLive."""
        ...


class OrderManager:
    """Trades, follows, redeems and books, for one wallet. ``on_trouble`` is told what a person must know."""

    def __init__(
        self,
        *,
        executor: Executor,
        ledger: Ledger,
        risk: Risk,
        limits: SizeLimits,
        network: Network,
        max_proof_age: float,
        reconciler: Reconciler,
        tif: TimeInForce = TimeInForce.FOK,
        counts: Counter[str] | None = None,
        merging: MergeSettings | None = None,
        on_result: Callable[[Order, Result], None] = lambda _order, _result: None,
        on_settled: Callable[[Settled], None] = lambda _settled: None,
        on_merged: Callable[[Merged], None] = lambda _merged: None,
        on_trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.executor = executor
        self.ledger = ledger
        self.risk = risk
        # Outcomes of orders, refusals of sizes and of risk, and reads that were refused, by name.
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.settler = Settler(ledger, executor, reconciler, network, self.counts, self._book, on_settled, on_trouble)
        self.merger = Merger(
            ledger, executor, reconciler, network, self.counts, merging or MergeSettings(), on_merged, on_trouble
        )
        self.closed = ""
        """Why nothing new is begun; empty while it may be."""
        self.apart: dict[str, str] = {}
        """Markets in which nothing is begun, by condition id, and why."""
        self._reconciler = reconciler
        self._limits = limits
        self._network = network
        self._max_proof_age = max_proof_age
        self._tif = tif
        self._on_result = on_result
        self._on_trouble = on_trouble
        self._group: asyncio.TaskGroup | None = None
        self._settling: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        # Markets with an intent under way in this process, and the ids of its orders.
        self._busy: dict[str, set[str]] = {}
        # Orders that are being looked up; since when they were unknown and when to look again, monotonic, and
        # whether a person was told.
        self._looking: set[str] = set()
        self._unknown: dict[str, tuple[float, float, bool]] = {}
        self._reconciled = float("-inf")
        # How many rows the books had when they changed last, whether the venue's differed then, and when, monotonic.
        self._changed = (-1, False, float("-inf"))
        # The last verdict on an intent in each market, the newest last.
        self._verdicts: dict[str, str] = {}

    @property
    def account(self) -> Account:
        """What is held and was earned."""
        return self.ledger.account

    def now_ms(self) -> int:
        """Return the wall clock in Unix milliseconds."""
        return int(self._network.wall() * 1000)

    # ---- Trading -------------------------------------------------------------------------------------

    def consider(self, books: Provable, wish: Wish) -> bool:
        """Begin to buy if nothing that is known already speaks against it; return whether that is under way."""
        return self.enter(books, wish.intent())

    def note_quiet(self, terms: Terms, why: str, basis: Mapping[str, str]) -> None:
        """Keep that a strategy wished for nothing, and why in a word."""
        self._keep(logging.DEBUG, terms, why, "", "", lambda: Grounds.of(basis))

    def enter(self, books: Provable, intent: Intent) -> bool:
        """Begin to trade if nothing that is known already speaks against it; return whether that is under way.

        Returns at once. What speaks against it is counted and kept in the ledger. ``books`` is the mirror that has
        the tokens. Books that are LIVE and were proven too long ago are not refused yet: a proof is asked for first.
        """
        terms = intent.terms
        for verdict, why in (
            ("ending", self.closed),
            ("left alone", self.apart.get(terms.market, "")),
            ("venue silent", self._reconciler.silent),
        ):
            if why:
                return self._refuse(intent, verdict, why)
        if self._group is None or self.is_taken(terms.market) or len(self._busy) >= MAX_TASKS:
            return self._refuse(intent, "busy")
        limits = self._limits_of(terms)
        # What completes or ends a group is judged by its real amounts alone.
        refusal = self.risk.refuse_stopped()
        if refusal is None and not intent.group_id:
            refusal = self.risk.allow(self.now_ms(), market=terms.market, asset=terms.asset, money=limits.min_money)
        if refusal is not None:
            return self._refuse(intent, f"risk {refusal.reason.name}", str(refusal))
        old: list[str] = []
        views: list[BookView] = []
        for token in intent.tokens:
            try:
                views.append(books.live(token, self._max_proof_age))
            except (NotLive, UnknownToken) as error:
                if not isinstance(error, NotLive) or error.state is not BookState.LIVE:
                    return self._refuse_book(intent, error)
                old.append(token)
        if not old and isinstance(sized := intent.size(tuple(views), limits), SizeRefusal):
            return self._refuse(intent, f"size {sized.reason.name}", str(sized), views)
        self._busy[terms.market] = set()
        self._spawn(self._trade(books, intent, limits, old), f"trade {terms.slug}")
        return True

    def is_taken(self, market: str) -> bool:
        """Whether something is under way there. An order whose fate is unknown could not be told from a second one."""
        unknown = any(begun.order.market == market for begun in self.account.open.values())
        return unknown or market in self._busy or self._is_decided(market) or self.merger.is_pending(market)

    def _is_decided(self, market: str) -> bool:
        return self.settler.payouts(market) is not None

    async def _trade(self, books: Provable, intent: Intent, limits: SizeLimits, old: Sequence[str]) -> None:
        terms, ends = intent.terms, self._network.monotonic() + intent.deadline
        try:
            for token in old:
                self._count("proofs asked for")
                await books.prove(token, PROOF_TIMEOUT)
            async with Gate(books).lease(*intent.tokens, max_proof_age=self._max_proof_age) as lease:
                orders = await self._begin(intent, lease.views, limits)
                if not orders:
                    return
                await self._submit(orders, dict(zip(lease.tokens, leases_of(lease), strict=True)), ends)
        except (NotLive, UnknownToken) as error:
            self._refuse_book(intent, error)
        except Exception:
            # Nobody waits for this task. Its orders, if there are any, are open in the ledger.
            self._count("failed")
            log.exception("an intent in %s failed", terms.slug)
        finally:
            del self._busy[terms.market]
            self._woken.set()

    async def _begin(self, intent: Intent, views: tuple[BookView, ...], limits: SizeLimits) -> list[Order]:
        """Size, ask the risk, and write the orders down; return none if something speaks against it."""
        terms = intent.terms
        group = intent.size(views, limits)
        if isinstance(group, SizeRefusal):
            self._refuse(intent, f"size {group.reason.name}", str(group), views)
            return []
        orders = self._orders(group.legs, terms, intent.tif or self._tif)
        group_id = intent.group_id or orders[0].client_id
        pairs = zip(orders, group.legs, strict=True)
        risked = tuple(leg_of(order, terms.asset, leg.reserve) for order, leg in pairs if order.side is Side.BUY)
        risk_group = RiskGroup(group_id=group_id, legs=risked)
        refusal = self.risk.allow_group(self.now_ms(), risk_group) if risked else None
        if refusal is not None:
            self._refuse(intent, f"risk {refusal.reason.name}", str(refusal), views)
            return []
        self._decide(intent, ORDER, f"{orders[0]}", views)
        # No other task runs between the risk's word and the booking of the intent.
        reserves = [leg.reserve for leg in group.legs]
        await self.ledger.begin(*orders, asset=terms.asset, reserves=reserves, worst=group.worst, group_id=group_id)
        return orders

    async def _submit(self, orders: Sequence[Order], leases: Mapping[str, Lease], ends: float) -> None:
        """Send each order once, side by side, and book what became of it."""

        def stopped() -> str | None:
            late = self._network.monotonic() > ends
            return "the deadline of its intent has passed" if late else self._stopped()

        async def one(order: Order) -> None:
            await self._book(order, await self.executor.submit(order, leases[order.token], stopped))

        # One that fails takes neither the lease nor its follower from another that is on its way.
        results = await asyncio.gather(*map(one, orders), return_exceptions=True)
        for each in results:
            if each is not None:
                raise each

    def _orders(self, legs: Sequence[Leg], terms: Terms, tif: TimeInForce) -> list[Order]:
        # The number of orders ever begun is in the ledger, so no name is given twice.
        first = self.account.totals.orders + 1
        orders = [
            leg.order(f"{terms.slug}.{number}", terms, tif, self.now_ms()) for number, leg in enumerate(legs, first)
        ]
        self._busy[terms.market] |= {order.client_id for order in orders}
        return orders

    def _stopped(self) -> str | None:
        """Look at the kill switch once more: the order has waited for the disk, its signature and its turn."""
        refusal = self.risk.refuse_stopped()
        if refusal is None:
            return self.closed or None
        self._count(f"risk {refusal.reason.name}")
        return str(refusal)

    async def _book(self, order: Order, result: Result, final: bool = False) -> None:  # noqa: FBT001, FBT002 - the settler calls it
        """Write down the fate of an order that was open until now, and tell."""
        self._count(result.outcome.name)
        if result.outcome is Outcome.REFUSED:
            self._count("refused_non_live")
        begun = self.account.open.get(order.client_id)
        await self.ledger.finish(order.client_id, result, final=final)
        if begun is not None:
            self._reconciler.judge_cost(begun, result)
        self._on_result(order, result)

    # ---- Following, redeeming, booking ---------------------------------------------------------------

    def decide(self, market: str, payouts: Mapping[str, Decimal], doubt: str = "", *, confirmed: bool = True) -> None:
        """Tell what a share of each token of a market pays: its positions are redeemed and booked soon.

        ``doubt`` says why that may be wrong; nothing is bought any more then. ``confirmed``: our own prices agree.
        """
        self.settler.decide(market, payouts, doubt, confirmed=confirmed)
        self._woken.set()

    @property
    def under_way(self) -> int:
        """Intents whose orders are being sent, or wait for their answers."""
        return len(self._busy)

    @property
    def unresolved(self) -> int:
        """Orders without a fate, and decided positions that are not booked yet."""
        decided = sum(self.settler.payouts(held.market) is not None for held in self.account.positions.values())
        return len(self.account.open) + decided

    async def run(self) -> None:
        """Carry orders and look after what is open, until cancelled."""
        await self.merger.open()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    self._woken.clear()
                    await self._look_after(group)
                    left = self._reconciled + SOON - self._network.monotonic()
                    try:
                        async with asyncio.timeout(min(max(left, PAUSE), LOOK_AGAIN)):
                            await self._woken.wait()
                    except TimeoutError:
                        pass
        finally:
            self._group = self._settling = None
            self._busy.clear()
            self._looking.clear()

    async def _look_after(self, group: asyncio.TaskGroup) -> None:
        now = self._network.monotonic()
        under_way = {each for ids in self._busy.values() for each in ids}
        for client_id in self._unknown.keys() - self.account.open.keys():
            del self._unknown[client_id]
        for client_id, begun in tuple(self.account.open.items()):
            _, again, _ = self._unknown.setdefault(client_id, (now, now, False))
            if client_id not in under_way | self._looking and now >= again:
                self._looking.add(client_id)
                group.create_task(self._look_up(begun), name=f"look up {client_id}")
        if self._settling is None or self._settling.done():
            # Apart, because a redemption may take minutes.
            self._settling = group.create_task(self._settle(), name="settle")
        if now >= self._reconciled + (SOON if self._is_new(now) else RECONCILE_EVERY):
            self._reconciled = now
            await self._reconciler.check()

    def _is_new(self, now: float) -> bool:
        """Whether what is booked is not seen yet at the venue, and for no longer than an honest one may need."""
        rows, unsure = self.account.through, self.risk.doubted or self._reconciler.unsure
        if self._changed[:2] != (rows, unsure):
            self._changed = rows, unsure, now
        return unsure and now < self._changed[2] + SOON_FOR

    async def _settle(self) -> None:
        await self.merger.look(self._is_decided)
        await self.settler.look(self.merger.is_pending)

    async def _look_up(self, begun: Begun) -> None:
        """Look an order up once; the longer it stays unknown the more seldom, and a person is told."""
        order = begun.order
        try:
            result = await self.executor.resolve(order, self.account.name_of(order.client_id))
            if order.client_id not in self.account.open:
                return
            if result.decided:
                await self._book(order, result)
                self._woken.set()
                return
            # Nothing to tell anybody, but a name that was learned is kept.
            await self.ledger.finish(order.client_id, result)
            now = self._network.monotonic()
            since, _, told = self._unknown.get(order.client_id, (now, now, False))
            old = self.now_ms() - begun.at_ms >= EVIDENT * 1000 and now - since >= SELDOM
            if old and result.detail == UNSEEN and not await self.settler.end(begun):
                self._woken.set()
                return
            seldom = TWICE if old and result.detail == UNSEEN else SELDOM
            again, late = now + min(max(LOOK_AGAIN, (now - since) / 4), seldom), now - since >= STUCK
            self._unknown[order.client_id] = (since, again, told or late)
            if late and not told:
                self._on_trouble(f"order {order.client_id} stays unknown ({result.detail}): its market is left alone")
        except (BotError, OSError) as error:
            log.warning("%s is looked up later: %s", order.client_id, error)
        finally:
            self._looking.discard(order.client_id)

    # ---- Helpers -------------------------------------------------------------------------------------

    def _limits_of(self, terms: Terms) -> SizeLimits:
        return evolve(self._limits, min_shares=max(self._limits.min_shares, terms.min_shares))

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def _refuse(self, intent: Intent, verdict: str, detail: str = "", views: Sequence[BookView] = ()) -> bool:
        self._count(verdict)
        self._decide(intent, verdict, detail, views)
        return False

    def _refuse_book(self, intent: Intent, error: PolymirrorError) -> bool:
        self._count("refused_non_live")
        state = error.state.name if isinstance(error, NotLive) else "UNTRACKED"
        return self._refuse(intent, f"not live {state}", str(error))

    def _decide(self, intent: Intent, verdict: str, detail: str, views: Sequence[BookView]) -> None:
        """Keep what was decided, and what it rests on."""
        market = intent.terms.market
        # The same refusal again, tick by tick, would bury the rest.
        again = verdict != ORDER and self._verdicts.get(market) == verdict
        self._verdicts.pop(market, None)
        self._verdicts[market] = verdict
        if len(self._verdicts) > MAX_VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        level = logging.DEBUG if again else logging.INFO
        self._keep(level, intent.terms, verdict, detail, intent.tokens[0], partial(_grounds, intent, views))

    def _keep(
        self, level: int, terms: Terms, verdict: str, detail: str, token: str, grounds: Callable[[], Grounds]
    ) -> None:
        self.ledger.decide(terms.market, terms.slug, verdict, detail, token=token, grounds=grounds)
        if log.isEnabledFor(level):
            figures = asdict(grounds(), filter=lambda each, value: each.name != "basis" and value != "")
            event(
                log,
                "decided",
                level,
                market=terms.slug,
                verdict=verdict,
                detail=detail or None,
                token=token or None,
                **figures,
            )

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        assert self._group is not None  # noqa: S101 - asked for just before
        self._group.create_task(work, name=name)


def _grounds(intent: Intent, views: Sequence[BookView]) -> Grounds:
    """Say what an intent rests on, with the age and the kind of the oldest proof."""
    if not views:
        return Grounds.of(intent.basis, fair=intent.fair)
    oldest = max(views, key=lambda view: view.verified_age)
    proof = oldest.last_proof
    kind = "" if proof is None else proof.kind.name
    return Grounds.of(intent.basis, fair=intent.fair, book_age_ms=round(oldest.verified_age * 1000), proof=kind)
