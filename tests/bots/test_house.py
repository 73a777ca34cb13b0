"""The house of the bots: who knows whom by name, and how much a bot of its own takes."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
GROUND = sorted([*(REPOSITORY / "polymirror").rglob("*.py"), *(REPOSITORY / "bots" / "common").rglob("*.py")])
BOTS = ("oracle_lag", "pair_cost", "OracleLag", "PairCost", "oracle lag bot", "pair bot", "PairBot")
"""Names of bots; up/down markets are the venue's, and no bot."""

NOTHING = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Lines with code in them: neither empty, nor a comment, nor part of a docstring or an attribute's description."""
    words = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {line for t in tokens if t.type not in NOTHING for line in range(t.start[0], t.end[0] + 1)}
    return len(code - words)


def names_a_bot(source: str) -> list[str]:
    return [name for name in BOTS if re.search(rf"\b{re.escape(name)}\b", source)]


def test_the_ground_names_no_bot():
    assert {
        str(path.relative_to(REPOSITORY)): found for path in GROUND if (found := names_a_bot(path.read_text()))
    } == {}


@pytest.mark.parametrize("source", ["from bots.pair_cost import x", '"""Called by the oracle lag bot."""', "PairBot()"])
def test_a_bots_name_is_found(source):
    assert names_a_bot(source)


@pytest.mark.parametrize(("folder", "most"), [("pair_cost", 400), ("supervisor", 700)])
def test_a_bot_is_little_beside_the_ground(folder, most):
    lines = sum(code_lines(path.read_text()) for path in (REPOSITORY / "bots" / folder).rglob("*.py"))
    assert 0 < lines <= most


def test_what_counts_as_code():
    assert code_lines('"""Words.\n\nMore."""\n\n# why\nx = 1\n"""what x is"""\ny = (\n    2,\n)\n') == 4
