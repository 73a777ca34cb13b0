from __future__ import annotations

import pytest

from polymirror.core import resync as resync_module
from polymirror.core.effects import Subscribe, Unsubscribe, Vouch
from polymirror.core.states import BookState
from tests.core.builders import START, Exchange, Rig, ask, shown, truth


def unannounced(message):
    """The same deltas, none of whose hashes tells the book that REST will show."""
    for entry in message["price_changes"]:
        entry["hash"] = ""
    return message


def odd_book(at):
    """A REST book with its right hash that the stream never shows."""
    odd = Exchange(bids=())
    odd.at = at
    return odd.rest("11")


# ---- Probes and where they join ------------------------------------------------------------------------


def test_a_probe_that_equals_the_book_renews_its_proof_as_of_the_request(rig, exchange):
    rig.advance(3.0)
    ask(rig)
    rig.advance(0.5)
    rig.answer()
    assert rig.verdicts("probe") == {"match": 1}
    assert rig.live_view("11").verified_age == pytest.approx(0.5)
    assert rig.transitions == []


def test_a_probe_does_not_make_a_newer_proof_older(rig, exchange):
    ask(rig)
    rig.advance(0.5)
    rig.send(exchange.change("BUY", "0.49", "5"))
    rig.answer()
    assert rig.live_view("11").verified_age == 0.0


def test_an_answer_behind_what_is_proven_says_nothing(rig, exchange):
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.49", "5"))
    ask(rig)
    rig.answer(t11=old)
    assert rig.verdicts("probe") == {"behind": 1}
    assert rig.transitions == []


def test_an_answer_from_before_all_remembered_changes_says_nothing_either(exchange):
    rig = Rig.live(exchange, max_proof_age=3600)
    old = exchange.rest("11")
    for n in range(3):
        rig.advance(6.0)
        rig.send(exchange.change("BUY", "0.49", str(n + 5)))
    ask(rig)
    rig.answer(t11=old)
    assert rig.verdicts("probe") == {"behind": 1}
    assert rig.token("11").resync.held is None


def test_an_answer_ahead_is_held_and_matches_once_the_stream_gets_there(rig, exchange):
    message = exchange.change("BUY", "0.49", "5")
    ahead = exchange.rest("11")
    ask(rig)
    rig.answer(t11=ahead)
    assert rig.verdicts("probe") == {}
    assert rig.transitions == []
    rig.advance(1.0)
    rig.send(unannounced(message))
    assert rig.verdicts("probe") == {"match": 1}
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_an_answer_that_is_behind_the_book_but_not_behind_its_proof_proves_the_past_state(rig, exchange):
    exchange.alter("BUY", "0.20", "9")
    first, second = (exchange.change("BUY", f"0.4{n}", "5") for n in (6, 7))
    middle = Exchange()
    middle.at = int(first["timestamp"])
    middle.alter("BUY", "0.46", "5")
    for message in (first, second):
        rig.send(unannounced(message))
    ask(rig)
    rig.answer(t11=middle.rest("11"))
    assert rig.verdicts("probe") == {"match": 1}
    view = rig.live_view("11")
    assert shown(view) == truth(middle, "11")
    assert not view.settled
    assert view.exchange_ms == middle.at


def test_an_answer_equal_to_the_proven_state_renews_nothing_once_a_change_was_heard(rig, exchange):
    before = exchange.rest("11")
    rig.advance(2.0)
    rig.send(unannounced(exchange.change("BUY", "0.46", "5")))
    rig.advance(1.0)
    ask(rig)
    rig.answer(t11=before)
    view = rig.live_view("11")
    assert rig.verdicts("probe") == {"match": 1}
    assert (view.settled, view.verified_age) == (False, pytest.approx(3.0))


def test_a_past_state_clears_a_doubt(rig, exchange):
    before = exchange.rest("11")
    rig.send(unannounced(exchange.change("BUY", "0.46", "5")))
    rig.engine.overflow(1, rig.now)
    rig.drain()
    rig.answer("22", t11=before)
    assert rig.path("11") == ["SUSPECT OVERFLOW", "LIVE PROVEN"]


def test_a_past_state_does_not_clear_a_dispute_about_the_newest_one(rig, exchange):
    before = exchange.rest("11")
    exchange.alter("BUY", "0.20", "3")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.advance(1.1)
    assert rig.path("11") == ["SUSPECT HASH_MISMATCH"]
    rig.answer("22", t11=before)
    assert rig.path("11") == ["SUSPECT HASH_MISMATCH"]


