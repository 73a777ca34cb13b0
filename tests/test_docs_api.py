"""The API page has every public name: those of the package, of its tests' tools and of the embedded exchange."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
DIRECTIVE = re.compile(r"^\.\. auto(class|function|exception|data|module):: (\S+)$", flags=re.MULTILINE)

PUBLIC = (
    "polymirror",
    "polymirror.simulator",
    "polymirror.simulator.virtual",
    "polymirror.testing",
    "polymirror.testing.strategies",
)


def documented(page: str) -> set[int]:
    """Return the identity of each object that the page shows, alone or as a part of its module."""
    shown: list[object] = []
    for kind, name in DIRECTIVE.findall(page):
        if kind != "module":
            shown.append(resolve_name(name))
            continue
        # As Sphinx does it: what the module offers, or without such a list what was made there.
        module = import_module(name)
        own = [each for each in vars(module) if getattr(getattr(module, each), "__module__", None) == name]
        shown += [getattr(module, each) for each in getattr(module, "__all__", own)]
    return {id(each) for each in shown}


def missing(page: str, module: str) -> list[str]:
    known, home = documented(page), import_module(module)
    return [name for name in home.__all__ if name != "__version__" and id(getattr(home, name)) not in known]


@pytest.mark.parametrize("module", PUBLIC)
def test_the_page_has_every_public_name(module: str) -> None:
    assert missing(PAGE.read_text(encoding="utf-8"), module) == []


def test_the_version_is_told() -> None:
    assert "`polymirror.__version__`" in PAGE.read_text(encoding="utf-8")


def test_a_name_that_is_not_shown_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8").replace(".. autoclass:: polymirror.gate.Gate\n", "")
    assert missing(page, "polymirror") == ["Gate"]
