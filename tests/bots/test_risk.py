"""Risk: each limit refuses, what is open counts as lost, and everything survives a restart."""

from __future__ import annotations

import asyncio
import os
import signal
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bots.common.risk.groups import Entry, Group, Leg
from bots.common.risk.limits import DAY_MS, MAX_REMEMBERED, Risk, RiskLimits, RiskReason
from bots.common.risk.switch import KillFile, stop_on_signal
from polymirror.errors import ConfigError
from tests.bots.execution_rig import START_MS, d

NOON = START_MS // DAY_MS * DAY_MS + DAY_MS // 2
LIMITS = RiskLimits(
    max_trade=d(25), max_market=d(40), max_positions=3, max_daily_loss=d(60), max_losses_in_a_row=2,
    pause_ms=600_000, cooldown_ms=1_000,
)  # fmt: skip


class Alone(Risk):
    """With orders that belong to no group, and of which only the money is known."""

    def enter(self, now_ms, *, client_id, market, asset, money):
        leg = Leg(client_id=client_id, market=market, asset=asset, money=money)
        return self.enter_group(now_ms, Group(group_id="", legs=(leg,)))

    def adopt(self, now_ms, *, client_id, market, asset, money, filled=True):
        self.hold(now_ms, Entry(client_id=client_id, market=market, asset=asset, money=money, filled=filled))


def risk_with(*entries: str, limits: RiskLimits = LIMITS) -> Alone:
    """Enter markets named so, each with 10 pUSD on an asset of the same name, a minute before noon."""
    risk = Alone(limits)
    for name in entries:
        assert risk.enter(NOON - 60_000, client_id=name, market=name, asset=name, money=d(10)) is None
    return risk


def asked(
    risk: Alone, now_ms: int = NOON, market: str = "m", asset: str = "btc", money: str = "10"
) -> RiskReason | None:
    refusal = risk.allow(now_ms, market=market, asset=asset, money=d(money))
    return None if refusal is None else refusal.reason


def lose(risk: Alone, name: str, loss: str, now_ms: int = NOON) -> None:
    risk.adopt(now_ms - 5_000, client_id=name, market=name, asset=name, money=d(loss))
    risk.closed(now_ms, name, -d(loss))


def test_a_trade_within_all_limits_is_allowed():
    assert asked(risk_with("a", "b")) is None


@pytest.mark.parametrize("money", ["25.01", "0", "-1", "NaN", "Infinity"])
def test_one_order_may_cost_so_much_and_no_more(money):
    assert asked(risk_with(), money="25") is None
    assert asked(risk_with(), money=money) is RiskReason.TRADE


def test_orders_in_one_market_may_cost_so_much_together():
    risk = risk_with("a", limits=evolve(LIMITS, second_entry=True, max_market=d(30)))
    assert asked(risk, market="a", money="20") is None
    assert asked(risk, market="a", money="20.01") is RiskReason.MARKET
    assert asked(risk, market="b", money="20.01") is None


def test_so_many_markets_may_be_open():
    risk = risk_with("a", "b", "c", limits=evolve(LIMITS, second_entry=True))
    assert asked(risk) is RiskReason.POSITIONS
    assert asked(risk, market="a") is None
    risk.filled("b", d(10))
    risk.closed(NOON, "b", d(1))
    assert asked(risk) is None


def test_everything_open_counts_as_lost_on_the_day():
    risk = risk_with("a", "b")
    lose(risk, "c", "25")
    assert asked(risk, money="15") is None
    assert asked(risk, money="15.01") is RiskReason.DAILY_LOSS
    risk.filled("a", d(8))
    assert asked(risk, money="17") is None


def test_what_was_won_today_does_not_widen_the_daily_limit():
    risk = risk_with("a", "b")
    risk.closed(NOON, "c", d(500))
    risk.adopt(NOON - 60_000, client_id="d", market="d", asset="d", money=d(25))
    assert risk.profit_today(NOON) == 500
    assert asked(risk_with("a", "b"), money="25") is None
    assert asked(evolved(risk, max_positions=9), money="15.01") is RiskReason.DAILY_LOSS


def evolved(risk: Alone, **changes) -> Alone:
    risk.limits = evolve(risk.limits, **changes)
    return risk


def test_losses_are_forgiven_at_midnight_but_open_money_is_not():
    risk = risk_with("a")
    lose(risk, "c", "45")
    assert asked(risk) is RiskReason.DAILY_LOSS
    assert asked(risk, NOON + DAY_MS) is None
    assert risk.profit_today(NOON + DAY_MS) == 0
    assert (
        asked(evolved(risk, max_trade=d(60), max_market=d(60)), NOON + DAY_MS, money="50.01") is RiskReason.DAILY_LOSS
    )


