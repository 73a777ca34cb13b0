"""Changes: many readers, each with its own place, for the price of one."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from polymirror.shell.changes import MAX_LOG, Changes, Reader

TOKENS = "abcd"


def taken(reader: Reader) -> list[tuple[str, int]]:
    return list(iter(reader.take, None))


def test_what_changed_longest_ago_comes_first_and_a_busy_token_cannot_push_ahead() -> None:
    changes = Changes()
    reader = Reader(changes)
    for token in ("a", "b", "a", "c", "a"):
        changes.note((token,))
        changes.fold()
    assert taken(reader) == [("b", 1), ("c", 1), ("a", 3)]
    changes.note(("b",))
    assert reader.look()
    # It changes all the time; what was looked up before it is taken before it nevertheless.
    changes.note(("a", "b"))
    assert taken(reader) == [("b", 2), ("a", 1)]


def test_a_new_reader_sees_nothing_of_what_was_before() -> None:
    changes = Changes()
    changes.note(("a", "b"))
    readers = (Reader(changes), Reader(changes, ("a",)))
    assert [reader.take() for reader in readers] == [None, None]
    changes.note(("a",))
    assert [taken(reader) for reader in readers] == [[("a", 1)]] * 2


def test_a_limited_reader_sees_its_tokens_alone_in_the_order_of_their_changes() -> None:
    changes = Changes()
    reader = Reader(changes, ("a", "b", "never"))
    for token in ("b", "c", "a"):
        changes.note((token,))
        changes.fold()
    assert taken(reader) == [("b", 1), ("a", 1)]


def test_a_reader_that_ended_takes_what_was_there_and_nothing_later() -> None:
    changes = Changes()
    reader = Reader(changes)
    changes.note(("a", "b"))
    assert reader.look()
    changes.note(("c",))
    reader.end()
    reader.end()
    changes.note(("d", "a"))
    assert [token for token, _ in taken(reader)] == ["a", "b", "c"]
    assert reader.pending() == set()


def test_a_forgotten_token_is_neither_pending_nor_kept_and_may_come_again() -> None:
    changes = Changes()
    reader = Reader(changes)
    for _ in range(5):
        changes.note(("a",))
    assert taken(reader) == [("a", 5)]
    changes.note(("a", "b"))
    assert reader.look()
    changes.forget(("a", "unknown"))
    reader.forget(("a", "unknown"))
    assert taken(reader) == [("b", 1)]
    changes.note(("a",))
    assert taken(reader) == [("a", 1)]
    assert changes.totals == {"a": 1, "b": 1}


def test_looking_again_and_again_collects_no_queue() -> None:
    changes = Changes()
    reader = Reader(changes)
    for _ in range(9):
        changes.note(("a",))
        assert reader.look()
        assert list(reader._queue) == ["a"]
    assert taken(reader) == [("a", 9)]


def test_the_log_is_bounded_whoever_looks() -> None:
    changes = Changes()
    reader = Reader(changes)
    for _ in range(10 * MAX_LOG):
        changes.note(("a",))
        assert len(changes._log) < MAX_LOG
    assert taken(reader) == [("a", 10 * MAX_LOG)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("note"), st.lists(st.sampled_from(TOKENS), unique=True).map(tuple)),
            st.tuples(st.just("take"), st.integers(0, 2)),
            st.tuples(st.just("fold"), st.none()),
        ),
        max_size=60,
    )
)
def test_every_reader_takes_every_change_once(steps) -> None:
    changes = Changes()
    wanted = ((), ("a", "b"), ("c",))
    readers = [Reader(changes, tokens) for tokens in wanted]
    due = [Counter() for _ in readers]
    for what, value in steps:
        if what == "note":
            changes.note(value)
            for counter, tokens in zip(due, wanted, strict=True):
                counter.update(token for token in value if not tokens or token in tokens)
        elif what == "fold":
            changes.fold()
        else:
            assert readers[value].pending() == {token for token, n in due[value].items() if n}
            found = readers[value].take()
            if found is None:
                assert not +due[value]
            else:
                token, n = found
                assert due[value].pop(token) == n
    for reader, counter in zip(readers, due, strict=True):
        assert Counter(dict(taken(reader))) == +counter
