from __future__ import annotations

from types import SimpleNamespace

from polymirror.core.lines import Lines


def market(name, tokens=2):
    return SimpleNamespace(condition_id=name, tokens=dict.fromkeys(f"{name}{n}" for n in range(tokens)), line=None)


def test_both_tokens_of_a_market_share_a_socket_and_sockets_are_filled_in_order():
    lines, markets = Lines(4), [market(name) for name in "abc"]
    assigned = [lines.assign(each, 2) for each in markets]
    assert [(line.number, new) for line, new in assigned] == [(1, True), (1, False), (2, True)]
    assert lines[1].asset_ids == ("a0", "a1", "b0", "b1")
    assert [line.number for line in lines.all()] == [1, 2]


def test_more_tokens_of_a_known_market_stay_on_its_socket():
    lines, one = Lines(4), market("a", tokens=1)
    line, new = lines.assign(one, 1)
    assert new
    one.tokens["a1"] = None
    assert lines.assign(one, 1) == (line, False)
    lines.assign(market("b"), 2)
    assert lines.assign(market("c"), 2)[0] is not line


def test_room_that_becomes_free_is_used_again():
    lines, markets = Lines(4), [market(name) for name in "abc"]
    for each in markets:
        lines.assign(each, 2)
    assert lines.release(markets[0]) is None
    assert markets[0].line is None
    assert lines.assign(market("d"), 2)[0].number == 1


def test_the_last_market_to_leave_takes_the_socket_with_it_and_its_number_never_returns():
    lines, one = Lines(4), market("a")
    line, _ = lines.assign(one, 2)
    assert lines.release(one) is line
    assert lines.get(line.number) is None
    assert lines.release(one) is None
    assert lines.assign(one, 2)[0].number == 2