def test_a_clock_that_goes_back_forgives_nothing():
    risk = risk_with()
    lose(risk, "c", "55")
    assert asked(risk, NOON - DAY_MS) is RiskReason.DAILY_LOSS
    risk.closed(NOON - DAY_MS, "d", d(-1))
    assert risk.profit_today(NOON) == -56


def test_losses_in_a_row_pause_trading_and_a_win_between_does_not():
    risk = risk_with()
    lose(risk, "a", "1")
    risk.closed(NOON, "b", d(1))
    lose(risk, "c", "1")
    assert asked(risk) is None
    lose(risk, "d", "1")
    assert asked(risk) is RiskReason.PAUSED
    assert asked(risk, NOON + 599_999) is RiskReason.PAUSED
    assert asked(risk, NOON + 600_000) is None


def test_a_position_that_ends_even_changes_no_streak():
    risk = risk_with()
    lose(risk, "a", "1")
    risk.closed(NOON, "b", d(0))
    lose(risk, "c", "1")
    assert asked(risk) is RiskReason.PAUSED


def test_an_asset_is_left_alone_for_the_cooldown():
    risk = risk_with()
    assert risk.enter(NOON, client_id="1", market="a", asset="btc", money=d(5)) is None
    risk.dropped("1")
    assert asked(risk, NOON + 999) is RiskReason.COOLDOWN
    assert asked(risk, NOON + 999, asset="eth") is None
    assert asked(risk, NOON + 1_000) is None


def test_a_market_is_entered_once():
    risk = risk_with("a")
    risk.filled("a", d(10))
    assert asked(risk, market="a") is RiskReason.SECOND_ENTRY
    risk.closed(NOON, "a", d(3))
    assert asked(risk, market="a") is RiskReason.SECOND_ENTRY


def test_an_order_that_bought_nothing_was_no_entry():
    risk = risk_with("a")
    risk.dropped("a")
    assert asked(risk, market="a") is None
    assert risk.open_money == 0


def test_an_undecided_order_stays_reserved_when_its_market_settles():
    risk = risk_with("a")
    risk.closed(NOON, "a", d(0))
    assert [entry.client_id for entry in risk.entries] == ["a"]
    risk.filled("a", d(9))
    risk.closed(NOON, "a", d(-9))
    assert risk.entries == ()


def test_a_refused_order_reserves_nothing():
    risk = risk_with()
    assert risk.enter(NOON, client_id="1", market="a", asset="btc", money=d(26)) is not None
    assert (risk.entries, risk.open_money) == ((), 0)
    assert asked(risk, market="a") is None


def test_being_told_of_unknown_orders_changes_nothing():
    risk = risk_with("a")
    before = risk.entries
    risk.filled("zz", d(1))
    risk.dropped("zz")
    assert risk.entries == before


def test_what_is_remembered_of_markets_is_bounded():
    risk = Alone(LIMITS)
    for number in range(MAX_REMEMBERED + 5):
        risk.adopt(number, client_id="1", market=f"m{number}", asset="btc", money=d(1))
    assert asked(risk, market="m5") is RiskReason.SECOND_ENTRY
    assert asked(risk, market="m4") is None


# The kill switch.


def test_a_stop_holds_until_it_is_taken_back_and_its_first_reason_is_kept():
    risk = risk_with()
    risk.stop("signal SIGUSR1")
    risk.stop("later")
    assert asked(risk) is RiskReason.STOPPED
    assert risk.stopped == "signal SIGUSR1"
    risk.resume()
    assert risk.stopped is None
    assert asked(risk) is None


def test_a_file_stops_trading_while_it_exists(tmp_path):
    file = tmp_path / "STOP"
    risk = Alone(LIMITS, KillFile(file))
    assert asked(risk) is None
    file.touch()
    assert asked(risk) is RiskReason.STOPPED
    assert risk.stopped == "the file STOP exists"
    risk.resume()
    assert asked(risk) is RiskReason.STOPPED
    file.unlink()
    assert asked(risk) is None


def test_a_link_to_nothing_stops_trading(tmp_path):
    file = tmp_path / "STOP"
    file.symlink_to(tmp_path / "nothing")
    assert KillFile(file)() == "the file STOP exists"


def test_a_kill_file_that_cannot_be_looked_for_counts_as_there(tmp_path):
    class Unreachable:
        name = "STOP"

        def lstat(self) -> None:
            raise PermissionError(13, "Permission denied")

    assert KillFile(Unreachable())() == "cannot look for the file STOP: Permission denied"


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this platform has no SIGUSR1")
def test_a_signal_stops_trading():
    risk = risk_with()

    async def main() -> None:
        before = signal.getsignal(signal.SIGUSR1)
        with stop_on_signal(asyncio.get_running_loop(), risk.stop) as works:
            assert works
            os.kill(os.getpid(), signal.SIGUSR1)
            while risk.stopped is None:  # noqa: ASYNC110 - a signal wakes nobody
                await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGUSR1) == before

    asyncio.run(asyncio.wait_for(main(), 10))
    assert asked(risk) is RiskReason.STOPPED


