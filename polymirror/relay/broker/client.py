"""NATS' own client, with what it lacks here. Needs the extra ``relay``; used by one connection."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from nats.aio.client import Client

from polymirror.errors import VenueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.config import NatsConfig


class Lost(VenueError):  # noqa: N818 - it is told as what happened
    """There is no connection any more. ``refused``: the server does not let us in."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class BrokerClient(Client):
    """NATS' client, with what it lacks: it says who we are under TLS alone where that is wanted, and can let go."""

    def __init__(self, access: NatsConfig, *, secure: bool) -> None:
        super().__init__()
        self._access = access
        self._secure = secure
        self._has_tls = False

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What TLS is done with: asked for when it begins."""
        context = ssl.create_default_context(cafile=self._access.ca)
        if self._access.certificate is not None:
            context.load_cert_chain(self._access.certificate, self._access.key)
        self._has_tls = True
        return context

    def secret(self, value: str | None) -> Callable[[], str] | None:
        """Return ``value`` as something that is asked for when it is to be sent, and that fails if it must not be."""

        def reveal() -> str:
            self.check_tls()
            return value or ""

        return None if value is None else reveal

    def check_tls(self) -> None:
        """Raise Lost if there should be TLS, and the server has not begun it: the client would go on without."""
        if self._secure and not self._has_tls:
            raise Lost("the server does not ask for TLS, and tls:// wants it", refused=True)

    def abort(self) -> None:
        """Drop the socket: the library's own ``close`` waits until the other side has taken what is pending."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
