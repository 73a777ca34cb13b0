"""A market as the venue's two services describe it, and the reading of such descriptions. Pure.

A description is believed only as a whole: a field that a trader would rely on and that is missing or odd is
an error that names it, never a default. Called by :mod:`polymirror.venue.gamma` and :mod:`polymirror.venue.rest`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from polymirror.core.fees import FeeSchedule
from polymirror.errors import BadResponse, ConfigError, MarketNotFound
from polymirror.harmless import harmless
from polymirror.venue.fields import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

UP_LABELS: Final = ("up", "yes")
DOWN_LABELS: Final = ("down", "no")

MAX_SLUG: Final = 80
"""Characters of a slug in a message."""

HALF: Final = Decimal("0.5")

LATEST: Final = 253_370_764_800
"""Unix seconds at which the year 9999 begins, the last that a calendar here has."""


@frozen
class Token:
    """One side of a market: its id on the venue, and the label of its outcome such as ``Up``."""

    id: str
    outcome: str


@frozen
class Oracle:
    """What decides the market."""

    source: str | None
    """The page of the price feed that settles it; ``None`` when the description names none."""
    config_id: str | None = None
    """The venue's name for the settings, such as ``btc-5m-twap-60``."""
    twap_enabled: bool | None = None
    """Whether a time-weighted average decides, not the last price; ``None`` when it is not stated."""
    twap_lookback_seconds: int | None = None


@frozen(kw_only=True)
class Market:
    """One market and everything about it that is known before its first book."""

    slug: str
    question: str
    condition_id: str
    tokens: tuple[Token, ...]
    """In the venue's order; find them by :attr:`up` and :attr:`down`, which go by the label."""
    window_start: int | None
    """Unix seconds at which an up/down window opens; ``None`` for markets without one."""
    window_end: int | None
    """Unix seconds of the scheduled end. Trading goes on for a minute or two."""
    tick_size: str
    """As on the wire, such as ``0.01``. It changes while the market trades: take it from the mirror."""
    min_order_size: str
    """In shares, as on the wire, such as ``5``."""
    neg_risk: bool
    fees_enabled: bool
    fee: FeeSchedule | None
    """``None`` with ``fees_enabled`` true means that the terms are not stated, not that there is no fee."""
    oracle: Oracle
    active: bool
    closed: bool
    accepting_orders: bool
    winner: str | None
    """The label of the outcome that won, once the market is closed and settled."""
    price_to_beat: Decimal | None
    """The official strike; appears late."""
    final_price: Decimal | None
    """The official settlement price; appears later still."""
    payouts: tuple[Decimal, ...] = ()
    """What one share of each token pays in pUSD, in the order of :attr:`tokens`: 1 for the winner and 0 for the others,
    or 0.5 for both where the market was decided for nobody. Empty until it is closed and settled."""
    volume_24h: Decimal | None = None
    """What was traded within 24 hours in pUSD; ``None``: not stated."""
    tags: tuple[str, ...] = ()
    """What it is filed under, as in addresses, such as ``crypto``; told by lists that were asked for them."""

    @property
    def token_ids(self) -> tuple[str, ...]:
        """The ids of all tokens, in the venue's order."""
        return tuple(token.id for token in self.tokens)

    @property
    def up(self) -> Token:
        """The token that pays if the price is up, or if the answer is yes. Raises BadResponse when there is none."""
        return self._labelled(UP_LABELS)

    @property
    def down(self) -> Token:
        """The token that pays if the price is down, or if the answer is no. Raises BadResponse when there is none."""
        return self._labelled(DOWN_LABELS)

    @property
    def yes(self) -> Token:
        """The same as :attr:`up`, for markets that ask a question."""
        return self.up

    @property
    def no(self) -> Token:
        """The same as :attr:`down`, for markets that ask a question."""
        return self.down

    def token(self, outcome: str) -> Token:
        """Return the token with this label, such as ``Up``, ``no`` or a team's name; large and small letters are alike.

        Raises ConfigError, which lists the labels there are.
        """
        found = [token for token in self.tokens if token.outcome.casefold() == str(outcome).casefold()]
        if len(found) == 1:
            return found[0]
        raise ConfigError("outcome", outcome, f"one of {self._outcomes()}")

    @property
    def starts_at(self) -> datetime | None:
        """:attr:`window_start` as an aware datetime in UTC."""
        return None if self.window_start is None else datetime.fromtimestamp(self.window_start, UTC)

    @property
    def ends_at(self) -> datetime | None:
        """:attr:`window_end` as an aware datetime in UTC."""
        return None if self.window_end is None else datetime.fromtimestamp(self.window_end, UTC)

    def _labelled(self, labels: Iterable[str]) -> Token:
        for token in self.tokens:
            if token.outcome.lower() in labels:
                return token
        raise BadResponse(
            f"market {harmless(self.slug, MAX_SLUG)}",
            f"no outcome is called {' or '.join(labels)}, only {self._outcomes()}",
        )

    def _outcomes(self) -> str:
        return harmless(", ".join(token.outcome for token in self.tokens))


@frozen
class ClobMarket:
    """What the order book service knows of a market."""

    condition_id: str
    tokens: tuple[Token, ...]
    tick_size: str
    """As on the wire, such as ``0.01``."""
    min_order_size: str
    """In shares, as on the wire, such as ``5``."""
    neg_risk: bool
    fee: FeeSchedule | None
    taker_delay: bool
    """Whether taker orders are held back before they match."""


