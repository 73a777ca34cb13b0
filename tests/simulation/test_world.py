"""The world as a shell: what it answers, how its client sleeps, and that its judge sees what it is to see."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from polymirror.core.effects import AskGamma
from polymirror.core.engine import Engine
from polymirror.core.states import BookState
from polymirror.errors import NotLive
from polymirror.simulator import Plan, make_faults
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.simulator.virtual import NetworkConfig
from polymirror.torture import verdict
from polymirror.torture.storm import draw_storm
from polymirror.torture.world import World
from tests.simulation.dating_mutants import Sleepless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NETWORK = NetworkConfig(latency_ms=20, jitter_ms=0)


def world(*faults: str, plan: Plan | None = None, engine_class: Any = Engine, seed: int = 1, rate: float = 5) -> World:
    exchange = ExchangeConfig(seed=seed, markets=2, flow=FlowConfig(rate=rate), new_market_every_ms=None)
    made = make_faults(faults, plan=plan, seed=seed)
    return World(exchange, made, seed=seed, network=NETWORK, engine_class=engine_class)


class Asking(Engine):
    """Asks once whether each market is closed, and remembers what it is told."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.told: list[tuple[str, bool | None, float]] = []
        self.gaps: list[tuple[float, float]] = []

    def ask(self) -> None:
        self._effects += [AskGamma(condition) for condition in self.markets]

    def market_status(self, condition_id: str, closed: bool | None, now: float) -> None:
        self.told.append((condition_id, closed, now))

    def gap(self, seconds: float, now: float) -> None:
        self.gaps.append((seconds, now))


def ask(asked: World) -> list[bool | None]:
    asked.engine.told.clear()
    asked.engine.ask()
    asked._drain()
    asked.run(12)
    return [closed for _, closed, _ in asked.engine.told]


def test_an_engine_that_asks_about_a_market_is_told_whether_it_is_closed() -> None:
    asked = world(engine_class=Asking)
    asked.run(2)
    assert ask(asked) == [False, False]
    asked.exchange.settle(asked.exchange.slugs[0])
    asked.run(5)
    assert ask(asked) == [True, False]
    [first, _] = asked.engine.told
    assert first[2] - asked.seconds == pytest.approx(2 * 0.02 - 12, abs=0.01)


def test_an_engine_is_told_once_that_nobody_could_say() -> None:
    asked = world("gamma_unavailable", plan=Plan(share=1.0), engine_class=Asking)
    asked.run(2)
    assert ask(asked) == [None, None]


def test_a_suspended_engine_is_told_of_the_gap_and_its_clock_stood_still() -> None:
    slept = world("suspend", plan=Plan(share=0.02, length_ms=8_000), engine_class=Asking)
    slept.run(30)
    assert slept.fault_counts()["suspend"] > 0
    gone = sum(seconds for seconds, _ in slept.engine.gaps)
    assert slept.elapsed - slept.seconds == pytest.approx(gone, abs=8.0)
    assert all(now < slept.elapsed for _, now in slept.engine.gaps)


def test_an_engine_that_forgets_its_sleep_shows_the_past_as_if_it_were_now() -> None:
    slept = world("suspend", plan=Plan(share=0.02, length_ms=8_000), engine_class=Sleepless)
    slept.run(30)
    assert {each.promise for each in slept.tally.violations} == {"a granted read equals a real state"}


