"""When Gamma is asked, how a market ends, how it is looked at again, and how it comes back (P5)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from polymirror.core import afterlife as afterlife_module
from polymirror.core.effects import AskGamma, CloseSocket, FetchBooks, OpenSocket, Subscribe, Unsubscribe
from polymirror.core.states import BookState
from tests.core.builders import BEGIN, CONSTANTS, START, Exchange, Rig, ask, assert_right, shown, truth


@pytest.fixture
def rig(exchange):
    """Both books LIVE, and the venue's clock known."""
    rig = Rig.live(exchange)
    rig.time()
    return rig


def emptied():
    """A market whose books are empty, as after its settlement."""
    return Rig.live(Exchange(bids=(), asks=()))


def resolved(market="0xm", at=START):
    return {"event_type": "market_resolved", "market": market, "timestamp": str(at)}


# ---- Asking --------------------------------------------------------------------------------------------


def test_an_empty_book_that_rest_confirms_is_a_reason_to_ask_gamma():
    rig = emptied()
    ask(rig)
    rig.answer()
    assert rig.asked_gamma == ["0xm"]
    assert rig.state("11") is BookState.LIVE


def test_a_book_with_levels_that_rest_confirms_is_none(rig):
    ask(rig)
    rig.answer()
    assert rig.asked_gamma == []


def asked_at(rig, seconds, *, closed):
    """Let the market give reason to ask all the time; return when Gamma was asked, and answered."""
    times = []
    for _ in range(round(seconds / 0.5)):
        rig.engine.outbox.ask_gamma["0xm"] = None
        rig.engine.prove("11", rig.now)
        rig.drain()
        rig.answer()
        if rig.gamma(closed=closed):
            times.append(rig.now)
        rig.advance(0.5)
    return times


def gaps(times):
    return [round(b - a, 1) for a, b in pairwise(times)]


def test_gamma_that_says_no_is_asked_more_and_more_rarely_up_to_once_a_minute():
    assert gaps(asked_at(emptied(), 300.0, closed=False)) == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_gamma_that_cannot_tell_is_asked_every_few_seconds():
    assert gaps(asked_at(emptied(), 31.0, closed=None)) == [5.0] * 6


def test_an_answer_about_a_market_that_is_gone_says_nothing(rig):
    rig.engine.market_status("0x?", closed=True, now=rig.now)
    rig.drain()
    assert rig.transitions == []


def test_a_wish_to_ask_about_a_market_that_is_untracked_is_forgotten(rig):
    rig.engine.outbox.ask_gamma["0xm"] = None
    rig.engine.untrack("0xm", rig.now)
    rig.drain()
    assert rig.count(AskGamma) == 0


# ---- The end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", ["market_resolved", "gamma"])
def test_a_market_ends_by_evidence_that_names_it_and_leaves_its_socket(rig, evidence):
    if evidence == "gamma":
        rig.engine.market_status("0xm", closed=True, now=rig.now)
        rig.drain()
    else:
        rig.send(resolved())
    reason = "CLOSED" if evidence == "gamma" else "RESOLVED"
    assert rig.path("11") == rig.path("22") == [f"RETIRED {reason}"]
    assert rig.effects[-1] == CloseSocket(1)
    assert rig.engine.markets["0xm"].socket is None


def test_a_market_that_is_named_again_stays_ended(rig):
    rig.send(resolved())
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.drain()
    assert rig.path("11") == ["RETIRED RESOLVED"]


@pytest.mark.parametrize("answer", [False, None])
def test_a_market_that_gamma_does_not_call_closed_goes_on(rig, exchange, answer):
    rig.engine.market_status("0xm", answer, rig.now)
    rig.drain()
    assert rig.transitions == []
    assert_right(rig, exchange)


