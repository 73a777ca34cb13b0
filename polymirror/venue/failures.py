"""Why the venue could not be reached, in words for a person: the one place that reads what network libraries raise.

From the look-up of a name to the last byte of an answer, whatever a peer or the way to it causes is
:class:`~polymirror.errors.VenueUnavailable`, and its cause is made here. Only our own configuration is a ConfigError,
and that is for :mod:`polymirror.venue.wire` and :mod:`polymirror.venue.http` to say before anything is sent. Pure.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from polymirror.errors import VenueUnavailable
from polymirror.harmless import harmless
from polymirror.venue.backoff import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_CAUSE: Final = 200
"""Characters of a cause that are kept: a peer may have written it."""

MAX_CHAIN: Final = 16
"""Errors behind an error that are looked at."""

MAX_HEAD: Final = 4_096
"""Bytes of a page in which its title is looked for."""

MAX_TITLE: Final = 80
"""Characters of it that are told."""

TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<]{1,1000})", re.IGNORECASE)

MAX_ADDRESS: Final = 2_000
"""Characters of an address that a redirect may lead to."""

MAX_REDIRECTS: Final = 3
"""Redirects that are followed for one request, or one handshake."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""Statuses that lead to the address in ``Location``."""

PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}

HINTS: Final = {
    401: "a log-in is wanted: is a proxy in the way?",
    403: "region refused?",
    407: "the proxy wants a log-in",
    429: "too many connections",
    511: "the network wants a log-in: is it behind a portal?",
}
"""What a refusal most often means; the venue itself asks nobody who reads its books to log in."""

PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

PROXY_ERRORS: Final = frozenset({"ProxyError", "InvalidProxyStatus", "InvalidProxyMessage"})
"""What httpx and websockets raise when a proxy does not let us through. By name: neither is imported for it."""

PORTAL: Final = "is this network behind a portal?"


def unavailable(call: str, error: BaseException, *, host: str = "", seconds: float | None = None) -> VenueUnavailable:
    """Make the error for what a library raised while ``host`` was talked to, with a limit of ``seconds``."""
    return VenueUnavailable(call, None, explain(error, host=host, seconds=seconds))


def explain(error: BaseException, *, host: str = "", seconds: float | None = None) -> str:
    """Say what made a connection or a call fail: at most :data:`MAX_CAUSE` printable characters."""
    behind = tuple(_chain(error))
    for each in behind:
        found = _known(each, host, seconds)
        if found:
            return harmless(found)
    # Nothing that is known: the words of the library, and of what was behind it.
    texts = dict.fromkeys(text for each in (behind[0], behind[-1]) if (text := str(each).strip()))
    return harmless(f"{type(error).__name__}: {': '.join(texts)}" if texts else type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those behind it, a group's members in its place."""
    waiting, seen = [error], 0
    while waiting and seen < MAX_CHAIN:
        each = waiting.pop(0)
        seen += 1
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions[:MAX_CHAIN])
        # Also a context that is suppressed: the pool of httpcore hides what made a connection fail.
        cause = each.__cause__ or each.__context__
        if cause is not None:
            waiting.append(cause)


def _known(error: BaseException, host: str, seconds: float | None) -> str:
    """Name a failure by its type; an empty text for one that is not known, or that has a better one behind it."""
    if type(error) is OSError and (numbers := re.findall(r"\[Errno (\d{1,5})\]", str(error))):
        # asyncio tells of several addresses in one text. The number makes it an error of the right type.
        error = OSError(int(numbers[0]), os.strerror(int(numbers[0])))
    after = "" if seconds is None else f" after {seconds:g} s"
    if type(error).__name__.endswith("Timeout"):
        # httpx's name tells what was waited for.
        return f"time-out{after} ({type(error).__name__})"
    if type(error).__name__ in PROXY_ERRORS:
        return f"proxy: {error}"
    for kinds, words in WORDS:
        if isinstance(error, kinds):
            return words(error).format(host=host or "the venue", after=after)
    return ""


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    # Python sets it on those that it raises itself.
    return _plain(f"TLS: {getattr(error, 'verify_message', '') or 'the certificate was refused'}")


