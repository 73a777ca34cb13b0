"""Slugs, the ids of tokens, and the addresses of pages on the venue's site that people copy from the browser. Pure.

Whatever takes a slug takes such an address too: ``https://polymarket.com/event/EVENT/MARKET``, ``.../event/SLUG``,
``.../market/SLUG``, with or without scheme, language, query and fragment. Called by the mirror and the command line.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from polymirror.errors import ConfigError

HOSTS: Final = frozenset({"polymarket.com", "www.polymarket.com"})

FORMS: Final = "https://polymarket.com/event/EVENT/MARKET, /event/SLUG or /market/SLUG"

MAX_TEXT: Final = 2_000
"""Characters of an address; browsers and servers take hardly more."""

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_SLUG: Final = re.compile(r"[^\s/?#&%]+")
_TOKEN: Final = re.compile(r"[0-9]{1,78}")
_ID: Final = re.compile(r"[0-9]{40,}|0x[0-9a-fA-F]{64}")


class _Page(NamedTuple):
    """What a page is about: an event, a market, or a market of an event."""

    event: str | None
    market: str | None


def slug_of(text: str) -> str:
    """Return the slug of a market, from a slug or from the address of its page.

    ``/event/SLUG`` names the market of an event that has only one, as each up/down event has. Raises ConfigError for
    pages of other hosts and kinds, and for what can be no slug.
    """
    event, market = _page(text, "slug") or (None, _slug(text, "slug", text))
    return market or event or ""


def event_of(text: str) -> str:
    """Return the slug of an event, from a slug or from the address of a page of the event or of one of its markets.

    Raises ConfigError as :func:`slug_of` does, and for ``/market/SLUG``, which does not tell the event.
    """
    page = _page(text, "event")
    if page is None:
        return _slug(text, "event", text)
    if page.event is None:
        raise ConfigError("event", text, "the page of an event, https://polymarket.com/event/EVENT: this is a market's")
    return page.event


def check_token(text: object, field: str = "token") -> str:
    """Return the id of a token. Raises ConfigError for what can be none, such as a slug: it would never be found."""
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise ConfigError(field, text, "the id of a token, a text of digits; slugs go into slugs=[...], or to add_slug")
    return text


def _page(text: str, field: str) -> _Page | None:
    """Read an address; None for what is none."""
    if not isinstance(text, str):
        raise ConfigError(field, text, f"a text: a slug, or the address of a page: {FORMS}")
    if "/" not in text:
        return None
    try:
        parts = urlsplit((text if "://" in text else f"https://{text}")[:MAX_TEXT])
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        raise ConfigError(field, text, f"a slug, or the address of a page: {FORMS}") from None
    if host not in HOSTS or parts.scheme not in {"http", "https"}:
        raise ConfigError(field, text, f"a slug, or the address of a page on polymarket.com: {FORMS}")
    path = [unquote(part) for part in parts.path.split("/") if part]
    if path and path[0] not in {"event", "market"} and _LANGUAGE.fullmatch(path[0]):
        del path[0]
    match path:
        case ["event", event]:
            return _Page(_slug(event, field, text), None)
        case ["event", event, market]:
            return _Page(_slug(event, field, text), _slug(market, field, text))
        case ["market", market]:
            return _Page(None, _slug(market, field, text))
    raise ConfigError(field, text, f"the page of an event or a market: {FORMS}")


def _slug(slug: str, field: str, text: str) -> str:
    if _ID.fullmatch(slug):
        raise ConfigError(field, text, "a slug, and not an id; ids of tokens go into tokens=[...], or to add_token")
    if not slug.isprintable() or not _SLUG.fullmatch(slug):
        raise ConfigError(field, text, f"a slug such as btc-updown-15m-1790000100, or the address of a page: {FORMS}")
    return slug
