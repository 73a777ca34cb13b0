"""Leases on several books: all or nothing, at one instant."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from polymirror import BookState, BookView, Gate, JointLease, LeaseLost, Mirror, NotLive, Reason, UnknownToken
from polymirror.simulator import Exchange, ExchangeConfig, Simulator
from polymirror.simulator.virtual import VirtualVenue, run_virtual
from tests.loopback import PATIENCE, mirror_of, quiet_venue

pytestmark = pytest.mark.anyio

START_MS = ExchangeConfig().start_ms


async def test_it_gives_all_books_in_the_order_of_their_names() -> None:
    async with Simulator(seed=3, markets=2, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        wanted = mirror.tokens[::-1]
        async with Gate(mirror).lease(*wanted, max_proof_age=5, timeout=PATIENCE) as lease:
            assert isinstance(lease, JointLease)
            assert lease.tokens == wanted == tuple(view.token for view in lease.views)
            assert all(view.settled for view in lease.views)
            views = lease.check()
            assert tuple(view.token for view in views) == wanted
            for view in views:
                assert venue.confirms(view, 2.0)
        with pytest.raises(LeaseLost, match="its block has ended"):
            lease.check()


async def test_one_book_that_may_not_be_read_is_no_lease_on_any() -> None:
    async with quiet_venue(markets=2) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        *good, bad = mirror.tokens
        mirror.resync(bad)
        with pytest.raises(NotLive, match="RESYNCING") as refused:
            async with Gate(mirror).lease(*good, bad):
                pytest.fail("the body must not run")
        assert refused.value.token == bad
        with pytest.raises(UnknownToken):
            async with Gate(mirror).lease(*good, "1"):
                pytest.fail("the body must not run")
        async with Gate(mirror).lease(*good) as lease:
            lease.check()
            mirror.resync(good[0])
            with pytest.raises(LeaseLost) as lost:
                lease.check()
            assert lost.value.token == good[0]


class Books:
    """Stands for a mirror whose books are what the test says. Waiting for one does what the test says, too."""

    def __init__(self, views: dict[str, BookView]) -> None:
        self.views = views
        self.reads: list[tuple[str, float]] = []
        self.waited: list[str] = []
        self.turn = 0.0

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        self.reads.append((token, self.turn))
        view = self.views[token]
        if max_proof_age is not None and view.verified_age > max_proof_age:
            raise NotLive(token, view.state, Reason.STALE, view.verified_age, view.epoch, max_proof_age)
        return view

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        self.waited.append(token)
        await asyncio.sleep(0.02)
        self.turn += 1
        self.views[token] = replace(self.views[token], settled=True)
        return self.live(token, max_proof_age)


@pytest.fixture
def books() -> Books:
    async def read() -> BookView:
        exchange = Exchange(ExchangeConfig(seed=3))
        async with VirtualVenue(exchange) as venue:
            places = {"endpoints": venue.endpoints, "network": venue.network}
            async with Mirror.for_slug(exchange.slugs[0], **places) as mirror:
                await mirror.wait_live()
                await mirror.wait_settled(mirror.tokens[0], timeout=5)
                return mirror.live(mirror.tokens[0])

    view = run_virtual(read, start_ms=START_MS)
    view = replace(view, read_at=view.proven_at + 0.1)
    return Books({token: replace(view, token=token) for token in "abc"})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (lambda view: replace(view, epoch=view.epoch + 1), "the lease was for epoch"),
        (lambda view: replace(view, doubts=view.doubts + 1), "in doubt since the lease was given"),
        (lambda view: replace(view, settled=False), "a newer change is not proven yet"),
        (lambda view: replace(view, read_at=view.proven_at + 0.3), r"STALE., proven 0\.300 s ago, allowed 0\.25 s"),
    ],
)
async def test_it_is_lost_with_any_of_its_books_which_the_error_names(books, changed, why) -> None:
    for token in "abc":
        async with Gate(books).lease("a", "b", "c", max_proof_age=0.25) as lease:
            good = books.views[token]
            books.views[token] = changed(good)
            with pytest.raises(LeaseLost, match=why) as lost:
                lease.check()
            assert lost.value.token == token
            books.views[token] = good
            assert lease.check() == lease.views


def test_it_waits_until_all_are_settled_at_once_and_reads_them_without_a_pause(books) -> None:
    async def main() -> None:
        for token in "ab":
            books.views[token] = replace(books.views[token], settled=False)
        async with Gate(books).lease("c", "a", "b") as lease:
            assert books.waited == ["a", "b"]
            # Those that were settled before are read again with the last one.
            assert books.reads[-3:] == [("c", 2), ("a", 2), ("b", 2)]
            assert lease.check() == lease.views

    run_virtual(main, start_ms=START_MS)


def test_one_time_out_holds_for_the_waiting_for_all(books) -> None:
    """Each book settles when it is waited for, and another one changes meanwhile."""
    settle = books.wait_settled

    async def restless(token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        other = {"a": "b", "b": "a"}[token]
        books.views[other] = replace(books.views[other], settled=False)
        return await settle(token, max_proof_age, timeout)

    async def main() -> float:
        books.wait_settled = restless
        books.views["a"] = replace(books.views["a"], settled=False)
        started = asyncio.get_running_loop().time()
        with pytest.raises(NotLive, match=r"a newer change is not proven yet, waited 0\.05 s") as refused:
            async with Gate(books).lease("a", "b", timeout=0.05):
                pytest.fail("the body must not run")
        assert refused.value.state is BookState.LIVE
        return asyncio.get_running_loop().time() - started

    assert run_virtual(main, start_ms=START_MS) < 0.08
    assert books.waited == ["a", "b", "a"]
