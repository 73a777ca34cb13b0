"""The exceptions: the tree as drawn, and messages a person can act on."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from polymirror import errors
from polymirror.core.states import BookState, Reason

LINE = re.compile(r"^(?P<indent>[ │]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?: {2,}(?P<what>\S.*))?$")


def drawn() -> dict[str, tuple[str | None, str]]:
    """Read the tree in the module's docstring: of each name its parent and what stands beside it."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: list[tuple[int, str]] = []
    block = errors.__doc__.split("::\n\n", 1)[1].split("\n\n", 1)[0]
    for line in block.splitlines():
        match = LINE.match(line)
        assert match, line
        depth = match.start("name")
        above = [(indent, name) for indent, name in above if indent < depth]
        tree[match["name"]] = (above[-1][1] if above else None, match["what"] or "")
        above.append((depth, match["name"]))
    return tree


def real() -> dict[str, type[Exception]]:
    classes = vars(errors).values()
    return {each.__name__: each for each in classes if inspect.isclass(each) and issubclass(each, Exception)}


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    tree = drawn()
    assert {name: parent for name, (parent, _) in tree.items()} == {
        name: None if each.__bases__[0] is Exception else each.__bases__[0].__name__ for name, each in real().items()
    }


def test_the_other_bases_are_drawn_too() -> None:
    for name, (_, what) in drawn().items():
        also = [base.__name__ for base in real()[name].__bases__[1:]]
        assert re.findall(r"also an? (\w+)", what) == [] or re.findall(r"also an? (\w+)", what) == also
        if also and name != "MissingExtra":
            assert f"(also a {also[0]})" in what


def test_every_error_says_what_it_is() -> None:
    for each in real().values():
        assert inspect.getdoc(each)


TOKEN = "1234567890" * 8
EXAMPLES = [
    (errors.ConfigError("attempts", 0, "at least 1"), "attempts=0 is not allowed: it must be at least 1"),
    (errors.UnitError("price", "2", "at most 1"), "price 2 is not valid: it must be at most 1"),
    (errors.DecodeError("a book", "no bids"), "cannot decode a book: no bids"),
    (
        errors.NotLive(TOKEN, BookState.LIVE, Reason.STALE, 0.25, 3, 0.1, "waited 1 s"),
        "123456789012..567890 is LIVE (STALE), proven 0.250 s ago, allowed 0.1 s, epoch 3: waited 1 s",
    ),
    (
        errors.NotLive("t", BookState.UNPRIMED, None, None, 0),
        "t is UNPRIMED, never proven, epoch 0",
    ),
    (
        errors.LeaseLost("t", BookState.SUSPECT, Reason.DISCONNECT, 1.0, 2),
        "the lease on t is lost, do not send the order: the book is SUSPECT (DISCONNECT), proven 1.000 s ago, epoch 2",
    ),
    (errors.UnknownToken(TOKEN), "123456789012..567890 is not tracked by this mirror: add it first"),
    (
        errors.UnknownToken("btc"),
        (
            "btc is not tracked by this mirror: add it first; tokens are named by text of digits, as in market.up.id, "
            "and markets by their condition_id"
        ),
    ),
    (errors.MirrorClosed("the mirror was stopped"), "the mirror was stopped"),
    (errors.MissingExtra("the demo", "cli"), "the demo needs an extra: pip install 'polymirror[cli]'"),
    (errors.MarketNotFound("no market"), "no market"),
    (errors.RateLimited("GET /book", 1.5), "GET /book: rate limited, asked to wait 1.5 s"),
    (errors.RateLimited("GET /book", None), "GET /book: rate limited"),
    (errors.VenueUnavailable("GET /time", 503, "down"), "GET /time: HTTP 503: down"),
    (errors.VenueUnavailable("GET /time", None), "GET /time: no answer"),
    (errors.BadResponse("GET /time", "HTML"), "GET /time: HTML"),
]


@pytest.mark.parametrize(("error", "message"), EXAMPLES)
def test_messages_carry_what_a_person_needs(error, message) -> None:
    assert str(error) == message
    assert isinstance(error, errors.PolymirrorError)


def test_hostile_values_do_not_fill_a_message() -> None:
    for error in (
        errors.UnitError("size", "9" * 1_000_000, "a size"),
        errors.UnknownToken("9" * 1_000_000),
        errors.NotLive("9" * 1_000_000, BookState.LIVE, None, None, 0),
        errors.ConfigError("seed", "9" * 1_000_000, "a whole number"),
    ):
        assert len(str(error)) < 300


@pytest.mark.parametrize(("error", "message"), EXAMPLES)
def test_errors_survive_the_way_to_another_process(error, message) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is type(error)
    assert str(again) == message
    assert vars(again) == vars(error)


def test_an_unknown_token_is_a_key_error_and_a_bad_setting_a_value_error() -> None:
    with pytest.raises(KeyError):
        raise errors.UnknownToken("t")
    for error in (errors.ConfigError("a", 1, "b"), errors.UnitError("a", 1, "b")):
        assert isinstance(error, ValueError)
    assert isinstance(errors.MissingExtra("a", "b"), ImportError)
