"""Tick replay: the bot's own parts on recorded frames, at recorded times, with two clocks."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from bots.common.execution.base import ChainStatus
from bots.common.execution.paper import PaperConfig
from bots.research.__main__ import main
from bots.research.loaders.tables import DataError
from bots.research.ticks.play import TickSettings, replay
from bots.research.ticks.recording import Recording, read_frames
from bots.research.ticks.venue import RecordedVenue
from polymirror.config import MirrorConfig
from polymirror.core.fees import charged_fee
from polymirror.mirror import Mirror
from polymirror.simulator.virtual import run_virtual
from tests.research.recorder import record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def recorded() -> Recording:
    """A quarter of an hour in which the makers were 55 s late, and the bot bought."""
    return record(2)


def test_what_it_buys_is_what_the_book_had_with_the_fee_of_each_fill_and_the_payout_of_the_winner(recorded) -> None:
    found = replay(recorded)
    assert found.counts["FILLED"] == 1
    assert found.open_positions == 0
    money = sum(each.money for each in found.fills)
    fees = sum(charged_fee(recorded.rules.fee, each.price, each.shares) for each in found.fills)
    paid = sum(each.shares * recorded.payouts[each.token] for each in found.fills)
    assert found.profit == paid - money - fees
    assert all(each.status is ChainStatus.CONFIRMED for each in found.fills)
    # The books around the match had that ask: one of the frames before it says so.
    (first, *_) = found.fills
    before = "".join(text for at, text in recorded.frames if at <= first.at_ms)
    assert f'"price":"{first.price}"' in before.replace(": ", ":")


def test_the_same_recording_plays_the_same(recorded) -> None:
    assert replay(recorded) == replay(recorded)


def test_a_tick_counts_from_its_receipt(recorded) -> None:
    honest, early = (replay(recorded, TickSettings(own_time=each)).fills[0].at_ms for each in (False, True))
    assert honest - early == 1_500


def test_an_order_matches_after_our_latency_and_the_delay_of_its_day(recorded) -> None:
    delay_ms = 500
    day = evolve(recorded, rules=evolve(recorded.rules, taker_delay_ms=delay_ms))
    at_once = evolve(recorded, rules=evolve(recorded.rules, taker_delay_ms=0))
    settings = TickSettings(paper=PaperConfig(latency_ms=50, settle_ms=0))
    assert replay(day, settings).fills[0].at_ms - replay(at_once, settings).fills[0].at_ms == delay_ms


def test_a_book_that_falls_silent_is_not_traded_on(recorded) -> None:
    silent = evolve(recorded, frames=recorded.frames[:30])
    found = replay(silent)
    assert found.fills == []
    assert found.counts["refused_non_live"] > 0


def test_without_frames_or_without_a_strike_nothing_is_bought(recorded) -> None:
    for each in (evolve(recorded, frames=()), evolve(recorded, strike=None)):
        found = replay(each)
        assert (found.fills, found.profit) == ([], 0)


@pytest.mark.slow
def test_makers_who_are_not_late_leave_nothing_to_buy() -> None:
    bought = [len(replay(record(seed, lag_s=lag_s)).fills) for lag_s in (0.0, 55.0) for seed in (1, 2)]
    assert bought[:2] == [0, 0]
    assert all(bought[2:])


def test_a_recording_that_begins_late_in_its_window_is_played_from_there(recorded) -> None:
    """The mirror connects ten seconds before, and not at the opening."""
    opens = recorded.window.start * 1000
    frames = tuple(each for each in recorded.frames if each[0] >= opens + 300_000)
    late = evolve(recorded, frames=frames, oracle=recorded.oracle.until(opens - 1))
    assert replay(late).virtual_s == 10 + (frames[-1][0] - frames[0][0]) / 1000


def test_a_frame_of_another_market_is_passed_over_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_text('{"market": "other"}\n{"market": "mine", "timestamp": "1000"}\n', encoding="utf-8")
    assert [at for at, _ in read_frames(path, "mine")] == [1_060]
    with pytest.raises(DataError, match="KeyError"):
        read_frames(path)


def test_frames_are_read_with_or_without_receive_times(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    plain = {"event_type": "price_change", "timestamp": "1000"}
    lines = [plain, {"recv_ms": 500, "frame": json.dumps(plain)}]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    assert [at for at, _ in read_frames(path)] == [500, 1_060]
    path.write_text("no frame\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"frames\.jsonl: not a recording"):
        read_frames(path)


def test_the_command_plays_a_recording_from_files(recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, oracle = tmp_path / "frames.jsonl", tmp_path / "oracle.csv"
    frames.write_text(
        "".join(json.dumps({"recv_ms": at, "frame": text}) + "\n" for at, text in recorded.frames), encoding="utf-8"
    )
    told = recorded.oracle
    lines = [
        f"{at},{received},{price / 1e8:.8f}"
        for at, received, price in zip(told.at_ms, told.received_ms, told.price_e8, strict=True)
    ]
    oracle.write_text("\n".join(["at_ms,t,price", *lines]) + "\n", encoding="utf-8")
    up, down = recorded.market.token_ids
    won = "up" if recorded.payouts[up] else "down"
    words = ["ticks", str(frames), "--oracle", str(oracle), "--slug", recorded.market.slug, "--won", won]
    words += ["--market", recorded.market.condition_id, "--up", up, "--down", down]
    assert main(words) == 1
    assert "lacks received_ms" in capsys.readouterr().err
    assert main([*words, "--column", "received_ms=t"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["open_positions"] == 0
    assert found["counts"]["TOO_LATE"] == 300


def test_a_mirrors_own_journal_is_a_recording(recorded, tmp_path: Path) -> None:
    """What a mirror wrote down while it heard the recording gives the same frames again, and the same purchases."""

    async def hear() -> None:
        venue = RecordedVenue(recorded.frames)
        config = MirrorConfig(seed=0, endpoints=venue.endpoints)
        async with Mirror([recorded.market], config=config, network=venue.network, journal=tmp_path):
            await asyncio.sleep((recorded.window.end * 1000 - recorded.frames[0][0]) / 1000 + 5)

    run_virtual(hear, start_ms=recorded.frames[0][0] - 1_000)
    again = read_frames(tmp_path, recorded.market.condition_id)
    assert again == tuple(each for each in recorded.frames if recorded.market.condition_id in each[1])
    assert replay(evolve(recorded, frames=again)).fills == replay(recorded).fills


def test_frames_out_of_order_are_refused(recorded) -> None:
    with pytest.raises(DataError, match="go back"):
        evolve(recorded, frames=tuple(reversed(recorded.frames)))


def test_the_profit_is_a_decimal(recorded) -> None:
    assert isinstance(replay(recorded).profit, Decimal)
