"""For the tests of mirrors in the background: a venue in a thread of its own, and ways to hold a mirror's thread up."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from polymirror import BackgroundMirror, Mirror
from tests.loopback import PATIENCE, quiet_venue, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polymirror import BookView
    from polymirror.simulator import Simulator


class Venue:
    """A simulated venue that runs, and a way to ask it."""

    def __init__(self, simulator: Simulator, portal) -> None:
        self.simulator = simulator
        self.endpoints = simulator.endpoints
        self.slugs = simulator.slugs
        self._portal = portal

    def confirms(self, view: BookView, slack: float = 1.0) -> bool:
        return self._portal.call(self.simulator.confirms, view, slack)

    def mirror(self, *slugs: str, **engine: float) -> Mirror:
        return Mirror.for_slug(*(slugs or self.slugs), config=settings(**engine), endpoints=self.endpoints)

    def background(self, *slugs: str, call_timeout: float = PATIENCE, **engine: float) -> BackgroundMirror:
        return BackgroundMirror(self.mirror(*slugs, **engine), call_timeout=call_timeout)


@contextmanager
def venue_of(simulator: Simulator | None = None) -> Iterator[Venue]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(simulator or quiet_venue()) as running,
    ):
        yield Venue(running, portal)


@contextmanager
def held_up(background: BackgroundMirror) -> Iterator[None]:
    """Block the mirror's thread until the block ends."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Mirror) -> None:
        begun.set()
        assert go_on.wait(PATIENCE * 2)

    # Its own call, which must not give up: the block may last longer than a call of the test.
    holding = threading.Thread(target=background._thread.run, args=(_async(hold), "hold", None))
    holding.start()
    try:
        assert begun.wait(PATIENCE)
        yield
    finally:
        go_on.set()
        holding.join(PATIENCE)
        assert not holding.is_alive()


def _async(hold: Callable[[None], None]):
    async def work() -> None:
        hold(None)

    return work


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


class InThread(threading.Thread):
    """Does something in a thread, and keeps what came of it."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.result: object = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised by outcome()
            self.error = error

    def outcome(self) -> object:
        self.join(PATIENCE)
        assert not self.is_alive(), "it did not end"
        if self.error is not None:
            raise self.error
        return self.result


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("polymirror")]
