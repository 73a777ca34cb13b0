"""Source files as their syntax says: what they import, what they name, and one test for all of them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "polymirror"
CORE = sorted((PACKAGE / "core").rglob("*.py"))
SOURCES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(source: str) -> ast.Module:
    """Parse a file once for all rules."""
    return ast.parse(source)


def imports(source: str, module: str) -> set[str]:
    """Every dotted name that ``module`` imports, under TYPE_CHECKING or not."""
    return {name for node in ast.walk(parsed(source)) for *_, name in imported_names(node, module)}


def imported_names(node: ast.AST, module: str) -> list[tuple[str, str, str]]:
    """For each name that an import statement makes: the name, what it stands for, what was imported."""
    if isinstance(node, ast.Import):
        tops = [a.name.partition(".")[0] for a in node.names]  # ``import a.b`` makes the name ``a``
        return [(a.asname or top, a.name if a.asname else top, a.name) for a, top in zip(node.names, tops, strict=True)]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = module.split(".")[: -node.level]
            base = ".".join([*parents, base] if base else parents)
        return [(a.asname or a.name, f"{base}.{a.name}", f"{base}.{a.name}") for a in node.names]
    return []


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a chain of attributes, or an empty string for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


def each(paths: list[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Make one test of all files, which names every one that is wrong.

    A test for each of a thousand files takes longer to hand out than to run.
    """

    def of_all(test: Callable[[Path], None]) -> Callable[[], None]:
        def run() -> None:
            wrong = []
            for path in paths:
                try:
                    test(path)
                except AssertionError as error:
                    wrong.append(f"{module_name(path)}: {error}")
            if wrong or not paths:
                raise AssertionError("\n".join(wrong) or "there are no files")

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return of_all
