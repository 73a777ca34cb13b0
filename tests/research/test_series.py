"""Series mode: the bot's own decision on recorded prices, from when they were received, and nothing from the future."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import evolve

from bots.oracle_lag.signal import SignalSettings, decide
from bots.research.fills import FillModel
from bots.research.series import Meter, Play, play
from bots.updown.oracles.ticks import TickKind
from bots.updown.strike import Strike, StrikeSource
from bots.updown.volatility import Volatility
from tests.research.builders import START_MS, quotes, ticks, window

if TYPE_CHECKING:
    from bots.research.trades import Trade

MOVED = ticks((0, "50000"), (10, "50000"), (20, "50100"), (30, "50100"))
BOOK = quotes((1, "0.50"), (15, "0.52"), (22, "0.58"), (40, "0.70"))


def only(*, oracle: object = MOVED, up: object = BOOK, **more: object) -> Trade:
    (found,) = play([window(oracle, up)], Play(**more)).trades  # type: ignore[arg-type]
    return found


def test_it_buys_what_the_bots_own_functions_say_at_the_next_price() -> None:
    bought = only(fills=FillModel(limit="highest"))
    signal = decide(
        evolve(SignalSettings(), price="spot"),
        Decimal(50_100),
        Strike(Decimal(50_000), StrikeSource.OFFICIAL),
        START_MS + 21_000,
        START_MS,
        START_MS + 900_000,
    )
    assert (bought.decided_ms, bought.up, bought.fair) == (START_MS + 21_000, True, signal.fair)  # type: ignore[union-attr]
    assert (bought.quoted, bought.price, bought.filled_ms) == (Decimal("0.52"), Decimal("0.58"), START_MS + 22_000)


def test_a_tick_is_acted_on_when_it_was_received() -> None:
    late = ticks((0, "50000"), (10, "50000"), (20, "50100"), (30, "50100"), lag_ms=1_500)
    assert only(oracle=late, fills=FillModel(limit="highest")).decided_ms == START_MS + 21_500
    assert only(oracle=late, fills=FillModel(limit="highest"), own_time=True).decided_ms == START_MS + 20_000
    slower = quotes((1, "0.50"), (15, "0.52"), (23, "0.58"))
    later = only(oracle=late, up=slower, fills=FillModel(limit="highest"), oracle_later_ms=500)
    assert later.decided_ms == START_MS + 22_000


def test_at_its_own_limit_an_order_does_not_run_after_the_price() -> None:
    found = play([window(MOVED, BOOK)], Play(fills=FillModel(limit="ordered")))
    assert found.trades == ()
    assert found.counts["order: above the limit"] == 1


def test_after_an_order_that_traded_nothing_it_pauses_and_after_a_purchase_it_is_done() -> None:
    oracle = ticks(*((each, "50100") for each in range(0, 200, 10)))
    falling = quotes((1, "0.50"), (30, "0.55"), (100, "0.50"), (150, "0.50"))
    bought = play([window(oracle, falling)], Play(fills=FillModel(limit="ordered")))
    assert bought.counts["cooldown"] > 0
    assert [each.decided_ms - START_MS for each in bought.trades] == [61_000]


def test_an_old_price_is_no_price_to_decide_on() -> None:
    found = play([window(MOVED, BOOK)], Play(max_quote_age_ms=1_000))
    assert found.trades == ()
    assert found.counts["price too old"] > 0


def test_a_side_that_was_not_recorded_is_bought_only_where_that_is_allowed() -> None:
    fell = ticks((0, "50000"), (20, "49900"))
    up = quotes((1, "0.50"), (30, "0.50"))
    assert len(play([window(fell, up)], Play(fills=FillModel(limit="highest"))).trades) == 1
    assert play([window(fell, up)], Play(fills=FillModel(limit="highest"), derived=False)).counts["no price"] == 1


def test_without_an_outcome_nothing_is_counted_as_bought() -> None:
    assert play([window(MOVED, BOOK, won=None)], Play()).trades == ()


def test_profit_is_exact_and_after_the_fee() -> None:
    bought = only(fills=FillModel(limit="highest"))
    assert bought.net == bought.shares - bought.money - bought.fee
    assert evolve(bought, won=False).net == -bought.money - bought.fee


def test_the_estimator_hears_each_minute_once_whichever_window_brings_it() -> None:
    oracle = ticks(*((each, str(50_000 + each % 7)) for each in range(-3_600, 900, 10)))
    whole = window(oracle, BOOK)
    again = evolve(whole, start_ms=START_MS + 300_000)
    meter, alone = Meter(Volatility("btc", TickKind.SPOT)), Meter(Volatility("btc", TickKind.SPOT))
    list(meter.hear(whole.oracle, whole))
    told = meter.volatility.measured
    list(meter.hear(again.oracle, again))
    assert meter.volatility.measured == told
    list(alone.hear(again.oracle, again))
    assert alone.volatility.measured == told


def test_a_copied_estimator_hears_for_itself() -> None:
    """The look-ahead test goes on from a copy that was made before the window."""
    oracle = ticks(*((each, str(50_000 + each % 7)) for each in range(-3_600, 900, 10)))
    first = evolve(window(oracle, BOOK), end_ms=START_MS + 300_000)
    rest = evolve(first, start_ms=first.end_ms, end_ms=START_MS + 900_000)
    meter = Meter(Volatility("btc", TickKind.SPOT))
    list(meter.hear(first.oracle, first))
    before, known = meter.copy(), meter.volatility.measured
    list(meter.hear(rest.oracle, rest))
    assert meter.volatility.measured != known
    assert before.volatility.measured == known
    list(before.hear(rest.oracle, rest))
    assert before.volatility.measured == meter.volatility.measured
