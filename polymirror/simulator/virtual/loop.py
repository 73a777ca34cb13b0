"""An asyncio event loop without a clock or a kernel: time jumps to the next timer whenever everybody waits.

An hour of waiting costs nothing, and two runs that do the same do it at the same times. Code that uses asyncio as
usual runs on it unchanged; what would leave the process (sockets, threads, child processes) raises. Whoever wants a
venue here enters :class:`~polymirror.simulator.virtual.VirtualVenue`.
"""

from __future__ import annotations

import asyncio
import signal
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, TypeVarTuple

from polymirror.errors import ConfigError
from polymirror.simulator.settings import DEFAULT_START_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FIRST_SECOND: Final = 1_000.0
"""What the monotonic clock shows at the start: as on a computer that has been on for a while."""

DEFAULT_LIMIT: Final = 86_400.0
"""Seconds of virtual time after which a run is taken to wait for something that never comes."""

MAX_TURNS: Final = 1_000_000
"""Turns of the loop without time passing, after which the program is taken to spin."""

MAX_NAMED: Final = 8
"""Waiting tasks that the message of a deadlock names."""

ROUNDING: Final = 1e-4
"""Milliseconds by which a time in floating point may miss the whole millisecond that it stands for."""


class VirtualTimeError(RuntimeError):
    """The program cannot go on in virtual time: a deadlock, no end in sight, or a call out of the process."""


class _Numbered(asyncio.Task[Any]):
    """A task that lies in a set by its number, not by its address: groups cancel theirs in the same order each time."""

    def __init__(self, number: int, coro: Any, **given: Any) -> None:
        self._number = number
        super().__init__(coro, **given)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """The event loop behind :func:`run_virtual`. ``start_ms`` is the time of day at the start, in Unix milliseconds."""

    def __init__(self, start_ms: int = DEFAULT_START_MS, limit: float = DEFAULT_LIMIT) -> None:
        super().__init__()
        numbers = count()
        self.set_task_factory(lambda loop, coro, **given: _Numbered(next(numbers), coro, loop=loop, **given))
        self._now = FIRST_SECOND
        self._start_ms = start_ms
        self._limit = limit
        self._turns = 0
        # What a timer may be early by. The base class takes it from the system's clock; a timer must never be
        # early by so much that somebody who waits for it sees a time before it.
        self._clock_resolution = 1e-9
        # The base class asks it for I/O events, with the seconds until the next timer.
        self._selector = self
        # What makes the program pointless to go on: raised out of the run at the next turn.
        self._failure: BaseException | None = None
        # What the signals did before this loop took them over.
        self._former: dict[int, Any] = {}

    # Time.

    def time(self) -> float:
        """Return the monotonic virtual time in seconds."""
        return self._now

    def wall(self) -> float:
        """Return the virtual time of day in Unix seconds."""
        return self._start_ms / 1000 + (self._now - FIRST_SECOND)

    def wall_ms(self) -> int:
        """Return the virtual time of day in whole Unix milliseconds."""
        return self._start_ms + int((self._now - FIRST_SECOND) * 1000 + ROUNDING)

    def when(self, wall_ms: int) -> float:
        """Return what the monotonic clock shows at a time of day in Unix milliseconds."""
        return FIRST_SECOND + (wall_ms - self._start_ms) / 1000

    def stall(self, seconds: float) -> None:
        """Let time pass without anything being done, as when user code blocks the loop."""
        self._now += max(0.0, seconds)

    def fail(self, error: BaseException) -> None:
        """End the run with this error at the next turn: for what no task of the program could catch."""
        self._failure = self._failure or error

    # What the base class wants of an event loop.

    def select(self, timeout: float | None) -> list[Any]:
        """Stand in for the wait for I/O: leap to the next timer, since nothing else can happen.

        Raises :class:`VirtualTimeError` when there is no next timer, or none within the limit.
        """
        if self._failure is not None:
            error, self._failure = self._failure, None
            raise error
        if timeout is not None and timeout <= 0:
            self._turns += 1
            if self._turns > MAX_TURNS:
                self._turns = 0
                raise VirtualTimeError(f"{MAX_TURNS} turns of the loop, and no time has passed: something spins")
            return []
        self._turns = 0
        if timeout is None:
            raise VirtualTimeError(f"deadlock: nothing is scheduled, and these wait: {self._waiting()}")
        self._now += timeout
        if self._now - FIRST_SECOND > self._limit:
            limit, self._limit = self._limit, float("inf")
            raise VirtualTimeError(f"not done after {limit:g} s of virtual time; these wait: {self._waiting()}")
        return []

    def _waiting(self) -> str:
        names = sorted(task.get_name() for task in asyncio.all_tasks(self) if not task.done())
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        return (", ".join(names[:MAX_NAMED]) or "no tasks") + more

    def _process_events(self, event_list: list[Any]) -> None:
        """There are never any."""

    def _write_to_self(self) -> None:
        """Nothing has to be woken: the loop never blocks."""

    def close(self) -> None:
        """Give the signals back and close."""
        for number in tuple(self._former):
            self.remove_signal_handler(number)
        super().close()

    # What leaves the process.

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call back in the loop when a signal comes; the loop never blocks, so that is soon."""

        def on_signal(*_: object) -> None:
            self.call_soon(callback, *args)

        former = signal.signal(sig, on_signal)
        self._former.setdefault(sig, former)

    def remove_signal_handler(self, sig: int) -> bool:
        """Let a signal do again what it did before."""
        if sig not in self._former:
            return False
        signal.signal(sig, self._former.pop(sig))
        return True

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: a thread takes real time, during which virtual time would run away from it."""
        del executor, args
        name = getattr(func, "__qualname__", repr(func))
        raise VirtualTimeError(f"no threads in virtual time: {name} was to run in one")

    async def create_connection(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: real bytes take real time. The same holds for everything else about real sockets."""
        raise VirtualTimeError("no real sockets in virtual time: go through the network of the virtual venue")

    create_datagram_endpoint = create_server = create_unix_connection = create_unix_server = create_connection
    getaddrinfo = getnameinfo = sock_connect = create_connection
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = create_connection


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]], *, start_ms: int = DEFAULT_START_MS, limit: float = DEFAULT_LIMIT
) -> T:
    """Run ``main()`` in virtual time and return what it returns, as :func:`asyncio.run` does in real time.

    ``start_ms`` is the time of day at which it starts, in Unix milliseconds: that of the exchange that is to run
    here. ``limit`` bounds the virtual time in seconds.

    Raises :class:`VirtualTimeError` when everybody waits and nothing is due (a deadlock, of which real time would
    never tell), when the limit is reached, when something spins, and when the program wants a thread or a real
    socket. Raises :class:`~polymirror.errors.ConfigError` for a limit or start that is not positive.
    """
    if start_ms <= 0 or not limit > 0:
        raise ConfigError("start_ms, limit", (start_ms, limit), "both more than 0")
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_ms, limit)) as runner:
        return runner.run(main())
