"""How a mirror serves its books to other processes: a part of :class:`polymirror.mirror.Mirror`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from polymirror.config import check_each, check_instance
from polymirror.errors import ConfigError
from polymirror.relay.server import Relayable, RelayServer
from polymirror.serving.addresses import LOOPBACK, MAX_PORT, is_port
from polymirror.venue.network import Network


class Servable(Relayable, Protocol):
    """What serving needs of a mirror beside its books."""

    _network: Network
    _read_clock: Callable[[], float]

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> object: ...

    def _warn(self, kind: str, detail: str) -> None: ...

    def _check_running(self) -> None: ...


class Relays:
    """A mirror's method for relaying its books."""

    async def serve_relay(
        self: Servable, host: str = LOOPBACK, port: int = 0, *, names: Iterable[str] = ()
    ) -> RelayServer:
        """Serve the books of this mirror to other processes, until the server's ``stop()`` or the mirror's.

        A :class:`~polymirror.relay.remote.RemoteMirror` follows them over ``/stream``; ``/books/{token}``, ``/books``,
        ``/markets`` and ``/health`` are plain REST, which refuses with 409 what is not LIVE. All of it is for reading.
        ``host`` is this machine alone by default; nobody is asked who they are. Who calls must use that address, a name
        of loopback, or one of ``names``; pages of other origins may not. ``port`` 0 takes any free one.

        Raises ConfigError, OSError if the address cannot be had, MirrorClosed unless the mirror runs, and MissingExtra
        without the extra ``status``. What goes wrong later is logged, and the mirror goes on without the relay.
        """
        self._check_running()
        check_instance("host", host, str)
        if not is_port(port):
            raise ConfigError("port", port, f"a whole number from 0 to {MAX_PORT}")
        server = RelayServer(
            self,
            self._network,
            self._read_clock,
            self._warn,
            host=host,
            port=port,
            names=check_each("names", names, str),
        )  # fmt: skip
        self._spawn(server.run(), "relay")
        await server.wait_listening()
        return server