@pytest.mark.parametrize("reason", ["close frame", "404", "[]", "emptied"])
def test_nothing_else_ends_a_market(reason):
    rig = emptied() if reason == "emptied" else Rig.live(Exchange())
    if reason == "close frame":
        rig.disconnect(resolved=True)
        rig.connect()
        rig.send(rig.exchanges[0].opening())
    for _ in range(40):
        ask_again = not rig.pending
        if ask_again:
            rig.engine.prove("11", rig.now)
            rig.drain()
        rig.answer(*(("11", "22") if reason in ("404", "[]") else ()))
        rig.gamma(closed=False)
        rig.advance(1.0)
    assert BookState.RETIRED not in [each.new for each in rig.transitions]


# ---- Looking again -------------------------------------------------------------------------------------


def test_a_retired_market_is_looked_at_every_ten_minutes_for_a_day_and_then_no_more(rig):
    rig.send(resolved())
    rig.forget()
    begin, times = rig.now, []
    while rig.engine.next_deadline() < float("inf"):
        rig.advance(30.0)
        if rig.pending:
            times.append(rig.now - begin)
            assert sorted(each for effect in rig.pending for each in effect.asset_ids) == ["11", "22"]
            rig.answer("11", "22")
        assert rig.now - begin < 2 * afterlife_module.AGAIN_FOR
    assert times[0] == pytest.approx(600, abs=30)
    assert all(gap == pytest.approx(600, abs=60) for gap in gaps(times))
    assert times[-1] == pytest.approx(afterlife_module.AGAIN_FOR, abs=700)
    assert rig.transitions == []


def look_again(rig, **books):
    rig.advance(afterlife_module.AGAIN_AFTER + 1)
    assert rig.answer(**books) == 2


@pytest.mark.parametrize("levels", [True, False])
def test_a_retired_market_comes_back_by_a_newer_book_that_is_not_empty(rig, exchange, levels):
    rig.send(resolved(at=START + 5))
    rig.forget()
    if not levels:
        exchange.bids.clear()
        exchange.asks.clear()
    look_again(rig)
    if not levels:
        assert rig.transitions == []
        return
    assert rig.path("11") == rig.path("22") == ["RESYNCING REVIVED"]
    assert [each.kind for each in rig.warnings] == ["retired market lives"] * 2
    number = rig.engine.markets["0xm"].socket
    assert OpenSocket(number, ("11", "22")) in rig.effects
    rig.connect(number)
    rig.send(exchange.opening(), line=number)
    assert_right(rig, exchange)


def test_a_retired_market_does_not_come_back_by_a_book_that_is_not_newer_than_its_end(rig, exchange):
    rig.send(resolved(at=START + 5))
    rig.forget()
    old = {f"t{token}": exchange.rest(token, at=START + 5) for token in exchange.tokens}
    look_again(rig, **old)
    assert rig.transitions == []


def test_an_end_that_states_no_time_is_as_new_as_what_was_heard_last(rig, exchange):
    rig.send(exchange.change("BUY", "0.46", "5"))
    old = {f"t{token}": exchange.rest(token) for token in exchange.tokens}
    rig.send({"event_type": "market_resolved", "market": "0xm"})
    rig.forget()
    look_again(rig, **old)
    assert rig.transitions == []
    look_again(rig)
    assert rig.path("11") == ["RESYNCING REVIVED"]


def test_gammas_word_is_of_the_moment_at_which_it_came(rig, exchange):
    rig.advance(7.0)
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.drain()
    rig.forget()
    look_again(rig, **{f"t{token}": exchange.rest(token, at=START + 6_999) for token in exchange.tokens})
    assert rig.transitions == []
    look_again(rig, **{f"t{token}": exchange.rest(token, at=START + 7_001) for token in exchange.tokens})
    assert rig.path("11") == ["RESYNCING REVIVED"]


def test_gammas_word_while_nothing_tells_the_venues_time_is_as_new_as_what_was_heard_last(exchange):
    rig = Rig.live(exchange)
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    afterlife = rig.token("11").resync.afterlife
    assert not afterlife.is_life(exchange.rest("11", at=START))
    assert afterlife.is_life(exchange.rest("11", at=START + 1))


