"""One connection to a NATS server, which is over as soon as anything is wrong with it; and the next one after it.

The client library can reconnect by itself, and then nobody knows what was missed. Here it may not: what was lost, for
whatever reason, is told at once, and a new connection is made from the beginning. Needs the extra ``relay``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from polymirror.harmless import harmless
from polymirror.relay.broker.client import BrokerClient, Lost
from polymirror.relay.wire import MAX_FRAME
from polymirror.venue.backoff import FullJitter
from polymirror.venue.groups import first_of

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from polymirror.config import NatsConfig
    from polymirror.venue.network import Network

OPEN_TIMEOUT: Final = 3.0
"""Seconds for a connection to be made: TCP, TLS and who we are."""

CHECK_EVERY: Final = 1.0
"""Seconds after which the server is asked whether it is there."""

CHECK_TIMEOUT: Final = 2
"""Seconds that its answer may take, and that it may take to take what we send."""

CLOSE_TIMEOUT: Final = 0.5
"""Seconds for what was said last to be sent; then the socket is dropped."""

PENDING: Final = 2 * MAX_FRAME
"""Bytes that may wait to be sent, and to be read of one subject."""

PENDING_MESSAGES: Final = 4_096
"""Messages of one subject that may wait to be read."""

BACKOFF: Final = (0.1, 1.0)
"""Seconds between two attempts: the first upper bound, and the last."""

REFUSED: Final = 10.0
"""The last one for those that the server does not let in."""

PING_NEVER: Final = 3_600
"""Seconds between pings of the client library: :meth:`Connection.until_lost` has its own."""

HEALTHY: Final = 2.0
"""Seconds after which a connection has not failed at once."""


Took = Callable[[bytes, str], Awaitable[None]]
"""What is called with the data of each message, and the subject for an answer."""


class Connection:
    """A connection. When it is lost, ``lost(why)`` is called once, and whatever is tried then raises :class:`Lost`."""

    def __init__(self, client: BrokerClient, lost: Callable[[str], None]) -> None:
        self._client = client
        self._lost = lost
        self._why: str | None = None
        self._over = asyncio.Event()
        self._subscriptions: dict[str, Subscription] = {}
        self._dropped: dict[str, Callable[[], None]] = {}

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message."""
        return min(self._client.max_payload, MAX_FRAME)

    @property
    def subjects(self) -> frozenset[str]:
        """The subjects that are subscribed to."""
        return frozenset(self._subscriptions)

    def lose(self, why: str) -> None:
        """It is over."""
        if self._why is None:
            self._why = harmless(why)
            self._over.set()
            self._lost(self._why)

    def _check(self) -> None:
        if self._why is not None:
            raise Lost(self._why)
        _go_on()

    def dropped(self, subject: str) -> None:
        """The client library has dropped a message: more came than was read."""
        told = self._dropped.get(subject)
        if told is None:
            self.lose("messages came quicker than they were read")
        else:
            told()

    async def subscribe(self, subject: str, took: Took, dropped: Callable[[], None] | None = None) -> None:
        """Have ``took(data, reply)`` called with each message on a subject. Raises Lost.

        A message that is dropped ends the connection; or ``dropped()`` is called, where nobody relies on all of them.
        """

        async def told(message: Msg) -> None:
            if self._why is None:
                await took(message.data, message.reply)

        self._check()
        if dropped is not None:
            self._dropped[subject] = dropped
        try:
            self._subscriptions[subject] = await self._client.subscribe(
                subject, cb=told, pending_msgs_limit=PENDING_MESSAGES, pending_bytes_limit=PENDING
            )
        except (NatsError, OSError) as error:
            self.lose(_text(error))
        self._check()

    async def unsubscribe(self, subject: str) -> None:
        """Hear no more of a subject. Raises Lost."""
        self._check()
        try:
            await self._subscriptions.pop(subject).unsubscribe()
        except (NatsError, OSError) as error:
            self.lose(_text(error))
        self._check()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Say something. Waits while more than :data:`PENDING` bytes were not taken. Raises Lost."""
        self._check()
        try:
            await self._client.publish(subject, data, reply)
        except (NatsError, OSError) as error:
            self.lose(_text(error))
        self._check()

    async def confirm(self) -> None:
        """Wait until the server has heard all that was said so far, and allows it. Raises Lost."""
        self._check()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                while self._client.pending_data_size:  # noqa: ASYNC110 - it has no event
                    # The library's own flush overtakes what has not been sent yet.
                    await asyncio.sleep(0.001)
                await self._client.flush(CHECK_TIMEOUT + 1)
        except TimeoutError:
            self.lose(f"not a word from the server for {CHECK_TIMEOUT:g} s")
        except (NatsError, OSError) as error:
            self.lose(_text(error))
        self._check()

    async def until_lost(self) -> None:
        """Ask the server again and again whether it is there; raises Lost when it is not."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY):
                    await self._over.wait()
            await self.confirm()


