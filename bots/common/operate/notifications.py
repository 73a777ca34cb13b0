"""Telling a person what the bot does, over Telegram.

:class:`Telegram` sends to one chat (protocol.md section 8); what, when and how often is up to
:class:`~bots.common.operate.outbox.Outbox`. :class:`TelegramApi` makes the calls, for the checks before a start, too.
The token is part of every URL of that API, so the HTTP client never sees it: it is put in below the client, where
nothing is logged, and errors are rewritten on their way up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
from attrs import field, frozen

from bots.common.errors import BotError, shorten
from bots.common.ranges import decimal_range, whole
from bots.common.secrets import hide
from polymirror.errors import BadResponse
from polymirror.harmless import escaped_lines, harmless
from polymirror.venue.body import ENCODING, read_directly
from polymirror.venue.environment import check_proxies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from bots.common.secrets import Secret
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

API: Final = "https://api.telegram.org"

MAX_TEXT: Final = 4_096
"""Characters of one message, counted as Telegram does, in UTF-16 units."""

MAX_ANSWER_BYTES: Final = 65_536

MAX_WAIT: Final = 3_600.0
"""The longest wait in seconds that a 429 is believed."""

DEFAULT_WAIT: Final = 5.0
"""After a 429 that does not say how long, in seconds."""

MULTIPLE_CHOICES, BAD_REQUEST, UNAUTHORIZED, NOT_FOUND, TOO_MANY, SERVER_ERROR = 300, 400, 401, 404, 429, 500


class TelegramError(BotError):
    """A call that Telegram refused or did not answer. ``status`` is the HTTP status, ``None`` without an answer.

    ``retry_after`` is the wait in seconds that a 429 asked for, ``moved_to`` the new id of a group that became a
    supergroup. Neither the token nor a URL is in it.
    """

    def __init__(
        self,
        method: str,
        status: int | None,
        description: str,
        *,
        retry_after: float | None = None,
        moved_to: int | None = None,
    ) -> None:
        what = "no answer" if status is None else f"HTTP {status}"
        super().__init__(f"Telegram {method}: {what}: {shorten(description)}")
        self.method = method
        self.status = status
        self.description = shorten(description)
        self.retry_after = retry_after
        self.moved_to = moved_to

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later."""
        return self.status is None or self.status == TOO_MANY or self.status >= SERVER_ERROR

    @property
    def token_is_wrong(self) -> bool:
        """Whether no call with this token can succeed."""
        return self.status in {UNAUTHORIZED, NOT_FOUND}


@frozen(kw_only=True)
class TelegramSettings:
    """How notices are sent."""

    gap: Decimal = field(default=Decimal("1.05"), validator=decimal_range("0.05", "60", "seconds"))
    """Between two messages. Telegram allows about one a second to one chat."""
    timeout: int = field(default=10, validator=whole(1, 60, "seconds"))
    """For one call."""


