"""When a book loses trust, what led to it is in one small file: from a whole book on, and never too many of them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from polymirror import ConfigError, EngineConfig, IncidentConfig, Mirror
from polymirror.core.states import BookState
from polymirror.explain.words import explain
from polymirror.journal.format import (
    Answered,
    Asked,
    Body,
    Book,
    Header,
    Heard,
    Incident,
    Lost,
    Moved,
    Used,
    seconds_of,
    weight,
)
from polymirror.journal.incident.bundle import lines_of
from polymirror.journal.incident.ring import Rings
from polymirror.journal.incident.store import NAME, Store, bundles
from polymirror.journal.reader import open_journal
from polymirror.journal.replay import Replay
from tests.core.builders import Exchange
from tests.incident_rig import run
from tests.journal.rig import RecordedRig, header_of

CLEAN = {"hash_one_change_late": 0.0, "late_trade_price": False}


def parts(path):
    lines = list(open_journal(path).lines())
    return lines[0], lines[1], lines[2:]


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A run in which changes are lost."""
    folder = tmp_path_factory.mktemp("bundles")
    return folder, run(folder, "lost_delta", share=8, seconds=45, seed=3, exchange=CLEAN, market_seconds=0)


def test_every_loss_of_trust_has_a_bundle_with_what_led_to_it_and_what_came_after(lost):
    folder, seen = lost
    assert len(seen.notes) >= 2
    assert {note.path for note in seen.notes} == set(bundles(folder))
    for note in seen.notes:
        header, incident, lines = parts(note.path)
        assert isinstance(header, Header)
        assert isinstance(incident, Incident)
        assert (header.seed, header.file, header.engine["max_proof_age"]) == (3, 0, 15.0)
        assert (incident.market, incident.token, incident.reason) == (note.market, note.token, note.reason.name)
        assert len(incident.before) == len(incident.after) == 2
        assert incident.ending == "live"
        assert incident.refused > 0
        moves = [line for line in lines if isinstance(line, Moved)]
        left = next(m for m in moves if m.old == "LIVE" and seconds_of(m.t) >= note.at)
        assert (left.token, left.reason) == (note.token, note.reason.name)
        assert {m.token for m in moves if m.new == "LIVE" and m.t >= left.t} <= set(note.tokens)
        answers = [line for line in lines if isinstance(line, Answered) and line.t >= left.t]
        assert any(token in body.text for line in answers for body in line.bodies for token in note.tokens)
        assert [line.n for line in lines] == list(range(1, len(lines) + 1))


def test_a_bundle_has_nothing_of_other_markets(lost):
    _, seen = lost
    others = set(seen.market_of) | set(seen.market_of.values())
    for note in seen.notes:
        _, incident, lines = parts(note.path)
        text = json.dumps([str(line) for line in (incident, *lines)])
        assert not [name for name in others - {note.market, *note.tokens} if name in text]


def test_a_bundle_is_a_small_journal_that_is_replayed(lost):
    _, seen = lost
    for note in seen.notes[-2:]:
        replay = Replay(note.path)
        states = {view.state for view in replay.views(note.token)}
        assert BookState.LIVE in states
        assert not replay.exact
        assert replay.lost == 0