def test_a_platform_without_the_signal_is_told_and_goes_on(caplog):
    async def main() -> None:
        with stop_on_signal(asyncio.get_running_loop(), lambda _: None, "SIGNOSUCH") as works:
            assert not works

    asyncio.run(main())
    assert "delivers no SIGNOSUCH" in caplog.text


@pytest.mark.parametrize(
    ("field", "value"), [("max_trade", d(0)), ("max_daily_loss", 100.0), ("max_positions", 0), ("cooldown_ms", -1)]
)
def test_a_limit_out_of_range_is_named(field, value):
    with pytest.raises(ConfigError, match=field):
        RiskLimits(**{field: value})


class Days(RuleBasedStateMachine):
    """Any sequence of orders, fills, losses, wins and midnights."""

    @initialize(daily=st.integers(1, 200), trade=st.integers(1, 60), second=st.booleans(), positions=st.integers(1, 4))
    def begin(self, daily, trade, second, positions):
        self.limits = RiskLimits(
            max_trade=Decimal(trade), max_market=Decimal(trade) * 2, max_positions=positions,
            max_daily_loss=Decimal(daily), max_losses_in_a_row=3, pause_ms=1_000, cooldown_ms=0, second_entry=second,
        )  # fmt: skip
        self.risk = Alone(self.limits)
        self.now = NOON
        self.count = 0
        # Our own books: what each open order or position can still lose, and what each day really brought.
        self.open: dict[str, tuple[str, Decimal, bool]] = {}
        self.days: dict[int, Decimal] = {}

    @rule(market=st.sampled_from("abcdef"), cents=st.integers(1, 7_000))
    def order(self, market, cents):
        money = Decimal(cents).scaleb(-2)
        self.count += 1
        refusal = self.risk.enter(self.now, client_id=f"{self.count}", market=market, asset="btc", money=money)
        if refusal is None:
            assert money <= self.limits.max_trade
            self.open[f"{self.count}"] = (market, money, False)

    @precondition(lambda self: any(not filled for *_, filled in self.open.values()))
    @rule(data=st.data())
    def decide(self, data):
        name = data.draw(st.sampled_from([key for key, entry in self.open.items() if not entry[2]]))
        market, money, _ = self.open[name]
        part = Decimal(data.draw(st.integers(0, 100))).scaleb(-2)
        if part:
            self.open[name] = (market, money * part, True)
            self.risk.filled(name, money * part)
        else:
            del self.open[name]
            self.risk.dropped(name)

    @precondition(lambda self: any(filled for *_, filled in self.open.values()))
    @rule(data=st.data(), won=st.integers(0, 300))
    def settle(self, data, won):
        market = data.draw(st.sampled_from(sorted({entry[0] for entry in self.open.values() if entry[2]})))
        ended = [key for key, entry in self.open.items() if entry[0] == market and entry[2]]
        cost = sum((self.open.pop(key)[1] for key in ended), Decimal(0))
        profit = cost * (Decimal(won) - 100) / 100
        self.days[self.now // DAY_MS] = self.days.get(self.now // DAY_MS, Decimal(0)) + profit
        self.risk.closed(self.now, market, profit)

    @rule(hours=st.integers(0, 30))
    def wait(self, hours):
        self.now += hours * 3_600_000

    @invariant()
    def no_day_can_lose_more_than_its_limit_even_if_all_is_lost(self):
        at_risk = sum((money for _, money, _ in self.open.values()), Decimal(0))
        today = self.days.get(self.now // DAY_MS, Decimal(0))
        assert min(today, Decimal(0)) - at_risk >= -self.limits.max_daily_loss
        assert all(profit >= -self.limits.max_daily_loss for profit in self.days.values())

    @invariant()
    def the_books_agree(self):
        assert self.risk.open_money == sum((money for _, money, _ in self.open.values()), Decimal(0))
        assert self.risk.profit_today(self.now) == self.days.get(self.now // DAY_MS, Decimal(0))
        assert len({entry[0] for entry in self.open.values()}) <= self.limits.max_positions

    @invariant()
    def no_market_holds_more_than_its_limit(self):
        for market in "abcdef":
            held = sum((money for where, money, _ in self.open.values() if where == market), Decimal(0))
            assert held <= self.limits.max_market


TestDays = Days.TestCase
TestDays.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
