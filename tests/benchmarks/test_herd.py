"""Many hosts come back to one relay at once: everything that is needed is sent, nothing twice, and nothing grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.herd import Setting, simulate
from polymirror.relay import link

if TYPE_CHECKING:
    import pytest

THIN = Setting(hosts=8, tokens=150, changes=2.0, uplink=0.8e6, begins=6.0, lasts=1.0, seconds=20.0)


def test_after_a_restart_each_host_gets_each_book_once() -> None:
    herd = simulate(Setting(hosts=6, tokens=5))
    assert (herd.live_before, herd.books, herd.needed) == (30, 30, 30)
    assert herd.seconds_to_all is not None


def test_a_short_partition_takes_no_whole_book() -> None:
    herd = simulate(Setting(hosts=6, tokens=5, fault="partition"))
    assert herd.books == 0
    assert herd.seconds_to_all is not None
    assert herd.seconds_to_all < 1.0


def test_a_thin_uplink_sends_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    herd = simulate(THIN)
    assert herd.seconds_to_all is not None
    assert herd.books <= 1.02 * herd.needed
    assert herd.most_waiting <= THIN.tokens + 10
    monkeypatch.setattr(link, "ASK_MOST", 10**9)
    monkeypatch.setattr(link, "ASK_SELDOM", link.ASK_AGAIN)
    assert simulate(THIN).books > 1.1 * herd.needed