def test_a_crossed_past_state_clears_nothing(rig, exchange):
    crossing = exchange.change("BUY", "0.52", "5")
    crossed = exchange.rest("11")
    rig.send(crossing)
    rig.send(unannounced(exchange.change("BUY", "0.10", "5")))
    assert rig.state("11") is BookState.SUSPECT
    rig.answer("22", t11=crossed)
    assert rig.state("11") is BookState.SUSPECT


def test_a_state_inside_a_millisecond_that_is_proven_as_a_whole_is_behind_not_a_mismatch(rig, exchange):
    rig.send(exchange.change("BUY", "0.49", "5", at=START + 10))
    inside = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.47", "5", at=START + 10))
    rig.settle()
    ask(rig)
    rig.answer(t11=inside)
    assert rig.verdicts("probe") == {"behind": 1}
    assert rig.transitions == []


def test_a_book_that_the_stream_announced_and_ours_never_equalled_is_a_mismatch_at_once(rig, exchange):
    exchange.alter("BUY", "0.45", "7")
    rig.send(exchange.change("BUY", "0.30", "5"))
    assert not rig.live_view("11").settled
    answer = exchange.rest("11")
    rig.advance(2 * rig.engine.config.batch_window)
    ask(rig)
    rig.answer(t11=answer)
    # The doubt is of the moment for which the answer speaks: it is the new baseline.
    assert rig.path("11") == ["SUSPECT PROBE_MISMATCH", "RESYNCING PROBE_MISMATCH", "LIVE PROVEN"]
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    assert rig.engine.outbox.resyncs == {"PROBE_MISMATCH": 1}


def test_two_disagreements_the_second_newer_make_a_mismatch(rig, exchange):
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    ask(rig)
    rig.answer()
    rig.advance(1.49)
    assert rig.transitions == []
    rig.advance(0.02)
    # The first disagreement asks again, and is no reason to doubt on its own.
    assert rig.transitions == []
    assert rig.answer() == 1
    rig.advance(1.6)
    # What waited for the stream is too old to start from: a new answer is asked for.
    assert rig.path("11") == ["SUSPECT PROBE_MISMATCH", "RESYNCING PROBE_MISMATCH"]
    asked_at = rig.now
    rig.answer()
    assert rig.path("11") == ["SUSPECT PROBE_MISMATCH", "RESYNCING PROBE_MISMATCH", "LIVE PROVEN"]
    assert rig.live_view("11").proven_at == pytest.approx(asked_at, abs=0.15), "no younger than its question"
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_a_book_is_not_settled_while_rest_has_disagreed_and_is_asked_again(rig, exchange):
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    ask(rig)
    rig.answer()
    assert not rig.live_view("11").settled
    rig.advance(1.6)
    assert rig.pending
    assert not rig.live_view("11").settled


def test_an_answer_sent_before_the_first_disagreement_is_no_second_one(rig, exchange):
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    token = rig.token("11")
    ask(rig)
    rig.answer()
    rig.advance(1.6)
    token.resync.answer(exchange.rest("11"), rig.now - 1.0, token.doubts, rig.now)
    rig.engine.tick(rig.now)
    assert rig.engine.next_deadline() <= rig.now + 1.5
    rig.advance(1.6)
    assert rig.path("11") == []


def test_a_match_between_two_disagreements_starts_the_count_anew(rig, exchange):
    right = exchange.rest("11")
    wrong = odd_book(exchange.at + 5)
    for _ in range(3):
        ask(rig)
        rig.answer(t11=wrong)
        rig.advance(1.6)
        rig.answer(t11=right)
    assert rig.path("11") == []


def test_an_odd_answer_is_forgotten_when_the_stream_proves_itself_meanwhile(rig, exchange):
    odd = odd_book(START + 100_000)
    for n in range(4):
        ask(rig)
        rig.answer(t11=odd)
        rig.advance(0.5)
        rig.send(exchange.change("BUY", "0.30", str(n + 1)))
        rig.advance(2.0)
        rig.fail()
    assert rig.verdicts("probe") == {"unverifiable": 4}
    assert rig.path("11") == []


@pytest.mark.parametrize(
    "changes",
    [{"bids": [{"price": "2", "size": "1"}]}, {"hash": "0" * 40},
     {"asks": [{"price": "0.9", "size": "NaN"}]}, {"bids": [{"price": "0.4", "size": "1"}]}],
    ids=str,
)  # fmt: skip
def test_an_answer_that_was_cut_or_altered_is_neither_a_witness_nor_a_baseline(rig, exchange, changes):
    # REST is ahead of the stream: its hash is not the one of our book.
    exchange.at += 5
    exchange.alter("BUY", "0.30", "5")
    bad = exchange.rest("11", **changes)
    ask(rig)
    rig.answer(t11=bad)
    assert rig.verdicts("probe") == {"unverifiable": 1}
    assert rig.transitions == []
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.answer(t11=bad)
    assert rig.state("11") is BookState.RESYNCING
    rig.advance(1.0)
    rig.answer()
    assert rig.state("11") is BookState.LIVE


