"""A cookie jar that stays empty. Apart from the rest, so that it is imported with httpx and not before."""

from __future__ import annotations

from http.cookiejar import CookieJar


class NoCookies(CookieJar):
    """Keeps and sends none: the venue's reads need none, and a peer could fill it, or break the next call with it."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Take nothing from an answer (httpx calls this)."""

    def add_cookie_header(self, request: object) -> None:
        """Add nothing to a request (httpx calls this)."""
