"""Prometheus metrics: what is scraped is what the mirror counted."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from polymirror.core.engine import Engine
from polymirror.core.events import Transition
from polymirror.core.states import BookState, Reason
from polymirror.errors import ConfigError, WrongThread
from polymirror.metrics import MirrorMetrics
from polymirror.mirror import Mirror
from polymirror.simulator import Simulator
from tests.core.builders import Exchange, Rig

if TYPE_CHECKING:
    from collections.abc import Callable

    from polymirror.core.status import Summary

pytestmark = pytest.mark.anyio


async def test_a_scrape_tells_states_proofs_reads_and_transitions() -> None:
    registry = CollectorRegistry()
    async with Simulator(seed=5) as venue:
        mirror = Mirror.for_slug(*venue.slugs, endpoints=venue.endpoints)
        metrics = MirrorMetrics(mirror, registry)
        async with mirror:
            await mirror.wait_live()
            mirror.live(mirror.tokens[0])
            text = generate_latest(registry).decode()
            assert f'polymirror_books{{state="LIVE"}} {len(mirror.tokens)}.0' in text
            assert 'polymirror_reads_total{outcome="granted"} 1.0' in text
            assert 'polymirror_state_transitions_total{from="UNPRIMED",reason="PROVEN",to="LIVE"} 2.0' in text
            assert 'polymirror_proofs_total{kind="hash",verdict="match"}' in text
            assert "polymirror_hash_searches_total 0.0" in text
            assert "polymirror_hash_search_digests_total 0.0" in text
            assert mirror.tokens[0] not in text
            mirror.resync(mirror.tokens[0])
            await mirror.wait_live()
            text = generate_latest(registry).decode()
            assert 'polymirror_resyncs_total{reason="REQUESTED"} 1.0' in text
            assert 'polymirror_book_untrusted_seconds_total{reason="REQUESTED"}' in text
    assert registry.get_sample_value("polymirror_books", {"state": BookState.LIVE.name}) == 0
    metrics.close()
    assert generate_latest(registry) == b""


def test_what_is_not_found_has_no_books_to_alert_on_and_is_counted_itself() -> None:
    registry = CollectorRegistry()
    metrics = MirrorMetrics(Mirror.for_slug("btc-typo", "eth-typo"), registry)
    assert [registry.get_sample_value("polymirror_books", {"state": state.name}) for state in BookState] == [0] * 5
    assert registry.get_sample_value("polymirror_missing") == 2
    metrics.close()


def test_the_outage_of_a_book_that_is_removed_stays_counted() -> None:
    rig, now, told, registry = Rig.live(Exchange(), Exchange("0xn", "33", "44")), 100.0, [], CollectorRegistry()

    class Timed(Mirror):
        def now(self) -> float:
            return now

        def on_transition(self, callback: Callable[[Transition], None]) -> Callable[[], None]:
            told.append(callback)
            return told.clear

    mirror = Timed()
    mirror.engine = rig.engine
    MirrorMetrics(mirror, registry)

    def untrusted() -> float | None:
        return registry.get_sample_value("polymirror_book_untrusted_seconds_total", {"reason": "STALE"})

    def out(token: str) -> None:
        told[0](Transition(token, now, BookState.LIVE, BookState.SUSPECT, Reason.STALE, 0, ""))

    out("11")
    now = 160.0
    assert untrusted() == 60
    rig.engine.untrack("0xm", rig.now)
    assert untrusted() == 60
    now = 200.0
    out("33")
    now = 207.0
    assert untrusted() == 67


def test_a_counter_never_goes_back_while_a_batch_that_was_checked_goes_on() -> None:
    rig = Rig.live(exchange := Exchange())
    rig.send(exchange.change("BUY", "0.46", "7"))
    rig.settle()
    mirror = Mirror()
    mirror.engine, registry = rig.engine, CollectorRegistry()
    MirrorMetrics(mirror, registry)

    def matches() -> float:
        shown = registry.get_sample_value("polymirror_proofs_total", {"kind": "bbo", "verdict": "match"})
        assert shown is not None
        return shown

    rig.send(exchange.change("BUY", "0.46", "8"))
    before, counted = matches(), rig.verdicts("bbo")["match"]
    # The hash of one token alone takes the long way.
    message = exchange.change("BUY", "0.46", "9", at=exchange.at)
    message["price_changes"][0]["hash"] = ""
    rig.send(message)
    assert rig.verdicts("bbo")["match"] < counted
    assert matches() == before
    rig.settle()
    assert matches() == before == rig.verdicts("bbo")["match"]


async def test_a_scrape_by_another_thread_is_answered_in_the_mirrors_own(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, threads = CollectorRegistry(), []
    real = Engine.summary

    def summary(self: Engine, now: float) -> Summary:
        threads.append(threading.current_thread())
        return real(self, now)

    monkeypatch.setattr(Engine, "summary", summary)
    mirror = Mirror()
    MirrorMetrics(mirror, registry)
    async with mirror:
        # As prometheus_client.start_http_server does, which has a thread for each scrape.
        text = (await asyncio.to_thread(generate_latest, registry)).decode()
        assert threads == [threading.current_thread()]
        assert 'polymirror_books{state="LIVE"} 0.0' in text
    # What has ended may be looked at from anywhere, and so may what has not begun.
    await asyncio.to_thread(generate_latest, registry)
    assert threads[1] is not threading.current_thread()


async def test_a_mirror_that_is_held_up_has_no_numbers_and_the_log_says_where(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("polymirror.status.metrics.SCRAPE_SECONDS", 0.05)
    registry, texts = CollectorRegistry(), []
    mirror = Mirror()
    MirrorMetrics(mirror, registry)
    async with mirror:
        scrape = threading.Thread(target=lambda: texts.append(generate_latest(registry).decode()))
        scrape.start()
        # Blocks the event loop until the scrape is over.
        scrape.join(60)
        [text] = texts
        assert "# TYPE polymirror_books gauge" in text
        assert "polymirror_books{" not in text
        assert re.search("a scrape has no numbers of the mirror: ask: not done within .* s; .* join", caplog.text)
        # It is not done later.
        reads = mirror.ask(lambda it: it.reads)
        assert 'polymirror_books{state="LIVE"} 0.0' in (await asyncio.to_thread(generate_latest, registry)).decode()
        assert reads == mirror.reads


async def test_who_registers_in_another_thread_is_refused_and_not_registered() -> None:
    registry = CollectorRegistry()
    async with Mirror() as mirror:
        with pytest.raises(WrongThread):
            await asyncio.to_thread(MirrorMetrics, mirror, registry)
        assert generate_latest(registry) == b""
        await asyncio.to_thread(lambda: mirror.ask(lambda it: MirrorMetrics(it, registry)))
        assert b"polymirror_books{" in generate_latest(registry)


class Stub(Mirror):
    """A mirror whose transitions are told by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Callable[[Transition], None]] = []

    def on_transition(self, callback: Callable[[Transition], None]) -> Callable[[], None]:
        self.told.append(callback)
        return lambda: self.told.remove(callback)