def test_an_answer_whose_own_hash_fits_is_a_witness_though_what_it_tells_beside_was_altered(rig, exchange):
    ask(rig)
    rig.answer(t11=exchange.rest("11", tick_size="0.02"))
    assert rig.verdicts("probe") == {"match": 1}
    assert rig.live_view("11").tick_size_e4 == 100


def test_an_answer_with_the_hash_of_our_book_proves_it_without_a_look_at_its_levels(rig, exchange, monkeypatch):
    monkeypatch.setattr(resync_module, "OrderBook", None)
    for told in ("", "0.480"):
        exchange.trade = told
        ask(rig)
        rig.answer(t11=exchange.rest("11"))
        assert rig.token("11").proven.proof.as_of == rig.now
        rig.advance(0.1)
    assert rig.verdicts("probe") == {"match": 2}
    assert rig.engine.markets["0xm"].hashes.last_trade_price == "0.480"


def test_an_answer_without_a_tick_size_leaves_the_known_one(rig, exchange):
    ask(rig)
    rig.answer(t11=exchange.rest("11", tick_size=None, last_trade_price=None))
    assert rig.verdicts("probe") == {"match": 1}
    assert rig.live_view("11").tick_size_e4 == 100


def test_a_matching_probe_vouches_for_the_silence_of_the_socket(rig, exchange):
    ask(rig)
    rig.answer()
    assert rig.effects[-1] == Vouch(1)
    rig.forget()
    ask(rig)
    rig.answer(t11=exchange.rest("11", hash="0" * 40))
    assert rig.count(Vouch) == 0


def test_a_market_that_rest_moves_and_the_stream_never_mentions_is_subscribed_anew(rig, exchange):
    for n in range(resync_module.UNHEARD_BEFORE_RESUBSCRIBING):
        assert rig.count(Subscribe) == 0
        for _ in range(30):
            rig.advance(1.0)
            exchange.alter("BUY", "0.46", str(rig.now))
            rig.answer()
            if len([each for each in rig.path("11") if each == "SUSPECT PROBE_MISMATCH"]) > n:
                break
    changes = [each for each in rig.effects if isinstance(each, (Subscribe, Unsubscribe))]
    assert changes == [Unsubscribe(1, ("11", "22")), Subscribe(1, ("11", "22"))]


def test_a_change_that_contradicts_a_rest_baseline_is_a_doubt_at_once(rig, exchange):
    rig.engine.resync("11", rig.now)
    rig.drain()
    rig.answer()
    assert rig.state("11") is BookState.LIVE
    exchange.alter("BUY", "0.20", "3")
    rig.send(exchange.change("BUY", "0.46", "5"))
    rig.settle()
    assert rig.path("11")[-1] == "SUSPECT HASH_MISMATCH"


# ---- Planned refreshes ---------------------------------------------------------------------------------


def quiet(rig, seconds):
    """Let time pass with REST answering."""
    for _ in range(round(seconds)):
        rig.advance(1.0)
        rig.answer()


def test_a_planned_refresh_replaces_the_book_without_leaving_live(exchange):
    rig = Rig.live(exchange, scheduled_resync=20)
    quiet(rig, 30)
    assert rig.transitions == []
    assert rig.token("11").proven.epoch >= 1
    assert rig.engine.outbox.resyncs["SCHEDULED"] >= 2
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    assert "11" in rig.dirty
    rig.send(exchange.change("BUY", "0.49", "5"))
    assert shown(rig.live_view("11")) == truth(exchange, "11")
    assert rig.live_view("11").settled


def test_the_proof_of_a_refreshed_book_is_of_its_new_epoch(rig, exchange):
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.49", "5"))
    rig.advance(0.5)
    ask(rig)
    rig.answer(t11=old)
    rig.pending.clear()
    rig.advance(0.2)
    rig.send(exchange.change("BUY", "0.49", "6"))
    rig.token("11").resync.refresh(rig.now)
    token = rig.token("11")
    token.resync.answer(exchange.rest("11"), rig.now, token.doubts, rig.now)
    view = rig.live_view("11")
    assert (view.epoch, view.last_proof.epoch) == (1, 1)


def test_refreshes_are_spread_by_jitter(exchange):
    other = Exchange("0xn", "33", "44")
    rig = Rig.live(exchange, other, scheduled_resync=100)
    due = [rig.token(token).refresh_at - rig.now for token in ("11", "22", "33", "44")]
    assert len(set(due)) == 4
    assert all(75 <= each <= 125 for each in due)


