"""A replay that begins in the middle, or goes on after a gap: the same books, from whole ones that were recorded."""

from __future__ import annotations

import shutil

import pytest

from polymirror import BookState, ConfigError, JournalConfig, MirrorConfig, UnknownToken
from polymirror.errors import DecodeError, PolymirrorError
from polymirror.journal.disk import FRAME_SECONDS, index_of, journal_files, pack_lines
from polymirror.journal.format import Book, Header, Heard, Lost, Ticked, read_line, write_lines
from polymirror.journal.reader import SLACK_SECONDS, open_journal, sessions
from polymirror.journal.replay import Replay
from polymirror.journal.writer import Writer
from tests.core.builders import START, Exchange, shown, truth
from tests.journal.rig import CONFIG, RecordedRig, header_of, record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two minutes of three calm markets, in frames and files that are much smaller than usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymirror.journal.disk.FRAME_BYTES", 40_000)
        return recorded(tmp_path_factory.mktemp("journal"))


def recorded(folder):
    record(folder, seconds=120, faults=(), book_seconds=5.0)
    return folder


def books_at(replay, wall):
    """The levels of all LIVE books at a time of day."""
    for step in replay.steps():
        if step.wall > wall:
            break
    engine = replay.engine
    return {
        token: shown(engine.peek(token, step.at))
        for token in engine.asset_ids
        if engine.peek_state(token) is BookState.LIVE
    }


def test_from_any_moment_on_the_books_are_those_of_the_exact_replay(folder):
    begin = sessions(folder)[0].header.w / 1e9
    for seconds in (20, 63.3, 110):
        exact, middle = Replay(folder), Replay(folder, start=begin + seconds)
        books, again = books_at(exact, begin + seconds + 3), books_at(middle, begin + seconds + 3)
        assert {token: books.get(token) for token in again} == again
        # What is doubted for a moment differs: the engine asks REST at other times.
        assert len(again) >= 5
        assert exact.exact
        assert not middle.exact
        # It does not read all that came before.
        assert middle.lines < exact.lines * 0.8


def test_whoever_begins_in_the_middle_reads_a_bounded_time_and_finds_every_book_in_it(folder):
    (session,) = sessions(folder)
    wall = session.header.w / 1e9 + 115
    place, older = session.begin(wall, ())
    frame = session.files[place[0]].frames[place[1]]
    assert wall - frame.w / 1e9 <= session.header.book_seconds + FRAME_SECONDS + SLACK_SECONDS < 115
    told = {line.token for line in session.lines(place) if isinstance(line, Book) and line.w / 1e9 < wall}
    assert len(told) == 6
    assert older == {}
    # The index names each token once, however often its book is in the file.
    index, (file,) = index_of(session.files[0].path).read_text(), session.files
    assert [index.count(f'"{token}"') for token in told] == [1] * 6
    assert sum(token in frame.books for token in told for frame in file.frames) > 100


def test_of_one_token_only_its_market_is_replayed(folder):
    session = sessions(folder)[0]
    begin = session.header.w / 1e9
    token = next(line.token for line in session.lines() if isinstance(line, Book))
    every, one = Replay(folder, start=begin + 60), Replay(folder, start=begin + 60, tokens=[token])
    views = [view for view in every.views(token) if view.state is BookState.LIVE]
    alone = [view for view in one.views() if view.state is BookState.LIVE]
    assert {view.token for view in alone} == {token}
    assert [view.levels for view in alone] == [view.levels for view in views]
    assert len(alone) > 20
    assert one.frames < every.frames / 2


def test_an_end_and_a_start_bound_what_is_told(folder):
    begin = sessions(folder)[0].header.w / 1e9
    walls = [step.wall for step in Replay(folder, start=begin + 30, end=begin + 40).steps()]
    assert begin + 30 <= min(walls) <= max(walls) <= begin + 40
    assert max(walls) - min(walls) > 9
    with pytest.raises(ConfigError, match="after the start"):
        Replay(folder, start=begin, end=begin)


