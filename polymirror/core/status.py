"""One frozen read of an engine for people: pages, metrics, replays and judges stand on it.

Whoever wants to know how an engine is takes an :class:`EngineStatus`; nobody outside the core looks at tokens, markets
or sockets themselves. It is a copy: it never changes after it was made, and making it touches nothing. A status of
2,000 tokens takes 10 to 20 ms, so take one a second, or when somebody asks, and never for each frame.

Units: times and ages in seconds, times on the mirror's monotonic clock; what ends in ``_ms`` is exchange time in
milliseconds since 1970, or an offset to it; prices are Decimals in pUSD. Mappings are in a fixed order.

:class:`Surface` is what else an engine answers to those outside: small questions about one token or market.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from attrs import Factory, frozen
from msgspec import Struct

from polymirror.core.messages import Snapshot, read_levels
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.units import price_to_decimal
from polymirror.errors import UnknownToken

if TYPE_CHECKING:
    from polymirror.core.clock import VenueClock
    from polymirror.core.dialects import DialectBook
    from polymirror.core.market import Market
    from polymirror.core.outbox import Outbox
    from polymirror.core.requests import Requests
    from polymirror.core.sockets import Sockets
    from polymirror.core.token import Token

_NAMELESS: Final[tuple[str | None, str | None]] = (None, None)


class TokenStatus(Struct, frozen=True, kw_only=True, gc=False):
    """One token's book. The fields that only a mirror knows are None in an engine's own status."""

    token: str
    market: str
    """The condition id of its market."""
    slug: str | None
    """Its market's slug. Only a mirror knows it."""
    outcome: str | None
    """The label of its outcome, such as ``Up``. Only a mirror knows it."""
    state: BookState
    reason: Reason
    """Why it is in this state."""
    since: float
    """When it came into this state, in seconds on the mirror's clock."""
    epoch: int
    """Grows by one whenever the book is cleared or replaced."""
    settled: bool
    """False while a newer change is known that is not proven yet."""
    proof: ProofKind | None
    """What the readable levels rest on. None: nothing is proven."""
    proof_age: float | None
    """Seconds from that proof to this status, never negative. None: nothing is proven."""
    exchange_ms: int | None
    """The venue's time of the newest change in the proven levels. None: nothing is proven."""
    doubts: int
    """How often it was doubted since it was added."""
    refused_reads: int
    """Reads for execution of this token that were refused since it was added."""
    resyncs: Mapping[str, int]
    """Times this book was built anew since it was added, by reason; planned refreshes (``SCHEDULED``) included."""
    buffered_deltas: int
    """Changes that wait for a baseline; at most ``max_buffered_deltas``."""
    journaled_changes: int
    """Changes that can be taken back to find an older state; at most ``max_journal``."""
    bid_levels: int
    """Bid levels of the book as it stands, proven or not; at most ``max_levels``."""
    ask_levels: int
    """Ask levels, likewise."""


class MarketStatus(Struct, frozen=True, kw_only=True, gc=False):
    """One market: what its tokens share."""

    market: str
    """The condition id."""
    slug: str | None
    """Only a mirror knows it."""
    tokens: tuple[str, ...]
    socket: int | None
    """The number of the socket that carries it. None: none does, because all its tokens are retired."""
    lag: float | None
    """Seconds from the venue's timestamp of its newest change to its application. None: no change yet."""
    lagging: bool
    """The lag is above ``max_apply_lag``: none of its books can be LIVE."""
    tick_size: Decimal | None
    """The finer price grid of its tokens, in pUSD. None: not told yet."""
    hash_form: str | None
    """The name of the form in which the venue writes the text that it hashes. None: no known form explains it."""
    verifiable: bool
    """Whether a hash that differs means anything: its form and all it covers are known."""


class SocketStatus(Struct, frozen=True, kw_only=True, gc=False):
    """One WebSocket connection, as the engine sees it."""

    number: int
    is_open: bool
    lanes: int
    """How many of its connections are open: 2 at most if the mirror hedges, else 1."""
    lag: float | None
    """The largest lag of its markets, in seconds. None: no change came yet."""
    tokens: int
    """How many tokens it carries."""
    trouble: str
    """Why a connection is not open, such as ``TLS: certificate has expired``. Empty while all are, and before the first
    attempt."""


