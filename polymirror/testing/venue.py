"""The venue that a test holds in its hands: its books, its faults, its truth, and who trades there.

Everything here acts at once, at the venue; what a mirror sees of it is on its way afterwards, as in life.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from polymirror.config import MirrorConfig
from polymirror.core.level import Level
from polymirror.core.units import decimal_to_units, size_to_decimal
from polymirror.errors import ConfigError, NotLive, UnknownToken
from polymirror.mirror import Mirror
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.faults.catalogue import FAULTS, check_ids
from polymirror.simulator.faults.client import Suspended
from polymirror.simulator.faults.venue import VenueFault
from polymirror.simulator.orders.auth import Account
from polymirror.simulator.outfit import Trader
from polymirror.testing.book import Book
from polymirror.testing.participant import Participant

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from polymirror.config import Endpoints
    from polymirror.core.view import BookView
    from polymirror.simulator.exchange.exchange import Exchange
    from polymirror.simulator.faults.base import Fault
    from polymirror.simulator.outfit import Outfit
    from polymirror.simulator.server import Simulator
    from polymirror.simulator.virtual.venue import VirtualVenue
    from polymirror.testing.config import StageConfig
    from polymirror.venue.network import Network

T = TypeVar("T")

Number = Decimal | int | str
"""A price in pUSD or a size in shares, exactly; a float raises UnitError."""

Row = tuple[Number, Number] | Level
"""The price and the size of a level."""

MAX_FAULTS: Final = 1_000
"""Faults that a test may begin, ended ones included."""

MAX_LENGTH: Final = 86_400.0
"""Seconds that one occurrence of a fault may last."""


class RunningFault:
    """A fault that :meth:`StagedVenue.fault` began. :meth:`end` it, or use it with ``with``."""

    def __init__(self, fault: Fault, end: Callable[[], None]) -> None:
        self._fault = fault
        self._end = end

    @property
    def injected(self) -> int:
        """How often it has struck so far."""
        return self._fault.injected

    def end(self) -> None:
        """Let it strike no more, and let go of what it kept back. Again does nothing."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class StagedVenue:
    """A venue for one test. The fixture ``venue``, or what :func:`~polymirror.testing.play` hands over."""

    def __init__(
        self,
        carrier: VirtualVenue | Simulator,
        outfit: Outfit,
        config: StageConfig,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self.config = config
        self._carrier = carrier
        self._outfit = outfit
        self._run = run
        self._accounts: dict[str, Participant] = {}

    def __repr__(self) -> str:
        time = "real" if self.config.loopback else "virtual"
        seed = self.exchange.config.seed
        return f"<StagedVenue seed={seed} markets={len(self.slugs)}, {time} time, {self.exchange.now_ms} ms>"

    @property
    def tokens(self) -> tuple[str, ...]:
        """All asset ids, the two of a market next to each other, Up first."""
        return self.exchange.tokens

    @property
    def slugs(self) -> tuple[str, ...]:
        """The slugs of all markets."""
        return self.exchange.slugs

    @property
    def endpoints(self) -> Endpoints:
        """Where it is, for a mirror of your own."""
        return self._carrier.endpoints

    @property
    def network(self) -> Network:
        """The way there and the clocks, for a mirror or a bot of your own."""
        return self._carrier.network

    @property
    def base_url(self) -> str:
        """Where its HTTP services are, orders included, for clients that go over ``network``."""
        return self._carrier.base_url

    @property
    def exchange(self) -> Exchange:
        """The exchange itself, for what is not here: :class:`~polymirror.simulator.exchange.exchange.Exchange`."""
        return self._carrier.exchange

    def mirror(self, *slugs: str, config: MirrorConfig | None = None) -> Mirror:
        """Make a mirror of these markets (default: all), to be used with ``async with``."""
        usual = self.config.mirror or MirrorConfig(seed=self.config.seed)
        given = usual if config is None else config
        return Mirror.for_slug(*(slugs or self.slugs), config=given, endpoints=self.endpoints, network=self.network)

    # What happens.

    def set_book(
        self,
        token: str,
        bids: Iterable[Row] = (),
        asks: Iterable[Row] = (),
        *,
        tick: Number | None = None,
    ) -> None:
        """Give a token exactly this book: (price in pUSD, size in shares) for each level, in any order.

        Numbers are Decimals, ints or texts such as "0.47"; levels of a view or of :meth:`truth` do as well.
        The other token's book is its mirror image. From then on the order flow leaves this market alone, so the book
        stays until it is set again or somebody trades. It goes out as the venue tells it: price changes with their
        hashes. ``tick`` changes the price grid of the market first, such as "0.001". Orders of accounts stay; those
        that the new levels cross are matched.

        Raises UnitError for a number that is not exact, ConfigError for a book that cannot be or a market that does
        not trade any more, and UnknownToken.
        """
        raw_bids, raw_asks = _raw(bids), _raw(asks)
        raw_tick = None if tick is None else decimal_to_units("tick", tick, 4)
        self.exchange.set_book(token, raw_bids, raw_asks, self._carrier.wall_ms(), tick=raw_tick)
        self._carrier.refresh()

    def fault(
        self, fault: str, *, share: float = 1.0, length: float | None = None, tokens: Iterable[str] = ()
    ) -> RunningFault:
        """Let something go wrong from now on; ``fault`` is an id of the page on faults, such as "lost_delta".

        ``share`` is the probability at each chance that it has, such as each price change; ``length`` is how long
        one occurrence lasts, in seconds (default: the fault's own); with ``tokens`` it is about these alone. What
        befalls the venue or a market, such as a restart or a settlement, gets its first chance at once and then one
        every five seconds.

        Raises ConfigError for an unknown id, with the nearest one, and for numbers out of range; UnknownToken.
        """
        check_ids([fault], over_sockets=self.config.loopback)
        kind, line, exchange = FAULTS[fault], self._carrier.line, self.exchange
        if kind is Suspended:
            raise ConfigError("faults", fault, "one that a staged venue has: a machine that sleeps is for the torture")
        if len(line.faults) >= MAX_FAULTS:
            raise ConfigError("faults", len(line.faults) + 1, f"at most {MAX_FAULTS} in one test")
        plan = Plan(share=share, length_ms=_length_ms(length, kind), tokens=frozenset(self._known(tokens)))
        made = kind(plan, seed=self.config.seed)
        self._carrier.refresh()
        line.faults = (*line.faults, made)
        if isinstance(made, VenueFault):
            exchange.agenda.add(exchange.now_ms, partial(made.happen, exchange))
        self._carrier.refresh()
        return RunningFault(made, partial(self._end, made))

    def settle(self, slug: str | None = None) -> None:
        """Let a market (default: all of them) end now: emptied, resolved two seconds later, closed."""
        if slug is not None and slug not in self.slugs:
            raise ConfigError("slug", slug, f"one of {', '.join(self.slugs)}")
        self.exchange.settle(slug)
        self._carrier.refresh()

    def account(self, name: str, cash: Number = 1_000) -> Participant:
        """Let somebody in who trades here, with this much pUSD. Raises ConfigError for a name that is taken."""
        broker = self._outfit.broker
        if name in self._accounts or broker is None:
            raise ConfigError("name", name, "one that nobody here has yet")
        account = Account.made_up(name)
        money = size_to_decimal(decimal_to_units("cash", cash, 6))
        self._outfit.join(Trader(address=account.address, account=account, cash=money))
        found = Participant(account, broker, self._carrier.wall_ms, self._carrier.refresh)
        self._accounts[name] = found
        return found

    # The truth.

    def truth(self, token: str) -> Book:
        """Return the book as it really is now; its levels are those of a view that is right. Raises UnknownToken."""
        bids, asks = self.exchange.truth(token)
        return Book(*(tuple(Level(price, size) for price, size in side) for side in (bids, asks)))

    def confirms(self, view: BookView, slack: float = 1.0) -> bool:
        """Whether the venue had exactly these levels no longer ago than the view claims, plus ``slack`` seconds.

        The slack is for the way from the venue. By its own rules: no code of the mirror judges the mirror.
        """
        return self.exchange.confirms(view, slack, now_ms=self._carrier.wall_ms())

    async def until_shown(self, mirror: Mirror, *tokens: str, timeout: float = 10.0) -> None:
        """Wait until the mirror grants a read of exactly what the venue has now, for these tokens (default: all).

        Raises TimeoutError after ``timeout`` seconds, and says what each of them has.
        """
        wanted = tokens or mirror.tokens
        try:
            await mirror.until(lambda: all(self._shows(mirror, token) for token in wanted), timeout)
        except TimeoutError:
            late = next(token for token in wanted if not self._shows(mirror, token))
            has = f"the venue has {self.truth(late)}, the mirror {mirror.peek(late)}"
            raise TimeoutError(f"{late} is not shown after {timeout:g} s: {has}") from None

    # Time.

    def wall_ms(self) -> int:
        """Return the venue's true time of day in Unix milliseconds."""
        return self._carrier.wall_ms()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the venue's event loop and return its result: for tests and fixtures that are not ``async``.

        Time passes only while something runs: ``venue.run(asyncio.sleep(60))`` is a minute.
        """
        result: T = self._run(work)
        return result

    # Inside.

    def _end(self, fault: Fault) -> None:
        self._carrier.refresh()
        self._carrier.line.end(fault, self.exchange.now_ms)
        self._carrier.refresh()

    def _known(self, tokens: Iterable[str]) -> list[str]:
        found = [tokens] if isinstance(tokens, str) else list(tokens)
        for token in found:
            if not self.exchange.knows(token):
                raise UnknownToken(token)
        return found

    def _shows(self, mirror: Mirror, token: str) -> bool:
        try:
            view, truth = mirror.live(token), self.truth(token)
        except NotLive:
            return False
        return view.bids == truth.bids and view.asks == truth.asks


def _raw(levels: Iterable[Row]) -> list[tuple[int, int]]:
    return [(decimal_to_units("price", price, 4), decimal_to_units("size", size, 6)) for price, size in levels]


def _length_ms(length: float | None, kind: type[Fault]) -> int:
    if length is None:
        return kind.default_length_ms
    if not 0 < length <= MAX_LENGTH:
        raise ConfigError("length", length, f"more than 0 and at most {MAX_LENGTH:g} seconds")
    return max(1, round(length * 1000))