def parse_market(raw: Any, call: str, event: Reader | None = None) -> Market:
    """Read the description of one market; ``event`` is the event around it, when that is where it was found.

    Raises :class:`~polymirror.errors.MarketNotFound` when it is announced but has no tokens yet, and
    :class:`~polymirror.errors.BadResponse`, which names the field, when something is missing or odd.
    """
    reader = Reader.of(call, raw)
    if event is None:
        event = next(iter(reader.objects("events")), None)
    slug = reader.text("slug")
    metadata = (event.object("eventMetadata") if event is not None else None) or Reader(call, {})
    closed = reader.flag("closed")
    tokens = _tokens(reader, slug)
    fees_enabled = reader.flag("feesEnabled", default=False)
    payouts = _payouts(reader, len(tokens)) if closed else ()
    return Market(
        slug=slug,
        question=reader.text("question"),
        condition_id=reader.text("conditionId"),
        tokens=tokens,
        window_start=_moment(reader, "eventStartTime"),
        window_end=_moment(reader, "endDate"),
        tick_size=reader.positive("orderPriceMinTickSize"),
        min_order_size=reader.positive("orderMinSize"),
        neg_risk=reader.flag("negRisk", default=False),
        fees_enabled=fees_enabled,
        fee=_fee(reader) if fees_enabled else None,
        oracle=_oracle(reader, event),
        active=reader.flag("active"),
        closed=closed,
        accepting_orders=reader.flag("acceptingOrders", default=False),
        winner=next((token.outcome for token, pays in zip(tokens, payouts, strict=False) if pays == 1), None),
        price_to_beat=metadata.optional_decimal("priceToBeat"),
        final_price=metadata.optional_decimal("finalPrice"),
        payouts=payouts,
        volume_24h=reader.optional_decimal("volume24hr"),
        tags=tuple(filter(None, (each.optional_text("slug") for each in reader.objects("tags")))),
    )


def parse_clob_market(condition_id: str, reader: Reader) -> ClobMarket:
    """Read the order book service's compact description. Raises BadResponse, which names the field."""
    tokens = tuple(Token(each.text("t"), each.text("o")) for each in reader.objects("t"))
    if not tokens:
        raise reader.bad("t", "a list of tokens")
    terms = reader.object("fd")
    fee = None
    if terms is not None:
        fee = FeeSchedule(terms.decimal("r"), terms.integer("e"), taker_only=terms.flag("to", default=True))
    return ClobMarket(
        condition_id=condition_id,
        tokens=tokens,
        tick_size=reader.positive("mts"),
        min_order_size=reader.positive("mos"),
        neg_risk=reader.flag("nr", default=False),
        fee=fee,
        taker_delay=reader.flag("itode", default=False),
    )


def _tokens(reader: Reader, slug: str) -> tuple[Token, ...]:
    ids = reader.texts("clobTokenIds")
    if not ids:
        raise MarketNotFound(f"market {harmless(slug, MAX_SLUG)} is announced but has no tokens yet")
    outcomes = reader.texts("outcomes")
    if len(outcomes) != len(ids) or not all(ids) or not all(outcomes):
        raise reader.bad("outcomes", f"{len(ids)} labels, one for each token")
    if len(set(ids)) != len(ids):
        raise reader.bad("clobTokenIds", "tokens that differ")
    return tuple(Token(*pair) for pair in zip(ids, outcomes, strict=True))


def _moment(reader: Reader, name: str) -> int | None:
    text = reader.optional_text(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # The service writes UTC throughout, now and then without saying so.
        seconds = int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise reader.bad(name, "a time in ISO 8601") from error
    if not 0 <= seconds < LATEST:
        raise reader.bad(name, "a time after 1969, in UTC before the year 9999")
    return seconds


def _fee(reader: Reader) -> FeeSchedule | None:
    terms = reader.object("feeSchedule")
    if terms is None:
        return None
    return FeeSchedule(
        rate=terms.decimal("rate"),
        exponent=terms.integer("exponent"),
        taker_only=terms.flag("takerOnly", default=True),
        rebate_rate=terms.optional_decimal("rebateRate") or Decimal(0),
    )


def _oracle(reader: Reader, event: Reader | None) -> Oracle:
    source = reader.optional_text("resolutionSource")
    if source is None and event is not None:
        source = event.optional_text("resolutionSource")
    config_id = reader.optional_text("cryptoMarketConfigId")
    settings = reader.object("cryptoMarketConfig")
    if settings is None:
        return Oracle(source, config_id)
    lookback = settings.optional_decimal("twapLookbackSeconds")
    return Oracle(
        source=source,
        config_id=config_id or settings.optional_text("id"),
        twap_enabled=settings.flag("twapEnabled") if settings.fields.get("twapEnabled") is not None else None,
        twap_lookback_seconds=None if lookback is None else settings.integer("twapLookbackSeconds"),
    )


def _payouts(reader: Reader, count: int) -> tuple[Decimal, ...]:
    """Find what the tokens of a closed market pay; empty while that is not stated beyond doubt.

    One that pays 1 while all others pay 0 is the state of a settled market. Two halves are that, too, but also the
    last prices of one that nobody traded: they count only where the description says that it is resolved.
    """
    prices = tuple(
        Reader(reader.call, {"outcomePrices": text}).decimal("outcomePrices") for text in reader.texts("outcomePrices")
    )
    if len(prices) != count:
        return ()
    if sorted(prices) == [Decimal(0)] * (count - 1) + [Decimal(1)]:
        return prices
    resolved = reader.fields.get("umaResolutionStatus") == "resolved"
    return prices if resolved and prices == (HALF, HALF) else ()
