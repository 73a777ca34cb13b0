"""What a consumer listens to and says at a broker: without a broker, on a clock that the test moves."""

from __future__ import annotations

import random

import pytest

from polymirror.relay.broker.follower import KEEP_EVERY, NOBODY, Follower
from polymirror.relay.broker.subjects import Subjects
from polymirror.relay.link import PING_EVERY, Link
from polymirror.relay.wire import Ask, decode
from tests.relay.rig import DOWN, UP

THERE = Subjects("desk", "json")


@pytest.fixture
def follower() -> Follower:
    link = Link("relay", "json")
    link.want([UP, DOWN], 0.0)
    return Follower(link, "desk", "mine", random.Random(1))


def says(follower: Follower, now: float) -> list[Ask]:
    return [decode(Ask, data, "json") for data in follower.says(now)]


def test_nothing_is_said_before_the_broker_is_there(follower: Follower) -> None:
    assert says(follower, 0.0) == []
    assert says(follower, 2 * KEEP_EVERY) == []


def test_it_listens_to_its_tokens_and_to_answers_of_its_own(follower: Follower) -> None:
    assert follower.ask == THERE.ask
    assert THERE.is_reply(follower.replies)
    assert follower.subjects == {f"{THERE.replies}mine", THERE.book(UP), THERE.book(DOWN)}
    follower.link.drop([DOWN])
    follower.link.want(["a.b"], 0.0)
    # There is no subject for what has a dot in it.
    assert follower.subjects == {follower.replies, THERE.book(UP)}
    follower.link.list_markets()
    assert THERE.markets in follower.subjects


def test_it_asks_for_whole_books_at_once_and_says_again_what_it_wants(follower: Follower) -> None:
    follower.opened(10.0)
    assert says(follower, 10.0) == [Ask(ping=1, want=[UP, DOWN])]
    assert says(follower, 10.0) == []
    assert follower.next_say(10.0) == 10.0 + PING_EVERY
    kept = [ask for tenth in range(1, 10 * 45) for ask in says(follower, 10.0 + tenth / 10) if ask.keep]
    assert kept == [Ask(keep=[UP, DOWN])] * 2


def test_what_it_drops_others_may_want(follower: Follower) -> None:
    follower.opened(10.0)
    says(follower, 10.0)
    follower.link.drop([UP])
    assert says(follower, 10.1) == []


def test_a_relay_that_is_not_there_is_tried_again_soon_and_once(follower: Follower) -> None:
    follower.opened(10.0)
    says(follower, 10.0)
    assert follower.nobody(11.0)
    follower.link.closed("nobody")
    assert not follower.nobody(11.1)
    soonest, latest = (11.0 + each for each in NOBODY)
    assert soonest <= follower.next_say(11.1) <= latest
    assert not follower.tries_again(soonest - 0.01)
    assert says(follower, soonest - 0.01) == []
    assert follower.tries_again(latest)
    assert not follower.tries_again(latest)
    assert [ask.want for ask in says(follower, latest)] == [[UP, DOWN]]
    assert follower.nobody(latest)


@pytest.mark.parametrize("set_by", [-30.0, 30.0])
def test_a_clock_that_is_set_puts_nothing_off(follower: Follower, set_by: float) -> None:
    follower.opened(100.0)
    says(follower, 100.0)
    assert follower.nobody(101.0)
    follower.link.closed("nobody")
    now = 101.1 + set_by
    follower.link.stepped(now)
    assert follower.next_say(now) <= now
    assert follower.tries_again(now)
    assert [ask.want for ask in says(follower, now)] == [[UP, DOWN]]
    # What is wanted is said again as often as ever.
    kept = [ask for tenth in range(1, 10 * 45) for ask in says(follower, now + tenth / 10) if ask.keep]
    assert kept == [Ask(keep=[UP, DOWN])] * 2


def test_what_is_wanted_is_said_again_when_the_clock_was_set_back(follower: Follower) -> None:
    follower.opened(100.0)
    says(follower, 100.0)
    follower.link.stepped(40.0)
    assert Ask(keep=[UP, DOWN]) in says(follower, 40.0)
