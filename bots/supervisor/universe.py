"""Which markets are traded: those of the venue's lists that pass the filters, kept fresh, and why the others are left.

:func:`judge` is pure. :class:`Universe` asks for the lists, the most traded first, page by page and no more pages than
are wanted. A market that is taken stays as long as it passes what depends on time alone, however its volume wanders.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, field, frozen

from bots.common.ranges import decimal_range, whole
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from attrs import Attribute

    from polymirror.venue.gamma import Gamma
    from polymirror.venue.market import Market
    from polymirror.venue.rest import Clob

    Asks = Callable[[Sequence[str]], Awaitable[Mapping[str, Decimal]]]

PAIR: Final = 2
"""Tokens of a market that can be traded as a pair."""

COLUMNS: Final = 40

SCREENED: Final = 2
"""The books of so many times the markets that may be taken are looked at."""


def _texts(_self: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or len(value) > 100 or not all(isinstance(each, str) and each for each in value):  # noqa: PLR2004 - the range that the message states
        raise ConfigError(attribute.name, value, "up to 100 texts, none of them empty")


@frozen(kw_only=True)
class UniverseSettings:
    """Which markets are traded. Raises ConfigError, which names the field."""

    slugs: tuple[str, ...] = field(default=("*",), validator=_texts)
    """Patterns, of which a market's slug must match one: ``*`` is any text."""
    without: tuple[str, ...] = field(default=(), validator=_texts)
    """Patterns, of which it must match none."""
    tags: tuple[str, ...] = field(default=(), validator=_texts)
    """It must have one of these, such as ``crypto``; none: whatever it is filed under."""
    min_volume: Decimal = field(default=Decimal(1_000), validator=decimal_range("0", "1000000000000", "pUSD"))
    """What must have been traded in it within 24 hours."""
    min_left_s: int = field(default=300, validator=whole(0, 10**9, "seconds"))
    """The time to its end must be at least this,"""
    max_left_s: int = field(default=720 * 3_600, validator=whole(1, 10**9, "seconds"))
    """and at most this."""
    neg_risk: bool = False
    """Whether markets that are one outcome of several are traded, too."""
    max_fee: Decimal = field(default=Decimal("0.07"), validator=decimal_range("0", "1", "of the formula"))
    """The highest rate of the taker fee."""
    max_markets: int = field(default=50, validator=whole(1, 1_000, "markets"))
    screen: Decimal = field(default=Decimal(0), validator=decimal_range("0", "2", "pUSD"))
    """A market is taken only if a pair costs no more than this on the book, without fees; 0: whatever it costs."""
    refresh_s: int = field(default=60, validator=whole(5, 86_400, "seconds"))
    """So often the lists are read again."""
    max_pages: int = field(default=20, validator=whole(1, 200, "pages"))
    """Pages of a hundred markets that are read each time."""

    def __attrs_post_init__(self) -> None:
        if self.min_left_s >= self.max_left_s:
            raise ConfigError("min_left_s", self.min_left_s, f"less than max_left_s, {self.max_left_s}")


@frozen
class Survey:
    """What one look at the lists came to."""

    taken: tuple[Market, ...]
    """The most traded first."""
    left: Mapping[str, str] = Factory(dict)
    """Why the others are not, by slug."""
    listed: Mapping[str, Market] = Factory(dict)


def over(settings: UniverseSettings, market: Market, now: float) -> str:
    """Say why a market can be traded no more; empty: it can. ``now`` in Unix seconds."""
    if market.closed or not market.accepting_orders:
        return "it is closed"
    left = None if market.window_end is None else market.window_end - now
    if left is None:
        return "its end is not told"
    if left < settings.min_left_s:
        return f"it ends in {max(left, 0):.0f} s, less than {settings.min_left_s}"
    return f"it ends in {left / 3600:.0f} h" if left > settings.max_left_s else ""


def judge(settings: UniverseSettings, market: Market, now: float) -> str:
    """Say why a market is not traded; empty: it may be."""
    if why := over(settings, market, now):
        return why
    rate = Decimal(0) if market.fee is None else market.fee.rate
    volume = market.volume_24h
    looks = (
        (len(market.tokens) != PAIR, f"it has {len(market.tokens)} tokens"),
        (not _matches(market.slug, settings.slugs), "no pattern of universe.slugs fits"),
        (_matches(market.slug, settings.without), "a pattern of universe.without fits"),
        (bool(settings.tags) and not set(settings.tags) & set(market.tags), f"tags {', '.join(market.tags) or 'none'}"),
        (volume is None or volume < settings.min_volume, f"volume {volume}, less than {settings.min_volume}"),
        (market.neg_risk and not settings.neg_risk, "it is one outcome of several (neg-risk)"),
        (market.fees_enabled and market.fee is None, "its fee is not told"),
        (rate > settings.max_fee, f"fee rate {rate}, more than {settings.max_fee}"),
    )
    return next((why for wrong, why in looks if wrong), "")


