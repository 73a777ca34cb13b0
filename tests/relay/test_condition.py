"""What goes wrong with a relay is told, and what the wire cannot carry is in the way of nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from polymirror.core.fees import FeeSchedule
from polymirror.relay import publisher
from polymirror.relay.condition import Odd, condition_of
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.remote import RemoteMirror
from polymirror.relay.wire import Ask, Book, Frame, Item, Markets, decode
from polymirror.venue.windows import Interval, window_at
from tests.bots.rounds_rig import market_of
from tests.relay.rig import ASKS, BIDS, UP, Stub, connected

MARKET = market_of(window_at("btc", Interval.FIVE_MINUTES, 1_790_000_100))


def sent(stub: Stub, ask: Ask) -> list[Item]:
    """What a consumer is sent, as it reads it."""
    relay = Publisher(stub, "run", SteadyClock(stub.now))
    consumer = relay.join("json")
    relay.asked(consumer, ask)
    items: list[Item] = []
    while consumer.waits:
        items += decode(Frame, relay.frame(consumer), "json").items
    return items


def test_what_goes_wrong_is_counted_and_told_once_each_time() -> None:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    wire = connected(stub, UP)
    odd, told = Odd(), list[tuple[str, str]]()

    def tell() -> list[tuple[str, str]]:
        told.clear()
        odd.tell(wire.link, lambda kind, detail: told.append((kind, detail)))
        return told

    assert tell() == []
    wire.link.received(b"{", 0.1)
    wire.link.received(b"{", 0.1)
    assert tell() == [("relay malformed", "relay: malformed, 2 so far")]
    assert tell() == []
    wire.link.closed("cut off")
    assert tell() == [("relay lost connections", "relay: lost connections, 1 so far: cut off")]
    wire.link.closed("still not there")
    assert tell() == []


def test_a_condition_says_how_a_relay_is_doing() -> None:
    stub = Stub()
    stub.set(UP, BIDS, ASKS)
    wire = connected(stub, UP)
    found = condition_of(wire.link, 0.1)
    assert (found.name, found.run, found.is_open, found.trouble, found.counts) == ("relay", "run 1", True, "", {})
    assert found.width is not None
    wire.link.closed("cut off")
    found = condition_of(wire.link, 0.1)
    assert (found.is_open, found.trouble, found.counts) == (False, "cut off", {"lost connections": 1})


def test_a_remote_mirror_shows_its_relays() -> None:
    (one, two) = RemoteMirror("http://127.0.0.1:1", "http://127.0.0.1:2").relays
    assert (one.name, two.name) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert (one.is_open, one.trouble, one.width) == (False, "not connected yet", None)


@pytest.mark.parametrize("odd", ["", "0x" + "a" * 200])
def test_a_market_that_the_wire_cannot_carry_is_left_out_and_counted(odd: str) -> None:
    stub = Stub()
    stub.markets = (evolve(MARKET, condition_id=odd), MARKET)
    (item,) = sent(stub, Ask(list=True))
    assert isinstance(item, Markets)
    assert [each.slug for each in item.markets] == [MARKET.slug]
    assert item.left_out == 1


def test_a_list_that_is_too_long_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub()
    stub.markets = tuple(evolve(MARKET, slug=f"{MARKET.slug}-{number}") for number in range(50))
    monkeypatch.setattr(publisher, "MAX_LIST", 3_000)
    (item,) = sent(stub, Ask(list=True))
    assert isinstance(item, Markets)
    assert 2 < len(item.markets) < 25
    assert item.left_out == 50 - len(item.markets)
    link, odd, told = Link("relay", "json"), Odd(), list[str]()
    link.opened(0.0)
    link.take(Frame(relay="run", sent=0.0, items=[item]), 0.0)
    odd.tell(link, lambda _, detail: told.append(detail))
    assert told == [f"relay: markets left out, {item.left_out} so far"]


@pytest.mark.parametrize(
    "fee", [FeeSchedule(Decimal("0." + "1" * 300), 1), FeeSchedule(Decimal(0), -1), FeeSchedule(Decimal(0), 2**60)]
)
def test_fees_that_the_wire_cannot_carry_are_not_known(fee: FeeSchedule) -> None:
    stub = Stub()
    stub.set(UP, BIDS, ASKS, fee=fee)
    (item,) = sent(stub, Ask(want=[UP]))
    assert isinstance(item, Book)
    assert item.fee is None
