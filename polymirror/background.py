"""BackgroundMirror: a mirror for programs without asyncio, in a thread of its own.

The same reads and refusals as :class:`~polymirror.mirror.Mirror`, as plain calls that any number of threads may make
at once. Each is carried to the mirror's thread, done there between two of its inputs, and brought back; the way back
counts into the age of what was read. No other thread ever touches the mirror.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, NoReturn, ParamSpec, Self, TypeVar, cast, overload

from msgspec.structs import replace

from polymirror.config import Endpoints, MirrorConfig, check_age
from polymirror.core.states import BookState, Reason
from polymirror.core.top import Top
from polymirror.core.view import BookView
from polymirror.errors import ConfigError, LeaseLost, MirrorBusy, NotLive
from polymirror.gate import Gate, JointLease, Lease
from polymirror.mirror import Mirror
from polymirror.shell.blocking import BlockingEvents, Updates
from polymirror.shell.clocks import Clocks
from polymirror.shell.handover import checked
from polymirror.shell.loopthread import LoopThread
from polymirror.shell.toldinthreads import ToldInThreads
from polymirror.status.health import MirrorStatus
from polymirror.venue.market import Market
from polymirror.venue.network import REAL

__all__ = ["BackgroundLease", "BackgroundMirror", "BlockingEvents", "Updates"]

log: logging.Logger = logging.getLogger("polymirror")

T = TypeVar("T")
P = ParamSpec("P")
Read = TypeVar("Read", BookView, Top)
Leased = TypeVar("Leased")

AN_ASYNC_FUNCTION: Final = "an async function that takes the mirror: call() is for plain ones"
A_FUNCTION: Final = "a plain function that takes the mirror: run() is for async ones"


class BackgroundMirror(ToldInThreads[Mirror]):
    """A :class:`~polymirror.mirror.Mirror` in a thread of its own. Use it with ``with``, or ``start`` and ``stop``.

    ``mirror`` is one that was not started and is used for nothing else. ``call_timeout`` is the number of seconds after
    which a call that the thread does not answer raises MirrorBusy: whatever runs there must not block. All methods may
    be called from any thread, and block it; a program with a running event loop of its own, such as a notebook, may
    call them, too. Raises ConfigError for other arguments.
    """

    def __init__(self, mirror: Mirror, *, call_timeout: float = 5.0) -> None:
        if not isinstance(mirror, Mirror):
            raise ConfigError("mirror", mirror, "a Mirror to run: BackgroundMirror.for_slug(...) makes one")
        check_age("call_timeout", call_timeout)
        super().__init__(mirror, LoopThread(mirror), call_timeout)
        # Measures the way back of an answer, a sleep of the machine included.
        self._clocks = Clocks(REAL)

    @classmethod
    def for_slug(
        cls,
        *slugs: str,
        config: MirrorConfig | None = None,
        endpoints: Endpoints | None = None,
        call_timeout: float = 5.0,
    ) -> Self:
        """Make one for markets named by slug, such as ``btc-updown-15m-1790000100``."""
        return cls(Mirror.for_slug(*slugs, config=config, endpoints=endpoints), call_timeout=call_timeout)

    # ---- Life --------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start, and return once the mirror runs; a program that ends without :meth:`stop` stops it on its way out.

        Raises what ``async with`` on a mirror raises, and MirrorClosed if this one runs already or has run.
        """
        self._thread.start()
        self._callers.start()
        # Comes after the program's own threads have ended, and before the interpreter takes its things away.
        atexit.register(self._stop_at_exit)
        return self

    def stop(self) -> None:
        """Stop: on return every socket is closed, the thread has ended, and no callback runs any more.

        Does nothing for one that does not run. Threads that wait in a call get MirrorClosed, those that iterate over
        :meth:`updates` reach the end. Raises MirrorBusy if the thread does not end within 10 seconds.
        """
        self._thread.stop()
        self._stop_telling()
        atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        try:
            self.stop()
        except MirrorBusy as error:
            log.warning("%s", error)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    if not TYPE_CHECKING:  # type checkers see what is wrong by themselves

        async def __aenter__(self) -> NoReturn:
            raise TypeError("a BackgroundMirror is for programs without asyncio: 'with', or a Mirror and 'async with'")

        async def __aexit__(self, *_: object) -> NoReturn:
            raise NotImplementedError

    # ---- Whatever has no method here ---------------------------------------------------------------

    def call(self, work: Callable[Concatenate[Mirror, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``work(mirror, ...)``, done in the mirror's thread: for whatever has no method here.

        ``background.call(lambda mirror: [mirror.live(token) for token in mirror.tokens])`` reads all books at one
        instant: nothing of the mirror happens meanwhile, so it must be quick. Views that come back have the age that
        they had there; their way here is not counted. Raises what ``work`` raises, MirrorBusy and MirrorClosed.
        """
        if not _is_function(work) or iscoroutinefunction(work):
            raise ConfigError("work", work, A_FUNCTION)

        def done(mirror: Mirror) -> T:
            result = work(mirror, *args, **kwargs)
            if iscoroutine(result):
                result.close()
                raise ConfigError("work", work, A_FUNCTION)
            return result

        return self._do(_name(work), done)

    def run(self, work: Callable[[Mirror], Awaitable[T]], timeout: float = 10.0) -> T:
        """Return what the async function ``work(mirror)`` does, awaited in the mirror's thread.

        It is cancelled after ``timeout`` seconds (MirrorBusy), and when the mirror stops (MirrorClosed).
        """
        if not _is_function(work):
            raise ConfigError("work", work, "an async function that takes the mirror, not what it returns")

        async def awaited(mirror: Mirror) -> T:
            result: object = work(mirror)
            if not isawaitable(result):
                raise ConfigError("work", work, AN_ASYNC_FUNCTION)
            return cast("T", await result)

        return self._run(_name(work), awaited, checked(timeout))

    # ---- Markets -----------------------------------------------------------------------------------

    @property
    def tokens(self) -> tuple[str, ...]:
        """As :attr:`polymirror.mirror.Mirror.tokens`."""
        return self._look("tokens", lambda mirror: mirror.tokens)

    @property
    def markets(self) -> tuple[Market, ...]:
        """As :attr:`polymirror.mirror.Mirror.markets`."""
        return self._look("markets", lambda mirror: mirror.markets)

    @property
    def missing(self) -> dict[str, str]:
        """As :attr:`polymirror.mirror.Mirror.missing`."""
        return self._look("missing", lambda mirror: mirror.missing)

    def market_of(self, token: str) -> Market:
        """As :meth:`polymirror.mirror.Mirror.market_of`."""
        return self._look("market_of", lambda mirror: mirror.market_of(token))

    def add_market(self, market: Market) -> None:
        """As :meth:`polymirror.mirror.Mirror.add_market`."""
        self._do("add_market", lambda mirror: mirror.add_market(market))

    def add_slug(self, slug: str, timeout: float = 10.0) -> Market:
        """As :meth:`polymirror.mirror.Mirror.add_slug`, within ``timeout`` seconds (MirrorBusy)."""
        return self._run("add_slug", lambda mirror: mirror.add_slug(slug), checked(timeout))

    def add_token(self, token: str, timeout: float = 10.0) -> Market:
        """As :meth:`polymirror.mirror.Mirror.add_token`, within ``timeout`` seconds (MirrorBusy)."""
        return self._run("add_token", lambda mirror: mirror.add_token(token), checked(timeout))

    def remove_market(self, condition_id: str) -> None:
        """As :meth:`polymirror.mirror.Mirror.remove_market`."""
        self._do("remove_market", lambda mirror: mirror.remove_market(condition_id))

    # ---- Reading -----------------------------------------------------------------------------------

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on, as :meth:`polymirror.mirror.Mirror.live` does.

        The age is that at the moment at which this thread has the view: one that grew too old on the way is refused
        (NotLive), whichever thread was busy. Two changes of threads take some 0.05 ms.
        """
        return self._received(self._do("live", self._timed(lambda it: it.live(token, max_proof_age))), max_proof_age)

    def top(self, token: str, max_proof_age: float | None = None) -> Top:
        """Return the best levels of a LIVE book: granted exactly when :meth:`live` is."""
        return self._received(self._do("top", self._timed(lambda it: it.top(token, max_proof_age))), max_proof_age)

    def peek(self, token: str) -> BookView:
        """Return the last proven levels whatever the state, for display and diagnosis. Never trade on it."""
        return self._aged(*self._do("peek", self._timed(lambda mirror: mirror.peek(token))))

    def prove(self, token: str, timeout: float = 5.0) -> BookView:
        """Have the book proven at full depth, starting now, as :meth:`polymirror.mirror.Mirror.prove` does."""
        work = self._timed_after(lambda mirror: mirror.prove(token, timeout), token, None)
        return self._received(self._run("prove", work, self._within(timeout)), None)

    def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        """Wait until the newest change is proven, as :meth:`polymirror.mirror.Mirror.wait_settled` does."""
        work = self._timed_after(lambda it: it.wait_settled(token, max_proof_age, timeout), token, max_proof_age)
        return self._received(self._run("wait_settled", work, self._within(timeout)), max_proof_age)

    def wait_live(self, *tokens: str, timeout: float = 10.0, retired_ok: bool = False) -> None:
        """Wait until these tokens (default: all) are LIVE, as :meth:`polymirror.mirror.Mirror.wait_live` does."""
        limit = self._within(timeout)
        self._run("wait_live", lambda it: it.wait_live(*tokens, timeout=timeout, retired_ok=retired_ok), limit)

    def resync(self, token: str) -> None:
        """Throw a book away and build it anew (reason REQUESTED). Raises UnknownToken."""
        self._do("resync", lambda mirror: mirror.resync(token))

    def status(self) -> MirrorStatus:
        """Return how the mirror and all its books are now. Works before the start and after the end, too."""
        status = self._look("status", Mirror.status)
        return replace(status, failed_callbacks=status.failed_callbacks + self._callers.failed)

    @property
    def reads(self) -> dict[str, int]:
        """As :attr:`polymirror.mirror.Mirror.reads`; what grew too old on its way to another thread was granted."""
        return self._look("reads", lambda mirror: mirror.reads)

    @overload
    def lease(
        self, token: str, /, *, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AbstractContextManager[BackgroundLease[BookView]]: ...

    @overload
    def lease(
        self, token: str, second: str, /, *more: str, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AbstractContextManager[BackgroundLease[tuple[BookView, ...]]]: ...

    def lease(
        self, *tokens: str, max_proof_age: float | None = None, timeout: float = 0.05
    ) -> AbstractContextManager[BackgroundLease[Any]]:
        """Lease one book, or several all or nothing; use it with ``with``. As :meth:`polymirror.gate.Gate.lease`."""
        leases: AbstractAsyncContextManager[Lease | JointLease]
        leases = Gate(self._mirror).lease(*tokens, max_proof_age=max_proof_age, timeout=timeout)
        return self._lease(leases, max_proof_age, self._within(timeout))

    @contextmanager
    def _lease(
        self, leases: AbstractAsyncContextManager[Lease | JointLease], max_proof_age: float | None, limit: float
    ) -> Iterator[BackgroundLease[Any]]:
        lease = self._run("lease", lambda _: leases.__aenter__(), limit)

        def check() -> BookView | tuple[BookView, ...]:
            found, at = self._do("check", self._timed(lambda _: lease.check()))
            if isinstance(found, BookView):
                return self._received((found, at), max_proof_age, LeaseLost)
            return tuple(self._received((view, at), max_proof_age, LeaseLost) for view in found)

        try:
            yield BackgroundLease(lease, check)
        finally:
            # All that leaving it in the mirror's thread would do.
            lease.end()

    # ---- Honest ages -------------------------------------------------------------------------------

    def _timed(self, read: Callable[[Mirror], T]) -> Callable[[Mirror], tuple[T, float]]:
        """Add to a read the time right before it: all that passes from then on counts."""

        def timed(mirror: Mirror) -> tuple[T, float]:
            at = self._clocks.read()
            return read(mirror), at

        return timed

    def _timed_after(
        self, wait: Callable[[Mirror], Awaitable[object]], token: str, max_proof_age: float | None
    ) -> Callable[[Mirror], Awaitable[tuple[BookView, float]]]:
        """Add such a read to what is waited for: of the same book, since nothing happens in between."""

        async def timed(mirror: Mirror) -> tuple[BookView, float]:
            await wait(mirror)
            return self._timed(lambda it: it.live(token, max_proof_age))(mirror)

        return timed

    def _aged(self, view: Read, at: float) -> Read:
        """Count the way from the mirror's thread to this one into the age of a view that was made then."""
        return replace(view, read_at=view.read_at + self._clocks.read() - at)

    def _received(
        self, made: tuple[Read, float], max_proof_age: float | None, refusal: type[NotLive] = NotLive
    ) -> Read:
        """The same, and refuse what grew too old on the way."""
        view, limit = self._aged(*made), self._mirror.config.engine.max_proof_age
        if max_proof_age is not None:
            limit = min(limit, max_proof_age)
        age = view.verified_age
        if age > limit:
            detail = "it was young enough when it was read, but not when the calling thread had it"
            raise refusal(view.token, BookState.LIVE, Reason.STALE, age, view.epoch, limit, detail)
        return view


class BackgroundLease(Generic[Leased]):
    """The right to act on one book, or on several, for programs without asyncio; see :class:`polymirror.gate.Lease`.

    Made by :meth:`BackgroundMirror.lease`. It ends with that block, and with the first doubt.
    """

    def __init__(self, lease: Lease | JointLease, check: Callable[[], Leased]) -> None:
        self._lease = lease
        self._check = check

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens whose books are leased, in the order in which they were named."""
        return self._lease.tokens

    @property
    def views(self) -> tuple[BookView, ...]:
        """The views that the lease was given for, in the order of :attr:`tokens`."""
        return self._lease.views

    def check(self) -> Leased:
        """Return the book as it is now, or all books at one instant in the order of :attr:`tokens`; or raise LeaseLost.

        Call it last thing before the wire. Their ages are those at which this thread has them.
        """
        return self._check()


def _is_function(work: object) -> bool:
    if iscoroutine(work):
        # It will never run: without this, Python warns of that instead of saying why.
        work.close()
    return callable(work)


def _name(work: object) -> str:
    return getattr(work, "__name__", None) or repr(work)
