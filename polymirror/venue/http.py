"""One HTTP client for both REST services: budget, time limits, retries, and errors with one meaning each.

:class:`Http` makes a call and returns its body with the times around it; what a body means is for
:mod:`polymirror.venue.rest` and :mod:`polymirror.venue.gamma`. All calls are reads, so each may be repeated.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from attrs import define, frozen
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from polymirror.errors import BadResponse, RateLimited, VenueError, VenueUnavailable
from polymirror.venue.backoff import FullJitter, parse_retry_after
from polymirror.venue.budget import RateBudget
from polymirror.venue.fields import parse_json

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import httpx

    from polymirror.config import RestConfig
    from polymirror.venue.network import Network

T = TypeVar("T")

TOO_EARLY: Final = 425
"""The venue answers so while its matching engine restarts."""

UNREADABLE: Final = 200
"""Marks a success whose body could not be read: the only BadResponse that a repetition may cure."""

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
    """A 404 whose body is the service's own JSON error, not some proxy's page."""


class Http:
    """Calls to one service. Use ``async with``; all callers share its connections and its budget."""

    def __init__(
        self,
        base_url: str,
        config: RestConfig,
        *,
        rng: random.Random,
        network: Network,
    ) -> None:
        self.counters = HttpCounters()
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
        # Not before it is needed: it takes a fifth of the time of importing the library.
        import httpx  # noqa: PLC0415

        config, transport = self._config, self._network.transport
        self._client = httpx.AsyncClient(
            transport=None if transport is None else transport(),
            timeout=httpx.Timeout(config.read_timeout, connect=config.connect_timeout, pool=config.total_timeout),
            limits=httpx.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
            headers={"Accept": "application/json"},
        )
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
        decode: Callable[[Answer], T],
        *,
        query: Mapping[str, str] | None = None,
        post: Any = None,
    ) -> T:
        """Make a call and decode its answer; repeat both, within the limits, when that may help.

        ``name`` stands for the call in messages. ``decode`` raises :class:`~polymirror.errors.BadResponse`
        with status :data:`UNREADABLE` for a body it cannot read. ``post`` is sent as JSON; without it this is a GET.

        Raises :class:`NotFound`, :class:`~polymirror.errors.RateLimited`, :class:`~polymirror.errors.BadResponse`, and
        :class:`~polymirror.errors.VenueUnavailable` also when ``total_timeout`` seconds were not enough for everything,
        the wait for the budget included. :class:`RuntimeError` outside ``async with``.
        """
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
            return decode(await self._attempt(name, path, query, post))

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

    async def _attempt(self, name: str, path: str, query: Mapping[str, str] | None, post: Any) -> Answer:
        import httpx  # noqa: PLC0415 - as above; by now it is there

        if self._client is None:
            msg = f"{name} outside 'async with'"
            raise RuntimeError(msg)
        request = self._client.build_request(
            "GET" if post is None else "POST", self._base_url + path, params=query, json=post
        )
        async with self._slots:
            await self._budget.spend(name)
            self.counters.calls += 1
            sent = self._clock()
            try:
                response = await self._client.send(request, stream=True)
                try:
                    body = await self._read(name, response)
                finally:
                    await response.aclose()
            except httpx.DecodingError as error:
                raise BadResponse(name, f"cannot be decompressed: {error}", UNREADABLE) from error
            except httpx.HTTPError as error:
                detail = f"{type(error).__name__} {error}".strip()[:MAX_DETAIL]
                raise VenueUnavailable(name, None, detail) from error
            received = self._clock()
        if not response.is_success:
            raise self._refusal(name, response, body)
        return Answer(body, sent, received)

    async def _read(self, name: str, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._config.max_body:
                raise BadResponse(name, f"the answer is longer than {self._config.max_body} bytes")
        return bytes(body)

    def _refusal(self, name: str, response: httpx.Response, body: bytes) -> VenueError:
        """Give an unsuccessful answer its one meaning."""
        status = response.status_code
        error, wish = _read_error(name, body)
        header = parse_retry_after(response.headers.get("Retry-After"), self._network.wall())
        retry_after = header if header is not None else wish
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.counters.throttled += 1
            if retry_after is not None:
                self._budget.hold(min(retry_after, self._config.max_retry_after))
            return RateLimited(name, retry_after)
        if status in {TOO_EARLY, HTTPStatus.REQUEST_TIMEOUT} or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return VenueUnavailable(name, status, error or "no JSON error", retry_after)
        if status == HTTPStatus.NOT_FOUND and error is not None:
            return NotFound(f"{name}: {error}")
        return BadResponse(name, f"HTTP {status}: {error or 'no JSON error'}", status)


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed if it is made again."""
    return isinstance(error, (RateLimited, VenueUnavailable)) or (
        isinstance(error, BadResponse) and error.status == UNREADABLE
    )


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
    return (text[:MAX_DETAIL] if isinstance(text, str) else None), seconds
