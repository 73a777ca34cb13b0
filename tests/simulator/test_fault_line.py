"""The line that carries faults: cheap, independent, counted, and always the same for the same seed."""

from __future__ import annotations

from polymirror.simulator import FAULTS, Exchange, Fault, FaultLine, Plan, make_faults
from polymirror.simulator.faults.base import MAX_HELD, Link
from polymirror.simulator.frames import Close, Frame, Item
from tests.simulator.fault_rig import Rig, frames, rig


class Marking(Fault):
    """Puts its mark on every frame."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
        return [item._replace(text=item.text + self.mark) if isinstance(item, Frame) else item for item in items]


def test_every_frame_passes_all_faults_in_their_order() -> None:
    venue = Rig(FaultLine([Marking("a"), Fault(), Marking("b")])).run(1)
    assert [f.text for f in venue.arrived if isinstance(f, Frame)] == [
        f.text + "ab" for f in venue.sent if isinstance(f, Frame)
    ]


def test_a_fault_draws_the_same_whether_others_are_there_or_not() -> None:
    plan = Plan(share=0.02)
    alone = rig("late_trade_price", plan).run(20)
    others = rig(["lost_delta", "late_trade_price", "garbage_frame"], plan).run(20)
    assert alone.line.injected["late_trade_price"] == others.line.injected["late_trade_price"] > 0
    assert others.line.injected["lost_delta"] > 5


def test_a_plan_may_be_replaced_while_the_venue_runs() -> None:
    venue = rig("lost_delta", Plan(end_ms=0)).run(2)
    assert venue.arrived == venue.sent
    fault = venue.line.faults[0]
    fault.plan = Plan(share=1.0)
    before = len(venue.sent)
    venue.run(2)
    lost = [item for item in venue.sent[before:] if item.kind == "price_change"]
    assert fault.injected == len(lost) > 20
    assert venue.arrived == [item for item in venue.sent if item not in lost]
    fault.plan = Plan(share=0.0)
    venue.run(2)
    assert fault.injected == len(lost)


def test_a_plan_about_a_token_leaves_the_other_markets_alone() -> None:
    token = Exchange(rig([]).exchange.config).tokens[0]
    venue = rig("lost_delta", Plan(share=1.0, tokens=frozenset({token}))).run(2)
    assert venue.line.injected["lost_delta"] > 10
    market = venue.exchange.market_of(token).condition_id
    assert {f.market for f in venue.sent if f not in venue.arrived and isinstance(f, Frame)} == {market}


def test_shares_are_kept_on_average() -> None:
    venue = rig("garbage_frame", Plan(share=0.1)).run(40)
    deltas = sum(item.kind == "price_change" for item in venue.sent)
    assert 0.07 < venue.line.injected["garbage_frame"] / deltas < 0.13


def test_the_faults_of_a_line_may_be_replaced_before_or_after_it_is_attached() -> None:
    venue = rig([])
    venue.line.faults = make_faults(["tick_change", "lost_delta"], plan=Plan())
    venue.run(6)
    assert all(venue.line.injected.values())
    assert set(venue.line.injected) == {"tick_change", "lost_delta"}


def test_a_fault_of_a_user_needs_no_more_than_a_method() -> None:
    class Shouting(Fault):
        id = "shouting"

        def outgoing(self, link: Link, items: list[Item], now_ms: int) -> list[Item]:
            return [item._replace(text=item.text.upper()) if isinstance(item, Frame) else item for item in items]

    venue = Rig(FaultLine([Shouting()])).run(1)
    assert [f.text for f in venue.arrived if isinstance(f, Frame)] == [
        f.text.upper() for f in venue.sent if isinstance(f, Frame)
    ]


def test_nothing_arrives_after_a_closing() -> None:
    line = FaultLine()
    link = line.open_link()
    frame = Frame("x", "book")
    assert line.outgoing(link, [frame, Close(1000, "over"), frame], 0) == [frame, Close(1000, "over")]
    assert line.outgoing(link, [frame], 0) == []
    assert line.next_ms(link) is None


def test_faults_can_be_combined_are_counted_by_id_and_hold_little() -> None:
    venue = rig(sorted(FAULTS), seed=3)
    links = [venue.line.open_link() for _ in range(3)]
    for _ in range(300):
        now = venue.now + 100
        sent = venue.exchange.step(now)
        for link in links:
            venue.line.outgoing(link, list(sent), now)
            # Seconds of one market's frames, where it lags: 760 in this run, which is the same on every machine.
            assert sum(len(spell.held) for spell in link.spells.values()) < 1_000
        venue.call("/books")
        venue.line.stall_ms(now)
        venue.line.refuses(now)
    assert set(venue.line.injected) == set(FAULTS)
    assert sum(count > 0 for count in venue.line.injected.values()) > 20
    assert venue.line.max_delay_ms == sum(fault.max_delay_ms for fault in venue.line.faults) > 10_000


def test_what_a_fault_holds_back_is_bounded() -> None:
    fault, link, frame = Fault(), Link(1), Frame("x", "price_change")
    for _ in range(MAX_HELD):
        fault.hold(link, frame, 1_000)
    assert fault.release(link, 0) == []
    fault.hold(link, frame, 1_000)
    assert len(fault.release(link, 0)) == MAX_HELD + 1
    assert link.spells == {}
    assert fault.release(link, 2_000) == fault.release_all(link) == []


def test_a_fault_that_is_ended_lets_go_of_what_lasts_and_of_what_it_held() -> None:
    venue = rig("silent_socket", Plan(share=1.0, length_ms=3_600_000)).run(2)
    (fault,) = venue.line.faults
    assert not frames(venue.arrived, "price_change")
    venue.line.end(fault, venue.now)
    before = len(venue.sent)
    venue.run(2)
    assert venue.arrived[-(len(venue.sent) - before) :] == venue.sent[before:]
    assert fault.injected == 1


def test_what_a_fault_held_back_is_due_when_it_is_ended() -> None:
    venue = rig("late_trade_price", Plan(share=1.0, length_ms=3_600_000)).run(5)
    (fault,) = venue.line.faults
    assert not frames(venue.arrived, "last_trade_price")
    venue.line.end(fault, venue.now)
    assert venue.line.next_ms(venue.link) == venue.now
    venue.run(0.1)
    assert frames(venue.arrived, "last_trade_price") == frames(venue.sent, "last_trade_price") != []


def test_a_fault_of_the_exchange_is_asked_once_however_often_the_line_changes() -> None:
    venue = rig("hash_one_change_late")
    venue.line.faults = (*venue.line.faults, *make_faults(["lost_delta"]))
    assert venue.exchange.late_hashes == [venue.line.faults[0]]
