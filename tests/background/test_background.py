"""A mirror in a thread of its own: the same reads and refusals from any thread, with honest ages."""

from __future__ import annotations

import asyncio
import time

import pytest

from polymirror import BookState, BookView, LeaseLost, MirrorBusy, MirrorClosed, NotLive, Reason, UnknownToken
from polymirror.simulator import Simulator
from tests.background_rig import InThread, held_up, until, venue_of
from tests.loopback import PATIENCE


@pytest.fixture
def mirror(quiet):
    with quiet.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        yield mirror


def test_it_reads_what_a_mirror_reads():
    with venue_of(Simulator(seed=3, markets=2, rate=50)) as venue, venue.background(venue.slugs[0]) as mirror:
        mirror.wait_live(timeout=PATIENCE)
        up, down = mirror.tokens
        view = mirror.live(up, max_proof_age=5)
        assert isinstance(view, BookView)
        assert view.state is BookState.LIVE
        assert venue.confirms(view, 2.0)
        top = mirror.top(up, 5)
        assert top.token == mirror.peek(up).token == mirror.prove(up, PATIENCE).token == up
        assert mirror.wait_settled(down, 5, timeout=PATIENCE).settled
        assert mirror.reads["granted"] >= 4
        market = mirror.add_slug(venue.slugs[1])
        assert mirror.markets[-1] == market
        assert mirror.market_of(market.token_ids[0]) == market
        assert mirror.missing == {}
        mirror.wait_live(timeout=PATIENCE)
        mirror.remove_market(market.condition_id)
        assert mirror.tokens == (up, down)
        mirror.add_market(market)
        mirror.remove_market(market.condition_id)
        assert mirror.add_token(market.token_ids[0]) == market
        epoch = mirror.peek(up).epoch
        mirror.resync(up)
        until(lambda: mirror.peek(up).epoch > epoch)
        assert mirror.call(lambda it: it.tokens) == mirror.tokens
        assert mirror.run(lambda it: it.prove(down)).token == down
        assert mirror.status().running


def test_it_refuses_as_a_mirror_refuses(mirror):
    up, down = mirror.tokens
    with pytest.raises(UnknownToken, match="1 is not tracked by this mirror"):
        mirror.live("1")
    mirror.resync(up)
    with pytest.raises(NotLive, match=r"RESYNCING .REQUESTED.") as refused:
        mirror.call(lambda it: (it.resync(up), it.live(up)))
    assert refused.value.token == up
    # The traceback leads from this call to the read that was refused.
    names = [entry.name for entry in refused.traceback]
    assert names[0] == "test_it_refuses_as_a_mirror_refuses"
    assert "live" in names
    assert mirror.live(down).token == down


def test_many_threads_may_read_at_once():
    with venue_of(Simulator(seed=3, rate=100)) as venue, venue.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)

        def read() -> int:
            good = 0
            for number in range(60):
                token = mirror.tokens[number % 2]
                try:
                    view = mirror.live(token)
                except NotLive:
                    continue
                assert venue.confirms(view, 1.0)
                good += 1
            return good

        readers = [InThread(read) for _ in range(8)]
        assert sum(reader.outcome() for reader in readers) > 0
        assert mirror.reads["granted"] >= sum(reader.result for reader in readers)


# ---- Honest ages


