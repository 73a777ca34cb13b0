"""A host's seconds: they go on in sleep, and are another clock where the host's two clocks move apart."""

from __future__ import annotations

import pytest

from polymirror.relay.hostclock import APART, HostClock
from polymirror.venue.network import REAL, Network


class Host:
    """A host whose clocks a test sets. ``pause`` passes with each of so many looks at one of them."""

    def __init__(self) -> None:
        self.boot = 5_000.0
        self.monotonic = 100.0
        self.wall = 1.79e9
        self.pause = 0.0
        self.pauses = 1_000_000

    def pass_(self, seconds: float) -> None:
        self.boot += seconds
        self.monotonic += seconds
        self.wall += seconds

    def read(self, name: str) -> float:
        shown: float = getattr(self, name)
        if self.pauses:
            self.pass_(self.pause)
            self.pauses -= 1
        return shown

    def clock(self, *, boot: bool) -> HostClock:
        return HostClock(
            Network(
                monotonic=lambda: self.read("monotonic"),
                boot=(lambda: self.read("boot")) if boot else None,
                wall=lambda: self.read("wall"),
            )
        )


@pytest.mark.parametrize(("boot", "pauses"), [(True, (0.0, 0.3, 7.0, 0.0)), (False, (0.0, 0.3, 0.0))])
def test_a_clock_that_goes_on_is_the_same_clock(boot: bool, pauses: tuple[float, ...]) -> None:
    host = Host()
    clock = host.clock(boot=boot)
    first = clock.now()
    for pause in pauses:
        # The program stands still between two looks at its clocks: nothing was set.
        host.pause = pause
        host.pass_(0.5)
        clock.now()
    host.pause = 0.0
    assert clock.now() - first == pytest.approx(host.monotonic - 100.0, abs=1e-6)
    assert clock.epoch == 0


@pytest.mark.parametrize("step", [30.0, 2 * APART, -2 * APART, -30.0])
def test_a_boot_clock_that_was_set_is_another_clock(step: float) -> None:
    host = Host()
    clock = host.clock(boot=True)
    before = clock.now()
    host.boot += step
    assert clock.now() == pytest.approx(before + step)
    assert clock.epoch == 1
    host.pass_(1.0)
    clock.now()
    assert clock.epoch == 1


@pytest.mark.parametrize("step", [5.0, -5.0])
def test_what_is_set_in_a_pause_of_the_program_is_noticed_after_it(step: float) -> None:
    host = Host()
    clock = host.clock(boot=True)
    clock.now()
    host.pause = 7.0
    clock.now()
    host.boot += step
    clock.now()
    host.pause = 0.0
    clock.now()
    assert clock.epoch == 1
    host.pass_(1.0)
    clock.now()
    assert clock.epoch == 1


def test_a_clock_that_was_first_read_in_a_pause_is_known_better_later() -> None:
    host = Host()
    host.pause = 7.0
    clock = host.clock(boot=True)
    clock.now()
    host.pause = 0.0
    clock.now()
    assert clock.epoch == 0
    host.boot += 2 * APART
    clock.now()
    assert clock.epoch == 1


@pytest.mark.parametrize("looks", [0, 1])
def test_one_pause_hides_nothing_that_is_set_after_it(looks: int) -> None:
    host = Host()
    clock = host.clock(boot=True)
    for _ in range(looks):
        clock.now()
    host.pause, host.pauses = 3.0, 1
    clock.now()
    host.boot += 0.5
    clock.now()
    assert clock.epoch == 1


def test_after_sleep_it_is_another_clock_and_has_gone_on() -> None:
    host = Host()
    clock = host.clock(boot=True)
    before = clock.now()
    host.boot += 600.0
    assert clock.now() == pytest.approx(before + 600.0)
    assert clock.epoch == 1


def test_without_a_boot_clock_it_is_another_one_where_the_time_of_day_leaps_ahead() -> None:
    host = Host()
    clock = host.clock(boot=False)
    before = clock.now()
    host.wall += 600.0
    assert clock.now() == pytest.approx(before + 600.0)
    assert clock.epoch == 1
    host.wall -= 40.0
    host.pass_(1.0)
    assert clock.now() == pytest.approx(before + 601.0)
    assert clock.epoch == 1


def test_the_clock_of_this_machine_is_one() -> None:
    clock = HostClock(REAL)
    shown = [clock.now() for _ in range(1_000)]
    assert shown == sorted(shown)
    assert clock.epoch == 0
