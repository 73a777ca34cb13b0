from __future__ import annotations

from types import SimpleNamespace

from polymirror.core.sockets import Sockets


def market(name, tokens=2):
    return SimpleNamespace(condition_id=name, tokens=dict.fromkeys(f"{name}{n}" for n in range(tokens)), socket=None)


def test_both_tokens_of_a_market_share_a_socket_and_sockets_are_filled_in_order():
    sockets, markets = Sockets(4), [market(name) for name in "abc"]
    assigned = [sockets.assign(each, 2) for each in markets]
    assert [(socket.number, new) for socket, new in assigned] == [(1, True), (1, False), (2, True)]
    assert sockets[1].asset_ids == ("a0", "a1", "b0", "b1")
    assert [socket.number for socket in sockets.all()] == [1, 2]


def test_more_tokens_of_a_known_market_stay_on_its_socket():
    sockets, one = Sockets(4), market("a", tokens=1)
    socket, new = sockets.assign(one, 1)
    assert new
    one.tokens["a1"] = None
    assert sockets.assign(one, 1) == (socket, False)
    sockets.assign(market("b"), 2)
    assert sockets.assign(market("c"), 2)[0] is not socket


def test_room_that_becomes_free_is_used_again():
    sockets, markets = Sockets(4), [market(name) for name in "abc"]
    for each in markets:
        sockets.assign(each, 2)
    assert sockets.release(markets[0]) is None
    assert markets[0].socket is None
    assert sockets.assign(market("d"), 2)[0].number == 1


def test_the_last_market_to_leave_takes_the_socket_with_it_and_its_number_never_returns():
    sockets, one = Sockets(4), market("a")
    socket, _ = sockets.assign(one, 2)
    assert sockets.release(one) is socket
    assert sockets.get(socket.number) is None
    assert sockets.release(one) is None
    assert sockets.assign(one, 2)[0].number == 2