class LateClock:
    """Jumps after each read: so much passes between two looks at it."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def read(self) -> float:
        self.now += self.step
        return self.now


def test_the_way_to_the_calling_thread_counts_into_the_age(mirror):
    up = mirror.tokens[0]
    mirror._clocks = LateClock(3.0)
    before = mirror.call(lambda it: it.live(up))
    for view in (mirror.live(up), mirror.live(up, 10), mirror.top(up), mirror.peek(up), mirror.prove(up, PATIENCE)):
        assert 3.0 <= view.verified_age < 3.0 + PATIENCE
        assert view.read_at >= before.read_at + 3.0


def test_time_that_passes_right_after_the_read_counts_too(mirror, monkeypatch):
    up = mirror.tokens[0]
    clock = mirror._clocks = LateClock(0.0)

    def preempted(read):
        def late(*args, **kwargs):
            view = read(*args, **kwargs)
            clock.now += 7.0
            return view

        return late

    for name in ("live", "top", "peek"):
        monkeypatch.setattr(mirror._mirror, name, preempted(getattr(mirror._mirror, name)))
    for read in (
        mirror.live,
        mirror.top,
        mirror.peek,
        mirror.prove,
        lambda it: mirror.wait_settled(it, timeout=PATIENCE),
    ):
        assert 7.0 <= read(up).verified_age < 7.0 + PATIENCE


def test_what_grew_too_old_on_the_way_is_refused(mirror):
    up, down = mirror.tokens
    sentence = r"LIVE .STALE., proven 3\.\d+ s ago, allowed 2 s, epoch 0: it was young enough when it was read, but not"
    with (
        mirror.lease(up, max_proof_age=2, timeout=PATIENCE) as one,
        mirror.lease(up, down, max_proof_age=2, timeout=PATIENCE) as both,
    ):
        mirror.prove(up, PATIENCE)
        mirror.prove(down, PATIENCE)
        mirror._clocks = LateClock(3.0)
        for read in (mirror.live, mirror.top, mirror.wait_settled):
            with pytest.raises(NotLive, match=sentence) as refused:
                read(up, 2)
            assert (refused.value.reason, refused.value.max_proof_age) == (Reason.STALE, 2)
        for lease in (one, both):
            with pytest.raises(LeaseLost, match="do not send the order: it was young enough when it was read, but not"):
                lease.check()
    mirror._clocks = LateClock(20.0)
    with pytest.raises(NotLive, match="allowed 15 s"):
        mirror.live(up, 60)
    with pytest.raises(NotLive, match="allowed 15 s"):
        mirror.prove(up, PATIENCE)


def test_a_thread_that_is_held_up_does_not_make_a_read_look_younger(mirror):
    up = mirror.tokens[0]
    with held_up(mirror):
        reading = InThread(lambda: mirror.live(up, 0.3))
        # Nothing can prove the book meanwhile.
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 0.5)
    with pytest.raises(NotLive, match=r"STALE., proven .* allowed 0\.3 s"):
        reading.outcome()


# ---- Leases


def test_a_lease_holds_one_book_or_several(mirror):
    up, down = mirror.tokens
    with mirror.lease(up, max_proof_age=5, timeout=PATIENCE) as lease:
        assert lease.tokens == (up,)
        assert lease.check().token == up
        with mirror.lease(down, up, timeout=PATIENCE) as both:
            assert [view.token for view in both.check()] == [down, up] == list(both.tokens)
            assert [view.token for view in both.views] == [down, up]
            mirror.resync(up)
            for lost in (lease, both):
                with pytest.raises(LeaseLost) as error:
                    lost.check()
                assert error.value.token == up
    mirror.wait_live(timeout=PATIENCE)
    with pytest.raises(LeaseLost, match="its block has ended"):
        lease.check()
    with pytest.raises(ZeroDivisionError), mirror.lease(up, timeout=PATIENCE) as lease:
        _ = 1 // 0
    with pytest.raises(LeaseLost, match="its block has ended"):
        lease.check()
    # Nothing of it is left in the mirror's thread.
    assert mirror.call(lambda _: len(asyncio.get_running_loop()._asyncgens)) == 0


def test_a_lease_outlives_no_mirror(quiet):
    mirror = quiet.background().start()
    mirror.wait_live(timeout=PATIENCE)
    with mirror.lease(mirror.tokens[0], timeout=PATIENCE) as lease:
        mirror.stop()
        with pytest.raises(MirrorClosed, match="the mirror was stopped"):
            lease.check()


# ---- Bounds


def test_a_call_that_is_not_answered_in_time_says_what_holds_the_thread_up_and_is_never_done(mirror):
    up, done = mirror.tokens[0], []

    def note(_) -> None:
        done.append("late")

    with held_up(mirror):
        mirror._call_timeout = 0.1
        with pytest.raises(
            MirrorBusy, match=r"live: not done within 0\.1 s; .* is at .*threading\.py:\d+ wait"
        ) as busy:
            mirror.live(up)
        assert isinstance(busy.value, TimeoutError)
        with pytest.raises(MirrorBusy, match=r"note: not done within 0\.1 s"):
            mirror.call(note)
        with pytest.raises(MirrorBusy, match=r"resync: not done within 0\.1 s"):
            mirror.resync(up)
        mirror._call_timeout = PATIENCE
    mirror.wait_live(timeout=PATIENCE)
    assert done == []
    assert mirror.peek(up).epoch == 0


def test_work_that_takes_too_long_is_cancelled(mirror):
    ended = []

    async def forever(_) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(MirrorBusy, match=r"forever: not done within 0\.05 s"):
        mirror.run(forever, timeout=0.05)
    until(lambda: ended == [True])


def test_calls_that_wait_are_bounded(mirror, monkeypatch):
    monkeypatch.setattr("polymirror.shell.loopthread.MAX_CALLS", 3)
    with held_up(mirror):
        waiting = [InThread(lambda: mirror.tokens) for _ in range(2)]
        until(lambda: len(mirror._thread._calls) == 3)
        with pytest.raises(MirrorBusy, match="tokens, beside 3 calls that wait already"):
            _ = mirror.tokens
    assert waiting[0].outcome() == waiting[1].outcome() == mirror.tokens


# ---- Beside other programs


def test_it_works_in_a_program_that_has_a_running_event_loop(quiet):
    async def cell() -> BookView:
        with quiet.background() as mirror:
            mirror.wait_live(timeout=PATIENCE)
            return mirror.live(mirror.tokens[0])

    assert asyncio.run(cell()).state is BookState.LIVE
