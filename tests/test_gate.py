"""Leases: given on LIVE, settled books alone, and lost as soon as that is no longer true."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from polymirror import BookState, BookView, ConfigError, Gate, LeaseLost, Mirror, NotLive, Reason, UnknownToken
from polymirror.simulator import FAULTS, Plan, Simulator
from tests.loopback import PATIENCE, mirror_of, quiet_venue, until

pytestmark = pytest.mark.anyio


async def test_a_lease_gives_the_book_as_it_is_at_each_check() -> None:
    async with Simulator(seed=3, rate=100) as venue, mirror_of(venue) as mirror:
        up = mirror.tokens[0]
        await mirror.wait_live(timeout=PATIENCE)
        async with Gate(mirror).lease(up, max_proof_age=5, timeout=PATIENCE) as lease:
            assert lease.token == up
            leased = lease.view
            assert leased.settled
            await until(mirror, lambda: mirror.live(up).exchange_ms > leased.exchange_ms)
            await mirror.wait_settled(up, timeout=PATIENCE)
            view = lease.check()
            assert view.exchange_ms > leased.exchange_ms
            assert venue.confirms(view, 2.0)


async def test_a_lease_is_lost_with_live_and_stays_lost_when_the_book_was_replaced() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        up, down = mirror.tokens
        await mirror.wait_live(timeout=PATIENCE)
        async with Gate(mirror).lease(up) as lease, Gate(mirror).lease(down) as other:
            epoch = lease.check().epoch
            mirror.engine.resync(up, mirror.now())
            mirror._drain()
            with pytest.raises(LeaseLost) as lost:
                lease.check()
            assert (lost.value.state, lost.value.reason) == (BookState.RESYNCING, Reason.REQUESTED)
            assert lost.value.epoch == epoch + 1
            other.check()
            await mirror.wait_live(timeout=PATIENCE)
            with pytest.raises(LeaseLost, match=f"the lease was for epoch {epoch}") as lost:
                lease.check()
            assert lost.value.state is BookState.LIVE
        async with Gate(mirror).lease(up, timeout=PATIENCE) as lease:
            lease.check()


async def test_a_lease_ends_with_its_block_whatever_ends_that() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        up = mirror.tokens[0]
        with pytest.raises(ZeroDivisionError):
            async with Gate(mirror).lease(up) as lease:
                _ = 1 // 0
        with pytest.raises(LeaseLost, match="is lost, do not send the order: its block has ended; the book is"):
            lease.check()
        mirror.live(up)


async def test_a_lease_on_a_market_that_was_removed_is_lost() -> None:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        async with Gate(mirror).lease(mirror.tokens[0]) as lease:
            mirror.remove_market(mirror.markets[0].condition_id)
            with pytest.raises(LeaseLost, match="not track"):
                lease.check()


async def test_a_lease_is_lost_when_the_mirror_stops() -> None:
    async with quiet_venue() as venue:
        async with mirror_of(venue) as mirror:
            await mirror.wait_live(timeout=PATIENCE)
            leases = Gate(mirror).lease(mirror.tokens[0])
            lease = await leases.__aenter__()
        with pytest.raises(LeaseLost, match=r"RESYNCING .DISCONNECT."):
            lease.check()
        await leases.__aexit__(None, None, None)


async def test_no_lease_on_a_book_that_is_not_live_or_not_known_or_for_an_age_that_is_none() -> None:
    silent = (FAULTS["rest_503"](Plan(share=1.0)), FAULTS["lost_opening"](Plan(share=1.0)))
    async with quiet_venue(faults=silent) as venue, mirror_of(venue) as mirror:
        up = mirror.tokens[0]
        with pytest.raises(NotLive):
            async with Gate(mirror).lease(up):
                pytest.fail("the body must not run")
        with pytest.raises(UnknownToken):
            async with Gate(mirror).lease("1"):
                pytest.fail("the body must not run")
        for age in (0, -1, float("nan"), True, "1"):
            with pytest.raises(ConfigError, match=r"max_proof_age=.* a number of seconds above 0"):
                Gate(mirror).lease(up, max_proof_age=age)
            with pytest.raises(ConfigError, match=r"max_proof_age=.* a number of seconds above 0"):
                Gate(mirror, max_proof_age=age)


@pytest.mark.parametrize(
    ("tokens", "timeout", "sentence"),
    [
        ((), 0.05, r"tokens=\(\) is not allowed: it must be 1 to 128 tokens, not 0: name the books to lease"),
        (("a", "b", "a"), 0.05, "tokens='a' is not allowed: it must be named once"),
        (
            (["a", "b"],),
            0.05,
            r"tokens=\['a', 'b'\] is not allowed: it must be one text for each book, as in lease\(up",
        ),
        (tuple(map(str, range(129))), 0.05, "1 to 128 tokens, not 129"),
        (("a",), -1, "timeout=-1 is not allowed: it must be a finite number of seconds from 0 on"),
        (("a",), float("nan"), "timeout=nan is not allowed"),
    ],
)
def test_a_lease_that_can_never_be_is_refused_at_the_call(tokens, timeout, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Gate(Mirror()).lease(*tokens, timeout=timeout)


def test_a_gate_on_what_is_no_mirror_is_refused() -> None:
    for books in (None, "slug", object()):
        with pytest.raises(ConfigError, match=r"books=.* a Mirror"):
            Gate(books)


class Books:
    """Stands for a mirror whose book is what the test says."""

    def __init__(self, view: BookView) -> None:
        self.view = view
        self.asked: list[float | None] = []

    def live(self, token: str, max_proof_age: float | None = None) -> BookView:
        self.asked.append(max_proof_age)
        if max_proof_age is not None and self.view.verified_age > max_proof_age:
            raise NotLive(token, BookState.LIVE, Reason.STALE, self.view.verified_age, self.view.epoch, max_proof_age)
        return self.view

    async def wait_settled(self, token: str, max_proof_age: float | None = None, timeout: float = 0.05) -> BookView:
        assert timeout == 0.05
        return self.live(token, max_proof_age)


@pytest.fixture
async def books() -> Books:
    async with quiet_venue() as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        view = mirror.live(mirror.tokens[0])
    return Books(replace(view, read_at=view.proven_at + 0.1))


async def test_a_check_refuses_a_book_with_a_change_that_is_not_proven_yet(books) -> None:
    async with Gate(books).lease(books.view.token) as lease:
        settled, books.view = books.view, replace(books.view, settled=False)
        with pytest.raises(LeaseLost, match="a newer change is not proven yet"):
            lease.check()
        books.view = settled
        assert lease.check() is settled


async def test_a_check_refuses_a_proof_that_grew_older_than_the_lease_allows(books) -> None:
    async with Gate(books, max_proof_age=9).lease(books.view.token, max_proof_age=0.25) as lease:
        lease.check()
        books.view = replace(books.view, read_at=books.view.proven_at + 0.3)
        with pytest.raises(LeaseLost, match=r"STALE., proven 0\.300 s ago, allowed 0\.25 s") as lost:
            lease.check()
        assert isinstance(lost.value.__cause__, NotLive)
        assert lost.value.max_proof_age == 0.25


async def test_the_age_of_the_gate_holds_where_a_lease_names_none(books) -> None:
    async with Gate(books, max_proof_age=2).lease(books.view.token) as lease:
        lease.check()
    assert books.asked == [2, 2]
