"""The markets of a mirror, as its users see them: what it has, what it looks for, and how that changes while it runs.

The base of :class:`polymirror.mirror.Mirror`, which owns the engine and the clients. :mod:`polymirror.shell.listing`
knows which markets there are and who needs them, :mod:`polymirror.shell.following` walks along rolling windows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from polymirror.config import check_instance
from polymirror.shell.following import Following, Followings
from polymirror.shell.listing import Listing
from polymirror.venue.gamma import Gamma
from polymirror.venue.market import Market
from polymirror.venue.pages import check_token, slug_of
from polymirror.venue.windows import Interval


class Markets(ABC):
    """The part of a mirror that adds and removes markets."""

    gamma: Gamma
    _listing: Listing
    _followings: Followings

    @abstractmethod
    def _check_running(self) -> None:
        """Raise MirrorClosed unless the mirror runs."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise MirrorClosed once the mirror was stopped."""

    @abstractmethod
    def _drain(self) -> None:
        """Handle what an input led to."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, in the order in which their markets were added; Up or Yes first within a market.

        Those that were named and whose market is not found yet come last.
        """
        return self._listing.tokens

    @property
    def markets(self) -> tuple[Market, ...]:
        """All markets, in the order in which they were added."""
        return tuple(self._listing.markets.values())

    @property
    def missing(self) -> dict[str, str]:
        """What is not found yet, by slug, token or ``event SLUG``, and why; it is looked for until it is."""
        return self._listing.missing

    def market_of(self, token: str) -> Market:
        """Return the market of a token. Raises NotLive while it is looked for, and UnknownToken."""
        return self._listing.market_of(token)

    def event_markets(self, event: str) -> tuple[Market, ...]:
        """Return the mirrored markets of an event, by its slug or page, in the order in which they were found.

        Closed ones and those without tokens are not among them. Raises NotLive while the event, or an open market of
        it, is not found or cannot be read, and ConfigError for an event that was not added.
        """
        return self._listing.event_markets(event)

    def add_market(self, market: Market) -> None:
        """Start to mirror both tokens of a market. Does nothing for one that is mirrored already."""
        self._check_running()
        self._listing.add(check_instance("market", market, Market))
        self._drain()

    async def add_slug(self, slug: str) -> Market:
        """Look a market up by slug, or its page's address, and start to mirror it. Raises VenueError, ConfigError."""
        self._check_running()
        return self._add_found(await self.gamma.market(slug_of(slug)))

    async def add_token(self, token: str) -> Market:
        """Look a token's market up and start to mirror both its tokens. Raises VenueError, ConfigError."""
        self._check_running()
        return self._add_found(await self.gamma.market_of_token(check_token(token)))

    def _add_found(self, market: Market) -> Market:
        self._check_running()
        self._listing.add_found(market)
        self._drain()
        return market

    def add_event(self, event: str) -> None:
        """Mirror all open markets of an event, named by its slug or page, and those that it gets from now on.

        It is looked for in the background and listed in :attr:`missing` until it is found: wait for its books with
        :meth:`~polymirror.mirror.Mirror.wait_live`. May be called before the start. Raises ConfigError.
        """
        self._check_open()
        self._listing.want_event(event)

    def remove_event(self, event: str) -> None:
        """Stop to mirror the markets of an event, but for those that are needed otherwise. Raises ConfigError."""
        self._check_running()
        self._listing.release_event(event)
        self._drain()

    def remove_market(self, condition_id: str) -> None:
        """Stop to mirror a market, whatever brought it here. Raises UnknownToken if it is not mirrored."""
        self._check_running()
        self._listing.remove(condition_id)
        self._drain()

    def follow(self, asset: str, interval: str | Interval, *, ahead: int = 1, behind: int = 0) -> Following:
        """Walk along the rolling up/down windows of an asset, such as ``("btc", "15m")``, until ``stop()``.

        The current window is mirrored, ``ahead`` windows after it (the next one from a minute before it opens, at the
        least), and ``behind`` before it. An ended market stays until it is settled, for ten minutes at most. What is
        not found is in :attr:`missing`. Time is the venue's, once its clock is known. May be called before the start.
        Raises ConfigError for windows without a formula for their name, such as those of four hours.
        """
        self._check_open()
        return self._followings.begin(asset, interval, ahead=ahead, behind=behind)

    def current(self, asset: str, interval: str | Interval) -> Market:
        """Return the market of the running window of an asset that is followed.

        Raises NotLive, with the cause, while it is not mirrored, and ConfigError if the windows are not followed.
        """
        return self._followings.find(asset, interval).current
