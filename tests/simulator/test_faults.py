"""Each fault does what it says to what passes by, and nothing else."""

from __future__ import annotations

import json

import pytest

from polymirror.errors import ConfigError
from polymirror.simulator import FAULTS, Exchange, ExchangeConfig, FaultLine, FlowConfig, Plan, Session, make_faults
from polymirror.simulator.frames import Answer, Call, Close, Frame, Item, Reset
from tests.simulator.naive import NaiveClient

FLOW = FlowConfig(rate=50.0, trade_share=0.05, volatility=0.02)
BOOK_CALL = Call("GET", "/book", {"token_id": "1"})


def arrive(
    fault_id: str, plan: Plan | None, seconds: float = 20, seed: int = 1
) -> tuple[list[Item], list[Item], FaultLine, Exchange]:
    """What the venue sent, and what arrived through one fault."""
    exchange = Exchange(ExchangeConfig(seed=seed, flow=FLOW))
    line = FaultLine(make_faults([fault_id], plan=plan, seed=seed))
    link, session = line.open_link(), Session(exchange)
    text = json.dumps({"assets_ids": exchange.tokens, "type": "market"})
    sent = session.receive(text, exchange.now_ms)
    arrived = line.outgoing(link, list(sent), exchange.now_ms)
    end = exchange.now_ms + int(seconds * 1000)
    while True:
        times = [at for at in (exchange.next_event_ms(), line.next_ms(link)) if at is not None]
        if min(times) > end:
            return sent, arrived, line, exchange
        items = session.outgoing(exchange.step(min(times)))
        sent += items
        arrived += line.outgoing(link, items, min(times))


def frames(items: list[Item], *kinds: str) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame) and (not kinds or item.kind in kinds)]


def client_of(items: list[Item]) -> NaiveClient:
    client = NaiveClient()
    for frame in frames(items):
        client.feed(frame.text)
    client.finish()
    return client


@pytest.mark.parametrize("fault_id", sorted(FAULTS))
def test_every_fault_has_a_docstring_and_a_share_and_is_silent_outside_its_time(fault_id: str) -> None:
    kind = FAULTS[fault_id]
    assert kind.__doc__
    assert kind.id == fault_id
    assert 0 < kind.default_share <= 1
    sent, arrived, line, _ = arrive(fault_id, Plan(end_ms=0), seconds=3)
    assert arrived == sent
    assert line.injected == {fault_id: 0}
    assert line.answer(BOOK_CALL, Answer(200, "{}"), 5) == Answer(200, "{}")


@pytest.mark.parametrize("fault_id", sorted(FAULTS))
def test_the_same_seed_gives_the_same_faults(fault_id: str) -> None:
    assert arrive(fault_id, None, seconds=5)[1] == arrive(fault_id, None, seconds=5)[1]


def test_an_unknown_fault_is_refused_with_the_list_of_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="lost_delta"):
        make_faults(["meteor"])
    with pytest.raises(ConfigError):
        Plan(share=2)


def test_a_lost_delta_is_missing_and_the_hash_shows_it() -> None:
    sent, arrived, line, _ = arrive("lost_delta", Plan(share=0.05))
    lost = len(frames(sent)) - len(frames(arrived))
    assert lost == line.injected["lost_delta"] > 10
    seen = client_of(arrived).seen
    assert seen["hash_right"] < 0.9 * seen["hash"]


def test_duplicated_deltas_come_twice_within_120_ms() -> None:
    sent, arrived, line, _ = arrive("duplicated_delta", Plan(share=0.1))
    assert len(frames(arrived)) - len(frames(sent)) == pytest.approx(line.injected["duplicated_delta"], abs=3)
    assert sorted({f.text for f in frames(arrived)}) == sorted({f.text for f in frames(sent)})


def test_reordered_deltas_all_arrive_in_another_order() -> None:
    sent, arrived, line, _ = arrive("reordered_deltas", Plan(share=0.1))
    assert line.injected["reordered_deltas"] > 20
    assert [f.text for f in frames(arrived)] != [f.text for f in frames(sent)]
    assert len({f.text for f in frames(sent)} - {f.text for f in frames(arrived)}) <= 1


def test_a_frozen_token_hears_nothing_while_its_complement_lives_on() -> None:
    _, arrived, line, exchange = arrive("frozen_token", Plan(share=1.0, length_ms=10**9))
    assert line.injected == {"frozen_token": 1}
    heard = {
        token: sum(token in frame.text for frame in frames(arrived, "price_change", "book"))
        for token in exchange.tokens
    }
    assert min(heard.values()) == 0
    assert max(heard.values()) > 100


def test_only_the_planned_token_freezes() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FLOW))
    token = exchange.tokens[1]
    _, arrived, _, _ = arrive("frozen_token", Plan(share=1.0, length_ms=10**9, tokens=frozenset({token})))
    assert not any(token in frame.text for frame in frames(arrived, "price_change", "book"))