@asynccontextmanager
async def connected(
    server: str, access: NatsConfig, name: str, lost: Callable[[str], None]
) -> AsyncIterator[Connection]:
    """Connect until the block is left. Raises Lost if that fails; ``name`` is what the server's people see of us."""
    client = BrokerClient(access, secure=server.startswith("tls://"))
    connection = Connection(client, lost)
    opening, inside = True, False

    async def failed(error: Exception) -> None:
        if opening:
            # Else the library would try again by itself, sixty times.
            raise error
        if inside and isinstance(error, SlowConsumerError):
            connection.dropped(error.subject)
        elif inside:
            connection.lose(_text(error))

    async def closed() -> None:
        if inside:
            connection.lose("the server ended the connection")

    try:
        await _open(client, server, access, name, failed, closed)
        opening, inside = False, True
        yield connection
    finally:
        opening = inside = False
        try:
            # Of one that was never open, or is lost, it may raise anything: the socket is dropped all the same.
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await client.close()
        finally:
            client.abort()


async def _open(
    client: BrokerClient,
    server: str,
    access: NatsConfig,
    name: str,
    failed: Callable[[Exception], Awaitable[None]],
    closed: Callable[[], Awaitable[None]],
) -> None:
    """Make the connection. Raises Lost, which shows nothing of what nobody should know."""
    if access.credentials is not None:
        try:
            # A small file, as the library reads it.
            Path(access.credentials).read_bytes()  # noqa: ASYNC240
        except OSError as error:
            raise Lost(f"the file of credentials cannot be read: {error.strerror}", refused=True) from None
    try:
        async with asyncio.timeout(OPEN_TIMEOUT):
            await client.connect(
                server, name=name, error_cb=failed, closed_cb=closed, allow_reconnect=False,
                connect_timeout=int(OPEN_TIMEOUT), ping_interval=PING_NEVER, pending_size=PENDING,
                flush_timeout=CHECK_TIMEOUT, user=client.secret(access.user),
                password=client.secret(access.password), token=client.secret(access.token),
                user_credentials=access.credentials,
            )  # fmt: skip
    except Lost:
        raise
    except TimeoutError:
        raise Lost(f"no connection within {OPEN_TIMEOUT:g} s") from None
    except (NatsError, OSError) as error:
        text = _text(error)
        raise Lost(text, refused="authoriz" in text.lower() or isinstance(error, ssl.SSLError)) from None
    except Exception as error:  # noqa: BLE001 - what a library of keys raises is of no kind; it may have read a secret
        raise Lost(f"the credentials cannot be used: {type(error).__name__}", refused=True) from None
    client.check_tls()


def _go_on() -> None:
    """Raise CancelledError where this task was cancelled: the client library swallows that.

    While it waits for the server to take what was sent, and for a connection that fails in the same step.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _text(error: Exception) -> str:
    return harmless(str(error).removeprefix("nats: ") or type(error).__name__)


async def keep(
    server: str,
    access: NatsConfig,
    name: str,
    network: Network,
    now: Callable[[], float],
    rng: random.Random,
    talk: Callable[[Connection], Awaitable[None]],
    closed: Callable[[str], None],
) -> None:
    """Be connected until cancelled: ``talk`` with each connection, ``closed(why)`` when there is none."""
    patient, hasty = FullJitter(BACKOFF[0], REFUSED, rng), FullJitter(*BACKOFF, rng)
    failures = 0
    while True:
        began, refused, told = now(), False, False

        def lost(why: str) -> None:
            nonlocal told
            if not told:
                told = True
                closed(why)

        try:
            async with connected(server, access, name, lost) as connection, asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.until_lost(), name="polymirror relay broker")
                await talk(connection)
        except* Lost as errors:
            error = first_of(errors)
            refused = isinstance(error, Lost) and error.refused
            lost(str(error))
        _go_on()
        failures = 1 if now() - began > HEALTHY else failures + 1
        await network.sleep((patient if refused else hasty).seconds(failures))
