"""What is recorded is played again to the last bit: transitions, events, and all that the engine counts."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from polymirror import EngineConfig
from polymirror.core.events import Transition
from polymirror.errors import DecodeError
from polymirror.journal.format import Answered, Book, Heard, Slept, Used, read_line, seconds_of, stamp, write_lines
from polymirror.journal.player import Player
from polymirror.journal.recorder import RecordingEngine
from polymirror.journal.replay import Replay
from polymirror.torture.storm import draw_storm
from polymirror.torture.world import World
from tests.core.builders import START, Exchange
from tests.journal.rig import RecordedRig, hash_of, header_of, record, status_of


def replayed(folder, seen):
    """Replay what had been recorded when it was looked at; return the replay and all its events."""
    replay, events = Replay(folder), []
    for step in replay.steps():
        events += step.events
        if step.line.n == seen.lines - 1:
            break
    return replay, events


@pytest.mark.parametrize("hedge", [1, 2])
def test_a_minute_with_faults_is_replayed_to_the_last_bit(hedge, tmp_path):
    seen = record(tmp_path, hedge=hedge)
    replay, events = replayed(tmp_path, seen)
    assert seen.moves > 20
    assert hash_of(events) == (seen.transitions, seen.moves)
    assert status_of(replay.engine, seen.at) == seen.status
    assert replay.exact
    assert replay.lost == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_in_the_judges_world_is_replayed_to_the_last_bit(seed):
    lines = []
    storm = draw_storm(seed, 1.0, 8)
    faults = [episode.build(storm.exchange.start_ms, seed) for episode in storm.episodes]

    def recorded(config, rng):
        return RecordingEngine(config, rng, lines.append, lambda: 1.7e9, 5.0)

    world = World(storm.exchange, faults, seed=seed, network=storm.network, engine_class=recorded)
    world.run(65)
    player, trace = Player(read_line(write_lines([header_of(world.engine_config, seed)]))), sha256()
    for text in write_lines(lines).splitlines():
        for event in player.play(read_line(text))[0]:
            if isinstance(event, Transition):
                trace.update(str(event).encode())
    assert trace.hexdigest() == world.trace()
    assert status_of(player.engine, world.seconds) == status_of(world.engine, world.seconds)
    assert any(isinstance(line, Book) for line in lines)


def play_all(rig, config=None):
    player = Player(header_of(config or EngineConfig()))
    events = []
    for text in write_lines(rig.lines).splitlines():
        events += player.play(read_line(text))[0]
    return player, events


def test_everything_that_can_be_put_in_is_written_down_and_done_again():
    exchange, other = Exchange(), Exchange("0xn", "33", "44")
    rig = RecordedRig(exchange, other)
    engine = rig.engine
    rig.time()
    engine.time_asked(rig.now)
    engine.connected(1, rig.now, asked_at=rig.now - 0.25)
    rig.send(exchange.opening(), read_at=rig.now - 1 / 3)
    rig.send(other.opening())
    engine.listen(wanted=True)
    engine.listen(wanted=True)
    rig.send(b"\xff\xfe")
    rig.send('{"a": "\ud800"}')
    rig.send(exchange.change("BUY", "0.46", "7", at=START + 1_000))
    engine.gap(3.0, rig.now)
    engine.prove("11", rig.now)
    rig.drain()
    rig.answer()
    engine.resync("33", rig.now)
    rig.drain()
    rig.fail()
    rig.advance(2.5)
    engine.overflow(1, rig.now)
    rig.disconnect(resolved=True)
    engine.unreachable(1, "TLS", rig.now)
    rig.gamma(closed=True)
    rig.connect()
    engine.untrack("0xn", rig.now)
    rig.drain()
    for wrong in (lambda: engine.untrack("0xn", rig.now), lambda: engine.prove("33", rig.now)):
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(ValueError, match="another market"):
        engine.track("0xq", ["11"], rig.now)
    player, events = play_all(rig)
    assert list(map(repr, events)) == list(map(repr, sorted(rig.transitions + rig.warnings, key=order_of(events))))
    assert status_of(player.engine, rig.now) == status_of(engine, rig.now)
    kinds = {type(line) for line in rig.lines}
    assert {Heard, Answered, Slept, Used} <= kinds
    assert sum(isinstance(line, Used) and line.what == "listen" for line in rig.lines) == 1
    assert [line.n for line in rig.lines] == list(range(len(rig.lines)))


def order_of(events):
    """The rig keeps transitions and warnings apart; each of them in order."""
    places = {repr(event): place for place, event in enumerate(events)}
    return lambda event: places.get(repr(event), -1)


def test_the_text_of_an_answer_is_kept_untouched_and_read_again_as_the_client_read_it():
    rig = RecordedRig(exchange := Exchange())
    rig.connect()
    rig.send(exchange.opening())
    rig.engine.prove("11", rig.now)
    rig.drain()
    asked = rig.pending[-1]
    text = f" [ {json.dumps(exchange.content('11'))}, {json.dumps(Exchange('0xq', '77').content('77'))} ]\n"
    rig.engine.note_bodies(asked.request, ((asked.asset_ids, text.encode()),))
    rig.engine.books(asked.request, {"11": exchange.rest("11")}, rig.now)
    rig.drain()
    (body,) = next(line for line in reversed(rig.lines) if isinstance(line, Answered)).bodies
    assert (body.text, body.form) == (text, "")
    player, _ = play_all(rig)
    assert rig.verdicts("probe") == {"match": 1}
    assert status_of(player.engine, rig.now) == status_of(rig.engine, rig.now)


def test_settings_of_another_version_are_refused_with_their_name():
    header = header_of(EngineConfig())
    header.engine["shiny"] = 1
    with pytest.raises(DecodeError, match=r"settings in a journal.*shiny"):
        Player(header)


def test_times_are_read_back_to_the_last_bit():
    for ns in (0, 1, 1_159_817_805_782, 86_400 * 10**9 * 365 + 1):
        assert isinstance(stamp(ns / 1e9), int)
        assert seconds_of(stamp(ns / 1e9)) == ns / 1e9
    for odd in (1 / 3, 1000.0000000001, 1e-12):
        assert isinstance(stamp(odd), float)
        assert seconds_of(stamp(odd)) == odd
    line = read_line(write_lines([Slept(0, stamp(1 / 3), 0, 0.1)]))
    assert (seconds_of(line.t), line.seconds) == (1 / 3, 0.1)
