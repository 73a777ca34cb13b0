"""One HTTP client for both REST services: budget, time limits, retries, and errors with one meaning each.

:class:`Http` makes a call and returns its body with the times around it; what a body means is for
:mod:`polymirror.venue.rest` and :mod:`polymirror.venue.gamma`. All calls are reads, so each may be repeated. Whatever a
peer sends comes out as a :class:`~polymirror.errors.VenueError`; no cookie is kept, and redirects lead no further than
to another address of the same service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from attrs import define, frozen

from polymirror.errors import BadResponse, ConfigError, RateLimited, VenueError, VenueUnavailable
from polymirror.harmless import harmless
from polymirror.venue.backoff import FullJitter, parse_retry_after
from polymirror.venue.body import ENCODING, UNREADABLE, read_answer
from polymirror.venue.budget import RateBudget
from polymirror.venue.failures import (
    HINTS,
    MAX_REDIRECTS,
    PHRASES,
    REDIRECTS,
    explain_status,
    follow,
    page_in,
    unavailable,
    wish,
)
from polymirror.venue.fields import parse_json
from polymirror.venue.quiet import quietly

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    import httpx
    from tenacity import RetryCallState

    from polymirror.config import RestConfig
    from polymirror.venue.network import Network

T = TypeVar("T")

Query = Mapping[str, str | Sequence[str]]
"""The parameters of a call; one with several values is written several times."""

TOO_EARLY: Final = 425
"""The venue answers so while its matching engine restarts."""

MAX_DETAIL: Final = 120
"""Characters of an error body that go into a message."""


@define
class HttpCounters:
    """What a client has done since it was made."""

    calls: int = 0
    """Requests sent, repetitions included."""
    retries: int = 0
    """Repetitions."""
    throttled: int = 0
    """Answers with status 429."""


@frozen
class Answer:
    """The body of a successful answer, and when its request went out and its last byte came (seconds, monotonic)."""

    body: bytes
    sent: float
    received: float


class NotFound(VenueError):  # noqa: N818 - a fact; translated before it leaves the package
    """A 404 about something that was asked for by name, with the service's own JSON error and not some proxy's page."""


class Http:
    """Calls to one service. Use ``async with``; all callers share its connections and its budget.

    Entering raises :class:`~polymirror.errors.ConfigError` for a proxy or certificates that can never be used.
    """

    def __init__(
        self,
        base_url: str,
        config: RestConfig,
        *,
        rng: random.Random,
        network: Network,
    ) -> None:
        self.counters: HttpCounters = HttpCounters()
        self._base_url = base_url.rstrip("/")
        self._config = config
        self._network = network
        self._clock = network.monotonic
        self._jitter = FullJitter(config.backoff_base, config.backoff_cap, rng, longest_wish=config.max_retry_after)
        self._budget = RateBudget(config.calls_per_10s, clock=network.monotonic, sleep=network.sleep)
        self._slots = asyncio.Semaphore(config.concurrency)
        # Open between __aenter__ and __aexit__.
        self._client: httpx.AsyncClient | None = None

    @property
    def budget_left(self) -> int:
        """Calls that could be made at once before the rate budget is spent."""
        return self._budget.left

    async def __aenter__(self) -> Self:
        # Not before they are needed: they take a fifth of the time of importing the library.
        import httpx  # noqa: PLC0415

        from polymirror.venue.cookies import NoCookies  # noqa: PLC0415
        from polymirror.venue.environment import bad_environment, check_proxies  # noqa: PLC0415

        config, transport = self._config, self._network.transport
        if transport is None:
            check_proxies(lambda proxy: httpx.AsyncHTTPTransport(proxy=proxy, verify=False))
        try:
            self._client = httpx.AsyncClient(
                transport=None if transport is None else transport(),
                timeout=httpx.Timeout(config.read_timeout, connect=config.connect_timeout, pool=config.total_timeout),
                limits=httpx.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
                headers={"Accept": "application/json", **ENCODING},
                cookies=NoCookies(),
            )
        except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
            raise bad_environment(error) from error
        try:
            # Finds out what is wrong with our own address before anything is sent.
            self._client.build_request("GET", self._base_url)
        except (ValueError, httpx.InvalidURL) as error:
            # Not shown whole: it may have a password.
            shown = self._base_url.rpartition("@")[2]
            raise ConfigError("endpoints", shown, "a URL that starts with https or http and has a host") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def call(
        self,
        name: str,
        path: str,
        decode: Callable[[Answer], Awaitable[T]],
        *,
        query: Query | None = None,
        post: Any = None,
        by_name: bool = True,
    ) -> T:
        """Make a call and decode its answer; repeat both, within the limits, when that may help.

        ``name`` stands for the call in messages. ``decode`` raises :class:`~polymirror.errors.BadResponse`
        with status :data:`UNREADABLE` for a body it cannot read. ``post`` is sent as JSON; without it this is a GET.
        Without ``by_name`` nothing is asked for that could be unknown: a 404 then means that the service is not there.

        Raises :class:`NotFound`, :class:`~polymirror.errors.RateLimited`, :class:`~polymirror.errors.BadResponse`, and
        :class:`~polymirror.errors.VenueUnavailable` also when ``total_timeout`` seconds were not enough for everything,
        the wait for the budget included. :class:`RuntimeError` outside ``async with``.
        """
        from tenacity import AsyncRetrying, retry_if_exception  # noqa: PLC0415 - as above

        started = self._clock()

        def give_up(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome is not None else None
            wish = getattr(error, "retry_after", None) or 0.0
            elapsed = self._clock() - started
            return (
                state.attempt_number >= self._config.attempts
                or wish > self._config.max_retry_after
                or elapsed + state.upcoming_sleep >= self._config.total_timeout
            )

        def count(_state: RetryCallState) -> None:
            self.counters.retries += 1

        async def attempt() -> T:
            try:
                return await decode(await self._attempt(name, path, query, post))
            except VenueError as error:
                if not by_name and is_not_found(error):
                    detail = f"{PHRASES[HTTPStatus.NOT_FOUND]}: is this the venue's address?"
                    raise VenueUnavailable(name, HTTPStatus.NOT_FOUND, detail) from error
                raise

        retrying = AsyncRetrying(
            sleep=self._network.sleep,
            wait=self._jitter,
            stop=give_up,
            retry=retry_if_exception(is_passing),
            before_sleep=count,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._config.total_timeout):
                return await retrying(attempt)
        except TimeoutError:
            raise VenueUnavailable(name, None, f"not done within {self._config.total_timeout:g} s") from None

    async def _attempt(self, name: str, path: str, query: Query | None, post: Any) -> Answer:
        import httpx  # noqa: PLC0415 - as above; by now it is there

        if self._client is None:
            msg = f"{name} outside 'async with'"
            raise RuntimeError(msg)
        method, url = "GET" if post is None else "POST", self._base_url + path
        async with self._slots:
            followed = 0
            while True:
                try:
                    request = self._client.build_request(method, url, params=query, json=post)
                except (httpx.InvalidURL, UnicodeError) as error:
                    raise BadResponse(name, f"fits into no request: {harmless(str(error))}") from error
                await self._budget.spend(name)
                self.counters.calls += 1
                sent = self._clock()
                response, body = await self._exchange(self._client, name, request)
                received = self._clock()
                if response.is_success:
                    return Answer(body, sent, received)
                target = follow(str(request.url), response.headers.get_list("Location"))
                if response.status_code not in REDIRECTS or target is None or followed == MAX_REDIRECTS:
                    raise self._refusal(name, response, body)
                # All calls are reads: each is asked again as it was, and the address has the query.
                url, query, followed = target, None, followed + 1

    async def _exchange(
        self, client: httpx.AsyncClient, name: str, request: httpx.Request
    ) -> tuple[httpx.Response, bytes]:
        """Send one request and read its answer, whatever its status."""
        import httpx  # noqa: PLC0415 - as above

        config = self._config
        try:
            with quietly():
                response = await client.send(request, stream=True)
            try:
                return response, await read_answer(name, response, config.max_body)
            except Exception:
                if response.is_success:
                    raise
                # What is wrong with the body of a refusal does not matter: its status says enough.
                return response, b""
            finally:
                await response.aclose()
        except VenueError:
            raise
        except Exception as error:
            # Whatever it is, a peer or the way to it caused it: the request is known to be a good one.
            seconds = config.connect_timeout if isinstance(error, httpx.ConnectTimeout) else config.read_timeout
            raise unavailable(name, error, host=request.url.host, seconds=seconds) from error

    def _refusal(self, name: str, response: httpx.Response, body: bytes) -> VenueError:
        """Give an unsuccessful answer its one meaning."""
        status = response.status_code
        error, stated = _read_error(name, body)
        header = wish(response.headers.get_list("Retry-After"), self._network.wall())
        retry_after = header if header is not None else stated
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.counters.throttled += 1
            if retry_after is not None:
                self._budget.hold(min(retry_after, self._config.max_retry_after))
            return RateLimited(name, retry_after)
        passing = status in {TOO_EARLY, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}
        locations = response.headers.get_list("Location")
        if status in REDIRECTS and locations:
            return VenueUnavailable(name, status, explain_status(status, locations, str(response.request.url)))
        # A front server, a portal or somebody's firewall answers with a page: that is not the service's own word.
        detail = error or "; ".join(filter(None, (HINTS.get(status), page_in(body)))) or "no JSON error"
        if passing or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return VenueUnavailable(name, status, detail, retry_after)
        if status == HTTPStatus.NOT_FOUND and error is not None:
            return NotFound(f"{name}: {error}")
        return BadResponse(name, f"HTTP {status}: {detail}", status)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed if it is made again."""
    return isinstance(error, (RateLimited, VenueUnavailable)) or (
        isinstance(error, BadResponse) and error.status == UNREADABLE
    )


def is_not_found(error: VenueError) -> bool:
    """Whether the answer was a 404, by the service itself or by somebody else."""
    return isinstance(error, NotFound) or (isinstance(error, BadResponse) and error.status == HTTPStatus.NOT_FOUND)


def _read_error(name: str, body: bytes) -> tuple[str | None, float | None]:
    """Read the service's error text and its ``retry_after_seconds``; ``None`` for what is not there."""
    try:
        content = parse_json(body, name)
    except BadResponse:
        return None, None
    if not isinstance(content, dict):
        return None, None
    text = content.get("error")
    wish = content.get("retry_after_seconds")
    seconds = parse_retry_after(str(wish), 0.0) if isinstance(wish, (int, Decimal, str)) else None
    return (harmless(text, MAX_DETAIL) if isinstance(text, str) else None), seconds