def test_a_bundle_is_its_owners_alone_and_a_mirror_tells_where_it_is(lost, tmp_path):
    folder, _ = lost
    assert all(NAME.fullmatch(path.name) and path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    run(tmp_path / "new" / "folder", "lost_delta", share=8, seconds=20, seed=3, exchange=CLEAN)
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700


def test_without_a_folder_nothing_is_watched(tmp_path):
    seen = run(None, "lost_delta", share=8, seconds=20, seed=3, exchange=CLEAN)
    assert seen.losses
    assert seen.notes == ()
    mirror = Mirror(incidents=tmp_path)
    assert mirror.incidents() == mirror.incidents("1") == ()
    with pytest.raises(ConfigError, match="incidents"):
        Mirror(incidents=3)
    with pytest.raises(ConfigError, match="token"):
        mirror.incidents(1)


def test_with_a_journal_both_are_written_and_what_is_mirrored_is_the_same(tmp_path):
    plain = run(None, "lost_delta", share=8, seconds=20, seed=3, exchange=CLEAN)
    both = run(tmp_path / "i", "lost_delta", share=8, seconds=20, seed=3, exchange=CLEAN, journal=tmp_path / "j")
    assert list(map(str, plain.losses)) == list(map(str, both.losses))
    assert bundles(tmp_path / "i")
    replay = Replay(tmp_path / "j")
    for _ in replay.steps():
        pass
    assert replay.exact
    assert sum(replay.left_live.values()) >= len(both.losses)


@pytest.mark.parametrize("fault", ["disconnect", "close_1013"])
def test_an_ordinary_disconnect_is_no_incident(fault, tmp_path):
    seen = run(tmp_path, fault, share=50, seconds=30, seed=2, exchange=CLEAN)
    assert len(seen.struck) >= 1
    assert seen.notes == ()
    assert list(tmp_path.iterdir()) == []


def test_of_hedged_sockets_both_connections_are_in_a_bundle_and_explained(tmp_path):
    seen = run(tmp_path, "garbage_frame", share=20, seconds=20, seed=3, exchange=CLEAN, hedge=2)
    written = [note for note in seen.notes if note.path is not None]
    assert written
    for note in written:
        lines = list(open_journal(note.path).lines())
        lanes = Counter(line.lane for line in lines if isinstance(line, Heard))
        assert lanes.keys() == {0, 1}
        # The second says what the first says, but for what is garbage.
        assert abs(lanes[0] - lanes[1]) < 0.1 * lanes.total()
        assert explain(lines).kind == "unreadable"
        replay = Replay(note.path)
        assert len(list(replay.views(note.token))) > 10
        assert replay.lost == 0


def test_what_the_other_connection_of_a_hedged_socket_makes_up_for_is_no_incident(tmp_path):
    for hedge in (1, 2):
        folder = tmp_path / str(hedge)
        seen = run(folder, "lost_delta", share=8, seconds=30, seed=3, exchange=CLEAN, hedge=hedge)
        assert len(seen.struck) >= 3
        assert bool(seen.notes) == bool(seen.losses) == (hedge == 1)
        assert len(bundles(folder) if folder.exists() else []) == len(seen.notes)


LIMITS = {"per_minute": 3, "market_seconds": 5, "keep_files": 2}


# ---- How many, and how much ------------------------------------------------------------------------


def test_too_many_incidents_are_counted_and_told_and_the_oldest_bundles_go(tmp_path, caplog):
    seen = run(tmp_path, "garbage_frame", share=20, seconds=45, seed=3, exchange=CLEAN, **LIMITS)
    written = [note for note in seen.notes if note.path is not None]
    assert len(written) == 3 < len(seen.notes)
    assert len(bundles(tmp_path)) == 2
    assert max(parts(path)[1].skipped for path in bundles(tmp_path)) > 0
    assert any("have no bundle" in record.message for record in caplog.records)
    assert any("polymirror explain" in record.message for record in caplog.records)


def test_of_bundles_of_one_second_the_newest_stays_whatever_it_is_called(tmp_path):
    first, second, newest = (
        tmp_path / f"incident-20260101T000000Z-{market}-00000{n}.jsonl" for n, market in enumerate(("bb", "cc", "aa"))
    )
    for path in (first, second, newest):
        path.write_text("{}")
    assert Store(tmp_path, IncidentConfig(keep_files=2), 0)._make_room(newest) == 1
    assert bundles(tmp_path) == [newest, second]


def test_incidents_without_a_bundle_do_not_push_out_those_with_one(tmp_path, monkeypatch):
    monkeypatch.setattr("polymirror.journal.incident.incidents.MAX_NOTES", 4)
    seen = run(tmp_path, "garbage_frame", share=20, seconds=45, seed=3, exchange=CLEAN, **LIMITS)
    has = [note.path is not None for note in seen.notes]
    assert (has.count(True), has.count(False)) == (3, 4)
    ats = [note.at for note in seen.notes]
    assert ats == sorted(ats, reverse=True)


def test_a_folder_that_cannot_be_written_costs_the_bundle_and_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    plain = run(None, "lost_delta", share=8, seconds=20, seed=3, exchange=CLEAN)
    seen = run(tmp_path / "file", "lost_delta", share=8, seconds=20, seed=3, exchange=CLEAN)
    assert list(map(str, plain.losses)) == list(map(str, seen.losses))
    assert any("is lost: it cannot be written" in record.message for record in caplog.records)


class Rung:
    """A recorded engine with one market, and the rings that its lines go into."""

    def __init__(self, **settings):
        self.exchange = Exchange()
        self.rig = RecordedRig(self.exchange)
        engine = self.rig.engine
        self.rings = Rings(IncidentConfig(**settings), engine.record_books, engine.carried_by)
        self.fed = 0
        self.rig.connect()
        self.rig.send(self.exchange.opening())
        self.feed()

    def feed(self):
        for line in self.rig.lines[self.fed :]:
            self.rings.put(line)
        self.fed = len(self.rig.lines)

    def trade(self, seconds, every=0.25):
        for number in range(int(seconds / every)):
            self.rig.advance(every)
            self.exchange.at += int(every * 1000)
            self.rig.send(self.exchange.change("BUY", "0.40", str(number + 1), at=self.exchange.at))
            self.feed()

    def lines(self):
        return self.rings.of("11").lines()


def test_the_ring_begins_with_whole_books_and_forgets_what_is_older():
    rung = Rung()
    start = rung.rig.now
    rung.trade(200)
    lines, now = rung.lines(), rung.rig.now
    assert isinstance(lines[0], Used)
    first = next(line for line in lines if isinstance(line, Heard))
    assert start + 100 < seconds_of(first.t) <= now - 30
    books = [line for line in lines if isinstance(line, Book)]
    assert {line.token for line in books} == {"11", "22"}
    assert isinstance(lines[1], Book)
    assert rung.rings.size <= sum(map(weight, lines)) + 1_000


def test_the_ring_of_a_busy_market_is_bounded_in_bytes():
    rung = Rung(ring_bytes=2**16, bundle_bytes=2**20)
    rung.trade(60, every=0.05)
    assert rung.rings.size <= 2**16 + 2_000
    assert rung.rings.of("11").cut


def test_a_market_that_is_mirrored_no_more_has_no_ring():
    rung = Rung()
    rung.rig.engine.untrack("0xm", rung.rig.now)
    rung.feed()
    assert rung.rings.of("11") is None
    assert rung.rings.size == 0


# ---- What of each line -----------------------------------------------------------------------------


def cut(*lines, was_cut=False):
    exchange = Exchange()
    up, names = exchange.tokens[0], ("a", "b")
    about = {"market": "0xm", "tokens": exchange.tokens, "names": names, "token": up, "reason": "STALE"}
    incident = Incident(n=9, t=5, w=5, until=6, ending="live", **about)
    return list(lines_of(header_of(EngineConfig()), incident, lines, cut=was_cut))[2:]


def test_of_an_array_and_of_an_answer_only_the_books_of_the_market_are_kept_as_they_were():
    exchange, other = Exchange(), Exchange("0xn", "33", "44")
    ours = [f" {json.dumps(exchange.opening_book(token))} " for token in exchange.tokens]
    text = f"[{json.dumps(other.opening_book('33'))},{ours[0]},{ours[1]}]"
    body = Body(text, ("33", "11", "22"))
    heard, answered = cut(Heard(7, 1, 1, 1, text), Answered(8, 1, 1, "books", 4, (body,), ("22", "33")))
    assert heard.data == answered.bodies[0].text == f"[{ours[0].strip()},{ours[1].strip()}]"
    assert answered.bodies[0].tokens == ("11", "22")
    assert answered.failed == ("22",)


def test_what_cannot_be_read_is_kept_because_it_may_be_about_any_market():
    garbage = "[" + "x" * 100_000
    pong, question = Heard(7, 1, 1, 1, "PONG"), Asked(8, 1, 1, "books", 1, ("1", "11"))
    heard, plain, asked = cut(Heard(7, 1, 1, 1, garbage), pong, question)
    assert heard.data == garbage[: 2**16]
    assert plain.data == "PONG"
    assert asked.tokens == ("11",)
    assert isinstance(cut(pong, was_cut=True)[1], Lost)
