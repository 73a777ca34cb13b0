"""One side of a simulated book, and the memory of its states."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from polymirror.simulator.exchange.history import History, digest
from polymirror.simulator.exchange.ladder import PRICE_TEXTS, Ladder, size_text

CHANGES = st.lists(
    st.tuples(st.integers(1, 40).map(lambda n: n * 250), st.sampled_from([0, 0, 1, 5_000_000, 1_145_640_000])),
    max_size=60,
)


@given(CHANGES)
def test_a_ladder_is_the_dict_of_its_changes_in_wire_order_for_both_tokens(changes: list[tuple[int, int]]) -> None:
    ladder, model = Ladder(), dict[int, int]()
    for price, size in changes:
        assert ladder.set(price, size) == model.get(price, 0)
        model[price] = size
        if not size:
            del model[price]
        assert ladder.size_at(price) == size
    levels = tuple(sorted(model.items(), reverse=True))
    mirrored = tuple((10_000 - price, size) for price, size in levels)
    assert ladder.bids() == levels
    assert ladder.asks() == mirrored
    assert ladder.best == (levels[0][0] if levels else 0)
    assert (ladder.digest, ladder.digest) == digest(levels, mirrored)
    as_wire = [{"price": PRICE_TEXTS[p], "size": size_text(s)} for p, s in reversed(levels)]
    assert json.loads(f"[{ladder.bids_json()}]") == as_wire
    as_wire = [{"price": PRICE_TEXTS[p], "size": size_text(s)} for p, s in reversed(mirrored)]
    assert json.loads(f"[{ladder.asks_json()}]") == as_wire


def test_prices_and_sizes_are_written_with_a_leading_zero_and_no_trailing_ones() -> None:
    assert [PRICE_TEXTS[p] for p in (0, 1, 10, 100, 1000, 4800, 9990, 10_000)] == [
        "0", "0.0001", "0.001", "0.01", "0.1", "0.48", "0.999", "1",
    ]  # fmt: skip
    assert [size_text(s) for s in (1, 500_000, 5_000_000, 1_145_640_000)] == ["0.000001", "0.5", "5", "1145.64"]


def test_a_state_is_true_up_to_the_millisecond_in_which_it_was_replaced() -> None:
    history = History(1_000)
    history.record((1, 1), 10)
    history.record((2, 2), 20)
    assert history.was((1, 1), 20)
    assert not history.was((1, 1), 21)
    assert history.was((2, 2), 10**9)
    assert not history.was((3, 3), 0)


def test_a_state_that_returned_is_as_old_as_its_last_end() -> None:
    history = History(1_000)
    for at, state in enumerate([(1, 1), (2, 2), (1, 1), (3, 3)]):
        history.record(state, at * 10)
    assert history.was((1, 1), 30)
    assert not history.was((2, 2), 21)


def test_what_ended_before_the_horizon_is_forgotten_and_the_memory_stays_small() -> None:
    history, rng = History(100), random.Random(1)
    for at in range(5_000):
        history.record((rng.getrandbits(60), at), at)
        assert len(history) <= 102
    assert not history.was((0, 0), 0)