class RestStatus(Struct, frozen=True, kw_only=True, gc=False):
    """What is asked of REST."""

    under_way: int
    """Requests for books that have no answer yet."""
    waiting: int
    """Tokens that wish for a book and are not asked for yet."""
    budget_left: int | None
    """Calls that could be made at once before the rate budget is spent. Only a mirror that runs has one."""
    trouble: str
    """Why the last request for books had no answer, or not for all of them; then, after ``look-ups:``, why the last
    look-up of a market had none. Empty: both were answered."""


class ClockStatus(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of the venue's clock: bounds of ``exchange_ms - 1000 * seconds`` on the mirror's clock."""

    low_ms: float | None
    """No frame or answer supports an offset below this. None: nothing was heard yet."""
    high_ms: float | None
    """No answer to ``/time`` allows an offset above this. None: it was never asked."""
    uncertainty: float | None
    """Seconds between the bounds: how wrong a lag may be. None while one of them is missing."""


class Totals(Struct, frozen=True, kw_only=True, gc=False):
    """Counts since the engine was made, of tokens that are gone, too; ``states`` is how it is now."""

    frames: int
    snapshots: int
    """Whole books that the stream sent."""
    ignored: Mapping[str, int]
    """Valid input of no use, by kind."""
    malformed: Mapping[str, int]
    """Input that could not be read, by kind."""
    counters: Mapping[str, int]
    """Other input and answers that changed nothing, by name: ``untracked``, ``orphaned``, ``late_answers``..."""
    proofs: Mapping[str, Mapping[str, int]]
    """Comparisons with the venue: by kind, then by verdict. A batch that goes on takes its own back for a while."""
    searches: int
    """Wide searches for what a hash covers, of all markets together: see ``core/misses.py``."""
    search_digests: int
    """Candidates of these searches; a budget keeps them below 50,000 a second."""
    resyncs: Mapping[str, int]
    """Books built anew, by reason; planned refreshes (``SCHEDULED``) included."""
    states: Mapping[str, int]
    """Tokens now in each state, by its name; only states that occur."""

    @property
    def verdicts(self) -> dict[str, int]:
        """All comparisons by verdict, whatever was compared."""
        counts: Counter[str] = Counter()
        for verdicts in self.proofs.values():
            counts.update(verdicts)
        return dict(counts)


class Summary(Struct, frozen=True, kw_only=True, gc=False):
    """An engine's status without its single tokens and markets, and so made in a tenth of the time."""

    sockets: tuple[SocketStatus, ...]
    proof_age: float | None
    """The age of the oldest proof of any LIVE book, in seconds. None: no book is LIVE."""
    clock: ClockStatus
    totals: Totals


class EngineStatus(Struct, frozen=True, kw_only=True, gc=False):
    """How an engine is at one moment. Made by :meth:`polymirror.core.engine.Engine.status`."""

    at: float
    """The moment, in seconds on the mirror's clock."""
    tokens: tuple[TokenStatus, ...]
    """In the order in which they were added."""
    markets: tuple[MarketStatus, ...]
    sockets: tuple[SocketStatus, ...]
    rest: RestStatus
    clock: ClockStatus
    totals: Totals

    @property
    def trouble(self) -> str:
        """What keeps the venue away, of all sockets and of REST, in one line. Empty: nothing does."""
        told = [f"socket {socket.number}: {socket.trouble}" for socket in self.sockets if socket.trouble]
        return "; ".join([*told, f"REST: {self.rest.trouble}"] if self.rest.trouble else told)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain objects that :mod:`json` writes as they are: states by name, Decimals as text."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


@frozen(kw_only=True)
class Known:
    """What a shell adds to a status, because the engine does not know it: each by token id, or one number for all."""

    names: Mapping[str, tuple[str, str]] = Factory(dict)
    """Slug and outcome of each token."""
    budget_left: int | None = None
    look_ups: str = ""
    """Why the last look-up of a market had no answer. Empty: it was answered."""


class Standing(NamedTuple):
    """Where one token stands."""

    state: BookState
    reason: Reason
    epoch: int


class Surface:
    """What an engine answers to those outside the core, beside its inputs, its effects and its reads for execution.

    The base of :class:`polymirror.core.engine.Engine`: nobody outside looks at what the engine holds.
    """

    tokens: dict[str, Token]
    markets: dict[str, Market]
    sockets: Sockets
    outbox: Outbox
    requests: Requests
    clock: VenueClock
    dialects: DialectBook
    ignored: Counter[str]
    malformed: Counter[str]
    refused: Counter[str]
    frames: int
    _slept: float

    def status(self, now: float, known: Known | None = None) -> EngineStatus:
        """Return how everything is. ``known`` adds what only the shell knows. For people: takes milliseconds."""
        each = tuple(self.tokens.values())
        return EngineStatus(
            at=now,
            tokens=tuple([_token(token, now, self._slept, known, self.refused[token.asset_id]) for token in each]),
            markets=self._markets(known),
            sockets=self._sockets(),
            rest=RestStatus(
                under_way=self.requests.under_way,
                waiting=len(self.outbox.books),
                budget_left=None if known is None else known.budget_left,
                trouble=_rest_trouble(self.requests.trouble, "" if known is None else known.look_ups),
            ),
            clock=self._clock(),
            totals=self._totals(each),
        )

    def summary(self, now: float) -> Summary:
        """Return the numbers that stand for all tokens together."""
        each = tuple(self.tokens.values())
        live = [token.proven.proof for token in each if token.state is BookState.LIVE]
        oldest = min([proof.as_of for proof in live if proof is not None], default=None)
        age = None if oldest is None else max(0.0, now + self._slept - oldest)
        return Summary(sockets=self._sockets(), proof_age=age, clock=self._clock(), totals=self._totals(each))

    def _clock(self) -> ClockStatus:
        return ClockStatus(low_ms=self.clock.low, high_ms=self.clock.high, uncertainty=self.clock.uncertainty)

    def _sockets(self) -> tuple[SocketStatus, ...]:
        return tuple(
            SocketStatus(
                number=socket.number, is_open=socket.is_open, lanes=len(socket.lanes),
                lag=max((m.lag for m in socket.markets.values() if m.lag is not None), default=None),
                tokens=sum(len(market.tokens) for market in socket.markets.values()), trouble=socket.trouble,
            )
            for socket in self.sockets.all()
        )  # fmt: skip

    def _markets(self, known: Known | None) -> tuple[MarketStatus, ...]:
        names = {} if known is None else known.names
        found: list[MarketStatus] = []
        for market in self.markets.values():
            tokens, hashes = tuple(market.tokens), market.hashes
            ticks = [tick for token in market.tokens.values() if (tick := token.tick_size) is not None]
            found.append(
                MarketStatus(
                    market=market.condition_id, slug=names.get(tokens[0], _NAMELESS)[0], tokens=tokens,
                    socket=market.socket, lag=market.lag, lagging=market.lagging,
                    tick_size=price_to_decimal(min(ticks)) if ticks else None,
                    hash_form=hashes.form if hashes.verifiable else None, verifiable=hashes.verifiable,
                )
            )  # fmt: skip
        return tuple(found)

    def _totals(self, tokens: tuple[Token, ...]) -> Totals:
        told_elsewhere = {"snapshots", "ignored", "malformed"}
        counters = self.outbox.counts
        return Totals(
            frames=self.frames,
            snapshots=counters["snapshots"],
            ignored=_in_order(self.ignored),
            malformed=_in_order(self.malformed),
            counters=_in_order({name: n for name, n in counters.items() if name not in told_elsewhere}),
            proofs=self.outbox.proofs.as_dict(),
            searches=self.dialects.budget.searches,
            search_digests=self.dialects.budget.digests,
            resyncs=_in_order(self.outbox.resyncs),
            states=_in_order(Counter([token.state.name for token in tokens])),
        )

    # ---- Small questions ---------------------------------------------------------------------------

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """All tokens, in the order in which they were added."""
        return tuple(self.tokens)

    @property
    def has_events(self) -> bool:
        """Whether :meth:`Engine.events` has something to tell."""
        return bool(self.outbox.events)

    def tokens_of(self, condition_id: str) -> tuple[str, ...]:
        """Return the tokens of a market that are tracked; none for a market that is not."""
        market = self.markets.get(condition_id)
        return () if market is None else tuple(market.tokens)

    def carried_by(self, socket: int) -> tuple[str, ...]:
        """Return the tokens to subscribe to on a socket; none for one that is gone."""
        known = self.sockets.get(socket)
        return () if known is None else known.asset_ids

    def standing(self, asset_id: str) -> Standing | None:
        """Return a token's state, why it is in it, and its epoch; None for one that is not tracked (any more)."""
        token = self.tokens.get(asset_id)
        return None if token is None else Standing(token.state, token.reason, token.proven.epoch)

    def proof_of(self, asset_id: str) -> Proof | None:
        """Return the proof that a token's readable levels rest on, or None. Raises UnknownToken."""
        return self.outside(self._tracked(asset_id).proven.proof)

    def outside(self, proof: Proof | None) -> Proof | None:
        """Return a proof with its time on the caller's clock: inside, time goes on while that stands still."""
        if proof is None or not self._slept:
            return proof
        return Proof(proof.kind, proof.as_of - self._slept, proof.epoch)

    def is_proven_since(self, asset_id: str, moment: float) -> bool:
        """Whether a LIVE book is proven for a time not before ``moment`` (mirror's clock). Raises UnknownToken."""
        token = self._tracked(asset_id)
        proof = token.proven.proof
        return token.state is BookState.LIVE and proof is not None and proof.as_of - self._slept >= moment

    def is_settled(self, asset_id: str) -> bool:
        """Whether nothing newer than the proven levels is known of a token. Raises UnknownToken."""
        return self._tracked(asset_id).settled

    def restated(self, asset_id: str) -> Snapshot | None:
        """Return a LIVE book as the venue would send it now, its hash included: who starts with it goes on from here.

        None while the book is not LIVE or not settled, and for a token that is not tracked. It is no read for
        execution: it does not ask for an age.
        """
        token = self.tokens.get(asset_id)
        if token is None or token.state is not BookState.LIVE or not token.settled:
            return None
        proven, hashes = token.proven, token.hashes
        book, constants = proven.book, hashes.constants
        texts = book.texts()
        return Snapshot(
            token.market_id, asset_id, proven.proven_ms, hashes.hash_of(asset_id, proven.proven_ms, book),
            read_levels(texts.bids), read_levels(texts.asks),
            None if constants is None else constants.tick_size, hashes.last_trade_price,
            None if constants is None else constants.min_order_size, None if constants is None else constants.neg_risk,
        )  # fmt: skip

    def _tracked(self, asset_id: str) -> Token:
        given: object = asset_id
        # A list of tokens, for one, cannot be looked up.
        token = self.tokens.get(given) if isinstance(given, str) else None
        if token is None:
            raise UnknownToken(asset_id)
        return token


def _token(token: Token, now: float, slept: float, known: Known | None, refused: int) -> TokenStatus:
    asset_id, proven = token.asset_id, token.proven
    proof, book = proven.proof, proven.book
    slug, outcome = _NAMELESS
    if known is not None:
        slug, outcome = known.names.get(asset_id, _NAMELESS)
    return TokenStatus(
        token=asset_id, market=token.market_id, slug=slug, outcome=outcome,
        state=token.state, reason=token.reason, since=token.since - slept, epoch=proven.epoch, settled=token.settled,
        proof=None if proof is None else proof.kind,
        proof_age=None if proof is None else max(0.0, now + slept - proof.as_of),
        exchange_ms=None if proof is None else proven.proven_ms,
        doubts=token.doubts, refused_reads=refused, resyncs=_in_order(token.resyncs),
        buffered_deltas=len(token.buffer), journaled_changes=len(proven.journal),
        bid_levels=len(book.bids.keys), ask_levels=len(book.asks.keys),
    )  # fmt: skip


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _rest_trouble(books: str, look_ups: str) -> str:
    return "; ".join(filter(None, (books, look_ups and f"look-ups: {look_ups}")))
