"""A view in other shapes: plain objects for JSON, and tables for pandas and polars."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
import polars as pl
import pytest
from msgspec.structs import replace

from polymirror.core.fees import FeeSchedule
from polymirror.core.frames import PRICE, make_frame
from polymirror.errors import ConfigError, MissingExtra
from tests.core.builders import Exchange, Rig

if TYPE_CHECKING:
    from polymirror.core.view import BookView


@pytest.fixture
def view() -> BookView:
    rig = Rig.live(Exchange(bids=(("0.40", "10"), ("0.48", "100.25")), asks=(("0.52", "0.000001"),)))
    return replace(rig.live_view("11"), read_at=2.0, proven_at=1.75)


# ---- Plain objects -------------------------------------------------------------------------------------


def test_a_view_as_plain_objects_has_this_shape_in_this_order(view):
    plain = replace(view, fee=FeeSchedule(Decimal("0.07"), 1)).to_dict()
    assert list(plain.items()) == [
        ("token", "11"),
        ("market", "0xm"),
        ("state", "LIVE"),
        ("reason", "PROVEN"),
        ("epoch", view.epoch),
        ("doubts", view.doubts),
        ("settled", True),
        ("exchange_ms", view.exchange_ms),
        ("verified_age_seconds", 0.25),
        ("apply_lag_seconds", view.apply_lag),
        ("clock_uncertainty_seconds", view.clock_uncertainty),
        ("proof", view.last_proof.kind.value),
        ("tick_size", "0.01"),
        ("fee", {"rate": "0.07", "exponent": 1, "taker_only": True, "rebate_rate": "0"}),
        ("bids", [{"price": "0.48", "size": "100.25"}, {"price": "0.4", "size": "10"}]),
        ("asks", [{"price": "0.52", "size": "0.000001"}]),
    ]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_what_is_not_known_is_none_and_json_takes_that_too():
    plain = Rig(Exchange()).engine.peek("11", 1000.0).to_dict()
    names = ("verified_age_seconds", "apply_lag_seconds", "clock_uncertainty_seconds", "proof", "tick_size", "fee")
    assert [plain[name] for name in names] == [None] * len(names)
    assert (plain["state"], plain["reason"], plain["bids"]) == ("UNPRIMED", "TRACKED", [])
    json.dumps(plain, allow_nan=False)
    assert replace(Rig(Exchange()).engine.peek("11", 1000.0), reason=None).to_dict()["reason"] is None


def test_plain_objects_can_be_cut_to_the_best_levels(view):
    plain = view.to_dict(levels=1)
    assert (plain["bids"], len(plain["asks"])) == ([{"price": "0.48", "size": "100.25"}], 1)
    with pytest.raises(ConfigError, match="levels=0 is not allowed: it must be a whole number of at least 1"):
        view.to_dict(levels=0)


# ---- Tables --------------------------------------------------------------------------------------------

ROWS = [
    ("bid", Decimal("0.48"), Decimal("100.25")),
    ("bid", Decimal("0.4"), Decimal(10)),
    ("ask", Decimal("0.52"), Decimal("0.000001")),
]


def test_a_pandas_frame_is_exact(view):
    frame = view.to_frame()
    assert list(frame.columns) == ["side", "price", "size"]
    assert list(frame.itertuples(index=False, name=None)) == ROWS
    assert frame["size"].sum() == Decimal("110.250001")


def test_a_polars_frame_is_exact(view):
    frame = view.to_frame("polars")
    assert frame.schema == {"side": pl.String, "price": pl.Decimal(38, 4), "size": pl.Decimal(38, 6)}
    assert frame.rows() == ROWS


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_floats_come_only_when_they_are_asked_for(view, library):
    frame = view.to_frame(library, floats=True)
    assert [str(frame[name].dtype).lower() for name in ("price", "size")] == ["float64", "float64"]
    assert frame["size"].sum() == pytest.approx(110.250001)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("floats", [False, True])
def test_an_empty_book_is_a_frame_with_the_same_columns(library, floats):
    frame = Rig(Exchange()).engine.peek("11", 1000.0).to_frame(library, floats=floats)
    assert (list(frame.columns), len(frame)) == (["side", "price", "size"], 0)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("floats", [False, True])
def test_what_is_not_there_is_missing_in_a_frame(library, floats):
    frame = make_frame(library, {"bid": [None, 4800]}, {"bid": PRICE}, floats=floats)
    missing = frame["bid"].is_null() if isinstance(frame, pl.DataFrame) else pd.isna(frame["bid"])
    assert list(missing) == [True, False]


@pytest.mark.parametrize("library", ["numpy", "", None])
def test_a_library_that_is_none_is_refused(view, library):
    with pytest.raises(ConfigError, match=r"library=.* is not allowed: it must be 'pandas' or 'polars'"):
        view.to_frame(library)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_not_installed_is_named_with_what_installs_it(view, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"a {library} frame needs an extra: pip install 'polymirror\[frames\]'"):
        view.to_frame(library)