def test_a_retired_market_does_not_come_back_by_a_book_whose_hash_is_wrong(rig, exchange):
    rig.send(resolved())
    rig.forget()
    look_again(rig, **{f"t{token}": exchange.rest(token, hash="0" * 40) for token in exchange.tokens})
    assert rig.transitions == []


def test_a_market_that_came_back_joins_a_socket_that_is_open(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, other)
    rig.send(resolved(at=START + 5))
    rig.forget()
    rig.advance(afterlife_module.AGAIN_AFTER + 1)
    rig.answer()
    assert Subscribe(1, ("11", "22")) in rig.effects
    rig.send(exchange.opening())
    assert_right(rig, exchange)


def test_a_market_that_came_back_may_end_again(rig, exchange):
    rig.send(resolved())
    look_again(rig)
    number = rig.engine.markets["0xm"].socket
    rig.connect(number)
    rig.send(exchange.opening(), line=number)
    rig.engine.market_status("0xm", closed=True, now=rig.now)
    rig.drain()
    assert rig.path("11")[-1] == "RETIRED CLOSED"


# ---- One token of a pair -------------------------------------------------------------------------------


@pytest.fixture
def half(exchange):
    """One token is retired; the other was added since, and is LIVE."""
    rig = Rig()
    rig.exchanges = (exchange,)
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(exchange.opening())
    rig.send(resolved())
    rig.engine.track("0xm", ["22"], rig.now)
    rig.drain()
    number = rig.engine.markets["0xm"].socket
    rig.connect(number)
    rig.send(exchange.opening_book("22"), line=number)
    assert (rig.state("11"), rig.state("22")) == (BookState.RETIRED, BookState.LIVE)
    rig.forget()
    return rig


def test_a_retired_token_whose_complement_is_carried_comes_back_by_a_new_subscription(half, exchange):
    number = half.engine.markets["0xm"].socket
    exchange.at += 5
    half.send([exchange.opening_book("11")], line=number)
    half.engine.prove("22", half.now)
    half.drain()
    assert half.path("11") == ["RESYNCING REVIVED"]
    assert [each for each in half.effects if not isinstance(each, FetchBooks)] == [
        Unsubscribe(number, ("11", "22")), Subscribe(number, ("11", "22")),
    ]  # fmt: skip
    half.send(exchange.opening(), line=number)
    assert_right(half, exchange)


def test_a_retired_token_that_shows_life_on_the_stream_is_mirrored_at_once(half, exchange):
    exchange.at += 5
    half.send([exchange.opening_book("11")], line=half.engine.markets["0xm"].socket)
    assert half.path("11") == ["RESYNCING REVIVED"]


def test_a_token_that_came_back_is_asked_from_rest_when_its_opening_book_is_lost(half, exchange):
    exchange.at += 5
    half.send([exchange.opening_book("11")], line=half.engine.markets["0xm"].socket)
    for _ in range(60):
        half.advance(1.0)
        half.answer()
    assert shown(half.live_view("11")) == truth(exchange, "11")


def test_a_socket_carries_no_more_tokens_than_allowed_though_one_of_a_pair_was_retired():
    one, two, three = Exchange(), Exchange("0xn", "33", "44"), Exchange("0xo", "55", "66")
    rig = Rig(tokens_per_socket=5)
    rig.engine.track("0xm", ["11"], rig.now, constants=CONSTANTS)
    rig.engine.track("0xn", two.tokens, rig.now, constants=CONSTANTS)
    rig.connect()
    rig.send(one.opening())
    rig.send(resolved())
    rig.engine.track("0xm", ["22"], rig.now)
    rig.send(resolved())
    rig.engine.track("0xo", three.tokens, rig.now, constants=CONSTANTS)
    rig.engine.track("0xp", ["77", "88"], rig.now, constants=CONSTANTS)
    rig.drain()
    assert all(each.tokens <= 5 for each in rig.engine.status(rig.now).sockets)
    assert rig.now == BEGIN