def test_a_silent_socket_still_answers_pings() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FLOW))
    line = FaultLine(make_faults(["silent_socket"], plan=Plan(length_ms=1_000)))
    link, session = line.open_link(), Session(exchange)
    session.receive(json.dumps({"assets_ids": exchange.tokens, "type": "market"}), 0)
    now = exchange.now_ms + 900
    assert line.outgoing(link, session.outgoing(exchange.step(now)), now) == []
    assert [f.text for f in frames(line.outgoing(link, session.receive("PING", now), now))] == ["PONG"]


def test_a_disconnect_resets_the_connection_and_nothing_follows() -> None:
    _, arrived, line, _ = arrive("disconnect", Plan(share=0.01))
    assert isinstance(arrived[-1], Reset)
    assert line.injected == {"disconnect": 1}
    assert not any(isinstance(item, Reset) for item in arrived[:-1])


def test_nothing_arrives_after_a_closing() -> None:
    line = FaultLine()
    link = line.open_link()
    frame = Frame("x", "book")
    assert line.outgoing(link, [frame, Close(1000, "over"), frame], 0) == [frame, Close(1000, "over")]
    assert line.outgoing(link, [frame], 0) == []
    assert line.next_ms(link) is None


def test_a_lost_opening_takes_the_snapshot_alone() -> None:
    sent, arrived, _, _ = arrive("lost_opening", Plan(share=1.0), seconds=2)
    assert not frames(arrived, "opening")
    assert len(arrived) == len(sent) - 1


def test_garbage_comes_on_top_of_the_frames() -> None:
    sent, arrived, line, _ = arrive("garbage_frame", Plan(share=0.2))
    assert len(arrived) - len(sent) == line.injected["garbage_frame"] > 50
    texts = [f.text for f in frames(arrived)]
    remaining = iter(texts)
    assert all(frame.text in remaining for frame in frames(sent))


def test_wrong_hashes_last_for_their_time() -> None:
    _, arrived, line, _ = arrive("wrong_hash", Plan(share=0.01, length_ms=1_000))
    seen = client_of(arrived).seen
    assert line.injected["wrong_hash"] > 2
    assert seen["top_right"] == seen["top"]
    assert seen["hash_right"] < 0.95 * seen["hash"]


def test_a_late_trade_price_is_announced_after_its_delay() -> None:
    sent, arrived, _, _ = arrive("late_trade_price", Plan(share=1.0, length_ms=500))
    kinds = [f.kind for f in frames(arrived)]
    assert kinds.count("last_trade_price") >= [f.kind for f in frames(sent)].count("last_trade_price") - 3 > 0
    assert [f for f in arrived if f not in frames(sent, "last_trade_price")] == [
        f for f in sent if f not in frames(sent, "last_trade_price")
    ]


def test_crossed_messages_heal_without_a_trace() -> None:
    sent, arrived, line, exchange = arrive("crossed_messages", Plan(share=0.5))
    assert line.injected["crossed_messages"] > 20
    client = client_of(arrived)
    assert len(arrived) == pytest.approx(len(sent), abs=5)
    assert client.seen["top_right"] < client.seen["top"]
    # Nothing was lost: once the last removal is let go, the naive book is the true one.
    recent = exchange.now_ms - 1_000
    assert all(exchange.was_true(t, *client.books[t].levels(), recent) for t in exchange.tokens)


def test_rest_faults_replace_answers_about_books_only() -> None:
    answers = set()
    line = FaultLine(make_faults(["rest_503"], plan=Plan()))
    for _ in range(20):
        answers.add(line.answer(BOOK_CALL, Answer(200, "{}"), 0))
    assert {answer.status for answer in answers} == {503}
    assert {answer.content_type for answer in answers} == {"application/json", "text/html"}
    line = FaultLine(make_faults(["rest_429"], plan=Plan()))
    answers = {line.answer(Call("POST", "/books", {}), Answer(200, "[]"), 0) for _ in range(20)}
    assert {answer.status for answer in answers} == {429}
    assert {answer.headers for answer in answers} == {(), (("Retry-After", "1"),)}
    assert line.answer(Call("GET", "/time", {}), Answer(200, "1"), 0).status == 200


def test_faults_can_be_combined_and_are_counted_by_id() -> None:
    exchange = Exchange(ExchangeConfig(seed=1, flow=FLOW))
    line = FaultLine(make_faults(FAULTS, seed=3))
    links = [line.open_link() for _ in range(3)]
    for _ in range(200):
        now = exchange.now_ms + 100
        sent = exchange.step(now)
        for link in links:
            line.outgoing(link, list(sent), now)
            assert sum(map(len, link.held.values())) < 500
    assert set(line.injected) == set(FAULTS)
    assert len({link.number for link in links}) == 3
    assert sum(line.injected.values()) > 10
