"""Whoever explains shares nothing with the engine that is judged."""

from __future__ import annotations

from tests.reading import PACKAGE, imports, is_within, module_name

ALLOWED = [
    f"polymirror.{name}" for name in ("errors", "explain", "harmless", "journal.format", "journal.reader")
]  # fmt: skip


def test_an_explanation_is_made_without_the_core():
    paths = sorted((PACKAGE / "explain").rglob("*.py"))
    assert len(paths) > 8
    for path in paths:
        own = {n for n in imports(path.read_text(encoding="utf-8"), module_name(path)) if is_within(n, "polymirror")}
        assert {n for n in own if not any(is_within(n, each) for each in ALLOWED)} == set(), path