def test_a_token_that_is_nowhere_is_an_error_at_the_end(folder):
    with pytest.raises(UnknownToken):
        list(Replay(folder).views("1"))


def test_the_pace_is_kept_and_can_be_sped_up(folder):
    begin = sessions(folder)[0].header.w / 1e9
    for speed in (1.0, 10.0):
        now = [0.0]

        def sleep(seconds, now=now):
            now[0] += seconds

        replay = Replay(folder, start=begin + 30, end=begin + 40)
        for _ in replay.steps(speed=speed, sleep=sleep, clock=lambda now=now: now[0]):
            pass
        assert 9 / speed < now[0] <= 10 / speed
    with pytest.raises(ConfigError, match="above 0"):
        next(replay.steps(speed=0))


def test_the_pace_is_that_of_the_mirrors_clock_though_the_time_of_day_was_set():
    second, day = 10**9, 86_400 * 10**9
    header = header_of(MirrorConfig().engine)
    ticks = [Ticked(n, n * second, n * second + (day if 3 <= n < 6 else 0)) for n in range(9)]
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    steps = list(Replay(pack_lines([header, *ticks])).steps(speed=1, sleep=sleep, clock=lambda: now[0]))
    assert len(steps) == len(ticks)
    assert now[0] == 8.0


@pytest.mark.parametrize("packed", [True, False])
def test_an_end_and_a_start_are_right_though_the_time_of_day_was_set(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("polymirror.journal.disk.FRAME_BYTES", 100)
    monkeypatch.setattr("polymirror.journal.writer.AT_ONCE", 3)
    second, back, forth = 10**9, range(20, 40), range(50, 53)
    # Set back by 15 s after 20 s, then right again, then for a moment an hour ahead.
    set_by = dict.fromkeys(back, -15) | dict.fromkeys(forth, 3600)
    ticks = [Ticked(n, n * second, (1000 + n + set_by.get(n, 0)) * second) for n in range(60)]
    if packed:
        writer = Writer(
            tmp_path, header_of(CONFIG).session, lambda *_: header_of(CONFIG), JournalConfig(min_free_bytes=0)
        )
        writer.start()
        for tick in ticks:
            writer.put(tick)
        assert writer.close(60)
        source = tmp_path
        assert len(open_journal(journal_files(tmp_path)[0]).frames) > 10
    else:
        source = pack_lines([header_of(CONFIG), *ticks])
    for start, end in (
        (1003, 1008),
        (1017, 1018),
        (1030, 1042),
        (1056, 1058),
        (4640, 5000),
        (1055, 4652),
        (900, 1000.5),
    ):
        want = [tick.n for tick in ticks if start * second <= tick.w <= end * second]
        replay = Replay(source, start=start, end=end)
        assert [step.line.n for step in replay.steps()] == want
        assert replay.lines == len(want)
        assert replay._player.now == (max(want) if want else 0.0)


def test_without_its_first_file_a_session_is_replayed_from_the_next(folder, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymirror.journal.disk.FRAME_BYTES", 40_000)
        patch.setattr("polymirror.journal.writer.POLL", 0.0)
        record(tmp_path / "all", faults=(), book_seconds=5.0, rotate_bytes=20_000, keep_up=True)
    files = journal_files(tmp_path / "all")
    assert len(files) > 3
    whole = Replay(tmp_path / "all")
    assert len(list(whole.views())) > 100
    assert (whole.exact, whole.lost) == (True, 0)
    end = max(step.wall for step in Replay(tmp_path / "all").steps())
    want = books_at(Replay(tmp_path / "all"), end - 2)
    files[0].unlink()
    rest = Replay(tmp_path / "all")
    assert books_at(rest, end - 2) == want
    assert (rest.exact, rest.lost) == (False, 0)
    # One in the middle: the gap is noticed by the numbers.
    files[2].unlink()
    gap = Replay(tmp_path / "all")
    list(gap.steps())
    assert gap.lost > 0


def journal_of(lines) -> bytes:
    return pack_lines([header_of(CONFIG), *lines])


def lived() -> RecordedRig:
    rig = RecordedRig(exchange := Exchange())
    rig.time()
    rig.connect()
    rig.send(exchange.opening())
    rig.engine.record_books()
    for n in range(1, 6):
        rig.now += 1
        rig.send(exchange.change("BUY", f"0.3{n}", str(n), at=START + 1000 * n))
    return rig


def test_a_small_journal_lives_in_memory_and_may_be_plain_text():
    rig = lived()
    for source in (journal_of(rig.lines), write_lines([header_of(CONFIG), *rig.lines])):
        replay = Replay(source)
        *_, last = replay.views("11")
        assert replay.exact
        assert shown(last) == truth(rig.exchanges[0], "11")


def test_after_a_gap_books_are_not_live_until_they_come_whole():
    rig = lived()
    lines = rig.lines
    # What was lost stands where it was: two changes of the book, and the whole books after them are there.
    changes = [at for at, line in enumerate(lines) if isinstance(line, Heard)]
    books = [line for line in lines if isinstance(line, Book)]
    assert len(books) == 2
    lost = Lost(lines[changes[3]].n, lines[changes[3]].t, lines[changes[3]].w, 2, 0, 0, "the disk")
    cut = [*lines[: changes[3]], lost, *lines[changes[4] + 1 :]]
    replay = Replay(journal_of(cut))
    states = [(replay.engine.standing("11"), step.line) for step in replay.steps()]
    at = next(place for place, (_, line) in enumerate(states) if isinstance(line, Lost))
    assert states[at - 1][0].state is BookState.LIVE
    assert states[at][0].state is not BookState.LIVE
    assert (replay.exact, replay.lost) == (False, 2)


def test_a_lost_connection_ends_its_books_in_a_replay_from_the_middle():
    rig = lived()
    begun = len(rig.lines)
    rig.disconnect()
    rig.connect()
    rig.send(rig.exchanges[0].opening())
    tail = [line for line in rig.lines if isinstance(line, Book)] + rig.lines[begun - 1 :]
    header = header_of(CONFIG)
    header.file = 2
    replay = Replay(pack_lines([header, *tail]))
    states = [replay.engine.standing("11") for _ in replay.steps()]
    seen = list(dict.fromkeys(each.state for each in states if each is not None))
    assert seen == [BookState.LIVE, BookState.RESYNCING]
    assert states[-1].state is BookState.LIVE


def test_what_is_no_journal_is_refused(tmp_path):
    for data in (b"", b"x", b'{"kind":"timer","n":1,"t":1,"w":1}\n', b"\x28\xb5\x2f\xfd garbage"):
        with pytest.raises(DecodeError, match="no header of a journal"):
            Replay(data)
    header = header_of(CONFIG)
    header.format = 99
    with pytest.raises(DecodeError, match="format 99, and this version reads 1 at most: update"):
        Replay(write_lines([header]))
    with pytest.raises(PolymirrorError, match="no journal in"):
        Replay(tmp_path)
    (tmp_path / "20260101T000000Z-abcdef-00001.jsonl.zst").write_bytes(b"")
    with pytest.raises(PolymirrorError, match="no journal in"):
        Replay(tmp_path)


def test_lines_of_a_later_version_are_left_out_and_damaged_ones_are_no_line():
    assert read_line(b'{"kind":"shiny","n":1,"t":1,"w":1}') is None
    for text in (b"{", b"5", b'{"kind":"timer"}', b'{"kind":"ws_in","n":1,"t":"x"}', b"\xff", b'{"a":' * 100_000):
        with pytest.raises(DecodeError, match="a line of a journal"):
            read_line(text)


def test_two_sessions_in_one_folder_are_replayed_one_after_the_other(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "both")
    record(tmp_path / "both", seconds=10, faults=())
    replay = Replay(tmp_path / "both")
    names = list(dict.fromkeys(step.session for step in replay.steps()))
    assert names == [session.name for session in replay.sessions]
    assert len(names) == 2
    assert replay.exact
    assert isinstance(open_journal(journal_files(folder)[0]).header, Header)
