"""A TCP proxy on loopback that does to real connections what networks do to them.

Made to stand between a mirror and a venue in the same process, or in two. What it does is one frozen
:class:`Toxics` object that may be replaced at any time and holds for all connections from then on. The proxy
always reads, whatever it does to the data, so it knows exactly how late each byte is; a connection that makes it
keep too much is reset, as middleboxes do. It knows nothing of what the bytes mean.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Final, Self

from polymirror.torture.pipe import Broken, Peaks, Pipe
from polymirror.torture.toxics import NONE, Counters, Toxics

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["NONE", "Counters", "Proxy", "Toxics"]

HOST: Final = "127.0.0.1"

MAX_CONNECTIONS: Final = 256
"""One more connection than this is reset at once."""

BACKLOG: Final = 128

LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""The socket option that makes closing a reset: linger, for no time."""


class Proxy:
    """Passes connections on to ``target``, a port of this machine. Use it with ``async with``.

    ``seed`` draws jitter and slices. ``clock`` gives monotonic seconds.
    """

    def __init__(self, target: int, *, seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.counters: Counters = Counters()
        # How late bytes were that reached the client, over time.
        self.lateness: Peaks = Peaks()
        # Where clients connect to; 0 before the start. It stays the same while connections are refused.
        self.port: int = 0
        self._target = target
        self._clock = clock
        self._rng = random.Random(f"proxy:{seed}")  # noqa: S311 - repeatable on purpose
        self._toxics = NONE
        # Holds the port, listening or not; None outside the block.
        self._door: socket.socket | None = None
        self._group: asyncio.TaskGroup | None = None
        self._stack: AsyncExitStack | None = None
        self._pipes: set[Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def toxics(self) -> Toxics:
        """What it does at present. May be replaced at any time; :data:`NONE` ends everything."""
        return self._toxics

    @toxics.setter
    def toxics(self, toxics: Toxics) -> None:
        was, self._toxics = self._toxics, toxics
        if self._door is not None and was.refuse != toxics.refuse:
            self._close_door()
            self._open_door()
        for pipe in self._pipes:
            pipe.toxics_changed()

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        """Start to listen on a free port of the loopback interface."""
        async with AsyncExitStack() as stack:
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(self._stop)
            self._open_door()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything at once: no task and no socket is left."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.__aexit__(None, None, None)
        self.port = 0

    def _stop(self) -> None:
        self._close_door()
        for task in tuple(self._tasks):
            task.cancel()

    def _open_door(self) -> None:
        door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((HOST, self.port))
            door.setblocking(False)  # noqa: FBT003 - its signature
            # A port that is bound without listening refuses, and nobody else can take it.
            if not self._toxics.refuse:
                door.listen(BACKLOG)
                asyncio.get_running_loop().add_reader(door, self._accept, door)
        except BaseException:
            door.close()
            raise
        self.port = door.getsockname()[1]
        self._door = door

    def _close_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            asyncio.get_running_loop().remove_reader(door)
            door.close()

    def _accept(self, door: socket.socket) -> None:
        try:
            client, _ = door.accept()
        except OSError:
            # The client gave up between its attempt and now.
            return
        _prepare(client)
        if self._group is None or len(self._tasks) >= MAX_CONNECTIONS:
            self.counters.turned_away += 1
            _close(client, reset=True)
            return
        self.counters.connections += 1
        task = self._group.create_task(self._serve(client), name="proxy connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step closes nothing itself.
        task.add_done_callback(lambda _: client.close())

    async def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        _prepare(server)
        reset = True
        up = Pipe(self, client, server, self._rng, self._clock, down=False)
        down = Pipe(self, server, client, self._rng, self._clock, down=True)
        try:
            with suppress(OSError):
                await asyncio.get_running_loop().sock_connect(server, (HOST, self._target))
                self._pipes |= {up, down}
                reset = await self._pass_on(up, down)
        finally:
            self._pipes -= {up, down}
            _close(client, reset=reset)
            _close(server, reset=reset)

    async def _pass_on(self, *pipes: Pipe) -> bool:
        """Pass data on until the connection ends; return whether it ends with a reset."""
        try:
            async with asyncio.TaskGroup() as group:
                for pipe in pipes:
                    group.create_task(pipe.read())
                    group.create_task(pipe.write())
        except ExceptionGroup as errors:
            ends, bugs = errors.split(Broken)
            if ends is None or bugs is not None:
                raise
            hows = {error.how for error in ends.exceptions if isinstance(error, Broken)}
            counters = self.counters
            counters.cuts += "cut" in hows
            counters.resets += "reset" in hows
            counters.overflows += "overflow" in hows
            return hows != {"cut"}
        return False


def _prepare(end: socket.socket) -> None:
    end.setblocking(False)  # noqa: FBT003 - its signature
    # The system must not join what is sliced here.
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _close(end: socket.socket, *, reset: bool) -> None:
    if reset:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    end.close()
