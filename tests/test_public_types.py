"""Everything public can be asked for its types while the program runs, as dependency injection and docs do."""

from __future__ import annotations

import inspect
import typing

import pytest

import polymirror

CALLED = {"__init__", "__call__", "__aenter__", "__aexit__", "__enter__", "__exit__", "__iter__", "__aiter__"}
"""Methods with two underscores that users call, if only by a statement of the language."""


def callables(owner: type) -> dict[str, object]:
    """What a class offers to be called, its properties' getters included, and itself for the types of its fields."""
    found: dict[str, object] = {owner.__qualname__: owner}
    for base in owner.__mro__:
        if not base.__module__.startswith("polymirror"):
            continue
        for name, value in vars(base).items():
            inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(inner) and (not name.startswith("_") or name in CALLED):
                found.setdefault(f"{owner.__qualname__}.{name}", inner)
    return found


PUBLIC = {
    name: each
    for exported in polymirror.__all__
    if inspect.isclass(owner := getattr(polymirror, exported))
    for name, each in callables(owner).items()
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_types_of_what_is_public_are_known_at_run_time(name: str) -> None:
    typing.get_type_hints(PUBLIC[name])


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_says_all_its_types(name: str) -> None:
    if inspect.isclass(PUBLIC[name]):
        return
    # What attrs and msgspec make has them from the fields.
    hints = typing.get_type_hints(PUBLIC[name])
    parameters = [each for each in inspect.signature(PUBLIC[name]).parameters if each not in {"self", "cls"}]
    assert [each for each in [*parameters, "return"] if each not in hints] == []


def test_a_name_that_is_only_there_for_the_type_checker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("polymirror.gate.BookView")
    with pytest.raises(NameError, match="BookView"):
        typing.get_type_hints(PUBLIC["Lease.check"])


def test_methods_properties_and_fields_are_looked_at() -> None:
    assert {"Mirror", "Mirror.live", "Mirror.for_slug", "Mirror.tokens", "Mirror.__aexit__", "Update"} <= set(PUBLIC)