REGISTRIES = {
    "plain": CollectorRegistry,
    "with descriptions": lambda: CollectorRegistry(auto_describe=True),
    "the global one": lambda: REGISTRY,
}


@pytest.mark.parametrize("make", REGISTRIES.values(), ids=REGISTRIES)
def test_a_registry_holds_one_mirror_and_says_what_to_do_with_a_second(make: Callable[[], CollectorRegistry]) -> None:
    registry, first, second = make(), Stub(), Stub()
    metrics = MirrorMetrics(first, registry)
    for mirror in (first, second):
        with pytest.raises(ConfigError, match=r"close\(\) those, or give this mirror a CollectorRegistry of its own"):
            MirrorMetrics(mirror, registry)
    # Who was refused is not told either.
    assert (len(first.told), second.told) == (1, [])
    assert generate_latest(registry).decode().count("# TYPE polymirror_books gauge") == 1
    metrics.close()
    metrics.close()
    assert first.told == []
    assert "polymirror_books" not in generate_latest(registry).decode()
    MirrorMetrics(second, registry).close()


def test_one_metric_can_be_asked_for_by_its_name() -> None:
    registry = CollectorRegistry()
    MirrorMetrics(Stub(), registry)
    text = generate_latest(registry.restricted_registry(["polymirror_frames_total"])).decode()  # type: ignore[no-untyped-call]
    assert "polymirror_frames_total 0.0" in text
    assert "polymirror_books" not in text


def test_without_a_live_book_there_is_no_proof_age_and_without_a_change_no_lag() -> None:
    registry, mirror = CollectorRegistry(), Stub()
    MirrorMetrics(mirror, registry)
    text = generate_latest(registry).decode()
    assert "# TYPE polymirror_proof_age_seconds gauge\n# HELP" in text
    assert registry.get_sample_value("polymirror_proof_age_seconds") is None
    assert registry.get_sample_value("polymirror_apply_lag_seconds") is None
    mirror.engine = Rig.live(Exchange()).engine
    assert registry.get_sample_value("polymirror_proof_age_seconds") is not None


def test_a_book_that_is_settled_is_not_untrusted_but_one_that_ends_in_doubt_was_until_then() -> None:
    registry, mirror = CollectorRegistry(), Stub()
    mirror.engine = Rig.live(Exchange()).engine
    MirrorMetrics(mirror, registry)
    [tell] = mirror.told
    tell(Transition("11", 100.0, BookState.LIVE, BookState.RETIRED, Reason.RESOLVED, 0))
    tell(Transition("22", 100.0, BookState.LIVE, BookState.SUSPECT, Reason.STALE, 0))
    tell(Transition("22", 103.0, BookState.SUSPECT, BookState.RETIRED, Reason.RESOLVED, 0))

    def untrusted(reason: str) -> float | None:
        return registry.get_sample_value("polymirror_book_untrusted_seconds_total", {"reason": reason})

    assert untrusted("RESOLVED") is None
    assert untrusted("STALE") == 3.0


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "try:\n import polymirror.metrics\nexcept ImportError as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    assert done.stdout == "polymirror.metrics needs an extra: pip install 'polymirror[metrics]'\n"
