from __future__ import annotations

import random

from polymirror.core.timers import SPARE, Deadlines

NEVER = float("inf")


def test_there_is_no_next_deadline_when_none_is_set():
    deadlines = Deadlines()
    assert deadlines.next() == NEVER
    assert list(deadlines.pop_due(1e9)) == []


def test_owners_fall_due_earliest_first_and_not_before_their_time():
    deadlines = Deadlines()
    for owner, at in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        deadlines.set(owner, at)
    assert deadlines.next() == 1.0
    assert list(deadlines.pop_due(2.0)) == ["a", "b"]
    assert deadlines.next() == 3.0
    assert list(deadlines.pop_due(2.999)) == []


def test_equal_deadlines_fall_due_in_the_order_in_which_they_were_set():
    deadlines = Deadlines()
    for owner in "zayb":
        deadlines.set(owner, 1.0)
    deadlines.set("y", 1.0)
    assert list(deadlines.pop_due(1.0)) == list("zayb")


def test_an_owner_has_one_deadline_which_can_be_moved_and_cancelled():
    deadlines = Deadlines()
    deadlines.set("a", 5.0)
    deadlines.set("a", 1.0)
    assert len(deadlines) == 1
    deadlines.set("a", NEVER)
    assert (len(deadlines), deadlines.next()) == (0, NEVER)
    deadlines.set("a", 2.0)
    deadlines.cancel("a")
    deadlines.cancel("a")
    assert list(deadlines.pop_due(10.0)) == []


def test_deadlines_that_are_moved_again_and_again_do_not_pile_up():
    deadlines = Deadlines()
    deadlines.set("b", 5.0)
    for n in range(10_000):
        deadlines.set("a", 1e6 - n)
    assert len(deadlines._heap) <= 2 * len(deadlines) + SPARE
    assert list(deadlines.pop_due(1e6)) == ["b", "a"]


def test_random_use_agrees_with_a_plain_dictionary():
    rng, deadlines, plain = random.Random(5), Deadlines(), {}
    for now in range(500):
        for _ in range(3):
            owner, at = rng.randrange(20), now + rng.randrange(10)
            deadlines.set(owner, at)
            plain[owner] = at
        due = set(deadlines.pop_due(now))
        assert due == {owner for owner, at in plain.items() if at <= now}
        plain = {owner: at for owner, at in plain.items() if at > now}
        assert (len(deadlines), deadlines.next()) == (len(plain), min(plain.values(), default=NEVER))