def test_a_refresh_takes_over_the_venues_newest_spelling(exchange):
    rig = Rig.live(exchange, scheduled_resync=20)
    exchange.bids = {price: f"{size}.0" for price, size in exchange.bids.items()}
    quiet(rig, 30)
    rig.send(exchange.change("BUY", "0.49", "5"))
    assert rig.live_view("11").settled
    assert rig.transitions == []


def test_a_difference_found_by_a_refresh_is_a_mismatch_not_a_silent_repair(exchange):
    rig = Rig.live(exchange, scheduled_resync=5, max_proof_age=3600)
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    quiet(rig, 20)
    assert "SUSPECT PROBE_MISMATCH" in rig.path("11")
    assert shown(rig.live_view("11")) == truth(exchange, "11")


def test_a_refresh_does_not_go_back_to_an_older_spelling(rig, exchange):
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.49", "5"))
    rig.send(exchange.change("BUY", "0.49", "0"))
    epoch = rig.token("11").proven.epoch
    rig.token("11").resync.refresh(rig.now)
    ask(rig)
    rig.answer(t11=old)
    assert (rig.token("11").proven.epoch, rig.state("11")) == (epoch, BookState.LIVE)


def test_a_rest_book_of_an_open_batch_is_held_not_held_against_the_book(rig, exchange):
    exchange.alter("BUY", "0.45", "7")
    rig.send(exchange.change("BUY", "0.30", "5"))
    ask(rig)
    rig.answer()
    assert rig.path("11") == []
    assert rig.token("11").resync.held is not None


def test_an_older_rest_book_with_the_same_levels_is_behind_and_no_fresh_proof(rig, exchange):
    old = exchange.rest("11")
    rig.send(exchange.change("BUY", "0.49", "7"))
    rig.send(exchange.change("BUY", "0.49", "0"))
    proven = rig.token("11").proven.proof.as_of
    rig.advance(1)
    rig.token("11").resync.answer(old, rig.now, rig.token("11").doubts, rig.now)
    assert rig.token("11").proven.proof.as_of == proven
    assert rig.verdicts("probe") == {"behind": 1}


def test_a_rest_book_without_a_hash_is_no_baseline_while_hashes_are_understood(rig, exchange):
    rig.engine.resync("11", rig.now)
    cut = exchange.rest("11", hash="", bids=[])
    rig.token("11").resync.answer(cut, rig.now, rig.token("11").doubts, rig.now)
    assert rig.state("11") is BookState.RESYNCING
    assert not rig.token("11").proven.loaded


def test_an_answer_that_was_asked_for_before_the_doubt_does_not_clear_it(rig, exchange):
    before = rig.now
    answer = exchange.rest("11")
    rig.advance(0.5)
    rig.send('{"event_type":"price_change","market"')
    assert rig.state("11") is BookState.SUSPECT
    rig.token("11").resync.answer(answer, before, 0, rig.now)
    assert rig.state("11") is BookState.SUSPECT
    rig.token("11").resync.answer(answer, rig.now, rig.token("11").doubts, rig.now)
    assert rig.state("11") is BookState.LIVE


def test_asking_again_and_again_does_not_put_off_the_verdict_about_an_answer_that_is_held(rig, exchange):
    exchange.at += 5
    exchange.alter("BUY", "0.45", "7")
    begin = rig.now
    while not rig.transitions:
        rig.engine.prove("11", rig.now)
        rig.drain()
        rig.answer("22")
        rig.advance(0.5)
    assert rig.path("11")[0] == "SUSPECT PROBE_MISMATCH"
    assert rig.now - begin <= 2 * rig.engine.config.probe_hold + 0.5


def test_the_two_tokens_of_a_quiet_market_are_asked_about_in_one_call_although_their_proofs_differ_in_age(exchange):
    rig = Rig.live(exchange)
    interval = rig.token("11").probe_interval
    rig.advance(interval / 4)
    ask(rig)
    rig.answer()
    rig.forget()
    rig.advance(interval)
    assert [set(effect.asset_ids) for effect in rig.pending] == [{"11", "22"}]


def test_an_answer_older_than_what_was_heard_is_young_only_by_its_own_timestamp(rig, exchange):
    """What else came between the two is not known."""
    behind = exchange.rest("11")
    rig.advance(3.0)
    ask(rig)
    exchange.change("BUY", "0.46", "5")
    rig.advance(1.0)
    rig.answer("11")
    newer = exchange.rest("11")
    ask(rig)
    rig.answer("22", t11=newer)
    assert rig.token("11").proven.mark.at_ms == newer.timestamp_ms
    ask(rig)
    rig.answer("22", t11=behind)
    assert rig.live_view("11").verified_age == pytest.approx(4.0)
