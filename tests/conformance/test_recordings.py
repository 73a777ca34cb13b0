"""What the mirror makes of real recordings. The figures are those recomputed on them by others, or better."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from polymirror.core.states import BookState, Reason
from tests.conformance.classes import MISSES, Class
from tests.conformance.recordings import play, recordings
from tests.conformance.report import PAGE, RATIONED, REPOSITORY, render

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.report import Replayed

GOLDEN = "golden_frames.jsonl"
DENSE = "btc5m_dense_20260421.jsonl"
FIFTEEN = "btc_eth_sol_15m_20260429.jsonl"
BOOKS = "btc5m_books_20260416/*.parquet"
REST = "rest_book_202606.json"
ALL = (GOLDEN, DENSE, FIFTEEN, BOOKS, REST)


def test_the_golden_frames_match_fourteen_of_fourteen(replayed: dict[str, Replayed]) -> None:
    each = replayed[GOLDEN]
    assert each.summary["hash"] == {"match": 14, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert (each.summary["snapshots"], each.summary["deltas"]) == (6, 8)
    assert each.summary["states"] == {"LIVE": 6}


@pytest.mark.parametrize("name", [GOLDEN, DENSE])
def test_the_command_line_says_the_same_as_the_tests(name: str, corpus: Path, replayed: dict[str, Replayed]) -> None:
    command = [sys.executable, "-m", "polymirror", "replay", str(corpus / "ws" / name), "--json"]
    done = subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY)  # noqa: S603 - our own command
    said = msgspec.json.decode(done.stdout.splitlines()[-1])
    assert said == replayed[name].summary | {"interrupted": False}


def test_the_dense_minute_agrees_with_every_statement_at_batch_ends(replayed: dict[str, Replayed]) -> None:
    each = replayed[DENSE]
    assert each.summary["bbo"] == {"match": 9138, "mismatch": 0}
    assert each.summary["complement"] == {"match": 4569, "mismatch": 0}
    assert each.summary["invariants"] == {"match": 9138, "mismatch": 0}
    # The plain rule counts the same, so the mirror has left out no batch.
    assert (each.audit.bbo, each.audit.complement) == ({True: 9138}, {True: 4569})


def test_every_book_sent_again_after_a_trade_equals_the_one_built_from_changes(replayed: dict[str, Replayed]) -> None:
    each = replayed[DENSE]
    assert each.summary["resent_books"] == {"match": 144, "mismatch": 0, "behind": 0}
    assert each.audit.resent == {True: 140}


def test_the_dense_minute_is_proven_almost_always_and_no_book_leaves_live(replayed: dict[str, Replayed]) -> None:
    each = replayed[DENSE]
    hashes = each.summary["hash"]
    assert (hashes["match"] + hashes["healed"]) / sum(hashes.values()) >= 0.978
    assert hashes["unverifiable"] == 0
    assert each.summary["left_live"] == {}
    assert each.summary["states"] == {"LIVE": 4}
    assert max(each.audit.rows) <= 7


def test_every_hash_of_a_change_has_a_class_and_none_is_unexplained(replayed: dict[str, Replayed]) -> None:
    for each in replayed.values():
        assert sum(each.audit.classes.values()) == each.summary["deltas"], each.recording.name
        assert each.audit.classes[Class.UNEXPLAINED] == 0, each.recording.name


def test_every_mismatch_of_the_mirror_is_one_that_the_plain_rule_explains(replayed: dict[str, Replayed]) -> None:
    each = replayed[DENSE]
    assert sum(each.mismatches.values()) == each.summary["hash"]["mismatch"]
    assert set(each.mismatches) <= {RATIONED, *(kind.value for kind in MISSES - {Class.UNEXPLAINED})}


def test_the_fifteen_minute_markets_are_proven_on_every_connection(replayed: dict[str, Replayed]) -> None:
    each = replayed[FIFTEEN]
    assert each.connections == 30
    assert each.rest == {"match": 360}
    assert each.audit.rest_joined == {True: 320}
    assert each.audit.books == {"match": 180}
    assert each.summary["hash"] == {"match": 260, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert each.summary["bbo"] == {"match": 80, "mismatch": 0}


def test_a_new_connection_is_the_only_reason_to_leave_live_and_each_book_comes_back(
    replayed: dict[str, Replayed],
) -> None:
    (played,) = replayed[FIFTEEN].played
    assert played.left_live == {"DISCONNECT": 29 * 6}
    became_live = [each for each in played.transitions if each.new is BookState.LIVE]
    assert len(became_live) == 30 * 6
    assert {each.reason for each in became_live} == {Reason.PROVEN}


def test_all_books_of_the_parquet_sample_are_proven_by_their_own_hash_and_followed_without_a_doubt(
    replayed: dict[str, Replayed],
) -> None:
    each = replayed[BOOKS]
    assert each.summary["hash"] == {"match": 2400, "healed": 0, "mismatch": 0, "unverifiable": 0}
    assert sum(part.engine.outbox.resyncs.get("INVARIANT_FAIL", 0) for part in each.played) == 0
    # The recording has no changes: each book is newer than the one before, and its own hash proves it.
    assert each.audit.without_changes > 0
    assert each.summary["left_live"] == {}


def test_the_rest_book_is_proven(replayed: dict[str, Replayed]) -> None:
    assert replayed[REST].rest == {"match": 1}


def test_nothing_in_the_recordings_is_malformed(replayed: dict[str, Replayed]) -> None:
    assert {name: each.summary["malformed"] for name, each in replayed.items()} == dict.fromkeys(ALL, 0)


def test_a_second_replay_makes_the_same_moves_at_the_same_times(corpus: Path, replayed: dict[str, Replayed]) -> None:
    for recording in recordings(corpus):
        first = replayed[recording.name].played
        second = [play(part) for part in recording.parts()]
        for one, other in zip(first, second, strict=True):
            assert [str(each) for each in one.transitions] == [str(each) for each in other.transitions]
            assert one.summary() == other.summary()


def test_the_moves_do_not_depend_on_the_order_of_sets(corpus: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.conformance.recordings import play, recordings\n"
        "for each in recordings(Path(sys.argv[1]))[:3]:\n"
        "    for part in each.parts():\n"
        "        played = play(part); print(played.summary(), *played.transitions, sep='\\n')\n"
    )

    def outcome(seed: str) -> bytes:
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", program, str(corpus)]
        return subprocess.run(command, env=environment, capture_output=True, check=True, cwd=REPOSITORY).stdout  # noqa: S603

    assert outcome("1") == outcome("2")


def test_the_page_is_what_a_fresh_replay_writes(replayed: dict[str, Replayed]) -> None:
    assert PAGE.read_text(encoding="utf-8") == render(replayed.values()), "run: python -m tests.conformance.report"
