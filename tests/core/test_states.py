from __future__ import annotations

import pytest

from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason
from tests.core.builders import BEGIN, Exchange, Rig


def test_every_state_is_in_the_table():
    assert set(LEGAL_TRANSITIONS) == set(BookState)


def test_a_retired_book_can_only_be_built_anew():
    assert LEGAL_TRANSITIONS[BookState.RETIRED] == {BookState.RESYNCING}
    assert all(
        BookState.RETIRED in after for state, after in LEGAL_TRANSITIONS.items() if state is not BookState.RETIRED
    )


def test_a_live_book_can_only_become_suspect_or_retired():
    assert LEGAL_TRANSITIONS[BookState.LIVE] == {BookState.SUSPECT, BookState.RETIRED}


def test_no_state_leads_back_to_unprimed():
    assert all(BookState.UNPRIMED not in after for after in LEGAL_TRANSITIONS.values())


@pytest.mark.parametrize("old", list(BookState))
@pytest.mark.parametrize("new", list(BookState))
def test_a_token_makes_exactly_the_moves_of_the_table(old, new):
    token = Rig(Exchange()).token("11")
    token.state = old
    if new in LEGAL_TRANSITIONS[old]:
        token.move(new, Reason.REQUESTED, BEGIN)
        assert token.state is new
    else:
        with pytest.raises(RuntimeError, match="illegal transition"):
            token.move(new, Reason.REQUESTED, BEGIN)
        assert token.state is old
