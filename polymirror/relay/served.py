"""How a mirror serves its books to other processes: a part of :class:`polymirror.mirror.Mirror`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from polymirror.config import NatsConfig, check_each, check_flag, check_instance
from polymirror.errors import ConfigError
from polymirror.relay.broker.server import BrokerRelay
from polymirror.relay.broker.subjects import check_extra, check_interval, check_name, check_server
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

    async def serve_relay_nats(
        self: Servable,
        server: str,
        *,
        name: str,
        access: NatsConfig | None = None,
        interval: float = 0.0,
        allow_plain: bool = False,
    ) -> BrokerRelay:
        """Tell the books of this mirror to a NATS server, until the relay's ``stop()`` or the mirror's.

        ``server`` is an address such as ``tls://nats.example.org:4222`` or ``nats://127.0.0.1:4222``; without TLS it
        may lead to this machine alone, or anywhere with ``allow_plain``. A
        :class:`~polymirror.relay.remote.RemoteMirror` follows what is told at that address and ``/name``. One relay
        alone may have a name. ``access`` is who we are to the server. ``interval`` is the least between two messages
        about one token in seconds, 0 to 0.25: what a consumer reads is older by that, and there is less to send.

        It does not wait for the server: one that is not there is tried again and again, and that is told. Raises
        ConfigError, MirrorClosed unless the mirror runs, and MissingExtra without the extra ``relay``.
        """
        self._check_running()
        check_flag("allow_plain", allow_plain)
        check_instance("server", server, str)
        check_server("server", server, allow_plain=allow_plain)
        check_name("name", name)
        check_interval("interval", interval)
        check_extra()
        relay = BrokerRelay(
            self,
            self._network,
            self._read_clock,
            self._warn,
            server=server,
            name=name,
            access=NatsConfig() if access is None else check_instance("access", access, NatsConfig),
            interval=interval,
        )  # fmt: skip
        self._spawn(relay.run(), "relay at a broker")
        return relay