def _matches(slug: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(slug, pattern) for pattern in patterns)


class Universe:
    """Looks at the lists through ``gamma``, whose rate budget it shares. ``clock`` gives Unix seconds."""

    def __init__(self, settings: UniverseSettings, gamma: Gamma, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._gamma = gamma
        self._clock = clock

    async def survey(self, running: Iterable[Market] = (), asks: Asks | None = None) -> Survey:
        """Read the lists and choose. ``running`` are taken already; ``asks`` tells best asks, for the screen.

        Raises VenueError when something cannot be read: then nothing has changed.
        """
        settings, now = self.settings, self._clock()
        listed: dict[str, Market] = {}
        for tag in settings.tags or ("",):
            async for page in self._gamma.pages(self._query(tag, now), most=settings.max_pages):
                listed |= {market.condition_id: market for market in page}
                if page and all((market.volume_24h or 0) < settings.min_volume for market in page):
                    break  # the most traded come first
        kept = {market.condition_id: market for market in running if not over(settings, market, now)}
        others = [market for market in listed.values() if market.condition_id not in kept]
        others.sort(key=lambda each: each.volume_24h or 0, reverse=True)
        verdicts = {market.slug: judge(settings, market, now) for market in others}
        if settings.screen and asks is not None:
            wanted = [market for market in others if not verdicts[market.slug]]
            most = SCREENED * settings.max_markets
            verdicts |= await self._screen(wanted[:most], asks)
            verdicts |= {market.slug: f"the books of {most} are looked at before" for market in wanted[most:]}
        taken, left = list(kept.values())[: settings.max_markets], {}
        for market in others:
            why = verdicts[market.slug]
            if not why and len(taken) >= settings.max_markets:
                why = f"{settings.max_markets} markets are traded more"
            if why:
                left[market.slug] = why
            else:
                taken.append(market)
        return Survey(tuple(taken), left, {market.slug: market for market in listed.values()})

    async def _screen(self, markets: list[Market], asks: Asks) -> dict[str, str]:
        """Say which of these are too dear as a pair on the books as they are."""
        found = await asks([token for market in markets for token in market.token_ids])
        dear = {}
        for market in markets:
            prices = [found.get(token) for token in market.token_ids]
            cost = sum((price for price in prices if price is not None), Decimal(0))
            if None in prices or cost > self.settings.screen:
                dear[market.slug] = f"a pair costs {'?' if None in prices else cost} on the book"
        return dear

    def _query(self, tag: str, now: float) -> dict[str, str]:
        ends = (now + self.settings.min_left_s, now + self.settings.max_left_s)
        low, high = (datetime.fromtimestamp(int(end), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for end in ends)
        wanted = {"end_date_min": low, "end_date_max": high, "order": "volume24hr", "ascending": "false"}
        return wanted | ({"tag_slug": tag} if tag else {})


async def best_asks(clob: Clob, tokens: Sequence[str]) -> dict[str, Decimal]:
    """Return the best asks of tokens in pUSD, of those that have one. Raises VenueError."""
    books = (await clob.books(tokens)).books
    return {token: min(Decimal(level.price) for level in book.asks) for token, book in books.items() if book.asks}


def table(survey: Survey, now: float) -> str:
    """Lay a survey out for people: which markets are taken, and why the others are not."""
    lines = [f"{'market':<{COLUMNS}} {'volume':>10} {'ends in':>8}  taken, or why not"]
    rows = [(market, "taken") for market in survey.taken]
    rows += [(survey.listed[slug], why) for slug, why in survey.left.items() if slug in survey.listed]
    for market, verdict in rows:
        left = "?" if market.window_end is None else _duration(market.window_end - now)
        lines.append(f"{market.slug[:COLUMNS]:<{COLUMNS}} {market.volume_24h or 0:>10} {left:>8}  {verdict}")
    lines.append(f"{len(survey.taken)} taken, {len(survey.left)} left")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 7_200 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - two hours
