"""The layouts of the recordings beside the repository: how much is in them, and what of it was checked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bots.research import pairs
from bots.research.calibration import of_signals
from bots.research.eras import Eras
from bots.research.fills import FillModel
from bots.research.lag import measure
from bots.research.loaders.layouts import LAYOUTS
from bots.research.loaders.tables import DataError
from bots.research.series import Play, play

if TYPE_CHECKING:
    from pathlib import Path

    from bots.research.windows import Window

ERAS = Eras()
MINUTES = "series/btc15m_minutes_202512"


def read(corpus: Path, layout: str, path: str) -> list[Window]:
    return LAYOUTS[layout].read(corpus / path, ERAS, layout)


@pytest.mark.parametrize(
    ("layout", "path", "windows", "decided", "with_strike", "era"),
    [
        ("minutes", MINUTES, 440, 440, 440, "15m, no fee, delay 500 ms, spot"),
        ("bbo", "series/btc15m_bbo_1hz_20260202", 27, 25, 0, "15m, fee 0.25 to the power of 2, delay 500 ms, spot"),
        ("ladder", "series2/houssem98_ladder.jsonl", 203, 203, 203, "5m, fee 0.07, delay 250 ms, spot"),
        ("mids", "series2/houssem98_windows_hist.jsonl", 700, 700, 0, "5m, fee 0.07, delay 250 ms, spot"),
    ],
)
def test_a_recording_gives_its_windows_in_their_era(
    corpus: Path, layout: str, path: str, windows: int, decided: int, with_strike: int, era: str
) -> None:
    found = read(corpus, layout, path)
    assert len(found) == windows
    assert sum(each.up_won is not None for each in found) == decided
    assert sum(each.strike_e8 is not None for each in found) == with_strike
    assert {each.rules.era for each in found} == {era}


@pytest.mark.slow
def test_the_oracles_tick_at_the_opening_is_the_recorded_strike(corpus: Path) -> None:
    found = read(corpus, "oracle_days", "oracle")
    assert len(found) == 584
    told = of_signals(found[:60], Play(min_left_share=Decimal(1) / 3))
    assert told["signals"] > 20


def test_a_missing_folder_or_file_is_one_clear_error(corpus: Path, tmp_path: Path) -> None:
    for layout in ("minutes", "bbo", "oracle_bbo", "oracle_days"):
        with pytest.raises(DataError, match="has no"):
            LAYOUTS[layout].read(tmp_path, ERAS, layout)
    with pytest.raises(DataError, match="lacks"):
        LAYOUTS["touches"].read(corpus / "series/updown5m_labels_2026.csv")


def test_a_price_a_minute_shows_22_cents_a_share_with_stale_prints_and_nothing_with_the_next(corpus: Path) -> None:
    windows = read(corpus, "minutes", MINUTES)
    setup = Play(fills=FillModel(limit="highest", slippage=Decimal(0)), derived=False)
    stale = Play(fills=FillModel(price="stale", slippage=Decimal(0)), derived=False)
    old, new = (play(windows, each).trades for each in (stale, setup))
    mean_of = lambda trades: sum(each.gross_per_share for each in trades) / len(trades)  # noqa: E731
    assert len(old) == 147
    assert round(mean_of(old), 2) == 0.22
    assert abs(mean_of(new)) < 0.1


def test_prices_a_minute_apart_look_a_minute_late_and_are_not(corpus: Path) -> None:
    found = measure(read(corpus, "minutes", MINUTES)[:60], seed=1)
    assert found is not None
    assert found["correlation"]["peak_s"]["mean"] == 60
    assert found["correlation_next"]["peak_s"]["mean"] == 0


def test_legs_one_after_the_other_lose_eleven_cents_a_round(corpus: Path) -> None:
    rounds = LAYOUTS["touches"].read(corpus / "series2/smallyunet_btc5m_touch29_rounds_20260705_0817.csv")
    found = pairs.sequential(rounds, Decimal("0.29"), ERAS)
    assert (found["rounds"], found["both"], found["one"], found["neither"]) == (5_486, 780, 3_260, 1_446)
    assert found["total"] == str(780 * Decimal("0.42") - 3_260 * Decimal("0.29"))
    assert found["per_round"]["high"] < 0
    # Of begun pairs so many must be completed that what they make pays for the lone legs.
    assert found["needed"] == "0.408"
    share = pairs.needed(Decimal("0.29"))
    assert abs(share * Decimal("0.42") - (1 - share) * Decimal("0.29")) < Decimal("1e-20")


def test_both_at_once_cost_less_than_a_dollar_only_where_the_sides_were_seen_apart(corpus: Path) -> None:
    seen = read(corpus, "bbo", "series/btc15m_bbo_1hz_20260202")
    assert pairs.simultaneous(read(corpus, "minutes", MINUTES)) is None  # one side is made from the other
    found = pairs.simultaneous(seen)
    assert found is not None
    assert found["windows"] == 27


def test_pairs_are_judged_by_the_rules_of_their_time(corpus: Path) -> None:
    rounds = LAYOUTS["touches"].read(corpus / "series2/smallyunet_btc5m_touch29_rounds_20260705_0817.csv")
    found = pairs.judge("touches", rounds, Decimal("0.29"), ERAS)
    assert sum(each["rounds"] for each in found) == 5_486
    assert [each["era"].rpartition(", ")[2] for each in found] == ["spot", "twap30", "twap60"]
    assert {each["verdict"] for each in found} == {"refuted"}
    (few, *_) = pairs.judge("touches", rounds[:50], Decimal("0.29"), ERAS)
    assert few["verdict"] == "not decidable"
    told = LAYOUTS["pair_rounds"].read(corpus / "series2/smallyunet_paper_pair_rounds_202608.csv")
    assert {each["verdict"] for each in pairs.judge("paper", told, Decimal("0.29"), ERAS)} == {"not decidable"}