def _tls(error: ssl.SSLError) -> str:
    reason = (getattr(error, "reason", "") or str(error)).replace("_", " ").lower()
    return _plain(f"TLS: {reason}{': does that port speak TLS?' if reason == 'wrong version number' else ''}")


def _dns(error: socket.gaierror) -> str:
    return "DNS: no address for {host}" + _plain(f" ({(error.strerror or 'unknown').lower()})")


def _system(error: OSError) -> str:
    return _plain(f"{error.strerror.lower()} (errno {error.errno})") if error.strerror else ""


def _plain(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


# The first that fits counts: all but the last are OSErrors, too.
WORDS: Final[tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], str]], ...]] = (
    ((ssl.SSLCertVerificationError,), _certificate),
    ((ssl.SSLError,), _tls),
    ((socket.gaierror,), _dns),
    ((ConnectionRefusedError,), lambda _: "connection refused"),
    ((ConnectionResetError, ConnectionAbortedError, BrokenPipeError), lambda _: "reset by the other side"),
    ((TimeoutError,), lambda _: "time-out{after}"),
    ((OSError,), _system),
    ((EOFError,), lambda _: "closed before the answer was complete"),
)


def explain_status(status: int, locations: Sequence[str], url: str, *, most: int = MAX_REDIRECTS) -> str:
    """Say what a status means that is no answer to what was asked of ``url``; ``locations``: its Location headers.

    ``most`` redirects were allowed: none where credentials are sent.
    """
    if status in REDIRECTS:
        return _redirect(locations, url, most)
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return f"not what was asked for: {PORTAL}"
    return HINTS.get(status) or PHRASES.get(status) or "a status without a meaning"


def _redirect(locations: Sequence[str], url: str, most: int) -> str:
    if len(locations) != 1:
        return f"a redirect with {len(locations)} addresses"
    place = _place(url, locations[0])
    if follow(url, locations) is None:
        return f"to another host or scheme, {place}: {PORTAL}"
    if not most:
        return f"a redirect to {place}, and none is followed here"
    return f"a redirect again after {MAX_REDIRECTS} of them, to {place}"


def follow(url: str, locations: Sequence[str]) -> str | None:
    """Return where a redirect of ``url`` leads, if that is the same scheme, host and port; None for anything else."""
    if len(locations) != 1 or len(locations[0]) > MAX_ADDRESS:
        return None
    location = locations[0].strip()
    if not location or not location.isascii() or not location.isprintable() or " " in location:
        return None
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        same = (old.scheme, old.hostname, _port(old.scheme, old.port)) == (
            new.scheme, new.hostname, _port(new.scheme, new.port)
        )  # fmt: skip
    except ValueError:
        return None
    return target if same and "@" not in new.netloc and not new.fragment else None


def _port(scheme: str, port: int | None) -> int | None:
    return PORTS.get(scheme) if port is None else port


def _place(url: str, location: str) -> str:
    """Return where a redirect leads without what may be secret in it: query, fragment and credentials."""
    try:
        parts = urlsplit(urljoin(url, location[:MAX_ADDRESS].strip()))
    except ValueError:
        return harmless(f"an address that cannot be read: {location[:40]!r}")
    return harmless(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", 100)


def wish(headers: Iterable[str], wall_now: float) -> float | None:
    """Return the longest wait in seconds that ``Retry-After`` headers ask for; None if none can be read."""
    waits = (parse_retry_after(each, wall_now) for each in headers)
    return max((seconds for seconds in waits if seconds is not None), default=None)


def page_in(body: bytes) -> str:
    """Say that a body looks like a page of HTML, and what its title is; the empty text for one that does not.

    Looks at the first 4 KiB: a page is what somebody between us and the venue sends, and its title is who that is.
    """
    head = body[:MAX_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").decode("utf-8", "replace")
    if not head.startswith("<") or head[:5].lower() == "<?xml":
        return ""
    from html import unescape  # noqa: PLC0415 - hardly ever needed

    found = TITLE.search(head)
    title = harmless(" ".join(unescape(found[1]).split()), MAX_TITLE) if found else ""
    return f"looks like HTML, titled '{title}'" if title else "looks like HTML"
