"""Where at a broker what is said: the subjects of one relay, in one format. Pure.

What somebody else chose becomes part of a subject only if it is of the few characters that have no meaning there.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import frozen

from polymirror.config import check_address
from polymirror.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from polymirror.relay.wire import Format

SCHEMES: Final = ("tls", "nats")
"""Of an address of a broker; the first one has TLS, or there is no connection."""

FORMATS: Final[tuple[Format, ...]] = ("json", "msgpack")

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

MAX_INTERVAL: Final = 0.25
"""Seconds that a change may be held back at most: half a beat."""


def is_broker(url: object) -> bool:
    """Whether a relay's address leads to a broker."""
    return isinstance(url, str) and url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def check_extra() -> None:
    """Raise MissingExtra without NATS' client."""
    if find_spec("nats") is None:
        raise MissingExtra("a relay at a NATS server", "relay")


def check_server(field: str, url: str, *, allow_plain: bool) -> None:
    """Raise ConfigError for what is no address of a server, such as ``nats://127.0.0.1:4222``."""
    check_address(field, url, *SCHEMES, allow_plain=allow_plain)
    if urlsplit(url).path not in {"", "/"} or urlsplit(url).query:
        raise ConfigError(field, url, "the address of a server alone")


def check_name(field: str, name: object) -> None:
    """Raise ConfigError for what cannot be a relay's name."""
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ConfigError(field, name, "1 to 64 letters, digits, - and _")


def check_interval(field: str, interval: object) -> None:
    """Raise ConfigError for what cannot be the least between two messages about one token."""
    good = isinstance(interval, (int, float)) and not isinstance(interval, bool) and 0 <= interval <= MAX_INTERVAL
    if not good:
        raise ConfigError(field, interval, f"0 to {MAX_INTERVAL:g} seconds")


def split(field: str, url: str, *, allow_plain: bool) -> tuple[str, str]:
    """Return server and relay's name of an address like ``nats://127.0.0.1:4222/desk``. Raises ConfigError."""
    check_address(field, url, *SCHEMES, allow_plain=allow_plain)
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    if NAME.fullmatch(name) is None or parts.query:
        raise ConfigError(field, url, "a server and a relay's name of letters, digits, - and _: nats://HOST:4222/NAME")
    return f"{parts.scheme}://{parts.netloc}", name


@frozen
class Subjects:
    """The subjects of the relay ``name`` in one format."""

    name: str
    format: Format

    @property
    def ask(self) -> str:
        """Where consumers ask; each names a subject of its own below :attr:`replies` for the answers."""
        return f"polymirror.{self.name}.{self.format}.ask"

    @property
    def markets(self) -> str:
        """Where the markets are listed whenever they are others."""
        return f"polymirror.{self.name}.{self.format}.markets"

    @property
    def replies(self) -> str:
        """What an answer's subject begins with."""
        return f"polymirror.{self.name}.{self.format}.reply."

    def book(self, token: str) -> str | None:
        """Where one token's book is told; None: no relay tells of such a token."""
        return f"polymirror.{self.name}.{self.format}.book.{token}" if TOKEN.fullmatch(token) else None

    def is_reply(self, subject: str) -> bool:
        """Whether a consumer may have an answer sent there: what is told to all is on other subjects."""
        return subject.startswith(self.replies) and NAME.fullmatch(subject.removeprefix(self.replies)) is not None