@contextmanager
def sampling(every: float) -> Iterator[type[Asking]]:
    class Sampling(Asking):
        """Says itself when it wants to know the time."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.samples: list[tuple[float, float]] = []
            self.asked_at = -every

        def next_time_sample(self, now: float, interval: float) -> float:
            return min(now + interval, self.asked_at + every)

        def time_asked(self, now: float) -> None:
            self.asked_at = now

        def server_time(self, _seconds: int, sent: float, received: float) -> None:
            self.samples.append((sent, received))

    yield Sampling


def test_an_engine_that_wants_the_time_gets_it_when_it_wants_it() -> None:
    with sampling(1.7) as kind:
        asked = world(engine_class=kind)
        asked.run(20)
        sent = [at for at, _ in asked.engine.samples]
    assert [round(later - before, 2) for before, later in itertools.pairwise(sent)] == [1.7] * (len(sent) - 1)
    assert len(sent) in {11, 12}


def test_a_quiet_venue_tells_the_time_of_the_call_and_not_that_of_its_last_event() -> None:
    quiet = world(rate=0.001)
    told = []
    quiet.engine.server_time = lambda seconds, *_: told.append((quiet.exchange_ms(), seconds))  # type: ignore[method-assign]
    quiet.run(30)
    assert len(told) > 3
    for now_ms, seconds in told:
        assert (now_ms - 20) // 1000 == seconds


def test_a_quiet_venue_that_never_tells_the_time_is_asked_no_more_than_once_in_its_time_out() -> None:
    with sampling(0.1) as kind:
        asked = world("no_time", plan=Plan(), engine_class=kind)
        asked.run(35)
    assert asked.engine.samples == []
    assert asked.fault_counts()["no_time"] == 4


def test_what_keeps_the_stream_away_is_told_until_it_is_over() -> None:
    shut = world("refused_connection", plan=Plan(share=1.0))
    shut.run(20)
    assert shut.engine.status(shut.seconds).sockets[0].trouble == "HTTP 403: handshake refused"
    with pytest.raises(NotLive, match="HTTP 403"):
        shut.engine.live(next(iter(shut.exchange.tokens)), shut.seconds)
    for fault in shut.faults.faults:
        fault.plan = Plan(share=0.0)
    shut.run(60)
    assert shut.engine.status(shut.seconds).trouble == ""


def test_calls_that_are_refused_are_told_until_one_is_answered() -> None:
    shut = world("rest_503", plan=Plan(share=1.0), rate=0.01)
    shut.run(40)
    assert shut.engine.status(shut.seconds).rest.trouble.endswith("HTTP 503")
    for fault in shut.faults.faults:
        fault.plan = Plan(share=0.0)
    shut.run(60)
    assert shut.engine.status(shut.seconds).trouble == ""


def test_calls_that_hang_are_told_as_such() -> None:
    silent = world("rest_hanging", plan=Plan(share=1.0), rate=0.01)
    silent.run(40)
    assert "no answer within" in silent.engine.status(silent.seconds).rest.trouble


def test_every_book_is_read_every_second_although_nothing_arrives() -> None:
    quiet = world(rate=0.001)
    quiet.run(5)
    before = quiet.tally.reads
    quiet.run(10)
    assert quiet.tally.reads - before >= 40


def test_a_market_that_trades_must_not_be_retired() -> None:
    closed = world("lying_close", plan=Plan(share=0.02, end_ms=10**15))
    closed.run(20)
    if closed.states().get(BookState.RETIRED):
        assert "what is not settled is not retired" in {each.promise for each in closed.tally.violations}
    else:
        assert not closed.tally.violations


def test_a_real_settlement_is_no_violation() -> None:
    ended = world()
    ended.run(3)
    ended._broadcast()
    ended.exchange.settle()
    ended.run(30)
    assert ended.states() == {BookState.RETIRED: 4}
    assert not ended.tally.violations


class Copying(Engine):
    """Never looks at the second token: whatever one book is, the other one mirrors it."""

    def live(self, asset_id: str, now: float, max_proof_age: float | None = None) -> Any:
        view = super().live(asset_id, now, max_proof_age)
        market = self.markets[view.market]
        first, _second = list(market.tokens)
        if asset_id == first:
            return view
        levels = super().live(first, now, max_proof_age).levels
        swapped = type(levels)(levels.ask_keys, levels.ask_sizes, levels.bid_keys, levels.bid_sizes)
        return type(view)(**{f: getattr(view, f) for f in view.__struct_fields__} | {"levels": swapped})


def test_a_copied_second_token_is_excused_for_a_while_by_its_name_and_then_no_more() -> None:
    for seed in range(4):
        broken = world("asymmetric_market", plan=Plan(length_ms=5_000), engine_class=Copying, seed=seed, rate=2)
        broken.run(15)
        if broken.tally.unknowable:
            break
    assert set(broken.tally.unknowable) == {verdict.SECOND_TOKEN}
    assert broken.tally.violations


class Showing(World):
    """A world that compares what its books show with what it was told of them."""

    def __init__(self, seed: int) -> None:
        self.shown: dict[str, tuple[object, ...]] = {}
        self.silent: list[str] = []
        storm = draw_storm(seed, 2.0, 8)
        faults = [episode.build(storm.exchange.start_ms, seed) for episode in storm.episodes]
        super().__init__(storm.exchange, faults, seed=seed, network=storm.network)

    def changed(self, tokens: Sequence[str]) -> None:
        told = set(tokens)
        for token, _ in self.book_states():
            view = self.engine.peek(token, self.seconds)
            # What is not readable may be doubted again and again.
            live = view.state is BookState.LIVE
            shows = (view.state, *((view.levels, view.epoch, view.doubts, view.exchange_ms) if live else ()))
            before, settled = self.shown.get(token, (shows, True))
            if token not in told and (before != shows or (settled and not view.settled)):
                self.silent.append(f"{self.elapsed:.3f} s: {view}, settled {view.settled}")
            self.shown[token] = (shows, view.settled)


@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 1, 2, 15))])
def test_whatever_a_book_shows_is_told_when_it_changes_and_when_it_is_settled_no_more(seed: int) -> None:
    watched = Showing(seed)
    watched.run(120.0)
    assert len(watched.shown) > 4
    assert watched.silent == []
