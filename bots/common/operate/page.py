"""A bot's status over HTTP: each of its mirrors serves a page, health and metrics, and with them the bot's own health.

Nothing here is needed for trading: what keeps a page from being served is a warning, and the bot goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bots.common.operate.supervise import describe
from bots.common.secrets import hide
from polymirror.errors import ConfigError, PolymirrorError
from polymirror.serving.addresses import MAX_PORT, read_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from attrs import Attribute

    from polymirror.mirror import Mirror

log = logging.getLogger(__name__)

MAX_MIRRORS: Final = 100
"""So many ports from the first one on are taken at the most."""


def _address(_self: object, attribute: Attribute[Any], value: object) -> None:
    if value == "":
        return
    if not isinstance(value, str):
        raise ConfigError(attribute.name, value, 'text: a port, or HOST:PORT, such as "127.0.0.1:8080"')
    _, port = read_address(attribute.name, value)
    if port > MAX_PORT - MAX_MIRRORS:
        raise ConfigError(attribute.name, value, f"with a port of at most {MAX_PORT - MAX_MIRRORS}: others follow it")


@frozen(kw_only=True)
class StatusSettings:
    """Where the status is served."""

    http: str = field(default="", validator=_address)
    """A port, or HOST:PORT: there is the first mirror's page, the others have the ports that follow. 0 takes any free
    ports. Empty: nothing is served."""
    names: tuple[str, ...] = ()
    """Other names by which it may be called, such as that of a proxy before it."""

    def page_of(
        self, number: int, title: str, problems: Callable[[], Sequence[str]]
    ) -> Callable[[Mirror], Awaitable[str]]:
        """Return what serves the page of a mirror, the first being number 0, and returns its address; empty: it is not.

        ``problems()``: what else is wrong.
        """

        async def serve(mirror: Mirror) -> str:
            if not self.http:
                return ""
            host, port = read_address("status.http", self.http)
            try:
                server = await mirror.serve_status(
                    host, port + number if port else 0, names=self.names, title=title,
                    health=lambda: [hide(each) for each in problems()],
                )  # fmt: skip
            except (OSError, PolymirrorError) as error:
                log.warning("the status of %s is not served: %s", title, describe(error))
                return ""
            log.info("the status of %s is at %s", title, server.url)
            return server.url

        return serve
