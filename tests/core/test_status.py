"""The engine's status: every field, its unit, and that it is a copy that JSON takes as it is."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from polymirror.core.proofs import ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.status import EngineStatus, Known, TokenStatus
from polymirror.errors import NotLive, UnknownToken
from tests.core.builders import BEGIN, CONSTANTS, START, Exchange, Rig


def of(rig: Rig, token: str, known: Known | None = None) -> TokenStatus:
    return next(each for each in rig.engine.status(rig.now, known).tokens if each.token == token)


# ---- Tokens ----------------------------------------------------------------------------------------


def test_a_book_that_was_just_added_has_nothing_to_tell() -> None:
    rig = Rig(Exchange())
    rig.now += 3
    token = "11"  # noqa: S105 - a token id
    assert of(rig, token) == TokenStatus(
        token=token, market="0xm", slug=None, outcome=None, state=BookState.UNPRIMED, reason=Reason.TRACKED,
        since=BEGIN, epoch=0, settled=True, proof=None, proof_age=None, exchange_ms=None, doubts=0, refused_reads=0,
        resyncs={}, buffered_deltas=0, journaled_changes=0, bid_levels=0, ask_levels=0,
    )  # fmt: skip


def test_a_live_book_tells_its_proof_with_its_age_in_seconds_and_the_exchange_time_in_ms() -> None:
    rig = Rig.live(exchange := Exchange())
    rig.now += 1
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 1_000))
    rig.now += 0.25
    book = of(rig, "11")
    assert (book.state, book.reason, book.since, book.epoch) == (BookState.LIVE, Reason.PROVEN, BEGIN, 0)
    assert (book.proof, book.proof_age, book.exchange_ms) == (ProofKind.HASH, 0.25, START + 1_000)
    assert (book.settled, book.bid_levels, book.ask_levels, book.journaled_changes) == (True, 4, 3, 1)


def test_a_summary_agrees_with_the_status_and_has_the_oldest_proof_of_any_live_book() -> None:
    rig = Rig.live(exchange := Exchange(), Exchange("0xn", "33", "44"))
    rig.now += 1
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 1_000))
    rig.now += 0.25
    status, summary = rig.engine.status(rig.now), rig.engine.summary(rig.now)
    assert (summary.sockets, summary.totals) == (status.sockets, status.totals)
    live = [each.proof_age for each in status.tokens if each.state is BookState.LIVE and each.proof_age is not None]
    assert len({*live}) == 2
    assert summary.proof_age == max(live)
    assert Rig(Exchange()).engine.summary(rig.now).proof_age is None


def test_a_status_agrees_with_what_a_reader_gets() -> None:
    rig = Rig.live(exchange := Exchange())
    rig.send(exchange.change("BUY", "0.46", "7"))
    lost = exchange.change("BUY", "0.47", "8")
    rig.send(exchange.change("BUY", "0.48", "9"))
    rig.now += 0.1
    for token in exchange.tokens:
        view, book = rig.live_view(token), of(rig, token)
        assert not view.settled, "a change was lost, so nothing proves the next one"
        assert (book.state, book.reason, book.epoch, book.settled) == (view.state, view.reason, view.epoch, False)
        assert (book.proof_age, book.exchange_ms) == (pytest.approx(view.verified_age), view.exchange_ms)
        assert book.exchange_ms < int(lost["timestamp"])


def test_a_book_that_is_built_anew_tells_why_since_when_and_what_waits_for_the_baseline() -> None:
    rig = Rig.live(exchange := Exchange())
    rig.now += 2
    rig.engine.resync("11", rig.now)
    for size in ("1", "2", "3"):
        rig.send(exchange.change("BUY", "0.46", size))
    book = of(rig, "11")
    assert (book.state, book.reason, book.since, book.epoch) == (BookState.RESYNCING, Reason.REQUESTED, rig.now, 1)
    assert (book.proof, book.proof_age, book.exchange_ms) == (None, None, None)
    assert (book.buffered_deltas, book.bid_levels, book.ask_levels) == (3, 0, 0)
    assert rig.engine.status(rig.now).totals.resyncs == {"REQUESTED": 1}


def test_a_proof_of_a_moment_to_come_is_no_younger_than_now() -> None:
    rig = Rig.live(Exchange())
    assert rig.engine.status(BEGIN - 1).tokens[0].proof_age == 0.0


def test_what_only_the_shell_knows_is_filled_in_by_it() -> None:
    rig = Rig.live(Exchange(), Exchange("0xn", "33", "44"))
    known = Known(names={"11": ("btc", "Up"), "22": ("btc", "Down")}, budget_left=42)
    status = rig.engine.status(rig.now, known)
    assert [(each.slug, each.outcome) for each in status.tokens] == [
        ("btc", "Up"), ("btc", "Down"), (None, None), (None, None),
    ]  # fmt: skip
    assert [each.slug for each in status.markets] == ["btc", None]
    assert status.rest.budget_left == 42


def test_a_book_tells_its_doubts_its_resyncs_and_the_reads_that_were_refused() -> None:
    rig = Rig.live(Exchange())
    for _ in range(2):
        rig.disconnect()
        rig.connect()
        rig.send(rig.exchanges[0].opening())
    rig.engine.resync("11", rig.now)
    with pytest.raises(NotLive):
        rig.live_view("11")
    first, second = rig.engine.status(rig.now).tokens
    assert (first.doubts, first.resyncs, first.refused_reads) == (3, {"DISCONNECT": 2, "REQUESTED": 1}, 1)
    assert list(first.resyncs) == ["DISCONNECT", "REQUESTED"]
    assert (second.doubts, second.resyncs, second.refused_reads) == (2, {"DISCONNECT": 2}, 0)


# ---- Markets, sockets, REST, clock -----------------------------------------------------------------


def test_a_market_tells_its_tokens_its_socket_its_grid_and_whether_its_hash_is_known() -> None:
    rig = Rig(Exchange())
    (market,) = rig.engine.status(rig.now).markets
    assert (market.market, market.slug, market.tokens, market.socket) == ("0xm", None, ("11", "22"), 1)
    assert (market.lag, market.tick_size, market.hash_form, market.verifiable) == (None, None, None, False)
    rig = Rig.live(exchange := Exchange())
    rig.send({"event_type": "tick_size_change", "market": "0xm", "asset_id": "22", "old_tick_size": "0.01",
              "new_tick_size": "0.001", "timestamp": str(START + 1)})  # fmt: skip
    (market,) = rig.engine.status(rig.now).markets
    assert market.tick_size == Decimal("0.001"), "the finer of both, in pUSD"
    rig.now += 0.5
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 2))
    (market,) = rig.engine.status(rig.now).markets
    assert market.tick_size == Decimal("0.01"), "a hash after the event shows the old one"
    assert (market.hash_form, market.verifiable) == ("TEN", True)
    assert market.lag == rig.engine.status(rig.now).sockets[0].lag


def test_a_retired_market_has_no_socket() -> None:
    rig = Rig.live(Exchange())
    rig.send({"event_type": "market_resolved", "market": "0xm", "timestamp": str(START)})
    status = rig.engine.status(rig.now)
    assert status.sockets == ()
    assert (status.markets[0].socket, status.markets[0].lag) == (None, None)
    assert status.totals.states == {"RETIRED": 2}


def test_a_socket_tells_the_largest_lag_of_its_markets_in_seconds_and_how_much_it_carries() -> None:
    first, second = Exchange(), Exchange("0xn", "33", "44")
    rig = Rig(first, second, constants=CONSTANTS, tokens_per_socket=2, max_apply_lag=1.0)
    rig.connect()
    one, two = rig.engine.status(rig.now).sockets
    assert (one.number, one.is_open, one.lag, one.tokens) == (1, True, None, 2)
    assert (two.number, two.is_open, two.lag, two.tokens) == (2, False, None, 2)
    rig.send(first.opening())
    rig.send(first.change("BUY", "0.46", "7", at=START + 1_000))
    rig.now += 3
    rig.send(first.change("BUY", "0.46", "8", at=START + 2_000))
    status = rig.engine.status(rig.now)
    assert status.sockets[0].lag == pytest.approx(2.0, abs=0.001)
    assert (status.markets[0].lag, status.markets[0].lagging) == (status.sockets[0].lag, True)
    assert (status.markets[1].socket, status.markets[1].lag, status.markets[1].lagging) == (2, None, False)


def test_rest_tells_what_is_under_way_and_what_waits_for_it() -> None:
    rig = Rig.live(Exchange())
    assert (rig.engine.status(rig.now).rest.under_way, rig.engine.status(rig.now).rest.waiting) == (0, 0)
    rig.engine.prove("11", rig.now)
    rig.drain()
    rest = rig.engine.status(rig.now).rest
    assert (rest.under_way, rest.waiting, rest.budget_left) == (1, 0, None)
    rig.engine.prove("11", rig.now)
    assert rig.engine.status(rig.now).rest.waiting == 1, "it is asked for already, and wanted anew"
    rig.answer()
    rig.answer()
    assert (rig.engine.status(rig.now).rest.under_way, rig.engine.status(rig.now).rest.waiting) == (0, 0)


def test_the_clock_tells_its_bounds_in_ms_and_its_uncertainty_in_seconds() -> None:
    rig = Rig.live(exchange := Exchange(), timed=False)
    clock = rig.engine.status(rig.now).clock
    assert (clock.low_ms, clock.high_ms, clock.uncertainty) == (None, None, None)
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 1))
    clock = rig.engine.status(rig.now).clock
    assert (clock.low_ms, clock.high_ms, clock.uncertainty) == (START + 1 - BEGIN * 1000, None, None)
    rig.engine.server_time(START // 1000, BEGIN - 0.25, BEGIN)
    clock = rig.engine.status(rig.now).clock
    assert clock.high_ms == START + 1_000 - (BEGIN - 0.25) * 1000
    assert clock.uncertainty == (clock.high_ms - (clock.low_ms or 0)) / 1000 == 1.249


# ---- Totals ----------------------------------------------------------------------------------------


def test_totals_count_input_by_kind_proofs_resyncs_and_states() -> None:
    rig = Rig.live(exchange := Exchange())
    rig.send("PONG")
    rig.send({"event_type": "new_market", "id": "1"})
    rig.send({"event_type": "price_change", "market": "0xm", "price_changes": 7, "timestamp": str(START)})
    rig.send(exchange.opening(), line=9)
    totals = rig.engine.status(rig.now).totals
    assert (totals.frames, totals.snapshots) == (5, 2)
    assert totals.ignored == {"PONG": 1, "new_market": 1}
    assert totals.malformed == {"price_change": 1}
    assert totals.counters == {"orphaned": 1}
    assert totals.proofs == rig.engine.outbox.proofs.as_dict()
    assert totals.verdicts["match"] == sum(each.get("match", 0) for each in totals.proofs.values()) > 0
    assert totals.states == {"SUSPECT": 2}


# ---- What it is ------------------------------------------------------------------------------------


def busy() -> tuple[Rig, Known]:
    """An engine of which every part has something to tell."""
    first, second = Exchange(), Exchange("0xn", "33", "44")
    rig = Rig.live(first, second)
    rig.send(first.change("BUY", "0.46", "7"))
    rig.send("PONG")
    rig.send("{")
    rig.engine.server_time(START // 1000, BEGIN - 0.25, BEGIN)
    rig.engine.resync("33", rig.now)
    rig.engine.prove("11", rig.now)
    return rig, Known(names={"11": ("btc", "Up")}, budget_left=7)


def test_a_status_survives_json_with_states_reasons_and_proofs_by_name() -> None:
    rig, known = busy()
    status = rig.engine.status(rig.now, known)
    plain = status.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert msgspec.convert(plain, EngineStatus) == status
    book = plain["tokens"][2]
    assert (book["state"], book["reason"]) == ("RESYNCING", "REQUESTED")
    assert list(plain) == ["at", "tokens", "markets", "sockets", "rest", "clock", "totals"]
    assert {each["proof"] for each in plain["tokens"]} <= {None, "book", "hash", "complement"}


def test_a_status_is_frozen_and_changes_no_more() -> None:
    rig, known = busy()
    status = rig.engine.status(rig.now, known)
    before = status.as_dict()
    for frozen in (status, status.tokens[0], status.markets[0], status.sockets[0], status.totals, status.clock):
        with pytest.raises(AttributeError):
            setattr(frozen, frozen.__struct_fields__[0], None)
    rig.answer()
    rig.advance(5)
    rig.send("PONG")
    rig.disconnect()
    assert status.as_dict() == before
    assert rig.engine.status(rig.now, known).as_dict() != before


def test_asking_changes_nothing() -> None:
    def play(*, ask: bool) -> list[Any]:
        rig, known = busy()
        for _ in range(20):
            if ask:
                rig.engine.status(rig.now, known)
            rig.advance(0.3)
            rig.answer()
        return [str(each) for each in rig.transitions] + [repr(each) for each in rig.effects] + rig.dirty

    assert play(ask=True) == play(ask=False)


def test_a_name_that_holds_exchange_ms_says_so_and_no_other_name_has_a_unit() -> None:
    rig, known = busy()
    status = rig.engine.status(rig.now, known)
    parts = (status, status.tokens[0], status.markets[0], status.sockets[0], status.rest, status.clock, status.totals)
    names = {name for part in parts for name in part.__struct_fields__}
    assert {name for name in names if name.endswith("_ms")} == {"exchange_ms", "low_ms", "high_ms"}
    assert not {name for name in names if name.endswith(("_s", "_sec", "_secs", "_seconds", "_us", "_ns"))}


# ---- Small questions -------------------------------------------------------------------------------


def test_small_questions_about_tokens_markets_and_sockets() -> None:
    rig = Rig.live(exchange := Exchange(), Exchange("0xn", "33", "44"))
    engine = rig.engine
    assert engine.asset_ids == ("11", "22", "33", "44")
    assert (engine.tokens_of("0xn"), engine.tokens_of("0x?")) == (("33", "44"), ())
    assert (engine.carried_by(1), engine.carried_by(2)) == (("11", "22", "33", "44"), ())
    assert engine.standing("11") == (BookState.LIVE, Reason.PROVEN, 0)
    assert engine.standing("?") is None
    assert engine.proof_of("11") == rig.live_view("11").last_proof
    assert engine.is_settled("11")
    exchange.change("BUY", "0.47", "8")
    rig.send(exchange.change("BUY", "0.48", "9"))
    assert not engine.is_settled("11")
    for question in (engine.proof_of, engine.is_settled):
        with pytest.raises(UnknownToken):
            question("?")


def test_an_engine_says_whether_it_has_something_to_tell() -> None:
    rig = Rig.live(Exchange())
    assert not rig.engine.has_events
    rig.engine.resync("11", rig.now)
    assert rig.engine.has_events
    rig.drain()
    assert not rig.engine.has_events


# ---- What keeps the venue away ---------------------------------------------------------------------


def test_a_socket_tells_why_it_is_not_open_until_it_is() -> None:
    rig = Rig(Exchange())
    assert rig.engine.status(rig.now).trouble == ""
    rig.engine.unreachable(1, "TLS: certificate has expired", rig.now)
    rig.engine.unreachable(9, "no such socket", rig.now)
    status = rig.engine.status(rig.now)
    assert status.sockets[0].trouble == "TLS: certificate has expired"
    assert status.trouble == "socket 1: TLS: certificate has expired"
    assert status.as_dict()["sockets"][0]["trouble"] == "TLS: certificate has expired"
    rig.connect()
    rig.engine.unreachable(1, "too late", rig.now)
    assert rig.engine.status(rig.now).trouble == ""
    rig.disconnect()
    assert rig.engine.status(rig.now).sockets[0].trouble == "gone"


def test_a_refusal_tells_why_its_socket_is_not_open_and_no_other() -> None:
    rig = Rig(Exchange(), Exchange("0xn", "33", "44"), tokens_per_socket=2)
    rig.engine.unreachable(2, "connection refused", rig.now)
    with pytest.raises(NotLive) as refused:
        rig.live_view("33")
    assert str(refused.value) == ("33 is UNPRIMED (TRACKED), never proven, allowed 15 s, epoch 0: connection refused")
    assert rig.engine.refusal("44", rig.now, detail="waited 5 s").detail == "connection refused; waited 5 s"
    assert rig.engine.refusal("11", rig.now).detail == ""


def test_the_refusal_of_a_retired_token_does_not_blame_the_socket() -> None:
    rig = Rig.live(Exchange())
    rig.send({"event_type": "market_resolved", "market": "0xm", "timestamp": str(START)})
    assert rig.engine.refusal("11", rig.now).detail == ""


def test_rest_tells_why_it_did_not_answer_until_it_does() -> None:
    rig = Rig.live(Exchange(), request_timeout=5.0)
    rig.engine.prove("11", rig.now)
    rig.drain()
    (request,), rig.pending = rig.pending, []
    rig.engine.books_failed(request.request, rig.now, "GET /books: no answer: connection refused")
    status = rig.engine.status(rig.now)
    assert status.rest.trouble == "GET /books: no answer: connection refused"
    rig.disconnect()
    assert rig.engine.status(rig.now).trouble == f"socket 1: gone; REST: {status.rest.trouble}"
    rig.connect()
    rig.engine.prove("11", rig.now)
    rig.drain()
    assert rig.answer() > 0
    assert rig.engine.status(rig.now).trouble == ""
    rig.engine.prove("11", rig.now)
    rig.drain()
    rig.pending.clear()
    rig.advance(6.0)
    assert rig.engine.status(rig.now).rest.trouble == "no answer within 5 s"


def test_rest_tells_what_kept_some_tokens_from_an_answer() -> None:
    rig = Rig.live(Exchange())
    rig.engine.prove("11", rig.now)
    rig.drain()
    (request,), rig.pending = rig.pending, []
    rig.engine.books(request.request, {}, rig.now, ("11", "22"), "HTTP 503")
    assert rig.engine.status(rig.now).rest.trouble == "HTTP 503"
