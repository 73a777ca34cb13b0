"""Nobody outside the core reaches into an engine: the lint for that, and that it sees every spelling."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from polymirror.core.engine import Engine
from tests.reading import CORE, REPOSITORY, SOURCES, dotted, each, imported_names, is_within, module_name, parsed

if TYPE_CHECKING:
    from pathlib import Path

OUTSIDE = sorted({*SOURCES, *(REPOSITORY / "bots").rglob("*.py")} - set(CORE))
"""Whoever stands on the core and must not reach into it."""

ENGINE_OFFERS = frozenset(name for name in dir(Engine) if not name.startswith("_"))
"""What the engine's class defines: its methods and properties. What an instance holds is nobody's business."""

INNER_MODULES = frozenset(
    {"market", "mirrored", "outbox", "requests", "resync", "sockets", "timers", "token", "upkeep"}
)
"""Modules of the core whose classes are the engine's inside."""

INNER_NAMES = frozenset({
    "doubted_at", "hash_proven", "miss_since", "missed_deltas", "past_levels", "proven_at_ms", "proven_levels",
    "tip_levels", "unproven",
})  # fmt: skip
"""Attributes that only a token has, or one of its parts."""

NOT_YET: set[str] = set()
"""Modules that still do, and must not for long."""


def reach_lint(source: str, module: str) -> list[str]:
    """Every place at which ``source``, the text of ``module`` outside the core, reaches into an engine."""
    tree = parsed(source)
    engines = {"engine", "_engine"} | {name for node in ast.walk(tree) for name in engine_aliases(node)}
    hits: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        inner = [f"polymirror.core.{name}" for name in INNER_MODULES]
        for *_, name in imported_names(node, module):
            if any(is_within(name, each) for each in inner):
                hits.append((node.lineno, f"imports {name}"))
        if not isinstance(node, ast.Attribute):
            continue
        if is_engine(node.value, engines) and node.attr not in ENGINE_OFFERS:
            hits.append((node.lineno, f"reads .{node.attr} of an engine"))
        elif node.attr in INNER_NAMES:
            hits.append((node.lineno, f"reads .{node.attr} of a token"))
        elif isinstance(node.value, ast.Attribute) and node.value.attr in {"resync", "outbox"}:
            hits.append((node.lineno, f"reads .{node.attr} of a token's .{node.value.attr}"))
    return sorted({f"{module}:{line}: {what}" for line, what in hits})


def is_engine(node: ast.AST, names: set[str]) -> bool:
    """Whether an expression is an engine, by its name: ``engine``, ``mirror.engine``; a config's is a config."""
    if isinstance(node, ast.Name):
        return node.id in names
    return (
        isinstance(node, ast.Attribute)
        and node.attr in {"engine", "_engine"}
        and "config" not in dotted(node.value).rpartition(".")[2]
    )


def engine_aliases(node: ast.AST) -> set[str]:
    """The names that an assignment makes for an engine."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        targets = [node.target]
    pairs: list[tuple[ast.expr, ast.expr | None]] = [(target, node.value) for target in targets]  # type: ignore[attr-defined]
    for target, value in pairs:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs.extend(zip(target.elts, value.elts, strict=False))
    return {
        target.id
        for target, value in pairs
        if isinstance(target, ast.Name) and isinstance(value, ast.Attribute) and is_engine(value, set())
    }


@each([path for path in OUTSIDE if module_name(path) not in NOT_YET])
def test_nobody_outside_the_core_reaches_into_an_engine(path: Path) -> None:
    assert reach_lint(path.read_text(encoding="utf-8"), module_name(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "mirror.engine.tokens",
        "self._mirror.engine.markets[name]",
        "engine.sockets.all()",
        "engine.outbox.events",
        "world.engine.clock.low",
        "self.engine.counts['ignored']",
        "each.engine.frames",
        "engine.requests",
        "engine._open",
        "inside = mirror.engine\ninside.tokens",
        "inside, now = self._mirror.engine, 1.0\ninside.malformed",
        "def f(engine):\n    return engine.dialects.current",
        "if (e := mirror.engine) and e.ignored:\n    pass",
        "token.unproven",
        "book.proven_at_ms",
        "token.resync.held",
        "token.outbox.proofs",
        "from polymirror.core.token import Token",
        "from polymirror.core import outbox",
        "if TYPE_CHECKING:\n    from polymirror.core.market import Market",
        "import polymirror.core.sockets as s",
    ],
)
def test_the_reach_lint_catches(source: str) -> None:
    assert reach_lint(source, "polymirror.made_up") != []


@pytest.mark.parametrize(
    "source",
    [
        "mirror.engine.status(now).tokens",
        "engine.live(token, now)",
        "engine.proof_of(token)",
        "mirror.resync(token)",
        "self.config.engine.request_timeout",
        "engine_config.max_levels",
        "mirror.status().totals.frames",
        "view.settled",
        "from polymirror.core.status import EngineStatus",
        "from polymirror.core.engine import Engine",
        "self.tokens, self.markets",
    ],
)
def test_the_reach_lint_allows(source: str) -> None:
    assert reach_lint(source, "polymirror.made_up") == []