class TelegramApi:
    """Calls to the Bot API with one token. Use ``async with``; a call raises TelegramError and nothing else."""

    def __init__(self, token: Secret, network: Network, *, api: str = API, timeout: float = 10.0) -> None:
        self._token = token
        self._api = api.rstrip("/")
        self._timeout = timeout
        make = network.transport
        self._transport = _TokenTransport(token, _outside(self._api) if make is None else make())
        # Open between __aenter__ and __aexit__.
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._client = httpx.AsyncClient(transport=self._transport, timeout=self._timeout, headers=ENCODING)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get_me(self) -> dict[str, Any]:
        """Return who the bot is: ``username`` and more. Tells whether the token is right."""
        return await self.call("getMe", {})

    async def send_message(self, chat_id: str, text: str) -> dict[str, Any]:
        """Send a text of up to 4096 characters to a chat: a number, or ``@channel``."""
        return await self.call("sendMessage", {"chat_id": chat_id, "text": escaped_lines(text)})

    async def call(self, method: str, parameters: dict[str, str]) -> dict[str, Any]:
        """Call a method once and return its result."""
        assert self._client is not None, "use the API with 'async with'"  # noqa: S101 - a mistake in the code
        status: int | None = None
        try:
            async with (
                # httpx has limits for each step; this one is for all of them.
                asyncio.timeout(self._timeout),
                self._client.stream("POST", f"{self._api}/{method}", json=parameters) as response,
            ):
                status = response.status_code
                body = await read_directly(method, response, MAX_ANSWER_BYTES)
        except BadResponse as error:
            problem = str(error)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = f"{type(error).__name__}: {error}"
        except TimeoutError:
            problem = f"nothing within {self._timeout:g} s"
        else:
            return self._result(method, status, body)
        raise TelegramError(method, None, problem)

    def _result(self, method: str, status: int, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise TelegramError(method, status if status >= MULTIPLE_CHOICES else None, "an answer that is no JSON")
        result = value.get("result")
        if value.get("ok") is True and isinstance(result, dict):
            return result
        parameters = value.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        raise TelegramError(
            method,
            status,
            str(value.get("description", "no reason given")),
            retry_after=_number(parameters.get("retry_after")),
            moved_to=parameters["migrate_to_chat_id"] if type(parameters.get("migrate_to_chat_id")) is int else None,
        )


@frozen(kw_only=True)
class Delivery:
    """What became of one message."""

    count: int
    """So many texts, from the first on, arrived with it."""
    trouble: str = ""
    """Why none did."""
    refused: bool = False
    """Whether the message itself may be what Telegram does not take."""
    wait: float | None = None
    """Seconds before the next message, if Telegram asked for them."""


class Telegram:
    """Sends to one chat, for one task. Use ``async with``; it may be entered again."""

    def __init__(
        self,
        token: Secret,
        chat_id: str,
        network: Network,
        settings: TelegramSettings | None = None,
        *,
        api: str = API,
    ) -> None:
        self.sent = 0
        """Messages that Telegram has taken."""
        self._token = token
        self._chat_id = chat_id
        self._network = network
        self._settings = TelegramSettings() if settings is None else settings
        self._url = api
        # Open between __aenter__ and __aexit__.
        self._api: TelegramApi | None = None

    def __repr__(self) -> str:
        return f"Telegram(chat {self._chat_id}, {self.sent} sent)"

    async def __aenter__(self) -> Self:
        api = TelegramApi(self._token, self._network, api=self._url, timeout=self._settings.timeout)
        self._api = await api.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.__aexit__(kind, error, trace)

    async def hand_over(self, texts: Sequence[str]) -> Delivery:
        """Send one message with as many of the texts as fit, the first ones. Raises nothing of Telegram's."""
        assert self._api is not None, "use it with 'async with'"  # noqa: S101 - a mistake in the code
        text, count = _joined(texts)
        try:
            await self._send(self._api, text)
        except TelegramError as error:
            asked = None if error.status != TOO_MANY else min(error.retry_after or DEFAULT_WAIT, MAX_WAIT)
            refused = error.status == BAD_REQUEST
            return Delivery(
                count=0, trouble=str(error), refused=refused, wait=None if asked is None else asked + self.gap
            )
        self.sent += 1
        return Delivery(count=count, wait=self.gap)

    @property
    def gap(self) -> float:
        """Seconds between two messages."""
        return float(self._settings.gap)

    async def _send(self, api: TelegramApi, text: str) -> None:
        """Send to the chat, or to what it has become."""
        try:
            await api.send_message(self._chat_id, text)
        except TelegramError as error:
            if error.moved_to is None:
                raise
            log.warning("the chat %s has moved: set its new id %d", self._chat_id, error.moved_to)
            self._chat_id = str(error.moved_to)
            await api.send_message(self._chat_id, text)


def _joined(texts: Sequence[str]) -> tuple[str, int]:
    """Return one message made of as many texts as fit, and how many those are: at least one."""
    joined, count = cut(texts[0]), 1
    for text in texts[1:]:
        longer = f"{joined}\n{cut(text)}"
        if _units(longer) > MAX_TEXT:
            break
        joined, count = longer, count + 1
    return joined, count


class _TokenTransport(httpx.AsyncBaseTransport):
    """Puts the token into the path of a request, below the client, which logs its URLs and carries them in errors."""

    def __init__(self, token: Secret, inner: httpx.AsyncBaseTransport) -> None:
        self._token = token
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        base, _, method = request.url.path.rpartition("/")
        real = httpx.Request(
            request.method,
            request.url.copy_with(path=f"{base}/bot{self._token.reveal()}/{method}"),
            headers=request.headers,
            content=await request.aread(),
            extensions=request.extensions,
        )
        try:
            return await self._inner.handle_async_request(real)
        except httpx.TransportError as error:
            kind, text = type(error), hide(str(error))
        # Outside the handler: the error from below, which knows the URL, must not hang on the new one.
        raise kind(text, request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _outside(api: str) -> httpx.AsyncBaseTransport:
    """Return what carries requests to the real Telegram, through the proxy of the environment if there is one.

    A client that is given a transport does not look for proxies itself. Raises ConfigError for one that cannot be any.
    """
    check_proxies(httpx.Proxy)
    url = httpx.URL(api)
    proxies = urllib.request.getproxies()
    proxy = None if urllib.request.proxy_bypass(url.host) else proxies.get(url.scheme, proxies.get("all"))
    return httpx.AsyncHTTPTransport(proxy=proxy if not proxy or "://" in proxy else f"http://{proxy}")


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Shorten a text to ``limit`` UTF-16 units without splitting a character; one of nothing but space is a dash."""
    clean = harmless(hide(text), 2 * limit)
    if _units(clean) > limit:
        clean = clean.encode("utf-16-le")[: 2 * (limit - 2)].decode("utf-16-le", "ignore") + ".."
    return clean if clean.strip() else "-"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _number(value: object) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 10 * MAX_WAIT
    return float(value) if good and isinstance(value, (int, float)) else None
